/* value.h: one Python value as text, decimal, time or flag of a record.
 *
 * str, int, float, bool, and what is exactly of these types, is taken without running anything but
 * C: then nothing can change under our hands while we look into the caller's dictionary. For
 * everything else the caller is told AGAIN, until it has made sure of that and says so. */
#ifndef BLOTTER_PYTHON_VALUE_H
#define BLOTTER_PYTHON_VALUE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#include "arena.h"

enum outcome {
    TAKEN,
    AGAIN,  /* not of a plain type: call again with plain_only false */
    FAILED, /* see struct value_context */
};

/* What the conversions of one record share. */
struct value_context {
    struct arena arena;
    PyObject *decimal_type; /* decimal.Decimal; borrowed */
    bool plain_only;
    /* Where FAILED: what is wrong, and the exception to raise; NULL: one is raised already. */
    const char *problem;
    PyObject *problem_type;
};

int value_import(
    void); /* once for each module: what the conversions need. -1: an exception is raised */

/* Texts are valid until the context's room is released; where plain_only, as long as the value is.
 */
enum outcome value_text(struct value_context *, PyObject *value, const char **out);
enum outcome value_decimal(struct value_context *, PyObject *value, const char **out);
enum outcome value_time(struct value_context *, PyObject *value, int64_t ns_per_unit, int64_t *ns);

/* The digits of a float, an int, a Decimal; used by JSON too. Only for values of which
 * value_is_number says so. */
bool value_is_number(const struct value_context *, PyObject *value);
bool value_is_time(PyObject *value); /* a datetime, date or time: something with isoformat */
bool value_is_mapping(
    PyObject *value); /* something that dict() takes for one; not where plain_only */

enum outcome value_fail(struct value_context *, PyObject *type, const char *problem);

/* UTF-8 bytes of a str into `out`, which has room for four times its length; returns how many, or
 * -1: it has a surrogate. */
Py_ssize_t value_utf8(PyObject *text, char *out);

#endif
