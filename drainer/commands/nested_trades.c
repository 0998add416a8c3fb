/* nested_trades.c: see nested_trades.h. */
#include "drainer/commands/nested_trades.h"

#include <stdlib.h>
#include <string.h>

enum { NUMBER_BYTES = 128 };

/* A trade takes these from its order, under either name. */
static const struct inherited {
    const char *name, *alias;
    const char *of_order, *of_order_alias;
} inherited[NESTED_INHERITED] = {
    {"order_id", "order", "order_id", "id"},
    {"client_order_id", "clientOrderId", "client_order_id", "clientOrderId"},
    {"symbol", NULL, "symbol", NULL},
    {"side", NULL, "side", NULL},
    {"account", NULL, "account", NULL},
    {"strategy", NULL, "strategy", NULL},
    {"market_type", NULL, "market_type", NULL},
    {"position_side", NULL, "position_side", NULL},
    {"origin", NULL, "origin", NULL},
};

static bool key_is(struct json_slice quoted, const char *name)
{
    return name != NULL && quoted.length == strlen(name) + 2 &&
           memcmp(quoted.at + 1, name, quoted.length - 2) == 0;
}

static bool is_missing(struct json_slice value)
{
    return json_slice_is(value, "null") || json_slice_is(value, "\"\"");
}

/* Finds a member by either name, unless it is missing. */
static bool find_member(struct json_slice object, const char *name, const char *alias,
                        struct json_slice *value)
{
    struct json_scan scan = json_read_members(object.at, object.length);
    struct json_member member;

    while (json_read_member(&scan, &member)) {
        if ((key_is(member.key, name) || key_is(member.key, alias)) && !is_missing(member.value)) {
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
    char digits[NUMBER_BYTES], *end;

    if (!find_member(object, name, alias, &value)) {
        return false;
    }
    if (value.at[0] == '"') {
        value = (struct json_slice){value.at + 1, value.length - 2};
    }
    if (value.length == 0 || value.length >= sizeof digits ||
        strspn(value.at, "+-0123456789.eE") < value.length) {
        return false;
    }
    memcpy(digits, value.at, value.length);
    digits[value.length] = '\0';
    strtod(digits, &end);
    return *end == '\0';
}

static bool is_record(struct json_slice trade)
{
    return trade.at[0] == '{' && has_number(trade, "price", NULL) &&
           has_number(trade, "amount", "quantity");
}

bool nested_trades_next(struct json_scan *trades, struct json_slice *trade)
{
    while (json_read_element(trades, trade)) {
        if (is_record(*trade)) {
            return true;
        }
    }
    return false;
}

/* Once for all trades of an order: they may be thousands, and stand in its text. */
void nested_order_read(struct nested_order *order, struct json_slice text)
{
    struct json_scan scan = json_read_members(text.at, text.length);
    struct json_member member;

    memset(order, 0, sizeof *order);
    while (json_read_member(&scan, &member)) {
        bool in_ms = key_is(member.key, "lastTradeTimestamp");

        if (is_missing(member.value)) {
            continue;
        }
        for (size_t i = 0; i < NESTED_INHERITED; i++) {
            if (order->values[i].length == 0 && (key_is(member.key, inherited[i].of_order) ||
                                                 key_is(member.key, inherited[i].of_order_alias))) {
                order->values[i] = member.value;
            }
        }
        if (in_ms || key_is(member.key, "last_trade_time")) {
            order->time = member.value;
            order->time_name = in_ms ? "timestamp" : "exchange_time";
        }
    }
}

/* --- writing --- */

static char *put(char *out, const char *bytes, size_t length)
{
    memcpy(out, bytes, length);
    return out + length;
}

static char *put_member(char *out, const char *name, struct json_slice value)
{
    out = put(out, "\"", 1);
    out = put(out, name, strlen(name));
    out = put(out, "\":", 2);
    out = put(out, value.at, value.length);
    return put(out, ",", 1);
}

size_t nested_trade_write(const struct nested_order *order, struct json_slice trade, char *out)
{
    struct json_scan scan = json_read_members(trade.at, trade.length);
    struct json_member member;
    struct json_slice value;
    char *at = put(out, "{", 1);

    for (size_t i = 0; i < NESTED_INHERITED; i++) {
        if (order->values[i].length > 0 &&
            !find_member(trade, inherited[i].name, inherited[i].alias, &value)) {
            at = put_member(at, inherited[i].name, order->values[i]);
        }
    }
    if (order->time.length > 0 && !find_member(trade, "timestamp", "datetime", &value) &&
        !find_member(trade, "exchange_time", NULL, &value)) {
        at = put_member(at, order->time_name, order->time);
    }
    while (json_read_member(&scan, &member)) {
        if (!is_missing(member.value)) {
            at = put(at, member.key.at, member.key.length);
            at = put(at, ":", 1);
            at = put(at, member.value.at, member.value.length);
            at = put(at, ",", 1);
        }
    }
    at = put(at, "\"kind\":\"trade\"}", sizeof "\"kind\":\"trade\"}" - 1);
    return (size_t)(at - out);
}

size_t nested_trades_write_ids(struct json_slice array, char *out)
{
    struct json_scan scan = {array.at + 1, array.at + array.length - 1};
    struct json_slice trade, id;
    char *at = put(out, "\"trade_ids\":[", sizeof "\"trade_ids\":[" - 1);
    size_t count = 0;

    while (json_read_element(&scan, &trade)) {
        bool map = trade.at[0] == '{';
        if (map ? is_record(trade) || !find_member(trade, "id", "trade_id", &id)
                : json_slice_is(trade, "null")) {
            continue;
        }
        at = put(at, ",", count++ > 0);
        at = put(at, map ? id.at : trade.at, map ? id.length : trade.length);
    }
    at = put(at, "]", 1);
    return count == 0 ? 0 : (size_t)(at - out);
}
