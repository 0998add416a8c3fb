-- What people ask of records: open orders, latency, candles.

CREATE FUNCTION blotter_internal.is_refused(status text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN lower(status COLLATE "C") ~ 'reject' OR lower(status COLLATE "C") IN ('8', 'failed', 'order_failed', 'invalid');
COMMENT ON FUNCTION blotter_internal.is_refused(text) IS 'Does this status say that the venue did not take the order? 8 is FIX''s.';

-- An amend that the venue took replaces the order whose client id it names, also where the venue says nothing more of that one.
CREATE VIEW blotter.open_orders AS
SELECT o.* FROM blotter.orders o
WHERE NOT o.terminal
  AND NOT EXISTS (SELECT FROM blotter.orders n
                  WHERE n.orig_client_order_id = o.client_order_id AND n.orig_client_order_id <> '' AND n.exchange = o.exchange AND n.account = o.account
                    AND n.scope = o.scope AND n.order_key <> o.order_key AND NOT n.provisional AND n.first_recorded_at >= o.first_recorded_at
                    AND blotter_internal.is_refused(n.status) IS NOT TRUE);
COMMENT ON VIEW blotter.open_orders IS
    'Orders that have not ended: no status of theirs is in terminal_statuses, no event without a status said that nothing remains, and no other order with a venue''s id names them as the one it replaces (orig_client_order_id). An order without a status counts as open. SELECT symbol, side, price, remaining_quantity FROM blotter.open_orders WHERE exchange = ''okx'' AND account = ''main''.';

CREATE VIEW blotter.latency AS
SELECT r.kind, r.exchange, date_trunc('hour', r.recorded_at, 'UTC') AS hour, count(*) AS records,
       percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY extract(epoch FROM r.recorded_at - r.exchange_time)::float8 * 1000) AS exchange_to_recorded_ms,
       percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY extract(epoch FROM r.stored_at - r.recorded_at)::float8 * 1000) AS recorded_to_stored_ms
FROM (
    SELECT 'order' AS kind, exchange, exchange_time, recorded_at, stored_at FROM blotter.order_events
    UNION ALL
    SELECT 'trade', exchange, exchange_time, recorded_at, stored_at FROM blotter.trades
) AS r
GROUP BY r.kind, r.exchange, date_trunc('hour', r.recorded_at, 'UTC');
COMMENT ON VIEW blotter.latency IS 'How long records take from the venue to the strategy, and from there into PostgreSQL, by exchange and UTC hour.';
COMMENT ON COLUMN blotter.latency.kind IS 'order or trade';
COMMENT ON COLUMN blotter.latency.exchange IS 'the exchange';
COMMENT ON COLUMN blotter.latency.hour IS 'hour of recorded_at';
COMMENT ON COLUMN blotter.latency.records IS 'number of records';
COMMENT ON COLUMN blotter.latency.exchange_to_recorded_ms IS 'median, 99th percentile and largest, from exchange_time to recorded_at, milliseconds; two clocks: may be negative; of replayed history: its age';
COMMENT ON COLUMN blotter.latency.recorded_to_stored_ms IS 'median, 99th percentile and largest, from recorded_at to the beginning of the transaction that stored it, milliseconds';

-- By the venue's time, where it is given: history that was replayed lands where it belongs.
CREATE FUNCTION blotter.candles("symbol" text, "interval" interval, "from" timestamptz, "to" timestamptz, "exchange" text DEFAULT NULL)
    RETURNS TABLE (start timestamptz, open numeric, high numeric, low numeric, close numeric, volume numeric, count bigint)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT t.start, (array_agg(t.price ORDER BY t.at, t.recorded_at, t.seq, t.producer_id))[1], max(t.price), min(t.price),
           (array_agg(t.price ORDER BY t.at DESC, t.recorded_at DESC, t.seq DESC, t.producer_id DESC))[1], sum(t.quantity), count(*)
    FROM (
        -- weeks begin on Monday
        SELECT date_bin(candles."interval", o.at, '1970-01-05 00:00:00+00') AS start, o.*
        FROM (
            SELECT DISTINCT ON (e.exchange, CASE WHEN e.trade_id NOT IN ('', '0', '-1') THEN e.trade_id END,
                                CASE WHEN e.trade_id NOT IN ('', '0', '-1') THEN NULL ELSE row(e.recorded_at, e.producer_id, e.seq) END)
                   coalesce(e.exchange_time, e.recorded_at) AS at, e.recorded_at, e.seq, e.producer_id, e.price, e.quantity
            FROM blotter.trades e
            WHERE e.symbol = candles."symbol"
              AND (candles."exchange" IS NULL OR e.exchange = candles."exchange")
              AND (e.exchange_time >= candles."from" AND e.exchange_time < candles."to"
                   OR e.exchange_time IS NULL AND e.recorded_at >= candles."from" AND e.recorded_at < candles."to")
            ORDER BY e.exchange, CASE WHEN e.trade_id NOT IN ('', '0', '-1') THEN e.trade_id END,
                     CASE WHEN e.trade_id NOT IN ('', '0', '-1') THEN NULL ELSE row(e.recorded_at, e.producer_id, e.seq) END,
                     e.recorded_at, e.seq, e.producer_id
        ) AS o
    ) AS t
    GROUP BY t.start
    ORDER BY t.start;
    END;
COMMENT ON FUNCTION blotter.candles(text, interval, timestamptz, timestamptz, text) IS
    'Candles of a symbol from the trades recorded, public and own, by exchange_time (where absent, recorded_at), from <= time < to; exchange null: all together. A trade id counts once per exchange. Candles begin at multiples of the interval since a Monday, UTC; spans without trades have none. Volume is the sum of quantity.';

SELECT blotter_internal.inherit_comments('blotter.open_orders', 'blotter.orders');
