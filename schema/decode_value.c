/* decode_value.c: decodes a field's value from msgpack. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "schema/decimal.h"
#include "schema/decoder.h"
#include "schema/json_read.h"

enum record_fault decoder_keep(struct decoder *decoder, struct record_value *out, const char *text,
                               int length)
{
    if (decoder->low - decoder->json.at < length) {
        return RECORD_FAULT_TOO_LONG;
    }
    decoder->low -= length;
    decoder->json.end = decoder->low;
    memcpy(decoder->low, text, (size_t)length);
    out->bytes = decoder->low;
    out->length = (uint32_t)length;
    return RECORD_FAULT_NONE;
}

static void point_into(struct record_value *out, const struct unpack_value *value)
{
    out->bytes = (const char *)value->bytes;
    out->length = (uint32_t)value->length;
}

/* Counts the bytes at the beginning that are among these. */
static size_t count_among(const char *bytes, size_t length, const char *among)
{
    size_t count = 0;

    while (count < length && bytes[count] != '\0' && strchr(among, bytes[count]) != NULL) {
        count++;
    }
    return count;
}

/* Takes the digits of a whole number, which may be beyond 64 bits, or have been written as 5.0. */
static enum record_fault decode_whole_number(const struct unpack_value *value,
                                             struct record_value *out)
{
    const char *digits = (const char *)value->bytes;
    size_t length = count_among(digits, value->length, "-0123456789");
    size_t behind =
        length < value->length && digits[length] == '.'
            ? length + 1 + count_among(digits + length + 1, value->length - length - 1, "0")
            : length;

    if (behind != value->length) {
        return RECORD_FAULT_WRONG_TYPE;
    }
    out->bytes = digits;
    out->length = (uint32_t)length;
    return length > LIMIT_TEXT_BYTES ? RECORD_FAULT_TOO_LONG : RECORD_FAULT_NONE;
}

#define EXACT_BELOW 9007199254740992.0 /* whole numbers that a double holds, all of them */

/* Takes the digits of a double that is a whole number. */
static enum record_fault decode_whole_double(struct decoder *decoder, double value,
                                             struct record_value *out)
{
    char digits[DECIMAL_INTEGER_BYTES];

    if (!(fabs(value) < EXACT_BELOW) || floor(value) != value) {
        return RECORD_FAULT_WRONG_TYPE;
    }
    return decoder_keep(decoder, out, digits, decimal_from_int64((int64_t)value, digits));
}

static enum record_fault decode_text(struct decoder *decoder, const struct unpack_value *value,
                                     struct record_value *out)
{
    char digits[DECIMAL_INTEGER_BYTES];

    switch (value->type) {
    case UNPACK_INT: /* exchanges have ids that are numbers */
        return decoder_keep(decoder, out, digits, decimal_from_int64(value->integer, digits));
    case UNPACK_BIG:
        return decoder_keep(decoder, out, digits, decimal_from_uint64(value->length, digits));
    case UNPACK_FLOAT:
    case UNPACK_DOUBLE: /* as Python and JavaScript have them */
        return decode_whole_double(decoder, value->floating, out);
    case UNPACK_EXT:
        if (!unpack_is_digits(value)) {
            return RECORD_FAULT_WRONG_TYPE;
        }
        return decode_whole_number(value, out);
    case UNPACK_STR:
        if (value->length > LIMIT_TEXT_BYTES) {
            return RECORD_FAULT_TOO_LONG;
        }
        point_into(out, value);
        return text_check(out->bytes, out->length);
    default:
        return RECORD_FAULT_WRONG_TYPE;
    }
}

enum record_fault decoder_canonical(const struct unpack_value *value,
                                    char text[LIMIT_DECIMAL_BYTES], int *length)
{
    switch (value->type) {
    case UNPACK_EXT:
        if (!unpack_is_digits(value)) {
            return RECORD_FAULT_WRONG_TYPE;
        } /* fall through */
    case UNPACK_STR:
        if (value->length > LIMIT_DECIMAL_BYTES) {
            return RECORD_FAULT_TOO_LONG;
        }
        *length = decimal_canonical((const char *)value->bytes, value->length, text);
        break;
    case UNPACK_INT:
        *length = decimal_from_int64(value->integer, text);
        break;
    case UNPACK_BIG:
        *length = decimal_from_uint64(value->length, text);
        break;
    case UNPACK_FLOAT:
        *length = decimal_from_float((float)value->floating, text);
        break;
    case UNPACK_DOUBLE:
        *length = decimal_from_double(value->floating, text);
        break;
    default:
        return RECORD_FAULT_WRONG_TYPE;
    }
    return *length < 0 ? RECORD_FAULT_NOT_DECIMAL : RECORD_FAULT_NONE;
}

static enum record_fault decode_decimal(struct decoder *decoder, const struct unpack_value *value,
                                        struct record_value *out)
{
    char text[LIMIT_DECIMAL_BYTES];
    int length;

    if (value->type == UNPACK_STR &&
        decimal_is_canonical((const char *)value->bytes, value->length)) {
        point_into(out, value);
        return value->length > LIMIT_DECIMAL_BYTES ? RECORD_FAULT_TOO_LONG : RECORD_FAULT_NONE;
    }
    enum record_fault fault = decoder_canonical(value, text, &length);
    return fault ? fault : decoder_keep(decoder, out, text, length);
}

/* Writes the pairs of amounts that came as a map, whose head has been read. */
static enum record_fault write_amounts(struct decoder *decoder, uint64_t pairs,
                                       struct json_writer *out)
{
    struct unpack_value key, value;
    char text[LIMIT_DECIMAL_BYTES];
    int length;

    for (uint64_t i = 0; i < pairs && !out->full; i++) {
        enum record_fault fault = unpack_next(&decoder->reader, &key);
        if (!fault) {
            fault = key.type == UNPACK_STR ? unpack_next(&decoder->reader, &value)
                                           : RECORD_FAULT_WRONG_TYPE;
        }
        if (!fault) {
            fault = text_check((const char *)key.bytes, key.length);
        }
        if (!fault) {
            json_write(out, i == 0 ? "{" : ",", 1);
            json_write_string(out, key.bytes, key.length);
            json_write(out, ":", 1);
        }
        if (!fault) {
            fault = decoder_canonical(&value, text, &length);
        }
        if (fault) {
            return fault;
        }
        json_write(out, text, (size_t)length);
    }
    json_write(out, "}", 1);
    return out->full ? RECORD_FAULT_TOO_LONG : RECORD_FAULT_NONE;
}

static enum record_fault decode_amounts(struct decoder *decoder, const struct unpack_value *value,
                                        struct record_value *out)
{
    char text[LIMIT_AMOUNTS_BYTES];
    struct json_writer writer = {.at = text, .end = text + sizeof text};
    enum record_fault fault = RECORD_FAULT_WRONG_TYPE;

    if (value->type == UNPACK_STR) {
        fault = json_read_amounts((const char *)value->bytes, value->length, &writer);
    } else if (value->type == UNPACK_MAP && value->length > 0) {
        fault = write_amounts(decoder, value->length, &writer);
    }
    return fault ? fault : decoder_keep(decoder, out, text, (int)(writer.at - text));
}

bool decoder_integer(const struct unpack_value *value, int64_t *integer)
{
    switch (value->type) {
    case UNPACK_INT:
        *integer = value->integer;
        return true;
    case UNPACK_DOUBLE:
        if (!(fabs(value->floating) < 9e18)) {
            return false;
        }
        *integer = (int64_t)value->floating;
        return (double)*integer == value->floating;
    default:
        return false;
    }
}

static enum record_fault decode_integer(const struct unpack_value *value, struct record_value *out)
{
    if (value->type != UNPACK_INT) {
        return value->type == UNPACK_BIG ? RECORD_FAULT_OUT_OF_RANGE : RECORD_FAULT_WRONG_TYPE;
    }
    out->integer = value->integer;
    return RECORD_FAULT_NONE;
}

/* Reads the nanoseconds that an object has as text. */
static bool time_of_digits(const struct unpack_value *value, int64_t *time_ns)
{
    uint64_t ns = 0;

    for (uint64_t i = 0; i < value->length; i++) {
        unsigned digit = value->bytes[i] - (unsigned)'0';
        if (digit > 9 || i > 18) {
            return false;
        }
        ns = ns * 10 + digit;
    }
    *time_ns = ns > INT64_MAX ? INT64_MAX : (int64_t)ns; /* out of range */
    return value->length > 0;
}

static enum record_fault decode_time(const struct decoder *decoder,
                                     const struct unpack_value *value, struct record_value *out)
{
    bool digits = decoder->object != NULL && value->type == UNPACK_STR &&
                  time_of_digits(value, &out->integer);
    enum record_fault fault = digits ? RECORD_FAULT_NONE : unpack_time_ns(value, &out->integer);

    if (!fault && (out->integer < LIMIT_TIME_MIN_NS || out->integer >= LIMIT_TIME_END_NS)) {
        fault = RECORD_FAULT_OUT_OF_RANGE;
    }
    return fault;
}

static enum record_fault decode_bool(const struct unpack_value *value, struct record_value *out)
{
    out->integer = value->type == UNPACK_TRUE;
    return value->type == UNPACK_TRUE || value->type == UNPACK_FALSE ? RECORD_FAULT_NONE
                                                                     : RECORD_FAULT_WRONG_TYPE;
}

/* Takes `extra` itself. Text is kept as it is, and merged at the end if need be; a map's members
 * are written at once. */
static enum record_fault decode_extra(struct decoder *decoder, const struct unpack_value *value,
                                      struct record_value *out)
{
    switch (value->type) {
    case UNPACK_STR:
        if (value->length > LIMIT_EXTRA_BYTES) {
            return RECORD_FAULT_TOO_LONG;
        }
        point_into(out, value);
        return json_read_object(out->bytes, out->length);
    case UNPACK_MAP:
        return json_write_members(&decoder->json, &decoder->reader, value->length, &decoder->comma,
                                  1);
    default:
        return RECORD_FAULT_WRONG_TYPE;
    }
}

enum record_fault decoder_value(struct decoder *decoder, unsigned index,
                                const struct unpack_value *value)
{
    struct record_value *out = &decoder->record->values[index];

    out->present = value->type != UNPACK_NIL;
    if (!out->present) {
        return RECORD_FAULT_NONE;
    }
    decoder->present |= UINT64_C(1) << index;
    switch (decoder->schema->fields[index].kind) {
    case FIELD_TEXT:
        return decode_text(decoder, value, out);
    case FIELD_DECIMAL:
        return decode_decimal(decoder, value, out);
    case FIELD_TIME:
        return index < RECORD_IDENTITY_FIELDS ? unpack_time_ns(value, &out->integer)
                                              : decode_time(decoder, value, out);
    case FIELD_INT:
        return decode_integer(value, out);
    case FIELD_BOOL:
        return decode_bool(value, out);
    case FIELD_AMOUNTS:
        return decode_amounts(decoder, value, out);
    case FIELD_JSON:
        return decode_extra(decoder, value, out);
    }
    abort();
}
