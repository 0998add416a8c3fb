"""A simulated exchange for strategy.py: one websocket, orders and trades as ccxt's unified API has them, decimals as text.

    python3 exchange.py [--symbols 100] [--tickers 200] [--fills 2]      prints its URL; both are a second: of all, and of an order

Prices wander, orders are filled in parts or cancelled after a while, whoever listens or not. A message is a JSON object:
    to the exchange      {"call": number, "method": "create_order", "params": {...}}; methods: fetch_open_orders, fetch_orders,
                         fetch_my_trades, fetch_positions, create_order, cancel_order, set_fills, set_wrong
    from the exchange    {"reply": number, "result": ...}; {"ticker": {...}}; {"order": {...}}; {"trade": {...}}
"""

import argparse
import asyncio
import itertools
import json
import random
import time
from decimal import Decimal

import websockets


def now_ms():
    return int(time.time() * 1000)


class Exchange:
    def __init__(self, symbols, tickers, fills):
        self.tickers, self.fills = tickers, fills  # a second: of all, and of one order
        self.prices = {f"COIN{number}/USDT": Decimal(random.randrange(100, 100000)) / 100 for number in range(symbols)}
        self.wrong = False
        self.orders = {}
        self.trades = []
        self.positions = {symbol: Decimal(0) for symbol in self.prices}
        self.numbers = itertools.count(1)
        self.listeners = set()
        self.tasks = set()

    # --- what strategies call ----------------------------------------------------------------------------------------------------

    def create_order(self, symbol, side, price, amount, clientOrderId):
        order = {
            "id": f"o{next(self.numbers)}", "clientOrderId": clientOrderId, "timestamp": now_ms(), "symbol": symbol, "type": "limit",
            "timeInForce": "GTC", "side": side, "price": price, "amount": amount, "filled": "0", "remaining": amount,
            "average": None, "status": "open", "trades": [], "fees": [],
        }  # fmt: skip
        self.orders[order["id"]] = order
        self.tell({"order": order})
        task = asyncio.get_running_loop().create_task(self.live(order))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return order

    def cancel_order(self, id):
        self.end(self.orders[id], "canceled")
        return self.orders[id]

    def fetch_open_orders(self):
        return [order for order in self.orders.values() if order["status"] == "open"]

    def fetch_orders(self, ids):
        return [self.orders[id] for id in ids if id in self.orders]

    def fetch_my_trades(self, since):
        return [trade for trade in self.trades if trade["timestamp"] >= since]

    def fetch_positions(self):
        return {symbol: str(quantity) for symbol, quantity in self.positions.items() if quantity}

    def set_fills(self, fills):
        self.fills = fills

    def set_wrong(self, wrong):
        """For tests: also send messages about orders that have no id."""
        self.wrong = wrong

    # --- what happens by itself --------------------------------------------------------------------------------------------------

    async def live(self, order):
        """An order's life: one to three fills, the last of which may never come."""
        for share in random.choice([("1",), ("0.25", "1"), ("0.25", "0.5", "1"), ("0.5", None), (None,)]):
            await asyncio.sleep(random.expovariate(self.fills))
            if order["status"] != "open":
                return
            if share is None:
                return self.end(order, "canceled")
            self.fill(order, Decimal(order["remaining"]) * Decimal(share))

    def fill(self, order, quantity):
        trade = {
            "id": f"t{next(self.numbers)}", "order": order["id"], "timestamp": now_ms(), "symbol": order["symbol"], "type": "limit",
            "side": order["side"], "takerOrMaker": "maker", "price": order["price"], "amount": str(quantity),
            "cost": str(quantity * Decimal(order["price"])), "fee": {"cost": str(quantity / 1000), "currency": "USDT"},
        }  # fmt: skip
        self.trades.append(trade)
        self.positions[order["symbol"]] += quantity if order["side"] == "buy" else -quantity
        order["filled"] = str(Decimal(order["filled"]) + quantity)
        order["remaining"] = str(Decimal(order["remaining"]) - quantity)
        order["average"] = order["price"]
        self.tell({"trade": trade})
        if Decimal(order["remaining"]) == 0:
            self.end(order, "closed")
        else:
            self.tell({"order": order})

    def end(self, order, status):
        if order["status"] == "open":
            order["status"] = status
            self.tell({"order": order})
            if self.wrong:
                self.tell({"order": order | {"id": None, "clientOrderId": None}})

    async def wander(self):
        while True:
            symbol = random.choice(list(self.prices))
            self.prices[symbol] += random.choice([Decimal("-0.01"), Decimal("0.01")])
            self.tell({"ticker": {"symbol": symbol, "last": str(self.prices[symbol]), "timestamp": now_ms()}})
            await asyncio.sleep(random.expovariate(self.tickers))

    # --- the websocket -----------------------------------------------------------------------------------------------------------

    def tell(self, message):
        text = json.dumps(message)
        for outbox in self.listeners:
            outbox.put_nowait(text)

    async def serve(self, socket):
        """One queue for everything that goes to a listener, so that it hears things in the order in which they happened."""
        outbox = asyncio.Queue()
        self.listeners.add(outbox)
        sending = asyncio.get_running_loop().create_task(self.send(socket, outbox))
        try:
            async for text in socket:
                call = json.loads(text)
                result = getattr(self, call["method"])(**call["params"])
                outbox.put_nowait(json.dumps({"reply": call["call"], "result": result}))
        except websockets.ConnectionClosed:
            pass
        finally:
            self.listeners.discard(outbox)
            sending.cancel()

    async def send(self, socket, outbox):
        try:
            while True:
                await socket.send(await outbox.get())
        except websockets.ConnectionClosed:
            pass


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--tickers", type=float, default=200)
    parser.add_argument("--fills", type=float, default=2)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    exchange = Exchange(given.symbols, given.tickers, given.fills)
    async with websockets.serve(exchange.serve, "127.0.0.1", given.port, max_size=None) as server:
        print(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}", flush=True)
        await exchange.wander()


if __name__ == "__main__":
    asyncio.run(main())
