"""Makes ccxt's unified objects of rows, the way back of recording them."""

from __future__ import annotations

import datetime
import json
import operator
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from blotter import _core

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
MICROSECOND = datetime.timedelta(microseconds=1)

ORDER_KEYS = (
    "id", "clientOrderId", "timestamp", "datetime", "lastTradeTimestamp", "lastUpdateTimestamp", "symbol", "type", "timeInForce",
    "postOnly", "reduceOnly", "side", "price", "triggerPrice", "stopPrice", "stopLossPrice", "takeProfitPrice", "amount", "filled",
    "remaining", "average", "cost", "status", "fee", "fees", "trades",
)  # fmt: skip
TRADE_KEYS = (
    "id", "order", "timestamp", "datetime", "symbol", "type", "side", "takerOrMaker", "price", "amount", "cost", "fee", "fees",
)  # fmt: skip


AMOUNTS = ("free", "used", "total", "debt")
SHARED = {"cash": {"address", "currency", "rate"}}  # names of ours that are keys of ccxt's, too, beside another key of the same field
YEAR_10000 = 253_402_300_800_000


def _is_absent(value):
    return value is None or (isinstance(value, (str, list, tuple, dict)) and not value)


def _first(*values):
    """The first value that is not absent."""
    return next((value for value in values if not _is_absent(value)), None)


def _exact(value):
    """The exact decimal of a number, also numpy's, or of text that is one; None if it is none, or not finite."""
    kind = type(value)
    if isinstance(value, bool) or not (isinstance(value, str) or hasattr(kind, "__float__") or hasattr(kind, "__index__")):
        return None
    try:
        result = value if isinstance(value, Decimal) else Decimal(str(operator.index(value) if hasattr(kind, "__index__") else value))
    except (InvalidOperation, TypeError, ValueError):
        return None
    return result if result.is_finite() else None


def to_ccxt(row: Any, *, trades: Sequence[Any] = (), number: Callable[[Any], Any] = float) -> dict[str, Any]:
    """Return the ccxt object that a row was recorded from.

    row is a row of blotter.order_events, orders, open_orders, trades, cash, balances, venue_positions or instruments, as any driver
    gives it: a dict, or what dict() takes, or a named tuple. For a balance pass the list of its rows. trades are the rows of an order's
    own trades. number makes what ccxt calls a number of a Decimal: float, str (digits without an exponent), or Decimal.

    ccxt's `info` is there only if it was recorded. A key that was missing, null, empty or a time of 0 is None. Of a market the venue's
    own names but `id` are not recorded: baseId, quoteId, settleId, lowercaseId and the like are missing.
    """
    number = _digits if number is str else number
    if type(row) is list:  # psycopg2's DictRow is a subclass
        return _balance([_as_dict(item) for item in row], number)
    row = _as_dict(row)
    return _RESTORE[_kind_of(row)](row, trades, number)


def _digits(value):
    return format(value if isinstance(value, Decimal) else Decimal(str(value)), "f")


def _numbers(value, number, texts=False):
    """A value of `extra` with its numbers as the caller wants them. texts: text that is a number is one, too."""
    if isinstance(value, dict):
        return {name: _numbers(item, number, texts) for name, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item, number, texts) for item in value]
    exact = _exact(value) if texts or isinstance(value, (float, Decimal)) else None
    return value if exact is None else number(exact)


def _as_dict(row):
    """The row as a dict, with its JSON columns parsed."""
    if hasattr(row, "_asdict"):
        row = row._asdict()
    elif not hasattr(row, "keys") and hasattr(row, "_mapping"):
        row = row._mapping
    row = dict(row)
    for name in ("extra", "fees"):
        if isinstance(row.get(name), (str, bytes)):
            row[name] = json.loads(row[name], parse_float=Decimal)
    return row


def _kind_of(row):
    for kind, names in _KIND_NAMES.items():
        if names & row.keys():
            return kind
    raise ValueError(f"not a row of a kind that is recorded: {', '.join(row)}")


_KIND_NAMES = {
    "order": {"filled_quantity", "remaining_quantity", "orig_client_order_id"},
    "cash": {"entry_id", "balance_after"},
    "position": {"entry_price", "liquidation_price"},
    "instrument": {"venue_symbol", "price_step"},
    "balance": {"free", "used"},
    "trade": {"trade_id"},
}


def _milliseconds(value):
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, datetime.datetime):
        return (value - EPOCH) // MICROSECOND // 1000
    return value // 1_000_000  # nanoseconds, as records have them


def _time(value):
    """A time that no field could take, as it was given."""
    return (int(value) if value == value.to_integral_value() else float(value)) if isinstance(value, Decimal) and value.is_finite() else value


def _datetime_text(row, timestamp):
    """As ccxt writes it, and with microseconds where the time has some."""
    value = row.get("exchange_time")
    if timestamp is None or isinstance(timestamp, str):
        return None
    if isinstance(value, datetime.datetime) and value.microsecond % 1000:
        return value.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    moment = EPOCH + datetime.timedelta(milliseconds=timestamp)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


class _Restored(dict):
    """A ccxt object being made of a row, by the names of schema/ccxt_names.h."""

    def __init__(self, kind, row, number, keys=()):
        super().__init__(dict.fromkeys(keys))
        self.kind, self.row, self.number = kind, row, number
        self.names = {}
        for name, field in _core.CCXT_NAMES[kind].items():
            self.names.setdefault(field, name)
        for field in _core.FIELDS[kind]:
            name = self.names.get(field, field)
            if keys and name == field and field not in keys:
                continue  # ours alone, such as strategy
            if row.get(field) is not None and field not in ("extra", "fees", "fee", "fee_currency", "fee_rate"):
                self[name] = self.convert(field, row[field])
        if "exchange_time" in row:
            self["timestamp"] = _milliseconds(row["exchange_time"])
            self["datetime"] = _datetime_text(row, self["timestamp"])

    def convert(self, field, value):
        if isinstance(value, datetime.datetime) or field in _TIMES:
            return _milliseconds(value)
        if isinstance(value, (Decimal, float, int)) and not isinstance(value, bool):
            return self.number(value)
        return value

    def add_extra(self, *without):
        """Puts back what had no field, and values that their field could not take, under ccxt's name."""
        for name, value in (self.row.get("extra") or {}).items():
            if name not in without:
                holds = _core.FIELDS[self.kind].get(_core.CCXT_NAMES[self.kind].get(name, name))
                key = name if name in SHARED.get(self.kind, ()) else self.names.get(name, name)
                self[key] = _time(value) if holds == "time" else _numbers(value, self.number, holds == "decimal")
        return self

    def add_fees(self, no_fee):
        row, extra = self.row, self.row.get("extra") or {}
        taken = {"cost": None, "currency": _first(row.get("fee_currency"), extra.get("fee_currency"))}
        if row.get("fee") is not None:
            taken["cost"] = self.number(row["fee"])
        if row.get("fee_rate") is not None:
            taken["rate"] = self.number(row["fee_rate"])
        fee = dict(taken)
        if isinstance(extra.get("fee"), dict):
            fee |= _numbers(extra["fee"], self.number, True)
        elif "fee" in extra:
            fee["cost"] = _numbers(extra["fee"], self.number, True)
        first = fee | {name: value for name, value in taken.items() if value is not None}  # what is wrong in the fee is not in the list
        several = row.get("fees") or {}
        others = [{"cost": self.number(_exact(cost)), "currency": currency} for currency, cost in several.items() if currency != row.get("fee_currency")]
        known = any(value is not None for value in fee.values())
        self["fee"] = fee if known else no_fee
        self["fees"] = _numbers(extra["fees"], self.number, True) if "fees" in extra else [first, *others] if first["cost"] is not None else others
        return self


_TIMES = {"update_time", "last_trade_time", "expiry", "created"}


def _order(row, trades, number):
    order = _Restored("order", row, number, ORDER_KEYS)
    order["stopPrice"] = order.get("triggerPrice")
    order.add_fees(None).add_extra("fee", "fees", "fee_currency", "trade_ids")
    order["trades"] = [to_ccxt(trade, number=number) for trade in trades] + _numbers(list((row.get("extra") or {}).get("trade_ids", ())), number)
    return dict(order)


def _trade(row, trades, number):
    trade = _Restored("trade", row, number, TRADE_KEYS)
    return dict(trade.add_fees({"cost": None, "currency": None}).add_extra("fee", "fees", "fee_currency"))


def _is_funding_payment(row, extra):
    return row.get("type") == "funding" and row.get("venue_type") is None and "type" not in extra


def _cash(row, trades, number):
    extra = row.get("extra") or {}
    cash = _Restored("cash", row, number)
    amount, after = row.get("amount"), row.get("balance_after")
    if row.get("currency") is not None:
        cash["currency"] = cash["code"] = row["currency"]
    if not _is_funding_payment(row, extra) and amount is not None:
        cash["amount"] = number(abs(amount))
        cash["direction"] = "out" if amount < 0 else "in"
        cash["before"] = number(after - amount) if after is not None else None
    cash.add_fees(None)
    if row.get("address") is not None:
        cash["address"] = row["address"]
        cash["addressTo"] = row["address"]
    if row.get("rate") is not None:
        cash["rate"] = number(row["rate"])
    return dict(cash.add_extra("fee", "fees", "fee_currency"))


def _balance(rows, number):
    balance = _Restored("balance", rows[0], number) if rows else {}
    result = {"timestamp": balance.get("timestamp"), "datetime": balance.get("datetime"), "free": {}, "used": {}, "total": {}}
    for row in rows:
        if row.get("currency") is None:
            continue
        amounts = {name: number(row[name]) if row.get(name) is not None else None for name in AMOUNTS}
        if amounts["debt"] is None:
            del amounts["debt"]
        for name, value in amounts.items():
            result.setdefault(name, {})[row["currency"]] = value
        result[row["currency"]] = amounts | _numbers(row.get("extra") or {}, number, True)
    return result


def _one_balance(row, trades, number):
    return _balance([row], number)


def _position(row, trades, number):
    position = _Restored("position", row, number)
    quantity = row.get("quantity")
    position["side"] = "long" if quantity and quantity > 0 else "short" if quantity and quantity < 0 else None
    if quantity is not None:
        position["contracts"] = number(abs(quantity))
    if row.get("margin_mode") is not None:
        position["marginType"] = row["margin_mode"]
    return dict(position.add_extra())


def _merged(known, extra, number):
    """A nested dict with what fields hold and what is in `extra`, which also has values that are no dict."""
    if extra is None:
        return known
    if not isinstance(extra, dict):
        return _numbers(extra, number, True)
    merged = known | _numbers(extra, number, True)
    return {name: known[name] | value if isinstance(known.get(name), dict) and isinstance(value, dict) else value for name, value in merged.items()}


def _instrument(row, trades, number):
    extra = row.get("extra") or {}
    market = _Restored("instrument", row, number)
    kind = row.get("market_type")
    market |= {name: kind == name for name in ("spot", "swap", "future", "option")} | {"contract": kind in ("swap", "future", "option")}
    steps = {"price": row.get("price_step"), "amount": row.get("quantity_step")}
    market["precision"] = _merged({name: number(step) for name, step in steps.items() if step is not None}, extra.get("precision"), number)
    limits = {"amount": {"min": row.get("min_quantity"), "max": row.get("max_quantity")}, "cost": {"min": row.get("min_cost")}}
    known = {name: {key: number(value) for key, value in limit.items() if value is not None} for name, limit in limits.items()}
    market["limits"] = _merged(known, extra.get("limits"), number)
    market["subType"] = "linear" if row.get("linear") else "inverse" if row.get("inverse") else None
    market.add_extra("precision", "limits")
    expiry = market.get("expiry")
    known = type(expiry) is int and 10**12 <= expiry < YEAR_10000
    market["expiryDatetime"] = _datetime_text({}, expiry) if known else None
    return dict(market)


_RESTORE = {"order": _order, "trade": _trade, "cash": _cash, "balance": _one_balance, "position": _position, "instrument": _instrument}
