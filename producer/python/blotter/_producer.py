"""The class that strategies use: blotter._core's, and what belongs to asyncio."""

import asyncio
import weakref

from blotter import _core
from blotter._waiting import Waiter
from blotter._watching import Watch


class Producer(_core.Producer):
    """Records the orders and trades of one exchange.

    exchange          name of the stream, of a-z 0-9 . _ - and at most 32 characters
    redis             URL: redis://[user:password@]host:port/db, rediss:// the same with TLS, its certificates by
                      ?cacert=FILE&cert=FILE&key=FILE, unix:///path; None: $BLOTTER_REDIS, else redis://127.0.0.1:6379
    redis_password    instead of the URL's; None: $BLOTTER_REDIS_PASSWORD, if set
    journal           a folder or a file, str or PathLike; None: /dev/shm/blotter-<uid>, which survives the process, not the
                      machine
    lane              a stream of its own beside the exchange's, blotter:<exchange>:<lane>
    slots, slot_bytes size of a new journal in records, a power of two, and bytes of a record, a multiple of 64; 0: 32768 and 1024
    info              keep ccxt's `info`, the exchange's own message, in `extra`; wants a larger slot_bytes, such as 8192
    sender            'thread': a native thread sends; 'none': `blotter ship` on this host does
    poll_interval_us  how often the thread looks for new records, microseconds; 0: 1000, which costs 1.5 to 2 % of a processor on a
                      virtual machine; 10000 costs a tenth, and a record is sent up to 10 ms later
    wake              True: each record wakes the thread instead, by one system call
    sync              'interval': for a journal on disk, written through every sync_interval_ms milliseconds (0: 100)

    Opening adopts what a dead process left in the journal; it takes milliseconds and does not wait for Redis. Raises ValueError
    for an option that is not valid, OSError for a journal that is in use, damaged, or cannot be made.

    As a context manager it is closed at the end of the block, with close()'s default timeout. One that is never closed loses
    nothing: what is unsent stays in the journal. Any thread may use it. It belongs to its process: open another after a fork.
    """

    def committed(self, seq=None):
        """Return a future of the running loop, done when the record seq and all before it are committed in PostgreSQL.

        Committed is stored, there already, or set aside in blotter.rejects with the reason. None: everything recorded so far.
        Await it with asyncio.wait_for to give up; the record stays in the journal then. Its exception is RuntimeError where the
        producer is closed meanwhile. Raises RuntimeError at once if it is closed, in a forked child, and with sender='none'.
        """
        return self._await(_core.COMMITTED, seq)

    def sent(self, seq=None):
        """The same for Redis: done when it has answered for the record seq and all before it."""
        return self._await(_core.SENT, seq)

    def watch(self):
        """Return an asynchronous iterator over this producer's events, each a blotter.Event:

            async for event in producer.watch():
                logging.warning("%s %s", event.name, event.text)

        It begins with those that were told before and are kept, at most 64, and ends when the producer is closed. It belongs to the
        running loop; several may watch, and each gets all of them. No thread of Python's; the sender waits for nobody: who is
        64 events late misses the oldest, which the next one's `missed` counts. Cancelling loses none. Raises RuntimeError without
        a running loop, in a forked child, and with sender='none', where `blotter ship` logs them.
        """
        return Watch(self)

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
