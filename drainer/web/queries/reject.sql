-- One reject: $1 its id. The bytes as text, every byte that is not printable ASCII as \ooo. Behind the JSON a second line has the bytes
-- in hexadecimal, of which web.c makes the member `record`.
SELECT coalesce((
    SELECT json_build_object(
        'id', r.id, 'rejected_at', r.rejected_at, 'stream', r.stream, 'entry_id', r.entry_id, 'reason', r.reason,
        'sqlstate', r.sqlstate, 'producer_id', r.producer_id::text, 'seq', r.seq, 'recorded_at', r.recorded_at,
        'delivery_count', r.delivery_count, 'drainer', r.drainer, 'bytes', octet_length(r.raw),
        'text', encode(substring(r.raw FROM 1 FOR 4096), 'escape')) || E'\n' || encode(r.raw, 'hex')
    FROM blotter.rejects r WHERE r.id = $1::bigint), 'null')
