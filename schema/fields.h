/* fields.h: what an order, a trade and a session record are made of.
 *
 * One line a field: X(name, kind, meaning). The C structs, the msgpack codec, the COPY encoder and
 * the check against the SQL tables all expand from these lists, so a field is added here and in a
 * migration, and nowhere else. The order is that of the columns in PostgreSQL.
 *
 * kind     C struct               msgpack                          PostgreSQL
 * TEXT     const char *           str                              text
 * DECIMAL  const char *           str, int or float64              numeric
 * TIME     int64_t ns since 1970  int ns, or timestamp ext         timestamptz (microseconds)
 * INT      int64_t                int                              bigint
 * BOOL     enum blotter_bool      bool                             boolean
 * JSON     const char *           map, or str that holds JSON      jsonb
 *
 * The meaning names the FIX tag and the ccxt key, where there is one. */
#ifndef BLOTTER_SCHEMA_FIELDS_H
#define BLOTTER_SCHEMA_FIELDS_H

/* Every kind of record begins with these. The library sets them. */
/* clang-format off */
#define BLOTTER_IDENTITY_FIELDS(X) \
    X(producer_id, INT, "who wrote the record: drawn anew at every open; negative: derived from the entry") \
    X(seq, INT, "the record's dense number within its producer, from 1") \
    X(recorded_at, TIME, "when submit was called; never goes back within a producer") \
    X(exchange, TEXT, "the stream's exchange, [a-z0-9._-]{1,32}")
/* clang-format on */

/* One state change of one of your orders. Needs order_id or client_order_id. */
/* clang-format off */
#define BLOTTER_ORDER_FIELDS(X) \
    X(exchange_time, TIME, "the venue's own time (60, timestamp)") \
    X(account, TEXT, "whose account (1)") \
    X(strategy, TEXT, "which strategy") \
    X(symbol, TEXT, "as the strategy names it (55, symbol)") \
    X(market_type, TEXT, "spot, margin, swap, future, option") \
    X(order_id, TEXT, "the venue's id of the order (37, id)") \
    X(client_order_id, TEXT, "our id of the order (11, clientOrderId)") \
    X(orig_client_order_id, TEXT, "our id of the order that this one replaces (41)") \
    X(trade_id, TEXT, "the execution, where the event is a fill (1003)") \
    X(event, TEXT, "what happened: new, fill, cancel, replace, reject, expire, trigger (150)") \
    X(side, TEXT, "buy, sell (54, side)") \
    X(position_side, TEXT, "long, short, both") \
    X(type, TEXT, "limit, market, stop ... (40, type)") \
    X(time_in_force, TEXT, "GTC, IOC, FOK ... (59, timeInForce)") \
    X(status, TEXT, "pending_new, open, partially_filled, filled, canceled ... (39, status)") \
    X(price, DECIMAL, "limit price (44, price)") \
    X(trigger_price, DECIMAL, "stop or trigger price (99, triggerPrice)") \
    X(quantity, DECIMAL, "ordered quantity (38, amount)") \
    X(filled_quantity, DECIMAL, "cumulative filled quantity (14, filled)") \
    X(remaining_quantity, DECIMAL, "quantity still open (151, remaining)") \
    X(average_price, DECIMAL, "average price of what is filled (6, average)") \
    X(last_price, DECIMAL, "price of this fill (31)") \
    X(last_quantity, DECIMAL, "quantity of this fill (32)") \
    X(cost, DECIMAL, "cumulative quote amount (cost)") \
    X(fee, DECIMAL, "+ paid, - rebate (137, fee)") \
    X(fee_currency, TEXT, "currency of the fee (138)") \
    X(liquidity, TEXT, "maker, taker (851, takerOrMaker)") \
    X(realized_pnl, DECIMAL, "realised profit and loss, derivatives") \
    X(post_only, BOOL, "the order may only add liquidity") \
    X(reduce_only, BOOL, "the order may only reduce a position") \
    X(reason, TEXT, "why rejected or cancelled (58)") \
    X(extra, JSON, "everything else, a JSON object")
/* clang-format on */

/* One execution: your own fill, or a public trade. Needs symbol, price and quantity. */
/* clang-format off */
#define BLOTTER_TRADE_FIELDS(X) \
    X(exchange_time, TIME, "the venue's own time (60, timestamp)") \
    X(account, TEXT, "whose account (1); given for your own fills") \
    X(strategy, TEXT, "which strategy") \
    X(symbol, TEXT, "as the strategy names it (55, symbol)") \
    X(market_type, TEXT, "spot, margin, swap, future, option") \
    X(order_id, TEXT, "your order that traded (37, order)") \
    X(client_order_id, TEXT, "our id of that order (11)") \
    X(trade_id, TEXT, "the execution (1003, id)") \
    X(side, TEXT, "buy, sell: yours, or the taker's (54, side)") \
    X(position_side, TEXT, "long, short, both") \
    X(price, DECIMAL, "price (31, price)") \
    X(quantity, DECIMAL, "quantity (32, amount)") \
    X(cost, DECIMAL, "quote amount (cost)") \
    X(fee, DECIMAL, "+ paid, - rebate (137, fee)") \
    X(fee_currency, TEXT, "currency of the fee (138)") \
    X(liquidity, TEXT, "maker, taker (851, takerOrMaker)") \
    X(realized_pnl, DECIMAL, "realised profit and loss, derivatives") \
    X(extra, JSON, "everything else, a JSON object")
/* clang-format on */

/* What the library says of itself, in the same dense sequence. */
/* clang-format off */
#define BLOTTER_SESSION_FIELDS(X) \
    X(event, TEXT, "opened, heartbeat (every 10 s), closed, void") \
    X(lane, TEXT, "the stream's lane, if any") \
    X(follows, INT, "opened: the producer_id that used this journal before") \
    X(confirmed_seq, INT, "every seq up to this one is known to be committed; opened: of the one it follows") \
    X(last_seq, INT, "the last seq claimed when this was written; closed: the last of all; opened: of the one it follows") \
    X(journal, TEXT, "path of the journal") \
    X(host, TEXT, "host name") \
    X(pid, INT, "process id") \
    X(version, TEXT, "version of the library") \
    X(extra, JSON, "everything else, a JSON object")
/* clang-format on */

/* The kinds of record: X(KIND, name on the wire, SQL table, field list). */
/* clang-format off */
#define BLOTTER_RECORD_KINDS(X) \
    X(ORDER, order, order_events, BLOTTER_ORDER_FIELDS) \
    X(TRADE, trade, trades, BLOTTER_TRADE_FIELDS) \
    X(SESSION, session, sessions, BLOTTER_SESSION_FIELDS)
/* clang-format on */

enum blotter_bool { BLOTTER_ABSENT = 0, BLOTTER_TRUE = 1, BLOTTER_FALSE = 2 };

#endif
