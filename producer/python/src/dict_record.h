/* dict_record.h: what a strategy gives, a mapping or keywords, as the struct that libblotter takes.
 *
 * A plain dict of plain values is read where it is; of anything else a copy is made first, as
 * reading it may run Python code, which may change it. Nothing that is made here outlives the call.
 */
#ifndef BLOTTER_PYTHON_RECORD_H
#define BLOTTER_PYTHON_RECORD_H

#include "json_text.h"
#include "keys.h"
#include "value.h"

/* Who gave a field its value. */
struct record_source {
    PyObject *name, *value; /* borrowed from what was given */
    const struct key *key;
    unsigned rank;
};

struct record_options {
    const struct key_table *table;
    PyObject *decimal_type;
    PyObject *exchange; /* str */
    bool take_info;
};

struct record {
    const struct record_options *options;
    PyObject *copy; /* of the mapping; NULL: it is read where it is */
    union {
        struct blotter_order order;
        struct blotter_trade trade;
    } of;
    uint64_t given;                     /* bit i: field i */
    unsigned rank;                      /* added to that of the keys */
    struct record_source datetime, now; /* `now`: what is looked at */
    struct record_source sources[FIELDS_MAX];
    struct json extra;
    struct value_context context;
};

/* Takes the arguments of a call: at most one mapping, then the values of the keywords in `names` (a
 * tuple, or NULL). Returns 0, or -1 with ValueError or TypeError raised. Release it in any case,
 * after it was submitted. */
int record_take(struct record *, const struct record_options *, PyObject *const *args,
                Py_ssize_t count, PyObject *names);
void record_release(struct record *);

/* Raises what the library says of the record: "price: not a finite ...". */
void record_raise(const struct record *, const char *problem);

#endif
