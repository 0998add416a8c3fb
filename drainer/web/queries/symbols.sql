-- Symbols with fills, or trades of the last day, the busiest first.
SELECT coalesce(json_agg(s), '[]')::text
FROM (
    SELECT s.exchange, s.symbol, sum(s.n) AS trades
    FROM (SELECT p.exchange, p.symbol, sum(p.fills) AS n FROM blotter.positions p GROUP BY 1, 2
          UNION ALL
          SELECT t.exchange, t.symbol, count(*) FROM blotter.trades t
          WHERE t.recorded_at >= now() - interval '1 day' GROUP BY 1, 2) AS s
    GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 1000
) AS s
