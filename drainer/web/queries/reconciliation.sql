-- The venues' positions beside the books', what differs first.
SELECT coalesce(json_agg(r), '[]')::text
FROM (
    SELECT x.exchange, x.account, x.kind, x.market_type, x.symbol, x.position_side, x.currency, x.ours::text, x.venue::text, x.difference::text,
           x.venue_at, x.agrees, x.note
    FROM blotter.reconciliation x
    ORDER BY x.agrees IS NOT TRUE DESC, x.agrees NULLS LAST, x.exchange, x.account, x.symbol LIMIT 1000
) AS r
