"""The fields of each kind of record, as type checkers and editors see them: the keywords of the calls that record.

The list is that of schema/fields.h (FIELDS at run time); tests compare the two.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, TypedDict

Text = str | int | None
Number = str | int | float | Decimal | None
Time = int | str | datetime | None
Amounts = Mapping[str, str | int | float | Decimal] | str | None
Extra = Mapping[str, Any] | str | None


class OrderFields(TypedDict, total=False):
    """The fields of one state change of an order; order_id or client_order_id is required."""

    exchange_time: Time
    "the venue's own time, of ccxt mostly the order's creation (60, timestamp)"
    update_time: Time
    "when the order last changed at the venue (lastUpdateTimestamp)"
    last_trade_time: Time
    "when the order last traded (lastTradeTimestamp)"
    account: Text
    "whose account (1)"
    strategy: Text
    "which strategy"
    symbol: Text
    "as the strategy names it (55, symbol)"
    market_type: Text
    "spot, margin, swap, future, option"
    order_id: Text
    "the venue's id of the order (37, id)"
    client_order_id: Text
    "our id of the order (11, clientOrderId)"
    orig_client_order_id: Text
    "our id of the order that this one replaces (41)"
    trade_id: Text
    "the execution, where the event is a fill (1003)"
    event: Text
    "what happened: new, fill, cancel, replace, reject, expire, trigger (150)"
    side: Text
    "buy, sell (54, side)"
    position_side: Text
    "long, short, both"
    type: Text
    "limit, market, stop ... (40, type)"
    time_in_force: Text
    "GTC, IOC, FOK ... (59, timeInForce)"
    status: Text
    "pending_new, open, partially_filled, filled, canceled ... (39, status)"
    price: Number
    "limit price (44, price)"
    trigger_price: Number
    "stop or trigger price (99, triggerPrice)"
    stop_loss_price: Number
    "price of the attached stop loss (stopLossPrice)"
    take_profit_price: Number
    "price of the attached take profit (takeProfitPrice)"
    quantity: Number
    "ordered quantity (38, amount)"
    filled_quantity: Number
    "cumulative filled quantity (14, filled)"
    remaining_quantity: Number
    "quantity still open (151, remaining)"
    average_price: Number
    "average price of what is filled (6, average)"
    last_price: Number
    "price of this fill (31)"
    last_quantity: Number
    "quantity of this fill (32)"
    cost: Number
    "cumulative quote amount (cost)"
    fee: Number | Mapping[str, Any]
    "+ paid, - rebate; of this fill if last_quantity is given, else cumulative (137, fee)"
    fee_currency: Text
    "currency of the fee (138)"
    fee_rate: Number
    "rate of the fee (fee.rate)"
    fees: Amounts
    "all fees by currency, where there are several (fees)"
    liquidity: Text
    "maker, taker (851, takerOrMaker)"
    realized_pnl: Number
    "realised profit and loss, derivatives"
    post_only: bool | None
    "the order may only add liquidity (postOnly)"
    reduce_only: bool | None
    "the order may only reduce a position (reduceOnly)"
    reason: Text
    "why rejected or cancelled (58)"
    origin: Text
    "null: the strategy's feed; venue: fetched to compare; manual"
    extra: Extra
    "everything else, a JSON object"


class TradeFields(TypedDict, total=False):
    """The fields of one execution; symbol, price and quantity are required."""

    exchange_time: Time
    "the venue's own time (60, timestamp)"
    account: Text
    "whose account (1); given for your own fills"
    strategy: Text
    "which strategy"
    symbol: Text
    "as the strategy names it (55, symbol)"
    market_type: Text
    "spot, margin, swap, future, option"
    order_id: Text
    "your order that traded (37, order)"
    client_order_id: Text
    "our id of that order (11)"
    trade_id: Text
    "the execution (1003, id)"
    side: Text
    "buy, sell: yours, or the taker's (54, side)"
    position_side: Text
    "long, short, both"
    price: Number
    "price (31, price)"
    quantity: Number
    "quantity (32, amount)"
    cost: Number
    "quote amount (cost)"
    fee: Number | Mapping[str, Any]
    "+ paid, - rebate (137, fee)"
    fee_currency: Text
    "currency of the fee (138)"
    fee_rate: Number
    "rate of the fee (fee.rate)"
    fees: Amounts
    "all fees by currency, where there are several (fees)"
    liquidity: Text
    "maker, taker (851, takerOrMaker)"
    realized_pnl: Number
    "realised profit and loss, derivatives"
    origin: Text
    "null: the strategy's feed; venue: fetched to compare; manual"
    extra: Extra
    "everything else, a JSON object"


class CashFields(TypedDict, total=False):
    """The fields of one cash flow that is not a fill; currency and amount are required."""

    exchange_time: Time
    "the venue's own time (60, timestamp)"
    update_time: Time
    "last change of its status (updated)"
    account: Text
    "whose account (1)"
    strategy: Text
    "which strategy"
    symbol: Text
    "the symbol that it is for, as of a funding payment (55, symbol)"
    market_type: Text
    "spot, margin, swap, future, option"
    entry_id: Text
    "the venue's id of the entry; not unique alone (id)"
    type: Text
    "funding, transfer, deposit, withdrawal, fee, rebate, interest, settlement, trade ... (type)"
    venue_type: Text
    "the venue's own word for the type"
    status: Text
    "ok, pending, failed, canceled (status)"
    currency: Text
    "currency of the amount (15; currency, code)"
    amount: Number
    "+ into the account, - out of it (amount, direction)"
    balance_after: Number
    "the balance behind it (after)"
    fee: Number
    "+ paid, beside amount (137, fee.cost)"
    fee_currency: Text
    "currency of the fee (138, fee.currency)"
    rate: Number
    "funding or interest rate (rate, fundingRate)"
    reference_id: Text
    "order, trade or entry that it belongs to (referenceId)"
    counterparty: Text
    "the other account (referenceAccount)"
    from_account: Text
    "of a transfer (fromAccount)"
    to_account: Text
    "of a transfer (toAccount)"
    txid: Text
    "the chain's id of the transaction (txid)"
    address: Text
    "where a withdrawal goes, or a deposit arrives (addressTo, address)"
    network: Text
    "the chain (network)"
    origin: Text
    "null: the strategy's feed; venue: fetched to compare; manual"
    extra: Extra
    "everything else, a JSON object"


class BalanceFields(TypedDict, total=False):
    """The fields of what an account holds of a currency."""

    exchange_time: Time
    "the venue's own time (60, timestamp)"
    account: Text
    "whose account (1)"
    market_type: Text
    "which wallet: spot, margin, swap, future, option ..."
    currency: Text
    "the currency (15); null: the account is empty"
    free: Number
    "not in use (free)"
    used: Number
    "in use by orders or as margin (used)"
    total: Number
    "all of it (total)"
    debt: Number
    "borrowed (debt)"
    snapshot: Time
    "when the call was made: the same in all records of one call"
    origin: Text
    "null: the strategy's feed; venue: fetched to compare; manual"
    extra: Extra
    "everything else, a JSON object"


class PositionFields(TypedDict, total=False):
    """The fields of a position as the venue reports it; symbol is required."""

    exchange_time: Time
    "the venue's time: of some the opening, of some the last change (60, timestamp)"
    update_time: Time
    "when the position last changed (lastUpdateTimestamp)"
    snapshot: Time
    "when the call was made: the same in all records of one call"
    account: Text
    "whose account (1)"
    strategy: Text
    "which strategy"
    symbol: Text
    "as the strategy names it (55, symbol)"
    market_type: Text
    "margin, swap, future, option"
    position_id: Text
    "the venue's id of the position (id)"
    position_side: Text
    "long, short: of a hedged account; both"
    quantity: Number
    "contracts, + long, - short (704, 705, contracts)"
    contract_size: Number
    "what one contract is (231, contractSize)"
    entry_price: Number
    "average price of entry (6, entryPrice)"
    mark_price: Number
    "the venue's mark price (markPrice)"
    last_price: Number
    "price of the last trade (lastPrice)"
    liquidation_price: Number
    "where the venue liquidates (liquidationPrice)"
    unrealized_pnl: Number
    "profit and loss that is open (unrealizedPnl)"
    realized_pnl: Number
    "profit and loss that is realised (realizedPnl)"
    notional: Number
    "value of the position (notional)"
    collateral: Number
    "margin that is set aside for it (collateral)"
    initial_margin: Number
    "margin that opening it needed (initialMargin)"
    maintenance_margin: Number
    "margin that keeping it needs (maintenanceMargin)"
    leverage: Number
    "the leverage that is set (leverage)"
    stop_loss_price: Number
    "price of the stop loss (stopLossPrice)"
    take_profit_price: Number
    "price of the take profit (takeProfitPrice)"
    margin_mode: Text
    "cross, isolated (marginMode)"
    hedged: bool | None
    "long and short are held beside each other (hedged)"
    origin: Text
    "null: the strategy's feed; venue: fetched to compare; manual"
    extra: Extra
    "everything else, a JSON object"


class InstrumentFields(TypedDict, total=False):
    """The fields of what a symbol means; symbol is required."""

    symbol: Text
    "as the strategy names it (55, symbol)"
    venue_symbol: Text
    "the venue's own name (48, id)"
    market_type: Text
    "spot, margin, swap, future, option (type)"
    base: Text
    "base currency (base)"
    quote: Text
    "currency of the price (quote)"
    settle: Text
    "currency of profit and loss (120, settle)"
    option_type: Text
    "call, put (201, optionType)"
    contract_size: Number
    "what one contract is (231, contractSize)"
    strike: Number
    "strike price of an option (202, strike)"
    linear: bool | None
    "settled in the quote currency (linear)"
    inverse: bool | None
    "settled in the base currency (inverse)"
    active: bool | None
    "open for trading (active)"
    expiry: Time
    "when it expires (541, expiry)"
    created: Time
    "when it was listed (created)"
    price_step: Number
    "prices are multiples of it (969, precision.price)"
    quantity_step: Number
    "quantities are multiples of it (precision.amount)"
    min_quantity: Number
    "smallest quantity of an order (562, limits.amount.min)"
    max_quantity: Number
    "largest quantity of an order (limits.amount.max)"
    min_cost: Number
    "smallest cost of an order (limits.cost.min)"
    maker_fee: Number
    "fee rate of a maker (maker)"
    taker_fee: Number
    "fee rate of a taker (taker)"
    quantity_unit: Text
    "contracts, base, quote: what quantities count"
    extra: Extra
    "everything else, a JSON object"

