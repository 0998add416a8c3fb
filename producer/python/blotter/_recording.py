"""The calls that record, which a producer and a binding of it have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from blotter import _core
from blotter._fields import BalanceFields, CashFields, InstrumentFields, PositionFields


class Recording:
    """Needs what the C part of the producer, or of the binding, has."""

    exchange: str
    constants: dict[str, Any]

    def cash(self, info: Mapping[str, Any] | None = None, /, **fields: Unpack[CashFields]) -> int:
        """Record one cash flow that is not a fill; return its sequence number.

        info is a ledger entry, funding payment, transfer, deposit or withdrawal of ccxt's, or a mapping with our names (CashFields).
        The amount is recorded with its sign: + into the account, - out of it. currency and amount are required.
        """
        return self._record_object("cash", info, fields, 0)

    def balance(self, info: Mapping[str, Any] | None = None, /, **fields: Unpack[BalanceFields]) -> int:
        """Record what an account holds, a record for each currency; return the sequence number of the first.

        info is what ccxt's fetch_balance() returns. Currencies of which there is nothing are left out. Name the wallet by
        market_type=, as ccxt does not say which it is. Either all records are accepted or none.
        """
        return self._record_object("balance", info, fields, 0)

    def position(
        self, info: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None, /, **fields: Unpack[PositionFields]
    ) -> int:
        """Record what the venue says a position is; return its sequence number.

        info is one of ccxt's positions, or the list that fetch_positions() returns: then all are accepted or none, with one time of
        the snapshot, and the first's number is returned (0 for an empty list). quantity is in contracts, negative for short.
        """
        return 0 if isinstance(info, (list, tuple)) and not info else self._record_object("position", info, fields, 0)

    def instrument(
        self, info: Mapping[str, Any] | None = None, /, *, precision_mode: int | None = None, **fields: Unpack[InstrumentFields]
    ) -> int:
        """Record what a symbol means; return its sequence number.

        info is one of ccxt's markets. Pass precision_mode=exchange.precisionMode: only then is it known whether ccxt's precision is a
        step or a number of digits.
        """
        return self._record_object("instrument", info, fields, precision_mode or 0)

    def _reject_call(self, kind, info, fields, problem):
        """Records in blotter.rejects what could not be recorded. Never raises."""
        try:
            text = _core.json_text({"info": info, "fields": fields})
        except Exception:
            text = "{}"
        reason = f"{type(problem).__name__}: {problem}"
        return self._producer._reject(kind, reason.encode("utf-8", "replace").decode()[:500].replace("\0", " "), text)

