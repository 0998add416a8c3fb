"""ccxt's unified objects as ccxt's own parsers make them of exchanges' answers.

The package ccxt has no test data, but the comments in its parsers hold real answers of the exchanges. They are read from its sources,
and given to the parsers of the class that they stand in. Where an answer is for another function than it stands in, the parser may fail
or give an object without anything in it: those are left out.
"""

import inspect
import json
import re
import sys

import support

COMMENT = re.compile(r"^\s*#(.*)$")
PARSERS = {
    "parse_order": "order", "parse_trade": "trade", "parse_ledger_entry": "cash", "parse_transfer": "cash", "parse_transaction": "cash",
    "parse_income": "cash", "parse_position": "position", "parse_balance": "balance", "parse_market": "instrument",
}  # fmt: skip
ENOUGH = {
    "order": ("id", "clientOrderId"), "trade": ("price", "amount"), "cash": ("amount",), "position": ("contracts", "entryPrice", "notional"),
    "balance": ("total",), "instrument": ("symbol",),
}  # fmt: skip
MARKETS = {
    "spot": ("BTC/USDT", "BTCUSDT", "BTC", "USDT", None),
    "swap": ("BTC/USDT:USDT", "BTCUSDT", "BTC", "USDT", "USDT"),
}


def package():
    """The module ccxt, or None where it cannot be imported. CI installs it into build/ccxt."""
    sys.path.append(str(support.TREE / "build/ccxt"))
    try:
        import ccxt
    except ImportError:
        return None
    return ccxt


def synthetic_market(kind):
    symbol, id, base, quote, settle = MARKETS[kind]
    return {
        "id": id, "symbol": symbol, "base": base, "quote": quote, "settle": settle, "baseId": base, "quoteId": quote, "settleId": settle,
        "type": kind, "spot": kind == "spot", "margin": False, "swap": kind == "swap", "future": False, "option": False, "active": True,
        "contract": kind == "swap", "linear": kind == "swap" or None, "inverse": False if kind == "swap" else None, "contractSize": 1,
        "precision": {"price": 0.01, "amount": 0.001}, "limits": {"amount": {"min": 0.001}, "cost": {}, "price": {}}, "info": {},
        "taker": 0.001, "maker": 0.001, "subType": "linear" if kind == "swap" else None, "expiry": None, "strike": None, "optionType": None,
        "numericId": 1, "uppercaseId": id, "lowercaseId": id.lower(), "index": False, "feeSide": "get",
    }  # fmt: skip


def comments(function):
    """The texts of a function's comment blocks."""
    block, found = [], []
    for line in inspect.getsource(function).splitlines():
        match = COMMENT.match(line)
        if match:
            block.append(match[1])
        elif block:
            found.append("\n".join(block))
            block = []
    return found


def answers(text):
    """The JSON objects in a comment, also with commas and remarks that JSON has not."""
    text = re.sub(r"(?m)\s//.*$|\s#.*$", "", text)
    text = re.sub(r",(\s*[}\]])", r"\1", text)
    decoder, at = json.JSONDecoder(), 0
    while (begin := re.compile(r"(?m)^\s*[{\[]").search(text, at)) is not None:
        try:
            value, at = decoder.raw_decode(text, begin.end() - 1)
            yield value
        except ValueError:
            at = begin.end()


def exchange_object(ccxt, name, number, kind):
    exchange = getattr(ccxt, name)()
    exchange.number = number
    market = synthetic_market(kind)
    exchange.set_markets([market])
    exchange.safe_market = lambda *arguments, **keywords: market
    exchange.market = lambda symbol: market
    return exchange


def parsed(exchange, parser, answer):
    try:
        return getattr(exchange, parser)(answer)
    except Exception:  # an answer of another function, or of another version
        return None


def is_enough(kind, found):
    return isinstance(found, dict) and any(found.get(name) not in (None, "", {}) for name in ENOUGH[kind])


def objects_of(ccxt, name, number=float, market="spot"):
    """Pairs of a kind and an object: all that one exchange's parsers make of its answers."""
    exchange = exchange_object(ccxt, name, number, market)
    for parser, kind in PARSERS.items():
        function = getattr(type(exchange), parser, None)
        if function is None or function.__qualname__.startswith("Exchange."):
            continue
        sources = [function] if parser != "parse_balance" else [function, getattr(type(exchange), "fetch_balance", function)]
        for text in (text for source in sources for text in comments(source)):
            for answer in answers(text):
                for one in answer if isinstance(answer, list) and parser != "parse_balance" else [answer]:
                    found = parsed(exchange, parser, one)
                    if is_enough(kind, found):
                        yield kind, found
    yield from fundings_of(exchange)


def fundings_of(exchange):
    """ccxt has no common parser of funding payments: fetch_funding_history() is run on its own example answer."""
    function = getattr(type(exchange), "fetch_funding_history", None)
    if function is None or function.__qualname__.startswith("Exchange."):
        return
    for text in comments(function):
        for answer in answers(text):
            for name in {match for match in re.findall(r"self\.((?:public|private|v\d|fapi|dapi|api|contract|rest)\w+)\(", inspect.getsource(function))}:
                setattr(exchange, name, lambda *arguments, answer=answer, **keywords: answer)
            try:
                found = exchange.fetch_funding_history("BTC/USDT:USDT")
            except Exception:  # it calls more than its answer is for
                continue
            yield from (("cash", one) for one in found if is_enough("cash", one))


if __name__ == "__main__":
    ccxt = package()
    counts = {}
    for name in sys.argv[1:] or ccxt.exchanges:
        for kind, found in objects_of(ccxt, name):
            counts.setdefault(kind, []).append(name)
    print({kind: (len(names), len(set(names))) for kind, names in counts.items()})
