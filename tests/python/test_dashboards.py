"""deploy/grafana: each query runs against a live drainer, `ship`, Prometheus and PostgreSQL and has an answer, and the dashboards
meet the rules of Grafana's dashboard linter. Also /metrics itself: what producers and `ship` say.
"""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import time
import unittest
import urllib.parse
import urllib.request

import engines
import support

FOLDER = support.TREE / "deploy/grafana"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
PRODUCER_ID = 4242
HEARTBEAT = {"accepted": 7, "sent": 6, "committed": 5, "held": 300, "slots": 1024, "full": 2, "invalid": 1, "resent": 0, "evicted": 3,
             "left_alone": 0, "connects": 1, "errors": 0, "redis_up": 1, "last_error_at_ns": 0, "misplaced": 0}  # fmt: skip


def free_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % free.getsockname()[1]


def fetch(address, path):
    with urllib.request.urlopen(f"http://{address}{path}", timeout=support.TIMEOUT) as answer:
        return answer.read().decode()


def setUpModule():
    global servers, drain_at, ship_at, prometheus_at
    servers = support.Servers()
    servers.query("CREATE ROLE trader LOGIN IN ROLE blotter_reader")
    drain_at, ship_at, prometheus_at = free_address(), free_address(), free_address()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    servers.start(servers.program, "drain", "--metrics", drain_at, **quiet)
    journals = servers.journal("ship")
    servers.start(servers.program, "ship", "--journal", journals, "--metrics", ship_at, **quiet)
    config = servers.folder / "prometheus.yml"
    config.write_text(
        "scrape_configs:\n  - job_name: blotter\n    scrape_interval: 500ms\n    scrape_timeout: 500ms\n"
        f"    static_configs:\n      - targets: ['{drain_at}', '{ship_at}']\n")  # fmt: skip
    servers.start("prometheus", "--config.file", config, "--storage.tsdb.path", servers.folder / "prometheus", "--web.listen-address", prometheus_at, **quiet)
    record_everything(journals)


def tearDownModule():
    alive.close(0)
    servers.close()


def publish(*records, journal, until="committed"):
    lines = "".join(json.dumps(record) + "\n" for record in records)
    done = subprocess.run(
        [servers.program, "publish", "--exchange", "okx", "--until", until, "--timeout", "60s", "--journal", journal],
        input=lines, env=support.plain_environment(), capture_output=True, text=True, timeout=support.TIMEOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def record_everything(journals):
    """An order, a fill, a public trade, a reject, a heartbeat, and a journal that ship has to send."""
    import redis

    folder = servers.journal("publish")
    who = {"account": "main", "strategy": "mm", "symbol": "BTC/USDT"}
    publish({"order_id": "d-1", "side": "buy", "type": "limit", "status": "open", "price": "100", "quantity": "2", **who},
            {"kind": "trade", "order_id": "d-1", "trade_id": "d-1", "side": "buy", "price": "100", "quantity": "1", "fee": "0.1", "fee_currency": "USDT", **who},
            {"kind": "trade", "trade_id": "d-2", "symbol": "BTC/USDT", "side": "sell", "price": "101", "quantity": "1"}, journal=folder)  # fmt: skip
    with contextlib.closing(redis.Redis(unix_socket_path=servers.settings["BLOTTER_REDIS"].removeprefix("unix://"))) as client:
        client.xadd("blotter:okx", {"order": b"\x80"})
        client.xadd("blotter:okx", {"session": engines.packed({"producer_id": PRODUCER_ID, "seq": 1, "recorded_at": time.time_ns(), "event": "heartbeat", "last_seq": 1, "extra": json.dumps(HEARTBEAT)})})
    # one whose writer lives, so that ship keeps it
    from blotter import Producer

    global alive, unsent
    alive = Producer("okx", journal=str(folder))
    alive.order(order_id="d-4", symbol="BTC/USDT", side="buy", status="open", price="1", quantity="1")
    unsent = Producer("okx", sender="none", journal=str(journals / "kept"))
    unsent.order(order_id="d-3", symbol="BTC/USDT", side="buy", status="open", price="1", quantity="1")


def prometheus(expr):
    answer = json.loads(fetch(prometheus_at, "/api/v1/query?" + urllib.parse.urlencode({"query": expr})))
    assert answer["status"] == "success", answer
    return answer["data"]["result"]


def panels(name):
    return [panel for panel in DASHBOARDS[name]["panels"] if panel["type"] != "row"]


class Live(unittest.TestCase):
    def test_every_promql_of_the_operators_dashboard_has_an_answer(self):
        def up():
            with contextlib.suppress(OSError):
                return len(prometheus("blotter_build_info")) == 2 and prometheus("rate(blotter_stream_rows_total[10s])") and prometheus("rate(blotter_ship_sent_total[10s])") and prometheus("blotter_producer_redis_up")

        support.wait_until(up)
        for panel in panels("operator"):
            for target in panel["targets"]:
                expr = target["expr"].replace("$__rate_interval", "30s").replace("$job", ".+").replace("$instance", ".+")
                self.assertNotEqual(prometheus(expr), [], f"{panel['title']}: {expr}")

    def test_every_sql_of_the_traders_dashboard_has_rows(self):
        import psycopg2

        place = re.sub(r"user=\S+", "user=trader", servers.settings["BLOTTER_POSTGRES"])
        support.wait_until(lambda: servers.query("SELECT trade_id FROM blotter.fills"))
        support.wait_until(lambda: servers.query("SELECT id FROM blotter.rejects"))
        low, high = (f"'{row['t']}'" for row in servers.query("SELECT unnest(ARRAY[now() - interval '1 hour', now() + interval '1 minute'])::text AS t"))
        sentences = [(panel["title"], target["rawSql"]) for panel in panels("trader") for target in panel["targets"]]
        sentences += [(variable["name"], variable["query"]) for variable in DASHBOARDS["trader"]["templating"]["list"] if variable["type"] == "query"]
        with contextlib.closing(psycopg2.connect(place)) as connection, connection.cursor() as cursor:
            for title, sql in sentences:
                sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN {low} AND {high}", sql).replace("$__timeFrom()", low).replace("$__timeTo()", high)
                sql = sql.replace("$__interval_ms", "5000").replace("${exchange:sqlstring}", "'%'").replace("${symbol:sqlstring}", "'BTC/USDT'")
                self.assertNotIn("$", sql, title)
                cursor.execute(sql)
                self.assertNotEqual(cursor.fetchall(), [], f"{title}: {sql}")

    def test_metrics_say_what_the_heartbeat_said(self):
        sample = f'{{stream="blotter:okx",exchange="okx",producer="{PRODUCER_ID}"}}'
        support.wait_until(lambda: f"blotter_producer_full_total{sample} 2\n" in fetch(drain_at, "/metrics"))
        text = fetch(drain_at, "/metrics")
        for name, value in (("journal_held", 300), ("journal_slots", 1024), ("evicted_total", 3), ("redis_up", 1), ("trouble_seconds", 0)):
            self.assertIn(f"blotter_producer_{name}{sample} {value}\n", text)

    def test_a_producers_heartbeat_has_its_counters(self):
        """The first comes ten seconds after it was opened."""
        found = re.compile(rf'blotter_producer_(\w+)\{{[^}}]*producer="{alive.stats().producer_id}"\}} (\S+)')
        support.wait_until(lambda: found.search(fetch(drain_at, "/metrics")))
        said = dict(found.findall(fetch(drain_at, "/metrics")))
        self.assertEqual(int(said["journal_slots"]), alive.stats().slots)
        self.assertEqual((said["redis_up"], said["full_total"]), ("1", "0"))
        self.assertGreaterEqual(int(said["accepted_total"]), 2)
        [row] = servers.query("SELECT alive, slots, redis_up FROM blotter_internal.producers WHERE producer_id = %s", alive.stats().producer_id)
        self.assertEqual((row["alive"], row["slots"], row["redis_up"]), (True, alive.stats().slots, 1))

    def test_ship_counts_what_it_sends(self):
        support.wait_until(lambda: re.search(r'blotter_ship_journal_unsent\{journal="[^"]+"\} 0\n', fetch(ship_at, "/metrics")))
        text = fetch(ship_at, "/metrics")
        self.assertRegex(text, r"blotter_ship_sent_total [1-9]")
        self.assertIn("blotter_ship_journals 1\n", text)
        self.assertEqual(fetch(ship_at, "/healthz"), "ok\n")

    def test_promtool_finds_no_fault_with_the_metrics(self):
        for address in (drain_at, ship_at):
            done = subprocess.run(["promtool", "check", "metrics"], input=fetch(address, "/metrics"), capture_output=True, text=True, timeout=support.TIMEOUT)
            self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))


# The units that the dashboards use. The linter knows each of them.
UNITS = {"bytes", "cps", "none", "ops", "percentunit", "s", "short"}


class Rules(unittest.TestCase):
    """Those of github.com/grafana/dashboard-linter, which is no package of Debian's."""

    def each_panel(self):
        return [(name, panel) for name in DASHBOARDS for panel in panels(name)]

    def test_there_are_two(self):
        self.assertEqual(sorted(DASHBOARDS), ["operator", "trader"])

    def test_they_cannot_be_edited_by_accident(self):
        for name, board in DASHBOARDS.items():
            self.assertIs(board["editable"], False, name)

    def test_the_data_source_is_a_variable(self):
        for name, board in DASHBOARDS.items():
            variable = board["templating"]["list"][0]
            self.assertEqual((variable["type"], variable["name"], variable["label"]), ("datasource", "datasource", "Data source"))
            self.assertEqual(variable["query"], {"operator": "prometheus", "trader": "grafana-postgresql-datasource"}[name])
        for name, panel in self.each_panel():
            for place in [panel, *panel["targets"]]:
                self.assertEqual(place["datasource"]["uid"], "${datasource}", panel["title"])

    def test_job_and_instance_are_variables_of_all_values(self):
        variables = {variable["name"]: variable for variable in DASHBOARDS["operator"]["templating"]["list"]}
        for name in ("job", "instance"):
            variable = variables[name]
            self.assertEqual((variable["label"], variable["multi"], variable["allValue"], variable["refresh"]), (name.capitalize(), True, ".+", 2))
            self.assertEqual(variable["datasource"]["uid"], "${datasource}")
            self.assertRegex(variable["definition"], r"^label_values\(")

    def test_each_panel_has_title_description_unit_and_target(self):
        for name, panel in self.each_panel():
            for member in ("title", "description"):
                self.assertTrue(panel[member], (name, panel))
            self.assertIn(panel["fieldConfig"]["defaults"]["unit"], UNITS, panel["title"])
            self.assertTrue(panel["targets"], panel["title"])

    def test_each_selector_matches_job_and_instance(self):
        for panel in panels("operator"):
            for target in panel["targets"]:
                selectors = re.findall(r"\b(?:blotter|process)_\w+(\{[^}]*\})?", target["expr"])
                self.assertTrue(selectors)
                for selector in selectors:
                    self.assertIn('job=~"$job", instance=~"$instance"', selector, target["expr"])

    def test_rates_are_of_the_rate_interval_and_counters_are_rates(self):
        for panel in panels("operator"):
            for target in panel["targets"]:
                expr = target["expr"]
                for function, span in re.findall(r"\b(rate|irate|increase)\([^\[]*\[([^\]]*)\]", expr):
                    self.assertTrue(span == "$__rate_interval" or (function, panel["type"]) == ("increase", "stat"), expr)
                for at in re.finditer(r"\b\w+(_total|_bucket|_sum|_count)\{", expr):
                    self.assertRegex(expr[: at.start()], r"\b(rate|irate|increase)\($", expr)

    def test_panels_do_not_overlap(self):
        for name in DASHBOARDS:
            taken = set()
            for panel in DASHBOARDS[name]["panels"]:
                place = panel["gridPos"]
                cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
                self.assertLessEqual(place["x"] + place["w"], 24)
                self.assertFalse(taken & cells, (name, panel["title"]))
                taken |= cells


if __name__ == "__main__":
    assert shutil.which("prometheus"), "deploy/packages.sh test installs prometheus"
    support.main()
