"""Nothing that a call makes outlives it: no memory, no reference. BLOTTER_LEAK_CALLS says how many calls (12000)."""

import asyncio
import datetime
import gc
import os
import sys
import tempfile
import tracemalloc
import types
import unittest
from decimal import Decimal

import support

import blotter

CALLS = int(os.environ.get("BLOTTER_LEAK_CALLS", 12000))
AT_A_TIME = 4000  # calls on one journal

UTC = datetime.timezone.utc


def distinct(text):
    """A str that nobody else has, so that its references can be counted."""
    return "".join([text[:1], text[1:]])


PLAIN = {name: distinct("1.25") for name in blotter.FIELDS["order"] if name not in ("exchange_time", "post_only", "reduce_only", "extra")}
RECORDS = {
    "plain": PLAIN | {"post_only": True, "exchange_time": 1763900000000000001},
    "floats": PLAIN | {"price": 67123.125, "quantity": 0.1 + 0.2, "cost": 1e22, "filled_quantity": 7, "average_price": 10**30},
    "other": PLAIN | {"price": Decimal("67123.10"), "exchange_time": datetime.datetime(2025, 1, 2, tzinfo=UTC), "symbol": "人生K线"},
    "ccxt": {
        "id": distinct("8389765"), "timestamp": 1763900000123, "datetime": distinct("2025"), "amount": 0.25, "symbol": distinct("BTC/USDT"),
        "fee": {"cost": 0.001, "currency": distinct("USDT"), "rate": 0.1}, "fees": [{"cost": 0.001, "currency": "USDT"}], "trades": [],
        "info": {"a": [1, 2.5, "ü", None, True, {"b": distinct("c")}]}, "stopPrice": 5.0, "triggerPrice": "5.00", "note": Decimal("1.0"),
    },
    "mapping": types.MappingProxyType({"id": "1", "reason": distinct("r") * 600, "long": distinct("x") * 100, "extra": '{"a": 1}'}),
    "wrong type": {"id": "1", "price": [distinct("list")]},
    "wrong value": {"id": "1", "price": distinct("abc")},
    "wrong in extra": {"id": "1", "note": ["x" * 3000, object()]},
    "wrong time": {"id": "1", "exchange_time": datetime.datetime(2025, 1, 2)},
}  # fmt: skip


def objects_of(value):
    """Everything that is reachable in a record, once."""
    found = {id(value): value}
    if isinstance(value, (dict, types.MappingProxyType)):
        for key, inner in value.items():
            found |= objects_of(key) | objects_of(inner)
    elif isinstance(value, list):
        for inner in value:
            found |= objects_of(inner)
    return found


def call(order, record, calls):
    for number in range(calls):
        try:
            if number % 2:
                order(record, side="buy")
            else:
                order(record)
        except (ValueError, TypeError, blotter.Full):
            pass


def grown(measure, record, calls, slots=4096):
    """How much the measure grows over that many calls, which fill the journal in the end."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        with blotter.Producer("kraken", journal=folder, sender="none", slots=slots, info=True) as producer:
            call(producer.order, record, 100)  # what is made once
            gc.collect()
            before = measure()
            call(producer.order, record, calls)
            gc.collect()
            return measure() - before


class Leaks(unittest.TestCase):
    def leaves_nothing(self, measure, most):
        """What Python makes at the first call of its own is not counted: a leak is in every round."""
        for name, record in RECORDS.items():
            with self.subTest(name):
                growth = [grown(measure, record, AT_A_TIME) for _ in range(CALLS // AT_A_TIME)]
                self.assertLess(min(growth), most, growth)

    def test_no_memory_stays(self):
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.leaves_nothing(lambda: tracemalloc.get_traced_memory()[0], AT_A_TIME)  # bytes

    def test_no_block_stays(self):
        self.leaves_nothing(sys.getallocatedblocks, AT_A_TIME // 20)

    def test_no_reference_stays(self):
        shared = [None, True, False, blotter.Full, blotter.Producer, Decimal, datetime.timezone.utc]
        for name, record in RECORDS.items():
            with self.subTest(name):
                values = list(objects_of(record).values()) + shared
                counts = []

                def measure():
                    counts.append([sys.getrefcount(value) for value in values])
                    return 0

                grown(measure, record, AT_A_TIME)
                for value, one, other in zip(values, *counts, strict=True):
                    self.assertLess(abs(one - other), AT_A_TIME // 20, repr(value)[:80])

    def test_events_stay_with_nobody(self):
        """Each watch hears of the Redis that is not there; most leave before they are told that there is no more."""

        async def watch(producer, times):
            for _ in range(times):
                watch = producer.listen()
                name = (await anext(watch)).name
                producer.events()
                waiting = asyncio.ensure_future(anext(watch))
                await asyncio.sleep(0)
                waiting.cancel()
            return name

        def grown(measure):
            gc.collect()
            before = measure()
            asyncio.run(watch(producer, 1000))
            gc.collect()
            return measure() - before

        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            with blotter.Producer("kraken", journal=folder, redis="redis://127.0.0.1:1", slots=64) as producer:
                name = asyncio.run(watch(producer, 100))
                self.assertEqual(name, "redis_down")
                shared = [name, None, True, False, blotter.Event, blotter.Producer]
                measures = [
                    sys.getallocatedblocks,
                    lambda: tracemalloc.get_traced_memory()[0] // 20,
                    lambda: len(os.listdir("/proc/self/fd")),
                    lambda: sum(map(sys.getrefcount, shared)),
                ]
                tracemalloc.start()
                self.addCleanup(tracemalloc.stop)
                for measure in measures:
                    growth = [grown(measure) for _ in range(2)]
                    self.assertLess(min(growth), 200, growth)
                producer.close(0)

    def test_a_producer_that_has_gone_leaves_nothing(self):
        def open_and_close():
            grown(lambda: 0, RECORDS["plain"], 1, slots=64)
            with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
                producer = blotter.Producer("kraken", journal=folder, redis="redis://127.0.0.1:1", slots=64)
                producer.events()
                producer.close(0)

        open_and_close()
        descriptors = len(os.listdir("/proc/self/fd"))
        gc.collect()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        open_and_close()
        before, memory = sys.getallocatedblocks(), tracemalloc.get_traced_memory()[0]
        for _ in range(50):
            open_and_close()
        gc.collect()
        self.assertLess(sys.getallocatedblocks() - before, 50)
        self.assertLess(tracemalloc.get_traced_memory()[0] - memory, 50 * 400)
        self.assertEqual(len(os.listdir("/proc/self/fd")), descriptors)


if __name__ == "__main__":
    support.main()
