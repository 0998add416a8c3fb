from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from os import PathLike
from types import TracebackType
from typing import Any, Final, Literal, Self, final

_Text = str | int | None
_Decimal = str | int | float | Decimal | None
_Time = int | str | datetime | None

__version__: Final[str]
ORDER_FIELDS: Final[tuple[str, ...]]
TRADE_FIELDS: Final[tuple[str, ...]]
SENT: Final[int]
COMMITTED: Final[int]

class Full(BufferError): ...

@final
class Stats(tuple[Any, ...]):
    @property
    def producer_id(self) -> int: ...
    @property
    def accepted(self) -> int: ...
    @property
    def sent(self) -> int: ...
    @property
    def committed(self) -> int: ...
    @property
    def held(self) -> int: ...
    @property
    def slots(self) -> int: ...
    @property
    def full(self) -> int: ...
    @property
    def invalid(self) -> int: ...
    @property
    def resent(self) -> int: ...
    @property
    def evicted(self) -> int: ...
    @property
    def connects(self) -> int: ...
    @property
    def errors(self) -> int: ...
    @property
    def redis_up(self) -> int: ...
    @property
    def last_error_at_ns(self) -> int: ...
    @property
    def last_error(self) -> str: ...
    @property
    def journal(self) -> str: ...
    @property
    def submit_p50_ns(self) -> int: ...
    @property
    def submit_p99_ns(self) -> int: ...
    @property
    def submit_to_sent_p50_ns(self) -> int: ...
    @property
    def submit_to_sent_p99_ns(self) -> int: ...

@final
class Event(tuple[Any, ...]):
    @property
    def name(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def at_ns(self) -> int: ...
    @property
    def missed(self) -> int: ...

@final
class _Wakeup:
    @property
    def fd(self) -> int: ...
    def reset(self) -> bool: ...
    def heard(self) -> list[Event] | None: ...

class Producer:
    def __init__(
        self,
        exchange: str,
        *,
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
    def exchange(self) -> str: ...
    @property
    def closed(self) -> bool: ...
    def order(
        self,
        info: Mapping[str, Any] | None = None,
        /,
        *,
        exchange_time: _Time = None,
        account: _Text = None,
        strategy: _Text = None,
        symbol: _Text = None,
        market_type: _Text = None,
        order_id: _Text = None,
        client_order_id: _Text = None,
        orig_client_order_id: _Text = None,
        trade_id: _Text = None,
        event: _Text = None,
        side: _Text = None,
        position_side: _Text = None,
        type: _Text = None,
        time_in_force: _Text = None,
        status: _Text = None,
        price: _Decimal = None,
        trigger_price: _Decimal = None,
        quantity: _Decimal = None,
        filled_quantity: _Decimal = None,
        remaining_quantity: _Decimal = None,
        average_price: _Decimal = None,
        last_price: _Decimal = None,
        last_quantity: _Decimal = None,
        cost: _Decimal = None,
        fee: _Decimal | Mapping[str, Any] = None,
        fee_currency: _Text = None,
        liquidity: _Text = None,
        realized_pnl: _Decimal = None,
        post_only: bool | None = None,
        reduce_only: bool | None = None,
        reason: _Text = None,
        extra: Mapping[str, Any] | str | None = None,
        **others: Any,
    ) -> int: ...
    def trade(
        self,
        info: Mapping[str, Any] | None = None,
        /,
        *,
        exchange_time: _Time = None,
        account: _Text = None,
        strategy: _Text = None,
        symbol: _Text = None,
        market_type: _Text = None,
        order_id: _Text = None,
        client_order_id: _Text = None,
        trade_id: _Text = None,
        side: _Text = None,
        position_side: _Text = None,
        price: _Decimal = None,
        quantity: _Decimal = None,
        cost: _Decimal = None,
        fee: _Decimal | Mapping[str, Any] = None,
        fee_currency: _Text = None,
        liquidity: _Text = None,
        realized_pnl: _Decimal = None,
        extra: Mapping[str, Any] | str | None = None,
        **others: Any,
    ) -> int: ...
    def flush(self, timeout: float | None = None, stage: Literal["sent", "committed"] = "committed") -> None: ...
    def stats(self) -> Stats: ...
    def events(self) -> list[Event]: ...
    def close(self, timeout: float | None = 5.0) -> int: ...
    def _reached(self, stage: int, seq: int, /) -> bool: ...
    def _notify(self, fd: int, stage: int, seq: int, /) -> None: ...
    def _wakeup(self, listens: bool, /) -> _Wakeup: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
