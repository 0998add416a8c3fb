-- Days. The tables of records have one partition per UTC day of recorded_at, but for sessions, and no DEFAULT one: a stray row in it would
-- make its day impossible to create.
--
-- A day is made ahead, or when a row finds none, and it ends in three steps that no crash can confuse:
--   1. blotter_internal.aggregate_days(before), one transaction: what the day means for positions, orders and the audit is kept in small tables,
--      retention.first_day goes up, and the partitions take no more rows.
--   2. ALTER TABLE ... DETACH PARTITION ... CONCURRENTLY, which nobody waits for (it cannot run in a function).
--   3. DROP TABLE.
-- blotter_internal.partitions shows what of 2 and 3 is still to do.

-- The two-number form of advisory locks is a space of its own: drainers hold streams in the one-number form.
CREATE FUNCTION blotter_internal.lock_class() RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 1651273588;
COMMENT ON FUNCTION blotter_internal.lock_class() IS
    'First number of the advisory locks that these functions take. Second: 0 making days, 1 dropping them; otherwise a hash of an exchange and what is done to its orders.';

CREATE FUNCTION blotter_internal.today() RETURNS date
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (now() AT TIME ZONE 'UTC')::date;
COMMENT ON FUNCTION blotter_internal.today() IS 'The UTC day it is, whatever the session''s time zone.';

CREATE FUNCTION blotter_internal.day_begins(day date) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN day::timestamp AT TIME ZONE 'UTC';
COMMENT ON FUNCTION blotter_internal.day_begins(date) IS 'The first instant of a UTC day.';

CREATE VIEW blotter_internal.partitioned_tables AS
SELECT k.kind, k."schema", k."table", format('%I.%I', k."schema", k."table")::regclass AS oid
FROM blotter_internal.record_kinds k WHERE k."schema" = 'blotter';
COMMENT ON VIEW blotter_internal.partitioned_tables IS 'The tables that have a partition per day.';
COMMENT ON COLUMN blotter_internal.partitioned_tables.oid IS 'the table';
SELECT blotter_internal.inherit_comments('blotter_internal.partitioned_tables', 'blotter_internal.record_kinds');

-- CREATE TABLE ... PARTITION OF would wait for an open COPY into another day, and readers would queue behind it. LIKE and ATTACH do not. A table
-- of a day to be kept that somebody has detached is attached again: what is recorded of that day belongs together. An identity, of a column of a
-- user's own, is the parent's: PostgreSQL 17 attaches no table that has one itself, and gives it the parent's.
CREATE FUNCTION blotter_internal.make_partition(parent text, day date) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    part text := parent || '_' || to_char(day, 'YYYYMMDD');
    pending boolean;
BEGIN
    SELECT i.inhdetachpending INTO pending FROM pg_inherits i WHERE i.inhrelid = to_regclass('blotter_internal.' || part);
    IF pending THEN
        EXECUTE format('ALTER TABLE blotter.%I DETACH PARTITION blotter_internal.%I FINALIZE', parent, part);
    ELSIF FOUND THEN
        RETURN;
    ELSIF to_regclass('blotter_internal.' || part) IS NULL THEN
        EXECUTE format('CREATE TABLE blotter_internal.%I (LIKE blotter.%I INCLUDING ALL EXCLUDING IDENTITY)', part, parent);
        EXECUTE format('COMMENT ON TABLE blotter_internal.%I IS %L', part, parent || ' recorded on ' || to_char(day, 'YYYY-MM-DD') || ' UTC');
    END IF;
    BEGIN
        EXECUTE format('ALTER TABLE blotter.%I ATTACH PARTITION blotter_internal.%I FOR VALUES FROM (%L) TO (%L)', parent, part,
                       to_char(day, 'YYYY-MM-DD') || ' 00:00:00+00', to_char(day + 1, 'YYYY-MM-DD') || ' 00:00:00+00');
    EXCEPTION WHEN datatype_mismatch OR wrong_object_type OR check_violation THEN
        RAISE EXCEPTION 'table blotter_internal.% is in the way: %', part, SQLERRM
            USING ERRCODE = 'duplicate_table', HINT = 'Rename it, or make it fit to be attached to blotter.' || parent || '.';
    END;
END
$$;
COMMENT ON FUNCTION blotter_internal.make_partition(text, date) IS 'Makes the partition of a table for a UTC day, or attaches the one that was detached by hand.';
REVOKE EXECUTE ON FUNCTION blotter_internal.make_partition(text, date) FROM PUBLIC;

CREATE FUNCTION blotter_internal.days_back() RETURNS int
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT coalesce(nullif(current_setting('blotter.days_back', true), '')::int, r.days_back) FROM blotter_internal.retention r;
    END;
COMMENT ON FUNCTION blotter_internal.days_back() IS
    'How many days before today are made when a record needs them: retention.days_back, or the session''s setting blotter.days_back, by which a person loads older history.';

-- SECURITY DEFINER: a drainer owns no tables.
CREATE FUNCTION blotter_internal.make_day(day date) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning
    AS $$
DECLARE
    parents text[] := (SELECT array_agg(t."table") FROM blotter_internal.partitioned_tables t);
    suffix text := '_' || to_char(day, 'YYYYMMDD');
    parent text;
BEGIN
    -- Looks first whether the day is there already, in all tables; without a lock, as this is asked for every batch that meets a new day.
    IF day < (SELECT r.first_day FROM blotter_internal.retention r) THEN
        RETURN 'expired';
    END IF;
    IF NOT EXISTS (SELECT FROM unnest(parents) AS p
                   WHERE NOT EXISTS (SELECT FROM pg_inherits i
                                     WHERE i.inhrelid = to_regclass('blotter_internal.' || p || suffix)
                                       AND i.inhparent = to_regclass('blotter.' || p) AND NOT i.inhdetachpending)) THEN
        RETURN 'ready';
    END IF;

    -- Bounded: a record for every day of years would make thousands of tables.
    IF day < blotter_internal.today() - blotter_internal.days_back() THEN
        RETURN 'too_old';
    ELSIF day > blotter_internal.today() + (SELECT r.days_ahead FROM blotter_internal.retention r) THEN
        RETURN 'too_new';
    END IF;

    PERFORM pg_advisory_xact_lock(blotter_internal.lock_class(), 0);
    -- FOR SHARE: waits for an aggregate_days that is about to raise it.
    IF day < (SELECT r.first_day FROM blotter_internal.retention r FOR SHARE) THEN
        RETURN 'expired';
    END IF;
    FOREACH parent IN ARRAY parents LOOP
        PERFORM blotter_internal.make_partition(parent, day);
    END LOOP;
    RETURN 'ready';
END
$$;
COMMENT ON FUNCTION blotter_internal.make_day(date) IS
    'Makes the partitions of a UTC day if there are none, and attaches those again that were detached by hand. Returns ready; expired: the day is older than retention.first_day; too_old or too_new: it is not there, and further from today than days_back and days_ahead allow. Any number of callers at once, beside open COPYs.';

CREATE FUNCTION blotter_internal.make_days(ahead int) RETURNS int
    LANGUAGE sql
    BEGIN ATOMIC
    SELECT count(*)::int FROM generate_series(0, ahead) AS n WHERE blotter_internal.make_day(blotter_internal.today() + n) = 'ready';
    END;
COMMENT ON FUNCTION blotter_internal.make_days(int) IS 'Makes today and so many days ahead. Returns how many days are ready.';

-- The state is that of a row without a partition, so that a drainer that had asked make_day just before asks again, and learns that the day has
-- expired.
CREATE OR REPLACE FUNCTION blotter_internal.refuse_row() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION 'the day of "%" is about to be dropped', TG_TABLE_NAME
        USING ERRCODE = 'check_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME;
END
$$;
COMMENT ON FUNCTION blotter_internal.refuse_row() IS 'Trigger on the partitions of days that are about to be dropped: no more rows.';

CREATE VIEW blotter_internal.partitions AS
SELECT d."table", d.day, d.partition,
       CASE WHEN d.day >= r.first_day THEN CASE WHEN i.inhdetachpending IS NOT FALSE THEN 'detached' ELSE 'kept' END
            WHEN i.inhrelid IS NULL THEN 'drop'
            WHEN i.inhdetachpending THEN 'finalize'
            ELSE 'detach' END AS state,
       d.row_estimate, d.bytes
FROM (SELECT t."table", to_date(substring(c.relname FROM '_([0-9]{8})$'), 'YYYYMMDD') AS day,
             c.oid, c.relname::text AS partition,
             CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END AS row_estimate,
             pg_total_relation_size(c.oid) AS bytes
      FROM pg_class c JOIN blotter_internal.partitioned_tables t ON t."table" = regexp_replace(c.relname, '_[0-9]{8}$', '')
      WHERE c.relnamespace = 'blotter_internal'::regnamespace AND c.relkind = 'r' AND c.relname ~ '_[0-9]{8}$') AS d
LEFT JOIN pg_inherits i ON i.inhrelid = d.oid
CROSS JOIN blotter_internal.retention r;
COMMENT ON VIEW blotter_internal.partitions IS 'The days there are, and what is still to be done to drop those that are not kept.';
COMMENT ON COLUMN blotter_internal.partitions."table" IS 'the table, in schema blotter';
COMMENT ON COLUMN blotter_internal.partitions.day IS 'UTC day of recorded_at';
COMMENT ON COLUMN blotter_internal.partitions.partition IS 'name of the partition, in schema blotter_internal';
COMMENT ON COLUMN blotter_internal.partitions.state IS 'kept; or, for a day before retention.first_day, the next step: detach (ALTER TABLE ... DETACH PARTITION ... CONCURRENTLY), finalize (... FINALIZE), drop (DROP TABLE); detached: by hand, of a day to be kept; make_day attaches it again';
COMMENT ON COLUMN blotter_internal.partitions.row_estimate IS 'rows, as of the last ANALYZE or VACUUM; null: never';
COMMENT ON COLUMN blotter_internal.partitions.bytes IS 'bytes on disk with indexes';
