-- For `blotter web`, beyond the views of schema blotter: the day's curve, positions at their mark price, producers, the flow of records.

CREATE FUNCTION blotter_internal.worth(inverse boolean, multiplier numeric, quantity numeric, price numeric) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN quantity = 0 OR price IS NULL OR inverse AND price = 0 THEN 0
                WHEN inverse THEN quantity * multiplier / price ELSE quantity * multiplier * price END;
COMMENT ON FUNCTION blotter_internal.worth(boolean, numeric, numeric, numeric) IS 'What a signed quantity is worth at a price, in the currency of its PnL; 0 where no price is known.';

-- Total PnL needs no average cost: it is what the position is worth, less what its fills cost. Only the newest 10,000 fills are looked at, and none that may be rolled,
-- so that a curve costs the same on any day; before them it goes by the hours that the books keep. What the two leave between them is the
-- step at `cut`, so that the sum is always what the books say now.
CREATE FUNCTION blotter_internal.curve_steps(low timestamptz, high timestamptz, step interval)
    RETURNS TABLE (at timestamptz, strategy text, currency text, delta numeric)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
DECLARE
    cut timestamptz := coalesce(greatest((SELECT f.at FROM blotter_internal.fill f WHERE f.at >= low AND f.at < high ORDER BY f.at DESC OFFSET 10000 LIMIT 1),
                                         (SELECT max(least(high, p.rolled_before)) FROM blotter_internal.position p WHERE p.rolled_at >= low)), low);
BEGIN
    RETURN QUERY
        WITH pieces AS MATERIALIZED (
            SELECT f.position_id, date_bin(step, f.at, cut) + step AS at, coalesce(sum(d.dq), 0) AS dq,
                   coalesce(sum(sign(d.dq) * blotter_internal.fill_value(p.inverse, p.unvalued, p.by_cost, p.multiplier, abs(d.dq), f.price, f.quantity, f.cost)), 0) AS cost,
                   sum(e.fee) AS fee,
                   (array_agg(f.price ORDER BY f.at DESC, length(f.trade_id) DESC, f.trade_id DESC) FILTER (WHERE f.price IS NOT NULL))[1] AS price
            FROM blotter_internal.fill f
            JOIN blotter_internal.position p ON p.id = f.position_id
            CROSS JOIN LATERAL (SELECT blotter_internal.fill_dq(p.takes_fees, p.base, f.side, f.quantity, f.fee, f.fee_currency, f.fees) AS dq) AS d
            CROSS JOIN LATERAL (SELECT coalesce(sum(blotter_internal.fee_value(p.inverse, p.base, p.quote, p.currency, c.currency, c.amount, f.price)), 0) AS fee
                                FROM (SELECT coalesce(f.fee_currency, '') AS currency, f.fee AS amount WHERE f.fees IS NULL AND f.fee IS NOT NULL
                                      UNION ALL SELECT j.key, j.value::numeric FROM jsonb_each_text(f.fees) AS j) AS c) AS e
            WHERE f.at >= cut AND f.at < high AND NOT f.rolled
            GROUP BY 1, 2),
        positions AS MATERIALIZED (
            SELECT p.id, p.strategy, p.currency, p.inverse, p.multiplier, CASE WHEN p.inverse THEN -1 ELSE 1 END AS turn,
                   p.realized_pnl + CASE WHEN p.inverse THEN -1 ELSE 1 END
                                    * (blotter_internal.worth(p.inverse, p.multiplier, p.quantity, p.last_price) - sign(p.quantity) * p.open_cost) AS total_now,
                   coalesce(b.total, 0) AS total_low,
                   p.quantity - coalesce(s.dq, 0) AS quantity_cut,
                   coalesce((SELECT x.price FROM blotter_internal.fill x
                             WHERE x.position_id = p.id AND x.at >= coalesce(p.rolled_before, '-infinity') AND x.at < cut AND x.price IS NOT NULL
                             ORDER BY x.at DESC LIMIT 1),
                            (SELECT x.last_price FROM blotter_internal.position_hour x WHERE x.position_id = p.id AND x.hour < p.rolled_before
                             ORDER BY x.hour DESC LIMIT 1)) AS price_cut,
                   (SELECT sum(x.fee_value) FROM blotter_internal.position_hour x WHERE x.position_id = p.id AND x.hour >= low) AS fees
            FROM blotter_internal.position p
            LEFT JOIN (SELECT x.position_id, sum(x.dq) AS dq FROM pieces x GROUP BY 1) AS s ON s.position_id = p.id
            LEFT JOIN LATERAL (SELECT x.realized_pnl + CASE WHEN p.inverse THEN -1 ELSE 1 END
                                      * (blotter_internal.worth(p.inverse, p.multiplier, x.quantity, x.last_price) - sign(x.quantity) * x.open_cost) AS total
                               FROM blotter_internal.position_hour x WHERE x.position_id = p.id AND x.hour < low ORDER BY x.hour DESC LIMIT 1) AS b ON true
            WHERE p.last_fill_at >= low AND NOT p.unvalued),
        hours AS (
            SELECT p.id, x.hour + interval '1 hour' AS at, x.fee_value,
                   x.realized_pnl + p.turn * (blotter_internal.worth(p.inverse, p.multiplier, x.quantity, x.last_price) - sign(x.quantity) * x.open_cost) AS total, p.total_low
            FROM positions p
            JOIN blotter_internal.position_hour x ON x.position_id = p.id AND x.hour >= low AND x.hour + interval '1 hour' <= cut),
        states AS (
            SELECT p.id, x.at, x.fee,
                   p.turn * (blotter_internal.worth(p.inverse, p.multiplier, p.quantity_cut + sum(x.dq) OVER w,
                                                    coalesce((array_agg(x.price) FILTER (WHERE x.price IS NOT NULL) OVER w)[count(x.price) OVER w], p.price_cut))
                             - blotter_internal.worth(p.inverse, p.multiplier, p.quantity_cut, p.price_cut) - sum(x.cost) OVER w) AS total
            FROM pieces x JOIN positions p ON p.id = x.position_id
            WINDOW w AS (PARTITION BY x.position_id ORDER BY x.at)),
        steps AS MATERIALIZED (
            SELECT x.id, x.at, x.total - lag(x.total, 1, x.total_low) OVER (PARTITION BY x.id ORDER BY x.at) - x.fee_value AS delta FROM hours x
            UNION ALL
            SELECT x.id, x.at, x.total - lag(x.total, 1, 0) OVER (PARTITION BY x.id ORDER BY x.at) - x.fee FROM states x)
        SELECT s.at, p.strategy, p.currency, s.delta FROM steps s JOIN positions p ON p.id = s.id
        UNION ALL
        SELECT greatest(cut, (SELECT min(s.at) FROM steps s)), p.strategy, p.currency, p.total_now - p.total_low - coalesce(p.fees, 0) - coalesce(s.delta, 0)
        FROM positions p LEFT JOIN (SELECT x.id, sum(x.delta) AS delta FROM steps x GROUP BY 1) AS s ON s.id = p.id;
END
$$;
COMMENT ON FUNCTION blotter_internal.curve_steps(timestamptz, timestamptz, interval) IS
    'By how much each strategy''s PnL changed in each step since a full hour: realised and unrealised at the price of the last own fill, less fees in its currency.';

-- As blotter.positions and what pnl says of today by symbol, without adding up hours: what the books hold now, less what they held at
-- the end of the last hour before midnight.
CREATE VIEW blotter_internal.positions_today AS
SELECT p.exchange, p.account, p.strategy, p.market_type, p.symbol, p.position_side, blotter_internal.shown(p.quantity) AS quantity,
       blotter_internal.average_price(p.inverse, p.multiplier, p.unpriced = 0 AND NOT p.unvalued, p.quantity, p.open_cost) AS average_price,
       m.price AS mark_price, p.currency,
       CASE WHEN p.unpriced = 0 AND NOT p.unvalued THEN blotter_internal.shown(p.realized_pnl) END AS realized_pnl,
       CASE WHEN p.unpriced = 0 AND NOT p.unvalued THEN blotter_internal.shown(p.realized_pnl - coalesce(h.realized_pnl, 0)) END AS realized_today,
       CASE WHEN p.quantity = 0 THEN 0
            WHEN p.unpriced > 0 OR p.unvalued OR p.by_cost OR m.price IS NULL OR p.inverse AND m.price = 0 THEN NULL
            ELSE blotter_internal.shown(CASE WHEN p.inverse THEN -1 ELSE 1 END
                 * (blotter_internal.worth(p.inverse, p.multiplier, p.quantity, m.price) - sign(p.quantity) * p.open_cost)) END AS unrealized_pnl,
       p.fills, p.last_fill_at, p.assumed
FROM blotter_internal.position p
CROSS JOIN LATERAL (SELECT coalesce(CASE WHEN (SELECT EXISTS (SELECT FROM blotter.venue_positions v WHERE v.mark_price IS NOT NULL AND v.recorded_at >= now() - interval '1 day'))
                                         THEN blotter_internal.mark_price(p.exchange, p.symbol, now()) END, p.last_price) AS price OFFSET 0) AS m
LEFT JOIN LATERAL (SELECT x.realized_pnl FROM blotter_internal.position_hour x
                   WHERE x.position_id = p.id AND x.hour < blotter_internal.day_of(now()) ORDER BY x.hour DESC LIMIT 1) AS h ON true
WHERE p.quantity <> 0 OR p.last_fill_at >= blotter_internal.day_of(now());
COMMENT ON VIEW blotter_internal.positions_today IS 'Positions that are open or have moved today (UTC), at their mark price, with what they realised today.';
SELECT blotter_internal.inherit_comments('blotter_internal.positions_today', 'blotter.positions');
COMMENT ON COLUMN blotter_internal.positions_today.mark_price IS 'the venue''s of the last day, else that of the last fill';
COMMENT ON COLUMN blotter_internal.positions_today.realized_today IS 'since midnight UTC, before fees and funding';
COMMENT ON COLUMN blotter_internal.positions_today.unrealized_pnl IS 'of what is open, at the mark price';

-- A heartbeat's writer chooses what it says, so anything may stand where a counter does.
CREATE FUNCTION blotter_internal.counter(extra jsonb, name text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN jsonb_typeof(extra -> name) <> 'number' THEN NULL
                WHEN (extra -> name)::numeric BETWEEN 0 AND 9223372036854775806 THEN trunc((extra -> name)::numeric)::bigint END;
COMMENT ON FUNCTION blotter_internal.counter(jsonb, text) IS 'A counter of a heartbeat; null: there is none, or it is no number that a counter can have.';

-- A heartbeat comes every ten seconds, so two minutes have one of every producer that lives. Which process it is, its first record says alone.
-- A number that is used in two streams is two producers: a writer of one may take any.
CREATE VIEW blotter_internal.producers AS
SELECT s.producer_id, s.exchange, s.lane, s.event, s.recorded_at, o.host, o.pid, o.version,
       s.event <> 'closed' AND s.recorded_at >= now() - interval '30 seconds' AS alive,
       c.held, c.slots, c."full", c.evicted, c.redis_up, c.last_error_at_ns
FROM (SELECT DISTINCT ON (x.producer_id, x.exchange, x.lane) x.* FROM blotter_internal.sessions x
      WHERE x.recorded_at >= now() - interval '2 minutes' AND x.event IN ('opened', 'heartbeat', 'closed')
      ORDER BY x.producer_id, x.exchange, x.lane, x.seq DESC) AS s
CROSS JOIN LATERAL (SELECT blotter_internal.counter(s.extra, 'held') AS held, blotter_internal.counter(s.extra, 'slots') AS slots,
                           blotter_internal.counter(s.extra, 'full') AS "full", blotter_internal.counter(s.extra, 'evicted') AS evicted,
                           blotter_internal.counter(s.extra, 'redis_up') AS redis_up, blotter_internal.counter(s.extra, 'last_error_at_ns') AS last_error_at_ns) AS c
LEFT JOIN LATERAL (SELECT x.host, x.pid, x.version FROM blotter_internal.sessions x
                   WHERE x.producer_id = s.producer_id AND x.exchange = s.exchange AND x.lane IS NOT DISTINCT FROM s.lane AND x.event = 'opened'
                   ORDER BY x.seq LIMIT 1) AS o ON true;
SELECT blotter_internal.inherit_comments('blotter_internal.producers', 'blotter.audit');
COMMENT ON VIEW blotter_internal.producers IS 'Producers that were heard of in the last two minutes, with the counters of their last heartbeat.';
COMMENT ON COLUMN blotter_internal.producers.event IS 'the last it said: opened, heartbeat, closed';
COMMENT ON COLUMN blotter_internal.producers.recorded_at IS 'when it said that';
COMMENT ON COLUMN blotter_internal.producers.pid IS 'process id';
COMMENT ON COLUMN blotter_internal.producers.version IS 'version of its library';
COMMENT ON COLUMN blotter_internal.producers.alive IS 'heard of in the last 30 seconds, and not closed';
COMMENT ON COLUMN blotter_internal.producers.held IS 'places taken in its journal; null: the heartbeat has no counters';
COMMENT ON COLUMN blotter_internal.producers.slots IS 'places in its journal';
COMMENT ON COLUMN blotter_internal.producers."full" IS 'submits that were answered FULL';
COMMENT ON COLUMN blotter_internal.producers.evicted IS 'records that had to make room before they were confirmed';
COMMENT ON COLUMN blotter_internal.producers.redis_up IS '1 while it is connected to Redis';
COMMENT ON COLUMN blotter_internal.producers.last_error_at_ns IS 'when its present trouble with Redis began, ns since 1970; 0: none';

-- The newest rows by the primary key, so that the cost does not depend on how many there are.
CREATE VIEW blotter_internal.flow AS
SELECT r.exchange, count(*) AS records, max(r.recorded_at) AS last_at,
       percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM r.stored_at - r.recorded_at)::float8 * 1000) AS recorded_to_stored_ms
FROM ((SELECT e.exchange, e.recorded_at, e.stored_at FROM blotter.order_events e ORDER BY e.recorded_at DESC LIMIT 2000)
      UNION ALL
      (SELECT t.exchange, t.recorded_at, t.stored_at FROM blotter.trades t ORDER BY t.recorded_at DESC LIMIT 1000)) AS r
WHERE r.recorded_at >= now() - interval '5 minutes'
GROUP BY r.exchange;
COMMENT ON VIEW blotter_internal.flow IS 'How long the newest records took to their row, by exchange.';
COMMENT ON COLUMN blotter_internal.flow.exchange IS 'the exchange';
COMMENT ON COLUMN blotter_internal.flow.records IS 'number of records looked at';
COMMENT ON COLUMN blotter_internal.flow.last_at IS 'when the newest was recorded';
COMMENT ON COLUMN blotter_internal.flow.recorded_to_stored_ms IS 'median and 99th percentile, milliseconds, of the last five minutes';
