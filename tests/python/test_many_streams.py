#!/usr/bin/env python3
"""A thousand streams and three drainers: what they cost while nothing happens, and how a stream that comes late is loaded. Counted in commands and
statements, not in time."""

import contextlib
import itertools
import re
import threading
import time
import unittest

import engines
import psycopg2
import support

STREAMS = 1200
DRAINERS = 3


class Monitor:
    """The commands that Redis is sent, but for those of scripts."""

    def __init__(self, port):
        self._client = engines.RedisClient(port)
        self._lines = []
        self._client("MONITOR")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._client.shut()
        self._thread.join()
        self._client.close()

    def _run(self):
        with contextlib.suppress(OSError, ValueError):
            while line := self._client.answer():
                if " lua] " not in line:
                    self._lines.append(line)

    def seen(self, command):
        return sum(f'"{command}"' in line for line in list(self._lines))

    def stop(self, whole=False):
        """The commands' names so far, or all of them."""
        lines = list(self._lines)
        return lines if whole else [line.split(" ")[3].strip('"') for line in lines]


class ManyStreams(unittest.TestCase):
    """All tests share the servers and the drainers, as it takes seconds until each of the streams has its holder."""

    @classmethod
    def setUpClass(cls):
        cls.servers = support.Servers()
        cls.addClassCleanup(cls.servers.close)
        started = engines.Engines()
        cls.addClassCleanup(started.close)
        cls.redis = started.redis()
        cls.streams = STREAMS  # and those that come late
        with engines.RedisClient(cls.redis.port) as client:
            for number in range(STREAMS):
                client.send("XADD", f"blotter:x{number}", "*", "order", engines.order(number))
            for _ in range(STREAMS):
                client.answer()
        cls.drainers = [cls.drainer(started) for _ in range(DRAINERS)]

    def setUp(self):
        for drainer in self.drainers:
            if drainer.process.poll() is not None:
                drainer.start()
        self.await_even_shares()
        engines.await_true(lambda: self.rows() >= self.streams, "all rows")
        self.before = self.rows()
        self.said = {drainer: len(drainer.text()) for drainer in self.drainers}

    @classmethod
    def drainer(cls, started):
        port = engines.free_port()
        drainer = started.start(
            "drain", support.BUILD / "blotter", "drain", "--metrics", f"127.0.0.1:{port}", "--lock-timeout", "1s", BLOTTER_REDIS=cls.redis.url
        )
        drainer.port = port
        return drainer

    def log(self, drainer):
        """Of this test."""
        return drainer.text()[self.said[drainer] :]

    def await_even_shares(self, drainers=DRAINERS):
        engines.await_true(lambda: self.held() == [self.streams // drainers] * drainers, f"even shares of {drainers}")

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
                client("XADD", f"blotter:late{number}", "*", "order", engines.order(number))
            type(self).streams += 30
            engines.await_true(lambda: self.rows() == self.before + 30, "rows of the late ones")

    def test_streams_of_a_dead_drainer_are_taken(self):
        self.drainers[0].kill()
        self.await_even_shares(DRAINERS - 1)

    def claims(self):
        return self.commands().get("xautoclaim", 0)

    def test_a_batch_that_fails_costs_its_own_streams_a_claim(self):
        """Others have nothing pending: thousands would be claimed, and none is read until it is."""
        with psycopg2.connect(self.servers.settings["BLOTTER_POSTGRES"]) as locker, engines.RedisClient(self.redis.port) as client:
            before = self.claims()
            locker.cursor().execute("LOCK TABLE blotter.order_events IN ACCESS EXCLUSIVE MODE")
            for number in range(10):
                client("XADD", f"blotter:x{number}", "*", "order", engines.order(STREAMS + number))
            engines.await_true(lambda: any("SQLSTATE 55P03" in self.log(drainer) for drainer in self.drainers), "a batch is given up")
        locker.close()
        engines.await_true(lambda: self.rows() == self.before + 10, "all rows")
        self.assertLess(self.claims() - before, STREAMS // DRAINERS)

    def test_streams_with_pending_entries_are_read_while_others_are_claimed(self):
        """A drainer that comes to hold hundreds of them claims many at a time, and reads between."""
        with psycopg2.connect(self.servers.settings["BLOTTER_POSTGRES"]) as locker, engines.RedisClient(self.redis.port) as client:
            locker.cursor().execute("LOCK TABLE blotter.order_events IN ACCESS EXCLUSIVE MODE")
            for number in range(STREAMS):
                client("XADD", f"blotter:x{number}", "*", "order", engines.order(STREAMS + number))
            engines.await_true(lambda: self.pending(client) == STREAMS, "all entries are pending")
            for drainer in self.drainers:
                drainer.kill()
        locker.close()
        with Monitor(self.redis.port) as monitor:
            self.drainers[0].start()
            with engines.RedisClient(self.redis.port) as client:
                engines.await_true(lambda: self.pending(client) == 0, "nothing is pending")
            commands = monitor.stop()
        self.assertEqual(self.rows(), self.before + STREAMS)
        claims = [len(list(run)) for name, run in itertools.groupby(command for command in commands if command in ("XAUTOCLAIM", "XREADGROUP")) if name == "XAUTOCLAIM"]
        self.assertGreaterEqual(sum(claims), STREAMS)
        self.assertLessEqual(max(claims), 2 * 64)  # a read may be under way for longer than one round of claims

    def pending(self, client):
        for number in range(STREAMS):
            client.send("XPENDING", f"blotter:x{number}", "drainers")
        return sum(client.answer()[0] for _ in range(STREAMS))

    def transactions(self):
        return sum(engines.sample(drainer, "blotter_drain_transactions_total") for drainer in self.drainers)

    def test_streams_that_stand_still_share_a_line_of_the_log(self):
        """/metrics and /readyz name each of them."""

        def standing():
            pages = [engines.get(drainer, "/metrics")[1] for drainer in self.drainers]
            found = (re.findall(r'stuck_seconds\{object="(blotter:x\d+)",cause="standing"\} (\S+)', page) for page in pages)
            return {name for page in found for name, seconds in page if float(seconds) > 6}

        with psycopg2.connect(self.servers.settings["BLOTTER_POSTGRES"]) as locker, engines.RedisClient(self.redis.port) as client:
            locker.cursor().execute("LOCK TABLE blotter.order_events IN ACCESS EXCLUSIVE MODE")
            for number in range(STREAMS):
                client("XADD", f"blotter:x{number}", "*", "order", engines.order(STREAMS + number))
            engines.await_true(lambda: len(standing()) == STREAMS, "all streams stand still")
            named = {name for drainer in self.drainers for name in re.findall(r"^(blotter:x\d+): its oldest", engines.ready(drainer)[1], re.M)}
            self.assertEqual(len(named), STREAMS)
            before = self.transactions()
        locker.close()
        engines.await_true(lambda: all("stands still any more" in self.log(drainer) for drainer in self.drainers), "the log says when it is over")
        self.assertLess(self.transactions() - before, STREAMS / 4)  # once an exchange gets through, more and more are loaded together again
        for drainer in self.drainers:
            lines = [line for line in self.log(drainer).splitlines() if "has not moved for" in line]
            self.assertRegex("\n".join(lines), r"nor have \d\d+ others: (blotter:x\d+, ){3}blotter:x\d+ \.\.\.")
            self.assertLess(len(lines), STREAMS // DRAINERS / 4)  # each of them had made one a second

    def test_the_doorbell_waits_behind_what_the_group_has_read(self):
        """Also where this drainer has read nothing yet: what comes between a read and the doorbell's "$" would wait for a second."""
        with Monitor(self.redis.port) as monitor:
            for drainer in self.drainers:
                drainer.kill()
                drainer.start()
            self.await_even_shares()
            waited = monitor.seen("XREAD")
            engines.await_true(lambda: monitor.seen("XREAD") >= waited + 2 * DRAINERS, "the doorbells wait")
            lines = monitor.stop(whole=True)
        self.assertEqual([line for line in lines if '"XREAD"' in line and '"$"' in line], [])

    def test_a_look_at_the_leases_compares_no_stream_with_each_lock(self):
        log = next(self.servers.folder.glob("postgres-*/postgres.log"))
        self.servers.query("ALTER SYSTEM SET log_statement = 'all'")
        self.servers.query("SELECT pg_reload_conf()")

        def looks():
            return re.findall(r"(WITH l AS MATERIALIZED .*?); ", log.read_text() + " ")

        engines.await_true(looks, "a look at the leases")
        plan = "\n".join(row["QUERY PLAN"] for row in self.servers.query("EXPLAIN " + looks()[0].replace("%", "%%")))
        self.assertGreaterEqual(plan.count("hashed SubPlan"), 3, plan)
        self.servers.query("ALTER SYSTEM RESET log_statement")
        self.servers.query("SELECT pg_reload_conf()")


if __name__ == "__main__":
    support.main()
