"""pgbouncer between Blotter and PostgreSQL: by session it works, by transaction it is refused with what to do about it."""

import contextlib
import os
import re
import socket
import subprocess
import tempfile
import unittest
import urllib.error
import urllib.request
from pathlib import Path

import engines
import psycopg2
import support

servers = None


def setUpModule():
    global servers
    servers = support.Servers()


class Pooler:
    """A pgbouncer of our own in front of the test's PostgreSQL."""

    def __init__(self, mode, size=20):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        direct = servers.settings["BLOTTER_POSTGRES"]
        folder = Path(tempfile.mkdtemp(prefix=f"pooler-{mode}-", dir=servers.folder))
        (folder / "users").write_text('"postgres" ""\n')
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\nblotter = {direct}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = any\nauth_file = {folder}/users\npool_mode = {mode}\ndefault_pool_size = {size}\nserver_login_retry = 1\n"
        )
        for path in (folder, folder / "users", folder / "pgbouncer.ini"):
            path.chmod(0o755)
        as_user = ["-u", "postgres"] if os.geteuid() == 0 else []
        self._command = ["/usr/sbin/pgbouncer", "-q", *as_user, str(folder / "pgbouncer.ini")]
        self.conninfo = f"host=127.0.0.1 port={self.port} user=postgres dbname=blotter"
        self.start()

    def start(self):
        self.program = servers.start(*self._command, stderr=subprocess.DEVNULL)
        support.wait_until(self._answers)

    def _answers(self):
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self):
        self.program.kill()
        self.program.wait()


class Modes(unittest.TestCase):
    def pooler(self, mode, size=20):
        pooler = Pooler(mode, size)
        self.addCleanup(pooler.close)
        return pooler

    def blotter(self, conninfo, *arguments):
        return subprocess.run(
            [servers.program, *arguments],
            env=support.plain_environment(BLOTTER_POSTGRES=conninfo),
            capture_output=True,
            text=True,
            timeout=support.TIMEOUT,
        )

    def test_by_session_everything_works(self):
        pooler = self.pooler("session")
        lines = "".join(f'{{"order_id": "p{n}", "symbol": "BTC/USDT", "status": "open"}}\n' for n in range(20))
        publish = [servers.program, "publish", "--exchange", "okx"]
        published = subprocess.run(publish, input=lines, env=support.plain_environment(), text=True, timeout=support.TIMEOUT)
        self.assertEqual(published.returncode, 0)
        self.assertEqual(self.blotter(pooler.conninfo, "migrate").returncode, 0)
        drained = self.blotter(pooler.conninfo, "drain", "--once")
        self.assertEqual(drained.returncode, 0, drained.stderr)
        self.assertEqual(servers.query("SELECT count(*) AS n FROM blotter.order_events WHERE order_id ~ '^p[0-9]+$'"), [{"n": 20}])

    def test_by_transaction_it_is_refused_with_what_to_do(self):
        commands = (
            ["drain", "--once"], ["migrate"], ["partitions", "list"], ["rejects", "list"], ["rejects", "replay"], ["follow", "--once"], ["status"],
            ["audit"], ["export", "orders"], ["web", "--listen", f"127.0.0.1:{engines.free_port()}"],
        )  # fmt: skip
        for mode in ("transaction", "statement"):
            pooler = self.pooler(mode)
            for command in commands:
                self.assert_refused(command, self.blotter(pooler.conninfo, *command))
            check = self.blotter(pooler.conninfo, "check")
            self.assertEqual(check.returncode, 1, check.stderr)
            self.assertRegex(check.stdout, r"bad +postgres +pooling +transactions are pooled")

    def assert_refused(self, command, done):
        self.assertEqual(done.returncode, 2, (command, done.stdout, done.stderr))
        self.assertRegex(done.stderr, re.compile("pooler in transaction mode.*pool_mode = session"), command)

    def test_a_command_that_is_refused_has_set_nothing(self):
        """Whoever gets the backend next would find it."""
        pooler = self.pooler("transaction", size=1)
        for command in (["status"], ["web", "--listen", f"127.0.0.1:{engines.free_port()}"]):
            self.assert_refused(command, self.blotter(pooler.conninfo, *command))
            with contextlib.closing(psycopg2.connect(pooler.conninfo)) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT name FROM pg_settings WHERE source = 'session' AND name IN ('search_path', 'default_transaction_read_only', 'jit')")
                self.assertEqual(cursor.fetchall(), [], command)

    def test_a_pool_that_is_used_up_is_named_and_waited_for_once(self):
        """The second session would wait for a backend until query_wait_timeout, two minutes."""
        pooler = self.pooler("session", size=1)
        for command in (["audit"], ["status"], ["check"]):
            done = self.blotter(pooler.conninfo, *command)
            self.assertIn(done.returncode, (0, 1), (command, done.stdout, done.stderr))
            self.assertEqual(done.stderr.count("gives a second session no backend"), 1, (command, done.stderr))
        self.assertRegex(done.stdout, r"warning +postgres +pooling +not known")

    def web(self, conninfo):
        program = servers.start(servers.program, "web", "--listen", f"127.0.0.1:{engines.free_port()}", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=support.plain_environment(BLOTTER_POSTGRES=conninfo))  # fmt: skip
        place, token = program.stdout.readline().strip().split("/#")
        return program, place, token

    @staticmethod
    def ask(place, token):
        """The status of an answer that needs PostgreSQL; 0: nobody listens."""
        request = urllib.request.Request(f"{place}/api/symbols", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=support.TIMEOUT) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def test_web_answers_by_session(self):
        _, place, token = self.web(self.pooler("session").conninfo)
        self.assertEqual(self.ask(place, token), 200)

    def test_web_serves_without_postgresql_and_ends_when_it_meets_one(self):
        pooler = self.pooler("transaction")
        servers.tell("kill postgres")
        try:
            program, place, token = self.web(pooler.conninfo)
            self.assertEqual(self.ask(place, token), 503)
        finally:
            servers.tell("start postgres")
        support.wait_until(lambda: self.ask(place, token) == 0 and program.poll() is not None)
        self.assert_refused("web", subprocess.CompletedProcess("web", program.returncode, "", program.stderr.read()))


class BehindAPooler(unittest.TestCase):
    """Two drainers behind pgbouncer by session, and a producer that is fed all the time. Ends with each record stored once."""

    EXCHANGES = ("binance", "kraken")

    def setUp(self):
        self.pooler = Pooler("session")
        self.addCleanup(self.pooler.close)
        started = engines.Engines()
        self.addCleanup(started.close)
        self.redis = started.redis()
        self.drainers = [
            started.drain(self.redis.url, "--consumer", f"pooled-{name}", postgres=self.pooler.conninfo) for name in ("a", "b")
        ]
        self.tag = self.id().rsplit(".", 1)[-1].replace("test_", "").replace("_", "-")
        self.feeds = [
            engines.Feed(self.redis.url, str(servers.journal(f"{self.tag}-{name}")), f"{name}-{self.tag}") for name in self.EXCHANGES
        ]
        for feed in self.feeds:
            self.addCleanup(feed.kill)
            self.await_more(feed)
        engines.await_true(lambda: self.holders() == 2, "each drainer has a stream")

    def rows(self, feed):
        return servers.query("SELECT count(*) AS n FROM blotter.order_events WHERE exchange = %s", feed.exchange)[0]["n"]

    def await_more(self, feed):
        wanted = self.rows(feed) + 50
        engines.await_true(lambda: self.rows(feed) >= wanted, f"more rows of {feed.exchange}")

    def await_flow(self):
        for feed in self.feeds:
            self.await_more(feed)

    def holders(self):
        sql = "SELECT count(DISTINCT pid) AS n FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted"
        return servers.query(sql)[0]["n"]

    def assert_all_stored_once(self):
        for feed in self.feeds:
            status, text = feed.finish()
            self.assertEqual(status, 0, text)
            self.assertEqual(self.rows(feed), feed.accepted)
            status, text = servers.run("audit", "--exchange", feed.exchange)
            self.assertEqual(status, 0, text)
        for drainer in self.drainers:
            self.assertEqual(drainer.stop(), 0, drainer.text()[-3000:])

    def test_drainer_killed(self):
        for drainer in self.drainers:
            drainer.kill()
            self.await_flow()
            drainer.start()
        self.assert_all_stored_once()

    def test_drainers_stopped(self):
        """The sessions go back into the pool, and no lease with them."""
        for drainer in self.drainers:
            self.assertEqual(drainer.stop(), 0, drainer.text()[-3000:])
        engines.await_true(lambda: self.holders() == 0, "no lease is left behind in the pool")
        for drainer in self.drainers:
            drainer.start()
        self.await_flow()
        self.assert_all_stored_once()

    def test_postgres_killed(self):
        for _ in range(2):
            servers.tell("kill postgres")
            servers.tell("start postgres")
            self.await_flow()
        self.assert_all_stored_once()

    def test_pooler_killed(self):
        for _ in range(2):
            self.pooler.close()
            self.pooler.start()
            self.await_flow()
        self.assert_all_stored_once()

    def test_foreign_lock_is_named(self):
        with psycopg2.connect(servers.settings["BLOTTER_POSTGRES"]) as connection, connection.cursor() as cursor:
            cursor.execute("LOCK TABLE blotter.order_events IN SHARE MODE")

            def named():
                return any("loading waits for a lock" in engines.ready(drainer)[1] for drainer in self.drainers)

            engines.await_true(named, "who holds the lock is named")
        self.await_flow()
        self.assert_all_stored_once()


if __name__ == "__main__":
    support.main()
