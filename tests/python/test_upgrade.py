"""A database that version 1 filled becomes one of this version: every row is kept, and the tables, functions, rights and comments are those of
an empty database that was migrated. tests/fixture/version_1.sql.gz is such a database, as pg_dump wrote it."""

import contextlib
import gzip
import json
import unittest
import unittest.mock

import psycopg2
import psycopg2.errors

import support

# The tables of version 1, and the schemas where they are now.
TABLES = {
    "order_events": "blotter",
    "trades": "blotter",
    "rejects": "blotter",
    "orders": "blotter",
    "sessions": "blotter_internal",
    "progress": "blotter_internal",
    "gone_seqs": "blotter_internal",
    "retention": "blotter_internal",
    "venues": "blotter_internal",
    "terminal_statuses": "blotter_internal",
    "kept_order_events": "blotter_internal",
    "client_only_ids": "blotter_internal",
    "order_client_ids": "blotter_internal",
}
# orders is made again from its events, which empties order_errors.
NOT_COMPARED = {"rejects": {"identity"}}  # made of more than it was

OURS = "IN ('blotter'::regnamespace, 'blotter_internal'::regnamespace)"
CATALOG = {
    "columns": f"""
        SELECT c.oid::regclass::text AS name, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated, a.attidentity,
               a.attcollation::regcollation::text, pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum), a.attacl::text
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (c.oid, a.attnum)
        WHERE c.relnamespace {OURS} AND a.attnum > 0 AND NOT c.relispartition AND c.relkind <> 'i' ORDER BY 1, 2""",
    "relations": f"""
        SELECT c.oid::regclass::text, c.relkind, c.reloptions, obj_description(c.oid, 'pg_class'), c.relacl::text,
               CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) END
        FROM pg_class c WHERE c.relnamespace {OURS} AND NOT c.relispartition ORDER BY 1""",
    "constraints": f"""
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace {OURS}
        AND conrelid NOT IN (SELECT inhrelid FROM pg_inherits) ORDER BY 1, 2""",
    "indexes": f"""
        SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), obj_description(i.indexrelid, 'pg_class')
        FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relnamespace {OURS} AND NOT c.relispartition ORDER BY 1""",
    "functions": f"""
        SELECT p.oid::regprocedure::text, CASE p.prokind WHEN 'a' THEN NULL ELSE pg_get_functiondef(p.oid) END, obj_description(p.oid, 'pg_proc'), p.proacl::text
        FROM pg_proc p WHERE p.pronamespace {OURS} ORDER BY 1""",
    "partition": """
        SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.oid = 'blotter_internal.order_events_20260904'::regclass AND a.attnum > 0
        ORDER BY a.attnum""",
}


def setUpModule():
    global servers
    servers = support.Servers()


class Database:
    """A database of the test server."""

    def __init__(self, name):
        where = dict(part.split("=", 1) for part in servers.settings["BLOTTER_POSTGRES"].split())
        servers.query(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        servers.query(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        self.conninfo = " ".join(f"{key}={value}" for key, value in (where | {"dbname": name}).items())

    def connect(self, **more):
        connection = psycopg2.connect(self.conninfo, **more)
        connection.autocommit = True
        return connection

    def rows(self, sql):
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SET search_path = pg_catalog")
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def value(self, sql):
        return self.rows(sql)[0][0]

    def migrate(self):
        return servers.run("migrate", "--postgres", self.conninfo)

    def catalog(self):
        return {what: self.rows(sql) for what, sql in CATALOG.items()}


def version_1(name):
    database = Database(name)
    database.rows(gzip.decompress((support.TREE / "tests/fixture/version_1.sql.gz").read_bytes()).decode())
    return database


def contents(database, schemas, columns):
    """Every row of every table as JSON, which keeps each digit; only the columns given."""
    found = {}
    for table, schema in schemas.items():
        rows = (json.loads(row, parse_float=str) for (row,) in database.rows(f"SELECT to_jsonb(t)::text FROM {schema}.{table} t"))
        found[table] = sorted(json.dumps({key: row[key] for key in sorted(columns[table])}) for row in rows)
    return found


def columns_of(database):
    return {
        table: {name for (name,) in database.rows(f"SELECT attname FROM pg_attribute WHERE attrelid = 'blotter.{table}'::regclass AND attnum > 0")}
        - NOT_COMPARED.get(table, set())
        for table in TABLES
    }


AUDIT = "SELECT producer_id, exchange, state, up_to_seq, last_seq, confirmed_seq, stored, rejected, gone, missing_seqs, in_flight FROM blotter.audit ORDER BY 1"
POSITIONS = """SELECT exchange, account, symbol, position_side, trim_scale(sum(quantity))::text FROM blotter.positions
    GROUP BY 1, 2, 3, 4 HAVING sum(quantity) <> 0 ORDER BY 1, 2, 3, 4"""


class Upgrade(unittest.TestCase):
    def setUp(self):
        self.old = version_1("upgraded")

    def upgrade(self):
        code, said = self.old.migrate()
        self.assertEqual(code, 0, said)
        self.assertIn("copied everything from version 1", said)

    def test_every_row_is_kept_digit_for_digit(self):
        columns = columns_of(self.old)
        before = contents(self.old, dict.fromkeys(TABLES, "blotter"), columns)
        self.assertTrue(all(before.values()), "the fixture has a row in every table")
        self.upgrade()
        after = contents(self.old, TABLES, columns)
        fix = [json.dumps({"status": code}) for code in "248c"]  # statuses that are new
        after["terminal_statuses"] = [row for row in after["terminal_statuses"] if row not in fix]
        for table in TABLES:
            self.assertEqual(after[table], before[table], table)

    def test_until_then_it_is_named_and_nothing_is_changed(self):
        tables = self.old.rows("SELECT count(*) FROM pg_class WHERE relnamespace = 'blotter'::regnamespace")
        for command in (["drain", "--once"], ["audit"], ["status"], ["rejects", "list"], ["partitions", "drop"]):
            code, said = servers.run(*command, "--postgres", self.old.conninfo)
            self.assertEqual(code, 2, said)
            self.assertIn("holds the schema of version 1: run `blotter migrate`", said)
        code, said = servers.run("check", "--postgres", self.old.conninfo)
        self.assertEqual(code, 1)
        self.assertIn("that of version 1; run `blotter migrate`", said)
        self.assertEqual(self.old.rows("SELECT count(*) FROM pg_class WHERE relnamespace = 'blotter'::regnamespace"), tables)

    def test_the_answers_are_the_same(self):
        before = self.old.rows(AUDIT)
        self.upgrade()
        self.assertEqual(self.old.rows(AUDIT), before)
        self.assertEqual(self.old.rows("SELECT lane, streams FROM blotter.audit WHERE producer_id = 1"), [("ticks", ["okx:ticks"])])
        orders = self.old.rows("SELECT * FROM blotter.orders ORDER BY order_key")
        self.old.rows("SELECT blotter_internal.rebuild_orders()")
        self.assertEqual(self.old.rows("SELECT * FROM blotter.orders ORDER BY order_key"), orders)

    def test_positions_are_what_they_were_and_copies_of_old_fills_do_not_count_again(self):
        before = self.old.rows(POSITIONS)
        self.assertTrue(before)
        counted = self.old.rows("SELECT exchange, account, symbol, trade_id FROM blotter.folded_fills")
        self.upgrade()
        self.old.rows("SELECT blotter_internal.book_everything()")
        self.assertEqual(self.old.rows(POSITIONS), before)
        for exchange, account, symbol, trade_id in counted:
            self.old.rows(
                "INSERT INTO blotter_internal.book_queue (kind, producer_id, seq, recorded_at, exchange, account, symbol, trade_id, order_id, side, price, quantity)"
                f" VALUES ('t', 9, 9, now(), '{exchange}', '{account}', '{symbol}', '{trade_id}', 'o', 'buy', 1, 1000)"
            )
        self.old.rows("SELECT blotter_internal.book_everything()")
        self.assertEqual(self.old.rows(POSITIONS), before)

    def test_the_catalog_is_that_of_a_new_database(self):
        new = Database("empty")
        self.assertEqual(new.migrate()[0], 0)
        new.rows("UPDATE blotter_internal.retention SET days_back = 100000")
        new.rows("SELECT blotter_internal.make_day('2026-09-04')")
        self.upgrade()
        self.maxDiff = None
        expected, found = new.catalog(), self.old.catalog()
        for what in CATALOG:
            self.assertTrue(expected[what], what)
            self.assertEqual(found[what], expected[what], what)
        self.assertEqual(self.old.value("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'blotter%'"), 2)

    def test_a_day_that_was_about_to_be_dropped_takes_no_more_rows_and_goes(self):
        self.upgrade()
        with self.assertRaises(psycopg2.errors.CheckViolation):
            self.old.rows(
                "INSERT INTO blotter.trades (producer_id, seq, recorded_at, exchange, symbol, price, quantity) VALUES (1, 99, '2026-09-02Z', 'okx', 'B', 1, 1)"
            )
        self.assertEqual(servers.run("partitions", "drop", "--older-than", "2026-09-03", "--postgres", self.old.conninfo)[0], 0)
        self.assertEqual(self.old.value("SELECT min(day)::text FROM blotter_internal.partitions"), "2026-09-03")

    def test_loading_goes_on(self):
        self.upgrade()
        environment = support.plain_environment(BLOTTER_POSTGRES=self.old.conninfo)
        publish = servers.start(servers.program, "publish", "--exchange", "okx", stdin=-1, text=True)
        publish.communicate('{"order_id": "o1", "account": "main", "status": "canceled"}\n', timeout=support.TIMEOUT)
        self.assertEqual(servers.start(servers.program, "drain", "--once", env=environment).wait(support.TIMEOUT), 0)
        self.assertEqual(self.old.rows("SELECT status, client_order_id FROM blotter.orders WHERE order_key = 'o1'"), [("canceled", "c1")])
        self.assertEqual(self.old.value("SELECT max(id) > 0 FROM blotter.rejects"), True)

    def test_migrating_again_changes_nothing(self):
        self.upgrade()
        self.assertIn("nothing to do", self.old.migrate()[1])


class Refusals(unittest.TestCase):
    """What is in the way stops it, and then nothing has changed."""

    def setUp(self):
        self.old = version_1("refused")
        self.columns = columns_of(self.old)

    def assert_refused(self, *words):
        before = contents(self.old, dict.fromkeys(TABLES, "blotter"), self.columns)
        code, said = self.old.migrate()
        self.assertNotEqual(code, 0)
        for word in words:
            self.assertIn(word, said)
        self.assertEqual(contents(self.old, dict.fromkeys(TABLES, "blotter"), self.columns), before)

    def test_a_view_of_a_user_s_own(self):
        self.old.rows("CREATE VIEW public.mine AS SELECT * FROM blotter.fills")
        self.assert_refused("blotter_version_1.fills")

    def test_a_table_of_a_user_s_own(self):
        self.old.rows("CREATE TABLE blotter.mine (a int)")
        self.assert_refused("blotter_version_1")

    def test_a_column_of_a_user_s_own(self):
        self.old.rows("ALTER TABLE blotter.trades ADD COLUMN desk text")
        self.assert_refused("desk")

    def test_an_unfinished_version_1(self):
        self.old.rows("DELETE FROM blotter.migrations WHERE version = 9")
        self.assert_refused("migration 8 of 9")


class Drainers(unittest.TestCase):
    """A drainer of version 1 stops by itself."""

    def test_its_session_ends_and_the_next_one_finds_nothing_to_load_with(self):
        old = version_1("drained")
        with contextlib.closing(old.connect(application_name="blotter drain old")) as drainer, drainer.cursor() as cursor:
            cursor.execute("SELECT blotter.begin_session(false)")
            self.assertEqual(old.migrate(), (0, unittest.mock.ANY))
            with self.assertRaises(psycopg2.OperationalError):
                cursor.execute("SELECT 1")
        # All of these are class 42: version 1 stops and says so, and acknowledges nothing.
        for statement in (
            "SELECT blotter.begin_session(false)",
            "SELECT coalesce(max(version), 0) FROM blotter.migrations",
            "SELECT blotter.add_progress('d', '{1}', '{1}', '{0}', '{0}', '{1}', '{0}')",
            "SELECT blotter.load_staged('d')",
            "SELECT n, blotter.make_day(date '1970-01-01' + n) FROM (VALUES (1)) AS days(n)",
        ):
            with self.assertRaises((psycopg2.errors.UndefinedFunction, psycopg2.errors.UndefinedTable), msg=statement):
                old.rows(statement)


if __name__ == "__main__":
    support.main()
