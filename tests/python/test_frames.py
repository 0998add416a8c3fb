"""blotter.frame: rows as a data frame with every digit, and Parquet from it. pandas, polars and DuckDB are used where they are installed."""

import importlib.util
import sys
import unittest
from decimal import Decimal

import support

sys.path.insert(0, str(support.BUILD / "frames"))  # before an older numpy of the system: pip install --target build/frames pandas polars duckdb
import blotter  # noqa: E402
import psycopg2  # noqa: E402
from blotter import _frames  # noqa: E402

MISSING = [library for library in ("pandas", "polars", "duckdb") if importlib.util.find_spec(library) is None]
PRICE = "67123.123456789012345678"
QUERY = f"SELECT 'okx' AS exchange, n, {PRICE} + n AS price, timestamptz '2026-05-01 12:00Z' + n * interval '1 s' AS at, jsonb_build_object('BNB', n) AS fees FROM generate_series(1, 3) AS n"


def setUpModule():
    global servers, connection
    if MISSING:
        print(f"# not judged here: {', '.join(MISSING)} not installed (pip install --target build/frames {' '.join(MISSING)})", flush=True)
    servers = support.Servers()
    connection = psycopg2.connect(servers.settings["BLOTTER_POSTGRES"])


def tearDownModule():
    connection.close()
    servers.close()


class Columns(unittest.TestCase):
    """What goes into a frame, whichever library makes it."""

    def setUp(self):
        self.real = _frames._pandas_frame
        _frames._pandas_frame = lambda columns: columns

    def tearDown(self):
        _frames._pandas_frame = self.real

    def columns(self, query, parameters=None, **options):
        return blotter.frame(connection, query, parameters, library="pandas", **options)

    def test_decimals_are_kept_or_doubles(self):
        self.assertEqual(self.columns(QUERY)["price"], [Decimal(PRICE) + n for n in (1, 2, 3)])
        self.assertEqual(self.columns(QUERY, decimals="float")["price"], [float(Decimal(PRICE) + n) for n in (1, 2, 3)])

    def test_a_name_is_a_view_of_ours(self):
        self.assertIn("average_price", self.columns("positions"))

    def test_parameters_are_no_sql(self):
        self.assertEqual(self.columns("SELECT %s AS text", ["'; DROP TABLE x"])["text"], ["'; DROP TABLE x"])

    def test_mistakes_are_named(self):
        with self.assertRaisesRegex(ValueError, "decimals"):
            self.columns(QUERY, decimals="double")
        with self.assertRaisesRegex(ValueError, "same name"):
            self.columns("SELECT 1 AS a, 2 AS a")


class Libraries(unittest.TestCase):
    if "pandas" not in MISSING:

        def test_pandas(self):
            made = blotter.frame(connection, QUERY, library="pandas")
            self.assertEqual(made["price"].tolist(), [Decimal(PRICE) + n for n in (1, 2, 3)])
            self.assertRegex(str(made["at"].dtype), r"datetime64\[[nu]s, UTC\]")
            self.assertEqual(str(blotter.frame(connection, QUERY, library="pandas", decimals="float")["price"].dtype), "float64")

    if "polars" not in MISSING:

        def test_polars_and_parquet(self):
            made = blotter.frame(connection, QUERY, library="polars")
            self.assertEqual(made["price"].to_list(), [Decimal(PRICE) + n for n in (1, 2, 3)])
            path = servers.folder / "fills.parquet"
            made.write_parquet(path)
            import polars

            self.assertEqual(polars.read_parquet(path)["price"].to_list(), made["price"].to_list())
            with self.assertRaisesRegex(ValueError, "38 digits"):
                blotter.frame(connection, f"SELECT {'9' * 40} AS x", library="polars")

    if "duckdb" not in MISSING:

        def test_duckdb_reads_what_export_prints(self):
            import duckdb

            path, csv = servers.folder / "export.parquet", servers.folder / "export.csv"
            servers.query("INSERT INTO blotter.position_base (exchange, symbol, quantity, price, at) VALUES ('okx', 'BTC/USDT', 1.25, 67000.5, now())")
            csv.write_text(servers.run("export", "position_base")[1])
            duckdb.sql(f"COPY (SELECT * FROM read_csv('{csv}')) TO '{path}'")
            self.assertEqual(str(duckdb.sql(f"SELECT quantity FROM '{path}'").fetchall()[0][0]), "1.25")


if __name__ == "__main__":
    support.main()
