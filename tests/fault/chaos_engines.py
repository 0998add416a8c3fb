#!/usr/bin/env python3
"""Chaos for Redis Cluster and Sentinel: servers and drainers are killed, stopped and switched at random while records are
accepted all the time. Ends with everything healed, each accepted record stored once, and the audit complete.

`make chaos CHAOS_REDIS=cluster|sentinel`. CHAOS_SECONDS says how long; the seed that is printed, given as CHAOS_SEED, repeats
what was broken when.
"""

import contextlib
import os
import random
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))

import engines
import redis_cluster
import support
from commit_gap import CommitGap

SECONDS = int(os.environ.get("CHAOS_SECONDS", "20"))
SEED = int(os.environ.get("CHAOS_SEED") or time.time())
EXCHANGES = ("gemini", "okx", "kucoin")  # each on another of three masters
PER_SECOND = 200  # of each exchange
HEAL_S = 180  # a sentinel that was not run for two seconds does nothing for the next thirty, and again


class ClusterDesk:
    """Three masters with a replica each. One node at a time is dead or stopped, so that no slot is without a master for long."""

    kinds = ("kill_master", "stop_master", "kill_replica", "move_slot", "kill_drainer")

    def __init__(self, started, servers):
        self.servers = servers
        self.cluster = redis_cluster.Cluster(started, replicas=1)
        self.url = self.cluster.url
        self.dead = None

    def is_master(self, node):
        answer = self.cluster.tries(node, "ROLE")
        return isinstance(answer, list) and answer[0] == "master"

    def master_of(self, exchange):
        return self.cluster.owner(f"blotter:{exchange}")

    def _follow(self, exchange, lose):
        gap = CommitGap(self.servers, exchange, lambda: self.cluster.accepts_write(f"blotter:{exchange}", self.dead))
        lose()
        gap.await_end(HEAL_S)

    def kill_master(self, exchange):
        self.dead = self.master_of(exchange)
        self._follow(exchange, self.dead.kill)

    def stop_master(self, exchange):
        self.dead = self.master_of(exchange)
        self._follow(exchange, self.dead.pause)

    def kill_replica(self, _):
        self.dead = next(node for node in self.cluster.nodes if not self.is_master(node))
        self.dead.kill()

    def move_slot(self, exchange):
        source = self.master_of(exchange)
        target = next(node for node in self.cluster.nodes if node is not source and self.is_master(node))
        self.cluster.move(self.cluster.slot(f"blotter:{exchange}"), source, target)

    def heal(self):
        if self.dead is None:
            return
        self.dead.resume()
        if self.dead.process.poll() is not None:
            self.dead.start()
        self.dead = None
        engines.await_true(self._is_whole, "the cluster is whole again", HEAL_S)

    def _is_whole(self):
        """Each master has a replica that is in step. A replica that loads what its master sent answers nothing but errors."""
        roles = [self.cluster.tries(node, "ROLE") for node in self.cluster.nodes]
        if any(not isinstance(role, list) for role in roles):
            return False
        masters = [role for role in roles if role[0] == "master"]
        agreed = all("cluster_state:ok" in str(self.cluster.tries(node, "CLUSTER", "INFO")) for node in self.cluster.nodes)
        return agreed and len(masters) == 3 and all(role[2] for role in masters) and all(r[3] == "connected" for r in roles if r[0] == "slave")


class SentinelDesk:
    """A master, two replicas, three sentinels. The master refuses writes where no replica is in step."""

    kinds = ("kill_master", "stop_master", "switch", "kill_sentinel", "kill_drainer")

    def __init__(self, started, servers):
        self.servers = servers
        settings = ("--min-replicas-to-write", 1, "--min-replicas-max-lag", 2)
        master = started.redis(*settings)
        replicas = [started.redis(*settings, "--replicaof", f"127.0.0.1 {master.port}") for _ in range(2)]
        self.nodes = [master, *replicas]
        self.sentinels = [started.sentinel(master, failover_timeout_ms=3000) for _ in range(3)]
        self.url = "redis+sentinel://" + ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels) + "/blotter"
        self.dead = None
        engines.await_true(self._is_whole, "the sentinels know all", HEAL_S)

    def _role(self, node):
        try:
            with engines.RedisClient(node.port, 1) as client:
                return client("ROLE")
        except OSError:
            return None

    def _state(self, sentinel):
        """Empty while it is not up."""
        try:
            with engines.RedisClient(sentinel.port, 1) as client:
                flat = client("SENTINEL", "master", "blotter")
        except OSError:
            return {}
        return dict(zip(flat[::2], flat[1::2]))

    def _named_master(self):
        """By the first sentinel that answers; None: none does."""
        states = (self._state(sentinel) for sentinel in self.sentinels)
        port = next((state["port"] for state in states if state), None)
        return next((node for node in self.nodes if str(node.port) == port), None)

    def master(self):
        engines.await_true(self._named_master, "a sentinel names the master", HEAL_S)
        return self._named_master() or self.master()

    def _has_other(self, old):
        master = self._named_master()
        return master not in (None, old) and (self._role(master) or [None])[0] == "master"

    def _takes_writes(self, master):
        with contextlib.suppress(OSError), engines.RedisClient(master.port, 1) as client:
            return client("SET", "probe", 1) == "OK"  # without a replica it does not
        return False

    def _follow(self, exchange, old, lose, ask=lambda: None):
        """Waits for another master, and commits of what it takes. ask() is called until it is so."""

        def accepts():
            ask()
            return self._has_other(old) and self._takes_writes(self._named_master())

        gap = CommitGap(self.servers, exchange, accepts)
        lose()
        try:
            gap.await_end(HEAL_S)
        except AssertionError as error:
            logs = "\n".join(f"--- {sentinel.port}\n{sentinel.text()[-2000:]}" for sentinel in self.sentinels)
            raise AssertionError(f"{error}\n{logs}") from None

    def kill_master(self, exchange):
        self.dead = self.master()
        self._follow(exchange, self.dead, self.dead.kill)

    def stop_master(self, exchange):
        self.dead = self.master()
        self._follow(exchange, self.dead, self.dead.pause)

    def _ask_for_switch(self):
        """Refused while one is under way. One that was given up, as its replica took too long, nobody begins again."""
        with contextlib.suppress(OSError), engines.RedisClient(self.sentinels[0].port, 1) as client:
            client("SENTINEL", "FAILOVER", "blotter")

    def switch(self, exchange):
        old = self.master()
        self._follow(exchange, old, self._ask_for_switch, lambda: self._named_master() is old and self._ask_for_switch())

    def kill_sentinel(self, _):
        self.dead = self.sentinels[-1]
        self.dead.kill()

    def heal(self):
        if self.dead is not None:
            self.dead.resume()
            if self.dead.process.poll() is not None:
                self.dead.start()
            self.dead = None
        engines.await_true(self._is_whole, "all are there again", HEAL_S)

    def _is_whole(self):
        roles = [self._role(node) for node in self.nodes]
        if any(role is None for role in roles) or [role[0] for role in roles].count("master") != 1:
            return False
        master = next(role for role in roles if role[0] == "master")
        known = all(self._state(sentinel).get("num-other-sentinels") == "2" for sentinel in self.sentinels)
        return known and len(master[2]) == 2 and all(role[3] == "connected" for role in roles if role[0] == "slave")


class Chaos(unittest.TestCase):
    def test_what_was_accepted_is_stored_once(self):
        kind = os.environ.get("CHAOS_REDIS", "cluster")
        print(f"# CHAOS_REDIS={kind} CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS}", flush=True)
        random.seed(SEED)
        servers, folder = support.Servers(), tempfile.TemporaryDirectory()
        self.addCleanup(servers.close)
        self.addCleanup(folder.cleanup)
        started = engines.Engines()
        self.addCleanup(started.close)
        desk = {"cluster": ClusterDesk, "sentinel": SentinelDesk}[kind](started, servers)
        self.drainers = [started.drain(desk.url, "--consumer", f"chaos-{number}") for number in range(2)]
        self.feeds = [engines.Feed(desk.url, f"{folder.name}/{name}", name, PER_SECOND) for name in EXCHANGES]
        for feed in self.feeds:
            self.addCleanup(feed.kill)
        self.break_things(desk)
        for feed in self.feeds:
            status, text = feed.finish(timeout=2 * HEAL_S)
            self.assertEqual(status, 0, text)
            rows = servers.query("SELECT count(*) AS rows FROM blotter.order_events WHERE exchange = %s", feed.exchange)[0]["rows"]
            self.assertEqual(rows, feed.accepted)
            status, text = servers.run("audit", "--exchange", feed.exchange)
            self.assertEqual(status, 0, text)
        print(f"# accepted and stored once: {sum(feed.accepted for feed in self.feeds)}", flush=True)

    def break_things(self, desk):
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            kind, exchange = random.choice(desk.kinds), random.choice(EXCHANGES)
            began = time.monotonic()
            if kind == "kill_drainer":
                drainer = random.choice(self.drainers)
                drainer.kill()
                drainer.start()
            else:
                getattr(desk, kind)(exchange)
            time.sleep(random.uniform(0, 1))  # chaos has no condition to wait for
            desk.heal()
            print(f"# {kind} {exchange}: {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    support.main()
