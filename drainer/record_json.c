/* record_json.c: see record_json.h. */
#include "drainer/record_json.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/memory.h"
#include "schema/json_write.h"
#include "schema/text.h"
#include "schema/unpack.h"

enum { GROWTH = 8 }; /* most bytes of JSON for one of msgpack: \u0001 in quotes */

char *record_json_of_msgpack(const void *bytes, size_t length)
{
    struct unpack_reader reader = {bytes, (const unsigned char *)bytes + length};
    size_t capacity = length * GROWTH + 64;
    char *text = memory_or_abort(malloc(capacity));
    struct unpack_value value;

    struct json_writer writer = {.at = text, .end = text + capacity - 1};
    if (unpack_next(&reader, &value) != RECORD_FAULT_NONE ||
        json_write_value(&writer, &reader, &value, 0) != RECORD_FAULT_NONE || writer.full) {
        free(text);
        return NULL;
    }
    *writer.at = '\0';
    return text;
}

/* Takes one part of Redis' form. Returns what is behind it; NULL: there is none. */
static const char *take_part(const char *at, const char *end, const char **part, size_t *length)
{
    char *behind;

    if (at == NULL || at >= end || *at != '$') {
        return NULL;
    }
    unsigned long size = strtoul(at + 1, &behind, 10);
    if (end - behind < 4 || memcmp(behind, "\r\n", 2) != 0 ||
        (unsigned long)(end - behind) - 4 < size) {
        return NULL;
    }
    *part = behind + 2;
    *length = size;
    return behind + 2 + size + 2;
}

/* Reads text where it is text, else msgpack, else says how long it is. */
static json_t *json_of_part(const char *part, size_t length)
{
    json_t *text = memchr(part, '\0', length) == NULL ? json_stringn(part, length) : NULL;
    char *json = text == NULL ? record_json_of_msgpack(part, length) : NULL;

    if (json != NULL) {
        text = json_loads(json, JSON_DECODE_ANY, NULL);
        free(json);
    }
    return text != NULL ? text : json_sprintf("(%zu bytes)", length);
}

char *record_json_of_entry(const void *bytes, size_t length)
{
    /* strtoul in take_part reads no further than this NUL */
    char *copy = memory_or_abort(malloc(length + 1));
    const char *at = copy, *end = copy + length, *name, *value;
    size_t name_length, value_length;
    json_t *object = NULL;

    memcpy(copy, bytes, length);
    copy[length] = '\0';
    while ((at = take_part(at, end, &name, &name_length)) != NULL &&
           (at = take_part(at, end, &value, &value_length)) != NULL) {
        char key[256];

        object = object == NULL ? json_object() : object;
        snprintf(key, sizeof key, "%.*s", (int)(name_length < 255 ? name_length : 255), name);
        json_object_set_new(object, key, json_of_part(value, value_length));
    }
    free(copy);
    if (object == NULL) {
        return record_json_of_msgpack(bytes, length);
    }
    char *text = json_dumps(object, 0);
    json_decref(object);
    return text;
}

char *record_json_of_hex(const char *hex, size_t digits)
{
    unsigned char *bytes = memory_or_abort(malloc(digits / 2 + 1));

    for (size_t i = 0; i < digits / 2; i++) {
        bytes[i] =
            (unsigned char)(text_hex_digit(hex[2 * i]) << 4 | text_hex_digit(hex[2 * i + 1]));
    }
    char *json = record_json_of_entry(bytes, digits / 2);
    free(bytes);
    return json;
}
