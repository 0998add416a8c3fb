-- Venue to strategy, and strategy to row, in milliseconds, of the last hours: $1.
SELECT coalesce(json_agg(l ORDER BY l.hour DESC, l.exchange, l.kind), '[]')::text
FROM blotter.latency(date_trunc('hour', now() - least(coalesce($1::int, 1), 48) * interval '1 hour', 'UTC'), 'infinity') AS l
