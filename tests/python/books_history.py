"""Random histories of orders and executions, as books_model.py takes them: what happened, and the records that came of it, which know only
a part of it, come twice, late, out of order, and sometimes differ."""

import random

START = 1_764_000_000_000_000  # microseconds
HOUR = 3_600_000_000

MARKETS = (
    # symbol, market_type, currencies that fees come in, the records that say what it is
    ("BTC/USDT", "spot", ("USDT", "BTC", "BNB"), ()),
    ("ETH/BTC", "margin", ("BTC", "ETH", "USDT"), ()),
    ("BTC/USDT:USDT", "swap", ("USDT", "BNB", "BTC"), ({"base": "BTC", "quote": "USDT", "settle": "USDT", "contract_size": "0.01", "linear": True, "inverse": False},)),
    (
        "BTC/USD:BTC",
        "swap",
        ("BTC", "USD", "BNB"),
        (
            {"base": "BTC", "quote": "USD", "settle": "BTC", "contract_size": "10", "linear": False, "inverse": True},
            {"base": "BTC", "quote": "USD", "settle": "BTC", "contract_size": "100", "linear": False, "inverse": True},
        ),
    ),
    ("ETH/USD:ETH", "future", ("ETH", "USD", "BNB"), ()),
    ("ETH/USD:BTC", "swap", ("BTC", "USD", "BNB"), ()),
    ("XRPUSDT", "swap", ("USDT", "XRP", "BNB"), ({"base": "XRP", "quote": "USDT", "settle": "USDT", "contract_size": "10", "linear": True, "inverse": False},)),
    ("ADAUSDT", "", ("USDT", "ADA", "BNB"), ()),
)

BUYS = ("buy", "BUY", "1")


class History:
    def __init__(self, seed, executions=60, exchange=None, sure=False):
        """sure: every price and every contract is recorded."""
        self.sure = sure
        self.random = random.Random(seed)
        self.exchange = exchange or f"x{seed}"
        self.records = []
        self.orders = []  # rows of blotter.orders, as they are in the end
        self.order_steps = []  # (row, the columns that it learns later)
        self._seq = (seed + 1) * 100_000  # an identity is one record's, in all histories
        self.span = self.random.choice((HOUR // 2, 30 * HOUR))
        self.scale = self.random.choice(("usual", "usual", "tiny", "huge"))
        self.markets = self.random.sample([m for m in MARKETS if m[3] or m[1] in ("spot", "margin") or not sure], self.random.randint(1, 3))
        self._instruments()
        while len(self.records) < executions:
            self._execution(self._order())
            if self.random.random() < 0.06:
                self._self_trade()
            if self.random.random() < 0.05:
                self._funding()
        if self.random.random() < 0.5:
            self._base()
        self.random.shuffle(self.records)

    # --- values ---

    def _chance(self, probability):
        return self.random.random() < probability

    def _time(self):
        """Some are equal: then the trade id decides."""
        return START + self.random.randint(0, 40) * (self.span // 40)

    def _number(self, low, high, digits):
        return f"{self.random.uniform(low, high):.{digits}f}"

    def _quantity(self):
        if self.scale == "tiny":
            return f"{self.random.randint(1, 50)}e-18"
        if self.scale == "huge":
            return f"{self.random.randint(1, 50)}e29"
        return str(self.random.choice(("1", "2", "3", "0.5", self._number(0.001, 9, 3))))

    def _price(self):
        return self.random.choice(("100", "3", "7", self._number(1, 70000, 2), self._number(0.0001, 1, 8)))

    def _identity(self, kind):
        self._seq += 1
        return {"kind": kind, "producer_id": 1 + self._seq % 2, "seq": self._seq, "recorded_at": START + self.random.randint(0, self.span) + self._seq, "exchange": self.exchange}

    # --- what happened ---

    def _order(self):
        symbol, market_type, currencies, _ = self.random.choice(self.markets)
        account = self.random.choice(("main", "alt"))
        hedged = account == "alt" and market_type == "swap"
        order = {
            "exchange": self.exchange,
            "order_id": f"o{len(self.orders)}",
            "client_order_id": f"c{len(self.orders)}",
            "account": account,
            "strategy": self.random.choice(("mm", "arb", "")),
            "symbol": symbol,
            "market_type": market_type,
            "side": self.random.choice(("buy", "sell", "BUY", "ask", "1", "5")),
            "position_side": self.random.choice(("LONG", "short")) if hedged else self.random.choice(("", "both", "net")),
        }
        row = {name: value if name in ("exchange", "order_id", "client_order_id") or self._chance(0.8) else "" for name, value in order.items()}
        self.orders.append(row)
        self.order_steps.append((row, [name for name in ("strategy", "symbol", "side", "position_side", "market_type") if self._chance(0.3)]))
        if self._chance(0.1):  # events with and without account, or symbol: several rows of one order
            other = dict(row, account="" if row["account"] else order["account"], strategy=order["strategy"] if self._chance(0.5) else "")
            self.orders.append(other)
            self.order_steps.append((other, []))
        order["currencies"] = currencies
        return order

    def _execution(self, order, trade_id=None):
        quantity, price = self._quantity(), self._price()
        fees = {c: f"{self.random.choice((1, 1, 1, -1)) * self.random.randint(1, 99)}e-{22 if self.scale == 'tiny' else 5}" for c in self.random.sample(order["currencies"], self.random.choice((0, 1, 1, 1, 2)))}
        truth = order | {
            "trade_id": trade_id or self.random.choice(("t", "", "T-")) + str(1000 + 7 * self._seq) if not self._chance(0.05) or trade_id else None,
            "exchange_time": self._time(),
            "price": price,
            "quantity": quantity,
            "cost": self._number(1, 999, 4) if self._chance(0.4) else None,
            "liquidity": self.random.choice(("maker", "taker", None)),
            "fees": fees,
        }
        copies = [self._copy(truth) for _ in range(self.random.choice((1, 1, 1, 2, 2, 3, 4)) if truth["trade_id"] else 1)]
        if truth["trade_id"] and self._chance(0.04):
            copies.append(self._correction(truth))
        self.records += copies
        self.records += [dict(c) for c in copies if self._chance(0.1)]  # the same record once more

    def _self_trade(self):
        a = self._order()
        b = self._order() | {"symbol": a["symbol"], "account": a["account"], "market_type": a["market_type"], "position_side": "", "currencies": a["currencies"]}
        self.orders[-1] |= {"symbol": "", "market_type": ""}
        b["side"] = "sell" if a["side"] in BUYS else "buy"
        trade_id = f"self{self._seq}"
        self._execution(a, trade_id)
        self._execution(b, trade_id)

    def _funding(self):
        symbol, market_type, _, _ = self.random.choice(self.markets)
        entry = self._identity("cash") | {
            "type": "funding",
            "account": self.random.choice(("main", "")),
            "strategy": self.random.choice(("mm", "")),
            "symbol": symbol,
            "market_type": market_type,
            "entry_id": self.random.choice(("0x00", "", f"f{self._seq}")),
            "exchange_time": self._time() if self._chance(0.8) else None,
            "currency": self.random.choice(("USDT", "BTC")),
            "amount": self._number(-5, 5, 8),
            "status": self.random.choice((None, "ok", "pending", "failed")),
        }
        self.records.append(entry)
        if self._chance(0.5):  # the same entry, later in another state
            self.records.append(entry | self._identity("cash") | {"status": self.random.choice(("ok", "failed")), "recorded_at": entry["recorded_at"] + self.random.randint(-9, 9) * 1000})

    def _base(self):
        symbol, market_type, currencies, _ = self.random.choice(self.markets)
        at = START + self.random.choice((-HOUR, self.span // 2))
        self.records.append(
            self._identity("base")
            | {"recorded_at": at, "exchange_time": at, "account": "main", "strategy": "mm", "market_type": market_type, "symbol": symbol, "position_side": ""}
            | {"quantity": self.random.choice(("", "-")) + self._quantity(), "price": self._price(), "fees": {currencies[0]: "0.5"} if self._chance(0.5) else None}
        )

    def _instruments(self):
        for symbol, market_type, _, records in self.markets:
            for record in records if self._chance(0.8) or self.sure else ():
                self.records.append(self._identity("instrument") | record | {"symbol": symbol, "market_type": market_type})

    # --- what is recorded of it ---

    def _copy(self, truth):
        kind = self.random.choice(("order", "trade", "trade", "venue")) if truth["trade_id"] else "order"
        record = self._identity("order" if kind == "order" else "trade")
        for name in ("order_id", "client_order_id", "account", "strategy", "symbol", "market_type", "side", "position_side", "exchange_time", "liquidity"):
            if truth[name] and self._chance(0.85):
                record[name] = truth[name]
        record["trade_id"] = truth["trade_id"]
        quantity = truth["quantity"]
        if "side" not in record and truth["side"] not in BUYS or self._chance(0.03) and "side" in record:
            quantity = "-" + quantity
        if self._chance(0.03):  # a copy that differs
            quantity = f"{'-' if quantity[0] == '-' else ''}1{quantity.lstrip('-')}"
        price = truth["price"] if self._chance(0.95) or self.sure else None
        if record["kind"] == "order":
            record |= {"last_price": price, "last_quantity": quantity, "cost": "12345", "event": "fill"}
        else:
            record |= {"price": price or truth["price"], "quantity": quantity, "cost": truth["cost"], "symbol": truth["symbol"]}
            record["origin"] = "venue" if kind == "venue" else None
            if self._chance(0.3) and "order_id" in record and kind != "venue":
                del record["order_id"]
            elif "order_id" not in record and self._chance(0.2):
                record["order_id"] = "0"
        if truth["fees"] and self._chance(0.8):
            first = next(iter(truth["fees"]))
            record |= {"fee": truth["fees"][first], "fee_currency": first if self._chance(0.95) else None}
            if len(truth["fees"]) > 1 and self._chance(0.8):
                record["fees"] = truth["fees"]
        elif self._chance(0.1):
            record["fee_currency"] = "KCS"  # of no amount
        return record

    def _correction(self, truth):
        record = self._identity("order") | {"trade_id": truth["trade_id"], "event": self.random.choice(("bust", "correct"))}
        for name in ("order_id", "side"):
            if self._chance(0.9):
                record[name] = truth[name]
        if record["event"] == "correct":
            record |= {"last_price": self._price(), "last_quantity": self._quantity()}
        return record
