-- 007: is anything missing? Sequence numbers are dense per producer, so what is not there shows, and sessions say how far each got.

-- Counting in blocks of 4,096 needs no sort of all rows: a block whose count and sum are those of an unbroken run is one; only the
-- rows of the others are looked at one by one.
CREATE FUNCTION blotter.seqs_between("from" timestamptz, "to" timestamptz)
    RETURNS TABLE (producer_id bigint, seqs int8multirange, row_count bigint, exchange text, first_at timestamptz, last_at timestamptz)
    LANGUAGE sql STABLE
    AS $$
    WITH block AS MATERIALIZED (
        SELECT r.producer_id, r.seq >> 12 AS n, min(r.seq) AS low, max(r.seq) AS high, count(*) AS row_count,
               count(*) = max(r.seq) - min(r.seq) + 1
               AND sum((r.seq & 4095)::int) * 2 = ((min(r.seq) & 4095) + (max(r.seq) & 4095)) * count(*) AS unbroken,
               min(r.exchange) AS exchange, min(r.recorded_at) AS first_at, max(r.recorded_at) AS last_at
        FROM (SELECT e.producer_id, e.seq, e.exchange, e.recorded_at FROM blotter.order_events e
              WHERE e.recorded_at >= seqs_between."from" AND e.recorded_at < seqs_between."to"
              UNION ALL SELECT e.producer_id, e.seq, e.exchange, e.recorded_at FROM blotter.trades e
              WHERE e.recorded_at >= seqs_between."from" AND e.recorded_at < seqs_between."to"
              UNION ALL SELECT e.producer_id, e.seq, e.exchange, e.recorded_at FROM blotter.sessions e
              WHERE e.recorded_at >= seqs_between."from" AND e.recorded_at < seqs_between."to") AS r
        WHERE r.producer_id > 0
        GROUP BY r.producer_id, r.seq >> 12
    )
    SELECT p.producer_id, range_agg(p.seqs), sum(p.row_count)::bigint, min(p.exchange), min(p.first_at), max(p.last_at)
    FROM (
        SELECT b.producer_id, CASE WHEN b.unbroken THEN int8range(b.low, b.high, '[]') ELSE 'empty' END AS seqs, b.row_count, b.exchange, b.first_at, b.last_at
        FROM block b
        UNION ALL
        SELECT b.producer_id, int8range(r.seq, r.seq, '[]'), 0, NULL, NULL, NULL
        FROM block b
        JOIN (SELECT e.producer_id, e.seq FROM blotter.order_events e
              WHERE e.recorded_at >= seqs_between."from" AND e.recorded_at < seqs_between."to"
              UNION ALL SELECT e.producer_id, e.seq FROM blotter.trades e
              WHERE e.recorded_at >= seqs_between."from" AND e.recorded_at < seqs_between."to"
              UNION ALL SELECT e.producer_id, e.seq FROM blotter.sessions e
              WHERE e.recorded_at >= seqs_between."from" AND e.recorded_at < seqs_between."to") AS r
            ON r.producer_id = b.producer_id AND r.seq >> 12 = b.n
        WHERE NOT b.unbroken
    ) AS p
    GROUP BY p.producer_id
$$;
COMMENT ON FUNCTION blotter.seqs_between(timestamptz, timestamptz) IS 'Which seqs of each producer have a row in order_events, trades or sessions, recorded from <= time < to.';

CREATE FUNCTION blotter.range_list(seqs int8multirange, most int DEFAULT 10) RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT string_agg(CASE WHEN r.n > most THEN '...' WHEN upper(r.r) - lower(r.r) = 1 THEN lower(r.r)::text
                           ELSE lower(r.r) || '-' || upper(r.r) - 1 END, ',' ORDER BY r.n)
    FROM unnest(seqs) WITH ORDINALITY AS r (r, n) WHERE r.n <= most + 1
$$;
COMMENT ON FUNCTION blotter.range_list(int8multirange, int) IS 'Ranges of seq as people write them: 1-50,53,60-70. At most so many.';

CREATE FUNCTION blotter.seq_count(seqs int8multirange) RETURNS bigint
    LANGUAGE sql IMMUTABLE
    AS 'SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint FROM unnest(seqs) AS r';
COMMENT ON FUNCTION blotter.seq_count(int8multirange) IS 'How many seqs a multirange holds.';

-- What sessions say: of the producer itself, and, in `opened`, of the one that used the journal before.
CREATE VIEW blotter.heard AS
SELECT s.producer_id, max(s.exchange) AS exchange, max(s.lane) AS lane, max(s.host) AS host, max(s.closed_seq) AS closed_seq, max(s.end_seq) AS end_seq,
       max(s.confirmed_seq) AS confirmed_seq, min(s.at) AS first_at, max(s.at) AS last_at
FROM (
    SELECT e.producer_id, e.exchange, e.lane, e.host, CASE WHEN e.event = 'closed' THEN greatest(e.seq, e.last_seq) END AS closed_seq,
           CASE WHEN e.event = 'closed' THEN greatest(e.seq, e.last_seq) END AS end_seq,
           CASE WHEN e.event <> 'opened' THEN e.confirmed_seq END AS confirmed_seq, e.recorded_at AS at
    FROM blotter.sessions e
    UNION ALL
    SELECT e.follows, e.exchange, e.lane, NULL, NULL, e.last_seq, e.confirmed_seq, NULL
    FROM blotter.sessions e WHERE e.event = 'opened' AND e.follows IS NOT NULL
) AS s
WHERE s.producer_id > 0
GROUP BY s.producer_id;
COMMENT ON VIEW blotter.heard IS 'What the sessions say of each producer, those of its successor included.';
COMMENT ON COLUMN blotter.heard.producer_id IS 'the producer';
COMMENT ON COLUMN blotter.heard.exchange IS 'its exchange';
COMMENT ON COLUMN blotter.heard.lane IS 'its lane, if any';
COMMENT ON COLUMN blotter.heard.host IS 'where it ran';
COMMENT ON COLUMN blotter.heard.closed_seq IS 'its last seq, as its closed record says; null: not closed';
COMMENT ON COLUMN blotter.heard.end_seq IS 'its last seq, as its closed record or its successor says; null: it may go on';
COMMENT ON COLUMN blotter.heard.confirmed_seq IS 'all up to here was known to be committed';
COMMENT ON COLUMN blotter.heard.first_at IS 'recorded_at of its first session record';
COMMENT ON COLUMN blotter.heard.last_at IS 'recorded_at of its latest session record';

CREATE VIEW blotter.audited_seqs AS
SELECT a.producer_id, a.exchange, a.lane, a.host, a.first_at, a.last_at, a.end_seq, a.closed_seq, a.confirmed_seq, a.top_seq, a.stored, a.rejected, a.gone, a.settled,
       (int8multirange(int8range(1, a.top_seq + 1)) - a.settled) * int8multirange(int8range(1, a.sure_seq + 1)) AS missing,
       (int8multirange(int8range(1, a.top_seq + 1)) - a.settled) - int8multirange(int8range(1, a.sure_seq + 1)) AS in_flight
FROM (
    SELECT h.producer_id, coalesce(h.exchange, s.exchange) AS exchange, h.lane, h.host, least(h.first_at, s.first_at) AS first_at,
           greatest(h.last_at, s.last_at) AS last_at, h.end_seq, h.closed_seq, h.confirmed_seq,
           coalesce(s.stored, 0) AS stored, coalesce(s.rejected, 0) AS rejected, coalesce(s.gone, '{}') AS gone,
           coalesce(s.settled, '{}') AS settled,
           -- up to here nothing is on its way any more, above it may be
           greatest(h.closed_seq, h.confirmed_seq, 0) AS sure_seq,
           greatest(h.end_seq, h.confirmed_seq, upper(s.settled) - 1, 0) AS top_seq
    FROM (
        SELECT p.producer_id, range_agg(p.seqs) AS settled, min(p.exchange) AS exchange, min(p.first_at) AS first_at, max(p.last_at) AS last_at,
               sum(p.stored)::bigint AS stored, sum(p.rejected)::bigint AS rejected, range_agg(p.gone) AS gone
        FROM (
            SELECT b.producer_id, r AS seqs, NULL::int8range AS gone, CASE WHEN n = 1 THEN b.row_count ELSE 0 END AS stored, 0 AS rejected, b.exchange, b.first_at, b.last_at
            FROM blotter.seqs_between('-infinity', 'infinity') b, unnest(b.seqs) WITH ORDINALITY AS u (r, n)
            UNION ALL
            SELECT j.producer_id, int8range(j.seq, j.seq, '[]'), NULL, 0, 1, j.exchange, j.recorded_at, j.recorded_at
            FROM blotter.rejects j WHERE j.producer_id > 0 AND j.seq > 0 AND j.replayed_at IS NULL
            UNION ALL
            SELECT g.producer_id, r, r, 0, 0, NULL, NULL, NULL FROM blotter.gone_seqs g, unnest(g.dropped + g.expired) AS r
        ) AS p
        GROUP BY p.producer_id
    ) AS s
    FULL JOIN blotter.heard h0 USING (producer_id)
    CROSS JOIN LATERAL (SELECT producer_id, h0.exchange, h0.lane, h0.host, h0.closed_seq, h0.end_seq, h0.confirmed_seq, h0.first_at, h0.last_at) AS h
) AS a;
COMMENT ON VIEW blotter.audited_seqs IS 'What audit and gaps are made of: for each producer which seqs are settled, and which are not.';
COMMENT ON COLUMN blotter.audited_seqs.settled IS 'stored, rejected, expired, or dropped with their day';
COMMENT ON COLUMN blotter.audited_seqs.missing IS 'not settled, though nothing of the kind can be on its way any more';
COMMENT ON COLUMN blotter.audited_seqs.in_flight IS 'not settled, and above what was known to be committed';

CREATE VIEW blotter.audit AS
SELECT a.producer_id, a.exchange, a.lane, a.host,
       CASE WHEN NOT isempty(a.missing) THEN 'missing'
            WHEN a.end_seq IS NOT NULL AND isempty(a.in_flight) THEN 'complete'
            ELSE 'open' END AS state,
       a.first_at, a.last_at,
       coalesce(lower(a.missing + a.in_flight), a.top_seq + 1) - 1 AS up_to_seq, a.top_seq AS last_seq, a.confirmed_seq,
       a.stored, a.rejected, blotter.seq_count(a.gone) AS gone,
       blotter.seq_count(a.missing) AS missing, blotter.range_list(a.missing) AS missing_seqs, blotter.seq_count(a.in_flight) AS in_flight
FROM blotter.audited_seqs a;
COMMENT ON VIEW blotter.audit IS 'For each producer of the library: is every record of its sequence here? Reads everything; audit_quick trusts progress.';
COMMENT ON COLUMN blotter.audit.producer_id IS 'the producer';
COMMENT ON COLUMN blotter.audit.exchange IS 'its exchange';
COMMENT ON COLUMN blotter.audit.lane IS 'its lane, if any';
COMMENT ON COLUMN blotter.audit.host IS 'where it ran';
COMMENT ON COLUMN blotter.audit.state IS 'complete: its end is known (it closed, or its successor said) and all up to there is settled; open: it may go on, and all is settled up to up_to_seq; missing: records are not here that should be';
COMMENT ON COLUMN blotter.audit.first_at IS 'recorded_at of the first record of it that is kept';
COMMENT ON COLUMN blotter.audit.last_at IS 'recorded_at of the last record of it: open means nothing is known after this';
COMMENT ON COLUMN blotter.audit.up_to_seq IS 'all up to here is settled';
COMMENT ON COLUMN blotter.audit.last_seq IS 'the highest seq known of';
COMMENT ON COLUMN blotter.audit.confirmed_seq IS 'all up to here was known to be committed, the producer says';
COMMENT ON COLUMN blotter.audit.stored IS 'rows, sessions included';
COMMENT ON COLUMN blotter.audit.rejected IS 'records in rejects, those that were replayed left out';
COMMENT ON COLUMN blotter.audit.gone IS 'records dropped with their day, or that came after it was dropped';
COMMENT ON COLUMN blotter.audit.missing IS 'how many are missing';
COMMENT ON COLUMN blotter.audit.missing_seqs IS 'which, the first ten ranges';
COMMENT ON COLUMN blotter.audit.in_flight IS 'how many are not here, but may be on their way';

CREATE VIEW blotter.gaps AS
SELECT a.producer_id, a.exchange, a.lane, lower(g.seqs) AS from_seq, upper(g.seqs) - 1 AS to_seq, g.state
FROM blotter.audited_seqs a, LATERAL (
    SELECT r AS seqs, 'missing' AS state FROM unnest(a.missing) AS r
    UNION ALL
    SELECT r, 'in flight' FROM unnest(a.in_flight) AS r
) AS g;
COMMENT ON VIEW blotter.gaps IS 'The ranges of seq that are not here.';
COMMENT ON COLUMN blotter.gaps.producer_id IS 'the producer';
COMMENT ON COLUMN blotter.gaps.exchange IS 'its exchange';
COMMENT ON COLUMN blotter.gaps.lane IS 'its lane, if any';
COMMENT ON COLUMN blotter.gaps.from_seq IS 'first seq that is not here';
COMMENT ON COLUMN blotter.gaps.to_seq IS 'last seq that is not here';
COMMENT ON COLUMN blotter.gaps.state IS 'missing, or in flight: above what was known to be committed';

-- Each looked up by its key, never by reading the tables: so these are no joins.
CREATE VIEW blotter.unstored_rejects AS
SELECT j.producer_id, j.seq
FROM blotter.rejects j
WHERE j.producer_id > 0 AND j.seq > 0 AND j.replayed_at IS NULL
  AND (SELECT true FROM blotter.order_events e WHERE e.recorded_at = j.recorded_at AND e.producer_id = j.producer_id AND e.seq = j.seq) IS NULL
  AND (SELECT true FROM blotter.trades e WHERE e.recorded_at = j.recorded_at AND e.producer_id = j.producer_id AND e.seq = j.seq) IS NULL
  AND (SELECT true FROM blotter.sessions e WHERE e.recorded_at = j.recorded_at AND e.producer_id = j.producer_id AND e.seq = j.seq) IS NULL
  AND (SELECT true FROM blotter.gone_seqs g WHERE g.producer_id = j.producer_id AND g.dropped + g.expired @> j.seq) IS NULL;
COMMENT ON VIEW blotter.unstored_rejects IS 'The rejects that have no row anywhere: not replayed, and not sent again and stored since.';
COMMENT ON COLUMN blotter.unstored_rejects.producer_id IS 'the producer';
COMMENT ON COLUMN blotter.unstored_rejects.seq IS 'its record';

CREATE VIEW blotter.audit_quick AS
SELECT q.producer_id, q.exchange, q.lane,
       CASE WHEN q.settled < greatest(q.closed_seq, q.confirmed_seq) THEN 'missing'
            WHEN q.settled >= q.end_seq THEN 'complete'
            ELSE 'open' END AS state,
       q.settled, greatest(q.last_seq, q.end_seq, q.confirmed_seq) AS last_seq, q.last_at
FROM (
    SELECT producer_id, h.exchange, h.lane, h.closed_seq, h.end_seq, h.confirmed_seq, coalesce(p.settled, 0) AS settled, p.last_seq,
           greatest(h.last_at, p.updated_at) AS last_at
    FROM (SELECT producer_id, sum(p.stored + p.expired)::bigint + coalesce(min(j.rejected), 0) AS settled, max(p.last_seq) AS last_seq,
                 max(p.updated_at) AS updated_at
          FROM blotter.progress p
          LEFT JOIN (SELECT u.producer_id, count(*) AS rejected FROM blotter.unstored_rejects u GROUP BY u.producer_id) AS j USING (producer_id)
          GROUP BY producer_id) AS p
    FULL JOIN blotter.heard h USING (producer_id)
) AS q;
COMMENT ON VIEW blotter.audit_quick IS 'As audit, from progress, sessions and rejects alone: costs next to nothing, but counts only.';
COMMENT ON COLUMN blotter.audit_quick.producer_id IS 'the producer';
COMMENT ON COLUMN blotter.audit_quick.exchange IS 'its exchange; null: no session record yet';
COMMENT ON COLUMN blotter.audit_quick.lane IS 'its lane, if any';
COMMENT ON COLUMN blotter.audit_quick.state IS 'as in audit';
COMMENT ON COLUMN blotter.audit_quick.settled IS 'records stored, rejected, expired';
COMMENT ON COLUMN blotter.audit_quick.last_seq IS 'the highest seq known of';
COMMENT ON COLUMN blotter.audit_quick.last_at IS 'when it was last heard of';

COMMENT ON COLUMN blotter.audited_seqs.top_seq IS 'the highest seq known of';
COMMENT ON COLUMN blotter.audited_seqs.gone IS 'dropped with their day, or expired';
SELECT blotter.inherit_comments('blotter.audited_seqs', 'blotter.heard'), blotter.inherit_comments('blotter.audited_seqs', 'blotter.audit');
