"""Orders as they were at a time, computed a second time: from the rules at the top of schema/sql/code/orders.sql, without a line of SQL.

An event is a dict with the columns of blotter.order_events: recorded_at in microseconds, numbers as text. random_events() makes histories in which
few ids meet: events by client id alone, ids used again, amended and shared, accounts and symbols left out, states that come late.
"""

import random
from fractions import Fraction

ENDED = ("filled", "closed", "canceled", "cancelled", "rejected", "expired", "4", "c")
FOLLOWING = ("filled_quantity", "remaining_quantity", "average_price", "cost")
NUMBERS = (*FOLLOWING, "price", "quantity")
TEXTS = ("client_order_id", "orig_client_order_id", "strategy", "symbol", "side", "event", "reason")
NO_ID = (None, "", "0")


def when(event):
    return event["recorded_at"], event["seq"], event["producer_id"]


def id_of(event, name):
    return None if event.get(name) in NO_ID else event[name]


def has_ended(event):
    status = event.get("status")
    return status.lower() in ENDED if status is not None else event.get("remaining_quantity") is not None and Fraction(event["remaining_quantity"]) == 0


def order_of_client_id(events, n, ended):
    """The order of an event that names none: the only one alive of those that its client id named, if it was named last; else the next one named."""
    client = events[n]["client_order_id"]
    named = [id_of(e, "order_id") for e in events if e.get("client_order_id") == client]
    at = sum(e.get("client_order_id") == client for e in events[:n])
    before = [order for order in named[:at] if order]
    alive = {order for order in before if not {(order, None), (order, client)} & ended}
    if alive == set(before[-1:]) and alive:
        return before[-1]
    return next((order for order in named[at:] if order), None)


def assigned(events):
    """(order_key, provisional) of each event of one account's orders, in their order; None: it is of no order."""
    result, ended = [], set()
    for n, event in enumerate(events):
        client, order = id_of(event, "client_order_id"), id_of(event, "order_id")
        by = None if order else client
        if order is None and client is not None:
            order = order_of_client_id(events, n, ended)
        if order is not None and has_ended(event):
            ended.add((order, by))
        result.append((order, False) if order else (client, True) if client else None)
    return result


def state_of(events):
    """What the events of an order say together."""
    state = dict.fromkeys((*TEXTS, *NUMBERS, "status"))
    for event in events:
        filled = event.get("filled_quantity")
        stale = filled is not None and state["filled_quantity"] is not None and Fraction(filled) < state["filled_quantity"]
        for name in TEXTS:
            state[name] = event[name] if event.get(name) is not None else state[name]
        for name in NUMBERS:
            if event.get(name) is not None and not (stale and name in FOLLOWING):
                state[name] = Fraction(event[name])
        if event.get("status") is not None and (state["status"] or "").lower() not in ENDED:
            state["status"] = event["status"]
    return state | {"terminal": any(map(has_ended, events)), "first_recorded_at": events[0]["recorded_at"], "recorded_at": events[-1]["recorded_at"], "seq": events[-1]["seq"]}


def orders_at(events, at, by_symbol=False):
    """The state of each order by (account, scope, order_key, provisional), of the events recorded before a time."""
    accounts, orders = {}, {}
    for event in sorted((e for e in events if e["recorded_at"] < at), key=when):
        accounts.setdefault((event.get("account") or "", (event.get("symbol") or "") if by_symbol else ""), []).append(event)
    for account, mine in accounts.items():
        for event, order in zip(mine, assigned(mine)):
            if order is not None:
                orders.setdefault((*account, *order), []).append(event)
    return {key: state_of(mine) for key, mine in orders.items()}


def random_events(seed, exchange, start, count=40):
    dice = random.Random(seed)
    ids = [f"o{n}" for n in range(dice.randint(1, 6))]
    clients = [f"c{n}" for n in range(dice.randint(1, 4))]
    events = []
    for n in range(count):
        order, client = dice.choice((*ids, None, None, "", "0")), dice.choice((*clients, *clients, None, "", "0"))
        event = {"kind": "order", "producer_id": 1 + n % 2, "seq": (seed + 1) * 1000 + n, "recorded_at": start + dice.randint(0, 25) * 1000, "exchange": exchange}
        event |= {"order_id": order, "client_order_id": client, "account": dice.choice((None, "", "", "main")), "symbol": dice.choice(("A", "A", "B", None))}
        event |= {"status": dice.choice(("open", "new", "Filled", "CANCELED", None, None, "partially_filled", "4")), "event": dice.choice((None, "new", "amended"))}
        event |= {"strategy": dice.choice((None, "", "mm")), "side": dice.choice((None, "buy", "sell")), "reason": dice.choice((None, None, f"why {n}"))}
        event |= {name: dice.choice((None, "0", str(dice.randint(1, 9)), f"{dice.randint(1, 9)}.50")) for name in NUMBERS}
        if dice.random() < 0.7:
            event["remaining_quantity"] = None  # else nearly all end early
        if dice.random() < 0.1:
            event["orig_client_order_id"] = dice.choice(clients)
        events.append(event)
    return events
