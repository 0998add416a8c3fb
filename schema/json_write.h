/* json_write.h: msgpack values as JSON text, for what goes into `extra`.
 *
 * msgpack          JSON
 * nil, bool, int   the same
 * float            its shortest digits; NaN and infinity as strings: "NaN"
 * str              a string; of bytes that are not UTF-8, or have a NUL: as bin
 * bin              a string, PostgreSQL's hex form of bytea: "\\x00ff", so that
 *                  (extra ->> 'key')::bytea gives the bytes
 * timestamp        an integer: nanoseconds since 1970
 * other ext        a string: "ext:5:\\x00ff"; so is a timestamp beyond 64 bits of nanoseconds
 * array, map       the same; deeper than LIMIT_NESTING: a string, the hex form of its msgpack
 *
 * A key that is not a str becomes the string of its JSON: "1". Of keys that are then equal, or
 * were, jsonb keeps the last. Every msgpack value can be written: `changed` counts those that JSON
 * cannot say. */
#ifndef BLOTTER_SCHEMA_JSON_WRITE_H
#define BLOTTER_SCHEMA_JSON_WRITE_H

#include "schema/unpack.h"

struct json_writer {
    char *at;
    char *end;
    bool full;        /* something did not fit: the text is useless */
    unsigned changed; /* values that were written as something else */
    bool digits;      /* write UNPACK_NUMBER as a number, UNPACK_SHOWN as text: they are ours */
    bool prune;       /* leave out nulls, and the venue's own messages, below the first level */
};

void json_write(struct json_writer *, const void *text, size_t length);
void json_write_comma(struct json_writer *, bool *comma); /* if *comma says so, which it sets */
void json_write_string(struct json_writer *, const void *bytes, size_t length);
void json_write_integer(struct json_writer *, int64_t value);
void json_write_double(struct json_writer *, double value);

/* Writes one msgpack value, which `value` is the head of. depth: of maps and arrays around it,
 * below LIMIT_NESTING. Faults: those of the reader. */
enum record_fault json_write_value(struct json_writer *, struct unpack_reader *,
                                   const struct unpack_value *, unsigned depth);

/* Writes the members of a map, whose head has been read, without the braces. */
enum record_fault json_write_members(struct json_writer *, struct unpack_reader *, uint64_t pairs,
                                     bool *comma, unsigned depth);

#endif
