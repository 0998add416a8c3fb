"""What ccxt's own parsers give is recorded, stored, and equal field by field; and to_ccxt() gives it back.

Needs the package ccxt, which CI installs; without it the test says so in one line. The comparison is written from ccxt's
documentation and does not use the package's own tables.
"""

import collections
import datetime
import unittest
from decimal import Decimal

import ccxt_objects
import support

import blotter

UTC = datetime.timezone.utc
ccxt = ccxt_objects.package()

TIMES = {"timestamp": "exchange_time", "lastUpdateTimestamp": "update_time", "lastTradeTimestamp": "last_trade_time", "updated": "update_time"}
COLUMNS = {
    "order": {
        "id": "order_id", "clientOrderId": "client_order_id", "symbol": "symbol", "type": "type", "side": "side", "status": "status",
        "timeInForce": "time_in_force", "price": "price", "amount": "quantity", "filled": "filled_quantity", "remaining": "remaining_quantity",
        "average": "average_price", "cost": "cost", "triggerPrice": "trigger_price", "stopLossPrice": "stop_loss_price",
        "takeProfitPrice": "take_profit_price", "postOnly": "post_only", "reduceOnly": "reduce_only",
    },
    "trade": {
        "id": "trade_id", "order": "order_id", "symbol": "symbol", "side": "side", "takerOrMaker": "liquidity", "price": "price",
        "amount": "quantity", "cost": "cost",
    },
    "cash": {
        "id": "entry_id", "status": "status", "currency": "currency", "after": "balance_after", "referenceId": "reference_id", "txid": "txid",
        "referenceAccount": "counterparty", "fromAccount": "from_account", "toAccount": "to_account", "network": "network", "account": "account",
        "symbol": "symbol", "rate": "rate", "code": "currency",
    },
    "position": {
        "id": "position_id", "symbol": "symbol", "contractSize": "contract_size", "entryPrice": "entry_price", "markPrice": "mark_price",
        "lastPrice": "last_price", "liquidationPrice": "liquidation_price", "unrealizedPnl": "unrealized_pnl", "realizedPnl": "realized_pnl",
        "notional": "notional", "collateral": "collateral", "initialMargin": "initial_margin", "maintenanceMargin": "maintenance_margin",
        "leverage": "leverage", "marginMode": "margin_mode", "hedged": "hedged", "stopLossPrice": "stop_loss_price",
        "takeProfitPrice": "take_profit_price",
    },
    "instrument": {
        "id": "venue_symbol", "symbol": "symbol", "type": "market_type", "base": "base", "quote": "quote", "settle": "settle",
        "optionType": "option_type", "contractSize": "contract_size", "strike": "strike", "linear": "linear", "inverse": "inverse",
        "active": "active", "maker": "maker_fee", "taker": "taker_fee",
    },
}  # fmt: skip
TABLES = {
    "order": "order_events", "trade": "trades", "cash": "cash", "balance": "balances", "position": "venue_positions", "instrument": "instruments",
}  # fmt: skip


def setUpModule():
    global servers
    if ccxt is not None:
        servers = support.Servers()
        servers.drain()


def tearDownModule():
    if ccxt is not None:
        servers.close()


def is_null(value):
    return value is None or value in ("", [], {})


def comparable(value):
    """Numbers by value, however they are written; nothing that is null or the exchange's own message."""
    if isinstance(value, bool):
        return value
    if isinstance(value, dict):
        pairs = {key: comparable(item) for key, item in value.items() if key != "info"}
        return {key: item for key, item in pairs.items() if not is_null(item)}
    if isinstance(value, (list, tuple)):
        return [comparable(item) for item in value if item is not None]
    try:
        exact = Decimal(str(value))
    except ArithmeticError:
        return value
    return exact.normalize() + 0 if exact.is_finite() else str(value)


def is_time(value):
    return isinstance(value, int) and 10**12 <= value < 41 * 10**11


def moment(milliseconds):
    return datetime.datetime.fromtimestamp(milliseconds // 1000, UTC) + datetime.timedelta(milliseconds=milliseconds % 1000)


def fees_of(given):
    """What a ccxt object says of its fees, as a sum for each currency: CCXT.md, 2.4."""
    fee = given.get("fee") or {}
    entries = [entry for entry in given.get("fees") or [] if isinstance(entry, dict) and isinstance(comparable(entry.get("cost")), Decimal)]
    cost = comparable(fee.get("cost")) if not is_null(fee.get("cost")) else None
    if cost is not None and cost not in [comparable(entry["cost"]) for entry in entries]:
        entries = [fee]
    sums = collections.defaultdict(Decimal)
    for entry in entries:
        sums[entry.get("currency") or fee.get("currency")] += Decimal(str(entry["cost"]))
    return {currency: comparable(total) for currency, total in sums.items()}


def fees_in(row):
    if row["fees"] is not None:
        return {currency or None: comparable(cost) for currency, cost in row["fees"].items()}
    return {row["fee_currency"]: comparable(row["fee"])} if row["fee"] is not None else {}


class Objects(unittest.TestCase):
    def test_what_all_exchanges_give_is_stored_and_given_back(self):
        if ccxt is None:
            print("# the package ccxt is not installed: nothing to compare")
            return
        self.given = collections.defaultdict(list)  # by kind, pairs of exchange and object, in the order of recording
        for name in ccxt.exchanges:
            self.record_exchange(name)
        exchanges = {name for pairs in self.given.values() for name, _, _ in pairs}
        self.assertGreaterEqual(len(exchanges), 80)
        self.assertGreaterEqual(sum(map(len, self.given.values())), 800)
        producers = {producer_id for pairs in self.given.values() for producer_id, _, _ in pairs}
        support.wait_until(lambda: producers <= {row["producer_id"] for row in servers.query("SELECT producer_id FROM blotter.audit WHERE state = 'complete'")})
        for kind, pairs in self.given.items():
            self.compare_kind(kind, pairs)

    def record_exchange(self, name):
        """Every object once with floats, and once with the exchange's own digits."""
        with blotter.Producer(name, journal=servers.journal(name), slots=2048, slot_bytes=4096) as producer:
            for number, market in ((float, "spot"), (str, "swap")):
                mode = ccxt_objects.exchange_object(ccxt, name, number, market).precisionMode
                for kind, found in ccxt_objects.objects_of(ccxt, name, number, market):
                    extra = {"precision_mode": mode} if kind == "instrument" else {}
                    try:
                        seq = getattr(producer, kind)(found, **extra)
                    except ValueError as problem:  # it has no currency, symbol or quantity, so it cannot be used
                        self.assertRegex(str(problem), r"(currency|symbol|quantity|price): required and missing")
                        continue
                    self.given[kind].append((producer.stats().producer_id, seq, found))
            producer.flush(support.TIMEOUT, "sent")

    def compare_kind(self, kind, pairs):
        rows = collections.defaultdict(dict)
        for row in servers.query(f"SELECT * FROM blotter.{TABLES[kind]}"):
            rows[row["producer_id"]][row["seq"]] = row
        trades = collections.defaultdict(dict)
        for row in servers.query("SELECT * FROM blotter.trades"):
            trades[row["producer_id"]][row["seq"]] = row
        for producer_id, seq, found in pairs:
            with self.subTest(kind=kind, given={key: value for key, value in found.items() if key != "info" and not is_null(value)}):
                if kind == "balance":
                    self.compare_balance(found, rows[producer_id], seq)
                    continue
                row = rows[producer_id][seq]
                own = [trades[producer_id][number] for number in range(seq + 1, seq + 1 + len(found.get("trades") or [])) if number in trades[producer_id]]
                self.compare_fields(kind, found, row)
                if kind in ("order", "trade"):
                    self.assertEqual(fees_in(row), fees_of(found))
                self.compare_restored(kind, found, row, own)

    def compare_fields(self, kind, found, row):
        extra = row.get("extra") or {}
        self.assertNotIn("info", str(extra).split("'"))
        for key, value in found.items():
            if is_null(value) or key not in COLUMNS[kind]:
                continue
            if key in extra:  # a value that the column cannot take, or that gave way to another
                self.assertEqual(comparable(extra[key]), comparable(value))
            else:
                self.assertEqual(comparable(row[COLUMNS[kind][key]]), comparable(value), key)
        for key, column in TIMES.items():
            value = found.get(key)
            if is_time(value) and column in row:
                self.assertEqual(row[column], moment(value), key)
            elif value not in (None, 0) and column in row:
                self.assertEqual(comparable(extra.get(key)), comparable(value), key)
        if kind == "cash":
            self.assertEqual(abs(row["amount"]), abs(Decimal(str(found["amount"]))))
        if kind == "position" and found.get("contracts") is not None:
            self.assertEqual(abs(row["quantity"]), abs(Decimal(str(found["contracts"]))))
            self.assertTrue(found.get("side") != "short" or row["quantity"] <= 0)
        if kind == "cash" and found.get("direction") == "out":
            self.assertLessEqual(row["amount"], 0)

    def compare_restored(self, kind, found, row, trades):
        back = comparable(blotter.to_ccxt(row, trades=trades, number=Decimal))
        dropped = {"datetime", "fees", "trades"} | ({"before", "direction"} if kind == "cash" else set())
        dropped |= {key for key in found if kind == "instrument" and (key.endswith("Id") or key in ("subType", "expiryDatetime", "percentage"))}
        for key, value in comparable(found).items():
            if key in dropped or value == 0 and key in TIMES or key in ("expiry", "created") and value == 0:
                continue
            if kind in ("cash", "trade") and key == "amount":
                value = abs(value) if row.get("type") != "funding" else value
                self.assertEqual(abs(back[key]), abs(value))
            elif key == "fee":
                self.assertEqual({name: back["fee"].get(name) for name in value}, value)
            elif kind == "position" and key == "contracts":
                self.assertEqual(back[key], abs(value))
            else:
                self.assertEqual(back.get(key), value, key)
        if kind == "order":
            ids = [trade.get("id") for trade in comparable(found).get("trades", []) if isinstance(trade, dict)]
            self.assertEqual(sorted(map(str, ids)), sorted(str(trade.get("id") if isinstance(trade, dict) else trade) for trade in back.get("trades", [])))
        if is_time(found.get("timestamp")):
            self.assertEqual(back["timestamp"], found["timestamp"])

    def compare_balance(self, found, rows, seq):
        stored = {}
        while seq in rows and (not stored or rows[seq]["snapshot"] == next(iter(stored.values()))["snapshot"]):
            stored[rows[seq]["currency"]] = rows[seq]
            seq += 1
        wanted = {}
        for currency, row in found.items():
            if currency not in ("info", "timestamp", "datetime", "free", "used", "total", "debt") and isinstance(row, dict):
                amounts = {name: row.get(name) for name in ("free", "used", "total", "debt")}
                if any(value is not None and Decimal(str(value)) != 0 for value in amounts.values()):
                    wanted[currency] = comparable(amounts)
        got = {currency: comparable({name: row[name] for name in ("free", "used", "total", "debt")}) for currency, row in stored.items()}
        self.assertEqual(got, wanted or {None: {}})
        back = blotter.to_ccxt(list(stored.values()), number=Decimal)
        self.assertEqual({currency: comparable(back[currency]) for currency in wanted}, wanted)


if __name__ == "__main__":
    support.main()
