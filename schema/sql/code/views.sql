-- The views and functions that answer a trader's questions: open orders, latency, candles.

CREATE FUNCTION blotter_internal.is_refused(status text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN lower(status COLLATE "C") ~ 'reject' OR lower(status COLLATE "C") IN ('8', 'failed', 'order_failed', 'invalid');
COMMENT ON FUNCTION blotter_internal.is_refused(text) IS 'Does this status say that the venue did not take the order? 8 is FIX''s.';

CREATE FUNCTION blotter_internal.is_amend(event text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN lower(event COLLATE "C") IN ('amend', 'amended', 'order_amended', 'replace', 'replaced', 'order_replaced', 'edit', 'edited', 'modify', 'modified', '5');
COMMENT ON FUNCTION blotter_internal.is_amend(text) IS 'Does an event with this name tell of an amend? 5 is FIX''s.';

-- Static, so that a session plans it once, where planning would take ten times as long; still one day is read. By the time alone, as an order id may
-- have any number of events.
CREATE FUNCTION blotter_internal.begins_with_amend(order_key text, exchange text, account text, first_recorded_at timestamptz) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM ((SELECT e.order_id, e.exchange, e.account, e.event FROM blotter.order_events e
                      WHERE e.recorded_at = begins_with_amend.first_recorded_at LIMIT 1000)
                     UNION ALL
                     (SELECT k.order_id, k.exchange, k.account, k.event FROM blotter_internal.kept_order_events k
                      WHERE k.recorded_at = begins_with_amend.first_recorded_at LIMIT 1000)) AS e
        WHERE e.order_id = begins_with_amend.order_key AND e.exchange = begins_with_amend.exchange
          AND coalesce(e.account, '') = begins_with_amend.account AND blotter_internal.is_amend(e.event));
END
$$;
COMMENT ON FUNCTION blotter_internal.begins_with_amend(text, text, text, timestamptz) IS 'Tells whether the first known event of an order is an amend, so that it replaces an order with the same client id.';

-- An amend that the venue took replaces the order whose client id it names, also where the venue says nothing more of that one. One that names
-- none and has a new order id replaces the order with its own client id. Of a name that more orders have than one can tell apart a few are looked
-- at, each by the index: whoever gives thousands of orders one name makes nothing slow.
CREATE VIEW blotter.open_orders AS
SELECT o.* FROM blotter.orders o
WHERE NOT o.terminal
  AND NOT EXISTS (SELECT FROM (SELECT n.order_key, n.first_recorded_at, n.status FROM blotter.orders n
                               WHERE n.orig_client_order_id = o.client_order_id AND n.orig_client_order_id <> '' AND n.exchange = o.exchange
                                 AND n.account = o.account AND n.scope = o.scope AND NOT n.provisional
                               ORDER BY n.first_recorded_at DESC LIMIT blotter_internal.common_client_id()) AS n
                  WHERE n.order_key <> o.order_key AND n.first_recorded_at >= o.first_recorded_at AND blotter_internal.is_refused(n.status) IS NOT TRUE)
  AND NOT EXISTS (SELECT FROM (SELECT n.order_key, n.first_recorded_at, n.status, n.provisional, n.orig_client_order_id FROM blotter.orders n
                               WHERE n.client_order_id = o.client_order_id AND n.client_order_id NOT IN ('', '0') AND n.exchange = o.exchange
                                 AND n.account = o.account AND n.scope = o.scope AND n.first_recorded_at > o.first_recorded_at
                               ORDER BY n.first_recorded_at LIMIT 5) AS n
                  WHERE n.order_key <> o.order_key AND NOT n.provisional AND n.orig_client_order_id IS NULL AND blotter_internal.is_refused(n.status) IS NOT TRUE
                    AND blotter_internal.begins_with_amend(n.order_key, o.exchange, o.account, n.first_recorded_at));
COMMENT ON VIEW blotter.open_orders IS
    'Orders that have not ended: no status of theirs is in terminal_statuses, no event without a status said that nothing remains, and no order with a venue''s id that was first recorded no earlier replaces them: it names them in orig_client_order_id, or has their client_order_id and began with an event amended, replaced, edited or the like; one that the venue refused replaces nothing. An order without a status counts as open. Example: SELECT symbol, side, price, remaining_quantity FROM blotter.open_orders WHERE exchange = ''okx'' AND account = ''main'';';

-- Both functions below write the bounds into the statement, so that the days outside of them are not even planned for.

-- An intent is an order's first event, if that has no order id: the strategy's own record of what it is about to send. The venue's first event
-- of that order is the acknowledgement. It is looked up by all that orders_client_order_id has, as many orders may have one client id. Events and fills are looked up by the order's id alone. Of a day without statistics PostgreSQL takes an id for
-- no rarer than a span of time, and would read for each intent all that was recorded since, so the id is given as a range, too; and the exchange
-- in another collation than the index of the primary key has.
CREATE FUNCTION blotter_internal.answered_intents("from" timestamptz, "to" timestamptz)
    RETURNS TABLE (exchange text, hour timestamptz, order_to_ack_ms float8, ack_to_fill_ms float8, slippage_bps float8)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
    SET enable_bitmapscan = off
    AS $$
BEGIN
    RETURN QUERY EXECUTE format($q$
        SELECT i.exchange, date_trunc('hour', i.at, 'UTC'), extract(epoch FROM a.ack - i.at)::float8 * 1000, extract(epoch FROM a.fill - a.ack)::float8 * 1000,
               (CASE blotter_internal.side_of(i.side) WHEN 'buy' THEN 1 WHEN 'sell' THEN -1 END * (p.price - i.price) / nullif(i.price, 0) * 10000)::float8
        FROM (SELECT e.exchange, coalesce(e.account, '') AS account, e.client_order_id, min(e.side) AS side, min(e.price) AS price, e.recorded_at AS at,
                     CASE WHEN e.exchange IN (SELECT v.exchange FROM blotter_internal.venues v WHERE v.order_id_scope = 'symbol') THEN coalesce(e.symbol, '') ELSE '' END AS scope
              FROM blotter.order_events e
              WHERE e.recorded_at >= %1$L AND e.recorded_at < %2$L AND coalesce(e.order_id, '') IN ('', '0') AND e.client_order_id NOT IN ('', '0')
              GROUP BY e.exchange, coalesce(e.account, ''), e.client_order_id, e.recorded_at, 7 OFFSET 0) AS i
        CROSS JOIN LATERAL (SELECT o.order_key FROM blotter.orders o
                            WHERE o.client_order_id = i.client_order_id AND o.exchange = i.exchange AND o.account = i.account AND o.scope = i.scope
                              AND o.first_recorded_at = i.at AND NOT o.provisional LIMIT 1) AS o
        CROSS JOIN LATERAL (SELECT min(e.at) AS ack, min(e.at) FILTER (WHERE e.traded) AS fill
                            FROM (SELECT e.recorded_at AS at, e.last_quantity <> 0 OR e.filled_quantity > 0 AS traded FROM blotter.order_events e
                                  WHERE e.order_id = o.order_key AND e.order_id BETWEEN o.order_key AND o.order_key AND e.exchange = i.exchange AND coalesce(e.account, '') = i.account
                                    AND e.recorded_at >= i.at AND e.recorded_at >= %1$L AND e.recorded_at < %3$L OFFSET 0) AS e) AS a
        CROSS JOIN LATERAL (SELECT sum(b.price * b.quantity) / nullif(sum(b.quantity), 0) AS price FROM blotter_internal.fill b
                            WHERE b.order_id = o.order_key COLLATE "C" AND b.exchange COLLATE "default" = i.exchange AND b.price IS NOT NULL AND NOT b.rolled) AS p
    $q$, "from", "to", least("to", now()) + interval '1 day');
END
$$;
COMMENT ON FUNCTION blotter_internal.answered_intents(timestamptz, timestamptz) IS
    'How each intent recorded in a span of time was answered: when the venue acknowledged it, when it first traded, at what price.';

CREATE FUNCTION blotter.latency("from" timestamptz DEFAULT now() - interval '1 hour', "to" timestamptz DEFAULT now())
    RETURNS TABLE (kind text, exchange text, hour timestamptz, records bigint, exchange_to_recorded_ms float8[], recorded_to_stored_ms float8[],
                   intents bigint, order_to_ack_ms float8[], ack_to_fill_ms float8[], slippage_bps float8[])
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
BEGIN
    RETURN QUERY EXECUTE format($q$
        WITH answered AS (
            SELECT i.exchange, i.hour, count(*) AS intents,
                   percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY i.order_to_ack_ms) AS order_to_ack_ms,
                   percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY i.ack_to_fill_ms) AS ack_to_fill_ms,
                   percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY i.slippage_bps) AS slippage_bps
            FROM blotter_internal.answered_intents(%1$L, %2$L) AS i GROUP BY i.exchange, i.hour
        ), recorded AS (
            SELECT r.kind, r.exchange, date_trunc('hour', r.recorded_at, 'UTC') AS hour, count(*) AS records,
                   percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY extract(epoch FROM r.recorded_at - r.exchange_time)::float8 * 1000) AS exchange_to_recorded_ms,
                   percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY extract(epoch FROM r.stored_at - r.recorded_at)::float8 * 1000) AS recorded_to_stored_ms
            FROM (
                SELECT 'order' AS kind, e.exchange, coalesce(e.update_time, e.last_trade_time, e.exchange_time) AS exchange_time, e.recorded_at, e.stored_at
                FROM blotter.order_events e WHERE e.recorded_at >= %1$L AND e.recorded_at < %2$L
                UNION ALL
                SELECT 'trade', e.exchange, e.exchange_time, e.recorded_at, e.stored_at
                FROM blotter.trades e WHERE e.recorded_at >= %1$L AND e.recorded_at < %2$L
            ) AS r
            GROUP BY r.kind, r.exchange, date_trunc('hour', r.recorded_at, 'UTC'))
        SELECT r.kind, r.exchange, r.hour, r.records, r.exchange_to_recorded_ms, r.recorded_to_stored_ms, a.intents, a.order_to_ack_ms, a.ack_to_fill_ms, a.slippage_bps
        FROM recorded r LEFT JOIN answered a ON r.kind = 'order' AND a.exchange = r.exchange AND a.hour = r.hour
        ORDER BY r.hour, r.exchange, r.kind
    $q$, "from", "to");
END
$$;
COMMENT ON FUNCTION blotter.latency(timestamptz, timestamptz) IS
    'How long records and orders take, by kind (order, trade), exchange and UTC hour of recorded_at, from a time (inclusive) to another (exclusive). Each array is median, 99th percentile and largest. exchange_to_recorded_ms: from the venue to the strategy (two clocks: may be negative; of replayed history: its age); recorded_to_stored_ms: from there to the transaction that stored it. Where intents are recorded (order events with a client_order_id and no order_id yet), by the intent''s hour: order_to_ack_ms to the venue''s first event of that order, ack_to_fill_ms from there to its first execution, both by recorded_at, and slippage_bps, how much worse than the intent''s price it traded, in hundredths of a percent. Example: SELECT * FROM blotter.latency(now() - interval ''2 hours'');';

-- By the venue's time, where it is given: history that was replayed lands where it belongs. It is recorded after it happened, so that days
-- before the span are not read, but for clocks that differ by up to a day.
CREATE FUNCTION blotter.candles("symbol" text, "interval" interval, "from" timestamptz, "to" timestamptz, "exchange" text DEFAULT NULL)
    RETURNS TABLE (start timestamptz, open numeric, high numeric, low numeric, close numeric, volume numeric, count bigint)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
BEGIN
    -- weeks begin on Monday
    RETURN QUERY EXECUTE format($q$
        SELECT t.start, (array_agg(t.price ORDER BY t.at, t.recorded_at, t.seq, t.producer_id))[1], max(t.price), min(t.price),
               (array_agg(t.price ORDER BY t.at DESC, t.recorded_at DESC, t.seq DESC, t.producer_id DESC))[1], sum(t.quantity), count(*)
        FROM (
            SELECT date_bin($1, o.at, '1970-01-05 00:00:00+00') AS start, o.*
            FROM (
                SELECT DISTINCT ON (e.exchange, e.id, CASE WHEN e.id IS NULL THEN row(e.recorded_at, e.producer_id, e.seq) END) e.*
                FROM (SELECT e.exchange, CASE WHEN e.trade_id NOT IN ('', '0', '-1') THEN e.trade_id END AS id, coalesce(e.exchange_time, e.recorded_at) AS at,
                             e.recorded_at, e.seq, e.producer_id, e.price, e.quantity
                      FROM blotter.trades e
                      WHERE e.symbol = $2 AND ($3 IS NULL OR e.exchange = $3) AND e.recorded_at >= %1$L
                        AND (e.exchange_time >= %2$L AND e.exchange_time < %3$L OR e.exchange_time IS NULL AND e.recorded_at >= %2$L AND e.recorded_at < %3$L)) AS e
                ORDER BY e.exchange, e.id, CASE WHEN e.id IS NULL THEN row(e.recorded_at, e.producer_id, e.seq) END, e.recorded_at, e.seq, e.producer_id
            ) AS o
        ) AS t
        GROUP BY t.start
        ORDER BY t.start
    $q$, "from" - interval '1 day', "from", "to") USING "interval", "symbol", "exchange";
END
$$;
COMMENT ON FUNCTION blotter.candles(text, interval, timestamptz, timestamptz, text) IS
    'Candles of a symbol from the trades recorded, public and own, by exchange_time (where absent, recorded_at), from <= time < to; exchange null: all together. A trade id counts once per exchange. Candles begin at multiples of the interval since Monday, 1970-01-05, UTC; spans without trades have none. Volume is the sum of quantity. Example: SELECT * FROM blotter.candles(''BTC/USDT'', ''1 minute'', now() - interval ''1 hour'', now());';

SELECT blotter_internal.inherit_comments('blotter.open_orders', 'blotter.orders');
