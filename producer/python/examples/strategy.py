"""A desk of strategies, one for each asset, on one event loop: every order and trade is recorded, and a restart goes on from there.

    python3 exchange.py &                                                    # prints ws://127.0.0.1:PORT
    python3 strategy.py ws://127.0.0.1:PORT --postgres 'host=... dbname=...' # Redis: $BLOTTER_REDIS; `blotter drain` runs

The recording is in Position: `orders` is the strategy's dictionary of its open orders, and where a message changes it the same message
goes to the blotter: one line. At the start Desk.reload() makes orders and positions again from PostgreSQL, after it has asked the
exchange what has happened meanwhile, so that an order that ended while the desk was down does not stay open for ever.

Recording never stops the trading: with on_error="reject" a call never raises, whatever it is given and whatever is down. While
PostgreSQL is away the desk starts with what the exchange has.
"""

import argparse
import asyncio
import datetime
import itertools
import json
import logging
import random
import signal
from decimal import Decimal

import asyncpg
import websockets

import blotter

EXCHANGE = "simulated"
ACCOUNT = "main"
QUANTITY = "0.1"
SETTLE_SECONDS = 60
MARGIN = datetime.timedelta(minutes=1)  # trades are fetched from a little earlier than the last one known
AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)  # what asyncpg raises while PostgreSQL is away


class Position:
    """A strategy's holding of one asset, and its open orders."""

    def __init__(self, symbol, producer):
        self.symbol = symbol
        self.book = producer.bind(strategy=f"quote-{symbol}", symbol=symbol)
        self.quantity = Decimal(0)
        self.orders = {}  # by id, as the exchange has them

    def on_order(self, order):
        self.book.order(order)  # the one line
        if order["status"] == "open":
            self.orders[order["id"]] = order
        else:
            self.orders.pop(order["id"], None)

    def on_trade(self, trade):
        self.book.trade(trade)
        quantity = Decimal(trade["amount"])
        self.quantity += quantity if trade["side"] == "buy" else -quantity


class Strategy:
    """Quotes one asset: never more than one order, on the side that brings the position back to nothing."""

    def __init__(self, symbol, exchange, producer):
        self.symbol = symbol
        self.exchange = exchange
        self.position = Position(symbol, producer)
        self.asked = False  # an order that the exchange has not answered for

    async def on_ticker(self, ticker):
        if self.asked or self.position.orders:
            return
        self.asked = True
        side = "buy" if self.position.quantity < 0 else "sell" if self.position.quantity > 0 else random.choice(["buy", "sell"])
        await self.exchange.call(
            "create_order", symbol=self.symbol, side=side, price=ticker["last"], amount=QUANTITY, clientOrderId=f"q-{random.getrandbits(48):x}"
        )
        self.asked = False

    async def cancel_all(self):
        for id in list(self.position.orders):
            await self.exchange.call("cancel_order", id=id)


class Connection:
    """The exchange's websocket: calls, and the messages that the exchange sends by itself."""

    def __init__(self, socket):
        self.socket = socket
        self.numbers = itertools.count(1)
        self.replies = {}
        self.messages = asyncio.Queue()
        self.reading = asyncio.create_task(self.read())

    async def call(self, method, **params):
        number = next(self.numbers)
        self.replies[number] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps({"call": number, "method": method, "params": params}))
        return await self.replies[number]

    async def read(self):
        async for text in self.socket:
            message = json.loads(text)
            if "reply" in message:
                self.replies.pop(message["reply"]).set_result(message["result"])
            else:
                self.messages.put_nowait(message)


class Desk:
    def __init__(self, exchange, producer, postgres_url):
        self.exchange = exchange
        self.producer = producer
        self.postgres_url = postgres_url
        self.postgres = None
        self.strategies = {}
        self.swept = set()  # ids of trades that reload() has counted
        self.tasks = set()
        self.stopping = False

    def strategy(self, symbol):
        if symbol not in self.strategies:
            self.strategies[symbol] = Strategy(symbol, self.exchange, self.producer)
        return self.strategies[symbol]

    # --- starting ------------------------------------------------------------------------------------------------------------------

    async def reload(self):
        """Makes orders and positions again. Messages that the exchange sends from now on wait in exchange.messages."""
        try:
            await self.reload_stored()
        except AWAY as problem:
            logging.warning("PostgreSQL is away (%s): starting with what the exchange has", problem)
            await self.reload_from_exchange()

    async def reload_stored(self):
        self.postgres = await asyncpg.connect(self.postgres_url)
        await self.settle()  # also what this desk recorded before it died: its journal has been adopted
        known = await self.open_orders()
        await self.sweep_orders(known)
        await self.sweep_trades()
        await self.settle()
        for row in await self.open_orders():
            order = blotter.to_ccxt(row, number=str)
            self.strategy(order["symbol"]).position.orders[order["id"]] = order
        sql = "SELECT symbol, sum(quantity) AS quantity FROM blotter.positions WHERE exchange = $1 AND account = $2 GROUP BY symbol"
        for row in await self.postgres.fetch(sql, EXCHANGE, ACCOUNT):
            self.strategy(row["symbol"]).position.quantity = row["quantity"]

    async def reload_from_exchange(self):
        for order in await self.exchange.call("fetch_open_orders"):
            self.strategy(order["symbol"]).position.orders[order["id"]] = order
        for symbol, quantity in (await self.exchange.call("fetch_positions")).items():
            self.strategy(symbol).position.quantity = Decimal(quantity)

    async def settle(self):
        await self.producer.flushed(SETTLE_SECONDS)

    async def open_orders(self):
        sql = "SELECT * FROM blotter.open_orders WHERE exchange = $1 AND account = $2"
        return await self.postgres.fetch(sql, EXCHANGE, ACCOUNT)

    async def sweep_orders(self, known):
        """Records the orders that are open here or there as the exchange has them now."""
        now_open = await self.exchange.call("fetch_open_orders")
        unclear = {row["order_id"]: row["symbol"] for row in known} | {order["id"]: order["symbol"] for order in now_open}
        found = await self.exchange.call("fetch_orders", ids=list(unclear))
        for order in found:
            self.producer.order(order)
            del unclear[order["id"]]
        for id, symbol in unclear.items():
            self.producer.order(order_id=id, symbol=symbol, status="expired", reason="unknown to the exchange")
        ended = len(unclear) + sum(order["status"] != "open" for order in found)
        print(json.dumps({"known": len(known), "open": len(now_open), "ended_meanwhile": ended}), flush=True)

    async def sweep_trades(self):
        """Records the trades since the last one known. A trade has an id, so one that is recorded twice counts once."""
        sql = "SELECT max(exchange_time) FROM blotter.trades WHERE exchange = $1 AND account = $2"
        last = await self.postgres.fetchval(sql, EXCHANGE, ACCOUNT)
        since = int((last - MARGIN).timestamp() * 1000) if last else 0
        for trade in await self.exchange.call("fetch_my_trades", since=since):
            self.producer.trade(trade)
            self.swept.add(trade["id"])

    # --- running -------------------------------------------------------------------------------------------------------------------

    def on_message(self, message):
        (kind, what), *_ = message.items()
        strategy = self.strategy(what["symbol"])
        if kind == "order":
            strategy.position.on_order(what)
        elif kind == "trade" and what["id"] not in self.swept:
            strategy.position.on_trade(what)
        elif kind == "ticker" and not self.stopping:
            task = asyncio.create_task(strategy.on_ticker(what))
            self.tasks.add(task)  # asyncio itself keeps none
            task.add_done_callback(self.tasks.discard)

    async def run(self):
        while True:
            self.on_message(await self.exchange.messages.get())

    async def hear_out(self):
        """Handles all messages that the exchange has sent so far: they come before its answer to a call."""
        await self.exchange.call("fetch_open_orders")
        while not self.exchange.messages.empty():
            await asyncio.sleep(0.01)

    async def stop(self):
        """Cancels the open orders, and waits for the messages about it."""
        self.stopping = True
        while self.tasks:
            await asyncio.wait(self.tasks)
        await self.hear_out()
        for strategy in list(self.strategies.values()):
            await strategy.cancel_all()
        await self.hear_out()
        held = {symbol: str(strategy.position.quantity) for symbol, strategy in self.strategies.items() if strategy.position.quantity}
        print(json.dumps({"positions": held}), flush=True)


async def log_events(producer):
    async for event in producer.listen():
        logging.log(event.level, "blotter: %s %s", event.name, event.text)


def stop_signal():
    """An event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def run_desk(url, producer, postgres_url, stop):
    async with websockets.connect(url, max_size=None) as socket:
        desk = Desk(Connection(socket), producer, postgres_url)
        await desk.reload()
        running, stopping = asyncio.create_task(desk.run()), asyncio.create_task(stop.wait())
        await asyncio.wait([running, stopping, desk.exchange.reading], return_when=asyncio.FIRST_COMPLETED)
        if desk.exchange.reading.done():
            raise ConnectionError(f"{url} has closed the connection")
        if running.done():  # it has failed: the open orders are cancelled all the same
            logging.error("the desk stops", exc_info=running.exception())
            running = asyncio.create_task(desk.run())
        await desk.stop()
        running.cancel()
        if desk.postgres is not None:
            await desk.postgres.close()


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("exchange", help="ws://host:port, as exchange.py prints it")
    parser.add_argument("--postgres", required=True, help="as asyncpg takes it: postgresql://...")
    parser.add_argument("--slots", type=int, default=0, help="size of the journal; 0: the default")
    given = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    stop = stop_signal()
    async with blotter.Producer(EXCHANGE, account=ACCOUNT, on_error="reject", slots=given.slots) as producer:
        logging_events = asyncio.create_task(log_events(producer))
        await run_desk(given.exchange, producer, given.postgres, stop)
        stats = producer.stats()
        logging.info("blotter: accepted %d, refused %d, full %d", stats.accepted, stats.refused, stats.full)
    await logging_events  # it ends when the producer is closed


if __name__ == "__main__":
    asyncio.run(main())
