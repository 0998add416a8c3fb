#!/usr/bin/python3
"""How fast questions are answered at size: a generated database of so many events over so many days, and each question's time.

bench_reading.py CONNINFO [EVENTS [DAYS [SYMBOLS]]]: makes the database (50 million events over 200 days take minutes) where it is empty, then
asks. Fails where a plan reads a day that the question does not need.
"""

import re
import sys
import time

import psycopg2

LIMIT_MS = 50

GENERATE = (
    "SET synchronous_commit = off",
    "SET maintenance_work_mem = '512MB'",
    "SET session_replication_role = replica",
    "UPDATE blotter_internal.retention SET days_back = 100000",
    "SELECT blotter_internal.make_day((now() AT TIME ZONE 'UTC')::date - d) FROM generate_series(0, {days}) AS d",
    # an order each five events, of which a tenth is open; each fifth event a fill, each fifth a public trade
    """INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange, exchange_time, account, strategy, symbol, market_type, order_id, event, side, price, quantity)
       SELECT 7, g, now() - {days} * interval '1 day' * (1 - g::float8 / {events}), 'binance', now() - {days} * interval '1 day' * (1 - g::float8 / {events}), 'main',
              'mm' || g / 3 % {symbols} % 20, 'SYM' || g / 3 % {symbols} || '/USDT:USDT', 'swap', 'o' || g / 3, 'new', 'buy', 100, 1
       FROM generate_series(1, {events} * 3 / 5) AS g""",
    """INSERT INTO blotter.trades (producer_id, seq, recorded_at, exchange, exchange_time, symbol, market_type, trade_id, side, price, quantity)
       SELECT 8, g, now() - {days} * interval '1 day' * (1 - g::float8 / {events} * 5 / 2), 'binance', now() - {days} * interval '1 day' * (1 - g::float8 / {events} * 5 / 2),
              'SYM' || g % {symbols} || '/USDT:USDT', 'swap', 'p' || g, 'buy', 100 + g % 977 / 100.0, 1
       FROM generate_series(1, {events} * 2 / 5) AS g""",
    """INSERT INTO blotter.orders (exchange, account, order_key, order_id, client_order_id, strategy, symbol, market_type, side, status, terminal, price, quantity,
                                   first_recorded_at, recorded_at, seq, producer_id)
       SELECT 'binance', 'main', 'o' || g, 'o' || g, 'c' || g, 'mm' || g % {symbols} % 20, 'SYM' || g % {symbols} || '/USDT:USDT', 'swap', 'buy',
              CASE WHEN g % 10 = 0 THEN 'open' ELSE 'filled' END, g % 10 <> 0, 100, 1, now(), now(), g, 7
       FROM generate_series(1, {events} / 50) AS g""",
    """INSERT INTO blotter_internal.position (exchange, account, strategy, market_type, symbol, base, quote, currency, quantity, open_cost, realized_pnl, fee_currency, fee,
                                              fee_value, fills, first_fill_at, last_fill_at, last_trade_id, last_side, last_price)
       SELECT 'binance', 'main', 'mm' || s % 20, 'swap', 'SYM' || s || '/USDT:USDT', 'SYM' || s, 'USDT', 'USDT', s % 7 - 3, 100 * abs(s % 7 - 3), s % 100, 'USDT', 1, 1,
              {events} / 5 / {symbols}, now() - {days} * interval '1 day', now() - interval '1 s', 'z', 'buy', 100
       FROM generate_series(0, {symbols} - 1) AS s""",
    """INSERT INTO blotter_internal.fill (exchange, trade_id, n, position_id, at, lacks, differs, ranks, side, order_id, price, quantity, fee, fee_currency)
       SELECT 'binance', (5000000000 + g)::text, 0, 1 + (hashint8(g) & 2147483647) % {symbols}, now() - {days} * interval '1 day' * (1 - g::float8 * 5 / {events}), 32, 0, 0,
              CASE WHEN g % 2 = 0 THEN 'buy' ELSE 'sell' END, 'o' || g, 100, 0.01, 0.001, 'USDT'
       FROM generate_series(1, {events} / 5) AS g""",
    """INSERT INTO blotter_internal.position_hour (position_id, hour, quantity, open_cost, realized_pnl, fee_currency, fee, fee_value, fills)
       SELECT f.position_id, blotter_internal.hour_of(f.at), 1, 100, count(*), 'USDT', sum(f.fee), sum(f.fee), count(*) FROM blotter_internal.fill f GROUP BY 1, 2""",
    """INSERT INTO blotter_internal.pnl_day (exchange, account, strategy, currency, day, realized, fee_value, fills)
       SELECT p.exchange, p.account, p.strategy, 'USDT', blotter_internal.day_of(h.hour), sum(h.realized_pnl), sum(h.fee_value), sum(h.fills)
       FROM blotter_internal.position_hour h JOIN blotter_internal.position p ON p.id = h.position_id GROUP BY 1, 2, 3, 5""",
    "VACUUM ANALYZE",
)

# What a question may read of the days: none of them, or these last ones.
QUESTIONS = {
    "all positions": ("SELECT * FROM blotter.positions", 0, LIMIT_MS),
    "positions of a strategy": ("SELECT symbol, position_side, quantity, average_price FROM blotter.positions WHERE exchange = 'binance' AND account = 'main' AND strategy = 'mm3'", 0, LIMIT_MS),
    "open orders of an exchange and symbol": ("SELECT * FROM blotter.open_orders WHERE exchange = 'binance' AND symbol = 'SYM77/USDT:USDT'", 0, LIMIT_MS),
    "newest fills": ("SELECT * FROM blotter.fills ORDER BY at DESC LIMIT 100", 0, LIMIT_MS),
    "newest fills of a symbol": ("SELECT * FROM blotter.fills WHERE exchange = 'binance' AND symbol = 'SYM77/USDT:USDT' ORDER BY at DESC LIMIT 100", 0, LIMIT_MS),
    "fills of an order": ("SELECT * FROM blotter.fills WHERE order_id = 'o1000'", 0, LIMIT_MS),
    "pnl of today by strategy": ("SELECT * FROM blotter.pnl(date_trunc('day', now(), 'UTC'), now(), 'strategy')", 0, LIMIT_MS),
    "pnl of 30 days by day": ("SELECT * FROM blotter.pnl(date_trunc('day', now(), 'UTC') - interval '30 days', now(), 'day')", 0, LIMIT_MS),
    "equity of a strategy": ("SELECT * FROM blotter.equity('mm3')", 0, LIMIT_MS),
    "positions a day ago": ("SELECT * FROM blotter.positions_at(now() - interval '1 day')", 0, None),
    "timeline of a minute": ("SELECT * FROM blotter.timeline(now() - interval '1 minute')", 2, LIMIT_MS),
}
DAY = re.compile(r"(order_events|trades|cash|venue_positions|instruments|balances)_(\d{8})")


def days_read(node, found):
    if node.get("Relation Name") and DAY.fullmatch(node["Relation Name"]) and node.get("Actual Loops", 1) > 0:
        found.add(DAY.fullmatch(node["Relation Name"]).group(2))
    for child in node.get("Plans", []):
        days_read(child, found)
    return found


def ask(cursor, sql):
    """The server's time, best of five, and the days that were read."""
    times, read = [], set()
    for _ in range(5):
        cursor.execute("EXPLAIN (ANALYZE, TIMING off, FORMAT JSON) " + sql)
        plan = cursor.fetchone()[0][0]
        times.append(plan["Planning Time"] + plan["Execution Time"])
        days_read(plan["Plan"], read)
    return min(times), read


def main():
    conninfo = sys.argv[1]
    events, days, symbols = (int(a) for a in (sys.argv[2:] + ["200000", "20", "200"][len(sys.argv) - 2 :])[:3])
    connection = psycopg2.connect(conninfo)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("SET timezone = 'UTC'")
    cursor.execute("SELECT EXISTS (SELECT FROM blotter_internal.fill)")
    if not cursor.fetchone()[0]:
        for sql in GENERATE:
            began = time.perf_counter()
            cursor.execute(sql.format(events=events, days=days, symbols=symbols))
            print(f"# {time.perf_counter() - began:6.1f} s  {' '.join(sql.split())[:80]}", flush=True)
        cursor.execute("SET session_replication_role = origin")
    failed = False
    for name, (sql, days_allowed, limit) in QUESTIONS.items():
        ms, read = ask(cursor, sql)
        bad = len(read) > days_allowed
        failed = failed or bad
        print(f"{name}: {ms:.1f} ms{'' if limit is None or ms <= limit else f', more than {limit}'}{f': reads {len(read)} days' if bad else ''}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
