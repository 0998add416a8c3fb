/* nested_trades.c: see nested_trades.h. */
#include "schema/nested_trades.h"

#include <string.h>

#include "schema/decimal.h"

enum { SYMBOL = 2 };

/* A trade takes these from its order, under either name; a symbol of the trade that is no text is
 * none. */
static const struct inherited {
    const char *name, *alias;
    const char *of_order, *of_order_alias;
} inherited[NESTED_INHERITED] = {
    {"order_id", "order", "order_id", "id"},
    {"client_order_id", "clientOrderId", "client_order_id", "clientOrderId"},
    [SYMBOL] = {"symbol", NULL, "symbol", NULL},
    {"side", NULL, "side", NULL},
    {"account", NULL, "account", NULL},
    {"strategy", NULL, "strategy", NULL},
    {"market_type", NULL, "market_type", NULL},
    {"position_side", NULL, "position_side", NULL},
    {"origin", NULL, "origin", NULL},
};

static bool is_key(struct json_slice quoted, const char *name)
{
    return name != NULL && json_slice_is_key(quoted, name);
}

/* Finds a member by either name, unless it is missing. */
static bool find_member(struct json_slice object, const char *name, const char *alias,
                        struct json_slice *value)
{
    struct json_scan scan = json_read_members(object.at, object.length);
    struct json_member member;

    while (json_read_member(&scan, &member)) {
        if ((is_key(member.key, name) || is_key(member.key, alias)) &&
            !json_slice_is_absent(member.value)) {
            *value = member.value;
            return true;
        }
    }
    return false;
}

/* Tells whether a member is a number, or a string that holds one. */
static bool has_number(struct json_slice object, const char *name, const char *alias)
{
    struct json_slice value;
    char digits[LIMIT_DECIMAL_BYTES];

    if (!find_member(object, name, alias, &value)) {
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

    return find_member(trade, "symbol", NULL, &value) && value.at[0] == '"';
}

static bool is_record(const struct nested_order *order, struct json_slice trade)
{
    return trade.at[0] == '{' && has_number(trade, "price", NULL) &&
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

/* Once for all trades of an order: they may be thousands, and stand in its text. */
void nested_order_read(struct nested_order *order, struct json_slice text, bool symbol_follows)
{
    struct json_scan scan = json_read_members(text.at, text.length);
    struct json_member member;

    memset(order, 0, sizeof *order);
    order->has_symbol = symbol_follows;
    while (json_read_member(&scan, &member)) {
        bool in_ms = is_key(member.key, "lastTradeTimestamp");

        if (json_slice_is_absent(member.value)) {
            continue;
        }
        for (size_t i = 0; i < NESTED_INHERITED; i++) {
            bool ours = is_key(member.key, inherited[i].of_order);
            if (ours ||
                (order->values[i].length == 0 && is_key(member.key, inherited[i].of_order_alias))) {
                order->values[i] = member.value;
            }
        }
        if (in_ms || is_key(member.key, "last_trade_time")) {
            order->time = member.value;
            order->time_name = in_ms ? "timestamp" : "exchange_time";
        }
    }
}

/* --- writing --- */

static char *put_text(char *out, const char *bytes, size_t length)
{
    memcpy(out, bytes, length);
    return out + length;
}

static char *put_inherited(char *out, const char *name, struct json_slice value)
{
    out = put_text(out, "\"", 1);
    out = put_text(out, name, strlen(name));
    out = put_text(out, "\":", 2);
    out = put_text(out, value.at, value.length);
    return put_text(out, ",", 1);
}

size_t nested_trade_write(const struct nested_order *order, struct json_slice trade, char *out)
{
    struct json_scan scan = json_read_members(trade.at, trade.length);
    struct json_member member;
    struct json_slice value;
    char *at = put_text(out, "{", 1);

    for (size_t i = 0; i < NESTED_INHERITED; i++) {
        bool own = i == SYMBOL ? has_symbol(trade)
                               : find_member(trade, inherited[i].name, inherited[i].alias, &value);
        if (order->values[i].length > 0 && !own) {
            at = put_inherited(at, inherited[i].name, order->values[i]);
        }
    }
    if (order->time.length > 0 && !find_member(trade, "timestamp", "datetime", &value) &&
        !find_member(trade, "exchange_time", NULL, &value)) {
        at = put_inherited(at, order->time_name, order->time);
    }
    while (json_read_member(&scan, &member)) {
        bool replaced = is_key(member.key, inherited[SYMBOL].name) && member.value.at[0] != '"';
        if (!json_slice_is_absent(member.value) && !replaced) {
            at = put_text(at, member.key.at, member.key.length);
            at = put_text(at, ":", 1);
            at = put_text(at, member.value.at, member.value.length);
            at = put_text(at, ",", 1);
        }
    }
    at -= at[-1] == ','; /* it has a price */
    return (size_t)(put_text(at, "}", 1) - out);
}

size_t nested_trades_write_ids(const struct nested_order *order, struct json_slice trades,
                               char *out)
{
    struct json_scan scan = nested_trades_scan(trades);
    struct json_slice trade, id;
    char *at = put_text(out, "\"trade_ids\":[", sizeof "\"trade_ids\":[" - 1);
    size_t count = 0;

    while (json_read_element(&scan, &trade)) {
        bool map = trade.at[0] == '{';
        if (map ? is_record(order, trade) || !find_member(trade, "id", "trade_id", &id)
                : json_slice_is(trade, "null")) {
            continue;
        }
        at = put_text(at, ",", count++ > 0);
        at = put_text(at, map ? id.at : trade.at, map ? id.length : trade.length);
    }
    at = put_text(at, "]", 1);
    return count == 0 ? 0 : (size_t)(at - out);
}
