#!/usr/bin/env python3
"""capture.py: records the order messages that pass on the wire, without a line in the strategy.

    capture.py --exchange binance --mapping binance.py --interface eth0 --port 443 --keys /run/desk/keys.log

dumpcap reads the packets of the port, tshark reassembles TCP, decrypts TLS by the session keys that the client logs (SSLKEYLOGFILE, or
`keylog_filename` of Python's ssl) and takes the websocket frames apart; the mapping makes records of messages, which go to the exchange's
lane "wire" with origin "wire". Neither packets nor keys are stored: the packets go through a pipe.

A tap accepts nothing, so nothing is promised for what it misses. What it could not read is counted, and printed every minute and at the end:
    messages    websocket messages with text, in both directions
    records     recorded
    unknown     messages that are no JSON, that the mapping raises on, or that tshark was killed over
    refused     records that the journal had no room for, or that were invalid (these are in blotter.rejects)
    no_keys     packets with TLS data that could not be decrypted: begun before the capture, or by a client that logs no keys
    lost        segments that the other side had and the tap had not: losses in the kernel or on the way
    restarts    times that dumpcap or tshark had to be started again

A mapping is a Python file with records(message, outgoing), which yields (kind, fields): ("order", {"order_id": ...}); see binance.py.
"""

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import blotter

FIELDS = ("frame.time_epoch", "tcp.dstport", "websocket.payload.text", "tcp.analysis.lost_segment", "tcp.analysis.ack_lost_segment", "tls.app_data")
SHOWN = "websocket || tcp.analysis.lost_segment || tcp.analysis.ack_lost_segment || (tls.app_data && !websocket && !http)"
REPORT_S = 60
SETTINGS = {"WIRESHARK_CONFIG_DIR": "/nonexistent"}  # none of the user's own, whose folder a service may not even read
BUFFER_MIB = 64  # of packets that wait in the kernel: tshark is slower than a burst
PAUSE_S = 1  # before dumpcap and tshark are started again


def load_mapping(path):
    spec = importlib.util.spec_from_file_location("mapping", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.records


class Tap:
    """dumpcap and tshark, one after the other in a pipe."""

    def __init__(self, given):
        ports = [f"-d tls.port=={port},http".split() for port in given.port]
        packets = [shutil.which("dumpcap") or "/usr/bin/dumpcap", "-q", "-B", str(BUFFER_MIB), "-i", given.interface, "-f", " or ".join(f"tcp port {port}" for port in given.port), "-w", "-"]
        frames = ["tshark", "-n", "-l", "-Q", "-r", "-", "-o", f"tls.keylog_file:{given.keys}", *sum(ports, []), "-Y", SHOWN, "-T", "ek"]
        self._dumpcap = subprocess.Popen(packets, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if given.quiet else None)
        self._tshark = subprocess.Popen(
            [*frames, *(word for field in FIELDS for word in ("-e", field))],
            stdin=self._dumpcap.stdout, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if given.quiet else None, env={**os.environ, **SETTINGS},
        )  # fmt: skip
        self._dumpcap.stdout.close()
        self.lines = self._tshark.stdout

    def stop(self):
        """The lines end behind the last packet that dumpcap has read."""
        self._dumpcap.terminate()

    def close(self):
        """After the last line: tshark cannot end while nobody reads what it says."""
        self.stop()
        self._dumpcap.wait()
        self._tshark.wait()
        self.lines.close()


class Capture:
    def __init__(self, given):
        self._given = given
        self._records_of = load_mapping(given.mapping)
        self._ports = {str(port) for port in given.port}
        self._producer = blotter.Producer(
            given.exchange, lane="wire", on_error="reject", **{name: value for name, value in (("redis", given.redis), ("journal", given.journal)) if value}
        )
        self.counts = dict.fromkeys(("messages", "records", "unknown", "refused", "no_keys", "lost", "restarts"), 0)
        self._stopping = False
        self._tap = None
        self._reported = time.monotonic()

    def stop(self, *_):
        self._stopping = True
        if self._tap:
            self._tap.stop()

    def report(self):
        print(json.dumps({"exchange": self._given.exchange, **self.counts}), file=sys.stderr, flush=True)
        self._reported = time.monotonic()

    def run(self):
        while not self._stopping:
            self._tap = Tap(self._given)
            if self._stopping:  # told so while they were started
                self._tap.stop()
            print("capturing", file=sys.stderr, flush=True)
            for line in self._tap.lines:
                self._take_line(line)
                if time.monotonic() - self._reported > REPORT_S:
                    self.report()
            self._tap.close()
            if not self._stopping:
                self.counts["restarts"] += 1
                time.sleep(PAUSE_S)
        self.report()
        self._producer.close()

    def _take_line(self, line):
        try:
            layers = json.loads(line).get("layers")
        except ValueError:  # tshark was killed in the middle of it
            self.counts["unknown"] += 1
            return
        if layers is None:
            return  # the line before each packet's
        texts = layers.get("websocket_payload_text", [])
        self.counts["lost"] += "tcp_analysis_lost_segment" in layers or "tcp_analysis_ack_lost_segment" in layers
        self.counts["no_keys"] += "tls_app_data" in layers and not texts
        for text in texts:
            self._take_message(text, layers)

    def _take_message(self, text, layers):
        outgoing = layers["tcp_dstport"][0] in self._ports
        seconds, _, fraction = layers["frame_time_epoch"][0].partition(".")
        wire = {"wire_time": int(seconds) * 10**9 + int(fraction.ljust(9, "0")[:9]), "outgoing": outgoing}
        self.counts["messages"] += 1
        try:
            found = list(self._records_of(json.loads(text), outgoing))
        except Exception:  # whatever a message that nobody expected leads to
            self.counts["unknown"] += 1
            return
        for kind, fields in found:
            self._record(kind, fields, wire)

    def _record(self, kind, fields, wire):
        record = {**fields, "origin": "wire", "extra": {**(fields.get("extra") or {}), **wire}}
        try:
            stored = getattr(self._producer, kind)(record)
        except blotter.Full:
            stored = None
        self.counts["records" if stored else "refused"] += 1


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exchange", required=True)
    parser.add_argument("--mapping", required=True, help="Python file with records(message, outgoing)")
    parser.add_argument("--interface", default="any")
    parser.add_argument("--port", type=int, nargs="+", default=[443], help="of the exchange (443)")
    parser.add_argument("--keys", required=True, help="file to which the client logs its TLS session keys")
    parser.add_argument("--redis", help="URL without password; BLOTTER_REDIS_PASSWORD has that")
    parser.add_argument("--journal", help="file or folder")
    parser.add_argument("--quiet", action="store_true", help="print nothing of dumpcap and tshark")
    return parser.parse_args()


def main():
    capture = Capture(arguments())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, capture.stop)
    capture.run()


if __name__ == "__main__":
    main()
