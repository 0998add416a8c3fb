/* json.h: msgpack values as JSON text, for what goes into `extra`. json_object_check is in
 * record.h.
 *
 * msgpack          JSON
 * nil, bool, int   the same
 * float            its shortest digits; NaN and infinity have no JSON: OUT_OF_RANGE
 * str              a string; must be UTF-8 without NUL
 * bin              a string, PostgreSQL's hex form of bytea: "\\x00ff", so that (extra ->>
 * 'key')::bytea gives the bytes timestamp        an integer: nanoseconds since 1970 other ext a
 * string: "ext:5:\\x00ff"; so is a timestamp that an int64 of nanoseconds does not hold array, map
 * the same. A key that is not a str becomes the string of its JSON: "1". Of keys that are then
 * equal, or were, jsonb keeps the last. An array or map as a key: WRONG_TYPE */
#ifndef BLOTTER_SCHEMA_JSON_H
#define BLOTTER_SCHEMA_JSON_H

#include "schema/unpack.h"

struct json_writer {
    char *at;
    char *end;
    bool full; /* something did not fit: the text is useless */
};

void json_write(struct json_writer *, const char *text, size_t length);

/* Writes one msgpack value, which `value` is the head of. depth: of maps and arrays around it.
 * Faults: those of the reader, NOT_UTF8, HAS_NUL, OUT_OF_RANGE, WRONG_TYPE, TOO_DEEP; TOO_LONG
 * where it did not fit. */
enum record_fault json_write_value(struct json_writer *, struct unpack_reader *,
                                   const struct unpack_value *, unsigned depth);

/* Writes the members of a map, whose head has been read, without the braces. A comma goes first
 * where *comma says so, and *comma is set when anything was written. */
enum record_fault json_write_members(struct json_writer *, struct unpack_reader *, uint64_t pairs,
                                     bool *comma, unsigned depth);

/* Writes "key":value, reading the value; the key's head has been read. */
enum record_fault json_write_member(struct json_writer *, struct unpack_reader *,
                                    const struct unpack_value *key, bool *comma, unsigned depth);

/* Writes text as a JSON string. Faults: NOT_UTF8, HAS_NUL. */
enum record_fault json_write_string(struct json_writer *, const void *bytes, uint64_t length);

/* Reads an object whose values are decimals, as JSON numbers or as strings, and writes it to
 * `out`, if that is not NULL, with canonical decimals as numbers: {"USDT":0.10}. Faults: NOT_JSON,
 * NOT_DECIMAL, those of text, TOO_LONG. */
enum record_fault json_amounts(const char *text, size_t length, struct json_writer *out);

/* The part of an object's text that is between its braces, without blanks at its ends. The text
 * must have been checked. */
const char *json_object_inside(const char *text, size_t length, size_t *inside_length);

#endif
