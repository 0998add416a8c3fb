"""Entries that other programs add by XADD: ccxt's objects as msgpack, of each kind, are stored as the Python package stores them.

An entry is one record, where Python and `blotter publish` make several: of the trades in an order, of a balance of many currencies.
"""

import contextlib
import copy
import json
import time
import unittest
from decimal import Decimal

import engines
import redis
import support
import test_publish_ccxt as objects

import blotter
from blotter import _core
from blotter.testing import Recorder


def setUpModule():
    global servers, client
    servers = support.Servers()
    servers.drain()
    client = redis.Redis(unix_socket_path=servers.settings["BLOTTER_REDIS"].removeprefix("unix://"))


def tearDownModule():
    client.close()
    servers.close()


def is_one_record(kind, given):
    return not given.get("trades") and (kind != "balance" or "currency" in given)


def is_ours(kind, given):
    """Only ccxt's objects have ccxt's signs."""
    return given.keys() <= _core.FIELDS[kind].keys()


def without_nulls(value):
    """Those within an unknown key's value are kept, as the entry may be no object of ccxt's."""
    if not isinstance(value, dict):
        return value
    members = {name: without_nulls(item) for name, item in value.items()}
    return {name: item for name, item in members.items() if item is not None and item != {}}


class Raw(unittest.TestCase):
    maxDiff = None

    def add(self, exchange, kind, *given):
        for value in given:
            client.xadd(f"blotter:{exchange}", {kind: engines.packed(value)})

    def rows(self, exchange, kind, count):
        sql = f"SELECT * FROM blotter.{objects.TABLES[kind]} WHERE exchange = %s ORDER BY recorded_at, seq"
        with contextlib.suppress(AssertionError):
            support.wait_until(lambda: len(servers.query(sql, exchange)) == count)
        rows = servers.query(sql, exchange)
        self.assertEqual(len(rows), count, servers.query("SELECT reason FROM blotter.rejects WHERE exchange = %s", exchange))
        return rows

    def test_each_kind_is_stored_as_python_stores_it(self):
        for exchange in objects.EXCHANGES:
            given, recorder = {kind: [] for kind in objects.TABLES}, Recorder(exchange, slot_bytes=8192)
            for kind, found in objects.OBJECTS:
                if is_one_record(kind, found) and (kind == "balance" or not is_ours(kind, found)):
                    with contextlib.suppress(ValueError):
                        getattr(recorder, kind)(copy.deepcopy(found))
                        given[kind].append(found)
            self.assertTrue(all(given.values()))
            for kind, every in given.items():
                self.add(exchange, kind, *every)
                wanted = [objects.comparable(*pair)[1] for pair in recorder.rows if pair[0] == kind]
                for row, expected, found in zip(self.rows(exchange, kind, len(every)), wanted, every, strict=True):
                    self.assertEqual(without_nulls(objects.comparable(kind, row)[1]), without_nulls(expected), (exchange, kind, found))

    def test_what_is_read_back_is_what_was_given(self):
        for kind, found in (("order", objects.ORDER | {"trades": None, "fee": objects.FEE}), ("trade", objects.TRADE), ("position", objects.POSITION | {"id": "5"}), ("cash", objects.TRANSFER)):
            self.add(f"back-{kind}", kind, found)
            (row,) = self.rows(f"back-{kind}", kind, 1)
            back = blotter.to_ccxt(row, number=Decimal)
            names = [name for name, value in found.items() if value is not None and name not in ("info", "fees", "datetime")]
            self.assertEqual({name: objects.plain(back[name]) for name in names}, {name: objects.plain(found[name]) for name in names}, kind)

    def test_fields_by_our_names_alone_are_taken_as_they_are(self):
        self.add("ours", "cash", {"type": "withdrawal", "amount": 1, "currency": "BTC"}, {"type": "withdrawal", "amount": 1, "code": "BTC"})
        self.assertEqual([row["amount"] for row in self.rows("ours", "cash", 2)], [1, -1])

    def test_every_fee_counts(self):
        fees = [{"cost": "0.10", "currency": "USDT"}, {"cost": -0.2, "currency": "BNB"}, {"cost": "0.3", "currency": "USDT"}]
        self.add("fees", "trade", objects.TRADE | {"fee": None, "fees": fees})
        (row,) = self.rows("fees", "trade", 1)
        self.assertEqual((str(row["fee"]), row["fee_currency"], row["fees"]), ("0.40", "USDT", {"USDT": 0.4, "BNB": -0.2}))

    def test_digits_of_doubles_and_of_text(self):
        self.add("digits", "trade", {"symbol": "X", "price": 0.1, "amount": "0.100", "timestamp": objects.MS + 0.001}, {"symbol": "X", "price": 67123, "amount": 1e-07})
        rows = self.rows("digits", "trade", 2)
        self.assertEqual([(str(row["price"]), format(row["quantity"], "f")) for row in rows], [("0.1", "0.100"), ("67123", "0.0000001")])
        self.assertEqual(rows[0]["exchange_time"].microsecond, 123001)

    def test_an_order_keeps_its_trades(self):
        """They are no records of their own: send each as an entry."""
        self.add("nested", "order", objects.ORDER)
        (row,) = self.rows("nested", "order", 1)
        self.assertEqual([trade["id"] if isinstance(trade, dict) else trade for trade in row["extra"]["trades"]], ["t1", "t2", "t3", "t4"])
        self.assertEqual(servers.query("SELECT FROM blotter.trades WHERE exchange = 'nested'"), [])

    def test_made_up_producers_leave_no_more_confirmations_than_many_producers_would(self):
        """Redis takes 5 KB for those of each number that somebody makes up."""
        numbers = range(10**18, 10**18 + 6000)
        ack = "blotter-ack:{blotter:madeup}:%d"

        def add(seq, *producers):
            with client.pipeline(transaction=False) as pipeline:
                for number in producers:
                    record = {"producer_id": number, "seq": seq, "recorded_at": time.time_ns(), "order_id": str(number), "symbol": "A/B"}
                    pipeline.xadd("blotter:madeup", {"order": engines.packed(record)})
                pipeline.execute()

        add(1, *numbers)
        support.wait_until(lambda: client.xlen(ack % numbers[-1]) == 1)
        self.rows("madeup", "order", len(numbers))
        kept = list(client.scan_iter("blotter-ack:{blotter:madeup}:*", 1000))
        self.assertLessEqual(len(kept), 4096)
        self.assertGreater(len(kept), 4000)
        self.assertEqual(client.llen("blotter-ack:{blotter:madeup}"), 4096)
        # those that made room have others
        self.assertEqual(client.exists(ack % numbers[0]), 0)
        add(2, numbers[0])
        support.wait_until(lambda: client.xlen(ack % numbers[0]) == 1)
        self.assertEqual(client.xrange(ack % numbers[0])[0][1], {b"settled": b"2"})
        self.assertEqual(client.llen("blotter-ack:{blotter:madeup}"), 4096)

    def assert_rejected(self, kind, value, reason):
        client.xadd(f"blotter:no-{kind}", {kind: value})
        found = f"SELECT reason, raw FROM blotter.rejects WHERE exchange = 'no-{kind}'"
        support.wait_until(lambda: servers.query(found))
        (reject,) = servers.query(found)
        self.assertEqual((reject["reason"], bytes(reject["raw"])), (reason, value))

    def test_what_is_no_msgpack_is_rejected_with_its_bytes(self):
        self.assert_rejected("order", json.dumps({"id": "1", "symbol": "X"}).encode(), "not a msgpack map with string keys")

    def test_a_balance_of_many_currencies_is_not_taken_for_an_empty_one(self):
        self.assert_rejected("balance", engines.packed(objects.BALANCE), "currency: required and missing")
        self.add("empty", "balance", {"account": "main", "timestamp": objects.MS})
        (row,) = self.rows("empty", "balance", 1)
        self.assertEqual((row["currency"], row["total"]), (None, None))


if __name__ == "__main__":
    support.main()
