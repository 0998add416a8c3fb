-- The advisory locks by which drainers hold streams.

-- A lock of the session-level, one-number form, in this database, and the session that holds it.
CREATE VIEW blotter_internal.stream_locks AS
SELECT (l.classid::bigint << 32) | l.objid::bigint AS lock_key, l.pid, a.usename::text AS role, a.application_name AS application,
       coalesce(a.state_change, a.backend_start) AS idle_since
FROM pg_locks l
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.mode = 'ExclusiveLock'
  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
COMMENT ON VIEW blotter_internal.stream_locks IS 'The session-level advisory locks of this database, by which drainers hold streams, and whose they are.';
COMMENT ON COLUMN blotter_internal.stream_locks.lock_key IS 'number of the lock';
COMMENT ON COLUMN blotter_internal.stream_locks.pid IS 'process id of the session';
COMMENT ON COLUMN blotter_internal.stream_locks.role IS 'its user';
COMMENT ON COLUMN blotter_internal.stream_locks.application IS 'its application_name: blotter and the instance, if it is a drainer';
COMMENT ON COLUMN blotter_internal.stream_locks.idle_since IS 'when its state last changed; null: hidden, as it belongs to another user than the schema''s owner';

CREATE FUNCTION blotter_internal.lock_holder(lock_key bigint) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT format('process %s, user %s, application "%s"', l.pid, coalesce(l.role, 'unknown'), coalesce(l.application, ''))
    FROM blotter_internal.stream_locks l WHERE l.lock_key = lock_holder.lock_key AND l.pid <> pg_backend_pid() LIMIT 1;
    END;
COMMENT ON FUNCTION blotter_internal.lock_holder(bigint) IS 'Which other session holds the advisory lock of that number, for a message; null: none.';

-- A drainer that holds a stream but is stuck is ended by the one that wants to take over. Ending a session of the same user
-- needs no special right; of another, the owner's: pg_signal_backend, or superuser.
CREATE FUNCTION blotter_internal.fence(lock_key bigint, min_age interval DEFAULT '0') RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    holder int := (SELECT l.pid FROM blotter_internal.stream_locks l
                   WHERE l.lock_key = fence.lock_key AND l.pid <> pg_backend_pid() AND l.idle_since <= clock_timestamp() - min_age);
BEGIN
    IF holder IS NULL OR NOT pg_terminate_backend(holder) THEN
        RETURN NULL;
    END IF;
    RETURN holder;
END
$$;
COMMENT ON FUNCTION blotter_internal.fence(bigint, interval) IS
    'Ends the session that holds the session-level advisory lock of that number, if its state has not changed for min_age. Returns its process id; null: nobody holds it, or not for so long, or a user whose sessions the owner may not see.';
