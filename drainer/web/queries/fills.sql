-- Own executions, the latest first: $1 exchange, $2 account, $3 strategy, $4 symbol, $5 before this time, $6 limit. A week back at most.
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
