/* ccxt_names.h: the names that ccxt's unified objects use for the fields of our records, and how to
 * recognise which kind of object one is.
 *
 * This is the only list of them: the Python package, `blotter publish` and the drainer read it. A
 * field's own name is accepted everywhere and comes first. Rules that need more than one key, such
 * as the sign of a ledger entry, are in decode_ccxt.c. */
#ifndef BLOTTER_SCHEMA_CCXT_NAMES_H
#define BLOTTER_SCHEMA_CCXT_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/record.h"

enum ccxt_how {
    CCXT_TEXT,
    CCXT_DECIMAL,
    CCXT_BOOL,
    CCXT_TIME_NS,     /* a field of ours by its own name */
    CCXT_TIME_MS,     /* ccxt's unit */
    CCXT_TIME_EITHER, /* one name for both: the ranges of the two units do not overlap */
    CCXT_AMOUNTS,     /* our map of currencies, or ccxt's list of fees */
    CCXT_EXTRA,       /* our own object of everything else */
    CCXT_FEE,         /* a number, or {"cost", "currency", "rate"} */
    CCXT_DATETIME,    /* the timestamp as text */
    CCXT_TRADES,      /* the trades of an order: records of their own */
    CCXT_INFO,        /* the venue's own message: dropped unless asked for */
    CCXT_EXCHANGE,    /* must be the exchange of the stream */
    CCXT_KIND,        /* as in JSON lines: dropped if it names the kind that is recorded */
    CCXT_DROP,        /* follows from other fields */
};

enum { CCXT_NO_FIELD = UINT8_MAX };

/* X(name, field, how, rank): of two names for one field that of the lower rank wins; our own has
 * rank 0. The other is kept in `extra` if it differs. */
/* clang-format off */
#define CCXT_COMMON_NAMES(X, KIND) \
    X(timestamp, KIND##_exchange_time, TIME_MS, 1) \
    X(fee, KIND##_fee, FEE, 0)

#define CCXT_ORDER_NAMES(X) \
    CCXT_COMMON_NAMES(X, ORDER) \
    X(id, ORDER_order_id, TEXT, 1) \
    X(clientOrderId, ORDER_client_order_id, TEXT, 1) \
    X(lastUpdateTimestamp, ORDER_update_time, TIME_MS, 1) \
    X(lastTradeTimestamp, ORDER_last_trade_time, TIME_MS, 1) \
    X(timeInForce, ORDER_time_in_force, TEXT, 1) \
    X(triggerPrice, ORDER_trigger_price, DECIMAL, 1) \
    X(stopPrice, ORDER_trigger_price, DECIMAL, 2) \
    X(stopLossPrice, ORDER_stop_loss_price, DECIMAL, 1) \
    X(takeProfitPrice, ORDER_take_profit_price, DECIMAL, 1) \
    X(amount, ORDER_quantity, DECIMAL, 1) \
    X(filled, ORDER_filled_quantity, DECIMAL, 1) \
    X(remaining, ORDER_remaining_quantity, DECIMAL, 1) \
    X(average, ORDER_average_price, DECIMAL, 1) \
    X(takerOrMaker, ORDER_liquidity, TEXT, 1) \
    X(postOnly, ORDER_post_only, BOOL, 1) \
    X(reduceOnly, ORDER_reduce_only, BOOL, 1) \
    X(trades, CCXT_NO_FIELD, TRADES, 0)

#define CCXT_TRADE_NAMES(X) \
    CCXT_COMMON_NAMES(X, TRADE) \
    X(id, TRADE_trade_id, TEXT, 1) \
    X(order, TRADE_order_id, TEXT, 1) \
    X(clientOrderId, TRADE_client_order_id, TEXT, 1) \
    X(amount, TRADE_quantity, DECIMAL, 1) \
    X(takerOrMaker, TRADE_liquidity, TEXT, 1)

#define CCXT_CASH_NAMES(X) \
    CCXT_COMMON_NAMES(X, CASH) \
    X(updated, CASH_update_time, TIME_MS, 1) \
    X(id, CASH_entry_id, TEXT, 1) \
    X(code, CASH_currency, TEXT, 1) \
    X(after, CASH_balance_after, DECIMAL, 1) \
    X(fundingRate, CASH_rate, DECIMAL, 1) \
    X(referenceId, CASH_reference_id, TEXT, 1) \
    X(referenceAccount, CASH_counterparty, TEXT, 1) \
    X(fromAccount, CASH_from_account, TEXT, 1) \
    X(toAccount, CASH_to_account, TEXT, 1) \
    X(addressTo, CASH_address, TEXT, 1)

#define CCXT_BALANCE_NAMES(X) \
    X(timestamp, BALANCE_exchange_time, TIME_MS, 1)

#define CCXT_POSITION_NAMES(X) \
    X(timestamp, POSITION_exchange_time, TIME_MS, 1) \
    X(lastUpdateTimestamp, POSITION_update_time, TIME_MS, 1) \
    X(id, POSITION_position_id, TEXT, 1) \
    X(contracts, POSITION_quantity, DECIMAL, 1) \
    X(contractSize, POSITION_contract_size, DECIMAL, 1) \
    X(entryPrice, POSITION_entry_price, DECIMAL, 1) \
    X(markPrice, POSITION_mark_price, DECIMAL, 1) \
    X(lastPrice, POSITION_last_price, DECIMAL, 1) \
    X(liquidationPrice, POSITION_liquidation_price, DECIMAL, 1) \
    X(unrealizedPnl, POSITION_unrealized_pnl, DECIMAL, 1) \
    X(realizedPnl, POSITION_realized_pnl, DECIMAL, 1) \
    X(initialMargin, POSITION_initial_margin, DECIMAL, 1) \
    X(maintenanceMargin, POSITION_maintenance_margin, DECIMAL, 1) \
    X(stopLossPrice, POSITION_stop_loss_price, DECIMAL, 1) \
    X(takeProfitPrice, POSITION_take_profit_price, DECIMAL, 1) \
    X(marginMode, POSITION_margin_mode, TEXT, 1) \
    X(marginType, POSITION_margin_mode, TEXT, 2)

#define CCXT_INSTRUMENT_NAMES(X) \
    X(id, INSTRUMENT_venue_symbol, TEXT, 1) \
    X(type, INSTRUMENT_market_type, TEXT, 1) \
    X(optionType, INSTRUMENT_option_type, TEXT, 1) \
    X(contractSize, INSTRUMENT_contract_size, DECIMAL, 1) \
    X(expiry, INSTRUMENT_expiry, TIME_EITHER, 0) \
    X(created, INSTRUMENT_created, TIME_EITHER, 0) \
    X(maker, INSTRUMENT_maker_fee, DECIMAL, 1) \
    X(taker, INSTRUMENT_taker_fee, DECIMAL, 1) \
    X(spot, CCXT_NO_FIELD, DROP, 0) \
    X(swap, CCXT_NO_FIELD, DROP, 0) \
    X(future, CCXT_NO_FIELD, DROP, 0) \
    X(option, CCXT_NO_FIELD, DROP, 0) \
    X(contract, CCXT_NO_FIELD, DROP, 0) \
    X(subType, CCXT_NO_FIELD, DROP, 0) \
    X(expiryDatetime, CCXT_NO_FIELD, DROP, 0) \
    X(baseId, CCXT_NO_FIELD, DROP, 0) \
    X(quoteId, CCXT_NO_FIELD, DROP, 0) \
    X(settleId, CCXT_NO_FIELD, DROP, 0) \
    X(lowercaseId, CCXT_NO_FIELD, DROP, 0) \
    X(uppercaseId, CCXT_NO_FIELD, DROP, 0) \
    X(numericId, CCXT_NO_FIELD, DROP, 0)

#define CCXT_SESSION_NAMES(X)

/* Keys that are no field of any kind. */
#define CCXT_OTHER_NAMES(X) \
    X(datetime, CCXT_NO_FIELD, DATETIME, 0) \
    X(info, CCXT_NO_FIELD, INFO, 0) \
    X(exchange, CCXT_NO_FIELD, EXCHANGE, 0) \
    X(kind, CCXT_NO_FIELD, KIND, 0)
/* clang-format on */

struct ccxt_name {
    const char *name;
    uint8_t length;
    uint8_t field; /* its index in the kind's record_schema, or CCXT_NO_FIELD */
    uint8_t how;   /* enum ccxt_how */
    uint8_t rank;
};

extern const struct ccxt_names {
    const struct ccxt_name *names;
    unsigned count;
} ccxt_names[RECORD_WIRE_KINDS];

/* Finds a name of ccxt's, or NULL. The field's own name is not among them. */
const struct ccxt_name *ccxt_name_find(enum record_kind, const char *name, size_t length);

/* Says whether the field of that index has another name in ccxt's objects, and only there. */
bool ccxt_is_renamed(enum record_kind, unsigned field);

/* A time of ccxt's is in milliseconds within these bounds; any other is wrong. */
#define CCXT_TIME_MS_MIN (LIMIT_TIME_MIN_NS / 1000000)
#define CCXT_TIME_MS_MAX (LIMIT_TIME_END_NS / 1000000) /* exclusive */

/* Reads digits with an optional fraction, which some exchanges have. False: it is something else.
 */
bool ccxt_time_read(const char *text, size_t length, int64_t *ms, int64_t *fraction_ns);

/* Does the same by the shortest digits of a double, which holds no fraction exactly. */
bool ccxt_time_of_double(double, int64_t *ms, int64_t *fraction_ns);

/* --- which kind of object it is --- */

/* X(SHAPE, text): what the text says follows "this is". */
/* clang-format off */
#define CCXT_SHAPES(X) \
    X(UNKNOWN, "of no known kind") \
    X(BALANCE, "a balance: record it with balance()") \
    X(MARKET, "a market: record it with instrument()") \
    X(LIQUIDATION, \
      "a liquidation, which has no id: its fills come as trades, its loss in the ledger") \
    X(POSITION, "a position: record it with position()") \
    X(MARKET_DATA, "market data, which is not recorded") \
    X(TRANSFER, "a transfer: record it with cash()") \
    X(TRANSACTION, "a deposit or withdrawal: record it with cash()") \
    X(LEDGER, "a ledger entry: record it with cash()") \
    X(FUNDING, "a funding payment: record it with cash()") \
    X(CASH, "a cash flow: record it with cash()") \
    X(ORDER, "an order: record it with order()") \
    X(TRADE, "a trade: record it with trade()")
/* clang-format on */
#define X(shape, text) CCXT_SHAPE_##shape,
enum ccxt_shape { CCXT_SHAPES(X) };
#undef X

/* Returns the bit of a key whose value is neither null nor missing; 0: the key tells nothing. */
uint64_t ccxt_mark(const char *key, size_t length, bool value_is_map);

/* Returns which cash flow it is: TRANSFER, TRANSACTION, FUNDING, or LEDGER where nothing tells.
 * moved: its type is deposit or withdrawal; bare: it has an id, a time, an amount and a status
 * alone. */
enum ccxt_shape ccxt_cash_shape_of(uint64_t marks, bool moved, bool bare);

/* The keys of `info` that may have the venue's own word for the type of a cash flow, the best
 * first, and NULL; and the one by which bybit and phemex have the amount of a funding payment. */
extern const char *const ccxt_venue_types[];
#define CCXT_EXECUTION_FEE "execFee"

/* Says why an object of this shape is not recorded as this kind, "a ledger entry: record it with
 * cash()"; NULL: nothing speaks against it. */
const char *ccxt_kind_veto(enum record_kind, uint64_t marks);

#endif
