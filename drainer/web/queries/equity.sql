-- Net PnL since the beginning, by strategy and currency, hour by hour: $1 from (default: today), $2 to.
SELECT coalesce(json_agg(json_build_array(e.strategy, e.currency, e.at, e.equity::text)), '[]')::text
FROM blotter.equity(NULL, coalesce($1::timestamptz, date_trunc('day', now(), 'UTC')), coalesce($2::timestamptz, 'infinity'), 'hour') AS e
