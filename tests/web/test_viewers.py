"""What viewers of `blotter web` cost PostgreSQL, counted by pg_stat_statements: fifty ask no more than one, and nobody asks twice at the same time."""

import contextlib
import itertools
import json
import re
import socket
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))
import engines
import psycopg2
import support

VIEWERS, COMMITS = 50, 5
SCREEN = ("/api/overview", "/api/positions?limit=101", "/api/fills?limit=50", "/api/pipeline")  # desk.js: what the figures wait for
MAX_AGE_S = 10  # web_answers.c: what is older is asked for again


def setUpModule():
    global servers, web, address, token
    servers = support.Servers()
    servers.query("ALTER ROLE blotter_web LOGIN")
    servers.query("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
    servers.tell("kill postgres")
    servers.tell("start postgres")
    servers.query("CREATE EXTENSION pg_stat_statements")
    servers.query("INSERT INTO blotter_internal.loaded (stream, n, last_id) VALUES ('blotter:viewers', 1, '1-0')")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    place = re.sub(r"user=\S+", "user=blotter_web", servers.settings["BLOTTER_POSTGRES"])
    web = servers.start(servers.program, "web", "--listen", "%s:%d" % address, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                        env=support.plain_environment(BLOTTER_POSTGRES=place))  # fmt: skip
    token = web.stdout.readline().strip().split("#")[1]


def commit():
    servers.query("UPDATE blotter_internal.loaded SET n = n + 1, updated_at = now() WHERE stream = 'blotter:viewers'")


def forget():
    servers.query("SELECT pg_stat_statements_reset()")


def calls():
    """How often each statement was run by the role of the page."""
    rows = servers.query("SELECT s.query, s.calls FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid WHERE r.rolname = 'blotter_web'")
    return {re.sub(r"^SELECT (\w+\.\w+)\(.*\)$", r"\1", row["query"]): row["calls"] for row in rows}


def asked():
    """How many of the page's questions were put to PostgreSQL."""
    return sum(n for name, n in calls().items() if name.startswith("blotter_internal.web_") and name != "blotter_internal.web_live")


def send(path, number):
    """Asks from one of 250 addresses, as one address may have 32 connections."""
    connection = socket.create_connection(address, timeout=support.TIMEOUT, source_address=(f"127.0.0.{number % 250 + 2}", 0))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    return connection


class Viewer:
    """A page that is told of commits, and asks for the first screen each time."""

    def __init__(self, number):
        self.number, self.told, self.screens = number, 0, 0
        self.stream = send("/api/live", number)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        for line in self.stream.makefile("rb"):
            if line.startswith(b"event: committed"):
                self.told += 1
                for path in SCREEN:
                    with send(path, self.number) as connection, connection.makefile("rb") as answer:
                        assert answer.read().startswith(b"HTTP/1.1 200 OK\r\n")
                self.screens += 1

    def close(self):
        self.stream.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.stream.close()


@contextlib.contextmanager
def watching(count):
    viewers = [Viewer(n) for n in range(count)]
    try:
        commit()
        support.wait_until(lambda: all(viewer.screens > 0 for viewer in viewers))
        yield viewers
    finally:
        for viewer in viewers:
            viewer.close()


def cost_of(count):
    """What so many viewers ask PostgreSQL for some commits, and the most that one asks who is told as often, the last time before included."""
    with watching(count) as viewers:
        told = [viewer.told for viewer in viewers]
        forget()
        began = time.monotonic()
        for _ in range(COMMITS):
            before = [viewer.screens for viewer in viewers]
            commit()
            support.wait_until(lambda: all(viewer.screens > screens for viewer, screens in zip(viewers, before)))
        times = 1 + max(viewer.told - n for viewer, n in zip(viewers, told)) + int((time.monotonic() - began) / MAX_AGE_S)
        return asked(), len(SCREEN) * times


class Shared(unittest.TestCase):
    def test_fifty_viewers_ask_what_one_asks(self):
        for count in (1, VIEWERS):
            cost, most = cost_of(count)
            self.assertGreaterEqual(cost, len(SCREEN) * COMMITS)
            self.assertLessEqual(cost, most)

    def ask_while_locked(self):
        """Fifty ask the same while its answer waits for a lock. Returns how often PostgreSQL was asked."""
        with contextlib.closing(psycopg2.connect(servers.settings["BLOTTER_POSTGRES"])) as holder, contextlib.ExitStack() as stack:
            holder.cursor().execute("LOCK TABLE blotter_internal.position IN ACCESS EXCLUSIVE MODE")
            forget()
            sockets = []
            for number in range(VIEWERS):
                sockets.append(stack.enter_context(send("/api/positions", number)))
            support.wait_until(lambda: unread([each.getsockname() for each in sockets]) == [0] * VIEWERS)
            holder.rollback()
            for each in sockets:
                self.assertEqual(each.makefile("rb").readline(), b"HTTP/1.1 200 OK\r\n")
        return calls()["blotter_internal.web_positions"]

    def test_a_question_joins_the_one_that_is_asked(self):
        with watching(1):
            self.assertEqual(self.ask_while_locked(), 1)

    def test_without_a_viewer_it_waits_for_the_next_answer(self):
        """What was committed before a question is in its answer, also when nobody looks for commits. So it may not share one that is asked already."""
        self.assertEqual(self.ask_while_locked(), 2)

    def test_thousands_of_streams_are_told_of(self):
        import redis

        with contextlib.closing(redis.Redis(unix_socket_path=servers.settings["BLOTTER_REDIS"].removeprefix("unix://"))) as client:
            many = client.pipeline()
            for n in range(8000):
                many.xadd(f"blotter:many-{n}", {"kind": "order", "order_id": "1"})
            many.execute()
            try:
                with send("/api/live", 1) as stream:
                    told = (line for line in stream.makefile("rb") if line.startswith(b"data: {"))
                    counts = (len(json.loads(line.removeprefix(b"data: "))["streams"]) for line in told)
                    self.assertIn(8000, itertools.islice(counts, 20))  # the first may be of before
            finally:
                client.flushall()

    def test_the_page_asks_for_nothing_else(self):
        with watching(1):
            forget()
            support.wait_until(lambda: any("load_status" in query for query in calls()))
            other = [query for query in calls() if not query.startswith("blotter_internal.web_") and "load_status" not in query and not query.startswith("SET ")]
            self.assertEqual(set(other) - {"blotter_internal.schema_version", "SELECT pg_backend_pid()"}, set())


class Gate(engines.Forwarder):
    """A TCP port that leads to PostgreSQL's socket, and counts how often the page's own program comes: the `blotter status` that it runs
    comes once a second, too."""

    def __init__(self, path):
        self.tried = 0
        super().__init__(path)

    def _greet(self, near):
        self.tried += b"blotter status" not in near.recv(4096, socket.MSG_PEEK)
        return near

    def _connect(self):
        far = socket.socket(socket.AF_UNIX)
        far.connect(self.target)
        return far


class Away(unittest.TestCase):
    def test_a_postgresql_that_is_away_is_tried_less_and_less_often(self):
        """Somebody watches, so ten times a second the page would know what has been committed."""
        where = dict(re.findall(r"(\w+)=(\S+)", servers.settings["BLOTTER_POSTGRES"]))
        gate = Gate(f"{where['host']}/.s.PGSQL.{where.get('port', '5432')}")
        self.addCleanup(gate.close)
        ours = servers.start(servers.program, "web", "--listen", f"127.0.0.1:{engines.free_port()}", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                             env=support.plain_environment(BLOTTER_POSTGRES=f"host=127.0.0.1 port={gate.port} user=blotter_web dbname={where['dbname']} sslmode=disable gssencmode=disable"))  # fmt: skip
        line = ours.stdout.readline()
        port, word = re.search(r":(\d+)/?#(\S+)", line).groups()
        with socket.create_connection(("127.0.0.1", int(port)), timeout=support.TIMEOUT) as stream:
            stream.sendall(f"GET /api/live HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {word}\r\n\r\n".encode())
            lines = iter(stream.makefile("rb").readline, b"")
            self.await_line(lines, b"event: committed")
            servers.tell("kill postgres")
            try:
                self.await_line(lines, b"event: trouble")
                for _ in range(4):  # each after ten looks; soon at first
                    self.await_line(lines, b"event: status")
                tried, began = gate.tried, time.monotonic()
                for _ in range(6):
                    self.await_line(lines, b"event: status")
                self.assertLessEqual(gate.tried - tried, (time.monotonic() - began) / 2 + 1)
            finally:
                servers.tell("start postgres")
            commit()
            self.await_line(lines, b"event: committed")

    def await_line(self, lines, beginning):
        self.assertTrue(any(line.startswith(beginning) for line in lines), beginning)


def unread(clients):
    """How many bytes of each client's connection `blotter web` has still to read."""
    wanted = {"%02X%02X%02X%02X:%04X" % (*reversed([int(part) for part in host.split(".")]), port) for host, port in clients}
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [int(fields[4].split(":")[1], 16) for fields in lines if fields[2] in wanted and int(fields[1].split(":")[1], 16) == address[1]]


if __name__ == "__main__":
    support.main()
