"""What recording one order costs a Python strategy, beside what else it could call.

Every caller gets the same orders, partially filled ones of 20 fields, another dict each time. Measured is one call (where it is
awaited, until it returns) from clock reading to clock reading, so each figure holds the clock's own cost, which stands beside it.
    str      values as the exchange's JSON has them
    float    prices and quantities as floats
    bound    str, with what is the same in all orders of a strategy bound
    ccxt     a ccxt unified order with floats, a fee, and the exchange's own message, which is left out
    ms       str, but one call a millisecond, sleeping in between: caches are cold
All but ms follow each other at BENCH_RATE calls a second, below what the sender sends, so that FULL = 0. The sender runs and Redis is
live. Redis has no persistence, PostgreSQL fsync; SQLite is at its default, a rollback journal and synchronous = FULL.
"""

import asyncio
import itertools
import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))

import asyncpg
import psycopg2
import redis
import redis.asyncio

import figure
import support

import blotter

SAMPLES = 1024  # different orders
BOUND = ("account", "strategy", "symbol", "type", "time_in_force", "fee_currency")
TIMES_FASTER = {"python.str": 300, "python.float": 300, "python.bound": 400}  # than redis-py's XADD, at the median
DECIMALS = ("price", "quantity", "filled_quantity", "average_price", "last_price", "last_quantity", "fee")


def sample(number):
    """As tests/fixture/sample_orders.h has them for C."""
    price, quantity = 60000 + number * 9.97, 0.3 + number % 90 / 10
    return {
        "exchange_time": 1763900000000000000 + number * 1000003, "account": "main-usdm", "strategy": "maker-basis-3",
        "symbol": "BTC/USDT:USDT", "order_id": str(8389765000000000 + number), "client_order_id": f"x-Gs3kQ7-{number:016x}",
        "trade_id": str(4180000000 + number), "event": "fill", "side": ("buy", "sell")[number % 2], "type": "limit",
        "time_in_force": "GTC", "status": "partially_filled", "price": f"{price:.2f}", "quantity": f"{quantity:.3f}",
        "filled_quantity": f"{quantity / 3:.3f}", "average_price": f"{price - 0.25:.4f}", "last_price": f"{price - 0.1:.2f}",
        "last_quantity": f"{quantity / 3:.3f}", "fee": f"{quantity * price / 5000:.8f}", "fee_currency": "USDT",
    }  # fmt: skip


def as_floats(order):
    return order | {name: float(order[name]) for name in DECIMALS}


def as_ccxt(order):
    fee = {"cost": float(order["fee"]), "currency": "USDT"}
    return {
        "info": {"orderId": order["order_id"], "status": "PARTIALLY_FILLED", "price": order["price"]}, "id": order["order_id"],
        "clientOrderId": order["client_order_id"], "timestamp": order["exchange_time"] // 1000000, "datetime": "2025-11-23T12:13:20.000Z",
        "lastTradeTimestamp": order["exchange_time"] // 1000000, "symbol": order["symbol"], "type": "limit", "timeInForce": "GTC",
        "postOnly": False, "reduceOnly": None, "side": order["side"], "price": float(order["price"]), "triggerPrice": None,
        "amount": float(order["quantity"]), "cost": float(order["price"]) / 2, "average": float(order["average_price"]),
        "filled": float(order["filled_quantity"]), "remaining": float(order["quantity"]) / 2, "status": "open", "fee": fee, "fees": [fee],
        "trades": [],
    }  # fmt: skip


PLAIN = [sample(number) for number in range(SAMPLES)]
COLUMNS = tuple(PLAIN[0])


# --- ways of recording: each opens, yields a function of one order, and closes ---


class Way:
    awaited = False
    orders = PLAIN
    calls = 2000
    interval_ns = 0  # one after the other

    def __init__(self, servers):
        self.servers = servers


class Clock(Way):
    calls = 20000

    async def open(self):
        return lambda order: None

    async def close(self):
        pass


class Blotter(Way):
    calls = figure.setting("BENCH_CALLS", 50000)
    interval_ns = 1_000_000_000 // figure.setting("BENCH_RATE", 100000)

    async def open(self):
        self.folder = tempfile.TemporaryDirectory(dir="/dev/shm")
        self.producer = blotter.Producer("bench", journal=self.folder.name)
        support.wait_until(lambda: self.producer.stats().redis_up)
        return self.producer.order

    async def close(self):
        self.producer.flush(support.TIMEOUT, "sent")
        stats = self.producer.stats()
        if stats.full:
            figure.note(f"NOT below the sender's rate: FULL = {stats.full}")
        self.producer.close(0)
        self.folder.cleanup()
        with redis.Redis(unix_socket_path=self.servers.redis_socket) as connection:
            connection.flushall()


class BlotterBound(Blotter):
    orders = [{name: value for name, value in order.items() if name not in BOUND} for order in PLAIN]

    async def open(self):
        await super().open()
        return self.producer.bind(**{name: PLAIN[0][name] for name in BOUND}).order


class BlotterFloat(Blotter):
    orders = [as_floats(order) for order in PLAIN]


class BlotterCcxt(Blotter):
    orders = [as_ccxt(order) for order in PLAIN]


class BlotterMs(Blotter):
    calls = 2000
    interval_ns = 1_000_000


class RedisXadd(Way):
    async def open(self):
        self.connection = redis.Redis(unix_socket_path=self.servers.redis_socket)
        return lambda order: self.connection.xadd("orders", order)

    async def close(self):
        self.connection.close()


class RedisAsyncioXadd(Way):
    awaited = True

    async def open(self):
        self.connection = redis.asyncio.Redis(unix_socket_path=self.servers.redis_socket)
        return lambda order: self.connection.xadd("orders", order)

    async def close(self):
        await self.connection.close()


class Psycopg2Insert(Way):
    async def open(self):
        self.connection = psycopg2.connect(self.servers.settings["BLOTTER_POSTGRES"])
        self.connection.autocommit = True
        cursor = self.connection.cursor()
        cursor.execute(f"CREATE TABLE IF NOT EXISTS psycopg2_orders ({', '.join(f'{name} text' for name in COLUMNS)})")
        insert = f"INSERT INTO psycopg2_orders VALUES ({', '.join(f'%({name})s' for name in COLUMNS)})"
        return lambda order: cursor.execute(insert, order)

    async def close(self):
        self.connection.close()


class AsyncpgInsert(Way):
    awaited = True

    async def open(self):
        where = dict(part.split("=", 1) for part in self.servers.settings["BLOTTER_POSTGRES"].split())
        self.connection = await asyncpg.connect(host=where["host"], port=int(where["port"]), user=where["user"], database=where["dbname"])
        columns = ", ".join(f"{name} {'bigint' if name == 'exchange_time' else 'text'}" for name in COLUMNS)
        await self.connection.execute(f"CREATE TABLE IF NOT EXISTS asyncpg_orders ({columns})")
        insert = f"INSERT INTO asyncpg_orders VALUES ({', '.join(f'${n + 1}' for n in range(len(COLUMNS)))})"
        statement = await self.connection.prepare(insert)
        return lambda order: statement.fetch(*order.values())

    async def close(self):
        await self.connection.close()


class Sqlite3Insert(Way):
    calls = 300

    async def open(self):
        self.folder = tempfile.TemporaryDirectory()
        self.connection = sqlite3.connect(f"{self.folder.name}/orders", isolation_level=None)
        self.connection.execute(f"CREATE TABLE orders ({', '.join(COLUMNS)})")
        insert = f"INSERT INTO orders VALUES ({', '.join('?' * len(COLUMNS))})"
        return lambda order: self.connection.execute(insert, tuple(order.values()))

    async def close(self):
        self.connection.close()
        self.folder.cleanup()


OURS = {"python.str": Blotter, "python.float": BlotterFloat, "python.bound": BlotterBound, "python.ccxt": BlotterCcxt, "python.ms": BlotterMs}
RIVALS = {
    "clock": Clock, "redis_py_xadd": RedisXadd, "redis_asyncio_xadd": RedisAsyncioXadd, "psycopg2_insert": Psycopg2Insert,
    "asyncpg_insert": AsyncpgInsert, "sqlite3_insert": Sqlite3Insert,
}  # fmt: skip


# --- measuring ---


def wait_until(due, interval_ns):
    if interval_ns >= 1_000_000:
        time.sleep(max(0, due - time.perf_counter_ns()) / 1e9)
    while time.perf_counter_ns() < due:
        pass


async def call_awaited(way, call, count):
    clock, times = time.perf_counter_ns, []
    for order in itertools.islice(itertools.cycle(way.orders), count):
        begin = clock()
        await call(order)
        times.append(clock() - begin)
    return times


def call_directly(way, call, count):
    """A call that is late does not make the next ones follow faster."""
    clock, times, due = time.perf_counter_ns, [], time.perf_counter_ns()
    for order in itertools.islice(itertools.cycle(way.orders), count):
        if way.interval_ns:
            due = max(due + way.interval_ns, clock())
            wait_until(due, way.interval_ns)
        begin = clock()
        call(order)
        times.append(clock() - begin)
    return times


async def measure(way):
    call = await way.open()
    for count in (min(1000, way.calls), way.calls):  # the first to warm up
        times = await call_awaited(way, call, count) if way.awaited else call_directly(way, call, count)
    await way.close()
    return sorted(times)


def tell(name, runs, rivals):
    for text, percent in (("p50", 50), ("p99", 99), ("p999", 99.9)):
        value = figure.median([figure.percentile(times, percent) for times in runs])
        beside = {rival: figure.median([figure.percentile(times, percent) for times in its]) for rival, its in rivals.items()}
        target = TIMES_FASTER.get(name) if text == "p50" else None
        figure.add(f"{name}.{text}", value, "ns", beside, ratio=beside["redis_py_xadd"] / value, at_least=target)


def main():
    runs = figure.setting("BENCH_RUNS", 3)
    servers = support.Servers(durable=True)
    servers.redis_socket = servers.settings["BLOTTER_REDIS"].removeprefix("unix://")
    figure.heading(f"python {sys.version.split()[0]}: an order of {len(COLUMNS)} fields in a dict; medians of {runs} runs")
    figure.note(f"hot: {figure.setting('BENCH_RATE', 100000)} calls a second; ms: one a millisecond. The rivals' same percentile beside; x: so many times as long redis-py's XADD takes")
    ways = OURS | RIVALS
    times = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():
            times[name].append(asyncio.run(measure(way(servers))))
    for name in OURS:
        tell(name, times[name], {rival: times[rival] for rival in RIVALS})
    servers.close()


if __name__ == "__main__":
    main()
