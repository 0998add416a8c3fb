"""`blotter follow` and `blotter export`: what they print is what the tables hold, each record once, whatever is killed meanwhile."""

import csv
import http.server
import io
import json
import os
import random
import re
import resource
import signal
import subprocess
import threading
import time
import unittest

import psycopg2

import support

KILLS = 12
KINDS = {"order": "blotter.order_events", "trade": "blotter.trades", "session": "blotter_internal.sessions"}


def setUpModule():
    global servers, drainer
    servers = support.Servers()
    drainer = servers.drain()


def publish(exchange, first, count):
    lines = "".join(json.dumps({"order_id": str(first + i), "symbol": "BTC/USDT", "price": "0.10"}) + "\n" for i in range(count))
    lines += json.dumps({"kind": "trade", "symbol": "BTC/USDT", "price": "1.50", "quantity": "2"}) + "\n"
    subprocess.run([servers.program, "publish", "--exchange", exchange], input=lines, text=True, check=True, capture_output=True, timeout=support.TIMEOUT)


def stored():
    """The identity of everything that is stored, rejects by their id."""
    found = [("reject", str(row["id"])) for row in servers.query("SELECT id FROM blotter.rejects")]
    for kind, table in KINDS.items():
        found += [(kind, str(row["producer_id"]), row["seq"]) for row in servers.query(f"SELECT producer_id, seq FROM {table}")]
    return sorted(found, key=str)


def records(path):
    return [line for line in map(json.loads, path.read_text().splitlines()) if "token" not in line]


def identity(line):
    return ("reject", line["id"]) if line["kind"] == "reject" else (line["kind"], line["producer_id"], line["seq"])


def await_drained():
    support.wait_until(lambda: all(stream["lag"] == 0 and stream["pending"] == 0 for stream in json.loads(servers.run("status", "--json")[1])["streams"]))


class Follow(unittest.TestCase):
    def test_joined_output_equals_the_tables_whatever_is_killed(self):
        seed = int(os.environ.get("BLOTTER_SEED", time.time_ns() % 100000))
        print(f"# BLOTTER_SEED={seed}", flush=True)
        chance = random.Random(seed)
        path = servers.folder / "followed.ndjson"
        done = threading.Event()

        def feed():
            for i in range(10**6):
                publish(f"x{i % 3}", i * 100, 40)
                if done.is_set():
                    return

        feeder = threading.Thread(target=feed)
        feeder.start()
        arguments = [servers.program, "follow", "--after", "beginning", "--output", path]
        follower = servers.start(*arguments, stderr=subprocess.DEVNULL)
        try:
            for kill in range(KILLS):
                time.sleep(chance.uniform(0.05, 0.5))
                if kill % 4 == 3:
                    servers.tell("kill postgres")
                    servers.tell("start postgres")
                    subprocess.run(["redis-cli", "-s", servers.settings["BLOTTER_REDIS"].removeprefix("unix://"), "XADD", "blotter:x0", "*", "nonsense", "x"], check=True, capture_output=True)
                else:
                    follower.send_signal(signal.SIGKILL)
                    follower.wait()
                    follower = servers.start(*arguments, stderr=subprocess.DEVNULL)
        finally:
            done.set()
            feeder.join()
        await_drained()
        follower.send_signal(signal.SIGKILL)
        follower.wait()
        code, text = servers.run("follow", "--once", "--output", str(path))
        self.assertEqual(code, 0, text)

        followed = records(path)
        self.assertGreater(len(followed), 500)
        self.assertIn("reject", {line["kind"] for line in followed})
        self.assertEqual(sorted(map(identity, followed), key=str), stored())
        line = next(line for line in followed if line["kind"] == "trade")
        self.assertEqual((line["price"], line["quantity"]), ("1.50", "2"))  # every digit

    def test_full_disk_ends_it_and_what_was_lost_is_printed_again(self):
        publish("full", 0, 100)
        await_drained()
        path = servers.folder / "full.ndjson"
        arguments = ("follow", "--after", "beginning", "--exchange", "full", "--once", "--output", str(path))

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

        done = subprocess.run([servers.program, *arguments], preexec_fn=limit, capture_output=True, text=True, timeout=support.TIMEOUT)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(f"cannot write {path}: File too large", done.stderr)
        self.assertNotIn("token", path.read_text())
        self.assertEqual(servers.run(*arguments)[0], 0)
        self.assertEqual(len([line for line in records(path) if line["kind"] == "order"]), 100)

    def test_what_stdout_does_not_take_is_an_error(self):
        for command in (("follow", "--after", "beginning", "--once"), ("status",), ("export", "order_events")):
            with open("/dev/full", "w") as full:
                done = subprocess.run([servers.program, *command], stdout=full, stderr=subprocess.PIPE, text=True, timeout=support.TIMEOUT)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("cannot write to stdout", done.stderr)
            self.assertNotIn("Success", done.stderr)

    def test_the_bridge_to_a_webhook_as_it_is_printed(self):
        page = (support.TREE / "drainer/README.md").read_text()
        script = re.search(r"```sh\n(blotter follow .*?)```", page, re.DOTALL)[1].replace("--postgres dbname=trading", "--after beginning")
        texts = []

        class Hook(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        threading.Thread(target=hook.serve_forever, daemon=True).start()
        folder = servers.folder / "bridge"
        folder.mkdir()
        (folder / "records.jsonl").touch()
        environment = servers.settings | {"WEBHOOK": f"http://127.0.0.1:{hook.server_port}/", "PATH": f"{support.BUILD}:{os.environ['PATH']}"}
        bridge = subprocess.Popen(["bash", "-c", script], cwd=folder, env=os.environ | environment, start_new_session=True, stderr=subprocess.DEVNULL)
        try:
            line = {"order_id": "1", "strategy": "mm", "symbol": "BTC/USDT", "status": "rejected", "reason": 'no "margin"'}
            fine = line | {"status": "open", "strategy": "fine"}
            subprocess.run([servers.program, "publish", "--exchange", "bridge"], input=json.dumps(fine) + "\n" + json.dumps(line) + "\n", text=True, check=True, capture_output=True)
            support.wait_until(lambda: 'mm: BTC/USDT rejected: no "margin"' in texts)
            self.assertFalse([text for text in texts if text.startswith("fine")])
        finally:
            os.killpg(bridge.pid, signal.SIGKILL)
            bridge.wait()
            hook.shutdown()
            hook.server_close()

    def test_a_token_goes_on_where_it_was_printed(self):
        publish("tokens", 1, 5)
        await_drained()
        code, text = servers.run("follow", "--once", "--after", "beginning", "--exchange", "tokens")
        self.assertEqual(code, 0, text)
        token = json.loads(text.splitlines()[-1])["token"]
        publish("tokens", 100, 5)
        await_drained()
        code, text = servers.run("follow", "--once", "--after", token, "--exchange", "tokens")
        orders = [line["order_id"] for line in map(json.loads, text.splitlines()) if line.get("kind") == "order"]
        self.assertEqual(orders, [str(100 + i) for i in range(5)])
        code, text = servers.run("follow", "--once", "--after", "nonsense")
        self.assertEqual(code, 2)
        self.assertIn("setting after", text)

    def test_a_transaction_that_does_not_end_is_named_and_passed_by_nothing(self):
        path = servers.folder / "held.ndjson"
        with psycopg2.connect(servers.settings["BLOTTER_POSTGRES"], application_name="forgetful") as holder:
            holder.cursor().execute("SELECT pg_current_xact_id()")
            follower = servers.start(servers.program, "follow", "--output", path, stderr=subprocess.PIPE, text=True)
            support.wait_until(path.exists)
            support.wait_until(lambda: "token" in path.read_text())
            publish("held", 1, 5)
            await_drained()
            line = follower.stderr.readline()
            self.assertIn("held back", line)
            self.assertIn("forgetful", line)
            self.assertEqual(records(path), [])
            holder.rollback()
            support.wait_until(lambda: len(records(path)) >= 6)
            self.assertGreaterEqual(len({identity(line) for line in records(path) if line["kind"] == "order"}), 5)
            follower.send_signal(signal.SIGTERM)
            self.assertEqual(follower.wait(support.TIMEOUT), 0)
            follower.stderr.close()
        holder.close()

    def test_a_token_of_another_history_ends_it(self):
        code, text = servers.run("follow", "--once", "--after", "00000000-0000-0000-0000-000000000001:5")
        had = servers.query("SELECT count(*) AS n FROM blotter_internal.history")[0]["n"]
        if had == 0:
            servers.query("INSERT INTO blotter_internal.history (n, system_identifier, timeline) VALUES (1, 1, 1)")
            code, text = servers.run("follow", "--once", "--after", "00000000-0000-0000-0000-000000000001:5")
            servers.query("DELETE FROM blotter_internal.history")
        self.assertEqual(code, 1, text)
        self.assertIn("may have lost records", text)


class Export(unittest.TestCase):
    def rows(self, *arguments):
        code, text = servers.run("export", *arguments)
        self.assertEqual(code, 0, text)
        return list(csv.DictReader(io.StringIO(text)))

    def test_a_table_comes_as_csv_by_exchange_and_time(self):
        publish("csv", 1, 3)
        await_drained()
        rows = self.rows("order_events", "--exchange", "csv", "--since", "1h")
        self.assertEqual([row["order_id"] for row in rows], ["1", "2", "3"])
        self.assertEqual({row["price"] for row in rows}, {"0.10"})
        self.assertTrue(all(row["recorded_at"].endswith("+00") for row in rows))
        self.assertEqual(self.rows("order_events", "--exchange", "csv", "--before", "1h"), [])
        self.assertEqual(len(self.rows("trades", "--exchange", "csv")), 1)

    def test_what_is_no_table_is_refused_with_those_there_are(self):
        code, text = servers.run("export", "orders; DROP TABLE blotter.orders")
        self.assertNotEqual(code, 0)
        self.assertIn("order_events", text)
        self.assertEqual(len(servers.query("SELECT 1 FROM pg_class WHERE oid = 'blotter.orders'::regclass")), 1)


class Completion(unittest.TestCase):
    def complete(self, *words):
        code, script = servers.run("completion", "bash")
        self.assertEqual(code, 0)
        line = script + f"COMP_WORDS=({' '.join(words)})\nCOMP_CWORD={len(words) - 1}\n_blotter\necho \"${{COMPREPLY[@]}}\"\n"
        return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout.split()

    def test_commands_flags_verbs_and_choices(self):
        self.assertEqual(self.complete("blotter", "rej"), ["rejects"])
        self.assertEqual(self.complete("blotter", "audit", "--exch"), ["--exchange"])
        self.assertEqual(self.complete("blotter", "rejects", "rep"), ["replay"])
        self.assertEqual(self.complete("blotter", "drain", "--log-level", "wa"), ["warn"])
        self.assertEqual(self.complete("blotter", "drain", "--redis-pass"), ["--redis-password-file"])  # never the secret itself


if __name__ == "__main__":
    support.main()
