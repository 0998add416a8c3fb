-- Staging. What may be there already (re-delivered entries, and everything for a while after a duplicate was met) is copied into
-- temporary tables and goes on from there by INSERT ... ON CONFLICT DO NOTHING. Temporary ones, made once a session, load
-- twice as fast as unlogged ones. They do not say ON COMMIT DELETE ROWS: merge.sql says why.
--
-- A value that PostgreSQL fills in where COPY names no column, such as a column of a user's own with a default, is filled in here too.

-- Deleted rows are read again and again until the table gets new files, which take as long as a few hundred rows: so not each time.
CREATE FUNCTION blotter_internal.is_bloated(temporary regclass, live bigint DEFAULT 0) RETURNS boolean
    LANGUAGE sql
    BEGIN ATOMIC
    SELECT pg_relation_size(temporary) > least(262144 + live * 4096, 4194304);
    END;
COMMENT ON FUNCTION blotter_internal.is_bloated(regclass, bigint) IS 'Tells whether a temporary table that holds so many rows should be truncated, rather than its rows deleted.';

CREATE FUNCTION blotter_internal.empty_temporary(VARIADIC tables text[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    one text;
BEGIN
    FOREACH one IN ARRAY tables LOOP
        EXECUTE format(CASE WHEN blotter_internal.is_bloated(('pg_temp.' || one)::regclass) THEN 'TRUNCATE pg_temp.%I' ELSE 'DELETE FROM pg_temp.%I' END, one);
    END LOOP;
END
$$;
COMMENT ON FUNCTION blotter_internal.empty_temporary(text[]) IS 'Empties temporary tables of the session.';

-- The tables that only a careful batch or a reject needs are made by the first of them.
CREATE FUNCTION blotter_internal.begin_staging() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning
    AS $$
DECLARE
    kind record;
    made_here text[] := ARRAY['replayed_at', 'replayed_by', 'discarded_at', 'discarded_by'];
BEGIN
    IF to_regclass('pg_temp.staged_rejects') IS NOT NULL THEN
        RETURN;
    END IF;
    FOR kind IN SELECT * FROM blotter_internal.record_kinds LOOP
        EXECUTE format('CREATE TEMPORARY TABLE IF NOT EXISTS %I AS SELECT %s FROM %I.%I WITH NO DATA', 'staged_' || kind."table",
                       blotter_internal.column_list(blotter_internal.columns_of(format('%I.%I', kind."schema", kind."table")::regclass)),
                       kind."schema", kind."table");
    END LOOP;
    EXECUTE format('CREATE TEMPORARY TABLE IF NOT EXISTS staged_rejects AS SELECT %s FROM blotter.rejects WITH NO DATA',
                   blotter_internal.column_list(blotter_internal.columns_of('blotter.rejects', made_here)));
END
$$;
COMMENT ON FUNCTION blotter_internal.begin_staging() IS
    'Makes the temporary tables that load_staged reads: staged_rejects, and one for each table of records: staged_order_events and so on. May be called again.';

CREATE FUNCTION blotter_internal.begin_session(staging boolean DEFAULT true) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning
    AS $$
BEGIN
    IF staging THEN
        PERFORM blotter_internal.begin_staging();
    END IF;
    -- One row for an order: what the events of a batch say of it together, as the drainer sees it. Oldest and newest event; late: they were out of
    -- order; ended: one of them says so.
    EXECUTE format('CREATE TEMPORARY TABLE IF NOT EXISTS staged_orders AS SELECT %s FROM blotter.order_events WITH NO DATA',
                   blotter_internal.column_list(blotter_internal.columns_of('blotter.order_events', ARRAY['producer_id', 'seq', 'recorded_at', 'lane']))
                   || ', recorded_at AS first_recorded_at, seq AS first_seq, producer_id AS first_producer_id'
                   || ', recorded_at, seq, producer_id, true AS late, true AS ended, filled_quantity AS first_filled_quantity');
    PERFORM blotter_internal.begin_merge();
END
$$;
COMMENT ON FUNCTION blotter_internal.begin_session(boolean) IS
    'Makes the temporary tables of a loading session: staged_orders, and those of begin_staging unless they are to be made when first needed. May be called again.';

-- Refuses staged rows that are not as they should be, once all have been inserted. A row that is there already counts as the same record unless a column
-- that both have differs; extra, and columns that only one has, never count: another version may have known fewer fields. A user's own trigger
-- may change what is stored: then values say nothing.
CREATE FUNCTION blotter_internal.refuse_wrong_rows(tables text[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    -- Looked up by their keys, however many rows: the other joins would read a day.
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off
    AS $$
DECLARE
    kind record;
    other record;
    differs text;
    elsewhere text;
    found record;
    wrong text[];
    reason text;
BEGIN
    FOR kind IN SELECT * FROM blotter_internal.record_kinds k WHERE k."table" = ANY (tables) ORDER BY k.n LOOP
        SELECT string_agg(format('s.%1$I <> t.%1$I', c.name), ' OR ') INTO differs
        FROM unnest(blotter_internal.columns_of(format('%I.%I', kind."schema", kind."table")::regclass, ARRAY['producer_id', 'seq', 'recorded_at', 'extra'])) AS c (name)
        WHERE NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = format('%I.%I', kind."schema", kind."table")::regclass AND g.tgtype & 7 = 7);
        SELECT string_agg(format('(SELECT true FROM %I.%I o WHERE (o.recorded_at, o.producer_id, o.seq) = (s.recorded_at, s.producer_id, s.seq) LIMIT 1)',
                                 k."schema", k."table"), ', ') INTO elsewhere
        FROM blotter_internal.record_kinds k WHERE k.n <> kind.n AND (k.n < kind.n OR k."table" <> ALL (tables));
        -- Another kind is looked for only where the row is new.
        FOR found IN EXECUTE format($q$
            SELECT s.n, CASE WHEN t.seq IS NULL THEN %1$L ELSE 'identity used twice' END AS reason
            FROM (SELECT s.*, row_number() OVER (ORDER BY s.ctid) AS n FROM pg_temp.%2$I s) AS s
            LEFT JOIN %3$I.%4$I t ON (t.recorded_at, t.producer_id, t.seq) = (s.recorded_at, s.producer_id, s.seq)
            WHERE t.seq IS NULL OR coalesce(%5$s, false) OR t.stored_by = pg_current_xact_id() AND coalesce(%6$s)
            ORDER BY s.n LIMIT 1000
        $q$, format('dropped by a trigger on %s.%s', kind."schema", kind."table"), 'staged_' || kind."table", kind."schema", kind."table", coalesce(differs, 'false'),
             coalesce(elsewhere, 'false'))
        LOOP
            reason := coalesce(reason, found.reason);
            IF found.reason = reason THEN
                wrong := wrong || format('%s %s', kind."table", found.n);
            END IF;
        END LOOP;
    END LOOP;
    IF reason IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'BL001', MESSAGE = reason, DETAIL = array_to_string(wrong[1:1000], '; ');
    END IF;
END
$$;
COMMENT ON FUNCTION blotter_internal.refuse_wrong_rows(text[]) IS
    'Raises BL001 if staged rows of these tables are not stored as they are: a trigger dropped them, or their identity belongs to another record. The message is the reason, the detail names them: table, number of the row in its COPY. Part of load_staged.';

CREATE FUNCTION blotter_internal.load_staged(drainer text, OUT records bigint, OUT rejects bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    statement text := 'WITH ';
    kind record;
    names text;
    stored text[] := ARRAY['SELECT NULL::bigint AS producer_id, NULL::bigint AS seq, NULL::text AS exchange, NULL::text AS lane, false AS is_void, false AS is_reject WHERE false'];
    tables text[] := '{}';
    any_rows boolean;
BEGIN
    -- In the order of the key, so that two loaders with the same records wait for each other instead of locking each other out.
    FOR kind IN SELECT * FROM blotter_internal.record_kinds k ORDER BY k.n LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM pg_temp.%I)', 'staged_' || kind."table") INTO any_rows;
        CONTINUE WHEN NOT any_rows;
        tables := tables || kind."table";
        names := blotter_internal.column_list(blotter_internal.columns_of(('pg_temp.staged_' || kind."table")::regclass));
        statement := statement || format(
            'new_%1$s AS (INSERT INTO %2$I.%1$I (%3$s) SELECT %3$s FROM pg_temp.staged_%1$s ORDER BY recorded_at, producer_id, seq
                          ON CONFLICT DO NOTHING RETURNING *), ',
            kind."table", kind."schema", names);
        stored := stored || format('SELECT producer_id, seq, exchange, lane, %s AS is_void, false AS is_reject FROM new_%s',
                                   CASE WHEN kind.kind = 'session' THEN 'event = ''void''' ELSE 'false' END, kind."table");
    END LOOP;
    names := blotter_internal.column_list(blotter_internal.columns_of('pg_temp.staged_rejects', ARRAY['raw_length', 'raw_sha256']));
    statement := statement || format(
        'new_rejects AS (INSERT INTO blotter.rejects (%1$s, raw_length, raw_sha256)
                         SELECT %1$s, coalesce(raw_length, octet_length(raw)), coalesce(raw_sha256, sha256(raw)) FROM pg_temp.staged_rejects
                         ORDER BY stream, producer_id, seq, entry_id ON CONFLICT DO NOTHING RETURNING producer_id, seq, exchange, lane),', names);
    EXECUTE statement || format($q$
        settled AS (
            %s
            UNION ALL SELECT producer_id, seq, exchange, lane, false, true FROM new_rejects
        ), counts AS (
            SELECT producer_id, exchange, lane, count(*) FILTER (WHERE NOT is_reject) AS stored, count(*) FILTER (WHERE is_reject) AS rejected,
                   count(*) FILTER (WHERE is_void) AS voided, max(seq) AS last_seq
            FROM settled WHERE producer_id > 0 AND exchange IS NOT NULL GROUP BY producer_id, exchange, lane
        ), added AS (
            SELECT blotter_internal.add_progress($1, array_agg(producer_id), array_agg(exchange), array_agg(lane), array_agg(stored), array_agg(rejected),
                                                 NULL, array_agg(last_seq), array_agg(voided))
            FROM counts
        ), queued AS (%s)
        SELECT (SELECT count(*) FROM settled WHERE NOT is_reject), (SELECT count(*) FROM new_rejects)
        FROM (SELECT count(*) FROM added) AS done
    $q$, array_to_string(stored, ' UNION ALL '), blotter_internal.queue_statement('new_', tables)) INTO records, rejects USING drainer;
    IF tables <> '{}' THEN
        PERFORM blotter_internal.refuse_wrong_rows(tables);
    END IF;
    PERFORM blotter_internal.empty_temporary('staged_' || name) FROM unnest(tables || 'rejects'::text) AS name;
END
$$;
COMMENT ON FUNCTION blotter_internal.load_staged(text) IS
    'Stores what the staged_ tables hold and is not stored yet, and adds it to progress. Returns how many records and rejects were new.';

-- For a reject of which load_staged() cannot even be counted: nothing but the table rejects is touched.
CREATE FUNCTION blotter_internal.store_rejects_uncounted() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    names text := blotter_internal.column_list(blotter_internal.columns_of('pg_temp.staged_rejects', ARRAY['raw_length', 'raw_sha256']));
BEGIN
    EXECUTE format('INSERT INTO blotter.rejects (%1$s, raw_length, raw_sha256)
                    SELECT %1$s, coalesce(raw_length, octet_length(raw)), coalesce(raw_sha256, sha256(raw)) FROM pg_temp.staged_rejects
                    ON CONFLICT DO NOTHING', names);
    PERFORM blotter_internal.empty_temporary('staged_rejects');
END
$$;
COMMENT ON FUNCTION blotter_internal.store_rejects_uncounted() IS 'Stores what staged_rejects holds, without adding it to progress.';
