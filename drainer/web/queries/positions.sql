-- Positions that are open or moved today: $1 exchange, $2 account, $3 strategy, $4 symbol. The mark price is the venue's of the last
-- day, else that of the last fill.
WITH today AS (SELECT date_trunc('day', now(), 'UTC') AS midnight),
money AS (
    SELECT p.exchange, p.account, p.strategy, p.market_type, p.symbol, p.currency, p.realized_pnl, p.unrealized_pnl
    FROM today t, blotter.pnl(t.midnight, now(), 'exchange,account,strategy,market_type,symbol') AS p
)
SELECT coalesce(json_agg(r ORDER BY r.strategy, r.exchange, r.symbol, r.position_side), '[]')::text
FROM (
    SELECT p.exchange, p.account, p.strategy, p.market_type, p.symbol, p.position_side, p.quantity::text, p.average_price::text,
           p.currency, p.realized_pnl::text, p.fees, p.funding, p.fills, p.last_fill_at, p.assumed,
           coalesce(v.mark_price, f.price)::text AS mark_price,
           m.unrealized_pnl::text, m.realized_pnl::text AS realized_today
    FROM blotter.positions p
    CROSS JOIN today t
    LEFT JOIN money m USING (exchange, account, strategy, market_type, symbol, currency)
    LEFT JOIN LATERAL (
        SELECT x.mark_price FROM blotter.venue_positions x
        WHERE x.exchange = p.exchange AND x.symbol = p.symbol AND x.mark_price IS NOT NULL AND x.recorded_at >= now() - interval '1 day'
        ORDER BY x.recorded_at DESC LIMIT 1) AS v ON true
    LEFT JOIN LATERAL (
        SELECT x.price FROM blotter.fills x
        WHERE (x.exchange, x.account, x.strategy, x.market_type, x.symbol, x.position_side)
            = (p.exchange, p.account, p.strategy, p.market_type, p.symbol, p.position_side)
        ORDER BY x.at DESC LIMIT 1) AS f ON v.mark_price IS NULL
    WHERE (p.quantity <> 0 OR p.last_fill_at >= t.midnight)
      AND ($1::text IS NULL OR p.exchange = $1)
      AND ($2::text IS NULL OR p.account = $2)
      AND ($3::text IS NULL OR p.strategy = $3)
      AND ($4::text IS NULL OR p.symbol = $4)
    ORDER BY p.last_fill_at DESC
    LIMIT 1000
) AS r
