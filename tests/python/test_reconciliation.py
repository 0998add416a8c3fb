"""What blotter.reconciliation makes of balances: which can be held against what moved between them, and which cannot."""

import json
import subprocess
import time
import unittest

import support

S = 1_000_000_000


def setUpModule():
    global servers
    servers = support.Servers()
    servers.drain()


def fill(trade_id, symbol, price, quantity, side="buy", **more):
    return {"kind": "trade", "trade_id": trade_id, "order_id": trade_id, "symbol": symbol, "side": side, "price": price, "quantity": quantity} | more


class Balances(unittest.TestCase):
    def setUp(self):
        self.now = time.time_ns()

    def wallet(self, before, after, **of):
        """Two snapshots; what moves, moves in between."""
        return [
            {"kind": "balance", "currency": currency, "total": total, "snapshot": at} | of
            for at, totals in ((self.now - 60 * S, before), (self.now + 3600 * S, after))
            for currency, total in totals.items()
        ]

    def publish(self, *records, exchange):
        lines = "".join(json.dumps(record) + "\n" for record in records)
        command = [servers.program, "publish", "--exchange", exchange, "--until", "committed", "--timeout", "60s", "--journal", servers.journal(exchange)]
        done = subprocess.run(command, input=lines, env=support.plain_environment(), capture_output=True, text=True, timeout=support.TIMEOUT)
        self.assertEqual(done.returncode, 0, done.stderr)
        support.wait_until(lambda: servers.query("SELECT count(*) AS n FROM blotter_internal.book_queue")[0]["n"] == 0)

    def compared(self, exchange):
        rows = servers.query("SELECT * FROM blotter.reconciliation WHERE exchange = %s AND kind = 'balance'", exchange)
        return {(row["market_type"], row["currency"]): (row["agrees"], row["difference"], row["note"].split(",")[0]) for row in rows}

    def test_one_wallet_for_all_is_compared_but_for_what_derivatives_pay_in(self):
        at = {"exchange_time": self.now}
        self.publish(
            *self.wallet({"USDT": "1000", "BTC": "1", "ETH": "5", "BNB": "2", "XRP": "7"}, {"USDT": "1013.7", "BTC": "0.95", "ETH": "5.999", "BNB": "1.99", "XRP": "8"}),
            fill("1", "ETH/BTC", "0.05", "1", fee="0.001", fee_currency="ETH", **at),
            fill("2", "BTC/USDT:USDT", "100", "3", market_type="swap", fee="0.01", fee_currency="BNB", **at),
            fill("3", "BTC/USDT:USDT", "104", "3", side="sell", market_type="swap", **at),
            exchange="unified",
        )  # fmt: skip
        unknown = "the ledger has no trades"
        wanted = {
            ("", "USDT"): (None, unknown), ("", "BNB"): (None, unknown), ("", "BTC"): (True, ""), ("", "ETH"): (True, ""),
            ("", "XRP"): (False, "cash flows or fills are missing"),
        }  # fmt: skip
        self.assertEqual({key: (agrees, note) for key, (agrees, _, note) in self.compared("unified").items()}, wanted)

    def test_a_derivative_of_an_unknown_contract_may_pay_in_any_currency(self):
        self.publish(*self.wallet({"XRP": "7"}, {"XRP": "8"}), fill("1", "XRPH27", "100", "3", market_type="future", exchange_time=self.now), exchange="raw")
        self.assertIsNone(self.compared("raw")["", "XRP"][0])

    def test_fills_move_the_wallet_of_their_market(self):
        self.publish(
            *self.wallet({"USDT": "300"}, {"USDT": "300"}, market_type="spot"), *self.wallet({"USDT": "500"}, {"USDT": "400", "ETH": "1"}, market_type="margin"),
            fill("1", "ETH/USDT", "100", "1", market_type="margin", exchange_time=self.now), exchange="two",
        )  # fmt: skip
        wanted = {("spot", "USDT"): (True, 0, ""), ("margin", "USDT"): (True, 0, ""), ("margin", "ETH"): (True, 0, "")}
        self.assertEqual(self.compared("two"), wanted)


if __name__ == "__main__":
    support.main()
