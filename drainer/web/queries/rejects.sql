-- Records that could not be stored and still wait for a decision, the latest first: $1 limit.
SELECT coalesce(json_agg(r), '[]')::text
FROM (
    SELECT r.id, r.rejected_at, r.stream, r.entry_id, r.reason, r.sqlstate, r.producer_id::text, r.seq, octet_length(r.raw) AS bytes
    FROM blotter.rejects r
    WHERE r.replayed_at IS NULL AND r.discarded_at IS NULL
    ORDER BY r.id DESC LIMIT least(coalesce($1::int, 100), 1000)
) AS r
