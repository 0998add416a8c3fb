-- Candles and the own fills in them: $1 exchange, $2 symbol, $3 interval, $4 from, $5 to.
WITH asked AS (
    SELECT $1::text AS exchange, $2::text AS symbol, coalesce($3, '1 minute')::interval AS step,
           coalesce($4::timestamptz, now() - interval '6 hours') AS low, coalesce($5::timestamptz, now()) AS high
)
SELECT json_build_object(
    'candles', (SELECT coalesce(json_agg(json_build_array(extract(epoch FROM c.start)::bigint, c.open::text, c.high::text,
                                                          c.low::text, c.close::text, c.volume::text, c.count)), '[]')
                FROM asked a, blotter.candles(a.symbol, a.step, greatest(a.low, a.high - a.step * 2000), a.high, a.exchange) AS c),
    'fills', (SELECT coalesce(json_agg(f), '[]')
              FROM (SELECT extract(epoch FROM date_bin(a.step, x.at, '1970-01-05 00:00:00+00'))::bigint AS start, x.at, x.side,
                           x.price::text, x.quantity::text, x.strategy, x.order_id
                    FROM asked a, blotter.fills x
                    WHERE x.symbol = a.symbol AND (a.exchange IS NULL OR x.exchange = a.exchange) AND x.at >= a.low AND x.at < a.high
                    ORDER BY x.at LIMIT 1000) AS f)
)::text
