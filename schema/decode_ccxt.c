/* decode_ccxt.c: takes what ccxt's unified objects say in their own way.
 *
 * The names are in ccxt_names.h. A key that is another name for a field is decoded at once; where
 * two names give one field, that of the lower rank wins, and the other value goes to `extra` if it
 * differs. Values that mean something only together, as a fee and its currency, an amount and its
 * direction, are remembered by the place where they begin, until all keys have been seen. */
#include <stdlib.h>
#include <string.h>

#include "schema/decimal.h"
#include "schema/decoder.h"
#include "schema/iso_time.h"

enum { FEES_MAX = 16, NS_PER_MS = 1000000 };

/* Names of ccxt's whose values change the sign of a field. */
enum hint { HINT_DIRECTION = 100, HINT_SIDE };

static bool text_is(const struct unpack_value *value, const char *text)
{
    return value->type == UNPACK_STR && value->length == strlen(text) &&
           memcmp(value->bytes, text, value->length) == 0;
}

static bool key_is(const char *key, size_t length, const char *name)
{
    return length == strlen(name) && memcmp(key, name, length) == 0;
}

const struct ccxt_name *decoder_ccxt_find(enum record_kind kind, const char *key, size_t length)
{
    static const struct ccxt_name direction = {"direction", CCXT_NO_FIELD, HINT_DIRECTION, 0};
    static const struct ccxt_name side = {"side", CCXT_NO_FIELD, HINT_SIDE, 0};

    if (kind == RECORD_CASH && key_is(key, length, direction.name)) {
        return &direction;
    }
    if (kind == RECORD_POSITION && key_is(key, length, side.name)) {
        return &side;
    }
    return kind < RECORD_KINDS ? ccxt_name_find(kind, key, length) : NULL;
}

static enum record_fault extra_member(struct decoder *decoder, const char *name,
                                      const unsigned char *first)
{
    return decoder_extra_member(decoder, name, strlen(name), first);
}

/* --- other names of fields --- */

static bool is_nothing(const struct unpack_value *value)
{
    return value->type == UNPACK_NIL ||
           ((value->type == UNPACK_STR || unpack_is_container(value)) && value->length == 0);
}

/* Reads milliseconds with an optional fraction, as nanoseconds: a number that JSON has as a float
 * comes as text. */
static bool ms_of_text(const char *at, size_t length, int64_t *ms, int64_t *fraction_ns)
{
    const char *end = at + length;
    int64_t unit = NS_PER_MS / 10;

    *ms = *fraction_ns = 0;
    if (length == 0 || *at == '.') {
        return false;
    }
    for (; at < end && *at >= '0' && *at <= '9' && *ms < CCXT_TIME_MS_MAX; at++) {
        *ms = *ms * 10 + (*at - '0');
    }
    if (at < end && *at == '.') {
        for (at++; at < end && *at >= '0' && *at <= '9'; at++, unit /= 10) {
            *fraction_ns += (*at - '0') * unit;
        }
    }
    return at == end;
}

static bool ms_of_double(double value, int64_t *ms, int64_t *fraction_ns)
{
    if (!(value >= 0 && value < 9e15)) {
        return false;
    }
    *ms = (int64_t)value;
    *fraction_ns = (int64_t)((value - (double)*ms) * NS_PER_MS + 0.5);
    return true;
}

static enum record_fault time_of_ms(const struct unpack_value *value, struct record_value *out)
{
    int64_t ms, fraction_ns = 0;
    bool read = value->type == UNPACK_STR
                    ? ms_of_text((const char *)value->bytes, value->length, &ms, &fraction_ns)
                : value->type == UNPACK_DOUBLE ? ms_of_double(value->floating, &ms, &fraction_ns)
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

/* A field that has a value under another name already. */
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
    decoder->present |= UINT64_C(1) << name->field;
    if (fault || !wins) {
        *out = before;
        return extra_member(decoder, name->name, first);
    }
    fault = extra_member(decoder, ccxt->names[name->field]->name, ccxt->values[name->field]);
    decoder->reader = behind;
    ccxt->names[name->field] = name;
    ccxt->values[name->field] = first;
    return fault;
}

static enum record_fault take_name(struct decoder *decoder, const struct ccxt_name *name,
                                   const unsigned char *first, const struct unpack_value *value)
{
    if (decoder->present >> name->field & 1) {
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

enum record_fault decoder_ccxt_key(struct decoder *decoder, const struct ccxt_name *name)
{
    const unsigned char *first = decoder->reader.at;
    struct unpack_value value;

    decoder->ccxt.any = true;
    enum record_fault fault = unpack_next(&decoder->reader, &value);
    if (fault || is_nothing(&value) || (name->how == CCXT_TIME_MS && is_no_time(&value))) {
        return fault;
    }
    switch (name->how) {
    case CCXT_TEXT:
    case CCXT_DECIMAL:
    case CCXT_BOOL:
    case CCXT_TIME_MS:
        return take_name(decoder, name, first, &value);
    case CCXT_DATETIME:
        return remember(decoder, &decoder->ccxt.datetime, first, &value);
    case HINT_DIRECTION:
        return remember(decoder, &decoder->ccxt.direction, first, &value);
    case HINT_SIDE:
        return remember(decoder, &decoder->ccxt.side, first, &value);
    case CCXT_DROP:
        return unpack_skip(&decoder->reader, &value);
    case CCXT_INFO:
        if (unpack_is_container(&value)) {
            return unpack_skip(&decoder->reader, &value);
        }
        break;
    case CCXT_KIND:
        if (text_is(&value, decoder->schema->name)) {
            return RECORD_FAULT_NONE;
        }
        break;
    }
    return extra_member(decoder, name->name, first);
}

/* --- values of our names as ccxt has them --- */

/* The fields of a fee in a kind; 0: the kind has no such field. */
struct fee_fields {
    unsigned fee, currency, rate, fees;
};
static const struct fee_fields fee_fields[RECORD_WIRE_KINDS] = {
    [RECORD_ORDER] = {ORDER_fee, ORDER_fee_currency, ORDER_fee_rate, ORDER_fees},
    [RECORD_TRADE] = {TRADE_fee, TRADE_fee_currency, TRADE_fee_rate, TRADE_fees},
    [RECORD_CASH] = {CASH_fee, CASH_fee_currency, 0, 0},
};

static void forget_field(struct decoder *decoder, unsigned index)
{
    decoder->record->values[index] = (struct record_value){0};
    decoder->present &= ~(UINT64_C(1) << index);
}

bool decoder_ccxt_value(struct decoder *decoder, unsigned index, const unsigned char *first,
                        enum record_fault *fault)
{
    const struct fee_fields *fields = &fee_fields[decoder->record->kind];
    const struct ccxt_name *name =
        decoder_ccxt_find(decoder->record->kind, decoder->schema->fields[index].name,
                          decoder->schema->fields[index].name_length);
    struct unpack_reader before = decoder->reader;
    struct unpack_value value;

    decoder->reader.at = first;
    *fault = unpack_next(&decoder->reader, &value);
    if (name != NULL && name->how == CCXT_TIME_EITHER) {
        *fault = time_of_ms(&value, &decoder->record->values[index]);
        return *fault == RECORD_FAULT_NONE;
    }
    bool fee = index == fields->fee && fields->fee != 0 && value.type == UNPACK_MAP;
    bool fees = index == fields->fees && fields->fees != 0 && value.type == UNPACK_ARRAY;
    if (!fee && !fees) {
        decoder->reader = before;
        return false;
    }
    decoder->ccxt.any = true;
    forget_field(decoder, index);
    *fault = remember(decoder, fee ? &decoder->ccxt.fee : &decoder->ccxt.fees, first, &value);
    return true;
}

/* --- fees --- */

struct fee {
    char cost[LIMIT_DECIMAL_BYTES];
    int cost_length; /* 0: none */
    bool is_text;    /* the cost came as text, with the venue's digits */
    bool others;     /* there are keys of no meaning to us */
    struct unpack_value currency, rate;
};

static struct unpack_reader reader_at(const struct decoder *decoder, const unsigned char *first)
{
    return (struct unpack_reader){first, decoder->reader.end};
}

/* Reads {"cost", "currency", "rate"}, which has been skipped before, so that it is whole. */
static void read_fee(struct unpack_reader *reader, struct fee *fee)
{
    struct unpack_value map, key, value;

    fee->cost_length = 0;
    fee->is_text = fee->others = false;
    fee->currency.type = fee->rate.type = UNPACK_NIL;
    map.type = UNPACK_NIL;
    unpack_next(reader, &map);
    for (uint64_t i = 0; map.type == UNPACK_MAP && i < map.length; i++) {
        unpack_next(reader, &key);
        unpack_skip(reader, &key);
        unpack_next(reader, &value);
        if (is_nothing(&value) || text_is(&key, "info")) {
            unpack_skip(reader, &value);
            continue;
        }
        if (text_is(&key, "cost") &&
            decoder_canonical(&value, fee->cost, &fee->cost_length) == RECORD_FAULT_NONE) {
            fee->is_text = value.type == UNPACK_STR;
        } else if (text_is(&key, "currency") && value.type == UNPACK_STR) {
            fee->currency = value;
        } else if (text_is(&key, "rate") && !unpack_is_container(&value)) {
            fee->rate = value;
        } else {
            fee->cost_length = fee->cost_length < 0 ? 0 : fee->cost_length;
            fee->others = true;
        }
        unpack_skip(reader, &value);
    }
}

static bool same_cost(const struct fee *a, const struct fee *b)
{
    return decimal_compare(a->cost, (size_t)a->cost_length, b->cost, (size_t)b->cost_length) == 0;
}

static bool same_currency(const struct fee *a, const struct fee *b)
{
    bool both = a->currency.type == UNPACK_STR && b->currency.type == UNPACK_STR;

    return both ? a->currency.length == b->currency.length &&
                      memcmp(a->currency.bytes, b->currency.bytes, a->currency.length) == 0
                : a->currency.type == b->currency.type;
}

/* Adds a fee to the one of the same currency, or behind the others. */
static void add_fee(struct fee *fees, unsigned *count, const struct fee *fee)
{
    char sum[LIMIT_DECIMAL_BYTES];

    for (unsigned i = 0; i < *count; i++) {
        struct fee *other = &fees[i];
        int length = same_currency(other, fee)
                         ? decimal_add(other->cost, (size_t)other->cost_length, fee->cost,
                                       (size_t)fee->cost_length, sum)
                         : -1;
        if (length > 0) {
            memcpy(other->cost, sum, (size_t)length);
            other->cost_length = length;
            return;
        }
    }
    fees[(*count)++] = *fee;
}

/* Reads the entries that have a cost. False: there are too many, or some are no maps. */
static bool read_fees(struct unpack_reader reader, struct fee *fees, unsigned *count)
{
    struct unpack_value array, entry;

    *count = 0;
    array.length = 0; /* of a value without a length */
    if (unpack_next(&reader, &array) != RECORD_FAULT_NONE) {
        return false;
    }
    for (uint64_t i = 0; i < array.length; i++) {
        struct unpack_reader inside = reader;
        unpack_next(&reader, &entry);
        unpack_skip(&reader, &entry);
        if (entry.type != UNPACK_MAP || *count == FEES_MAX) {
            *count = 0;
            return false;
        }
        read_fee(&inside, &fees[*count]);
        *count += fees[*count].cost_length > 0;
    }
    return true;
}

/* Decodes a value to a field that has none. */
static enum record_fault set_field(struct decoder *decoder, unsigned index,
                                   const struct unpack_value *value)
{
    if (index == 0 || value->type == UNPACK_NIL || (decoder->present >> index & 1) != 0) {
        return RECORD_FAULT_NONE;
    }
    if (decoder_value(decoder, index, value) != RECORD_FAULT_NONE) {
        forget_field(decoder, index);
    }
    return RECORD_FAULT_NONE;
}

static enum record_fault set_decimal(struct decoder *decoder, unsigned index, const char *text,
                                     int length)
{
    struct record_value *out = &decoder->record->values[index];

    decoder->present |= UINT64_C(1) << index;
    out->present = true;
    return decoder_keep(decoder, out, text, length);
}

/* Writes the map of all fees by currency. */
static enum record_fault set_amounts(struct decoder *decoder, unsigned index,
                                     const struct fee *fees, unsigned count)
{
    char text[LIMIT_AMOUNTS_BYTES];
    struct json_writer json = {.at = text, .end = text + sizeof text};

    for (unsigned i = 0; i < count; i++) {
        json_write(&json, i == 0 ? "{" : ",", 1);
        json_write_string(&json, fees[i].currency.bytes,
                          fees[i].currency.type == UNPACK_STR ? fees[i].currency.length : 0);
        json_write(&json, ":", 1);
        json_write(&json, fees[i].cost, (size_t)fees[i].cost_length);
    }
    json_write(&json, "}", 1);
    if (json.full || json.changed > 0) {
        return extra_member(decoder, "fees", decoder->ccxt.fees);
    }
    return set_decimal(decoder, index, text, (int)(json.at - text));
}

/* Sets the fields of one fee, or of several: the first of them, and the map of all. */
static enum record_fault set_fees(struct decoder *decoder, const struct fee_fields *fields,
                                  struct fee *given, unsigned given_count)
{
    struct fee fees[FEES_MAX];
    unsigned count = 0;

    bool any_named = false, all_named = true;
    for (unsigned i = 0; i < given_count; i++) {
        any_named |= given[i].currency.type == UNPACK_STR;
        all_named &= given[i].currency.type == UNPACK_STR;
    }
    for (unsigned i = 0; i < given_count; i++) {
        /* an amount of no currency cannot be added to the others */
        if (!any_named || given[i].currency.type == UNPACK_STR) {
            add_fee(fees, &count, &given[i]);
        }
    }
    enum record_fault fault = any_named && !all_named && decoder->ccxt.fees != NULL
                                  ? decoder_misplace(decoder, fields->fees, "fees",
                                                     decoder->ccxt.fees, RECORD_FAULT_MISSING)
                                  : RECORD_FAULT_NONE;
    if (fault) {
        return fault;
    }
    fault = set_decimal(decoder, fields->fee, fees[0].cost, fees[0].cost_length);
    if (!fault) {
        fault = set_field(decoder, fields->currency, &fees[0].currency);
    }
    if (!fault) {
        fault = set_field(decoder, fields->rate, &fees[0].rate);
    }
    if (fault || count == 1) {
        return fault;
    }
    return fields->fees != 0 ? set_amounts(decoder, fields->fees, fees, count)
                             : extra_member(decoder, "fees", decoder->ccxt.fees);
}

/* `fee` alone: {"cost", "currency"}, or a number of ours. */
static void read_single_fee(const struct decoder *decoder, const struct fee_fields *fields,
                            struct fee *single)
{
    const struct record_value *own = &decoder->record->values[fields->fee];

    *single = (struct fee){.cost_length = 0};
    single->currency.type = single->rate.type = UNPACK_NIL;
    if (decoder->ccxt.fee != NULL) {
        struct unpack_reader reader = reader_at(decoder, decoder->ccxt.fee);
        read_fee(&reader, single);
    } else if (own->present) {
        memcpy(single->cost, own->bytes, own->length);
        single->cost_length = (int)own->length;
        single->is_text = true;
    }
}

/* ccxt copies `fee` into `fees`, sometimes as a number where `fee` has the venue's digits; a list
 * that lacks the fee contradicts it, and then the fee is believed. */
static enum record_fault decode_ccxt_finish_fees(struct decoder *decoder)
{
    const struct fee_fields *fields = &fee_fields[decoder->record->kind];
    struct fee fees[FEES_MAX + 1], single;
    unsigned count = 0, match = 0;
    bool readable = true;

    read_single_fee(decoder, fields, &single);
    if (decoder->ccxt.fees != NULL) {
        readable = read_fees(reader_at(decoder, decoder->ccxt.fees), fees, &count);
    }
    while (match < count && single.cost_length > 0 && !same_cost(&fees[match], &single)) {
        match++;
    }
    bool contradicts = single.cost_length > 0 && match == count && count > 0;
    if (single.cost_length > 0 && match < count && single.is_text) {
        memcpy(fees[match].cost, single.cost, (size_t)single.cost_length);
        fees[match].cost_length = single.cost_length;
    }
    enum record_fault fault = RECORD_FAULT_NONE;
    if (!readable) {
        fault = decoder_misplace(decoder, fields->fees, "fees", decoder->ccxt.fees,
                                 RECORD_FAULT_WRONG_TYPE);
    } else if (contradicts) {
        fault = extra_member(decoder, "fees", decoder->ccxt.fees);
    }
    if (contradicts || (count == 0 && single.cost_length > 0)) {
        fees[0] = single;
        count = 1;
    }
    if (!fault && single.others) {
        fault = extra_member(decoder, "fee", decoder->ccxt.fee);
    }
    if (fault || count == 0) {
        return fault ? fault : set_field(decoder, fields->currency, &single.currency);
    }
    return set_fees(decoder, fields, fees, count);
}

/* --- signs --- */

static bool is_positive(const struct record_value *value)
{
    return value->present && value->bytes[0] != '-' &&
           decimal_compare(value->bytes, value->length, "0", 1) != 0;
}

static enum record_fault negate(struct decoder *decoder, unsigned index)
{
    char text[LIMIT_DECIMAL_BYTES + 1] = "-";
    struct record_value *value = &decoder->record->values[index];

    memcpy(text + 1, value->bytes, value->length);
    return decoder_keep(decoder, value, text, (int)value->length + 1);
}

static void set_word(struct decoder *decoder, unsigned index, const char *word)
{
    decoder->record->values[index] =
        (struct record_value){.bytes = word, .length = (uint32_t)strlen(word), .present = true};
    decoder->present |= UINT64_C(1) << index;
}

static bool value_is(const struct record_value *value, const char *text)
{
    return value->present && value->length == strlen(text) &&
           memcmp(value->bytes, text, value->length) == 0;
}

static struct unpack_value value_at(const struct decoder *decoder, const unsigned char *first)
{
    struct unpack_value value = {.type = UNPACK_NIL};
    struct unpack_reader reader = reader_at(decoder, first);

    if (first != NULL) {
        unpack_next(&reader, &value);
    }
    return value;
}

static enum record_fault finish_trade(struct decoder *decoder)
{
    struct record_value *quantity = &decoder->record->values[TRADE_quantity];

    if (quantity->present && quantity->bytes[0] == '-') {
        quantity->bytes++;
        quantity->length--;
        if (!decoder->record->values[TRADE_side].present) {
            set_word(decoder, TRADE_side, "sell");
        }
    }
    return RECORD_FAULT_NONE;
}

/* Keeps ccxt's word where ours replaces it. */
static void extra_word(struct decoder *decoder, const char *name, const char *word)
{
    json_write_comma(&decoder->json, &decoder->comma);
    json_write_string(&decoder->json, name, strlen(name));
    json_write(&decoder->json, ":", 1);
    json_write_string(&decoder->json, word, strlen(word));
}

/* Takes the currency of a funding payment that has none from its symbol: USDT of
 * BTC/USDT:USDT-261225. */
static void take_settle_currency(struct decoder *decoder)
{
    struct record_value *values = decoder->record->values;
    const struct record_value *symbol = &values[CASH_symbol];
    const char *end = symbol->bytes + symbol->length;
    const char *at = symbol->present ? memchr(symbol->bytes, ':', symbol->length) : NULL;

    if (at == NULL || values[CASH_currency].present) {
        return;
    }
    const char *dash = memchr(at, '-', (size_t)(end - at));
    size_t length = (size_t)((dash != NULL ? dash : end) - at) - 1;
    if (length > 0) {
        values[CASH_currency] =
            (struct record_value){.bytes = at + 1, .length = (uint32_t)length, .present = true};
        decoder->present |= UINT64_C(1) << CASH_currency;
        if (!values[CASH_type].present) {
            set_word(decoder, CASH_type, "funding");
        }
    }
}

/* The type of a cash flow that ccxt calls by no word, or by one that leaves the sign to tell. */
static void name_cash_type(struct decoder *decoder, bool negative)
{
    const struct record_value *values = decoder->record->values;
    const struct ccxt_keys *ccxt = &decoder->ccxt;

    if (value_is(&values[CASH_type], "transaction")) {
        extra_word(decoder, "type", "transaction");
        set_word(decoder, CASH_type, negative ? "withdrawal" : "deposit");
    } else if (!values[CASH_type].present &&
               (values[CASH_from_account].present || values[CASH_to_account].present)) {
        set_word(decoder, CASH_type, "transfer");
    } else if (!values[CASH_type].present && (ccxt->fields >> CASH_currency & 1) != 0) {
        set_word(decoder, CASH_type, "funding"); /* of these only a funding payment says `code` */
    }
}

static enum record_fault finish_cash(struct decoder *decoder)
{
    struct record_value *values = decoder->record->values;
    struct unpack_value direction = value_at(decoder, decoder->ccxt.direction);
    const struct record_value *account = &values[CASH_account], *from = &values[CASH_from_account];
    bool positive = is_positive(&values[CASH_amount]);
    take_settle_currency(decoder);
    bool out = text_is(&direction, "out") ||
               (direction.type == UNPACK_NIL && (value_is(&values[CASH_type], "withdraw") ||
                                                 value_is(&values[CASH_type], "withdrawal"))) ||
               (account->present && from->present && decoder_ccxt_same(account, from));
    enum record_fault fault = RECORD_FAULT_NONE;

    if (direction.type != UNPACK_NIL && !text_is(&direction, positive ? "in" : "out") && !out) {
        fault = extra_member(decoder, "direction", decoder->ccxt.direction);
    }
    if (!fault && out && positive) {
        fault = negate(decoder, CASH_amount);
    }
    name_cash_type(decoder, values[CASH_amount].present && values[CASH_amount].bytes[0] == '-');
    return fault;
}

/* Calls by our word what some venues call crossed; ccxt's is kept. */
static enum record_fault finish_margin_mode(struct decoder *decoder)
{
    const struct ccxt_keys *ccxt = &decoder->ccxt;

    if (!value_is(&decoder->record->values[POSITION_margin_mode], "crossed") ||
        (ccxt->fields >> POSITION_margin_mode & 1) == 0) {
        return RECORD_FAULT_NONE;
    }
    extra_word(decoder, ccxt->names[POSITION_margin_mode]->name, "crossed");
    set_word(decoder, POSITION_margin_mode, "cross");
    return RECORD_FAULT_NONE;
}

static enum record_fault finish_position(struct decoder *decoder)
{
    struct record_value *values = decoder->record->values;
    struct unpack_value side = value_at(decoder, decoder->ccxt.side);
    bool is_short = text_is(&side, "short"), is_long = text_is(&side, "long");
    const struct record_value *hedged = &values[POSITION_hedged];
    const struct record_value *quantity = &values[POSITION_quantity];

    if (hedged->present && !values[POSITION_position_side].present &&
        (!hedged->integer || is_short || is_long)) {
        set_word(decoder, POSITION_position_side,
                 !hedged->integer ? "both"
                 : is_short       ? "short"
                                  : "long");
    }
    enum record_fault fault = finish_margin_mode(decoder);
    if (!fault && is_short && is_positive(quantity)) {
        return negate(decoder, POSITION_quantity);
    }
    /* The quantity's sign says the side, unless there is none or it is 0. */
    bool follows = quantity->present && (is_short  ? quantity->bytes[0] == '-'
                                         : is_long ? is_positive(quantity)
                                                   : false);
    return !fault && side.type != UNPACK_NIL && !follows
               ? extra_member(decoder, "side", decoder->ccxt.side)
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
    struct unpack_value value = value_at(decoder, decoder->ccxt.datetime);
    int64_t time_ns;

    if (value.type != UNPACK_STR || decoder->schema->fields[EXCHANGE_TIME].kind != FIELD_TIME ||
        !iso_time_read((const char *)value.bytes, value.length, &time_ns) ||
        time_ns < LIMIT_TIME_MIN_NS || time_ns >= LIMIT_TIME_END_NS ||
        (out->present && out->integer != time_ns)) {
        return extra_member(decoder, "datetime", decoder->ccxt.datetime);
    }
    *out = (struct record_value){.present = true, .integer = time_ns};
    decoder->present |= UINT64_C(1) << EXCHANGE_TIME;
    return RECORD_FAULT_NONE;
}

/* --- the end --- */

void decoder_ccxt_begin(struct ccxt_keys *ccxt)
{
    ccxt->any = false;
    ccxt->fields = 0;
    ccxt->fee = ccxt->fees = ccxt->datetime = ccxt->direction = ccxt->side = NULL;
}

enum record_fault decoder_ccxt_finish(struct decoder *decoder)
{
    enum record_fault fault = RECORD_FAULT_NONE;

    if (decoder->ccxt.fee != NULL || decoder->ccxt.fees != NULL) {
        fault = decode_ccxt_finish_fees(decoder);
    }
    if (!fault && decoder->ccxt.datetime != NULL) {
        fault = decode_ccxt_finish_datetime(decoder);
    }
    if (fault) {
        return fault;
    }
    switch (decoder->record->kind) {
    case RECORD_TRADE:
        return finish_trade(decoder);
    case RECORD_CASH:
        return finish_cash(decoder);
    case RECORD_POSITION:
        return finish_position(decoder);
    default:
        return RECORD_FAULT_NONE;
    }
}
