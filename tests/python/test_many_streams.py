#!/usr/bin/env python3
"""A thousand streams and three drainers: what they cost while nothing happens, and how a stream that comes late is loaded. Counted in commands and
statements, not in time."""

import re
import time
import unittest

import engines
import support

STREAMS = 1200
DRAINERS = 3


def order(number):
    """{"order_id": number, "symbol": "A/B", "status": "open"} as msgpack."""
    pairs = [b"order_id", b"%d" % number, b"symbol", b"A/B", b"status", b"open"]
    return b"\x83" + b"".join(bytes([0xA0 | len(text)]) + text for text in pairs)


class ManyStreams(unittest.TestCase):
    def setUp(self):
        self.servers = support.Servers()
        self.addCleanup(self.servers.close)
        started = engines.Engines()
        self.addCleanup(started.close)
        self.redis = started.redis()
        with engines.RedisClient(self.redis.port) as client:
            for number in range(STREAMS):
                client.send("XADD", f"blotter:x{number}", "*", "order", order(number))
            for _ in range(STREAMS):
                client.answer()
        self.drainers = [
            started.start(
                "drain", support.BUILD / "blotter", "drain", "--metrics", f"127.0.0.1:{engines.free_port()}", BLOTTER_REDIS=self.redis.url
            )
            for _ in range(DRAINERS)
        ]
        engines.await_true(lambda: self.rows() == STREAMS, "all rows")
        engines.await_true(lambda: self.held() == [STREAMS // DRAINERS] * DRAINERS, "even shares")

    def rows(self):
        return self.servers.query("SELECT count(*) AS n FROM blotter.order_events")[0]["n"]

    def held(self):
        sql = "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted GROUP BY pid"
        return [row["n"] for row in self.servers.query(sql)]

    def commands(self):
        with engines.RedisClient(self.redis.port) as client:
            return {name: int(calls) for name, calls in re.findall(r"cmdstat_([^:]+):calls=(\d+)", client("INFO", "commandstats"))}

    def calls_of_a_while(self):
        before, began = self.commands(), time.monotonic()
        time.sleep(4)
        return {name: count - before.get(name, 0) for name, count in self.commands().items()}, time.monotonic() - began

    def test_idle_streams_cost_little(self):
        """A stream's pending entries are looked at every 10 s, what waits and its tail every 20 s by its holder; its progress by each other drainer,
        200 streams a second. Some 4,000 keys make five pages of SCAN, looked at every five seconds while their number stays."""

        def cost_little():
            calls, seconds = self.calls_of_a_while()
            return (
                calls["xpending"] < STREAMS * (seconds + 2) / 10 * 1.5
                and calls["eval"] < STREAMS * (seconds + 2) / 10 * 1.5
                and calls["xinfo|groups"] - calls["eval"] < DRAINERS * 200 * (seconds + 1)
                and calls["scan"] < DRAINERS * 2 * 8
                and calls["xread"] + calls["xreadgroup"] < DRAINERS * (seconds + 1) * 4
            )

        engines.await_true(cost_little, "few commands a second")

    def test_a_stream_that_comes_late_is_loaded(self):
        with engines.RedisClient(self.redis.port) as client:
            for number in range(30):
                client("XADD", f"blotter:late{number}", "*", "order", order(number))
            engines.await_true(lambda: self.rows() == STREAMS + 30, "rows of the late ones")

    def test_streams_of_a_dead_drainer_are_taken(self):
        self.drainers[0].kill()
        engines.await_true(lambda: self.held() == [STREAMS // 2] * 2, "even shares of two")

    def test_a_look_at_the_leases_compares_no_stream_with_each_lock(self):
        log = next(self.servers.folder.glob("postgres-*/postgres.log"))
        self.servers.query("ALTER SYSTEM SET log_statement = 'all'")
        self.servers.query("SELECT pg_reload_conf()")

        def looks():
            return re.findall(r"(WITH l AS MATERIALIZED .*?); ", log.read_text() + " ")

        engines.await_true(looks, "a look at the leases")
        plan = "\n".join(row["QUERY PLAN"] for row in self.servers.query("EXPLAIN " + looks()[0].replace("%", "%%")))
        self.assertGreaterEqual(plan.count("hashed SubPlan"), 3, plan)


if __name__ == "__main__":
    support.main()
