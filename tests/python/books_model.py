"""The books, computed a second time: from the definitions, with fractions, without a line of SQL.

A history is a list of records as dicts, spelled as in the tables: kind ("order", "trade", "base", "cash", "instrument"), producer_id, seq,
recorded_at and exchange_time (microseconds), and the fields of the kind as text; orders is what is known of each order in the end. Books(...)
has .fills, .positions and .funding; positions_at() and realized_by_hour() are computed anew from the fills.
"""

import re
from dataclasses import dataclass, field
from fractions import Fraction

NO_ID = ("", "0", "-1", None)
BUSTS = ("bust", "trade_cancel", "h")
CORRECTIONS = ("correct", "correction", "trade_correct", "g")
MONEY_MOVED = ("", "ok", "success", "sucess", "completed", "finished", None)
IDENTITY = ("order_id", "side", "symbol", "account", "market_type")
FIELDS = (*IDENTITY, "strategy", "position_side", "client_order_id", "exchange_time", "price", "quantity", "cost", "fee", "fee_currency", "fees", "liquidity")
LENT = ("account", "strategy", "symbol", "market_type", "position_side", "side")
SCALE = 10**40


def round40(value):
    """To 40 decimals, half away from zero."""
    scaled = abs(value) * SCALE
    whole, rest = divmod(scaled.numerator, scaled.denominator)
    if 2 * rest >= scaled.denominator:
        whole += 1
    return Fraction(whole if value >= 0 else -whole, SCALE)


def side_of(text):
    word = (text or "").lower()
    return "buy" if word in ("buy", "b", "bid", "1", "3") else "sell" if word in ("sell", "s", "ask", "2", "4", "5", "6") else None


def number(text):
    return None if text is None else Fraction(text)


@dataclass
class Copy:
    """One record of an execution: its rank, and what it knows."""

    trade_id: str
    rank: int
    recorded_at: int
    known: dict


def copy_of(record):
    """None: the record says nothing of an execution of ours."""
    known = {name: None if name.endswith("order_id") and record.get(name) == "0" else record.get(name) or None for name in ("order_id", "client_order_id", "symbol", "account", "market_type", "strategy", "fee_currency", "liquidity")}
    trade_id = None if record.get("trade_id") in NO_ID else record["trade_id"]
    quantity = number(record.get("last_quantity") if record["kind"] == "order" else record.get("quantity"))
    event = (record.get("event") or "").lower()
    if record["kind"] == "order":
        if event in BUSTS + CORRECTIONS:
            if trade_id is None:
                return None
            rank = 3
            quantity = Fraction(0) if event in BUSTS else quantity
        elif not quantity:
            return None
        else:
            rank = 0
            trade_id = trade_id or f"#{record['producer_id']}:{record['seq']}"
        price, cost = number(record.get("last_price")), None  # an order's cost is of all its fills
    else:
        if record["kind"] == "base":
            rank, trade_id = 0, f"#base:{record['seq']}"
        elif trade_id is None or not (record.get("origin") == "venue" or any(known[n] for n in ("order_id", "client_order_id", "account", "strategy"))):
            return None
        else:
            rank = 3 if quantity == 0 else 2 if record.get("origin") == "venue" else 1
        price, cost = number(record.get("price")), number(record.get("cost"))
    side = side_of(record.get("side"))
    if side is None and quantity is not None and quantity < 0:
        side = "sell"
    elif record["kind"] == "base":
        side = "buy"
    position_side = (record.get("position_side") or "").lower()
    known |= {
        "side": side,
        "position_side": position_side if position_side in ("long", "short") else None,
        "exchange_time": record.get("exchange_time"),
        "price": price,
        "cost": cost,
        "quantity": None if quantity is None else abs(quantity),
        "fee": number(record.get("fee")),
        "fees": record.get("fees") or None,
    }
    if known["fee"] is None and known["fees"] is None:
        known["fee_currency"] = None  # of no amount
    return Copy(trade_id, rank, record["recorded_at"], known)


def conflict(a, b):
    """ccxt's symbol, BASE/QUOTE, says all of the market itself."""
    differ = {n for n in IDENTITY if a[n] is not None and b[n] is not None and a[n] != b[n]}
    if "market_type" in differ and a["symbol"] is not None and a["symbol"] == b["symbol"] and "/" in a["symbol"]:
        differ.remove("market_type")
    return bool(differ)


def least(value):
    """fees are maps: any order will do, as the tests give no two that differ."""
    return sorted(value.items()) if isinstance(value, dict) else value


def merged(copies):
    """Each field from the copy of the highest rank that has it, the least value among equals."""
    result, ranks = {}, {}
    for name in FIELDS:
        having = [c for c in copies if c.known[name] is not None]
        best = max((c.rank for c in having), default=None)
        result[name] = min((c.known[name] for c in having if c.rank == best), key=least, default=None)
        ranks[name] = best
    if result["fees"] and result["fee"] is not None and ranks["fee"] > ranks["fees"]:
        result["fees"] = None  # a better copy knows of one fee
    return result


def fills_of(copies):
    """The copies of each fill of one trade id. A copy that fits two fills belongs to none."""

    def knows(copy):
        return (copy.known["order_id"] is None, -sum(copy.known[n] is not None for n in IDENTITY[1:]), *((copy.known[n] is None, copy.known[n] or "") for n in IDENTITY))

    alike = {}
    for copy in copies:
        alike.setdefault(tuple(copy.known[n] for n in IDENTITY), []).append(copy)
    fills = []
    for same in sorted(alike.values(), key=lambda same: knows(same[0])):
        fits = [fill for fill in fills if not conflict(merged(fill), same[0].known)]
        if not fits:
            fills.append(list(same))
        elif len(fits) == 1:
            fits[0].extend(same)
    return fills


def lent(orders, exchange, fill):
    """What the fill's order knows: a field in which all that may be it agree."""
    if fill["order_id"] is not None:
        mine = [o for o in orders if o["order_id"] == fill["order_id"]]
    elif fill["client_order_id"] is not None:
        mine = [o for o in orders if o["client_order_id"] == fill["client_order_id"]]
    else:
        mine = []
    mine = [o for o in mine if o["exchange"] == exchange]
    mine = [o for o in mine if not o.get("account") or fill["account"] in (None, o["account"])]
    mine = [o for o in mine if not o.get("symbol") or fill["symbol"] in (None, o["symbol"])]
    result = {}
    for name in LENT:
        values = {o.get(name) or None for o in mine} - {None}
        if name == "side":
            values = {side_of(v) for v in values} - {None}
        if name == "position_side":
            values = {v.lower() for v in values} & {"long", "short"}
        result[name] = values.pop() if len(values) == 1 else None
    return result


@dataclass
class Contract:
    inverse: bool = False
    unvalued: bool = False
    by_cost: bool = False
    takes_fees: bool = False
    multiplier: Fraction = Fraction(1)
    base: str = ""
    quote: str = ""
    currency: str = ""


def contract_of(instruments, exchange, symbol, market_type):
    parts = re.fullmatch(r"([^/:]+)/([^/:]+)(?::([^:/-]+)(-.*)?)?", symbol)
    base, quote, settle = parts.group(1, 2, 3) if parts else ("", "", None)
    mine = [i for i in instruments if i["exchange"] == exchange and i["symbol"] == symbol and (not market_type or i.get("market_type") in (None, "", market_type, "spot" if market_type == "margin" else None))]
    c = Contract(takes_fees=market_type in ("spot", "margin") or (not market_type and bool(parts) and settle is None))
    if mine:
        known = max(mine, key=lambda i: (i["recorded_at"], i["producer_id"], i["seq"]))
        base, quote, settle = known.get("base") or base, known.get("quote") or quote, known.get("settle") or settle
        c.inverse = bool(known.get("inverse"))
        quanto = known.get("inverse") is False and known.get("linear") is False
        in_units = known.get("quantity_unit") in ("base", "quote")
        c.multiplier = Fraction(1) if in_units else number(known.get("contract_size")) or Fraction(1)
        c.unvalued = quanto and not known.get("contract_size")
        if not market_type and known.get("market_type"):
            c.takes_fees = known["market_type"] in ("spot", "margin")
    else:
        c.inverse = settle is not None and settle == base != quote
        quanto = settle is not None and settle not in (base, quote)
        c.by_cost = settle is not None
        c.unvalued = quanto
    c.base, c.quote = base, quote
    c.currency = (settle or base) if c.inverse else (settle or quote)
    return c


@dataclass
class Fill:
    exchange: str
    trade_id: str
    at: int
    key: tuple  # of its position
    side: str
    order_id: str
    price: Fraction
    quantity: Fraction
    cost: Fraction
    fees: dict
    contract: Contract = None

    def signed_quantity(self):
        """What it adds to the position; a fee in the base currency is taken from it."""
        dq = self.quantity if self.side == "buy" else -self.quantity
        if self.contract.takes_fees and self.contract.base and self.quantity != 0:
            dq -= self.fees.get(self.contract.base, 0)
        return dq

    def value(self):
        """None: unknown."""
        size, c = abs(self.signed_quantity()), self.contract
        if size == 0:
            return Fraction(0)
        if c.unvalued:
            return None
        if self.price is None or (c.by_cost and self.cost is not None) or (c.inverse and self.price == 0):
            if self.cost is None:
                return None
            return abs(self.cost) if size == self.quantity else round40(abs(self.cost) * size / self.quantity)
        return round40(size * c.multiplier / self.price) if c.inverse else size * self.price * c.multiplier


@dataclass
class Position:
    contract: Contract
    quantity: Fraction = Fraction(0)
    open_cost: Fraction = Fraction(0)
    realized: Fraction = Fraction(0)
    fees: dict = field(default_factory=dict)
    funding: dict = field(default_factory=dict)
    fills: int = 0
    unpriced: int = 0
    sideless: int = 0
    first_at: int = None
    last_at: int = None
    cash: Fraction = Fraction(0)  # what was received less what was paid, for the invariant

    def add(self, fill):
        self.fills += 1
        self.first_at = fill.at if self.first_at is None else self.first_at
        self.last_at = fill.at
        for currency, amount in fill.fees.items():
            self.fees[currency] = self.fees.get(currency, Fraction(0)) + amount
        if fill.side is None:
            self.sideless += 1
            return
        value = fill.value()
        if value is None:
            self.unpriced += 1
        self.trade(fill.signed_quantity(), value or Fraction(0))

    def trade(self, dq, value):
        q, turned = self.quantity, -1 if self.contract.inverse else 1
        self.cash -= (value if dq > 0 else -value) * turned
        self.quantity = q + dq
        if dq == 0:
            return
        if q == 0 or (q > 0) == (dq > 0):
            self.open_cost += value
            return
        sign = (1 if q > 0 else -1) * turned
        if abs(dq) < abs(q):
            part = round40(self.open_cost * abs(dq) / abs(q))
            self.realized += sign * (value - part)
            self.open_cost -= part
        elif dq == -q:
            self.realized += sign * (value - self.open_cost)
            self.open_cost = Fraction(0)
        else:
            part = round40(value * abs(q) / abs(dq))
            self.realized += sign * (part - self.open_cost)
            self.open_cost = value - part

    def holds_invariant(self):
        """Realised = signed cash + signed open cost."""
        sign = (self.quantity > 0) - (self.quantity < 0)
        return self.realized == self.cash + sign * self.open_cost * (-1 if self.contract.inverse else 1)

    @property
    def average_price(self):
        if self.quantity == 0 or (self.contract.inverse and self.open_cost == 0):
            return None
        size = abs(self.quantity) * self.contract.multiplier
        return size / self.open_cost if self.contract.inverse else self.open_cost / size


class Books:
    def __init__(self, records, orders):
        self.instruments = [r for r in records if r["kind"] == "instrument"]
        groups = {}
        for record in records:
            copy = copy_of(record) if record["kind"] in ("order", "trade", "base") else None
            if copy is not None:
                groups.setdefault((record["exchange"], copy.trade_id), []).append(copy)
        self.fills = [self._fill(exchange, trade_id, copies, orders) for (exchange, trade_id), group in groups.items() for copies in fills_of(group)]
        self.fills.sort(key=lambda f: (f.at, len(f.trade_id), f.trade_id.encode(), f.side or "", f.order_id or ""))
        self.positions = self.positions_at(None)
        self.funding = {}
        self._add_funding(records)

    def _fill(self, exchange, trade_id, copies, orders):
        known = merged(copies)
        more = lent(orders, exchange, known)
        key = (exchange, *(known[n] or more[n] or "" for n in ("account", "strategy", "market_type", "symbol", "position_side")))
        at = known["exchange_time"] if known["exchange_time"] is not None else min(c.recorded_at for c in copies)
        fees = {c: Fraction(a) for c, a in known["fees"].items()} if known["fees"] else {} if known["fee"] is None else {known["fee_currency"] or "": known["fee"]}
        fill = Fill(exchange, trade_id, at, key, known["side"] or more["side"], known["order_id"], known["price"], known["quantity"] or Fraction(0), known["cost"], fees)
        fill.contract = contract_of(self.instruments, exchange, key[4], key[3])
        return fill

    def positions_at(self, at):
        """at None: in the end; otherwise with the fills before it."""
        positions = {}
        for fill in self.fills:
            if at is None or fill.at < at:
                positions.setdefault(fill.key, Position(fill.contract)).add(fill)
        return positions

    def realized_by(self, span):
        """Realised PnL by position and span of so many microseconds."""
        positions, result = {}, {}
        for fill in self.fills:
            position = positions.setdefault(fill.key, Position(fill.contract))
            before = position.realized
            position.add(fill)
            slot = (fill.key, fill.at // span * span)
            result[slot] = result.get(slot, 0) + position.realized - before
        return result

    def _add_funding(self, records):
        entries = {}  # the latest record of each, with the latest strategy and market type that one says
        for r in sorted((r for r in records if r["kind"] == "cash" and r.get("type") == "funding"), key=lambda r: (r["recorded_at"], r["producer_id"], r["seq"])):
            own = f"#{r['producer_id']}:{r['seq']}" if r.get("exchange_time") is None and not r.get("entry_id") else ""
            key = (r["exchange"], r.get("account") or "", r.get("entry_id") or own, r["currency"], r.get("exchange_time"), r.get("symbol") or "")
            said = {name: r.get(name) or entries.get(key, {}).get(name) for name in ("strategy", "market_type")}
            entries[key] = r | said
        for r in entries.values():
            if r.get("status") in MONEY_MOVED:
                key = (r["exchange"], r.get("account") or "", r.get("strategy") or "", r.get("market_type") or "", r.get("symbol") or "", "")
                amounts = self.funding.setdefault(key, {})
                amounts[r["currency"]] = amounts.get(r["currency"], Fraction(0)) + Fraction(r["amount"])
