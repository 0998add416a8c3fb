"""`blotter web` in a real browser: its numbers are SQL's, it follows commits, hostile text stays text.

Needs Chromium and chromedriver (Debian's chromium, chromium-driver, python3-selenium).
"""

import contextlib
import functools
import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))
import engines
import psycopg2
import support
from browser import chromium
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

HOSTILE = ['<img src=x onerror="document.title=1">', "'); DROP TABLE orders; --", "\u202eرمز\u202c", '"&lt;b&gt;"', "x" * 200, "🚀 moon"]
PAGES = ("desk", "orders", "fills", "positions", "candles", "pipeline", "rejects", "reconciliation")
AXE = support.BUILD / "drainer/web/page_files.c.npm/node_modules/axe-core/axe.min.js"


wait_until = functools.partial(support.wait_until, pause=0.05)  # a look is work for the browser


def start_web():
    """`blotter web`, as the role that is made for it."""
    global web
    place = re.sub(r"user=\S+", "user=blotter_web", servers.settings["BLOTTER_POSTGRES"])
    web = servers.start(servers.program, "web", "--listen", address, "--web-token-file", servers.folder / "token", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                        text=True, env=support.plain_environment(BLOTTER_POSTGRES=place))  # fmt: skip
    web.stdout.readline()


def setUpModule():
    global servers, address, token, browser
    servers = support.Servers()
    servers.query("ALTER ROLE blotter_web LOGIN")
    servers.query("INSERT INTO blotter_internal.venues (exchange, order_id_scope) VALUES ('numbered', 'symbol')")
    servers.drain()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % free.getsockname()[1]
    token = secrets.token_hex(24)
    with open(os.open(servers.folder / "token", os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
        file.write(token + "\n")
    start_web()
    browser = chromium(1440, 900)
    browser.get(f"http://{address}/#{token}")


def tearDownModule():
    browser.quit()
    servers.close()


def ask(path, headers=None, **parameters):
    """Status and JSON of an answer of the API, with the token unless headers say otherwise."""
    with contextlib.closing(http.client.HTTPConnection(address, timeout=support.TIMEOUT)) as connection:
        connection.request("GET", path + ("?" + urlencode(parameters) if parameters else ""), headers={"Authorization": "Bearer " + token} | (headers or {}))
        answer = connection.getresponse()
        body = answer.read()
        if "json" in answer.headers["Content-Type"]:
            body = json.loads(body)
        return answer.status, body, answer.headers


def publish(*records, exchange="okx"):
    """Records by `blotter publish`, and waits until PostgreSQL has them and the books are up to date."""
    lines = "".join(json.dumps(record) + "\n" for record in records)
    done = subprocess.run(
        [servers.program, "publish", "--exchange", exchange, "--until", "committed", "--timeout", "60s"],
        input=lines, env=support.plain_environment(), capture_output=True, text=True, timeout=support.TIMEOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    wait_until(lambda: servers.query("SELECT count(*) AS n FROM blotter_internal.book_queue")[0]["n"] == 0)


def order(order_id, **more):
    return {"order_id": order_id, "symbol": "BTC/USDT", "side": "buy", "type": "limit", "status": "open", "price": "67123.10",
            "quantity": "0.250", "account": "main", "strategy": "mm"} | more  # fmt: skip


def fill(order_id, trade_id, price, quantity, side="buy", **more):
    return {"kind": "trade", "order_id": order_id, "trade_id": trade_id, "symbol": "BTC/USDT", "side": side, "price": price, "quantity": quantity,
            "account": "main", "strategy": "mm", "fee": "0.5", "fee_currency": "USDT", "liquidity": "maker"} | more  # fmt: skip


def reject_something(order_id, **more):
    """An entry that no table takes, straight into Redis. Returns the reject's id."""
    import redis

    place = servers.settings["BLOTTER_REDIS"]
    fields = {"kind": "order", "order_id": order_id, "symbol": "x", "recorded_at": "never"} | more
    with contextlib.closing(redis.Redis(unix_socket_path=place.removeprefix("unix://"))) as client:
        client.xadd("blotter:okx", fields)
    found = []

    def look():
        found[:] = servers.query("SELECT id FROM blotter.rejects WHERE position(convert_to(%s, 'UTF8') IN raw) > 0", order_id)
        return found

    wait_until(look)
    return found[0]["id"]


def differences(value, schema, document, where):
    """What of a JSON value is not as its schema says: types, members that are missing or not described."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
    types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    if not any(isinstance(value, kinds[kind]) for kind in types):
        return [f"{where}: {value!r} is not {types}"]
    found = []
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{where}: {value!r} is no {schema['pattern']}")
    if isinstance(value, dict):
        found += [f"{where}.{name} is missing" for name in schema.get("required", []) if name not in value]
        for name, member in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties", True))
            if inner is False:
                found.append(f"{where}.{name} is not described")
            elif inner is not True:
                found += differences(member, inner, document, f"{where}.{name}")
    if isinstance(value, list):
        inner = schema.get("prefixItems") or [schema["items"]] * len(value)
        found += [f"{where} has {len(value)} items"] if len(inner) != len(value) else []
        for member, each in zip(value, inner):
            found += differences(member, each, document, where + "[]")
    return found


def show(path):
    browser.execute_script("location.hash = arguments[0]", "#/" + path)


def show_figures(path):
    """Shows a page, and waits until it is there."""
    show(path)
    there = "return document.querySelector('nav [aria-current]').dataset.page === arguments[0] && document.querySelectorAll('main td, main canvas').length > 0"
    wait_until(lambda: browser.execute_script(there, path.partition("?")[0]))


def cells(label):
    """The texts of a table's rows."""
    return browser.execute_script(
        "return [...document.querySelectorAll(`table[aria-label='${arguments[0]}'] tbody tr:not(:has(.empty))`)]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))", label)  # fmt: skip


def await_cells(label, wanted):
    wait_until(lambda: any(wanted(row) for row in cells(label)))
    return cells(label)


class Sleeping(engines.Forwarder):
    """The way to a server that a router forgets: connections that were open say nothing any more, new ones work."""

    def __init__(self, port):
        self.sleeps = 0
        super().__init__(port)

    def _answers(self, far):
        before = self.sleeps
        for data in super()._answers(far):
            if self.sleeps > before:
                threading.Event().wait()
            yield data


class Api(unittest.TestCase):
    def test_only_the_token_opens_it(self):
        self.assertEqual(ask("/api/overview")[:2][0], 200, ask("/api/overview")[1])
        for given in ("", "Bearer ", "Bearer " + token[:-1], "Bearer " + token + "0", "Basic " + token):
            self.assertEqual(ask("/api/overview", {"Authorization": given})[0], 401, given)

    def test_other_hosts_and_sites_are_refused(self):
        self.assertEqual(ask("/api/overview", {"Host": "evil.example"})[0], 403)
        self.assertEqual(ask("/", {"Host": "evil.example"})[0], 403)
        self.assertEqual(ask("/api/overview", {"Origin": "http://evil.example"})[0], 403)
        self.assertEqual(ask("/api/overview", {"Origin": "null"})[0], 403)
        self.assertEqual(ask("/api/overview", {"Origin": "http://" + address})[0], 200)

    def test_every_answer_forbids_scripts_of_others(self):
        for path in ("/", "/page.js", "/api/overview", "/nothing"):
            headers = ask(path)[2]
            self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
            self.assertNotIn("unsafe", headers["Content-Security-Policy"])
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff")

    def test_what_is_not_there_is_404(self):
        for path in ("/nothing", "/api/nothing", "/api/", "/../etc/passwd", "/api/overview/x"):
            self.assertEqual(ask(path)[0], 404, path)

    def test_a_wrong_value_is_the_askers_fault(self):
        status, body, _ = ask("/api/orders", limit="many")
        self.assertEqual(status, 400)
        self.assertIn("many", body["error"])

    def test_a_value_that_cannot_be_read_is_not_taken_for_none(self):
        """Without it the answer would be of all strategies, or the first page again."""
        for path in ("/api/orders?symbol=%zz", "/api/orders?strategy=%00", "/api/fills?before=" + "2" * 256, "/api/candles?symbol=a%4"):
            status, body, _ = ask(path)
            self.assertEqual(status, 400, path)
            self.assertIn(path.split("?")[1].split("=")[0], body["error"])
        self.assertEqual(ask("/api/orders?text=" + "a" * 255)[0], 200)

    def test_connections_that_say_nothing_keep_nobody_out(self):
        """All users of the host share the address of loopback."""
        host, port = address.rsplit(":", 1)
        with contextlib.ExitStack() as idle:
            for _ in range(100):
                idle.enter_context(socket.create_connection((host, int(port))))
            for _ in range(3):
                self.assertEqual(ask("/api/symbols")[0], 200)

    def test_a_value_is_never_sql(self):
        status, body, _ = ask("/api/orders", symbol="' OR true --", state="all")
        self.assertEqual((status, body["orders"]), (200, []))

    def test_the_description_lists_every_path(self):
        described = {path: {p["name"] for p in verbs["get"].get("parameters", [])} for path, verbs in ask("/openapi.json")[1]["paths"].items()}
        source = (support.TREE / "drainer/web/api.h").read_text()
        listed = {"/api/" + name: set(parameters.split()) for name, parameters in re.findall(r'X\((\w+), "([^"]*)"', source)}
        self.assertEqual(described, listed | {"/api/live": set()})


    def test_every_answer_is_as_described(self):
        """Also that each query may be run by the role blotter_web."""
        publish(order("described", event="new"), order("described", status="filled", last_quantity="0.250", last_price="67000", trade_id="described-1"))
        servers.run("publish", "--exchange", "okx", "--until", "sent")
        reject = reject_something("described")
        given = {"order": {"exchange": "okx", "account": "main", "order": "described"}, "reject": {"id": reject}, "candles": {"symbol": "BTC/USDT"}}
        document = ask("/openapi.json")[1]
        for path, verbs in document["paths"].items():
            if path == "/api/live":
                continue
            status, body, _ = ask(path, **given.get(path.removeprefix("/api/"), {}))
            self.assertEqual(status, 200, (path, body))
            schema = verbs["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            self.assertEqual(differences(body, schema, document, path), [])

    def test_the_curve_ends_at_the_pnl(self):
        publish(*[fill(f"curve-{n}", f"curve-{n}", f"{100 + n % 7}.5", "0.3", side="buy" if n % 3 else "sell", strategy="curve", symbol="ETH/USDT") for n in range(20)])
        wanted = servers.query(
            "SELECT round(sum(net_pnl + coalesce(unrealized_pnl, 0)), 8) AS total FROM blotter.pnl(date_trunc('day', now(), 'UTC'), now(), 'strategy')"
            " WHERE strategy = 'curve' AND currency = 'USDT'")[0]["total"]  # fmt: skip
        def newest():
            return [Decimal(line["points"][-1][1]) for line in ask("/api/curve")[1]["lines"] if line["strategy"] == "curve"]

        wait_until(lambda: newest() == [wanted])  # an answer may be a tenth of a second old
        self.assertGreater(wanted, -10000)
        self.assertNotEqual(wanted, 0)

    def test_the_curve_follows_the_fills(self):
        now = servers.query("SELECT date_trunc('second', now()) AS now")[0]["now"]
        trades = ((90, "buy", "100", "1"), (60, "buy", "110", "1"), (30, "sell", "120", "2"))
        publish(*[fill(f"follow-{before}", f"follow-{before}", price, quantity, side=side, strategy="follow", exchange_time=int((now.timestamp() - before) * 1e9))
                  for before, side, price, quantity in trades])  # fmt: skip
        rows = servers.query(
            "SELECT at, sum(sum(delta)) OVER (ORDER BY at) AS pnl FROM blotter_internal.curve_steps(blotter_internal.hour_of(now() - interval '1 hour'), now(), '1 second')"
            " WHERE strategy = 'follow' AND currency = 'USDT' GROUP BY at HAVING sum(delta) <> 0 ORDER BY at")  # fmt: skip
        self.assertEqual([((now - row["at"]).total_seconds(), row["pnl"]) for row in rows], [(89, Decimal("-0.5")), (59, Decimal("9")), (29, Decimal("28.5"))])

    def test_positions_agree_with_pnl_by_symbol(self):
        publish(*[fill(f"agree-{n}", f"agree-{n}", f"{100 + n}", "0.5", side="buy" if n % 3 else "sell", strategy="agree") for n in range(9)])
        row = servers.query("SELECT realized_pnl, unrealized_pnl FROM blotter.pnl(date_trunc('day', now(), 'UTC'), now(), 'strategy,symbol') WHERE strategy = 'agree' AND currency = 'USDT'")[0]
        shown = ask("/api/positions", strategy="agree")[1][0]
        self.assertEqual((Decimal(shown["realized_today"]), Decimal(shown["unrealized_pnl"])), (row["realized_pnl"], row["unrealized_pnl"]))

    def test_a_strategy_that_is_flat_hides_nobodys_unrealised_pnl(self):
        publish(fill("flat-1", "flat-1", "100", "1", strategy="flat"), fill("flat-2", "flat-2", "101", "1", side="sell", strategy="flat"))

        def shown():
            return [(p["net"], p["unrealized"]) for s in ask("/api/overview")[1]["strategies"] if s["strategy"] == "flat" for p in s["pnl"]]

        wait_until(shown)  # an answer may be a tenth of a second old
        self.assertEqual(shown(), [("0", "0")])

    def test_a_strategy_without_fills_is_shown_in_the_currency_of_the_desk(self):
        publish(fill("leads-1", "leads-1", "100", "1", strategy="leads", fee="0.25", fee_currency="AAA"))
        publish(*[{"kind": "cash", "type": "funding", "entry_id": "f-" + currency, "currency": currency, "amount": "-1", "account": "main", "strategy": "funded"}
                  for currency in ("AAA", "USDT")])  # fmt: skip

        def shown():
            return [p["currency"] for s in ask("/api/overview")[1]["strategies"] if s["strategy"] == "funded" for p in s["pnl"]]

        wait_until(shown)  # an answer may be a tenth of a second old
        self.assertEqual(shown(), ["USDT", "AAA"])

    def test_the_pipeline_counts_records_and_names_processes(self):
        """A transaction loads many records, and a heartbeat does not say which process sent it."""

        def loaded():
            return next((s["records"] for s in ask("/api/pipeline")[1]["streams"] if s["stream"] == "blotter:counted"), None)

        publish(order("count-0"), exchange="counted")
        wait_until(lambda: loaded() == 3)  # opened and closed beside it
        servers.query(
            "INSERT INTO blotter_internal.sessions (producer_id, seq, recorded_at, exchange, event, host, pid, version)"
            " VALUES (77, 1, now() - interval '1 hour', 'counted', 'opened', 'desk-1', 4711, '1'), (77, 9, now(), 'counted', 'heartbeat', NULL, NULL, NULL)")  # fmt: skip
        publish(*[order(f"count-{n}") for n in range(100)], exchange="counted")  # also so that no answer is of before
        wait_until(lambda: loaded() == 105)

        def named():
            return [(p["host"], p["pid"], p["alive"]) for p in ask("/api/pipeline")[1]["producers"] if p["producer_id"] == "77"]

        wait_until(lambda: named() == [("desk-1", 4711, True)])
        servers.query("DELETE FROM blotter_internal.sessions WHERE producer_id = 77")

    def test_what_a_stranger_calls_a_heartbeat_hides_no_producer(self):
        """Whoever may add to one stream chooses the number and the counters there; they are asked for with all others."""
        self.addCleanup(servers.query, "DELETE FROM blotter_internal.sessions WHERE exchange IN ('honest', 'evil')")
        servers.query(
            "INSERT INTO blotter_internal.sessions (producer_id, seq, recorded_at, exchange, event, extra) VALUES"
            """ (78, 5, now(), 'honest', 'heartbeat', '{"held": 3, "slots": 64}'), (78, 9, now(), 'evil', 'closed', NULL),"""
            """ (79, 1, now(), 'evil', 'heartbeat', '{"held": "many", "slots": 1e30, "full": -1, "evicted": [], "redis_up": 1.5}'),"""
            """ (80, 1, now(), 'evil', 'heartbeat', '[1]')""")  # fmt: skip
        servers.query(
            "INSERT INTO blotter_internal.sessions (producer_id, seq, recorded_at, exchange, event, extra)"
            """ SELECT 1000 + n, 1, now(), 'evil', 'heartbeat', '{"held": 64, "slots": 64}' FROM generate_series(1, 2000) AS n""")  # fmt: skip
        publish(order("after-heartbeats"))  # else an answer may be ten seconds old

        def shown():
            status, body, _ = ask("/api/pipeline")
            self.assertEqual(status, 200, body)
            return [(p["alive"], p["held"], p["slots"]) for p in body["producers"] if (p["producer_id"], p["exchange"]) == ("78", "honest")]

        wait_until(lambda: shown() == [(True, 3, 64)])  # an answer may be of a moment ago
        strange = servers.query("SELECT held, slots, \"full\", evicted, redis_up FROM blotter_internal.producers WHERE producer_id = 79")[0]
        self.assertEqual(list(strange.values()), [None, None, None, None, 1])

    def test_a_replaced_order_is_not_counted_open(self):
        publish(order("old", client_order_id="c-old", strategy="amends"), order("new", client_order_id="c-new", orig_client_order_id="c-old", strategy="amends"))
        listed = servers.query("SELECT order_id FROM blotter.open_orders WHERE strategy = 'amends'")
        self.assertEqual([row["order_id"] for row in listed], ["new"])
        def counted():
            return [s["open_orders"] for s in ask("/api/overview")[1]["strategies"] if s["strategy"] == "amends"]

        wait_until(counted)  # an answer may be a tenth of a second old
        self.assertEqual(counted(), [1])

    def test_the_venues_positions_are_compared(self):
        publish(fill("rec-1", "rec-1", "100", "2", symbol="ETH/USDT:USDT", account="rec"), fill("rec-2", "rec-2", "100", "3", symbol="BTC/USDT:USDT", account="rec"))
        # what is not in the list, the venue does not hold
        publish({"kind": "position", "account": "rec", "symbol": "ETH/USDT:USDT", "quantity": "2", "snapshot": time.time_ns() + 3_600_000_000_000})
        wanted = {"ETH/USDT:USDT": (True, "2", "2", "0"), "BTC/USDT:USDT": (False, "3", "0", "3")}

        def compared():
            return {row["symbol"]: (row["agrees"], row["ours"], row["venue"], row["difference"]) for row in ask("/api/reconciliation")[1] if row["account"] == "rec"}

        wait_until(lambda: compared() == wanted)  # an answer may be a tenth of a second old

    def test_what_the_venue_says_is_compared(self):
        """Balances, fills and open orders, on the page as SQL has them."""
        now, s = time.time_ns(), 1_000_000_000
        of = {"account": "venues", "strategy": "venues"}
        theirs = {"account": "venues", "origin": "venue", "strategy": None}
        publish(
            *[{"kind": "balance", "account": "venues", "currency": currency, "total": total, "snapshot": now + at * s}
              for currency, total, at in (("USDT", "1000.10", -60), ("ETH", "1", -60), ("USDT", "974.60", 3600), ("BTC", "0.6", 3600), ("ETH", "2", 3600))],
            {"kind": "cash", "account": "venues", "entry_id": "dep-1", "type": "deposit", "currency": "USDT", "amount": "25", "exchange_time": now},
            {"kind": "cash", "account": "venues", "entry_id": "dep-2", "type": "deposit", "status": "pending", "currency": "USDT", "amount": "7", "exchange_time": now},
            fill("v-1", "v-1", "100", "0.25", exchange_time=now, **of), fill("v-2", "v-2", "100", "0.25", exchange_time=now + s, fee="0", **of),
            fill("v-1", "v-1", "100", "0.25", exchange_time=now, **theirs), fill("v-3", "v-3", "99", "1", exchange_time=now + 2 * s, symbol="ETH/USDT", **theirs),
            order("v-4", **of), order("v-5", status="canceled", **of))  # fmt: skip
        publish(fill("v-6", "v-6", "100", "0.1", exchange_time=now + 3 * s, fee="0", **theirs), fill("v-7", "v-7", "1", "1", exchange_time=now, symbol="X/Y", fee="0", **of),
                fill("v-7", "v-7", "2", "1", exchange_time=now, symbol="X/Y", fee="0", **theirs))  # fmt: skip
        publish(order("v-4", **theirs), order("v-5", **theirs), order("v-8", **theirs))
        wanted = {
            # 1000.10 + 25, less 25, 25, 99, 10 that the fills cost and 0.5, 0.5 of fees
            ("balance", "", "USDT"): (False, "865.1", "974.6", "-109.5", "cash flows or fills are missing"),
            ("balance", "", "BTC"): (True, "0.6", "0.6", "0", ""),
            ("balance", "", "ETH"): (True, "2", "2", "0", ""),
            ("fills", "BTC/USDT", ""): (False, "2", "2", "0", "1 that only the venue told of, 1 that the venue does not list"),
            ("fills", "ETH/USDT", ""): (False, "0", "1", "-1", "1 that only the venue told of"),
            ("fills", "X/Y", ""): (False, "1", "1", "0", "1 with another price, quantity or fee"),
            ("open orders", "", ""): (False, "1", "3", "-2", "1 that only the venue told of, 1 in another state: v-8, v-5"),
        }

        def compared():
            return {(r["kind"], r["symbol"], r["currency"]): (r["agrees"], r["ours"], r["venue"], r["difference"], r["note"]) for r in ask("/api/reconciliation")[1] if r["account"] == "venues"}

        self.maxDiff = None
        wait_until(lambda: len(compared()) == len(wanted))  # an answer may be a tenth of a second old
        self.assertEqual(compared(), wanted)
        show("reconciliation")
        rows = [row for row in await_cells("Reconciliation", lambda row: row[2] == "venues") if row[2] == "venues"]
        self.assertEqual(
            {(row[3], row[4].replace("–", "")): ({"yes": True, "no": False}[row[0]], row[5], row[6], row[7].replace("−", "-").replace("+", ""), row[9].replace("–", "")) for row in rows},
            {(kind, symbol or currency): values for (kind, symbol, currency), values in wanted.items()})  # fmt: skip

    def test_a_reject_is_decoded_without_losing_digits(self):
        reject = reject_something("decoded", producer_hint="12345678901234567890.123456789")
        record = ask("/api/reject", id=reject)[1]["record"]
        self.assertIn("12345678901234567890.123456789", record)
        named = ask("/api/order", exchange="okx", account="main", order="decoded")[1]["rejects"]
        self.assertEqual([r["id"] for r in named], [reject])

    def test_an_order_is_its_venues_by_symbol(self):
        """Where ids are numbered per symbol; and the id 0 is none."""
        of = {"account": "numbered", "client_order_id": "numbered-1"}
        publish(order("0", symbol="A/B", event="asked", **of), order("1", symbol="A/B", **of), order("1", symbol="C/D", account="numbered", status="filled"), exchange="numbered")
        for symbol, wanted in (("A/B", ["asked", None]), ("C/D", [None])):
            answer = ask("/api/order", exchange="numbered", account="numbered", order="1", symbol=symbol)[1]
            self.assertEqual((answer["order"]["symbol"], [event["event"] for event in answer["events"]]), (symbol, wanted))

    def test_of_much_the_newest_is_shown(self):
        publish(*[order("much", price=str(n), symbol="MUCH/USDT") for n in range(1, 1006)],
                *[fill("much", f"much-{n}", str(n), "1", symbol="MUCH/USDT", strategy="much") for n in range(1, 1006)])  # fmt: skip
        newest = [str(n) for n in range(6, 1006)]
        wait_until(lambda: servers.query("SELECT count(*) AS n FROM blotter.fills WHERE order_id = 'much'")[0]["n"] == 1005)
        answer = ask("/api/order", exchange="okx", account="main", order="much")[1]
        self.assertEqual([event["price"] for event in answer["events"]], newest)
        self.assertEqual([f["price"] for f in answer["fills"]], newest)
        self.assertEqual([f["price"] for f in ask("/api/candles", exchange="okx", symbol="MUCH/USDT")[1]["fills"]], newest)

    def test_money_is_not_cut_off_in_silence(self):
        servers.query("INSERT INTO blotter_internal.pnl_day (exchange, account, strategy, currency, day, realized, fee_value, fills)"
                      " SELECT 'many', 'many', 'many-' || n, 'USDT', date_trunc('day', now(), 'UTC'), 1, 0, 1 FROM generate_series(1, 10001) AS n")  # fmt: skip
        try:
            status, body, _ = ask("/api/pnl", by="strategy")
        finally:
            servers.query("DELETE FROM blotter_internal.pnl_day WHERE exchange = 'many'")
        self.assertEqual((status, body["error"]), (400, "the answer would have more than 10000 rows: ask for a shorter time"))

    def test_any_number_of_rejects_is_counted_in_no_time(self):
        servers.query("INSERT INTO blotter.rejects (stream, entry_id, reason, raw, raw_length, raw_sha256) SELECT 'blotter:many', n || '-0', 'many', '', 0, '' FROM generate_series(1, 10005) AS n")
        publish(order("after-many-rejects"))  # else an answer may be ten seconds old
        try:
            wait_until(lambda: ask("/api/overview")[1]["rejects"] == 10000)
            plan = servers.query("EXPLAIN SELECT FROM blotter.rejects r WHERE r.replayed_at IS NULL AND r.discarded_at IS NULL ORDER BY r.id DESC LIMIT 100")
            self.assertTrue(any("rejects_open" in row["QUERY PLAN"] for row in plan), plan)
        finally:
            servers.query("DELETE FROM blotter.rejects WHERE stream = 'blotter:many'")

    def test_a_server_that_says_nothing_is_given_up(self):
        sessions = servers.query("SELECT pid FROM pg_stat_activity WHERE application_name = 'blotter web' AND backend_type = 'client backend'")
        self.assertTrue(sessions)
        for row in sessions:
            os.kill(row["pid"], signal.SIGSTOP)
        try:
            status, body, _ = ask("/api/symbols")
            self.assertEqual((status, body["error"]), (503, "the server does not answer"))
        finally:
            for row in sessions:
                os.kill(row["pid"], signal.SIGCONT)
        wait_until(lambda: ask("/api/symbols")[0] == 200)


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        browser.get_log("browser")  # the page was open while PostgreSQL was stopped for the API

    def tearDown(self):
        severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        self.assertEqual(severe, [])

    def test_the_desk_shows_what_sql_gives(self):
        publish(order("desk-1"), order("desk-2", side="sell"), fill("desk-1", "d1", "100.10", "2"), fill("desk-2", "d2", "101.40", "1.5", side="sell"))
        wait_until(lambda: len(servers.query("SELECT trade_id FROM blotter.fills WHERE trade_id IN ('d1', 'd2')")) == 2)
        show("desk")
        row = servers.query("SELECT quantity::text, average_price::text FROM blotter.positions WHERE strategy = 'mm' AND symbol = 'BTC/USDT'")[0]
        rows = await_cells("Positions", lambda r: r[0] == "mm" and r[4] == row["quantity"])
        shown = next(r for r in rows if r[0] == "mm" and r[2] == "BTC/USDT")
        exact = browser.execute_script("return [...document.querySelectorAll(`table[aria-label='Positions'] tbody td span[title]`)].map((s) => s.title.replaceAll(',', ''))")
        self.assertIn(row["average_price"], exact)  # rounded for the eye, exact in the title
        self.assertEqual(round(Decimal(row["average_price"]), 4), Decimal(shown[5].replace(",", "")))
        money = servers.query("SELECT net_pnl::text AS net FROM blotter.pnl(date_trunc('day', now(), 'UTC'), now(), 'strategy') WHERE strategy = 'mm' AND currency = 'USDT'")

        def net():
            return [p["net"] for s in ask("/api/overview")[1]["strategies"] if s["strategy"] == "mm" for p in s["pnl"] if p["currency"] == "USDT"]

        wait_until(lambda: net() == [money[0]["net"]])  # an answer may be a second old while commits keep coming
        self.assertTrue(any(r[1] == "BTC/USDT" and r[3] == "100.10" for r in cells("Fills")), cells("Fills"))

    def test_one_is_no_plural_and_thousands_are_grouped(self):
        said = browser.execute_async_script("import('/dom.js').then(({ plural }) => arguments[0]([plural(1, 'fill'), plural(0, 'fill'), plural(12345, 'reject waits', 'rejects wait')]))")
        self.assertEqual(said, ["1 fill", "0 fills", "12,345 rejects wait"])

    def test_it_follows_commits(self):
        show("orders")
        publish(order("live-0"))
        await_cells("Orders", lambda row: "live-0" in row[4])
        quiet = time.monotonic() + 2.5  # a page at rest is told of the first commit at once: this is the time that is measured
        wait_until(lambda: time.monotonic() > quiet)
        browser.execute_script(
            "window.seen = null; new MutationObserver(() => { if (window.seen === null && document.body.textContent.includes('live-1')) window.seen = Date.now(); })"
            ".observe(document.getElementById('main'), {subtree: true, childList: true, characterData: true})")
        publish(order("live-1"))
        await_cells("Orders", lambda row: "live-1" in row[4])
        stored = servers.query("SELECT extract(epoch FROM stored_at) * 1000 AS ms FROM blotter.order_events WHERE order_id = 'live-1'")[0]["ms"]
        late = browser.execute_script("return window.seen") - float(stored)
        print(f"# shown {late:.0f} ms after the transaction that stored it began", flush=True)
        self.assertLess(late, 5000)

    def test_an_order_leads_to_its_history(self):
        publish(order("history-1"), order("history-1", status="canceled", event="cancel"))
        show("orders?state=all&text=history-1")
        await_cells("Orders", lambda row: "history-1" in row[4])
        browser.execute_script("document.querySelector('a[href*=history-1]').click()")
        rows = await_cells("Events of the order", lambda row: row[2] == "canceled")
        self.assertEqual([row[2] for row in rows], ["open", "canceled"])

    def test_hostile_text_is_text(self):
        publish(*[order(f"hostile-{n}", symbol=text, strategy=text) for n, text in enumerate(HOSTILE)])
        show("orders?text=hostile-")
        await_cells("Orders", lambda row: "hostile-5" in row[4])
        shown = {row[3] for row in cells("Orders")}
        self.assertEqual(shown, set(HOSTILE))
        show("desk")
        await_cells("Strategies", lambda row: row[0] == HOSTILE[0])
        self.assertTrue(browser.title.endswith("Blotter"), browser.title)
        self.assertEqual(browser.execute_script("return document.querySelectorAll('main img').length"), 0)

    def test_a_phone_needs_no_scrolling_sideways(self):
        publish(*[order(f"narrow-{n}", symbol=text, strategy=text) for n, text in enumerate(HOSTILE)],
                *[fill(f"narrow-{n}", f"narrow-{n}", "67123.123456789012", "123456789.123456789", symbol=text, strategy=text) for n, text in enumerate(HOSTILE)])  # fmt: skip
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 400, "height": 844, "deviceScaleFactor": 1, "mobile": True})
        try:
            for path in PAGES:
                show_figures(path)
                if path == "desk":
                    wait_until(lambda: browser.execute_script("return document.querySelectorAll('.u-legend .u-label').length") > 1)
                self.assertEqual(browser.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth"), 0, path)
        finally:
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 1440, "height": 900, "deviceScaleFactor": 1, "mobile": False})

    def test_filters_stand_in_the_address(self):
        publish(order("filter-1", strategy="alone"))
        show("orders?strategy=alone")
        rows = await_cells("Orders", lambda row: "filter-1" in row[4])
        self.assertEqual(len(rows), 1)
        self.assertEqual(browser.execute_script("return document.querySelector('.filters input').value"), "alone")

    def test_columns_sort_by_exact_value(self):
        publish(*[order(f"sort-{n}", price=price, strategy="sort") for n, price in enumerate(("9", "10", "9.9999999999999999999", "9.99999999999999999991"))])
        show("orders?strategy=sort")
        await_cells("Orders", lambda row: "sort-3" in row[4])
        head = browser.find_element(By.XPATH, "//table[@aria-label='Orders']//th[.//button[text()='price']]")
        head.find_element(By.TAG_NAME, "button").click()
        self.assertEqual([row[7] for row in cells("Orders")], ["10", "9.99999999999999999991", "9.9999999999999999999", "9"])
        self.assertEqual(head.get_attribute("aria-sort"), "descending")

    def test_nothing_leaves_loopback(self):
        for path in PAGES:
            show(path)
            wait_until(lambda: browser.execute_script("return document.readyState") == "complete")
        for entry in browser.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                self.assertTrue(url.startswith(("http://127.0.0.1:", "data:", "chrome:", "blob:")), url)

    def test_the_token_leaves_the_address(self):
        self.assertNotIn(token, browser.current_url)

    def test_pages_are_accessible(self):
        """All rules of WCAG's levels A and AA that a program can judge, and good practice; of light, the contrast, as nothing else differs."""
        def violations(rules):
            result = browser.execute_cdp_cmd("Runtime.evaluate", {
                "expression": f"axe.run(document, {{runOnly: {json.dumps(rules)}}}).then((r) => JSON.stringify(r.violations.map((v) => v.id + ': ' + v.nodes[0].html)))",
                "awaitPromise": True, "returnByValue": True})  # fmt: skip
            return json.loads(result["result"]["value"])

        publish(order("axe-1", strategy="axe"), *[fill("axe-1", f"axe-{side}", "99.5", "1.25", side=side, strategy="axe") for side in ("buy", "sell")])
        browser.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE.read_text()})
        for path in PAGES:
            show_figures("fills?strategy=axe" if path == "fills" else path)  # without the thousand rows of another test
            for scheme, rules in (("dark", ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]), ("light", ["color-contrast"])):
                browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
                self.assertEqual(violations(rules), [], f"{path}, {scheme}")

    def test_it_is_used_by_keyboard(self):
        publish(order("keys-1", strategy="keys"), order("keys-2", strategy="keys"))
        show("orders?strategy=keys")
        await_cells("Orders", lambda row: "keys-2" in row[4])

        def press(*keys):
            ActionChains(browser).send_keys(*keys).perform()
            return browser.switch_to.active_element

        browser.execute_script("document.activeElement.blur(); document.querySelector('.skip').focus()")
        self.assertEqual(press(Keys.ENTER).get_attribute("id"), "main")
        self.assertEqual(browser.execute_script("return location.hash"), "#/orders?strategy=keys")
        reached = []
        for _ in range(28):
            reached.append(press(Keys.TAB))
            self.assertNotEqual(reached[-1].value_of_css_property("outline-style"), "none", reached[-1].text)
        head = next(each for each in reached if each.text == "order")
        head.send_keys(Keys.ENTER)
        self.assertEqual([row[4] for row in cells("Orders")], ["keys-1", "keys-2"])
        link = next(each for each in reached if each.text == "keys-1")
        link.send_keys(Keys.ENTER)
        await_cells("Events of the order", lambda row: row[2] == "open")

    def test_rejects_are_told_of_and_shown(self):
        reject = reject_something("told-of")
        show("rejects")
        await_cells("Rejects", lambda row: row[0] == str(reject))
        wait_until(lambda: "wait" in browser.find_element(By.ID, "verdict").text)
        show(f"rejects?id={reject}")
        wait_until(lambda: "told-of" in browser.find_element(By.CSS_SELECTOR, "pre").text)

    def test_what_the_venue_says_otherwise_is_told_of(self):
        now = time.time_ns()
        publish(*[{"kind": "balance", "account": "told", "currency": "XRP", "total": total, "snapshot": now - age * 1_000_000_000} for total, age in (("5", 120), ("7", 60))])
        show("reconciliation")
        wait_until(lambda: re.search("not as the venue says · .*: ours [^ ]+, theirs ", browser.find_element(By.ID, "verdict").text))
        # what may have been traded since the venue was asked is not known, and counted beside what differs
        publish({"kind": "position", "account": "asked", "symbol": "SOL/USDT:USDT", "quantity": "1", "snapshot": now - 60_000_000_000})
        publish(fill("told-1", "told-1", "100", "2", symbol="SOL/USDT:USDT", account="asked", exchange_time=now))
        show("desk")
        show("reconciliation")
        await_cells("Reconciliation", lambda row: row[0] == "not known" and row[4] == "SOL/USDT:USDT")
        agrees = [row[0] for row in cells("Reconciliation")]
        said = browser.find_element(By.CSS_SELECTOR, "main h2").text
        self.assertIn(f"{agrees.count('no')} of {len(agrees)} differ, {agrees.count('not known')} not known", said)
        browser.refresh()
        show("desk")
        wait_until(lambda: "not as the venue says" in browser.find_element(By.ID, "verdict").text)

    def test_every_page_has_its_figures(self):
        publish(order("page-1", strategy="pages"), fill("page-1", "page-1", "99.5", "1.25", strategy="pages"))
        show("fills?strategy=pages")
        self.assertEqual(await_cells("Fills", lambda row: row[1] == "pages")[0][6], "99.5")
        show("positions?strategy=pages")
        self.assertEqual(await_cells("Positions", lambda row: row[0] == "pages")[0][5], "1.25")
        show("candles?exchange=okx&symbol=BTC%2FUSDT")
        wait_until(lambda: re.search(r"[1-9]\d* own fill", browser.find_element(By.CSS_SELECTOR, "main h2").text, re.I))
        show("pipeline")
        await_cells("Streams", lambda row: row[0] == "okx")
        await_cells("Audit", lambda row: row[1] == "okx")
        await_cells("Latency", lambda row: row[1] == "okx")

    def test_candles_are_drawn_at_any_width(self):
        """Also on a chart that is narrower than a candle is at first."""
        publish(fill("narrow-1", "narrow-1", "100", "1", symbol="NARROW/USDT"))
        show("candles?exchange=okx&symbol=NARROW%2FUSDT&interval=1+hour")
        support.wait_until(lambda: "1 own fill" in browser.find_element(By.CSS_SELECTOR, "main h2").text.lower())
        for width in range(120, 0, -3):
            browser.execute_async_script(
                "const [width, done] = arguments; document.querySelector('.chart.big').style.width = width + 'px';"
                " requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done)))", width)  # fmt: skip

    def test_a_strategy_says_that_it_has_other_currencies(self):
        publish(fill("both-1", "both-1", "100", "1", strategy="both", fee="0.25", fee_currency="BNB"))
        show("desk")
        row = next(row for row in await_cells("Strategies", lambda row: row[0] == "both") if row[0] == "both")
        self.assertTrue(row[1].endswith(" USDT …"), row)
        self.assertEqual(browser.execute_script("return [...document.querySelectorAll('[title^=\"and \"]')].map((e) => e.title).filter((t) => t.endsWith('BNB'))"), ["and −0.2500 BNB"])

    def test_latency_that_takes_too_long_hides_no_other_figure(self):
        publish(order("slow-1"))
        with contextlib.closing(psycopg2.connect(servers.settings["BLOTTER_POSTGRES"])) as connection, connection.cursor() as holder:
            holder.execute("LOCK TABLE blotter_internal.fill")  # of all that the page asks, latency alone reads it
            show("pipeline")
            await_cells("Streams", lambda row: row[0] == "okx" and row[9] == "nothing missing")
            await_cells("Audit", lambda row: row[1] == "okx")
            wait_until(lambda: "took longer than 5 s" in browser.find_element(By.CSS_SELECTOR, "section[aria-label=Latency]").text)
            self.assertNotIn("no figures", browser.find_element(By.ID, "main").text)
        show("desk")
        show("pipeline")
        await_cells("Latency", lambda row: row[1] == "okx")
        browser.get_log("browser")  # the answer that said so

    def test_it_comes_back_when_web_was_away(self):
        """As after a laptop's sleep: the stream of events is gone, and what was committed meanwhile is shown."""
        show("orders")
        publish(order("before-sleep"))
        await_cells("Orders", lambda row: "before-sleep" in row[4])
        web.kill()
        web.wait()
        wait_until(lambda: "not connected" in browser.find_element(By.ID, "verdict").text)
        publish(order("during-sleep"))
        start_web()
        await_cells("Orders", lambda row: "during-sleep" in row[4])
        wait_until(lambda: "not connected" not in browser.find_element(By.ID, "verdict").text)
        browser.get_log("browser")  # refused fetches are expected

    def test_it_comes_back_when_its_connections_went_silent(self):
        """As after an hour of sleep behind a router: no end of the stream is ever told."""
        with contextlib.closing(Sleeping(int(address.rpartition(":")[2]))) as way:
            browser.get(f"http://127.0.0.1:{way.port}/#{token}")
            show("orders")
            publish(order("before-silence"))
            await_cells("Orders", lambda row: "before-silence" in row[4])
            way.sleeps += 1
            publish(order("during-silence"))
            wait_until(lambda: "blotter web says nothing" in browser.find_element(By.ID, "verdict").text)
            await_cells("Orders", lambda row: "during-silence" in row[4])
            wait_until(lambda: "not connected" not in browser.find_element(By.ID, "verdict").text)
        browser.get(f"http://{address}/#{token}")

    def test_a_focused_link_keeps_the_focus(self):
        publish(order("focus-1", strategy="focus"))
        show("orders")
        await_cells("Orders", lambda row: "focus-1" in row[4])
        browser.execute_script("document.querySelector('a[href*=focus-1]').focus()")
        publish(order("focus-2", strategy="focus"))
        await_cells("Orders", lambda row: "focus-2" in row[4])
        self.assertIn("focus-1", browser.execute_script("return document.activeElement.href"))

    def test_an_outage_is_said_and_passes(self):
        show("orders")
        servers.tell("kill postgres")
        try:
            wait_until(lambda: "PostgreSQL is away" in browser.find_element(By.ID, "verdict").text)
            browser.execute_script("location.hash = '#/fills'")
            wait_until(lambda: "There are no figures yet" in browser.find_element(By.ID, "main").text)
        finally:
            servers.tell("start postgres")
        wait_until(lambda: "no figures yet" not in browser.find_element(By.ID, "main").text)
        wait_until(lambda: "away" not in browser.find_element(By.ID, "verdict").text)
        browser.get_log("browser")  # refused fetches during the outage are expected


if __name__ == "__main__":
    support.main()
