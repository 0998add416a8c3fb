"""The Redis master is killed, stopped or switched: producers and drainers follow by themselves, and every accepted record is stored once."""

import tempfile
import unittest

import engines
import support
from commit_gap import CommitGap

servers = None


def setUpModule():
    global servers
    servers = support.Servers()


def rows(exchange):
    return servers.query("SELECT count(*) AS rows FROM blotter.order_events WHERE exchange = %s", exchange)[0]["rows"]


class Failover(unittest.TestCase):
    def start_master(self):
        self.master = self.entrance = self.engines.redis()  # entrance: what replicas, sentinels and clients connect to

    def setUp(self):
        self.engines = engines.Engines()
        self.addCleanup(self.engines.close)
        self.exchange = support.name_of(self)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.journal = folder.name + "/journal"
        self.start_master()
        self.replica = self.engines.redis("--replicaof", f"127.0.0.1 {self.entrance.port}")

        def in_step():
            with engines.RedisClient(self.replica.port) as client:
                return "master_link_status:up" in client("INFO", "replication")

        engines.await_true(in_step, "the replica is in step")

    def feed(self, url):
        feed = engines.Feed(url, self.journal, self.exchange)
        self.addCleanup(feed.kill)
        return feed

    def await_rows(self, count, timeout=support.TIMEOUT):
        engines.await_true(lambda: rows(self.exchange) >= count, f"{count} rows", timeout)

    def assert_all_stored_once(self, feed):
        status, text = feed.finish()
        self.assertEqual(status, 0, text)
        self.assertEqual(rows(self.exchange), feed.accepted)
        status, text = servers.run("audit", "--exchange", self.exchange)
        self.assertEqual(status, 0, text)

    def has_role(self, redis, role):
        try:
            with engines.RedisClient(redis.port) as client:
                return client("ROLE")[0] == role
        except ConnectionError:  # a sentinel ends all connections where it changes the role
            return False


class Sentinels(Failover):
    """Three of them, and two drainers."""

    def setUp(self):
        super().setUp()
        self.sentinels = self.engines.sentinels(self.entrance, self.replica)
        self.lost = None  # one of them that does not answer
        self.url = "redis+sentinel://" + ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels) + "/blotter"
        engines.await_true(self.in_touch, "each sentinel is in touch with the others and the replica")
        self.drainers = [self.engines.drain(self.url, "--consumer", name) for name in ("d1", "d2")]
        self.running = self.feed(self.url)
        self.await_rows(100)

    def in_touch(self):
        for sentinel in self.sentinels:
            with engines.RedisClient(sentinel.port) as client:
                found = [dict(zip(flat[::2], flat[1::2])) for kind in ("sentinels", "replicas") for flat in client("SENTINEL", kind, "blotter")]
            if sorted(state["flags"] for state in found) != ["sentinel", "sentinel", "slave"] or found[-1]["master-link-status"] != "ok":
                return False
        return True

    def watch_commits(self):
        return CommitGap(servers, self.exchange, self.accepts_write)

    def accepts_write(self):
        """Does a sentinel name the replica, and does that take writes?"""
        for sentinel in self.sentinels:
            if sentinel is self.lost:
                continue
            with engines.RedisClient(sentinel.port) as client:
                named = client("SENTINEL", "get-master-addr-by-name", "blotter") == ["127.0.0.1", str(self.replica.port)]
            if named:
                with engines.RedisClient(self.replica.port) as client:
                    return client("SET", "probe", 1) == "OK"
        return False


class Sentinel(Sentinels):
    def test_master_killed(self):
        gap = self.watch_commits()
        self.master.kill()
        gap.await_end()
        self.assert_all_stored_once(self.running)
        self.assertEqual(servers.run("status", "--redis", self.url)[0], 0)

    def test_master_stopped_and_back(self):
        gap = self.watch_commits()
        self.master.pause()
        gap.await_end()
        self.master.resume()
        engines.await_true(lambda: self.has_role(self.master, "slave"), "the old master is demoted")
        self.await_rows(rows(self.exchange) + 100)
        self.assert_all_stored_once(self.running)

    def test_planned_switch(self):
        gap = self.watch_commits()
        with engines.RedisClient(self.sentinels[0].port) as client:
            self.assertEqual(client("SENTINEL", "FAILOVER", "blotter"), "OK")
        gap.await_end()
        self.assert_all_stored_once(self.running)

    def test_sentinel_killed_then_master(self):
        self.lose_sentinel_then_master(lambda sentinel: sentinel.kill())

    def test_sentinel_stopped_then_master(self):
        self.lose_sentinel_then_master(lambda sentinel: sentinel.pause())

    def lose_sentinel_then_master(self, lose):
        """The one that everybody asks first. The other two can still name another master."""
        gap = self.watch_commits()
        self.lost = self.sentinels[0]
        lose(self.lost)
        self.await_rows(rows(self.exchange) + 1000)  # five seconds, in which the sentinels are asked three times
        gap.assert_none()
        for drainer in self.drainers:
            self.assertEqual(engines.ready(drainer), (200, "ready\n"))
        gap = self.watch_commits()
        self.master.kill()
        gap.await_end()
        self.assert_all_stored_once(self.running)

    def test_one_sentinel_is_enough_and_none_is_named(self):
        for sentinel in self.sentinels[:2]:
            sentinel.kill()
        self.assertEqual(servers.run("status", "--redis", self.url)[0], 0)
        self.sentinels[2].kill()
        status, text = servers.run("status", "--redis", self.url)
        self.assertEqual(status, 3)
        self.assertIn(f"sentinel 127.0.0.1:{self.sentinels[2].port}: ", text)
        self.await_rows(rows(self.exchange) + 100)  # connections that are there stay
        for drainer in self.drainers:
            engines.await_true(lambda drainer=drainer: "may not be the master any more" in engines.ready(drainer)[1], "the doubt is named")
            self.assertEqual(engines.ready(drainer)[0], 503)
        self.sentinels[2].start()
        for drainer in self.drainers:
            engines.await_true(lambda drainer=drainer: engines.ready(drainer)[0] == 200, "no doubt any more")
        self.assert_all_stored_once(self.running)

    def test_name_that_no_sentinel_knows(self):
        status, text = servers.run("check", "--redis", self.url.replace("/blotter", "/other"))
        self.assertIn("knows no master named other", text)
        self.assertEqual(status, 3)


class Isolated(Sentinels):
    """The master is cut off from its sentinels, its replica and everybody else but for the drainers, which it goes on answering."""

    def start_master(self):
        self.master = self.engines.redis()
        self.entrance = engines.Cut(self.master.port)
        self.addCleanup(self.entrance.close)

    def test_master_that_only_the_drainers_reach_is_left(self):
        gap = self.watch_commits()
        self.entrance.cut_but_for(["d1", "d2"])
        gap.await_end()
        for drainer in self.drainers:  # the one that holds nothing may be the last to notice
            engines.await_true(lambda drainer=drainer: "the sentinels name another master" in drainer.text(), "it has left the old master")
        self.assert_all_stored_once(self.running)


class ByHand(Failover):
    """FAILOVER, with a name or an address that is repointed; connections to the old master stay."""

    def test_drainer_leaves_a_server_that_became_a_replica(self):
        forwarder = engines.Forwarder(self.master.port)
        self.addCleanup(forwarder.close)
        drainer = self.engines.drain(forwarder.url)
        feed = self.feed(forwarder.url)
        self.await_rows(100)
        self.assertEqual(engines.ready(drainer)[0], 200)
        forwarder.target = self.replica.port
        with engines.RedisClient(self.master.port) as client:
            self.assertEqual(client("FAILOVER"), "OK")
        engines.await_true(lambda: self.has_role(self.replica, "master"), "the replica is promoted")
        self.await_rows(rows(self.exchange) + 100, 10)
        self.assertIn("READONLY", drainer.text())
        engines.await_true(lambda: engines.ready(drainer)[0] == 200, "ready again")
        self.assert_all_stored_once(feed)

    def test_a_replica_that_stays_one_is_named(self):
        with engines.RedisClient(self.master.port) as client:
            client("XADD", f"blotter:{self.exchange}", "*", "order", "x")

        def has_stream():
            with engines.RedisClient(self.replica.port) as client:
                return client("EXISTS", f"blotter:{self.exchange}") == 1

        engines.await_true(has_stream, "the replica has the stream")
        drainer = self.engines.drain(self.replica.url)
        engines.await_true(lambda: engines.ready(drainer)[0] == 503 and "READONLY" in engines.ready(drainer)[1], "not ready: READONLY")
        self.assertIn(f"blotter:{self.exchange}: since 2", engines.ready(drainer)[1])


if __name__ == "__main__":
    support.main()
