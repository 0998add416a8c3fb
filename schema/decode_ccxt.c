/* decode_ccxt.c: takes what ccxt's unified objects say in their own way.
 *
 * The names are in ccxt_names.h. A key that is another name for a field is decoded at once; where
 * two names give one field, that of the lower rank wins, and the other value goes to `extra` if it
 * differs. Values that mean something only together, as a fee and its currency, an amount and its
 * direction, are remembered by the place where they begin, until all keys have been seen. */
#include <string.h>

#include "schema/decimal.h"
#include "schema/decoder.h"
#include "schema/iso_time.h"
#include "schema/text.h"

enum { NS_PER_MS = 1000000 };

/* Names of ccxt's that have no field: their values change one, or several, of others. */
enum hint {
    HINT_DIRECTION = 100,
    HINT_BEFORE,
    HINT_ADDRESS_TO,
    HINT_SIDE,
    HINT_PRECISION,
    HINT_LIMITS,
    HINT_SPOT,
    HINT_CONTRACT,
};
/* clang-format off */
#define HINT(kind, name, hint) \
    {RECORD_##kind, {#name, sizeof #name - 1, CCXT_NO_FIELD, HINT_##hint, 0}},
static const struct hint_name {
    enum record_kind kind;
    struct ccxt_name name;
} hints[] = {
    HINT(CASH, direction, DIRECTION)
    HINT(CASH, before, BEFORE)
    HINT(CASH, addressTo, ADDRESS_TO)
    HINT(POSITION, side, SIDE)
    HINT(INSTRUMENT, precision, PRECISION)
    HINT(INSTRUMENT, limits, LIMITS)
    HINT(INSTRUMENT, spot, SPOT)
    HINT(INSTRUMENT, contract, CONTRACT)
};
/* clang-format on */

const struct ccxt_name *decoder_ccxt_find(enum record_kind kind, const char *key, size_t length)
{
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
        const struct ccxt_name *name = &hints[i].name;
        if (hints[i].kind == kind && name->length == length && text_same(name->name, key, length)) {
            return name;
        }
    }
    return kind < RECORD_KINDS ? ccxt_name_find(kind, key, length) : NULL;
}

/* --- other names of fields --- */

static enum record_fault time_of_ms(const struct unpack_value *value, struct record_value *out)
{
    int64_t ms, fraction_ns = 0;
    bool read = value->type == UNPACK_STR || unpack_is_digits(value)
                    ? ccxt_time_read((const char *)value->bytes, value->length, &ms, &fraction_ns)
                : value->type == UNPACK_DOUBLE
                    ? ccxt_time_of_double(value->floating, &ms, &fraction_ns)
                    : decoder_integer(value, &ms);

    if (!read) {
        return RECORD_FAULT_WRONG_TYPE;
    }
    if (ms < CCXT_TIME_MS_MIN || ms >= CCXT_TIME_MS_MAX) {
        return RECORD_FAULT_OUT_OF_RANGE;
    }
    *out = (struct record_value){.present = true, .integer = ms * NS_PER_MS + fraction_ns};
    return RECORD_FAULT_NONE;
}

/* Says whether it is the time 0, which ccxt has for none. */
static bool is_no_time(const struct unpack_value *value)
{
    return (value->type == UNPACK_INT && value->integer == 0) ||
           (value->type == UNPACK_DOUBLE && value->floating == 0);
}

static enum record_fault field_value(struct decoder *decoder, const struct ccxt_name *name,
                                     const struct unpack_value *value)
{
    if (name->how == CCXT_TIME_MS) {
        decoder->present |= UINT64_C(1) << name->field;
        return time_of_ms(value, &decoder->record->values[name->field]);
    }
    return decoder_value(decoder, name->field, value);
}

bool decoder_ccxt_same(const struct record_value *a, const struct record_value *b)
{
    return a->integer == b->integer && a->length == b->length &&
           (a->length == 0 || memcmp(a->bytes, b->bytes, a->length) == 0);
}

/* Takes a second name of a field that has a value already. */
static enum record_fault take_second_name(struct decoder *decoder, const struct ccxt_name *name,
                                          const unsigned char *first,
                                          const struct unpack_value *value)
{
    struct ccxt_keys *ccxt = &decoder->ccxt;
    struct record_value *out = &decoder->record->values[name->field];
    struct record_value before = *out;
    bool ours = (ccxt->fields >> name->field & 1) == 0;
    bool wins = !ours && name->rank < ccxt->names[name->field]->rank;
    enum record_fault fault = field_value(decoder, name, value);
    struct unpack_reader behind = decoder->reader;

    if (!fault && decoder_ccxt_same(&before, out)) {
        return RECORD_FAULT_NONE;
    }
    if (fault || !wins) {
        *out = before;
        return decoder_extra_member(decoder, name->name, first);
    }
    fault =
        decoder_extra_member(decoder, ccxt->names[name->field]->name, ccxt->values[name->field]);
    decoder->reader = behind;
    ccxt->names[name->field] = name;
    ccxt->values[name->field] = first;
    return fault;
}

static enum record_fault take_name(struct decoder *decoder, const struct ccxt_name *name,
                                   const unsigned char *first, const struct unpack_value *value)
{
    if (decoder_has(decoder, name->field) && !decoder_is_empty(decoder, name->field)) {
        return take_second_name(decoder, name, first, value);
    }
    enum record_fault fault = field_value(decoder, name, value);
    if (fault) {
        return decoder_misplace(decoder, name->field, name->name, first, fault);
    }
    decoder->ccxt.fields |= UINT64_C(1) << name->field;
    decoder->ccxt.names[name->field] = name;
    decoder->ccxt.values[name->field] = first;
    return RECORD_FAULT_NONE;
}

static enum record_fault remember(struct decoder *decoder, const unsigned char **place,
                                  const unsigned char *first, const struct unpack_value *value)
{
    *place = first;
    return unpack_skip(&decoder->reader, value);
}

static bool is_true(const struct unpack_value *value)
{
    return value->type == UNPACK_TRUE || (value->type == UNPACK_INT && value->integer != 0);
}

void decoder_ccxt_meet(struct ccxt_keys *ccxt)
{
    if (!ccxt->any) {
        memset(&ccxt->at, 0, sizeof ccxt->at);
    }
    ccxt->any = true;
}

/* Takes a name that is none of a field's; its value's head has been read. */
static enum record_fault take_hint(struct decoder *decoder, const struct ccxt_name *name,
                                   const unsigned char *first, const struct unpack_value *value)
{
    struct ccxt_keys *ccxt = &decoder->ccxt;

    switch (name->how) {
    case CCXT_DATETIME:
        return remember(decoder, &ccxt->at.datetime, first, value);
    case HINT_DIRECTION:
        return remember(decoder, &ccxt->at.direction, first, value);
    case HINT_BEFORE:
        return remember(decoder, &ccxt->at.before, first, value);
    case HINT_ADDRESS_TO:
        return remember(decoder, &ccxt->at.address_to, first, value);
    case HINT_SIDE:
        return remember(decoder, &ccxt->at.side, first, value);
    case HINT_PRECISION:
        ccxt->at.market = true;
        return remember(decoder, &ccxt->at.precision, first, value);
    case HINT_LIMITS:
        ccxt->at.market = true;
        return remember(decoder, &ccxt->at.limits, first, value);
    case HINT_SPOT:
    case HINT_CONTRACT:
        ccxt->at.market = true;
        ccxt->at.contract |= name->how == HINT_CONTRACT && is_true(value);
        break;
    case CCXT_INFO:
        if (!unpack_is_container(value)) {
            return decoder_extra_member(decoder, name->name, first);
        }
        return remember(decoder, &ccxt->at.info, first, value);
    case CCXT_DROP:
        break;
    case CCXT_KIND:
        if (decoder_text_is(value, decoder->schema->name)) {
            break;
        }
        return decoder_extra_member(decoder, name->name, first);
    default:
        return decoder_extra_member(decoder, name->name, first);
    }
    return unpack_skip(&decoder->reader, value);
}

enum record_fault decoder_ccxt_key(struct decoder *decoder, const struct ccxt_name *name)
{
    const unsigned char *first = decoder->reader.at;
    struct unpack_value value;

    decoder_ccxt_meet(&decoder->ccxt);
    enum record_fault fault = unpack_next(&decoder->reader, &value);
    if (fault || decoder_is_nothing(&value) || (name->how == CCXT_TIME_MS && is_no_time(&value))) {
        return fault;
    }
    switch (name->how) {
    case CCXT_TEXT:
    case CCXT_DECIMAL:
    case CCXT_BOOL:
    case CCXT_TIME_MS:
        return take_name(decoder, name, first, &value);
    default:
        return take_hint(decoder, name, first, &value);
    }
}

/* --- values of our names as ccxt has them --- */

void decoder_forget_field(struct decoder *decoder, unsigned index)
{
    decoder->record->values[index] = (struct record_value){0};
    decoder->present &= ~(UINT64_C(1) << index);
}

/* Says whether it is the field `fee`, with what ccxt has for it: a map, or a list of maps. */
static bool may_be_fee(const struct decoder *decoder, unsigned index,
                       const struct unpack_value *value)
{
    static const unsigned fees[RECORD_KINDS] = {
        [RECORD_ORDER] = ORDER_fee, [RECORD_TRADE] = TRADE_fee, [RECORD_CASH] = CASH_fee};
    enum record_kind kind = decoder->record->kind;
    return kind < RECORD_KINDS && fees[kind] != 0 && index == fees[kind] &&
           unpack_is_container(value);
}

/* Says whether it is the field `fees`, with what ccxt has for it: a list, or one fee. That map has
 * a cost; ours is of amounts by currency. */
static bool may_be_fees(const struct decoder *decoder, unsigned index, const unsigned char *first)
{
    enum record_kind kind = decoder->record->kind;
    struct decoder_walk walk = decoder_walk_at(decoder, first);
    struct unpack_value value = decoder_value_at(decoder, first);
    bool cost = value.type == UNPACK_ARRAY;

    while (walk.map && !cost && decoder_walk_next(&walk, &value)) {
        cost = decoder_text_is(&walk.key, "cost");
    }
    return cost && ((kind == RECORD_ORDER && index == ORDER_fees) ||
                    (kind == RECORD_TRADE && index == TRADE_fees));
}

bool decoder_ccxt_value(struct decoder *decoder, unsigned index, const unsigned char *first,
                        enum record_fault *fault)
{
    const struct ccxt_name *name =
        decoder_ccxt_find(decoder->record->kind, decoder->schema->fields[index].name,
                          decoder->schema->fields[index].name_length);
    struct unpack_value value;

    decoder->reader.at = first;
    *fault = unpack_next(&decoder->reader, &value);
    if (name != NULL && name->how == CCXT_TIME_EITHER && is_no_time(&value)) {
        decoder_forget_field(decoder, index);
        return true;
    }
    if (name != NULL && name->how == CCXT_TIME_EITHER) {
        *fault = time_of_ms(&value, &decoder->record->values[index]);
        return *fault == RECORD_FAULT_NONE;
    }
    bool fee = may_be_fee(decoder, index, &value);
    if (!fee && !may_be_fees(decoder, index, first)) {
        return false;
    }
    decoder_ccxt_meet(&decoder->ccxt);
    decoder_forget_field(decoder, index);
    if (decoder_is_nothing(&value)) {
        return true;
    }
    *fault = remember(decoder, fee ? &decoder->ccxt.at.fee : &decoder->ccxt.at.fees, first, &value);
    return true;
}

/* --- signs --- */

bool decoder_is_positive(const struct record_value *value)
{
    return value->present && value->bytes[0] != '-' &&
           decimal_compare(value->bytes, value->length, "0", 1) != 0;
}

enum record_fault decoder_negate(struct decoder *decoder, unsigned index)
{
    char text[LIMIT_DECIMAL_BYTES + 1] = "-";
    struct record_value *value = &decoder->record->values[index];

    if (value->bytes[0] == '-') {
        value->bytes++;
        value->length--;
        return RECORD_FAULT_NONE;
    }
    if (!decoder_is_positive(value)) {
        return RECORD_FAULT_NONE;
    }
    memcpy(text + 1, value->bytes, value->length);
    return decoder_keep(decoder, value, text, (int)value->length + 1);
}

void decoder_set_word(struct decoder *decoder, unsigned index, const char *word)
{
    decoder->record->values[index] =
        (struct record_value){.bytes = word, .length = (uint32_t)strlen(word), .present = true};
    decoder->present |= UINT64_C(1) << index;
}

void decoder_set_field(struct decoder *decoder, unsigned index, const struct unpack_value *value)
{
    if (value->type == UNPACK_NIL || decoder_has(decoder, index)) {
        return;
    }
    if (decoder_value(decoder, index, value) != RECORD_FAULT_NONE) {
        decoder_forget_field(decoder, index);
    }
}

static enum record_fault finish_trade(struct decoder *decoder)
{
    struct record_value *quantity = &decoder->record->values[TRADE_quantity];

    if (quantity->present && quantity->bytes[0] == '-') {
        decoder_negate(decoder, TRADE_quantity);
        if (!decoder->record->values[TRADE_side].present) {
            decoder_set_word(decoder, TRADE_side, "sell");
        }
    }
    return RECORD_FAULT_NONE;
}

/* Calls by our word what some venues call crossed; ccxt's is kept. */
static enum record_fault finish_margin_mode(struct decoder *decoder)
{
    const struct ccxt_keys *ccxt = &decoder->ccxt;

    if (!decoder_value_is(&decoder->record->values[POSITION_margin_mode], "crossed") ||
        (ccxt->fields >> POSITION_margin_mode & 1) == 0) {
        return RECORD_FAULT_NONE;
    }
    decoder_extra_text(decoder, ccxt->names[POSITION_margin_mode]->name,
                       &decoder->record->values[POSITION_margin_mode]);
    decoder_set_word(decoder, POSITION_margin_mode, "cross");
    return RECORD_FAULT_NONE;
}

static enum record_fault finish_position(struct decoder *decoder)
{
    struct record_value *values = decoder->record->values;
    struct unpack_value side = decoder_value_at(decoder, decoder->ccxt.at.side);
    bool is_short = decoder_text_is(&side, "short"), is_long = decoder_text_is(&side, "long");
    const struct record_value *hedged = &values[POSITION_hedged];
    const struct record_value *quantity = &values[POSITION_quantity];

    if (hedged->present && !values[POSITION_position_side].present &&
        (!hedged->integer || is_short || is_long)) {
        decoder_set_word(decoder, POSITION_position_side,
                         !hedged->integer ? "both"
                         : is_short       ? "short"
                                          : "long");
    }
    enum record_fault fault = finish_margin_mode(decoder);
    bool theirs = (decoder->ccxt.fields >> POSITION_quantity & 1) != 0;
    if (!fault && is_short && theirs && decoder_is_positive(quantity)) {
        return decoder_negate(decoder, POSITION_quantity);
    }
    /* The quantity's sign says the side, unless there is none or it is 0. */
    bool follows = quantity->present && (is_short  ? quantity->bytes[0] == '-'
                                         : is_long ? decoder_is_positive(quantity)
                                                   : false);
    return !fault && side.type != UNPACK_NIL && !follows
               ? decoder_extra_member(decoder, "side", decoder->ccxt.at.side)
               : fault;
}

/* --- the time as text --- */

/* Drops the text if it says the same as the timestamp, and takes it where there is none. */
static enum record_fault decode_ccxt_finish_datetime(struct decoder *decoder)
{
    enum { EXCHANGE_TIME = RECORD_IDENTITY_FIELDS };
    _Static_assert((int)ORDER_exchange_time == EXCHANGE_TIME &&
                       (int)TRADE_exchange_time == EXCHANGE_TIME &&
                       (int)CASH_exchange_time == EXCHANGE_TIME &&
                       (int)BALANCE_exchange_time == EXCHANGE_TIME &&
                       (int)POSITION_exchange_time == EXCHANGE_TIME,
                   "exchange_time is the first field");
    struct record_value *out = &decoder->record->values[EXCHANGE_TIME];
    struct unpack_value value = decoder_value_at(decoder, decoder->ccxt.at.datetime);
    int64_t time_ns;

    if (value.type != UNPACK_STR || decoder->schema->fields[EXCHANGE_TIME].kind != FIELD_TIME ||
        !iso_time_read((const char *)value.bytes, value.length, &time_ns) ||
        (out->present ? out->integer != time_ns
                      : time_ns < LIMIT_TIME_MIN_NS || time_ns >= LIMIT_TIME_END_NS ||
                            (decoder->misplaced >> EXCHANGE_TIME & 1) != 0)) {
        return decoder_extra_member(decoder, "datetime", decoder->ccxt.at.datetime);
    }
    *out = (struct record_value){.present = true, .integer = time_ns};
    decoder->present |= UINT64_C(1) << EXCHANGE_TIME;
    return RECORD_FAULT_NONE;
}

/* --- empty text --- */

bool decoder_is_empty(const struct decoder *decoder, unsigned index)
{
    return decoder->schema->fields[index].kind == FIELD_TEXT &&
           decoder->record->values[index].length == 0;
}

/* Takes an empty text for a null, as it is in ccxt's objects; but not where names are ours alone:
 * there it is what somebody wrote. */
static void forget_empty(struct decoder *decoder)
{
    enum record_kind kind = decoder->record->kind;
    uint64_t empty = 0;

    for (unsigned i = RECORD_IDENTITY_FIELDS; i < decoder->extra; i++) {
        empty |= (uint64_t)(decoder_has(decoder, i) && decoder_is_empty(decoder, i)) << i;
    }
    for (uint64_t left = empty != 0 ? decoder->seen : 0; left != 0; left &= left - 1) {
        if (ccxt_is_renamed(kind, (unsigned)__builtin_ctzll(left))) {
            return;
        }
    }
    for (; empty != 0; empty &= empty - 1) {
        decoder_forget_field(decoder, (unsigned)__builtin_ctzll(empty));
    }
}

/* --- the end --- */

enum record_fault decoder_ccxt_finish(struct decoder *decoder)
{
    enum record_fault fault = RECORD_FAULT_NONE;

    if (decoder->object == NULL) { /* of an object they have been left out already */
        forget_empty(decoder);
    }
    if (decoder->ccxt.at.fee != NULL || decoder->ccxt.at.fees != NULL) {
        fault = decoder_fees_finish(decoder);
    }
    if (!fault && decoder->ccxt.at.datetime != NULL) {
        fault = decode_ccxt_finish_datetime(decoder);
    }
    if (fault) {
        return fault;
    }
    switch (decoder->record->kind) {
    case RECORD_TRADE:
        return finish_trade(decoder);
    case RECORD_CASH:
        return decoder_cash_finish(decoder);
    case RECORD_POSITION:
        return finish_position(decoder);
    case RECORD_INSTRUMENT:
        return decoder_instrument_finish(decoder);
    default:
        return RECORD_FAULT_NONE;
    }
}
