/* decode.c: decodes msgpack from the stream to a record, or to the reason why it is none.
 *
 * One pass over the map. A known key's value is checked and kept as a pointer into the given bytes;
 * where it has to be written anew (a decimal that was a float, an id that was an integer) it goes
 * to the scratch, from its end downwards. Unknown keys become JSON as they are met, from the
 * scratch's beginning upwards; so do values that their field cannot take. Records come from one's
 * own encoder nearly always, with the keys in the order of fields.h, so a key is looked for first
 * behind the one before it.
 *
 * Bytes that are no msgpack, a wrong identity, and a missing field without which the record is
 * useless end it: a record is taken whole or not at all. */
#include <stdlib.h>
#include <string.h>

#include "schema/decimal.h"
#include "schema/json_read.h"
#include "schema/json_write.h"
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
    uint64_t misplaced;      /* fields whose value went to `extra` ... */
    unsigned misplaced_count;
    uint8_t faults[RECORD_FIELDS_MAX]; /* ... and why */
};

/* --- values --- */

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
        if (!fault) {
            fault = text_check((const char *)key.bytes, key.length);
        }
        if (!fault) {
            json_write(out, i == 0 ? "{" : ",", 1);
            json_write_string(out, key.bytes, key.length);
            json_write(out, ":", 1);
        }
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
    struct json_writer writer = {.at = text, .end = text + sizeof text};
    enum record_fault fault = RECORD_FAULT_WRONG_TYPE;

    if (value->type == UNPACK_STR) {
        fault = json_read_amounts((const char *)value->bytes, value->length, &writer);
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

static enum record_fault decode_time(const struct unpack_value *value, struct record_value *out)
{
    enum record_fault fault = unpack_time_ns(value, &out->integer);

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
        return json_read_object(out->bytes, out->length);
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
        return index < RECORD_IDENTITY_FIELDS ? unpack_time_ns(value, &out->integer)
                                              : decode_time(value, out);
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

/* --- keys --- */

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

/* Does a wrong value of this field spoil the record? Those of the identity and the counters of
 * sessions do; those that are required are missed at the end. */
static bool spoils_record(const struct decoder *decoder, unsigned index, enum record_fault fault)
{
    return fault == RECORD_FAULT_TRUNCATED || fault == RECORD_FAULT_NOT_MSGPACK ||
           index < IDENTITY_lane || decoder->schema->fields[index].kind == FIELD_INT ||
           (index == decoder->extra && fault == RECORD_FAULT_TOO_LONG);
}

/* Writes the value that begins at `first` as a member of `extra`: its field cannot take it. */
static enum record_fault misplace(struct decoder *decoder, unsigned index,
                                  const unsigned char *first, enum record_fault why)
{
    const struct record_field *field = &decoder->schema->fields[index];
    unsigned changed = decoder->json.changed;
    struct unpack_value value;

    decoder->record->values[index] = (struct record_value){0};
    decoder->present &= ~(UINT64_C(1) << index);
    decoder->misplaced |= UINT64_C(1) << index;
    decoder->misplaced_count++;
    decoder->faults[index] = (uint8_t)why;
    decoder->reader.at = first;
    json_write_comma(&decoder->json, &decoder->comma);
    json_write_string(&decoder->json, field->name, field->name_length);
    json_write(&decoder->json, ":", 1);
    enum record_fault fault = unpack_next(&decoder->reader, &value);
    if (!fault) {
        fault = json_write_value(&decoder->json, &decoder->reader, &value, 1);
    }
    decoder->json.changed = changed; /* the value counts once */
    return fault;
}

static enum record_fault decode_field(struct decoder *decoder, unsigned index)
{
    const unsigned char *first = decoder->reader.at;
    struct unpack_value value;

    decoder->field = decoder->schema->fields[index].name;
    if (decoder->seen >> index & 1) {
        return RECORD_FAULT_DUPLICATE;
    }
    decoder->seen |= UINT64_C(1) << index;
    decoder->expected = index + 1;
    enum record_fault fault = unpack_next(&decoder->reader, &value);
    if (!fault) {
        fault = decode_value(decoder, index, &value);
    }
    if (!fault || spoils_record(decoder, index, fault)) {
        return fault;
    }
    return misplace(decoder, index, first, fault);
}

static enum record_fault decode_pair(struct decoder *decoder)
{
    struct unpack_reader before;
    struct unpack_value key;
    int index = take_expected_key(decoder);

    if (index >= 0) {
        return decode_field(decoder, (unsigned)index);
    }
    decoder->field = NULL;
    before = decoder->reader;
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
    decoder->reader = before;
    return json_write_members(&decoder->json, &decoder->reader, 1, &decoder->comma, 1);
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

/* --- the record as a whole --- */

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
        const char *inside = json_read_inside(out->bytes, out->length, &inside_length);
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
        decoder->field = decoder->schema->fields[parts[i]].name;
        if (!values[parts[i]].present) {
            return RECORD_FAULT_MISSING;
        }
        if (!record_integer_valid(decoder->record->kind, parts[i], values[parts[i]].integer)) {
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

/* The counters of a session record; the identity's are checked for themselves. */
static enum record_fault check_integers(struct decoder *decoder)
{
    for (unsigned i = RECORD_IDENTITY_FIELDS; i < decoder->extra; i++) {
        const struct record_value *value = &decoder->record->values[i];
        if (value->present && decoder->schema->fields[i].kind == FIELD_INT &&
            !record_integer_valid(decoder->record->kind, i, value->integer)) {
            decoder->field = decoder->schema->fields[i].name;
            return RECORD_FAULT_OUT_OF_RANGE;
        }
    }
    return RECORD_FAULT_NONE;
}

static enum record_fault check_required(struct decoder *decoder)
{
    uint64_t missing = record_missing(decoder->record->kind, decoder->present);
    uint64_t wrong = missing & decoder->misplaced;

    if (missing == 0) {
        decoder->field = NULL;
        return RECORD_FAULT_NONE;
    }
    int index = __builtin_ctzll(wrong != 0 ? wrong : missing);
    decoder->field = decoder->schema->fields[index].name;
    return wrong != 0 ? (enum record_fault)decoder->faults[index] : RECORD_FAULT_MISSING;
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
    if (!fault && decoder->record->kind == RECORD_SESSION) {
        fault = check_integers(decoder);
    }
    return fault ? fault : check_required(decoder);
}

/* A record that was decoded: notes what is in `extra` as its field could not take it. */
static void tell_misplaced(const struct decoder *decoder, struct record_problem *problem)
{
    problem->misplaced = decoder->misplaced_count + decoder->json.changed;
    if (decoder->misplaced != 0) {
        int first = __builtin_ctzll(decoder->misplaced);
        problem->fault = (enum record_fault)decoder->faults[first];
        problem->field = decoder->schema->fields[first].name;
    }
}

int record_decode(enum record_kind kind, const void *bytes, size_t length,
                  struct record_scratch *scratch, struct record *record,
                  struct record_problem *problem)
{
    const struct record_schema *schema = &record_schemas[kind];
    const unsigned char *at = bytes;
    struct decoder decoder;

    decoder.reader = (struct unpack_reader){at, at + length};
    decoder.schema = schema;
    decoder.record = record;
    decoder.seen = decoder.present = decoder.misplaced = 0;
    decoder.expected = decoder.misplaced_count = 0;
    decoder.extra = schema->field_count - 1;
    decoder.low = scratch->bytes + scratch->capacity;
    decoder.json = (struct json_writer){.at = scratch->bytes, .end = decoder.low};
    decoder.comma = false;
    decoder.field = NULL;
    record->kind = kind;
    memset(record->values, 0, schema->field_count * sizeof record->values[0]);
    enum record_fault fault = decode(&decoder, length);
    problem->fault = fault;
    problem->field = decoder.field;
    scratch->used = scratch->capacity - (size_t)(decoder.low - decoder.json.at);
    if (fault) {
        return -1;
    }
    tell_misplaced(&decoder, problem);
    return 0;
}
