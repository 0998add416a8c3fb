/* decode.c: msgpack from the stream to a record, or to the reason why it is none.
 *
 * One pass over the map. A known key's value is checked and kept as a pointer into the given bytes;
 * where it has to be written anew (a decimal that was a float, an id that was an integer) it goes
 * to the scratch, from its end downwards. What is unknown becomes JSON as it is met, from the
 * scratch's beginning upwards. Records come from one's own encoder nearly always, with the keys in
 * the order of fields.h, so a key is looked for first behind the one before it.
 *
 * The first fault ends it: a record is taken whole or not at all. */
#include <stdlib.h>
#include <string.h>

#include "schema/decimal.h"
#include "schema/json.h"
#include "schema/record.h"
#include "schema/stream.h"
#include "schema/text.h"
#include "schema/unpack.h"

struct decoder {
    struct unpack_reader reader;
    const struct record_schema *schema;
    struct record *record;
    uint64_t seen;           /* keys met, nil or not */
    uint64_t present;        /* fields that have a value */
    unsigned expected;       /* the field that would be next if keys came in order */
    unsigned extra;          /* index of the field `extra` */
    struct json_writer json; /* members of `extra` that had to be written */
    bool comma;              /* there are some */
    char *low;               /* the lowest byte used at the scratch's end */
    const char *field;       /* being decoded, for the problem */
};

/* --- values
 * --------------------------------------------------------------------------------------------------------------
 */

/* Keeps text that was made here, as a value. */
static enum record_fault keep(struct decoder *decoder, struct record_value *out, const char *text,
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

static enum record_fault decode_text(struct decoder *decoder, const struct unpack_value *value,
                                     struct record_value *out)
{
    char digits[DECIMAL_INTEGER_BYTES];

    switch (value->type) {
    case UNPACK_INT: /* exchanges have ids that are numbers */
        return keep(decoder, out, digits, decimal_from_int64(value->integer, digits));
    case UNPACK_BIG:
        return keep(decoder, out, digits, decimal_from_uint64(value->length, digits));
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

/* Writes the canonical text of a number, or of a text that is one, and sets its length. */
static enum record_fault canonical_text(const struct unpack_value *value,
                                        char text[LIMIT_DECIMAL_BYTES], int *length)
{
    switch (value->type) {
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
    enum record_fault fault = canonical_text(value, text, &length);
    return fault ? fault : keep(decoder, out, text, length);
}

/* The pairs of amounts given as a map, whose head has been read. */
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
        json_write(out, i == 0 ? "{" : ",", 1);
        if (!fault) {
            fault = json_write_string(out, key.bytes, key.length);
        }
        json_write(out, ":", 1);
        if (!fault) {
            fault = canonical_text(&value, text, &length);
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
    struct json_writer writer = {text, text + sizeof text, false};
    enum record_fault fault = RECORD_FAULT_WRONG_TYPE;

    if (value->type == UNPACK_STR) {
        fault = json_amounts((const char *)value->bytes, value->length, &writer);
    } else if (value->type == UNPACK_MAP && value->length > 0) {
        fault = write_amounts(decoder, value->length, &writer);
    }
    return fault ? fault : keep(decoder, out, text, (int)(writer.at - text));
}

static enum record_fault decode_integer(const struct unpack_value *value, struct record_value *out)
{
    if (value->type != UNPACK_INT) {
        return value->type == UNPACK_BIG ? RECORD_FAULT_OUT_OF_RANGE : RECORD_FAULT_WRONG_TYPE;
    }
    out->integer = value->integer;
    return RECORD_FAULT_NONE;
}

static enum record_fault decode_bool(const struct unpack_value *value, struct record_value *out)
{
    out->integer = value->type == UNPACK_TRUE;
    return value->type == UNPACK_TRUE || value->type == UNPACK_FALSE ? RECORD_FAULT_NONE
                                                                     : RECORD_FAULT_WRONG_TYPE;
}

/* `extra` itself. As text it is kept as it is, and merged at the end if need be; a map's members
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
        return json_object_check(out->bytes, out->length);
    case UNPACK_MAP:
        return json_write_members(&decoder->json, &decoder->reader, value->length, &decoder->comma,
                                  1);
    default:
        return RECORD_FAULT_WRONG_TYPE;
    }
}

static enum record_fault decode_value(struct decoder *decoder, unsigned index,
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
        return unpack_time_ns(value, &out->integer);
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

/* --- keys
 * ----------------------------------------------------------------------------------------------------------------
 */

/* The index of the field of that name, or -1. */
static int find_field(const struct decoder *decoder, const struct unpack_value *key)
{
    for (unsigned index = 0; index < decoder->schema->field_count; index++) {
        const struct record_field *field = &decoder->schema->fields[index];
        if (field->name_length == key->length &&
            memcmp(field->name, key->bytes, key->length) == 0) {
            return (int)index;
        }
    }
    return -1;
}

/* Takes the key, if it is short and that of a field behind the one before, as one's own encoder
 * writes them. Else takes nothing and returns -1. */
static int take_expected_key(struct decoder *decoder)
{
    struct unpack_reader *reader = &decoder->reader;
    ptrdiff_t left = reader->end - reader->at;
    unsigned length =
        left > 0 ? reader->at[0] ^ 0xa0U : 0xff; /* a short string's first byte is 0xa0 + length */

    if (length > 0x1f || left <= (ptrdiff_t)length) {
        return -1;
    }
    for (unsigned index = decoder->expected; index < decoder->schema->field_count; index++) {
        const struct record_field *field = &decoder->schema->fields[index];
        if (field->name_length == length &&
            text_same(field->name, (const char *)reader->at + 1, length)) {
            reader->at += 1 + length;
            return (int)index;
        }
    }
    return -1;
}

static enum record_fault decode_field(struct decoder *decoder, unsigned index)
{
    struct unpack_value value;

    decoder->field = decoder->schema->fields[index].name;
    if (decoder->seen >> index & 1) {
        return RECORD_FAULT_DUPLICATE;
    }
    decoder->seen |= UINT64_C(1) << index;
    decoder->expected = index + 1;
    enum record_fault fault = unpack_next(&decoder->reader, &value);
    return fault ? fault : decode_value(decoder, index, &value);
}

static enum record_fault decode_pair(struct decoder *decoder)
{
    struct unpack_value key;
    int index = take_expected_key(decoder);

    if (index >= 0) {
        return decode_field(decoder, (unsigned)index);
    }
    decoder->field = NULL;
    enum record_fault fault = unpack_next(&decoder->reader, &key);
    if (fault) {
        return fault;
    }
    if (key.type != UNPACK_STR) {
        return RECORD_FAULT_NOT_MSGPACK;
    }
    index = find_field(decoder, &key);
    if (index >= 0) {
        return decode_field(decoder, (unsigned)index);
    }
    decoder->field = decoder->schema->fields[decoder->extra].name;
    return json_write_member(&decoder->json, &decoder->reader, &key, &decoder->comma, 1);
}

static enum record_fault decode_pairs(struct decoder *decoder)
{
    struct unpack_value map;

    enum record_fault fault = unpack_next(&decoder->reader, &map);
    if (fault) {
        return fault;
    }
    if (map.type != UNPACK_MAP) {
        return RECORD_FAULT_NOT_MSGPACK;
    }
    if (map.length > LIMIT_KEYS) {
        return RECORD_FAULT_TOO_MANY;
    }
    for (uint64_t i = 0; i < map.length && !fault; i++) {
        fault = decode_pair(decoder);
    }
    if (fault) {
        return fault;
    }
    decoder->field = NULL;
    return decoder->reader.at < decoder->reader.end ? RECORD_FAULT_TRAILING : RECORD_FAULT_NONE;
}

/* --- the record as a whole
 * -----------------------------------------------------------------------------------------------
 */

/* Makes `extra` of what was given as text and of the members that were written. */
static enum record_fault finish_extra(struct decoder *decoder, const char *written)
{
    struct record_value *out = &decoder->record->values[decoder->extra];
    size_t inside_length;

    decoder->field = decoder->schema->fields[decoder->extra].name;
    if (!decoder->comma &&
        (!out->present || out->bytes != NULL)) { /* absent, or text and nothing to add */
        return RECORD_FAULT_NONE;
    }
    if (out->bytes != NULL) {
        const char *inside = json_object_inside(out->bytes, out->length, &inside_length);
        if (inside_length > 0) {
            json_write(&decoder->json, ",", 1);
        }
        json_write(&decoder->json, inside, inside_length);
    }
    json_write(&decoder->json, "}", 1);
    if (decoder->json.full || decoder->json.at - written > LIMIT_EXTRA_BYTES) {
        return RECORD_FAULT_TOO_LONG;
    }
    out->present = true;
    out->bytes = written;
    out->length = (uint32_t)(decoder->json.at - written);
    return RECORD_FAULT_NONE;
}

/* An identity is given whole or not at all. */
static enum record_fault check_identity(struct decoder *decoder)
{
    static const unsigned parts[] = {IDENTITY_producer_id, IDENTITY_seq, IDENTITY_recorded_at};
    const struct record_value *values = decoder->record->values;
    const struct record_value *exchange = &values[IDENTITY_exchange];
    bool any = values[parts[0]].present || values[parts[1]].present || values[parts[2]].present;

    for (unsigned i = 0; any && i < 3; i++) {
        int64_t least = parts[i] == IDENTITY_recorded_at ? LIMIT_RECORDED_AT_MIN_NS : 1;
        decoder->field = decoder->schema->fields[parts[i]].name;
        if (!values[parts[i]].present) {
            return RECORD_FAULT_MISSING;
        }
        if (values[parts[i]].integer < least) {
            return RECORD_FAULT_OUT_OF_RANGE;
        }
    }
    decoder->field = decoder->schema->fields[IDENTITY_exchange].name;
    if (exchange->present && !stream_name_part_valid(exchange->bytes, exchange->length)) {
        return exchange->length > LIMIT_EXCHANGE_BYTES ? RECORD_FAULT_TOO_LONG
                                                       : RECORD_FAULT_OUT_OF_RANGE;
    }
    return RECORD_FAULT_NONE;
}

static enum record_fault check_required(struct decoder *decoder)
{
    decoder->field = record_missing(decoder->record->kind, decoder->present);
    return decoder->field != NULL ? RECORD_FAULT_MISSING : RECORD_FAULT_NONE;
}

static enum record_fault decode(struct decoder *decoder, size_t length)
{
    char *written = decoder->json.at;

    if (length > LIMIT_RECORD_BYTES) {
        return RECORD_FAULT_TOO_LONG;
    }
    json_write(&decoder->json, "{", 1);
    enum record_fault fault = decode_pairs(decoder);
    if (!fault) {
        fault = finish_extra(decoder, written);
    }
    if (!fault) {
        fault = check_identity(decoder);
    }
    return fault ? fault : check_required(decoder);
}

int record_decode(enum record_kind kind, const void *bytes, size_t length,
                  struct record_scratch *scratch, struct record *record,
                  struct record_problem *problem)
{
    const struct record_schema *schema = &record_schemas[kind];
    const unsigned char *at = bytes;
    struct decoder decoder = {
        .reader = {at, at + length},
        .schema = schema,
        .record = record,
        .extra = schema->field_count - 1,
        .json = {scratch->bytes, scratch->bytes + scratch->capacity, false},
        .low = scratch->bytes + scratch->capacity,
    };

    record->kind = kind;
    memset(record->values, 0, schema->field_count * sizeof record->values[0]);
    problem->fault = decode(&decoder, length);
    problem->field = decoder.field;
    scratch->used = scratch->capacity - (size_t)(decoder.low - decoder.json.at);
    return problem->fault ? -1 : 0;
}
