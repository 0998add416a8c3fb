/* json_text.h: what the record has no field for, as the text of one JSON object.
 *
 * str, int, float, Decimal (digit for digit), None, bool, dict with str keys, list, tuple, and
 * dates and times (as ISO 8601). */
#ifndef BLOTTER_PYTHON_JSON_TEXT_H
#define BLOTTER_PYTHON_JSON_TEXT_H

#include "value.h"

struct json {
    struct value_context *context;
    char *bytes;
    size_t used, capacity;
    char first[1024];
};

void json_init(struct json *, struct value_context *);
void json_release(struct json *);

/* Adds a member to the object. Where not TAKEN the object may be left as it is no more: json_init
 * again. */
enum outcome json_add(struct json *, PyObject *key, PyObject *value);

/* Adds all members of a mapping, or those of an object that is JSON text already. */
enum outcome json_add_all(struct json *, PyObject *object);

/* The text, valid until json_release; NULL if nothing was added. */
const char *json_end(struct json *);

#endif
