"""What a damaged line to PostgreSQL, or a man in the middle, can send: it costs a connection, never the drainer, its memory or a record."""

import os
import random
import re
import socket
import struct
import tempfile
import time
import unittest

import engines
import support

SEED = int(os.environ.get("BLOTTER_TEST_SEED", random.randrange(1 << 32)))
BREAKS = 30 if not support.ALL else 1000
servers = None


def setUpModule():
    global servers
    servers = support.Servers()


def message(kind, body):
    return kind + struct.pack(">I", len(body) + 4) + body


class Meddler(engines.Forwarder):
    """A socket in place of PostgreSQL's, which spoils one answer of each connection while it is told to, and then ends it."""

    LINGER_S = 0.3  # so long the drainer may do with a spoilt answer whatever it does

    def __init__(self, conninfo, folder, seed):
        self._random = random.Random(seed)
        where = dict(re.findall(r"(\w+)=(\S+)", conninfo))
        name = f".s.PGSQL.{where.get('port', '5432')}"
        self._path = f"{folder}/{name}"
        self.conninfo = re.sub(r"host=\S+", f"host={folder}", conninfo)
        self.spoilt = []
        self.meddles = False
        super().__init__(f"{where['host']}/{name}")

    def _listen(self):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self._path)
        listener.listen()
        return listener

    def _connect(self):
        far = socket.socket(socket.AF_UNIX)
        far.connect(self.target)
        return far

    def _answers(self, far):
        # most connections are spoilt while they are set up and take leases, some after they have loaded for a while
        spoil_at = self._random.choice((1, 2, 3, 5, 8, 13, 30, 60))
        for count, data in enumerate(super()._answers(far), 1):
            if self.meddles and count >= spoil_at:
                way, data = self._spoil(data)
                self.spoilt.append(way)
                yield data
                time.sleep(self.LINGER_S)
                return
            yield data

    def _spoil(self, data):
        some = self._random
        at = some.randrange(len(data))
        ways = {
            "a byte": lambda: data[:at] + bytes([data[at] ^ 1 << some.randrange(8)]) + data[at + 1 :],
            "a digit": lambda: re.sub(rb"[0-9]", lambda digit: b"7" if some.random() < 0.1 else digit[0], data),
            "the end": lambda: data[:at],
            "twice": lambda: data + data,
            "noise": lambda: bytes(some.randrange(256) for _ in range(some.randrange(1, 4000))),
            "a huge row": lambda: b"D" + struct.pack(">I", 0x7FFFFFFF) + data,
            "a negative length": lambda: b"T" + struct.pack(">i", -5) + data,
            "65,535 columns": lambda: message(b"T", struct.pack(">H", 0xFFFF)) + data,
            "a column beyond the row": lambda: message(b"D", struct.pack(">Hi", 1, 0x7FFFFFF0)) + data,
            "notices": lambda: message(b"N", b"SNOTICE\0M" + b"n" * 60000 + b"\0\0") * 50 + data,
            "a setting": lambda: message(b"S", b"client_encoding\0SQL_ASCII\0") + data,
            "a notification": lambda: message(b"A", b"\0\0\0\1loaded\0" + b"x" * 9000 + b"\0") + data,
            "an end without a beginning": lambda: message(b"Z", b"I") * 3 + data,
            "copy in": lambda: message(b"G", b"\0\0\0") + data,
            "copy out": lambda: message(b"H", b"\0\0\0") + message(b"d", b"x" * 5000) + data,
        }
        way = some.choice(sorted(ways))
        return way, ways[way]()


class Flood(Meddler):
    """Notices without end, before the first answer has ended, or behind it."""

    def __init__(self, conninfo, folder, first):
        self._first = first
        super().__init__(conninfo, folder, 0)

    def _answers(self, far):
        notices = message(b"N", b"SNOTICE\0C00000\0Mn\0\0") * 1000
        answers = engines.Forwarder._answers(self, far)
        yield next(answers)[:9] if self._first else next(answers)  # 9: that the login is accepted
        while True:
            yield notices


class HostilePostgres(unittest.TestCase):
    MEMORY_KIB = 64 * 1024

    def test_spoilt_answers_cost_connections_only(self):
        print(f"# seed {SEED}")
        parts = engines.Engines()
        self.addCleanup(parts.close)
        redis = parts.redis()
        meddler = Meddler(servers.settings["BLOTTER_POSTGRES"], parts.folder(), SEED)
        self.addCleanup(meddler.close)
        drainer = parts.drain(redis.url, postgres=meddler.conninfo)
        with tempfile.TemporaryDirectory() as journal:
            engines.await_true(lambda: engines.ready(drainer)[0] == 200, "a drainer that is ready")
            meddler.meddles = True
            feed = engines.Feed(redis.url, journal)
            engines.await_true(
                lambda: len(meddler.spoilt) >= BREAKS or drainer.process.poll() is not None, f"{BREAKS} spoilt answers", 40 + BREAKS
            )
            self.assertIsNone(drainer.process.poll(), drainer.text()[-3000:])
            meddler.meddles = False
            status, text = feed.finish()
        self.assertEqual(status, 0, text)
        rows = servers.query("SELECT count(*), count(DISTINCT order_id) AS orders FROM blotter.order_events")[0]
        self.assertEqual((rows["count"], rows["orders"]), (feed.accepted, feed.accepted))
        self.assertLess(drainer.memory_kib(), self.MEMORY_KIB)
        self.assertEqual(drainer.stop(), 0, drainer.text()[-3000:])
        self.assertGreater(len(set(meddler.spoilt)), 5)


    def test_endless_notices_end_a_command(self):
        for first in (True, False):
            parts = engines.Engines()
            self.addCleanup(parts.close)
            flood = Flood(servers.settings["BLOTTER_POSTGRES"], parts.folder(), first)
            self.addCleanup(flood.close)
            for command in ("drain",), ("check", "--connect-timeout", "2s"), ("audit", "--connect-timeout", "2s"):
                with self.subTest(command=command[0], first=first):
                    status, text = servers.run(*command, "--postgres", flood.conninfo)
                    self.assertEqual(status, 3, text)
                    self.assertIn(f"blotter {command[0]}: setting postgres", text)


if __name__ == "__main__":
    support.main()
