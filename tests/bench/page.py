#!/usr/bin/env python3
"""Writes the figures of `make bench` into RESULTS.md: page.py BENCH_JSON; `make bench-page` calls it.

Each benchmark gets a table; one that has not been run is named as not measured.
"""

import json
import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

PAGE = Path(__file__).resolve().parent / "RESULTS.md"
BEGIN, END = "<!-- written by `make bench-page` -->", "<!-- end -->"
BENCHMARKS = {
    "submit": "Submitting from C, 20 fields: `hot` one after the other, `ms` one a millisecond with cold caches, `threads` four on one producer, `bound` with five members bound",
    "instructions": "Submitting an order of 22 fields from C, counted by callgrind, the same on every machine of one architecture",
    "idle": "Shares of a processor where little happens: a process with a producer that has nothing to send, with one that records two a second; "
    "Redis, and all drainers together, where four drainers have 1,000 streams and nothing is new",
    "python": "Submitting from Python; ratio: redis-py's XADD takes so many times as long",
    "send": "From the journal to Redis",
    "drain": "From Redis to PostgreSQL, a backlog, `orders` kept or off. `orders_off`, `orders_on`: no event is a fill, so that the books have nothing to do; `books`: one in four is; "
    "`fills_off`, `fills_on`: three of four are, which no venue sends and which has no target. `cpu` is the drainer's, beside that of COPY's client, and at most version 1's multiple of it",
    "drainers": "The same by several drainers",
    "takeover": "Streams of a killed drainer, until another loads them",
    "merge": "What a transaction of so many rows costs PostgreSQL",
    "latency": "From submitting to the visible row, one event in four a fill; `books`: every event a fill, to the fill in the books",
    "memory": "The drainer's memory",
    "mirror": "From Redis to QuestDB, a backlog, beside QuestDB's own client that sends the same rows",
}


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(": ", 1)[1]
    return platform.machine()


def commit():
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=PAGE.parent, capture_output=True, text=True)
    return done.stdout.strip() or "not known"


def number(value):
    """Three digits that count, with commas from a thousand on."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def row(figure):
    beside = ", ".join(f"{name} {number(value)}" for name, value in figure.get("beside", {}).items())
    ratio = f"{figure['ratio']:.2f}" if "ratio" in figure else ""
    target = ("reached" if figure["met"] else f"missed: {number(figure['target'])}") if "met" in figure else ""
    return f"| `{figure['name']}` | {number(figure['value'])} {figure['unit']} | {ratio} | {target} | {beside} |"


def tables(figures):
    for name, meaning in BENCHMARKS.items():
        yield f"\n### {name}\n\n{meaning}.\n"
        rows = [row(figure) for figure in figures if figure["name"].split(".")[0] == name]
        if rows:
            yield "| figure | measured | ratio | target | beside it, in the same run |\n|---|---|---|---|---|"
            yield from rows
        else:
            yield "Not measured."


def main():
    path = Path(sys.argv[1]) if len(sys.argv) == 2 else None
    if path is None:
        print(__doc__, file=sys.stderr)
        return 2
    figures = json.loads(path.read_text()) if path.exists() else []
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    where = f"{when}, commit {commit()}, {os.cpu_count()} processors ({processor()})" if figures else "Not measured yet"
    PAGE.write_text("\n".join([head + BEGIN, f"\n{where}.", *tables(figures), "", END + tail]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
