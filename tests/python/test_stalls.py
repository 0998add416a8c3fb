"""Guarantee 9: whenever records wait and do not move, /readyz, the log, `status` and `check` say which stream, and why.

One list of stalls, one test: each is made, a record is published, and then everything that looks has to name it."""

import json
import socket
import subprocess
import time
import unittest
import urllib.error
import urllib.request

import psycopg2

import support

SEEN_WITHIN = 5  # seconds: three of standing still, two until the gauge is read again
BUSY_MACHINE = 20  # seconds that this may take where others use the processors


def redis(*arguments):
    socket = servers.settings["BLOTTER_REDIS"].removeprefix("unix://")
    return subprocess.run(["redis-cli", "-s", socket, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def make_redis_user():
    redis("ACL", "SETUSER", "loader", "on", ">pw", "~*", "+@all")


def start_redis():
    servers.tell("start redis")
    make_redis_user()  # which is nowhere on disk


def setUpModule():
    global servers
    servers = support.Servers()
    servers.query("CREATE ROLE loader LOGIN IN ROLE blotter_drainer")
    make_redis_user()


class Stall:
    """How it is made and ended; what /readyz, status and the log have to say, and the reason that /readyz gives as soon as it is known."""

    def __init__(self, make, end, ready, status=None, reason=""):
        self.make, self.end, self.ready, self.status, self.reason = make, end, ready, status, reason


def sql(text):
    return lambda: servers.query(text)


class Holder:
    """A forgotten transaction."""

    def __init__(self, statement):
        self.statement = statement

    def begin(self):
        self.connection = psycopg2.connect(servers.settings["BLOTTER_POSTGRES"], application_name="forgetful")
        self.connection.cursor().execute(self.statement)

    def end(self):
        self.connection.close()


table_lock = Holder("LOCK TABLE blotter.order_events IN ACCESS EXCLUSIVE MODE")

STALLS = {
    "PostgreSQL is away": Stall(
        lambda: servers.tell("kill postgres"), lambda: servers.tell("start postgres"), "postgres: not connected", "cannot connect"),
    "Redis is away": Stall(
        lambda: servers.tell("kill redis"), start_redis, "redis: not connected", "cannot connect"),
    "a table is locked": Stall(table_lock.begin, table_lock.end, "blotter:okx", "forgetful",
        'application "forgetful", AccessExclusiveLock on blotter'),
    "a right is missing": Stall(
        sql("REVOKE INSERT ON blotter.order_events FROM blotter_drainer"),
        sql("GRANT INSERT ON blotter.order_events TO blotter_drainer"), "blotter:okx", "blotter:okx",
        "permission denied for table order_events, SQLSTATE 42501; this needs a person"),
    "Redis refuses to be read": Stall(
        lambda: redis("ACL", "SETUSER", "loader", "-xreadgroup"), lambda: redis("ACL", "SETUSER", "loader", "+xreadgroup"),
        "NOPERM"),
    "Redis refuses to list a new stream": Stall(
        lambda: (redis("ACL", "SETUSER", "loader", "-scan"), add("kraken")), lambda: redis("ACL", "SETUSER", "loader", "+scan"),
        "new streams cannot be found"),
    "Redis was demoted": Stall(
        lambda: redis("REPLICAOF", "127.0.0.1", "1"), lambda: redis("REPLICAOF", "NO", "ONE"), "redis: not connected"),
}


class Drainer:
    def __init__(self, name):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.log_path = servers.folder / f"stall-{name.replace(' ', '-')}.log"
        self.log = self.log_path.open("w")
        path = servers.settings["BLOTTER_REDIS"].removeprefix("unix://")
        environment = support.plain_environment(
            BLOTTER_LOCK_TIMEOUT="1s",
            BLOTTER_REDIS=f"unix://loader:pw@{path}", BLOTTER_POSTGRES=servers.settings["BLOTTER_POSTGRES"].replace("user=postgres", "user=loader"))
        self.program = servers.start(servers.program, "drain", "--metrics", str(self.port), env=environment, stderr=self.log)

    def ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return 200, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def await_ready(self):
        try:
            support.wait_until(lambda: self.ready()[0] == 200)
        except AssertionError as error:
            raise AssertionError(f"{self.ready()}\n{self.log_path.read_text()[-3000:]}") from error

    def stop(self):
        self.program.terminate()
        self.program.wait(support.TIMEOUT)
        self.log.close()


def add(exchange="okx"):
    """Records an order, as a user of Redis that keeps its rights."""
    subprocess.run([servers.program, "publish", "--exchange", exchange, "--timeout", "3s"], input='{"order_id": "1"}\n', text=True,
                   env=support.plain_environment(), capture_output=True)


class Stalls(unittest.TestCase):
    def test_each_is_seen_and_named(self):
        add()  # so that the stream is there
        took = []
        for name, stall in STALLS.items():
            with self.subTest(name):
                drainer = Drainer(name)
                drainer.await_ready()
                code, text = servers.run("check", "--json")
                self.assertNotIn('"where": "stream"', text)
                try:
                    if name.startswith("Redis"):
                        add()
                        stall.make()
                    else:
                        stall.make()
                        add()
                    began = time.monotonic()
                    self.await_named(drainer, stall, began)
                    took.append(time.monotonic() - began)
                    print(f"# {name}: seen after {time.monotonic() - began:.1f} s: {drainer.ready()[1].strip()[:150]}", flush=True)
                    self.await_reason(drainer, stall)
                    self.assert_log_names(drainer)
                    if stall.status:
                        self.await_status(stall)
                finally:
                    stall.end()
                    try:
                        self.await_moving(drainer)
                    finally:
                        drainer.stop()

        on_time = [seconds for seconds in took if seconds <= SEEN_WITHIN]
        self.assertGreater(2 * len(on_time), len(STALLS), took)
        self.assertTrue(any(seconds > 1 for seconds in on_time), took)  # one that only the standing record shows

    def await_reason(self, drainer, stall):
        try:
            support.wait_until(lambda: stall.reason in drainer.ready()[1])
        except AssertionError as error:
            raise AssertionError(f"{stall.reason!r} is not in {drainer.ready()}") from error

    def await_named(self, drainer, stall, began):
        while True:
            code, text = drainer.ready()
            if code == 503 and stall.ready in text:
                return
            if time.monotonic() - began > BUSY_MACHINE:
                self.fail(f"/readyz says {code}: {text}\n{drainer.log_path.read_text()}")
            time.sleep(0.1)

    def await_moving(self, drainer):
        deadline = time.monotonic() + support.TIMEOUT
        while drainer.ready()[0] != 200 or json.loads(servers.run("status", "--json")[1]).get("behind_s") != 0:
            if time.monotonic() > deadline:
                self.fail(f"it does not go on: /readyz says {drainer.ready()}\n{drainer.log_path.read_text()}")
            time.sleep(0.1)

    def assert_log_names(self, drainer):
        lines = [line for line in drainer.log_path.read_text().splitlines() if "level=warn" in line or "level=error" in line]
        self.assertNotEqual(lines, [])

    def await_status(self, stall):
        """status and check fail, and say the reason; they have five seconds of patience."""
        def named():
            status, text = servers.run("status", "--connect-timeout", "1s")
            check_status, check_text = servers.run("check", "--connect-timeout", "1s")
            return status != 0 and check_status != 0 and stall.status in text and ("cannot connect" in text or stall.status in check_text)
        support.wait_until(named, 30)

    def test_without_any_drainer(self):
        add()
        def named():
            status, text = servers.run("status", "--max-behind", "100ms")
            return status == 1 and "stuck: blotter:okx" in text and "no drainer is connected" in text
        support.wait_until(named, 30)
        status, text = servers.run("check", "--max-behind", "100ms")
        self.assertEqual(status, 1)
        self.assertIn("no drainer is connected", text)


if __name__ == "__main__":
    support.main()
