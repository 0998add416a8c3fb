"""Cash flows, balances, positions and instruments; orders with their trades; bindings; rejects: what is recorded is stored."""

import asyncio
import datetime
import json
import subprocess
import unittest
from decimal import Decimal
from urllib.parse import quote

import asyncpg
import psycopg2
import psycopg2.extras
import support

import blotter

MS = 1_763_900_000_123
TIME = datetime.datetime.fromtimestamp(MS // 1000, datetime.timezone.utc) + datetime.timedelta(milliseconds=MS % 1000)
ADDED = {"producer_id", "seq", "recorded_at", "stored_at", "stored_by", "exchange", "lane"}


def setUpModule():
    global servers
    servers = support.Servers()
    servers.drain()


def binance_market_order(fills):
    """What ccxt's binance.create_order() returns for a market order: with all its fills, and their own messages."""
    trades = [
        {
            "info": {"price": "67123.10000000", "qty": "0.00100000", "commission": "0.00000100", "commissionAsset": "BNB", "tradeId": 418 + number},
            "timestamp": None, "datetime": None, "symbol": "BTC/USDT", "id": str(418 + number), "order": "8389765", "type": "market",
            "side": "buy", "takerOrMaker": None, "price": 67123.1 + number, "amount": 0.001, "cost": 67.1231, "fees": [],
            "fee": {"cost": 0.000001, "currency": "BNB"},
        }
        for number in range(fills)
    ]  # fmt: skip
    return {
        "info": {"fills": [trade["info"] for trade in trades]}, "id": "8389765", "clientOrderId": "mm-17", "timestamp": MS,
        "datetime": "2025-11-23T12:13:20.123Z", "lastTradeTimestamp": MS, "lastUpdateTimestamp": MS, "symbol": "BTC/USDT", "type": "market",
        "timeInForce": "GTC", "postOnly": False, "reduceOnly": None, "side": "buy", "price": 67123.1, "triggerPrice": None,
        "amount": 0.001 * fills, "cost": 67.1231 * fills, "average": 67123.1, "filled": 0.001 * fills, "remaining": 0.0, "status": "closed",
        "fee": {"cost": 0.000001 * fills, "currency": "BNB"}, "trades": trades, "fees": [{"cost": 0.000001 * fills, "currency": "BNB"}],
        "stopPrice": None, "takeProfitPrice": None, "stopLossPrice": None,
    }  # fmt: skip


class Published(unittest.TestCase):
    """`blotter publish` of ccxt's JSON, beside the Python package of the same object."""

    def publish(self, exchange, *objects):
        lines = "".join(json.dumps(item) + "\n" for item in objects)
        command = [servers.program, "publish", "--exchange", exchange, "--until", "committed", "--timeout", "60s", "--journal", servers.journal(exchange)]
        done = subprocess.run(command, input=lines, env=support.plain_environment(), capture_output=True, text=True, timeout=support.TIMEOUT)
        return done.returncode, done.stdout, done.stderr

    def rows(self, table, exchange):
        rows = servers.query(f"SELECT * FROM blotter.{table} WHERE exchange = %s ORDER BY seq", exchange)
        return [{name: value for name, value in row.items() if name not in ADDED} for row in rows]

    def test_an_order_with_its_trades_is_what_python_makes_of_it(self):
        order = binance_market_order(100)
        order["trades"][1] |= {"order": None, "symbol": None, "side": "", "timestamp": MS + 5}
        order["trades"] += [{"id": "9", "symbol": "BTC/USDT"}, {"id": "10", "price": None, "amount": 1}, "11", None]
        producer = blotter.Producer("nested-python", journal=servers.journal("nested-python"))
        producer.order(order)
        producer.flush(60)
        producer.close()
        code, said, complaints = self.publish("nested-publish", order)
        self.assertEqual((code, complaints), (0, ""))
        self.assertEqual(json.loads(said)["accepted"], 101)
        for table in ("order_events", "trades"):
            self.assertEqual(self.rows(table, "nested-publish"), self.rows(table, "nested-python"), table)
        self.assertEqual(self.rows("order_events", "nested-publish")[0]["extra"]["trade_ids"], ["9", "10", "11"])
        self.assertEqual(len(self.rows("trades", "nested-publish")), 100)

    def test_all_of_it_is_recorded_or_nothing(self):
        trade = {"id": "1", "symbol": "BTC/USDT", "price": 1, "amount": 1}
        code, _, complaints = self.publish(
            "nested-wrong",
            {"id": "1", "symbol": "BTC/USDT", "trades": [trade, trade | {"id": "2", "symbol": "x" * 70000}]},
            {"id": "2", "symbol": "BTC/USDT", "trades": [trade | {"id": str(n)} for n in range(20000)]},
            {"id": "3", "symbol": "BTC/USDT", "trades": "none"},
        )
        self.assertEqual(code, 1)
        self.assertIn("line 1: trades: ", complaints)
        self.assertRegex(complaints, "line 2: trades: the line is longer")
        self.assertEqual([row["order_id"] for row in self.rows("order_events", "nested-wrong")], ["3"])
        self.assertEqual(self.rows("trades", "nested-wrong"), [])


class Kinds(unittest.TestCase):
    def setUp(self):
        self.producer = self.open()

    def open(self, exchange="binance", **options):
        producer = blotter.Producer(exchange, journal=servers.journal(self.id()), **options)  # with the default slot
        self.addCleanup(producer.close)
        return producer

    def rows(self, table, producer=None):
        producer = producer or self.producer
        producer.flush(support.TIMEOUT)
        rows = servers.query(f"SELECT * FROM blotter.{table} WHERE producer_id = %s ORDER BY seq", producer.stats().producer_id)
        return [{name: value for name, value in row.items() if value is not None and name not in ADDED} for row in rows]

    def test_a_market_order_with_a_hundred_fills(self):
        seq = self.producer.order(binance_market_order(100), account="main", strategy="mm")
        (order,) = self.rows("order_events")
        self.assertEqual((order["order_id"], order["quantity"], order["fee_currency"]), ("8389765", Decimal("0.1"), "BNB"))
        self.assertNotIn("extra", order)
        trades = self.rows("trades")
        self.assertEqual([trade["trade_id"] for trade in trades], [str(418 + number) for number in range(100)])
        expected = dict(
            trade_id="418", order_id="8389765", client_order_id="mm-17", symbol="BTC/USDT", side="buy", price=Decimal("67123.1"),
            quantity=Decimal("0.001"), cost=Decimal("67.1231"), fee=Decimal("0.000001"), fee_currency="BNB", exchange_time=TIME,
            account="main", strategy="mm", extra={"type": "market"},
        )  # fmt: skip
        self.assertEqual(trades[0], expected)
        stored = servers.query("SELECT seq FROM blotter.trades WHERE producer_id = %s ORDER BY seq", self.producer.stats().producer_id)
        self.assertEqual([row["seq"] for row in stored], list(range(seq + 1, seq + 101)))

    def test_an_order_and_its_trades_go_in_together_or_not_at_all(self):
        with blotter.Producer("okx", journal=servers.journal("small"), sender="none", slots=64) as small:
            accepted = small.order(id="1")
            with self.assertRaises((blotter.Full, ValueError)):
                small.order(binance_market_order(100))
            self.assertEqual(small.stats().accepted, accepted)
            order = binance_market_order(3)
            order["trades"][2]["symbol"] = 5.5  # a trade without a symbol cannot be used
            order["symbol"] = None
            self.assertEqual(small.order(order), accepted + 1)
            self.assertEqual(small.stats().accepted, accepted + 3)  # its id is in the order's extra

    def test_nested_trades_that_say_too_little_are_named_in_the_order(self):
        self.producer.order({"id": "1", "trades": ["TX-1", {"id": "TX-2", "symbol": "BTC/USD"}, {"id": "TX-3", "price": 1, "amount": 2, "symbol": "X"}]})
        self.assertEqual(self.rows("order_events"), [{"order_id": "1", "extra": {"trade_ids": ["TX-1", "TX-2"]}}])
        self.assertEqual([row["trade_id"] for row in self.rows("trades")], ["TX-3"])

    def test_fees(self):
        def fee(cost, currency, **more):
            return {"cost": cost, "currency": currency} | more

        cases = [
            ({"fee": fee(0.1, "A", rate=0.001), "fees": [fee(0.1, "A", rate=0.001)]}, dict(fee="0.1", fee_currency="A", fee_rate="0.001")),
            ({"fee": fee("0.10", "A"), "fees": [fee(0.1, "A")]}, dict(fee="0.10", fee_currency="A")),
            ({"fees": [fee("0.1", "A"), fee("0.2", "A")]}, dict(fee="0.3", fee_currency="A")),
            ({"fees": [fee("0.1", "A"), fee("-0.2", "B"), fee("0.30", "A")]}, dict(fee="0.40", fee_currency="A", fees={"A": 0.4, "B": -0.2})),
            ({"fee": fee(0.006, "A"), "fees": [fee(-0.006, "A")]}, dict(fee="0.006", fee_currency="A", extra={"fees": [fee(-0.006, "A")]})),
            ({"fee": fee(None, "A")}, dict(fee_currency="A")), ({"fee": {"amount": 5}}, dict(extra={"fee": {"amount": 5}})),
            ({"fee": fee(None, None), "fees": []}, {}), ({"fee": "1.5", "fee_currency": "A"}, dict(fee="1.5", fee_currency="A")),
        ]  # fmt: skip
        for given, _ in cases:
            self.producer.order({"id": "1"} | given)
        for row, (given, expected) in zip(self.rows("order_events"), cases, strict=True):
            exact = {name: Decimal(value) if name in ("fee", "fee_rate") else value for name, value in expected.items()}
            self.assertEqual(row, {"order_id": "1"} | exact, given)

    def test_the_time_of_an_object(self):
        cases = [
            ({"timestamp": MS, "datetime": "2025-11-23T12:13:20.123Z"}, dict(exchange_time=TIME)),
            ({"timestamp": MS, "datetime": "2025-11-23T13:13:20.123+01:00"}, dict(exchange_time=TIME)),
            ({"timestamp": MS, "datetime": "2025-11-23T12:13:20.123456Z"}, dict(exchange_time=TIME, extra={"datetime": "2025-11-23T12:13:20.123456Z"})),
            ({"timestamp": None, "datetime": "2025-11-23T12:13:20.123Z"}, dict(exchange_time=TIME)),
            ({"timestamp": 1763900000, "datetime": "1970-01-21T09:58:20.000Z"},
             dict(extra={"timestamp": 1763900000, "datetime": "1970-01-21T09:58:20.000Z"})),
            ({"timestamp": 0, "datetime": "soon"}, dict(extra={"datetime": "soon"})),
            ({"timestamp": MS, "lastUpdateTimestamp": MS, "lastTradeTimestamp": 5},
             dict(exchange_time=TIME, update_time=TIME, extra={"lastTradeTimestamp": 5})),
        ]  # fmt: skip
        for given, _ in cases:
            self.producer.order({"id": "1"} | given)
        for row, (given, expected) in zip(self.rows("order_events"), cases, strict=True):
            self.assertEqual(row, {"order_id": "1"} | expected, given)

    def test_the_digits_of_a_fraction_of_a_millisecond_count(self):
        """The double nearest to it is smaller, by a microsecond less a hair."""
        for value in (MS + 0.001, f"{MS}.001"):
            self.producer.order(id="1", timestamp=value)
            self.producer.order({"id": "1", "timestamp": value})
        rows = self.rows("order_events")
        self.assertEqual(rows, 4 * [{"order_id": "1", "exchange_time": TIME + datetime.timedelta(microseconds=1)}])

    def test_a_negative_amount_of_a_trade_is_a_sale(self):
        for amount in ("-2.50", -2.5, Decimal("-2.50"), -3):
            self.producer.trade({"symbol": "X", "price": 1, "amount": amount})
        self.producer.trade({"symbol": "X", "price": 0, "amount": 0, "side": "buy"})
        rows = self.rows("trades")
        self.assertEqual([(row["quantity"], row["side"]) for row in rows[:3]], [(Decimal("2.5"), "sell")] * 3)
        self.assertEqual((rows[4]["quantity"], rows[4]["price"], rows[4]["side"]), (0, 0, "buy"))

    def test_ledger_entries(self):
        base = {"id": "7", "timestamp": MS, "datetime": None, "currency": "USDT", "account": None, "referenceId": None, "fee": None, "info": {}}
        cases = [
            ({"direction": "out", "amount": 1.5, "before": 10.0, "after": 8.5, "type": "fee"}, dict(amount="-1.5", balance_after="8.5", type="fee")),
            ({"direction": "in", "amount": "1.50", "type": "rebate"}, dict(amount="1.50", type="rebate")),
            ({"direction": None, "amount": 2, "type": "withdraw"}, dict(amount="-2", type="withdraw")),
            ({"direction": "in", "amount": -3, "type": "trade"}, dict(amount="-3", type="trade", extra={"direction": "in"})),
            ({"direction": "out", "amount": 1, "before": 7, "after": 8, "type": "trade"},
             dict(amount="-1", balance_after="8", type="trade", extra={"before": 7})),
            ({"direction": "in", "amount": 1, "type": "fee", "info": {"incomeType": "FUNDING_FEE"}},
             dict(amount="1", type="funding", venue_type="FUNDING_FEE", extra={"type": "fee"})),
            ({"direction": "out", "amount": 1, "type": "transaction", "info": {"type": "x"}},
             dict(amount="-1", type="withdrawal", venue_type="x", extra={"type": "transaction"})),
        ]  # fmt: skip
        for given, _ in cases:
            self.producer.cash(base | given)
        for row, (given, expected) in zip(self.rows("cash"), cases, strict=True):
            exact = {name: Decimal(value) if name in ("amount", "balance_after") else value for name, value in expected.items()}
            self.assertEqual(row, dict(entry_id="7", currency="USDT", exchange_time=TIME) | exact, given)

    def test_funding_transfers_deposits(self):
        self.producer.cash({"symbol": "BTC/USDT:USDT", "code": "USDT", "amount": -0.5, "id": 10484, "timestamp": MS, "rate": 0.0001, "info": {}})
        self.producer.cash({"symbol": "BTC/USD:BTC", "code": None, "amount": 0.5, "id": None, "timestamp": MS})
        for source, account in (("spot", "spot"), ("spot", "swap")):
            self.producer.cash({"id": "1", "currency": "USDT", "amount": 5, "fromAccount": source, "toAccount": "x", "status": "ok"}, account=account)
        self.producer.cash(
            {"id": "2", "txid": "0xa", "address": "to", "addressTo": "to", "addressFrom": "from", "type": "withdrawal", "amount": 5.0,
             "currency": "BTC", "status": "pending", "updated": MS, "internal": False, "fee": {"cost": 0.1, "currency": "BTC"}, "tag": "9"}
        )  # fmt: skip
        first, second, third, fourth, fifth = self.rows("cash")
        self.assertEqual(first, dict(symbol="BTC/USDT:USDT", currency="USDT", amount=Decimal("-0.5"), entry_id="10484", exchange_time=TIME,
                                     rate=Decimal("0.0001"), type="funding"))  # fmt: skip
        self.assertEqual((second["currency"], second["amount"]), ("BTC", Decimal("0.5")))
        self.assertEqual((third["amount"], fourth["amount"], third["type"], third["from_account"]), (-5, 5, "transfer", "spot"))
        self.assertEqual(fifth, dict(entry_id="2", txid="0xa", address="to", type="withdrawal", amount=-5, currency="BTC", status="pending",
                                     update_time=TIME, fee=Decimal("0.1"), fee_currency="BTC",
                                     extra={"addressFrom": "from", "internal": False, "tag": "9"}))  # fmt: skip
        bybit = self.open("bybit")
        bybit.cash({"symbol": "BTC/USD:BTC", "code": "USD", "amount": 0.25, "id": "1", "timestamp": MS, "info": {"execFee": "0.25"}})
        (row,) = self.rows("cash", bybit)
        self.assertEqual((row["currency"], row["amount"], row["extra"]), ("BTC", Decimal("-0.25"), {"code": "USD"}))

    def test_a_balance_is_a_record_for_each_currency(self):
        balance = {
            "info": {}, "timestamp": MS, "datetime": None, "BTC": {"free": 1.5, "used": 0.5, "total": 2.0}, "DUST": {"free": 0.0, "used": 0.0, "total": 0.0},
            "USDT": {"free": "10.10", "used": None, "total": None, "debt": 3}, "free": {"BTC": 1.5}, "used": {}, "total": {"BTC": 2.0, "ETH": 7},
        }  # fmt: skip
        seq = self.producer.balance(balance, account="main", market_type="spot")
        rows = self.rows("balances")
        self.assertEqual({row.pop("snapshot") for row in rows}.__len__(), 1)
        common = dict(account="main", market_type="spot", exchange_time=TIME)
        self.assertEqual(
            rows,
            [
                dict(common, currency="BTC", free=Decimal("1.5"), used=Decimal("0.5"), total=2),
                dict(common, currency="USDT", free=Decimal("10.10"), debt=3), dict(common, currency="ETH", total=7),
            ],
        )  # fmt: skip
        self.assertEqual(self.producer.stats().accepted, seq + 2)
        self.producer.balance({"free": {}, "used": {}, "total": {}})
        self.assertNotIn("currency", self.rows("balances")[-1])

    def test_positions_are_one_snapshot(self):
        def position(**fields):
            return {"info": {}, "symbol": "BTC/USDT:USDT", "timestamp": MS, "contractSize": 1.0, "percentage": 1.5} | fields

        given = [
            position(contracts=2.0, side="short", hedged=True, marginMode="crossed", entryPrice=100.0, leverage=3.0, id=5),
            position(contracts=-2.0, side="short", hedged=False), position(contracts=3, side="both"), position(contracts=0.0, side="long"),
            position(contracts=None, side="long"),
        ]  # fmt: skip
        self.producer.position(given)
        rows = self.rows("venue_positions")
        self.assertEqual(len({row["snapshot"] for row in rows}), 1)
        self.assertEqual([row.get("quantity") for row in rows], [-2, -2, 3, 0, None])
        self.assertEqual([row.get("position_side") for row in rows], ["short", "both", None, None, None])
        self.assertEqual((rows[0]["margin_mode"], rows[0]["entry_price"], rows[0]["position_id"]), ("cross", 100, "5"))
        self.assertEqual(rows[2]["extra"], {"side": "both", "percentage": 1.5})
        self.assertEqual(self.producer.position([]), 0)

    def test_an_instrument(self):
        market = {
            "id": "BTCUSDT", "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT", "settle": "USDT", "baseId": "btc", "quoteId": "usdt",
            "type": "swap", "spot": False, "swap": True, "contract": True, "linear": True, "inverse": False, "active": True, "contractSize": 0.001,
            "precision": {"price": 0.1, "amount": 0.001, "base": 8}, "limits": {"amount": {"min": 0.001, "max": 100}, "cost": {"min": 5}, "price": {"min": 1}},
            "maker": 0.0002, "taker": 0.0004, "expiry": None, "created": MS, "percentage": True, "info": {"a": 1},
        }  # fmt: skip
        self.producer.instrument(market, precision_mode=4)
        self.producer.instrument(market, precision_mode=2)
        first, second = self.rows("instruments")
        expected = dict(
            venue_symbol="BTCUSDT", symbol="BTC/USDT:USDT", market_type="swap", base="BTC", quote="USDT", settle="USDT", linear=True,
            inverse=False, active=True, contract_size=Decimal("0.001"), price_step=Decimal("0.1"), quantity_step=Decimal("0.001"),
            min_quantity=Decimal("0.001"), max_quantity=100, min_cost=5, maker_fee=Decimal("0.0002"), taker_fee=Decimal("0.0004"), created=TIME,
            quantity_unit="contracts", extra={"percentage": True, "precision": {"base": 8}, "limits": {"price": {"min": 1}}},
        )  # fmt: skip
        self.assertEqual(first, expected)
        self.assertNotIn("price_step", second)
        self.assertEqual(second["extra"]["precision"], market["precision"])

    def test_rows_of_any_driver_give_the_object_back(self):
        order = binance_market_order(2)
        self.producer.order(order)
        self.producer.flush(support.TIMEOUT)
        condition = f"WHERE producer_id = {self.producer.stats().producer_id}"
        sql, trade_sql = f"SELECT * FROM blotter.order_events {condition}", f"SELECT * FROM blotter.trades {condition} ORDER BY seq"

        async def with_asyncpg():
            where = dict(part.split("=", 1) for part in servers.settings["BLOTTER_POSTGRES"].split())
            connection = await asyncpg.connect(f"postgresql://{where['user']}@/{where['dbname']}?host={quote(where['host'], safe='')}&port={where['port']}")
            rows = await connection.fetch(sql), await connection.fetch(trade_sql)
            await connection.close()
            return rows

        def with_psycopg2(factory):
            with psycopg2.connect(servers.settings["BLOTTER_POSTGRES"], cursor_factory=factory) as connection, connection.cursor() as cursor:
                cursor.execute(sql)
                orders = cursor.fetchall()
                cursor.execute(trade_sql)
                return orders, cursor.fetchall()

        wanted = {key: value for key, value in order.items() if key not in ("info", "trades")} | {"stopPrice": None}
        trade = {key: value for key, value in order["trades"][0].items() if key != "info"}
        trade |= {"timestamp": MS, "datetime": order["datetime"], "fees": [trade["fee"]]}
        for orders, trades in (
            asyncio.run(with_asyncpg()), with_psycopg2(psycopg2.extras.RealDictCursor), with_psycopg2(psycopg2.extras.DictCursor),
            with_psycopg2(psycopg2.extras.NamedTupleCursor),
        ):  # fmt: skip
            back = blotter.to_ccxt(orders[0], trades=trades)
            self.assertEqual({key: back[key] for key in wanted}, wanted)
            self.assertEqual({key: back["trades"][0][key] for key in trade}, trade)
        self.assertEqual(blotter.to_ccxt(orders[0], number=str)["price"], "67123.1")

    # --- bindings ---

    def test_a_binding_adds_its_constants(self):
        producer = self.open("kraken", account="main", strategy="default")
        book = producer.bind(strategy="mm", symbol="BTC/USDT", side="buy", market_type="spot")
        producer.order(id="1")
        book.order({"id": "2", "symbol": "BTC/USDT"})
        book.order({"id": "3", "symbol": "ETH/USDT", "side": "sell"})  # the object's own values come first
        book.order(id="4", strategy="other")
        book.bind(side="sell", account=None).trade(trade_id="5", price=1, quantity=2)
        book.cash(currency="USDT", amount=1)
        book.order(binance_market_order(1))
        rows = [tuple(row.get(name) for name in ("order_id", "account", "strategy", "symbol", "side")) for row in self.rows("order_events", producer)]
        self.assertEqual(
            rows,
            [
                ("1", "main", "default", None, None), ("2", "main", "mm", "BTC/USDT", "buy"), ("3", "main", "mm", "ETH/USDT", "sell"),
                ("4", "main", "other", "BTC/USDT", "buy"), ("8389765", "main", "mm", "BTC/USDT", "buy"),
            ],
        )  # fmt: skip
        trades = self.rows("trades", producer)
        self.assertEqual([(row["account"], row["strategy"], row["symbol"], row["side"]) for row in trades],
                         [("main", "mm", "BTC/USDT", "sell"), ("main", "mm", "BTC/USDT", "buy")])  # fmt: skip
        self.assertEqual(self.rows("cash", producer)[0]["symbol"], "BTC/USDT")

    # --- a recorder that cannot hurt ---

    def test_on_error_reject_never_raises_and_the_object_is_in_rejects(self):
        producer = self.open("okx", on_error="reject", slots=64)
        circle = {"id": None}
        circle["self"] = circle
        calls = [
            lambda: producer.order({"symbol": "BTC/USDT", "note": "no id"}), lambda: producer.order({"id": "1", "direction": "in", "amount": 1}),
            lambda: producer.order(id="1", accont="main"), lambda: producer.trade({"symbol": "X", "price": 1}), lambda: producer.cash({"amount": 1}),
            lambda: producer.order(5), lambda: producer.order({}, {}), lambda: producer.order(circle), lambda: producer.position([5]),
            lambda: producer.order({"id": 1, "extra": {"x": "y" * 5000}}), lambda: producer.order(Broken()), lambda: producer.balance([1]),
            lambda: producer.bind(symbol="X").trade({"price": "x"}),
        ]  # fmt: skip
        for call in calls:
            self.assertEqual(call(), 0)
        self.assertGreater(producer.order(id="good"), 0)
        self.assertEqual(producer.stats().refused, len(calls))
        producer.flush(support.TIMEOUT)
        rejects = servers.query("SELECT reason, encode(raw, 'escape') AS raw FROM blotter.rejects WHERE exchange = 'okx' ORDER BY seq")
        self.assertEqual(len(rejects), len(calls))
        self.assertIn("order_id: required and missing", rejects[0]["reason"])
        self.assertIn("record it with cash()", rejects[1]["reason"])
        self.assertIn("accont", rejects[2]["reason"])
        self.assertIn("no id", rejects[0]["raw"])
        self.assertEqual([row["order_id"] for row in self.rows("order_events", producer)], ["good"])
        producer.close()
        self.assertEqual(producer.order(id="late"), 0)

    def test_on_error_reject_with_a_full_journal(self):
        with blotter.Producer("gate", journal=servers.journal("full"), sender="none", slots=64, on_error="reject") as producer:
            seqs = [producer.order(id=str(number)) for number in range(100)]
            self.assertEqual(seqs.count(0), 100 - 63)
            self.assertEqual(producer.cash({"amount": 1, "code": "USDT", "id": "1"}), 0)
            self.assertEqual((producer.stats().full, producer.stats().refused), (100 - 63 + 1, 0))
            self.assertEqual(producer.cash({"amount": 1}), 0)  # no currency: its reject finds no room
            self.assertEqual((producer.stats().full, producer.stats().refused), (100 - 63 + 2, 1))

    def test_closing_and_waiting_in_a_coroutine(self):
        async def run():
            async with blotter.Producer("htx", journal=servers.journal("htx")) as producer:
                seq = producer.order(id="1")
                await producer.flushed(support.TIMEOUT)
                self.assertGreaterEqual(producer.stats().committed, seq)
            self.assertTrue(producer.closed)
            with blotter.Producer("htx", journal=servers.journal("none"), redis="redis://127.0.0.1:1") as lonely:
                lonely.order(id="1")
                with self.assertRaises(TimeoutError):
                    await lonely.flushed(0.05)
                self.assertEqual(await lonely.aclose(0.05), 3)

        asyncio.run(run())


class Broken(dict):
    """A mapping that cannot be read."""

    def __iter__(self):
        raise KeyError("broken")

    keys = items = __iter__


if __name__ == "__main__":
    support.main()
