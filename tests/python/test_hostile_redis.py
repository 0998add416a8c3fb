"""What a rogue Redis, or a man in the middle, can send: it costs a connection, never a process, and never its memory. And what a slow one costs."""

import hashlib
import json
import subprocess
import tempfile
import threading
import unittest

import engines
import support

servers = None


def setUpModule():
    global servers
    servers = support.Servers()


class HostileRedis(unittest.TestCase):
    def setUp(self):
        self.engines = engines.Engines()
        self.addCleanup(self.engines.close)

    def fake(self, answer, host="127.0.0.1"):
        fake = engines.FakeRedis(answer, host)
        self.addCleanup(fake.close)
        return fake

    def test_answer_that_no_command_waits_for_ends_the_connection_not_the_drainer(self):
        for late in (b"+LATE\r\n", b":1\r\n", b"*1\r\n$1\r\na\r\n", b"$-1\r\n", b"-ERR late\r\n"):
            with self.subTest(late=late):
                # Two answers to the greeting: the second comes to nobody.
                fake = self.fake(lambda words, late=late: b"+OK\r\n" + late if words[0] == "CLIENT" else None)
                drainer = self.engines.drain(f"redis://127.0.0.1:{fake.port}")
                engines.await_true(lambda fake=fake: fake.connections >= 6, "new connections after each answer")
                self.assertIsNone(drainer.process.poll(), drainer.text())
                drainer.kill()

    def test_answer_that_no_command_waits_for_ends_the_connection_not_the_strategy(self):
        fake = self.fake(lambda words: b"+OK\r\n+LATE\r\n" if words[0] in ("CLIENT", "PING") else None)
        with tempfile.TemporaryDirectory() as folder:
            status, text = engines.publish(
                f"redis://127.0.0.1:{fake.port}", engines.lines(1, 3), "--until", "committed", "--timeout", "3s", journal=folder + "/j"
            )
        self.assertEqual(status, 3, text)
        self.assertGreater(fake.connections, 1)
        self.assertIn("answer to no command", text)

    def test_answers_of_absurd_sizes_do_not_cost_memory(self):
        def absurd(words):
            return {"SCAN": b"*2147483647\r\n", "CLIENT": b"+OK\r\n"}.get(words[0])

        fake = self.fake(absurd)
        drainer = self.engines.drain(f"redis://127.0.0.1:{fake.port}")
        engines.await_true(lambda: fake.connections >= 6, "new connections")
        self.assertLess(drainer.memory_kib(), 32 * 1024)
        self.assertIsNone(drainer.process.poll(), drainer.text())
        drainer.kill()  # a stop while Redis is away would end with 1

    def test_node_that_answers_every_greeting_with_moved_is_given_up(self):
        fakes = []

        def moved(words):
            if words[:2] in (["CLUSTER", "SLOTS"], ["CLUSTER", "SHARDS"], ["CLUSTER", "NODES"]):
                return b"*0\r\n"
            return b"-MOVED 1 127.0.0.2:%d\r\n" % fakes[0].port

        fakes.append(self.fake(moved, "0.0.0.0"))
        done = subprocess.run(
            [support.BUILD / "blotter", "status", "--redis", f"redis+cluster://127.0.0.1:{fakes[0].port}"],
            capture_output=True,
            text=True,
            timeout=support.TIMEOUT,
            env=support.plain_environment(),
        )
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("MOVED", done.stderr)


    def test_sentinel_whose_answer_never_ends_holds_up_none_of_the_others(self):
        """hiredis by itself waits anew for each byte, and keeps them all."""
        redis = self.engines.redis()
        address = b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(redis.port)), redis.port)
        done = threading.Event()
        self.addCleanup(done.set)

        def drip(_):
            yield b"+"
            while not done.wait(0.1):
                yield b"x"

        def flood(_):
            yield b"*1000000\r\n"
            while not done.is_set():
                yield b":1\r\n" * 100000

        for endless in (drip, flood):
            rogue = self.fake(endless)
            honest = self.fake(lambda words: address if words[:2] == ["SENTINEL", "get-master-addr-by-name"] else b"-NOPERM x\r\n")
            status, text = engines.publish(
                f"redis+sentinel://127.0.0.1:{rogue.port},127.0.0.1:{honest.port}/desk", engines.lines(1, 3), journal=tempfile.mkdtemp()
            )
            self.assertEqual(status, 0, text)

    def test_what_a_server_says_moves_no_terminals_cursor(self):
        fake = self.fake(lambda words: b"-ERR \x1b]0;owned\x07 \xc2\x9b2J \xff\r\n")
        for command in ("status", "check"):
            done = subprocess.run(
                [support.BUILD / "blotter", command, "--redis", f"redis://127.0.0.1:{fake.port}"], capture_output=True, env=support.plain_environment(), timeout=support.TIMEOUT
            )
            self.assertRegex((done.stdout + done.stderr).decode(), r"owned")
            self.assertNotRegex((done.stdout + done.stderr).decode(), r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class LongEntries(unittest.TestCase):
    """Entries of any size: a reject that keeps their beginning; neighbours are stored; memory stays small."""

    MEMORY_KIB = 32 * 1024

    def setUp(self):
        self.engines = engines.Engines()
        self.addCleanup(self.engines.close)
        self.redis = self.engines.redis()
        self.client = engines.RedisClient(self.redis.port)
        self.addCleanup(self.client.close)
        servers.query("TRUNCATE blotter.rejects")

    def load(self, exchange, *values):
        """Adds an entry of these fields and values between two good ones. Returns the drainer once all three are done with."""
        with tempfile.TemporaryDirectory() as folder:
            url = self.redis.url
            self.assertEqual(engines.publish(url, engines.lines(1, 1, exchange), journal=folder, exchange=exchange)[0], 0)
            self.assertIn("-", self.client("XADD", f"blotter:{exchange}", "*", *values))
            self.assertEqual(engines.publish(url, engines.lines(2, 1, exchange), journal=folder, exchange=exchange)[0], 0)
        drainer = self.engines.drain(self.redis.url)
        engines.await_true(
            lambda: servers.query("SELECT count(*) FROM blotter.order_events WHERE exchange = %s", exchange)[0]["count"] == 2
            and servers.query("SELECT count(*) FROM blotter.rejects WHERE stream = %s", f"blotter:{exchange}")[0]["count"] == 1,
            "two rows and a reject",
        )
        engines.await_true(lambda: self.client("XPENDING", f"blotter:{exchange}", "drainers")[0] == 0, "all acknowledged")
        self.assertLess(drainer.memory_kib(), self.MEMORY_KIB)
        # which has Redis write out the first and the last entry whole
        self.assertNotIn("xinfo|stream", self.client("INFO", "commandstats"))
        return drainer

    def assert_reject(self, exchange, whole):
        reject = servers.query("SELECT reason, raw, raw_length, raw_sha256 FROM blotter.rejects WHERE stream = %s", f"blotter:{exchange}")[0]
        self.assertEqual(reject["raw_length"], len(whole))
        self.assertEqual(bytes(reject["raw"]), whole[:65536])
        self.assertEqual(bytes(reject["raw_sha256"]), hashlib.sha256(whole).digest())
        self.assertIn(f"the entry has {len(whole)} bytes", reject["reason"])

    def test_one_value_of_100_mib(self):
        value = b"\x81" + b"v" * (100 << 20)
        self.load("long1", "order", value)
        self.assert_reject("long1", value)

    def test_thousand_fields_of_100_kib(self):
        parts = []
        for i in range(1000):
            parts += [b"field%d" % i, b"%d" % i * 25000]
        self.load("long2", *parts)
        self.assert_reject("long2", b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))

    def test_many_fields_of_a_few_bytes(self):
        parts = [b"f%d" % i for i in range(200000)]
        self.load("long3", *parts)
        self.assert_reject("long3", b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))

    def test_entries_just_within_and_beyond_the_limit(self):
        self.load("edge1", "order", b"x" * 65537)
        self.assert_reject("edge1", b"x" * 65537)
        whole = servers.query("SELECT raw_length FROM blotter.rejects")[0]["raw_length"]
        self.assertEqual(whole, 65537)

    def test_backlog_of_long_entries_is_claimed_piece_by_piece(self):
        for i in range(300):
            self.client("XADD", "blotter:long4", "*", "order", b"%03d" % i + b"y" * (1 << 20))
        drainer = self.engines.drain(self.redis.url, "--batch-bytes", "1MiB")
        count = "SELECT count(*), count(DISTINCT raw_sha256) AS different FROM blotter.rejects WHERE stream = 'blotter:long4'"
        engines.await_true(lambda: servers.query(count)[0] == {"count": 300, "different": 300}, "300 rejects")
        engines.await_true(lambda: self.client("XPENDING", "blotter:long4", "drainers")[0] == 0, "all acknowledged")
        self.assertLess(drainer.memory_kib(), self.MEMORY_KIB)


class EntryIds(unittest.TestCase):
    """Whoever adds an entry may choose its id."""

    def setUp(self):
        self.engines = engines.Engines()
        self.addCleanup(self.engines.close)
        self.redis = self.engines.redis()

    def test_loading_again_goes_beyond_the_last_id_of_a_millisecond(self):
        """The id behind it was taken for the first of that millisecond, so the same page came for ever."""
        greatest = 2**64 - 1
        with engines.RedisClient(self.redis.port) as client:
            for exchange, last in (("ids1", f"5-{greatest}"), ("ids2", f"{greatest}-{greatest}")):
                client("XADD", f"blotter:{exchange}", "1-1", "order", engines.order(1))
                client("XADD", f"blotter:{exchange}", last, "order", engines.order(2))
        for settings in ((), ("--from", "0-1")):
            done = subprocess.run(
                [support.BUILD / "blotter", "drain", "--once", "--redis", self.redis.url, "--postgres", servers.settings["BLOTTER_POSTGRES"], *settings],
                capture_output=True,
                text=True,
                timeout=support.TIMEOUT,
                env=support.plain_environment(),
            )
            self.assertEqual(done.returncode, 0, done.stderr)
        for exchange in ("ids1", "ids2"):
            self.assertEqual(servers.query(f"SELECT count(*) FROM blotter.rejects WHERE stream = 'blotter:{exchange}'")[0]["count"], 2)


class KeysOfAProducer(unittest.TestCase):
    """A producer may write what it likes into its stream and the stream's id: no other stream suffers."""

    def setUp(self):
        self.engines = engines.Engines()
        self.addCleanup(self.engines.close)
        redis = self.engines.redis()
        self.url = redis.url
        self.client = engines.RedisClient(redis.port)
        self.addCleanup(self.client.close)

    def rows(self, exchange):
        return servers.query("SELECT count(*) FROM blotter.order_events WHERE exchange = %s", exchange)[0]["count"]

    def add(self, exchange):
        before = self.rows(exchange)
        self.client("XADD", f"blotter:{exchange}", "*", "order", engines.order(1))
        engines.await_true(lambda: self.rows(exchange) == before + 1, f"the entry of {exchange} is loaded")

    def test_something_else_in_the_place_of_a_stream(self):
        drainer = self.engines.drain(self.url)
        for exchange in ("evil1", "honest1"):
            self.add(exchange)
        self.client("SET", "blotter:evil1", "x")
        for _ in range(3):
            self.add("honest1")
        engines.await_true(lambda: "object=blotter:evil1 msg=\"given up\"" in drainer.text(), "what is no stream is given up")
        self.client("DEL", "blotter:evil1")
        self.add("evil1")
        self.assertEqual(drainer.stop(), 0, drainer.text())

    def test_something_else_in_the_place_of_a_streams_id(self):
        for exchange, *command in (("evil2", "SET"), ("evil3", "RPUSH"), ("evil4", "SET")):
            self.client(*command, f"blotter-id:{{blotter:{exchange}}}", b"x" * (2 << 20 if exchange == "evil4" else 32))
        self.engines.drain(self.url)
        for exchange in ("honest2", "evil2", "evil3", "evil4"):
            self.add(exchange)


class SlowRedis(unittest.TestCase):
    ROWS = 20000
    SECONDS = 0.3  # more than a read takes here at a high load
    READS = 20  # with 400 entries each there were 50

    def setUp(self):
        self.engines = engines.Engines()
        self.addCleanup(self.engines.close)

    def test_drain_once_ends_only_when_what_it_found_is_loaded(self):
        """The answer with a stream's id comes long after the look that found the stream, and after the leases were looked at."""
        busy = "for i = 1, 5000000 do end"  # some 40 ms; TIME stands still in scripts of Redis 7.2 and later
        path = servers.settings["BLOTTER_REDIS"].removeprefix("unix://")
        done = threading.Event()

        def keep_busy():
            while not done.is_set():
                subprocess.run(["redis-cli", "-s", path, "EVAL", busy, "0"], check=True, capture_output=True)

        for i in range(4):
            subprocess.run([servers.program, "publish", "--exchange", f"slow{i}", "--until", "sent"], input='{"order_id": "1"}\n', text=True, check=True, capture_output=True)
            keepers = [threading.Thread(target=keep_busy) for _ in range(3)]
            for keeper in keepers:
                keeper.start()
            try:
                code, text = servers.run("drain", "--once", "--streams", f"blotter:slow{i}")
            finally:
                done.set()
                for keeper in keepers:
                    keeper.join()
                done.clear()
            self.assertEqual(code, 0, text)
            self.assertEqual(servers.query(f"SELECT count(*) AS n FROM blotter.order_events WHERE exchange = 'slow{i}'")[0]["n"], 1, text)

    def test_backlog_of_a_far_redis_is_read_in_few_round_trips(self):
        redis = self.engines.redis()
        with tempfile.TemporaryDirectory() as journal:
            lines = "".join(json.dumps({"order_id": str(i), "symbol": "A"}) + "\n" for i in range(self.ROWS))
            subprocess.run(
                [support.BUILD / "blotter", "publish", "--redis", redis.url, "--exchange", "far", "--journal", journal],
                input=lines,
                text=True,
                check=True,
                capture_output=True,
                env=support.plain_environment(),
            )
        far = engines.FarRedis(redis.port, self.SECONDS)
        self.addCleanup(far.close)
        drainer = self.engines.drain(far.url)
        engines.await_true(
            lambda: servers.query("SELECT count(*) FROM blotter.order_events WHERE exchange = 'far'")[0]["count"] == self.ROWS, "all rows", 3 * support.TIMEOUT
        )
        with engines.RedisClient(redis.port) as client:
            calls = client("INFO", "commandstats").split("cmdstat_xreadgroup:calls=")[1].split(",")[0]
        self.assertLess(int(calls), self.READS)
        self.assertEqual(drainer.stop(), 0, drainer.text())


if __name__ == "__main__":
    support.main()
