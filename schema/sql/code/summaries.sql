-- The seqs that have rows, and what is kept of that day by day, so that an audit need not read a day again to learn that it is as it was.
--
-- day_seqs says it as of a snapshot, per day: rows of the transactions that the snapshot sees are counted there. Rows stored later are found by their
-- stored_by, with a BRIN of a few kilobytes, and added. Rows deleted, changed, or inserted with another stored_by (put back from a copy) are noted
-- by triggers, and a table that was emptied, made anew or restored is another file: then the summary counts no more. So a day is read again
-- only where something else than a load has changed it.
--
-- A summary cannot see rows that were changed while triggers were off or their table was detached, its own tables being changed, or a damaged
-- disk. All that takes an owner of the tables. `blotter audit --full` reads every row.

-- Blocks of 64 seqs as bits need no sort of all rows, and tell a gap from a double whatever else is there.
CREATE FUNCTION blotter_internal.seqs_of_block(block bigint, bits bigint) RETURNS int8multirange
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
    SELECT CASE WHEN bits = -1 THEN int8multirange(int8range(block * 64, block * 64 + 64))
                ELSE (SELECT range_agg(int8range(block * 64 + n, block * 64 + n + 1)) FROM generate_series(0, 63) AS n WHERE (bits >> n) & 1 = 1) END;
    END;
COMMENT ON FUNCTION blotter_internal.seqs_of_block(bigint, bigint) IS 'The seqs of a block of 64 whose bits are set.';

CREATE FUNCTION blotter_internal.seqs_between("from" timestamptz, "to" timestamptz, of_exchange text DEFAULT NULL,
                                              unseen_by pg_snapshot DEFAULT NULL, seen_by pg_snapshot DEFAULT NULL)
    RETURNS TABLE (producer_id bigint, exchange text, lane text, seqs int8multirange, row_count bigint, first_at timestamptz, last_at timestamptz)
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
    SELECT b.producer_id, b.exchange, b.lane, range_agg(blotter_internal.seqs_of_block(b.block, b.bits)), sum(b.row_count)::bigint, min(b.first_at), max(b.last_at)
    FROM (
        SELECT i.producer_id, i.exchange, coalesce(i.lane, '') AS lane, i.seq >> 6 AS block, bit_or(1::bigint << (i.seq & 63)::int) AS bits,
               count(*) AS row_count, min(i.recorded_at) AS first_at, max(i.recorded_at) AS last_at
        FROM blotter_internal.identities i
        WHERE i.recorded_at >= seqs_between."from" AND i.recorded_at < seqs_between."to" AND i.producer_id > 0
          AND i.seq BETWEEN 1 AND blotter_internal.greatest_seq()
          AND (seqs_between.of_exchange IS NULL OR i.exchange = seqs_between.of_exchange)
          AND (seqs_between.unseen_by IS NULL
               OR i.stored_by::text::bigint >= pg_snapshot_xmin(seqs_between.unseen_by)::text::bigint AND NOT pg_visible_in_snapshot(i.stored_by, seqs_between.unseen_by))
          AND (seqs_between.seen_by IS NULL OR pg_visible_in_snapshot(i.stored_by, seqs_between.seen_by))
        GROUP BY i.producer_id, i.exchange, coalesce(i.lane, ''), i.seq >> 6
    ) AS b
    GROUP BY b.producer_id, b.exchange, b.lane;
    END;
COMMENT ON FUNCTION blotter_internal.seqs_between(timestamptz, timestamptz, text, pg_snapshot, pg_snapshot) IS
    'Which seqs of each producer have a row in a table of records, recorded from <= time < to, and how many rows those are; only of transactions that one snapshot does not see and another sees, if given.';

-- With the times written into the statement, as the planner then leaves out other days; by hashing, as it takes millions of rows for few.
CREATE FUNCTION blotter_internal.find_seqs("from" timestamptz, "to" timestamptz, of_exchange text, unseen_by pg_snapshot DEFAULT NULL, seen_by pg_snapshot DEFAULT NULL)
    RETURNS TABLE (producer_id bigint, exchange text, lane text, seqs int8multirange, row_count bigint, first_at timestamptz, last_at timestamptz)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_sort = off SET enable_seqscan = off SET jit = off
    AS $$
BEGIN
    RETURN QUERY EXECUTE format('SELECT * FROM blotter_internal.seqs_between(%L, %L, %L, %L, %L)', "from", "to", of_exchange, unseen_by, seen_by);
END
$$;
COMMENT ON FUNCTION blotter_internal.find_seqs(timestamptz, timestamptz, text, pg_snapshot, pg_snapshot) IS 'seqs_between, planned for these very times.';

-- --- days that are known ---

CREATE OR REPLACE FUNCTION blotter_internal.note_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    INSERT INTO blotter_internal.day_changes (day, xid)
    SELECT (r.at AT TIME ZONE 'UTC')::date, pg_current_xact_id() FROM (VALUES (OLD.recorded_at), (NEW.recorded_at)) AS r (at) WHERE r.at IS NOT NULL
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION blotter_internal.note_change() IS 'Trigger on the tables of records: a row was deleted, changed or put back, so what is known of its day counts no more.';

DO $$
DECLARE
    kind record;
BEGIN
    FOR kind IN SELECT * FROM blotter_internal.record_kinds LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER note_change AFTER UPDATE OR DELETE ON %I.%I FOR EACH ROW EXECUTE FUNCTION blotter_internal.note_change()',
                       kind."schema", kind."table");
        -- The WHEN is false for the rows of a load, and costs less there than can be measured.
        EXECUTE format('CREATE OR REPLACE TRIGGER note_copy AFTER INSERT ON %I.%I FOR EACH ROW WHEN (NEW.stored_by IS DISTINCT FROM pg_current_xact_id())
                        EXECUTE FUNCTION blotter_internal.note_change()', kind."schema", kind."table");
    END LOOP;
END
$$;

CREATE FUNCTION blotter_internal.files_of_day(day date) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT (SELECT s.system_identifier FROM pg_control_system() s) || ':' || string_agg(c.oid || '=' || c.relfilenode, ' ' ORDER BY c.oid)
    FROM pg_class c
    WHERE c.oid = 'blotter_internal.sessions'::regclass
       OR c.oid IN (SELECT i.inhrelid FROM blotter_internal.partitioned_tables t
                    JOIN pg_inherits i ON i.inhparent = t.oid AND NOT i.inhdetachpending
                     AND i.inhrelid = to_regclass('blotter_internal.' || t."table" || '_' || to_char(files_of_day.day, 'YYYYMMDD')));
    END;
COMMENT ON FUNCTION blotter_internal.files_of_day(date) IS 'The files that the records of a day are in: server, tables, and the file of each.';

CREATE VIEW blotter_internal.known_days AS
SELECT d.day, d.as_of, d.files
FROM blotter_internal.day_summary d
WHERE d.files = blotter_internal.files_of_day(d.day)
  AND NOT EXISTS (SELECT FROM blotter_internal.day_changes c WHERE c.day = d.day AND NOT pg_visible_in_snapshot(c.xid, d.as_of));
COMMENT ON VIEW blotter_internal.known_days IS 'The days of which day_seqs holds, but for what was loaded since.';
SELECT blotter_internal.inherit_comments('blotter_internal.known_days', 'blotter_internal.day_summary');

-- Counts first and writes then: a transaction that has an id holds back `blotter follow`.
CREATE FUNCTION blotter_internal.summarise_day(of_day date, every_row boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    files_now text;
    known blotter_internal.day_summary;
    fresh record;
BEGIN
    PERFORM pg_advisory_xact_lock(blotter_internal.lock_class(), hashtext(of_day || ' audit'));
    files_now := blotter_internal.files_of_day(of_day);
    SELECT * INTO known FROM blotter_internal.known_days d WHERE d.day = of_day AND NOT every_row;
    SELECT n.as_of, ARRAY(SELECT ROW(of_day, s.*)::blotter_internal.day_seqs
                          FROM blotter_internal.find_seqs(blotter_internal.day_begins(of_day), blotter_internal.day_begins(of_day + 1), NULL, known.as_of, n.as_of) s) AS seqs
    INTO fresh
    FROM (SELECT pg_current_snapshot() AS as_of) AS n;
    IF known.day IS NULL THEN
        DELETE FROM blotter_internal.day_summary d WHERE d.day = of_day;
    ELSIF fresh.seqs = '{}' THEN
        RETURN;
    END IF;
    INSERT INTO blotter_internal.day_summary VALUES (of_day, fresh.as_of, files_now) ON CONFLICT (day) DO UPDATE SET as_of = excluded.as_of;
    INSERT INTO blotter_internal.day_seqs AS s SELECT * FROM unnest(fresh.seqs)
    ON CONFLICT (day, producer_id, exchange, lane) DO UPDATE SET
        seqs = s.seqs + excluded.seqs, row_count = s.row_count + excluded.row_count,
        first_at = least(s.first_at, excluded.first_at), last_at = greatest(s.last_at, excluded.last_at);
    DELETE FROM blotter_internal.day_changes c WHERE c.day = of_day AND pg_visible_in_snapshot(c.xid, fresh.as_of);
END
$$;
COMMENT ON FUNCTION blotter_internal.summarise_day(date, boolean) IS
    'Brings what is known of a day up to date: reads what was loaded since, or all of the day if nothing is known, or known no more; every_row: in any case.';

CREATE FUNCTION blotter_internal.days_to_summarise() RETURNS SETOF date
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT DISTINCT p.day FROM blotter_internal.partitions p
    WHERE p.state = 'kept' AND NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'
      AND has_function_privilege('blotter_internal.summarise_day(date, boolean)', 'EXECUTE')
    ORDER BY p.day;
    END;
COMMENT ON FUNCTION blotter_internal.days_to_summarise() IS 'The days to call summarise_day() for, each in a transaction of its own; none on a standby, or for a user who may not.';

CREATE FUNCTION blotter_internal.stored_seqs(of_exchange text, since timestamptz, every_row boolean)
    RETURNS TABLE (producer_id bigint, exchange text, lane text, seqs int8multirange, row_count bigint, first_at timestamptz, last_at timestamptz)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    known record;
    unknown tstzmultirange := tstzmultirange(tstzrange(since, NULL));
    span tstzrange;
BEGIN
    FOR known IN
        SELECT d.day, d.as_of, tstzrange(blotter_internal.day_begins(d.day), blotter_internal.day_begins(d.day + 1)) AS span
        FROM blotter_internal.known_days d WHERE NOT every_row AND blotter_internal.day_begins(d.day) >= since
    LOOP
        unknown := unknown - tstzmultirange(known.span);
        RETURN QUERY
            SELECT s.producer_id, s.exchange, s.lane, s.seqs, s.row_count, s.first_at, s.last_at
            FROM blotter_internal.day_seqs s WHERE s.day = known.day AND (of_exchange IS NULL OR s.exchange = of_exchange)
            UNION ALL
            SELECT * FROM blotter_internal.find_seqs(lower(known.span), upper(known.span), of_exchange, known.as_of);
    END LOOP;
    FOREACH span IN ARRAY ARRAY(SELECT unnest(unknown)) LOOP
        RETURN QUERY SELECT * FROM blotter_internal.find_seqs(lower(span), coalesce(upper(span), 'infinity'), of_exchange);
    END LOOP;
END
$$;
COMMENT ON FUNCTION blotter_internal.stored_seqs(text, timestamptz, boolean) IS
    'Which seqs of each producer have a row recorded since a time, in several pieces: from day_seqs where a day is known, else from the rows; every_row: from the rows in any case.';
