-- The desk's PnL and each strategy's since midnight UTC, from the first fill on, in the currency of most fills: realised, and unrealised at the last own
-- fill's price, less fees. The strategies that moved most, 40 at most; strategy null is the whole desk.
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
