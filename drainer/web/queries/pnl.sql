-- Profit and loss: $1 from, $2 to, $3 by (a list of hour, day, exchange, account, strategy, market_type, symbol).
SELECT coalesce(json_agg(json_build_object(
    'start', p.start, 'exchange', p.exchange, 'account', p.account, 'strategy', p.strategy, 'market_type', p.market_type,
    'symbol', p.symbol, 'currency', p.currency, 'fills', p.fills, 'realized', p.realized_pnl::text,
    'unrealized', p.unrealized_pnl::text, 'fees', p.fees::text, 'funding', p.funding::text, 'net', p.net_pnl::text)), '[]')::text
FROM blotter.pnl(coalesce($1::timestamptz, date_trunc('day', now(), 'UTC')), coalesce($2::timestamptz, now()),
                 coalesce($3, 'strategy')) AS p
