-- The first screen's figures. Today is the UTC day. Money is added up per currency, never across.
WITH today AS (SELECT date_trunc('day', now(), 'UTC') AS midnight)
SELECT json_build_object(
    'now', now(),
    'database', current_database(),
    'open_orders', (SELECT count(*) FROM blotter.open_orders),
    'oldest_open_order', (SELECT min(o.first_recorded_at) FROM blotter.open_orders o),
    'unanswered_orders', (SELECT count(*) FROM blotter.open_orders o
                          WHERE o.provisional AND o.first_recorded_at < now() - interval '5 seconds'),
    'fills_today', (SELECT count(*) FROM blotter.fills f, today t WHERE f.at >= t.midnight),
    'maker_today', (SELECT count(*) FROM blotter.fills f, today t
                    WHERE f.at >= t.midnight AND lower(f.liquidity COLLATE "C") = 'maker'),
    'positions', (SELECT count(*) FROM blotter.positions p WHERE p.quantity <> 0),
    'pnl', (SELECT coalesce(json_agg(json_build_object(
                'currency', p.currency, 'realized', p.realized_pnl::text, 'unrealized', p.unrealized_pnl::text,
                'fees', p.fees::text, 'funding', p.funding::text, 'net', p.net_pnl::text,
                'total', (p.net_pnl + coalesce(p.unrealized_pnl, 0))::text) ORDER BY p.fills DESC, p.currency), '[]')
            FROM today t, blotter.pnl(t.midnight, now(), '') AS p),
    'rejects', (SELECT count(*) FROM blotter.rejects r WHERE r.replayed_at IS NULL AND r.discarded_at IS NULL)
)::text
