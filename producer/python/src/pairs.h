/* pairs.h: encodes the usual values of a record straight from Python's objects: short ASCII text,
 * short decimals as they are, floats, times that are ints, flags. Other values, and all that needs
 * a decision, are left to the struct, which the library encodes behind these pairs. */
#ifndef BLOTTER_PYTHON_PAIRS_H
#define BLOTTER_PYTHON_PAIRS_H

#include "keys.h"
#include "schema/copy_checked.h"
#include "schema/pack.h"
#include "value.h"

enum {
    PAIR_BYTES_MAX = ENCODER_KEY_BYTES + 1 + 2 * CHUNK_BYTES, /* that one is given to spoil */
    PAIRS_CONSTANT_BYTES_MAX = 1024,
    PAIRS_BYTES = PAIRS_CONSTANT_BYTES_MAX + RECORD_FIELDS_MAX * PAIR_BYTES_MAX,
};

struct pairs {
    unsigned char *begin; /* behind the constants */
    unsigned char *at;    /* the end: there is room for each field once */
    uintptr_t inside;     /* see copy_checked.h */
    unsigned char bytes[PAIRS_BYTES];
};

/* Begins with the constants, or NULL. Returns false: they are too long, and left out. */
static inline bool pairs_begin(struct pairs *pairs, const struct record_bound *constants)
{
    bool fits = constants == NULL || constants->length <= PAIRS_CONSTANT_BYTES_MAX;
    pairs->at = pairs->bytes;
    if (constants != NULL && fits) {
        memcpy(pairs->at, constants->bytes, constants->length);
        pairs->at += constants->length;
    }
    pairs->begin = pairs->at;
    pairs->inside = chunk_is_watched ? 0 : CHUNK_INSIDE;
    return fits;
}

/* Writes a str. Returns its bytes on the wire, or 0. These follow from the str's own length: the
 * place of the next pair need not wait for what was copied. */
static inline __attribute__((always_inline)) size_t
pair_put_str(unsigned char *at, enum ccxt_how how, PyObject *value, uintptr_t inside)
{
    const char *text = (const char *)((PyASCIIObject *)value + 1);
    size_t length = (size_t)PyUnicode_GET_LENGTH(value), copied;
    if (!PyUnicode_IS_COMPACT_ASCII(value) || length == 0) {
        return 0;
    }
    if (how == CCXT_TEXT) {
        copied = copy_short_text(at + 1, text, inside);
    } else if (how == CCXT_DECIMAL || how == CCXT_FEE) {
        copied = copy_short_decimal(at + 1, text, inside);
    } else {
        return 0;
    }
    if (copied != length) { /* it is longer, or not as it shall be, or has a NUL */
        return 0;
    }
    at[0] = (unsigned char)(ENCODER_FIXSTR + length);
    return 1 + length;
}

static inline size_t pair_put_double(unsigned char *at, enum ccxt_how how, double number)
{
    if ((how != CCXT_DECIMAL && how != CCXT_FEE) || !value_is_short_double(number)) {
        return 0;
    }
    msgpack_pack_double(&at, number);
    return 1 + sizeof number;
}

/* Writes a time or a flag. Returns its bytes on the wire, or 0. */
static __attribute__((noinline)) size_t pair_put_other(unsigned char *at, enum ccxt_how how,
                                                       PyObject *value)
{
    unsigned char *end = at;
    int64_t ns;
    if (how == CCXT_TIME_NS || how == CCXT_TIME_MS || how == CCXT_TIME_EITHER) {
        if (PyLong_CheckExact(value) && value_int_time(value, how, &ns) && encoder_time_valid(ns)) {
            msgpack_pack_fix_int64(&end, ns);
        }
    } else if (how == CCXT_BOOL && value == Py_True) {
        msgpack_pack_true(&end);
    } else if (how == CCXT_BOOL && value == Py_False) {
        msgpack_pack_false(&end);
    }
    return (size_t)(end - at);
}

/* Adds a field. Returns false, and adds nothing: it is not that simple. */
static inline __attribute__((always_inline)) bool pairs_add(struct pairs *pairs,
                                                            const struct key *key, PyObject *value)
{
    unsigned char *at = pairs->at;
    enum ccxt_how how = (enum ccxt_how)key->how;
    memcpy(at, key->packed, ENCODER_KEY_BYTES);
    at += key->packed_bytes;
    size_t bytes = PyUnicode_CheckExact(value) ? pair_put_str(at, how, value, pairs->inside)
                   : PyFloat_CheckExact(value) ? pair_put_double(at, how, PyFloat_AS_DOUBLE(value))
                                               : pair_put_other(at, how, value);
    if (__builtin_expect(bytes == 0, 0)) {
        return false;
    }
    pairs->at = at + bytes;
    return true;
}

#endif
