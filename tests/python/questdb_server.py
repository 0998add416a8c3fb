"""QuestDB's server for a test: started in a folder of its own on loopback, asked over HTTP and over PostgreSQL's protocol.

tests/fetch_questdb.sh brings the server; without it, or without Java, available() says so and the tests have nothing to look at.
"""

import contextlib
import csv
import io
import json
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request

import engines
import support

JARS = support.TREE / "build/questdb"


ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")


def unescape(match):
    return chr(int(match[1], 16)) if match[1] else {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}.get(match[2], match[2])


def jar():
    return next(iter(sorted(JARS.glob("questdb-*.jar"))), None)


def available():
    """Says in one line what is missing, if anything is."""
    missing = [name for name, there in (("Java", shutil.which("java")), ("QuestDB's jar", jar())) if not there]
    if missing:
        print(f"# not judged: {' and '.join(missing)} not here (deploy/packages.sh questdb, tests/fetch_questdb.sh)", flush=True)
    return not missing


class Questdb:
    """One server. port: HTTP and ILP; pg_port: PostgreSQL's protocol."""

    def __init__(self, running, *settings, fast=False):
        self.port, self.pg_port = engines.free_port(), engines.free_port()
        self.conf = f"http::addr=127.0.0.1:{self.port};"
        self._folder = running.folder()
        (self._folder / "conf").mkdir()
        self._conf_file = self._folder / "conf/server.conf"
        self.configure(*settings)
        # little memory, and unless it is measured no optimising compiler: a test is over before that pays
        machine = ["-Xmx2g"] if fast else ["-Xms64m", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        self._process = running.start(
            "questdb", "java", *machine, "-Duser.timezone=UTC", f"-Djava.io.tmpdir={self._folder}",
            "-p", jar(), "-m", "io.questdb/io.questdb.ServerMain", "-d", self._folder,
        )  # fmt: skip
        self._authorization = {}
        self.await_start()

    def log(self):
        return self._process.text()

    def configure(self, *settings):
        lines = (
            f"http.bind.to=127.0.0.1:{self.port}", f"pg.net.bind.to=127.0.0.1:{self.pg_port}", "http.min.enabled=false",
            "line.tcp.enabled=false", "telemetry.enabled=false", "shared.worker.count=2", "pg.legacy.mode.enabled=false", *settings,
        )  # fmt: skip
        self._conf_file.write_text("\n".join(lines) + "\n")

    def await_start(self):
        def answers():
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/settings", timeout=5).read()
                return True
            except urllib.error.HTTPError:
                return True
            except OSError:
                return False

        try:
            engines.await_true(answers, "QuestDB starts", 3 * support.TIMEOUT)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self._process.text()[-2000:]}") from None

    def kill(self):
        self._process.kill()

    def start_again(self):
        self._process.start()
        self.await_start()

    def _get(self, path, **parameters):
        url = f"http://127.0.0.1:{self.port}/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=support.TIMEOUT) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None

    def exec(self, sql):
        """The rows as dicts, as /exec gives them."""
        answer = json.loads(self._get("exec", query=sql))
        names = [column["name"] for column in answer.get("columns", [])]
        return [dict(zip(names, row)) for row in answer.get("dataset", [])]

    def export(self, sql):
        """The rows as dicts of text, as /exp gives them: CSV whose control characters and backslashes are written as in C."""
        rows = csv.DictReader(io.StringIO(self._get("exp", query=sql), newline=""))
        return [{name: ESCAPED.sub(unescape, value) for name, value in row.items()} for row in rows]

    def query(self, sql):
        """The rows as dicts, over PostgreSQL's protocol."""
        import psycopg2
        import psycopg2.extras

        place = f"host=127.0.0.1 port={self.pg_port} user=admin password=quest dbname=qdb"
        with contextlib.closing(psycopg2.connect(place)) as connection:
            connection.autocommit = True
            with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
                cursor.execute(sql)
                return [dict(row) for row in cursor.fetchall()]

    def settle(self):
        """Waits until what is committed can be seen."""
        engines.await_true(
            lambda: all(row["writerTxn"] == row["sequencerTxn"] for row in self.exec("SELECT * FROM wal_tables()")), "QuestDB applies commits"
        )

    def count(self, table, what="count()"):
        self.settle()
        return self.exec(f"SELECT {what} AS n FROM {table}")[0]["n"]
