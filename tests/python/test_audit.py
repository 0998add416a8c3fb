"""`blotter audit` does not read again what no load has changed, and says what reading every row would say.

BLOTTER_AUDIT_SEED=N plays that seed instead of a random one.
"""

import datetime
import os
import random
import sys
import unittest

import psycopg2

import support

DAYS = [datetime.datetime(2026, 3, day, tzinfo=datetime.timezone.utc) for day in (1, 2, 3)]
TABLES = ("order_events", "trades", "cash")
STEPS = 400 if support.ALL else 40

servers = None


def setUpModule():
    global servers
    servers = support.Servers()


class Session:
    def __init__(self, dbname="blotter"):
        self._connection = psycopg2.connect(f"{servers.settings['BLOTTER_POSTGRES']} dbname={dbname}")
        self._connection.autocommit = True
        self._cursor = self._connection.cursor()
        self.run("SET timezone = 'UTC'")

    def run(self, sql, *values):
        self._cursor.execute(sql, values or None)
        return self._cursor.fetchall() if self._cursor.description else []

    def close(self):
        self._connection.close()


class Case(unittest.TestCase):
    def setUp(self):
        """A database of its own, with three days."""
        self.dbname = self.id().rsplit(".", 1)[1][:60]
        server = Session()
        server.run(f"CREATE DATABASE {self.dbname}")
        server.close()
        self.conninfo = f"{servers.settings['BLOTTER_POSTGRES']} dbname={self.dbname}"
        self.assertEqual(servers.run("migrate", "--postgres", self.conninfo)[0], 0)
        self.database = self.new_session()
        self.sql("UPDATE blotter_internal.retention SET days_back = 100000")
        self.make_days()

    def new_session(self):
        session = Session(self.dbname)
        self.addCleanup(session.close)
        return session

    def sql(self, sql, *values):
        return self.database.run(sql, *values)

    def make_days(self):
        self.assertEqual({row[0] for row in self.sql("SELECT blotter_internal.make_day(d) FROM unnest(%s::date[]) AS d", [d.date() for d in DAYS])}, {"ready"})

    def insert(self, table, rows, session=None):
        """Rows of (producer, seq, recorded_at, exchange)."""
        more = {"order_events": ("", ""), "trades": (", symbol, price, quantity", ", 'X', 1, 1"), "cash": (", currency, amount", ", 'USDT', 1"), "sessions": (", event", ", 'heartbeat'")}[table]
        schema = "blotter_internal" if table == "sessions" else "blotter"
        for producer, seq, at, exchange in rows:
            (session or self.database).run(
                f"INSERT INTO {schema}.{table} (producer_id, seq, recorded_at, exchange{more[0]}) VALUES (%s, %s, %s, %s{more[1]}) ON CONFLICT DO NOTHING", producer, seq, at, exchange
            )

    def close_producer(self, producer, last, exchange="okx"):
        self.sql(
            "INSERT INTO blotter_internal.sessions (producer_id, seq, recorded_at, exchange, event, last_seq) VALUES (%s, %s, %s, %s, 'closed', %s)",
            producer, last, DAYS[2], exchange, last,
        )  # fmt: skip

    def audit(self, *options):
        code, said = servers.run("audit", "--postgres", self.conninfo, *options)
        self.assertIn(code, (0, 1), said)
        return said

    def states(self):
        return dict(self.sql("SELECT producer_id, state FROM blotter.audit"))

    def assert_as_every_row_says(self, label):
        since = random.choice(DAYS) + datetime.timedelta(hours=random.choice((0, 0, 5)))
        for arguments in ("NULL, '-infinity'", f"'okx', '{since}'"):
            known, read = (self.sql(f"SELECT a::text FROM blotter_internal.audit_of({arguments}, {every}) a ORDER BY 1") for every in ("false", "true"))
            self.assertEqual(known, read, label)


class Summaries(Case):
    def test_after_whatever_was_done_to_the_rows_it_says_what_every_row_says(self):
        seed = int(os.environ.get("BLOTTER_AUDIT_SEED", random.randrange(10**6)))
        print(f"# seed {seed}", flush=True)
        dice = random.Random(seed)
        random.seed(seed)
        seqs = dict.fromkeys((1, 2, 3), 0)

        def at():
            return dice.choice(DAYS) + datetime.timedelta(seconds=dice.randrange(86400))

        def load(session=None):
            producer = dice.choice((1, 2, 3))
            for _ in range(dice.randint(1, 20)):
                seqs[producer] += 1
                if dice.random() < 0.95:
                    self.insert(dice.choice((*TABLES, "sessions")), [(producer, seqs[producer], at(), "okx")], session)

        def say_how_far():
            producer = dice.choice((1, 2, 3))
            self.sql("UPDATE blotter_internal.sessions SET confirmed_seq = %s WHERE producer_id = %s", max(0, seqs[producer] - dice.randint(0, 5)), producer)

        def double():
            self.insert(dice.choice(TABLES), [(1, dice.randint(1, max(seqs[1], 1)), at(), "okx")])

        def forge():
            self.insert(dice.choice(TABLES), [(dice.choice((2, 3)), dice.randint(1, 50), at(), dice.choice(("okx", "kraken")))])

        def delete():
            self.sql(f"DELETE FROM blotter.{dice.choice(TABLES)} WHERE seq = %s", dice.randint(1, 100))

        def delete_heartbeats():
            self.sql("DELETE FROM blotter_internal.sessions WHERE seq %% 7 = %s", dice.randrange(7))

        def delete_from_partition():
            self.sql(f"DELETE FROM blotter_internal.{dice.choice(TABLES)}_202603{dice.choice(('01', '02', '03'))} WHERE seq %% 5 = %s", dice.randrange(5))

        def change():
            self.sql(f"UPDATE blotter.{dice.choice(TABLES)} SET exchange = %s WHERE seq %% 11 = %s", dice.choice(("okx", "kraken")), dice.randrange(11))

        def put_back():
            """From a copy: with the stored_by of then."""
            table = dice.choice(TABLES)
            self.sql(f"CREATE TEMPORARY TABLE copy AS SELECT * FROM blotter.{table} WHERE seq %% 3 = %s", dice.randrange(3))
            self.sql(f"DELETE FROM blotter.{table} WHERE (recorded_at, producer_id, seq) IN (SELECT recorded_at, producer_id, seq FROM copy)")
            self.audit()
            self.sql(f"INSERT INTO blotter.{table} SELECT * FROM copy")
            self.sql("DROP TABLE copy")

        def move():
            self.sql(f"UPDATE blotter.{dice.choice(TABLES)} SET recorded_at = recorded_at + interval '1 day' WHERE recorded_at < %s AND seq %% 7 = %s", DAYS[2], dice.randrange(7))

        def truncate():
            self.sql(f"TRUNCATE blotter_internal.{dice.choice(TABLES)}_202603{dice.choice(('01', '02', '03'))}")

        def drop_and_make_anew():
            self.sql(f"DROP TABLE blotter_internal.{dice.choice(TABLES)}_202603{dice.choice(('01', '02', '03'))}")
            self.make_days()

        def undo():
            self.sql("BEGIN")
            dice.choice((load, delete, change))()
            self.sql("ROLLBACK")

        def audit_beside_open_transactions():
            """Their rows, and what they delete, are committed after the summary was made, in another order than they began."""
            sessions = [self.new_session() for _ in range(2)]
            for session in sessions:
                session.run("BEGIN")
                load(session)
                session.run(f"DELETE FROM blotter.trades WHERE seq % 13 = {sessions.index(session)}")
            load()
            self.audit()
            for session in dice.sample(sessions, 2):
                session.run(dice.choice(("COMMIT", "ROLLBACK")))
                self.assert_as_every_row_says("an open transaction")
                session.close()

        steps = (load, say_how_far, double, forge, delete, delete_heartbeats, delete_from_partition, change, put_back, move, truncate, drop_and_make_anew, undo, audit_beside_open_transactions)
        weights = (20, 4, 2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 3, 3)
        for n in range(STEPS):
            step = dice.choices(steps, weights)[0]
            step()
            self.assert_as_every_row_says(f"step {n}: {step.__name__}")
            if dice.random() < 0.4:
                self.audit()
                self.assert_as_every_row_says(f"step {n}: {step.__name__}, audited")
        self.assertGreater(self.sql("SELECT count(*) FROM blotter_internal.day_seqs")[0][0], 0)

    def test_a_summarised_day_hides_nothing(self):
        for producer in (1, 2, 3, 4):
            self.insert("order_events", [(producer, seq, DAYS[0], "okx") for seq in range(1, 10)])
            self.close_producer(producer, 10)
        self.assertTrue(self.audit().rstrip().endswith("complete: 4 producers complete, 0 open, 0 with records missing"))
        self.assertEqual(self.sql("SELECT count(*) FROM blotter_internal.known_days"), [(len(DAYS),)])
        self.sql("DELETE FROM blotter.order_events WHERE (producer_id, seq) = (1, 5)")
        self.insert("trades", [(2, 5, DAYS[0], "okx"), (3, 11, DAYS[0], "kraken")])
        self.assertEqual(self.states(), {1: "missing", 2: "doubled", 3: "forged", 4: "complete"})
        said = self.audit()
        for line in ("missing: producer 1 of okx, seq 5 (1 records)", "doubled: producer 2 of okx", "forged: producer 3 of kraken"):
            self.assertIn(line, said)

    def test_full_sees_what_was_done_with_triggers_off_and_from_then_on_all_do(self):
        self.insert("order_events", [(1, seq, DAYS[0], "okx") for seq in range(1, 10)])
        self.close_producer(1, 10)
        self.audit()
        self.sql("SET session_replication_role = replica")
        self.sql("DELETE FROM blotter.order_events WHERE seq = 5")
        self.assertIn("missing: producer 1 of okx, seq 5", self.audit("--full"))
        self.assertEqual(self.states(), {1: "missing"})
        self.assertIn("missing: producer 1 of okx, seq 5", self.audit())

    def test_a_user_who_only_reads_is_told_the_same(self):
        self.insert("order_events", [(1, seq, DAYS[0], "okx") for seq in range(1, 10)])
        self.close_producer(1, 10)
        self.audit()
        self.sql("CREATE ROLE audit_reader LOGIN IN ROLE blotter_reader")
        self.addCleanup(self.sql, "DROP ROLE audit_reader")
        self.insert("order_events", [(1, 7, DAYS[1], "okx")])
        self.sql("SET session_replication_role = replica")
        self.sql("DELETE FROM blotter.order_events WHERE seq = 5")
        reader = self.conninfo.replace("user=postgres", "user=audit_reader")
        for option, expected in (("--json", "doubled"), ("--full", "missing: producer 1 of okx, seq 5")):
            code, said = servers.run("audit", "--postgres", reader, option)
            self.assertEqual(code, 1, said)
            self.assertIn(expected, said)
        self.assertEqual(self.sql("SELECT sum(row_count) FROM blotter_internal.day_seqs WHERE producer_id = 1"), [(10,)])


class Work(Case):
    READ = """SELECT coalesce(sum(pg_stat_get_xact_tuples_returned(c.oid) + pg_stat_get_xact_tuples_fetched(c.oid)), 0) FROM pg_class c
              WHERE c.relkind = 'r' AND c.relname ~ '_202603[0-9]{2}$'"""

    def read_for_audit(self):
        """How many rows of the days an audit reads."""
        self.sql("SELECT pg_stat_force_next_flush()")  # else what is counted may be an earlier statement's
        self.sql("BEGIN")
        self.sql("SET LOCAL max_parallel_workers_per_gather = 0")  # what workers read is not counted here
        self.sql("SELECT count(*) FROM blotter.audit")
        read = self.sql(self.READ)[0][0]
        self.sql("COMMIT")
        return int(read)

    def test_days_that_no_load_has_changed_are_not_read_again(self):
        rows = 200_000
        self.sql(
            "INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange) SELECT 1 + g %% 10, 1 + g / 10, %s + g * interval '1 ms', 'okx' FROM generate_series(0, %s) AS g",
            DAYS[0], rows - 1,
        )  # fmt: skip
        self.sql("VACUUM ANALYZE blotter.order_events")
        self.assertGreaterEqual(self.read_for_audit(), rows)
        self.audit()
        # The BRIN tells nothing of the last 128 pages, until they are full.
        self.assertLess(self.read_for_audit(), rows / 10)
        self.insert("order_events", [(1, rows, DAYS[0], "okx")])
        self.assertLess(self.read_for_audit(), rows / 10)
        self.assertEqual(self.sql("SELECT stored FROM blotter.audit WHERE producer_id = 1"), [(rows / 10 + 1,)])
        self.sql("DELETE FROM blotter.order_events WHERE producer_id = 1 AND seq = 77")
        self.assertGreaterEqual(self.read_for_audit(), rows)

    def test_a_dropped_day_leaves_no_summary(self):
        self.insert("order_events", [(1, seq, day, "okx") for seq, day in enumerate(DAYS, 1)])
        self.insert("sessions", [(1, 10 + n, DAYS[0] + datetime.timedelta(hours=n), "okx") for n in range(3)])
        self.audit()
        self.sql("DELETE FROM blotter.order_events WHERE seq = 1")
        code, said = servers.run("partitions", "drop", "--older-than", "2026-03-03", "--postgres", self.conninfo)
        self.assertEqual(code, 0, said)
        self.assertEqual(self.sql("SELECT DISTINCT day::text FROM blotter_internal.day_summary UNION SELECT day::text FROM blotter_internal.day_changes"), [("2026-03-03",)])
        self.audit()
        self.assertEqual(self.sql("SELECT stored, gone FROM blotter.audit"), [(2, 4)])


if __name__ == "__main__":
    sys.exit(support.main())
