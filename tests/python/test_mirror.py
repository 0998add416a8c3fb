"""`blotter mirror` with a real QuestDB: every record once, field by field as PostgreSQL has it, whatever is killed meanwhile."""

import contextlib
import http.client
import http.server
import json
import os
import signal
import ssl
import subprocess
import threading
import time
import unittest
from decimal import Decimal
from pathlib import Path

import engines
import questdb_server
import redis_cluster
import support

BLOTTER = support.BUILD / "blotter"
REAL_DATA = Path(os.environ.get("BLOTTER_REAL_DATA") or support.TREE.parent / "shared/data")
MADE_UP = support.TREE / "tests/integration/data"
MANY = int(os.environ.get("MIRROR_RECORDS") or 8000)  # behind the kills; 1000000 with tests/run.sh --all
TABLES = {
    "order_events": "blotter.order_events", "trades": "blotter.trades", "cash": "blotter.cash", "balances": "blotter.balances",
    "venue_positions": "blotter.venue_positions", "instruments": "blotter.instruments", "sessions": "blotter_internal.sessions",
}  # fmt: skip
here = questdb_server.available()


def setUpModule():
    global servers, running, server
    if here:
        servers = support.Servers()
        running = engines.Engines()
        server = questdb_server.Questdb(running)


def tearDownModule():
    if here:
        running.close()
        servers.close()


def start_mirror(url, *settings, conf=None, **environment):
    return running.start("mirror", BLOTTER, "mirror", "--redis", url, "--questdb", conf or server.conf, *settings, **environment)


def mirror_once(url, *settings, conf=None):
    command = [BLOTTER, "mirror", "--once", "--redis", url, "--questdb", conf or server.conf, *settings]
    return subprocess.run(command, capture_output=True, text=True, timeout=5 * support.TIMEOUT, env=support.plain_environment())


def run_mirror(*words):
    command = [BLOTTER, "mirror", *words, "--questdb", server.conf]
    done = subprocess.run(command, capture_output=True, text=True, timeout=support.TIMEOUT, env=support.plain_environment())
    return done.returncode, done.stdout + done.stderr


def drop_tables():
    for row in server.exec("SELECT table_name FROM tables()"):
        server.exec(f"DROP TABLE '{row['table_name']}'")


def publish(url, lines, exchange):
    text = "".join(json.dumps(line) + "\n" for line in lines)
    status, said = engines.publish(url, text, journal=running.folder(), exchange=exchange)
    return status, said


def real_lines():
    """Per exchange; the real messages where they are, else those made up."""
    folder = REAL_DATA if (REAL_DATA / "orders.ndjson").exists() else MADE_UP
    by_exchange = {}
    for name in ("orders.ndjson", "trades.ndjson"):
        for text in (folder / name).read_text().rstrip("\n").split("\n"):  # text may hold other ends of lines
            line = json.loads(text)
            by_exchange.setdefault(line["exchange"], []).append(text)
    return by_exchange


def exact(value):
    try:
        return None if value in (None, "", "null") else Decimal(str(value)).normalize() + 0
    except ArithmeticError:
        raise AssertionError(f"no number: {value!r}") from None


def microseconds(value):
    """A time of psycopg2, or the text of an export."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        day, clock = value.rstrip("Z").split("T")
        return f"{day} {clock}"
    return value.strftime("%Y-%m-%d %H:%M:%S.%f")


def in_utc(value):
    import datetime

    return None if value is None else microseconds(value.astimezone(datetime.timezone.utc))


class Columns:
    """How the columns of a table in PostgreSQL compare with those in QuestDB."""

    def __init__(self, table):
        schema, name = table.split(".")
        rows = servers.query("SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = %s AND table_name = %s", schema, name)
        self.types = {row["column_name"]: row["data_type"] for row in rows if row["column_name"] not in ("stored_at", "stored_by")}

    def expected(self, row):
        return {name: self._expected(kind, row[name]) for name, kind in self.types.items()}

    @staticmethod
    def _expected(kind, value):
        if value is None:
            return None
        if kind == "numeric":
            return exact(value)
        if kind == "boolean":
            return "true" if value else "false"
        if kind == "jsonb":
            return json.loads(json.dumps(value))
        return in_utc(value) if kind.startswith("timestamp") else value

    def got(self, row, exported=False):
        extra = json.loads(row["extra"], parse_float=str, parse_int=str) if row["extra"] else {}
        values = {}
        for name, kind in self.types.items():
            value = row[name]
            if kind == "numeric":
                value = exact(extra.pop(f"exact_{name}")) if f"exact_{name}" in extra else exact(value)
            elif kind.startswith("timestamp"):
                value = microseconds(value)
            elif kind == "bigint":
                value = None if value in (None, "") else int(value)
            elif exported and value == "":
                value = None
            values[name] = value
        values["extra"] = extra or None
        if values.get("fees"):
            values["fees"] = json.loads(values["fees"], parse_float=str, parse_int=str)
        return values


def texts(value):
    """JSON with its numbers as canonical decimals, whoever parsed it."""
    if isinstance(value, dict):
        return {key: texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [texts(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    try:
        return str(Decimal(str(value)).normalize() + 0)
    except ArithmeticError:
        return value


class Equal(unittest.TestCase):
    def test_real_messages_are_equal_in_both_field_by_field(self):
        drop_tables()
        url = servers.settings["BLOTTER_REDIS"]
        self.maxDiff = 2000
        for exchange, lines in real_lines().items():
            engines.publish(url, "\n".join(lines) + "\n", journal=running.folder(), exchange=exchange)
        status, said = servers.run("drain", "--once")
        self.assertEqual(status, 0, said)
        done = mirror_once(url)
        self.assertEqual(done.returncode, 0, done.stderr)
        server.settle()
        for table, theirs in TABLES.items():
            self.compare(table, theirs)
        self.assertEqual(server.count("rejects"), servers.query("SELECT count(*) FROM blotter.rejects")[0]["count"])

    def compare(self, table, theirs):
        columns = Columns(theirs)
        names = ", ".join(f'"{name}"' for name in columns.types)
        json_as_text = ", ".join(f'"{name}"::text AS "{name}"' if kind == "jsonb" else f'"{name}"' for name, kind in columns.types.items())
        expected = {}
        for row in servers.query(f"SELECT {json_as_text} FROM {theirs} WHERE exchange <> 'candles'"):
            for name, kind in columns.types.items():
                if kind == "jsonb" and row[name] is not None:
                    row[name] = json.loads(row[name], parse_float=str, parse_int=str)
            expected[row["producer_id"], row["seq"]] = columns.expected(row)
        over_pg = {(row["producer_id"], row["seq"]): columns.got(row) for row in server.query(f"SELECT {names} FROM {table}")}
        exported = server.export(f"SELECT {names} FROM {table}")
        self.assertEqual(len(over_pg), server.count(table), table)
        self.assertEqual(len(set(over_pg) ^ set(expected)), 0, table)
        for key, row in expected.items():
            self.assert_same(over_pg[key], row, table)
        self.assertEqual(len(exported), len(expected))
        for row in exported:
            want = {name: None if value == "" else value for name, value in expected[int(row["producer_id"]), int(row["seq"])].items()}
            self.assert_same(columns.got(row, exported=True), want, table)

    def assert_same(self, got, want, table):
        for name in want:
            one, other = got[name], want[name]
            if name in ("extra", "fees"):
                one, other = texts(one or {}), texts(other or {})
            self.assertEqual(one, other, f"{table}.{name} of {want['producer_id']}, {want['seq']}")


class Killed(unittest.TestCase):
    def test_each_record_once_though_all_are_killed_in_turn(self):
        drop_tables()
        redis = running.redis("--appendonly", "yes", "--appendfsync", "everysec")
        exchanges = ("okx", "kraken", "bybit", "deribit")
        each = MANY // len(exchanges)
        for exchange in exchanges:
            status, said = engines.publish(redis.url, engines.lines(0, each, exchange), journal=running.folder(), exchange=exchange)
            self.assertEqual(status, 0, said)
        mirror = start_mirror(redis.url, "--batch-rows", str(max(200, MANY // 100)))
        victims = (mirror, server, redis) if MANY < 10**5 else (mirror, server, redis, server, mirror, redis)
        for round_, victim in enumerate(victims):
            seen = each * len(exchanges) * (round_ + 1) // (len(victims) + 2)
            engines.await_true(lambda: self.stored(mirror) >= seen, f"{seen} records are stored", 10 * support.TIMEOUT)
            victim.kill()
            if victim is server:
                server.start_again()
            else:
                victim.start()
                if victim is redis:
                    engines.await_redis(redis)
        engines.await_true(lambda: self.stored(mirror) >= each * len(exchanges), "all is stored", 10 * support.TIMEOUT)
        engines.await_true(lambda: self.unacknowledged(redis) == 0, "all is acknowledged")
        mirror.kill()
        self.assertEqual(server.count("order_events"), each * len(exchanges))
        self.assertEqual(server.count("order_events", "count_distinct(order_id)"), each * len(exchanges))

    @staticmethod
    def stored(mirror):
        if mirror.process.poll() is not None:
            mirror.start()  # one that finds no server at its start ends, and is started again, as systemd does
        try:
            return server.count("order_events")
        except (AssertionError, OSError):
            return 0  # no table yet, or the server was killed

    @staticmethod
    def unacknowledged(redis):
        """By `status`: what XINFO calls lag is wrong for ever where Redis has rewritten its file and was killed."""
        command = [BLOTTER, "status", "--json", "--redis", redis.url]
        said = subprocess.run(command, capture_output=True, text=True, timeout=support.TIMEOUT, env=support.plain_environment()).stdout
        return sum(stream["mirror_lag"] for stream in json.loads(said)["streams"])


class Requests(unittest.TestCase):
    def test_a_backlog_goes_in_few_requests(self):
        drop_tables()
        redis = running.redis()
        publish(redis.url, [{"order_id": str(i), "symbol": "A"} for i in range(20000)], "okx")
        port = engines.free_port()
        far = engines.FarRedis(redis.port, 0.02)
        mirror = start_mirror(far.url, "--metrics", f"127.0.0.1:{port}")
        mirror.port = port
        engines.await_true(lambda: (engines.sample(mirror, "blotter_mirror_rows_total") or 0) > 20000, "all is stored", 3 * support.TIMEOUT)
        self.assertLessEqual(engines.sample(mirror, "blotter_mirror_requests_total"), 6)
        self.assertEqual(mirror.stop(), 0, mirror.text())
        far.close()
        self.assertEqual(server.count("order_events"), 20000)


class Candles(unittest.TestCase):
    def queries(self):
        page = (support.TREE / "drainer/README.md").read_text()
        section = page[page.index("## QuestDB beside PostgreSQL") :]
        return [text.split("\n```")[0] for text in section.split("```sql\n")[1:3]]

    def test_candles_are_those_of_postgresql(self):
        drop_tables()
        import random

        seed = random.randrange(10**6)
        print(f"# seed {seed}")
        draw = random.Random(seed)
        begin = 1764374400 * 10**9  # a midnight
        trades = [
            {
                "kind": "trade", "symbol": "BTC/USDT", "price": f"{60000 + draw.random() * 999:.2f}", "quantity": f"{draw.random():.5f}",
                "trade_id": str(i), "exchange_time": begin + draw.randrange(4 * 3600 * 10**6) * 1000,
            }
            for i in range(2000)
        ]  # fmt: skip
        url = servers.settings["BLOTTER_REDIS"]
        self.assertEqual(publish(url, trades, "candles")[0], 0)
        self.assertEqual(servers.run("drain", "--once")[0], 0)
        self.assertEqual(mirror_once(url).returncode, 0)
        server.settle()
        by_record, by_venue = self.queries()
        got = [
            (microseconds(row["time"]), *(exact(row[name]) for name in ("open", "high", "low", "close", "volume"))) for row in server.query(by_venue)
        ]
        want = [
            (in_utc(row["start"]), *(exact(row[name]) for name in ("open", "high", "low", "close", "volume")))
            for row in servers.query("SELECT * FROM blotter.candles('BTC/USDT', '15 minutes', '2025-11-28', '2025-12-01', 'candles') ORDER BY 1")
        ]
        self.assertEqual(len(want), 16)
        self.assertEqual(got, want)
        rows = server.query(by_record)  # all was recorded now
        self.assertEqual(sum(exact(row["volume"]) for row in rows), sum(Decimal(trade["quantity"]) for trade in trades))


class Schema(unittest.TestCase):
    def test_new_fields_need_no_stop(self):
        drop_tables()
        redis = running.redis()
        publish(redis.url, [{"order_id": "1", "symbol": "A"}], "okx")
        self.assertEqual(mirror_once(redis.url).returncode, 0)
        for column in ("origin", "stop_loss_price"):  # as an older version had made it
            server.exec(f"ALTER TABLE order_events DROP COLUMN {column}")
        publish(redis.url, [{"order_id": "2", "symbol": "A", "origin": "venue", "stop_loss_price": "1.50", "from_the_future": {"a": 1}}], "okx")
        self.assertEqual(mirror_once(redis.url).returncode, 0)
        server.settle()
        (row,) = server.exec("SELECT * FROM order_events WHERE order_id = '2'")
        self.assertEqual((row["origin"], Decimal(row["stop_loss_price"])), ("venue", Decimal("1.5")))
        self.assertEqual(json.loads(row["extra"]), {"from_the_future": {"a": 1}})

    def test_decimals_that_fit_no_column_are_kept_as_text(self):
        drop_tables()
        redis = running.redis()
        small, large = "0." + "0" * 44 + "12300", "9" * 60 + ".5"
        publish(redis.url, [{"order_id": "1", "price": small, "quantity": large, "fee": "0." + "1" * 38 + "000", "extra": {"a": 1}}], "okx")
        self.assertEqual(mirror_once(redis.url).returncode, 0)
        server.settle()
        (row,) = server.exec("SELECT price, quantity, fee, extra FROM order_events")
        self.assertEqual((row["price"], row["quantity"]), (None, None))
        self.assertEqual(Decimal(row["fee"]), Decimal("0." + "1" * 38))
        self.assertEqual(json.loads(row["extra"]), {"a": 1, "exact_price": small, "exact_quantity": large})

    def test_decimals_are_exact_about_the_length_that_travels_in_binary(self):
        drop_tables()
        redis = running.redis()
        digits = ("0", "-0.5", "0.000000000000000001", "9" * 18, "-" + "9" * 9 + "." + "9" * 9, "9" * 19, "-0." + "9" * 18, "9223372036854775808.5", "10.10", "1" * 38)
        publish(redis.url, [{"order_id": str(i), "price": text} for i, text in enumerate(digits)], "okx")
        self.assertEqual(mirror_once(redis.url).returncode, 0)
        server.settle()
        rows = server.exec("SELECT price, extra FROM order_events ORDER BY seq")
        self.assertEqual([(Decimal(row["price"]), row["extra"]) for row in rows], [(Decimal(text), None) for text in digits])

    def test_a_table_with_doubles_gets_the_digits_beside_them(self):
        drop_tables()
        redis = running.redis()
        server.exec(
            "CREATE TABLE trades (recorded_at TIMESTAMP, producer_id LONG, seq LONG, price DOUBLE, quantity DOUBLE) TIMESTAMP(recorded_at)"
            " PARTITION BY DAY WAL DEDUP UPSERT KEYS(recorded_at, producer_id, seq)"
        )
        publish(redis.url, [{"kind": "trade", "symbol": "A", "price": "10.100", "quantity": "0.1"}], "okx")
        self.assertEqual(mirror_once(redis.url).returncode, 0)
        server.settle()
        (row,) = server.exec("SELECT price, price_text, quantity_text FROM trades")
        self.assertEqual(row, {"price": 10.1, "price_text": "10.100", "quantity_text": "0.1"})

    def test_a_table_that_would_store_twice_is_refused(self):
        drop_tables()
        server.exec("CREATE TABLE trades (recorded_at TIMESTAMP, price DOUBLE) TIMESTAMP(recorded_at) PARTITION BY DAY WAL")
        redis = running.redis()
        done = mirror_once(redis.url)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("table trades is not one of the mirror's", done.stderr)
        drop_tables()


class Troubled(http.server.ThreadingHTTPServer):
    """Leads to a QuestDB, but refuses a request with a row that holds a word, so many times, as a trouble of the server's own."""

    daemon_threads = True

    def __init__(self, port, word, times):
        self.target, self.word, self.times, self.refused = port, word, times, 0
        super().__init__(("127.0.0.1", 0), Pass)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Pass(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.lead_on(None)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        rows = body.split(b"\n")
        line = next((i for i, row in enumerate(rows, 1) if row.startswith(b"order_events") and self.server.word in row), None)
        if line is None or self.server.refused == self.server.times:
            self.lead_on(body)
        else:
            self.server.refused += 1
            self.answer(500, json.dumps({"code": "internal error", "message": "trouble of its own", "line": line, "errorId": "1"}).encode())

    def lead_on(self, body):
        far = http.client.HTTPConnection("127.0.0.1", self.server.target, timeout=support.TIMEOUT)
        with contextlib.closing(far):
            far.request(self.command, self.path, body)
            answer = far.getresponse()
            self.answer(answer.status, answer.read())

    def answer(self, status, body):
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Refused(unittest.TestCase):
    def test_a_refused_record_is_kept_listed_and_replayed(self):
        drop_tables()
        redis = running.redis()
        server.exec(
            "CREATE TABLE order_events (recorded_at TIMESTAMP, producer_id LONG, seq LONG, order_id CHAR) TIMESTAMP(recorded_at)"
            " PARTITION BY DAY WAL DEDUP UPSERT KEYS(recorded_at, producer_id, seq)"
        )
        publish(redis.url, [{"order_id": text, "symbol": "A"} for text in ("1", "x-2", "3", "x-4", "5")], "okx")
        with engines.RedisClient(redis.port) as client:
            client("XADD", "blotter:okx", "*", "order", b"\xc1 no record\xff")
        self.assertEqual(mirror_once(redis.url).returncode, 0)
        self.assertEqual(server.count("order_events"), 3)
        status, said = run_mirror("list", "--json")
        rejects = json.loads(said)
        self.assertEqual((status, len(rejects)), (0, 3), said)
        self.assertEqual({reject["seq"] for reject in rejects}, {"3", "5", None}, said)
        server.exec("ALTER TABLE order_events ALTER COLUMN order_id TYPE VARCHAR")
        server.settle()
        status, said = run_mirror("replay")
        self.assertEqual(status, 1, said)  # one is no record
        self.assertIn("stored: 2, still refused: 1", said)
        server.settle()
        ids = [row["order_id"] for row in server.exec("SELECT order_id FROM order_events ORDER BY seq")]
        self.assertEqual(ids, ["1", "x-2", "3", "x-4", "5"])
        (open_one,) = json.loads(run_mirror("list", "--json")[1])
        self.assertEqual(run_mirror("discard", open_one["id"])[0], 0)
        server.settle()
        self.assertEqual(json.loads(run_mirror("list", "--json")[1]), [])
        self.assertEqual(run_mirror("replay", "blotter:okx/1' OR '1'='1")[0], 2)

    def test_a_line_that_a_server_in_trouble_names_three_times_is_rejected_if_the_rest_is_stored(self):
        drop_tables()
        redis = running.redis()
        publish(redis.url, [{"order_id": text, "symbol": "A"} for text in ("1", "poison", "3")], "okx")
        with Troubled(server.port, b"poison", times=10**6) as front:
            done = mirror_once(redis.url, conf=f"http::addr=127.0.0.1:{front.port};")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(front.refused, 3)
        server.settle()
        self.assertEqual([row["order_id"] for row in server.exec("SELECT order_id FROM order_events ORDER BY seq")], ["1", "3"])
        (reject,) = json.loads(run_mirror("list", "--json")[1])
        self.assertIn("QuestDB refuses it: HTTP 500: trouble of its own", reject["reason"])
        self.assertEqual(run_mirror("replay")[0], 0)  # the trouble is over
        self.assertEqual(server.count("order_events"), 3)

    def test_a_line_that_a_server_in_trouble_names_twice_is_stored_later(self):
        drop_tables()
        redis = running.redis()
        publish(redis.url, [{"order_id": text, "symbol": "A"} for text in ("1", "poison", "3")], "okx")
        with Troubled(server.port, b"poison", times=2) as front:
            done = mirror_once(redis.url, conf=f"http::addr=127.0.0.1:{front.port};")
            self.assertEqual((done.returncode, front.refused), (0, 2), done.stderr)
        self.assertEqual((server.count("order_events"), server.count("rejects")), (3, 0))

    def test_hostile_text_arrives_as_it_was(self):
        drop_tables()
        redis = running.redis()
        hostile = ["a b", "a,b", "a=b", "back\\slash", "end\\", 'q"uote', "line\nbreak", "cr\r", "tab\t", "\x01\x7f", "人生K线", "😀", "'", "", "x" * 250]
        publish(redis.url, [{"order_id": str(i), "symbol": text, "reason": text} for i, text in enumerate(hostile)], "okx")
        done = mirror_once(redis.url)
        self.assertEqual(done.returncode, 0, done.stderr)
        server.settle()
        rows = server.exec("SELECT order_id, symbol, reason FROM order_events ORDER BY seq")
        self.assertEqual([(row["symbol"] or "", row["reason"]) for row in rows], [(text, text) for text in hostile])


class Sharing(unittest.TestCase):
    def test_two_share_the_streams_and_one_takes_over(self):
        drop_tables()
        redis = running.redis()
        exchanges = [f"ex{i}" for i in range(4)]
        for exchange in exchanges:
            publish(redis.url, [{"order_id": "1"}], exchange)
        ports = engines.free_port(), engines.free_port()
        first, second = (
            start_mirror(redis.url, "--consumer", f"m{i}", "--rebalance-interval", "50ms", "--metrics", f"127.0.0.1:{port}") for i, port in enumerate(ports)
        )
        first.port, second.port = ports

        def held(mirror):
            return engines.get(mirror, "/metrics")[1].count("blotter_stream_held{") and sum(
                line.endswith(" 1") for line in engines.get(mirror, "/metrics")[1].splitlines() if line.startswith("blotter_stream_held{")
            )

        engines.await_true(lambda: held(first) == 2 and held(second) == 2, "both read two streams")
        first.kill()
        for exchange in exchanges:
            publish(redis.url, [{"order_id": "2"}], exchange)
        engines.await_true(lambda: server.count("order_events") == 8, "the other takes over")
        self.assertEqual(second.stop(), 0, second.text())
        self.assertEqual(server.count("order_events"), 8)

    def test_trimming_waits_for_the_mirror_and_status_names_it(self):
        drop_tables()
        redis = running.redis()
        publish(redis.url, [{"order_id": str(i)} for i in range(500)], "okx")
        self.assertEqual(mirror_once(redis.url).returncode, 0)
        publish(redis.url, [{"order_id": str(i)} for i in range(500, 2000)], "okx")
        drainer = engines_drain(redis.url)
        with engines.RedisClient(redis.port) as client:

            def group(name):
                groups = [dict(zip(one[::2], one[1::2])) for one in client("XINFO", "GROUPS", "blotter:okx")]
                return next((one for one in groups if one["name"] == name), {"lag": 1})

            engines.await_true(lambda: group("drainers")["lag"] == 0 and client("XLEN", "blotter:okx") < 1700, "drained and trimmed so far")
            self.assertGreaterEqual(client("XLEN", "blotter:okx"), 1500)  # what the mirror has not read is there
            status = subprocess.run([BLOTTER, "status", "--json", "--redis", redis.url], capture_output=True, text=True, env=support.plain_environment())
            (stream,) = json.loads(status.stdout)["streams"]
            self.assertGreaterEqual(stream["mirror_lag"], 1500)
            said = subprocess.run([BLOTTER, "check", "--redis", redis.url], capture_output=True, text=True, env=support.plain_environment()).stdout
            self.assertRegex(said, "mirror.*150")
            self.assertEqual(mirror_once(redis.url).returncode, 0)
            engines.await_true(lambda: client("XLEN", "blotter:okx") < 300, "trimmed behind both")
        drainer.stop()
        self.assertEqual(server.count("order_events"), 2000)


    def test_what_is_trimmed_before_a_mirror_has_read_it_is_counted_and_named(self):
        drop_tables()
        redis = running.redis()
        publish(redis.url, [{"order_id": str(i)} for i in range(500)], "okx")
        self.assertEqual(mirror_once(redis.url).returncode, 0)
        publish(redis.url, [{"order_id": str(i)} for i in range(500, 3000)], "okx")
        drainer = engines_drain(redis.url, "--group-limit", "100")
        with engines.RedisClient(redis.port) as client:
            engines.await_true(lambda: client("XLEN", "blotter:okx") < 300, "trimmed before the mirror")
            engines.await_true(lambda: engines.sample(drainer, "blotter_intake_mirrors_missed_total") > 2000, "counted")
            self.assertEqual(drainer.stop(), 0, drainer.text())
            self.assertEqual(mirror_once(redis.url).returncode, 0)
            info = client("XINFO", "STREAM", "blotter:okx")
            stored = server.count("order_events") + server.count("sessions")
            missed = dict(zip(info[::2], info[1::2]))["entries-added"] - stored
        self.assertGreater(missed, 2000)
        status = subprocess.run([BLOTTER, "status", "--json", "--redis", redis.url], capture_output=True, text=True, env=support.plain_environment())
        self.assertEqual(json.loads(status.stdout)["streams"][0]["mirror_missed"], missed)
        said = subprocess.run([BLOTTER, "check", "--redis", redis.url], capture_output=True, text=True, env=support.plain_environment()).stdout
        self.assertIn(f"blotter:okx: {missed} entries were trimmed before a mirror had read them", said)
        self.assertIn("entries were trimmed that no mirror had read", drainer.text())


def engines_drain(url, *settings):
    return running.drain(url, *settings, "--trim-interval", "100ms", "--keep-entries", "0", "--keep-time", "0", postgres=servers.settings["BLOTTER_POSTGRES"])


class InCluster(unittest.TestCase):
    def test_each_record_once_though_slots_move_and_a_mirror_dies(self):
        drop_tables()
        cluster = redis_cluster.Cluster(running)
        exchanges = [redis_cluster.in_third_of(f"blotter:{third}", "blotter:", "ex") for third in ("a", "b", "d")]
        self.assertEqual(len({redis_cluster.third_of(f"blotter:{exchange}") for exchange in exchanges}), 3)
        mirrors = [start_mirror(cluster.url, "--consumer", name, "--rebalance-interval", "50ms") for name in ("first", "second")]
        feeds = [engines.Feed(cluster.url, running.folder(), exchange, until="sent", per_second=200) for exchange in exchanges]
        stream = f"blotter:{exchanges[0]}"
        slot = cluster.slot(stream)
        for number in range(4):
            seen = self.stored(exchanges[0])
            engines.await_true(lambda: self.stored(exchanges[0]) > seen + 20, "its records are stored")  # noqa: B023
            source = cluster.owner(stream)
            cluster.move(slot, source, next(node for node in cluster.nodes if node is not source))
            if number == 1:
                mirrors[0].kill()
        for feed in feeds:
            status, said = feed.finish()
            self.assertEqual(status, 0, said)
        for feed in feeds:
            engines.await_true(lambda: self.stored(feed.exchange) == feed.accepted, f"all of {feed.exchange} are stored")  # noqa: B023
        self.assertEqual(mirrors[1].stop(), 0, mirrors[1].text())
        server.settle()
        self.assertEqual([self.stored(feed.exchange) for feed in feeds], [feed.accepted for feed in feeds])

    @staticmethod
    def stored(exchange):
        try:
            return server.exec(f"SELECT count() AS n FROM order_events WHERE exchange = '{exchange}'")[0]["n"]
        except AssertionError:
            return 0  # no table yet


class Outage(unittest.TestCase):
    def test_an_outage_shows_and_passes(self):
        drop_tables()
        redis = running.redis()
        port = engines.free_port()
        mirror = start_mirror(redis.url, "--metrics", f"127.0.0.1:{port}")
        mirror.port = port
        engines.await_true(lambda: engines.ready(mirror)[0] == 200, "ready")
        server.kill()
        publish(redis.url, [{"order_id": "1"}], "okx")
        engines.await_true(lambda: engines.ready(mirror)[0] == 503, "not ready")
        self.assertIn("questdb", engines.ready(mirror)[1])
        self.assertEqual(engines.sample(mirror, "blotter_questdb_up"), 0)
        server.start_again()
        engines.await_true(lambda: engines.ready(mirror)[0] == 200, "ready again")
        self.assertEqual(server.count("order_events"), 1)
        self.assertGreater(engines.sample(mirror, "blotter_mirror_retries_total"), 0)
        mirror.process.send_signal(signal.SIGTERM)
        self.assertEqual(mirror.process.wait(support.TIMEOUT), 0, mirror.text())


class Access(unittest.TestCase):
    def test_password_and_tls(self):
        guarded = questdb_server.Questdb(running, "http.user=admin", "http.password=secret-of-the-test")
        redis = running.redis()
        publish(redis.url, [{"order_id": "1"}], "okx")
        conf = f"http::addr=127.0.0.1:{guarded.port};username=admin;"
        done = mirror_once(redis.url, conf=conf)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("refuses user, password or right", done.stderr)
        done = mirror_once(redis.url, conf=conf + "password=secret-of-the-test;")
        self.assertEqual(done.returncode, 2)  # every user of the machine can read a command line
        self.assertNotIn("secret-of-the-test", done.stderr)
        secret = running.folder() / "password"
        secret.write_text("secret-of-the-test\n")
        secret.chmod(0o600)
        done = mirror_once(redis.url, "--questdb-password-file", secret, conf=conf)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("secret-of-the-test", done.stderr)
        self.through_tls(redis, guarded.port, secret)

    def through_tls(self, redis, port, secret):
        key, certificate = make_certificate(running.folder())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        with TlsFront(context, port) as front:
            conf = f"https::addr=localhost:{front.port};username=admin;"
            done = mirror_once(redis.url, "--questdb-password-file", secret, conf=conf)
            if "built without TLS" in done.stderr:
                self.assertEqual(done.returncode, 2)
                return
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertIn("certificate is refused", done.stderr)
            done = mirror_once(redis.url, "--questdb-password-file", secret, conf=conf + f"tls_roots={certificate};")
            self.assertEqual(done.returncode, 0, done.stderr)
            done = mirror_once(redis.url, "--questdb-password-file", secret, conf=conf.replace("localhost", "127.0.0.1") + f"tls_roots={certificate};")
            self.assertEqual(done.returncode, 3, done.stderr)  # it is for another name


def make_certificate(folder):
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate]
    subprocess.run([*command, "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    return key, certificate


class TlsFront(engines.Forwarder):
    """A forwarder whose near side is TLS."""

    def __init__(self, context, port):
        self._context = context
        super().__init__(port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _greet(self, near):
        return self._context.wrap_socket(near, server_side=True)


class Settings(unittest.TestCase):
    def test_a_wrong_configuration_is_named(self):
        for conf, said in (
            ("tcp::addr=127.0.0.1:9009;", "expected http::addr"),
            ("http::addr=127.0.0.1:x;", "addr: it is not HOST:PORT"),
            ("http::username=a;", "addr: it is missing"),
            ("http::addr=127.0.0.1;pass=1;", "pass: there is no such setting"),
        ):
            done = subprocess.run([BLOTTER, "mirror", "--questdb", conf], capture_output=True, text=True, timeout=support.TIMEOUT)
            self.assertEqual(done.returncode, 2)
            self.assertIn(said, done.stderr)


if __name__ == "__main__":
    if not here:  # one test that needs no server remains
        for name in ("Equal", "Killed", "Requests", "Candles", "Schema", "Refused", "Sharing", "InCluster", "Outage", "Access"):
            del globals()[name]
    support.main()
