"""`blotter web` in a real browser: its numbers are SQL's, it follows commits, hostile text stays text.

Needs Chromium and chromedriver (Debian's chromium, chromium-driver, python3-selenium).
"""

import contextlib
import http.client
import json
import re
import socket
import subprocess
import sys
import time
import unittest
from pathlib import Path
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))
import support
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

HOSTILE = ['<img src=x onerror="document.title=1">', "'); DROP TABLE orders; --", "\u202eرمز\u202c", '"&lt;b&gt;"', "x" * 200, "🚀 moon"]
AXE = support.BUILD / "drainer/web/page_files.c.npm/node_modules/axe-core/axe.min.js"


def setUpModule():
    global servers, web, address, token, browser
    servers = support.Servers()
    servers.drain()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % free.getsockname()[1]
    web = servers.start(servers.program, "web", "--listen", address, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    token = web.stdout.readline().strip().split("#")[1]
    options = Options()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1440,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
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


def order(order_id, **more):
    return {"order_id": order_id, "symbol": "BTC/USDT", "side": "buy", "type": "limit", "status": "open", "price": "67123.10",
            "quantity": "0.250", "account": "main", "strategy": "mm"} | more  # fmt: skip


def fill(order_id, trade_id, price, quantity, side="buy", **more):
    return {"kind": "trade", "order_id": order_id, "trade_id": trade_id, "symbol": "BTC/USDT", "side": side, "price": price, "quantity": quantity,
            "account": "main", "strategy": "mm", "fee": "0.5", "fee_currency": "USDT", "liquidity": "maker"} | more  # fmt: skip


def show(path):
    browser.execute_script("location.hash = arguments[0]", "#/" + path)


def cells(label):
    """The texts of a table's rows."""
    return browser.execute_script(
        "return [...document.querySelectorAll(`table[aria-label='${arguments[0]}'] tbody tr`)]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))", label)  # fmt: skip


def await_cells(label, wanted):
    support.wait_until(lambda: any(wanted(row) for row in cells(label)))
    return cells(label)


class Api(unittest.TestCase):
    def test_only_the_token_opens_it(self):
        self.assertEqual(ask("/api/overview")[0], 200)
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

    def test_a_value_is_never_sql(self):
        status, body, _ = ask("/api/orders", symbol="' OR true --", state="all")
        self.assertEqual((status, body["orders"]), (200, []))

    def test_the_description_lists_every_path(self):
        described = {path: {p["name"] for p in verbs["get"].get("parameters", [])} for path, verbs in ask("/openapi.json")[1]["paths"].items()}
        source = (support.TREE / "drainer/web/api.h").read_text()
        listed = {"/api/" + name: set(parameters.split()) for name, parameters in re.findall(r'X\((\w+), "([^"]*)"', source)}
        self.assertEqual(described, listed | {"/api/live": set()})


class Page(unittest.TestCase):
    def tearDown(self):
        severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        self.assertEqual(severe, [])

    def test_the_desk_shows_what_sql_gives(self):
        publish(order("desk-1"), order("desk-2", side="sell"), fill("desk-1", "d1", "100.10", "2"), fill("desk-2", "d2", "101.40", "1.5", side="sell"))
        support.wait_until(lambda: len(servers.query("SELECT trade_id FROM blotter.fills WHERE trade_id IN ('d1', 'd2')")) == 2)
        show("desk")
        row = servers.query("SELECT quantity::text, average_price::text FROM blotter.positions WHERE strategy = 'mm' AND symbol = 'BTC/USDT'")[0]
        rows = await_cells("Positions", lambda r: r[0] == "mm" and r[4] == row["quantity"])
        shown = next(r for r in rows if r[0] == "mm" and r[2] == "BTC/USDT")
        self.assertEqual(shown[5], row["average_price"])
        money = servers.query("SELECT net_pnl::text AS net FROM blotter.pnl(date_trunc('day', now(), 'UTC'), now(), 'strategy') WHERE strategy = 'mm' AND currency = 'USDT'")
        answer = ask("/api/strategies")[1]
        mine = next(s for s in answer if s["strategy"] == "mm")
        self.assertEqual([p["net"] for p in mine["pnl"] if p["currency"] == "USDT"], [money[0]["net"]])
        self.assertTrue(any(r[1] == "BTC/USDT" and r[3] == "100.10" for r in cells("Fills")), cells("Fills"))

    def test_it_follows_commits(self):
        show("orders")
        publish(order("live-0"))
        await_cells("Orders", lambda row: "live-0" in row[4])
        time.sleep(1.5)  # a page at rest: it asks at once for the first commit after a pause
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
        self.assertEqual(browser.title, "Blotter")
        self.assertEqual(browser.execute_script("return document.querySelectorAll('main img').length"), 0)

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
        for path in ("desk", "orders", "fills", "positions", "candles", "pipeline", "rejects"):
            show(path)
            support.wait_until(lambda: browser.execute_script("return document.readyState") == "complete")
        for entry in browser.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                self.assertTrue(url.startswith(("http://" + address, "data:", "chrome:", "blob:")), url)

    def test_the_token_leaves_the_address(self):
        self.assertNotIn(token, browser.current_url)

    def test_pages_are_accessible(self):
        axe = AXE.read_text()
        for path in ("desk", "orders", "fills", "positions", "candles", "pipeline", "rejects"):
            for scheme in ("dark", "light"):
                browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
                show(path)
                support.wait_until(lambda: browser.execute_script("return document.querySelectorAll('main .card').length") > 0)
                result = browser.execute_cdp_cmd("Runtime.evaluate", {
                    "expression": axe + "; axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa']})"
                    ".then((r) => JSON.stringify(r.violations.map((v) => v.id + ': ' + v.nodes[0].html)))",
                    "awaitPromise": True, "returnByValue": True})  # fmt: skip
                self.assertEqual(json.loads(result["result"]["value"]), [], f"{path}, {scheme}")

    def test_an_outage_is_said_and_passes(self):
        show("orders")
        servers.tell("kill postgres")
        try:
            support.wait_until(lambda: "away" in browser.find_element(By.ID, "verdict").text)
        finally:
            servers.tell("start postgres")
        support.wait_until(lambda: "well" in browser.find_element(By.ID, "verdict").text)
        browser.get_log("browser")  # refused fetches during the outage are expected


if __name__ == "__main__":
    support.main()
