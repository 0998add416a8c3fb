"""A Redis Cluster: producers and drainers find the master of each stream's slot, and follow it wherever it goes."""

import os
import random
import re
import tempfile
import time
import unittest

import engines
import psycopg2
import redis_cluster
import support
from commit_gap import CommitGap

MOVES = 20 if support.ALL else 4
ROUNDS = 5 if support.ALL else 1
EXCHANGES = ("gemini", "okx", "kucoin")  # each on another of three masters

cluster = None
started = None
servers = None


def setUpModule():
    global cluster, started, servers
    servers = support.Servers()
    started = engines.Engines()
    cluster = redis_cluster.Cluster(started)


def tearDownModule():
    started.close()
    servers.close()


class Producer(unittest.TestCase):
    """Without drainers: what is sent is counted in the stream."""

    def setUp(self):
        self.exchange = support.name_of(self)
        self.stream = f"blotter:{self.exchange}"
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.journal = folder.name + "/journal"
        self.slot = cluster.slot(self.stream)

    def other(self, node):
        return next(other for other in cluster.nodes if other is not node)

    def orders(self):
        """The ids of the orders in the stream, as they lie there."""
        entries = cluster.ask(cluster.owner(self.stream), "XRANGE", self.stream, "-", "+")
        return [re.search(f"{self.exchange}-\\d+", value[1])[0] for _, value in entries if value[0] == "order"]

    def publish(self, text, *settings):
        return engines.publish(
            cluster.url, text, "--until", "sent", "--timeout", "20s", *settings, journal=self.journal, exchange=self.exchange
        )

    def lines(self, first, count):
        return engines.lines(first, count, self.exchange)

    def test_any_node_leads_to_the_stream(self):
        for node in cluster.nodes:
            url = f"redis+cluster://127.0.0.1:{node.port}"
            status, text = engines.publish(
                url, self.lines(10000 + node.port, 1), "--until", "sent", journal=f"{self.journal}{node.port}", exchange=self.exchange
            )
            self.assertEqual(status, 0, text)
        self.assertEqual(len(self.orders()), len(cluster.nodes))

    def test_dead_seeds_are_passed_over(self):
        dead = engines.free_port()
        url = f"redis+cluster://127.0.0.1:{dead},127.0.0.1:{cluster.nodes[2].port}"
        status, text = engines.publish(url, self.lines(10000, 5), "--until", "sent", journal=self.journal, exchange=self.exchange)
        self.assertEqual(status, 0, text)

    def test_slot_moved_back_and_forth(self):
        feed = engines.Feed(cluster.url, self.journal, self.exchange, until="sent", first=10000)
        self.addCleanup(feed.kill)
        engines.await_true(lambda: cluster.ask(cluster.owner(self.stream), "XLEN", self.stream) > 0, "records are sent")
        for _ in range(4):
            source = cluster.owner(self.stream)
            cluster.move(self.slot, source, self.other(source))
        status, text = feed.finish()
        self.assertEqual(status, 0, text)
        orders = self.orders()
        self.assertEqual(len(set(orders)), feed.accepted)
        self.assertEqual(sorted(orders), orders)  # what is sent again comes in order, too

    def test_half_moved_slot_is_followed_by_ask(self):
        status, text = self.publish(self.lines(10000, 10))
        self.assertEqual(status, 0, text)
        source = cluster.owner(self.stream)
        target = self.other(source)
        cluster.begin_move(self.slot, source, target)
        cluster.move_keys(self.slot, source, target, only=[self.stream])  # the stream's id stays behind
        status, text = self.publish(self.lines(10010, 10))
        self.assertEqual(status, 0, text)
        with engines.RedisClient(target.port) as client:
            client("ASKING")
            self.assertEqual(client("EXISTS", f"blotter-id:{{{self.stream}}}"), 0)  # else the move could not be ended
        cluster.move_keys(self.slot, source, target)
        cluster.end_move(self.slot, source, target)
        status, text = self.publish(self.lines(10020, 10))
        self.assertEqual(status, 0, text)
        self.assertEqual(len(self.orders()), 30)

    def test_key_of_the_other_half_sends_nobody_away(self):
        """Only the stream's id has moved: an ASK for it must not take the records along."""
        status, text = self.publish(self.lines(10000, 10))
        self.assertEqual(status, 0, text)
        source = cluster.owner(self.stream)
        target = self.other(source)
        cluster.begin_move(self.slot, source, target)
        cluster.move_keys(self.slot, source, target, only=[f"blotter-id:{{{self.stream}}}"])
        status, text = self.publish(self.lines(10010, 10))
        self.assertEqual(status, 0, text)
        self.assertEqual(cluster.ask(target, "CLUSTER", "GETKEYSINSLOT", self.slot, 10), [f"blotter-id:{{{self.stream}}}"])
        cluster.move_keys(self.slot, source, target)
        cluster.end_move(self.slot, source, target)
        self.assertEqual(len(self.orders()), 20)


class Loaded(unittest.TestCase):
    """Two drainers, and a producer on each master that is fed all the time. Ends with each record stored once."""

    replicas = 0

    def setUp(self):
        self.tag = support.name_of(self, 20)
        self.cluster = cluster
        if self.replicas:
            engine = engines.Engines()
            self.addCleanup(engine.close)
            self.cluster = redis_cluster.Cluster(engine, replicas=self.replicas)
        self.engines = engines.Engines()
        self.addCleanup(self.engines.close)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.drainers = [self.engines.drain(self.cluster.url, "--consumer", f"{self.tag}-{name}") for name in "ab"]
        self.feeds = [engines.Feed(self.cluster.url, f"{folder.name}/{name}", self.exchange(name)) for name in EXCHANGES]
        for feed in self.feeds:
            self.addCleanup(feed.kill)
            self.await_more(feed.exchange)

    def exchange(self, name):
        """A name of this test alone, on the same master."""
        return redis_cluster.in_third_of(f"blotter:{name}", "blotter:", f"{name}-{self.tag}-")

    def rows(self, exchange):
        return servers.query("SELECT count(*) AS rows FROM blotter.order_events WHERE exchange = %s", exchange)[0]["rows"]

    def await_more(self, exchange, count=50):
        wanted = self.rows(exchange) + count
        began = time.monotonic()
        engines.await_true(lambda: self.rows(exchange) >= wanted, f"{count} more rows of {exchange}")
        return time.monotonic() - began

    def assert_all_stored_once(self):
        for feed in self.feeds:
            status, text = feed.finish()
            self.assertEqual(status, 0, text)
            self.assertEqual(self.rows(feed.exchange), feed.accepted)
            status, text = servers.run("audit", "--exchange", feed.exchange)
            self.assertEqual(status, 0, text)
        for drainer in self.drainers:
            if drainer.process.poll() is None:
                self.assertEqual(drainer.stop(), 0, drainer.text()[-3000:])

    def other(self, node):
        return next(other for other in self.cluster.alive() if other is not node and self.cluster.ask(other, "ROLE")[0] == "master")

    def stream(self, number=0):
        return f"blotter:{self.feeds[number].exchange}"

    def watch_commits(self, master, number=0):
        return CommitGap(servers, self.feeds[number].exchange, lambda: self.cluster.accepts_write(self.stream(number), master))


class Drainers(Loaded):
    def test_slot_of_a_live_stream_moved(self):
        slot = self.cluster.slot(self.stream())
        for number in range(MOVES):
            source = self.cluster.owner(self.stream())
            self.cluster.move(slot, source, self.other(source))
            if number % 2 == 0:
                self.await_more(self.feeds[0].exchange, 20)
        self.assert_all_stored_once()

    def test_reshard_that_died_half_way_is_named_and_mended(self):
        slot, source = self.cluster.slot(self.stream()), self.cluster.owner(self.stream())
        target = self.other(source)
        self.cluster.begin_move(slot, source, target)
        self.cluster.move_keys(slot, source, target, only=[self.stream()])
        self.await_more(self.feeds[1].exchange)  # others go on

        def named():
            texts = [engines.ready(drainer) for drainer in self.drainers]
            return any(status == 503 and f"ASK {slot}" in text and "--cluster fix" in text for status, text in texts)

        engines.await_true(named, "not ready: the stream's slot is half moved")
        self.cluster.move_keys(slot, source, target)
        self.cluster.end_move(slot, source, target)
        self.await_more(self.feeds[0].exchange)
        engines.await_true(lambda: all(engines.ready(drainer)[0] == 200 for drainer in self.drainers), "ready again")
        self.assert_all_stored_once()


class PendingOfMany(unittest.TestCase):
    """What killed drainers have left pending in hundreds of streams is claimed, many at a time, while their slots are moved."""

    STREAMS = 300

    def setUp(self):
        self.engines = engines.Engines()
        self.addCleanup(self.engines.close)
        self.streams = [f"blotter:many-{number}" for number in range(self.STREAMS)]
        self.added = 0

    def add(self):
        """An order to each stream, wherever it is: the other nodes refuse it, and while its slot is moved it may be both of two."""
        left = self.streams
        while left:
            refused = set(left)
            for node in cluster.nodes:
                with engines.RedisClient(node.port) as client:
                    for stream in left:
                        client.send("XADD", stream, "*", "order", engines.order(f"{stream}-{self.added}"))
                    answers = [client.answer() for _ in left]
                refused -= {stream for stream, answer in zip(left, answers) if not isinstance(answer, RuntimeError)}
                left = [stream for stream in left if stream in refused]
        self.added += 1

    def pending(self):
        count = 0
        for node in cluster.nodes:
            with engines.RedisClient(node.port) as client:
                for stream in self.streams:
                    client.send("XPENDING", stream, "drainers")
                answers = [client.answer() for _ in self.streams]
            count += sum(answer[0] for answer in answers if not isinstance(answer, RuntimeError))
        return count

    def rows(self):
        return servers.query("SELECT count(*) AS rows, count(DISTINCT order_id) AS orders FROM blotter.order_events WHERE exchange LIKE 'many-%%'")[0]

    def begin_move(self):
        """The slot of a stream is half moved: its keys are still where they were."""
        stream = random.choice(self.streams)
        source = cluster.owner(stream)
        move = redis_cluster.slot_of(stream), source, random.choice([node for node in cluster.nodes if node is not source])
        cluster.begin_move(*move)
        return move

    def test_slots_move_while_it_is_claimed(self):
        seed = int(os.environ.get("BLOTTER_TEST_SEED", random.randrange(1 << 32)))
        print(f"# seed {seed}", flush=True)
        random.seed(seed)
        drainers = [self.engines.drain(cluster.url, "--consumer", f"many-{name}", "--streams", "blotter:many-*") for name in "ab"]
        self.add()
        engines.await_true(lambda: self.rows()["rows"] == self.STREAMS, "all streams are loaded")
        for _ in range(ROUNDS):
            with psycopg2.connect(servers.settings["BLOTTER_POSTGRES"]) as locker:
                locker.cursor().execute("LOCK TABLE blotter.order_events IN ACCESS EXCLUSIVE MODE")
                self.add()
                engines.await_true(lambda: self.pending() > self.STREAMS / 2, "entries are pending")
                for drainer in drainers:
                    drainer.kill()
            locker.close()
            move = self.begin_move()
            for drainer in drainers:
                drainer.start()
            deadline = time.monotonic() + support.TIMEOUT
            while self.rows()["rows"] < self.added * self.STREAMS:
                self.assertLess(time.monotonic(), deadline, "all rows in time")
                cluster.finish_move(*move)
                move = self.begin_move()
            cluster.finish_move(*move)
        engines.await_true(lambda: self.pending() == 0, "nothing is pending")
        self.assertEqual(self.rows(), {"rows": self.added * self.STREAMS, "orders": self.added * self.STREAMS})
        for drainer in drainers:
            engines.await_true(lambda drainer=drainer: engines.ready(drainer)[0] == 200, "ready")
            self.assertEqual(drainer.stop(), 0, drainer.text()[-3000:])


class UrlOfOneNode(unittest.TestCase):
    """redis:// shows what lies on that node; what waits on the others is not seen, and that is said."""

    def test_a_node_of_several_is_named(self):
        url = f"redis://127.0.0.1:{cluster.nodes[0].port}"
        drainer = started.drain(url, "--consumer", "of-one-node", "--streams", "blotter:nobody")
        self.addCleanup(drainer.kill)

        def named():
            status, text = engines.ready(drainer)
            return status == 503 and "redis+cluster://" in text

        engines.await_true(named, "not ready: one node of a cluster")
        status, text = servers.run("status", "--redis", url)
        self.assertEqual(status, 1, text)
        self.assertIn("redis+cluster://", text)

    def test_once_is_not_done_with_one_node(self):
        for node in cluster.nodes:
            status, text = servers.run("drain", "--once", "--redis", f"redis://127.0.0.1:{node.port}", "--streams", "blotter:nobody")
            self.assertEqual(status, 3, text)
            self.assertIn("redis+cluster://", text)
        status, text = servers.run("drain", "--once", "--redis", cluster.url, "--streams", "blotter:nobody")
        self.assertEqual(status, 0, text)

    def test_a_cluster_of_one_node_is_all_there_is(self):
        alone = started.redis("--cluster-enabled", "yes", "--cluster-port", engines.free_port())
        with engines.RedisClient(alone.port) as client:
            client("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            engines.await_true(lambda: "cluster_state:ok" in client("CLUSTER", "INFO"), "it serves")
        drainer = started.drain(f"redis://127.0.0.1:{alone.port}", "--consumer", "of-all", "--streams", "blotter:nobody")
        self.addCleanup(drainer.kill)
        engines.await_true(lambda: engines.ready(drainer)[0] == 200, "ready")


class Emptied(unittest.TestCase):
    def test_what_a_node_has_lost_is_no_stall(self):
        engine = engines.Engines()
        self.addCleanup(engine.close)
        alone = redis_cluster.Cluster(engine)
        exchange = redis_cluster.in_third_of("blotter:kucoin", "blotter:", "kucoin-emptied-")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        drainer = engine.drain(alone.url, "--consumer", "of-emptied")
        status, text = engines.publish(alone.url, engines.lines(10000, 5, exchange), "--until", "committed", journal=folder.name, exchange=exchange)
        self.assertEqual(status, 0, text)
        owner = alone.owner(f"blotter:{exchange}")
        owner.kill()
        engines.await_true(lambda: engines.ready(drainer)[0] == 503, "not ready: the stream's node is away")
        owner.start()  # without its data
        engines.await_true(lambda: engines.ready(drainer)[0] == 200, "ready again")


class Failover(Loaded):
    replicas = 1

    def test_master_killed(self):
        for number in range(3 if support.ALL else 1):
            master = self.cluster.owner(self.stream(number))
            gap = self.watch_commits(master, number)
            master.kill()
            gap.await_end()
        self.assert_all_stored_once()


if support.ALL:  # half a minute

    class ComingAndGoing(Loaded):
        def test_node_added_and_removed(self):
            slot, home = self.cluster.slot(self.stream()), self.cluster.owner(self.stream())
            added = self.cluster.add()
            self.cluster.move(slot, home, added)
            self.await_more(self.feeds[0].exchange)
            status, text = servers.run("status", "--redis", self.cluster.url)
            self.assertIn(self.stream(), text)
            self.cluster.move(slot, added, home)
            self.await_more(self.feeds[0].exchange)
            self.cluster.remove(added)
            self.await_more(self.feeds[0].exchange)
            engines.await_true(lambda: all(engines.ready(drainer)[0] == 200 for drainer in self.drainers), "ready without the node")
            self.assert_all_stored_once()

    class Stopped(Loaded):
        replicas = 1

        def test_master_stopped(self):
            master = self.cluster.owner(self.stream())
            gap = self.watch_commits(master)
            master.pause()
            gap.await_end()
            master.resume()
            self.await_more(self.feeds[0].exchange)
            self.assert_all_stored_once()


if __name__ == "__main__":
    support.main()
