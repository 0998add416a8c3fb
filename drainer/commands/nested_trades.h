/* nested_trades.h: the trades in an order of ccxt's, {"id": "1", "trades": [{"id": "7", "price": 1,
 * "amount": 2}]}. Each that has a price and an amount is a record of its own. Exchanges that tell
 * no more than a trade's id leave that to the order. json_read_line has checked all text here. */
#ifndef BLOTTER_DRAINER_COMMANDS_NESTED_TRADES_H
#define BLOTTER_DRAINER_COMMANDS_NESTED_TRADES_H

#include "schema/json_read.h"

enum { NESTED_TRADE_ROOM = 1024 }; /* bytes of a line beside the order's and the trade's own */

/* Moves on to the next trade that is a record. False: there is none. */
bool nested_trades_next(struct json_scan *trades, struct json_slice *trade);

enum { NESTED_INHERITED = 9 };

/* The values that an order's trades take from it, as they stand in its text; length 0: none. */
struct nested_order {
    struct json_slice values[NESTED_INHERITED];
    struct json_slice time; /* of a trade without one: when the order last traded */
    const char *time_name;
};
void nested_order_read(struct nested_order *, struct json_slice text);

/* Writes a trade as a line of its own, with what the order says of it: its ids, symbol, side,
 * account and so on. `out` has room for both texts and NESTED_TRADE_ROOM. Returns the length. */
size_t nested_trade_write(const struct nested_order *, struct json_slice trade, char *out);

/* Writes "trade_ids":[…] of those that are no records; nothing if there are none. `out` has room
 * for the array and 16 bytes. Returns the length. */
size_t nested_trades_write_ids(struct json_slice array, char *out);

#endif
