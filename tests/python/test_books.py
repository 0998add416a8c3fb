"""The books and orders against a second computation of them (books_model.py, orders_model.py), on random histories (books_history.py).

BLOTTER_BOOKS_SEEDS=FROM:TO runs those seeds, below 1000000, instead of a few random ones.
"""

import contextlib
import datetime
import itertools
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import threading
import types
import unittest
from decimal import Decimal
from fractions import Fraction

import psycopg2
import psycopg2.extras

import support
from books_history import HOUR, START, History
from books_model import Books, copy_of
from orders_model import FOLLOWING, NUMBERS, TEXTS, has_ended, orders_at, random_events

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
POSITION = ("exchange", "account", "strategy", "market_type", "symbol", "position_side")
SEEDS = 2000 if support.ALL else 12

servers = None


def setUpModule():
    global servers
    servers = support.Servers()
    servers.query("CREATE DATABASE empty_books TEMPLATE migrated")
    for name, first, last in (("blotter", "2025-11-22", "2025-12-04"), ("empty_books", "2025-11-24", "2025-11-28")):
        with Database(name) as database:
            database.run("UPDATE blotter_internal.retention SET days_back = 100000")
            database.run("SELECT blotter_internal.make_day(d::date) FROM generate_series(%s::date, %s::date, '1 day') AS d", first, last)


def time_of(microseconds):
    return None if microseconds is None else EPOCH + datetime.timedelta(microseconds=microseconds)


def microseconds_of(time):
    return None if time is None else round((time - EPOCH) / datetime.timedelta(microseconds=1))


def amounts(text):
    """A map of currency to amount, without what is 0."""
    values = json.loads(text or "{}", parse_float=Decimal, parse_int=Decimal)
    return {currency: Fraction(amount) for currency, amount in values.items() if amount}


def shown(value):
    """As views show it: 18 decimals, half away from zero."""
    whole, rest = divmod(abs(value) * 10**18, 1)
    return Fraction((whole + (rest >= Fraction(1, 2))) * (1 if value >= 0 else -1), 10**18)


class Database:
    """A session that loads and books as the drainer's do."""

    def __init__(self, name="blotter"):
        self.name = name
        self._connection = psycopg2.connect(f"{servers.settings['BLOTTER_POSTGRES']} dbname={name}")
        self._connection.autocommit = True
        self._cursor = self._connection.cursor()
        self.run("SET timezone = 'UTC'")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._connection.close()

    def run(self, sql, *values):
        self._cursor.execute(sql, values or None)
        return self._cursor.fetchall() if self._cursor.description else []

    def insert(self, table, row):
        row = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in row.items()}
        self.run(f"INSERT INTO {table} ({', '.join(row)}) OVERRIDING SYSTEM VALUE VALUES ({', '.join(['%s'] * len(row))})", *row.values())

    def load(self, records):
        """Through staging, in one transaction."""
        tables = {"order": "order_events", "trade": "trades", "cash": "cash", "instrument": "instruments"}
        self.run("BEGIN")
        self.run("SELECT blotter_internal.begin_staging()")
        for record in records:
            row = {name: value for name, value in record.items() if name != "kind" and value is not None}
            if record["kind"] == "base":
                row = {"id": row["seq"], "at": time_of(row["exchange_time"])} | {
                    n: row[n] for n in ("exchange", "account", "strategy", "market_type", "symbol", "quantity", "price", "fees") if n in row
                }
                self.insert("blotter.position_base", row)
                continue
            row |= {name: time_of(row[name]) for name in ("recorded_at", "exchange_time") if name in row}
            self.insert(f"pg_temp.staged_{tables[record['kind']]}", row)
        self.run("SELECT blotter_internal.load_staged('test')")
        self.run("COMMIT")

    def merge(self, events, late):
        """Brings orders up to date with each event, as the drainer does with one that comes alone; late: it does not say that they come in order."""
        for event in events:
            identity = {name: event[name] for name in ("seq", "producer_id")} | {"recorded_at": time_of(event["recorded_at"])}
            row = {name: value for name, value in event.items() if name not in (*identity, "kind") and value is not None}
            row |= identity | {f"first_{name}": value for name, value in identity.items()}
            self.insert("pg_temp.staged_orders", row | {"late": late, "ended": has_ended(event), "first_filled_quantity": event.get("filled_quantity")})
            self.run("SELECT blotter_internal.merge_orders()")

    def learn_order(self, row):
        row = row | {"order_key": row["order_id"], "first_recorded_at": EPOCH, "recorded_at": EPOCH, "seq": 1, "producer_id": 1}
        known = ("strategy", "symbol", "market_type", "side", "position_side")
        self.run(
            f"INSERT INTO blotter.orders ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))}) ON CONFLICT (order_key, exchange, account, scope, provisional)"
            f" DO UPDATE SET {', '.join(f'{n} = excluded.{n}' for n in known)}",
            *row.values(),
        )

    def book(self, exchange, rows=1000):
        return self.run("SELECT booked FROM blotter_internal.book(%s::text[], %s)", [exchange], rows)[0][0]

    def book_all(self, exchange):
        while self.book(exchange):
            pass


class Case(unittest.TestCase):
    maxDiff = 4000

    def setUp(self):
        self.database = Database()
        self.addCleanup(self.database.__exit__)

    def new_database(self, name):
        """One whose tables are empty and have no statistics when the session plans."""
        self.database.run(f"CREATE DATABASE {name} TEMPLATE empty_books")
        database = Database(name)
        self.addCleanup(database.__exit__)
        return database

    def drop_days(self, before):
        self.database.run("SELECT blotter_internal.aggregate_days(%s)", before)
        for table in ("order_events", "trades", "cash", "instruments", "balances", "venue_positions"):
            self.database.run(f"DELETE FROM blotter.{table} WHERE recorded_at < %s", before + "Z")

    def assert_books(self, history, label):
        model = Books(history.records, history.orders)
        with self.subTest(label):
            self.assertEqual(self.database.run('SELECT error, "row" FROM blotter_internal.book_errors'), [])
            self.assert_positions(history.exchange, model)
            self.assert_hours(history.exchange, model)
            self.assert_days(history.exchange, model)
            self.assert_funding(history.exchange, model)
        return model

    def positions(self, exchange):
        return {
            row[:6]: row[6:]
            for row in self.database.run(
                f"""SELECT {', '.join(POSITION)}, quantity, open_cost, realized_pnl, fills, unpriced, sideless, first_fill_at, last_fill_at, currency,
                    blotter_internal.add_amounts(other_fees, CASE WHEN fee_currency IS NOT NULL THEN jsonb_build_object(fee_currency, fee) END)::text
                    FROM blotter_internal.position WHERE exchange = %s AND fills <> 0""",
                exchange,
            )
        }

    def assert_positions(self, exchange, model):
        found = {
            key: (*map(Fraction, row[:3]), *row[3:6], *map(microseconds_of, row[6:8]), row[8], amounts(row[9])) for key, row in self.positions(exchange).items()
        }
        expected = {}
        for key, p in model.positions.items():
            self.assertTrue(p.unpriced or p.holds_invariant(), key)
            fees = {currency: amount for currency, amount in p.fees.items() if amount}
            expected[key] = (p.quantity, p.open_cost, p.realized, p.fills, p.unpriced, p.sideless, p.first_at, p.last_at, p.contract.currency, fees)
        self.assertEqual(found, expected)

    def assert_hours(self, exchange, model):
        found, last = {}, {}
        for row in self.database.run(
            f"SELECT {', '.join('p.' + n for n in POSITION)}, h.hour, h.realized_pnl FROM blotter_internal.position_hour h"
            " JOIN blotter_internal.position p ON p.id = h.position_id WHERE p.exchange = %s ORDER BY h.hour",
            exchange,
        ):
            key, realized = row[:6], Fraction(row[7])
            found[(key, microseconds_of(row[6]))] = realized - last.get(key, 0)
            last[key] = realized
        self.assertEqual(found, model.realized_by(HOUR))

    def assert_days(self, exchange, model):
        found = {
            (*row[:3], microseconds_of(row[3])): Fraction(row[4])
            for row in self.database.run("SELECT account, strategy, currency, day, realized FROM blotter_internal.pnl_day WHERE exchange = %s AND realized <> 0", exchange)
        }
        expected = {}
        for (key, day), realized in model.realized_by(24 * HOUR).items():
            slot = (key[1], key[2], model.positions[key].contract.currency, day)
            expected[slot] = expected.get(slot, 0) + realized
        self.assertEqual(found, {slot: value for slot, value in expected.items() if value})

    def assert_funding(self, exchange, model):
        rows = self.database.run(f"SELECT {', '.join(POSITION)}, funding::text FROM blotter_internal.position WHERE exchange = %s AND funding <> '{{}}'", exchange)
        found = {row[:6]: amounts(row[6]) for row in rows}
        expected = {key: {c: a for c, a in funding.items() if a} for key, funding in model.funding.items()}
        self.assertEqual(found, {key: funding for key, funding in expected.items() if funding})

    def assert_at(self, history, model, at):
        rows = self.database.run(
            f"SELECT {', '.join(POSITION)}, quantity, realized_pnl, fills, fees::text FROM blotter.positions_at(%s) WHERE exchange = %s AND fills <> 0", time_of(at), history.exchange
        )
        found = {row[:6]: (Fraction(row[6]), None if row[7] is None else Fraction(row[7]), row[8], amounts(row[9])) for row in rows}
        expected = {}
        for key, p in model.positions_at(at).items():
            known = not p.unpriced and not p.contract.unvalued
            expected[key] = (shown(p.quantity), shown(p.realized) if known else None, p.fills, {c: a for c, a in p.fees.items() if a})
        self.assertEqual(found, expected)

    def assert_pnl(self, history, model, low, high):
        """By account and symbol, from one moment to another."""
        rows = self.database.run(
            "SELECT account, symbol, currency, fills, realized_pnl FROM blotter.pnl(%s, %s, 'exchange, account, symbol') WHERE exchange = %s AND fills <> 0",
            time_of(low),
            time_of(high),
            history.exchange,
        )
        found = {row[:3]: (row[3], None if row[4] is None else Fraction(row[4])) for row in rows}
        before, expected = model.positions_at(low), {}
        for key, p in model.positions_at(high).items():
            was = before.get(key)
            fills, realized = p.fills - (was.fills if was else 0), p.realized - (was.realized if was else 0)
            if fills:
                slot = (key[1], key[4], p.contract.currency)
                sums = expected.setdefault(slot, [0, Fraction(0)])
                sums[0] += fills
                sums[1] = None if model.positions[key].unpriced or sums[1] is None else sums[1] + realized
        self.assertEqual(found, {slot: (fills, None if realized is None else shown(realized)) for slot, (fills, realized) in expected.items()})


def play(database, exchange, records, order_steps, dice):
    """Loads and books, in batches of random size, what orders are known of meanwhile."""
    steps = [("record", r) for r in records] + [("order", step) for step in order_steps]
    dice.shuffle(steps)
    later, batch = [], []
    for what, step in steps:
        if what == "record":
            batch.append(step)
        else:
            row, learnt = step
            database.learn_order(row | dict.fromkeys(learnt, ""))
            later += [row] if learnt else []
        if dice.random() < 0.2:
            database.load(batch)
            batch = []
        if later and dice.random() < 0.1:
            database.learn_order(later.pop(dice.randrange(len(later))))
        if dice.random() < 0.15:
            database.book(exchange, dice.choice((1, 3, 10, 1000)))
    database.load(batch)
    for row in later:
        database.learn_order(row)
    database.book_all(exchange)


def seeds():
    given = os.environ.get("BLOTTER_BOOKS_SEEDS")
    if given:
        return range(*map(int, given.split(":")))
    return random.sample(range(10**6), SEEDS)


class RandomHistories(Case):
    def setUp(self):
        super().setUp()
        self.database = self.new_database(f"histories_{self._testMethodName[-20:]}")  # what others roll is rolled for whoever asks of a time

    def test_books_are_what_the_definitions_say(self):
        played, all_seeds = [], list(seeds())
        for count, seed in enumerate(all_seeds, 1):
            print(f"# seed {seed}", flush=True)
            history, dice = History(seed, exchange=f"r{seed}"), random.Random(seed)
            play(self.database, history.exchange, history.records, history.order_steps, dice)
            model = self.assert_books(history, f"seed {seed}")
            with self.subTest(f"seed {seed}: at a time"):
                self.assert_at(history, model, START + dice.randint(0, history.span))
                low, high = sorted((START + dice.randint(-HOUR, history.span), START + dice.randint(0, history.span) // HOUR * HOUR - START % HOUR))
                self.assert_pnl(history, model, low, high)
            played.append(history.exchange)
            if count < len(all_seeds) and (count % 50 > 12 or count % 4):  # it computes the positions of all seeds again
                continue
            with self.subTest(f"seed {seed} and those before: rebuilt"):
                before = [self.positions(exchange) for exchange in played]
                hours = self.database.run("SELECT position_id, hour, quantity, open_cost, realized_pnl, fee_value, fills FROM blotter_internal.position_hour ORDER BY 1, 2")
                self.database.run("SELECT blotter_internal.rebuild_positions()")
                self.assertEqual([self.positions(exchange) for exchange in played], before)
                self.assertEqual(
                    self.database.run("SELECT position_id, hour, quantity, open_cost, realized_pnl, fee_value, fills FROM blotter_internal.position_hour ORDER BY 1, 2"), hours
                )

    def test_two_bookers_at_once_book_each_fill_once(self):
        seed = random.randrange(10**6)
        print(f"# seed {seed}", flush=True)
        history, failures, booked, loaded = History(seed, executions=300, exchange=f"two{seed}"), [], [], threading.Event()

        def book():
            try:
                with Database(self.database.name) as database:
                    while (count := database.book(history.exchange, 7)) or not loaded.is_set():
                        booked.append(count)
            except Exception as error:  # told by the main thread
                failures.append(error)

        threads = [threading.Thread(target=book) for _ in range(2)]
        for thread in threads:
            thread.start()
        for row in history.orders:
            self.database.learn_order(row)
        for i in range(0, len(history.records), 20):
            self.database.load(history.records[i : i + 20])
        loaded.set()
        for thread in threads:
            thread.join(support.TIMEOUT)
        self.database.book_all(history.exchange)
        self.assertEqual(failures, [])
        self.assertGreater(sum(booked), 200)
        self.assert_books(history, f"seed {seed}")


def hour_of(hour):
    """So many full hours after START, which is one."""
    return START + hour * HOUR


def roll(database, before, most=3, pieces=None):
    """Rolls fills before a time, in small pieces, so many at most. Returns how many fills."""
    position, total = 0, 0
    while position is not None and pieces != 0:
        position, rolled = database.run("SELECT next_position, rolled FROM blotter_internal.roll_fills(%s, %s, %s)", time_of(before), position, most)[0]
        total += rolled
        pieces = None if pieces is None else pieces - 1
    return total


class Rolls(Case):
    """Two databases that are told the same; in one of them fills are rolled. Every number stays what it is in the other, and what it is by the definitions."""

    def setUp(self):
        super().setUp()
        self.plain = self.new_database(f"plain_{self._testMethodName[-20:]}")
        self.database = self.new_database(f"rolled_{self._testMethodName[-20:]}")

    def both(self, sql, *values):
        answers = [database.run(sql, *values) for database in (self.database, self.plain)]
        self.assertEqual(*answers, sql)
        return answers[0]

    def rolled_before(self):
        return microseconds_of(self.database.run("SELECT coalesce(max(rolled_before), '2000-01-01Z') FROM blotter_internal.position")[0][0])

    def assert_numbers(self, dice, span):
        rolled = self.rolled_before()

        def any_time():
            at = START + dice.randint(-HOUR, span + 2 * HOUR)
            return at if at >= rolled and dice.random() < 0.5 else at // HOUR * HOUR

        for _ in range(4):
            low, high = sorted((any_time(), any_time()))
            keys = dice.sample(("hour", "day", "exchange", "account", "strategy", "market_type", "symbol"), dice.randint(1, 4))
            self.both("SELECT * FROM blotter.pnl(%s, %s, %s)", time_of(low), time_of(high), ",".join(keys))
            self.both("SELECT p.*::text FROM blotter.positions_at(%s) AS p ORDER BY p", time_of(high))
            self.both("SELECT * FROM blotter.equity(NULL, %s, %s, %s)", time_of(low), time_of(high), dice.choice(("day", "hour")))
            low = max(low, rolled)
            self.both("SELECT f::text FROM blotter.fifo(%s, %s) AS f ORDER BY 1", time_of(low), time_of(max(low, high)))
        self.both("SELECT p.*::text FROM blotter.positions AS p ORDER BY p")
        self.both("SELECT f.*::text FROM blotter.fills AS f WHERE f.at >= %s ORDER BY f", time_of(rolled))
        kept = self.database.run("SELECT (SELECT count(*) FROM blotter_internal.fill) + (SELECT count(*) FROM blotter_internal.rolled_fill)")
        self.assertEqual(kept, self.plain.run("SELECT count(*) FROM blotter_internal.fill"))

    def parts(self, history, horizons):
        """What is known before each roll and after the last: all records of the trades before its horizon, some later ones, and all of their orders."""
        trades, orders = {}, {}
        for record in history.records:
            copy = copy_of(record) if record["kind"] in ("order", "trade", "base") else None
            trades.setdefault((copy and copy.trade_id) or id(record), []).append(record)
        first = {}
        for fill in Books(history.records, history.orders).fills:
            first[fill.trade_id] = min(first.get(fill.trade_id, fill.at), fill.at, *(r["recorded_at"] for r in trades[fill.trade_id]))  # a copy that comes first may know no more
        parts = [([], []) for _ in range(len(horizons) + 1)]
        for trade_id, records in trades.items():
            last = next((i for i, horizon in enumerate(horizons) if first.get(trade_id, horizon) < horizon), len(horizons))
            part = 0 if records[0]["kind"] == "instrument" else history.random.randint(0, last)
            parts[part][0].extend(records)
            for record in records:
                for name in ("order_id", "client_order_id"):
                    orders[record.get(name)] = min(part, orders.get(record.get(name), part))
        for row, learnt in history.order_steps:
            part = min(orders.get(row[name], len(horizons)) for name in ("order_id", "client_order_id"))
            parts[part][1].append((row, learnt))
        return parts

    def test_no_number_changes_whatever_comes_after(self):
        rolled, count = 0, 0
        for count, seed in enumerate(itertools.islice(seeds(), None if support.ALL else 5), 1):
            print(f"# seed {seed}", flush=True)
            history, dice = History(seed, executions=100, exchange=f"r{seed}", sure=seed % 4 > 0), random.Random(seed)
            times = sorted(fill.at for fill in Books(history.records, history.orders).fills)
            horizons = sorted((dice.choice(times) // HOUR + 1) * HOUR for _ in range(2))
            known = []
            for part, (records, order_steps) in enumerate(self.parts(history, horizons)):
                again = [r | {"seq": r["seq"] + 30_000 * part} for r in known if dice.random() < 0.3 and (r.get("trade_id") or "self")[:4] != "self" and copy_of(r) and copy_of(r).rank < 3]
                known += records + again
                for database in (self.database, self.plain):
                    play(database, history.exchange, records + again, order_steps, random.Random(seed + part))
                with self.subTest(f"seed {seed}, part {part}"):
                    self.assertEqual(self.database.run("SELECT error FROM blotter_internal.book_errors"), [])
                    self.assert_numbers(dice, history.span)
                    if part < len(horizons):
                        rolled += roll(self.database, horizons[part] - HOUR, pieces=3)  # of a run that was cut off
                        rolled += roll(self.database, horizons[part])
                        self.assertEqual(roll(self.database, horizons[part]), 0)
                        self.assert_numbers(dice, history.span)
            history.records = known
            model = self.assert_books(history, f"seed {seed}")
            with self.subTest(f"seed {seed}: at a time"):
                for _ in range(3):
                    low, high = sorted(hour_of(dice.randint(0, 31)) for _ in range(2))
                    self.assert_at(history, model, low)
                    self.assert_pnl(history, model, low, high)
        self.assertGreater(rolled, count)
        for database in (self.database, self.plain):
            database.run("SELECT blotter_internal.rebuild_positions()")
        self.assert_books(history, "rebuilt")
        self.assert_numbers(dice, history.span)
        self.drop_days("2025-12-04")
        self.assert_books(history, "days dropped")
        self.assert_numbers(dice, history.span)
        late = [r | {"seq": r["seq"] + 90_000, "recorded_at": r["recorded_at"] + 20 * 24 * HOUR} for r in again]
        self.database.run("SELECT blotter_internal.make_day(d::date) FROM generate_series('2025-12-14'::date, '2025-12-17'::date, '1 day') AS d")
        self.database.load(late)
        self.database.book_all(history.exchange)
        self.assertEqual(self.database.run("SELECT error FROM blotter_internal.book_errors"), [])
        self.assert_numbers(dice, history.span)

    def test_before_a_horizon_nothing_changes_any_more_and_what_would_change_it_is_named(self):
        """Records come in any order, and fills are rolled at any time: what is late then is set aside, and all else is right."""
        hours = "SELECT position_id, hour, quantity, open_cost, realized_pnl, fee_value, fills FROM blotter_internal.position_hour h"
        rolled = 0
        for seed in itertools.islice(seeds(), None if support.ALL else 5):
            print(f"# seed {seed}", flush=True)
            history, dice = History(seed, executions=150, exchange=f"a{seed}", sure=seed % 4 > 0), random.Random(seed)
            kept, cuts = {}, sorted(dice.sample(range(len(history.records)), 4))
            for low, high in zip([0, *cuts], [*cuts, len(history.records)]):
                play(self.database, history.exchange, history.records[low:high], history.order_steps if low == 0 else [], dice)
                rolled += roll(self.database, START + dice.randint(0, history.span + HOUR))
                done = self.database.run(f"{hours} WHERE hour < (SELECT p.rolled_before FROM blotter_internal.position p WHERE p.id = h.position_id)")
                kept |= {row[:2]: row[2:] for row in done}
            with self.subTest(f"seed {seed}"):
                now = {row[:2]: row[2:] for row in self.database.run(hours)}
                self.assertEqual({key: now.get(key) for key in kept}, kept)
                before = self.positions(history.exchange)
                days = self.database.run("SELECT * FROM blotter_internal.pnl_day d WHERE (realized, fee_value, funding, fills) <> (0, 0, 0, 0) ORDER BY d")
                self.database.run("SELECT blotter_internal.rebuild_positions()")
                self.assertEqual(self.positions(history.exchange), before)
                self.assertEqual({row[:2]: row[2:] for row in self.database.run(hours)}, now)
                self.assertEqual(self.database.run("SELECT * FROM blotter_internal.pnl_day d WHERE (realized, fee_value, funding, fills) <> (0, 0, 0, 0) ORDER BY d"), days)
                for (error,) in self.database.run("SELECT error FROM blotter_internal.book_errors"):
                    self.assertRegex(error, "(trade .* rolled|fills of .* are rolled)")
        self.assertGreater(rolled, 0)

    def trade(self, trade_id, hour, side, quantity, price="100", **more):
        self.seq = getattr(self, "seq", 0) + 1
        record = {"kind": "trade", "producer_id": 5, "seq": self.seq, "recorded_at": START + 48 * HOUR + self.seq, "exchange_time": hour_of(hour) + 60_000_000, "exchange": "x"}
        return record | {"account": "main", "strategy": "s", "symbol": "BTC/USDT", "market_type": "spot", "trade_id": trade_id, "side": side, "quantity": quantity, "price": price} | more

    def book(self, *records):
        self.database.load(records)
        self.database.book_all("x")

    def test_what_comes_too_late_is_named_and_says_what_to_do(self):
        state = "SELECT quantity, open_cost, realized_pnl, fills FROM blotter.positions WHERE symbol = 'BTC/USDT'"
        self.book(self.trade("1", 0, "buy", "2"), self.trade("2", 1, "sell", "1", "110"), self.trade("3", 5, "buy", "1", "120", order_id="o3"))
        expected = [(Decimal(2), Decimal(220), Decimal(10), 3)]
        self.assertEqual(self.database.run(state), expected)
        self.assertEqual(roll(self.database, hour_of(4)), 2)
        event = {"kind": "order", "exchange": "x", "producer_id": 5, "recorded_at": START + 48 * HOUR}
        refused = [
            self.trade("4", 1, "buy", "1"),
            event | {"seq": 1001, "trade_id": "1", "event": "bust"},
            event | {"seq": 1002, "trade_id": "2", "event": "correct", "last_quantity": "3"},
            self.trade("1", 6, "buy", "9"),
            self.trade("3", 1, "buy", "1", "120", order_id="o3", origin="venue"),  # the venue says when it was
            event | {"kind": "instrument", "seq": 1003, "symbol": "BTC/USDT", "market_type": "spot", "base": "BTC", "quote": "USDT", "contract_size": "5"},
        ]
        copies = [self.trade("1", 0, "buy", "2", fee="1", fee_currency="USDT"), event | {"seq": 1004, "trade_id": "2", "last_quantity": "1", "event": "fill"}]
        other = self.trade("1", 6, "buy", "7", "10", symbol="ETH/USDT")  # the venue numbers its trades per symbol
        self.book(*refused, *copies, other)
        self.assertEqual(self.database.run(state), expected)
        self.assertEqual(self.database.run("SELECT quantity FROM blotter.positions WHERE symbol = 'ETH/USDT'"), [(7,)])
        errors = self.database.run("SELECT \"row\" ->> 'seq', error FROM blotter_internal.book_errors ORDER BY id")
        self.assertEqual({int(seq) for seq, _ in errors}, {r["seq"] for r in refused})
        self.assertEqual(sum("blotter.position_base" in error for _, error in errors), 5)
        with self.assertRaisesRegex(psycopg2.errors.RaiseException, "are rolled"):
            self.database.run("SELECT * FROM blotter.positions_at(%s)", time_of(hour_of(1) + 1))
        with self.assertRaisesRegex(psycopg2.errors.RaiseException, "are rolled"):
            self.database.run("SELECT * FROM blotter.pnl(%s, %s)", time_of(hour_of(0) + 1), time_of(hour_of(5)))
        with self.assertRaisesRegex(psycopg2.errors.RaiseException, "are rolled"):
            self.database.run("SELECT * FROM blotter.fifo(%s)", time_of(hour_of(1)))
        self.assertEqual(self.database.run("SELECT quantity FROM blotter.positions_at(%s)", time_of(hour_of(3) + 1)), [(1,)])
        self.assertEqual(self.database.run("SELECT opened_by, quantity FROM blotter.fifo(%s)", time_of(hour_of(2))), [])
        # what the messages say
        self.database.run("INSERT INTO blotter.position_base (exchange, account, strategy, market_type, symbol, at, quantity, price) VALUES ('x', 'main', 's', 'spot', 'BTC/USDT', %s, 1, 100)", time_of(hour_of(4)))
        self.book(self.trade("5", 7, "sell", "1", "130"))
        self.assertEqual(self.database.run("SELECT quantity, fills FROM blotter.positions WHERE symbol = 'BTC/USDT'"), [(2, 5)])
        self.assertEqual(self.database.run("SELECT opened_by, quantity, realized_pnl FROM blotter.fifo(%s)", time_of(hour_of(2))), [("1", 1, 30)])

    def test_a_position_of_which_only_rolled_fills_are_left_is_what_they_made_it(self):
        numbers = "SELECT strategy, quantity, open_cost, (fees ->> 'USDT')::numeric, fills, first_fill_at, last_fill_at, average_price FROM blotter.positions WHERE fills > 0 ORDER BY 1"
        paid = {"fee": "0.5", "fee_currency": "USDT", "strategy": ""}
        self.book(self.trade("1", 0, "buy", "2", **paid), self.trade("2", 1, "sell", "1", "110", **paid))
        before = self.database.run(numbers)
        self.assertEqual(roll(self.database, hour_of(4)), 2)
        self.book(self.trade("3", 5, "buy", "1", order_id="o3", **paid), self.trade("4", 1, "buy", "7", order_id="o3", **paid))
        self.database.learn_order({"exchange": "x", "account": "main", "order_id": "o3", "strategy": "b"})
        self.database.book_all("x")
        rows = self.database.run(numbers)
        self.assertEqual(rows[:-1], before)
        self.assertEqual(rows[-1][:2], ("b", 1))
        self.assertEqual(self.database.run("SELECT \"row\" ->> 'trade_id' FROM blotter_internal.book_errors"), [("4",)])
        self.database.run("SELECT blotter_internal.rebuild_positions()")
        self.assertEqual(self.database.run(numbers), rows)
        self.book(self.trade("5", 2, "sell", "1", "130", **paid))
        self.assertEqual(self.database.run(numbers)[0][1:5], (0, 0, Decimal("1.5"), 3))

    def test_fills_that_share_a_trade_id_stay_known_together(self):
        state = "SELECT quantity, realized_pnl, fills, (fees ->> 'USDT')::numeric FROM blotter.positions WHERE fills > 0"
        sides = [("1", 0, "buy", "2"), ("1", 5, "sell", "2", "110")]
        self.book(*(self.trade(*side, order_id=f"o{side[2]}") for side in sides), self.trade("2", 0, "buy", "3"))
        self.assertEqual(roll(self.database, hour_of(4)), 1)
        self.book(*(self.trade(*side, order_id=f"o{side[2]}") for side in sides))
        self.assertEqual(self.database.run(state), [(3, 20, 3, None)])
        self.book(self.trade(*sides[1], order_id="osell", fee="1", fee_currency="USDT"))
        self.assertEqual(self.database.run(state), [(3, 20, 3, 1)])
        self.assertEqual(self.database.run("SELECT error FROM blotter_internal.book_errors"), [])

    def test_an_order_whose_fills_are_rolled_keeps_no_other_from_learning(self):
        self.book(self.trade("1", 0, "buy", "2", strategy="b"), self.trade("2", 3, "buy", "2", strategy="b"))
        roll(self.database, hour_of(2))
        late = [self.trade(str(n), 0, "buy", "1", strategy="", order_id=f"o{n}", symbol=symbol) for n, symbol in ((4, "BTC/USDT"), (5, "XRP/USDT"))]
        self.book(*late)
        values = ", ".join(f"('x', 'main', 'o{n}', 'o{n}', 'b', '2025-01-01Z', '2025-01-01Z', {n}, 1)" for n in (4, 5))
        self.database.run(f"INSERT INTO blotter.orders (exchange, account, order_key, order_id, strategy, first_recorded_at, recorded_at, seq, producer_id) VALUES {values}")
        self.database.book_all("x")
        rows = self.database.run("SELECT symbol, strategy, quantity FROM blotter.positions WHERE quantity <> 0 ORDER BY 1, 2")
        self.assertEqual(rows, [("BTC/USDT", "", 1), ("BTC/USDT", "b", 4), ("XRP/USDT", "b", 1)])
        self.assertEqual(self.database.run("SELECT \"row\" -> 'order_keys' FROM blotter_internal.book_errors"), [(["oo4"],)])


class Orders(Case):
    STATE = ("account", "scope", "order_key", "provisional", *TEXTS, *NUMBERS, "status", "terminal", "first_recorded_at", "recorded_at", "seq")

    def states(self, source, exchange):
        found = {}
        for row in self.database.run(f"SELECT {', '.join(self.STATE)} FROM {source} AS o WHERE o.exchange = %s", exchange):
            state = dict(zip(self.STATE[4:], row[4:]))
            state |= {name: None if state[name] is None else Fraction(state[name]) for name in NUMBERS}
            state |= {name: microseconds_of(state[name]) for name in ("first_recorded_at", "recorded_at")}
            found[row[:4]] = state
        return found

    def test_orders_are_what_the_rules_say_now_and_at_any_time_before(self):
        self.database = self.new_database("orders_alone")
        self.database.run("SELECT blotter_internal.begin_session()")
        for seed in seeds():
            print(f"# seed {seed}", flush=True)
            exchange, dice = f"orders{seed}", random.Random(seed)
            by_symbol = dice.random() < 0.3
            if by_symbol:
                self.database.run("INSERT INTO blotter_internal.venues VALUES (%s, 'symbol') ON CONFLICT DO NOTHING", exchange)
            events = random_events(seed, exchange, START, dice.choice((3, 10, 40)))
            arriving = dice.sample(events, len(events))
            while arriving:
                batch, arriving = arriving[:7], arriving[7:]
                self.database.load(batch)
                self.database.merge(batch, dice.random() < 0.3)
            self.database.book_all(exchange)
            with self.subTest(f"seed {seed}"):
                self.assertEqual(self.states("blotter.orders", exchange), orders_at(events, math.inf, by_symbol))
                for event in dice.sample(events, 3):
                    at = event["recorded_at"] + dice.choice((0, 1))
                    name = dice.choice(("NULL", f"'{exchange}'"))
                    self.assertEqual(self.states(f"blotter.orders_at('{time_of(at)}', {name})", exchange), orders_at(events, at, by_symbol))
                self.assert_history(exchange, [e for e in events if not by_symbol and e["order_id"] not in (None, "", "0")])

    def test_dropping_days_changes_no_order_whatever_comes_after(self):
        """Days of events come and are dropped in turn; now and then all orders are made again."""
        for seed in list(seeds())[:40]:
            self.database = self.new_database(f"orders_dropped_{seed}")
            self.database.run("SELECT blotter_internal.begin_session()")
            print(f"# seed {seed}", flush=True)
            exchange, dice = f"orders{seed}", random.Random(seed)
            by_symbol = dice.random() < 0.3
            if by_symbol:
                self.database.run("INSERT INTO blotter_internal.venues VALUES (%s, 'symbol')", exchange)
            days, events = 4, random_events(seed, exchange, START // (24 * HOUR) * (24 * HOUR), dice.choice((10, 40)))
            # Orders share client ids within a day. One that comes again days later is of one order, and named it before: what a row that is left of
            # an order says is not enough to tell whose an event is that comes between others.
            named = set()
            for event in sorted(events, key=lambda e: e["order_id"] in (None, "", "0")):
                day, order, client = dice.randrange(days), event["order_id"], event["client_order_id"]
                event["recorded_at"] += day * 24 * HOUR
                place = event["account"] or "", (event["symbol"] or "") if by_symbol else ""
                if order in (None, "", "0"):
                    event |= dict.fromkeys(FOLLOWING)
                    own = sorted(n[3] for n in named if n[:2] == place and n[2] <= day)
                else:
                    own = [f"of {order}"]
                if client not in (None, "", "0"):
                    event["client_order_id"] = dice.choice((f"{client} of day {day}", *own))
                    if event["client_order_id"] in own and order not in (None, "", "0"):
                        named.add((*place, day, own[0]))
            with self.subTest(f"seed {seed}"):
                for day in range(days):
                    arriving = [e for e in events if e["recorded_at"] // (24 * HOUR) == START // (24 * HOUR) + day]
                    for event in dice.sample(arriving, len(arriving)):
                        self.database.load([event])
                        self.database.merge([event], True)
                    self.drop_days(time_of(START + day * 24 * HOUR).date().isoformat())
                    if dice.random() < 0.3:
                        self.database.run("SELECT blotter_internal.rebuild_orders()")
                    stored = [e for e in events if e["recorded_at"] // (24 * HOUR) <= START // (24 * HOUR) + day]
                    found, expected = self.states("blotter.orders", exchange), orders_at(stored, math.inf, by_symbol)
                    for key in found.keys() & expected.keys():
                        if expected[key]["orig_client_order_id"] is None:  # says what an amend took over whose event is dropped
                            found[key]["orig_client_order_id"] = None
                    self.assertEqual(found, expected, day)

    def assert_history(self, exchange, events):
        for key, account in {(e["order_id"], e["account"] or "") for e in events}:
            expected = sorted((e["recorded_at"], e["seq"]) for e in events if (e["order_id"], e["account"] or "") == (key, account))
            rows = self.database.run("SELECT order_id, recorded_at, seq FROM blotter.order_history(%s, %s, %s)", key, exchange, account)
            self.assertEqual([(microseconds_of(at), seq) for order, at, seq in rows if order == key], expected)


class Days(Case):
    def keep_all_days(self):
        with Database() as database:
            database.run("UPDATE blotter_internal.retention SET first_day = '2015-01-01'")
            for (partition,) in database.run("SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'refuse_row'"):
                database.run(f"DROP TRIGGER refuse_row ON {partition}")

    def numbers(self, history, dice):
        """What people ask, at granularities by chance."""
        answers = []
        for _ in range(8):
            low, high = sorted(time_of(START + dice.randint(-HOUR, history.span + HOUR)) for _ in range(2))
            keys = dice.sample(("hour", "day", "exchange", "account", "strategy", "market_type", "symbol"), dice.randint(1, 4))
            answers.append(self.database.run("SELECT * FROM blotter.pnl(%s, %s, %s) AS p WHERE p.exchange IS NULL OR p.exchange = %s", low, high, ",".join(keys), history.exchange))
            answers.append(self.database.run("SELECT p.*::text FROM blotter.positions_at(%s) AS p WHERE p.exchange = %s ORDER BY p", high, history.exchange))
            answers.append(self.database.run("SELECT * FROM blotter.fifo(%s, %s, of_exchange => %s)", low, high, history.exchange))
            answers.append(self.database.run("SELECT * FROM blotter.equity(NULL, %s, %s, %s)", low, high, dice.choice(("day", "hour"))))
        answers.append(self.database.run("SELECT f.*::text FROM blotter.fills f WHERE f.exchange = %s ORDER BY f", history.exchange))
        self.assertTrue(any(answers))
        return answers

    def test_dropping_days_changes_no_number_and_copies_that_come_later_change_nothing(self):
        seed = random.randrange(10**6)
        print(f"# seed {seed}", flush=True)
        history = History(seed, executions=120, exchange=f"days{seed}")
        for row in history.orders:
            self.database.learn_order(row)
        late = [r | {"recorded_at": r["recorded_at"] + 6 * 24 * HOUR} for r in history.records[::3] if r["kind"] in ("order", "trade")]
        early = [r for r in history.records if r["kind"] not in ("order", "trade")] + [r for i, r in enumerate(history.records) if i % 3 and r["kind"] in ("order", "trade")]
        self.database.load(early)  # what the day drop finds is queued and not booked yet
        self.addCleanup(self.keep_all_days)
        self.drop_days("2025-11-25")
        before = self.positions(history.exchange)
        numbers = self.numbers(history, random.Random(seed))
        self.drop_days("2025-11-28")
        self.assertEqual(self.numbers(history, random.Random(seed)), numbers)
        self.assertEqual(self.positions(history.exchange), before)
        copies = [r | {"seq": r["seq"] + 50_000, "recorded_at": r["recorded_at"] + 6 * 24 * HOUR} for r in early if r.get("trade_id") and r.get("exchange_time")]
        self.database.load(copies)
        self.database.book_all(history.exchange)
        self.assertEqual(self.positions(history.exchange), before)
        self.database.load(late)
        self.database.book_all(history.exchange)
        history.records = early + copies + late
        self.assert_books(history, f"seed {seed}")


class Reload(Case):
    def test_what_readme_does_at_a_start_keeps_apart_sides_accounts_and_orders_of_one_id(self):
        readme = (support.TREE / "README.md").read_text()
        snippet = re.search(r"with psycopg2.connect.*?(?=```)", readme, re.DOTALL)[0].replace("dbname=trading", servers.settings["BLOTTER_POSTGRES"])
        for account, sign in (("main", ""), ("other", "9")):
            for symbol in ("BTCUSDT", "ETHUSDT"):
                row = {"exchange": "binance", "account": account, "order_key": "28", "order_id": "28", "scope": symbol, "symbol": symbol, "strategy": "mm", "side": "buy"}
                self.database.insert("blotter.orders", row | {"price": sign + "1", "first_recorded_at": EPOCH, "recorded_at": EPOCH, "seq": 1, "producer_id": 1})
            trades = [
                {"kind": "trade", "producer_id": 7, "seq": next(OtherPeoplesNumbers.seqs), "recorded_at": START, "exchange": "binance", "account": account, "strategy": "mm"}
                | {"symbol": "X", "position_side": side, "side": "buy" if side == "LONG" else "sell", "quantity": sign + quantity, "price": "10", "trade_id": account + side}
                for side, quantity in (("LONG", "5"), ("SHORT", "3"))
            ]
            self.database.load(trades)
        self.database.book_all("binance")
        names = {"psycopg2": psycopg2}
        exec(snippet, names)
        self.assertEqual(names["positions"], {("X", "long"): 5, ("X", "short"): -3})
        self.assertEqual(names["orders"], {(symbol, "28"): ["buy", 1, None] for symbol in ("BTCUSDT", "ETHUSDT")})


class HedgeMode(Case):
    def test_a_side_that_is_closed_beyond_what_it_opened_is_flagged_until_the_missing_fill_comes(self):
        trade = {"kind": "trade", "producer_id": 11, "exchange": "hedge", "account": "main", "strategy": "s", "symbol": "BTC/USDT:USDT", "market_type": "swap", "price": "10"}
        fills = [("long", "buy", "5"), ("long", "sell", "7"), ("short", "sell", "4"), ("short", "buy", "3"), ("long", "buy", "3")]
        records = [
            trade | {"seq": i, "recorded_at": START + i, "exchange_time": START + i, "trade_id": f"h{i}", "position_side": position, "side": side, "quantity": quantity}
            for i, (position, side, quantity) in enumerate(fills, 1)
        ]
        self.database.run("SELECT blotter_internal.make_day(blotter_internal.today())")
        now = datetime.datetime.now(datetime.timezone.utc)
        venue = {"producer_id": 11, "recorded_at": now, "snapshot": now, "exchange": "hedge", "account": "main", "symbol": "BTC/USDT:USDT", "quantity": 0, "position_side": "long"}
        self.database.insert("blotter.venue_positions", venue | {"seq": 1000})
        flags = "SELECT position_side, quantity, over_closed FROM blotter.positions WHERE exchange = 'hedge' ORDER BY 1"
        note = "SELECT note FROM blotter.reconciliation WHERE exchange = 'hedge'"
        self.database.load(records[:4])
        self.database.book_all("hedge")
        self.assertEqual(self.database.run(flags), [("long", -2, True), ("short", -1, False)])
        self.assertEqual(self.database.run(note), [("more was closed than opened",)])
        self.database.load(records[4:])
        self.database.book_all("hedge")
        self.assertEqual(self.database.run(flags), [("long", 1, False), ("short", -1, False)])


class BadRows(Case):
    def test_what_cannot_be_booked_is_named_and_stops_nobody(self):
        self.database.run("CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'not this one'; END$$")
        self.database.run(
            "CREATE TRIGGER refuse BEFORE INSERT ON blotter_internal.fill FOR EACH ROW WHEN (NEW.trade_id = 'bad') EXECUTE FUNCTION public.refuse()"
        )
        self.addCleanup(self.database.run, "DROP FUNCTION IF EXISTS public.refuse CASCADE")
        trade = {"kind": "trade", "producer_id": 9, "recorded_at": START, "exchange": "bad", "account": "main", "symbol": "BTC/USDT", "side": "buy", "price": "10", "quantity": "1"}
        records = [trade | {"seq": i, "trade_id": "bad" if i == 37 else f"t{i}"} for i in range(1, 101)]
        # too long for an index
        records.append(trade | {"seq": 101, "trade_id": "".join(chr(random.randrange(0x4E00, 0x9FFF)) for _ in range(3000))})
        self.database.load(records)
        self.database.book_all("bad")
        quantity = "SELECT quantity, fills FROM blotter.positions WHERE exchange = 'bad'"
        self.assertEqual(self.database.run(quantity), [(99, 99)])
        self.assertEqual(self.database.run("SELECT sqlstate, \"row\" ->> 'seq' FROM blotter_internal.book_errors ORDER BY 2 DESC"), [("P0001", "37"), ("54000", "101")])
        self.assertEqual(self.database.run("SELECT count(*) FROM blotter_internal.book_queue WHERE exchange = 'bad'"), [(0,)])
        self.database.run("DROP FUNCTION public.refuse CASCADE")
        self.database.run("SELECT blotter_internal.rebook_errors()")
        self.database.book_all("bad")
        self.assertEqual(self.database.run(quantity), [(100, 100)])
        self.assertEqual(self.database.run("SELECT \"row\" ->> 'seq' FROM blotter_internal.book_errors"), [("101",)])
        self.database.run("DELETE FROM blotter_internal.book_errors")

    def test_a_trade_id_that_too_many_executions_have_is_named_and_costs_nobody(self):
        trade = {"kind": "trade", "producer_id": 19, "recorded_at": START, "exchange": "crowd", "account": "main", "symbol": "BTC/USDT", "side": "buy", "price": "10", "quantity": "1"}
        first = [trade | {"seq": i, "trade_id": "x", "order_id": f"o{i}"} for i in range(1, 151)]
        more = [trade | {"seq": i, "trade_id": "x", "order_id": f"o{i}"} for i in range(151, 4000)]
        again = [record | {"seq": 5000 + record["seq"]} for record in first]
        other = trade | {"seq": 9999, "trade_id": "y", "order_id": "o1"}
        fills = "SELECT sum(fills), sum(quantity) FROM blotter.positions WHERE exchange = 'crowd'"
        errors = "SELECT sqlstate, error, count(*) FROM blotter_internal.book_errors GROUP BY 1, 2"
        self.addCleanup(self.database.run, "DELETE FROM blotter_internal.book_errors")
        self.database.load(first)
        self.database.book_all("crowd")
        self.assertEqual(self.database.run(fills), [(150, 150)])
        self.database.load([*more, other])
        self.assertEqual(self.database.run("SELECT set_aside FROM blotter_internal.book('{crowd}', 4000)"), [(len(more),)])
        self.assertEqual(self.database.run(fills), [(151, 151)])
        self.assertEqual(self.database.run(errors), [("54000", "too many different executions have the trade id x", len(more))])
        self.database.load([record | {"trade_id": "z", "seq": 20000 + record["seq"]} for record in more[:201]])
        self.assertEqual(self.database.run("SELECT set_aside FROM blotter_internal.book('{crowd}', 4000)"), [(201,)])  # of an id that nothing had before
        self.assertEqual(self.database.run(fills), [(151, 151)])
        self.database.load(again)  # what is known comes as often as it likes
        self.database.book_all("crowd")
        self.assertEqual(self.database.run(fills), [(151, 151)])
        self.assertEqual(self.database.run("SELECT count(*) FROM blotter_internal.book_errors"), [(len(more) + 201,)])


class Work(Case):
    """What a booking reads, in rows, by PostgreSQL's own count: seconds would depend on the machine."""

    READ = """SELECT sum(pg_stat_get_xact_tuples_returned(c.oid)) FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
              WHERE coalesce(i.indrelid, c.oid) IN ('blotter_internal.fill'::regclass, 'blotter_internal.position'::regclass, 'blotter.orders'::regclass,
                                                    'blotter_internal.position_hour'::regclass, 'blotter_internal.position_checkpoint'::regclass,
                                                    'blotter_internal.rolled_fill'::regclass)"""

    CALLS = """SELECT coalesce(sum(f.calls), 0) FROM pg_stat_xact_user_functions f JOIN pg_proc p ON p.oid = f.funcid
               WHERE p.provolatile = 'v' AND p.proname <> 'is_bloated'"""

    def setUp(self):
        super().setUp()
        self.seqs = itertools.count(1)

    def fill(self, trade, at, **more):
        record = {"kind": "order", "producer_id": 7, "seq": next(self.seqs), "recorded_at": START + at, "exchange_time": START + at, "exchange": "work"}
        record |= {"account": "main", "symbol": "BTC/USDT", "side": ("buy", "sell")[trade % 3 == 0], "trade_id": f"t{trade}", "last_price": "100", "last_quantity": "1"}
        return record | more

    def book(self, database):
        """Books what is queued; rows booked, rows read for it."""
        database.run("BEGIN")
        before = database.run(self.READ)[0][0]
        booked = database.book("work", 4000)
        read = database.run(self.READ)[0][0] - before
        database.run("COMMIT")
        return booked, read

    def test_a_fill_is_read_for_by_its_keys_however_many_there_are(self):
        database = self.new_database("work_keys")
        for batch in range(6):
            orders = range(batch * 100, batch * 100 + 100)
            for order in orders:
                database.learn_order({"exchange": "work", "account": "main", "order_id": f"o{order}", "strategy": f"s{order % 5}"})
            database.load([self.fill(2 * order + i, 2 * order + i, order_id=f"o{order}") for order in orders for i in range(2)])
            booked, read = self.book(database)
            self.assertGreaterEqual(booked, 200)
            self.assertLess(read, 12 * booked, f"batch {batch}")
        self.assertEqual(database.run("SELECT sum(fills) FROM blotter.positions WHERE strategy <> ''"), [(1200,)])

    def test_a_booking_after_a_roll_reads_no_more(self):
        database = self.new_database("work_rolled")
        for hour in range(6):
            trades = range(hour * 200, hour * 200 + 200)
            database.load([self.fill(trade, hour * HOUR + trade, strategy=f"s{trade % 5}") for trade in trades])
            booked, read = self.book(database)
            self.assertEqual(booked, 200)
            self.assertLess(read, 12 * booked, f"hour {hour}")
            roll(database, hour_of(hour))
            if hour > 1:
                again = [self.fill(trade, (hour - 2) * HOUR + trade, strategy=f"s{trade % 5}") for trade in range(hour * 200 - 400, hour * 200 - 200)]
                database.load(again)
                booked, read = self.book(database)
                self.assertEqual(booked, 200)
                self.assertLess(read, 5 * booked, f"copies of hour {hour - 2}")
        self.assertEqual(database.run("SELECT sum(fills) FROM blotter.positions"), [(1200,)])
        self.assertEqual(database.run("SELECT (SELECT count(*) FROM blotter_internal.fill), (SELECT count(*) FROM blotter_internal.rolled_fill)"), [(200, 1000)])

    def sides(self, trades, sides=("buy", "sell")):
        return [self.fill(t, 1000 * t, side=s, order_id=f"{s}{t}", strategy=f"s{t % 3}", fee="0.1", fee_currency="USDT") for t in trades for s in sides]

    def steps(self, database, records):
        """Loads and books them; how often functions that write were called for it."""
        database.load(records)
        database.run("BEGIN")
        before = database.run(self.CALLS)[0][0]
        self.assertEqual(database.book("work", 4000), len(records))
        after = database.run(self.CALLS)[0][0]
        database.run("COMMIT")
        return after - before

    def test_self_trades_take_no_more_steps_than_other_fills(self):
        self.database = database = self.new_database("work_selves")
        database.run("SET track_functions = 'pl'")
        records = [self.sides(range(low, high)) for low, high in ((0, 9), (9, 18), (18, 318))]
        few, many = [self.steps(database, batch) for batch in records][1:]
        self.assertEqual(many, few)
        # whose sides come in different bookings
        for low, high in ((400, 409), (409, 418), (418, 718)):
            both = [self.sides(range(low, high), (side,)) for side in ("buy", "sell")]
            few, many = many, [self.steps(database, batch) for batch in both][1]
            records += both
        self.assertEqual(many, few)
        records = list(itertools.chain(*records))
        again = [record | {"seq": next(self.seqs)} for record in random.sample(records, 320)]
        self.assertEqual(self.steps(database, again[:10]), self.steps(database, again[10:]))
        self.assert_books(types.SimpleNamespace(records=records + again, orders=[], exchange="work"), "self-trades")

    def test_a_late_fill_reads_no_more_than_the_fills_since_a_checkpoint(self):
        database = self.new_database("work_late")
        for batch in range(10):
            database.load([self.fill(i, 1000 * i, strategy="s") for i in range(batch * 200, batch * 200 + 200)])
            self.book(database)
        late = [self.fill(5000 + i, 1000 * (1990 - i) + 1, strategy="s") for i in range(5)]
        for record in late:
            database.load([record])
            booked, read = self.book(database)
            self.assertEqual(booked, 1)
            self.assertLess(read, 400)
        # a fee that comes later moves nothing, so nothing is computed again
        database.load([self.fill(3, 3000, strategy="s", fee="0.1", fee_currency="USDT") | {"kind": "order"}])
        self.assertLess(self.book(database)[1], 50)
        at_once = self.positions_of(database)
        database.run("SELECT blotter_internal.rebuild_positions()")
        self.assertEqual(self.positions_of(database), at_once)

    def test_a_booking_looks_at_old_blocks_if_it_finds_fewer_records_than_wait(self):
        database = self.new_database("work_blocks")
        book = "SELECT booked, records, looked, last_block FROM blotter_internal.book('{work}', 4000, %s, false, %s)"
        database.load([self.fill(i, 1000 * i, strategy="s") for i in range(300)])
        booked, records, looked, block = database.run(book, 0, 0)[0]
        self.assertEqual((booked, records, looked), (300, 300, True))
        database.run("VACUUM (TRUNCATE off) blotter_internal.book_queue")
        database.load([self.fill(1000 + i, 1000 * i, strategy="s") for i in range(5)])
        self.assertEqual(database.run("SELECT max(ctid) < format('(%s,0)', %s)::tid FROM blotter_internal.book_queue".replace("'(%s", "'(%%s"), block), [(True,)])
        self.assertEqual(database.run(book, block, 0)[0][:3], (0, 0, False))
        self.assertEqual(database.run(book, block, 5)[0][:3], (5, 5, True))

    def test_positions_at_reads_no_more_for_a_time_long_ago_than_for_one_just_now(self):
        database = self.new_database("work_at")
        for batch in range(4):
            records = [self.fill(i, i * HOUR // 100, strategy=f"s{i % 2}", fee="0.1", fee_currency="USDT") for i in range(batch * 500, batch * 500 + 500)]
            database.load(records)
            self.book(database)
        for hours in (1, 10, 19, 19.9):
            database.run("SELECT pg_stat_force_next_flush()")
            database.run("BEGIN READ ONLY")  # as on a standby
            rows = database.run("SELECT fills, (fees ->> 'USDT')::numeric FROM blotter.positions_at(%s)", time_of(START + round(hours * HOUR) - HOUR // 1000))
            read = database.run(self.READ)[0][0]
            database.run("COMMIT")
            self.assertEqual(rows, [(round(hours * 50), Decimal(round(hours * 50)) / 10)] * 2)
            self.assertLess(read, 600, f"after {hours} hours")  # of 2,000 fills: those of the hour, for each position, and counted

    def positions_of(self, database):
        return database.run(
            "SELECT quantity, open_cost, realized_pnl, fee, fills, last_fill_at, last_trade_id FROM blotter_internal.position"
            " UNION ALL SELECT quantity, open_cost, realized_pnl, fee, fills, hour, '' FROM blotter_internal.position_hour ORDER BY 6, 7"
        )


class Reading(Case):
    def test_no_question_reads_a_day_that_it_does_not_need(self):
        self.database.run("CREATE DATABASE reading TEMPLATE migrated")
        conninfo = servers.settings["BLOTTER_POSTGRES"] + " dbname=reading"
        bench = support.TREE / "tests/bench/bench_reading.py"
        done = subprocess.run([sys.executable, bench, conninfo, "20000", "8", "50"], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("pnl of today by strategy", done.stdout)


class Values(Case):
    """What is worth how much in which currency, and what is not known."""

    seqs = itertools.count(50000)

    def load(self, exchange, *records):
        for record in records:
            seq = next(self.seqs)
            self.database.load([{"producer_id": 9, "seq": seq, "recorded_at": START + seq, "exchange": exchange} | record])
        self.database.book_all(exchange)

    def trade(self, symbol, trade_id, side, quantity, price=None, day=0, **more):
        more |= {"strategy": "s", "symbol": symbol, "trade_id": str(trade_id), "side": side, "quantity": quantity, "exchange_time": START + day * 24 * HOUR}
        return {"kind": "trade", "price": price} | more

    def pnl(self, exchange, by, to=10):
        """(keys, currency) -> net PnL of whole days."""
        rows = self.database.run(
            "SELECT start, symbol, currency, net_pnl FROM blotter.pnl(date_trunc('day', %s, 'UTC'), date_trunc('day', %s, 'UTC'), %s) WHERE exchange = %s",
            time_of(START), time_of(START + to * 24 * HOUR), "exchange," + by, exchange,
        )  # fmt: skip
        return {tuple(v.day if isinstance(v, datetime.datetime) else v for v in row[:-1] if v is not None): row[-1] for row in rows}

    def equity(self, exchange, step):
        """As pnl's, of a strategy that this exchange alone has."""
        rows = self.database.run("SELECT at, currency, equity FROM blotter.equity(%s, date_trunc('day', %s, 'UTC'), step => %s)", "s-" + exchange, time_of(START), step)
        return [(at.day, currency, equity) for at, currency, equity in rows]

    def test_fees_of_a_quanto_contract_are_listed_by_their_currency(self):
        """Its PnL is in neither base nor quote, so its price is no rate for them."""
        instrument = {"kind": "instrument", "symbol": "C/USD:BTC", "market_type": "swap", "base": "C", "quote": "USD", "settle": "BTC", "contract_size": "0.001", "linear": False, "inverse": False}
        fees = [("1", "C", "0.5"), ("2", "USD", "3"), ("3", "BTC", "0.01")]
        self.load("quanto", instrument, *[self.trade("C/USD:BTC", n, "buy", "1", "100", fee=fee, fee_currency=currency) for n, currency, fee in fees])
        expected = {("C",): Decimal("-0.5"), ("USD",): Decimal("-3"), ("BTC",): Decimal("-0.01")}
        self.assertEqual(self.pnl("quanto", "exchange"), expected)
        self.assertEqual(self.pnl("quanto", "symbol"), {("C/USD:BTC", *key): value for key, value in expected.items()})

    def test_an_option_is_worth_its_price_in_what_it_is_settled_in(self):
        symbol = "BTC/USD:BTC-261225-100000-C"
        fills = [self.trade(symbol, 1, "buy", "2", "0.05", cost="40"), self.trade(symbol, 2, "sell", "2", "0.07", cost="28.5", fee="0.001", fee_currency="BTC")]
        self.load("option-unknown", *fills)
        self.assertEqual(self.pnl("option-unknown", "exchange"), {("BTC",): Decimal("0.039")})
        instrument = {"kind": "instrument", "symbol": symbol, "market_type": "option", "base": "BTC", "quote": "USD", "settle": "BTC", "contract_size": "1", "linear": False, "inverse": True}
        self.load("option", instrument, *fills)
        self.assertEqual(self.pnl("option", "exchange"), {("BTC",): Decimal("0.039")})

    def test_market_types_do_not_tell_copies_of_one_symbol_apart(self):
        """One says linear, the other swap, a third nothing. Raw symbols are told apart: a venue has BTCUSDT twice."""
        for symbol, count in (("C/USDT:USDT", 1), ("CUSDT", 2)):
            copies = [self.trade(symbol, 1, "buy", "1", "100", order_id="o", market_type=name) for name in ("linear", "swap")]
            self.load("typed", *(copies if count == 2 else [*copies, self.trade(symbol, 1, "buy", "1", "100", market_type="swap"), self.trade(symbol, 1, "buy", "1", "100")]))
            rows = self.database.run("SELECT differs FROM blotter.fills WHERE exchange = 'typed' AND symbol = %s", symbol)
            self.assertEqual(rows, [(["market_type"],)] if count == 1 else [([],), ([],)])

    def test_a_missing_price_hides_its_own_pnl_and_nothing_else(self):
        gain = [self.trade("C/USDT", 1, "buy", "1", "100"), self.trade("C/USDT", 2, "sell", "1", "105")]
        later = self.trade("D/USDT", 3, "buy", "1", "8", day=1, order_id="o3")
        event = later | {"kind": "order", "last_quantity": "1", "fee": "1", "fee_currency": "BNB"}
        unpriced = [{name: value for name, value in event.items() if name not in ("price", "quantity")}, self.trade("D/USDT", 4, "sell", "1", "7", day=2)]
        own = [record | {"strategy": "s-unpriced"} for record in gain + unpriced]
        self.load("unpriced", *own)
        first = time_of(START).day
        self.assertEqual(self.pnl("unpriced", "day"), {(first, "USDT"): 5, (first + 1, "USDT"): None, (first + 1, "BNB"): -1, (first + 2, "USDT"): None})
        self.assertEqual(self.pnl("unpriced", "symbol"), {("C/USDT", "USDT"): 5, ("D/USDT", "USDT"): None, ("D/USDT", "BNB"): -1})
        self.assertEqual(self.pnl("unpriced", "exchange"), {("USDT",): None, ("BNB",): -1})
        for step in ("day", "hour"):
            expected = [(first + 1, "BNB", -1), (first, "USDT", 5), (first + 1, "USDT", None), (first + 2, "USDT", None)]
            self.assertEqual(self.equity("unpriced", step), expected, step)
        self.load("unpriced", later | {"strategy": "s-unpriced"})
        self.assertEqual(self.pnl("unpriced", "exchange"), {("USDT",): 4, ("BNB",): -1})
        self.assertEqual([row for row in self.equity("unpriced", "day") if row[1] == "USDT"][-1], (first + 2, "USDT", 4))

    def test_a_fee_is_one_copy_s_amount_and_currency(self):
        """Not the sum of what several say, nor an amount of one in the currency of another that has none."""
        single, several = {"fee": "0.001", "fee_currency": "BNB"}, {"fee": "0.5", "fee_currency": "USDT", "fees": {"USDT": "0.5", "KCS": "1"}}
        nameless = {"fee": "2"}
        for n, (feed, venue, expected) in enumerate([
            (several, single, {"BNB": Decimal("0.001")}), (single, several, {"USDT": Decimal("0.5"), "KCS": 1}), (single, {"fee_currency": "KCS"}, {"BNB": Decimal("0.001")}),
            (single, nameless, {"BNB": 2}),
        ]):  # fmt: skip
            copies = [self.trade("C/USDT", 1, "buy", "1", "5", **feed), self.trade("C/USDT", 1, "buy", "1", "5", origin="venue", **venue)]
            for order, records in enumerate(itertools.permutations([*copies, copies[0]])):
                for together in True, False:
                    exchange = f"fees-{n}-{order}-{together}"
                    for some in [records] if together else [[record] for record in records]:
                        self.load(exchange, *some)
                    rows = self.database.run("SELECT fees::text FROM blotter.positions WHERE exchange = %s", exchange)
                    self.assertEqual([amounts(text) for text, in rows], [{c: Fraction(a) for c, a in expected.items()}], (feed, venue, exchange))

    def test_a_contract_that_no_instrument_describes_is_assumed(self):
        """Whatever its symbol looks like; without a type BASE/QUOTE is spot."""
        types = ["spot", "margin", "swap", "future", "option", None]
        self.load("assumed", *[self.trade("C/USDT", n, "buy", "1", "5", market_type=name) for n, name in enumerate(types, 1)])
        rows = dict(self.database.run("SELECT market_type, assumed FROM blotter.positions WHERE exchange = 'assumed'"))
        self.assertEqual(rows, {"spot": False, "margin": False, "swap": True, "future": True, "option": True, "": False})
        instrument = {"kind": "instrument", "symbol": "C/USDT", "base": "C", "quote": "USDT"}
        self.load("assumed", instrument | {"market_type": "swap"}, instrument | {"market_type": "future", "contract_size": "10"})
        rows = dict(self.database.run("SELECT market_type, assumed FROM blotter.positions WHERE exchange = 'assumed'"))
        self.assertEqual(rows, {"spot": False, "margin": False, "swap": True, "future": False, "option": True, "": False})

    def test_margin_trades_the_symbols_of_the_spot_market(self):
        """So a raw symbol's currencies are those of the spot instrument."""
        instrument = {"kind": "instrument", "symbol": "CUSDT", "base": "C", "quote": "USDT", "market_type": "spot"}
        fill = self.trade("CUSDT", 1, "buy", "2", "5", fee="0.5", fee_currency="C", market_type="margin")
        for exchange, records in ("margin", (instrument, fill)), ("margin-late", (fill, instrument)):
            self.load(exchange, *records)
            self.assertEqual(self.database.run("SELECT quantity, currency FROM blotter.positions WHERE exchange = %s", exchange), [(Decimal("1.5"), "USDT")])

    def test_positions_at_knows_what_came_before_a_missing_price(self):
        priced = [self.trade("D/USDT", 1, "buy", "1", "8"), self.trade("D/USDT", 2, "sell", "2", "9", day=1)]
        event = {name: value for name, value in self.trade("D/USDT", 3, "buy", "3", day=2).items() if name not in ("price", "quantity")}
        self.load("missing-later", *priced, event | {"kind": "order", "order_id": "o3", "last_quantity": "3"})
        sql = "SELECT quantity, average_price, realized_pnl, open_cost FROM blotter.positions_at(%s) WHERE exchange = 'missing-later'"
        for day, expected in (1, (1, 8, 0, 8)), (2, (-1, 9, 1, 9)), (3, (2, None, None, None)):
            self.assertEqual(self.database.run(sql, time_of(START + day * 24 * HOUR)), [expected], day)

    def test_a_price_of_0_is_a_price(self):
        self.load("gift", self.trade("C/USDT", 1, "buy", "2", "0"))
        self.assertEqual(self.database.run("SELECT average_price FROM blotter.positions WHERE exchange = 'gift'"), [(0,)])

    def test_what_is_open_and_not_known_has_a_row(self):
        """Without one it would look like nothing."""
        self.load("unknown-open", self.trade("C/USDT:USDT", 1, "buy", "2", "5"))
        sql = "SELECT strategy, realized_pnl, unrealized_pnl FROM blotter.pnl(%s, %s, 'strategy,exchange') WHERE exchange = 'unknown-open'"
        self.assertEqual(self.database.run(sql, time_of(START + 24 * HOUR), time_of(START + 48 * HOUR)), [("s", 0, None)])

    def test_equity_says_what_a_day_or_hour_came_to_whichever_moment_of_it_is_asked_for(self):
        self.load("whole", self.trade("C/USDT", 1, "buy", "1", "100", fee="1", fee_currency="BNB") | {"strategy": "s-whole", "exchange_time": START + 5_000_000})
        for step in ("day", "hour"):
            sql = "SELECT equity FROM blotter.equity('s-whole', date_trunc('day', %s, 'UTC'), date_trunc(%s, %s, 'UTC') + interval '1 s', step => %s)"
            self.assertEqual(self.database.run(sql, time_of(START), step, time_of(START), step), [(-1,)], step)

    def test_funding_stays_with_the_strategy_that_said_it_is_its_own(self):
        """The venue's list, which comes later, knows no strategies. Of two that say so, and of amounts, the latest counts."""
        entry = {"kind": "cash", "producer_id": 9, "account": "main", "type": "funding", "entry_id": "f1", "currency": "USDT", "symbol": "C/USDT:USDT", "exchange_time": START}
        records = [
            entry | {"seq": 1, "recorded_at": START + 1, "strategy": "first", "market_type": "swap", "amount": "1", "status": "pending"},
            entry | {"seq": 2, "recorded_at": START + 2, "strategy": "second", "amount": "2"},
            entry | {"seq": 3, "recorded_at": START + 3, "amount": "3"},
        ]
        for n, order in enumerate(itertools.permutations(records)):
            for together in True, False:
                exchange = f"funding-{n}-{together}"
                some = [record | {"exchange": exchange} for record in order]
                for batch in [some] if together else [[record] for record in some]:
                    self.database.load([record | {"seq": record["seq"] + 60_000 + 10 * n + 100 * together} for record in batch])
                    self.database.book_all(exchange)
                rows = self.database.run("SELECT strategy, market_type, (funding ->> 'USDT')::numeric FROM blotter.positions WHERE exchange = %s AND funding <> '{}'", exchange)
                self.assertEqual(rows, [("second", "swap", 3)], (order, together))
                self.assertEqual(self.database.run("SELECT strategy, funding FROM blotter_internal.pnl_day WHERE exchange = %s AND funding <> 0", exchange), [("second", 3)])

    def test_equity_has_a_row_where_something_changed(self):
        """Not of the second day, whose fees cancel."""
        fees = [("1", 0), ("0.5", 1), ("-0.5", 1), ("2", 2)]
        self.load("cancels", *[self.trade("C/USDT", n, "buy", "1", "100", day=day, fee=fee, fee_currency="BNB") | {"strategy": "s-cancels"} for n, (fee, day) in enumerate(fees, 1)])
        first = time_of(START).day
        for step in ("day", "hour"):
            self.assertEqual(self.equity("cancels", step), [(first, "BNB", -1), (first + 2, "BNB", -3)], step)


class OtherPeoplesNumbers(Case):
    """Their published examples. Where they mean something else by a word, what ours is then."""

    seqs = itertools.count(1000)

    def trade(self, exchange, fills, fee=None, **more):
        for i, (side, quantity, price) in enumerate(fills, 1):
            record = {"kind": "trade", "producer_id": 8, "seq": next(self.seqs), "recorded_at": START + i, "exchange": exchange, "account": "main", "trade_id": f"t{i}"}
            record |= {"side": side, "quantity": quantity, "price": price} | more
            if fee is not None:
                record |= {"fee": str(Decimal(quantity) * Decimal(price) * Decimal(fee)), "fee_currency": "USDT"}
            self.database.load([record])
        self.database.book_all(exchange)
        return self.database.run("SELECT quantity, average_price, realized_pnl, (fees ->> 'USDT')::numeric FROM blotter.positions WHERE exchange = %s", exchange)[0]

    def test_nautilus_trader(self):
        """Its position test after Trading Technologies' example: avg_px_open the same; its realized_pnl is ours less fees."""
        fills = [("buy", "12", "100"), ("buy", "17", "99"), ("sell", "9", "101"), ("sell", "4", "105"), ("buy", "3", "103")]
        quantity, average, realized, fees = self.trade("nautilus", fills, "0.0001", symbol="ETH/USDT", market_type="spot")
        self.assertEqual(quantity, 19)
        self.assertEqual(float(average), 99.98003629764065)
        self.assertEqual(round(realized - fees, 8), Decimal("36.16858966"))

    def test_freqtrade(self):
        """open_rate of three entries, without fees; its profit is ours less fees."""
        fills = [("buy", "100", "1"), ("buy", "125", "0.9"), ("buy", "150", "0.85")]
        quantity, average, _, _ = self.trade("freqtrade", fills, "0.0025", symbol="ADA/USDT", market_type="spot")
        self.assertEqual((quantity, float(average)), (375, 340 / 375))
        _, average, realized, fees = self.trade("freqtrade-closed", [*fills, ("sell", "375", "1")], "0.0025", symbol="ADA/USDT", market_type="spot")
        self.assertIsNone(average)
        self.assertEqual(realized - fees, Decimal("375") * Decimal("0.9975") - Decimal("340") * Decimal("1.0025"))

    def test_ccxt(self):
        """A position of Binance's documentation, as ccxt gives it: entryPrice, markPrice and unrealizedPnl."""
        now = microseconds_of(datetime.datetime.now(datetime.timezone.utc))
        self.database.run("SELECT blotter_internal.make_day(blotter_internal.today())")
        instrument = {"kind": "instrument", "producer_id": 8, "seq": 77, "recorded_at": START, "exchange": "ccxt", "symbol": "BTC/USDT:USDT", "market_type": "swap"}
        self.database.load([instrument | {"base": "BTC", "quote": "USDT", "settle": "USDT", "contract_size": "1", "linear": True, "inverse": False}])
        quantity, average, _, _ = self.trade("ccxt", [("buy", "20.000", "6563.66500")], symbol="BTC/USDT:USDT", market_type="swap")
        self.assertEqual((quantity, average), (20, Decimal("6563.665")))
        self.database.insert(
            "blotter.venue_positions",
            {"producer_id": 8, "seq": 78, "recorded_at": time_of(now), "exchange": "ccxt", "symbol": "BTC/USDT:USDT", "mark_price": "6679.50671178"},
        )
        rows = self.database.run("SELECT unrealized_pnl FROM blotter.pnl(%s, now() + interval '1 s', 'exchange') WHERE exchange = 'ccxt'", time_of(START))
        self.assertEqual(rows, [(Decimal("2316.83423560"),)])

    def test_first_in_first_out(self):
        self.trade("fifo", [("buy", "12", "100"), ("buy", "17", "99"), ("sell", "15", "101")], symbol="ETH/USDT", market_type="spot")
        rows = self.database.run("SELECT quantity, cost, proceeds, realized_pnl FROM blotter.fifo(%s, of_exchange => 'fifo')", time_of(START))
        self.assertEqual(rows, [(12, 1200, 1212, 12), (3, 297, 303, 6)])


class Drainers(Case):
    """Through the whole path: publish, Redis, drain."""

    def publish(self, exchange, first, count, lane=None):
        lines = "".join(
            json.dumps({"kind": "trade", "trade_id": f"k{i}", "account": "main", "strategy": f"s{i % 3}", "symbol": "BTC/USDT", "side": ("buy", "sell")[i % 7 == 0]}
                       | {"price": str(100 + i % 13), "quantity": "0.25", "fee": "0.01", "fee_currency": "USDT"}) + "\n"
            for i in range(first, first + count)
        )  # fmt: skip
        lane = ("--lane", lane) if lane else ()
        publish = servers.start(servers.program, "publish", "--exchange", exchange, *lane, stdin=-1, stdout=subprocess.DEVNULL, text=True)
        publish.communicate(lines, timeout=support.TIMEOUT)
        self.assertEqual(publish.returncode, 0)

    def stored(self, exchange):
        return servers.query("SELECT count(*) AS n FROM blotter.trades WHERE exchange = %s", exchange)[0]["n"]

    def end(self, exchange, total):
        """Drains what is left, and compares."""
        code, said = servers.run("drain", "--once")
        self.assertEqual(code, 0, said)
        self.assertEqual(servers.query("SELECT count(*) AS n FROM blotter_internal.book_queue"), [{"n": 0}])
        expected = {}
        for i in range(total):
            sums = expected.setdefault(f"s{i % 3}", [Decimal(0), 0, Decimal(0)])
            sums[0] += Decimal("0.25") * (-1 if i % 7 == 0 else 1)
            sums[1] += 1
            sums[2] += Decimal("0.01")
        rows = servers.query("SELECT strategy, quantity, fills, (fees ->> 'USDT')::numeric AS fees FROM blotter.positions WHERE exchange = %s AND market_type = ''", exchange)
        self.assertEqual({row["strategy"]: [row["quantity"], row["fills"], row["fees"]] for row in rows}, expected)

    def test_drainers_that_are_killed_book_each_fill_once(self):
        total = 0
        for _ in range(30 if support.ALL else 4):
            drainers = [servers.drain() for _ in range(2)]
            stored = self.stored("killed")
            self.publish("killed", total, 400, "two" if total % 800 else None)
            total += 400
            with contextlib.suppress(AssertionError):  # in the midst of it, wherever that is
                support.wait_until(lambda: self.stored("killed") > stored, 5)
            for drainer in drainers:
                drainer.send_signal(signal.SIGKILL)
                drainer.wait()
        self.end("killed", total)

    def hold(self, key):
        """Holds an advisory lock in a session of its own; returns what lets it go."""
        holder = Database()
        holder.run(f"SELECT pg_advisory_lock(blotter_internal.lock_class(), {key})")

        def let_go():
            with contextlib.suppress(psycopg2.Error):  # PostgreSQL was killed meanwhile
                holder.__exit__()

        self.addCleanup(let_go)
        return let_go

    def queued(self, exchange):
        return servers.query("SELECT count(*) AS n FROM blotter_internal.book_queue WHERE exchange = %s", exchange)[0]["n"]

    def start_drainer(self, *options):
        """Returns it and what reads its log."""
        path = servers.folder / f"{self.id()}.log"
        with path.open("w") as file:
            drainer = servers.start(servers.program, "drain", *options, stderr=file)
        return drainer, path.read_text

    def test_rolling_that_is_killed_leaves_the_books_whole_and_the_next_run_goes_on(self):
        """Between two pieces, while a drainer books: the second waits for the lock that bookings take."""
        exchanges, old = ("rolled", "rolled-last"), microseconds_of(datetime.datetime.now(datetime.timezone.utc)) - 9 * 24 * HOUR
        with Database() as database:
            database.run("SELECT blotter_internal.make_day(%s)", time_of(old).date())
            for exchange in exchanges:
                trade = {"kind": "trade", "producer_id": 77, "exchange": exchange, "account": "main", "strategy": "s0", "symbol": "BTC/USDT", "market_type": "spot"}
                ids = ((i, i + 1000 * exchanges.index(exchange)) for i in range(1, 101))
                database.load([trade | {"seq": seq, "recorded_at": old + i, "trade_id": f"t{i}", "side": ("buy", "sell")[i % 3 == 0], "price": str(100 + i % 9), "quantity": "2"} for i, seq in ids])
                database.book_all(exchange)
        known = "SELECT exchange, symbol, quantity, average_price, realized_pnl, fills FROM blotter.positions WHERE exchange IN ('rolled', 'rolled-last') AND strategy = 's0' AND market_type = 'spot' ORDER BY 1"
        left = "SELECT p.exchange, count(f) AS n FROM blotter_internal.position p LEFT JOIN blotter_internal.fill f ON f.position_id = p.id WHERE p.exchange IN ('rolled', 'rolled-last') AND market_type = 'spot' GROUP BY 1 ORDER BY 1"
        waiting = "SELECT count(*) AS n FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'blotter partitions' AND l.locktype = 'advisory' AND NOT l.granted"
        before, drainer = servers.query(known), servers.drain()
        self.assertEqual([row["fills"] for row in before], [100, 100])
        code, said = servers.run("partitions", "roll", "--older-than", "1d")
        self.assertEqual((code, "less than two days ago" in said), (2, True), said)
        code, said = servers.run("partitions", "roll", "--older-than", "3d", "--dry-run", "--json")
        self.assertEqual(code, 0, said)
        would = [row for row in json.loads(said)["exchanges"] if row["exchange"] in exchanges]
        self.assertEqual(would, [{"exchange": exchange, "positions": 1, "fills": 100, "unsure": 0} for exchange in exchanges])
        for victim in ("program", "postgres"):
            let_go = self.hold("hashtext('rolled-last books')")
            run = servers.start(servers.program, "partitions", "roll", "--older-than", "3d", "--lock-timeout", "5m")
            support.wait_until(lambda: servers.query(waiting)[0]["n"] == 1)
            self.publish("rolled", 100 * (victim == "postgres"), 100)
            if victim == "program":
                run.kill()
            else:
                servers.tell("kill postgres")
                servers.tell("start postgres")
            self.assertNotEqual(run.wait(support.TIMEOUT), 0)
            let_go()
            support.wait_until(lambda: servers.query("SELECT FROM pg_stat_activity WHERE application_name = 'blotter partitions'") == [])
            self.assertEqual([row["n"] for row in servers.query(left)][0], 0)
            self.assertEqual(servers.query(known), before)
        code, said = servers.run("partitions", "roll", "--older-than", "3d")
        self.assertEqual(code, 0, said)
        self.assertEqual([row["n"] for row in servers.query(left)], [0, 0])
        self.assertEqual(servers.query(known), before)
        drainer.terminate()
        self.assertEqual(drainer.wait(support.TIMEOUT), 0)
        self.end("rolled", 200)

    def test_a_stop_waits_for_a_backlog_of_the_books(self):
        let_go = self.hold("hashtext('backlog books')")
        drainer, log = self.start_drainer()
        self.publish("backlog", 0, 20000)
        support.wait_until(lambda: self.stored("backlog") == 20000)
        self.assertEqual(self.queued("backlog"), 20000)
        drainer.terminate()
        support.wait_until(lambda: "stopping: SIGTERM" in log())
        let_go()
        self.assertEqual(drainer.wait(support.TIMEOUT), 0)
        self.assertEqual(self.queued("backlog"), 0)
        self.end("backlog", 20000)

    def test_a_stop_that_may_not_wait_says_how_much_is_left(self):
        let_go = self.hold("hashtext('left books')")
        drainer, log = self.start_drainer("--stop-timeout", "100ms")
        self.publish("left", 0, 300)
        support.wait_until(lambda: self.stored("left") == 300)
        drainer.terminate()
        self.assertEqual(drainer.wait(support.TIMEOUT), 0)
        self.assertIn("stopped with at least 300 rows to be booked", log())
        let_go()
        self.end("left", 300)

    def test_whoever_is_killed_before_in_and_after_a_booking_each_fill_is_booked_once(self):
        servers.query("CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_advisory_xact_lock_shared(blotter_internal.lock_class(), 77); RETURN NEW; END$$")
        servers.query("CREATE TRIGGER hold BEFORE UPDATE ON blotter_internal.position FOR EACH ROW WHEN (NEW.exchange = 'place') EXECUTE FUNCTION public.hold()")
        self.addCleanup(servers.query, "DROP FUNCTION public.hold CASCADE")
        waiting = "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND NOT granted"
        booked = "SELECT coalesce(sum(fills), 0) AS n FROM blotter.positions WHERE exchange = 'place'"
        total = 0
        for place, victim in itertools.product(("before", "in", "after"), ("drainer", "postgres")):
            with self.subTest(f"{victim} killed {place} a booking"):
                let_go = self.hold({"before": "hashtext('place books')", "in": "77", "after": "78"}[place])
                drainer = servers.drain()
                self.publish("place", total, 100)
                total += 100
                support.wait_until(lambda: self.stored("place") == total)
                if place == "in":
                    support.wait_until(lambda: servers.query(waiting)[0]["n"] > 0)
                elif place == "after":
                    support.wait_until(lambda: servers.query(booked)[0]["n"] == total)
                if place != "after":
                    self.assertEqual((self.queued("place"), servers.query(booked)[0]["n"]), (100, total - 100))
                if victim == "drainer":
                    drainer.kill()
                    drainer.wait()
                else:
                    servers.tell("kill postgres")
                    servers.tell("start postgres")
                let_go()
                if victim == "postgres":
                    support.wait_until(lambda: self.queued("place") == 0)
                    drainer.terminate()
                    self.assertEqual(drainer.wait(support.TIMEOUT), 0)
                self.end("place", total)

    def test_a_postgresql_that_is_killed_books_each_fill_once(self):
        """One of its processes that load or book dies, and all the others with it. Two drainers, two lanes, one exchange."""
        seed = random.randrange(10**6)
        print(f"# seed {seed}", flush=True)
        dice, total = random.Random(seed), 0
        drainers = [servers.drain() for _ in range(2)]
        for _ in range(30 if support.ALL else 3):
            stored = self.stored("pgkilled")
            self.publish("pgkilled", total, 300)
            self.publish("pgkilled", total + 300, 300, "two")
            total += 600
            support.wait_until(lambda: self.stored("pgkilled") - stored > dice.randint(0, 500))
            servers.tell("kill postgres")
            servers.tell("start postgres")
        support.wait_until(lambda: self.stored("pgkilled") == total)
        for drainer in drainers:
            drainer.terminate()
            self.assertEqual(drainer.wait(support.TIMEOUT), 0)
        self.end("pgkilled", total)


if __name__ == "__main__":
    sys.exit(support.main())
