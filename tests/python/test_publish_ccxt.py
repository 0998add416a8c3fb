"""`blotter publish` of ccxt's objects stores what the Python package stores of them, field by field.

The objects are those of the documentation of ccxt's structures, each of them with one value that is odd, and, where the package ccxt is
installed (CI does that), all that its own parsers make of exchanges' answers. What Python makes of an object a Recorder tells, which
keeps records as they would be stored; publish's are read from PostgreSQL.
"""

import collections
import copy
import json
import random
import re
import subprocess
import unittest
from decimal import Decimal

import ccxt_objects
import support

from blotter.testing import Recorder

ccxt = ccxt_objects.package()
MS = 1_763_900_000_123
TICK_SIZE = 4
ADDED = {"producer_id", "seq", "recorded_at", "stored_at", "stored_by", "lane", "snapshot"}
TABLES = {
    "order": "order_events", "trade": "trades", "cash": "cash", "balance": "balances", "position": "venue_positions", "instrument": "instruments",
}  # fmt: skip
ODD = (None, "", [], {}, "x", True, -1, "1.50", [1], {"a": 1})
MUTANTS = 8  # of each object

FEE = {"cost": 0.1, "currency": "USDT", "rate": 0.001}
TRADE = {
    "info": {"a": 1}, "id": "t1", "order": "o1", "timestamp": MS, "datetime": "2025-11-23T12:13:20.123Z", "symbol": "BTC/USDT", "type": "limit", "side": "buy",
    "takerOrMaker": "maker", "price": 67123.1, "amount": 0.5, "cost": 33561.55, "fee": FEE, "fees": [FEE],
}  # fmt: skip
ORDER = {
    "info": {"a": 1}, "id": "o1", "clientOrderId": "c1", "timestamp": MS, "datetime": "2025-11-23T12:13:20.123Z", "lastTradeTimestamp": MS + 5,
    "lastUpdateTimestamp": MS + 6, "symbol": "BTC/USDT", "type": "limit", "timeInForce": "GTC", "postOnly": False, "reduceOnly": None, "side": "buy",
    "price": 67123.1, "triggerPrice": None, "stopPrice": None, "amount": 1.5, "cost": 33561.55, "average": 67123.1, "filled": 0.5, "remaining": 1.0,
    "status": "open", "fee": {"cost": "0.10", "currency": "USDT"}, "fees": [FEE, {"cost": 0.2, "currency": "BNB"}], "leverage": 3.0,
    "trades": [TRADE, TRADE | {"id": "t2", "amount": -1, "symbol": None}, {"id": "t3"}, "t4"],
}  # fmt: skip
LEDGER = {
    "info": {"incomeType": "TRANSFER"}, "id": "l1", "timestamp": MS, "datetime": None, "direction": "out", "account": None, "referenceId": "r", "referenceAccount": None,
    "type": "transaction", "currency": "USDT", "amount": 1.5, "before": 10.0, "after": 8.5, "status": "ok", "fee": {"cost": 0, "currency": "USDT"},
}  # fmt: skip
FUNDING = {"info": {"execFee": "0.25"}, "id": 10484, "symbol": "BTC/USD:BTC-261225", "code": "USD", "timestamp": MS, "amount": 0.25, "rate": 0.0001}
TRANSFER = {"info": {}, "id": "x1", "timestamp": MS, "currency": "USDT", "amount": 5, "fromAccount": "spot", "toAccount": "swap", "status": "ok"}
WITHDRAWAL = {
    "info": {}, "id": "w1", "txid": "0xa", "timestamp": MS, "addressFrom": "f", "address": "from", "addressTo": "to", "tag": "9", "type": "withdrawal", "amount": 5.0,
    "currency": "BTC", "status": "pending", "updated": MS, "internal": False, "network": "BTC", "fee": {"cost": 0.1, "currency": "BTC", "rate": 0.01},
}  # fmt: skip
POSITION = {
    "info": {}, "id": 5, "symbol": "BTC/USDT:USDT", "timestamp": MS, "contracts": 2.0, "contractSize": 0.001, "side": "short", "entryPrice": 100.0, "markPrice": 1e-07,
    "unrealizedPnl": -1.5, "leverage": 3.0, "marginMode": "crossed", "hedged": True, "percentage": 1.5, "notional": 200,
}  # fmt: skip
BALANCE = {
    "info": {"x": 1}, "timestamp": MS, "datetime": None, "BTC": {"free": 1.5, "used": 0.5, "total": 2.0}, "DUST": {"free": 0.0, "used": 0.0, "total": 0.0},
    "USDT": {"free": "10.10", "used": None, "total": None, "debt": 3}, "free": {"BTC": 1.5}, "used": {}, "total": {"BTC": 2.0, "ETH": 7}, "note": "n",
}  # fmt: skip
MARKET = {
    "info": {"a": 1}, "id": "BTCUSD", "symbol": "BTC/USD:BTC", "base": "BTC", "quote": "USD", "settle": "BTC", "baseId": "btc", "numericId": 3, "type": "swap",
    "spot": False, "swap": True, "contract": True, "linear": False, "inverse": True, "active": True, "contractSize": 10, "expiry": MS, "created": 0,
    "precision": {"price": 0.1, "amount": "0.001", "base": 8}, "limits": {"amount": {"min": 1e-05, "max": 100}, "cost": {"min": 5}, "price": {"min": 1.5, "max": None}},
    "maker": -0.0001, "taker": 0.0005, "percentage": True, "marginModes": {"cross": None},
}  # fmt: skip
OBJECTS = [
    ("order", ORDER), ("order", ORDER | {"trades": [], "fees": []}), ("order", ORDER | {"fee": None, "fees": [FEE, FEE | {"tier": 1}]}), ("trade", TRADE),
    ("trade", TRADE | {"amount": "-0.50", "side": None, "fee": None}), ("cash", LEDGER), ("cash", LEDGER | {"direction": "in", "before": 7, "type": "fee"}),
    ("cash", LEDGER | {"info": {"type": "8"}}), ("cash", LEDGER | {"info": {"businessType": "SETTLEMENT"}}), ("cash", LEDGER | {"info": {"bizType": "FUNDING_FEE"}}),
    ("cash", FUNDING), ("cash", FUNDING | {"code": None}), ("cash", FUNDING | {"type": "add"}), ("cash", TRANSFER), ("cash", TRANSFER | {"account": "spot"}),
    ("cash", WITHDRAWAL), ("cash", {"type": "withdrawal", "amount": 1, "currency": "BTC"}), ("position", POSITION), ("position", POSITION | {"contracts": -2, "side": "both"}),
    ("balance", BALANCE), ("balance", {"free": {}, "used": {}, "total": {}}), ("balance", {"error": "rate limit"}), ("balance", {"currency": "BTC", "total": 1}),
    ("instrument", MARKET), ("instrument", MARKET | {"contract": False, "spot": True, "limits": 5}), ("instrument", {"symbol": "X", "base": "B"}),
]  # fmt: skip
EXCHANGES = ("binance", "okx", "bybit", "phemex", "deribit")  # whose objects are read in ways of their own


def mutants(chance, kind, given):
    yield kind, given
    for _ in range(MUTANTS):
        yield kind, given | {chance.choice(list(given)): chance.choice(ODD)}


def objects():
    """By exchange, triples of kind, object and precisionMode."""
    chance, found = random.Random(7), collections.defaultdict(list)
    for exchange in EXCHANGES:
        for kind, given in OBJECTS:
            found[exchange] += [(*mutant, mode) for mutant in mutants(chance, kind, given) for mode in ((TICK_SIZE, 2) if kind == "instrument" else (0,))]
    for exchange in ccxt.exchanges if ccxt is not None else ():
        for number, market in ((float, "spot"), (str, "swap")):
            mode = ccxt_objects.exchange_object(ccxt, exchange, number, market).precisionMode
            found[exchange] += [(*pair, mode) for pair in ccxt_objects.objects_of(ccxt, exchange, number, market)]
    return found


def plain(value):
    """Numbers by value; text stays text."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return Decimal(str(value)).normalize() + 0 if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) else value


def comparable(kind, row):
    fields = {name: plain(value) for name, value in row.items() if value is not None and name not in ADDED}
    return kind, fields, row.get("snapshot") is not None


class PublishedObjects(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.servers = support.Servers()
        cls.addClassCleanup(cls.servers.close)
        cls.servers.drain()

    def test_publish_stores_what_python_stores(self):
        if ccxt is None:
            print("# the package ccxt is not installed: only what its documentation says is compared")
        expected, refused, given = {}, {}, objects()
        for exchange, triples in given.items():
            expected[exchange], refused[exchange], misplaced = self.record(exchange, triples)
            answer, said = self.publish(exchange, triples)
            self.assertEqual({number: said.get(number) for number in refused[exchange]}.keys(), said.keys(), exchange)
            self.assertEqual((answer["accepted"], answer["misplaced"]), (len(expected[exchange]), misplaced), exchange)
        total = sum(map(len, expected.values()))
        self.assertGreater(total, 1000)
        support.wait_until(lambda: self.count() >= total)
        stored = self.stored()
        for exchange, rows in expected.items():
            for found, wanted in zip(stored.get(exchange, []), rows, strict=True):
                self.assertEqual(found, wanted, exchange)

    def test_a_list_of_positions_is_one_snapshot(self):
        line = json.dumps([POSITION | {"kind": "position", "symbol": symbol} for symbol in "AB"]) + "\n"
        command = [*self.command("list"), "--until", "committed"]
        subprocess.run(command, input=line, env=support.plain_environment(), capture_output=True, text=True, timeout=support.TIMEOUT, check=True)
        rows = self.servers.query("SELECT symbol, snapshot FROM blotter.venue_positions WHERE exchange = 'list' ORDER BY seq")
        self.assertEqual([row["symbol"] for row in rows], ["A", "B"])
        self.assertEqual(len({row["snapshot"] for row in rows} - {None}), 1)

    def test_what_is_no_number_is_left_out(self):
        """Python's json writes NaN for it, which JSON has not."""
        nan, inf = float("nan"), float("-inf")
        lines = [
            {"id": "1", "symbol": "NaN \\\" Infinity", "price": nan, "amount": "1.50", "fee": {"cost": nan, "currency": "USDT"}, "note": [inf, {"a": nan, "b": 1}]},
            [{"id": "2", "filled": nan}, {"id": "3"}],
            {"kind": "trade", "symbol": "S", "price": nan, "amount": 1},
            {"id": nan, "clientOrderId": "c"},
            {"id": "4", "price": 1},
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines) + '{"id": "5", "price": NaNa}\n{"id": "6", "price": nan}\n{"id": "7", "note": "NaN}\n'
        command = [*self.command("nan"), "--until", "committed"]
        done = subprocess.run(command, input=text, env=support.plain_environment(), capture_output=True, text=True, timeout=support.TIMEOUT)
        rows = self.servers.query("SELECT order_id, client_order_id, symbol, price, quantity, fee, fee_currency, extra FROM blotter.order_events WHERE exchange = 'nan' ORDER BY seq")
        found = [{name: value for name, value in row.items() if value is not None} for row in rows]
        first = {"order_id": "1", "symbol": 'NaN \\" Infinity', "quantity": Decimal("1.50"), "fee_currency": "USDT", "extra": {"note": [None, {"b": 1}]}}
        self.assertEqual(found, [first, {"order_id": "2"}, {"order_id": "3"}, {"client_order_id": "c"}, {"order_id": "4", "price": 1}])
        answer = json.loads(done.stdout)
        self.assertEqual((answer["accepted"], answer["rejected"], answer["misplaced"]), (5, 4, 6))
        left_out = "NaN or Infinity, which is no number: left out"
        for said in (f"line 1: price: {left_out}", f"line 2: {left_out}", "line 3: price: required and missing", f"line 4: id: {left_out}",
                     "line 6: price: not JSON, at byte 21", "line 7: price: not JSON, at byte 21", "line 8: note: not JSON"):  # fmt: skip
            self.assertIn(said, done.stderr)

    def record(self, exchange, triples):
        """The rows that Python makes, the numbers of the objects that it refuses, and how many values were misplaced."""
        recorder, refused = Recorder(exchange, slot_bytes=8192), set()
        for number, (kind, found, mode) in enumerate(triples, 1):
            try:
                getattr(recorder, kind)(copy.deepcopy(found), **({"precision_mode": mode} if kind == "instrument" else {}))
            except (TypeError, ValueError):
                refused.add(number)
        return [comparable(*pair) for pair in recorder.rows], refused, recorder.stats().misplaced

    def command(self, exchange):
        return [self.servers.program, "publish", "--exchange", exchange, "--slot-bytes", "8192", "--slots", "4096", "--journal", self.servers.journal(exchange)]

    def publish(self, exchange, triples):
        """The answer, and what was said of the lines that were refused."""
        lines = [found | {"kind": kind} | ({"precision_mode": mode} if kind == "instrument" else {}) for kind, found, mode in triples]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        done = subprocess.run(self.command(exchange), input=text, env=support.plain_environment(), capture_output=True, text=True, timeout=support.TIMEOUT)
        said = [match for match in re.findall(r"(?m)^line (\d+): (.*)$", done.stderr) if not match[1].endswith("kept in extra")]
        return json.loads(done.stdout), {int(number): problem for number, problem in said}

    def count(self):
        return sum(self.servers.query(f"SELECT count(*) AS n FROM blotter.{table} WHERE exchange NOT IN ('list', 'nan')")[0]["n"] for table in TABLES.values())

    def stored(self):
        rows = collections.defaultdict(list)
        for kind, table in TABLES.items():
            for row in self.servers.query(f"SELECT * FROM blotter.{table}"):
                rows[row["exchange"]].append((row["seq"], comparable(kind, row)))
        return {exchange: [row for _, row in sorted(pairs, key=lambda pair: pair[0])] for exchange, pairs in rows.items()}


if __name__ == "__main__":
    support.main()
