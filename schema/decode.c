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
#include <string.h>

#include "schema/decoder.h"
#include "schema/json_read.h"
#include "schema/stream.h"
#include "schema/text.h"

/* --- keys --- */

/* Returns the index of the field of that name, or -1. */
static int decode_find_field(const struct decoder *decoder, const struct unpack_value *key)
{
    for (unsigned index = 0; index < decoder->schema->field_count; index++) {
        const struct record_field *field = &decoder->schema->fields[index];
        if (field->name_length == key->length &&
            text_same(field->name, (const char *)key->bytes, key->length)) {
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

/* Says whether a wrong value of this field spoils the record. Those of the identity and the
 * counters of sessions do; those that are required are missed at the end. */
static bool spoils_record(const struct decoder *decoder, unsigned index, enum record_fault fault)
{
    return fault == RECORD_FAULT_TRUNCATED || fault == RECORD_FAULT_NOT_MSGPACK ||
           index < IDENTITY_lane || decoder->schema->fields[index].kind == FIELD_INT ||
           (index == decoder->extra && fault == RECORD_FAULT_TOO_LONG);
}

static enum record_fault decode_field(struct decoder *decoder, unsigned index);

/* Decodes a field that has a value by ccxt's name: ours wins, and another value goes to `extra`. */
static enum record_fault decode_over(struct decoder *decoder, unsigned index)
{
    struct ccxt_keys *ccxt = &decoder->ccxt;
    struct record_value before = decoder->record->values[index];

    ccxt->fields &= ~(UINT64_C(1) << index);
    enum record_fault fault = decode_field(decoder, index);
    struct record_value *out = &decoder->record->values[index];
    if (fault || (out->present && decoder_ccxt_same(&before, out))) {
        return fault;
    }
    if (!out->present || decoder_is_empty(decoder, index)) {
        *out = before;
        decoder->present |= UINT64_C(1) << index;
        return RECORD_FAULT_NONE;
    }
    struct unpack_reader behind = decoder->reader;
    const char *name = ccxt->names[index]->name;
    fault = decoder_extra_member(decoder, name, ccxt->values[index]);
    decoder->reader = behind;
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
    if (decoder->ccxt.fields >> index & 1) {
        return decode_over(decoder, index);
    }
    decoder->seen |= UINT64_C(1) << index;
    decoder->expected = index + 1;
    enum record_fault fault = unpack_next(&decoder->reader, &value);
    if (!fault) {
        fault = decoder_value(decoder, index, &value);
    }
    if (!fault || spoils_record(decoder, index, fault)) {
        return fault;
    }
    enum record_fault why = fault;
    return decoder_ccxt_value(decoder, index, first, &fault)
               ? fault
               : decoder_misplace(decoder, index, decoder->field, first, why);
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
    index = decode_find_field(decoder, &key);
    if (index >= 0) {
        return decode_field(decoder, (unsigned)index);
    }
    const struct ccxt_name *name =
        decoder_ccxt_find(decoder->record->kind, (const char *)key.bytes, key.length);
    if (name != NULL) {
        return decoder_ccxt_key(decoder, name);
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

/* Checks that an identity is given whole or not at all. */
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

/* Checks the counters of a session record; the identity's are checked for themselves. */
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

/* Says whether it is a balance of many currencies, as ccxt has it. One without currency is that of
 * an empty account, and says nothing else. */
static bool is_balance_of_many(const struct decoder *decoder)
{
    return decoder->record->kind == RECORD_BALANCE && decoder->object == NULL && decoder->comma &&
           !decoder_has(decoder, BALANCE_currency);
}

static enum record_fault check_required(struct decoder *decoder)
{
    uint64_t missing = record_missing(decoder->record->kind, decoder->present) |
                       (uint64_t)is_balance_of_many(decoder) << BALANCE_currency;
    uint64_t wrong = missing & decoder->misplaced;

    if (missing == 0) {
        decoder->field = NULL;
        return RECORD_FAULT_NONE;
    }
    int index = __builtin_ctzll(wrong != 0 ? wrong : missing);
    decoder->field = decoder->schema->fields[index].name;
    return wrong != 0 ? (enum record_fault)decoder->faults[index] : RECORD_FAULT_MISSING;
}

static enum record_fault decode_one(struct decoder *decoder, size_t length)
{
    char *written = decoder->json.at;

    if (length > LIMIT_RECORD_BYTES) {
        return RECORD_FAULT_TOO_LONG;
    }
    json_write(&decoder->json, "{", 1);
    enum record_fault fault = decode_pairs(decoder);
    if (!fault && decoder->ccxt.any) {
        fault = decoder_ccxt_finish(decoder);
    }
    if (!fault) {
        fault = finish_extra(decoder, written);
    }
    if (!fault) {
        fault = check_identity(decoder);
    }
    if (!fault && decoder->record->kind == RECORD_SESSION) {
        fault = check_integers(decoder);
    }
    bool lenient = decoder->object != NULL && decoder->object->lenient;
    return fault || lenient ? fault : check_required(decoder);
}

/* Notes what of a decoded record is in `extra`, as its field could not take it. */
static void decode_tell_misplaced(const struct decoder *decoder, struct record_problem *problem)
{
    problem->misplaced = decoder->misplaced_count + decoder->json.changed;
    if (decoder->misplaced != 0) {
        int first = __builtin_ctzll(decoder->misplaced);
        problem->fault = (enum record_fault)decoder->faults[first];
        problem->field = decoder->schema->fields[first].name;
    }
}

static int decode_any(enum record_kind kind, const char *exchange,
                      const struct record_object *object, const void *bytes, size_t length,
                      struct record_scratch *scratch, struct record *record,
                      struct record_problem *problem)
{
    const struct record_schema *schema = &record_schemas[kind];
    const unsigned char *at = bytes;
    struct decoder decoder; /* not cleared: what ccxt's keys need is large, and seldom used */

    decoder.reader = (struct unpack_reader){at, at + length};
    decoder.schema = schema;
    decoder.record = record;
    decoder.seen = decoder.present = decoder.misplaced = 0;
    decoder.expected = decoder.misplaced_count = 0;
    decoder.extra = schema->field_count - 1;
    decoder.low = scratch->bytes + scratch->capacity;
    decoder.json = (struct json_writer){.at = scratch->bytes, .end = decoder.low};
    decoder.comma = false;
    decoder.exchange = exchange;
    decoder.object = object;
    decoder.json.digits = object != NULL;
    decoder.ccxt.any = false;
    decoder.ccxt.fields = 0;
    if (object != NULL && !object->own) {
        decoder_ccxt_meet(&decoder.ccxt);
    }
    decoder.field = NULL;
    record->kind = kind;
    memset(record->values, 0, schema->field_count * sizeof record->values[0]);
    enum record_fault fault = decode_one(&decoder, length);
    problem->fault = fault;
    problem->field = decoder.field;
    scratch->used = scratch->capacity - (size_t)(decoder.low - decoder.json.at);
    if (fault) {
        return -1;
    }
    decode_tell_misplaced(&decoder, problem);
    return 0;
}

int record_decode_object(enum record_kind kind, const struct record_object *object,
                         const void *bytes, size_t length, struct record_scratch *scratch,
                         struct record *record, struct record_problem *problem)
{
    return decode_any(kind, object->exchange, object, bytes, length, scratch, record, problem);
}

int record_decode(enum record_kind kind, const char *exchange, const void *bytes, size_t length,
                  struct record_scratch *scratch, struct record *record,
                  struct record_problem *problem)
{
    return decode_any(kind, exchange, NULL, bytes, length, scratch, record, problem);
}
