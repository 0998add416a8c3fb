"""A producer's events for an event loop, without a thread: the sender, which must not wait for us, writes to an eventfd.

The loop watches the descriptor only while a task waits, so it does not keep a listener that was forgotten: its descriptor is closed
with the last reference to it.
"""

import asyncio
import collections
from typing import Self

from blotter import _core
from blotter._values import Event


class Listener:
    """An asynchronous iterator over a producer's events, which ends when the producer is closed."""

    def __init__(self, producer: _core.Producer) -> None:
        self._loop = asyncio.get_running_loop()
        self._wakeup = producer._wakeup(True)  # not the producer, which a listener does not keep open
        self._events = collections.deque()
        self._news = None  # the future of the task that waits

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Cancelling loses nothing: events are taken only when they can be returned."""
        while not self._events:
            events = self._wakeup.heard()
            if events is None:
                raise StopAsyncIteration
            self._events.extend(Event(*event) for event in events)
            if not events:
                await self._wait()
        return self._events.popleft()

    def _wait(self):
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("this listener belongs to another event loop")
        if self._news and not self._news.done():
            raise RuntimeError("another task waits for this listener: call listen() once for each task")
        self._news = future = self._loop.create_future()
        self._loop.add_reader(self._wakeup.fd, self._on_news, future)
        future.add_done_callback(self._on_done)
        return future

    def _on_news(self, future):
        if self._wakeup.reset() and not future.done():
            future.set_result(None)

    def _on_done(self, future):
        if self._news is future:  # else another task waits, after this one gave up
            self._loop.remove_reader(self._wakeup.fd)
