"""Rows of PostgreSQL as a data frame, for analysis: of pandas or polars, whichever is installed."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

Decimals = Literal["keep", "float"]
Library = Literal["pandas", "polars"]


def frame(
    connection: Any,
    query: str,
    parameters: Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    library: Library | None = None,
    decimals: Decimals = "keep",
) -> Any:
    """The rows of a query, or of a table or view of schema blotter (`"fills"`), as a data frame.

    connection: of psycopg2 or psycopg. library: "pandas" or "polars"; without it the one that is installed, pandas first. decimals: "keep" leaves
    every digit (Decimal objects in pandas, a decimal column in polars, which takes 38 digits), "float" makes them doubles, which is faster and
    rounds. Times are UTC.

        fills = blotter.frame(connection, "SELECT * FROM blotter.fills WHERE at >= now() - interval '1 day'")
    """
    if decimals not in ("keep", "float"):
        raise ValueError(f'decimals: "keep" or "float", not {decimals!r}')
    make = {"pandas": _pandas_frame, "polars": _polars_frame}[library or _installed()]
    with connection.cursor() as cursor:
        cursor.execute(_query_of(query), parameters)
        names = [column[0] for column in cursor.description]
        rows = cursor.fetchall()
    columns = {name: [row[at] for row in rows] for at, name in enumerate(names)}
    if len(columns) != len(names):
        raise ValueError("two columns have the same name: give each its own with AS")
    if decimals == "float":
        columns = {name: [float(v) if isinstance(v, Decimal) else v for v in values] for name, values in columns.items()}
    return make(columns)


def _query_of(query: str) -> str:
    return f"SELECT * FROM blotter.{query}" if re.fullmatch(r"[a-z_]+", query) else query


def _installed() -> Library:
    for library in ("pandas", "polars"):
        if importlib.util.find_spec(library) is not None:
            return library  # type: ignore[return-value]
    raise ImportError("neither pandas nor polars is installed")


def _pandas_frame(columns: dict[str, list[Any]]) -> Any:
    import pandas

    made = pandas.DataFrame({name: pandas.Series(values, dtype="object" if _has(values, Decimal) else None) for name, values in columns.items()})
    for name, values in columns.items():
        if any(getattr(value, "tzinfo", None) is not None for value in values):
            made[name] = pandas.to_datetime(made[name], utc=True)
    return made


def _polars_frame(columns: dict[str, list[Any]]) -> Any:
    import polars

    def series(name: str, values: list[Any]) -> Any:
        if _has(values, (dict, list)):  # jsonb, arrays
            values = [None if value is None else json.dumps(value, default=str) for value in values]
        if _has(values, Decimal):
            digits = [value.as_tuple() for value in values if value is not None]
            scale = max([0] + [-parts.exponent for parts in digits])
            if any(len(parts.digits) + scale + parts.exponent > 38 for parts in digits):
                raise ValueError(f'column {name}: more than the 38 digits of a decimal of polars: round it, or take decimals="float"')
            return polars.Series(name, values, dtype=polars.Decimal(38, scale))
        return polars.Series(name, values)

    return polars.DataFrame([series(name, values) for name, values in columns.items()])


def _has(values: list[Any], kind: Any) -> bool:
    return any(isinstance(value, kind) for value in values)
