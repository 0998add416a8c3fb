"""A lag that Redis remembers wrongly: where it has rewritten its append-only file and was killed later, XINFO GROUPS names for ever what the
group had not read at the rewrite. No drainer is disturbed by it, and no command shows it. And what looking at entries costs."""

import json
import subprocess
import unittest

import engines
import support

BLOTTER = support.BUILD / "blotter"
CLAIM_IDLE_S = 1


def setUpModule():
    global servers, running
    servers = support.Servers()
    running = engines.Engines()


def tearDownModule():
    running.close()
    servers.close()


def publish(redis, first, count):
    return engines.publish(redis.url, engines.lines(first, count, "okx"), journal=running.folder())


def drain(url, name):
    settings = ("--consumer", name, "--claim-idle", f"{CLAIM_IDLE_S}s", "--rebalance-interval", "50ms", "--log-level", "debug")
    return running.drain(url, *settings, postgres=servers.settings["BLOTTER_POSTGRES"])


class Lag(unittest.TestCase):
    def test_a_holder_is_not_disturbed_for_entries_that_do_not_wait(self):
        redis = running.redis("--appendonly", "yes", "--appendfsync", "always")
        self.assertEqual(publish(redis, 0, 10)[0], 0)
        self.drain_once(redis)
        self.assertEqual(publish(redis, 10, 50)[0], 0)
        with engines.RedisClient(redis.port) as client:
            client("BGREWRITEAOF")
            engines.await_true(lambda: "aof_rewrites:1" in client("INFO", "persistence"), "the file is rewritten")
            engines.await_true(lambda: "aof_rewrite_in_progress:0" in client("INFO", "persistence"), "and done")
        self.drain_once(redis)
        redis.kill()
        redis.start()
        engines.await_redis(redis)
        with engines.RedisClient(redis.port) as client:
            (group,) = [dict(zip(one[::2], one[1::2])) for one in client("XINFO", "GROUPS", "blotter:okx")]
            if not group["lag"]:
                print("# this Redis remembers no wrong lag", flush=True)
        holder = drain(redis.url, "holder")
        engines.await_true(lambda: engines.sample(holder, 'blotter_stream_lag{stream="blotter:okx"}') == 0, "nothing waits, says the holder")
        standby = drain(redis.url, "standby")
        with engines.RedisClient(redis.port) as client:
            before = self.looks(client)
            engines.await_true(lambda: self.looks(client) > before + 12, "the standby has looked for longer than it is patient")
        status = subprocess.run([BLOTTER, "status", "--json", "--redis", redis.url], capture_output=True, text=True, env=support.plain_environment())
        self.assertEqual(json.loads(status.stdout)["streams"][0]["lag"], 0)
        self.assertEqual(standby.stop(), 0)
        self.assertNotIn("no progress", standby.text())
        self.assertEqual(holder.stop(), 0, holder.text())
        self.assertNotIn("SQLSTATE", holder.text())
        # what comes now waits, and nothing else
        with engines.RedisClient(redis.port) as client:
            length = client("XLEN", "blotter:okx")
            self.assertEqual(publish(redis, 60, 3)[0], 0)
            come = client("XLEN", "blotter:okx") - length
            self.assertGreaterEqual(come, 3)
            gauge = client("EVAL", (support.TREE / "drainer/redis/gauge.lua").read_text(), "1", "blotter:okx", "drainers")
        status = subprocess.run([BLOTTER, "status", "--json", "--redis", redis.url], capture_output=True, text=True, env=support.plain_environment())
        self.assertEqual((gauge[0], json.loads(status.stdout)["streams"][0]["lag"]), (come, come))

    def test_a_large_entry_that_waits_is_written_out_once(self):
        """Redis takes twenty seconds for one of a gigabyte, and serves nobody else meanwhile."""
        redis = running.redis()
        drainer = drain(redis.url, "d")
        engines.await_true(lambda: engines.ready(drainer)[0] == 200, "a drainer that is ready")
        with engines.RedisClient(redis.port) as client:
            client("XADD", "blotter:okx", "*", "order", engines.order(1))
            engines.await_true(lambda: engines.sample(drainer, 'blotter_intake_acked_total') == 1, "one that stays")
        servers.tell("kill postgres")
        self.addCleanup(servers.tell, "start postgres")
        with engines.RedisClient(redis.port) as client:
            large = client("XADD", "blotter:okx", "*", "order", b"x" * (2 << 20))
            engines.await_true(lambda: engines.sample(drainer, 'blotter_stream_lag{stream="blotter:okx"}') == 1, "it waits")
            written, looks = self.calls(client, "xrange"), self.calls(client, "eval")
            engines.await_true(lambda: self.calls(client, "eval") > looks + 2, "it is looked at again")
            self.assertEqual(self.calls(client, "xrange"), written)
            self.assertGreater(engines.sample(drainer, 'blotter_stream_oldest_seconds{stream="blotter:okx"}'), 2)
            client("XDEL", "blotter:okx", large)
            engines.await_true(lambda: engines.sample(drainer, 'blotter_stream_lag{stream="blotter:okx"}') == 0, "nothing waits")
            self.assertEqual(client("XLEN", "blotter:okx"), 1)
            client("XTRIM", "blotter:okx", "MAXLEN", 0)
            engines.await_true(lambda: engines.sample(drainer, 'blotter_stream_lag{stream="blotter:okx"}') == 0, "nothing waits")
        drainer.kill()

    def test_status_is_sent_no_entry(self):
        """Who may add to a stream chooses how large its entries are, and the page asks once a second."""
        redis = running.redis()
        with engines.RedisClient(redis.port) as client:
            ids = [client("XADD", "blotter:okx", "*", "order", b"x" * (4 << 20)) for _ in range(10)]
            client("XGROUP", "CREATE", "blotter:okx", "mirrors", "0")
            client("ACL", "SETUSER", "watcher", "on", ">pw", "~*", "&*", "+@all", "-eval")
            seen, stream = self.status(client, redis.url)
            self.assertEqual((stream["lag"], stream["mirror_lag"], stream["lag_counted"]), (10, 10, False))
            self.assertGreater(stream["behind_s"], 0)
            self.assertEqual(seen["behind_s"], stream["behind_s"])
            # who may not have Redis look is told what Redis remembers
            seen, stream = self.status(client, f"redis://watcher:pw@127.0.0.1:{redis.port}")
            self.assertEqual((stream["lag"], stream["mirror_lag"], stream["behind_s"], seen["behind_s"]), (10, 10, None, None))
            client("XGROUP", "CREATE", "blotter:okx", "drainers", ids[4])
            seen, stream = self.status(client, f"redis://watcher:pw@127.0.0.1:{redis.port}")
            self.assertEqual((stream["lag"], stream["behind_s"]), (None, None))

    def status(self, client, url):
        sent = self.sent(client)
        done = subprocess.run([BLOTTER, "status", "--json"], capture_output=True, text=True, env=support.plain_environment(BLOTTER_REDIS=url))
        self.assertLess(self.sent(client) - sent, 1 << 20)
        seen = json.loads(done.stdout)
        return seen, seen["streams"][0]

    def test_status_has_a_large_entry_looked_at_once(self):
        redis = running.redis()
        with engines.RedisClient(redis.port) as client:
            client("XADD", "blotter:okx", "*", "order", b"x" * (2 << 20))
            watch = running.start("status", BLOTTER, "status", "--json", "--watch", "--interval", "100ms", BLOTTER_REDIS=redis.url)
            engines.await_true(lambda: watch.text().count("\n") > 5, "several looks")
            self.assertLessEqual(self.calls(client, "xrange"), 1)
            self.assertIn('"lag": 1', watch.text().splitlines()[-1])
        watch.kill()

    @staticmethod
    def sent(client):
        return int(client("INFO", "stats").split("total_net_output_bytes:")[1].split()[0])

    def looks(self, client):
        return self.calls(client, "xinfo|groups")

    @staticmethod
    def calls(client, command):
        line = next((line for line in client("INFO", "commandstats").splitlines() if line.startswith(f"cmdstat_{command}:")), "calls=0,")
        return int(line.split("calls=")[1].split(",")[0])

    @staticmethod
    def drain_once(redis):
        command = [BLOTTER, "drain", "--once", "--redis", redis.url, "--postgres", servers.settings["BLOTTER_POSTGRES"]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=support.TIMEOUT, env=support.plain_environment())
        if done.returncode != 0:
            raise AssertionError(done.stderr)


if __name__ == "__main__":
    support.main()
