"""What a producer tells of itself, its events: asked for now and then, or awaited, over outages, forks and the end of a program."""

import asyncio
import gc
import itertools
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
import unittest

import uvloop

import support

import blotter

KEPT = 64
NOWHERE = "redis://127.0.0.1:1"

order_ids = itertools.count()


def setUpModule():
    global servers, drainer
    servers = support.Servers()
    drainer = servers.drain()


async def hear(listener, name):
    """All events up to the next of that name."""
    heard = []
    while not heard or heard[-1].name != name:
        heard.append(await asyncio.wait_for(anext(listener), support.TIMEOUT))
    return heard


def run_in_threads(*functions):
    problems = []

    def run(function):
        try:
            function()
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=run, args=[function]) for function in functions]
    for thread in threads:
        thread.start()
    return threads, problems


class Events(unittest.TestCase):
    def setUp(self):
        self.fetched = []
        self.producer = blotter.Producer("kraken", journal=servers.journal(self.id()), slots=64)
        self.addCleanup(self.producer.close)
        self.addCleanup(self.have_redis)
        self.redis_runs = True
        self.fetch("redis_up")

    def have_redis(self):
        self.redis("start") if not self.redis_runs else None

    def redis(self, verb):
        servers.tell(f"{verb} redis")
        self.redis_runs = verb == "start"

    def alone(self, **options):
        """A producer that will not find its Redis, and has said so."""
        producer = blotter.Producer("kraken", redis=NOWHERE, journal=servers.journal("alone"), slots=64, **options)
        self.addCleanup(producer.close, 0)
        return producer

    def fetch(self, name):
        """Adds to self.fetched until there is one of that name."""

        def found():
            self.fetched += self.producer.events()
            return name in [event.name for event in self.fetched]

        support.wait_until(found)

    def fill(self):
        for _ in range(10**6):
            try:
                self.producer.order(order_id=next(order_ids))
            except blotter.Full:
                return
        self.fail("it does not get full")

    def fill_and_empty(self):
        """The journal becomes full, which the sender sees, and has room again."""
        del self.fetched[:]
        self.fill()
        self.fetch("full")
        self.producer.flush(support.TIMEOUT)
        self.fetch("room")
        return len(self.fetched)

    # --- asked for ---

    def test_redis_that_stops_and_comes_back_is_told_once_each(self):
        began = time.time_ns()
        self.assertEqual([event.name for event in self.fetched], ["redis_up"])
        del self.fetched[:]
        self.redis("kill")
        self.fetch("redis_down")
        self.redis("start")
        self.fetch("redis_up")
        down, up = [event for event in self.fetched if event.name != "resend"]
        self.assertEqual((down.name, up.name), ("redis_down", "redis_up"))
        self.assertRegex(down.text, r"\w")  # it depends on what the sender was about
        self.assertNotEqual(down.text, up.text)
        self.assertIn("redis", up.text)
        self.assertTrue(began < down.at_ns < up.at_ns <= time.time_ns(), (began, down, up))
        self.assertEqual((down.missed, up.missed), (0, 0))
        name, text, at_ns, missed = down
        self.assertEqual((name, text, at_ns, missed), (down.name, down.text, down.at_ns, down.missed))
        self.assertIsInstance(down, blotter.Event)

    def test_several_are_fetched_at_once_and_none_twice(self):
        self.fill()
        support.wait_until(lambda: self.producer.stats().redis_up)
        self.redis("kill")
        support.wait_until(lambda: not self.producer.stats().redis_up)
        self.redis("start")
        support.wait_until(lambda: self.producer.stats().redis_up)
        self.producer.flush(support.TIMEOUT)
        support.wait_until(lambda: self.producer.stats().held < 64)
        names = [event.name for event in self.producer.events()]
        self.assertEqual([name for name in names if name.startswith("redis")], ["redis_down", "redis_up"])
        self.assertIn("full", names)
        self.assertNotIn("redis_up", [event.name for event in self.producer.events()])

    def test_a_journal_that_is_full_and_has_room_again(self):
        self.redis("kill")
        self.fetch("redis_down")
        del self.fetched[:]
        self.fill()
        self.fetch("full")
        self.assertNotIn("room", [event.name for event in self.fetched])
        self.redis("start")
        self.producer.flush(support.TIMEOUT)
        self.fetch("room")

    def test_what_nobody_fetches_is_counted(self):
        async def be_late():
            listener = self.producer.listen()
            told = 1  # the connection is up
            while told <= KEPT + 10:
                told += await asyncio.to_thread(self.fill_and_empty)
            first = await anext(listener)
            self.assertEqual(first.missed, told - KEPT)
            rest = [await anext(listener) for _ in range(KEPT - 1)]
            self.assertEqual({event.missed for event in rest}, {0})
            self.assertEqual([event.at_ns for event in rest], sorted(event.at_ns for event in rest))
            self.assertEqual(rest[-1], self.fetched[-1])
            late = self.producer.listen()  # what was forgotten before it came it has not missed
            self.assertEqual((await anext(late))[:], first[:3] + (0,))

        asyncio.run(be_late())

    def test_what_was_told_last_is_there_after_close(self):
        self.redis("kill")
        support.wait_until(lambda: not self.producer.stats().redis_up)
        self.producer.close(0)
        self.assertEqual([event.name for event in self.producer.events()], ["redis_down"])
        self.assertEqual(self.producer.events(), [])

        async def listener():
            return [event.name async for event in self.producer.listen()]

        self.assertEqual(asyncio.run(listener()), ["redis_up", "redis_down"])

    def test_without_a_sender_there_are_none(self):
        async def listener(producer):
            producer.listen()

        with blotter.Producer("kraken", journal=servers.journal("none"), slots=64, sender="none") as producer:
            with self.assertRaisesRegex(RuntimeError, "without a sender"):
                producer.events()
            with self.assertRaisesRegex(RuntimeError, "without a sender"):
                asyncio.run(listener(producer))
        with self.assertRaisesRegex(RuntimeError, "no running event loop"):
            self.producer.listen()

    def test_the_words_are_those_of_the_header(self):
        header = (support.TREE / "producer/blotter.h").read_text()
        words = re.findall(r'X_?\(([A-Z_]+), \d+, "([a-z_]+)",[\s\\]*"', header)
        self.assertGreater(len(words), 9)
        for name, word in words:
            self.assertEqual(word, name.lower())
            self.assertRegex(blotter.Event.__doc__, rf"\n *{word}\n +\w")

    # --- awaited ---

    def test_a_listener_awaits_them(self):
        async def listener():
            listener = self.producer.listen()
            self.assertEqual([event.name for event in await hear(listener, "redis_up")], ["redis_up"])
            for verb, name in ("kill", "redis_down"), ("start", "redis_up"):
                waiting = asyncio.ensure_future(hear(listener, name))
                await asyncio.sleep(0.05)  # it waits
                self.assertFalse(waiting.done())
                await asyncio.to_thread(self.redis, verb)
                self.assertEqual([event.name for event in await waiting], [name])

        threads = threading.active_count()
        asyncio.run(listener())
        self.assertLessEqual(threading.active_count(), threads)

    def test_loops_in_several_threads_each_hear_all(self):
        heard = []
        ready = threading.Barrier(5)

        def run(new_loop):
            async def listen():
                listener = self.producer.listen()
                await hear(listener, "redis_up")
                waiting = asyncio.ensure_future(hear(listener, "redis_up"))
                await asyncio.sleep(0)  # it waits
                await asyncio.to_thread(ready.wait)
                heard.append(await waiting)

            loop = new_loop()
            loop.run_until_complete(listen())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

        kinds = [asyncio.new_event_loop, uvloop.new_event_loop] * 2
        threads, problems = run_in_threads(*(lambda kind=kind: run(kind) for kind in kinds))
        ready.wait(support.TIMEOUT)
        self.redis("kill")
        support.wait_until(lambda: not self.producer.stats().redis_up)
        self.redis("start")
        for thread in threads:
            thread.join(support.TIMEOUT)
        self.assertEqual(problems, [])
        self.assertEqual(len(heard), 4)
        self.assertEqual([event.name for event in heard[0]], ["redis_down", "redis_up"])
        self.assertEqual(heard, [heard[0]] * 4)

    def test_closing_ends_a_listener(self):
        async def listen(listener):
            return [event.name async for event in listener]

        async def close():
            waiting = [asyncio.ensure_future(listen(self.producer.listen())) for _ in range(3)]
            await asyncio.sleep(0.05)
            await asyncio.to_thread(self.producer.close)
            return await asyncio.wait_for(asyncio.gather(*waiting), support.TIMEOUT)

        self.assertEqual(asyncio.run(close()), [["redis_up"]] * 3)

    def test_a_producer_that_is_dropped_ends_a_listener(self):
        async def drop():
            dropped = blotter.Producer("kraken", redis=NOWHERE, journal=servers.journal("dropped"), slots=64)
            listener = dropped.listen()
            await hear(listener, "redis_down")
            waiting = asyncio.ensure_future(anext(listener))
            await asyncio.sleep(0)
            with self.assertWarns(ResourceWarning):
                del dropped
            with self.assertRaises(StopAsyncIteration):
                await asyncio.wait_for(waiting, support.TIMEOUT)

        asyncio.run(drop())

    def test_who_gives_up_loses_nothing(self):
        producer = self.alone()

        async def give_up():
            listener = producer.listen()
            await hear(listener, "redis_down")
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(listener), 0.05)
            first = asyncio.ensure_future(anext(listener))
            await asyncio.sleep(0)
            first.cancel()
            await asyncio.sleep(0)
            closing = asyncio.ensure_future(asyncio.to_thread(producer.close, 0))
            with self.assertRaises(StopAsyncIteration):  # it is woken, though the one before it goes only now
                await asyncio.wait_for(listener.__anext__(), support.TIMEOUT)
            self.assertTrue(first.cancelled())
            await closing

        asyncio.run(give_up())

    def test_one_that_waits_at_once_after_one_who_gave_up_is_woken(self):
        producer = self.alone()

        async def give_up():
            listener = producer.listen()
            await hear(listener, "redis_down")
            first = listener.__anext__()
            future = first.send(None)  # it waits
            future.cancel()  # and gives up: its callbacks are yet to run
            second = listener.__anext__()
            news = second.send(None)
            await asyncio.to_thread(producer.close, 0)
            await asyncio.wait_for(news, support.TIMEOUT)
            with self.assertRaises(StopAsyncIteration):
                second.send(None)
            first.close()

        asyncio.run(give_up())

    def test_two_cannot_wait_for_one_listener_nor_another_loop(self):
        producer = self.alone()

        async def start():
            nonlocal listener
            listener = producer.listen()
            await hear(listener, "redis_down")
            waiting = asyncio.ensure_future(anext(listener))
            await asyncio.sleep(0)
            with self.assertRaisesRegex(RuntimeError, "another task"):
                await anext(listener)
            waiting.cancel()

        async def go_on():
            with self.assertRaisesRegex(RuntimeError, "another event loop"):
                await anext(listener)

        listener = None
        asyncio.run(start())
        asyncio.run(go_on())

    def test_no_descriptor_stays(self):
        producer = self.alone()
        before = support.eventfds()

        async def stop_early():
            async for event in producer.listen():
                break
            return support.eventfds() - seen

        async def outer():
            nonlocal seen
            seen = support.eventfds()  # the loop's own, too
            return await stop_early()

        async def forget():
            listener = producer.listen()
            await hear(listener, "redis_down")
            waiting.append(asyncio.ensure_future(anext(listener)))
            await asyncio.sleep(0.05)

        seen, waiting = set(), []
        for new_loop in asyncio.new_event_loop, uvloop.new_event_loop:
            with self.subTest(new_loop.__module__):
                loop = new_loop()
                self.assertEqual(loop.run_until_complete(outer()), set())
                loop.run_until_complete(forget())
                self.assertGreater(support.eventfds(), before)
                waiting.pop()._log_destroy_pending = False
                loop.close()
                del loop
                gc.collect()
                self.assertEqual(support.eventfds(), before)
        mine = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(50)]  # among them the numbers that the watches had
        producer.close(0)
        for fd in mine:
            with self.assertRaises(BlockingIOError):
                os.eventfd_read(fd)
            os.close(fd)


class Ending(unittest.TestCase):
    """Programs of their own, that fork or end."""

    def run_program(self, text):
        program = "import asyncio, blotter, os, sys\n" + textwrap.dedent(text)
        environment = dict(os.environ, PYTHONPATH=str(support.PACKAGE), BLOTTER_JOURNAL=str(servers.journal(self.id())))
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=support.TIMEOUT)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("Fatal", done.stderr)
        return done.stdout

    def test_a_program_that_does_not_close_ends_at_once(self):
        text = f"""
            import threading
            heard = []
            p = blotter.Producer("unclosed", slots=64, redis="{NOWHERE}")
            async def listen(forget):
                async for event in p.listen():
                    heard.append(event.name)
                    if forget: return asyncio.ensure_future(listen(False))
            async def await_all():
                while len(heard) < 3: await asyncio.sleep(0.01)
            threading.Thread(target=lambda: asyncio.run(listen(False)), daemon=True).start()
            loop = asyncio.new_event_loop()
            forgotten = loop.run_until_complete(listen(True))
            loop.run_until_complete(await_all())
            print(*heard)
            """
        self.assertEqual(self.run_program(text).split(), ["redis_down"] * 3)

    def test_a_forked_child_has_none_and_leaves_the_parents_alone(self):
        text = f"""
            p = blotter.Producer("forks", slots=64, redis="{NOWHERE}")
            def refused(ask):
                try: ask()
                except RuntimeError as problem: return "parent" in str(problem)
            async def main():
                listener = p.listen()
                await anext(listener)
                waiting = asyncio.ensure_future(anext(listener))
                await asyncio.sleep(0)
                if os.fork() == 0:
                    asked = refused(p.events) and refused(lambda: p._wakeup(True)) and refused(listener._wakeup.heard)
                    del listener
                    p.close()
                    os._exit(0 if asked and refused(p.events) else 1)
                _, status = os.wait()
                print(status, len(p.events()))
                await asyncio.to_thread(p.close, 0)
                try: await asyncio.wait_for(waiting, 30)
                except StopAsyncIteration: print("ended")
            asyncio.run(main())
            """
        self.assertEqual(self.run_program(text).split(), ["0", "1", "ended"])


if __name__ == "__main__":
    support.main()
