"""The strategies: one asyncio process that listens to every exchange and saves each message with probability one half.

    python3 client.py WRITER FOLDER PORT...       prints its figures as JSON

Times are in ns. save: one call of the writer, as the strategy sees it. delay: from when the exchange sent a message to when the strategy
was done with it. cpu_s: of this process while it ran, all its threads; idle_share: while it was connected and no message came.
"""

import asyncio
import inspect
import json
import os
import random
import resource
import sys
import time

import websockets
import writers

SEED = 42
VENUES = 5  # a hundred assets are on a handful of exchanges


def order_of(number):
    return {"order_id": number, "symbol": "BTC/USDT", "side": "buy", "status": "open", "price": "64250.10", "quantity": "0.2500"}


class Strategy:
    """Listens to one exchange."""

    def __init__(self, number, port, writer, generator):
        self.uri, self.venue = f"{writer.scheme}://localhost:{port}", f"venue{number % VENUES}"
        self.generator = generator
        self.writer, self.is_async = writer, inspect.iscoroutinefunction(writer.save)
        self.orders, self.saves, self.delays = {}, [], []

    async def save(self, order):
        begin = time.perf_counter_ns()
        if self.is_async:
            await self.writer.save(self.venue, order)
        else:
            self.writer.save(self.venue, order)
        self.saves.append(time.perf_counter_ns() - begin)

    async def listen(self, connection):
        await connection.send("start")
        async for message in connection:
            message = message.strip('"')  # over wss:// it is JSON
            if message == "done":
                return
            _, number, sent_ns = message.split(":")
            self.orders[number] = order_of(number)
            if self.generator.random() < 0.5:
                await self.save(self.orders[number])
            self.delays.append(time.monotonic_ns() - int(sent_ns))


def percentiles(values):
    values = sorted(values)
    at = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1}
    return {name: values[min(len(values) - 1, int(share * len(values)))] for name, share in at.items()} if values else {}


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def run(name, folder, ports):
    writer = writers.WRITERS[name](folder)
    generator = random.Random(SEED)
    strategies = [Strategy(number, port, writer, generator) for number, port in enumerate(ports)]
    await writer.open(sorted({strategy.venue for strategy in strategies}))
    connections = [await websockets.connect(strategy.uri, compression=None, ping_interval=None, ssl=writer.ssl()) for strategy in strategies]
    idle_s = float(os.environ.get("EXPERIMENT_IDLE") or 1)
    idle = cpu_seconds()
    await asyncio.sleep(idle_s)
    idle = (cpu_seconds() - idle) / idle_s
    begin, cpu = time.perf_counter(), cpu_seconds()
    await asyncio.gather(*(strategy.listen(connection) for strategy, connection in zip(strategies, connections)))
    seconds, cpu = time.perf_counter() - begin, cpu_seconds() - cpu
    await writer.close()
    for connection in connections:
        await connection.close()
    saves = [ns for strategy in strategies for ns in strategy.saves]
    delays = [ns for strategy in strategies for ns in strategy.delays]
    return {
        "writer": name,
        "title": writer.__doc__,
        "seconds": seconds,
        "cpu_s": cpu,
        "idle_share": idle,
        "messages": len(delays),
        "saves": len(saves),
        "expected": len(delays) if writer.records_all else len(saves),
        "rows": writer.rows(),
        "visible_ns": writer.visible_ns(),
        "save_ns": percentiles(saves),
        "delay_ns": percentiles(delays),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(sys.argv[1], sys.argv[2], [int(port) for port in sys.argv[3:]]))))
