"""A Redis whose answers take long: the drainer asks for more at a time, so a backlog is loaded in few round trips."""

import json
import subprocess
import tempfile
import unittest

import engines
import support

ROWS = 20000
SECONDS = 0.3  # more than a read takes here at a high load
READS = 20  # with 400 entries each there were 50

servers = None


def setUpModule():
    global servers
    servers = support.Servers()


def tearDownModule():
    servers.close()


class FarRedis(unittest.TestCase):
    def setUp(self):
        self.engines = engines.Engines()
        self.addCleanup(self.engines.close)

    def test_backlog_is_read_in_few_round_trips(self):
        redis = self.engines.redis()
        with tempfile.TemporaryDirectory() as journal:
            lines = "".join(json.dumps({"order_id": str(i), "symbol": "A"}) + "\n" for i in range(ROWS))
            subprocess.run(
                [support.BUILD / "blotter", "publish", "--redis", redis.url, "--exchange", "okx", "--journal", journal],
                input=lines,
                text=True,
                check=True,
                capture_output=True,
                env=support.plain_environment(),
            )
        far = engines.FarRedis(redis.port, SECONDS)
        self.addCleanup(far.close)
        drainer = self.engines.drain(far.url)
        engines.await_true(
            lambda: servers.query("SELECT count(*) FROM blotter.order_events")[0]["count"] == ROWS, "all rows", 3 * support.TIMEOUT
        )
        with engines.RedisClient(redis.port) as client:
            calls = client("INFO", "commandstats").split("cmdstat_xreadgroup:calls=")[1].split(",")[0]
        self.assertLess(int(calls), READS)
        self.assertEqual(drainer.stop(), 0, drainer.text())


if __name__ == "__main__":
    support.main()
