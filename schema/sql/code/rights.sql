-- Roles and their rights. Grant these roles to your users; the schema's owner is for `blotter migrate` and `blotter partitions drop`.

-- The only list of rights: grant_roles() grants it, `blotter check` looks whether it holds. Functions that act as their owner are listed;
-- the others are for everybody, and can do no more than their caller.
CREATE VIEW blotter_internal.rights AS
SELECT r.role, r.privilege, r.kind, r.object, r.columns
FROM (VALUES
    ('blotter_reader', 'USAGE', 'schema', 'blotter', NULL),
    ('blotter_reader', 'USAGE', 'schema', 'blotter_internal', NULL),
    ('blotter_web', 'USAGE', 'schema', 'blotter_internal', NULL),
    ('blotter_drainer', 'USAGE', 'schema', 'blotter', NULL),
    ('blotter_drainer', 'USAGE', 'schema', 'blotter_internal', NULL),
    ('blotter_drainer', 'INSERT', 'table', 'blotter.rejects', NULL),
    ('blotter_drainer', 'UPDATE', 'table', 'blotter.rejects', 'reason, sqlstate, replayed_at, replayed_by, discarded_at, discarded_by'),
    ('blotter_drainer', 'INSERT', 'table', 'blotter_internal.progress', NULL),
    ('blotter_drainer', 'UPDATE', 'table', 'blotter_internal.progress', 'stored, rejected, voided, expired, last_seq, updated_at'),
    ('blotter_drainer', 'INSERT', 'table', 'blotter_internal.gone_seqs', 'producer_id, exchange, lane'),
    ('blotter_drainer', 'UPDATE', 'table', 'blotter_internal.gone_seqs', 'expired'),
    ('blotter_drainer', 'INSERT', 'table', 'blotter.orders', NULL),
    ('blotter_drainer', 'UPDATE', 'table', 'blotter.orders', NULL),
    ('blotter_drainer', 'DELETE', 'table', 'blotter.orders', NULL),
    ('blotter_drainer', 'INSERT', 'table', 'blotter_internal.kept_order_events', NULL),
    ('blotter_drainer', 'INSERT', 'table', 'blotter_internal.client_only_ids', NULL),
    ('blotter_drainer', 'UPDATE', 'table', 'blotter_internal.client_only_ids', NULL),
    ('blotter_drainer', 'DELETE', 'table', 'blotter_internal.client_only_ids', NULL),
    ('blotter_drainer', 'INSERT', 'table', 'blotter_internal.order_client_ids', NULL),
    ('blotter_drainer', 'DELETE', 'table', 'blotter_internal.order_client_ids', NULL),
    ('blotter_drainer', 'INSERT', 'table', 'blotter_internal.order_errors', NULL),
    ('blotter_drainer', 'DELETE', 'table', 'blotter_internal.order_errors', NULL),
    ('blotter_drainer', 'INSERT', 'table', 'blotter_internal.history', NULL),
    ('blotter_drainer', 'INSERT', 'table', 'blotter_internal.loaded', NULL),
    ('blotter_drainer', 'UPDATE', 'table', 'blotter_internal.loaded', 'n, last_id, updated_at'),
    ('blotter_drainer', 'INSERT', 'table', 'blotter_internal.incidents', 'stream, what, from_id, to_id, from_n, to_n'),
    ('blotter_drainer', 'INSERT', 'table', 'blotter_internal.book_queue', NULL),
    ('blotter_drainer', 'DELETE', 'table', 'blotter_internal.book_queue', NULL),
    ('blotter_drainer', 'INSERT', 'table', 'blotter_internal.fill', NULL),
    ('blotter_drainer', 'UPDATE', 'table', 'blotter_internal.fill', NULL),
    ('blotter_drainer', 'DELETE', 'table', 'blotter_internal.fill', NULL),
    ('blotter_drainer', 'INSERT', 'table', 'blotter_internal.position', NULL),
    ('blotter_drainer', 'UPDATE', 'table', 'blotter_internal.position', NULL),
    ('blotter_drainer', 'INSERT', 'table', 'blotter_internal.position_hour', NULL),
    ('blotter_drainer', 'INSERT', 'table', 'blotter_internal.position_checkpoint', NULL),
    ('blotter_drainer', 'UPDATE', 'table', 'blotter_internal.position_hour', NULL),
    ('blotter_drainer', 'UPDATE', 'table', 'blotter_internal.position_checkpoint', NULL),
    ('blotter_drainer', 'DELETE', 'table', 'blotter_internal.position_hour', NULL),
    ('blotter_drainer', 'DELETE', 'table', 'blotter_internal.position_checkpoint', NULL),
    ('blotter_drainer', 'INSERT', 'table', 'blotter_internal.pnl_day', NULL),
    ('blotter_drainer', 'UPDATE', 'table', 'blotter_internal.pnl_day', NULL),
    ('blotter_drainer', 'INSERT', 'table', 'blotter_internal.contract', NULL),
    ('blotter_drainer', 'UPDATE', 'table', 'blotter_internal.contract', NULL),
    ('blotter_drainer', 'INSERT', 'table', 'blotter_internal.funding', NULL),
    ('blotter_drainer', 'UPDATE', 'table', 'blotter_internal.funding', NULL),
    ('blotter_drainer', 'INSERT', 'table', 'blotter_internal.book_errors', NULL),
    ('blotter_drainer', 'EXECUTE', 'function', 'blotter_internal.make_day(date)', NULL),
    ('blotter_drainer', 'EXECUTE', 'function', 'blotter_internal.make_days(integer)', NULL),
    ('blotter_drainer', 'EXECUTE', 'function', 'blotter_internal.summarise_day(date, boolean)', NULL),
    ('blotter_drainer', 'EXECUTE', 'function', 'blotter_internal.fence(bigint, interval)', NULL)
) AS r (role, privilege, kind, object, columns)
UNION ALL
SELECT 'blotter_drainer', 'INSERT', 'table', format('%I.%I', k."schema", k."table"), NULL FROM blotter_internal.record_kinds k
UNION ALL
-- Reading harms nobody.
SELECT r.role, 'SELECT', 'table', format('%I.%I', c.relnamespace::regnamespace, c.relname), NULL
FROM pg_class c CROSS JOIN (VALUES ('blotter_reader'), ('blotter_drainer')) AS r (role)
WHERE c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
  AND (c.relnamespace = 'blotter'::regnamespace
       OR c.relnamespace = 'blotter_internal'::regnamespace AND c.relname !~ '_[0-9]{8}$')
UNION ALL
-- The web's user has no table: what it may ask are the functions that act as their owner and only read.
SELECT r.role, 'EXECUTE', 'function', format('%I.%I(%s)', p.pronamespace::regnamespace, p.proname, oidvectortypes(p.proargtypes)), NULL
FROM pg_proc p CROSS JOIN (VALUES ('blotter_reader'), ('blotter_drainer'), ('blotter_web')) AS r (role)
WHERE p.pronamespace = 'blotter_internal'::regnamespace AND p.prosecdef AND p.provolatile = 's';
COMMENT ON VIEW blotter_internal.rights IS 'The rights that the roles need, and no more.';
GRANT SELECT ON blotter_internal.rights TO PUBLIC; -- a user who lacks rights learns which
COMMENT ON COLUMN blotter_internal.rights.role IS 'blotter_drainer: for `blotter drain`, rejects and status; blotter_reader: for people and strategies; blotter_web: for `blotter web`';
COMMENT ON COLUMN blotter_internal.rights.privilege IS 'USAGE, SELECT, INSERT, UPDATE, DELETE or EXECUTE';
COMMENT ON COLUMN blotter_internal.rights.kind IS 'schema, table or function';
COMMENT ON COLUMN blotter_internal.rights.object IS 'on what';
COMMENT ON COLUMN blotter_internal.rights.columns IS 'on these columns only; null: on all';

CREATE FUNCTION blotter_internal.missing_rights(who name, role text) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT string_agg(r.privilege || coalesce(' (' || r.columns || ')', '') || ' on ' || r.object, ', ' ORDER BY r.object, r.privilege)
    FROM blotter_internal.rights r
    WHERE r.role = missing_rights.role
      AND NOT CASE r.kind WHEN 'schema' THEN has_schema_privilege(who, r.object, r.privilege)
                          WHEN 'function' THEN has_function_privilege(who, r.object, r.privilege)
                          ELSE CASE WHEN r.columns IS NULL THEN has_table_privilege(who, r.object, r.privilege)
                                    ELSE (SELECT bool_and(has_column_privilege(who, r.object, c.name, r.privilege))
                                          FROM unnest(string_to_array(r.columns, ', ')) AS c (name)) END END;
    END;
COMMENT ON FUNCTION blotter_internal.missing_rights(name, text) IS 'Which rights of a role a user lacks; null: none.';

-- Functions that act as their owner are not for everybody, nor are those that change tables through them.
DO $$
DECLARE
    one regprocedure;
BEGIN
    FOR one IN SELECT p.oid FROM pg_proc p
               WHERE p.pronamespace = 'blotter_internal'::regnamespace AND (p.prosecdef OR p.proname IN ('make_days', 'aggregate_days')) LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', one);
    END LOOP;
END
$$;

CREATE FUNCTION blotter_internal.make_role(role text) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
        EXECUTE format('CREATE ROLE %I NOLOGIN', role);
    END IF;
    RETURN true;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE WARNING 'role % was not created, as this user may not create roles: once it is there, SELECT blotter_internal.grant_roles()', role;
        RETURN false;
    WHEN duplicate_object OR unique_violation THEN
        RETURN true; -- another database's migration was faster: roles are the cluster's
END
$$;
COMMENT ON FUNCTION blotter_internal.make_role(text) IS 'Makes a role, if it is missing and the user may. Returns whether it is there.';

CREATE FUNCTION blotter_internal.limit_web() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    ALTER ROLE blotter_web SET statement_timeout = '5s';
    ALTER ROLE blotter_web SET default_transaction_read_only = on;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'role blotter_web has no statement_timeout, as this user may not alter it: ALTER ROLE blotter_web SET statement_timeout = ''5s''';
END
$$;
COMMENT ON FUNCTION blotter_internal.limit_web() IS
    'Sets what a session of blotter_web may not exceed. PostgreSQL applies it to sessions that log in as this very role, not to those of its members: give the role itself LOGIN and a password.';

CREATE FUNCTION blotter_internal.grant_roles() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    one text;
    rights record;
BEGIN
    FOR one IN SELECT DISTINCT r.role FROM blotter_internal.rights r ORDER BY r.role LOOP
        CONTINUE WHEN NOT blotter_internal.make_role(one);
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA blotter, blotter_internal FROM %I', one);
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA blotter, blotter_internal FROM %I', one);
        EXECUTE format('REVOKE ALL ON SCHEMA blotter, blotter_internal FROM %I', one);
        FOR rights IN SELECT * FROM blotter_internal.rights r WHERE r.role = one LOOP
            EXECUTE format('GRANT %s %s ON %s %s TO %I', rights.privilege, '(' || rights.columns || ')', rights.kind, rights.object, one);
        END LOOP;
        IF one = 'blotter_web' THEN
            PERFORM blotter_internal.limit_web();
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION blotter_internal.grant_roles() IS
    'Makes the roles of blotter_internal.rights where they are missing and the user may, and grants them what that list says in this database, and no more.';
SELECT blotter_internal.grant_roles();
