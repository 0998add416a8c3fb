/* keys.h: finds what a key of a strategy's dict means: a field of schema/fields.h by its own name,
 * a name of ccxt's (schema/ccxt_names.h), or a key of the call itself. */
#ifndef BLOTTER_PYTHON_KEYS_H
#define BLOTTER_PYTHON_KEYS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <blotter.h>
#include <stdint.h>

#include "schema/ccxt_names.h"
#include "schema/encoder.h"

enum { NO_FIELD = UINT8_MAX };

struct key {
    const char *name;
    uint8_t how;   /* enum ccxt_how */
    uint8_t rank;  /* of two keys for one field the lower rank wins; 0: the field's own name */
    uint8_t field; /* its index in the kind's record_schema, or NO_FIELD */
    uint8_t packed_bytes;
    uint16_t offset;                         /* of the member in the kind's struct */
    uint64_t bit;                            /* of the field, or 0 */
    unsigned char packed[ENCODER_KEY_BYTES]; /* the field's name as it goes on the wire */
};

enum {
    KEYS_MAX = 96,
    KEY_SLOTS = 256, /* a power of two, several times the number of keys */
    KEYS_REMEMBERED = 48,
};

struct key_slot {
    PyObject *name; /* interned; NULL: free */
    Py_hash_t hash;
    const struct key *key;
};

/* The keys of one kind, for one interpreter, as the strings and their hashes are. */
struct key_table {
    enum record_kind kind;
    unsigned count;
    const struct key *exchange_time, *fee, *fee_currency, *fee_rate, *fees, *extra; /* or NULL */
    struct key keys[KEYS_MAX]; /* the fields first, in their order */
    struct key_slot slots[KEY_SLOTS];
};

/* The keys of the last dict, by position, and those of the last keywords, from the end on. Calls of
 * one source have the same keys in the same order, and the keys are mostly the same objects, so a
 * comparison of pointers finds most of them. */
struct key_memory {
    PyObject *names[KEYS_REMEMBERED]; /* exact strs, held */
    const struct key *keys[KEYS_REMEMBERED];
};

/* Returns -1 with an exception set. */
int key_table_init(struct key_table *, enum record_kind);
void key_table_release(struct key_table *);

/* Finds the key of that name, or NULL. `name` is a str. */
const struct key *key_find(const struct key_table *, PyObject *name);

/* Remembers that the dict's key at this position is `name`. */
void key_remember(struct key_memory *, Py_ssize_t at, PyObject *name, const struct key *);
void key_memory_release(struct key_memory *);

static inline const struct key *
key_find_at(const struct key_table *table, struct key_memory *memory, Py_ssize_t at, PyObject *name)
{
    if (at < KEYS_REMEMBERED && memory->names[at] == name) {
        return memory->keys[at];
    }
    const struct key *key = key_find(table, name);
    key_remember(memory, at, name, key);
    return key;
}

/* Returns the key that is the field's own name; `field` as in record_schema. */
static inline const struct key *key_of_field(const struct key_table *table, unsigned field)
{
    return &table->keys[field - RECORD_IDENTITY_FIELDS];
}

/* Finds a field by its name, or NULL. */
const struct key *key_of_name(const struct key_table *, const char *name, size_t length);

/* Returns a dict from the names of the fields to what they hold, "text", "decimal", "time" ...;
 * NULL with an exception set. */
PyObject *key_field_names(const struct key_table *);

/* Returns a dict from ccxt's names to those of our fields; NULL with an exception set. */
PyObject *key_ccxt_names(const struct key_table *);

/* Returns the marks of the keys by which ccxt's structures are told apart: see ccxt_mark(). */
uint64_t key_marks(PyObject *dict);

/* Returns the size of a kind's struct. */
size_t key_struct_bytes(enum record_kind);

#endif
