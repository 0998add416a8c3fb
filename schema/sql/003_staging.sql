-- 003: staging. What may be there already (re-delivered entries, and everything for a while after a duplicate was met) is copied into
-- temporary tables and goes on from there by INSERT ... ON CONFLICT DO NOTHING. Temporary ones, made once a session, load
-- twice as fast as unlogged ones. They do not say ON COMMIT DELETE ROWS: 005 says why.
--
-- Column lists come from the catalog: a field that is added to the tables needs no new functions. What PostgreSQL fills in where COPY
-- names no value, such as a column of a user's own with a default, it has to fill in here too.

CREATE FUNCTION blotter.columns_of(relation regclass, leave_out text[] DEFAULT '{}') RETURNS text[]
    LANGUAGE sql STABLE
    AS $$
    SELECT array_agg(a.attname::text ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND NOT a.atthasdef AND a.attidentity = '' AND a.attname <> ALL (leave_out)
$$;
COMMENT ON FUNCTION blotter.columns_of(regclass, text[]) IS 'The columns of a table in their order, but those to leave out, and those that PostgreSQL fills in: generated, identity, or with a default.';

CREATE FUNCTION blotter.column_list(names text[], format text DEFAULT '%1$I', separator text DEFAULT ', ') RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $$SELECT string_agg(format(column_list.format, n.name), separator ORDER BY n.at) FROM unnest(names) WITH ORDINALITY AS n (name, at)$$;
COMMENT ON FUNCTION blotter.column_list(text[], text, text) IS 'Names as a part of a statement, each through format().';

-- What only a careful batch or a reject needs is made by the first that does.
CREATE FUNCTION blotter.begin_staging() RETURNS void
    LANGUAGE plpgsql
    SET client_min_messages = warning
    AS $$
DECLARE
    stored text[] := ARRAY['stored_at'];
    made_here text[] := ARRAY['id', 'rejected_at', 'replayed_at', 'replayed_by', 'discarded_at', 'discarded_by'];
    temp text := 'CREATE TEMPORARY TABLE IF NOT EXISTS %I AS SELECT %s FROM blotter.%I WITH NO DATA';
BEGIN
    EXECUTE format(temp, 'staged_order_events', blotter.column_list(blotter.columns_of('blotter.order_events', stored)), 'order_events');
    EXECUTE format(temp, 'staged_trades', blotter.column_list(blotter.columns_of('blotter.trades', stored)), 'trades');
    EXECUTE format(temp, 'staged_sessions', blotter.column_list(blotter.columns_of('blotter.sessions', stored)), 'sessions');
    EXECUTE format(temp, 'staged_rejects', blotter.column_list(blotter.columns_of('blotter.rejects', made_here)), 'rejects');
END
$$;
COMMENT ON FUNCTION blotter.begin_staging() IS
    'Makes the temporary tables that load_staged reads: staged_order_events, staged_trades, staged_sessions, staged_rejects. May be called again.';

CREATE FUNCTION blotter.begin_session(staging boolean DEFAULT true) RETURNS void
    LANGUAGE plpgsql
    SET client_min_messages = warning
    AS $$
BEGIN
    IF staging THEN
        PERFORM blotter.begin_staging();
    END IF;
    -- One row for an order: what the events of a batch say of it together. oldest and newest event; late: they were out of order.
    EXECUTE format('CREATE TEMPORARY TABLE IF NOT EXISTS staged_orders AS SELECT %s FROM blotter.order_events WITH NO DATA',
                   blotter.column_list(blotter.columns_of('blotter.order_events', ARRAY['producer_id', 'seq', 'recorded_at', 'stored_at']))
                   || ', recorded_at AS first_recorded_at, seq AS first_seq, producer_id AS first_producer_id'
                   || ', recorded_at, seq, producer_id, true AS late');
    PERFORM blotter.begin_merge();
END
$$;
COMMENT ON FUNCTION blotter.begin_session(boolean) IS
    'Makes the temporary tables of a loading session: staged_orders, and those of begin_staging unless they are to be made when first needed. May be called again.';

CREATE FUNCTION blotter.load_staged(drainer text, OUT orders bigint, OUT trades bigint, OUT sessions bigint, OUT rejects bigint)
    LANGUAGE plpgsql
    AS $$
DECLARE
    statement text := 'WITH ';
    kind record;
    names text;
BEGIN
    -- In the order of the key, so that two loaders with the same records wait for each other instead of locking each other out.
    FOR kind IN SELECT * FROM (VALUES ('order_events', 'recorded_at, producer_id, seq', 'false'),
                                      ('trades', 'recorded_at, producer_id, seq', 'false'),
                                      ('sessions', 'recorded_at, producer_id, seq', 'event = ''void'''),
                                      ('rejects', 'identity', 'false')) AS k (name, key, is_void)
    LOOP
        names := blotter.column_list(blotter.columns_of(('pg_temp.staged_' || kind.name)::regclass));
        statement := statement || format(
            'new_%1$s AS (INSERT INTO blotter.%1$I (%2$s) SELECT %2$s FROM pg_temp.staged_%1$s ORDER BY %3$s
                          ON CONFLICT DO NOTHING RETURNING producer_id, seq, %4$s AS is_void), ', kind.name, names, kind.key, kind.is_void);
    END LOOP;
    EXECUTE statement || $q$
        settled AS (
            SELECT producer_id, seq, is_void, false AS is_reject FROM new_order_events
            UNION ALL SELECT producer_id, seq, is_void, false FROM new_trades
            UNION ALL SELECT producer_id, seq, is_void, false FROM new_sessions
            UNION ALL SELECT producer_id, seq, is_void, true FROM new_rejects
        ), counts AS (
            SELECT producer_id, count(*) FILTER (WHERE NOT is_reject) AS stored, count(*) FILTER (WHERE is_reject) AS rejected,
                   count(*) FILTER (WHERE is_void) AS voided, max(seq) AS last_seq
            FROM settled WHERE producer_id > 0 GROUP BY producer_id
        ), told AS (
            SELECT blotter.add_progress($1, array_agg(producer_id), array_agg(stored), array_agg(rejected), NULL,
                                        array_agg(last_seq), array_agg(voided))
            FROM counts
        )
        SELECT (SELECT count(*) FROM new_order_events), (SELECT count(*) FROM new_trades),
               (SELECT count(*) FROM new_sessions), (SELECT count(*) FROM new_rejects)
        FROM (SELECT count(*) FROM told) AS done
    $q$ INTO orders, trades, sessions, rejects USING drainer;
    PERFORM blotter.empty_temporary('staged_order_events', 'staged_trades', 'staged_sessions', 'staged_rejects');
END
$$;
COMMENT ON FUNCTION blotter.load_staged(text) IS
    'Stores what the staged_ tables hold and is not stored yet, and adds it to progress. Returns how many rows of each were new.';
