"""The example: a desk of 100 strategies is killed half-way, and started again. In the end everybody agrees: the exchange, the strategies,
and PostgreSQL, of which audit says that nothing is missing."""

import asyncio
import json
import logging
import os
import re
import signal
import subprocess
import sys
import unittest
from decimal import Decimal
from urllib.parse import quote

import psycopg2
import websockets

import support

EXAMPLES = support.TREE / "producer/python/examples"


def setUpModule():
    global servers
    servers = support.Servers()
    servers.drain()


def postgres_url():
    where = dict(part.split("=", 1) for part in servers.settings["BLOTTER_POSTGRES"].split())
    return f"postgresql://{where['user']}@/{where['dbname']}?host={quote(where['host'], safe='')}&port={where['port']}"


def count(table, condition="true"):
    return servers.query(f"SELECT count(*) AS n FROM blotter.{table} WHERE {condition} AND exchange = 'simulated'")[0]["n"]


class Exchange(unittest.TestCase):
    """A simulated exchange, and what it says of itself."""

    def setUp(self):
        exchange = servers.start(sys.executable, EXAMPLES / "exchange.py", "--tickers", "400", "--fills", "4", stdout=subprocess.PIPE, text=True)
        self.url = exchange.stdout.readline().strip()
        self.log = servers.folder / "strategy.log"

    def ask(self, method, **params):
        """What the exchange itself says."""

        async def ask():
            async with websockets.connect(self.url, max_size=None) as socket:
                await socket.send(json.dumps({"call": 0, "method": method, "params": params}))
                while "reply" not in (message := json.loads(await socket.recv())):
                    pass
                return message["result"]

        return asyncio.run(asyncio.wait_for(ask(), support.TIMEOUT))


class Desk(Exchange):
    def start(self):
        command = [sys.executable, EXAMPLES / "strategy.py", self.url, "--postgres", postgres_url()]
        environment = os.environ | {"PYTHONPATH": str(support.PACKAGE)}  # with the sanitizer that the extension needs
        with self.log.open("a") as log:
            return servers.start(*command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)

    def stored_positions(self):
        rows = servers.query("SELECT symbol, sum(quantity) AS quantity FROM blotter.positions WHERE exchange = 'simulated' GROUP BY symbol HAVING sum(quantity) <> 0")
        return {row["symbol"]: row["quantity"] for row in rows}

    def kill(self, desk):
        desk.send_signal(signal.SIGKILL)
        desk.wait()

    def restart(self):
        """Returns the desk, which has traded again, and what it said of its orders."""
        before = count("trades")
        desk = self.start()
        reloaded = json.loads(desk.stdout.readline())
        support.wait_until(lambda: count("trades") > before + 50)
        return desk, reloaded

    def test_a_desk_that_is_killed_goes_on_where_it_was(self):
        desk, reloaded = self.restart()
        self.assertEqual(reloaded, {"known": 0, "open": 0, "ended_meanwhile": 0})
        support.wait_until(lambda: count("orders", "terminal") > 100 and count("open_orders") > 20)
        self.kill(desk)
        support.wait_until(lambda: not self.ask("fetch_open_orders"))  # they all end while nobody listens
        desk, reloaded = self.restart()
        self.assertGreater(reloaded["known"], 5)
        self.assertEqual(reloaded["ended_meanwhile"], reloaded["known"])
        for _ in range(2):
            self.ask("set_fills", fills=0.5)  # slower, so that the exchange still fills orders while the next one reloads
            support.wait_until(lambda: len(self.ask("fetch_open_orders")) > 60)
            self.kill(desk)
            desk, reloaded = self.restart()
            self.assertGreater(reloaded["open"], 0)
            self.ask("set_fills", fills=4)
        desk.send_signal(signal.SIGTERM)
        said, _ = desk.communicate(timeout=support.TIMEOUT)
        self.assertEqual(desk.returncode, 0)
        self.assertEqual(len(re.findall(r"INFO blotter: redis_up \S", self.log.read_text())), 4, self.log.read_text())
        self.assert_all_agree(json.loads(said)["positions"])

    def assert_all_agree(self, believed):
        support.wait_until(lambda: servers.run("audit")[0] == 0)
        self.assertEqual(count("open_orders"), 0)
        support.wait_until(lambda: not servers.query("SELECT 1 AS n FROM blotter_internal.book_queue LIMIT 1"))
        exact = {symbol: Decimal(quantity) for symbol, quantity in self.ask("fetch_positions").items()}
        self.assertGreater(len(exact), 10)
        self.assertEqual(self.stored_positions(), exact)
        self.assertEqual({symbol: Decimal(quantity) for symbol, quantity in believed.items()}, exact)
        self.assert_orders_agree()
        self.assertEqual(servers.query("SELECT * FROM blotter.rejects"), [])

    def assert_orders_agree(self):
        """Each order that was recorded is as the exchange has it."""
        rows = servers.query("SELECT order_id, status, filled_quantity, symbol FROM blotter.orders WHERE exchange = 'simulated'")
        self.assertGreater(len(rows), 100)
        orders = {order["id"]: order for order in self.ask("fetch_orders", ids=[row["order_id"] for row in rows])}
        for row in rows:
            order = orders[row["order_id"]]
            self.assertEqual(
                (row["status"], row["filled_quantity"], row["symbol"]), (order["status"], Decimal(order["filled"]), order["symbol"])
            )


class Trouble(Exchange):
    """Whatever happens to the recording, the desk goes on trading, and leaves no open order at the exchange."""

    def trades(self):
        return len(self.ask("fetch_my_trades", since=0))

    def start_in_trouble(self, postgres, *options, redis=None):
        command = [sys.executable, EXAMPLES / "strategy.py", self.url, "--postgres", postgres, *options]
        journal = servers.journal(self.id())
        environment = os.environ | {"PYTHONPATH": str(support.PACKAGE), "BLOTTER_JOURNAL": str(journal)} | ({"BLOTTER_REDIS": redis} if redis else {})
        with self.log.open("a") as log:
            return servers.start(*command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)

    def assert_trades_and_cancels(self, desk):
        before = self.trades()
        support.wait_until(lambda: self.trades() > before + 100 and self.ask("fetch_open_orders"))
        desk.send_signal(signal.SIGTERM)
        desk.communicate(timeout=support.TIMEOUT)
        self.assertEqual(desk.returncode, 0, self.log.read_text())
        self.assertEqual(self.ask("fetch_open_orders"), [])

    def test_with_a_full_journal(self):
        self.assert_trades_and_cancels(self.start_in_trouble("postgresql://nobody@127.0.0.1:1/none", "--slots", "64", redis="redis://127.0.0.1:1"))
        self.assertRegex(self.log.read_text(), r"ERROR blotter: full ")
        self.assertRegex(self.log.read_text(), r"full [1-9]\d*")

    def test_with_wrong_records(self):
        """The exchange sends orders without an id."""
        desk = self.start_in_trouble(postgres_url())
        self.ask("set_wrong", wrong=True)
        self.assert_trades_and_cancels(desk)
        self.assertRegex(self.log.read_text(), r"refused [1-9]\d*")
        self.assertGreater(count("rejects"), 0)

    def test_without_postgresql(self):
        self.assert_trades_and_cancels(self.start_in_trouble("postgresql://nobody@127.0.0.1:1/none"))
        self.assertIn("PostgreSQL is away", self.log.read_text())


class Readme(unittest.TestCase):
    def test_what_it_shows_runs(self):
        """The Python of its section, in a row: what was open is open again, a position is what was traded."""
        section = (support.TREE / "README.md").read_text().split("## Recording from Python")[1].split("\n## ")[0]
        blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
        self.assertEqual(len(blocks), 3)
        order = {"id": "4611686", "side": "buy", "status": "open", "price": 67123.1, "amount": 0.25, "filled": 0.1}
        trade = {"id": "1", "order": "4611686", "side": "buy", "price": 67123.1, "amount": 0.1}
        names = {"logging": logging, "psycopg2": psycopg2, "order": order, "trade": trade}
        exec(blocks[0] + "\non_order(order)\nbook.trade(trade)\nproducer.flush(60)", names)
        support.wait_until(lambda: servers.query("SELECT quantity FROM blotter.positions WHERE strategy = 'mm'"))
        exec(blocks[1].replace("dbname=trading", servers.settings["BLOTTER_POSTGRES"]) + blocks[2], names)
        names["producer"].close()
        with self.assertLogs(level="INFO") as logged:
            asyncio.run(names["log_events"](names["producer"]))
        self.assertIn("blotter: redis_up ", logged.output[0])
        self.assertEqual(names["orders"]["BTC/USDT", "4611686"], ["buy", Decimal("67123.1"), Decimal("0.1")])
        self.assertEqual(names["positions"], {("BTC/USDT", ""): Decimal("0.1")})


if __name__ == "__main__":
    support.main()
