/* draft.h: makes the struct that libblotter takes of what a strategy gives: a mapping, keywords,
 * and the constants of a binding.
 *
 * A plain dict of plain values is read where it is. Reading anything else may run Python code,
 * which may change the dict, so a copy is made first. Nothing made here outlives the draft. What
 * means more than its field's value, or does not fit the field, is ODD: object.c reads it, by the
 * rules for all other objects. Keywords have no such: a value that its field cannot take is kept in
 * `extra` under the name it was given by, and counted.
 *
 * Usual values of a plain dict are encoded at once (pairs.h), which halves the time of a call; the
 * struct has the others. Where the struct is what is wanted (flat, merge), it has all. */
#ifndef BLOTTER_PYTHON_DRAFT_H
#define BLOTTER_PYTHON_DRAFT_H

#include "json_text.h"
#include "keys.h"
#include "pairs.h"
#include "value.h"

union draft_struct {
#define X(kind, name, sql_schema, table, fields) struct blotter_##name name;
    BLOTTER_RECORD_KINDS(X)
#undef X
};

/* The source of a field's value. */
struct draft_source {
    PyObject *name, *value; /* borrowed from what was given */
    const struct key *key;
};

struct draft_options {
    const struct key_table *table;
    PyObject *decimal_type;
    PyObject *exchange; /* str */
    bool take_info;
    bool flat;   /* only fields are given, in the shape that we have them */
    bool merge;  /* merge the constants in, though they are encoded */
    bool strict; /* raise instead of keeping a wrong value in `extra` */
    struct key_memory *memory;
    const struct draft *constants;    /* of a binding, or NULL: defaults of its fields */
    const struct record_bound *bound; /* the same, encoded, or NULL */
};

struct draft {
    struct draft_options options;
    PyObject *copy; /* of the mapping; NULL: it is read where it is */
    union draft_struct of;
    uint64_t given;     /* bit i: field i of the record_schema */
    uint64_t stored;    /* those of them that are in the struct: the others are pairs */
    uint64_t open;      /* those that may still become pairs */
    uint64_t constant;  /* given by the constants */
    unsigned misplaced; /* how many values are in `extra` because their field cannot take them */
    bool keywords;      /* these are read now */
    bool has_unknown;   /* the mapping has keys that are no field's */
    bool overrides;     /* it differs from the constants: they are merged into the struct */
    bool has_struct;    /* the struct has something */
    struct draft_source datetime, fees, now; /* `now`: what is looked at */
    struct draft_source wrong;               /* the first value that was misplaced */
    const char *wrong_problem;
    PyObject *wrong_type; /* the exception that it would be */
    struct draft_source sources[RECORD_FIELDS_MAX];
    struct json extra;
    struct value_context context;
    struct pairs pairs;
};

/* Takes at most one mapping, then the values of the keywords in `names` (a tuple, or NULL). Returns
 * TAKEN; ODD: record_object() takes it; or FAILED with an exception set. Release it in any
 * case, after it was submitted. */
enum outcome draft_take(struct draft *, const struct draft_options *, PyObject *const *args,
                        Py_ssize_t count, PyObject *names);
void draft_release(struct draft *);

/* Returns what is encoded, and sets the struct that is to be encoded behind it, or NULL. */
blotter_binding draft_binding(const struct draft *, const void **record);

/* Sets the members of a struct, of the kind of that table, that are among these fields of the
 * draft's kind, by their names. over: also those that have a value. */
void draft_give(const struct draft *, uint64_t fields, const struct key_table *,
                union draft_struct *, bool over);

/* Raises ValueError with the library's words about the record: "price: not a finite ...". */
void draft_raise(const struct draft *, const char *problem);

#endif
