"""What a producer refuses, and how it says so; without servers."""

import datetime
import decimal
import math
import os
import subprocess
import sys
import tempfile
import unittest

import support

import blotter


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

    def test_wrong_types_are_named_with_field_and_value(self):
        self.refuses(TypeError, "symbol", "1.5", "str", "float", order_id="1", symbol=1.5)
        self.refuses(TypeError, "order_id", "b'1'", "bytes", order_id=b"1")
        self.refuses(TypeError, "order_id", "True", "bool", order_id=True)
        self.refuses(TypeError, "price", "True", "bool", order_id="1", price=True)
        self.refuses(TypeError, "amount", "[1]", "list", order_id="1", amount=[1])
        self.refuses(TypeError, "datetime", "b'2025'", "bytes", order_id="1", datetime=b"2025", symbol="X")
        self.refuses(TypeError, "post_only", "1", "bool", "int", order_id="1", post_only=1)
        self.refuses(TypeError, "exchange_time", "None of it", order_id="1", exchange_time=Odd("None of it"))
        self.refuses(TypeError, "exchange_time", "1.7e+18", order_id="1", exchange_time=1.7e18)
        self.refuses(TypeError, "extra", "7", order_id="1", extra=7)
        self.refuses(TypeError, "note", "odd", "JSON", order_id="1", note=Odd("odd"))
        self.refuses(TypeError, "note", "JSON", order_id="1", note=[{"deep": Odd("odd")}])

    def test_wrong_values_are_named_with_field_and_value(self):
        for price in ("", "abc", "1,5", "1_000", "NaN", " 1", "1" * 129, math.nan, math.inf, -math.inf, 10**200, -(10**5000)):
            self.refuses(ValueError, "price: ", repr(price)[:20] if price != -(10**5000) else "shown", order_id="1", price=price)
        self.refuses(ValueError, "price: ", "NaN", order_id="1", price=decimal.Decimal("NaN"))
        self.refuses(ValueError, "amount: ", "'x'", order_id="1", amount="x")
        self.refuses(ValueError, "fee: ", "'x'", order_id="1", fee={"cost": "x", "currency": "USDT"})
        self.refuses(ValueError, "symbol: ", "NUL", order_id="1", symbol="a\0b")
        self.refuses(ValueError, "symbol: ", "NUL", order_id="1", symbol="人\0")
        self.refuses(ValueError, "price: ", "NUL", order_id="1", price="1\0")
        self.refuses(ValueError, "symbol: ", "surrogate", order_id="1", symbol="\udc00")
        self.refuses(ValueError, "symbol: ", "limit", order_id="1", symbol="x" * 2000)
        self.refuses(ValueError, "symbol: ", "limit", order_id="1", symbol="人" * 100000)
        self.refuses(ValueError, "exchange: ", "'okx'", order_id="1", exchange="okx")

    def test_times_of_the_wrong_unit_are_refused(self):
        self.refuses(ValueError, "exchange_time: 1763900000000: nanoseconds", order_id="1", exchange_time=1763900000000)
        self.refuses(ValueError, "timestamp: 1763900000: milliseconds", order_id="1", timestamp=1763900000)
        self.refuses(ValueError, "exchange_time: 1763900000: nanoseconds", order_id="1", exchange_time=1763900000)
        self.refuses(ValueError, "exchange_time: 1763900000000000: nanoseconds", order_id="1", exchange_time=1763900000000000)
        self.refuses(ValueError, "timestamp", "range", order_id="1", timestamp=1763900000000000000)
        self.refuses(ValueError, "exchange_time", "range", order_id="1", exchange_time=2**70)
        self.refuses(ValueError, "exchange_time", "digits", order_id="1", exchange_time="2024-01-01")
        self.refuses(ValueError, "exchange_time", "time zone", order_id="1", exchange_time=datetime.datetime(2024, 1, 1))
        late = datetime.datetime(9999, 1, 1, tzinfo=datetime.timezone.utc)
        self.refuses(ValueError, "exchange_time", "range", order_id="1", exchange_time=late)

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
        try: producer.order(given)
        except (TypeError, ValueError) as problem: print(problem)
"""
        environment = dict(os.environ, PYTHONMALLOC="debug", PYTHONPATH=str(support.PACKAGE), BLOTTER_JOURNAL=self.folder.name)
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=support.TIMEOUT)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("price: shown: str, int, float or Decimal is wanted, not Value", done.stdout)
        self.assertIn("price: 'abc': not a finite decimal", done.stdout)

    def test_extra_that_is_no_json_is_refused(self):
        self.refuses(ValueError, "note", "nan", order_id="1", note=math.nan)
        self.refuses(ValueError, "note", "Infinity", order_id="1", note=[decimal.Decimal("-Infinity")])
        self.refuses(ValueError, "extra", "object", order_id="1", extra="[1]")
        self.refuses(ValueError, "extra", "object", order_id="1", extra="{")
        self.refuses(ValueError, "extra", "JSON", order_id="1", extra="{'a': 1}")
        self.refuses(ValueError, "extra", order_id="1", note="a\0b")
        self.refuses(TypeError, "note", "key", order_id="1", note={1: 2})
        circle = []
        circle.append(circle)
        self.refuses(ValueError, "note", "deep", order_id="1", note=circle)
        self.refuses(ValueError, "extra", order_id="1", note=[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]])
        self.refuses(ValueError, "note", "limit", order_id="1", note="x" * 100000)
        self.refuses(ValueError, "limit", order_id="1", note=["x" * 60000] * 100)

    def test_what_is_required_is_named(self):
        self.refuses(ValueError, "order_id", symbol="BTC/USDT")
        self.refuses(ValueError, "quantity", trade=True, symbol="BTC/USDT", price="1")
        self.refuses(ValueError, "symbol", trade=True, price="1", quantity="1")

    def test_a_record_larger_than_a_slot_is_refused_and_says_what_to_do(self):
        self.refuses(ValueError, "slot_bytes", order_id="1", note="x" * 4100)

    def test_other_arguments_are_refused(self):
        with self.assertRaisesRegex(TypeError, "mapping.*int"):
            self.producer.order(5)
        with self.assertRaisesRegex(TypeError, "mapping"):
            self.producer.order(["order_id"])
        with self.assertRaisesRegex(TypeError, "2 arguments"):
            self.producer.order({}, {})
        with self.assertRaisesRegex(TypeError, "keys are str"):
            self.producer.order({1: 2})
        with self.assertRaises(ValueError):
            self.producer.order()

    def test_a_full_journal_raises_full_and_counts_it(self):
        self.assertTrue(issubclass(blotter.Full, BufferError))
        for _ in range(63):
            self.producer.order(order_id="1")
        with self.assertRaisesRegex(blotter.Full, "nothing was recorded"):
            self.producer.order(order_id="1")
        self.assertEqual(self.producer.stats().full, 1)
        self.assertEqual(self.producer.close(), 64)

    def test_a_closed_producer_says_so(self):
        self.assertFalse(self.producer.closed)
        self.assertEqual(self.producer.close(), 2)
        self.assertEqual(self.producer.close(), 0)
        self.assertTrue(self.producer.closed)
        self.assertIn("closed", repr(self.producer))
        for call in (self.producer.stats, self.producer.flush, lambda: self.producer.order(order_id="1")):
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
