/* fields.h: the fields of each kind of record.
 *
 * One line a field: X(name, kind, meaning). The C structs, the msgpack codec, the COPY encoder, the
 * Python package, the columns' comments and the check against the SQL tables all expand from these
 * lists; CONTRIBUTING.md says where else a field is added. The order is that of the columns in
 * PostgreSQL.
 *
 * kind     C struct               msgpack                          PostgreSQL
 * TEXT     const char *           str                              text
 * DECIMAL  const char *           str, int or float64              numeric
 * TIME     int64_t ns since 1970  int ns, or timestamp ext         timestamptz (microseconds)
 * INT      int64_t                int                              bigint
 * BOOL     enum blotter_bool      bool                             boolean
 * AMOUNTS  const char *, JSON     map, or str that holds JSON      jsonb: {"USDT": 0.10, "BNB": 1}
 * JSON     const char *           map, or str that holds JSON      jsonb
 *
 * AMOUNTS is an object of exact decimals, one for each currency. The meaning of a field names the
 * FIX tag and the ccxt key, where there is one. */
#ifndef BLOTTER_SCHEMA_FIELDS_H
#define BLOTTER_SCHEMA_FIELDS_H

/* clang-format off */

/* Every kind of record begins with these. The library sets the first four; the drainer sets lane,
 * as it is part of the name of the stream. */
#define BLOTTER_IDENTITY_FIELDS(X) \
    X(producer_id, INT, \
      "who wrote the record: drawn anew at every open; negative: derived from the entry") \
    X(seq, INT, "the record's dense number within its producer, from 1") \
    X(recorded_at, TIME, "when submit was called; never goes back within a producer") \
    X(exchange, TEXT, "the stream's exchange, [a-z0-9._-]{1,32}") \
    X(lane, TEXT, "the stream's lane, if any")

/* One state change of one of your orders. Needs order_id or client_order_id. */
#define BLOTTER_ORDER_FIELDS(X) \
    X(exchange_time, TIME, \
      "the venue's own time, of ccxt mostly the order's creation (60, timestamp)") \
    X(update_time, TIME, "when the order last changed at the venue (lastUpdateTimestamp)") \
    X(last_trade_time, TIME, "when the order last traded (lastTradeTimestamp)") \
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
    X(stop_loss_price, DECIMAL, "price of the attached stop loss (stopLossPrice)") \
    X(take_profit_price, DECIMAL, "price of the attached take profit (takeProfitPrice)") \
    X(quantity, DECIMAL, "ordered quantity (38, amount)") \
    X(filled_quantity, DECIMAL, "cumulative filled quantity (14, filled)") \
    X(remaining_quantity, DECIMAL, "quantity still open (151, remaining)") \
    X(average_price, DECIMAL, "average price of what is filled (6, average)") \
    X(last_price, DECIMAL, "price of this fill (31)") \
    X(last_quantity, DECIMAL, "quantity of this fill (32)") \
    X(cost, DECIMAL, "cumulative quote amount (cost)") \
    X(fee, DECIMAL, \
      "+ paid, - rebate; of this fill if last_quantity is given, else cumulative (137, fee)") \
    X(fee_currency, TEXT, "currency of the fee (138)") \
    X(fee_rate, DECIMAL, "rate of the fee (fee.rate)") \
    X(fees, AMOUNTS, "all fees by currency, where there are several (fees)") \
    X(liquidity, TEXT, "maker, taker (851, takerOrMaker)") \
    X(realized_pnl, DECIMAL, "realised profit and loss, derivatives") \
    X(post_only, BOOL, "the order may only add liquidity (postOnly)") \
    X(reduce_only, BOOL, "the order may only reduce a position (reduceOnly)") \
    X(reason, TEXT, "why rejected or cancelled (58)") \
    X(origin, TEXT, "null: the strategy's feed; venue: fetched to compare; manual") \
    X(extra, JSON, "everything else, a JSON object")

/* One execution: your own fill, or a public trade. Needs symbol, price and quantity. */
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
    X(fee_rate, DECIMAL, "rate of the fee (fee.rate)") \
    X(fees, AMOUNTS, "all fees by currency, where there are several (fees)") \
    X(liquidity, TEXT, "maker, taker (851, takerOrMaker)") \
    X(realized_pnl, DECIMAL, "realised profit and loss, derivatives") \
    X(origin, TEXT, "null: the strategy's feed; venue: fetched to compare; manual") \
    X(extra, JSON, "everything else, a JSON object")

/* One entry of an account's ledger that is not a fill. Needs currency and amount. */
#define BLOTTER_CASH_FIELDS(X) \
    X(exchange_time, TIME, "the venue's own time (60, timestamp)") \
    X(update_time, TIME, "last change of its status (updated)") \
    X(account, TEXT, "whose account (1)") \
    X(strategy, TEXT, "which strategy") \
    X(symbol, TEXT, "the symbol that it is for, as of a funding payment (55, symbol)") \
    X(market_type, TEXT, "spot, margin, swap, future, option") \
    X(entry_id, TEXT, "the venue's id of the entry; not unique alone (id)") \
    X(type, TEXT, \
      "funding, transfer, deposit, withdrawal, fee, rebate, interest, settlement, trade ... " \
      "(type)") \
    X(venue_type, TEXT, "the venue's own word for the type") \
    X(status, TEXT, "ok, pending, failed, canceled (status)") \
    X(currency, TEXT, "currency of the amount (15; currency, code)") \
    X(amount, DECIMAL, "+ into the account, - out of it (amount, direction)") \
    X(balance_after, DECIMAL, "the balance behind it (after)") \
    X(fee, DECIMAL, "+ paid, beside amount (137, fee.cost)") \
    X(fee_currency, TEXT, "currency of the fee (138, fee.currency)") \
    X(rate, DECIMAL, "funding or interest rate (rate, fundingRate)") \
    X(reference_id, TEXT, "order, trade or entry that it belongs to (referenceId)") \
    X(counterparty, TEXT, "the other account (referenceAccount)") \
    X(from_account, TEXT, "of a transfer (fromAccount)") \
    X(to_account, TEXT, "of a transfer (toAccount)") \
    X(txid, TEXT, "the chain's id of the transaction (txid)") \
    X(address, TEXT, "where a withdrawal goes, or a deposit arrives (addressTo, address)") \
    X(network, TEXT, "the chain (network)") \
    X(origin, TEXT, "null: the strategy's feed; venue: fetched to compare; manual") \
    X(extra, JSON, "everything else, a JSON object")

/* An account's holding of a currency at a time. An empty balance is one record without
 * currency. */
#define BLOTTER_BALANCE_FIELDS(X) \
    X(exchange_time, TIME, "the venue's own time (60, timestamp)") \
    X(account, TEXT, "whose account (1)") \
    X(market_type, TEXT, "which wallet: spot, margin, swap, future, option ...") \
    X(currency, TEXT, "the currency (15); null: the account is empty") \
    X(free, DECIMAL, "not in use (free)") \
    X(used, DECIMAL, "in use by orders or as margin (used)") \
    X(total, DECIMAL, "all of it (total)") \
    X(debt, DECIMAL, "borrowed (debt)") \
    X(snapshot, TIME, "when the call was made: the same in all records of one call") \
    X(origin, TEXT, "null: the strategy's feed; venue: fetched to compare; manual") \
    X(extra, JSON, "everything else, a JSON object")

/* A position as the venue reports it. Needs symbol. */
#define BLOTTER_POSITION_FIELDS(X) \
    X(exchange_time, TIME, \
      "the venue's time: of some the opening, of some the last change (60, timestamp)") \
    X(update_time, TIME, "when the position last changed (lastUpdateTimestamp)") \
    X(snapshot, TIME, "when the call was made: the same in all records of one call") \
    X(account, TEXT, "whose account (1)") \
    X(strategy, TEXT, "which strategy") \
    X(symbol, TEXT, "as the strategy names it (55, symbol)") \
    X(market_type, TEXT, "margin, swap, future, option") \
    X(position_id, TEXT, "the venue's id of the position (id)") \
    X(position_side, TEXT, "long, short: of a hedged account; both") \
    X(quantity, DECIMAL, "contracts, + long, - short (704, 705, contracts)") \
    X(contract_size, DECIMAL, "what one contract is (231, contractSize)") \
    X(entry_price, DECIMAL, "average price of entry (6, entryPrice)") \
    X(mark_price, DECIMAL, "the venue's mark price (markPrice)") \
    X(last_price, DECIMAL, "price of the last trade (lastPrice)") \
    X(liquidation_price, DECIMAL, "where the venue liquidates (liquidationPrice)") \
    X(unrealized_pnl, DECIMAL, "profit and loss that is open (unrealizedPnl)") \
    X(realized_pnl, DECIMAL, "profit and loss that is realised (realizedPnl)") \
    X(notional, DECIMAL, "value of the position (notional)") \
    X(collateral, DECIMAL, "margin that is set aside for it (collateral)") \
    X(initial_margin, DECIMAL, "margin that opening it needed (initialMargin)") \
    X(maintenance_margin, DECIMAL, "margin that keeping it needs (maintenanceMargin)") \
    X(leverage, DECIMAL, "the leverage that is set (leverage)") \
    X(stop_loss_price, DECIMAL, "price of the stop loss (stopLossPrice)") \
    X(take_profit_price, DECIMAL, "price of the take profit (takeProfitPrice)") \
    X(margin_mode, TEXT, "cross, isolated (marginMode)") \
    X(hedged, BOOL, "long and short are held beside each other (hedged)") \
    X(origin, TEXT, "null: the strategy's feed; venue: fetched to compare; manual") \
    X(extra, JSON, "everything else, a JSON object")

/* The meaning of a symbol. Needs symbol. */
#define BLOTTER_INSTRUMENT_FIELDS(X) \
    X(symbol, TEXT, "as the strategy names it (55, symbol)") \
    X(venue_symbol, TEXT, "the venue's own name (48, id)") \
    X(market_type, TEXT, "spot, margin, swap, future, option (type)") \
    X(base, TEXT, "base currency (base)") \
    X(quote, TEXT, "currency of the price (quote)") \
    X(settle, TEXT, "currency of profit and loss (120, settle)") \
    X(option_type, TEXT, "call, put (201, optionType)") \
    X(contract_size, DECIMAL, "what one contract is (231, contractSize)") \
    X(strike, DECIMAL, "strike price of an option (202, strike)") \
    X(linear, BOOL, "settled in the quote currency (linear)") \
    X(inverse, BOOL, "settled in the base currency (inverse)") \
    X(active, BOOL, "open for trading (active)") \
    X(expiry, TIME, "when it expires (541, expiry)") \
    X(created, TIME, "when it was listed (created)") \
    X(price_step, DECIMAL, "prices are multiples of it (969, precision.price)") \
    X(quantity_step, DECIMAL, "quantities are multiples of it (precision.amount)") \
    X(min_quantity, DECIMAL, "smallest quantity of an order (562, limits.amount.min)") \
    X(max_quantity, DECIMAL, "largest quantity of an order (limits.amount.max)") \
    X(min_cost, DECIMAL, "smallest cost of an order (limits.cost.min)") \
    X(maker_fee, DECIMAL, "fee rate of a maker (maker)") \
    X(taker_fee, DECIMAL, "fee rate of a taker (taker)") \
    X(quantity_unit, TEXT, "contracts, base, quote: what quantities count") \
    X(extra, JSON, "everything else, a JSON object")

/* Records of the library about itself, in the same dense sequence. */
#define BLOTTER_SESSION_FIELDS(X) \
    X(event, TEXT, "opened, heartbeat (every 10 s), closed, void") \
    X(follows, INT, "opened: the producer_id that used this journal before") \
    X(confirmed_seq, INT, \
      "every seq up to this one is known to be committed; opened: of the one it follows") \
    X(last_seq, INT, \
      "the last seq claimed when this was written; closed: the last of all; opened: of the one " \
      "it follows") \
    X(journal, TEXT, "path of the journal") \
    X(host, TEXT, "host name") \
    X(pid, INT, "process id") \
    X(version, TEXT, "version of the library") \
    X(extra, JSON, "everything else, a JSON object; of a heartbeat the producer's counters")

/* An object that a strategy's own code could not record, for blotter.rejects: it has no table. */
#define BLOTTER_REJECT_FIELDS(X) \
    X(about, TEXT, "the kind that it was meant to be: order, trade, cash ...") \
    X(reason, TEXT, "why it could not be recorded") \
    X(object, TEXT, "the object as JSON, cut to fit") \
    X(extra, JSON, "everything else, a JSON object")

/* The kinds of record: X(KIND, name on the wire, SQL schema, SQL table, field list). A journal
 * keeps a kind as its number here, so a new one goes to the end. */
#define BLOTTER_RECORD_KINDS(X) \
    X(ORDER, order, blotter, order_events, BLOTTER_ORDER_FIELDS) \
    X(TRADE, trade, blotter, trades, BLOTTER_TRADE_FIELDS) \
    X(SESSION, session, blotter_internal, sessions, BLOTTER_SESSION_FIELDS) \
    X(CASH, cash, blotter, cash, BLOTTER_CASH_FIELDS) \
    X(BALANCE, balance, blotter, balances, BLOTTER_BALANCE_FIELDS) \
    X(POSITION, position, blotter, venue_positions, BLOTTER_POSITION_FIELDS) \
    X(INSTRUMENT, instrument, blotter, instruments, BLOTTER_INSTRUMENT_FIELDS)

/* clang-format on */

#endif
