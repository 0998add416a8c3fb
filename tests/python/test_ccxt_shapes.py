"""ccxt's objects with a value that is wrong, empty or of another library: the record is kept, and the value with it. No servers."""

import datetime
import enum
import itertools
import json
import math
import random
import tempfile
import types
import unittest
from decimal import Decimal

import support  # noqa: F401  (it finds the package)

import blotter
from blotter.testing import Recorder

MS = 1_763_900_000_123
TIME = datetime.datetime.fromtimestamp(MS // 1000, datetime.timezone.utc) + datetime.timedelta(milliseconds=MS % 1000)
ORDER = {"id": "1", "symbol": "S"}
TRADE = {"symbol": "S", "price": 1, "amount": 2}
CASH = {"currency": "USDT", "amount": 1}
POSITION = {"symbol": "B", "contracts": 1, "side": "long", "entryPrice": 1.0}
MARKET = {"symbol": "S", "base": "B", "quote": "Q", "spot": True}


FULL = {
    "order": ORDER | {
        "info": {"a": 1}, "clientOrderId": "c", "timestamp": MS, "datetime": "2025-11-23T12:13:20.123Z", "lastTradeTimestamp": None, "type": "limit",
        "timeInForce": "GTC", "postOnly": False, "side": "buy", "price": 67123.1, "triggerPrice": None, "stopPrice": None, "amount": "1.50", "cost": 0.0,
        "filled": 0.5, "status": "open", "fee": {"cost": 0.1, "currency": "USDT", "rate": None}, "fees": [{"cost": 0.1, "currency": "USDT", "rate": None}],
        "trades": [], "leverage": 3,
    },
    "trade": TRADE | {
        "info": {}, "id": "t", "order": "1", "timestamp": MS, "datetime": "2025-11-23T12:13:20.123Z", "side": "sell", "takerOrMaker": "maker", "cost": 2,
        "fee": {"cost": "0.10", "currency": "USDT"}, "fees": [],
    },
}  # fmt: skip
OTHER_KEYS = {
    "order": ("order_id", "client_order_id", "exchange_time", "quantity", "price", "fee_currency", "fee_rate", "trigger_price", "post_only", "extra",
              "exchange", "kind", "any", "free", "currency", "contracts", "txid", 5, None),
    "trade": ("order_id", "trade_id", "exchange_time", "quantity", "liquidity", "fee_currency", "extra", "exchange", "kind", "any", "filled", "code", 2.5),
}  # fmt: skip


class Word(str, enum.Enum):
    BUY = "buy"


class NumberOfOurOwn:
    """As numpy's integers: no int, but stands for one."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


class ShortFloat:
    """As numpy's float of four bytes: shown by fewer digits than the double of it."""

    def __float__(self):
        return 1.100000023841858

    def __str__(self):
        return "1.1"


def odd_values():
    fee = {"cost": 0.1, "currency": "USDT"}
    nested = {"a": {"info": 1, "b": None, "c": [None, {}]}, "e": {}, "f": [[]]}
    return [
        None, "", [], {}, (), 0, 1, -1, 5.0, 5.5, -0.5, -0.0, 0.1, True, False, math.nan, math.inf, 1e22, 1e-9, 5e-324, 1e308, 10**18, 2**63, 10**30, 10**400,
        "1", "-1", "-0", "+1.5", "1.50", "01", "1e3", "1E-8", " 1", "1 ", "1_0", "NaN", "Infinity", "0x10", "abc", "buy", "x" * 1100, "9" * 140, "\0", "a\0b", "\ud800", "é",
        '"\\\n', Word.BUY, b"x", Decimal("1.10"), Decimal("-1E+3"), Decimal("NaN"), NumberOfOurOwn(7), ShortFloat(), 1j, object,
        MS, str(MS), MS + 0.5, MS + 0.1, MS * 10**6, str(MS * 10**6), MS // 1000, float(MS), f" {MS}", f"+{MS}", f"{MS}.5", TIME, TIME.replace(tzinfo=None), TIME.date(),
        "2025-11-23T12:13:20.123Z", "2025-11-23T12:13:20.123456Z", "2025-11-23T12:13:20+02:00", "1970-01-01T00:00:00Z", "2025-11-23",
        "binance", "okx", "order", "trade", '{"a": 1}', '{"a": ', "{}", "[]",
        fee, fee | {"rate": 0.1}, fee | {"tier": 1}, fee | {"info": {}}, fee | {"cost": None}, fee | {"cost": "abc"}, fee | {"cost": -1}, fee | {"currency": 5}, {"cost": 1},
        {"currency": "A"}, {"USDT": 0.1, "BNB": "2"}, [fee], [fee | {"rate": None}], [fee, fee], [fee, fee | {"currency": "BNB"}], [fee, {}], [None], [5], (fee,), [[fee]],
        nested, [nested], {1: 2}, {"a": math.nan}, {"a": b"x"}, {"a": Decimal("1.10")}, {"a": TIME}, types.MappingProxyType({"a": None}), [{"id": "t", "price": 1, "amount": 2}],
        ["t1", {"id": "t2"}],
    ]  # fmt: skip


class Shapes(unittest.TestCase):
    def setUp(self):
        self.recorder = Recorder("binance", slot_bytes=8192)

    def record(self, kind, given, calls=None, /, **keywords):
        """The rows that a call gives, without what is null, and how many values were misplaced."""
        calls = calls or self.recorder
        recorder = getattr(calls, "producer", calls)
        recorder.clear()
        before = recorder.stats().misplaced
        getattr(calls, kind)(given, **keywords)
        added = {"producer_id", "seq", "recorded_at", "exchange", "snapshot"}
        rows = [{name: value for name, value in row.items() if value is not None and name not in added} for _, row in recorder.rows]
        return rows, recorder.stats().misplaced - before

    def row(self, kind, given, **keywords):
        rows, misplaced = self.record(kind, given, **keywords)
        self.assertEqual(len(rows), 1)
        return rows[0], misplaced

    # --- plain dicts, which are read by a shorter way than all other mappings ---

    def outcome(self, calls, kind, given, keywords):
        try:
            return json.dumps(self.record(kind, given, calls, **keywords), sort_keys=True, default=repr)
        except (TypeError, ValueError, RecursionError) as problem:
            return f"{type(problem).__name__}: {problem}"

    def test_a_plain_dict_is_read_as_any_other_mapping(self):
        chance, values = random.Random(5), odd_values()
        plain, with_info = self.recorder, Recorder("binance", slot_bytes=8192, info=True)
        bound = plain.bind(symbol="S", side="sell", account="main")
        calls = []
        for kind, full in FULL.items():
            keys = [*full, *OTHER_KEYS[kind]]
            calls += [(kind, {key: value}, {}) for key, value in itertools.product(keys, values)]
            names = [key for key in keys if isinstance(key, str) and key not in ("any", "free", "currency", "contracts", "txid", "filled", "code", "leverage", "info")]
            for _ in range(6000):
                changes = {key: chance.choice(values) for key in chance.sample(keys, chance.choice((2, 3)))}
                calls.append((kind, changes, {name: chance.choice(values) for name in chance.sample(names, chance.choice((0, 0, 1, 2)))}))
        for kind, changes, keywords in calls:
            for given in (FULL[kind] | changes, {"id": "1", "symbol": "S", "price": 1, "amount": 2} | changes):
                by = chance.choice((plain, plain, with_info, bound))
                found = self.outcome(by, kind, given, keywords)
                self.assertEqual(found, self.outcome(by, kind, types.MappingProxyType(given), keywords), (kind, given, keywords))

    # --- fees ---

    def test_a_fee_of_any_shape_never_costs_the_record(self):
        shapes = [False, True, 1j, object(), (5,), [5], {"cost": math.nan}, {"cost": "x"}, {"cost": True}, {"currency": ["A"]}, {"cost": 1, "currency": {"a": 1}},
                  {"cost": 1, "rate": [1]}, [[1]], [{"cost": 1, "currency": ["A"]}], b"1"]  # fmt: skip
        for kind, given in (("order", ORDER), ("trade", TRADE), ("cash", CASH)):
            for fee in shapes:
                with self.subTest(kind=kind, fee=fee):
                    row, misplaced = self.row(kind, given | {"fee": fee})
                    self.assertEqual(misplaced, 1)
                    self.assertLessEqual(set(row["extra"]), {"fee", "fees"})
        for fee in shapes:
            with self.subTest(nested=fee):
                rows, misplaced = self.record("order", ORDER | {"trades": [TRADE | {"id": "t", "fee": fee}]})
                self.assertEqual([row.get("trade_id") for row in rows], [None, "t"])
                self.assertEqual(misplaced, 1)
        for fees in (False, 5, [5], [{"cost": 1, "currency": ["A"]}], [{"cost": 1, "currency": "A"}, {"cost": 1, "currency": "A", "rate": "x"}]):
            with self.subTest(fees=fees):
                row, misplaced = self.row("trade", TRADE | {"fees": fees})
                self.assertEqual((row["extra"], misplaced), ({"fees": fees}, 1))

    def test_no_fee_is_no_fee_in_any_shape(self):
        for kind, given in (("order", ORDER), ("trade", TRADE), ("cash", CASH)):
            for fee in (None, [], {}, "", (), {"cost": None, "currency": None}):
                row, misplaced = self.row(kind, given | {"fee": fee})
                self.assertEqual((row, misplaced), (self.row(kind, given)[0], 0), (kind, fee))

    def test_a_list_of_fees_in_either_place(self):
        one, other = {"cost": 1, "currency": "A"}, {"cost": "2.50", "currency": "B"}
        for given in ({"fee": [one]}, {"fees": one}, {"fees": [one]}, {"fee": (one,)}, {"fee": one, "fees": {}}):
            row, misplaced = self.row("order", ORDER | given)
            self.assertEqual((row["fee"], row["fee_currency"], misplaced, row.get("extra")), (1, "A", 0, None), given)
        for given in ({"fee": [one, other]}, {"fees": [one, other]}):
            self.assertEqual(self.row("order", ORDER | given)[0]["fees"], {"A": 1, "B": Decimal("2.50")})
        row, misplaced = self.row("cash", CASH | {"fee": [one]})
        self.assertEqual((row["fee"], row["fee_currency"], misplaced), (1, "A", 0))
        row, misplaced = self.row("cash", CASH | {"fee": [one, other]})
        self.assertEqual((row.get("fee"), row["extra"], misplaced), (None, {"fee": [one, other]}, 1))

    def test_an_amount_of_no_currency_is_not_added_to_the_others(self):
        fees = [{"cost": 1, "currency": "A"}, {"cost": 2}]
        row, misplaced = self.row("order", ORDER | {"fees": fees})
        self.assertEqual((row["fee"], row["fee_currency"], row.get("fees"), row["extra"], misplaced), (1, "A", None, {"fees": fees}, 1))
        row, misplaced = self.row("order", ORDER | {"fees": [{"cost": 1}, {"cost": 2}]})
        self.assertEqual((row["fee"], row.get("fee_currency"), misplaced), (3, None, 0))

    def test_what_a_fee_says_beside_its_cost_is_kept_and_the_message_is_not(self):
        fee = {"cost": 1, "currency": "A", "tier": "vip", "info": {"x": 1}, "deep": {"info": 5, "a": None, "b": [1]}}
        kept = {"tier": "vip", "deep": {"b": [1]}}
        self.assertEqual(self.row("order", ORDER | {"fee": fee, "fees": [fee]})[0]["extra"], {"fee": kept})
        self.assertEqual(self.row("order", ORDER | {"fees": [fee]})[0]["extra"], {"fees": [{"cost": 1, "currency": "A"} | kept]})

    def test_a_value_that_is_no_text_is_none_wherever_it_stands(self):
        nan, cash = float("nan"), {"id": "1", "currency": "A", "amount": 1}
        for odd, shown in ((nan, "nan"), (b"x", "b'x'"), ("a\0b", "a\\u0000b"), ("\ud800", "\\ud800"), ("é\0", "é\\u0000")):
            for kind, info, field in (("cash", cash, "status"), ("position", {"symbol": "S", "contracts": 1}, "id"), ("instrument", {"symbol": "S"}, "quote")):
                row, misplaced = self.row(kind, info | {field: odd})
                self.assertEqual((row["extra"], misplaced), ({field: shown}, 1), (kind, odd))
                self.assertNotIn(shown, [value for name, value in row.items() if name != "extra"])
            row, misplaced = self.row("order", ORDER | {"fees": [{"cost": 1, "currency": odd}]})
            self.assertEqual((row["fee"], row.get("fee_currency"), misplaced), (1, None, 1), odd)
            self.assertRaises((TypeError, ValueError), self.recorder.cash, cash | {"currency": odd})
            self.assertRaises((TypeError, ValueError), self.recorder.position, {"symbol": odd, "contracts": 1})
            trade = {"id": "t", "symbol": "S", "price": 1, "amount": 2, "takerOrMaker": odd}
            self.record("order", ORDER | {"trades": [trade]})
            self.assertEqual((self.recorder.trades[-1]["liquidity"], self.recorder.trades[-1]["extra"]), (None, {"takerOrMaker": shown}), odd)
        self.assertEqual(self.row("cash", cash | {"status": "\n"})[0]["status"], "\n")

    def test_a_number_beside_the_currencies_is_no_currency_s(self):
        given = {"A": {"free": 1, "total": 1}, "free": {"A": 1}, "total": {"A": 1}}
        for others in ({"used": 1000}, {"debt": 5}, {"free": "3"}, {"currency": "B"}):
            row, _ = self.row("balance", given | others)
            self.assertEqual((row["currency"], row["free"], row.get("used"), row["total"], row.get("debt")), ("A", 1, None, 1, None), others)

    def test_what_a_ledger_entry_says_is_kept_where_it_is_none(self):
        moved = {"id": "1", "txid": "x", "type": "withdrawal", "currency": "A", "amount": 5}
        row, _ = self.row("cash", moved | {"direction": "in", "before": 7})
        self.assertEqual((row["amount"], row["extra"]), (-5, {"direction": "in", "before": 7}))

    # --- absent values ---

    def test_an_empty_value_is_absent_and_not_counted(self):
        names = ("price", "amount", "timestamp", "lastTradeTimestamp", "side", "clientOrderId", "postOnly", "stopPrice", "fees", "trades", "anything", "datetime")
        for name in names:
            for value in ("", [], {}, ()):
                self.assertEqual(self.row("order", ORDER | {name: value}), (self.row("order", ORDER)[0], 0), (name, value))

    def test_a_null_and_a_missing_key_are_alike(self):
        nulls = dict.fromkeys(("txid", "address", "addressTo", "tag", "network", "internal", "updated", "fromAccount", "toAccount", "direction", "code", "symbol", "fee"))
        cases = [
            ({"id": "w", "type": "withdrawal", "amount": 1.5, "currency": "BTC"}, "withdrawal", "-1.5"),
            ({"id": "w", "type": "withdrawal", "amount": "1.50", "currency": "BTC", "info": {"type": "x"}}, "withdrawal", "-1.50"),
            ({"id": "w", "type": "deposit", "amount": 1.5, "currency": "BTC"}, "deposit", "1.5"),
            ({"id": "w", "type": "withdraw", "amount": 1.5, "currency": "BTC"}, "withdraw", "-1.5"),
            ({"id": "t", "amount": 1.5, "currency": "BTC", "status": "ok", "info": {"a": 1}}, "transfer", "1.5"),
            ({"id": "t", "amount": 1.5, "currency": "BTC", "account": "main", "strategy": "mm", "info": {"a": 1}}, "transfer", "1.5"),
        ]
        for given, word, amount in cases:
            bare, _ = self.row("cash", given)
            self.assertEqual((bare["type"], bare["amount"]), (word, Decimal(amount)), given)
            for empty in (None, "", [], {}):
                self.assertEqual(self.row("cash", given | dict.fromkeys(nulls, empty))[0], bare, given)
                for name in nulls:
                    self.assertEqual(self.row("cash", given | {name: empty})[0], bare, (given, name))

    def test_a_keyword_that_is_none_takes_nothing_away(self):
        self.assertEqual(self.row("cash", CASH | {"account": "a"}, account=None)[0]["account"], "a")

    # --- instruments ---

    def test_limits_and_precision_of_any_shape(self):
        for name in ("limits", "precision"):
            for value in (5, "x", [1], True, object()):
                row, misplaced = self.row("instrument", MARKET | {name: value}, precision_mode=4)
                self.assertEqual((set(row["extra"]), misplaced), ({name}, 1), (name, value))
        limits = {"amount": {"min": "x", "max": 5}, "cost": 5, "price": {"min": 0.1}, "market": None}
        row, misplaced = self.row("instrument", MARKET | {"limits": limits, "precision": {"amount": "y", "price": 0.5, "cost": 3}}, precision_mode=4)
        self.assertEqual((row["max_quantity"], row["price_step"], row.get("min_quantity"), row.get("quantity_step")), (5, Decimal("0.5"), None, None))
        self.assertEqual(row["extra"], {"limits": {"amount": {"min": "x"}, "cost": 5, "price": {"min": Decimal("0.1")}}, "precision": {"amount": "y", "cost": 3}})
        self.assertEqual(misplaced, 3)

    # --- balances ---

    def test_only_a_balance_is_taken_for_one(self):
        cases = [None, {}, {"info": {}}, {"error": "rate limit"}, {"BTC/USDT": {"bid": 1, "ask": 2}, "ETH/USDT": {"bid": 1}}, {"BTC/USDT:USDT": {"fundingRate": 0.1}},
                 {"free": None, "used": None, "total": None}, {"free": 5}]  # fmt: skip
        for given in cases:
            with self.assertRaisesRegex(ValueError, "not a balance.*fetch_balance", msg=given):
                self.recorder.balance(given, account="main")
        with self.assertRaisesRegex(ValueError, "error"):
            self.recorder.balance({"error": "rate limit"})
        self.assertEqual(self.recorder.rows, [])
        for given in ({"free": {}}, {"total": {}, "used": {}, "free": {}}, {"USDT": {"free": 0, "used": 0, "total": 0}}):
            self.assertEqual(self.record("balance", given)[0], [{}])
        self.assertEqual(self.record("balance", {"USDT": {"total": "1.5"}})[0], [{"currency": "USDT", "total": Decimal("1.5")}])
        self.assertEqual(self.record("balance", None, currency="USDT", total=1)[0], [{"currency": "USDT", "total": 1}])

    def test_an_amount_of_a_currency_without_a_name_costs_no_other_currency(self):
        known, unknown, zero = {"free": 1, "total": 1}, {"free": 0.5, "used": None, "total": 0.5, "info": {}}, {"free": 0, "used": 0.0, "total": "0.00"}
        for key, shown in ((None, "None"), ("", ""), (5.5, "5.5"), ("a\0b", "a\\u0000b"), (("A", "B"), "('A', 'B')")):
            maps = {"free": {"A": 1, key: 0.5, "B": 0}, "total": {"A": 1, key: 0.5}}
            for given in ({"A": known, key: unknown, "B": zero} | maps, {key: unknown, "B": zero, "A": known}):
                rows, misplaced = self.record("balance", given)
                self.assertEqual(rows, [{"currency": "A", "free": 1, "total": 1, "extra": {shown: {"free": Decimal("0.5"), "total": Decimal("0.5")}}}], key)
                self.assertEqual(misplaced, 1, key)
            rows, misplaced = self.record("balance", {"A": known, key: zero} | maps)
            self.assertEqual((rows, misplaced), ([{"currency": "A", "free": 1, "total": 1}], 0), key)

    # --- positions, margin ---

    def test_crossed_is_cross_under_either_name(self):
        for name in ("marginMode", "marginType"):
            row, _ = self.row("position", POSITION | {name: "crossed"})
            self.assertEqual((row["margin_mode"], row["extra"]), ("cross", {name: "crossed"}))
            self.assertEqual(blotter.to_ccxt(row)[name], "crossed")

    def test_a_position_of_nulls_is_a_position(self):
        nothing = {"symbol": "B", "lastUpdateTimestamp": MS, "contracts": None, "entryPrice": None, "side": None}
        rows, misplaced = self.record("position", [POSITION, nothing])
        self.assertEqual((rows[1], misplaced), ({"symbol": "B", "update_time": TIME}, 0))
        with self.assertRaisesRegex(ValueError, "this is an order"):
            self.recorder.position(nothing | {"filled": 1})

    def test_a_change_of_margin_is_no_funding(self):
        for word in ("add", "reduce", "set"):
            row, _ = self.row("cash", {"type": word, "code": "USDT", "amount": 5, "symbol": "BTC/USDT:USDT"})
            self.assertEqual((row["type"], row["currency"], row["amount"]), (word, "USDT", 5))
        self.assertEqual(self.row("cash", {"code": "USDT", "amount": 5})[0]["type"], "funding")

    # --- numbers of other libraries ---

    def test_whatever_stands_for_a_number_is_one(self):
        for one, short in ((NumberOfOurOwn(7), ShortFloat()), *self.numbers_of_numpy()):
            row, misplaced = self.row("order", {"id": one, "price": one, "amount": short, "note": [one, short], "fee": {"cost": short, "currency": "A"}})
            self.assertEqual((row["order_id"], row["price"], row["quantity"], row["fee"]), ("7", 7, Decimal("1.1"), Decimal("1.1")))
            self.assertEqual((row["extra"], misplaced), ({"note": [7, Decimal("1.1")]}, 0))
            self.assertEqual(self.row("trade", TRADE | {"fee": one, "amount": short})[0]["fee"], 7)
            self.assertEqual(self.row("cash", {"currency": "A", "amount": one, "direction": "out"})[0]["amount"], -7)
            self.assertEqual(self.row("balance", {"A": {"total": short}})[0]["total"], Decimal("1.1"))
            self.assertEqual(self.row("instrument", MARKET | {"limits": {"amount": {"min": one}}})[0]["min_quantity"], 7)
            self.assertEqual(self.row("order", {"id": "1", "timestamp": NumberOfOurOwn(MS)})[0]["exchange_time"], TIME)

    def numbers_of_numpy(self):
        try:
            import numpy
        except ImportError:
            return []
        self.assertEqual(self.row("order", ORDER | {"postOnly": numpy.bool_(True), "timestamp": numpy.int64(MS)})[0],
                         self.row("order", ORDER | {"postOnly": True, "timestamp": MS})[0])  # fmt: skip
        row, misplaced = self.row("order", ORDER | {"price": numpy.array([1, 2]), "amount": numpy.float32("nan")})
        self.assertEqual((set(row["extra"]), misplaced), ({"price", "amount"}, 2))
        return [(kind(7), numpy.float32(1.1)) for kind in (numpy.int64, numpy.uint64, numpy.int8, numpy.float64)][:3]

    # --- the way back ---

    def test_numbers_come_back_as_they_are_wanted(self):
        given = ORDER | {"price": "0.00000001", "amount": "0E-8", "stopPrice": "8.50", "triggerPrice": 9, "percentage": 1.5, "deep": [{"a": 0.25}],
                         "fee": {"cost": "0.00000010", "currency": "A", "tier": 1.5}}  # fmt: skip
        self.row("order", given)
        row = self.recorder.orders[0]
        row["extra"] = {"stopPrice": "8.50", "percentage": Decimal("1.5"), "deep": [{"a": Decimal("0.25")}], "fee": {"tier": Decimal("1.5")}}
        back = blotter.to_ccxt(row, number=str)
        self.assertEqual((back["price"], back["amount"], back["stopPrice"], back["fee"]["cost"]), ("0.00000001", "0.00000000", "8.50", "0.00000010"))
        for kind in (float, str, Decimal):
            back = blotter.to_ccxt(row, number=kind)
            found = [back["price"], back["amount"], back["stopPrice"], back["percentage"], back["deep"][0]["a"], back["fee"]["cost"], back["fee"]["tier"]]
            self.assertEqual({type(value) for value in found}, {kind})
            self.assertEqual(list(map(Decimal, map(str, found))), list(map(Decimal, ("1e-8", "0", "8.5", "1.5", "0.25", "1e-7", "1.5"))))

    def test_fees_come_back_with_the_digits_that_a_driver_has_of_them_as_floats(self):
        self.row("order", ORDER | {"fees": [{"cost": "0.07", "currency": "A"}, {"cost": "0.08", "currency": "B"}]})
        row = self.recorder.orders[0] | {"fees": {"A": 0.07, "B": 0.08}}
        for kind, wanted in ((Decimal, [Decimal("0.07"), Decimal("0.08")]), (str, ["0.07", "0.08"]), (float, [0.07, 0.08])):
            self.assertEqual([fee["cost"] for fee in blotter.to_ccxt(row, number=kind)["fees"]], wanted)

    def test_a_time_of_another_unit_comes_back_as_it_was(self):
        for value in (MS * 1000, MS * 10**6, 10**30, MS // 1000, "soon", 5.5):
            _, misplaced = self.row("order", ORDER | {"timestamp": value, "lastTradeTimestamp": value})
            back = blotter.to_ccxt(self.recorder.orders[0])
            self.assertEqual((back["timestamp"], back["lastTradeTimestamp"], back["datetime"], misplaced), (value, value, None, 2))

    def test_a_market_with_odd_limits_comes_back(self):
        for odd in ({"limits": 5}, {"precision": "x"}, {"limits": {"amount": {"min": 1, "max": "x"}, "cost": 5, "price": {"min": 0.1}}}):
            self.row("instrument", MARKET | odd, precision_mode=4)
            back = blotter.to_ccxt(self.recorder.instruments[0])
            self.assertEqual({name: back[name] for name in odd}, odd)
        self.row("instrument", MARKET | {"linear": True, "contract": True, "expiry": MS})
        back = blotter.to_ccxt(self.recorder.instruments[0])
        self.assertEqual((back["subType"], back["expiryDatetime"], back["expiry"]), ("linear", "2025-11-23T12:13:20.123Z", MS))

    def test_a_key_of_cash_that_is_a_name_of_ours_comes_back_under_its_own_name(self):
        cases = [{"address": "from", "addressTo": "to"}, {"address": 5.5, "addressTo": "to"}, {"currency": {"a": 1}, "code": "USDT"}, {"currency": "A", "code": "B"},
                 {"rate": "x", "fundingRate": 0.5}, {"rate": "x"}, {"fundingRate": "x"}]  # fmt: skip
        for given in cases:
            self.row("cash", {"id": "1", "type": "deposit", "txid": "t"} | CASH | given)
            back = blotter.to_ccxt(self.recorder.cash_flows[0])
            self.assertEqual({name: back[name] for name in given}, given)

    def test_a_wrong_cost_of_a_fee_is_no_cost_in_the_list_of_fees(self):
        fees = [{"cost": 0.1, "currency": "USDT"}]
        for wrong in ("x", True, [1]):
            for fee in ({"cost": wrong, "currency": "USDT"}, wrong):
                self.row("trade", TRADE | {"fee": fee, "fees": fees})
                back = blotter.to_ccxt(self.recorder.trades[0])
                self.assertEqual((back["fee"], back["fees"]), ({"cost": wrong, "currency": "USDT"}, fees))
        fee = {"cost": 0.1, "currency": "USDT", "tier": 1.5}
        self.row("trade", TRADE | {"fee": fee, "fees": [fee]})
        back = blotter.to_ccxt(self.recorder.trades[0])
        self.assertEqual((back["fee"], back["fees"]), (fee, [fee]))

    def test_ids_of_trades_that_are_numbers_come_back_as_other_numbers_do(self):
        self.row("order", ORDER | {"trades": [{"id": 1.5}, {"id": "2"}, 3]})
        self.assertEqual(json.dumps(blotter.to_ccxt(self.recorder.orders[0])["trades"]), '[1.5, "2", 3]')

    def test_an_expiry_that_no_time_can_hold_comes_back_as_text_too(self):
        for expiry, text in ((32_503_708_800_000, "3000-01-01T08:00:00.000Z"), (MS, "2025-11-23T12:13:20.123Z")):  # deribit's perpetual contracts have the former
            self.row("instrument", MARKET | {"expiry": expiry, "expiryDatetime": text})
            back = blotter.to_ccxt(self.recorder.instruments[0])
            self.assertEqual((back["expiry"], back["expiryDatetime"]), (expiry, text))
        for odd in ("soon", 10**30, True, 1_700_000_000):
            self.row("instrument", MARKET | {"expiry": odd})
            back = blotter.to_ccxt(self.recorder.instruments[0])
            self.assertEqual(back["expiry"], odd)

    # --- refusals ---

    def test_a_refusal_names_the_value_and_is_the_same_with_and_without_servers(self):
        with tempfile.TemporaryDirectory() as folder, blotter.Producer("binance", journal=folder, sender="none", slots=64) as producer:
            recorder = Recorder("binance")
            cases = [
                ("cash", {"currency": "USDT", "amount": "abc"}, ValueError, "amount: 'abc': not a finite"), ("cash", {"currency": "USDT"}, ValueError, "amount: required"),
                ("cash", {"code": ["A"], "amount": 1}, TypeError, r"code: \['A'\]: str or int"), ("position", POSITION | {"symbol": 5.5}, TypeError, "symbol: 5.5: "),
                ("position", [POSITION, POSITION | {"symbol": 5.5}], TypeError, "symbol: 5.5: "), ("position", [POSITION, None], TypeError, r"\[1\]: None: a mapping"),
                ("position", "text", TypeError, "'text': a mapping"), ("cash", "text", TypeError, "'text': a mapping"), ("instrument", MARKET | {"symbol": 5.5}, TypeError, "5.5"),
                ("order", {"id": 5.5}, TypeError, "5.5"), ("trade", TRADE | {"price": "x"}, ValueError, "'x'"), ("balance", "text", TypeError, "'text': a mapping"),
                ("cash", CASH | {"amount": "abc", "timestamp": "x"}, ValueError, "amount: 'abc': not a finite"),
                ("cash", CASH | {"amount": Decimal("NaN")}, ValueError, "amount: Decimal.'NaN'.: not a finite"),
                ("trade", TRADE | {"price": Decimal("sNaN"), "timestamp": "x", "fees": [5]}, ValueError, "price: Decimal.'sNaN'.: not a finite"),
                ("trade", TRADE | {"amount": "9" * 140, "fees": [5]}, ValueError, "amount: '9*: not a finite"),
                ("order", ORDER | {"note": "x" * 5000}, ValueError, "slot_bytes"), ("cash", CASH | {"note": "x" * 5000}, ValueError, "slot_bytes"),
            ]  # fmt: skip
            for kind, given, problem, text in cases:
                for calls in (producer, recorder):
                    with self.assertRaisesRegex(problem, text, msg=(kind, given, type(calls))):
                        getattr(calls, kind)(given)
            self.assertEqual(recorder.rows, [])
            self.assertEqual((producer.position([]), producer.position(()), recorder.position(())), (0, 0, 0))

    def test_a_recorder_takes_as_long_a_record_as_a_slot_does(self):
        for size in (0, 256, 2048):
            with tempfile.TemporaryDirectory() as folder, blotter.Producer("okx", journal=folder, sender="none", slots=512, slot_bytes=size) as producer:
                recorder = Recorder("okx", slot_bytes=size)
                for length in range((size or 1024) - 130, (size or 1024) - 40):
                    taken = []
                    for calls in (producer, recorder):
                        try:
                            taken.append(calls.order(ORDER | {"note": "x" * length}) > 0)
                        except ValueError:
                            taken.append(False)
                    self.assertEqual(*taken, (size, length))


if __name__ == "__main__":
    support.main()
