"""A Redis Cluster: producers and drainers find the master of each stream's slot, and follow it wherever it goes."""

import re
import tempfile
import unittest

import engines
import redis_cluster
import support

GAP_BEYOND_FAILOVER = 2  # seconds; DESIGN §8

cluster = None
started = None


def setUpModule():
    global cluster, started
    started = engines.Engines()
    cluster = redis_cluster.Cluster(started)


def tearDownModule():
    started.close()


class Producer(unittest.TestCase):
    """Without drainers: what is sent is counted in the stream."""

    def setUp(self):
        self.exchange = self.id().rsplit(".")[-1].replace("test_", "").replace("_", "-")[:30]
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


if __name__ == "__main__":
    support.main()
