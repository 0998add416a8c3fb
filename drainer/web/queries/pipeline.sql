-- How records get here: what is loaded of each stream, the producers that live, the newest records' way to their row, and who loads.
SELECT json_build_object(
    'now', now(),
    'streams', (SELECT coalesce(json_agg(json_build_object('stream', l.stream, 'n', l.n, 'updated_at', l.updated_at) ORDER BY l.stream), '[]')
                FROM (SELECT * FROM blotter_internal.loaded x ORDER BY x.updated_at DESC LIMIT 1000) AS l),
    'producers', (SELECT coalesce(json_agg(json_build_object(
                      'producer_id', p.producer_id::text, 'exchange', p.exchange, 'lane', p.lane, 'alive', p.alive, 'last_at', p.recorded_at,
                      'host', p.host, 'pid', p.pid, 'version', p.version, 'held', p.held, 'slots', p.slots, 'full', p."full",
                      'evicted', p.evicted, 'redis_up', p.redis_up, 'last_error_at_ns', p.last_error_at_ns)), '[]')
                  FROM (SELECT * FROM blotter_internal.producers x ORDER BY x.held::float8 / nullif(x.slots, 0) DESC NULLS LAST LIMIT 1000) AS p),
    'flow', (SELECT coalesce(json_agg(f), '[]') FROM blotter_internal.flow f),
    'drainers', (SELECT coalesce(json_agg(d), '[]')
                 FROM (SELECT DISTINCT ON (p.exchange, p.lane) p.exchange, p.lane, p.drainer, p.updated_at FROM blotter_internal.progress p
                       WHERE p.updated_at >= now() - interval '10 minutes' ORDER BY p.exchange, p.lane, p.updated_at DESC) AS d),
    'audit', (SELECT coalesce(json_agg(a), '[]')
              FROM (SELECT q.exchange, q.lane, count(*) FILTER (WHERE q.state = 'complete') AS complete, count(*) FILTER (WHERE q.state = 'open') AS open,
                           count(*) FILTER (WHERE q.state NOT IN ('complete', 'open')) AS bad,
                           string_agg(DISTINCT q.state, ', ') FILTER (WHERE q.state NOT IN ('complete', 'open')) AS states
                    FROM blotter_internal.audit_quick q GROUP BY q.exchange, q.lane) AS a)
)::text
