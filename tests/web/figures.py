#!/usr/bin/python3
"""figures.py [CONNINFO]: the page at size: 1 M orders of which 100,000 are open, 10 M events, 1,000 symbols.

Makes that database (minutes, 8 GB) unless CONNINFO names one that it has made. Prints, beside their limits: the server's time for the first
screen, the time to a usable page in Chromium, what 50 viewers cost PostgreSQL beside one psql that asks the same, and the memory of `web`.
Times are of this machine and its load: each is beside that of a query that only counts to a million.
"""

import contextlib
import http.client
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / folder) for folder in ("python", "bench")]
import bench_reading
import psycopg2
import support
from browser import chromium

ADDRESS = "127.0.0.1:8398"
EVENTS, DAYS, SYMBOLS = 10_000_000, 10, 1000
VIEWERS, WATCH_S = 50, 20
SCREEN = ("/api/overview", "/api/positions?limit=101", "/api/fills?limit=50", "/api/pipeline")  # desk.js: what the figures wait for


def make(conninfo):
    with contextlib.closing(psycopg2.connect(conninfo)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SET timezone = 'UTC'")
        for sql in bench_reading.GENERATE:
            sql = sql.replace("{events} / 50", "{events} / 10").replace("now(), now(), g, 7\n", "now() - g * interval '0.1 s', now(), g, 7\n")
            cursor.execute(sql.format(events=EVENTS, days=DAYS, symbols=SYMBOLS))


def ask(path, token, source=None):
    with contextlib.closing(http.client.HTTPConnection(ADDRESS, timeout=support.TIMEOUT, source_address=source)) as connection:
        connection.request("GET", path, headers={"Authorization": "Bearer " + token})
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (path, body[:300])
        return body


def first_screen(token):
    """Seconds until all of the first screen's questions are answered, asked at once as the page does."""
    began = time.perf_counter()
    threads = [threading.Thread(target=ask, args=(path, token)) for path in SCREEN]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def usable(token):
    """Seconds from the navigation to figures and positions on the page, in a browser that has just started."""
    browser = chromium(1280, 800)
    browser.get("about:blank")
    browser.get(f"http://{ADDRESS}/#{token}")
    done = "return document.querySelectorAll(\"table[aria-label='Positions'] tbody td\").length > 9 && document.querySelector('.kpi strong').textContent !== '–' ? performance.now() : 0"
    found = []
    support.wait_until(lambda: found.append(browser.execute_script(done)) or found[-1])
    browser.quit()
    return found[-1] / 1000


def backends(conninfo, name):
    with contextlib.closing(psycopg2.connect(conninfo)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE application_name = %s", (name,))
        return [row[0] for row in cursor.fetchall()]


def cpu(pids):
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def watch(token, stop, number, asked):
    """A viewer, from an address of its own: is told of commits, and asks for the first screen each time."""
    source = (f"127.0.0.{number + 2}", 0)
    with contextlib.suppress(TimeoutError):
        stream = http.client.HTTPConnection(ADDRESS, timeout=5, source_address=source)
        stream.request("GET", "/api/live", headers={"Authorization": "Bearer " + token})
        answer = stream.getresponse()
        while not stop.is_set():
            if answer.readline().startswith(b"event: committed"):
                for path in SCREEN:
                    ask(path, token, source)
                    asked.append(path)


def commits(conninfo, stop):
    """A commit every 100 ms, as the page sees them."""
    with contextlib.closing(psycopg2.connect(conninfo)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("INSERT INTO blotter_internal.loaded (stream, n, last_id) VALUES ('blotter:figures', 1, '1-0') ON CONFLICT DO NOTHING")
        while not stop.wait(0.1):
            cursor.execute("UPDATE blotter_internal.loaded SET n = n + 1, updated_at = now() WHERE stream = 'blotter:figures'")


def psql_cost(conninfo, seconds):
    """What one psql costs that asks the same once a second."""
    limits = {"positions": ("$5", "101"), "fills": ("$6", "50")}
    queries = []
    for path in SCREEN:
        name = path.split("/")[2].split("?")[0]
        sql = (support.TREE / f"drainer/web/queries/{name}.sql").read_text()
        queries.append(sql.replace(*limits[name]) if name in limits else sql)
    with contextlib.closing(psycopg2.connect(conninfo)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SET search_path = pg_catalog; SET jit = off; SET timezone = 'UTC'")
        before = cpu([connection.get_backend_pid()])
        for second in range(seconds):
            for sql in queries:
                for parameter in range(8, 0, -1):
                    sql = sql.replace(f"${parameter}", "NULL")
                cursor.execute(sql)
        return cpu([connection.get_backend_pid()]) - before


def figure(name, value, limit):
    print(f"{name}: {value} (limit {limit})", flush=True)


def main():
    servers = None
    if len(sys.argv) > 1:
        conninfo = sys.argv[1]
    else:
        servers = support.Servers()
        conninfo = servers.settings["BLOTTER_POSTGRES"]
        make(conninfo)
    with contextlib.closing(psycopg2.connect(conninfo)) as connection, connection.cursor() as cursor:
        began = time.perf_counter()
        cursor.execute("SELECT count(*) FROM generate_series(1, 1000000)")
        print(f"counting to a million: {1000 * (time.perf_counter() - began):.0f} ms")
    environment = support.plain_environment(BLOTTER_POSTGRES=conninfo)
    program = [support.BUILD / "blotter", "web", "--listen", ADDRESS]
    web = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    try:
        token = web.stdout.readline().strip().split("#")[1]
        figure("first screen, first time", f"{1000 * first_screen(token):.0f} ms", "-")
        figure("first screen, best of 10", f"{1000 * min(first_screen(token) for _ in range(10)):.0f} ms", "300 ms")
        figure("usable in Chromium, best of 3", f"{min(usable(token) for _ in range(3)):.2f} s", "1 s")
        stop, asked = threading.Event(), []
        threads = [threading.Thread(target=commits, args=(conninfo, stop))] + [threading.Thread(target=watch, args=(token, stop, n, asked)) for n in range(VIEWERS)]
        for thread in threads:
            thread.start()
        time.sleep(2)  # until they are all connected
        before = cpu(backends(conninfo, "blotter web"))
        time.sleep(WATCH_S)
        cost = cpu(backends(conninfo, "blotter web")) - before
        memory = next(int(line.split()[1]) for line in Path(f"/proc/{web.pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
        stop.set()
        for thread in threads:
            thread.join()
        assert len(asked) >= VIEWERS * len(SCREEN), "the viewers were not told of commits"
        figure(f"{VIEWERS} viewers with {len(asked)} answers, {WATCH_S} s of commits, PostgreSQL's processor time", f"{cost:.2f} s", f"one psql, the same once a second: {psql_cost(conninfo, WATCH_S):.2f} s")
        figure(f"memory of web with {VIEWERS} viewers", f"{memory // 1024} MiB", "64 MiB")
    finally:
        web.kill()
        web.wait()
        if servers is not None:
            servers.close()


if __name__ == "__main__":
    main()
