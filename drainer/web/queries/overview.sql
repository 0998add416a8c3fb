-- The first screen's figures. Today is the UTC day. Money is added up per currency, never across. Open orders are looked at once.
WITH today AS (SELECT date_trunc('day', now(), 'UTC') AS midnight),
-- As blotter.open_orders, but by what stands in the index orders_open: all that have not ended, less those that an amend has replaced.
replaced AS MATERIALIZED (
    SELECT o.strategy, o.first_recorded_at, o.provisional FROM blotter.orders o
    WHERE NOT o.terminal AND EXISTS (SELECT FROM blotter.orders n WHERE n.orig_client_order_id <> '' AND n.orig_client_order_id = o.client_order_id)
      AND NOT EXISTS (SELECT FROM blotter.open_orders x
                      WHERE (x.order_key, x.exchange, x.account, x.scope, x.provisional) = (o.order_key, o.exchange, o.account, o.scope, o.provisional))
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
                                                 'total', (x.net_pnl + coalesce(x.unrealized_pnl, 0))::text) ORDER BY x.fills DESC, x.currency) AS pnl
               FROM money x GROUP BY x.strategy) AS m USING (strategy)
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
    'rejects', (SELECT count(*) FROM blotter.rejects r WHERE r.replayed_at IS NULL AND r.discarded_at IS NULL),
    'audit', (SELECT coalesce(json_object_agg(a.state, a.n), '{}')
              FROM (SELECT q.state, count(*) AS n FROM blotter_internal.audit_quick q GROUP BY q.state) AS a)
)::text
