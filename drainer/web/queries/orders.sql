-- Orders: $1 exchange, $2 account, $3 strategy, $4 symbol, $5 a part of an id, $6 state (open, ended, all), $7 limit, $8 sort (oldest).
-- Open ones, the newest first, by their index, which is read up to the limit before any row is. Others, the latest change first, among
-- the orders of the newest 20,000 events, and those that have $5 as an id.
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
            SELECT coalesce(nullif(e.order_id, ''), e.client_order_id) FROM (SELECT x.order_id, x.client_order_id FROM blotter.order_events x ORDER BY x.recorded_at DESC LIMIT 20000) AS e
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
