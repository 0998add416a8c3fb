"""Turns ccxt's unified objects into fields of our records.

Names that map one to one are in schema/ccxt_names.h, which the C part reads. This file has the rules that need more than one key:
nested trades, fees in several currencies, the sign of a cash flow, the currencies of a balance, the side of a position. Each function
takes an object and the keywords of the call, and returns a list of records, each a pair of its kind and a dict that the C part takes.
"""

import json
import time
from decimal import Decimal, InvalidOperation

TICK_SIZE = 4  # ccxt.TICK_SIZE: precision is a step, not a number of digits


def is_absent(value):
    return value is None or (isinstance(value, (str, list, tuple, dict)) and not value)


def first(*values):
    """The first value that is not absent."""
    return next((value for value in values if not is_absent(value)), None)


def number(value):
    """The exact decimal of an int, float, Decimal or str; None if it is none, or not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    try:
        result = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        return None
    return result if result.is_finite() else None


def plain(value):
    """Decimal as text without an exponent."""
    return format(value, "f") if isinstance(value, Decimal) else value


def negated(value):
    """The value with the other sign, as exact as it was given."""
    if isinstance(value, str):
        return value[1:] if value.startswith("-") else "-" + value.removeprefix("+")
    return -value


def is_negative(value):
    exact = number(value)
    return exact is not None and exact < 0


class Fields(dict):
    """The fields of one record. What has no field goes to `extra`."""

    def __init__(self, info, keywords):
        super().__init__(info or {})
        self.keywords = keywords

    def get_field(self, name, *others):
        """A keyword's value, else the object's."""
        return first(self.keywords.get(name), self.get(name), *(self.get(other) for other in others))

    def keep(self, name, value):
        if not is_absent(value):
            self.setdefault("__extra__", {})[name] = value

    def record(self, kind):
        extra = self.pop("__extra__", {})
        fields = {name: value for name, value in self.items() if value is not None} | self.keywords
        own = fields.get("extra")
        if extra:
            if isinstance(own, str):
                own = json.loads(own, parse_float=Decimal)
            fields["extra"] = extra | dict(own or {})
        return kind, fields


# --- fees ---


def parts_of(fee):
    """The keys of a fee that fields take, and the other ones."""
    known = {name: fee[name] for name in ("cost", "currency", "rate") if not is_absent(fee.get(name))}
    others = {name: value for name, value in fee.items() if name not in ("cost", "currency", "rate") and value is not None}
    return known, others


def is_same_fee(a, b):
    return number(a["cost"]) == number(b["cost"]) and first(a.get("currency"), b.get("currency")) == first(b.get("currency"), a.get("currency"))


def sum_fees(entries):
    """The sum by currency. A single entry keeps its digits as they are."""
    sums = {}
    for entry in entries:
        currency, cost = entry.get("currency"), entry["cost"]
        sums[currency] = cost if currency not in sums else number(sums[currency]) + number(cost)
    return sums


def take_fees(fields):
    """CCXT.md, 2.4: fee, fee_currency, fee_rate, and fees where there are several currencies."""
    fee, fees = fields.pop("fee", None), fields.pop("fees", None)
    if isinstance(fees, dict):  # our own map
        fields["fees"] = fees
        fees = None
    if not isinstance(fee, dict):
        fee = {"cost": fee, "currency": fields.get("fee_currency")} if fee is not None else {}
    fee, others = parts_of(fee)
    fields.keep("fee", others)
    fees = [fees] if isinstance(fees, dict) else fees if isinstance(fees, (list, tuple)) else []
    entries = [entry for entry in fees if isinstance(entry, dict) and number(entry.get("cost")) is not None]
    rest = [entry for entry in fees if entry not in entries and not (isinstance(entry, dict) and not parts_of(entry)[1] and "cost" not in parts_of(entry)[0])]
    if rest:
        fields.keep("fees", fees)
    if number(fee.get("cost")) is not None and not any(is_same_fee(fee, entry) for entry in entries):
        if entries:
            fields.keep("fees", fees)
        entries = [fee]
    elif fee:  # ccxt copies fee into fees as a float, so fee may have the venue's digits
        entries = [fee | {"currency": first(fee.get("currency"), entry.get("currency"))} if "cost" in fee and is_same_fee(fee, entry) else entry for entry in entries]
    if not entries:
        if "cost" in fee:  # not a number: the library keeps it in `extra`
            fields["fee"] = fee["cost"]
        fields["fee_currency"] = first(fee.get("currency"), *(entry.get("currency") for entry in fees if isinstance(entry, dict)))
        fields["fee_rate"] = fee.get("rate")
        return
    sums = sum_fees(entries)
    currency, cost = next(iter(sums.items()))
    fields["fee"], fields["fee_currency"] = plain(cost), currency
    fields["fee_rate"] = first(entries[0].get("rate"), fee.get("rate") if len(sums) == 1 else None)
    if len(sums) > 1:
        fields["fees"] = {first(name, ""): plain(number(amount)) for name, amount in sums.items()}


# --- orders and trades ---

INHERITED = ("account", "strategy", "symbol", "market_type", "position_side", "order_id", "client_order_id", "side", "origin")


def trade(info, keywords, producer):
    fields = Fields(info, keywords)
    take_fees(fields)
    amount = fields.get("amount")
    if is_negative(amount):
        fields["amount"] = negated(amount)
        if is_absent(fields.get("side")):
            fields["side"] = "sell"
    return [fields.record("trade")]


def nested_trade(order, nested, keywords, constants):
    """The trade of an order, with what it takes from the order; None if it says too little to be one."""
    if not isinstance(nested, dict) or number(nested.get("price")) is None or number(nested.get("amount")) is None:
        return None
    fields = dict(nested)
    inherited = {name: keywords[name] for name in INHERITED if keywords.get(name) is not None}
    for name, value in (
        ("order", first(keywords.get("order_id"), order.get("id"), order.get("order_id"))),
        ("clientOrderId", first(keywords.get("client_order_id"), order.get("clientOrderId"), order.get("client_order_id"))),
        ("symbol", first(keywords.get("symbol"), order.get("symbol"), constants.get("symbol"))),
        ("side", first(keywords.get("side"), order.get("side"), constants.get("side"))),
    ):
        if is_absent(fields.get(name)) or (name == "symbol" and not isinstance(fields[name], str)):
            fields[name] = value
    if first(fields.get("timestamp"), fields.get("datetime")) is None:
        fields["timestamp"] = order.get("lastTradeTimestamp")
    for name in ("order_id", "client_order_id", "symbol", "side"):
        inherited.pop(name, None)
    return fields, inherited


def order(info, keywords, producer):
    fields = Fields(info, keywords)
    nested = fields.pop("trades", None) or []
    records, ids = [], []
    for item in nested if isinstance(nested, (list, tuple)) else [nested]:
        found = nested_trade(fields, item, keywords, producer.constants)
        if found is not None and isinstance(found[0].get("symbol"), str):
            records += trade(*found, producer)
        else:
            ids.append(item.get("id") if isinstance(item, dict) else item)
    fields.keep("trade_ids", [id for id in ids if id is not None])
    take_fees(fields)
    return [fields.record("order"), *records]


# --- cash ---

VENUE_TYPES = ("incomeType", "bizType", "businessType", "groupType", "transferType", "type", "info")
FUNDING_TYPES = {"FUNDING_FEE", "fund", "contract_settle_fee", "funding rate change"}


def venue_type(info):
    if isinstance(info, dict):
        for name in VENUE_TYPES:
            value = info.get(name)
            if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
                return str(value)
    return None


def is_funding(word, exchange):
    return word in FUNDING_TYPES or (word == "8" and "okx" in exchange) or (word == "SETTLEMENT" and "bybit" in exchange)


def settle_of(symbol):
    """USDT of BTC/USDT:USDT-261225."""
    if isinstance(symbol, str) and ":" in symbol:
        return symbol.split(":", 1)[1].split("-", 1)[0]
    return None


def take_id(fields):
    if isinstance(fields.get("id"), float) and fields["id"].is_integer():
        fields["id"] = int(fields["id"])


def take_cash_fee(fields):
    fee = fields.get("fee")
    if isinstance(fee, dict):
        known, others = parts_of(fee)
        fields["fee"] = known.get("cost")
        if not is_absent(known.get("currency")):
            fields["fee_currency"] = known["currency"]
        fields.keep("fee", others | {name: value for name, value in known.items() if name == "rate"})


def set_type(fields, word):
    """Our word for the type; ccxt's is kept where it differs."""
    given = fields.get("type")
    if not is_absent(given) and given != word:
        fields.keep("type", given)
    fields["type"] = word


def set_amount(fields, is_out):
    amount = fields.get("amount")
    if is_out and number(amount) and not is_negative(amount):
        fields["amount"] = negated(amount)


def take_account(fields, producer):
    """The account that the strategy names comes before the venue's name for it."""
    ours, theirs = first(fields.keywords.get("account"), producer.constants.get("account")), fields.get("account")
    if ours is not None and not is_absent(theirs) and theirs != ours:
        fields.keep("account", theirs)
        fields["account"] = ours
    return first(ours, theirs)


def ledger_entry(fields, exchange):
    direction, before = fields.pop("direction", None), fields.pop("before", None)
    set_amount(fields, direction == "out" or (is_absent(direction) and fields.get("type") == "withdraw"))
    amount, after = number(fields.get("amount")), number(fields.get("after"))
    if direction != ("out" if amount is not None and amount < 0 else "in"):
        fields.keep("direction", direction)
    if before is not None and (after is None or amount is None or number(before) != after - amount):
        fields.keep("before", before)
    word = venue_type(fields.get("info"))
    fields.setdefault("venue_type", word)
    if is_funding(word, exchange):
        set_type(fields, "funding")
    elif fields.get("type") == "transaction" and amount is not None:
        set_type(fields, "withdrawal" if amount < 0 else "deposit")


def funding_payment(fields, exchange):
    set_type(fields, "funding")
    settle, info = settle_of(fields.get("symbol")), fields.get("info")
    if exchange.startswith("bybit") and settle is not None and fields.get("code") not in (None, settle):
        fields.keep("code", fields.pop("code"))
    if first(fields.get("code"), fields.get("currency")) is None:
        fields["currency"] = settle
    if exchange.startswith(("bybit", "phemex")) and isinstance(info, dict) and "execFee" in info and number(fields.get("amount")) is not None:
        fields["amount"] = negated(fields["amount"])


def transfer(fields, account):
    set_type(fields, "transfer")
    set_amount(fields, account is not None and account == fields.get_field("from_account", "fromAccount"))


def transaction(fields):
    if fields.get("type") in ("withdrawal", "withdraw"):
        set_type(fields, "withdrawal")
        set_amount(fields, True)
    to, address = fields.get("addressTo"), fields.get("address")
    if not is_absent(to):
        fields["address"] = fields.pop("addressTo")
        if address != to:
            fields.keep("address", address)


def has_any(info, *names):
    return any(not is_absent(info.get(name)) for name in names)


def cash(info, keywords, producer):
    fields = Fields(info, keywords)
    account = take_account(fields, producer)
    take_cash_fee(fields)
    take_id(fields)
    if "fromAccount" in fields or "toAccount" in fields:
        transfer(fields, account)
    elif "txid" in fields or "addressTo" in fields or has_any(fields, "address", "tag", "network", "internal", "updated"):
        transaction(fields)
    elif "direction" in fields or has_any(fields, "before", "after", "referenceId", "referenceAccount"):
        ledger_entry(fields, producer.exchange)
    elif "code" in fields or (is_absent(fields.get("currency")) and not is_absent(fields.get("symbol"))):
        funding_payment(fields, producer.exchange)
    elif info:
        ledger_entry(fields, producer.exchange)
    return [fields.record("cash")]


# --- balances ---

NO_CURRENCIES = {"info", "timestamp", "datetime", "free", "used", "total", "debt"}
AMOUNTS = ("free", "used", "total", "debt")


def is_balance(info):
    return any(isinstance(info.get(name), dict) for name in AMOUNTS) or any(
        isinstance(value, dict) for name, value in info.items() if name not in NO_CURRENCIES
    )


def currencies_of(info):
    """A dict of amounts for each currency, from the currencies' own keys and the maps that repeat them."""
    found = {name: dict(row) for name, row in info.items() if name not in NO_CURRENCIES and isinstance(row, dict)}
    for amount in AMOUNTS:
        for currency, value in (info.get(amount) or {}).items() if isinstance(info.get(amount), dict) else ():
            found.setdefault(currency, {}).setdefault(amount, value)
    return found


def is_empty_row(row):
    """Nothing but zeros. A value that is not a number is not nothing."""
    return not any(value is not None and number(value) != 0 for value in row.values())


def balance(info, keywords, producer):
    snapshot = keywords.get("snapshot") or time.time_ns()
    if info is None or not is_balance(info):
        return [Fields(info, keywords | ({"snapshot": snapshot} if info else {})).record("balance")]
    common = {name: info.get(name) for name in ("timestamp", "datetime", "info")} | {"snapshot": snapshot}
    scalars = {name: value for name, value in info.items() if name not in NO_CURRENCIES and not isinstance(value, dict)}
    rows = [common | row | {"currency": currency} for currency, row in currencies_of(info).items() if not is_empty_row(row)]
    rows = rows or [common]
    rows[0] |= scalars
    return [Fields(row, keywords).record("balance") for row in rows]


# --- positions ---


def one_position(info, keywords, snapshot):
    fields = Fields(info, keywords)
    if "contracts" not in fields and "side" not in fields:  # our own names
        return fields.record("position")
    side, contracts = fields.pop("side", None), fields.get("contracts")
    exact = number(contracts)
    if exact is not None and exact > 0 and side == "short":
        contracts = fields["contracts"] = negated(contracts)
        exact = -exact
    if side != ("short" if exact and exact < 0 else "long" if exact else None):
        fields.keep("side", side)
    hedged = fields.get("hedged")
    if is_absent(fields.get("position_side")) and isinstance(hedged, bool):
        fields["position_side"] = (side if side in ("long", "short") else None) if hedged else "both"
    if fields.get("marginMode") == "crossed":
        fields.keep("marginMode", "crossed")
        fields["marginMode"] = "cross"
    fields.setdefault("snapshot", snapshot)
    return fields.record("position")


def position(info, keywords, producer):
    snapshot = keywords.get("snapshot") or time.time_ns()
    return [one_position(item, keywords, snapshot) for item in (info if isinstance(info, (list, tuple)) else [info])]


# --- instruments ---


def take_steps(fields, precision_mode):
    precision = dict(fields.pop("precision", None) or {})
    if precision_mode == TICK_SIZE:
        fields["price_step"], fields["quantity_step"] = precision.pop("price", None), precision.pop("amount", None)
    fields.keep("precision", {name: value for name, value in precision.items() if value is not None})


def take_limits(fields):
    limits = {name: dict(value) for name, value in (fields.pop("limits", None) or {}).items() if isinstance(value, dict)}
    amount, cost = limits.get("amount", {}), limits.get("cost", {})
    fields["min_quantity"], fields["max_quantity"] = amount.pop("min", None), amount.pop("max", None)
    fields["min_cost"] = cost.pop("min", None)
    rest = {name: {key: value for key, value in limit.items() if value is not None} for name, limit in limits.items()}
    fields.keep("limits", {name: limit for name, limit in rest.items() if limit})


def quantity_unit(fields, exchange):
    """What quantities count. Deribit counts the coin, or dollars where the contract is inverse."""
    if exchange == "deribit" and fields.get("contract"):
        return "quote" if fields.get("inverse") else "base"
    return "contracts" if fields.get("contract") else "base"


def instrument(info, keywords, producer):
    precision_mode = keywords.pop("precision_mode", None)
    fields = Fields(info, keywords)
    if "precision" in fields or "limits" in fields:
        take_steps(fields, precision_mode)
        take_limits(fields)
        fields.setdefault("quantity_unit", quantity_unit(fields, producer.exchange))
        for name in [name for name in fields if name.endswith("Id")]:
            del fields[name]
    return [fields.record("instrument")]


CONVERT = {"order": order, "trade": trade, "cash": cash, "balance": balance, "position": position, "instrument": instrument}
