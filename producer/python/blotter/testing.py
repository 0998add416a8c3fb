"""A recorder for tests of strategies: it needs no servers, and keeps records in memory as they would be stored.

    from blotter.testing import Recorder

    recorder = Recorder("binance", account="main")
    strategy = Strategy(producer=recorder)
    ...
    assert [row["status"] for row in recorder.orders] == ["open", "closed"]
"""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal

from blotter import _core
from blotter._producer import Producer
from blotter._values import Event, Stats

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
IDENTITY_TIMES = {"recorded_at"}


class Recorder(Producer):
    """A Producer that keeps its records. It takes account, strategy, on_error, info and slot_bytes as a Producer does, and refuses what a
    Producer refuses, also a record that is too long for a slot.

    `rows` has (kind, row) in the order of recording. A row is a dict as drivers return rows from PostgreSQL: Decimals, aware
    datetimes with microseconds, `extra` and `fees` as dicts. A field that was not given is None.
    """

    def __init__(
        self,
        exchange: str = "test",
        *,
        account: str | None = None,
        strategy: str | None = None,
        on_error: Literal["raise", "reject"] = "raise",
        info: bool = False,
        slot_bytes: int = 0,
    ) -> None:
        super().__init__(
            exchange, account=account, strategy=strategy, on_error=on_error, info=info, slot_bytes=slot_bytes, sender="memory"  # type: ignore[arg-type]
        )

    @property
    def rows(self) -> list[tuple[str, dict[str, Any]]]:
        return [(kind, _as_row(kind, fields)) for kind, fields in self._tape]

    def _rows_of(self, kind: str) -> list[dict[str, Any]]:
        return [_as_row(kind, fields) for found, fields in self._tape if found == kind]

    @property
    def orders(self) -> list[dict[str, Any]]:
        """The rows of order()."""
        return self._rows_of("order")

    @property
    def trades(self) -> list[dict[str, Any]]:
        """The rows of trade(), and the trades that were nested in orders."""
        return self._rows_of("trade")

    @property
    def cash_flows(self) -> list[dict[str, Any]]:
        """The rows of cash()."""
        return self._rows_of("cash")

    @property
    def balances(self) -> list[dict[str, Any]]:
        """The rows of balance()."""
        return self._rows_of("balance")

    @property
    def positions(self) -> list[dict[str, Any]]:
        """The rows of position()."""
        return self._rows_of("position")

    @property
    def instruments(self) -> list[dict[str, Any]]:
        """The rows of instrument()."""
        return self._rows_of("instrument")

    @property
    def rejects(self) -> list[dict[str, Any]]:
        """What could not be recorded, with on_error='reject': dicts of about, reason and object."""
        return [dict(fields) for kind, fields in self._tape if kind == "reject"]

    def clear(self) -> None:
        """Forget the records."""
        self._tape.clear()

    def stats(self) -> Stats:
        count = len(self._tape)
        zeros = dict.fromkeys(Stats._fields, 0) | {"last_error": "", "journal": ""}
        return Stats(**(zeros | {"accepted": count, "sent": count, "committed": count} | self._counters()))

    def flush(self, timeout: float | None = None, stage: Literal["sent", "committed"] = "committed") -> None:
        return None

    def events(self) -> list[Event]:
        return []

    def close(self, timeout: float | None = 5.0) -> int:
        return 0

    def _await(self, stage, seq):
        future = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


def _as_row(kind, fields):
    row = dict.fromkeys(_core.FIELDS[kind]) | fields if kind in _core.FIELDS else dict(fields)
    for name, holds in (_core.FIELDS.get(kind, {}) | dict.fromkeys(IDENTITY_TIMES, "time")).items():
        value = row.get(name)
        if value is not None and holds == "time":
            row[name] = EPOCH + timedelta(microseconds=value // 1000)
        elif value is not None and holds in ("json", "amounts"):
            row[name] = json.loads(value, parse_float=Decimal)
    return row
