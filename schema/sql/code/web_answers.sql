-- The answers of `blotter web`: a function for each path of its API (drainer/web/api.h), so that the role blotter_web needs no table.
--
-- They act as their owner, and so do pnl, the audit and the others that they call: those act as their caller, here and wherever else they
-- are asked. Arguments are the parameters of the path, as text; a body that has `IS NULL OR` for them is planned for the values it gets.

-- Two readings that differ in any way mean that something was committed or booked.
CREATE FUNCTION blotter_internal.web_live() RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN (SELECT concat_ws(',', coalesce(sum(l.n), 0), coalesce(max(extract(epoch FROM l.updated_at)), 0), EXISTS (SELECT FROM blotter_internal.book_queue))
            FROM blotter_internal.loaded l);
END
$$;
COMMENT ON FUNCTION blotter_internal.web_live() IS 'For /api/live of `blotter web`: how much is loaded, when last, and whether the books still have to follow.';

-- The first screen's figures. Today is the UTC day. Money is added up per currency, never across. Open orders are looked at once.
CREATE FUNCTION blotter_internal.web_overview() RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN (
        WITH today AS (SELECT date_trunc('day', now(), 'UTC') AS midnight),
        -- As blotter.open_orders, but by what stands in the index orders_open: all that have not ended, less those that an amend names. One that an
        -- amend replaces by its client id alone is counted, though the list leaves it out: that takes a look at each order, a second for 100,000.
        replaced AS MATERIALIZED (
            SELECT o.strategy, o.first_recorded_at, o.provisional FROM blotter.orders o
            WHERE NOT o.terminal AND EXISTS (SELECT FROM blotter.orders n WHERE n.orig_client_order_id <> '' AND NOT n.provisional AND n.orig_client_order_id = o.client_order_id)
              AND NOT EXISTS (SELECT FROM blotter.open_orders x
                              WHERE (x.order_key, x.exchange, x.account, x.scope, x.provisional) = (o.order_key, o.exchange, o.account, o.scope, o.provisional) OFFSET 0)
        ),
        open AS (
            SELECT coalesce(k.strategy, '') AS strategy, sum(k.orders) AS orders, min(k.oldest) AS oldest, max(k.newest) AS newest, sum(k.unanswered) AS unanswered
            FROM (SELECT o.strategy, count(*) AS orders, min(o.first_recorded_at) FILTER (WHERE r.at IS NULL) AS oldest, max(o.first_recorded_at) AS newest,
                         count(*) FILTER (WHERE o.provisional AND o.first_recorded_at < now() - interval '5 seconds') AS unanswered
                  FROM blotter.orders o LEFT JOIN (SELECT DISTINCT x.first_recorded_at AS at FROM replaced x) AS r ON r.at = o.first_recorded_at
                  WHERE NOT o.terminal GROUP BY o.strategy
                  UNION ALL
                  SELECT r.strategy, -count(*), NULL, NULL, -count(*) FILTER (WHERE r.provisional AND r.first_recorded_at < now() - interval '5 seconds')
                  FROM replaced r GROUP BY r.strategy) AS k
            GROUP BY coalesce(k.strategy, '')
        ),
        money AS MATERIALIZED (SELECT p.* FROM today t, blotter.pnl(t.midnight, now(), 'strategy') AS p),
        held AS (
            SELECT p.strategy, count(*) FILTER (WHERE p.quantity <> 0) AS positions, max(p.last_fill_at) AS newest
            FROM blotter.positions p GROUP BY p.strategy
        ),
        strategies AS (
            SELECT strategy, coalesce(o.orders, 0) AS open_orders, coalesce(h.positions, 0) AS positions, greatest(o.newest, h.newest) AS last_at,
                   coalesce(m.fills, 0) AS fills, m.pnl
            FROM open o
            FULL JOIN held h USING (strategy)
            FULL JOIN (SELECT x.strategy, sum(x.fills) AS fills,
                              json_agg(json_build_object('currency', x.currency, 'net', x.net_pnl::text, 'unrealized', x.unrealized_pnl::text,
                                                         'total', (x.net_pnl + coalesce(x.unrealized_pnl, 0))::text) ORDER BY x.fills DESC, x.of_all DESC, x.currency) AS pnl
                       FROM (SELECT m.*, sum(m.fills) OVER (PARTITION BY m.currency) AS of_all FROM money m) AS x GROUP BY x.strategy) AS m USING (strategy)
        )
        SELECT json_build_object(
            'now', now(),
            'database', current_database(),
            'open_orders', (SELECT coalesce(sum(o.orders), 0) FROM open o),
            'oldest_open_order', (SELECT min(o.oldest) FROM open o),
            'unanswered_orders', (SELECT coalesce(sum(o.unanswered), 0) FROM open o),
            'fills_today', (SELECT coalesce(sum(m.fills), 0) FROM money m),
            'positions', (SELECT coalesce(sum(h.positions), 0) FROM held h),
            'pnl', (SELECT coalesce(json_agg(json_build_object(
                        'currency', p.currency, 'realized', p.realized::text, 'unrealized', p.unrealized::text,
                        'fees', p.fees::text, 'funding', p.funding::text, 'net', p.net::text,
                        'total', (p.net + coalesce(p.unrealized, 0))::text) ORDER BY p.fills DESC, p.currency), '[]')
                    FROM (SELECT m.currency, sum(m.fills) AS fills, sum(m.fees) AS fees, sum(m.funding) AS funding,
                                 CASE WHEN bool_and(m.realized_pnl IS NOT NULL) THEN sum(m.realized_pnl) END AS realized,
                                 CASE WHEN bool_and(m.unrealized_pnl IS NOT NULL) THEN sum(m.unrealized_pnl) END AS unrealized,
                                 CASE WHEN bool_and(m.net_pnl IS NOT NULL) THEN sum(m.net_pnl) END AS net
                          FROM money m GROUP BY m.currency) AS p),
            'strategies', (SELECT coalesce(json_agg(s ORDER BY s.fills DESC, s.strategy), '[]')
                           FROM (SELECT * FROM strategies x ORDER BY x.fills DESC, x.strategy LIMIT 1000) AS s),
            'strategy_count', (SELECT count(*) FROM strategies),
            'rejects', (SELECT count(*) FROM (SELECT FROM blotter.rejects r WHERE r.replayed_at IS NULL AND r.discarded_at IS NULL LIMIT 10000) AS r),
            'audit', (SELECT coalesce(json_object_agg(a.state, a.n), '{}')
                      FROM (SELECT q.state, count(*) AS n FROM blotter_internal.audit_quick q GROUP BY q.state) AS a)
        )::text
    );
END
$$;
COMMENT ON FUNCTION blotter_internal.web_overview() IS 'For /api/overview of `blotter web`: the first screen''s figures: open orders, PnL of today, each strategy, audit, rejects.';

-- The desk's PnL and each strategy's since midnight UTC, from the first fill on, in the currency of most fills: realised, and unrealised at the last own
-- fill's price, less fees. The strategies that moved most, 40 at most; strategy null is the whole desk.
CREATE FUNCTION blotter_internal.web_curve() RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN (
        WITH today AS (SELECT date_trunc('day', now(), 'UTC') AS midnight),
        asked AS (
            SELECT t.midnight, f.at AS first, greatest((now() - f.at) / 200, interval '1 second') AS step
            FROM today t, LATERAL (SELECT x.at FROM blotter_internal.fill x WHERE x.at >= t.midnight ORDER BY x.at LIMIT 1) AS f
        ),
        steps AS MATERIALIZED (SELECT s.* FROM asked a, blotter_internal.curve_steps(a.midnight, now(), a.step) AS s),
        lead AS (SELECT s.currency FROM steps s GROUP BY s.currency ORDER BY count(*) DESC, s.currency LIMIT 1),
        mine AS (
            SELECT s.strategy, s.at, sum(s.delta) AS delta FROM steps s JOIN lead l ON l.currency = s.currency
            GROUP BY GROUPING SETS ((s.strategy, s.at), (s.at))
        ),
        lines AS (
            SELECT m.strategy, sum(m.delta) AS total,
                   json_agg(json_build_array(extract(epoch FROM m.at)::bigint, m.pnl::text) ORDER BY m.at) AS points
            FROM (SELECT m.strategy, m.at, m.delta, round(sum(m.delta) OVER (PARTITION BY m.strategy ORDER BY m.at), 8) AS pnl FROM mine m) AS m
            GROUP BY m.strategy
        )
        SELECT json_build_object(
            'currency', (SELECT l.currency FROM lead l),
            'from', (SELECT a.first FROM asked a),
            'lines', (SELECT coalesce(json_agg(json_build_object('strategy', x.strategy, 'points', x.points)), '[]')
                      FROM (SELECT l.* FROM lines l ORDER BY l.strategy IS NULL DESC, abs(l.total) DESC LIMIT 41) AS x)
        )::text
    );
END
$$;
COMMENT ON FUNCTION blotter_internal.web_curve() IS 'For /api/curve of `blotter web`: the PnL of the UTC day minute by minute: the desk, and the strategies that moved most.';

-- The way of records to here: what is loaded of each stream, the producers that live, the newest records' way to their row, and who loads.
CREATE FUNCTION blotter_internal.web_pipeline() RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN (
        SELECT json_build_object(
            'now', now(),
            'streams', (SELECT coalesce(json_agg(json_build_object('stream', l.stream, 'n', l.n, 'records', coalesce(r.records, 0), 'updated_at', l.updated_at) ORDER BY l.stream), '[]')
                        FROM (SELECT * FROM blotter_internal.loaded x ORDER BY x.updated_at DESC LIMIT 1000) AS l
                        LEFT JOIN (SELECT concat_ws(':', 'blotter', p.exchange, nullif(p.lane, '')) AS stream, sum(p.stored + p.rejected + p.expired) AS records
                                   FROM blotter_internal.progress p GROUP BY 1) AS r ON r.stream = l.stream),
            'producers', (SELECT coalesce(json_agg(json_build_object(
                              'producer_id', p.producer_id::text, 'exchange', p.exchange, 'lane', p.lane, 'alive', p.alive, 'last_at', p.recorded_at,
                              'host', p.host, 'pid', p.pid, 'version', p.version, 'held', p.held, 'slots', p.slots, 'full', p."full",
                              'evicted', p.evicted, 'redis_up', p.redis_up, 'last_error_at_ns', p.last_error_at_ns)), '[]')
                          FROM (SELECT * FROM (SELECT x.*, x.held::float8 / nullif(x.slots, 0) AS filled,
                                                      row_number() OVER (PARTITION BY x.exchange, x.lane ORDER BY x.held::float8 / nullif(x.slots, 0) DESC NULLS LAST) AS nth
                                               FROM blotter_internal.producers x) AS y
                                ORDER BY y.nth, y.filled DESC NULLS LAST LIMIT 1000) AS p),
            'flow', (SELECT coalesce(json_agg(f), '[]') FROM blotter_internal.flow f),
            'drainers', (SELECT coalesce(json_agg(d), '[]')
                         FROM (SELECT DISTINCT ON (p.exchange, p.lane) p.exchange, p.lane, p.drainer, p.updated_at FROM blotter_internal.progress p
                               WHERE p.updated_at >= now() - interval '10 minutes' ORDER BY p.exchange, p.lane, p.updated_at DESC) AS d),
            'audit', (SELECT coalesce(json_agg(a), '[]')
                      FROM (SELECT q.exchange, q.lane, count(*) FILTER (WHERE q.state = 'complete') AS complete, count(*) FILTER (WHERE q.state = 'open') AS open,
                                   count(*) FILTER (WHERE q.state NOT IN ('complete', 'open')) AS bad,
                                   string_agg(DISTINCT q.state, ', ') FILTER (WHERE q.state NOT IN ('complete', 'open')) AS states
                            FROM blotter_internal.audit_quick q GROUP BY q.exchange, q.lane) AS a)
        )::text
    );
END
$$;
COMMENT ON FUNCTION blotter_internal.web_pipeline() IS 'For /api/pipeline of `blotter web`: streams, producers, drainers, and how long the newest records took to their row.';

-- Orders: $1 exchange, $2 account, $3 strategy, $4 symbol, $5 a part of an id, $6 state (open, ended, all), $7 limit, $8 sort (oldest).
-- Open ones, the newest first, by their index, which is read up to the limit before any row is. Others, the latest change first, among
-- the orders of the newest 20,000 events, and those that have $5 as an id.
CREATE FUNCTION blotter_internal.web_orders(text, text, text, text, text, text, text, text) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
    AS $$
BEGIN
    RETURN (
        WITH asked AS (SELECT least(coalesce($7::int, 200), 1000) AS rows, coalesce($6, 'open') = 'open' AS open),
        edge AS (
            SELECT x.first_recorded_at AS at
            FROM (SELECT o.first_recorded_at FROM blotter.orders o
                  WHERE NOT o.terminal AND $2::text IS NULL AND $5::text IS NULL
                    AND ($1::text IS NULL OR o.exchange = $1) AND ($3::text IS NULL OR coalesce(o.strategy, '') = $3) AND ($4::text IS NULL OR o.symbol = $4)
                  ORDER BY CASE WHEN $8 = 'oldest' THEN o.first_recorded_at END, CASE WHEN $8 = 'oldest' THEN NULL ELSE o.first_recorded_at END DESC
                  OFFSET (SELECT a.rows + 100 FROM asked a) LIMIT 1) AS x
        ),
        found AS (
            SELECT o.* FROM asked a, blotter.open_orders o
            WHERE a.open
              AND ($1::text IS NULL OR o.exchange = $1) AND ($2::text IS NULL OR o.account = $2) AND ($3::text IS NULL OR coalesce(o.strategy, '') = $3)
              AND ($4::text IS NULL OR o.symbol = $4) AND ($5::text IS NULL OR strpos(o.order_key, $5) > 0 OR strpos(coalesce(o.client_order_id, ''), $5) > 0)
              AND o.first_recorded_at >= CASE WHEN $8 = 'oldest' THEN '-infinity' ELSE coalesce((SELECT e.at FROM edge e), '-infinity') END
              AND o.first_recorded_at <= CASE WHEN $8 = 'oldest' THEN coalesce((SELECT e.at FROM edge e), 'infinity') ELSE 'infinity' END
            UNION ALL
            SELECT o.* FROM asked a, blotter.orders o
            WHERE NOT a.open AND ($6 = 'all' OR o.terminal)
              AND ($1::text IS NULL OR o.exchange = $1) AND ($2::text IS NULL OR o.account = $2) AND ($3::text IS NULL OR coalesce(o.strategy, '') = $3)
              AND ($4::text IS NULL OR o.symbol = $4) AND ($5::text IS NULL OR strpos(o.order_key, $5) > 0 OR strpos(coalesce(o.client_order_id, ''), $5) > 0)
              AND o.order_key = ANY (ARRAY(
                    SELECT CASE WHEN e.order_id NOT IN ('', '0') THEN e.order_id ELSE e.client_order_id END
                    FROM (SELECT x.order_id, x.client_order_id FROM blotter.order_events x ORDER BY x.recorded_at DESC LIMIT 20000) AS e
                    UNION SELECT $5 UNION SELECT x.order_key FROM blotter.orders x WHERE x.client_order_id = $5))
        )
        SELECT json_build_object('orders', coalesce(json_agg(r.row), '[]'), 'limit', (SELECT a.rows FROM asked a))::text
        FROM (
            SELECT json_build_object(
                'exchange', o.exchange, 'account', o.account, 'strategy', o.strategy, 'symbol', o.symbol, 'order', o.order_key,
                'order_id', o.order_id, 'client_order_id', o.client_order_id, 'side', o.side, 'type', o.type, 'status', o.status,
                'price', o.price::text, 'quantity', o.quantity::text, 'filled_quantity', o.filled_quantity::text,
                'remaining_quantity', o.remaining_quantity::text, 'average_price', o.average_price::text,
                'ended', o.terminal, 'provisional', o.provisional,
                'first_recorded_at', o.first_recorded_at, 'recorded_at', o.recorded_at) AS row
            FROM found o
            ORDER BY CASE WHEN $8 = 'oldest' THEN o.first_recorded_at END,
                     CASE WHEN $8 = 'oldest' THEN NULL WHEN (SELECT a.open FROM asked a) THEN o.first_recorded_at ELSE o.recorded_at END DESC
            LIMIT (SELECT a.rows FROM asked a)
        ) AS r
    );
END
$$;
COMMENT ON FUNCTION blotter_internal.web_orders(text, text, text, text, text, text, text, text) IS 'For /api/orders of `blotter web`: orders; state: open (default), ended, all; text: in an id; sort: oldest.';

-- One order with its events and fills, the newest 1,000 of each: $1 exchange, $2 account, $3 its key, $4 its symbol, which tells apart the orders of
-- a venue that numbers them per symbol. Days before its first event are not even planned for, so that it costs the same however many there are.
CREATE FUNCTION blotter_internal.web_order(text, text, text, text) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
    AS $$
DECLARE
    one blotter.orders;
    events json;
BEGIN
    SELECT o.* INTO one FROM blotter.orders o
    WHERE o.order_key = $3 AND o.exchange = $1 AND o.account = coalesce($2, '') AND ($4 IS NULL OR o.scope IN ('', $4))
    ORDER BY o.provisional, o.recorded_at DESC LIMIT 1;
    -- those before the venue's id was known go by ours
    EXECUTE format($q$
        SELECT coalesce(json_agg(e ORDER BY e.recorded_at, e.seq), '[]') FROM (
            SELECT recorded_at, exchange_time, update_time, event, status, side, price::text, quantity::text, filled_quantity::text,
                   last_price::text, last_quantity::text, trade_id, client_order_id, reason, stored_at, producer_id::text, seq
            FROM blotter.order_events
            WHERE (order_id = $3 OR coalesce(order_id, '') IN ('', '0') AND client_order_id = $4)
              AND exchange = $1 AND coalesce(account, '') = coalesce($2, '') AND coalesce($5, '') IN ('', coalesce(symbol, '')) AND recorded_at >= %L
            ORDER BY recorded_at DESC, seq DESC LIMIT 1000) AS e
    $q$, coalesce(one.first_recorded_at, '-infinity')) INTO events USING $1, $2, $3, one.client_order_id, one.scope;
    RETURN (
        SELECT json_build_object(
            'order', (SELECT to_json(o) FROM (
                SELECT one.exchange, one.account, one.strategy, one.symbol, one.market_type, one.order_id, one.client_order_id, one.side, one.position_side, one.type,
                       one.time_in_force, one.status, one.price::text, one.trigger_price::text, one.quantity::text, one.filled_quantity::text,
                       one.remaining_quantity::text, one.average_price::text, one.cost::text, one.reason, one.terminal AS ended, one.first_recorded_at,
                       one.recorded_at, one.exchange_time, one.update_time
                WHERE one.order_key IS NOT NULL) AS o),
            'events', events,
            'fills', (SELECT coalesce(json_agg(f ORDER BY f.at), '[]') FROM (
                SELECT at, trade_id, side, price::text, quantity::text, fee::text, fee_currency, liquidity
                FROM blotter.fills f
                WHERE f.order_id = $3 AND f.exchange = $1 AND f.symbol = coalesce(one.symbol, '')
                ORDER BY f.at DESC LIMIT 1000) AS f),
            -- of the latest rejects those whose bytes name the order
            'rejects', (SELECT coalesce(json_agg(r), '[]') FROM (
                SELECT x.id, x.rejected_at, x.reason
                FROM (SELECT y.id, y.rejected_at, y.reason, y.raw FROM blotter.rejects y ORDER BY y.id DESC LIMIT 2000) AS x
                WHERE octet_length($3) >= 4 AND position(convert_to($3, 'UTF8') IN x.raw) > 0 LIMIT 100) AS r)
        )::text
    );
END
$$;
COMMENT ON FUNCTION blotter_internal.web_order(text, text, text, text) IS 'For /api/order of `blotter web`: one order: its latest state, its events and fills.';

-- Own executions, the latest first: $1 exchange, $2 account, $3 strategy, $4 symbol, $5 before this time, $6 limit. A week back at most.
CREATE FUNCTION blotter_internal.web_fills(text, text, text, text, text, text) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
    AS $$
BEGIN
    RETURN (
        SELECT coalesce(json_agg(r), '[]')::text
        FROM (
            SELECT f.at, f.exchange, f.account, f.strategy, f.symbol, f.trade_id, f.order_id, f.client_order_id, f.side, f.price::text, f.quantity::text,
                   f.cost::text, f.fee::text, f.fee_currency, f.liquidity
            FROM blotter.fills f
            WHERE ($1::text IS NULL OR f.exchange = $1)
              AND ($2::text IS NULL OR f.account = $2)
              AND ($3::text IS NULL OR f.strategy = $3)
              AND ($4::text IS NULL OR f.symbol = $4)
              AND f.at < coalesce($5::timestamptz, 'infinity')
              -- a bound, so that not all fills are sorted
              AND f.at >= coalesce($5::timestamptz, now()) - interval '7 days'
            ORDER BY f.at DESC
            LIMIT least(coalesce($6::int, 100), 1000)
        ) AS r
    );
END
$$;
COMMENT ON FUNCTION blotter_internal.web_fills(text, text, text, text, text, text) IS 'For /api/fills of `blotter web`: own executions, the latest first.';

-- Positions that are open or moved today: $1 exchange, $2 account, $3 strategy, $4 symbol, $5 limit. Those that matter most, if there are more.
CREATE FUNCTION blotter_internal.web_positions(text, text, text, text, text) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
    AS $$
BEGIN
    RETURN (
        SELECT coalesce(json_agg(r ORDER BY r.strategy, r.exchange, r.symbol, r.position_side), '[]')::text
        FROM (
            SELECT p.exchange, p.account, p.strategy, p.market_type, p.symbol, p.position_side, p.quantity::text, p.average_price::text, p.mark_price::text,
                   p.currency, p.realized_pnl::text, p.realized_today::text, p.unrealized_pnl::text, p.fills, p.last_fill_at, p.assumed
            FROM blotter_internal.positions_today p
            WHERE ($1::text IS NULL OR p.exchange = $1)
              AND ($2::text IS NULL OR p.account = $2)
              AND ($3::text IS NULL OR p.strategy = $3)
              AND ($4::text IS NULL OR p.symbol = $4)
            ORDER BY abs(p.unrealized_pnl) DESC NULLS LAST, p.last_fill_at DESC
            LIMIT least(coalesce($5::int, 1000), 1000)
        ) AS r
    );
END
$$;
COMMENT ON FUNCTION blotter_internal.web_positions(text, text, text, text, text) IS 'For /api/positions of `blotter web`: positions with mark price and unrealised PnL.';

CREATE FUNCTION blotter_internal.refuse_more_than(most bigint, n bigint) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF n > most THEN
        RAISE EXCEPTION 'the answer would have more than % rows: ask for a shorter time', most USING ERRCODE = 'program_limit_exceeded';
    END IF;
END
$$;
COMMENT ON FUNCTION blotter_internal.refuse_more_than(bigint, bigint) IS 'Fails where an answer of `blotter web` has too many rows: money is not cut off in silence.';

-- Profit and loss: $1 from, $2 to, $3 by (a list of hour, day, exchange, account, strategy, market_type, symbol).
CREATE FUNCTION blotter_internal.web_pnl(text, text, text) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    answer text;
    n bigint;
BEGIN
    SELECT coalesce(json_agg(json_build_object(
               'start', p.start, 'exchange', p.exchange, 'account', p.account, 'strategy', p.strategy, 'market_type', p.market_type,
               'symbol', p.symbol, 'currency', p.currency, 'fills', p.fills, 'realized', p.realized_pnl::text,
               'unrealized', p.unrealized_pnl::text, 'fees', p.fees::text, 'funding', p.funding::text, 'net', p.net_pnl::text)), '[]')::text, count(*)
    INTO answer, n
    FROM (SELECT * FROM blotter.pnl(coalesce($1::timestamptz, date_trunc('day', now(), 'UTC')), coalesce($2::timestamptz, now()), coalesce($3, 'strategy'))
          LIMIT 10001) AS p;
    PERFORM blotter_internal.refuse_more_than(10000, n);
    RETURN answer;
END
$$;
COMMENT ON FUNCTION blotter_internal.web_pnl(text, text, text) IS 'For /api/pnl of `blotter web`: realised, unrealised, fees, funding and net; by: strategy, symbol, account, hour, day.';

-- Net PnL since the beginning, by strategy and currency, hour by hour: $1 from (default: today), $2 to.
CREATE FUNCTION blotter_internal.web_equity(text, text) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    answer text;
    n bigint;
BEGIN
    SELECT coalesce(json_agg(json_build_array(e.strategy, e.currency, e.at, e.equity::text)), '[]')::text, count(*)
    INTO answer, n
    FROM (SELECT * FROM blotter.equity(NULL, coalesce($1::timestamptz, date_trunc('day', now(), 'UTC')), coalesce($2::timestamptz, 'infinity'), 'hour')
          LIMIT 10001) AS e;
    PERFORM blotter_internal.refuse_more_than(10000, n);
    RETURN answer;
END
$$;
COMMENT ON FUNCTION blotter_internal.web_equity(text, text) IS 'For /api/equity of `blotter web`: the sum of net PnL by hour, by strategy.';

-- Symbols with fills, or among the newest trades, the busiest first.
CREATE FUNCTION blotter_internal.web_symbols() RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN (
        SELECT coalesce(json_agg(s), '[]')::text
        FROM (
            SELECT s.exchange, s.symbol, sum(s.n) AS trades
            FROM (SELECT p.exchange, p.symbol, sum(p.fills) AS n FROM blotter.positions p GROUP BY 1, 2
                  UNION ALL
                  SELECT t.exchange, t.symbol, count(*)
                  FROM (SELECT x.exchange, x.symbol FROM blotter.trades x ORDER BY x.recorded_at DESC LIMIT 5000) AS t GROUP BY 1, 2) AS s
            GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 1000
        ) AS s
    );
END
$$;
COMMENT ON FUNCTION blotter_internal.web_symbols() IS 'For /api/symbols of `blotter web`: the symbols that have trades or fills, for the candles.';

-- Candles and the own fills in them, the newest 1,000: $1 exchange, $2 symbol, $3 interval, $4 from, $5 to.
CREATE FUNCTION blotter_internal.web_candles(text, text, text, text, text) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN (
        WITH asked AS (
            SELECT $1::text AS exchange, $2::text AS symbol, coalesce($3, '1 minute')::interval AS step,
                   coalesce($4::timestamptz, now() - interval '6 hours') AS low, coalesce($5::timestamptz, now()) AS high
        )
        SELECT json_build_object(
            'candles', (SELECT coalesce(json_agg(json_build_array(extract(epoch FROM c.start)::bigint, c.open::text, c.high::text,
                                                                  c.low::text, c.close::text, c.volume::text, c.count)), '[]')
                        FROM asked a, blotter.candles(a.symbol, a.step, greatest(a.low, a.high - a.step * 2000), a.high, a.exchange) AS c),
            'fills', (SELECT coalesce(json_agg(f ORDER BY f.at), '[]')
                      FROM (SELECT extract(epoch FROM date_bin(a.step, x.at, '1970-01-05 00:00:00+00'))::bigint AS start, x.at, x.side,
                                   x.price::text, x.quantity::text, x.strategy, x.order_id
                            FROM asked a, blotter.fills x
                            WHERE x.symbol = a.symbol AND (a.exchange IS NULL OR x.exchange = a.exchange) AND x.at >= a.low AND x.at < a.high
                            ORDER BY x.at DESC LIMIT 1000) AS f)
        )::text
    );
END
$$;
COMMENT ON FUNCTION blotter_internal.web_candles(text, text, text, text, text) IS 'For /api/candles of `blotter web`: candles of recorded trades, with the own fills.';

-- Venue to strategy, and strategy to row, in milliseconds, of the last hours: $1.
CREATE FUNCTION blotter_internal.web_latency(text) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN (
        SELECT coalesce(json_agg(l ORDER BY l.hour DESC, l.exchange, l.kind), '[]')::text
        FROM blotter.latency(date_trunc('hour', now() - least(coalesce($1::int, 1), 48) * interval '1 hour', 'UTC'), 'infinity') AS l
    );
END
$$;
COMMENT ON FUNCTION blotter_internal.web_latency(text) IS 'For /api/latency of `blotter web`: venue to strategy and strategy to row, by exchange and hour.';

-- Records that could not be stored and still wait for a decision, the latest first: $1 limit.
CREATE FUNCTION blotter_internal.web_rejects(text) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN (
        SELECT coalesce(json_agg(r), '[]')::text
        FROM (
            SELECT r.id, r.rejected_at, r.stream, r.entry_id, r.reason, r.sqlstate, r.producer_id::text, r.seq, octet_length(r.raw) AS bytes
            FROM blotter.rejects r
            WHERE r.replayed_at IS NULL AND r.discarded_at IS NULL
            ORDER BY r.id DESC LIMIT least(coalesce($1::int, 100), 1000)
        ) AS r
    );
END
$$;
COMMENT ON FUNCTION blotter_internal.web_rejects(text) IS 'For /api/rejects of `blotter web`: records that could not be stored, the latest first.';

-- One reject: $1 its id. The bytes as text, every byte that is not printable ASCII as \ooo. Behind the JSON a second line has the bytes
-- in hexadecimal, of which web.c makes the member `record`.
CREATE FUNCTION blotter_internal.web_reject(text) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN (
        SELECT coalesce((
            SELECT json_build_object(
                'id', r.id, 'rejected_at', r.rejected_at, 'stream', r.stream, 'entry_id', r.entry_id, 'reason', r.reason,
                'sqlstate', r.sqlstate, 'producer_id', r.producer_id::text, 'seq', r.seq, 'recorded_at', r.recorded_at,
                'delivery_count', r.delivery_count, 'drainer', r.drainer, 'bytes', octet_length(r.raw),
                'text', encode(substring(r.raw FROM 1 FOR 4096), 'escape')) || E'\n' || encode(r.raw, 'hex')
            FROM blotter.rejects r WHERE r.id = $1::bigint), 'null')
    );
END
$$;
COMMENT ON FUNCTION blotter_internal.web_reject(text) IS 'For /api/reject of `blotter web`: one reject with its bytes.';

-- The rows of blotter.reconciliation, those that differ first.
CREATE FUNCTION blotter_internal.web_reconciliation() RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN (
        SELECT coalesce(json_agg(r), '[]')::text
        FROM (
            SELECT x.exchange, x.account, x.kind, x.market_type, x.symbol, x.position_side, x.currency, x.ours::text, x.venue::text, x.difference::text,
                   x.venue_at, x.agrees, x.note
            FROM blotter.reconciliation x
            ORDER BY x.agrees IS NOT TRUE DESC, x.agrees NULLS LAST, x.kind, x.exchange, x.account, x.symbol, x.currency LIMIT 1000
        ) AS r
    );
END
$$;
COMMENT ON FUNCTION blotter_internal.web_reconciliation() IS 'For /api/reconciliation of `blotter web`: what the venues say beside what is recorded, what differs first.';

-- The audit by the drainers' counters, without looking at every row. A producer's id is text: it does not fit a double.
CREATE FUNCTION blotter_internal.web_audit() RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN (
        SELECT coalesce(json_agg(json_build_object(
            'producer_id', a.producer_id::text, 'exchange', a.exchange, 'lane', a.lane, 'state', a.state, 'settled', a.settled,
            'last_seq', a.last_seq, 'last_at', a.last_at)), '[]')::text
        FROM (SELECT * FROM blotter_internal.audit_quick ORDER BY state <> 'complete' DESC, last_at DESC LIMIT 1000) AS a
    );
END
$$;
COMMENT ON FUNCTION blotter_internal.web_audit() IS 'For /api/audit of `blotter web`: each producer: complete, open, or missing, by the counters of the drainers.';
