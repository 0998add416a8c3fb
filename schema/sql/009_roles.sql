-- 009: who may do what. Grant these roles to your users; the schema's owner is for `blotter migrate` and `blotter partitions drop`.

-- A drainer that holds a stream but is stuck is ended by the one that wants to take over. Ending a session of the same user
-- needs no special right; of another, the owner's: pg_signal_backend, or superuser.
CREATE FUNCTION blotter.fence(lock_key bigint, min_age interval DEFAULT '0') RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    holder int;
BEGIN
    SELECT l.pid INTO holder
    FROM pg_locks l
    JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.mode = 'ExclusiveLock'
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
      AND l.classid = ((lock_key >> 32) & 4294967295)::oid AND l.objid = (lock_key & 4294967295)::oid
      AND l.pid <> pg_backend_pid()
      AND coalesce(a.state_change, a.backend_start) <= clock_timestamp() - min_age;
    IF holder IS NULL OR NOT pg_terminate_backend(holder) THEN
        RETURN NULL;
    END IF;
    RETURN holder;
END
$$;
COMMENT ON FUNCTION blotter.fence(bigint, interval) IS
    'Ends the session that holds the session-level advisory lock of that number, if its state has not changed for min_age. Returns its process id; null: nobody holds it, or not for so long.';

-- SECURITY DEFINER functions, and what changes tables by them, are not for everybody.
REVOKE EXECUTE ON FUNCTION blotter.make_day(date), blotter.make_days(int), blotter.fold_days(date), blotter.fence(bigint, interval) FROM PUBLIC;

CREATE FUNCTION blotter.grant_roles() RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['blotter_drainer', 'blotter_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role);
            EXCEPTION
                WHEN insufficient_privilege THEN
                    RAISE WARNING 'role % was not created, as this user may not create roles: once it is there, SELECT blotter.grant_roles()', role;
                    CONTINUE;
                WHEN duplicate_object OR unique_violation THEN
                    NULL; -- another database's migration was faster: roles are the cluster's
            END;
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA blotter TO %I', role);
        EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA blotter TO %I', role);
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA blotter GRANT SELECT ON TABLES TO %I', role);
        IF role = 'blotter_drainer' THEN
            GRANT INSERT ON blotter.order_events, blotter.trades, blotter.sessions, blotter.rejects, blotter.progress, blotter.gone_seqs,
                            blotter.orders, blotter.kept_order_events, blotter.client_only_ids, blotter.order_client_ids, blotter.order_errors TO blotter_drainer;
            GRANT UPDATE ON blotter.rejects, blotter.progress, blotter.gone_seqs, blotter.orders, blotter.client_only_ids TO blotter_drainer;
            GRANT DELETE ON blotter.orders, blotter.client_only_ids, blotter.order_client_ids, blotter.order_errors TO blotter_drainer;
            GRANT EXECUTE ON FUNCTION blotter.make_day(date), blotter.make_days(int), blotter.fence(bigint, interval) TO blotter_drainer;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION blotter.grant_roles() IS
    'Makes the roles blotter_drainer and blotter_reader where they are missing and the user may, and grants them what they need in this database.';
SELECT blotter.grant_roles();
