"""pgbouncer between Blotter and PostgreSQL: by session it works, by transaction it is refused with what to do about it."""

import os
import re
import socket
import subprocess
import unittest

import support

servers = None


def setUpModule():
    global servers
    servers = support.Servers()


def tearDownModule():
    servers.close()


class Pooler:
    """A pgbouncer of our own in front of the test's PostgreSQL."""

    def __init__(self, mode):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        direct = servers.settings["BLOTTER_POSTGRES"]
        folder = servers.folder / f"pooler-{mode}"
        folder.mkdir()
        (folder / "users").write_text('"postgres" ""\n')
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\nblotter = {direct}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = any\nauth_file = {folder}/users\npool_mode = {mode}\ndefault_pool_size = 5\n"
        )
        for path in (folder, folder / "users", folder / "pgbouncer.ini"):
            path.chmod(0o755)
        as_user = ["-u", "postgres"] if os.geteuid() == 0 else []
        self.program = servers.start("/usr/sbin/pgbouncer", "-q", *as_user, str(folder / "pgbouncer.ini"), stderr=subprocess.DEVNULL)
        self.conninfo = f"host=127.0.0.1 port={self.port} user=postgres dbname=blotter"
        support.wait_until(self._answers)

    def _answers(self):
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self):
        self.program.kill()
        self.program.wait()


class Modes(unittest.TestCase):
    def pooler(self, mode):
        pooler = Pooler(mode)
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
        pooler = self.pooler("transaction")
        for command in (["drain", "--once"], ["migrate"], ["partitions", "list"], ["rejects", "replay"]):
            done = self.blotter(pooler.conninfo, *command)
            self.assertEqual(done.returncode, 2, (command, done.stdout, done.stderr))
            self.assertRegex(done.stderr, re.compile("pooler in transaction mode.*pool_mode = session"), command)


if __name__ == "__main__":
    support.main()
