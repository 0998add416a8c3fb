"""Simulated exchanges: a websocket server each, on a free loopback port.

On "start" one sends its messages, `exchange:order:time`, at gaps of Poisson(2) ms, then "done". The time is when it was sent, in ns of
CLOCK_MONOTONIC, which all processes of a machine share. The gaps are drawn from one generator, seed 42, exchange by exchange. They are
between the times at which messages are due: one that is sent late, as a sleep is long or the processor taken, delays no other, as the
market would not wait for it either. No pings: a writer that blocks for a minute is measured to its end, where an exchange would have left it.

    python3 exchange.py EXCHANGES MESSAGES [FOLDER]

It prints the ports as JSON, and serves until its stdin ends. With a folder that holds certificate.pem and key.pem each exchange has a
second port, for wss://, where the same text comes as a JSON string.
"""

import asyncio
import json
import math
import random
import ssl
import sys
import time

import websockets

SEED = 42
GAP_MS = 2


def poisson(generator, mean):
    """Knuth's way: how many uniform numbers it takes for their product to fall below e^-mean."""
    limit, count, product = math.exp(-mean), 0, generator.random()
    while product > limit:
        count += 1
        product *= generator.random()
    return count


def make_gaps(exchanges, messages):
    generator = random.Random(SEED)
    return [[poisson(generator, GAP_MS) / 1000 for _ in range(messages)] for _ in range(exchanges)]


def make_handler(exchange, gaps, write=str):
    async def serve(connection, *_):
        if await connection.recv() != "start":
            return
        due = time.monotonic()
        for order, gap in enumerate(gaps, 1):
            due += gap
            await asyncio.sleep(due - time.monotonic())
            await connection.send(write(f"{exchange}:{order}:{time.monotonic_ns()}"))
        await connection.send(write("done"))
        await connection.wait_closed()

    return serve


async def main(exchanges, messages, folder=None):
    servers = [
        await websockets.serve(make_handler(number, gaps), "127.0.0.1", 0, compression=None, ping_interval=None)
        for number, gaps in enumerate(make_gaps(exchanges, messages))
    ]
    if folder:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{folder}/certificate.pem", f"{folder}/key.pem")
        servers += [
            await websockets.serve(make_handler(number, gaps, json.dumps), "127.0.0.1", 0, compression=None, ping_interval=None, ssl=context)
            for number, gaps in enumerate(make_gaps(exchanges, messages))
        ]
    print(json.dumps([next(iter(server.sockets)).getsockname()[1] for server in servers]), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
