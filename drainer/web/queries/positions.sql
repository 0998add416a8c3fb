-- Positions that are open or moved today: $1 exchange, $2 account, $3 strategy, $4 symbol, $5 limit. Those that matter most, if there are more.
SELECT coalesce(json_agg(r ORDER BY r.strategy, r.exchange, r.symbol, r.position_side), '[]')::text
FROM (
    SELECT p.exchange, p.account, p.strategy, p.market_type, p.symbol, p.position_side, p.quantity::text, p.average_price::text, p.mark_price::text,
           p.currency, p.realized_pnl::text, p.realized_today::text, p.unrealized_pnl::text, p.fills, p.last_fill_at, p.assumed
    FROM blotter_internal.positions_today p
    WHERE ($1::text IS NULL OR p.exchange = $1)
      AND ($2::text IS NULL OR p.account = $2)
      AND ($3::text IS NULL OR p.strategy = $3)
      AND ($4::text IS NULL OR p.symbol = $4)
    ORDER BY abs(p.unrealized_pnl) DESC NULLS LAST, p.last_fill_at DESC
    LIMIT least(coalesce($5::int, 1000), 1000)
) AS r
