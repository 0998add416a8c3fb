-- Venue to strategy, and strategy to row, in milliseconds: $1 hours back.
SELECT coalesce(json_agg(l ORDER BY l.hour DESC, l.exchange, l.kind), '[]')::text
FROM blotter.latency(now() - least(coalesce($1::int, 1), 48) * interval '1 hour', now()) AS l
