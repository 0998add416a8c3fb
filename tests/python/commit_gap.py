"""For how long nothing is committed when a Redis master is lost, beside how long it took until another one took writes.

The difference is ours: 2 s at most, the sum of the time-outs after which a client looks again. How late a busy machine runs what is due
is measured in the same while, and allowed for.
"""

import contextlib
import threading
import time

import psycopg2
import support

BEYOND_FAILOVER = 2  # seconds
LATE_STEPS = 10  # sleeps, round trips and commits that follow one another between the failover and the first commit


class CommitGap:
    """Begins to watch. accepts() tells whether a master other than the one that is lost takes a write, found as a client finds it."""

    def __init__(self, servers, exchange, accepts):
        self._servers, self._exchange, self._accepts = servers, exchange, accepts
        self._ended = threading.Event()
        self.late = 0
        self._thread = threading.Thread(target=self._measure_lateness, daemon=True)
        self._thread.start()
        self.began = time.time()

    def _measure_lateness(self):
        with contextlib.closing(psycopg2.connect(self._servers.settings["BLOTTER_POSTGRES"])) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            while not self._ended.is_set():
                due = time.monotonic() + 0.01
                time.sleep(0.01)
                cursor.execute("SELECT txid_current()")
                self.late = max(self.late, time.monotonic() - due)

    def _first_commit(self, after):
        rows = self._servers.query(
            "SELECT extract(epoch FROM min(stored_at))::float8 AS at FROM blotter.order_events WHERE exchange = %s AND stored_at > to_timestamp(%s)",
            self._exchange, after,
        )  # fmt: skip
        return rows[0]["at"]

    def _longest_gap(self, until):
        rows = self._servers.query(
            "SELECT coalesce(extract(epoch FROM max(at - before)), 0)::float8 AS gap FROM (SELECT stored_at AS at, lag(stored_at) OVER (ORDER BY stored_at) AS before"
            " FROM blotter.order_events WHERE exchange = %s AND stored_at <= to_timestamp(%s)) AS commits WHERE at > to_timestamp(%s)",
            self._exchange, until + 0.000001, self.began,
        )  # fmt: skip
        return rows[0]["gap"]

    def _end(self):
        self._ended.set()
        self._thread.join()
        return BEYOND_FAILOVER + LATE_STEPS * self.late

    def assert_none(self):
        """For a loss after which no other master is needed: raises if commits paused for longer than the time-outs."""
        allowed, gap = self._end(), self._longest_gap(time.time())
        text = f"{self._exchange}: no other master, longest gap {gap:.2f} s; the machine was {self.late:.2f} s late"
        print(f"# {text}", flush=True)
        if gap > allowed:
            raise AssertionError(text)

    def await_end(self, timeout=support.TIMEOUT):
        """Waits for the first commit of a record that the new master took; raises if it came too late. Returns what was measured, as text."""
        deadline = time.monotonic() + timeout
        while not self._accepts():
            if time.monotonic() > deadline:
                raise AssertionError(f"no other master takes writes within {timeout} s")
            time.sleep(0.02)
        accepted = time.time()
        while (commit := self._first_commit(accepted)) is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"no commit within {timeout} s, {time.time() - accepted:.1f} s after another master took writes")
            time.sleep(0.02)
        allowed, gap = self._end(), self._longest_gap(commit)
        text = (
            f"{self._exchange}: another master after {accepted - self.began:.2f} s, commits {commit - accepted:.2f} s later, "
            f"longest gap {gap:.2f} s; the machine was {self.late:.2f} s late"
        )
        print(f"# {text}", flush=True)
        if commit - accepted > allowed or gap > accepted - self.began + allowed:
            raise AssertionError(text)
        return text
