/* decode_cash.c: takes what ccxt says of cash flows: ledger entries, funding payments, transfers,
 * deposits and withdrawals. The amount gets its sign, + into the account, and the type our word;
 * ccxt's word is kept in `extra` where it differs. Which of these it is, its keys tell. */
#include <string.h>

#include "schema/decimal.h"
#include "schema/decoder.h"

static struct record_value *value_of(struct decoder *decoder, unsigned index)
{
    return &decoder->record->values[index];
}

static bool is_type(struct decoder *decoder, const char *word)
{
    return decoder_value_is(value_of(decoder, CASH_type), word);
}

static void set_type(struct decoder *decoder, const char *word)
{
    const struct record_value *given = value_of(decoder, CASH_type);

    if (given->present && !decoder_value_is(given, word)) {
        decoder_extra_text(decoder, "type", given);
    }
    decoder_set_word(decoder, CASH_type, word);
}

static enum record_fault set_amount(struct decoder *decoder, bool is_out)
{
    return is_out && decoder_is_positive(value_of(decoder, CASH_amount))
               ? decoder_negate(decoder, CASH_amount)
               : RECORD_FAULT_NONE;
}

static bool is_negative(const struct record_value *value)
{
    return value->present && value->bytes[0] == '-';
}

static enum record_fault keep_place(struct decoder *decoder, const char *name,
                                    const unsigned char *first)
{
    return first == NULL ? RECORD_FAULT_NONE : decoder_extra_member(decoder, name, first);
}

/* --- the exchange --- */

static bool exchange_has(const struct decoder *decoder, const char *name)
{
    return decoder->exchange != NULL && strstr(decoder->exchange, name) != NULL;
}

/* --- the venue's own message --- */

/* Finds a member of `info` that is text or an integer. False: there is none. */
static bool find_venue_word(const struct decoder *decoder, const char *name,
                            struct unpack_value *word)
{
    struct decoder_walk walk = decoder_walk_at(decoder, decoder->ccxt.at.info);

    while (decoder_walk_next(&walk, word)) {
        if (walk.map && decoder_text_is(&walk.key, name)) {
            return (word->type == UNPACK_STR && word->length > 0) || word->type == UNPACK_INT;
        }
    }
    return false;
}

/* Takes the venue's word for the type, unless one is given, and returns it. */
static struct record_value take_venue_type(struct decoder *decoder)
{
    struct record_value own = *value_of(decoder, CASH_venue_type), word = {0};
    struct unpack_value value;

    for (const char *const *name = ccxt_venue_types; *name != NULL && !word.present; name++) {
        if (find_venue_word(decoder, *name, &value)) {
            decoder_forget_field(decoder, CASH_venue_type);
            decoder_set_field(decoder, CASH_venue_type, &value);
            word = *value_of(decoder, CASH_venue_type);
        }
    }
    if (own.present) {
        *value_of(decoder, CASH_venue_type) = own;
        decoder->present |= UINT64_C(1) << CASH_venue_type;
    }
    return word;
}

static bool is_funding(const struct decoder *decoder, const struct record_value *word)
{
    return decoder_value_is(word, "FUNDING_FEE") || decoder_value_is(word, "fund") ||
           decoder_value_is(word, "contract_settle_fee") ||
           decoder_value_is(word, "funding rate change") ||
           (decoder_value_is(word, "8") && exchange_has(decoder, "okx")) ||
           (decoder_value_is(word, "SETTLEMENT") && exchange_has(decoder, "bybit"));
}

/* --- ledger entries --- */

/* Says whether the balance before is what the amount and the balance behind it say. */
static bool before_follows(struct decoder *decoder)
{
    const struct record_value *amount = value_of(decoder, CASH_amount);
    const struct record_value *after = value_of(decoder, CASH_balance_after);
    struct unpack_value value = decoder_value_at(decoder, decoder->ccxt.at.before);
    char before[LIMIT_DECIMAL_BYTES], sum[LIMIT_DECIMAL_BYTES];
    int length;

    if (!amount->present || !after->present ||
        decoder_canonical(&value, before, &length) != RECORD_FAULT_NONE) {
        return false;
    }
    length = decimal_add(before, (size_t)length, amount->bytes, amount->length, sum);
    return length > 0 && decimal_compare(sum, (size_t)length, after->bytes, after->length) == 0;
}

static enum record_fault finish_ledger_entry(struct decoder *decoder)
{
    struct unpack_value direction = decoder_value_at(decoder, decoder->ccxt.at.direction);
    bool out = decoder_text_is(&direction, "out") ||
               (direction.type == UNPACK_NIL &&
                (is_type(decoder, "withdrawal") || is_type(decoder, "withdraw")));
    enum record_fault fault = set_amount(decoder, out);
    bool negative = is_negative(value_of(decoder, CASH_amount));

    if (!fault && !decoder_text_is(&direction, negative ? "out" : "in")) {
        fault = keep_place(decoder, "direction", decoder->ccxt.at.direction);
    }
    if (!fault && !before_follows(decoder)) {
        fault = keep_place(decoder, "before", decoder->ccxt.at.before);
    }
    const struct record_value word = take_venue_type(decoder);
    if (is_funding(decoder, &word)) {
        set_type(decoder, "funding");
    } else if (is_type(decoder, "transaction") && value_of(decoder, CASH_amount)->present) {
        set_type(decoder, negative ? "withdrawal" : "deposit");
    }
    return fault;
}

/* --- funding payments --- */

/* Returns the currency of profit and loss in a symbol: USDT of BTC/USDT:USDT-261225. */
static struct record_value settle_of(const struct record_value *symbol)
{
    const char *colon = symbol->present ? memchr(symbol->bytes, ':', symbol->length) : NULL;

    if (colon == NULL) {
        return (struct record_value){0};
    }
    const char *end = symbol->bytes + symbol->length;
    const char *dash = memchr(colon, '-', (size_t)(end - colon));
    size_t length = (size_t)((dash != NULL ? dash : end) - colon) - 1;

    return (struct record_value){
        .bytes = colon + 1, .length = (uint32_t)length, .present = length > 0};
}

/* Takes the currency from the symbol where none is given, and instead of bybit's, which calls that
 * of an inverse contract by its quote. */
static void take_settle_currency(struct decoder *decoder)
{
    struct record_value *currency = value_of(decoder, CASH_currency);
    const struct record_value settle = settle_of(value_of(decoder, CASH_symbol));
    bool code = currency->present && (decoder->ccxt.fields >> CASH_currency & 1) != 0;

    if (!settle.present) {
        return;
    }
    if (code && decoder_exchange_begins(decoder, "bybit") &&
        !decoder_ccxt_same(currency, &settle)) {
        decoder_extra_text(decoder, "code", currency);
        decoder_forget_field(decoder, CASH_currency);
    }
    if (!currency->present) {
        *currency = settle;
        decoder->present |= UINT64_C(1) << CASH_currency;
    }
}

/* Says whether the amount is the fee that was paid, + out of the account: bybit and phemex give it.
 */
static bool is_execution_fee(const struct decoder *decoder)
{
    struct decoder_walk walk = decoder_walk_at(decoder, decoder->ccxt.at.info);
    struct unpack_value value;
    bool found = false;

    while (walk.map && !found && decoder_walk_next(&walk, &value)) {
        found = decoder_text_is(&walk.key, CCXT_EXECUTION_FEE);
    }
    return found && (decoder_exchange_begins(decoder, "bybit") ||
                     decoder_exchange_begins(decoder, "phemex"));
}

static enum record_fault finish_funding(struct decoder *decoder)
{
    if (is_type(decoder, "add") || is_type(decoder, "reduce") || is_type(decoder, "set")) {
        return RECORD_FAULT_NONE; /* into a position's margin, not out of the account */
    }
    set_type(decoder, "funding");
    take_settle_currency(decoder);
    return is_execution_fee(decoder) && value_of(decoder, CASH_amount)->present
               ? decoder_negate(decoder, CASH_amount)
               : RECORD_FAULT_NONE;
}

/* --- transfers, deposits, withdrawals --- */

static enum record_fault finish_transfer(struct decoder *decoder)
{
    const struct record_value *account = value_of(decoder, CASH_account);
    const struct record_value *from = value_of(decoder, CASH_from_account);

    set_type(decoder, "transfer");
    return set_amount(decoder,
                      account->present && from->present && decoder_ccxt_same(account, from));
}

static enum record_fault finish_transaction(struct decoder *decoder)
{
    if (!is_type(decoder, "withdrawal") && !is_type(decoder, "withdraw")) {
        return RECORD_FAULT_NONE;
    }
    set_type(decoder, "withdrawal");
    return set_amount(decoder, true);
}

/* Takes the address that it goes to, which wins over the other, as that may be where it is from. */
static enum record_fault take_destination(struct decoder *decoder)
{
    struct unpack_value to = decoder_value_at(decoder, decoder->ccxt.at.address_to);
    struct record_value *address = value_of(decoder, CASH_address), given = *address;

    if (to.type == UNPACK_NIL) {
        return RECORD_FAULT_NONE;
    }
    decoder_forget_field(decoder, CASH_address);
    decoder_set_field(decoder, CASH_address, &to);
    if (!address->present) {
        enum record_fault fault =
            decoder_misplace(decoder, CASH_address, "addressTo", decoder->ccxt.at.address_to,
                             RECORD_FAULT_WRONG_TYPE);
        *address = given;
        decoder->present |= (uint64_t)given.present << CASH_address;
        return fault;
    }
    if (given.present && !decoder_ccxt_same(&given, address)) {
        decoder_extra_text(decoder, "address", &given);
    }
    return RECORD_FAULT_NONE;
}

/* --- the whole --- */

/* Keeps what only a ledger entry says, in what is none. */
static enum record_fault keep_ledger_keys(struct decoder *decoder)
{
    enum record_fault fault = keep_place(decoder, "direction", decoder->ccxt.at.direction);

    return fault ? fault : keep_place(decoder, "before", decoder->ccxt.at.before);
}

/* Takes the account that the strategy names; the venue's name for it goes to `extra`. */
static void take_account(struct decoder *decoder)
{
    const char *ours = decoder->object != NULL ? decoder->object->account : NULL;
    const struct record_value *theirs = value_of(decoder, CASH_account);

    if (ours == NULL) {
        return;
    }
    if (theirs->present && !decoder_value_is(theirs, ours)) {
        decoder_extra_text(decoder, "account", theirs);
    }
    decoder_set_word(decoder, CASH_account, ours);
}

/* Returns the mark of a field, of one with a wrong value that of the name that ccxt has for it. */
static uint64_t mark_of_field(const struct decoder *decoder, unsigned index)
{
    const struct ccxt_keys *ccxt = &decoder->ccxt;
    const char *name = (ccxt->fields >> index & 1) != 0 ? ccxt->names[index]->name
                                                        : decoder->schema->fields[index].name;

    for (unsigned i = 0; !decoder_has(decoder, index) && i < ccxt_names[RECORD_CASH].count; i++) {
        const struct ccxt_name *theirs = &ccxt_names[RECORD_CASH].names[i];
        name = theirs->field == index ? theirs->name : name;
    }
    return ccxt_mark(name, strlen(name), false);
}

/* Returns the marks of a record on the wire, as far as its fields tell. */
static uint64_t marks_of(const struct decoder *decoder)
{
    const struct ccxt_keys *ccxt = &decoder->ccxt;
    uint64_t marks = 0;

    for (unsigned i = RECORD_IDENTITY_FIELDS; i < CASH_FIELDS; i++) {
        bool given = decoder_has(decoder, i) || (decoder->misplaced >> i & 1) != 0;
        marks |= given ? mark_of_field(decoder, i) : 0;
    }
    return marks | (ccxt->at.direction != NULL ? ccxt_mark("direction", 9, false) : 0) |
           (ccxt->at.before != NULL ? ccxt_mark("before", 6, false) : 0) |
           (ccxt->at.address_to != NULL ? ccxt_mark("addressTo", 9, false) : 0);
}

/* Says whether it may be a transfer without its accounts: it has these keys only, and no type.
 * Whose it is, a strategy adds. */
static bool is_bare_transfer(const struct decoder *decoder)
{
    static const uint64_t keys = (UINT64_C(1) << CASH_exchange_time) |
                                 (UINT64_C(1) << CASH_entry_id) | (UINT64_C(1) << CASH_currency) |
                                 (UINT64_C(1) << CASH_amount) | (UINT64_C(1) << CASH_status) |
                                 (UINT64_C(1) << CASH_account) | (UINT64_C(1) << CASH_strategy) |
                                 (UINT64_C(1) << CASH_market_type) | (UINT64_C(1) << CASH_origin) |
                                 ((UINT64_C(1) << RECORD_IDENTITY_FIELDS) - 1);
    bool bare = decoder->object != NULL ? decoder->object->bare
                                        : decoder->ccxt.at.info != NULL && !decoder->comma;

    return bare && (decoder->present & ~keys) == 0;
}

enum record_fault decoder_cash_finish(struct decoder *decoder)
{
    uint64_t marks = decoder->object != NULL ? decoder->object->marks : marks_of(decoder);
    bool bare = is_bare_transfer(decoder);
    enum record_fault fault = take_destination(decoder);

    take_account(decoder);
    if (fault) {
        return fault;
    }
    enum ccxt_shape shape = ccxt_cash_shape_of(
        marks, is_type(decoder, "deposit") || is_type(decoder, "withdrawal"), bare);
    if (shape == CCXT_SHAPE_TRANSFER || shape == CCXT_SHAPE_TRANSACTION ||
        shape == CCXT_SHAPE_FUNDING) {
        fault = keep_ledger_keys(decoder);
    }
    if (fault) {
        return fault;
    }
    switch (shape) {
    case CCXT_SHAPE_TRANSFER:
        return finish_transfer(decoder);
    case CCXT_SHAPE_TRANSACTION:
        return finish_transaction(decoder);
    case CCXT_SHAPE_FUNDING:
        return finish_funding(decoder);
    default:
        return finish_ledger_entry(decoder);
    }
}
