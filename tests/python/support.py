"""What the tests of the Python package share: the package as it was built, servers of their own, waiting, TAP for run_programs.sh.

A test program is run by `make test-python`, or alone: /usr/bin/python3 tests/python/test_record.py
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import unittest
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent.parent
BUILD = (TREE / os.environ.get("BLOTTER_BUILD", "build")).resolve()
PACKAGE = BUILD / "python"
sys.path.insert(0, str(PACKAGE))

ALL = bool(os.environ.get("BLOTTER_TEST_ALL"))  # tests/run.sh --all: what takes longer, too
TIMEOUT = 60  # seconds, for what should take well under one: machines are busy, and sanitizers slow


def plain_environment(**more):
    """The environment without a sanitizer that was loaded for this interpreter; programs that need one bring it."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"} | more


def eventfds():
    """Those that are open. Sockets come and go with the connection to Redis."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # of the listing itself
            if "eventfd" in os.readlink(f"/proc/self/fd/{fd}"):
                found.add(fd)
    return found


def wait_until(condition, timeout=TIMEOUT, pause=0.02):
    """Looks once in so many seconds: each look takes time of the processor from what is waited for."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"it did not come true within {timeout} s")
        time.sleep(pause)


def name_of(test, most=30):
    """A name made of the test's own, as an exchange may have it."""
    return test.id().rsplit(".")[-1].replace("test_", "").replace("_", "-")[:most]


class Servers:
    """Redis, and PostgreSQL with a migrated database; see serve.c. Our environment leads to them. They end with the module's tests."""

    def __init__(self, durable=False):
        """durable: PostgreSQL waits for the disk at each commit, as it does where records matter."""
        self._programs = []
        self._serve = subprocess.Popen(
            [BUILD / "tests/python/serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=plain_environment(BLOTTER_PROGRAM=str(BUILD / "blotter")),
            text=True,
        )
        unittest.addModuleCleanup(self.close)
        line = self._serve.stdout.readline()
        if not line:
            raise RuntimeError("the servers did not start")
        self.settings = json.loads(line)
        self.program = self.settings.pop("program")
        self.folder = Path(self.settings.pop("folder"))
        os.environ.update(self.settings)
        self._sessions = threading.local()
        if durable:
            self.query("ALTER SYSTEM SET fsync = on")
            self.query("SELECT pg_reload_conf()")
            wait_until(lambda: self.query("SHOW fsync")[0]["fsync"] == "on")

    def tell(self, command):
        self._serve.stdin.write(command + "\n")
        self._serve.stdin.flush()
        assert self._serve.stdout.readline() == "ok\n"

    def close(self):
        if self._serve.returncode is not None:
            return
        for program in self._programs:
            if program.poll() is None:
                program.kill()
            program.wait()
        self._serve.communicate()

    def journal(self, name):
        """A folder for a test's journals."""
        folder = self.folder / "python" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def start(self, *arguments, **options):
        """Starts a program that ends with the test program, if not sooner."""
        program = subprocess.Popen(arguments, **{"env": plain_environment()} | options)
        self._programs.append(program)
        return program

    def drain(self):
        return self.start(self.program, "drain", stderr=subprocess.DEVNULL)

    def run(self, *arguments):
        """Runs `blotter`; returns its exit status and what it printed."""
        done = subprocess.run([self.program, *arguments], env=plain_environment(), capture_output=True, text=True, timeout=TIMEOUT)
        return done.returncode, done.stdout + done.stderr

    def query(self, sql, *values):
        """The rows as dicts. Each thread has a session, which lasts: who waits asks a hundred times a second."""
        import psycopg2
        import psycopg2.extras

        connection = getattr(self._sessions, "connection", None)
        if connection is None or connection.closed or select.select([connection], [], [], 0)[0]:  # PostgreSQL has ended it meanwhile
            connection = self._sessions.connection = psycopg2.connect(self.settings["BLOTTER_POSTGRES"])
            connection.autocommit = True
        with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute(sql, values)
            return [dict(row) for row in cursor.fetchall()] if cursor.description else []


class TapResult(unittest.TestResult):
    """A line for each test. A test that is skipped has failed."""

    def __init__(self):
        super().__init__()
        self._began = time.monotonic()  # setUpModule may fail, before any test

    def startTest(self, test):
        super().startTest(test)
        self._began = time.monotonic()

    def _say(self, word, test, error=None):
        print(f"{word} {test.id().removeprefix('__main__.')} # {time.monotonic() - self._began:.2f} s", flush=True)
        if error:
            print("".join(traceback.format_exception(*error)), flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self._say("ok", test)

    def addError(self, test, err):
        super().addError(test, err)
        self._say("not ok", test, err)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._say("not ok", test, err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.failures.append((test, reason))
        self._say("not ok", test)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            self._say("not ok", subtest, err)


def main():
    """Runs the test program's tests, or those named in its arguments."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped
    loader = unittest.defaultTestLoader
    module = sys.modules["__main__"]
    tests = loader.loadTestsFromNames(sys.argv[1:], module) if sys.argv[1:] else loader.loadTestsFromModule(module)
    result = TapResult()
    with tempfile.TemporaryDirectory(prefix="blotter-python-") as folder:
        os.environ["BLOTTER_JOURNAL"] = folder  # unless there are servers: nothing is left in /dev/shm
        tests.run(result)
    sys.exit(0 if result.wasSuccessful() and result.testsRun > 0 else 1)
