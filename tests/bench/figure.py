"""Figures, each beside its limit or rival of the same run, as tests/fixture/figure.h has them for the benchmarks in C."""

import json
import os


def heading(text):
    print(f"\n{text}", flush=True)


def note(text):
    print(f"    {text}", flush=True)


def setting(name, otherwise):
    """A number that the caller of `make bench` may set."""
    return int(os.environ.get(name) or otherwise)


def number(value):
    """Three digits that count, whole numbers from a hundred on."""
    size = abs(value)
    places = 0 if size >= 100 or size == 0 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:.{places}f}"


def percentile(values, percent):
    """Of sorted values (nearest rank)."""
    rank = -(-len(values) * percent // 100)
    return values[max(0, int(rank) - 1)]


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def add(name, value, unit, beside=None, at_most=None, ratio=None, at_least=None):
    """A line of the table, and of JSON where $BLOTTER_BENCH_JSON names a file. at_most bounds the value, at_least the ratio."""
    beside = beside or {}
    met = value <= at_most if at_most is not None else at_least is not None and ratio >= at_least
    bound = f"<= {number(at_most)}" if at_most is not None else f">= {at_least:g} x" if at_least is not None else ""
    target = bound and f"{bound}: {'reached' if met else 'MISSED'}"
    times = "" if ratio is None else f"{ratio:.2f} x"
    others = ", ".join(f"{other} {number(its)}" for other, its in beside.items())
    print(f"  {name:<30} {number(value):>12} {unit:<7} {times:<8} {target:<18} {others and ' beside ' + others}", flush=True)
    path = os.environ.get("BLOTTER_BENCH_JSON")
    if not path:
        return
    figure = {"name": name, "value": float(number(value)), "unit": unit}
    if beside:
        figure["beside"] = {other: float(number(its)) for other, its in beside.items()}
    if ratio is not None:
        figure["ratio"] = round(ratio, 3)
    if target:
        figure |= {"target": float(number(at_most)) if at_most is not None else at_least, "met": met}
    with open(path, "a") as file:
        file.write(json.dumps(figure) + "\n")
