/* unpack.h: reads msgpack one value at a time, from bytes that anybody may have written.
 *
 * A reader never looks behind its end, allocates nothing and follows no count: arrays and maps
 * yield their head alone, and the caller reads as many values as it wants. So five bytes that
 * announce four billion elements cost nothing. msgpack-c, which packs what we send, would allocate
 * for them, has no callback for a key, and makes objects of everything; the drainer takes most
 * values as a place in the bytes it was given. A test and a fuzzer hold the two against each other.
 * Inline, as the drainer does little else for each of a record's forty values. */
#ifndef BLOTTER_SCHEMA_UNPACK_H
#define BLOTTER_SCHEMA_UNPACK_H

#include <stdint.h>
#include <string.h>

#include "schema/record.h"

enum unpack_type {
    UNPACK_NONE, /* 0xc1, which msgpack never uses */
    UNPACK_NIL,
    UNPACK_FALSE,
    UNPACK_TRUE,
    UNPACK_UINT, /* only in the table below: read, it is INT or BIG */
    UNPACK_INT,
    UNPACK_BIG, /* an integer above INT64_MAX */
    UNPACK_FLOAT,
    UNPACK_DOUBLE,
    UNPACK_STR,
    UNPACK_BIN,
    UNPACK_EXT,
    UNPACK_ARRAY,
    UNPACK_MAP,
};

/* Exts of ours, which never go over the wire: a number's digits, as JSON has them, and text that
 * stands for a value of which JSON has no form. */
enum { UNPACK_NUMBER = 'n', UNPACK_SHOWN = 's' };

struct unpack_reader {
    const unsigned char *at;
    const unsigned char *end;
};

struct unpack_value {
    enum unpack_type type;
    int8_t ext_type;
    uint64_t length; /* of str, bin and ext in bytes, of arrays in elements, of maps in pairs; the
                        value of UNPACK_BIG */
    int64_t integer; /* INT */
    double floating; /* FLOAT, DOUBLE */
    const uint8_t *bytes; /* str, bin, ext */
};

/* The form behind each first byte from 0xc0 to 0xdf: `head` bytes, big-endian, are the value, or
 * the length. */
struct unpack_form {
    uint8_t type;
    uint8_t head;
    uint8_t length; /* of fixext, which has no head */
};
static const struct unpack_form unpack_forms[32] = {
    {UNPACK_NIL, 0, 0},   {UNPACK_NONE, 0, 0},  {UNPACK_FALSE, 0, 0}, {UNPACK_TRUE, 0, 0},
    {UNPACK_BIN, 1, 0},   {UNPACK_BIN, 2, 0},   {UNPACK_BIN, 4, 0},   {UNPACK_EXT, 1, 0},
    {UNPACK_EXT, 2, 0},   {UNPACK_EXT, 4, 0},   {UNPACK_FLOAT, 4, 0}, {UNPACK_DOUBLE, 8, 0},
    {UNPACK_UINT, 1, 0},  {UNPACK_UINT, 2, 0},  {UNPACK_UINT, 4, 0},  {UNPACK_UINT, 8, 0},
    {UNPACK_INT, 1, 0},   {UNPACK_INT, 2, 0},   {UNPACK_INT, 4, 0},   {UNPACK_INT, 8, 0},
    {UNPACK_EXT, 0, 1},   {UNPACK_EXT, 0, 2},   {UNPACK_EXT, 0, 4},   {UNPACK_EXT, 0, 8},
    {UNPACK_EXT, 0, 16},  {UNPACK_STR, 1, 0},   {UNPACK_STR, 2, 0},   {UNPACK_STR, 4, 0},
    {UNPACK_ARRAY, 2, 0}, {UNPACK_ARRAY, 4, 0}, {UNPACK_MAP, 2, 0},   {UNPACK_MAP, 4, 0},
};

static inline uint64_t unpack_big_endian(const unsigned char *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static inline enum record_fault unpack_bytes(struct unpack_reader *reader,
                                             struct unpack_value *value)
{
    if (value->type == UNPACK_EXT) {
        if (reader->at == reader->end) {
            return RECORD_FAULT_TRUNCATED;
        }
        value->ext_type = (int8_t)*reader->at++;
    }
    if (value->length > (uint64_t)(reader->end - reader->at)) {
        return RECORD_FAULT_TRUNCATED;
    }
    value->bytes = reader->at;
    reader->at += value->length;
    return RECORD_FAULT_NONE;
}

/* Gives the bits of a number's head their meaning. */
static inline void unpack_number(struct unpack_value *value, uint64_t bits, unsigned bytes)
{
    if (value->type == UNPACK_INT) {
        value->integer = (int64_t)(bits << (64 - 8 * bytes)) >> (64 - 8 * bytes);
    } else if (value->type == UNPACK_FLOAT) {
        uint32_t half = (uint32_t)bits;
        float single;
        memcpy(&single, &half, sizeof single);
        value->floating = (double)single;
    } else if (value->type == UNPACK_DOUBLE) {
        memcpy(&value->floating, &bits, sizeof value->floating);
    } else if (bits > INT64_MAX) {
        value->type = UNPACK_BIG;
        value->length = bits;
    } else {
        value->type = UNPACK_INT;
        value->integer = (int64_t)bits;
    }
}

static inline enum record_fault unpack_long_form(struct unpack_reader *reader, unsigned first,
                                                 struct unpack_value *value)
{
    const struct unpack_form *form = &unpack_forms[first - 0xc0];

    if (form->type == UNPACK_NONE) {
        return RECORD_FAULT_NOT_MSGPACK;
    }
    if (reader->end - reader->at < form->head) {
        return RECORD_FAULT_TRUNCATED;
    }
    uint64_t head = unpack_big_endian(reader->at, form->head);
    reader->at += form->head;
    value->type = (enum unpack_type)form->type;
    value->length = form->head ? head : form->length;
    if (value->type >= UNPACK_STR && value->type <= UNPACK_EXT) {
        return unpack_bytes(reader, value);
    }
    if (value->type >= UNPACK_UINT && value->type <= UNPACK_DOUBLE) {
        unpack_number(value, head, form->head);
    }
    return RECORD_FAULT_NONE;
}

/* Reads the next value, or an array's or a map's head. Faults: TRUNCATED, NOT_MSGPACK; the reader
 * is then useless. */
static inline enum record_fault unpack_next(struct unpack_reader *reader,
                                            struct unpack_value *value)
{
    if (reader->at == reader->end) {
        return RECORD_FAULT_TRUNCATED;
    }
    unsigned first = *reader->at++;

    if (first >= 0xc0 && first <= 0xdf) {
        return unpack_long_form(reader, first, value);
    }
    if (first >= 0xa0 && first <= 0xbf) {
        value->type = UNPACK_STR;
        value->length = first & 0x1f;
        return unpack_bytes(reader, value);
    }
    if (first < 0x80 || first >= 0xe0) {
        value->type = UNPACK_INT;
        value->integer = (int8_t)first;
        return RECORD_FAULT_NONE;
    }
    value->type = first < 0x90 ? UNPACK_MAP : UNPACK_ARRAY;
    value->length = first & 0x0f;
    return RECORD_FAULT_NONE;
}

static inline bool unpack_is_container(const struct unpack_value *value)
{
    return value->type == UNPACK_ARRAY || value->type == UNPACK_MAP;
}

static inline bool unpack_is_digits(const struct unpack_value *value)
{
    return value->type == UNPACK_EXT && value->ext_type == UNPACK_NUMBER;
}

/* Skips the rest of a value whose head has been read: the elements of an array or a map, however
 * deep. */
static inline enum record_fault unpack_skip(struct unpack_reader *reader,
                                            const struct unpack_value *head)
{
    struct unpack_value value = *head;
    uint64_t left = 1; /* values that begin behind this one, and it */

    for (;;) {
        if (unpack_is_container(&value)) {
            left += value.length << (value.type == UNPACK_MAP);
        }
        if (--left == 0) {
            return RECORD_FAULT_NONE;
        }
        if (left > (uint64_t)(reader->end - reader->at)) { /* each takes a byte */
            return RECORD_FAULT_TRUNCATED;
        }
        enum record_fault fault = unpack_next(reader, &value);
        if (fault) {
            return fault;
        }
    }
}

/* Reads the time of a msgpack timestamp (ext -1), or of an integer, in nanoseconds since 1970.
 * Faults: WRONG_TYPE; OUT_OF_RANGE: not a time, or not one that an int64 of nanoseconds holds. */
static inline enum record_fault unpack_time_ns(const struct unpack_value *value, int64_t *time_ns)
{
    int64_t seconds;
    uint64_t nanoseconds = 0;

    if (value->type == UNPACK_INT) {
        *time_ns = value->integer;
        return RECORD_FAULT_NONE;
    }
    if (value->type == UNPACK_BIG) {
        return RECORD_FAULT_OUT_OF_RANGE;
    }
    if (value->type != UNPACK_EXT || value->ext_type != -1) {
        return RECORD_FAULT_WRONG_TYPE;
    }
    if (value->length == 4) {
        seconds = (int64_t)unpack_big_endian(value->bytes, 4);
    } else if (value->length == 8) { /* 30 bits of nanoseconds, 34 of seconds */
        uint64_t both = unpack_big_endian(value->bytes, 8);
        nanoseconds = both >> 34;
        seconds = (int64_t)(both & ((UINT64_C(1) << 34) - 1));
    } else if (value->length == 12) {
        nanoseconds = unpack_big_endian(value->bytes, 4);
        seconds = (int64_t)unpack_big_endian(value->bytes + 4, 8);
    } else {
        return RECORD_FAULT_WRONG_TYPE;
    }
    if (nanoseconds > 999999999 || __builtin_mul_overflow(seconds, INT64_C(1000000000), time_ns) ||
        __builtin_add_overflow(*time_ns, (int64_t)nanoseconds, time_ns)) {
        return RECORD_FAULT_OUT_OF_RANGE;
    }
    return RECORD_FAULT_NONE;
}

#endif
