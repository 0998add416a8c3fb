"""Ways for a strategy to save an order. Each is opened, called for every order, and closed; then it says how many rows have arrived.

save() is what is measured: a plain function, or a coroutine function that is awaited. `order` is a dict of text, `venue` the name of the
exchange it came from. What a writer reads of the environment, BLOTTER_REDIS and BLOTTER_POSTGRES, run.py has set.
"""

import mmap
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

FIELDS = ("order_id", "symbol", "side", "status", "price", "quantity")
TABLE = f"CREATE TABLE orders (venue text, {', '.join(f'{name} text' for name in FIELDS)})"
ARRIVAL_TIMEOUT = 60  # seconds, for what arrives later


class Writer:
    scheme = "ws"
    records_all = False  # not what is saved, but every message

    def __init__(self, folder):
        self.folder = Path(folder)

    def ssl(self):
        """Of connections to exchanges; None: without."""

    def visible_ns(self):
        """Percentiles of the time from a message's passing to its row's being there; None: not known."""

    async def open(self, venues):
        pass

    async def close(self):
        pass

    def rows(self):
        """How many rows are in the store, once those under way have had time to arrive."""
        return None


class Nothing(Writer):
    """no writer"""

    def save(self, venue, order):
        pass


class Blocking(Writer):
    """2 ms, blocking"""

    def save(self, venue, order):
        time.sleep(0.002)


class BlockingAsync(Writer):
    """2 ms, in async def"""

    async def save(self, venue, order):
        time.sleep(0.002)


class Sqlite(Writer):
    """SQLite, a commit each"""

    async def open(self, venues):
        self.connection = sqlite3.connect(self.folder / "orders.sqlite")
        self.connection.execute(TABLE)
        self.connection.commit()

    def save(self, venue, order):
        self.connection.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)", (venue, *(order[name] for name in FIELDS)))
        self.connection.commit()

    async def close(self):
        self.connection.close()

    def rows(self):
        connection = sqlite3.connect(self.folder / "orders.sqlite")
        (count,) = connection.execute("SELECT count(*) FROM orders").fetchone()
        connection.close()
        return count


class SqliteAsync(Sqlite):
    """SQLite, in async def"""

    async def save(self, venue, order):
        Sqlite.save(self, venue, order)


class Table(Writer):
    """A table of its own in PostgreSQL."""

    def connect(self):
        import psycopg2

        connection = psycopg2.connect(os.environ["BLOTTER_POSTGRES"])
        connection.autocommit = True
        return connection

    async def open(self, venues):
        self.connection = self.connect()
        with self.connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS orders")
            cursor.execute(TABLE)

    def rows(self):
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM orders")
            return cursor.fetchone()[0]


class Psycopg2(Table):
    """psycopg2 INSERT"""

    async def open(self, venues):
        await super().open(venues)
        self.cursor = self.connection.cursor()

    def save(self, venue, order):
        self.cursor.execute("INSERT INTO orders VALUES (%s, %s, %s, %s, %s, %s, %s)", (venue, *(order[name] for name in FIELDS)))


class Asyncpg(Table):
    """asyncpg INSERT, awaited"""

    async def open(self, venues):
        import asyncpg

        await super().open(venues)
        place = dict(part.split("=", 1) for part in self.connection.dsn.split())
        self.pool = await asyncpg.create_pool(
            host=place["host"], port=int(place.get("port", 5432)), user=place["user"], database=place["dbname"], min_size=1, max_size=10
        )

    async def save(self, venue, order):
        await self.pool.execute("INSERT INTO orders VALUES ($1, $2, $3, $4, $5, $6, $7)", venue, *(order[name] for name in FIELDS))

    async def close(self):
        await self.pool.close()


class Redis(Writer):
    """redis-py XADD"""

    async def open(self, venues):
        import redis

        self.client = redis.Redis.from_url(os.environ["BLOTTER_REDIS"])
        self.client.delete("experiment")

    def save(self, venue, order):
        self.client.xadd("experiment", {"venue": venue, **order})

    def rows(self):
        return self.client.xlen("experiment")


class RedisAsync(Redis):
    """redis.asyncio XADD, awaited"""

    async def open(self, venues):
        import redis.asyncio

        await super().open(venues)
        self.asynchronous = redis.asyncio.Redis.from_url(os.environ["BLOTTER_REDIS"])

    async def save(self, venue, order):
        await self.asynchronous.xadd("experiment", {"venue": venue, **order})

    async def close(self):
        await self.asynchronous.close()


class MappedFile(Writer):
    """mmapped file, followed"""

    SLOT = 256  # bytes: length, line
    SLOTS = 1 << 17

    async def open(self, venues):
        path = self.folder / "orders.ring"
        with open(path, "wb") as file:
            file.truncate(self.SLOT * self.SLOTS)
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 0)
        self.at = 0
        self.follower = subprocess.Popen(
            [sys.executable, __file__, str(path), str(self.folder / "orders.txt")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.follower.stdout.readline() == "ready\n"

    def save(self, venue, order):
        line = f"{venue},{','.join(order[name] for name in FIELDS)}\n".encode()
        self.memory[self.at + 2 : self.at + 2 + len(line)] = line
        self.memory[self.at : self.at + 2] = len(line).to_bytes(2, "little")
        self.at += self.SLOT

    async def close(self):
        self.follower.communicate()

    def rows(self):
        with open(self.folder / "orders.txt", "rb") as file:
            return sum(1 for _ in file)


class Blotter(Writer):
    """Blotter"""

    sender, poll_interval_us = "thread", 0

    async def open(self, venues):
        import blotter

        self.producers = {
            venue: blotter.Producer(
                venue, sender=self.sender, poll_interval_us=self.poll_interval_us, journal=self.folder, slots=1 << 16, slot_bytes=512
            )
            for venue in venues
        }
        self.ids = [producer.stats().producer_id for producer in self.producers.values()]

    def save(self, venue, order):
        self.producers[venue].order(order)

    async def close(self):
        for producer in self.producers.values():
            producer.close()

    def rows(self):
        """All of these producers: until each has its last word, `closed`, in PostgreSQL."""
        import psycopg2

        connection = psycopg2.connect(os.environ["BLOTTER_POSTGRES"])
        connection.autocommit = True
        with connection.cursor() as cursor:
            deadline = time.monotonic() + ARRIVAL_TIMEOUT
            closed = 0
            while closed < len(self.ids) and time.monotonic() < deadline:
                cursor.execute("SELECT count(*) FROM blotter_internal.sessions WHERE event = 'closed' AND producer_id = ANY(%s)", (self.ids,))
                (closed,) = cursor.fetchone()
                time.sleep(0.05)
            cursor.execute("SELECT count(*) FROM blotter.order_events WHERE producer_id = ANY(%s)", (self.ids,))
            return cursor.fetchone()[0]


class BlotterSlow(Blotter):
    """Blotter, poll every 10 ms"""

    poll_interval_us = 10000


class BlotterShip(Blotter):
    """Blotter, sender none + ship"""

    sender = "none"


def ask_questdb(sql):
    """The first row; None: there is no table yet."""
    import json
    import urllib.error
    import urllib.parse
    import urllib.request

    place = os.environ["EXPERIMENT_QUESTDB"].split("addr=")[1].rstrip(";")
    try:
        return json.load(urllib.request.urlopen(f"http://{place}/exec?{urllib.parse.urlencode({'query': sql})}"))["dataset"][0]
    except urllib.error.HTTPError:
        return None


class BlotterMirror(Blotter):
    """Blotter, mirrored to QuestDB"""

    def rows(self):
        """In QuestDB, once each producer's last word is there; it may be visible before rows of other tables."""
        ids = f"producer_id IN ({', '.join(map(str, self.ids))})"
        deadline = time.monotonic() + ARRIVAL_TIMEOUT
        count, before, closed = 0, -1, None
        while (closed != [len(self.ids)] or count != before) and time.monotonic() < deadline:
            time.sleep(0.5)
            before = count
            closed = ask_questdb(f"SELECT count() FROM sessions WHERE event = 'closed' AND {ids}")
            (count,) = ask_questdb(f"SELECT count() FROM order_events WHERE {ids}") or (0,)
        return count


class QuestdbClient(Writer):
    """QuestDB's client, flush each second"""

    settings = "auto_flush_interval=1000;"

    async def open(self, venues):
        from questdb import Sender, ServerTimestamp

        self.now = ServerTimestamp
        self.sender = Sender.from_conf(os.environ["EXPERIMENT_QUESTDB"] + self.settings)
        self.sender.establish()
        self.table = f"orders_{os.getpid()}"

    def save(self, venue, order):
        self.sender.row(self.table, symbols={"venue": venue, "symbol": order["symbol"]}, columns={name: order[name] for name in FIELDS[2:]}, at=self.now)

    async def close(self):
        self.sender.flush()
        self.sender.close()

    def rows(self):
        before, count, deadline = -1, 0, time.monotonic() + ARRIVAL_TIMEOUT
        while count != before and time.monotonic() < deadline:  # it applies its log a moment later
            time.sleep(0.5)
            before = count
            (count,) = ask_questdb(f"SELECT count() FROM {self.table}") or (0,)
            before = -1 if count == 0 else before
        return count


class QuestdbEach(QuestdbClient):
    """QuestDB's client, flush each row"""

    settings = "auto_flush_rows=1;"


class Captured(Writer):
    """captured from wss://"""

    scheme, records_all = "wss", True

    async def open(self, venues):
        pass

    def save(self, venue, order):
        pass

    def ssl(self):
        import ssl

        folder = os.environ["EXPERIMENT_CAPTURE"]
        context = ssl.create_default_context(cafile=f"{folder}/certificate.pem")
        context.keylog_filename = f"{folder}/keys.log"
        return context

    def query(self, sql):
        import psycopg2

        connection = psycopg2.connect(os.environ["BLOTTER_POSTGRES"])
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql, (os.environ["EXPERIMENT_LANE"],))
            return cursor.fetchone()

    def rows(self):
        """Until no more come for a while."""
        count, before, deadline = 0, -1, time.monotonic() + ARRIVAL_TIMEOUT
        while (count != before or count == 0) and time.monotonic() < deadline:
            before = count
            time.sleep(2)
            (count,) = self.query("SELECT count(*) FROM blotter.order_events WHERE exchange = %s AND origin = 'wire'")
        return count

    def visible_ns(self):
        p50, p99 = self.query(
            "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY lag), percentile_cont(0.99) WITHIN GROUP (ORDER BY lag) FROM ("
            "SELECT extract(epoch FROM stored_at) * 1e9 - (extra->>'wire_time')::numeric AS lag FROM blotter.order_events"
            " WHERE exchange = %s AND origin = 'wire') AS seen"
        )
        return {"p50": float(p50 or 0), "p99": float(p99 or 0)}


WRITERS = {
    "none": Nothing,
    "blocking": Blocking,
    "blocking_async": BlockingAsync,
    "sqlite": Sqlite,
    "sqlite_async": SqliteAsync,
    "psycopg2": Psycopg2,
    "asyncpg": Asyncpg,
    "redis": Redis,
    "redis_async": RedisAsync,
    "mmap": MappedFile,
    "blotter": Blotter,
    "blotter_slow": BlotterSlow,
    "blotter_ship": BlotterShip,
    "blotter_mirror": BlotterMirror,
    "questdb": QuestdbClient,
    "questdb_each": QuestdbEach,
    "captured": Captured,
}


def follow(ring, text):
    """The other process of MappedFile: copies lines to a file, until its stdin ends and nothing is left."""
    import select

    with open(ring, "r+b") as file, open(text, "wb") as out:
        memory = mmap.mmap(file.fileno(), 0)
        print("ready", flush=True)
        at, ended = 0, False
        while True:
            length = int.from_bytes(memory[at : at + 2], "little")
            if length:
                out.write(memory[at + 2 : at + 2 + length])
                at += MappedFile.SLOT
            elif ended:
                return
            else:
                ended = bool(select.select([sys.stdin], [], [], 0.001)[0])


if __name__ == "__main__":
    follow(sys.argv[1], sys.argv[2])
