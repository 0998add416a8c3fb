-- 002: days. order_events and trades have one partition per UTC day of recorded_at, and no DEFAULT one: a stray row in it would
-- make its day impossible to create.
--
-- A day is made ahead, or when a row finds none, and it ends in three steps that no crash can confuse:
--   1. blotter.fold_days(before), one transaction: what the day means for positions, orders and the audit is folded into small tables,
--      retention.first_day goes up, and the partitions take no more rows.
--   2. ALTER TABLE ... DETACH PARTITION ... CONCURRENTLY, which nobody waits for (it cannot run in a function).
--   3. DROP TABLE.
-- blotter.partitions shows what of 2 and 3 is still to do.

CREATE TABLE blotter.retention (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    first_day date NOT NULL
);
COMMENT ON TABLE blotter.retention IS 'One row: how far back order events and trades are kept.';
COMMENT ON COLUMN blotter.retention.one_row IS 'makes it one row';
COMMENT ON COLUMN blotter.retention.first_day IS 'first UTC day kept; an older record is settled as expired, and not stored; raised by fold_days';
-- No record is older: schema/limits.h.
INSERT INTO blotter.retention (first_day) VALUES ('2015-01-01');

-- CREATE TABLE ... PARTITION OF would wait for an open COPY into another day, and readers would queue behind it. LIKE and ATTACH
-- do not. SECURITY DEFINER: a drainer owns no tables. A table of a day to be kept that somebody has detached is attached again: what is
-- recorded of that day belongs together. An identity, of a column of a user's own, is the parent's: PostgreSQL 17 attaches no table that has
-- one itself, and gives it the parent's.
CREATE FUNCTION blotter.make_day(day date) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning
    AS $$
DECLARE
    parent text;
    part text;
    pending boolean;
    low text := to_char(day, 'YYYY-MM-DD') || ' 00:00:00+00';
    high text := to_char(day + 1, 'YYYY-MM-DD') || ' 00:00:00+00';
BEGIN
    -- In order_events and trades: is the day there already? Without a lock, as this is asked for every batch that meets a new day.
    IF day < (SELECT r.first_day FROM blotter.retention r) THEN
        RETURN 'expired';
    END IF;
    IF (SELECT count(*) FROM pg_inherits i
        WHERE NOT i.inhdetachpending
          AND (i.inhparent, i.inhrelid) IN (
              ('blotter.order_events'::regclass, to_regclass('blotter.order_events_' || to_char(day, 'YYYYMMDD'))),
              ('blotter.trades'::regclass, to_regclass('blotter.trades_' || to_char(day, 'YYYYMMDD'))))) = 2 THEN
        RETURN 'ready';
    END IF;

    PERFORM pg_advisory_xact_lock(blotter.lock_class(), 0);
    -- FOR SHARE: waits for a fold_days that is about to raise it.
    IF day < (SELECT r.first_day FROM blotter.retention r FOR SHARE) THEN
        RETURN 'expired';
    END IF;
    FOREACH parent IN ARRAY ARRAY['order_events', 'trades'] LOOP
        part := parent || '_' || to_char(day, 'YYYYMMDD');
        SELECT i.inhdetachpending INTO pending FROM pg_inherits i WHERE i.inhrelid = to_regclass('blotter.' || part);
        IF pending THEN
            EXECUTE format('ALTER TABLE blotter.%I DETACH PARTITION blotter.%I FINALIZE', parent, part);
        ELSIF FOUND THEN
            CONTINUE;
        ELSIF to_regclass('blotter.' || part) IS NULL THEN
            EXECUTE format('CREATE TABLE blotter.%I (LIKE blotter.%I INCLUDING ALL EXCLUDING IDENTITY)', part, parent);
            EXECUTE format('COMMENT ON TABLE blotter.%I IS %L', part, parent || ' recorded on ' || to_char(day, 'YYYY-MM-DD') || ' UTC');
        END IF;
        BEGIN
            EXECUTE format('ALTER TABLE blotter.%I ATTACH PARTITION blotter.%I FOR VALUES FROM (%L) TO (%L)', parent, part, low, high);
        EXCEPTION WHEN datatype_mismatch OR wrong_object_type OR check_violation THEN
            RAISE EXCEPTION 'table blotter.% is in the way: %', part, SQLERRM
                USING ERRCODE = 'duplicate_table', HINT = 'Rename it, or make it fit to be attached to blotter.' || parent || '.';
        END;
    END LOOP;
    RETURN 'ready';
END
$$;
COMMENT ON FUNCTION blotter.make_day(date) IS
    'Makes the partitions of a UTC day if there are none, and attaches those again that were detached by hand. Returns ready, or expired: the day is older than retention.first_day. Any number of callers at once, beside open COPYs.';

-- The two-number form of advisory locks is a space of its own: drainers hold streams in the one-number form.
CREATE FUNCTION blotter.lock_class() RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS 'SELECT 1651273588';
COMMENT ON FUNCTION blotter.lock_class() IS
    'First number of the advisory locks that these functions take. Second: 0 making days, 1 dropping them; otherwise a hash of an exchange and what is done to its orders.';

CREATE FUNCTION blotter.today() RETURNS date
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$SELECT (now() AT TIME ZONE 'UTC')::date$$;
COMMENT ON FUNCTION blotter.today() IS 'The UTC day it is, whatever the session''s time zone.';

CREATE FUNCTION blotter.make_days(ahead int) RETURNS int
    LANGUAGE sql
    AS $$SELECT count(*)::int FROM generate_series(0, ahead) AS n WHERE blotter.make_day(blotter.today() + n) = 'ready'$$;
COMMENT ON FUNCTION blotter.make_days(int) IS 'Makes today and so many days ahead. Returns how many days are ready.';

-- On a partition whose day has been folded. The state is that of a row without a partition, so that a drainer that had asked make_day
-- just before asks again, and hears `expired`.
CREATE FUNCTION blotter.refuse_row() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'the day of "%" has been folded and is about to be dropped', TG_TABLE_NAME
        USING ERRCODE = 'check_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME;
END
$$;
COMMENT ON FUNCTION blotter.refuse_row() IS 'Trigger on the partitions of folded days: no more rows.';

CREATE VIEW blotter.partitions AS
SELECT d."table", d.day, d.partition,
       CASE WHEN d.day >= r.first_day THEN CASE WHEN i.inhdetachpending IS NOT FALSE THEN 'detached' ELSE 'kept' END
            WHEN i.inhrelid IS NULL THEN 'drop'
            WHEN i.inhdetachpending THEN 'finalize'
            ELSE 'detach' END AS state,
       d.row_estimate, d.bytes
FROM (SELECT regexp_replace(c.relname, '_[0-9]{8}$', '') AS "table",
             to_date(substring(c.relname FROM '_([0-9]{8})$'), 'YYYYMMDD') AS day,
             c.oid, c.relname::text AS partition,
             CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END AS row_estimate,
             pg_total_relation_size(c.oid) AS bytes
      FROM pg_class c
      WHERE c.relnamespace = 'blotter'::regnamespace AND c.relkind = 'r' AND c.relname ~ '^(order_events|trades)_[0-9]{8}$') AS d
LEFT JOIN pg_inherits i ON i.inhrelid = d.oid
CROSS JOIN blotter.retention r;
COMMENT ON VIEW blotter.partitions IS 'The days there are, and what is still to be done to drop those that have been folded.';
COMMENT ON COLUMN blotter.partitions."table" IS 'order_events or trades';
COMMENT ON COLUMN blotter.partitions.day IS 'UTC day of recorded_at';
COMMENT ON COLUMN blotter.partitions.partition IS 'name of the table, in schema blotter';
COMMENT ON COLUMN blotter.partitions.state IS 'kept; or, for a day before retention.first_day, the next step: detach (ALTER TABLE ... DETACH PARTITION ... CONCURRENTLY), finalize (... FINALIZE), drop (DROP TABLE); detached: by hand, of a day to be kept; make_day attaches it again';
COMMENT ON COLUMN blotter.partitions.row_estimate IS 'rows, as of the last ANALYZE or VACUUM; null: never';
COMMENT ON COLUMN blotter.partitions.bytes IS 'bytes on disk with indexes';
