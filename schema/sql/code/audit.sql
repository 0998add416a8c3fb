-- Finds what is missing. Sequence numbers are dense per producer, so what is not there shows, and sessions say how far each got. A producer
-- belongs to one stream: what another stream says of it counts nothing for it, and is shown as forged.

CREATE FUNCTION blotter_internal.range_list(seqs int8multirange, most int DEFAULT 10) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
    SELECT string_agg(CASE WHEN r.n > most THEN '...' WHEN upper(r.r) - lower(r.r) = 1 THEN lower(r.r)::text
                           ELSE lower(r.r) || '-' || upper(r.r) - 1 END, ',' ORDER BY r.n)
    FROM unnest(seqs) WITH ORDINALITY AS r (r, n) WHERE r.n <= most + 1;
    END;
COMMENT ON FUNCTION blotter_internal.range_list(int8multirange, int) IS 'Ranges of seq as people write them: 1-50,53,60-70. At most so many.';

CREATE FUNCTION blotter_internal.seq_count(seqs int8multirange) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
    SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint FROM unnest(seqs) AS r;
    END;
COMMENT ON FUNCTION blotter_internal.seq_count(int8multirange) IS 'How many seqs a multirange holds.';

-- Rows may hold any number that a foreign client wrote.
CREATE FUNCTION blotter_internal.possible_seq(seq bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN seq BETWEEN 0 AND blotter_internal.greatest_seq() THEN seq END;
COMMENT ON FUNCTION blotter_internal.possible_seq(bigint) IS 'A seq, or null if no producer can have counted so far.';

-- The producers' own sessions: how far each said it has come.
CREATE VIEW blotter_internal.heard AS
SELECT s.producer_id, s.exchange, coalesce(s.lane, '') AS lane, max(s.host) AS host,
       max(greatest(blotter_internal.possible_seq(s.seq), blotter_internal.possible_seq(s.last_seq))) FILTER (WHERE s.event = 'closed') AS closed_seq,
       max(blotter_internal.possible_seq(s.confirmed_seq)) FILTER (WHERE s.event <> 'opened') AS confirmed_seq,
       min(s.recorded_at) AS first_at, max(s.recorded_at) AS last_at
FROM blotter_internal.sessions s
WHERE s.producer_id > 0
GROUP BY s.producer_id, s.exchange, coalesce(s.lane, '');
COMMENT ON VIEW blotter_internal.heard IS 'How far each producer came, by its own sessions.';
COMMENT ON COLUMN blotter_internal.heard.closed_seq IS 'its last seq, as its closed record says; null: not closed';
COMMENT ON COLUMN blotter_internal.heard.first_at IS 'recorded_at of its first session record';
COMMENT ON COLUMN blotter_internal.heard.last_at IS 'recorded_at of its latest session record';

-- A session `opened` tells how far the producer that used the journal before had come. It is believed only in the same exchange.
CREATE VIEW blotter_internal.followed AS
SELECT s.follows AS producer_id, s.exchange, max(coalesce(s.lane, '')) AS lane,
       max(blotter_internal.possible_seq(s.last_seq)) AS end_seq, max(blotter_internal.possible_seq(s.confirmed_seq)) AS confirmed_seq
FROM blotter_internal.sessions s
WHERE s.event = 'opened' AND s.follows > 0
GROUP BY s.follows, s.exchange;
COMMENT ON VIEW blotter_internal.followed IS 'How far each producer came, by the session of its successor.';
COMMENT ON COLUMN blotter_internal.followed.producer_id IS 'the producer that was followed';
COMMENT ON COLUMN blotter_internal.followed.exchange IS 'the exchange of both';
COMMENT ON COLUMN blotter_internal.followed.lane IS 'the lane of the successor; empty: none';
COMMENT ON COLUMN blotter_internal.followed.end_seq IS 'its last seq';

CREATE FUNCTION blotter_internal.audited_seqs(of_exchange text DEFAULT NULL, since timestamptz DEFAULT '-infinity', every_row boolean DEFAULT false)
    RETURNS TABLE (producer_id bigint, exchange text, lane text, host text, streams text[], first_at timestamptz, last_at timestamptz,
                   end_seq bigint, confirmed_seq bigint, top_seq bigint, stored bigint, doubled bigint, rejected bigint, gone int8multirange,
                   missing int8multirange, in_flight int8multirange)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    WITH stored AS (
        SELECT s.producer_id, s.exchange, s.lane, range_agg(s.seqs) AS seqs, sum(s.row_count)::bigint AS row_count, min(s.first_at) AS first_at, max(s.last_at) AS last_at
        FROM blotter_internal.stored_seqs(audited_seqs.of_exchange, audited_seqs.since, audited_seqs.every_row) s
        GROUP BY s.producer_id, s.exchange, s.lane
    ), rejected AS (
        SELECT j.producer_id, j.exchange, coalesce(j.lane, '') AS lane, range_agg(int8range(j.seq, j.seq + 1)) AS seqs,
               min(j.recorded_at) AS first_at, max(j.recorded_at) AS last_at
        FROM blotter.rejects j
        WHERE j.producer_id > 0 AND j.seq BETWEEN 1 AND blotter_internal.greatest_seq() AND j.exchange IS NOT NULL AND j.replayed_at IS NULL
          AND (j.recorded_at >= audited_seqs.since OR j.recorded_at IS NULL)
          AND (audited_seqs.of_exchange IS NULL OR j.exchange = audited_seqs.of_exchange)
        GROUP BY j.producer_id, j.exchange, coalesce(j.lane, '')
    ), gone AS (
        SELECT g.producer_id, g.exchange, g.lane, g.dropped + g.expired AS seqs
        FROM blotter_internal.gone_seqs g
        WHERE audited_seqs.of_exchange IS NULL OR g.exchange = audited_seqs.of_exchange
    ), heard AS (
        SELECT h.producer_id, h.exchange, h.lane, h.host, h.closed_seq, h.confirmed_seq, h.first_at, h.last_at
        FROM blotter_internal.heard h
        WHERE audited_seqs.of_exchange IS NULL OR h.exchange = audited_seqs.of_exchange
    ), followed AS (
        SELECT f.producer_id, f.exchange, f.lane, f.end_seq, f.confirmed_seq
        FROM blotter_internal.followed f
        WHERE audited_seqs.of_exchange IS NULL OR f.exchange = audited_seqs.of_exchange
    ), known AS (
        SELECT s.producer_id, s.exchange, s.lane FROM stored s
        UNION SELECT j.producer_id, j.exchange, j.lane FROM rejected j
        UNION SELECT h.producer_id, h.exchange, h.lane FROM heard h WHERE h.last_at >= audited_seqs.since
        UNION SELECT g.producer_id, g.exchange, g.lane FROM gone g WHERE audited_seqs.since = '-infinity'
    ), of_streams AS (
        SELECT k.producer_id, array_agg(k.exchange || CASE k.lane WHEN '' THEN '' ELSE ':' || k.lane END
                                        ORDER BY k.exchange COLLATE "C", k.lane COLLATE "C") AS streams
        FROM (SELECT k.producer_id, k.exchange, k.lane FROM known k
              UNION SELECT p.producer_id, p.exchange, p.lane FROM blotter_internal.progress p) AS k
        GROUP BY k.producer_id
    ), audited AS (
        SELECT k.producer_id, k.exchange, k.lane FROM known k
        UNION ALL
        -- it left nothing but what its successor says of it
        SELECT f.producer_id, f.exchange, f.lane FROM followed f
        WHERE audited_seqs.since = '-infinity' AND NOT EXISTS (SELECT FROM of_streams o WHERE o.producer_id = f.producer_id)
    )
    SELECT a.producer_id, a.exchange, nullif(a.lane, ''), a.host, a.streams, a.first_at, a.last_at, a.end_seq, a.confirmed_seq, a.top_seq,
           a.stored, a.doubled, blotter_internal.seq_count(a.rejected - a.stored_seqs), a.gone,
           (a.asked - a.settled) * int8multirange(int8range(1, a.sure_seq + 1)),
           (a.asked - a.settled) - int8multirange(int8range(1, a.sure_seq + 1))
    FROM (
        SELECT k.producer_id, k.exchange, k.lane, h.host, o.streams, least(h.first_at, s.first_at, j.first_at) AS first_at,
               greatest(h.last_at, s.last_at, j.last_at) AS last_at, c.end_seq, c.confirmed_seq, c.sure_seq, t.top_seq,
               blotter_internal.seq_count(c.stored_seqs) AS stored, coalesce(s.row_count, 0) - blotter_internal.seq_count(c.stored_seqs) AS doubled,
               c.stored_seqs, coalesce(j.seqs, '{}') AS rejected, coalesce(g.seqs, '{}') AS gone, c.settled,
               int8multirange(int8range(CASE WHEN audited_seqs.since = '-infinity' THEN 1 ELSE coalesce(lower(c.settled), t.top_seq + 1) END, t.top_seq + 1)) AS asked
        FROM audited k
        LEFT JOIN stored s USING (producer_id, exchange, lane)
        LEFT JOIN rejected j USING (producer_id, exchange, lane)
        LEFT JOIN gone g USING (producer_id, exchange, lane)
        LEFT JOIN heard h USING (producer_id, exchange, lane)
        LEFT JOIN followed f USING (producer_id, exchange)
        LEFT JOIN of_streams o USING (producer_id)
        CROSS JOIN LATERAL (
            SELECT coalesce(s.seqs, '{}') AS stored_seqs, coalesce(s.seqs, '{}') + coalesce(j.seqs, '{}') + coalesce(g.seqs, '{}') AS settled,
                   greatest(h.closed_seq, f.end_seq) AS end_seq, greatest(h.confirmed_seq, f.confirmed_seq) AS confirmed_seq,
                   -- up to here nothing is on its way any more, above it may be
                   greatest(h.closed_seq, h.confirmed_seq, f.confirmed_seq, 0) AS sure_seq
        ) AS c
        CROSS JOIN LATERAL (SELECT greatest(c.end_seq, c.confirmed_seq, upper(c.settled) - 1, 0) AS top_seq) AS t
    ) AS a;
    END;
COMMENT ON FUNCTION blotter_internal.audited_seqs(text, timestamptz, boolean) IS
    'The base of audit and gaps: for each producer and stream which seqs are settled (stored, rejected, expired, or dropped with their day), which are missing (not settled, though nothing of the kind can be on its way any more), and which may be in flight. Of one exchange, if given; of records since a time, if given: then seqs before the first of those are not asked for. every_row: trusts no summary.';

CREATE FUNCTION blotter_internal.audit_of(of_exchange text DEFAULT NULL, since timestamptz DEFAULT '-infinity', every_row boolean DEFAULT false)
    RETURNS TABLE (producer_id bigint, exchange text, lane text, host text, state text, first_at timestamptz, last_at timestamptz, up_to_seq bigint,
                   last_seq bigint, confirmed_seq bigint, stored bigint, rejected bigint, gone bigint, missing bigint, missing_seqs text, in_flight bigint,
                   doubled bigint, streams text[])
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT a.producer_id, a.exchange, a.lane, a.host,
           CASE WHEN cardinality(a.streams) > 1 THEN 'forged'
                WHEN NOT isempty(a.missing) THEN 'missing'
                WHEN a.doubled > 0 THEN 'doubled'
                WHEN a.lane = 'wire' THEN 'unproven'
                WHEN a.end_seq IS NOT NULL AND isempty(a.in_flight) THEN 'complete'
                ELSE 'open' END,
           a.first_at, a.last_at,
           coalesce(lower(a.missing + a.in_flight), a.top_seq + 1) - 1, a.top_seq, a.confirmed_seq,
           a.stored, a.rejected, blotter_internal.seq_count(a.gone),
           blotter_internal.seq_count(a.missing), blotter_internal.range_list(a.missing), blotter_internal.seq_count(a.in_flight),
           a.doubled, a.streams
    FROM blotter_internal.audited_seqs(audit_of.of_exchange, audit_of.since, audit_of.every_row) a;
    END;
COMMENT ON FUNCTION blotter_internal.audit_of(text, timestamptz, boolean) IS 'blotter.audit of one exchange, or of the records since a time; every_row: trusts no summary of a day.';

CREATE VIEW blotter.audit AS
SELECT a.producer_id, a.exchange, a.lane, a.host, a.state, a.first_at, a.last_at, a.up_to_seq, a.last_seq, a.confirmed_seq, a.stored,
       a.rejected, a.gone, a.missing, a.missing_seqs, a.in_flight, a.doubled, a.streams
FROM blotter_internal.audit_of() a;
COMMENT ON VIEW blotter.audit IS
    'For each producer and stream: is every record of its sequence here? Foreign clients without sequence numbers are not in it. Example: SELECT * FROM blotter.audit WHERE state NOT IN (''complete'', ''open'');';
COMMENT ON COLUMN blotter.audit.producer_id IS 'the producer';
COMMENT ON COLUMN blotter.audit.exchange IS 'its exchange';
COMMENT ON COLUMN blotter.audit.lane IS 'its lane, if any';
COMMENT ON COLUMN blotter.audit.host IS 'where it ran';
COMMENT ON COLUMN blotter.audit.state IS 'complete: its end is known (it closed, or its successor said) and all up to there is settled; open: it may go on, and all is settled up to up_to_seq; unproven: all that a tap recorded is here (lane wire), but a tap accepts nothing, so nothing shows that it saw everything; missing: records are not here that should be; doubled: a seq has more than one row; forged: its records came in more than one stream, see streams';
COMMENT ON COLUMN blotter.audit.first_at IS 'recorded_at of the first record of it that is kept';
COMMENT ON COLUMN blotter.audit.last_at IS 'recorded_at of the last record of it: open means nothing is known after this';
COMMENT ON COLUMN blotter.audit.up_to_seq IS 'all up to here is settled';
COMMENT ON COLUMN blotter.audit.last_seq IS 'the highest seq known of';
COMMENT ON COLUMN blotter.audit.confirmed_seq IS 'all up to here was known to be committed, the producer says';
COMMENT ON COLUMN blotter.audit.stored IS 'seqs that are stored, sessions included';
COMMENT ON COLUMN blotter.audit.rejected IS 'seqs that are in rejects only, those that were replayed left out';
COMMENT ON COLUMN blotter.audit.gone IS 'seqs dropped with their day, or that came after it was dropped';
COMMENT ON COLUMN blotter.audit.missing IS 'how many are missing';
COMMENT ON COLUMN blotter.audit.missing_seqs IS 'which, the first ten ranges';
COMMENT ON COLUMN blotter.audit.in_flight IS 'how many are not here, but may be on their way';
COMMENT ON COLUMN blotter.audit.doubled IS 'rows beyond one for each seq';
COMMENT ON COLUMN blotter.audit.streams IS 'the streams (exchange, or exchange:lane) that records of this producer_id came in; more than one: forged';

CREATE VIEW blotter.gaps AS
SELECT a.producer_id, a.exchange, a.lane, lower(g.seqs) AS from_seq, upper(g.seqs) - 1 AS to_seq, g.state
FROM blotter_internal.audited_seqs() a, LATERAL (
    SELECT r AS seqs, 'missing' AS state FROM unnest(a.missing) AS r
    UNION ALL
    SELECT r, 'in flight' FROM unnest(a.in_flight) AS r
) AS g;
COMMENT ON VIEW blotter.gaps IS 'The ranges of seq that are not here. Example: SELECT * FROM blotter.gaps WHERE state = ''missing'';';
COMMENT ON COLUMN blotter.gaps.from_seq IS 'first seq that is not here';
COMMENT ON COLUMN blotter.gaps.to_seq IS 'last seq that is not here';
COMMENT ON COLUMN blotter.gaps.state IS 'missing, or in flight: above what was known to be committed';

-- Day by day, with the day written into the statement: to plan for all days takes longer than all the rest. A day that has no partition has no
-- rows but sessions, and rejects may name any number of such days.
CREATE FUNCTION blotter_internal.find_unstored_rejects() RETURNS TABLE (producer_id bigint, exchange text, lane text, seq bigint)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
    AS $$
DECLARE
    day timestamptz;
    days timestamptz[] := ARRAY(SELECT DISTINCT to_date(substring(c.relname FROM '_([0-9]{8})$'), 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC'
                                FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                                WHERE i.inhparent IN (SELECT format('blotter.%I', t."table")::regclass FROM blotter_internal.partitioned_tables t));
BEGIN
    FOREACH day IN ARRAY days LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM blotter.rejects j WHERE j.producer_id > 0 AND j.replayed_at IS NULL
                                  AND j.recorded_at >= day AND j.recorded_at < day + interval '24 hours');
        -- Each looked up by its key, never by reading the tables: so this is no join.
        RETURN QUERY EXECUTE format($q$
            SELECT j.producer_id, j.exchange, coalesce(j.lane, ''), j.seq
            FROM blotter.rejects j
            WHERE j.producer_id > 0 AND j.seq BETWEEN 1 AND blotter_internal.greatest_seq() AND j.replayed_at IS NULL
              AND j.recorded_at >= %1$L AND j.recorded_at < %2$L
              AND (SELECT true FROM blotter_internal.identities e
                   WHERE e.recorded_at >= %1$L AND e.recorded_at < %2$L AND e.recorded_at = j.recorded_at AND e.producer_id = j.producer_id AND e.seq = j.seq
                   LIMIT 1) IS NULL
        $q$, day, day + interval '24 hours');
    END LOOP;
    RETURN QUERY
        SELECT j.producer_id, j.exchange, coalesce(j.lane, ''), j.seq
        FROM blotter.rejects j
        WHERE j.producer_id > 0 AND j.seq BETWEEN 1 AND blotter_internal.greatest_seq() AND j.replayed_at IS NULL
          AND (date_bin('1 day', j.recorded_at, '2000-01-01 00:00:00+00') = ANY (days)) IS NOT TRUE
          AND (SELECT true FROM blotter_internal.sessions e WHERE (e.recorded_at, e.producer_id, e.seq) = (j.recorded_at, j.producer_id, j.seq)) IS NULL;
END
$$;
COMMENT ON FUNCTION blotter_internal.find_unstored_rejects() IS 'The rejects that are not replayed and have no row of their own in a table of records.';

CREATE VIEW blotter_internal.unstored_rejects AS
SELECT DISTINCT j.producer_id, j.exchange, j.lane, j.seq
FROM blotter_internal.find_unstored_rejects() j
WHERE (SELECT true FROM blotter_internal.gone_seqs g
       WHERE (g.producer_id, g.exchange, g.lane) = (j.producer_id, j.exchange, j.lane) AND g.dropped + g.expired @> j.seq) IS NULL;
COMMENT ON VIEW blotter_internal.unstored_rejects IS 'The rejects that have no row anywhere: not replayed, and not sent again and stored since.';
COMMENT ON COLUMN blotter_internal.unstored_rejects.seq IS 'its record';

CREATE VIEW blotter_internal.audit_quick AS
WITH counted AS (
    SELECT p.producer_id, p.exchange, p.lane, sum(p.stored + p.expired)::bigint AS settled, max(blotter_internal.possible_seq(p.last_seq)) AS last_seq,
           max(p.updated_at) AS updated_at
    FROM blotter_internal.progress p GROUP BY p.producer_id, p.exchange, p.lane
), rejected AS (
    SELECT u.producer_id, u.exchange, u.lane, count(*) AS rejected FROM blotter_internal.unstored_rejects u GROUP BY u.producer_id, u.exchange, u.lane
), known AS (
    SELECT c.producer_id, c.exchange, c.lane FROM counted c
    UNION SELECT h.producer_id, h.exchange, h.lane FROM blotter_internal.heard h
)
SELECT q.producer_id, q.exchange, nullif(q.lane, '') AS lane,
       CASE WHEN q.streams > 1 THEN 'forged'
            WHEN q.settled < greatest(q.closed_seq, q.confirmed_seq) THEN 'missing'
            WHEN q.lane = 'wire' THEN 'unproven'
            WHEN q.settled >= q.end_seq THEN 'complete'
            ELSE 'open' END AS state,
       q.settled, greatest(q.last_seq, q.end_seq, q.confirmed_seq) AS last_seq, q.last_at
FROM (
    SELECT k.producer_id, k.exchange, k.lane, h.closed_seq, greatest(h.closed_seq, f.end_seq) AS end_seq,
           greatest(h.confirmed_seq, f.confirmed_seq) AS confirmed_seq, coalesce(c.settled, 0) + coalesce(j.rejected, 0) AS settled, c.last_seq,
           greatest(h.last_at, c.updated_at) AS last_at, count(*) OVER (PARTITION BY k.producer_id) AS streams
    FROM (SELECT k.* FROM known k
          UNION ALL SELECT f.producer_id, f.exchange, f.lane FROM blotter_internal.followed f
          WHERE NOT EXISTS (SELECT FROM known k WHERE k.producer_id = f.producer_id)) AS k
    LEFT JOIN counted c USING (producer_id, exchange, lane)
    LEFT JOIN rejected j USING (producer_id, exchange, lane)
    LEFT JOIN blotter_internal.heard h USING (producer_id, exchange, lane)
    LEFT JOIN blotter_internal.followed f USING (producer_id, exchange)
) AS q;
COMMENT ON VIEW blotter_internal.audit_quick IS 'As blotter.audit, from progress, sessions and rejects alone: costs next to nothing, but counts only.';
COMMENT ON COLUMN blotter_internal.audit_quick.settled IS 'records stored, rejected, expired';
COMMENT ON COLUMN blotter_internal.audit_quick.last_at IS 'when it was last heard of';
SELECT blotter_internal.inherit_comments(heir, 'blotter.audit')
FROM unnest('{blotter_internal.heard,blotter_internal.followed,blotter.gaps,blotter_internal.unstored_rejects,blotter_internal.audit_quick}'::regclass[]) AS heir;
