"""The classes that strategies use: those of blotter._core, and what belongs to asyncio."""

from __future__ import annotations

import asyncio
import weakref
from types import TracebackType
from typing import Any, Literal, Self, Unpack

from blotter import _core
from blotter._fields import OrderFields
from blotter._listening import Listener
from blotter._recording import Recording
from blotter._values import Event, Stats
from blotter._waiting import Waiter


class Producer(_core.Producer, Recording):
    """Records the orders, trades and cash flows of one exchange.

    exchange          name of the stream, of a-z 0-9 . _ - and at most 32 characters
    account, strategy constants of all records; an object's own value comes first
    on_error          'raise', or 'reject': what cannot be recorded goes to blotter.rejects and is counted, the call returns 0, and
                      recording never raises; what a full journal refuses is counted alone
    redis             URL: redis://[user:password@]host:port/db, rediss:// the same with TLS, its certificates by
                      ?cacert=FILE&cert=FILE&key=FILE, unix:///path; None: $BLOTTER_REDIS, else redis://127.0.0.1:6379
    redis_password    instead of the URL's; None: $BLOTTER_REDIS_PASSWORD, if set
    journal           a folder or a file, str or PathLike; None: /dev/shm/blotter-<uid>, which survives the process, not the
                      machine
    lane              a second stream of the exchange, blotter:<exchange>:<lane>
    slots, slot_bytes size of a new journal in records, a power of two, and bytes of a record, a multiple of 64; 0: 32768 and 1024
    info              keep ccxt's `info`, the exchange's own message, in `extra`; needs a larger slot_bytes, such as 8192
    sender            'thread': a native thread sends; 'none': `blotter ship` on this host does
    poll_interval_us  how often the thread looks for new records, microseconds; 0: the library's default
    wake              True: each record wakes the thread instead, by one system call
    sync              'interval': for a journal on disk, written through every sync_interval_ms milliseconds (0: 100)

    Opening adopts what a dead process left in the journal; it takes milliseconds and does not wait for Redis. Raises ValueError
    for an option that is not valid, OSError for a journal that is in use, damaged, or cannot be made.

    As a context manager (`with`, `async with`) it is closed at the end of the block. One that is never closed loses nothing: unsent
    records stay in the journal. Any thread may use it. It belongs to its process: open another after a fork.
    """

    @property
    def constants(self) -> dict[str, Any]:
        """The constants of all records: account and strategy, if they were given."""
        return self._defaults

    @property
    def _producer(self):
        return self

    def bind(self, **constants: Unpack[OrderFields]) -> Book:
        """Return a Book, which records with these constants: account, strategy, symbol, market_type, side ...

        They are checked and encoded once, so that recording takes less time. An object's own value, or a keyword of the call, comes
        first where it differs.
        """
        return Book(self, dict(constants))

    def stats(self) -> Stats:
        """Return counters and states. Cheap. Raises RuntimeError once closed."""
        counters = self._stats()  # a newer library may have more
        return Stats(**{name: counters[name] for name in Stats._fields})

    def events(self) -> list[Event]:
        """Return the events that events() has not returned yet, oldest first; often an empty list.

        For loops that look now and then; a coroutine awaits them with listen(). The newest 64 are kept, also after close(). Cheap, and
        never waits. Raises RuntimeError in a forked child, and with sender='none', where `blotter ship` logs them.
        """
        return [Event(*event) for event in self._events()]

    def committed(self, seq: int | None = None) -> asyncio.Future[None]:
        """Return a future of the running loop, done when the record seq and all before it are committed in PostgreSQL.

        Committed is stored, there already, or set aside in blotter.rejects with the reason. None: everything recorded so far.
        A seq that is not recorded yet is waited for. Await it with asyncio.wait_for to give up; the record stays in the journal then. Its
        exception is RuntimeError where the producer is closed meanwhile. Raises RuntimeError at once if the producer is closed, in a forked
        child, and with sender='none'.
        """
        return self._await(_core.COMMITTED, seq)

    def sent(self, seq: int | None = None) -> asyncio.Future[None]:
        """The same for Redis: done when it has answered for the record seq and all before it."""
        return self._await(_core.SENT, seq)

    def listen(self) -> Listener:
        """Return an asynchronous iterator over this producer's events:

            async for event in producer.listen():
                logging.log(event.level, "%s %s", event.name, event.text)

        It begins with earlier events that are kept, at most 64, and ends when the producer is closed. It belongs to the running loop;
        several listeners each get all events. It needs no thread, and the sender waits for nobody: a listener that is 64 events late
        misses the oldest, which the next one's `missed` counts. Cancelling loses none. Raises RuntimeError without a running loop, in
        a forked child, and with sender='none', where `blotter ship` logs them.
        """
        return Listener(self)

    async def flushed(self, timeout: float | None = None, stage: Literal["sent", "committed"] = "committed") -> None:
        """Wait as flush() does, without blocking the loop: until all that is recorded, and all that the journal held before, is
        'committed' or 'sent'. Raises TimeoutError after timeout seconds; the records stay in the journal then."""
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        pause = 0.001
        while True:
            try:
                return self.flush(0, stage)
            except TimeoutError:
                if deadline is not None and asyncio.get_running_loop().time() >= deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    async def aclose(self, timeout: float | None = 5.0) -> int:
        """Close as close() does, without blocking the loop; return how many records are unsent."""
        return await asyncio.to_thread(self.close, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _await(self, stage, seq):
        loop = asyncio.get_running_loop()
        if seq is None:
            seq = self.stats().accepted
        future = loop.create_future()
        if self._reached(stage, seq):
            future.set_result(None)
        else:
            self._waiter(loop).add(stage, seq, future)
        return future

    def _waiter(self, loop):
        """The loop's own: loops run in threads of their own, so no two of them share one. It lives while its futures wait."""
        waiters = self.__dict__.setdefault("_waiters", weakref.WeakKeyDictionary())
        reference = waiters.get(loop)
        waiter = reference() if reference else None
        if waiter is None or waiter.is_closed():
            waiter = Waiter(weakref.proxy(self), loop)
            waiters[loop] = weakref.ref(waiter)
        return waiter


class Book(_core.Book, Recording):
    """Records with constants: what Producer.bind() returns. It has the producer's calls that record, and bind() to add constants."""

    constants: dict[str, Any]
    exchange: str

    def __init__(self, producer: Producer, constants: dict[str, Any]) -> None:
        constants = producer.constants | {name: value for name, value in constants.items() if value is not None}
        super().__init__(producer, constants)
        self.constants = constants
        self.exchange = producer.exchange

    @property
    def _producer(self):
        return self.producer

    def bind(self, **constants: Unpack[OrderFields]) -> Book:
        """Return a Book with these constants beside its own."""
        return Book(self.producer, self.constants | dict(constants))
