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
        return self._record("cash", info, fields)

    def balance(self, info: Mapping[str, Any] | None = None, /, **fields: Unpack[BalanceFields]) -> int:
        """Record what an account holds, a record for each currency; return the sequence number of the first.

        info is what ccxt's fetch_balance() returns. Currencies of which there is nothing are left out. Name the wallet by
        market_type=, as ccxt does not say which it is. Either all records are accepted or none.
        """
        return self._record("balance", info, fields)

    def position(
        self, info: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None, /, **fields: Unpack[PositionFields]
    ) -> int:
        """Record what the venue says a position is; return its sequence number.

        info is one of ccxt's positions, or the list that fetch_positions() returns: then all are accepted or none, with one time of
        the snapshot, and the first's number is returned (0 for an empty list). quantity is in contracts, negative for short.
        """
        return 0 if isinstance(info, (list, tuple)) and not info else self._record("position", info, fields)

    def instrument(
        self, info: Mapping[str, Any] | None = None, /, *, precision_mode: int | None = None, **fields: Unpack[InstrumentFields]
    ) -> int:
        """Record what a symbol means; return its sequence number.

        info is one of ccxt's markets. Pass precision_mode=exchange.precisionMode: only then is it known whether ccxt's precision is a
        step or a number of digits.
        """
        return self._record("instrument", info, fields, precision_mode or 0)

    def _record(self, kind, info, fields, precision_mode=0):
        try:
            for name in fields:
                if name not in _KNOWN[kind]:
                    raise TypeError(f"{kind}() has no field {name!r}")
            if not isinstance(info, (list, tuple)):
                info = self._check(kind, {} if info is None else info)
            elif kind == "position":
                info = [self._check(kind, item, f"[{index}]: ") for index, item in enumerate(info)]
            else:
                raise TypeError(f"{kind}() takes one mapping, not a list")
            return self._record_object(kind, info, fields, precision_mode)
        except Exception as problem:
            return self._refuse(kind, info, fields, problem)

    def _check(self, kind, info, place=""):
        """A dict of the object, unless it is an object of another kind. place: of the object in its list, for messages."""
        if not hasattr(info, "keys"):
            raise TypeError(f"{place}{info!r:.100}: a mapping is wanted, not {type(info).__name__}")
        info = dict(info)
        veto = None if _OWN_IDS.intersection(info) else _core.veto(kind, info)
        if veto:
            raise ValueError(f"{place}this is {veto}")
        return info

    def _record_odd(self, kind, info, fields):
        """Takes an order or trade that has nested trades, or fees of several currencies. Keywords of such are part of the object."""
        try:
            shaped = {name: value for name, value in fields.items() if name in _SHAPED}
            others = {name: value for name, value in fields.items() if name not in _SHAPED}
            return self._record_object(kind, self._check(kind, info or {}) | shaped, others, 0)
        except Exception as problem:
            return self._refuse(kind, info, fields, problem)

    def _refuse(self, kind, info, fields, problem):
        if isinstance(problem, _core.Full):  # counted; a reject would find no room
            if self._producer._rejects:
                return 0
            raise problem
        if not self._producer._rejects:
            self._producer._count_refused()
            raise problem
        return self._reject_call(kind, info, fields, problem)

    def _reject_call(self, kind, info, fields, problem):
        """Records in blotter.rejects what could not be recorded. Never raises."""
        try:
            text = _core.json_text({"info": info, "fields": fields})
        except Exception:
            text = "{}"
        reason = f"{type(problem).__name__}: {problem}"
        return self._producer._reject(kind, reason.encode("utf-8", "replace").decode()[:500].replace("\0", " "), text)


_KNOWN = {kind: {*names, *_core.CCXT_NAMES[kind]} for kind, names in _core.FIELDS.items()}
_SHAPED = {"fee", "fees", "trades", "amount", "side"}  # keywords that are taken together with the object's keys
_OWN_IDS = {"order_id", "client_order_id", "trade_id", "entry_id"}
