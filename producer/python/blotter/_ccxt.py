"""Turns ccxt's unified objects into fields of our records.

Names that map one to one are in schema/ccxt_names.h, which the C part reads. This file has the rules that need more than one key:
nested trades, fees in several currencies, the sign of a cash flow, the currencies of a balance, the side of a position. Each function
takes an object and the keywords of the call, and returns a list of records. A record is a kind, a dict that the C part takes, and how
many values are in its `extra` because they are wrong.

A null, an empty text, list or dict, and a missing key are all alike.
"""

import json
import operator
import time
from decimal import Decimal, InvalidOperation

from blotter import _core

TICK_SIZE = 4  # ccxt.TICK_SIZE: precision is a step, not a number of digits
DEEPEST = 30


def is_absent(value):
    return value is None or (isinstance(value, (str, list, tuple, dict)) and not value)


def first(*values):
    """The first value that is not absent."""
    return next((value for value in values if not is_absent(value)), None)


def number(value):
    """The exact decimal of a number, also numpy's, or of text that is one; None if it is none, or not finite."""
    kind = type(value)
    if isinstance(value, bool) or not (isinstance(value, str) or hasattr(kind, "__float__") or hasattr(kind, "__index__")):
        return None
    try:
        result = value if isinstance(value, Decimal) else Decimal(str(operator.index(value) if hasattr(kind, "__index__") else value))
    except (InvalidOperation, TypeError, ValueError):
        return None
    return result if result.is_finite() else None


def is_text(value):
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def plain(value):
    """Decimal as text without an exponent."""
    return format(value, "f") if isinstance(value, Decimal) else value


def negated(value):
    """The value with the other sign, as exact as it was given."""
    if isinstance(value, str):
        return value[1:] if value.startswith("-") else "-" + value.removeprefix("+")
    return -value if isinstance(value, (int, float, Decimal)) else -number(value)


def is_negative(value):
    exact = number(value)
    return exact is not None and exact < 0


def pruned(value, depth=0):
    """The value without nulls and without the exchange's own messages, at every depth."""
    if depth > DEEPEST:
        return value
    if isinstance(value, dict):
        return {name: pruned(item, depth + 1) for name, item in value.items() if item is not None and name != "info"}
    if isinstance(value, (list, tuple)):
        return [pruned(item, depth + 1) for item in value]
    return value


class Fields(dict):
    """The fields of one record. What has no field goes to `extra`."""

    def __init__(self, info, keywords):
        super().__init__({name: value for name, value in (info or {}).items() if not is_absent(value)})
        self.keywords = {name: value for name, value in keywords.items() if not is_absent(value)}
        self.extra = {}
        self.wrong = 0

    def get_field(self, name, *others):
        """A keyword's value, else the object's."""
        return first(self.keywords.get(name), self.get(name), *(self.get(other) for other in others))

    def has_any(self, *names):
        return any(name in self for name in names)

    def keep(self, name, value):
        value = pruned(value)
        if not is_absent(value):
            self.extra[name] = value

    def misplace(self, name, value):
        """Keeps a value that its field cannot take."""
        self.keep(name, value)
        self.wrong += 1

    def record(self, kind):
        fields = {name: value for name, value in self.items() if value is not None} | self.keywords
        if self.extra:
            fields["extra"] = self.extra | self.own_extra(fields.get("extra"))
        return kind, fields, self.wrong

    def own_extra(self, own):
        """The `extra` that was given, as a dict; one that is none is a wrong value as any other."""
        try:
            return dict(json.loads(own, parse_float=Decimal) if isinstance(own, str) else own or {})
        except (TypeError, ValueError):
            self.wrong += 1
            return {"extra": own}


# --- fees ---

PARTS = {"cost": lambda value: number(value) is not None, "currency": is_text, "rate": lambda value: number(value) is not None}


def parts_of(fee):
    """The keys of a fee that fields take, the other ones, and how many of these are wrong."""
    given = {name: value for name, value in fee.items() if not is_absent(value) and name != "info"}
    known = {name: value for name, value in given.items() if name in PARTS and PARTS[name](value)}
    others = {name: value for name, value in given.items() if name not in known}
    return known, others, sum(name in PARTS for name in others)


def is_fee_list(value):
    return isinstance(value, (list, tuple)) and all(isinstance(entry, dict) for entry in value)


def is_same_fee(a, b):
    return number(a["cost"]) == number(b["cost"]) and first(a.get("currency"), b.get("currency")) == first(b.get("currency"), a.get("currency"))


def sum_fees(entries):
    """The sum by currency. A single entry keeps its digits as they are."""
    sums = {}
    for entry in entries:
        currency, cost = entry.get("currency"), entry["cost"]
        sums[currency] = cost if currency not in sums else number(sums[currency]) + number(cost)
    return sums


def take_fee(fields):
    """The parts of `fee`, and the list of fees, which may stand in either place."""
    fee, fees = fields.pop("fee", None), fields.pop("fees", None)
    if is_fee_list(fee):
        if fees is not None:
            fields.misplace("fee", fee)
        fee, fees = None, first(fees, fee)
    if isinstance(fees, dict) and "cost" in fees:
        fees = [fees]
    elif fees is not None and not isinstance(fees, (list, tuple)):  # our own map, or a wrong value
        fields["fees"], fees = fees, None
    if fee is None:
        return {}, {}, fees or []
    if not isinstance(fee, dict):
        if number(fee) is None:  # the C part keeps it
            fields["fee"] = fee
            return {}, {}, fees or []
        return {"cost": fee, "currency": fields.get("fee_currency")}, {}, fees or []
    known, others, wrong = parts_of(fee)
    fields.keep("fee", others)
    fields.wrong += wrong
    return known, others, fees or []


def fee_entries(fields, fees, of_fee):
    """The entries that have a cost. The whole list is kept where an entry says more than fields hold. of_fee: the other keys of `fee`."""
    entries, keep = [], False
    for entry in fees:
        known, others, wrong = parts_of(entry) if isinstance(entry, dict) else ({}, {}, not is_absent(entry))
        if "cost" in known:
            entries.append(known)
        keep |= bool(wrong or (others and (others != of_fee or "cost" not in known)))
        fields.wrong += 0 if others and others == of_fee else wrong
    named = [entry for entry in entries if "currency" in entry]
    if named and len(named) < len(entries):  # an amount of no currency cannot be added to the others
        fields.wrong += len(entries) - len(named)
        entries, keep = named, True
    if keep:
        fields.keep("fees", fees)
    return entries


def take_fees(fields):
    """CCXT.md, 2.4: fee, fee_currency, fee_rate, and fees where there are several currencies."""
    fee, others, fees = take_fee(fields)
    entries = fee_entries(fields, fees, others)
    if "cost" in fee and not any(is_same_fee(fee, entry) for entry in entries):
        if entries:
            fields.keep("fees", fees)
        entries = [fee]
    elif fee:  # ccxt copies fee into fees as a float, so fee may have the venue's digits
        entries = [fee | {"currency": first(fee.get("currency"), entry.get("currency"))} if "cost" in fee and is_same_fee(fee, entry) else entry for entry in entries]
    if not entries:
        known = [parts_of(entry)[0] for entry in fees if isinstance(entry, dict)]
        fields.setdefault("fee_currency", first(fee.get("currency"), *(entry.get("currency") for entry in known)))
        fields.setdefault("fee_rate", fee.get("rate"))
        return
    sums = sum_fees(entries)
    currency, cost = next(iter(sums.items()))
    fields["fee"], fields["fee_currency"] = plain(cost), first(currency, fields.get("fee_currency"))
    fields["fee_rate"] = first(entries[0].get("rate"), fee.get("rate") if len(sums) == 1 else None)
    if len(sums) > 1:
        fields["fees"] = {name: plain(number(amount)) for name, amount in sums.items()}


# --- orders and trades ---

INHERITED = ("account", "strategy", "symbol", "market_type", "position_side", "order_id", "client_order_id", "side", "origin")


def trade(info, keywords, producer):
    fields = Fields(info, keywords)
    take_fees(fields)
    amount = fields.get("amount")
    if is_negative(amount):
        fields["amount"] = negated(amount)
        fields.setdefault("side", "sell")
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
        found = nested_trade(fields, item, fields.keywords, producer.constants)
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
MARGIN_CHANGES = ("add", "reduce", "set")  # they move money into a position's margin, not out of the account

# Keys by which ccxt's structures are told apart. One of a transfer without its accounts has these only, and no type.
OF_TRANSFERS = ("fromAccount", "toAccount")
OF_TRANSACTIONS = ("txid", "address", "addressTo", "tag", "network", "internal", "updated")
OF_LEDGERS = ("direction", "before", "after", "referenceId", "referenceAccount")
OF_BARE_TRANSFERS = {"info", "id", "timestamp", "datetime", "currency", "amount", "status"}


def venue_type(info):
    if isinstance(info, dict):
        for name in VENUE_TYPES:
            value = info.get(name)
            if is_text(value) and value != "":
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
    if is_fee_list(fee):
        sums = sum_fees(entry for entry, _, _ in map(parts_of, fee) if "cost" in entry)
        if len(fee) != 1 and len(sums) != 1:
            fields.misplace("fee", fields.pop("fee"))
            return
        fee = fee[0] if len(fee) == 1 else dict(zip(("currency", "cost"), *sums.items()))
    if isinstance(fee, dict):
        known, others, wrong = parts_of(fee)
        fields["fee"] = plain(known.get("cost"))
        if "currency" in known:
            fields["fee_currency"] = known["currency"]
        fields.keep("fee", others | {name: value for name, value in known.items() if name == "rate"})
        fields.wrong += wrong


def set_type(fields, word):
    """Our word for the type; ccxt's is kept where it differs."""
    given = fields.get("type")
    if given is not None and given != word:
        fields.keep("type", given)
    fields["type"] = word


def set_amount(fields, is_out):
    amount = fields.get("amount")
    if is_out and number(amount) and not is_negative(amount):
        fields["amount"] = negated(amount)


def take_account(fields, producer):
    """The account that the strategy names comes before the venue's name for it."""
    ours, theirs = first(fields.keywords.get("account"), producer.constants.get("account")), fields.get("account")
    if ours is not None and theirs is not None and theirs != ours:
        fields.keep("account", theirs)
        fields["account"] = ours
    return first(ours, theirs)


def ledger_entry(fields, exchange):
    direction, before = fields.pop("direction", None), fields.pop("before", None)
    set_amount(fields, direction == "out" or (direction is None and fields.get("type") in ("withdrawal", "withdraw")))
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
    if fields.get("type") in MARGIN_CHANGES:
        return
    set_type(fields, "funding")
    settle, info = settle_of(fields.get("symbol")), fields.get("info")
    if exchange.startswith("bybit") and settle is not None and fields.get("code") not in (None, settle):
        fields.keep("code", fields.pop("code"))
    if not fields.has_any("code", "currency"):
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
    if to is not None:
        fields["address"] = fields.pop("addressTo")
        if address != to:
            fields.keep("address", address)


def cash(info, keywords, producer):
    fields = Fields(info, keywords)
    account = take_account(fields, producer)
    take_cash_fee(fields)
    take_id(fields)
    if fields.has_any(*OF_TRANSFERS):
        transfer(fields, account)
    elif fields.has_any(*OF_TRANSACTIONS) or (fields.get("type") in ("deposit", "withdrawal") and not fields.has_any(*OF_LEDGERS)):
        transaction(fields)
    elif fields.has_any(*OF_LEDGERS):
        ledger_entry(fields, producer.exchange)
    elif "code" in fields or ("currency" not in fields and "symbol" in fields):
        funding_payment(fields, producer.exchange)
    elif "info" in fields and OF_BARE_TRANSFERS.issuperset(fields):
        transfer(fields, account)
    elif info:
        ledger_entry(fields, producer.exchange)
    return [fields.record("cash")]


# --- balances ---

AMOUNTS = ("free", "used", "total", "debt")
NO_CURRENCIES = {"info", "timestamp", "datetime", *AMOUNTS}
OF_ALL_ROWS = ("timestamp", "datetime", "info", "exchange_time", "account", "market_type", "origin")


def has_amounts(name, value):
    return name not in NO_CURRENCIES and isinstance(value, dict) and any(amount in value for amount in AMOUNTS)


def is_balance(info):
    return any(isinstance(info.get(name), dict) for name in ("free", "used", "total")) or any(has_amounts(*item) for item in info.items())


def currencies_of(info):
    """A dict of amounts for each currency, from the currencies' own keys and the maps that repeat them."""
    found = {name: dict(row) for name, row in info.items() if name not in NO_CURRENCIES and isinstance(row, dict)}
    for amount in AMOUNTS:
        for currency, value in (info.get(amount) or {}).items() if isinstance(info.get(amount), dict) else ():
            found.setdefault(currency, {}).setdefault(amount, value)
    return found


def is_empty_row(row):
    """Nothing but zeros. A value that is not a number is not nothing."""
    return not any(not is_absent(value) and number(value) != 0 for value in row.values())


def not_a_balance(info):
    """An error that was answered, or None, must not pass for an account without anything in it."""
    keys = "nothing" if not info else "an object of " + ", ".join(map(str, list(info)[:8])) + (" ..." if len(info) > 8 else "")
    return ValueError(
        f"{keys} is not a balance: it has no maps free, used and total, and no currency with such amounts. "
        "Pass what fetch_balance() returned, {'free': {}, 'used': {}, 'total': {}} for an empty account, or name a currency"
    )


def balance(info, keywords, producer):
    snapshot = keywords.get("snapshot") or time.time_ns()
    if info is None or not is_balance(info):
        fields = Fields(info, keywords)
        if fields.get_field("currency") is None:
            raise not_a_balance(info)
        if info:
            fields.setdefault("snapshot", snapshot)
        return [fields.record("balance")]
    common = {name: info.get(name) for name in OF_ALL_ROWS} | {"snapshot": snapshot}
    found = currencies_of(info)
    others = {name: value for name, value in info.items() if name not in found and name not in NO_CURRENCIES and name not in common}
    rows = [common | row | {"currency": currency} for currency, row in found.items() if not is_empty_row(row)]
    rows = rows or [dict(common)]
    rows[0] = others | rows[0]
    return [Fields(row, keywords).record("balance") for row in rows]


# --- positions ---

OWN_NAMES = {kind: set(names.values()) for kind, names in _core.CCXT_NAMES.items()}


def one_position(info, keywords, snapshot):
    fields = Fields(info, keywords)
    if not fields or not OWN_NAMES["position"].isdisjoint(fields):
        return fields.record("position")
    side, contracts = fields.pop("side", None), fields.get("contracts")
    exact = number(contracts)
    if exact is not None and exact > 0 and side == "short":
        contracts = fields["contracts"] = negated(contracts)
        exact = -exact
    if side != ("short" if exact and exact < 0 else "long" if exact else None):
        fields.keep("side", side)
    hedged = fields.get("hedged")
    if "position_side" not in fields and isinstance(hedged, bool):
        fields["position_side"] = (side if side in ("long", "short") else None) if hedged else "both"
    for name in ("marginMode", "marginType"):
        if fields.get(name) == "crossed":
            fields.keep(name, "crossed")
            fields[name] = "cross"
    fields.setdefault("snapshot", snapshot)
    return fields.record("position")


def position(info, keywords, producer):
    snapshot = keywords.get("snapshot") or time.time_ns()
    return [one_position(item, keywords, snapshot) for item in (info if isinstance(info, (list, tuple)) else [info])]


# --- instruments ---


def take_dict(fields, name):
    """A copy of a nested dict, without nulls."""
    value = fields.pop(name, None)
    if value is not None and not isinstance(value, dict):
        fields.misplace(name, value)
    return {key: item for key, item in value.items() if not is_absent(item)} if isinstance(value, dict) else {}


def take_number(fields, name, source, key):
    """Moves a number of a nested dict to its field. A wrong value stays where it is."""
    if key in source and number(source[key]) is None:
        fields.wrong += 1
    elif key in source:
        fields[name] = source.pop(key)


def take_steps(fields, precision_mode):
    precision = take_dict(fields, "precision")
    if precision_mode == TICK_SIZE:
        take_number(fields, "price_step", precision, "price")
        take_number(fields, "quantity_step", precision, "amount")
    fields.keep("precision", precision)


def take_limits(fields):
    limits = take_dict(fields, "limits")
    for name, limit in limits.items():
        fields.wrong += not isinstance(limit, dict)
        if isinstance(limit, dict):
            limits[name] = {key: value for key, value in limit.items() if not is_absent(value)}
    amount, cost = (limits[name] if isinstance(limits.get(name), dict) else {} for name in ("amount", "cost"))
    take_number(fields, "min_quantity", amount, "min")
    take_number(fields, "max_quantity", amount, "max")
    take_number(fields, "min_cost", cost, "min")
    fields.keep("limits", {name: limit for name, limit in limits.items() if not is_absent(limit)})


def quantity_unit(fields, exchange):
    """What quantities count. Deribit counts the coin, or dollars where the contract is inverse."""
    if exchange == "deribit" and fields.get("contract"):
        return "quote" if fields.get("inverse") else "base"
    return "contracts" if fields.get("contract") else "base"


def instrument(info, keywords, producer):
    precision_mode = keywords.pop("precision_mode", None)
    fields = Fields(info, keywords)
    if fields.has_any("precision", "limits", "spot", "contract"):
        take_steps(fields, precision_mode)
        take_limits(fields)
        fields.setdefault("quantity_unit", quantity_unit(fields, producer.exchange))
        for name in [name for name in fields if isinstance(name, str) and name.endswith("Id")]:
            del fields[name]
    return [fields.record("instrument")]


CONVERT = {"order": order, "trade": trade, "cash": cash, "balance": balance, "position": position, "instrument": instrument}
