"""What does saving orders cost a strategy? The experiment: for each way of saving, how long a process takes that listens to N exchanges
and saves half of what it hears, what a call of the writer takes, and how late a message is dealt with.

    make experiment                              N = 5 and N = 100, every writer
    make experiment EXPERIMENT='--exchanges 5 --writers none,blotter --runs 5'

Prints a table, and writes build/experiment.json and build/experiment.png. Medians of the runs; writers take turns, so that a
noisy moment of the machine does not hit one of them alone. Redis, PostgreSQL and the drainer have the last processor for themselves, as
they would be on another machine; exchanges, strategies and `blotter ship` have the others.
"""

import argparse
import itertools
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent / "python"), str(HERE)]

import engines  # noqa: E402
import questdb_server  # noqa: E402
import support  # noqa: E402
import writers  # noqa: E402

CLIENTS = support.TREE / "build/questdb-client"  # pip install --target build/questdb-client questdb
CAPTURE = support.TREE / "deploy/capture/capture.py"
MAPPING = """
def records(message, outgoing):
    if not outgoing and message != "done":
        exchange, number, _ = message.split(":")
        yield "order", {"order_id": number, "symbol": "BTC/USDT", "strategy": exchange, "status": "open"}
"""


class Exchanges:
    """The simulated exchanges' process."""

    def __init__(self, count, messages, certificates):
        self.process = subprocess.Popen(
            [sys.executable, HERE / "exchange.py", str(count), str(messages), str(certificates)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        ports = json.loads(self.process.stdout.readline())
        self.ports, self.tls_ports = ports[:count], ports[count:]

    def close(self):
        self.process.communicate()


class Others:
    """QuestDB's server and a certificate for wss://, which some writers need."""

    def __init__(self):
        self.running = engines.Engines()
        self.folder = self.running.folder()
        self._lanes = itertools.count(1)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.folder / "key.pem", "-out",
             self.folder / "certificate.pem", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
            check=True, capture_output=True,
        )  # fmt: skip
        (self.folder / "keys.log").touch()
        (self.folder / "mapping.py").write_text(MAPPING)
        os.environ["EXPERIMENT_CAPTURE"] = str(self.folder)

    def start_questdb(self):
        os.environ["EXPERIMENT_QUESTDB"] = questdb_server.Questdb(self.running, fast=True).conf

    def start_mirror(self, program):
        mirror = self.running.start("mirror", program, "mirror", "--questdb", os.environ["EXPERIMENT_QUESTDB"])
        engines.await_true(lambda: "connected to http" in mirror.text(), "the mirror is ready")
        return mirror

    def start_capture(self, ports):
        """Under another exchange's name each time, so that its rows can be told."""
        os.environ["EXPERIMENT_LANE"] = exchange = f"tapped{next(self._lanes)}"
        capture = self.running.start(
            "capture", sys.executable, CAPTURE, "--exchange", exchange, "--mapping", self.folder / "mapping.py", "--interface", "lo", "--keys",
            self.folder / "keys.log", "--journal", self.running.folder(), "--port", *map(str, ports), PYTHONPATH=str(support.PACKAGE),
        )  # fmt: skip
        engines.await_true(lambda: "Capture started" in capture.text() or "Capturing on" in capture.text(), "dumpcap listens")
        return capture

    def close(self):
        self.running.close()


def needs_questdb(name):
    return name.startswith("questdb") or name == "blotter_mirror"


def missing_for(name):
    """What a writer needs that is not here; None: nothing."""
    if needs_questdb(name):
        if not shutil.which("java") or questdb_server.jar() is None:
            return "Java, or QuestDB's server (tests/fetch_questdb.sh)"
        return None if name == "blotter_mirror" or CLIENTS.is_dir() else f"QuestDB's client (pip install --target {CLIENTS.relative_to(support.TREE)} questdb)"
    if name == "captured":
        dumpcap = shutil.which("dumpcap")
        if not dumpcap or subprocess.run([dumpcap, "-q", "-i", "lo", "-a", "duration:1", "-w", "-"], capture_output=True).returncode != 0:
            return "tshark, or the right to read packets"
    return None


def run_client(writer, ports, servers):
    """One run of one writer, in a process and a folder of its own; a journal's folder is what ship looks through."""
    folder = servers.journal("ship" if writer == "blotter_ship" else "other")
    with tempfile.TemporaryDirectory(dir=servers.folder / "python") as other:
        place = folder if writer.startswith("blotter") else Path(other)
        environment = os.environ | {"PYTHONPATH": f"{support.PACKAGE}:{CLIENTS}", "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, HERE / "client.py", writer, str(place), *map(str, ports)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def median(runs):
    """Of dicts of numbers: the median of each."""
    first = runs[0]
    if isinstance(first, dict):
        return {name: median([run[name] for run in runs]) for name in first}
    return statistics.median(runs) if isinstance(first, (int, float)) else first


def measure(names, exchanges, messages, runs, servers, others):
    results = {name: [] for name in names}
    feed = Exchanges(exchanges, messages, others.folder)
    try:
        for run in range(runs):
            for name in names:
                print(f"N = {exchanges}, run {run + 1} of {runs}: {name} ...", file=sys.stderr, flush=True)
                if name == "captured":
                    capture = others.start_capture(feed.tls_ports)
                    results[name].append(run_client(name, feed.tls_ports, servers))
                    capture.stop()
                elif name == "blotter_mirror":
                    mirror = others.start_mirror(servers.program)
                    results[name].append(run_client(name, feed.ports, servers))
                    mirror.stop()
                else:
                    results[name].append(run_client(name, feed.ports, servers))
    finally:
        feed.close()
    return [median(of_one) | {"exchanges": exchanges, "all_seconds": [run["seconds"] for run in of_one]} for of_one in results.values()]


# --- what is told ---


def duration(ns):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns"


def four(figures):
    return " / ".join(duration(figures[name]) for name in ("p50", "p99", "p999", "max")) if figures else "-"


def row(result):
    stored = "-" if result["rows"] is None else f"{result['rows']:.0f} of {result['expected']:.0f}"
    cells = (result["title"], f"{result['seconds']:.2f} s", four(result["save_ns"]), four(result["delay_ns"]), f"{result['cpu_s']:.2f} s", f"{result['idle_share']:.1%}", stored)
    return "| " + " | ".join(cells) + " |"


def print_table(results):
    exchanges = results[0]["exchanges"]
    print(f"\n{exchanges} exchanges, {results[0]['messages']:.0f} messages, half of them saved\n")
    print("| writer | time | save: p50 / p99 / p99.9 / max | delay: p50 / p99 / p99.9 / max | CPU | idle | rows |")
    print("|---|---|---|---|---|---|---|")
    for result in results:
        print(row(result))
    print_visible(results)
    compare(results)


def compare(results):
    """Blotter beside no writer, and no writer beside itself."""
    by_name = {result["writer"]: result for result in results}
    if "none" not in by_name:
        return
    none = by_name["none"]
    noise = max(none["all_seconds"]) - min(none["all_seconds"])
    print(f"\nno writer against itself: {min(none['all_seconds']):.3f} to {max(none['all_seconds']):.3f} s")
    for name in ("blotter", "blotter_slow", "blotter_ship"):
        if name in by_name:
            result = by_name[name]
            allowed = result["saves"] * result["save_ns"]["p50"] / 1e9 + noise
            more = result["seconds"] - none["seconds"]
            print(f"{result['title']}: {result['seconds'] / none['seconds']:.4f} x no writer; {more * 1e3:+.1f} ms, saves x p50 and noise: {allowed * 1e3:.1f} ms")


def print_visible(results):
    for result in results:
        if result.get("visible_ns"):
            print(f"{result['title']}: a row is stored {duration(result['visible_ns']['p50'])} / {duration(result['visible_ns']['p99'])} (p50 / p99) after its message passed")


def plot(all_results, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(all_results), 3, figsize=(15, 4.2 * len(all_results)), squeeze=False)
    for line, results in zip(axes, all_results):
        titles = [result["title"] for result in results][::-1]
        colours = ["tab:green" if result["writer"].startswith("blotter") else "tab:grey" for result in results][::-1]
        line[0].barh(titles, [result["seconds"] for result in results][::-1], color=colours)
        line[0].set_title(f"{results[0]['exchanges']} exchanges: time to finish, s")
        for axis, key, title in ((line[1], "save_ns", "a save, p50 to p99, µs"), (line[2], "delay_ns", "delay of a message, p50 to p99, µs")):
            low = [max(result[key].get("p50", 1), 1) / 1e3 for result in results][::-1]
            high = [max(result[key].get("p99", 1), 1) / 1e3 for result in results][::-1]
            axis.barh(titles, [b - a for a, b in zip(low, high)], left=low, color=colours)
            axis.plot(low, titles, "k|")
            axis.set_xscale("log")
            axis.set_title(title)
            axis.set_yticklabels([])
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exchanges", default="5,100", help="how many; several, separated by commas (5,100)")
    parser.add_argument("--messages", type=int, default=1000, help="of each exchange (1000)")
    parser.add_argument("--runs", type=int, default=3, help="of each writer; medians are told (3)")
    parser.add_argument("--writers", default=",".join(writers.WRITERS), help="some of: %(default)s")
    parser.add_argument("--idle", type=float, default=1, help="seconds that each strategy is connected before messages come, to see what it costs then (1)")
    parser.add_argument("--no-plot", action="store_true", help="write no picture")
    given = parser.parse_args()
    given.writers = given.writers.split(",")
    for name in given.writers:
        if name not in writers.WRITERS:
            parser.error(f"--writers: there is no {name}; there are {', '.join(writers.WRITERS)}")
    return given


def leave_out_missing(names):
    kept = []
    for name in names:
        missing = missing_for(name)
        if missing:
            print(f"not measured: {name}: it needs {missing}", file=sys.stderr)
        else:
            kept.append(name)
    return kept


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped
    given = arguments()
    given.writers = leave_out_missing(given.writers)
    os.environ["EXPERIMENT_IDLE"] = str(given.idle)
    here = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, here[-1:])
    servers, others = support.Servers(), Others()
    try:
        servers.drain()
        if any(needs_questdb(name) for name in given.writers):
            others.start_questdb()
        os.sched_setaffinity(0, here[:-1] or here)
        servers.start(servers.program, "ship", "--journal", str(servers.journal("ship")), stderr=subprocess.DEVNULL)
        counts = [int(count) for count in given.exchanges.split(",")]
        results = [measure(given.writers, count, given.messages, given.runs, servers, others) for count in counts]
    finally:
        others.close()
        servers.close()
    for of_count in results:
        print_table(of_count)
    machine = f"{os.cpu_count()} processors, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    print(f"\n{machine}")
    support.BUILD.mkdir(exist_ok=True)
    (support.BUILD / "experiment.json").write_text(json.dumps({"machine": machine, "results": results}, indent=1))
    if not given.no_plot:
        plot(results, support.BUILD / "experiment.png")
    print(f"written: {support.BUILD}/experiment.json" + ("" if given.no_plot else f", {support.BUILD}/experiment.png"))
    lost = [result for of_count in results for result in of_count if result["rows"] is not None and result["rows"] != result["expected"]]
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
