"""What a trader reads can be read in a transaction that may write nothing, and on a standby, where it says the same."""

import contextlib
import json
import random
import subprocess
import unittest

import psycopg2

import support

servers = None
standby = None
times = {}  # texts by name: low, middle, high
known = None  # blotter.orders at the middle

# A call of each function of schema blotter; the records lie between low and high, and middle is among them.
CALLS = {
    "candles": "blotter.candles('BTC/USDT:USDT', '1 second', %(low)s, %(high)s)",
    "equity": "blotter.equity(NULL, %(low)s, %(high)s, 'hour')",
    "fifo": "blotter.fifo(%(low)s, %(high)s)",
    "latency": "blotter.latency(%(low)s, %(high)s)",
    "order_history": "blotter.order_history((SELECT min(order_id) FROM blotter.order_events))",
    "orders_at": "blotter.orders_at(%(middle)s)",
    "pnl": "blotter.pnl(%(low)s, %(high)s, 'strategy,symbol')",
    "positions_at": "blotter.positions_at(%(middle)s)",
    "timeline": "blotter.timeline(%(low)s, %(high)s)",
}


def records():
    """Orders whose life lies on both sides of the middle, some of them known by a client id alone, or by one that two orders have; trades, and what
    a venue says."""
    chance = random.Random(7)
    for n in range(60):
        order = {"kind": "order", "account": "main", "strategy": f"s{n % 3}", "symbol": "BTC/USDT:USDT", "market_type": "swap", "side": chance.choice(("buy", "sell"))}
        ids = {"client_order_id": f"c{n // 2}"} if n % 3 == 0 else {"order_id": f"o{n}", "client_order_id": f"c{n // 2}"}
        yield order | ids | {"status": "open", "price": "100", "quantity": "2"}
    for n in range(60):
        order = {"kind": "order", "order_id": f"o{n}", "account": "main", "symbol": "BTC/USDT:USDT"}
        if n % 4 == 0:
            order = {"kind": "order", "client_order_id": f"c{n // 2}", "account": "main", "symbol": "BTC/USDT:USDT"}
        yield order | {"status": chance.choice(("filled", "canceled", "open")), "filled_quantity": "1"}
        trade = {"kind": "trade", "order_id": f"o{n}", "trade_id": f"t{n}", "account": "main", "strategy": f"s{n % 3}", "symbol": "BTC/USDT:USDT", "market_type": "swap"}
        yield trade | {"side": chance.choice(("buy", "sell")), "price": str(100 + n), "quantity": "1", "fee": "0.1", "fee_currency": "USDT"}
    yield {"kind": "cash", "account": "main", "type": "funding", "currency": "USDT", "amount": "-1.5", "symbol": "BTC/USDT:USDT"}
    yield {"kind": "position", "account": "main", "symbol": "BTC/USDT:USDT", "quantity": "3", "mark_price": "150"}
    yield {"kind": "instrument", "symbol": "BTC/USDT:USDT", "contract_size": "1", "linear": True}
    yield {"kind": "balance", "account": "main", "currency": "USDT", "total": "1000"}


def publish(some):
    lines = "".join(json.dumps(record) + "\n" for record in some)
    arguments = [servers.program, "publish", "--exchange", "okx", "--journal", servers.journal("publish")]
    done = subprocess.run(arguments, input=lines, text=True, capture_output=True, timeout=support.TIMEOUT, env=support.plain_environment())
    assert done.returncode == 0, done.stderr
    status, text = servers.run("drain", "--once")
    assert status == 0, text


def setUpModule():
    global servers, standby, known
    servers = support.Servers()
    everything = list(records())
    publish(everything[:100])
    times.update(servers.query("SELECT date_trunc('hour', now())::text AS low, now()::text AS middle, (date_trunc('hour', now()) + interval '2 hours')::text AS high")[0])
    known = rows_of(servers.settings["BLOTTER_POSTGRES"], "SELECT * FROM blotter.orders")
    publish(everything[100:])
    servers.tell("start standby")
    standby = (servers.folder / "standby").read_text()


def rows_of(conninfo, sql):
    """The rows, sorted, of a transaction that may write nothing."""
    with contextlib.closing(psycopg2.connect(conninfo)) as connection:
        connection.set_session(readonly=True)
        cursor = connection.cursor()
        cursor.execute(sql, times)
        return sorted(map(repr, cursor.fetchall()))


class ReadOnly(unittest.TestCase):
    def questions(self):
        names = servers.query(
            "SELECT c.relname AS name, 'blotter.' || quote_ident(c.relname) AS sql FROM pg_class c WHERE c.relnamespace = 'blotter'::regnamespace AND c.relkind IN ('r', 'p', 'v')"
            " UNION ALL SELECT p.proname, NULL FROM pg_proc p WHERE p.pronamespace = 'blotter'::regnamespace"
        )
        return {row["name"]: "SELECT * FROM " + (row["sql"] or CALLS[row["name"]]) for row in names}

    def test_whatever_a_trader_reads_can_be_read_on_a_standby_and_is_the_same_there(self):
        asked = self.questions()
        for name, sql in asked.items():
            with self.subTest(name):
                support.wait_until(lambda: rows_of(standby, sql) == rows_of(servers.settings["BLOTTER_POSTGRES"], sql))
        empty = {name for name, sql in asked.items() if not rows_of(standby, sql)}
        self.assertEqual(empty, {"gaps", "position_base", "rejects", "reconciliation"})

    def test_orders_at_says_on_a_standby_what_orders_said_then(self):
        self.assertEqual(rows_of(standby, "SELECT * FROM " + CALLS["orders_at"]), known)
        self.assertNotEqual(rows_of(standby, "SELECT * FROM blotter.orders"), known)

    def test_the_page_is_answered_by_a_standby(self):
        calls = servers.query(
            "SELECT 'SELECT blotter_internal.' || p.proname || '(' || array_to_string(array_fill('NULL'::text, ARRAY[p.pronargs::int]), ', ') || ')' AS call FROM pg_proc p"
            " WHERE p.pronamespace = 'blotter_internal'::regnamespace AND p.proname ~ '^web_' AND p.prosecdef"
        )
        self.assertGreater(len(calls), 15)
        for row in calls:
            with self.subTest(row["call"]):
                self.assertEqual(len(rows_of(standby, row["call"])), 1)


if __name__ == "__main__":
    support.main()
