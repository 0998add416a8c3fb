"""A producer's events for an event loop, without a thread: the sender, which must not wait for us, writes to an eventfd.

The loop watches the descriptor only while somebody waits, so that it keeps nothing that was forgotten: with the last reference to
a Watch its descriptor is closed.
"""

import asyncio
import collections


class Watch:
    """What Producer.watch() returns: an asynchronous iterator over the events, which ends when the producer is closed."""

    def __init__(self, producer):
        self._loop = asyncio.get_running_loop()
        self._wakeup = producer._wakeup(True)  # not the producer: who watches does not keep it open
        self._events = collections.deque()
        self._news = None  # the future of who waits

    def __aiter__(self):
        return self

    async def __anext__(self):
        """Being cancelled loses nothing: nothing is taken before somebody is there to have it."""
        while not self._events:
            events = self._wakeup.heard()
            if events is None:
                raise StopAsyncIteration
            self._events.extend(events)
            if not events:
                await self._wait()
        return self._events.popleft()

    def _wait(self):
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("this watch belongs to another event loop")
        if self._news and not self._news.done():
            raise RuntimeError("somebody waits for this watch already: call watch() once for each who does")
        self._news = future = self._loop.create_future()
        self._loop.add_reader(self._wakeup.fd, self._on_news, future)
        future.add_done_callback(self._on_done)
        return future

    def _on_news(self, future):
        if self._wakeup.reset() and not future.done():
            future.set_result(None)

    def _on_done(self, future):
        if self._news is future:  # else somebody waits again, after one who gave up
            self._loop.remove_reader(self._wakeup.fd)
