"""Records a second into QuestDB: `blotter mirror` beside QuestDB's own Python client, with the same rows into the same kind of table.

The client builds its rows in Python and flushes every 10,000, as its documentation advises; the mirror reads them from Redis, decodes and
checks them. Both send once before they are measured, as QuestDB compiles its code meanwhile, and then take turns. Both times end with the
last commit that QuestDB has answered; the mirror's begins when it takes the stream, before it has read any of it, the client's when it connects.
Needs tests/fetch_questdb.sh, and the package questdb (pip install --target build/questdb-client questdb); without them it says so.
"""

import sys
import time
from decimal import Decimal
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "python"), str(HERE), str(HERE.parent.parent / "build/questdb-client")]

import engines
import figure
import questdb_server
import support
from bench_python import DECIMALS, PLAIN

import blotter

ROWS = figure.setting("BENCH_ROWS", 200000)
RUNS = figure.setting("BENCH_RUNS", 4)
TARGET = 1.0
BATCH = 10000


def client_rows(server, sender_class, micros):
    """The rows of one run, by the client. Returns its seconds."""
    names = [name for name in PLAIN[0] if name not in ("exchange_time", *DECIMALS)]
    symbols = [name for name in names if not name.endswith("_id")]
    texts = [name for name in names if name.endswith("_id")]
    begin = time.perf_counter()
    with sender_class.from_conf(server.conf + f"auto_flush_rows={BATCH};auto_flush_interval=off;request_timeout=60000;") as sender:
        recorded = time.time_ns() // 1000
        for number in range(ROWS):
            order = PLAIN[number % len(PLAIN)]
            sender.row(
                "client_orders",
                symbols={"exchange": "bench", **{name: order[name] for name in symbols}},
                columns={
                    "producer_id": 1, "seq": number + 1, "exchange_time": micros(order["exchange_time"] // 1000),
                    **{name: order[name] for name in texts}, **{name: Decimal(order[name]) for name in DECIMALS},
                },
                at=micros(recorded + number),
            )  # fmt: skip
        sender.flush()
    return time.perf_counter() - begin


def mirror_rows(server, redis):
    """The same rows, which are in Redis already, by the mirror. Returns its seconds."""
    mirror = engines_of.start("mirror", support.BUILD / "blotter", "mirror", "--redis", redis.url, "--questdb", server.conf)
    engines.await_true(lambda: "connected to http" in mirror.text(), "the mirror is ready")
    with engines.RedisClient(redis.port) as client:

        def mirrors():
            return [group for group in client("XINFO", "GROUPS", "blotter:bench") if group[1] == "mirrors"]

        def is_done():
            return all(group[5] == 0 and group[11] == 0 for group in mirrors())

        client("RENAME", "hidden", "blotter:bench")
        engines.await_true(mirrors, "the mirror takes the stream")
        begin = time.perf_counter()
        engines.await_true(is_done, "the mirror is done", 600)
        seconds = time.perf_counter() - begin
    if mirror.stop() != 0:
        raise RuntimeError(mirror.text())
    return seconds


def fill(redis):
    with blotter.Producer("bench", redis=redis.url, journal=engines_of.folder(), slots=1 << 18) as producer:
        for number in range(ROWS):
            producer.order(PLAIN[number % len(PLAIN)])
        with engines.RedisClient(redis.port) as client:
            engines.await_true(lambda: client("XLEN", "blotter:bench") > ROWS, "all records are in Redis")  # `opened` is one, too
    with engines.RedisClient(redis.port) as client:
        client("RENAME", "blotter:bench", "hidden")


def make_client_table(server):
    """With the columns, partitions and keys of the mirror's."""
    (row,) = server.exec("SHOW CREATE TABLE order_events")
    server.exec(row["ddl"].replace("order_events", "client_orders", 1).rstrip().rstrip(";"))


def main():
    global engines_of
    if not questdb_server.available():
        return
    try:
        from questdb import Sender, TimestampMicros
    except ImportError:
        print("not measured: QuestDB's Python client is not here (pip install --target build/questdb-client questdb)")
        return
    engines_of = engines.Engines()
    try:
        server = questdb_server.Questdb(engines_of, fast=True)
        rates = {"mirror": [], "client": []}
        for run in range(1 + RUNS):
            redis = engines_of.redis()
            fill(redis)
            ours = ROWS / mirror_rows(server, redis) if run % 2 == 0 else None
            if run == 0:
                make_client_table(server)
            theirs = ROWS / client_rows(server, Sender, TimestampMicros)
            server.settle()
            ours = ours or ROWS / mirror_rows(server, redis)
            server.settle()
            redis.kill()
            if run > 0:
                rates["mirror"].append(ours)
                rates["client"].append(theirs)
        for table, rows in (("order_events", ROWS * (1 + RUNS)), ("client_orders", ROWS * (1 + RUNS))):
            if server.count(table) != rows:
                raise RuntimeError(f"{table} has {server.count(table)} rows, not {rows}")
        ours, theirs = figure.median(rates["mirror"]), figure.median(rates["client"])
        print(f"records of 22 fields into QuestDB {questdb_server.jar().name}")
        figure.add("mirror", ours, "rows/s", beside={"QuestDB's client": theirs}, ratio=ours / theirs, at_least=TARGET)
    finally:
        engines_of.close()


if __name__ == "__main__":
    main()
