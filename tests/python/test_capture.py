"""deploy/capture: a client that talks over wss:// to a server on loopback is recorded from the wire, as many messages as passed.

As the page says, the capture has no rights of root: it runs as another user, and dumpcap alone has CAP_NET_RAW. Root makes such a dumpcap for
itself; another user needs one. Without it, or without tshark, the test says so in one line.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import engines
import support

CAPTURE = support.TREE / "deploy/capture/capture.py"
MAPPING = """
def records(message, outgoing):
    if outgoing:
        yield "order", {"client_order_id": message["id"], "symbol": "BTC/USDT", "status": "pending_new", "price": message["price"]}
    elif message["kind"] == "order":
        yield "order", {"client_order_id": message["id"], "order_id": "v" + message["id"], "symbol": "BTC/USDT", "status": "open"}
"""


NOBODY = 65534
unprivileged = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []


def make_dumpcap(folder):
    """For root: one that may read packets whoever runs it, first in PATH."""
    shutil.copy(shutil.which("dumpcap"), folder)
    subprocess.run(["setcap", "cap_net_raw+ep", f"{folder}/dumpcap"], check=True, capture_output=True)
    Path(folder).chmod(0o755)
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"


def may_capture():
    global tools
    tools = tempfile.TemporaryDirectory(prefix="blotter-capture-")
    try:
        if unprivileged:
            make_dumpcap(tools.name)
        subprocess.run(["tshark", "-v"], check=True, capture_output=True)
        subprocess.run([*unprivileged, sys.executable, CAPTURE, "--help"], check=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(support.PACKAGE)})
        command = [*unprivileged, "dumpcap", "-q", "-i", "lo", "-a", "duration:1", "-w", "-"]
        subprocess.run(command, check=True, capture_output=True, timeout=support.TIMEOUT)
        return True
    except (OSError, TypeError, subprocess.CalledProcessError):  # TypeError: there is no dumpcap
        pass
    print("# not judged: no tshark here, or no right to read packets (deploy/packages.sh test; CAP_NET_RAW)", flush=True)
    return False


here = may_capture()


def setUpModule():
    global servers, running, redis, folder
    if here:
        servers = support.Servers()
        running = engines.Engines()
        redis = running.redis()  # the test servers' own socket is root's
        servers.settings["BLOTTER_REDIS"] = os.environ["BLOTTER_REDIS"] = redis.url
        servers.drain()
        folder = for_the_capture(running.folder())
        subprocess.run(
            [
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "key.pem",
                "-out", folder / "certificate.pem", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
            ],
            check=True, capture_output=True,
        )  # fmt: skip


def tearDownModule():
    if here:
        running.close()
        servers.close()


def for_the_capture(folder):
    """A folder of the capture's user, which it can reach."""
    if unprivileged:
        os.chown(folder, NOBODY, NOBODY)
        folder.parent.chmod(0o711)
    return folder


class Desk:
    """A venue over wss://, and a client of it that logs its keys."""

    def __init__(self, port, keys):
        self._port, self._keys = port, keys
        self._numbers = iter(range(1, 1000))

    @staticmethod
    async def _answer(connection, *_):
        async for text in connection:
            message = json.loads(text)
            await connection.send(json.dumps({"kind": "order", "id": message["id"]}))
            if message["id"].endswith("0"):
                await connection.send("x" * 70000)  # no JSON, and more than a packet

    async def _talk(self, count, logs_keys):
        import websockets

        venue = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        venue.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
        client = ssl.create_default_context(cafile=folder / "certificate.pem")
        if logs_keys:
            client.keylog_filename = str(self._keys)
        async with websockets.serve(self._answer, "127.0.0.1", self._port, ssl=venue):
            async with websockets.connect(f"wss://localhost:{self._port}", ssl=client, compression=None) as connection:
                for number in (next(self._numbers) for _ in range(count)):
                    await connection.send(json.dumps({"id": str(number), "price": "1.50"}))
                    await connection.recv()
                    if number % 10 == 0:
                        await connection.recv()

    def talk(self, count, logs_keys=True):
        asyncio.run(self._talk(count, logs_keys))


class FromTheWire(unittest.TestCase):
    def start(self, port, keys, exchange="tapped"):
        mapping = folder / "mapping.py"
        mapping.write_text(MAPPING)
        capture = running.start(
            "capture", *unprivileged, sys.executable, CAPTURE, "--exchange", exchange, "--mapping", mapping, "--interface", "lo", "--port", str(port), "--keys", keys,
            "--journal", for_the_capture(running.folder()), "--redis", redis.url, "--quiet", PYTHONPATH=str(support.PACKAGE),
        )  # fmt: skip
        return capture

    def seen(self, exchange="tapped"):
        return servers.query("SELECT count(*) AS n FROM blotter.order_events WHERE exchange = %s AND origin = 'wire'", exchange)[0]["n"]

    def talk_until_seen(self, desk, exchange="tapped"):
        """It listens a moment after it was started."""
        before = self.seen(exchange)
        while self.seen(exchange) == before:
            desk.talk(1)

    def test_what_passed_is_recorded(self):
        port, keys = engines.free_port(), folder / "keys.log"
        keys.touch()
        desk = Desk(port, keys)
        capture = self.start(port, keys)
        engines.await_true(lambda: "capturing" in capture.text(), "it captures")
        self.talk_until_seen(desk)
        first = self.seen()
        for pid in (capture.process.pid, *children(capture.process.pid)):  # dumpcap has opened the device, and given its right back
            self.assertEqual(rights_of(pid), (False, 0), command_of(pid))
        desk.talk(30)
        engines.await_true(lambda: self.seen() >= 60 + first, "all messages are recorded")
        desk.talk(5, logs_keys=False)
        (child,) = [pid for pid in children(capture.process.pid) if "tshark" in command_of(pid)]
        subprocess.run(["kill", "-9", child], check=True)  # it starts again, and goes on with new connections
        engines.await_true(lambda: capture.text().count("capturing") == 2, "it captures again")
        self.talk_until_seen(desk)
        self.reconcile()
        capture.process.send_signal(signal.SIGTERM)
        self.assertEqual(capture.process.wait(support.TIMEOUT), 0, capture.text())
        counts = json.loads(capture.text().splitlines()[-1])
        self.assertGreaterEqual(counts["unknown"], 3)
        self.assertGreater(counts["no_keys"], 0)
        self.assertEqual((counts["refused"], counts["restarts"]), (0, 1))
        self.assertGreater(counts["messages"], counts["records"])
        engines.await_true(lambda: self.seen() == counts["records"], "all that it counted is stored")
        engines.await_true(lambda: self.audited() == {"unproven"}, "the audit calls it unproven")
        status, said = servers.run("audit", "--exchange", "tapped")
        self.assertEqual(status, 0, said)
        self.assertIn("cannot tell what it has not seen", said)

    def hold_with_full_pipe(self, capture, desk):
        """Stops the capture, and lets pass more than its pipe takes. Returns tshark, which waits in the middle of a line."""
        (tshark,) = [pid for pid in children(capture.process.pid) if "tshark" in command_of(pid)]
        capture.process.send_signal(signal.SIGSTOP)
        desk.talk(40)
        engines.await_true(lambda: "pipe_write" in Path(f"/proc/{tshark}/wchan").read_text(), "the pipe is full")
        return tshark

    def test_a_line_that_is_cut_off_and_a_stop_with_much_unread(self):
        port, keys = engines.free_port(), folder / "more_keys.log"
        keys.touch()
        desk = Desk(port, keys)
        capture = self.start(port, keys, "cut")
        engines.await_true(lambda: "capturing" in capture.text(), "it captures")
        self.talk_until_seen(desk, "cut")
        tshark = self.hold_with_full_pipe(capture, desk)
        subprocess.run(["kill", "-9", tshark], check=True)
        capture.process.send_signal(signal.SIGCONT)
        engines.await_true(lambda: capture.text().count("capturing") == 2, "it captures again")
        self.talk_until_seen(desk, "cut")
        self.hold_with_full_pipe(capture, desk)
        capture.process.send_signal(signal.SIGTERM)
        capture.process.send_signal(signal.SIGCONT)
        self.assertEqual(capture.process.wait(support.TIMEOUT), 0, capture.text())
        self.assertEqual(json.loads(capture.text().splitlines()[-1])["restarts"], 1)

    def audited(self):
        return {row["state"] for row in servers.query("SELECT state FROM blotter.audit WHERE exchange = 'tapped' AND lane = 'wire'")}

    def reconcile(self):
        """The query of the page: here the strategy recorded nothing, so each order is named; then one is recorded in the same way."""
        page = (support.TREE / "deploy/capture/README.md").read_text()
        query = re.search(r"```sql\n(.*?)```", page, re.S)[1].replace("%", "%%")
        self.assertTrue(all(row["recorded"] == 0 for row in servers.query(query)))
        import blotter

        row = servers.query("SELECT client_order_id FROM blotter.order_events WHERE exchange = 'tapped' AND status = 'pending_new' LIMIT 1")[0]
        with blotter.Producer("tapped", journal=running.folder()) as producer:
            for status in ("pending_new", "open"):
                producer.order({"client_order_id": row["client_order_id"], "symbol": "BTC/USDT", "status": status})
        names = lambda: {row["order"] for row in servers.query(query) if row["exchange"] == "tapped"}  # noqa: E731
        engines.await_true(lambda: row["client_order_id"] not in names(), "the recorded order agrees")


def children(pid):
    return subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()


def rights_of(pid):
    """Whether a process is root's, and its capabilities."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return "0" in status["Uid"].split(), int(status["CapEff"], 16)


def command_of(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().split(b"\0")[0].decode()


class WithoutRights(unittest.TestCase):
    def test_the_help_names_what_is_counted(self):
        done = subprocess.run([sys.executable, CAPTURE, "--help"], capture_output=True, text=True, env=support.plain_environment(PYTHONPATH=str(support.PACKAGE)))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("no_keys", done.stdout)


if __name__ == "__main__":
    if not here:
        del FromTheWire
    support.main()
