"""Waiting until records are sent and committed: in event loops, in threads, over outages, and at the end of a process."""

import asyncio
import gc
import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import unittest

import uvloop

import support

import blotter


order_ids = itertools.count()


def setUpModule():
    global servers, drainer
    servers = support.Servers()
    drainer = servers.drain()


class Waiting(unittest.TestCase):
    def setUp(self):
        self.producer = blotter.Producer("kraken", journal=servers.journal(self.id()), slots=1024)
        self.addCleanup(self.producer.close)

    def order(self):
        return self.producer.order(order_id=next(order_ids), symbol="BTC/USDT", price="1.10")

    async def wait_in_turn(self, count):
        """Records one after the other, each awaited; returns how many the database has."""
        for _ in range(count):
            await asyncio.wait_for(self.producer.committed(self.order()), support.TIMEOUT)

    def stored(self):
        sql = "SELECT count(*) AS n FROM blotter.order_events WHERE producer_id = %s"
        return servers.query(sql, self.producer.stats().producer_id)[0]["n"]

    def test_what_is_committed_is_in_the_database(self):
        asyncio.run(self.wait_in_turn(20))
        self.assertEqual(self.stored(), 20)

    def test_many_wait_at_once_and_each_until_its_own(self):
        async def one():
            seq = self.order()
            await self.producer.sent(seq)
            self.assertGreaterEqual(self.producer.stats().sent, seq)
            await self.producer.committed(seq)
            self.assertGreaterEqual(self.producer.stats().committed, seq)

        async def many():
            await asyncio.wait_for(asyncio.gather(*(one() for _ in range(500))), support.TIMEOUT)

        asyncio.run(many())
        self.assertEqual(self.stored(), 500)

    def test_one_that_comes_later_may_be_done_sooner(self):
        async def wait():
            seq = self.order()
            late = self.producer.committed(seq + 1)
            await asyncio.wait_for(self.producer.committed(seq), support.TIMEOUT)
            self.assertFalse(late.done())
            self.order()
            await asyncio.wait_for(late, support.TIMEOUT)

        asyncio.run(wait())

    def assert_nobody_else_is_told(self):
        mine = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(50)]  # one of them has the number that the waiter's had
        self.order()
        self.producer.flush(support.TIMEOUT)
        for fd in mine:
            with self.assertRaises(BlockingIOError):
                os.eventfd_read(fd)
            os.close(fd)

    def test_who_gives_up_is_not_told(self):
        async def give_up():
            self.producer.committed(seq + 1).cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        seq = self.order()
        before = support.eventfds()
        asyncio.run(give_up())
        self.assertEqual(support.eventfds(), before)
        self.assert_nobody_else_is_told()

    def test_what_is_reached_already_is_done_at_once(self):
        seq = self.order()
        self.producer.flush(support.TIMEOUT)

        async def look():
            return self.producer.committed(seq).done(), self.producer.sent().done(), self.producer.committed().done()

        self.assertEqual(asyncio.run(look()), (True, True, True))

    def test_uvloop(self):
        loop = uvloop.new_event_loop()
        loop.run_until_complete(self.wait_in_turn(20))
        loop.close()
        self.assertEqual(self.stored(), 20)

    def test_loops_in_several_threads(self):
        problems = []

        def run(new_loop):
            try:
                loop = new_loop()
                loop.run_until_complete(self.wait_in_turn(20))
                loop.close()
            except BaseException as problem:
                problems.append(problem)

        threads = [threading.Thread(target=run, args=[kind]) for kind in [asyncio.new_event_loop, uvloop.new_event_loop] * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(support.TIMEOUT)
        self.assertEqual(problems, [])
        self.assertEqual(self.stored(), 80)

    def test_no_thread_and_no_descriptor_stays(self):
        asyncio.run(self.wait_in_turn(1))
        before, threads = support.eventfds(), threading.active_count()

        async def cancelled():
            seq = self.order()
            waiting = [self.producer.committed(seq + 1), self.producer.sent(seq + 1000), self.producer.committed(seq)]
            self.assertEqual(threading.active_count(), threads)
            await waiting[2]
            waiting[0].cancel()
            waiting[1].cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return support.eventfds() - seen

        async def outer():
            nonlocal seen
            seen = support.eventfds()
            return await cancelled()

        seen = set()
        self.assertEqual(asyncio.run(outer()), set())
        self.assertEqual(support.eventfds(), before)

    def test_a_loop_that_is_dropped_with_futures_leaves_nothing(self):
        before = support.eventfds()
        loop = asyncio.new_event_loop()

        async def forget():
            self.producer.committed(seq + 1)

        seq = self.order()

        loop.run_until_complete(forget())
        self.assertGreater(support.eventfds(), before)
        loop.close()
        del loop
        gc.collect()
        self.assertEqual(support.eventfds(), before)
        self.assert_nobody_else_is_told()

    def test_closing_ends_what_waits(self):
        async def wait():
            waiting = [self.producer.committed(10**9), self.producer.sent(10**9)]
            await asyncio.to_thread(self.producer.close)
            for future in waiting:
                with self.assertRaisesRegex(RuntimeError, "closed"):
                    await asyncio.wait_for(future, support.TIMEOUT)
            with self.assertRaisesRegex(RuntimeError, "closed"):
                await self.producer.committed(1)

        asyncio.run(wait())

    def test_a_producer_that_is_dropped_ends_what_waits(self):
        async def wait():
            dropped = blotter.Producer("kraken", journal=servers.journal(self.id()), slots=64)
            future = dropped.committed(10**9)
            with self.assertWarns(ResourceWarning):
                del dropped
            with self.assertRaisesRegex(RuntimeError, "closed"):
                await asyncio.wait_for(future, support.TIMEOUT)

        asyncio.run(wait())

    def test_without_a_loop_and_without_a_sender(self):
        with self.assertRaisesRegex(RuntimeError, "loop"):
            self.producer.committed(1)

        async def wait():
            with blotter.Producer("kraken", journal=servers.journal("none"), slots=64, sender="none") as alone:
                with self.assertRaisesRegex(RuntimeError, "without a sender"):
                    await alone.committed(1)

        asyncio.run(wait())

    def test_flush_lets_other_threads_run_and_hears_signals(self):
        with blotter.Producer("kraken", redis="redis://127.0.0.1:1", journal=servers.journal("flush"), slots=64) as alone:
            alone.order(order_id="1")
            ticks = []
            stop = threading.Event()
            ticking = threading.Thread(target=lambda: [ticks.append(1) for _ in iter(lambda: stop.wait(0.01), True)])
            ticking.start()
            with self.assertRaisesRegex(TimeoutError, "journal: .*refused"):
                alone.flush(0.5, "sent")
            stop.set()
            ticking.join()
            self.assertGreater(len(ticks), 5)
            threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
            with self.assertRaises(KeyboardInterrupt):
                alone.flush()
            threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
            with self.assertRaises(KeyboardInterrupt):
                alone.close(None)
            self.assertFalse(alone.closed)
            self.assertGreaterEqual(alone.close(0), 2)

    def test_flush_without_a_drainer_says_how_far_it_got(self):
        drainer.send_signal(signal.SIGSTOP)
        self.addCleanup(drainer.send_signal, signal.SIGCONT)
        with blotter.Producer("nodrainer", journal=servers.journal("nodrainer")) as alone:
            alone.order(order_id="1")
            alone.flush(support.TIMEOUT, "sent")
            with self.assertRaisesRegex(TimeoutError, "up to 0 of 2: `blotter status`"):
                alone.flush(0)

    def test_threads_that_record_while_another_closes(self):
        counts = []

        def record():
            count = 0
            try:
                while True:
                    try:
                        self.order()
                        count += 1
                    except blotter.Full:
                        time.sleep(0.001)
            except RuntimeError:
                counts.append(count)

        producer_id = self.producer.stats().producer_id
        threads = [threading.Thread(target=record) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        self.assertEqual(self.producer.close(support.TIMEOUT), 0)
        for thread in threads:
            thread.join(support.TIMEOUT)
        self.assertEqual(len(counts), 4)
        sql = "SELECT count(*) AS n FROM blotter.order_events WHERE producer_id = %s"
        support.wait_until(lambda: servers.query(sql, producer_id)[0]["n"] == sum(counts))

    def test_an_outage_of_redis_is_not_noticed_by_who_records(self):
        self.order()
        self.producer.flush(support.TIMEOUT)
        servers.tell("kill redis")
        support.wait_until(lambda: not self.producer.stats().redis_up)
        began = time.monotonic()
        seqs = [self.order() for _ in range(100)]
        self.assertLess(time.monotonic() - began, 5)
        self.assertNotEqual(self.producer.stats().last_error, "")

        async def wait():
            future = self.producer.committed(seqs[-1])
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(future), 0.3)
            await asyncio.to_thread(servers.tell, "start redis")
            await asyncio.wait_for(future, support.TIMEOUT)

        asyncio.run(wait())
        self.assertEqual(self.stored(), 101)


class Ending(unittest.TestCase):
    """Programs of their own, that end in one way or another."""

    def run_program(self, text, *, status=0, journal):
        """Returns what it printed, and how long it took, in seconds."""
        program = "import blotter\n" + textwrap.dedent(text)
        environment = dict(os.environ, PYTHONPATH=str(support.PACKAGE), BLOTTER_JOURNAL=str(servers.journal(journal)))
        began = time.monotonic()
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=support.TIMEOUT)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertNotIn("Fatal", done.stderr)
        return done.stdout, time.monotonic() - began

    def stored_by_the_next(self, journal, exchange):
        with blotter.Producer(exchange, journal=servers.journal(journal), slots=64) as following:
            following.flush(support.TIMEOUT)
        return servers.query("SELECT count(*) AS n FROM blotter.order_events WHERE exchange = %s", exchange)[0]["n"]

    def test_a_program_that_does_not_close_ends_at_once_and_loses_nothing(self):
        text = """
            import asyncio, threading
            p = blotter.Producer("unclosed", slots=64, redis_password="wrong")  # so Redis takes nothing
            for n in range(10): p.order(order_id=n)
            threading.Thread(target=p.flush, daemon=True).start()
            async def wait():
                waiting = p.committed(5)
                try: await asyncio.wait_for(waiting, 0.1)
                except asyncio.TimeoutError: pass
                p.sent(7)
            asyncio.run(wait())
            p.order(order_id="last")
            """
        _, seconds = self.run_program(text, journal="unclosed")
        self.assertLess(seconds, 20)
        self.assertEqual(self.stored_by_the_next("unclosed", "unclosed"), 11)

    def test_a_program_that_is_killed_loses_nothing(self):
        text = """
            import os, signal
            p = blotter.Producer("killed", slots=64, sender="none")
            for n in range(10): p.order(order_id=n)
            os.kill(os.getpid(), signal.SIGKILL)
            """
        self.run_program(text, journal="killed", status=-signal.SIGKILL)
        self.assertEqual(self.stored_by_the_next("killed", "killed"), 10)

    def test_a_forked_child_records_with_its_own(self):
        text = """
            import multiprocessing, sys
            def child(n):
                with blotter.Producer("pool", slots=64) as own:
                    return own.order(order_id=n)
            p = blotter.Producer("pool", slots=64)
            with multiprocessing.get_context("fork").Pool(3) as pool:
                print(pool.map(child, range(6), 1))
            p.order(order_id="parent")
            p.close()
            """
        said, _ = self.run_program(text, journal="pool")
        self.assertEqual(said.strip(), "[2, 2, 2, 2, 2, 2]")
        support.wait_until(lambda: self.stored_by_the_next("pool", "pool") == 7)

    def test_interpreters_within_one_process(self):
        """Where this Python lets them: each with a module, a producer and exceptions of its own."""
        text = """
            import sys
            try: import _interpreters as interpreters
            except ImportError: import _xxsubinterpreters as interpreters
            p = blotter.Producer("sub", slots=64, sender="none")
            one = interpreters.create()
            interpreters.run_string(one, "import blotter\\nwith blotter.Producer('sub', slots=64, sender='none') as p: assert p.order(order_id='1') == 2")
            interpreters.destroy(one)
            print(p.order(order_id="1"))
            """
        said, _ = self.run_program(text, journal="sub")
        self.assertEqual(said.strip(), "2")


if __name__ == "__main__":
    support.main()
