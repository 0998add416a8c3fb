#!/usr/bin/python3
"""figures.py [EVENTS]: the page at size: an order for ten events, a tenth of them open, 1,000 symbols; by default 10 million events.

Makes that database first (minutes, 8 GB), with `make all build/tests/python/serve`. For a person who changed a query or the page; fails where a
limit is missed. Limits are counts, and processor time beside something else's in the same run, as machines differ and are busy:
the first screen, beside counting to a million; what a browser loads until the page is usable; what 50 viewers cost PostgreSQL, beside one
session that asks the same at the same pace; the memory of `web`. How long the page takes until it is usable, and a commit to the page in its parts, is shown and not judged.
"""

import contextlib
import socket
import sys
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / folder) for folder in ("python", "bench")]
import bench_reading
import psycopg2
import support
import test_viewers as viewers
from browser import chromium

DAYS, SYMBOLS = 10, 1000
WATCH_S = 20
SCREEN = ("web_overview()", "web_positions(NULL, NULL, NULL, NULL, '101')", "web_fills(NULL, NULL, NULL, NULL, NULL, '50')", "web_pipeline()")

missed = []


def figure(name, value, limit, unit=""):
    print(f"{name}: {value:.2f}{unit}, limit {limit}{unit}{'' if value <= limit else ': MISSED'}", flush=True)
    if value > limit:
        missed.append(name)


@contextlib.contextmanager
def session():
    with contextlib.closing(psycopg2.connect(viewers.servers.settings["BLOTTER_POSTGRES"])) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SET search_path = pg_catalog; SET jit = off; SET timezone = 'UTC'; SET max_parallel_workers_per_gather = 0")
        yield cursor


def make(events):
    with session() as cursor:
        bench_reading.generate(cursor, events, DAYS, SYMBOLS, events // 10)


def busy_ms(cursor, *statements):
    """The processor time of the session for these statements, the least of five."""
    times = []
    for _ in range(5):
        before = bench_reading.processor_ms(cursor.connection.info.backend_pid)
        for sql in statements:
            cursor.execute(sql)
        times.append(bench_reading.processor_ms(cursor.connection.info.backend_pid) - before)
    return min(times)


def first_screen():
    with session() as cursor:
        counting = busy_ms(cursor, "SELECT count(*) FROM generate_series(1, 1000000)")
        screen = busy_ms(cursor, *("SELECT blotter_internal." + call for call in SCREEN))
    print(f"# first screen {screen:.0f} ms of a processor, counting to a million {counting:.0f} ms")
    figure("first screen / counting to a million", screen / counting, 3)


def browser_load():
    """What a browser that has just started loads until figures and positions stand on the page."""
    browser = chromium(1280, 800)
    try:
        browser.get("http://%s:%d/#%s" % (*viewers.address, viewers.token))
        shown = "return document.querySelectorAll(\"table[aria-label='Positions'] tbody td\").length > 9 && [...document.querySelectorAll('.kpi strong')].some((figure) => /[0-9]/.test(figure.textContent))"
        support.wait_until(lambda: browser.execute_script(shown))
        usable = browser.execute_script("return performance.now()")
        loaded = browser.execute_script("return performance.getEntriesByType('resource').map((e) => [e.name, e.encodedBodySize])")
    finally:
        browser.quit()
    print(f"# usable {usable:.0f} ms after the browser asked for the page")
    figure("requests until usable", len(loaded), 25)
    figure("bytes until usable", sum(size for _, size in loaded) / 1024, 600, " KiB")
    figure("questions until usable", len([1 for name, _ in loaded if "/api/" in name]), 6)


class Psql:
    """One session that polls as `web` does and asks for the first screen once a second."""

    def __init__(self):
        self.stop, self.rounds, self.ready = threading.Event(), 0, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        with session() as cursor:
            self.pid = cursor.connection.info.backend_pid
            due = time.monotonic()
            while not self.stop.is_set():
                for call in SCREEN:
                    cursor.execute("SELECT blotter_internal." + call)
                self.rounds += 1
                self.ready.set()
                for _ in range(10):
                    cursor.execute("SELECT blotter_internal.web_live()")
                    due += 0.1
                    self.stop.wait(max(0, due - time.monotonic()))

    def close(self):
        self.stop.set()
        self.thread.join()


def cost_of_viewers():
    def busy():
        rows = viewers.servers.query("SELECT pid FROM pg_stat_activity WHERE application_name = 'blotter web' AND backend_type = 'client backend'")
        return sum(bench_reading.processor_ms(row["pid"]) for row in rows), bench_reading.processor_ms(psql.pid), psql.rounds

    with viewers.watching(viewers.VIEWERS), contextlib.closing(Psql()) as psql:
        psql.ready.wait()
        viewers.forget()
        before, end = busy(), time.monotonic() + WATCH_S
        while time.monotonic() < end:
            viewers.commit()
            time.sleep(0.1)
        web, alone, rounds = (b - a for a, b in zip(before, busy()))
        asked = viewers.asked()
    print(f"# {viewers.VIEWERS} viewers {web:.0f} ms of a processor in {asked} questions, one session {alone:.0f} ms in {rounds * len(SCREEN)}")
    figure("questions of the viewers / of one session", asked / (rounds * len(SCREEN)), 1.1)
    figure("processor time of the viewers' questions / of one session's", web / alone, 1.25)


class Ear:
    """A viewer that notes when it is told of commits."""

    def __init__(self):
        self.told = []
        self.stream = viewers.send("/api/live", 1)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        for line in self.stream.makefile("rb"):
            if line.startswith(b"event: committed"):
                self.told.append(time.time())

    def close(self):
        self.stream.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.stream.close()


def live():
    """From COMMIT to the row on a page at rest, in parts. Between commits of less than two seconds the page is told once a second."""
    watch = (
        "window.drawn = null; new MutationObserver((_, observer) => { if (document.getElementById('main').textContent.includes(arguments[0]))"
        " { window.drawn = performance.timeOrigin + performance.now(); observer.disconnect(); } })"
        ".observe(document.getElementById('main'), {subtree: true, childList: true, characterData: true}); performance.clearResourceTimings()"
    )
    asked = "return performance.getEntriesByType('resource').filter((e) => e.name.includes('/api/orders')).map((e) => [performance.timeOrigin + e.startTime, performance.timeOrigin + e.responseEnd])[0]"
    parts = []
    browser = chromium(1280, 800)
    with contextlib.closing(Ear()) as ear:
        browser.get("http://%s:%d/#%s" % (*viewers.address, viewers.token))
        browser.execute_script("location.hash = '#/orders'")
        for n in range(12):
            time.sleep(2.5 + 0.037 * n)  # to be at rest, at any moment between two looks
            browser.execute_script(watch, f"live-{n}-order")
            with session() as cursor:
                cursor.execute(
                    "BEGIN; INSERT INTO blotter.orders (exchange, order_key, order_id, status, first_recorded_at, recorded_at, seq, producer_id)"
                    f" VALUES ('live', 'live-{n}-order', 'live-{n}-order', 'open', now(), now(), {n}, 1);"
                    " UPDATE blotter_internal.loaded SET n = n + 1, updated_at = now() WHERE stream = 'blotter:viewers'")  # fmt: skip
                cursor.execute("COMMIT")
                committed = time.time()
            support.wait_until(lambda: browser.execute_script("return window.drawn"))
            began, answered = (ms / 1000 for ms in browser.execute_script(asked))
            told, drawn = next(at for at in ear.told if at >= committed), browser.execute_script("return window.drawn") / 1000
            parts.append((told - committed, began - told, answered - began, drawn - answered, drawn - committed))
    browser.quit()
    for name, values in zip(("COMMIT to told (a look each 100 ms)", "told to asked", "asked to answered", "answered to drawn", "COMMIT to drawn (wanted: 200)"), zip(*parts)):
        ms = sorted(1000 * value for value in values)
        print(f"# {name}: median {ms[len(ms) // 2]:.0f} ms, least {ms[0]:.0f}, most {ms[-1]:.0f}", flush=True)


def memory():
    status = Path(f"/proc/{viewers.web.pid}/status").read_text()
    figure("memory of web", int(status.split("VmHWM:")[1].split()[0]) / 1024, 64, " MiB")


def main():
    viewers.setUpModule()
    try:
        make(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000)
        first_screen()
        browser_load()
        cost_of_viewers()
        live()
        memory()
    finally:
        viewers.tearDownModule()
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
