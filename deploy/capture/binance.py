"""Records of Binance's USD-M futures user stream, and of the orders that go out over its websocket API, for capture.py."""


def order_update(event):
    """ORDER_TRADE_UPDATE."""
    order = event["o"]
    fields = {
        "exchange_time": event["T"] * 10**6, "symbol": order["s"], "order_id": str(order["i"]), "client_order_id": order["c"],
        "event": order["x"].lower(), "status": order["X"].lower(), "side": order["S"].lower(), "type": order["o"].lower(),
        "time_in_force": order["f"], "price": order["p"], "quantity": order["q"], "filled_quantity": order["z"], "market_type": "swap",
    }  # fmt: skip
    if order["x"] == "TRADE":
        fields |= {"trade_id": str(order["t"]), "last_price": order["L"], "last_quantity": order["l"], "liquidity": "maker" if order["m"] else "taker"}
        if order.get("N"):
            fields |= {"fee": order["n"], "fee_currency": order["N"]}
    return fields


def sent(method, parameters):
    """An order that goes out: it has no id of the venue yet."""
    return {
        "symbol": parameters["symbol"], "client_order_id": parameters["newClientOrderId"], "event": method, "side": parameters["side"].lower(),
        "type": parameters["type"].lower(), "price": parameters.get("price"), "quantity": parameters.get("quantity"), "status": "pending_new",
        "market_type": "swap",
    }  # fmt: skip


def records(message, outgoing):
    if outgoing and message.get("method") == "order.place":
        yield "order", sent("new", message["params"])
    elif not outgoing and message.get("e") == "ORDER_TRADE_UPDATE":
        yield "order", order_update(message)
