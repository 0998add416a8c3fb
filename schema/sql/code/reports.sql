-- The views and functions that the program's commands print, beside those that a trader reads. Each acts with the rights of its caller,
-- but for what `blotter web` asks, too.

CREATE FUNCTION blotter_internal.utc(at timestamptz) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT to_char(utc.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
    END;
COMMENT ON FUNCTION blotter_internal.utc(timestamptz) IS 'A time as the program prints it.';

-- --- rejects ---

CREATE FUNCTION blotter_internal.selected_rejects(ids bigint[], reason text, stream text, since timestamptz) RETURNS SETOF blotter.rejects
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT r.* FROM blotter.rejects r
    WHERE (selected_rejects.ids IS NULL OR r.id = ANY (selected_rejects.ids))
      AND (selected_rejects.reason IS NULL OR strpos(r.reason, selected_rejects.reason) > 0)
      AND (selected_rejects.stream IS NULL OR r.stream = selected_rejects.stream)
      AND (selected_rejects.since IS NULL OR r.rejected_at >= selected_rejects.since);
    END;
COMMENT ON FUNCTION blotter_internal.selected_rejects(bigint[], text, text, timestamptz) IS
    'The rejects of these ids, whose reason contains the text, of that stream, rejected since then; null: any.';

CREATE FUNCTION blotter_internal.state_of(r blotter.rejects) RETURNS text
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
    SELECT CASE WHEN (state_of.r).discarded_at IS NOT NULL THEN 'discarded'
                WHEN (state_of.r).replayed_at IS NOT NULL THEN 'replayed'
                ELSE 'open' END;
    END;
COMMENT ON FUNCTION blotter_internal.state_of(blotter.rejects) IS 'open, replayed or discarded.';

CREATE FUNCTION blotter_internal.list_rejects(ids bigint[], reason text, stream text, since timestamptz, most int)
    RETURNS TABLE (id bigint, rejected_at text, state text, stream text, entry_id text, kind text, producer_id bigint, seq bigint, reason text,
                   sqlstate text)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT r.id, blotter_internal.utc(r.rejected_at), blotter_internal.state_of(r), r.stream, r.entry_id, encode(r.kind, 'escape'), r.producer_id,
           r.seq, r.reason, r.sqlstate
    FROM blotter_internal.selected_rejects(list_rejects.ids, list_rejects.reason, list_rejects.stream, list_rejects.since) r
    ORDER BY r.id DESC LIMIT list_rejects.most;
    END;
COMMENT ON FUNCTION blotter_internal.list_rejects(bigint[], text, text, timestamptz, int) IS 'For `blotter rejects list`: the latest first.';

CREATE FUNCTION blotter_internal.show_reject(id bigint)
    RETURNS TABLE (id bigint, identity text, rejected_at text, state text, stream text, entry_id text, exchange text, lane text, kind text,
                   producer_id bigint, seq bigint, recorded_at text, delivery_count int, reason text, sqlstate text, drainer text, replayed_at text,
                   replayed_by text, discarded_at text, discarded_by text, raw_length bigint, raw_sha256 text, raw text)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT r.id, r.identity, blotter_internal.utc(r.rejected_at), blotter_internal.state_of(r), r.stream, r.entry_id, r.exchange, r.lane,
           encode(r.kind, 'escape'), r.producer_id, r.seq, blotter_internal.utc(r.recorded_at), r.delivery_count, r.reason, r.sqlstate, r.drainer,
           blotter_internal.utc(r.replayed_at), r.replayed_by, blotter_internal.utc(r.discarded_at), r.discarded_by, r.raw_length,
           encode(r.raw_sha256, 'hex'), encode(r.raw, 'hex')
    FROM blotter.rejects r WHERE r.id = show_reject.id;
    END;
COMMENT ON FUNCTION blotter_internal.show_reject(bigint) IS 'For `blotter rejects show`: one reject, its bytes in hexadecimal.';

CREATE FUNCTION blotter_internal.open_rejects(ids bigint[], reason text, stream text, since timestamptz) RETURNS SETOF bigint
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT r.id FROM blotter_internal.selected_rejects(open_rejects.ids, open_rejects.reason, open_rejects.stream, open_rejects.since) r
    WHERE r.replayed_at IS NULL AND r.discarded_at IS NULL ORDER BY r.id;
    END;
COMMENT ON FUNCTION blotter_internal.open_rejects(bigint[], text, text, timestamptz) IS 'The ids of those selected that were neither replayed nor discarded.';

-- The row stays: it is the evidence, and what the audit counts.
CREATE FUNCTION blotter_internal.discard_rejects(ids bigint[], reason text, stream text, since timestamptz) RETURNS SETOF bigint
    LANGUAGE sql
    BEGIN ATOMIC
    UPDATE blotter.rejects r SET discarded_at = now(), discarded_by = session_user
    WHERE r.id IN (SELECT blotter_internal.open_rejects(discard_rejects.ids, discard_rejects.reason, discard_rejects.stream, discard_rejects.since))
    RETURNING r.id;
    END;
COMMENT ON FUNCTION blotter_internal.discard_rejects(bigint[], text, text, timestamptz) IS 'Marks those selected as discarded, and returns their ids.';

CREATE FUNCTION blotter_internal.rejects_to_replay(ids bigint[], reason text, stream text, since timestamptz, after bigint, most int, most_bytes int)
    RETURNS TABLE (id bigint, stream text, entry_id text, kind bytea, raw bytea)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT r.id, r.stream, r.entry_id, r.kind, substring(r.raw FROM 1 FOR rejects_to_replay.most_bytes)
    FROM blotter_internal.selected_rejects(rejects_to_replay.ids, rejects_to_replay.reason, rejects_to_replay.stream, rejects_to_replay.since) r
    WHERE r.id > rejects_to_replay.after AND r.replayed_at IS NULL AND r.raw_length = octet_length(r.raw) AND (rejects_to_replay.ids IS NOT NULL OR r.discarded_at IS NULL)
    ORDER BY r.id LIMIT rejects_to_replay.most;
    END;
COMMENT ON FUNCTION blotter_internal.rejects_to_replay(bigint[], text, text, timestamptz, bigint, int, int) IS
    'A page of those selected that were not replayed and whose bytes were kept whole, behind an id; discarded ones only if they are named.';

CREATE FUNCTION blotter_internal.mark_replayed(ids bigint[]) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
    UPDATE blotter.rejects r SET replayed_at = now(), replayed_by = session_user, discarded_at = NULL, discarded_by = NULL
    WHERE r.id = ANY (mark_replayed.ids);
    END;
COMMENT ON FUNCTION blotter_internal.mark_replayed(bigint[]) IS 'Marks rejects whose records were stored after all.';

CREATE FUNCTION blotter_internal.mark_refused(id bigint, reason text, sqlstate text) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
    UPDATE blotter.rejects r SET reason = mark_refused.reason, sqlstate = mark_refused.sqlstate WHERE r.id = mark_refused.id;
    END;
COMMENT ON FUNCTION blotter_internal.mark_refused(bigint, text, text) IS 'Says why a reject that was replayed was refused again.';

-- --- status ---

CREATE FUNCTION blotter_internal.schema_version() RETURNS int
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT coalesce(max(m.version), 0) FROM blotter_internal.migrations m;
    END;
COMMENT ON FUNCTION blotter_internal.schema_version() IS 'The version of the tables; a program that needs a newer one says so.';

-- A table that is larger is not counted but estimated from the last ANALYZE: a status must not take minutes.
CREATE FUNCTION blotter_internal.table_sizes(count_up_to_bytes bigint DEFAULT 268435456)
    RETURNS TABLE ("table" text, rows bigint, estimated boolean, bytes bigint)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    each record;
BEGIN
    FOR each IN
        SELECT t.name, t.relation, sum(pg_relation_size(l.leaf))::bigint AS bytes, sum(greatest(c.reltuples, 0))::bigint AS estimate
        FROM (SELECT k."table" AS name, format('%I.%I', k."schema", k."table")::regclass AS relation, k.n AS rank FROM blotter_internal.record_kinds k
              UNION ALL VALUES ('orders', 'blotter.orders'::regclass, 98), ('rejects', 'blotter.rejects'::regclass, 99)) AS t,
             LATERAL (SELECT t.relation::oid AS leaf UNION SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = t.relation) AS l
        JOIN pg_class c ON c.oid = l.leaf
        GROUP BY t.name, t.relation, t.rank ORDER BY t.rank, t.name
    LOOP
        "table" := each.name;
        bytes := each.bytes;
        estimated := each.bytes > count_up_to_bytes;
        rows := each.estimate;
        IF NOT estimated THEN
            EXECUTE format('SELECT count(*) FROM %s', each.relation) INTO rows;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION blotter_internal.table_sizes(bigint) IS 'Rows and bytes of each table of records; rows of large tables are an estimate.';

CREATE VIEW blotter_internal.drainer_sessions AS
SELECT a.pid, a.application_name AS application, pg_blocking_pids(a.pid) AS blocked_by
FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.application_name LIKE 'blotter drain%';
COMMENT ON VIEW blotter_internal.drainer_sessions IS 'The sessions of drainers in this database.';
COMMENT ON COLUMN blotter_internal.drainer_sessions.pid IS 'process id';
COMMENT ON COLUMN blotter_internal.drainer_sessions.application IS 'blotter drain and the instance';
COMMENT ON COLUMN blotter_internal.drainer_sessions.blocked_by IS 'the sessions it waits for';

CREATE FUNCTION blotter_internal.load_status()
    RETURNS TABLE (open_rejects bigint, open_incidents bigint, last_load_seconds float8, drainers bigint, blocked text, foreign_lock text,
                   read_only boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT (SELECT count(*) FROM blotter.rejects r WHERE r.replayed_at IS NULL AND r.discarded_at IS NULL),
           (SELECT count(*) FROM blotter_internal.incidents i WHERE i.closed_at IS NULL),
           (SELECT extract(epoch FROM clock_timestamp() - max(p.updated_at))::float8 FROM blotter_internal.progress p),
           (SELECT count(DISTINCT d.application) FROM blotter_internal.drainer_sessions d),
           (SELECT format('%s (process %s) waits for a lock that process %s holds: user %s, application "%s", transaction since %s', d.application,
                          d.pid, h.pid, coalesce(h.usename::text, 'unknown'), coalesce(h.application_name, ''), blotter_internal.utc(h.xact_start))
            FROM blotter_internal.drainer_sessions d JOIN pg_stat_activity h ON h.pid = ANY (d.blocked_by) LIMIT 1),
           (SELECT format('process %s, user %s, application "%s" holds an advisory lock that drainers use', l.pid, coalesce(l.role, 'unknown'),
                          coalesce(l.application, ''))
            FROM blotter_internal.stream_locks l WHERE l.application NOT LIKE 'blotter %' LIMIT 1),
           current_setting('transaction_read_only')::boolean;
    END;
COMMENT ON FUNCTION blotter_internal.load_status() IS 'For `blotter status` and `blotter check`: what is open, who loads, and what blocks it.';

-- --- partitions ---

-- A day whose tables are in different states is several rows; rows is unknown where a table was never analyzed.
CREATE FUNCTION blotter_internal.list_days(before date DEFAULT 'infinity')
    RETURNS TABLE (day text, tables text, rows bigint, bytes bigint, size text, state text)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT to_char(p.day, 'YYYY-MM-DD'), string_agg(p."table", ', ' ORDER BY p."table"),
           CASE WHEN count(*) = count(p.row_estimate) THEN sum(p.row_estimate)::bigint END, sum(p.bytes)::bigint, pg_size_pretty(sum(p.bytes)), p.state
    FROM blotter_internal.partitions p WHERE p.day < list_days.before GROUP BY p.day, p.state ORDER BY p.day, p.state;
    END;
COMMENT ON FUNCTION blotter_internal.list_days(date) IS 'For `blotter partitions`: the days before one, with their tables.';

-- A detach that was begun comes first: PostgreSQL begins no other before it has ended.
CREATE VIEW blotter_internal.next_drop_step AS
SELECT CASE p.state
           WHEN 'drop' THEN format('DROP TABLE blotter_internal.%I', p.partition)
           WHEN 'finalize' THEN format('ALTER TABLE blotter.%I DETACH PARTITION blotter_internal.%I FINALIZE', p."table", p.partition)
           ELSE format('ALTER TABLE blotter.%I DETACH PARTITION blotter_internal.%I CONCURRENTLY', p."table", p.partition)
       END AS statement, p.partition
FROM blotter_internal.partitions p WHERE p.state IN ('detach', 'finalize', 'drop')
ORDER BY p.state <> 'finalize', p.day, p."table" LIMIT 1;
COMMENT ON VIEW blotter_internal.next_drop_step IS 'The next statement that dropping days needs; no row: none.';
COMMENT ON COLUMN blotter_internal.next_drop_step.statement IS 'the statement';
COMMENT ON COLUMN blotter_internal.next_drop_step.partition IS 'the partition that it is about';

CREATE FUNCTION blotter_internal.owner_of_schema() RETURNS TABLE (owner text, may boolean)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT pg_get_userbyid(c.relowner)::text, pg_has_role(c.relowner, 'USAGE') FROM pg_class c WHERE c.oid = 'blotter.order_events'::regclass;
    END;
COMMENT ON FUNCTION blotter_internal.owner_of_schema() IS 'The owner of the tables, and whether the caller may act as it.';

-- --- follow ---

-- Every committed record of every kind, and the rejects. stored_n is written as the indexes on stored_by are.
DO $$
BEGIN
    EXECUTE 'CREATE VIEW blotter_internal.committed AS ' ||
        (SELECT string_agg(format(
             'SELECT %L::text AS kind, r.stored_by::text::bigint AS stored_n, r.producer_id, r.seq, r.exchange, to_jsonb(r) - ''stored_by'' AS record '
             'FROM %I.%I r', k.kind, k."schema", k."table"), ' UNION ALL ' ORDER BY k.n)
         FROM blotter_internal.record_kinds k) ||
        ' UNION ALL SELECT ''reject'', r.stored_by::text::bigint, r.producer_id, r.seq, r.exchange, '
        'to_jsonb(r) - ''{stored_by,raw,kind,replayed_at,replayed_by,discarded_at,discarded_by}''::text[] '
        '|| jsonb_build_object(''kind_given'', encode(r.kind, ''escape'')) FROM blotter.rejects r';
END
$$;
COMMENT ON VIEW blotter_internal.committed IS 'Records and rejects with the transaction that stored them, for `blotter follow`.';
COMMENT ON COLUMN blotter_internal.committed.kind IS 'kind of the record, or reject';
COMMENT ON COLUMN blotter_internal.committed.stored_n IS 'number of the transaction that stored it';
SELECT blotter_internal.inherit_comments('blotter_internal.committed', 'blotter_internal.identities');
COMMENT ON COLUMN blotter_internal.committed.record IS 'the row as JSON, its bytes (raw) left out';

-- Identities have 62 bits: as a JSON number many readers would round them. Decimals are strings for the same reason.
CREATE FUNCTION blotter_internal.json_line(kind text, record jsonb) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT (jsonb_build_object('kind', json_line.kind) ||
            (SELECT jsonb_object_agg(e.key, CASE WHEN jsonb_typeof(e.value) = 'number' AND e.key <> 'seq' THEN to_jsonb(e.value #>> '{}') ELSE e.value END)
             FROM jsonb_each(jsonb_strip_nulls(json_line.record)) e))::text;
    END;
COMMENT ON FUNCTION blotter_internal.json_line(text, jsonb) IS 'A record as a line of JSON without nulls; numbers but seq are strings.';

CREATE FUNCTION blotter_internal.follow(after bigint, before bigint, of_exchange text) RETURNS SETOF text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT blotter_internal.json_line(c.kind, c.record) FROM blotter_internal.committed c
    WHERE c.stored_n >= follow.after AND c.stored_n < follow.before AND (follow.of_exchange IS NULL OR c.exchange = follow.of_exchange)
    ORDER BY c.stored_n, c.producer_id, c.seq;
    END;
COMMENT ON FUNCTION blotter_internal.follow(bigint, bigint, text) IS
    'The records that were stored by the transactions from after to before (before itself left out), in their order, then by producer and seq.';

CREATE FUNCTION blotter_internal.follow_state() RETURNS TABLE (history text, xmin bigint, held boolean, loads bigint)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT coalesce((SELECT h.id::text FROM blotter_internal.history h ORDER BY h.n DESC LIMIT 1), 'none'),
           pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
           pg_snapshot_xmin(pg_current_snapshot()) < pg_snapshot_xmax(pg_current_snapshot()), (SELECT coalesce(sum(l.n), 0)::bigint FROM blotter_internal.loaded l);
    END;
COMMENT ON FUNCTION blotter_internal.follow_state() IS
    'The database''s history, the number of the oldest transaction that is not over, whether one runs, and how many transactions have loaded.';

CREATE FUNCTION blotter_internal.first_stored() RETURNS bigint
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT coalesce(min(c.stored_n), pg_snapshot_xmin(pg_current_snapshot())::text::bigint) FROM blotter_internal.committed c;
    END;
COMMENT ON FUNCTION blotter_internal.first_stored() IS 'The number of the first transaction that stored a record that is still there.';

CREATE FUNCTION blotter_internal.oldest_transaction() RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT coalesce(
        (SELECT format('process %s, user %s, database %s, application "%s", since %s', a.pid, coalesce(a.usename::text, 'unknown'),
                       coalesce(a.datname::text, '-'), coalesce(a.application_name, ''), coalesce(blotter_internal.utc(a.xact_start), 'unknown'))
         FROM pg_stat_activity a
         WHERE a.backend_xid IS NOT NULL AND a.backend_xid = pg_snapshot_xmin(pg_current_snapshot())::xid LIMIT 1),
        (SELECT format('the prepared transaction "%s" of user %s, since %s', p.gid, p.owner, blotter_internal.utc(p.prepared))
         FROM pg_prepared_xacts p WHERE p.transaction = pg_snapshot_xmin(pg_current_snapshot())::xid LIMIT 1),
        'a transaction that this user may not see (grant pg_read_all_stats)');
    END;
COMMENT ON FUNCTION blotter_internal.oldest_transaction() IS 'Which transaction holds back what `blotter follow` may print.';

-- --- export ---

CREATE FUNCTION blotter_internal.export_query(relation text, of_exchange text, since timestamptz, before timestamptz) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    class oid := to_regclass(format('blotter.%I', relation));
    time_column name := (SELECT a.attname FROM pg_attribute a
                         JOIN unnest('{recorded_at,at,rejected_at,hour,last_fill_at,updated_at,last_at}'::text[]) WITH ORDINALITY AS w (name, rank)
                              ON w.name = a.attname
                         WHERE a.attrelid = class AND a.atttypid = 'timestamptz'::regtype ORDER BY w.rank LIMIT 1);
    has_exchange boolean := EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = class AND a.attname = 'exchange');
BEGIN
    IF class IS NULL THEN
        RAISE EXCEPTION 'there is no table or view blotter.%; there are %', relation,
            (SELECT string_agg(c.relname, ', ' ORDER BY c.relname) FROM pg_class c
             WHERE c.relnamespace = 'blotter'::regnamespace AND c.relkind IN ('r', 'p', 'v')) USING ERRCODE = 'undefined_table';
    ELSIF time_column IS NULL AND (since IS NOT NULL OR before IS NOT NULL) THEN
        RAISE EXCEPTION 'blotter.% has no time to select by', relation USING ERRCODE = 'undefined_column';
    ELSIF NOT has_exchange AND of_exchange IS NOT NULL THEN
        RAISE EXCEPTION 'blotter.% has no exchange to select by', relation USING ERRCODE = 'undefined_column';
    END IF;
    RETURN format('SELECT * FROM blotter.%I WHERE true', relation) || coalesce(' AND exchange = ' || quote_literal(of_exchange), '') ||
           coalesce(format(' AND %I >= ', time_column) || quote_literal(since), '') ||
           coalesce(format(' AND %I < ', time_column) || quote_literal(before), '') || coalesce(' ORDER BY ' || quote_ident(time_column), '');
END
$$;
COMMENT ON FUNCTION blotter_internal.export_query(text, text, timestamptz, timestamptz) IS
    'For `blotter export`: what selects the rows of a table or view of schema blotter, by its exchange and its time.';

-- --- audit ---

CREATE FUNCTION blotter_internal.audit_report(of_exchange text, since timestamptz, every_row boolean)
    RETURNS TABLE (producer_id bigint, exchange text, lane text, state text, up_to_seq bigint, last_seq bigint, stored bigint, rejected bigint,
                   gone bigint, missing bigint, missing_seqs text, in_flight bigint, doubled bigint, streams text, last_at text)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT a.producer_id, a.exchange, a.lane, a.state, a.up_to_seq, a.last_seq, a.stored, a.rejected, a.gone, a.missing, a.missing_seqs, a.in_flight,
           a.doubled, array_to_string(a.streams, ', '), blotter_internal.utc(a.last_at)
    FROM blotter_internal.audit_of(audit_report.of_exchange, coalesce(audit_report.since, '-infinity'), audit_report.every_row) a
    ORDER BY a.state NOT IN ('complete', 'open'), a.exchange, a.first_at, a.producer_id;
    END;
COMMENT ON FUNCTION blotter_internal.audit_report(text, timestamptz, boolean) IS 'For `blotter audit`: what is wrong comes last, where one looks.';

CREATE FUNCTION blotter_internal.audit_quick_report(of_exchange text, since timestamptz)
    RETURNS TABLE (producer_id bigint, exchange text, lane text, state text, settled bigint, last_seq bigint, last_at text)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT a.producer_id, a.exchange, a.lane, a.state, a.settled, a.last_seq, blotter_internal.utc(a.last_at)
    FROM blotter_internal.audit_quick a
    WHERE (audit_quick_report.of_exchange IS NULL OR a.exchange = audit_quick_report.of_exchange)
      AND (audit_quick_report.since IS NULL OR a.last_at >= audit_quick_report.since)
    ORDER BY a.state NOT IN ('complete', 'open'), a.exchange, a.last_at, a.producer_id;
    END;
COMMENT ON FUNCTION blotter_internal.audit_quick_report(text, timestamptz) IS 'For `blotter audit --quick`.';

CREATE VIEW blotter_internal.open_incidents AS
SELECT i.id, blotter_internal.utc(i.at) AS at, i.stream, i.what, i.from_id, i.to_id, i.from_n, i.to_n
FROM blotter_internal.incidents i WHERE i.closed_at IS NULL ORDER BY i.id;
COMMENT ON VIEW blotter_internal.open_incidents IS 'Incidents that nobody has closed: records may be lost.';
SELECT blotter_internal.inherit_comments('blotter_internal.open_incidents', 'blotter_internal.incidents');
