/* record_json.h: the bytes of an entry as JSON, as far as they can be read, for people who look at
 * a reject or a journal. Nothing is checked but what JSON needs. */
#ifndef BLOTTER_DRAINER_RECORD_JSON_H
#define BLOTTER_DRAINER_RECORD_JSON_H

#include <stddef.h>

/* Makes JSON of one msgpack value. NULL: it cannot be read, or has no JSON. The caller frees it. */
char *record_json_of_msgpack(const void *bytes, size_t length);

/* Makes a JSON object of an entry's fields as a reject keeps them: a msgpack map, or Redis' own
 * form of several fields, "$5\r\norder\r\n$1...". record_json_of_hex reads the bytes in
 * hexadecimal, as PostgreSQL writes them. */
char *record_json_of_entry(const void *bytes, size_t length);
char *record_json_of_hex(const char *hex, size_t digits);

#endif
