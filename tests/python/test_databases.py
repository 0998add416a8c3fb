"""Databases that are not as ours: another language's letters, and a schema public in which everybody may create functions."""

import contextlib
import json
import re
import subprocess
import unittest

import engines
import psycopg2
import support


def setUpModule():
    global servers
    servers = support.Servers()


def address(**changes):
    parts = dict(part.split("=", 1) for part in servers.settings["BLOTTER_POSTGRES"].split())
    return " ".join(f"{name}={value}" for name, value in (parts | changes).items())


def ask(where, sql):
    with contextlib.closing(psycopg2.connect(where)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []


def blotter(where, *arguments, **options):
    environment = support.plain_environment(BLOTTER_POSTGRES=where, BLOTTER_JOURNAL=str(servers.journal("databases")))
    done = subprocess.run([servers.program, *arguments], env=environment, capture_output=True, text=True, timeout=support.TIMEOUT, **options)
    return done.returncode, done.stdout + done.stderr


def load(where, exchange, *orders):
    status, text = blotter(where, "publish", "--exchange", exchange, input="".join(json.dumps(order) + "\n" for order in orders))
    assert status == 0, text
    status, text = blotter(where, "drain", "--once", "--streams", f"blotter:{exchange}")
    assert status == 0, text


class Languages(unittest.TestCase):
    def test_an_i_is_an_i_where_the_database_is_turkish(self):
        servers.query("CREATE DATABASE turkish TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8' LOCALE_PROVIDER icu ICU_LOCALE 'tr'")
        where = address(dbname="turkish")
        self.assertEqual(ask(where, "SELECT lower('FILLED')"), [("fılled",)])
        status, text = blotter(where, "migrate")
        self.assertEqual(status, 0, text)
        fill = {"account": "main", "symbol": "BTCUSDT", "price": "100", "last_price": "100", "last_quantity": "2", "trade_id": "7"}
        load(
            where, "binance",
            {"order_id": "1", "status": "FILLED", "side": "BID", "quantity": "2", "filled_quantity": "2"} | fill,
            {"order_id": "2", "status": "EXPIRED_IN_MATCH", "side": "BID"},
            {"order_id": "3", "status": "OPEN", "side": "BID"},
        )
        for again in False, True:
            with self.subTest(made_again=again):
                self.assertEqual(ask(where, "SELECT order_id FROM blotter.open_orders"), [("3",)])
                self.assertEqual(ask(where, "SELECT side, quantity::text FROM blotter.fills"), [("buy", "2")])
                self.assertEqual(ask(where, "SELECT quantity::text FROM blotter.positions"), [("2",)])
                ask(where, "SELECT blotter_internal.rebuild_orders()")


class PublicSchema(unittest.TestCase):
    """Until PostgreSQL 15 everybody could create there, and databases that were upgraded keep that."""

    def test_functions_of_others_are_never_called(self):
        status, text = servers.run("check")
        self.assertNotIn("schema public", text)
        servers.query("GRANT CREATE ON SCHEMA public TO PUBLIC")
        self.addCleanup(servers.query, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        status, text = servers.run("check")
        self.assertRegex(text, "warning +postgres +schema public +everybody may create functions there")

        servers.query("CREATE ROLE curious LOGIN IN ROLE blotter_reader")
        for name, types, result in (
            ("lower", "int8range", "bigint"), ("upper", "int8range", "bigint"), ("lower", "text", "text"), ("sum", "bigint", "bigint"),
            ("coalesce_text", "text", "text"), ("now", "", "timestamptz"), ("format", "text, text", "text"), ("length", "text", "int"),
        ):
            ask(address(user="curious"), f"CREATE FUNCTION public.{name}({types}) RETURNS {result} LANGUAGE plpgsql AS "
                "$$BEGIN RAISE EXCEPTION 'caught by % as %', current_query(), current_user; END$$")
        ask(address(user="curious"), "CREATE TABLE public.orders (caught int); CREATE TABLE public.sessions (caught int)")
        where = address()
        load(where, "okx", {"order_id": "9", "status": "FILLED", "side": "buy"})
        for command in (("audit",), ("audit", "--quick"), ("status",), ("rejects", "list"), ("partitions", "list"),
                        ("partitions", "drop", "--older-than", "30d"), ("migrate",), ("check",)):
            with self.subTest(command):
                self.assertNotIn("caught", blotter(where, *command)[1])
        self.assertEqual(ask(where, "SELECT count(*) FROM blotter.rejects"), [(0,)])
        with psycopg2.connect(where, options="-c search_path=public,pg_catalog") as connection, connection.cursor() as cursor:
            for view in "audit", "open_orders", "positions", "fills":
                cursor.execute(f"SELECT * FROM blotter.{view}")

    def test_a_stream_of_another_database_does_not_hold_up_drain_once(self):
        servers.query("CREATE DATABASE other TEMPLATE template0 ENCODING 'UTF8'")
        there, here = address(dbname="other"), address()
        status, text = blotter(there, "migrate")
        self.assertEqual(status, 0, text)
        load(there, "gate", {"order_id": "1"})
        status, text = blotter(here, "drain", "--once", "--streams", "blotter:gate")
        self.assertEqual(status, 1, text)
        self.assertIn("loaded into another PostgreSQL", text)
        self.assertIn("everything is loaded but for streams that are refused", text)

    def test_a_database_for_each_group_of_exchanges_and_a_view_over_both(self):
        """As drainer/README.md says it, with its SQL."""
        started = engines.Engines()
        self.addCleanup(started.close)
        redis, places = started.redis(), {name: address(dbname=f"group_{name}") for name in "ab"}
        for name, where in places.items():
            servers.query(f"CREATE DATABASE group_{name} TEMPLATE template0 ENCODING 'UTF8'")
            self.assertEqual(blotter(where, "migrate")[0], 0)
        patterns = {"a": "blotter:binance*,blotter:okx*", "b": "blotter:kraken*,blotter:bybit*"}
        drainers = {name: started.drain(redis.url, "--streams", patterns[name], postgres=places[name]) for name in places}
        fill = '{"order_id": "1", "status": "closed", "symbol": "BTC/USDT", "side": "buy", "price": "10", "quantity": "2", "filled_quantity": "2", '
        fill += '"last_price": "10", "last_quantity": "2", "trade_id": "7"}\n'
        for exchange in "binance", "okx", "kraken", "bybit":
            status, text = engines.publish(redis.url, fill, "--until", "committed", journal=started.folder(), exchange=exchange)
            self.assertEqual(status, 0, text)
        for name, exchanges in ("a", ["binance", "okx"]), ("b", ["bybit", "kraken"]):
            found = ask(places[name], "SELECT exchange FROM blotter.order_events ORDER BY exchange")
            self.assertEqual([row[0] for row in found], exchanges)
            status, text = blotter(places[name], "audit")
            self.assertEqual(status, 0, text)

        sql = re.search("```sql\n(CREATE EXTENSION postgres_fdw.*?)```", (support.TREE / "drainer/README.md").read_text(), re.DOTALL)[1]
        there = dict(part.split("=", 1) for part in places["b"].split())
        sql = sql.replace("host 'b'", f"host '{there['host']}'").replace("5432", there.get("port", "5432"))
        ask(places["a"], sql.replace("'trading'", "'group_b'").replace("'reader'", "'postgres'"))
        engines.await_true(lambda: len(ask(places["a"], "SELECT * FROM all_positions")) == 4, "positions of both")
        found = ask(places["a"], "SELECT exchange, quantity::text FROM all_positions ORDER BY exchange")
        self.assertEqual(found, [("binance", "2"), ("bybit", "2"), ("kraken", "2"), ("okx", "2")])

        drainers["b"].stop()  # a pattern that overlaps by mistake
        mistaken = started.drain(redis.url, "--streams", "blotter:*", postgres=places["b"])
        engines.await_true(lambda: "loaded into another PostgreSQL" in engines.ready(mistaken)[1], "refused")
        self.assertEqual(ask(places["b"], "SELECT count(*) FROM blotter.order_events"), [(2,)])


if __name__ == "__main__":
    support.main()
