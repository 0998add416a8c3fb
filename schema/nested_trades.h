/* nested_trades.h: the trades in an order of ccxt's, {"id": "1", "trades": [{"id": "7", "price": 1,
 * "amount": 2}]}. Each that has a price, an amount and a symbol, or the order's, is a record of its
 * own. Of the others, as exchanges give that tell no more than a trade's id, that is left to the
 * order. json_read_line has checked all text here. */
#ifndef BLOTTER_SCHEMA_NESTED_TRADES_H
#define BLOTTER_SCHEMA_NESTED_TRADES_H

#include "schema/json_read.h"

enum { NESTED_TRADE_ROOM = 1024 }; /* bytes of a line beside the order's and the trade's own */

enum { NESTED_INHERITED = 9 };

/* The values that an order's trades take from it, as they stand in its text; length 0: none. */
struct nested_order {
    struct json_slice values[NESTED_INHERITED];
    struct json_slice time; /* of a trade without one: when the order last traded */
    const char *time_name;
    bool has_symbol;
};

/* Reads an order's text once for all its trades, which may be thousands. has_symbol: a trade
 * without a symbol is given one later. */
void nested_order_read(struct nested_order *, struct json_slice text, bool has_symbol);

/* Returns the elements of a list of trades; what is no list is its only element. */
struct json_scan nested_trades_scan(struct json_slice trades);

/* Moves on to the next trade that is a record. False: there is none. */
bool nested_trades_next(const struct nested_order *, struct json_scan *trades,
                        struct json_slice *trade);

/* Writes a trade as a line of its own, with what the order says of it: its ids, symbol, side,
 * account and so on. `out` has room for both texts and NESTED_TRADE_ROOM. Returns the length. */
size_t nested_trade_write(const struct nested_order *, struct json_slice trade, char *out);

/* Writes "trade_ids":[…] of those that are no records; nothing if there are none. `out` has room
 * for the list and 16 bytes. Returns the length. */
size_t nested_trades_write_ids(const struct nested_order *, struct json_slice trades, char *out);

#endif
