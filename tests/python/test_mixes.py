#!/usr/bin/env python3
"""Refused records, locks of some exchanges, copies, days without partition, lost sessions and killed drainers, by chance in one batch: each record is stored
once, or is a reject. A batch that is split for one reason has to hold for all others.
"""

import collections
import contextlib
import os
import random
import signal
import threading
import time
import unittest

import engines
import psycopg2
import redis
import support

ROUNDS = 400 if support.ALL else 60
EXCHANGES = 5
STREAMS = [f"blotter:e{n}" for n in range(EXCHANGES)] + [f"blotter:e{n}:lane" for n in range(3)]
DAY_NS = 86400 * 10**9
LOCKS = (
    "SELECT FROM blotter.orders WHERE exchange = 'e{0}' FOR UPDATE",
    "SELECT FROM blotter.orders WHERE exchange = 'e{0}' FOR UPDATE",
    "SELECT FROM blotter_internal.progress WHERE exchange = 'e{0}' FOR UPDATE",
    "SELECT FROM blotter_internal.loaded WHERE stream LIKE 'blotter:e{0}%' FOR UPDATE",
    "LOCK TABLE blotter.order_events IN SHARE MODE",
)


class Mixes(unittest.TestCase):
    def setUp(self):
        self.servers = support.Servers()
        self.client = redis.Redis(unix_socket_path=self.servers.settings["BLOTTER_REDIS"].removeprefix("unix://"))
        self.addCleanup(self.client.close)
        self.servers.query("ALTER TABLE blotter.order_events ADD CONSTRAINT not_bad CHECK (order_id <> 'bad')")
        self.seed = int(os.environ.get("BLOTTER_MIXES_SEED") or random.randrange(10**6))
        print(f"# seed {self.seed}")
        self.dice = random.Random(self.seed)
        self.sent = {stream: [] for stream in STREAMS}
        self.over = threading.Event()

    def drain(self, name):
        drainer = self.servers.start(self.servers.program, "drain", "--consumer", name, "--lock-timeout", "100ms", stderr=self.log)
        self.addCleanup(drainer.kill)
        return drainer

    def hold_locks(self, seed):
        dice = random.Random(seed)
        while not self.over.is_set():
            with contextlib.suppress(psycopg2.Error), contextlib.closing(psycopg2.connect(self.servers.settings["BLOTTER_POSTGRES"])) as holder:
                cursor = holder.cursor()
                cursor.execute("SET lock_timeout = '200ms'")
                for _ in range(dice.randint(1, 2)):
                    cursor.execute(dice.choice(LOCKS).format(dice.randrange(EXCHANGES)))
                self.over.wait(dice.choice((0.1, 1, 2.5)))
            self.over.wait(dice.random() / 2)

    def record(self, stream):
        """A new one, or a copy of one of the last ones."""
        sent = self.sent[stream]
        if sent and self.dice.random() < 0.1:
            return self.dice.choice(sent[-10:])
        sent.append(
            {
                "producer_id": 10**17 + STREAMS.index(stream),
                "seq": len(sent) + 1,
                "recorded_at": time.time_ns() - (self.dice.randrange(20) * DAY_NS if self.dice.random() < 0.1 else 0),
                "order_id": "bad" if self.dice.random() < 0.05 else self.dice.choice("ABC"),
                "symbol": "A/B",
                "filled_quantity": str(len(sent) + 1),
            }
        )
        return sent[-1]

    def publish(self):
        with self.client.pipeline(transaction=False) as pipeline:
            for stream in self.dice.choices(STREAMS, k=self.dice.choice((2, 4, 12))):
                for _ in range(self.dice.choice((1, 1, 3, 8))):
                    pipeline.xadd(stream, {"order": engines.packed(self.record(stream))})
            pipeline.execute()

    def is_drained(self):
        groups = [self.client.xinfo_groups(stream) for stream in STREAMS if self.sent[stream]]
        return all(of and of[0]["pending"] == 0 and of[0]["lag"] == 0 for of in groups)

    def stored(self, table):
        return collections.Counter((row["producer_id"], row["seq"]) for row in self.servers.query(f"SELECT producer_id, seq FROM {table}"))

    def test_each_record_is_stored_once_or_rejected(self):
        self.log = (self.servers.folder / "mixes.log").open("w")
        self.addCleanup(self.log.close)
        drainers = [self.drain("d0")]
        holders = [threading.Thread(target=self.hold_locks, args=(self.seed + n,)) for n in range(3)]
        for holder in holders:
            holder.start()
        for _ in range(ROUNDS):
            for drainer in drainers:  # so that all of a round come in one batch
                drainer.send_signal(signal.SIGSTOP)
            self.publish()
            for drainer in drainers:
                drainer.send_signal(signal.SIGCONT)
            if self.dice.random() < 0.05:
                self.servers.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'blotter drain%%'")
            if self.dice.random() < 0.05:
                one = self.dice.randrange(len(drainers))
                drainers[one].kill()
                drainers[one].wait()
                drainers[one] = self.drain(f"d{one}")
            time.sleep(self.dice.choice((0.05, 0.2, 0.4)))
        self.over.set()
        for holder in holders:
            holder.join()
        support.wait_until(self.is_drained, 4 * support.TIMEOUT)
        rows, rejects = self.stored("blotter.order_events"), self.stored("blotter.rejects")
        for stream, sent in self.sent.items():
            for record in sent:
                key = (record["producer_id"], record["seq"])
                self.assertEqual((rows[key], rejects[key]), (0, 1) if record["order_id"] == "bad" else (1, 0), (stream, record))


if __name__ == "__main__":
    support.main()
