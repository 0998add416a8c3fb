-- The fence between PostgreSQL's history and Redis': which servers the database has lived on, and how many transactions have loaded each
-- stream. A drainer acknowledges in Redis only what the history that claimed the stream holds; a server that went back in time has
-- a smaller count than Redis remembers.

-- The server this is. pg_walfile_name() shows a promotion at once and needs no rights; pg_control_checkpoint() lags behind it.
CREATE FUNCTION blotter_internal.this_server(OUT system_identifier bigint, OUT timeline bigint)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT c.system_identifier, ('x' || substring(pg_walfile_name(pg_current_wal_insert_lsn()) FROM 1 FOR 8))::bit(32)::bigint
    FROM pg_control_system() AS c;
    END;
COMMENT ON FUNCTION blotter_internal.this_server() IS 'The identity of the server''s data and its timeline.';

-- To be called in a transaction of its own, with synchronous_commit on: the new row has to be where the records will be.
CREATE FUNCTION blotter_internal.open_history() RETURNS TABLE (id uuid, system_identifier bigint, timeline bigint, accepts boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    here record;
    newest record;
BEGIN
    SELECT * INTO here FROM blotter_internal.this_server();
    SELECT h.n, h.system_identifier, h.timeline, h.accepts INTO newest FROM blotter_internal.history h ORDER BY h.n DESC LIMIT 1;
    IF newest IS NULL OR (newest.system_identifier, newest.timeline) <> (here.system_identifier, here.timeline) THEN
        INSERT INTO blotter_internal.history (n, system_identifier, timeline)
        VALUES (coalesce(newest.n, 0) + 1, here.system_identifier, here.timeline)
        ON CONFLICT (n) DO NOTHING; -- another drainer was first
    END IF;
    RETURN QUERY SELECT h.id, h.system_identifier, h.timeline, h.accepts FROM blotter_internal.history h ORDER BY h.n DESC;
END
$$;
COMMENT ON FUNCTION blotter_internal.open_history() IS
    'The servers this database has lived on, newest first. Appends this server if it is another than the newest.';

-- `blotter migrate --accept-history`: streams that Redis says were loaded into another server are taken over by this one.
CREATE FUNCTION blotter_internal.accept_history() RETURNS uuid
    LANGUAGE sql
    BEGIN ATOMIC
    INSERT INTO blotter_internal.history (n, system_identifier, timeline, accepts)
    SELECT coalesce((SELECT max(h.n) FROM blotter_internal.history h), 0) + 1, s.system_identifier, s.timeline, true
    FROM blotter_internal.this_server() AS s
    RETURNING id;
    END;
COMMENT ON FUNCTION blotter_internal.accept_history() IS
    'Appends this server to the history as one that takes over streams from whatever history Redis knows. Returns the id of the new row.';
REVOKE EXECUTE ON FUNCTION blotter_internal.accept_history() FROM PUBLIC;

-- In every loading transaction. Only the holder of a stream's lease does it, so nobody waits here. plpgsql: a session plans it once, not
-- in every transaction. One row after the other: see add_progress().
CREATE FUNCTION blotter_internal.raise_loaded(streams text[], last_ids text[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    FOR i IN 1 .. cardinality(streams) LOOP
        INSERT INTO blotter_internal.loaded AS l (stream, n, last_id) VALUES (streams[i], 1, last_ids[i])
        ON CONFLICT (stream) DO UPDATE SET n = l.n + 1, last_id = excluded.last_id, updated_at = now();
    END LOOP;
END
$$;
COMMENT ON FUNCTION blotter_internal.raise_loaded(text[], text[]) IS
    'Counts one more loading transaction of each stream, and notes its newest entry id.';
