/* json_lines.h: one object of JSON as the records that it is: an order and the trades in it, a
 * balance's currencies, or a list of objects. All of them are records, or none. */
#ifndef BLOTTER_SCHEMA_JSON_LINES_H
#define BLOTTER_SCHEMA_JSON_LINES_H

#include "schema/json_line.h"

/* All zero to begin with; release it at the end. */
struct json_lines {
    struct json_line *lines;
    size_t count;
    char problem[2 * JSON_LINE_PROBLEM_BYTES]; /* of what was refused: "trades: price: …" */
    /* internal */
    size_t made, capacity; /* of lines */
    struct json_workspace workspace;
    char *text; /* a part of an object as one of its own */
    size_t text_capacity;
    size_t copied; /* bytes of such parts so far */
    struct balance_part *parts;
    size_t part_count, part_capacity;
};

/* Begins anew: there are no records. */
void json_lines_clear(struct json_lines *);

/* Reads a text, of an object or of a list of them, and adds its records. Returns 0; or -1 with the
 * problem. */
int json_lines_add(struct json_lines *, const struct json_source *, const char *text,
                   size_t length);
void json_lines_release(struct json_lines *);

#endif
