"""deploy/redis-users.acl: with these rights everything works, and a producer of one exchange reaches no other."""

import contextlib
import json
import os
import signal
import subprocess
import unittest

import engines
import questdb_server
import support

USERS = support.TREE / "deploy/redis-users.acl"
PASSWORD = "secret-of-the-test"


def redis(*arguments, user=None):
    socket = servers.settings["BLOTTER_REDIS"].removeprefix("unix://")
    login = ["--user", user, "--pass", PASSWORD, "--no-auth-warning"] if user else []
    return subprocess.run(["redis-cli", "-s", socket, *login, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def as_user(user):
    socket = servers.settings["BLOTTER_REDIS"].removeprefix("unix://")
    return support.plain_environment(BLOTTER_REDIS=f"unix://{user}@{socket}", BLOTTER_REDIS_PASSWORD=PASSWORD)


def setUpModule():
    global servers
    servers = support.Servers()
    for line in USERS.read_text().splitlines():
        if line.startswith("user "):
            _, name, *rules = line.split()
            redis("ACL", "SETUSER", name, *[f">{PASSWORD}" if rule == "off" else rule for rule in rules], "on")


def publish(exchange, count, *arguments):
    lines = "".join(json.dumps({"order_id": str(i), "symbol": "BTC/USDT"}) + "\n" for i in range(count))
    command = [servers.program, "publish", "--exchange", exchange, "--until", "committed", "--timeout", "60s", *arguments]
    return subprocess.run(command, input=lines, env=as_user(f"blotter-{exchange}"), text=True, capture_output=True, timeout=support.TIMEOUT)


class Mirror(unittest.TestCase):
    def test_mirrors_need_no_more(self):
        with contextlib.closing(engines.Engines()) as running:
            server = questdb_server.Questdb(running)
            drainer = servers.start(servers.program, "drain", env=as_user("blotter-drain"), stderr=subprocess.DEVNULL)
            redis("ACL", "LOG", "RESET")
            for name, count in (("first", 3000), ("second", 100)):  # the second takes what the first had read
                rows = self.rows(server) + count
                self.assertEqual(publish("okx", count).returncode, 0)
                command = ("mirror", "--consumer", name, "--questdb", server.conf, "--rebalance-interval", "50ms")
                mirror = servers.start(servers.program, *command, env=as_user("blotter-mirror"), stderr=subprocess.DEVNULL)
                engines.await_true(lambda: self.rows(server) >= rows, "all is stored")  # noqa: B023
                mirror.send_signal(signal.SIGKILL if name == "first" else signal.SIGTERM)
                status = mirror.wait(support.TIMEOUT)
            self.assertEqual(status, 0)
            self.assertEqual(redis("ACL", "LOG"), "")
            drainer.send_signal(signal.SIGTERM)
            drainer.wait()

    @staticmethod
    def rows(server):
        try:
            return server.count("order_events")
        except AssertionError:
            return 0  # no table yet

    def test_a_mirror_neither_adds_nor_trims_nor_confirms(self):
        for command in (
            ["XADD", "blotter:okx", "*", "order", "x"],
            ["XTRIM", "blotter:okx", "MAXLEN", "0"],
            ["DEL", "blotter:okx"],
            ["XADD", "blotter-ack:{blotter:okx}:1", "*", "ok", "1-9"],
            ["HSET", "blotter-load:{blotter:okx}", "n", "0"],
            ["FLUSHALL"],
        ):
            self.assertIn("NOPERM", redis(*command, user="blotter-mirror"), command)


class LeastRights(unittest.TestCase):
    def setUp(self):
        redis("ACL", "LOG", "RESET")

    def drain(self, *arguments):
        arguments = ("--trim-interval", "100ms", "--keep-entries", "10", "--keep-time", "0", "--claim-idle", "1s", "--rebalance-interval", "50ms", *arguments)
        return servers.start(servers.program, "drain", *arguments, env=as_user("blotter-drain"), stderr=subprocess.DEVNULL)

    def test_producers_and_drainers_need_no_more(self):
        first, second = self.drain("--consumer", "first"), self.drain("--consumer", "second")
        for exchange in ("okx", "kraken"):
            done = publish(exchange, 3000)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(json.loads(done.stdout)["committed"], 3000)
        first.send_signal(signal.SIGKILL)  # the other takes its streams, and what it had read
        first.wait()
        for exchange in ("okx", "kraken"):
            self.assertEqual(publish(exchange, 100).returncode, 0)
        support.wait_until(lambda: int(redis("XLEN", "blotter:okx")) < 1000)  # trimmed
        status, text = servers.run("audit")
        self.assertEqual(status, 0, text)
        second.send_signal(signal.SIGTERM)
        self.assertEqual(second.wait(support.TIMEOUT), 0)
        self.assertEqual(redis("ACL", "LOG"), "")

    def test_check_accepts_each_and_names_what_is_missing(self):
        for user, arguments in (("blotter-okx", ["--exchange", "okx"]), ("blotter-drain", [])):
            done = subprocess.run([servers.program, "check", "--json", *arguments], env=as_user(user), capture_output=True, text=True)
            findings = [c for c in json.loads(done.stdout)["checks"] if c["where"] == "redis"]
            self.assertEqual([c for c in findings if c["result"] == "bad"], [], done.stdout)
            self.assertIn(f"user {user} may ", str(findings))
        done = subprocess.run([servers.program, "check", "--json", "--exchange", "kraken"], env=as_user("blotter-okx"), capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("may not", done.stdout)

    def test_a_producer_reaches_no_other_exchange(self):
        for command in (
            ["XADD", "blotter:kraken", "*", "order", "x"],
            ["XADD", "blotter:okx2", "*", "order", "x"],
            ["XADD", "blotter-ack:{blotter:okx}:1", "*", "ok", "1-9"],
            ["XRANGE", "blotter:kraken", "-", "+"],
            ["DEL", "blotter:okx"],
            ["XGROUP", "DESTROY", "blotter:okx", "drainers"],
            ["FLUSHALL"],
            ["CONFIG", "GET", "*"],
            ["SCAN", "0"],
            ["DBSIZE"],
            ["HSET", "blotter-load:{blotter:okx}", "n", "0"],
        ):
            self.assertIn("NOPERM", redis(*command, user="blotter-okx"), command)

    def test_the_file_has_no_password_and_no_user_that_is_on(self):
        for line in USERS.read_text().splitlines():
            if line.startswith("user "):
                self.assertIn(" off ", line)
                self.assertNotRegex(line, r" (on|nopass|[>#]\S+)( |$)")


if __name__ == "__main__":
    if not questdb_server.available():
        del Mirror
    support.main()
