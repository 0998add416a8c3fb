/* nested_trades.c: see nested_trades.h. */
#include "schema/nested_trades.h"

#include <string.h>

#include "schema/decimal.h"

enum { SYMBOL = 2 };

/* A trade takes these from its order, by our name or ccxt's; a symbol of the trade that is no text
 * is none. */
#define SAME(name)       \
    {                    \
        name, name, name \
    }
static const struct inherited {
    const char *name, *in_trade, *in_order;
} inherited[NESTED_INHERITED] = {
    {"order_id", "order", "id"},
    {"client_order_id", "clientOrderId", "clientOrderId"},
    [SYMBOL] = SAME("symbol"),
    SAME("side"),
    SAME("account"),
    SAME("strategy"),
    SAME("market_type"),
    SAME("position_side"),
    SAME("origin"),
};

/* Tells whether a member is a number, or a string that holds one. */
static bool has_number(struct json_slice object, const char *name, const char *alias)
{
    struct json_slice value;
    char digits[LIMIT_DECIMAL_BYTES];

    if (!json_find_member(object, name, alias, &value)) {
        return false;
    }
    if (value.at[0] == '"') {
        value = (struct json_slice){value.at + 1, value.length - 2};
    }
    return value.length <= LIMIT_DECIMAL_BYTES &&
           decimal_canonical(value.at, value.length, digits) >= 0;
}

static bool has_symbol(struct json_slice trade)
{
    struct json_slice value;

    return json_find_member(trade, "symbol", "symbol", &value) && value.at[0] == '"';
}

static bool is_record(const struct nested_order *order, struct json_slice trade)
{
    return trade.at[0] == '{' && has_number(trade, "price", "price") &&
           has_number(trade, "amount", "quantity") &&
           (order->has_symbol || has_symbol(trade) ||
            (order->values[SYMBOL].length > 0 && order->values[SYMBOL].at[0] == '"'));
}

struct json_scan nested_trades_scan(struct json_slice trades)
{
    return trades.at[0] == '[' ? (struct json_scan){trades.at + 1, trades.at + trades.length - 1}
                               : (struct json_scan){trades.at, trades.at + trades.length};
}

bool nested_trades_next(const struct nested_order *order, struct json_scan *trades,
                        struct json_slice *trade)
{
    while (json_read_element(trades, trade)) {
        if (is_record(order, *trade)) {
            return true;
        }
    }
    return false;
}

void nested_order_read(struct nested_order *order, struct json_slice text, bool symbol_follows)
{
    struct json_scan scan = json_read_members(text.at, text.length);
    struct json_member member;

    memset(order, 0, sizeof *order);
    order->has_symbol = symbol_follows;
    while (json_read_member(&scan, &member)) {
        bool in_ms = json_slice_is_key(member.key, "lastTradeTimestamp");

        if (json_slice_is_absent(member.value)) {
            continue;
        }
        for (size_t i = 0; i < NESTED_INHERITED; i++) {
            bool ours = json_slice_is_key(member.key, inherited[i].name);
            if (ours || (order->values[i].length == 0 &&
                         json_slice_is_key(member.key, inherited[i].in_order))) {
                order->values[i] = member.value;
            }
        }
        if (in_ms || json_slice_is_key(member.key, "last_trade_time")) {
            order->time = member.value;
            order->time_name = in_ms ? "timestamp" : "exchange_time";
        }
    }
}

/* --- writing --- */

size_t nested_trade_write(const struct nested_order *order, struct json_slice trade, char *out)
{
    struct json_scan scan = json_read_members(trade.at, trade.length);
    struct json_member member;
    struct json_slice value;
    char *at = out;

    *at++ = '{';
    for (size_t i = 0; i < NESTED_INHERITED; i++) {
        const struct inherited *each = &inherited[i];
        bool own = i == SYMBOL ? has_symbol(trade)
                               : json_find_member(trade, each->name, each->in_trade, &value);
        if (order->values[i].length > 0 && !own) {
            at = json_copy_value(at, each->name, order->values[i]);
        }
    }
    if (order->time.length > 0 && !json_find_member(trade, "timestamp", "datetime", &value) &&
        !json_find_member(trade, "exchange_time", "exchange_time", &value)) {
        at = json_copy_value(at, order->time_name, order->time);
    }
    while (json_read_member(&scan, &member)) {
        bool replaced =
            json_slice_is_key(member.key, inherited[SYMBOL].name) && member.value.at[0] != '"';
        if (!json_slice_is_absent(member.value) && !replaced) {
            at = json_copy_member(at, &member);
        }
    }
    at[-1] = '}'; /* in the place of a comma, as it has a price */
    return (size_t)(at - out);
}

size_t nested_trades_write_ids(const struct nested_order *order, struct json_slice trades,
                               char *out)
{
    struct json_scan scan = nested_trades_scan(trades);
    struct json_slice trade, id;
    static const char head[] = "\"trade_ids\":[";
    char *at = mempcpy(out, head, sizeof head - 1);
    size_t count = 0;

    while (json_read_element(&scan, &trade)) {
        bool map = trade.at[0] == '{';
        if (map ? is_record(order, trade) || !json_find_member(trade, "id", "trade_id", &id)
                : json_slice_is(trade, "null")) {
            continue;
        }
        at = mempcpy(at, map ? id.at : trade.at, map ? id.length : trade.length);
        *at++ = ',';
        count++;
    }
    at[-1] = ']';
    return count == 0 ? 0 : (size_t)(at - out);
}
