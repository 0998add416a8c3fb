-- One order with all its events and fills: $1 exchange, $2 account, $3 its key.
SELECT json_build_object(
    'order', (SELECT to_json(o) FROM (
        SELECT exchange, account, strategy, symbol, market_type, order_id, client_order_id, side, position_side, type, time_in_force,
               status, price::text, trigger_price::text, quantity::text, filled_quantity::text, remaining_quantity::text,
               average_price::text, cost::text, reason, terminal AS ended, first_recorded_at, recorded_at, exchange_time, update_time
        FROM blotter.orders
        WHERE order_key = $3 AND exchange = $1 AND account = coalesce($2, '') LIMIT 1) AS o),
    'events', (SELECT coalesce(json_agg(e), '[]') FROM (
        SELECT recorded_at, exchange_time, update_time, event, status, side, price::text, quantity::text, filled_quantity::text,
               last_price::text, last_quantity::text, trade_id, client_order_id, reason, stored_at, producer_id::text, seq
        FROM blotter.order_events
        WHERE (order_id = $3
               -- those before the venue's id was known go by ours
               OR coalesce(order_id, '') = '' AND client_order_id = (SELECT o.client_order_id FROM blotter.orders o
                   WHERE o.order_key = $3 AND o.exchange = $1 AND o.account = coalesce($2, '') LIMIT 1))
          AND exchange = $1 AND coalesce(account, '') = coalesce($2, '')
        ORDER BY recorded_at, seq LIMIT 1000) AS e),
    'fills', (SELECT coalesce(json_agg(f), '[]') FROM (
        SELECT at, trade_id, side, price::text, quantity::text, fee::text, fee_currency, liquidity
        FROM blotter.fills f
        WHERE f.order_id = $3 AND f.exchange = $1
          AND f.symbol = (SELECT coalesce(o.symbol, '') FROM blotter.orders o
                          WHERE o.order_key = $3 AND o.exchange = $1 AND o.account = coalesce($2, '') LIMIT 1)
        ORDER BY f.at LIMIT 1000) AS f),
    -- of the latest rejects those whose bytes name the order
    'rejects', (SELECT coalesce(json_agg(r), '[]') FROM (
        SELECT x.id, x.rejected_at, x.reason
        FROM (SELECT y.id, y.rejected_at, y.reason, y.raw FROM blotter.rejects y ORDER BY y.id DESC LIMIT 2000) AS x
        WHERE octet_length($3) >= 4 AND position(convert_to($3, 'UTF8') IN x.raw) > 0 LIMIT 100) AS r)
)::text
