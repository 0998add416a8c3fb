-- Symbols with fills, or among the newest trades, the busiest first.
SELECT coalesce(json_agg(s), '[]')::text
FROM (
    SELECT s.exchange, s.symbol, sum(s.n) AS trades
    FROM (SELECT p.exchange, p.symbol, sum(p.fills) AS n FROM blotter.positions p GROUP BY 1, 2
          UNION ALL
          SELECT t.exchange, t.symbol, count(*)
          FROM (SELECT x.exchange, x.symbol FROM blotter.trades x ORDER BY x.recorded_at DESC LIMIT 5000) AS t GROUP BY 1, 2) AS s
    GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 1000
) AS s
