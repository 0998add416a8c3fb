-- Each strategy today. The sums are those of the overview, by strategy.
WITH today AS (SELECT date_trunc('day', now(), 'UTC') AS midnight),
money AS (
    SELECT p.strategy, json_agg(json_build_object('currency', p.currency, 'net', p.net_pnl::text, 'unrealized', p.unrealized_pnl::text)
                                ORDER BY p.fills DESC, p.currency) AS pnl,
           sum(p.fills) AS fills
    FROM today t, blotter.pnl(t.midnight, now(), 'strategy') AS p
    GROUP BY p.strategy
),
open AS (
    SELECT coalesce(o.strategy, '') AS strategy, count(*) AS orders, max(o.recorded_at) AS last_record_at
    FROM blotter.open_orders o GROUP BY coalesce(o.strategy, '')
)
SELECT coalesce(json_agg(s ORDER BY s.strategy), '[]')::text
FROM (
    SELECT strategy, m.pnl, coalesce(m.fills, 0) AS fills, coalesce(o.orders, 0) AS open_orders, o.last_record_at
    FROM money m FULL JOIN open o USING (strategy)
) AS s
