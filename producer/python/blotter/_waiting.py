"""Futures that are done when a producer's records have reached a stage, without a thread: libblotter writes to an eventfd.

A Waiter belongs to one producer and one event loop. While futures wait it has a descriptor, which the loop watches, and for each
stage it has asked libblotter to be told of the lowest seq that is waited for. With the last future the descriptor goes.
"""

import heapq
import itertools
import os

_order = itertools.count()  # so that futures are not compared


class Waiter:
    def __init__(self, producer):
        self._producer = producer
        self._waiting = {}  # stage: heap of (seq, number, future)
        self._futures = 0  # that are not done
        self._fd = -1

    def add(self, stage, seq, future):
        if self._fd < 0:
            self._open(future.get_loop())
        heap = self._waiting.setdefault(stage, [])
        heapq.heappush(heap, (seq, next(_order), future))
        self._futures += 1
        future.add_done_callback(self._on_done)
        if heap[0][2] is future:
            self._ask(stage, heap)

    def _open(self, loop):
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        loop.add_reader(self._fd, self._on_told)

    def _on_told(self):
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            return
        for stage, heap in self._waiting.items():
            self._ask(stage, heap)

    def _ask(self, stage, heap):
        """Ends what has been reached, and asks to be told of what is next."""
        while heap:
            seq, _, future = heap[0]
            if not future.done():
                try:
                    if not self._producer._reached(stage, seq):
                        return self._producer._notify(self._fd, stage, seq)
                    future.set_result(None)
                except RuntimeError as problem:
                    future.set_exception(problem)
                except ReferenceError:
                    future.set_exception(RuntimeError("the producer has gone unclosed"))
            heapq.heappop(heap)

    def _on_done(self, future):
        self._futures -= 1
        if self._futures == 0 and self._fd >= 0:
            self._close(future.get_loop())

    def _close(self, loop):
        """Withdrawn first: a descriptor that is closed may be anybody's next."""
        for stage, heap in self._waiting.items():
            heap.clear()
            self._withdraw(stage)
        if not loop.is_closed():
            loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1

    def _withdraw(self, stage):
        try:
            self._producer._notify(self._fd, stage, 0)
        except (RuntimeError, ReferenceError):
            pass  # closed: nothing is written to it any more

    def __del__(self):
        """The loop has gone, and left futures that nobody will end."""
        if self._fd >= 0:
            for stage in self._waiting:
                self._withdraw(stage)
            os.close(self._fd)
