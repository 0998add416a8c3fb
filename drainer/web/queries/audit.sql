-- The audit by the drainers' counters, without looking at every row. A producer's id is text: it does not fit a double.
SELECT coalesce(json_agg(json_build_object(
    'producer_id', a.producer_id::text, 'exchange', a.exchange, 'lane', a.lane, 'state', a.state, 'settled', a.settled,
    'last_seq', a.last_seq, 'last_at', a.last_at)), '[]')::text
FROM (SELECT * FROM blotter_internal.audit_quick ORDER BY state <> 'complete' DESC, last_at DESC LIMIT 1000) AS a
