/* value.h: reads one Python value as the text, decimal, time or flag of a record.
 *
 * Values that are exactly of type str, int, float or bool are read without running Python code, so
 * nothing can change while we look into the caller's dictionary. For all others the outcome is
 * AGAIN until the caller has taken a copy and says so. */
#ifndef BLOTTER_PYTHON_VALUE_H
#define BLOTTER_PYTHON_VALUE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "schema/ccxt_names.h"
#include "schema/double_text.h"

enum outcome {
    TAKEN,
    AGAIN,  /* not of a plain type: call again with plain_only false */
    ODD,    /* of a shape that only object.c reads */
    FAILED, /* see struct value_context */
};

/* The conversions of one record share this. */
struct value_context {
    struct arena arena;
    PyObject *decimal_type; /* decimal.Decimal; borrowed */
    bool plain_only;
    /* After FAILED: what is wrong, and the exception to raise; NULL: one is raised already. */
    const char *problem;
    PyObject *problem_type;
};

/* Imports what the conversions need, once for each module. Returns -1 with an exception set. */
int value_import(void);

/* Reads a value as text, digits or time. Texts are valid until the context's arena is released;
 * where plain_only, as long as the value is. A decimal may be a double as blotter_double() writes
 * it; digits never are. */
enum outcome value_text(struct value_context *, PyObject *value, const char **out);
enum outcome value_decimal(struct value_context *, PyObject *value, const char **out);
enum outcome value_digits(struct value_context *, PyObject *value, const char **out);
enum outcome value_time(struct value_context *, PyObject *value, enum ccxt_how how, int64_t *ns);

/* Says whether a double is a decimal that needs no second look: see RECORD_DOUBLE_MAX. */
static inline bool value_is_short_double(double number)
{
    double size = fabs(number);
    return (size > 1 / RECORD_DOUBLE_MAX && size < RECORD_DOUBLE_MAX) || number == 0;
}

/* Returns a float as blotter_double() writes it: the drainer makes its digits, so that the
 * strategy's thread need not. NULL, and no exception: value_digits() knows more. */
static inline const char *value_double(struct value_context *context, PyObject *value)
{
    double number = PyFloat_AS_DOUBLE(value);
    if (!value_is_short_double(number) || context->arena.left < RECORD_DOUBLE_BYTES) {
        return NULL;
    }
    char *text = arena_take(&context->arena, RECORD_DOUBLE_BYTES);
    double_text_write(number, text);
    return text;
}

/* Reads an exact int as a time. Returns false, and no exception: it is none. */
bool value_int_time(PyObject *value, enum ccxt_how how, int64_t *ns);

/* Reads a str with a time of ISO 8601 that has a zone. Returns false for anything else. */
bool value_iso_time(PyObject *value, int64_t *ns);

/* Reads a bool, also one of numpy's. */
enum outcome value_bool(struct value_context *, PyObject *value, bool *flag);

bool value_is_absent(PyObject *value); /* it is None or empty, as good as a missing key */
bool value_is_number(const struct value_context *, PyObject *value); /* also numpy's; no bool */
bool value_is_time(PyObject *value);    /* a datetime, date or time: it has isoformat */
bool value_is_mapping(PyObject *value); /* dict() takes it for one; not where plain_only */

/* Returns a mapping as a new dict; NULL with an exception set. */
PyObject *value_copy_mapping(PyObject *mapping);

enum outcome value_fail(struct value_context *, PyObject *type, const char *problem);

#endif
