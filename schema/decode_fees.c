/* decode_fees.c: takes ccxt's fees, {"cost", "currency", "rate"} or a list of them.
 *
 * ccxt copies `fee` into `fees`, sometimes as a number where `fee` has the venue's digits; a list
 * that lacks the fee contradicts it, and then the fee is believed. Fees of one currency are added;
 * of several the first is `fee`, and all are `fees`. What a fee says beside its cost, currency and
 * rate goes to `extra`. */
#include <string.h>

#include "schema/decimal.h"
#include "schema/decoder.h"

enum {
    FEES_MAX = 16,
    COPIES_MAX = 16, /* looks for a copy of the single fee in a list: each reads that fee anew */
};

/* The fields of a fee in a kind; 0: the kind has no such field. */
struct fee_fields {
    unsigned fee, currency, rate, fees;
};
static const struct fee_fields fee_fields[RECORD_WIRE_KINDS] = {
    [RECORD_ORDER] = {ORDER_fee, ORDER_fee_currency, ORDER_fee_rate, ORDER_fees},
    [RECORD_TRADE] = {TRADE_fee, TRADE_fee_currency, TRADE_fee_rate, TRADE_fees},
    [RECORD_CASH] = {CASH_fee, CASH_fee_currency, 0, 0},
};

static const struct fee_fields *fields_of(const struct decoder *decoder)
{
    return &fee_fields[decoder->record->kind];
}

/* --- one fee --- */

struct fee {
    char cost[LIMIT_DECIMAL_BYTES];
    int cost_length; /* 0: none */
    unsigned others; /* members that are kept in `extra` ... */
    unsigned wrong;  /* ... and those of them that are no cost, currency or rate */
    struct unpack_value currency, rate;
};

enum fee_part { PART_NOTHING, PART_COST, PART_CURRENCY, PART_RATE, PART_OTHER, PART_WRONG };

static enum fee_part part_of_fee(const struct unpack_value *key, const struct unpack_value *value)
{
    char text[LIMIT_DECIMAL_BYTES];
    int length;
    bool cost = decoder_text_is(key, "cost"), rate = decoder_text_is(key, "rate");

    if (decoder_is_nothing(value) || decoder_text_is(key, "info")) {
        return PART_NOTHING;
    }
    if (cost || rate) {
        return decoder_canonical(value, text, &length) != RECORD_FAULT_NONE ? PART_WRONG
               : cost                                                       ? PART_COST
                                                                            : PART_RATE;
    }
    if (!decoder_text_is(key, "currency")) {
        return PART_OTHER;
    }
    return value->type == UNPACK_STR && value->length <= LIMIT_TEXT_BYTES ? PART_CURRENCY
                                                                          : PART_WRONG;
}

/* Says whether a member is kept, as its kind has no field for it. */
static bool is_kept(const struct decoder *decoder, enum fee_part part)
{
    return part >= PART_OTHER || (part == PART_RATE && fields_of(decoder)->rate == 0);
}

static bool keep_member(struct decoder *decoder, const struct unpack_value *of,
                        const struct decoder_walk *walk, const struct unpack_value *value)
{
    (void)of;
    return is_kept(decoder, part_of_fee(&walk->key, value));
}

static void begin_fee(struct fee *fee)
{
    fee->cost_length = 0;
    fee->others = fee->wrong = 0;
    fee->currency.type = fee->rate.type = UNPACK_NIL;
}

/* Reads a fee. What is no map, and not nothing, is wrong. */
static void read_fee(const struct decoder *decoder, const unsigned char *first, struct fee *fee)
{
    struct decoder_walk walk = decoder_walk_at(decoder, first);
    struct unpack_value value = decoder_value_at(decoder, first);

    begin_fee(fee);
    if (value.type != UNPACK_MAP) {
        fee->wrong = !decoder_is_nothing(&value);
        return;
    }
    while (decoder_walk_next(&walk, &value)) {
        enum fee_part part = part_of_fee(&walk.key, &value);
        if (part == PART_COST) {
            decoder_canonical(&value, fee->cost, &fee->cost_length);
        } else if (part == PART_CURRENCY) {
            fee->currency = value;
        } else if (part == PART_RATE) {
            fee->rate = value;
        }
        fee->others += is_kept(decoder, part);
        fee->wrong += part == PART_WRONG;
    }
}

/* Moves on to the next member that is kept. False: there is none. */
static bool next_kept(const struct decoder *decoder, struct decoder_walk *walk,
                      struct unpack_value *value)
{
    while (decoder_walk_next(walk, value)) {
        if (is_kept(decoder, part_of_fee(&walk->key, value))) {
            return true;
        }
    }
    return false;
}

static bool same_bytes(const struct unpack_value *a, const struct unpack_value *b)
{
    return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

/* Says whether two fees say the same beside what fields hold: ccxt copies the one from the other.
 */
static bool same_others(const struct decoder *decoder, const unsigned char *a,
                        const unsigned char *b)
{
    struct decoder_walk of_a = decoder_walk_at(decoder, a), of_b = decoder_walk_at(decoder, b);
    struct unpack_value a_value, b_value;

    while (next_kept(decoder, &of_a, &a_value)) {
        size_t length = (size_t)(of_a.reader.at - of_a.first);
        if (!next_kept(decoder, &of_b, &b_value) || of_a.key.type != UNPACK_STR ||
            of_b.key.type != UNPACK_STR || !same_bytes(&of_a.key, &of_b.key) ||
            length != (size_t)(of_b.reader.at - of_b.first) ||
            memcmp(of_a.first, of_b.first, length) != 0) {
            return false;
        }
    }
    return !next_kept(decoder, &of_b, &b_value);
}

static bool has_currency(const struct fee *fee)
{
    return fee->currency.type == UNPACK_STR;
}

static bool same_currency(const struct fee *a, const struct fee *b)
{
    return has_currency(a) && has_currency(b) ? same_bytes(&a->currency, &b->currency)
                                              : has_currency(a) == has_currency(b);
}

static bool same_fee(const struct fee *a, const struct fee *b)
{
    return a->cost_length > 0 && b->cost_length > 0 &&
           decimal_compare(a->cost, (size_t)a->cost_length, b->cost, (size_t)b->cost_length) == 0 &&
           (!has_currency(a) || !has_currency(b) || same_currency(a, b));
}

/* --- sums by currency --- */

struct sums {
    struct fee fees[FEES_MAX];
    unsigned count;
    bool full; /* there are more */
};

/* Adds a fee to the one of the same currency, or behind the others. */
static void add_fee(struct sums *sums, const struct fee *fee)
{
    char sum[LIMIT_DECIMAL_BYTES];

    for (unsigned i = 0; i < sums->count; i++) {
        struct fee *other = &sums->fees[i];
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
    if (sums->count == FEES_MAX) {
        sums->full = true;
        return;
    }
    sums->fees[sums->count++] = *fee;
}

/* A list as it was read: its sums, and whether it says more than fields hold. */
struct fee_list {
    struct sums sums;
    unsigned entries; /* that have a cost, and a currency if any has one */
    unsigned wrong;
    bool keep, matches;           /* it says more; it has the single fee, too */
    bool only_named;              /* what is of no currency cannot be added to the others */
    struct unpack_value currency; /* the first, also of an entry without a cost */
};

/* Walks a list of fees. One that is no list is its only entry. */
static struct decoder_walk entries_at(const struct decoder *decoder, const unsigned char *list)
{
    struct decoder_walk one = {.reader = decoder_reader_at(decoder, list), .left = 1};

    return decoder_value_at(decoder, list).type == UNPACK_MAP ? one
                                                              : decoder_walk_at(decoder, list);
}

/* Adds up the entries. That which is the single fee has its digits. */
static void add_entries(const struct decoder *decoder, const unsigned char *list,
                        const struct fee *single, struct fee_list *out)
{
    struct decoder_walk walk = entries_at(decoder, list);
    struct unpack_value value;
    struct fee entry;

    while (decoder_walk_next(&walk, &value)) {
        read_fee(decoder, walk.first, &entry);
        if (entry.cost_length == 0 || (out->only_named && !has_currency(&entry))) {
            continue;
        }
        out->entries++;
        if (same_fee(single, &entry)) {
            struct unpack_value currency = entry.currency, rate = entry.rate;
            out->matches = true;
            entry = *single;
            entry.currency = has_currency(single) ? single->currency : currency;
            entry.rate = single->rate.type != UNPACK_NIL ? single->rate : rate;
        }
        add_fee(&out->sums, &entry);
    }
}

static void read_list(const struct decoder *decoder, const unsigned char *list,
                      const struct fee *single, struct fee_list *out)
{
    struct decoder_walk walk = entries_at(decoder, list);
    const unsigned char *fee = decoder->ccxt.at.fee;
    struct unpack_value value;
    struct fee entry;
    unsigned with_cost = 0, named = 0, looks = 0;

    out->sums.count = 0;
    out->sums.full = false;
    out->entries = out->wrong = 0;
    out->keep = out->matches = false;
    out->currency.type = UNPACK_NIL;
    while (decoder_walk_next(&walk, &value)) {
        read_fee(decoder, walk.first, &entry);
        bool copied = entry.others > 0 && entry.others == single->others && fee != NULL &&
                      looks++ < COPIES_MAX && same_others(decoder, fee, walk.first);
        out->keep |= (entry.wrong > 0 && !copied) ||
                     (entry.others > 0 && (!copied || entry.cost_length == 0));
        out->wrong += copied ? 0 : entry.wrong;
        with_cost += entry.cost_length > 0;
        named += entry.cost_length > 0 && has_currency(&entry);
        out->currency = out->currency.type == UNPACK_NIL ? entry.currency : out->currency;
    }
    out->only_named = named > 0 && named < with_cost;
    out->keep |= out->only_named;
    out->wrong += out->only_named ? with_cost - named : 0;
    add_entries(decoder, list, single, out);
}

/* --- fields --- */

static enum record_fault set_decimal(struct decoder *decoder, unsigned index, const char *text,
                                     int length)
{
    struct record_value *out = &decoder->record->values[index];

    decoder->present |= UINT64_C(1) << index;
    out->present = true;
    return decoder_keep(decoder, out, text, length);
}

/* Writes the map of all fees by currency; false: it does not fit. */
static bool set_amounts(struct decoder *decoder, unsigned index, const struct sums *sums)
{
    char text[LIMIT_AMOUNTS_BYTES];
    struct json_writer json = {.at = text, .end = text + sizeof text};

    for (unsigned i = 0; i < sums->count; i++) {
        const struct fee *fee = &sums->fees[i];
        json_write(&json, i == 0 ? "{" : ",", 1);
        json_write_string(&json, fee->currency.bytes, has_currency(fee) ? fee->currency.length : 0);
        json_write(&json, ":", 1);
        json_write(&json, fee->cost, (size_t)fee->cost_length);
    }
    json_write(&json, "}", 1);
    return !json.full && json.changed == 0 &&
           set_decimal(decoder, index, text, (int)(json.at - text)) == RECORD_FAULT_NONE;
}

/* Sets the fields of one fee, or of several. */
static enum record_fault set_fees(struct decoder *decoder, const struct fee_fields *fields,
                                  const struct sums *sums, const struct unpack_value *rate)
{
    const struct fee *fee = &sums->fees[0];
    enum record_fault fault = set_decimal(decoder, fields->fee, fee->cost, fee->cost_length);

    decoder_set_field(decoder, fields->currency, &fee->currency);
    if (fields->rate != 0) {
        decoder_set_field(decoder, fields->rate,
                          fee->rate.type == UNPACK_NIL && sums->count == 1 ? rate : &fee->rate);
    }
    if (!fault && sums->count > 1 && !set_amounts(decoder, fields->fees, sums)) {
        fault = decoder_extra_member(decoder, "fees", decoder->ccxt.at.fees);
    }
    return fault;
}

/* --- the whole --- */

static bool is_list_of_maps(const struct decoder *decoder, const unsigned char *list)
{
    struct decoder_walk walk = decoder_walk_at(decoder, list);
    struct unpack_value value;

    while (decoder_walk_next(&walk, &value)) {
        if (walk.map || value.type != UNPACK_MAP) {
            return false;
        }
    }
    return !walk.map;
}

/* Reads a number of ours, or takes what has been read of {"cost", "currency"}. */
static void read_single(const struct decoder *decoder, const struct fee_fields *fields,
                        struct fee *single)
{
    const struct record_value *own = &decoder->record->values[fields->fee];
    const struct record_value *currency = &decoder->record->values[fields->currency];

    if (decoder->ccxt.at.fee != NULL) {
        read_fee(decoder, decoder->ccxt.at.fee, single);
        return;
    }
    begin_fee(single);
    if (own->present) {
        memcpy(single->cost, own->bytes, own->length);
        single->cost_length = (int)own->length;
    }
    if (own->present && currency->present) {
        single->currency = (struct unpack_value){.type = UNPACK_STR,
                                                 .length = currency->length,
                                                 .bytes = (const uint8_t *)currency->bytes};
    }
}

/* Says whether a field has a value of its own beside that of the fee. */
static bool differs(struct decoder *decoder, unsigned index, const struct unpack_value *value)
{
    struct record_value own = decoder->record->values[index];

    if (index == 0 || !decoder_has(decoder, index) || value->type == UNPACK_NIL) {
        return false;
    }
    decoder_forget_field(decoder, index);
    decoder_set_field(decoder, index, value);
    bool same = decoder_ccxt_same(&own, &decoder->record->values[index]);
    decoder->record->values[index] = own;
    decoder->present |= UINT64_C(1) << index;
    return !same;
}

/* Keeps what `fee` says beside its fields; all of it where a field has another value. */
static enum record_fault keep_others(struct decoder *decoder, const struct fee_fields *fields,
                                     const struct fee *single)
{
    for (unsigned i = 0; i < single->wrong; i++) {
        decoder_count_wrong(decoder, fields->fee, RECORD_FAULT_WRONG_TYPE);
    }
    if (decoder->ccxt.at.fee != NULL && (differs(decoder, fields->currency, &single->currency) ||
                                         differs(decoder, fields->rate, &single->rate))) {
        return decoder_extra_member(decoder, "fee", decoder->ccxt.at.fee);
    }
    if (single->others > 0) {
        decoder_extra_rest(decoder, "fee", decoder->ccxt.at.fee, keep_member);
    }
    return RECORD_FAULT_NONE;
}

/* Moves a list that stands in `fee` to where it belongs. */
static enum record_fault move_list(struct decoder *decoder, const struct fee_fields *fields)
{
    const unsigned char *fee = decoder->ccxt.at.fee;

    if (decoder_value_at(decoder, fee).type != UNPACK_ARRAY) {
        return RECORD_FAULT_NONE;
    }
    decoder->ccxt.at.fee = NULL;
    if (!is_list_of_maps(decoder, fee) || decoder->ccxt.at.fees != NULL) {
        return decoder_misplace(decoder, fields->fee, "fee", fee, RECORD_FAULT_WRONG_TYPE);
    }
    decoder->ccxt.at.fees = fee;
    return RECORD_FAULT_NONE;
}

/* Takes the one fee that a cash flow has: of a list that says more none is taken. */
static enum record_fault finish_cash_fee(struct decoder *decoder, const struct fee_fields *fields,
                                         struct fee *single, const struct fee_list *list)
{
    const unsigned char *place = decoder->ccxt.at.fees;
    struct decoder_walk walk = entries_at(decoder, place);
    struct unpack_value value;

    if (place != NULL && walk.left == 1) {
        decoder_walk_next(&walk, &value);
        decoder->ccxt.at.fee = walk.first;
        read_fee(decoder, walk.first, single);
    } else if (place != NULL && list->sums.count == 1) {
        *single = list->sums.fees[0];
        single->others = single->wrong = 0;
    } else if (place != NULL) {
        return decoder_misplace(decoder, fields->fee, "fee", place, RECORD_FAULT_WRONG_TYPE);
    }
    enum record_fault fault = keep_others(decoder, fields, single);
    if (!fault && single->cost_length > 0) {
        fault = set_decimal(decoder, fields->fee, single->cost, single->cost_length);
    }
    decoder_set_field(decoder, fields->currency, &single->currency);
    return fault;
}

static enum record_fault finish_list(struct decoder *decoder, const struct fee_fields *fields,
                                     const struct fee *single, struct fee_list *list)
{
    const unsigned char *place = decoder->ccxt.at.fees;
    enum record_fault fault = keep_others(decoder, fields, single);

    for (unsigned i = 0; i < list->wrong; i++) {
        decoder_count_wrong(decoder, fields->fees, RECORD_FAULT_WRONG_TYPE);
    }
    if (single->cost_length > 0 && !list->matches) {
        list->keep |= list->entries > 0;
        list->sums.fees[0] = *single;
        list->sums.count = 1;
    }
    if (!fault && list->keep) {
        fault = decoder_extra_member(decoder, "fees", place);
    }
    if (fault || list->sums.count > 0) {
        return fault ? fault : set_fees(decoder, fields, &list->sums, &single->rate);
    }
    decoder_set_field(decoder, fields->currency,
                      has_currency(single) ? &single->currency : &list->currency);
    decoder_set_field(decoder, fields->rate, &single->rate);
    return RECORD_FAULT_NONE;
}

enum record_fault decoder_fees_finish(struct decoder *decoder)
{
    const struct fee_fields *fields = fields_of(decoder);
    struct fee single;
    struct fee_list list;
    enum record_fault fault = move_list(decoder, fields);

    if (fault) {
        return fault;
    }
    read_single(decoder, fields, &single);
    const unsigned char *place = decoder->ccxt.at.fees;
    read_list(decoder, place, &single, &list);
    if (list.sums.full) {
        decoder->ccxt.at.fees = NULL;
        fault = decoder_misplace(decoder, fields->fees, "fees", place, RECORD_FAULT_TOO_MANY);
        read_list(decoder, NULL, &single, &list);
    }
    if (fault) {
        return fault;
    }
    return decoder->record->kind == RECORD_CASH ? finish_cash_fee(decoder, fields, &single, &list)
                                                : finish_list(decoder, fields, &single, &list);
}
