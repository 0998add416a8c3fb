/* ccxt_names.c: see ccxt_names.h. */
#include "schema/ccxt_names.h"

#include "schema/decimal.h"
#include "schema/text.h"

#define NAME(name, field, how, rank) {#name, sizeof #name - 1, (uint8_t)(field), CCXT_##how, rank},

/* clang-format off */
#define NAMES_OF_ORDER CCXT_ORDER_NAMES
#define NAMES_OF_TRADE CCXT_TRADE_NAMES
#define NAMES_OF_SESSION CCXT_SESSION_NAMES
#define NAMES_OF_CASH CCXT_CASH_NAMES
#define NAMES_OF_BALANCE CCXT_BALANCE_NAMES
#define NAMES_OF_POSITION CCXT_POSITION_NAMES
#define NAMES_OF_INSTRUMENT CCXT_INSTRUMENT_NAMES
#define X(kind, name, sql_schema, table, fields) \
    static const struct ccxt_name name##_names[] = {NAMES_OF_##kind(NAME) CCXT_OTHER_NAMES(NAME)};
BLOTTER_RECORD_KINDS(X)
#undef X

const struct ccxt_names ccxt_names[RECORD_WIRE_KINDS] = {
#define X(kind, name, sql_schema, table, fields) \
    [RECORD_##kind] = {name##_names, sizeof name##_names / sizeof name##_names[0]},
    BLOTTER_RECORD_KINDS(X)
#undef X
};
/* clang-format on */

const struct ccxt_name *ccxt_name_find(enum record_kind kind, const char *name, size_t length)
{
    for (unsigned i = 0; i < ccxt_names[kind].count; i++) {
        const struct ccxt_name *found = &ccxt_names[kind].names[i];
        if (found->length == length && text_same(found->name, name, length)) {
            return found;
        }
    }
    return NULL;
}

bool ccxt_is_renamed(enum record_kind kind, unsigned field)
{
    bool shared = kind == RECORD_CASH &&
                  (field == CASH_currency || field == CASH_address || field == CASH_rate);

    for (unsigned i = 0; !shared && i < ccxt_names[kind].count; i++) {
        if (ccxt_names[kind].names[i].field == field && ccxt_names[kind].names[i].rank > 0) {
            return true;
        }
    }
    return false;
}

/* --- which kind of object it is --- */

/* The keys that tell. */
/* clang-format off */
#define MARKS(X) \
    X(base) X(quote) X(baseValue) X(quoteValue) X(contracts) X(price) X(entryPrice) X(notional) \
    X(leverage) X(liquidationPrice) X(unrealizedPnl) X(collateral) X(fundingRate) X(amount) \
    X(bid) X(ask) X(bids) X(asks) X(fromAccount) X(toAccount) X(txid) X(address) X(addressTo) \
    X(tag) X(network) X(internal) X(updated) X(direction) X(before) X(after) X(referenceId) \
    X(referenceAccount) X(code) X(side) X(currency) X(symbol) \
    X(filled) X(remaining) X(clientOrderId) X(timeInForce) X(postOnly) X(lastTradeTimestamp) \
    X(lastUpdateTimestamp) X(triggerPrice) X(average) X(takerOrMaker) X(order) X(id)
#define MAP_MARKS(X) X(free) X(total) X(precision)

enum {
#define X(name) MARK_##name,
    MARKS(X) MAP_MARKS(X)
#undef X
    MARK_COUNT
};
/* clang-format on */
_Static_assert(MARK_COUNT <= 64, "a bit for each");

#define HAS(name) ((marks >> MARK_##name & 1) != 0)

uint64_t ccxt_mark(const char *key, size_t length, bool value_is_map)
{
    static const struct {
        const char *text;
        uint8_t length;
    } names[] = {
#define X(name) {#name, sizeof #name - 1},
        MARKS(X) MAP_MARKS(X)
#undef X
    };
    for (unsigned i = 0; i < MARK_COUNT; i++) {
        if (names[i].length == length && text_same(names[i].text, key, length)) {
            return i >= MARK_free && !value_is_map ? 0 : UINT64_C(1) << i;
        }
    }
    return 0;
}

static bool is_position(uint64_t marks)
{
    return HAS(contracts) || HAS(entryPrice) || HAS(liquidationPrice) || HAS(unrealizedPnl) ||
           HAS(notional) || HAS(collateral);
}

static bool is_liquidation(uint64_t marks)
{
    return HAS(baseValue) || HAS(quoteValue) ||
           (HAS(contracts) && HAS(price) && !HAS(entryPrice) && !HAS(notional) && !HAS(leverage));
}

static bool is_market_data(uint64_t marks)
{
    return (HAS(fundingRate) && !HAS(amount)) || (HAS(bid) && HAS(ask)) || (HAS(bids) && HAS(asks));
}

static bool is_transaction(uint64_t marks)
{
    return HAS(txid) || HAS(address) || HAS(addressTo) || HAS(tag) || HAS(network) ||
           HAS(internal) || HAS(updated);
}

static bool is_ledger_entry(uint64_t marks)
{
    return HAS(direction) || HAS(before) || HAS(after) || HAS(referenceId) || HAS(referenceAccount);
}

static bool is_order(uint64_t marks)
{
    return HAS(filled) || HAS(remaining) || HAS(clientOrderId) || HAS(timeInForce) ||
           HAS(postOnly) || HAS(lastTradeTimestamp) || HAS(lastUpdateTimestamp) ||
           HAS(triggerPrice) || HAS(average);
}

static bool is_trade(uint64_t marks)
{
    return HAS(takerOrMaker) || (HAS(price) && HAS(amount) && (HAS(order) || HAS(id) || HAS(side)));
}

/* Returns the shape of an object that has these marks: the first rule that applies. */
static enum ccxt_shape ccxt_shape_of(uint64_t marks)
{
    if (HAS(free) && HAS(total)) {
        return CCXT_SHAPE_BALANCE;
    }
    if (HAS(base) && HAS(quote) && HAS(precision)) {
        return CCXT_SHAPE_MARKET;
    }
    if (is_liquidation(marks)) {
        return CCXT_SHAPE_LIQUIDATION;
    }
    if (is_position(marks)) {
        return CCXT_SHAPE_POSITION;
    }
    if (is_market_data(marks)) {
        return CCXT_SHAPE_MARKET_DATA;
    }
    if (HAS(fromAccount) || HAS(toAccount)) {
        return CCXT_SHAPE_TRANSFER;
    }
    if (is_transaction(marks)) {
        return CCXT_SHAPE_TRANSACTION;
    }
    if (is_ledger_entry(marks)) {
        return CCXT_SHAPE_LEDGER;
    }
    if (HAS(code) && HAS(amount) && !HAS(price) && !HAS(side)) {
        return CCXT_SHAPE_FUNDING;
    }
    if (HAS(currency) && HAS(amount) && !HAS(price) && !HAS(symbol)) {
        return CCXT_SHAPE_CASH;
    }
    return is_order(marks)   ? CCXT_SHAPE_ORDER
           : is_trade(marks) ? CCXT_SHAPE_TRADE
                             : CCXT_SHAPE_UNKNOWN;
}

enum ccxt_shape ccxt_cash_shape_of(uint64_t marks, bool moved, bool bare)
{
    if (HAS(fromAccount) || HAS(toAccount)) {
        return CCXT_SHAPE_TRANSFER;
    }
    if (is_transaction(marks) || (moved && !is_ledger_entry(marks))) {
        return CCXT_SHAPE_TRANSACTION;
    }
    if (is_ledger_entry(marks)) {
        return CCXT_SHAPE_LEDGER;
    }
    if (HAS(code) || (!HAS(currency) && HAS(symbol))) {
        return CCXT_SHAPE_FUNDING;
    }
    return bare ? CCXT_SHAPE_TRANSFER : CCXT_SHAPE_LEDGER;
}

const char *const ccxt_venue_types[] = {"incomeType",   "bizType", "businessType", "groupType",
                                        "transferType", "type",    "info",         NULL};

static bool is_cash(enum ccxt_shape shape)
{
    return shape >= CCXT_SHAPE_TRANSFER && shape <= CCXT_SHAPE_CASH;
}

/* Recognises a position of which only the time of its last change is known: it has that key in
 * common with orders. */
static bool is_empty_position(uint64_t marks)
{
    uint64_t others = marks & ~(UINT64_C(1) << MARK_lastUpdateTimestamp);
    return ccxt_shape_of(others) == CCXT_SHAPE_UNKNOWN;
}

/* Says whether an object of that shape may be of the kind. Orders and trades look alike without
 * their nulls, so only `filled` tells them apart. */
static bool is_allowed(enum record_kind kind, enum ccxt_shape shape, uint64_t marks)
{
    if (shape == CCXT_SHAPE_UNKNOWN) {
        return true;
    }
    switch (kind) {
    case RECORD_ORDER:
        return shape == CCXT_SHAPE_ORDER || shape == CCXT_SHAPE_TRADE;
    case RECORD_TRADE:
        return shape == CCXT_SHAPE_TRADE || (shape == CCXT_SHAPE_ORDER && !HAS(filled));
    case RECORD_CASH:
        return is_cash(shape);
    case RECORD_BALANCE:
        return shape == CCXT_SHAPE_BALANCE;
    case RECORD_POSITION:
        return shape == CCXT_SHAPE_POSITION || is_empty_position(marks);
    case RECORD_INSTRUMENT:
        return shape == CCXT_SHAPE_MARKET;
    default:
        return true;
    }
}

const char *ccxt_kind_veto(enum record_kind kind, uint64_t marks)
{
    static const char *const texts[] = {
#define X(shape, text) text,
        CCXT_SHAPES(X)
#undef X
    };
    enum ccxt_shape shape = ccxt_shape_of(marks);
    return is_allowed(kind, shape, marks) ? NULL : texts[shape];
}

/* --- times --- */

bool ccxt_time_read(const char *text, size_t length, int64_t *ms, int64_t *fraction_ns)
{
    const char *at = text, *end = at + length;
    int64_t unit = 100000;

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

bool ccxt_time_of_double(double value, int64_t *ms, int64_t *fraction_ns)
{
    char text[LIMIT_DECIMAL_BYTES];
    int length = decimal_from_double(value, text);

    return length > 0 && ccxt_time_read(text, (size_t)length, ms, fraction_ns);
}
