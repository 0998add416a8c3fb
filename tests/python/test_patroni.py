"""PostgreSQL under Patroni, with etcd: a switchover and a killed primary, under load. Drainers follow by themselves, and each record is stored once.

Where Debian's packages patroni and etcd-server are not installed it says so and passes."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import unittest
from pathlib import Path

import engines
import psycopg2
import support

TTL_S = 20  # the least that Patroni takes
NEEDED = ("patroni", "patronictl", "etcd")
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]

servers = None  # for their journals


def setUpModule():
    global servers
    servers = support.Servers()


def is_there():
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        print(f"# not judged here: {', '.join(missing)} not installed (deploy/packages.sh all)", flush=True)
    return not missing


class Patroni:
    """Two nodes, synchronous, and an etcd of one."""

    def __init__(self, started):
        self.folder = started.folder()
        self.as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        self.etcd = engines.free_port()
        for folder in (self.folder.parent, self.folder):
            folder.chmod(0o755)
        started.start(
            "etcd", "etcd", "--data-dir", self.folder / "etcd", "--listen-client-urls", f"http://127.0.0.1:{self.etcd}",
            "--advertise-client-urls", f"http://127.0.0.1:{self.etcd}", "--listen-peer-urls", f"http://127.0.0.1:{engines.free_port()}",
        )  # fmt: skip
        self.ports = {name: engines.free_port() for name in ("one", "two")}
        self.nodes = {name: self._start(started, name) for name in self.ports}
        self.hosts = "host=127.0.0.1,127.0.0.1 port=" + ",".join(str(port) for port in self.ports.values())
        self.conninfo = f"{self.hosts} user=postgres dbname=blotter target_session_attrs=read-write"
        engines.await_true(lambda: sorted(self.roles().values()) == ["Leader", "Sync Standby"], "a leader and a standby")

    def _start(self, started, name):
        folder = self.folder / name
        folder.mkdir()
        settings = {
            "scope": "blotter",
            "name": name,
            "restapi": {"listen": f"127.0.0.1:{(api := engines.free_port())}", "connect_address": f"127.0.0.1:{api}"},
            "etcd3": {"host": f"127.0.0.1:{self.etcd}"},
            "bootstrap": {
                "dcs": {
                    "ttl": TTL_S,
                    "loop_wait": 1,
                    "retry_timeout": 3,
                    "synchronous_mode": True,
                    "postgresql": {"use_pg_rewind": True, "parameters": {"fsync": "off", "max_connections": 50}},
                },
                "initdb": [{"encoding": "UTF8"}],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.ports[name]}",
                "connect_address": f"127.0.0.1:{self.ports[name]}",
                "data_dir": str(folder / "data"),
                "bin_dir": str(POSTGRES[0]),
                "pgpass": str(folder / "pgpass"),
                "authentication": {name: {"username": "postgres"} for name in ("replication", "superuser", "rewind")},
                "pg_hba": ["host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"],
                "parameters": {"unix_socket_directories": str(folder)},
            },
        }
        (folder / "patroni.yml").write_text(json.dumps(settings))  # JSON is YAML
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        return started.start("patroni", *self.as_user, "patroni", folder / "patroni.yml")

    def close(self):
        """A Patroni that is told to stop stops its PostgreSQL; one that was killed has left it."""
        for name, node in self.nodes.items():
            if node.process.poll() is None:
                node.stop()
            pid = self.folder / name / "data" / "postmaster.pid"
            if pid.exists():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid.read_text().split()[0]), signal.SIGKILL)

    def ctl(self, *arguments):
        command = ["patronictl", "-c", self.folder / "one" / "patroni.yml", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=support.TIMEOUT)

    def roles(self):
        listed = self.ctl("list", "-f", "json").stdout
        return {row["Member"]: row["Role"] for row in json.loads(listed or "[]") if row["State"] in ("running", "streaming")}

    def leader(self):
        return next((name for name, role in self.roles().items() if role == "Leader"), None)

    def query(self, sql, dbname="blotter"):
        with psycopg2.connect(f"{self.conninfo} dbname={dbname} connect_timeout=3") as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0]


class UnderPatroni(unittest.TestCase):
    def begin(self):
        self.engines = engines.Engines()
        self.addCleanup(self.engines.close)
        self.patroni = Patroni(self.engines)
        self.addCleanup(self.patroni.close)
        leader = self.patroni.leader()
        subprocess.run(["createdb", "-h", "127.0.0.1", "-p", str(self.patroni.ports[leader]), "-U", "postgres", "blotter"], check=True)
        for port in self.patroni.ports.values():
            engines.await_true(lambda: self.has_database(port), "both have the database")
        self.blotter("migrate")
        self.redis = self.engines.redis()
        self.drainers = [self.engines.drain(self.redis.url, "--consumer", name, postgres=self.patroni.conninfo) for name in ("d1", "d2")]
        self.feed = engines.Feed(self.redis.url, str(servers.journal("patroni")), "okx")
        self.addCleanup(self.feed.kill)
        self.await_more()

    def has_database(self, port):
        listed = subprocess.run(["psql", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-c", "", "blotter"], capture_output=True)
        return listed.returncode == 0

    def blotter(self, *arguments):
        environment = support.plain_environment(BLOTTER_POSTGRES=self.patroni.conninfo)
        done = subprocess.run([servers.program, *arguments], env=environment, capture_output=True, text=True, timeout=support.TIMEOUT)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def rows(self):
        return self.patroni.query("SELECT count(*) FROM blotter.order_events")

    def await_more(self):
        """Also over a moment without a primary."""
        seen = []

        def more():
            try:
                seen.append(self.rows())
            except psycopg2.Error:
                return False
            return seen[-1] > seen[0] + 50

        engines.await_true(more, "more rows", 3 * support.TIMEOUT)

    def test_switchover_and_a_killed_primary(self):
        if not is_there():
            return
        self.begin()
        old = self.patroni.leader()
        new = next(name for name in self.patroni.ports if name != old)
        switched = self.patroni.ctl("switchover", "--candidate", new, "--force")
        engines.await_true(lambda: self.patroni.roles() == {new: "Leader", old: "Sync Standby"}, switched.stdout + switched.stderr)
        self.await_more()
        postmaster = int((self.patroni.folder / new / "data" / "postmaster.pid").read_text().split()[0])
        self.patroni.nodes[new].kill()
        os.kill(postmaster, signal.SIGKILL)
        engines.await_true(lambda: self.patroni.leader() == old, "the standby is promoted", 3 * TTL_S)
        self.await_more()
        status, text = self.feed.finish()
        self.assertEqual(status, 0, text)
        self.assertEqual(self.rows(), self.feed.accepted)
        self.blotter("audit")
        for drainer in self.drainers:
            self.assertEqual(drainer.stop(), 0, drainer.text()[-3000:])


if __name__ == "__main__":
    support.main()
