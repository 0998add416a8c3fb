/* encode_extra.c: encodes `extra`: the strategy's own members, and values that did not fit their
 * fields. */
#include <string.h>

#include "schema/double_text.h"
#include "schema/encoder.h"
#include "schema/json_read.h"
#include "schema/json_write.h"
#include "schema/pack.h"
#include "schema/text.h"

/* Writes a text, or as much of its beginning as there is room for. */
static void write_text_to_fit(struct json_writer *json, const char *text)
{
    struct json_writer before = *json;
    size_t length = strlen(text);

    json_write_string(json, text, length);
    while (json->full && length > 0) {
        for (length /= 2; length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80; length--) {
            /* not in the middle of a letter */
        }
        *json = before;
        json_write_string(json, text, length);
    }
}

static void write_misplaced(struct json_writer *json, const struct record_field *field,
                            const void *record)
{
    const char *member = (const char *)record + field->offset, *text;
    double value;

    json_write(json, "\"", 1);
    json_write(json, field->name, field->name_length);
    json_write(json, "\":", 2);
    switch (field->kind) {
    case FIELD_TIME:
    case FIELD_INT:
        json_write_integer(json, (int64_t)text_load8(member));
        return;
    case FIELD_BOOL:
        json_write_integer(json, text_load4(member));
        return;
    case FIELD_TEXT:
    case FIELD_DECIMAL:
    case FIELD_AMOUNTS:
    case FIELD_JSON:
        memcpy(&text, member, sizeof text);
        if (field->kind == FIELD_DECIMAL && text[0] == RECORD_DOUBLE_MARK &&
            double_text_read(text, &value)) {
            json_write_double(json, value);
        } else {
            write_text_to_fit(json, text);
        }
    }
}

/* Writes an object of the members between the strategy's own braces, and of the misplaced values
 * as far as there is room: a record is not lost for them. */
static unsigned char *put_merged(const struct encoder *encoder, unsigned char *at,
                                 const char *inside, size_t inside_length)
{
    char *text = (char *)at + ENCODER_STR_HEAD_BYTES_MAX;
    size_t most = encoder_room(encoder, at) - ENCODER_STR_HEAD_BYTES_MAX;
    struct json_writer json = {
        .at = text, .end = text + (most < LIMIT_EXTRA_BYTES ? most : LIMIT_EXTRA_BYTES) - 1};

    json_write(&json, "{", 1);
    json_write(&json, inside, inside_length);
    for (uint64_t left = encoder->misplaced; left != 0; left &= left - 1) {
        struct json_writer before = json;
        json_write(&json, ",", json.at > text + 1);
        write_misplaced(&json, &record_schemas[encoder->kind].fields[__builtin_ctzll(left)],
                        encoder->record);
        if (json.full) {
            json = before;
        }
    }
    *json.at++ = '}';
    size_t length = (size_t)(json.at - text);
    msgpack_pack_str(&at, length);
    memmove(at, text, length);
    return at + length;
}

unsigned char *encoder_extra(struct encoder *encoder, unsigned char *at)
{
    unsigned index = record_schemas[encoder->kind].field_count - 1;
    const struct record_field *field = &record_schemas[encoder->kind].fields[index];
    const char *extra, *inside = "";

    memcpy(&extra, (const char *)encoder->record + field->offset, sizeof extra);
    size_t length = extra != NULL ? strlen(extra) : 0;
    enum record_fault fault = extra != NULL ? json_read_object(extra, length) : RECORD_FAULT_NONE;

    if (fault == RECORD_FAULT_TOO_LONG) {
        return encoder_refuse(encoder, fault);
    }
    if (fault) {
        encoder_misplace(encoder, index, fault);
    }
    bool own = extra != NULL && !fault;
    unsigned char *value = encoder_key(encoder, at, field);
    if (value != NULL && encoder->misplaced == 0) {
        value = encoder_str(encoder, value, extra, length);
    } else if (value != NULL && encoder_room(encoder, value) >=
                                    ENCODER_STR_HEAD_BYTES_MAX + 2 + (own ? length : 0)) {
        inside = own ? json_read_inside(extra, length, &length) : inside;
        value = put_merged(encoder, value, inside, own ? length : 0);
    } else {
        value = NULL;
    }
    if (value == NULL) {
        return own ? encoder_full(encoder) : at;
    }
    encoder->given += ENCODER_PAIR;
    return value;
}
