"""What a producer refuses, and how it says so; without servers."""

import datetime
import decimal
import json
import math
import os
import subprocess
import sys
import tempfile
import unittest
from decimal import Decimal

import support

import blotter
from blotter.testing import Recorder


class Refusals(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.producer = blotter.Producer("kraken", journal=self.folder.name, sender="none", slots=64, slot_bytes=4096)

    def tearDown(self):
        self.producer.close()
        self.folder.cleanup()

    def refuses(self, kind, *words, trade=False, **fields):
        accepted = self.producer.stats().accepted
        record = self.producer.trade if trade else self.producer.order
        for call in (lambda: record(**fields), lambda: record(dict(fields)), lambda: record(dict(fields, account=Text("x")))):
            with self.assertRaises(kind) as raised:
                call()
            self.assertIs(type(raised.exception), kind)
            for word in words:
                self.assertIn(word, str(raised.exception))
        self.assertEqual(self.producer.stats().accepted, accepted)

    def misplaces(self, name, value, kept, field=None):
        """A wrong value of an optional field does not cost the record: it is in extra, under the name it was given by, and counted."""
        for given in ({}, {"account": Text("x")}):
            recorder = Recorder("kraken", slot_bytes=4096)
            recorder.order({"order_id": "1", name: value} | given)
            (row,) = recorder.orders
            self.assertIsNone(row[field or name], row)
            self.assertEqual(row["extra"], {name: kept} if kept is not None else None)
            self.assertEqual(recorder.stats().misplaced, 1)
            self.assertEqual(row["order_id"], "1")

    def test_wrong_types_are_kept_in_extra(self):
        self.misplaces("symbol", 1.5, Decimal("1.5"))
        self.misplaces("symbol", b"1", "b'1'")
        self.misplaces("price", True, True)
        self.misplaces("amount", [1], [1], "quantity")
        self.misplaces("post_only", 1, 1)
        self.misplaces("takerOrMaker", False, False, "liquidity")
        self.misplaces("exchange_time", Odd("none of it"), "none of it")
        self.misplaces("exchange_time", 1.7e18, Decimal("1" + "7" + "0" * 17))

    def test_wrong_values_are_kept_in_extra(self):
        for price in ("abc", "1,5", "1_000", "NaN", " 1", "1" * 129):
            self.misplaces("price", price, price)
        for price, kept in ((math.nan, "nan"), (math.inf, "inf"), (10**200, Decimal(10**200)), (decimal.Decimal("NaN"), "Decimal('NaN')")):
            self.misplaces("price", price, kept)
        self.misplaces("amount", "x", "x", "quantity")
        self.misplaces("symbol", "a\0b", "a\\u0000b")
        self.misplaces("symbol", "人\0", "人\\u0000")
        self.misplaces("symbol", "\udc00", "\\udc00")
        self.misplaces("symbol", "x" * 2000, "x" * 2000)

    def test_times_of_another_unit_are_kept_in_extra(self):
        for value in (1763900000000, 1763900000, 1763900000000000, 2**70):
            self.misplaces("exchange_time", value, value)
        for value in (1763900000, 1763900000000000000, "2024-01-01"):
            self.misplaces("timestamp", value, value, "exchange_time")
        self.misplaces("exchange_time", datetime.datetime(2024, 1, 1), "2024-01-01T00:00:00")
        late = datetime.datetime(9999, 1, 1, tzinfo=datetime.timezone.utc)
        self.misplaces("exchange_time", late, "9999-01-01T00:00:00+00:00")
        early = datetime.datetime(1969, 12, 31, microsecond=500, tzinfo=datetime.timezone.utc)
        self.misplaces("exchange_time", early, early.isoformat())
        recorder = Recorder("kraken")
        recorder.position({"symbol": "BTC/USDT:USDT", "contracts": 1, "timestamp": early})
        (row,) = recorder.positions
        self.assertEqual((row["exchange_time"], row["extra"]), (None, {"timestamp": early.isoformat()}))

    def test_a_wrong_fee_is_kept_in_extra(self):
        recorder = Recorder("kraken")
        recorder.order(id="1", fee={"cost": "x", "currency": "USDT"})
        (row,) = recorder.orders
        self.assertEqual((row["fee"], row["fee_currency"], row["extra"]), (None, "USDT", {"fee": {"cost": "x"}}))

    def test_what_makes_a_record_unusable_is_refused(self):
        self.refuses(TypeError, "order_id", "b'1'", "bytes", order_id=b"1")
        self.refuses(TypeError, "id", "True", "bool", id=True)
        self.refuses(ValueError, "price", "'x'", trade=True, symbol="BTC/USDT", price="x", quantity=1)
        self.refuses(ValueError, "exchange: ", "'okx'", order_id="1", exchange="okx")

    def test_an_unknown_keyword_is_refused(self):
        for call in (self.producer.order, self.producer.trade, self.producer.cash, self.producer.balance, self.producer.position):
            with self.assertRaisesRegex(TypeError, r"has no field 'accont'"):
                call({"id": "1"}, accont="main")
        with self.assertRaisesRegex(TypeError, "'accont' cannot be bound"):
            self.producer.bind(accont="main")

    def test_a_wrong_constant_is_refused(self):
        with self.assertRaisesRegex(TypeError, "account: 1.5"):
            self.producer.bind(account=1.5)

    def test_an_object_of_another_kind_is_refused_and_says_which_call_it_belongs_to(self):
        ledger = {"id": "1", "direction": "in", "amount": 1.0, "currency": "USDT", "timestamp": 1763900000000}
        funding = {"id": "1", "symbol": "BTC/USDT:USDT", "code": "USDT", "amount": -0.5}
        order = {"id": "1", "symbol": "BTC/USDT", "filled": 0.0, "price": 1.0, "amount": 1.0}
        for call, info, words in (
            (self.producer.order, ledger, r"a ledger entry: record it with cash\(\)"),
            (self.producer.order, funding, r"a funding payment: record it with cash\(\)"),
            (self.producer.order, {"id": "1", "fromAccount": "spot", "amount": 1}, "a transfer"),
            (self.producer.order, {"id": "1", "txid": "0x1", "amount": 1}, "a deposit or withdrawal"),
            (self.producer.order, {"symbol": "X", "contracts": 1, "entryPrice": 1, "id": "1"}, r"position\(\)"),
            (self.producer.order, {"free": {}, "total": {}}, r"balance\(\)"),
            (self.producer.trade, order, r"order\(\)"), (self.producer.cash, order, r"order\(\)"),
            (self.producer.position, ledger, r"cash\(\)"), (self.producer.order, {"bid": 1, "ask": 2, "symbol": "X"}, "not recorded"),
        ):  # fmt: skip
            with self.assertRaisesRegex(ValueError, words):
                call(info)

    def test_code_that_empties_the_fees_while_they_are_read_harms_nothing(self):
        recorder = Recorder("kraken", slot_bytes=4096)
        for where in ("symbol", "cost"):
            fees = [{"currency": "USDT", "cost": 1.5}]

            class Emptier:
                def __index__(self):
                    fees.clear()
                    return 7

            order = {"order_id": "1", "fees": fees, "symbol": "S"}
            (order if where == "symbol" else fees[0])[where] = Emptier()
            recorder.order(order)
            self.assertEqual(fees, [])
            self.assertEqual(recorder.orders[-1]["order_id"], "1")
        self.assertEqual(recorder.orders[-1]["fee"], 7)

    def test_a_reject_has_all_that_the_call_was_given(self):
        recorder = Recorder("kraken", slot_bytes=4096, on_error="reject")
        fees = [{"cost": 1, "currency": "USDT"}, {"cost": 2, "currency": "BNB"}]
        self.assertEqual(recorder.order({"symbol": "S"}, fees=fees, side="buy"), 0)  # no id
        (reject,) = recorder.rejects
        self.assertEqual(json.loads(reject["object"]), {"info": {"symbol": "S"}, "fields": {"fees": fees, "side": "buy"}})

    def test_an_exception_of_the_callers_own_code_is_passed_on(self):
        class Zone(datetime.tzinfo):
            def utcoffset(self, when):
                raise KeyError("my own")

        with self.assertRaisesRegex(KeyError, "my own"):
            self.producer.order(order_id="1", exchange_time=datetime.datetime(2024, 1, 1, tzinfo=Zone()))

    def test_values_that_change_the_record_when_they_are_shown(self):
        """In a program of its own, which marks memory that is free: it must not be looked at."""
        program = """
import blotter, os, sys
class Value:
    def __repr__(self):
        given.clear()
        return "shown"
class Key(str):
    __hash__ = str.__hash__
    def __str__(self):
        given.clear()
        return "price"
with blotter.Producer("kraken", sender="none", slots=64) as producer:
    for given in {"order_id": "1", "price": Value()}, {"order_id": "1", Key("price"): "".join(["a", "bc"])}:
        seq = producer.order(given)
        print(seq, producer.stats().misplaced)
"""
        environment = dict(os.environ, PYTHONMALLOC="debug", PYTHONPATH=str(support.PACKAGE), BLOTTER_JOURNAL=self.folder.name)
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=support.TIMEOUT)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, "2 1\n3 2\n")

    def test_values_that_json_has_not_become_text(self):
        circle = []
        circle.append(circle)
        deep = [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]
        recorder = Recorder("kraken")
        recorder.order({
            "id": "1", "nan": math.nan, "infinite": [decimal.Decimal("-Infinity")], "odd": [{"deep": Odd("odd")}], "nul": "a\0b", "key": {1: 2},
            "circle": circle, "deep": deep,
        })  # fmt: skip
        extra = recorder.orders[0]["extra"]
        self.assertEqual(extra["nan"], "nan")
        self.assertEqual(extra["infinite"], ["Decimal('-Infinity')"])
        self.assertEqual(extra["odd"], [{"deep": "odd"}])
        self.assertEqual(extra["nul"], "a\\u0000b")
        self.assertEqual(extra["key"], {"1": 2})
        self.assertIn("[...]", str(extra["circle"]))
        self.assertIn("[[[1]]]", str(extra["deep"]))

    def test_extra_that_is_no_json_is_kept_as_text(self):
        recorder = Recorder("kraken")
        recorder.order(order_id="1", extra="{'a': 1}")
        self.assertEqual(recorder.orders[0]["extra"], {"extra": "{'a': 1}"})
        self.refuses(ValueError, "limit", order_id="1", extra={"x": ["x" * 60000] * 100})

    def test_what_is_required_is_named(self):
        self.refuses(ValueError, "order_id", symbol="BTC/USDT")
        self.refuses(ValueError, "quantity", trade=True, symbol="BTC/USDT", price="1")
        self.refuses(ValueError, "symbol", trade=True, price="1", quantity="1")

    def test_a_record_larger_than_a_slot_is_refused_and_says_what_to_do(self):
        self.refuses(ValueError, "slot_bytes", "extra (4111)", "takes 4032", order_id="1", extra={"note": "x" * 4100})

    def test_more_records_than_half_of_the_journal_are_refused_and_say_so(self):
        for count, enough in ((32, True), (33, False)):
            balance = {f"C{i}": {"free": 1.5, "used": 0, "total": 1.5} for i in range(count)}
            position = [{"symbol": f"S{i}", "contracts": 1, "entryPrice": 1} for i in range(count)]
            order = {"id": "1", "symbol": "S", "trades": [{"id": str(i), "price": 1, "amount": 1} for i in range(count - 1)]}
            for call, given in (("balance", balance), ("position", position), ("order", order)):
                with tempfile.TemporaryDirectory() as folder, blotter.Producer("okx", journal=folder, sender="none", slots=64) as producer:
                    if enough:
                        self.assertGreater(getattr(producer, call)(given), 0)
                        continue
                    with self.assertRaisesRegex(ValueError, f"{count} records do not fit half of the journal: open with more slots"):
                        getattr(producer, call)(given)

    def test_other_arguments_are_refused(self):
        with self.assertRaisesRegex(TypeError, "mapping.*int"):
            self.producer.order(5)
        with self.assertRaisesRegex(TypeError, "mapping"):
            self.producer.order(["order_id"])
        with self.assertRaisesRegex(TypeError, "2 arguments"):
            self.producer.order({}, {})
        self.producer.order({1: 2, "id": "1"})  # the key becomes text
        with self.assertRaises(ValueError):
            self.producer.order()

    def test_a_full_journal_raises_full_and_counts_it(self):
        self.assertTrue(issubclass(blotter.Full, BufferError))
        for _ in range(63):
            self.producer.order(order_id="1")
        with self.assertRaisesRegex(blotter.Full, "nothing was recorded"):
            self.producer.order(order_id="1")
        self.assertEqual((self.producer.stats().full, self.producer.stats().refused), (1, 0))
        self.assertEqual(self.producer.close(), 64)

    def test_a_closed_producer_says_so(self):
        self.assertFalse(self.producer.closed)
        self.producer.order(order_id="1")
        self.assertEqual(self.producer.close(), 3)  # with the library's own, opened and closed
        self.assertEqual(self.producer.close(), 0)
        self.assertTrue(self.producer.closed)
        self.assertIn("closed", repr(self.producer))
        for call in (self.producer.stats, self.producer.flush, lambda: self.producer.order(order_id="1"), lambda: self.producer.bind(symbol="BTC/USDT")):
            with self.assertRaisesRegex(RuntimeError, "closed"):
                call()

    def test_a_forked_child_says_so_and_the_parent_goes_on(self):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            told = []
            for call in (lambda: self.producer.order(order_id="1"), self.producer.stats, self.producer.flush):
                try:
                    call()
                except RuntimeError as problem:
                    told.append("parent" in str(problem))
            self.producer.close()
            with blotter.Producer("kraken", journal=self.folder.name, sender="none", slots=64) as own:
                told.append(own.order(order_id="1") == 2)
            os.write(writing, repr(told).encode())
            os._exit(0)
        os.waitpid(child, 0)
        self.assertEqual(os.read(reading, 100), b"[True, True, True, True]")
        os.close(reading)
        os.close(writing)
        self.assertEqual(self.producer.order(order_id="1"), 2)

    def test_without_a_sender_nobody_can_wait(self):
        with self.assertRaisesRegex(RuntimeError, "without a sender"):
            self.producer.flush(1)

    def test_wrong_options_are_named(self):
        cases = (
            (ValueError, "exchange: OKX", dict(exchange="OKX")),
            (ValueError, "lane: a b", dict(exchange="okx", lane="a b")),
            (ValueError, "slots", dict(exchange="okx", slots=100)),
            (ValueError, "-1", dict(exchange="okx", slots=-1)),
            (ValueError, "slot_bytes", dict(exchange="okx", slot_bytes=100)),
            (ValueError, "Redis URL", dict(exchange="okx", redis="http://x")),
            (ValueError, "sender: 'loop'", dict(exchange="okx", sender="loop")),
            (ValueError, "sync: 'always'", dict(exchange="okx", sync="always")),
            (TypeError, "int", dict(exchange=5)),
            (TypeError, "exchange", dict()),
            (TypeError, "unknown", dict(exchange="okx", unknown=1)),
            (OSError, "/nowhere", dict(exchange="okx", journal="/nowhere/at/all")),
        )
        for kind, words, options in cases:
            with self.subTest(options), self.assertRaisesRegex(kind, words):
                blotter.Producer(**{"journal": self.folder.name} | options)

    def test_timeouts_are_seconds(self):
        for wrong in (-1, math.nan):
            with self.assertRaisesRegex(ValueError, "timeout"):
                self.producer.flush(wrong)
        with self.assertRaises(TypeError):
            self.producer.close("soon")
        with self.assertRaisesRegex(ValueError, "stage: 'stored'"):
            self.producer.flush(1, "stored")

    def test_a_producer_is_opened_once(self):
        with self.assertRaisesRegex(RuntimeError, "already"):
            self.producer.__init__("okx")


class Text(str):
    """No plain str: a record that has one is read in another way."""


class Odd:
    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


if __name__ == "__main__":
    support.main()
