/* json_read.h: JSON text: is it what jsonb accepts, and what does it hold? */
#ifndef BLOTTER_SCHEMA_JSON_READ_H
#define BLOTTER_SCHEMA_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>

#include "schema/json_write.h"
#include "schema/record.h"

struct json_scan {
    const char *at;
    const char *end;
};

struct json_slice {
    const char *at;
    size_t length;
};

bool json_slice_is(struct json_slice, const char *text);
bool json_slice_is_key(struct json_slice quoted, const char *name);            /* has no escapes */
bool json_slice_is_one_of(struct json_slice quoted, const char *const *names); /* NULL ends them */

/* Checks that it is one JSON object that jsonb accepts: grammar, UTF-8, no \u0000, surrogates in
 * pairs, numbers in numeric's range, at most LIMIT_NESTING deep and LIMIT_EXTRA_BYTES long. */
enum record_fault json_read_object(const char *text, size_t length);

/* Does the same for any length. *offset is how far it is good. */
enum record_fault json_read_line(const char *text, size_t length, size_t *offset);

/* Checks that it is one list that may be within such an object. False: it is none. */
bool json_read_list(const char *text, size_t length, struct json_scan *elements);

/* Reads an object whose values are decimals, as JSON numbers or as strings, and writes it to
 * `out`, if that is not NULL, with canonical decimals as numbers: {"USDT":0.10}. Faults: NOT_JSON,
 * NOT_DECIMAL, those of text, TOO_LONG. */
enum record_fault json_read_amounts(const char *text, size_t length, struct json_writer *out);

/* --- text that has been checked --- */

/* Returns the part of an object's text that is between its braces, without blanks at its ends. */
const char *json_read_inside(const char *text, size_t length, size_t *inside_length);

/* Reads an object's members one after the other. */
struct json_member {
    struct json_slice key; /* with its quotes */
    struct json_slice value;
};
struct json_scan json_read_members(const char *text, size_t length);
bool json_read_member(struct json_scan *, struct json_member *);

/* Finds a member by either name, unless it is absent. */
bool json_find_member(struct json_slice object, const char *name, const char *alias,
                      struct json_slice *value);

/* Writes a member, by its own name or another, and a comma. Returns the end. */
char *json_copy_member(char *out, const struct json_member *);
char *json_copy_value(char *out, const char *name, struct json_slice value);

/* Reads the elements between an array's brackets. */
bool json_read_element(struct json_scan *, struct json_slice *value);

/* Says whether it is null, or an empty string, array or object: as good as a missing key. */
bool json_slice_is_absent(struct json_slice value);

/* Says whether it is a string whose first character is an escape that it does not need. So Python's
 * part marks text that stands for a value which is none, as NaN, or that PostgreSQL cannot store.
 */
bool json_slice_is_shown(struct json_slice value);

/* Writes a string without its quotes and escapes to `out`, which has room for quoted.length bytes.
 * Returns the length. */
size_t json_read_string(struct json_slice quoted, char *out);

#endif
