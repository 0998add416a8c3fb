"""`blotter journal --records`: a journal's records as JSON, without servers, and as damage leaves them."""

import json
import os
import pty
import subprocess
import tempfile
import unittest
from pathlib import Path

import support

import blotter


def show(path, *flags):
    done = subprocess.run(
        [support.BUILD / "blotter", "journal", path, *flags], env=support.plain_environment(), capture_output=True, text=True, timeout=support.TIMEOUT
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


class Records(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = Path(self.folder.name, "kept")
        with blotter.Producer("okx", journal=str(self.path), sender="none", slots=64) as producer:
            self.seqs = [
                producer.order({"id": "1", "symbol": 'BTC "quoted"', "price": "67123.10"}),
                producer.trade(trade_id="7", symbol="X", price=0.1, quantity="1e-18"),
                producer.cash(type="funding", amount="-0.5", currency="USDT"),
            ]

    def test_each_record_is_a_line(self):
        code, lines = show(self.path, "--records")
        self.assertEqual(code, 0)
        self.assertEqual([line["kind"] for line in lines], ["session", "order", "trade", "cash", "session"])
        self.assertEqual([line["seq"] for line in lines[1:4]], self.seqs)
        self.assertEqual({line["state"] for line in lines}, {"unsent"})
        self.assertEqual(lines[1]["record"], {"order_id": "1", "symbol": 'BTC "quoted"', "price": "67123.10"})
        self.assertEqual(lines[3]["record"], {"type": "funding", "amount": "-0.5", "currency": "USDT"})
        self.assertEqual(len({line["producer_id"] for line in lines}), 1)
        self.assertEqual([line["position"] for line in lines], sorted(line["position"] for line in lines))

    def test_a_damaged_record_is_not_shown_and_the_others_are(self):
        content = self.path.read_bytes()
        self.assertEqual(content.count(b"67123.10"), 1)
        self.path.write_bytes(content.replace(b"67123.10", b"67123.11"))
        code, lines = show(self.path, "--records")
        self.assertEqual(code, 1)
        self.assertEqual([line["kind"] for line in lines], ["session", "trade", "cash", "session"])

    def test_on_a_terminal_no_record_moves_its_cursor(self):
        """U+009B begins a command for some terminals, and stands in JSON as it is."""
        with blotter.Producer("okx", journal=str(self.path), sender="none", slots=64) as producer:
            producer.order({"id": "2", "symbol": "\u009b2Jowned"})
        ours, theirs = pty.openpty()
        done = subprocess.run([support.BUILD / "blotter", "journal", self.path, "--records"], env=support.plain_environment(), stdout=theirs, timeout=support.TIMEOUT)
        os.close(theirs)
        shown = b""
        while b"owned" not in shown:
            shown += os.read(ours, 65536)
        os.close(ours)
        self.assertEqual(done.returncode, 0)
        self.assertIn(rb"\xc2\x9b2Jowned", shown)
        self.assertNotIn("\u009b".encode(), shown)


if __name__ == "__main__":
    support.main()
