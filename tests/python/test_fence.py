"""The acknowledgement is fenced: a stream that is loaded into another PostgreSQL, or by another drainer, is left alone; and a PostgreSQL
that went back in time is loaded again from what the streams still hold.
"""

import contextlib
import re
import tempfile
import unittest

import engines
import psycopg2
import support

servers = None


def setUpModule():
    global servers
    servers = support.Servers()


def number(sql, *values):
    return list(servers.query(sql, *values)[0].values())[0]


class Fence(unittest.TestCase):
    def setUp(self):
        self.engines = engines.Engines()
        self.addCleanup(self.engines.close)
        self.redis = self.engines.redis()
        self.client = engines.RedisClient(self.redis.port)
        self.addCleanup(self.client.close)
        self.exchange = support.name_of(self)
        self.stream = f"blotter:{self.exchange}"
        self.load = f"blotter-load:{{{self.stream}}}"
        self.published = 0
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.journal = folder.name

    def publish(self, count, *settings):
        text = engines.lines(self.published + 1, count, self.exchange)
        status, text = engines.publish(self.redis.url, text, *settings, journal=self.journal, exchange=self.exchange)
        self.published += count
        return status, text

    def rows(self):
        return number("SELECT count(*) FROM blotter.order_events WHERE exchange = %s", self.exchange)

    def await_rows(self):
        engines.await_true(lambda: self.rows() == self.published, f"{self.published} rows")

    def pending(self):
        return self.client("XPENDING", self.stream, "drainers")[0]

    def await_acknowledged(self):
        engines.await_true(lambda: self.pending() == 0, "all acknowledged")

    def claim(self):
        return self.client("HGETALL", self.load)

    def hash(self):
        flat = self.claim()
        return dict(zip(flat[::2], flat[1::2]))

    def drain(self, *settings):
        return self.engines.drain(self.redis.url, *settings)

    def test_stream_is_claimed_and_counted(self):
        self.publish(5)
        self.drain("--consumer", "d1")
        self.await_rows()
        self.await_acknowledged()
        newest = servers.query("SELECT id::text, timeline FROM blotter_internal.history ORDER BY n DESC LIMIT 1")[0]
        claim = self.hash()
        self.assertEqual(claim["history"], newest["id"])
        self.assertEqual(int(claim["timeline"]), newest["timeline"])
        self.assertTrue(claim["holder"].startswith("d1:"), claim)
        engines.await_true(
            lambda: int(self.hash()["n"]) == number("SELECT n FROM blotter_internal.loaded WHERE stream = %s", self.stream), "the same count"
        )

    def test_nothing_is_acknowledged_before_it_is_counted(self):
        """Of a large batch, which takes several commands, Redis may get the first only; and PostgreSQL, as it was before, has to be noticed."""
        self.publish(5)
        self.drain()
        self.await_rows()
        self.await_acknowledged()
        monitor = engines.RedisClient(self.redis.port)
        self.addCleanup(monitor.close)
        with contextlib.closing(psycopg2.connect(servers.settings["BLOTTER_POSTGRES"])) as holder:
            holder.cursor().execute("LOCK TABLE blotter.order_events IN SHARE MODE")
            self.publish(2000)
            engines.await_true(lambda: self.pending() >= 2000, "all are read")
            monitor("MONITOR")
        acknowledged, calls = 0, []
        while acknowledged < 2000:
            words = monitor.answer().split(" ")[3:]
            if words[:2] == ['"XACK"', f'"{self.stream}"']:
                calls.append(len(words) - 3)
                acknowledged += calls[-1]
            elif words[:3] == ['"HSET"', f'"{self.load}"', '"n"']:
                calls.append("counted")
        self.assertGreater(len(calls), 2)
        self.assertTrue(all(count == "counted" for count in calls[1::2]), calls)

    def test_another_postgres_is_refused_until_a_person_accepts(self):
        self.publish(5)
        other = {"history": "6b1c5e0e-9d0b-4d3c-8a52-5f8e3e0c1234", "system": "7000000000000000001", "timeline": "3", "n": "17", "holder": "x"}
        self.client("HSET", self.load, *[word for pair in other.items() for word in pair])
        drainer = self.drain()
        engines.await_true(lambda: other["history"] in engines.ready(drainer)[1], "the other history is named")
        self.assertEqual(engines.ready(drainer)[0], 503)
        self.assertIn(f"{self.stream}: since 2", engines.ready(drainer)[1])
        self.assertEqual(self.rows(), 0)
        self.assertEqual(self.hash(), other)
        self.assertIsNone(drainer.process.poll())
        servers.query("UPDATE blotter_internal.history SET accepts = true WHERE n = (SELECT max(n) FROM blotter_internal.history)")
        self.addCleanup(servers.query, "UPDATE blotter_internal.history SET accepts = false")
        self.await_rows()
        engines.await_true(lambda: engines.ready(drainer)[0] == 200, "ready")

    def test_nothing_is_acknowledged_or_confirmed_for_another_holder(self):
        self.publish(5)
        drainer = self.drain()
        self.await_rows()
        self.await_acknowledged()
        drainer.pause()
        self.client("HSET", self.load, "holder", "another:1")
        self.publish(5)
        drainer.resume()
        # Its first acknowledgement does nothing; it claims the stream anew, and then the same entries are acknowledged.
        self.await_rows()
        self.await_acknowledged()
        self.assertIn("it is claimed anew", drainer.text())
        self.assertNotEqual(self.hash()["holder"], "another:1")

    def test_a_drainer_learns_that_others_know_the_stream_by_another_id(self):
        """A FLUSHALL takes the id, a newcomer draws another, and the drainer's own connection has not been lost."""
        self.publish(5)
        first = self.drain("--consumer", "d1", "--trim-interval", "500ms")
        self.await_rows()
        self.await_acknowledged()
        other = "0123456789abcdef0123456789abcdef"
        self.client("SET", f"blotter-id:{{{self.stream}}}", other)
        second = self.drain("--consumer", "d2", "--trim-interval", "500ms")
        engines.await_true(lambda: "taken" in second.text(), "the second drainer has taken the stream, too")
        self.publish(5)
        engines.await_true(lambda: f"another stream of this name now: {other}" in first.text(), "the first one learns of it")
        engines.await_true(lambda: "2 drainers share the streams" in first.text() + second.text(), "they count each other")
        self.publish(5)
        self.await_rows()
        self.await_acknowledged()

    def test_a_trim_notices_that_the_stream_is_another_servers(self):
        self.publish(5)
        drainer = self.drain("--trim-interval", "500ms")
        self.await_rows()
        self.await_acknowledged()
        other = "6b1c5e0e-9d0b-4d3c-8a52-5f8e3e0c1234"
        self.client("HSET", self.load, "history", other, "system", "7000000000000000001")
        engines.await_true(lambda: other in engines.ready(drainer)[1], "the other history is named, though nothing is left to acknowledge")

    def go_back(self, transactions):
        """PostgreSQL as it was so many loading transactions ago, as after a promotion that lost them."""
        servers.query(
            "UPDATE blotter_internal.loaded SET n = n - %s, last_id = %s WHERE stream = %s", transactions, self.last_id, self.stream
        )
        servers.query("DELETE FROM blotter.order_events WHERE exchange = %s AND recorded_at > %s", self.exchange, self.at)

    def load_two_lots(self, keep):
        drainer = self.drain(*keep)
        self.publish(10)
        self.await_rows()
        self.await_acknowledged()
        self.last_id = self.client("XREVRANGE", self.stream, "+", "-", "COUNT", 1)[0][0]
        self.at = number("SELECT max(recorded_at) FROM blotter.order_events WHERE exchange = %s", self.exchange)
        n = number("SELECT n FROM blotter_internal.loaded WHERE stream = %s", self.stream)
        self.publish(300)
        self.await_rows()
        self.await_acknowledged()
        engines.await_true(lambda: int(self.hash()["n"]) == number("SELECT n FROM blotter_internal.loaded WHERE stream = %s", self.stream), "n")
        return drainer, int(self.hash()["n"]) - n

    def test_postgres_that_went_back_is_loaded_again_by_itself(self):
        drainer, transactions = self.load_two_lots([])
        self.assertEqual(drainer.stop(), 0)
        self.go_back(transactions)
        self.assertEqual(self.rows(), 10)
        drainer = self.drain()
        self.await_rows()
        self.assertIn("PostgreSQL went back in time", drainer.text())
        engines.await_true(
            lambda: int(self.hash()["n"]) == number("SELECT n FROM blotter_internal.loaded WHERE stream = %s", self.stream), "n again"
        )
        self.assertEqual(number("SELECT count(*) FROM blotter_internal.incidents WHERE stream = %s", self.stream), 0)

    def test_loading_again_begins_where_it_has_to_however_often_it_is_broken_off(self):
        """What was pending is loaded first, and is newer than all that PostgreSQL has lost."""
        drainer, transactions = self.load_two_lots([])
        self.assertEqual(drainer.stop(), 0)
        self.go_back(transactions)
        self.publish(5)
        self.client("XREADGROUP", "GROUP", "drainers", "gone", "STREAMS", self.stream, ">")
        with contextlib.closing(psycopg2.connect(servers.settings["BLOTTER_POSTGRES"])) as holder:
            holder.cursor().execute("SELECT FROM blotter.orders WHERE exchange = %s AND recorded_at > %s FOR UPDATE", (self.exchange, self.at))
            drainer = self.drain("--batch-rows", "5", "--lock-timeout", "100ms")
            engines.await_true(lambda: "a lock that another session holds" in drainer.text(), "it is broken off, three times")
            self.assertLess(self.rows(), self.published)
            drainer.kill()
            drainer = self.drain("--batch-rows", "5", "--lock-timeout", "100ms")
            engines.await_true(lambda: "its records wait" in drainer.text(), "so it is by another drainer")
        self.await_rows()
        self.await_acknowledged()

    def test_loading_again_ends_when_all_is_loaded_and_not_with_as_many_transactions(self):
        drainer, transactions = self.load_two_lots([])
        self.assertEqual(drainer.stop(), 0)
        self.go_back(transactions)
        drainer = self.drain("--batch-rows", "1")
        engines.await_true(lambda: self.rows() > 10 + 2 * transactions, "more transactions than were lost")
        drainer.kill()
        self.assertLess(self.rows(), self.published)
        self.drain()
        self.await_rows()
        engines.await_true(lambda: self.hash()["reload"] == "", "it is over")

    def test_what_the_kept_tail_does_not_reach_is_an_incident(self):
        self.client("CONFIG", "SET", "stream-node-max-entries", 10)
        keep = ["--keep-entries", "100", "--keep-time", "0", "--trim-interval", "100ms"]
        drainer, transactions = self.load_two_lots(keep)
        engines.await_true(lambda: self.client("XLEN", self.stream) <= 110, "trimmed")
        engines.await_true(lambda: (engines.sample(drainer, "blotter_intake_trimmed_total") or 0) >= 200, "trimmed entries are counted")
        self.assertEqual(drainer.stop(), 0)
        self.go_back(transactions)
        self.drain(*keep)
        incident = "SELECT from_id, to_id, from_n, to_n FROM blotter_internal.incidents WHERE stream = %s"
        engines.await_true(lambda: servers.query(incident, self.stream), "an incident is stored")
        found = servers.query(incident, self.stream)
        self.assertEqual(len(found), 1)
        self.assertEqual(found[0]["from_id"], self.last_id)
        self.assertEqual(found[0]["to_n"] - found[0]["from_n"], transactions)
        engines.await_true(lambda: self.rows() >= 110, "what is there is loaded again")

    def test_groups_that_do_not_keep_up_share_a_line(self):
        streams = [f"blotter:asleep{n}" for n in range(30)]
        for stream in streams:
            self.client("XGROUP", "CREATE", stream, "asleep", "0", "MKSTREAM")
            for n in range(300):
                self.client.send("XADD", stream, "*", "order", engines.order(n))
            for n in range(300):
                self.client.answer()
        drainer = self.drain("--keep-entries", "0", "--keep-time", "0", "--group-limit", "10")
        engines.await_true(lambda: all(self.client("XLEN", stream) < 300 for stream in streams), "each group is overruled")
        engines.await_true(lambda: re.search("group asleep does not keep up.*, and so of [0-9]+ other streams", drainer.text()), "which is said")
        self.assertLess(drainer.text().count("does not keep up"), len(streams) / 2)

    def test_reloaded_entries_are_not_acknowledged(self):
        drainer = self.drain()
        self.publish(20)
        self.await_rows()
        self.await_acknowledged()
        self.assertEqual(drainer.stop(), 0)
        drainer = self.drain("--from", "0")
        engines.await_true(lambda: (engines.sample(drainer, "blotter_intake_reloaded_total") or 0) >= 20, "reloaded")
        self.assertEqual(drainer.stop(), 0)  # so every answer to an acknowledgement has come
        self.assertNotIn("not pending any more", drainer.text())
        self.assertEqual(self.rows(), 20)


if __name__ == "__main__":
    support.main()
