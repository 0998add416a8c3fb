from collections.abc import Mapping
from os import PathLike
from types import TracebackType
from typing import Any, Final, Literal, Self, Unpack, final

from blotter._fields import OrderFields, TradeFields

__version__: Final[str]
FIELDS: Final[dict[str, dict[str, str]]]
"By kind of record, the names of its fields and what they hold: text, decimal, time, bool, amounts or json."
CCXT_NAMES: Final[dict[str, dict[str, str]]]
SENT: Final[int]
COMMITTED: Final[int]

class Full(BufferError):
    """The journal is full: nothing was recorded, and it is counted in stats().full.

    Sending, or loading, has been down for longer than the journal holds. The strategy decides: go on without a record, or stop trading.
    """

@final
class Wakeup:
    @property
    def fd(self) -> int: ...
    def reset(self) -> bool: ...
    def heard(self) -> list[tuple[str, str, int, int]] | None: ...

class Producer:
    def __init__(
        self,
        exchange: str,
        *,
        account: str | None = None,
        strategy: str | None = None,
        on_error: Literal["raise", "reject"] = "raise",
        redis: str | None = None,
        journal: str | bytes | PathLike[str] | PathLike[bytes] | None = None,
        lane: str | None = None,
        sender: Literal["thread", "none"] = "thread",
        slots: int = 0,
        slot_bytes: int = 0,
        info: bool = False,
        wake: bool = False,
        sync: Literal["none", "interval"] = "none",
        redis_password: str | None = None,
        poll_interval_us: int = 0,
        sync_interval_ms: int = 0,
    ) -> None: ...
    @property
    def exchange(self) -> str:
        """The exchange, as given."""
    @property
    def closed(self) -> bool:
        """Whether close() was called."""
    def order(self, info: Mapping[str, Any] | None = None, /, **fields: Unpack[OrderFields]) -> int:
        """Record one state change of an order; return its sequence number, 1 or more.

        info is a ccxt order, or a mapping with Blotter's field names (OrderFields), or both at once; keywords come on top and win. A value
        may be str, int, float, Decimal, bool, an aware datetime, or None, which means absent. Decimals keep every digit; a float is stored
        in its shortest form. exchange_time is in nanoseconds since 1970, ccxt's timestamp in milliseconds. Trades that are nested in a ccxt
        order become records of their own: all are accepted or none, and the order's number is returned. Keys that have no field go to
        `extra`; ccxt's `info` only where the producer was opened with info=True. A value that its field cannot take is kept in `extra` and
        counted in stats().misplaced.

        Never waits, whatever is down. Raises blotter.Full when the journal is full; ValueError or TypeError for a record without an order
        id, an object of another kind, or an unknown keyword; RuntimeError once closed, and in a forked child. Then nothing is recorded.
        With on_error='reject' it never raises and returns 0: what cannot be recorded goes to blotter.rejects; what a full
        journal refuses is counted in stats().full, and there is an event.
        """
    def trade(self, info: Mapping[str, Any] | None = None, /, **fields: Unpack[TradeFields]) -> int:
        """Record one execution, your own or a public trade; return its sequence number, 1 or more.

        As order(), with TradeFields or a ccxt trade. symbol, price and quantity (amount) are required. A trade counts as your own if it
        names an order, an account or a strategy.
        """
    def flush(self, timeout: float | None = None, stage: Literal["sent", "committed"] = "committed") -> None:
        """Wait until everything recorded so far, and everything that the journal held before, is 'committed' in PostgreSQL, or 'sent' to
        Redis.

        timeout is in seconds, None: for ever. Raises TimeoutError, and the records stay in the journal; RuntimeError once closed, in a
        forked child, and with sender='none'. In a coroutine: await flushed().
        """
    def close(self, timeout: float | None = 5.0) -> int:
        """Send what can be sent within timeout seconds (None: all of it), and stop. Return how many records stay in the journal unsent: the
        next Producer of this exchange on this machine, or `blotter ship`, sends them.

        Closing again does nothing. In a coroutine: await aclose().
        """
    @property
    def _defaults(self) -> dict[str, Any]: ...
    @property
    def _tape(self) -> list[tuple[str, dict[str, Any]]]: ...
    def _stats(self) -> dict[str, Any]: ...
    def _counters(self) -> dict[str, int]: ...
    def _events(self) -> list[tuple[str, str, int, int]]: ...
    def _record_object(self, kind: str, info: Any, fields: dict[str, Any], precision_mode: int, /) -> int: ...
    def _reject(self, about: str, reason: str, object: str, /) -> int: ...
    def _reached(self, stage: int, seq: int, /) -> bool: ...
    def _notify(self, fd: int, stage: int, seq: int, /) -> None: ...
    def _wakeup(self, listens: bool, /) -> Wakeup: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

class Book:
    def __init__(self, producer: Producer, constants: dict[str, Any]) -> None: ...
    @property
    def producer(self) -> Producer:
        """The producer it records with."""
    def order(self, info: Mapping[str, Any] | None = None, /, **fields: Unpack[OrderFields]) -> int:
        """Record one state change of an order, as Producer.order() does, with this binding's constants."""
    def trade(self, info: Mapping[str, Any] | None = None, /, **fields: Unpack[TradeFields]) -> int:
        """Record one execution, as Producer.trade() does, with this binding's constants."""
    def _record_object(self, kind: str, info: Any, fields: dict[str, Any], precision_mode: int, /) -> int: ...

def json_text(value: Mapping[str, Any], /) -> str: ...
