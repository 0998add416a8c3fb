"""Futures that are done when a producer's records have reached a stage, without a thread: libblotter writes to an eventfd.

A Waiter belongs to one producer and one event loop. It has a descriptor, which the loop watches. For each stage libblotter writes to
it when the lowest seq that a future waits for is reached. The loop and the futures keep it; with the last future it closes.
"""

import heapq
import itertools

_order = itertools.count()  # so that futures are not compared


class Waiter:
    def __init__(self, producer, loop):
        self._producer = producer  # weakly: a future does not keep it open
        self._loop = loop
        self._waiting = {}  # stage: heap of (seq, number, future)
        self._futures = 0  # that are not done
        self._wakeup = producer._wakeup(False)  # goes with the loop, even if that leaves futures undone
        loop.add_reader(self._wakeup.fd, self._on_wakeup)

    def is_closed(self):
        return self._wakeup is None

    def add(self, stage, seq, future):
        heap = self._waiting.setdefault(stage, [])
        heapq.heappush(heap, (seq, next(_order), future))
        self._futures += 1
        future.add_done_callback(self._on_done)
        if heap[0][2] is future:
            self._ask(stage, heap)

    def _on_wakeup(self):
        if not self._wakeup.reset():
            return
        for stage, heap in self._waiting.items():
            self._ask(stage, heap)

    def _ask(self, stage, heap):
        """Ends the futures that are reached, and asks for a wakeup for the next."""
        while heap:
            seq, _, future = heap[0]
            if not future.done():
                try:
                    if not self._producer._reached(stage, seq):
                        return self._producer._notify(self._wakeup.fd, stage, seq)
                    future.set_result(None)
                except RuntimeError as problem:
                    future.set_exception(problem)
                except ReferenceError:
                    future.set_exception(RuntimeError("the producer has gone unclosed"))
            heapq.heappop(heap)

    def _on_done(self, future):
        self._futures -= 1
        if self._futures == 0:
            self._loop.remove_reader(self._wakeup.fd)
            self._wakeup = None
