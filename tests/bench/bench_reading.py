#!/usr/bin/python3
"""How fast questions are answered at size: a generated database of so many events over so many days, and each question's time.

bench_reading.py CONNINFO [EVENTS [DAYS [SYMBOLS]]]: makes the database (50 million events over 200 days take minutes) where it is empty, then
asks. Fails where a plan reads a day that the question does not need.
"""

import sys
import time

import psycopg2

LIMIT_MS = 50

GENERATE = (
    "SET synchronous_commit = off",
    "SET maintenance_work_mem = '512MB'",
    "SET session_replication_role = replica",
    "UPDATE blotter_internal.retention SET days_back = 100000",
    "SELECT blotter_internal.make_day(({now} AT TIME ZONE 'UTC')::date - d) FROM generate_series(0, {days}) AS d",
    # {orders} orders, of which a tenth stays open, with so many events each; as many at a time are under way as a thousandth of them. Three of five
    # events are of orders, the others public trades; a fifth as many are fills.
    """INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange, exchange_time, account, strategy, symbol, market_type, order_id, client_order_id, event, side,
                                         status, price, quantity, filled_quantity)
       SELECT 7, n, at, 'binance', at, 'main', 'mm' || o % {symbols} % 20, 'SYM' || o % {symbols} || '/USDT:USDT', 'swap', 'o' || o, 'c' || o, CASE WHEN e = 0 THEN 'new' END, 'buy',
              CASE WHEN e = {each} - 1 AND o % 10 <> 0 THEN 'filled' ELSE 'open' END, 100, 1, round(e::numeric / {each}, 4)
       FROM (SELECT n, {now} - {days} * interval '1 day' * (1 - (n - 1)::float8 / ({orders} * {each})) AS at,
                    (n - 1) / ({alive} * {each}) * {alive} + (n - 1) % {alive} + 1 AS o, (n - 1) / {alive} % {each} AS e
             FROM generate_series(1, {orders}::bigint * {each}) AS n) AS g""",
    """INSERT INTO blotter.trades (producer_id, seq, recorded_at, exchange, exchange_time, symbol, market_type, trade_id, side, price, quantity)
       SELECT 8, n, at, 'binance', at, 'SYM' || n % {symbols} || '/USDT:USDT', 'swap', 'p' || n, 'buy', 100 + n % 977 / 100.0, 1
       FROM (SELECT n, {now} - {days} * interval '1 day' * (1 - n::float8 / ({events} - {orders}::bigint * {each})) AS at
             FROM generate_series(1, {events} - {orders}::bigint * {each}) AS n) AS g""",
    """INSERT INTO blotter.orders (exchange, account, scope, order_key, order_id, client_order_id, strategy, symbol, market_type, side, event, status, terminal, price,
                                   quantity, first_filled_quantity, filled_quantity, exchange_time, first_recorded_at, recorded_at, seq, producer_id)
       SELECT 'binance', 'main', 'SYM' || o % {symbols} || '/USDT:USDT', 'o' || o, 'o' || o, 'c' || o, 'mm' || o % {symbols} % 20, 'SYM' || o % {symbols} || '/USDT:USDT', 'swap', 'buy', 'new',
              CASE WHEN o % 10 = 0 THEN 'open' ELSE 'filled' END, o % 10 <> 0, 100, 1, 0, round(({each} - 1)::numeric / {each}, 4), last_at, first_at, last_at, last, 7
       FROM (SELECT o, last, {now} - {days} * interval '1 day' * (1 - (last - 1)::float8 / ({orders} * {each})) AS last_at,
                    {now} - {days} * interval '1 day' * (1 - (last - 1 - {alive} * ({each} - 1))::float8 / ({orders} * {each})) AS first_at
             FROM (SELECT o, (o - 1) / {alive} * {alive} * {each} + {alive} * ({each} - 1) + (o - 1) % {alive} + 1 AS last
                   FROM generate_series(1, {orders}::bigint) AS o) AS o) AS g""",
    """INSERT INTO blotter_internal.position (exchange, account, strategy, market_type, symbol, base, quote, currency, quantity, open_cost, realized_pnl, fee_currency, fee,
                                              fee_value, fills, first_fill_at, last_fill_at, last_trade_id, last_side, last_price)
       SELECT 'binance', 'main', 'mm' || s % 20, 'swap', 'SYM' || s || '/USDT:USDT', 'SYM' || s, 'USDT', 'USDT', s % 7 - 3, 100 * abs(s % 7 - 3), s % 100, 'USDT', 1, 1,
              {events} / 5 / {symbols}, {now} - {days} * interval '1 day', {now} - interval '1 s', 'z', 'buy', 100
       FROM generate_series(0, {symbols} - 1) AS s""",
    """INSERT INTO blotter_internal.fill (exchange, trade_id, n, position_id, at, lacks, differs, ranks, side, order_id, price, quantity, fee, fee_currency)
       SELECT 'binance', (5000000000 + g)::text, 0, 1 + (hashint8(g) & 2147483647) % {symbols}, {now} - {days} * interval '1 day' * (1 - g::float8 * 5 / {events}), 32, 0, 0,
              CASE WHEN g % 2 = 0 THEN 'buy' ELSE 'sell' END, 'o' || 1 + g * {orders} * 5 / {events} % {orders}, 100, 0.01, 0.001, 'USDT'
       FROM generate_series(1, {events}::bigint / 5) AS g""",
    """INSERT INTO blotter_internal.position_hour (position_id, hour, quantity, open_cost, realized_pnl, fee_currency, fee, fee_value, fills, total_fills, total_fee)
       SELECT f.position_id, blotter_internal.hour_of(f.at), 1, 100, count(*), 'USDT', sum(f.fee), sum(f.fee), count(*),
              sum(count(*)) OVER up_to, sum(sum(f.fee)) OVER up_to
       FROM blotter_internal.fill f GROUP BY 1, 2 WINDOW up_to AS (PARTITION BY f.position_id ORDER BY blotter_internal.hour_of(f.at))""",
    """INSERT INTO blotter_internal.pnl_day (exchange, account, strategy, currency, day, realized, fee_value, fills)
       SELECT p.exchange, p.account, p.strategy, 'USDT', blotter_internal.day_of(h.hour), sum(h.realized_pnl), sum(h.fee_value), sum(h.fills)
       FROM blotter_internal.position_hour h JOIN blotter_internal.position p ON p.id = h.position_id GROUP BY 1, 2, 3, 5""",
    "VACUUM ANALYZE",
)


def generate(cursor, events, days, symbols, orders=None):
    """Fills an empty database: what it says of orders, events and fills is one story, up to now."""
    orders = orders or events // 50
    alive = max(4, orders // 1000)
    orders -= orders % alive
    cursor.execute("SELECT quote_literal(now())")
    numbers = {"events": events, "days": days, "symbols": symbols, "orders": orders, "alive": alive, "each": events * 3 // 5 // orders}
    numbers["now"] = cursor.fetchone()[0] + "::timestamptz"
    for sql in GENERATE:
        began = time.perf_counter()
        cursor.execute(sql.format(**numbers))
        print(f"# {time.perf_counter() - began:6.1f} s  {' '.join(sql.split())[:80]}", flush=True)
    cursor.execute("SET session_replication_role = origin")


# The days that a question may read.
QUESTIONS = {
    "all positions": ("SELECT * FROM blotter.positions", 0, LIMIT_MS),
    "positions of a strategy": ("SELECT symbol, position_side, quantity, average_price FROM blotter.positions WHERE exchange = 'binance' AND account = 'main' AND strategy = 'mm3'", 0, LIMIT_MS),
    "open orders of an exchange and symbol": ("SELECT * FROM blotter.open_orders WHERE exchange = 'binance' AND symbol = 'SYM77/USDT:USDT'", 0, LIMIT_MS),
    "open orders of a strategy": ("SELECT symbol, order_key, side, price, filled_quantity FROM blotter.open_orders WHERE exchange = 'binance' AND account = 'main' AND strategy = 'mm3'", 0, LIMIT_MS),
    "newest fills": ("SELECT * FROM blotter.fills ORDER BY at DESC LIMIT 100", 0, LIMIT_MS),
    "newest fills of a symbol": ("SELECT * FROM blotter.fills WHERE exchange = 'binance' AND symbol = 'SYM77/USDT:USDT' ORDER BY at DESC LIMIT 100", 0, LIMIT_MS),
    "fills of an order": ("SELECT * FROM blotter.fills WHERE order_id = 'o1000'", 0, LIMIT_MS),
    "pnl of today by strategy": ("SELECT * FROM blotter.pnl(date_trunc('day', now(), 'UTC'), now(), 'strategy')", 2, LIMIT_MS),
    "pnl of 30 days by day": ("SELECT * FROM blotter.pnl(date_trunc('day', now(), 'UTC') - interval '30 days', now(), 'day')", 2, LIMIT_MS),
    "equity of a strategy": ("SELECT * FROM blotter.equity('mm3')", 0, LIMIT_MS),
    "positions a day ago": ("SELECT * FROM blotter.positions_at(now() - interval '1 day')", 0, None),
    "positions 100 days ago": ("SELECT * FROM blotter.positions_at(now() - interval '100 days')", 0, None),
    "one order's history": ("SELECT * FROM blotter.order_history('o1000')", 2, LIMIT_MS),
    "the page of the newest order": ("SELECT blotter_internal.web_order('binance', 'main', (SELECT o.order_key FROM blotter.orders o ORDER BY o.recorded_at DESC LIMIT 1), NULL)", 2, None),
    "candles of the last hour": ("SELECT * FROM blotter.candles('SYM77/USDT:USDT', '1 minute', now() - interval '1 hour', now())", 3, LIMIT_MS),  # those of an hour about midnight, and the day before, as clocks differ
    "latency of the last hour": ("SELECT * FROM blotter.latency()", 2, LIMIT_MS),
    "orders an hour ago": ("SELECT * FROM blotter.orders_at(now() - interval '1 hour', 'binance') WHERE NOT terminal", 2, None),
    "audit --quick": ("SELECT * FROM blotter_internal.audit_quick", 0, LIMIT_MS),
    "timeline of a minute": ("SELECT * FROM blotter.timeline(now() - interval '1 minute')", 2, LIMIT_MS),
}
def days_read(cursor):
    """The days that this transaction has read, in functions, too."""
    cursor.execute(
        "SELECT DISTINCT right(relname, 8) FROM pg_stat_xact_all_tables"
        " WHERE schemaname = 'blotter_internal' AND relname ~ '_\\d{8}$' AND coalesce(seq_scan, 0) + coalesce(idx_scan, 0) > 0"
    )
    return {row[0] for row in cursor.fetchall()}


def processor_ms(pid):
    """How long the server's process has run, in milliseconds; NaN: it is on another machine."""
    try:
        with open(f"/proc/{pid}/schedstat") as file:
            return int(file.read().split()[0]) / 1e6
    except OSError:
        return float("nan")


def ask(cursor, sql):
    """The server's time and its processor time, the best of five, and the days that were read. The first time a session plans, too."""
    times, busy, read = [], [], set()
    for _ in range(5):
        cursor.execute("SELECT pg_stat_force_next_flush()")  # else what is counted below may be an earlier question's
        before = processor_ms(cursor.connection.info.backend_pid)
        cursor.execute("BEGIN")
        cursor.execute("EXPLAIN (ANALYZE, TIMING off, FORMAT JSON) " + sql)
        busy.append(processor_ms(cursor.connection.info.backend_pid) - before)
        plan = cursor.fetchone()[0][0]
        times.append(plan["Planning Time"] + plan["Execution Time"])
        read |= days_read(cursor)
        cursor.execute("COMMIT")
    return min(times), min(busy), read


def main():
    conninfo = sys.argv[1]
    events, days, symbols = (int(a) for a in (sys.argv[2:] + ["200000", "20", "200"][len(sys.argv) - 2 :])[:3])
    connection = psycopg2.connect(conninfo)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("SET timezone = 'UTC'")
    cursor.execute("SET max_parallel_workers_per_gather = 0")  # what workers read and take is not seen from here
    cursor.execute("SELECT EXISTS (SELECT FROM blotter_internal.fill)")
    if not cursor.fetchone()[0]:
        generate(cursor, events, days, symbols)
    failed = False
    for name, (sql, days_allowed, limit) in QUESTIONS.items():
        ms, busy, read = ask(cursor, sql)
        bad = len(read) > days_allowed
        failed = failed or bad
        print(f"{name}: {ms:.1f} ms ({busy:.1f} of a processor){'' if limit is None or ms <= limit else f', more than {limit}'}{f': reads {len(read)} days' if bad else ''}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
