"""What a strategy gives arrives in PostgreSQL as it was given: Blotter's own names, ccxt's, and real messages of exchanges."""

import collections
import datetime
import enum
import json
import os
import random
import struct
import types
import unittest
from decimal import Decimal
from pathlib import Path

import support

import blotter

SECOND = 1_763_900_000
UTC = datetime.timezone.utc
TIME = datetime.datetime.fromtimestamp(SECOND, UTC)


class Side(str, enum.Enum):
    BUY = "buy"


class Text(str):
    pass


EDGES = {
    "text": ["t" * length for length in (1, 15, 16, 17, 31, 32, 1024, 1025)] + ["", "a\0b", "\0", "é", "\ud800", 7, 7.0, True, None],
    "decimal": ["1", "0", "-1.5", "1" * 16, "1" * 17, "0.00000000000001", "007", "1.", ".5", "1e5", "", "1\0", "x", "1" * 200, "١"]
    + [0.1, -0.0, 0.0, -2.5, 1e99, 1e100, 1e-99, 1e-101, float("nan"), float("inf"), 5, -5, 2**70, Decimal("1.50"), False, None],
    "time": [SECOND * 10**9, SECOND * 1000, SECOND, 0, -1, 2**63, 10**18, 10**18 - 1, 41 * 10**17, 41 * 10**17 - 1, float(SECOND), "", "x", TIME, None],
    "bool": [True, False, 0, 1, "yes", None],
}
TIMES = [name for name, holds in blotter.FIELDS["order"].items() if holds == "time"]
EDGE_FIELDS = {name for name, holds in blotter.FIELDS["order"].items() if holds in EDGES} - {"order_id", "symbol", "account", "strategy"}


def setUpModule():
    global servers, producer
    servers = support.Servers()
    servers.drain()
    producer = blotter.Producer("kraken", journal=servers.journal("record"), slots=4096, slot_bytes=8192)


def tearDownModule():
    producer.close()
    servers.close()


class Records(unittest.TestCase):
    def setUp(self):
        self.before = producer.stats()

    def rows(self, table="order_events"):
        """What the test has stored, by seq, without what the library and PostgreSQL add, and without what is null."""
        producer.flush(support.TIMEOUT)
        rows = servers.query(
            f"SELECT * FROM blotter.{table} WHERE producer_id = %s AND seq > %s ORDER BY seq",
            self.before.producer_id,
            self.before.accepted,
        )
        ours = {"producer_id", "seq", "recorded_at", "stored_at", "stored_by", "exchange"}
        return [{name: value for name, value in row.items() if value is not None and name not in ours} for row in rows]

    def row(self, table="order_events"):
        rows = self.rows(table)
        self.assertEqual(len(rows), 1)
        return rows[0]

    def test_every_field_of_an_order(self):
        given = {}
        for number, (field, holds) in enumerate(blotter.FIELDS["order"].items()):
            given[field] = value_of(holds, number)
        producer.order(given)
        expected = {name: Decimal(value) if is_decimal(name) else value for name, value in given.items()}
        self.assertEqual(self.row(), expected)

    def test_every_field_of_a_trade(self):
        given = {}
        for number, (field, holds) in enumerate(blotter.FIELDS["trade"].items()):
            given[field] = value_of(holds, number)
        producer.trade(**given)
        expected = {name: Decimal(value) if is_decimal(name) else value for name, value in given.items()}
        self.assertEqual(self.row("trades"), expected)

    def test_a_ccxt_order(self):
        order = {
            "id": "8389765", "clientOrderId": "mm-17", "datetime": "2025-11-23T12:13:20.123Z", "timestamp": SECOND * 1000 + 123,
            "lastTradeTimestamp": SECOND * 1000 + 456, "symbol": "BTC/USDT:USDT", "type": "limit", "timeInForce": "GTC",
            "postOnly": True, "reduceOnly": False, "side": "buy", "price": 67123.1, "triggerPrice": 67000.5, "stopPrice": 67000.5,
            "amount": 0.25, "cost": 6712.0, "average": 67120.0, "filled": 0.1, "remaining": 0.15, "status": "closed",
            "fee": {"cost": 0.00134, "currency": "USDT"}, "fees": [{"cost": 0.00134, "currency": "USDT"}], "trades": [],
            "info": {"orderId": 8389765}, "stopLossPrice": None, "takeProfitPrice": None, "lastUpdateTimestamp": None,
        }  # fmt: skip
        producer.order(order)
        expected = dict(
            order_id="8389765", client_order_id="mm-17", exchange_time=TIME + datetime.timedelta(milliseconds=123),
            symbol="BTC/USDT:USDT", type="limit", time_in_force="GTC", post_only=True, reduce_only=False, side="buy",
            price=Decimal("67123.1"), trigger_price=Decimal("67000.5"), quantity=Decimal("0.25"), cost=Decimal("6712"),
            average_price=Decimal("67120"), filled_quantity=Decimal("0.1"), remaining_quantity=Decimal("0.15"), status="closed",
            fee=Decimal("0.00134"), fee_currency="USDT", last_trade_time=TIME + datetime.timedelta(milliseconds=456),
        )  # fmt: skip
        self.assertEqual(self.row(), expected)

    def test_a_ccxt_trade(self):
        trade = {
            "id": "418", "order": "8389765", "timestamp": SECOND * 1000, "datetime": "2025-11-23T12:13:20.000Z", "symbol": "ETH/BTC",
            "type": "limit", "side": "sell", "takerOrMaker": "maker", "price": "0.0310", "amount": "1.50", "cost": "0.0465",
            "fee": {"cost": "-0.0001", "currency": "BTC", "rate": "-0.002"}, "info": {"x": 1},
        }  # fmt: skip
        producer.trade(trade, account="main")
        expected = dict(
            trade_id="418", order_id="8389765", exchange_time=TIME, symbol="ETH/BTC", side="sell", liquidity="maker", account="main",
            price=Decimal("0.0310"), quantity=Decimal("1.50"), cost=Decimal("0.0465"), fee=Decimal("-0.0001"), fee_currency="BTC",
            fee_rate=Decimal("-0.002"), extra={"type": "limit"},
        )  # fmt: skip
        self.assertEqual(self.row("trades"), expected)

    def test_info_is_kept_where_asked_for(self):
        info = {"orderId": 8389765, "list": [1, "two", None, True, 0.5, {}], "text": 'a "quoted" \\ line\n', "größe": "人生K线"}
        with blotter.Producer("kraken", journal=servers.journal("info"), slots=64, slot_bytes=8192, info=True) as keeping:
            self.before = keeping.stats()
            keeping.order(id="1", info=info)
            keeping.flush(support.TIMEOUT)
        producer.order(id="2", info=info)
        self.assertEqual(self.row(), {"order_id": "1", "extra": {"info": info}})

    def test_values_of_every_type(self):
        cases = [
            ("price", "10.100", "10.100"), ("price", "1E-8", "0.00000001"), ("price", 0.1 + 0.2, "0.30000000000000004"),
            ("price", 5.0, "5"), ("price", -0.0, "0"), ("price", 1e22, "1" + "0" * 22), ("price", 1e-7, "0.0000001"),
            ("price", 5, "5"), ("price", -(2**63), str(-(2**63))), ("price", 10**100, "1" + "0" * 100), ("price", Decimal("1.500"), "1.500"),
            ("price", Decimal("1E+3"), "1000"), ("price", Decimal("-0.0"), "0.0"), ("price", numeric_subclass(1.25), "1.25"),
        ]  # fmt: skip
        for _, value, _ in cases:
            producer.order(order_id=1, price=value)
        for row, (_, value, text) in zip(self.rows(), cases, strict=True):
            self.assertEqual(str(row["price"]), str(Decimal(text)), value)
            self.assertEqual(row["order_id"], "1")

    def test_texts_of_every_type(self):
        cases = [("BTC/USDT", "BTC/USDT"), (Side.BUY, "buy"), (27 * 10**26, "27" + "0" * 26), ("人生K线_USDT", "人生K线_USDT"),
                 ("é" * 512, "é" * 512), ("\U0001f680\n", "\U0001f680\n"), ("x" * 1024, "x" * 1024)]  # fmt: skip
        for value, _ in cases:
            producer.order({"order_id": "1", "symbol": value})
        self.assertEqual([row["symbol"] for row in self.rows()], [text for _, text in cases])

    def test_times_of_every_type(self):
        zone = datetime.timezone(datetime.timedelta(hours=-5, minutes=-30))
        cases = [
            (dict(exchange_time=SECOND * 10**9 + 1000), 1e-6), (dict(exchange_time=TIME), 0), (dict(timestamp=SECOND * 1000 + 7), 0.007),
            (dict(exchange_time=TIME.astimezone(zone) + datetime.timedelta(microseconds=5)), 5e-6), (dict(timestamp=SECOND * 1000 + 0.5), 0.0005),
            (dict(exchange_time=str(SECOND * 10**9)), 0), (dict(timestamp=TIME), 0),
        ]  # fmt: skip
        for given, _ in cases:
            producer.order(given, order_id="1")
        for row, (_, offset) in zip(self.rows(), cases, strict=True):
            self.assertEqual(row["exchange_time"], TIME + datetime.timedelta(seconds=offset))
        rng = random.Random()
        seed = rng.randrange(2**32)
        rng.seed(seed)
        moments = [datetime.datetime(1970, 1, 1, tzinfo=UTC) + datetime.timedelta(seconds=rng.randrange(10**9, 41 * 10**8)) for _ in range(200)]
        for moment in moments:
            producer.order(order_id="2", exchange_time=moment)
        self.assertEqual([row["exchange_time"] for row in self.rows() if row["order_id"] == "2"], moments, f"seed {seed}")

    def test_none_is_absent(self):
        producer.order({name: None for name in blotter.FIELDS["order"]} | {"order_id": "1", "unknown": None})
        self.assertEqual(self.row(), {"order_id": "1"})

    def test_what_has_no_field_goes_to_extra(self):
        given = {"order_id": "1", "note": "x", "nested": {"a": [1, 2.5, Decimal("0.10"), None, (), {"b": True}]}, "when": TIME,
                 "date": TIME.date(), "tiny": 1e-200, "big": 2**80, "mapping": types.MappingProxyType({"k": 1}), "empty": []}  # fmt: skip
        producer.order(given)
        producer.order({"note": 5}, order_id="2", extra='  {"raw": 1.10, "kept": "as text"} ')
        producer.order({"b": Decimal("2.0")}, order_id="3", extra={"a": 1, "kept": None})
        producer.order(order_id="4", extra="{}", trades=[], fees=())
        producer.order(order_id="5", extra={})
        first, second, third, fourth, fifth = self.rows()
        self.assertEqual(first["extra"]["nested"], {"a": [1, 2.5, 0.1, None, [], {"b": True}]})
        self.assertEqual(first["extra"] | {"nested": 0}, {"note": "x", "nested": 0, "when": "2025-11-23T12:13:20+00:00",
                         "date": "2025-11-23", "tiny": 1e-200, "big": 2**80, "mapping": {"k": 1}})  # fmt: skip
        self.assertEqual(second["extra"], {"raw": 1.1, "kept": "as text", "note": 5})
        self.assertEqual(third["extra"], {"a": 1, "b": 2.0, "kept": None})
        self.assertNotIn("extra", fourth)
        self.assertNotIn("extra", fifth)
        digits = servers.query("SELECT extra ->> 'raw' AS raw FROM blotter.order_events WHERE order_id = '2' AND seq > %s", self.before.accepted)
        self.assertEqual(digits, [{"raw": "1.10"}])

    def test_two_names_for_one_field(self):
        producer.order({"order_id": "own", "id": "ccxt", "amount": "1", "quantity": "1", "stopPrice": "8", "triggerPrice": "9"})
        producer.order({"fee": {"cost": "1", "currency": "A"}, "fees": [{"cost": "2", "currency": "A"}], "id": "2"})
        producer.order({"id": "3", "fees": [{"cost": "1", "currency": "A"}, {"cost": "2", "currency": "B"}]})
        producer.order({"id": "4", "fee": None, "fees": [{"cost": "1", "currency": "A"}], "datetime": "only a text"})
        producer.order({"id": "5", "side": "buy", "note": "mapping"}, side="sell", status=None)
        producer.order({"id": "6", "fee": {"cost": None, "currency": None}, "timestamp": None})
        producer.order({"id": "7", "fee": Decimal("0.10"), "exchange": "kraken", "kind": "order"})
        rows = self.rows()
        self.assertEqual(rows[0], dict(order_id="own", quantity=1, trigger_price=9, extra={"id": "ccxt", "stopPrice": "8"}))
        self.assertEqual((rows[1]["fee"], rows[1]["fee_currency"]), (1, "A"))  # fee differs from fees, so it wins
        self.assertEqual(set(rows[1]["extra"]), {"fees"})
        self.assertEqual(rows[2], dict(order_id="3", fee=1, fee_currency="A", fees={"A": 1, "B": 2}))
        self.assertEqual(rows[3], dict(order_id="4", fee=1, fee_currency="A", extra={"datetime": "only a text"}))
        self.assertEqual(rows[4], dict(order_id="5", side="sell", extra={"note": "mapping"}))
        self.assertEqual(rows[5], dict(order_id="6"))
        self.assertEqual(rows[6], dict(order_id="7", fee=Decimal("0.10")))

    def test_any_mapping(self):
        plain = {"id": "1", "price": "2.50", "note": {"a": 1}}
        for given in (plain, collections.OrderedDict(plain), collections.ChainMap({}, plain), types.MappingProxyType(plain), UserMapping(plain)):
            producer.order(given)
        self.assertEqual(self.rows(), [dict(order_id="1", price=Decimal("2.50"), extra={"note": {"a": 1}})] * 5)

    def test_however_an_object_is_read_it_is_the_same(self):
        """A plain dict is encoded while it is read; one with a subclass of str, and any other mapping, are not; a binding lends its part."""
        chance = random.Random(7)
        bound = {"account": "main", "strategy": "maker"}
        book = producer.bind(**bound)
        long_book = producer.bind(**{name: "l" * 1000 for name in bound})  # more than is copied in front of each
        for _ in range(150):
            given = {name: chance.choice(EDGES[blotter.FIELDS["order"][name]]) for name in chance.sample(sorted(EDGE_FIELDS), chance.randrange(1, 12))}
            given = {**bound, **given, "symbol": "BTC/USDT"}
            rest = {name: value for name, value in given.items() if bound.get(name) != value}
            for info in (given, given | {"symbol": Text("BTC/USDT")}, types.MappingProxyType(given)):
                producer.order(info, order_id="1")
            book.order(rest | {"order_id": "1"})
            long_book.order(given | {"order_id": "1"})
        rows = self.rows()
        self.assertEqual(len(rows), 150 * 5)
        for first in range(0, len(rows), 5):
            self.assertEqual(rows[first : first + 5], [rows[first]] * 5)

    def test_every_field_at_its_longest(self):
        names = [name for name, holds in blotter.FIELDS["order"].items() if holds in ("text", "decimal", "bool", "time")]
        longest = {"text": "t" * 31, "decimal": "1234567890.12345", "bool": True, "time": SECOND * 10**9}
        given = {name: longest[blotter.FIELDS["order"][name]] for name in names}
        producer.bind(strategy="s" * 1024).order({name: value for name, value in given.items() if name != "strategy"})
        self.assertEqual({name: str(value) for name, value in self.row().items() if name not in ("strategy", *TIMES)},
                         {name: str(value) for name, value in given.items() if name not in ("strategy", *TIMES)})  # fmt: skip

    def test_a_mapping_that_changes_while_it_is_read(self):
        given = {"id": "x" * 300, "price": Decimal("1"), "symbol": "y" * 300}

        class Zone(datetime.tzinfo):
            def utcoffset(self, when):
                given.clear()
                given.update({str(number): "z" * 300 for number in range(100)})
                return datetime.timedelta()

        given["exchange_time"] = TIME.replace(tzinfo=Zone())
        producer.order(given)
        self.assertEqual(self.row(), dict(order_id="x" * 300, price=1, symbol="y" * 300, exchange_time=TIME))

    def test_floats_arrive_as_the_same_double(self):
        rng = random.Random()
        seed = rng.randrange(2**32)
        rng.seed(seed)
        values = [float(f"{rng.uniform(0, 1e6):.{rng.randrange(0, 9)}f}") for _ in range(300)]
        while len(values) < 600:
            value = struct.unpack("d", rng.randbytes(8))[0]
            if 1e-60 < abs(value) < 1e60:
                values.append(value)
        for value in values:
            producer.order(order_id="1", price=value)
        stored = [row["price"] for row in self.rows()]
        self.assertEqual([float(price) for price in stored], values, f"seed {seed}")
        for price, value in zip(stored, values):
            self.assertEqual(price, Decimal(repr(value)), f"seed {seed}")

    def test_messages_of_many_venues(self):
        """JSON lines in Blotter's names: the made-up oddities, or real ones from the folder BLOTTER_REAL_DATA."""
        folder = Path(os.environ.get("BLOTTER_REAL_DATA", support.TREE / "tests/integration/data"))
        for kind, table in (("orders", "order_events"), ("trades", "trades")):
            expected = []
            for line in (folder / f"{kind}.ndjson").read_text().rstrip("\n").split("\n"):
                given = json.loads(line, parse_float=Decimal)
                del given["exchange"]
                try:
                    (producer.order if kind == "orders" else producer.trade)(given)
                except ValueError as problem:
                    self.assertTrue(is_wrong(given, kind), f"{problem}: {line}")
                else:
                    self.assertFalse(is_wrong(given, kind), line)
                    expected.append(expected_row(json.loads(line), given))
                if len(expected) % 1000 == 0:
                    producer.flush(support.TIMEOUT, "sent")
            self.assertGreater(len(expected), 10)
            for row, wanted in zip(self.rows(table), expected, strict=True):
                if "exchange_time" in row:
                    row["exchange_time"] = round(row["exchange_time"].timestamp() * 1e6)
                self.assertEqual(row, wanted)


def is_wrong(record, kind):
    """It cannot be used without the value; one that is wrong in an optional field is kept in extra."""
    needed = [record.get("order_id") or record.get("client_order_id") or None] if kind == "orders" else []
    needed += [record.get(name) for name in ("symbol", "price", "quantity")] if kind == "trades" else []
    return None in needed or (kind == "trades" and not {"NaN", "None"}.isdisjoint(needed))


def expected_row(plain, exact):
    """Of a record in Blotter's names: numbers as the line has them, and in extra as JSON has them."""
    fields = blotter.FIELDS["order"] if exact["kind"] == "order" else blotter.FIELDS["trade"]
    row = {name: value for name, value in exact.items() if name in fields and name != "extra" and value not in (None, "")}
    wrong = {name: row.pop(name) for name in list(row) if is_decimal(name) and row[name] in ("NaN", "None")}
    for name in filter(is_decimal, row):
        row[name] = Decimal(row[name])
    if not 10**18 <= row.get("exchange_time", 10**18) < 41 * 10**17:
        wrong["exchange_time"] = row.pop("exchange_time")
    if "exchange_time" in row:
        row["exchange_time"] //= 1000  # PostgreSQL has microseconds
    other = {name: value for name, value in plain.items() if name not in fields and name not in ("kind", "exchange")}
    extra = {name: value for name, value in other.items() if value is not None}
    extra |= (plain.get("extra") or {}) | wrong
    return row | ({"extra": extra} if extra else {})


def value_of(holds, number):
    return {"time": TIME, "json": {"a": 1}, "amounts": {"USDT": 0.25, "BNB": 1}, "bool": number % 2 == 0}.get(holds, str(number))


def is_decimal(field):
    return {**blotter.FIELDS["order"], **blotter.FIELDS["trade"]}.get(field) == "decimal"


def numeric_subclass(value):
    class Float(float):
        pass

    return Float(value)


class UserMapping(collections.UserDict):
    pass


if __name__ == "__main__":
    support.main()
