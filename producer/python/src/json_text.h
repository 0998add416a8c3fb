/* json_text.h: writes the values that a record has no field for as the text of one JSON object.
 *
 * str, int, float, Decimal (digit for digit), None, bool, dict, list, tuple, and dates and times
 * (as ISO 8601). Any other value, a number that is not finite, or a container that is nested too
 * deeply becomes text and is counted: it must not cost the record. */
#ifndef BLOTTER_PYTHON_JSON_TEXT_H
#define BLOTTER_PYTHON_JSON_TEXT_H

#include "value.h"

struct json {
    struct value_context *context;
    char *bytes;
    size_t used, capacity;
    bool prune;       /* leave out nulls, and the venue's own messages, at every depth */
    bool mark;        /* write what is no text as json_slice_is_shown() knows it */
    unsigned as_text; /* how many values became text */
    char first[1024];
};

void json_init(struct json *, struct value_context *);
void json_release(struct json *);

/* Adds a member to the object. On failure nothing is added; nor is a container in which pruning
 * leaves nothing. */
enum outcome json_add(struct json *, PyObject *key, PyObject *value);

/* Adds all members of a mapping, or those of an object that is JSON text already. */
enum outcome json_add_all(struct json *, PyObject *object);

/* Ends the object: its text, valid until the next call; NULL if nothing was added. More may be
 * added afterwards. */
const char *json_end(struct json *);

#endif
