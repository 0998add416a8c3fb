/* decode_instrument.c: takes what ccxt's markets say in maps: steps of `precision`, bounds of
 * `limits`; and what quantities count. Other precisions and limits are kept in `extra`. */
#include <string.h>

#include "schema/decoder.h"

/* A number that is in a map of a map, or of the object. */
struct bound {
    const char *limit, *key;
    unsigned field;
};
static const struct bound bounds[] = {
    {"amount", "min", INSTRUMENT_min_quantity}, {"amount", "max", INSTRUMENT_max_quantity},
    {"cost", "min", INSTRUMENT_min_cost},       {NULL, "price", INSTRUMENT_price_step},
    {NULL, "amount", INSTRUMENT_quantity_step},
};

static bool is_limit(const struct bound *bound, const struct unpack_value *limit)
{
    return bound->limit == NULL ? limit == NULL
                                : limit != NULL && decoder_text_is(limit, bound->limit);
}

/* Takes a number to its field. False: it has none, or is none, which is counted. */
static bool take_bound(struct decoder *decoder, const struct unpack_value *limit,
                       const struct unpack_value *key, const struct unpack_value *value)
{
    char text[LIMIT_DECIMAL_BYTES];
    int length;

    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        const struct bound *bound = &bounds[i];
        if (!is_limit(bound, limit) || !decoder_text_is(key, bound->key)) {
            continue;
        }
        enum record_fault fault = decoder_canonical(value, text, &length);
        if (fault) {
            decoder_count_wrong(decoder, bound->field, fault);
            return false;
        }
        bool had = decoder_has(decoder, bound->field);
        decoder_set_field(decoder, bound->field, value);
        return !had;
    }
    return false;
}

static bool keep_number(struct decoder *decoder, const struct unpack_value *limit,
                        const struct decoder_walk *walk, const struct unpack_value *value)
{
    return !decoder_is_nothing(value) && !take_bound(decoder, limit, &walk->key, value);
}

/* Keeps of `precision` what is no step: all of it where it is numbers of digits. */
static bool keep_precision(struct decoder *decoder, const struct unpack_value *of,
                           const struct decoder_walk *walk, const struct unpack_value *value)
{
    bool ticks = decoder->object != NULL && decoder->object->ticks;

    return ticks ? keep_number(decoder, of, walk, value) : !decoder_is_nothing(value);
}

/* Writes what is left of a limit, {"min", "max"}, as a member. */
static void write_limit(struct decoder *decoder, const struct decoder_walk *walk,
                        const struct unpack_value *value, bool *comma)
{
    struct json_writer *json = &decoder->json;
    struct unpack_reader reader = decoder_reader_at(decoder, walk->first);
    struct unpack_value head;
    char *begin = json->at;
    bool before = *comma, map = value->type == UNPACK_MAP;

    json_write_comma(json, comma);
    json_write_string(json, walk->key.bytes, walk->key.length);
    json_write(json, ":", 1);
    if (map && !decoder_write_rest(decoder, walk->first, keep_number, &walk->key, 2)) {
        json->at = begin;
        *comma = before;
    }
    if (!map) {
        decoder_count_wrong(decoder, INSTRUMENT_extra, RECORD_FAULT_WRONG_TYPE);
        unpack_next(&reader, &head);
        json_write_value(json, &reader, &head, 2);
    }
}

static void take_limits(struct decoder *decoder)
{
    struct decoder_walk walk = decoder_walk_at(decoder, decoder->ccxt.at.limits);
    struct json_writer *json = &decoder->json;
    char *begin = json->at;
    struct unpack_value value;
    bool comma = false, before = decoder->comma;

    json_write_comma(json, &decoder->comma);
    json_write(json, "\"limits\":{", 10);
    while (decoder_walk_next(&walk, &value)) {
        if (walk.key.type == UNPACK_STR && !decoder_is_nothing(&value)) {
            write_limit(decoder, &walk, &value, &comma);
        }
    }
    json_write(json, "}", 1);
    if (!comma) {
        json->at = begin;
        decoder->comma = before;
    }
}

/* Checks that it is a map; what is none is kept, counted, and not looked at again. */
static enum record_fault check_map(struct decoder *decoder, const char *name,
                                   const unsigned char **place)
{
    const unsigned char *first = *place;

    if (first == NULL || decoder_value_at(decoder, first).type == UNPACK_MAP) {
        return RECORD_FAULT_NONE;
    }
    *place = NULL;
    decoder_count_wrong(decoder, INSTRUMENT_extra, RECORD_FAULT_WRONG_TYPE);
    return decoder_extra_member(decoder, name, first);
}

/* Returns what quantities count. Of Deribit's contracts that is the coin, or dollars of inverse
 * ones that are no options. */
static const char *quantity_unit(const struct decoder *decoder)
{
    const struct record_value *values = decoder->record->values;
    const struct record_value *inverse = &values[INSTRUMENT_inverse];
    bool option = decoder_value_is(&values[INSTRUMENT_market_type], "option");

    if (!decoder->ccxt.at.contract) {
        return "base";
    }
    return !decoder_exchange_begins(decoder, "deribit")      ? "contracts"
           : inverse->present && inverse->integer && !option ? "quote"
                                                             : "base";
}

enum record_fault decoder_instrument_finish(struct decoder *decoder)
{
    if (!decoder->ccxt.at.market) {
        return RECORD_FAULT_NONE;
    }
    enum record_fault fault = check_map(decoder, "precision", &decoder->ccxt.at.precision);
    if (!fault) {
        fault = check_map(decoder, "limits", &decoder->ccxt.at.limits);
    }
    if (fault) {
        return fault;
    }
    if (decoder->ccxt.at.precision != NULL) {
        decoder_extra_rest(decoder, "precision", decoder->ccxt.at.precision, keep_precision);
    }
    if (decoder->ccxt.at.limits != NULL) {
        take_limits(decoder);
    }
    if (!decoder_has(decoder, INSTRUMENT_quantity_unit)) {
        decoder_set_word(decoder, INSTRUMENT_quantity_unit, quantity_unit(decoder));
    }
    return RECORD_FAULT_NONE;
}
