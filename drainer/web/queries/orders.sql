-- Orders, the latest first: $1 exchange, $2 account, $3 strategy, $4 symbol, $5 a part of an id, $6 state, $7 limit, $8 sort.
SELECT json_build_object('orders', coalesce(json_agg(r.row), '[]'), 'limit', least(coalesce($7::int, 200), 1000))::text
FROM (
    SELECT json_build_object(
        'exchange', o.exchange, 'account', o.account, 'strategy', o.strategy, 'symbol', o.symbol, 'order', o.order_key,
        'order_id', o.order_id, 'client_order_id', o.client_order_id, 'side', o.side, 'type', o.type, 'status', o.status,
        'price', o.price::text, 'quantity', o.quantity::text, 'filled_quantity', o.filled_quantity::text,
        'remaining_quantity', o.remaining_quantity::text, 'average_price', o.average_price::text,
        'ended', o.terminal, 'provisional', o.provisional,
        'first_recorded_at', o.first_recorded_at, 'recorded_at', o.recorded_at) AS row
    FROM blotter.orders o
    WHERE CASE coalesce($6, 'open') WHEN 'open' THEN NOT o.terminal WHEN 'ended' THEN o.terminal ELSE true END
      AND ($1::text IS NULL OR o.exchange = $1)
      AND ($2::text IS NULL OR o.account = $2)
      AND ($3::text IS NULL OR coalesce(o.strategy, '') = $3)
      AND ($4::text IS NULL OR o.symbol = $4)
      AND ($5::text IS NULL OR strpos(o.order_key, $5) > 0 OR strpos(coalesce(o.client_order_id, ''), $5) > 0)
    ORDER BY CASE WHEN $8 = 'oldest' THEN o.first_recorded_at END, o.recorded_at DESC
    LIMIT least(coalesce($7::int, 200), 1000)
) AS r
