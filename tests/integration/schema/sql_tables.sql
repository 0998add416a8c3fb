-- Days, staging, rejects, progress, roles; and that everything is explained.
SET client_min_messages = warning;
SET timezone = 'Pacific/Kiritimati';
SELECT blotter_internal.make_day('2026-07-31'), blotter_internal.make_day('2026-08-01');
SET timezone = 'America/New_York';
SET datestyle = 'German';
SELECT blotter_internal.make_day('2026-08-02'), blotter_internal.make_day('2026-08-03'), blotter_internal.make_day('2026-07-31');
RESET datestyle;
SET timezone = 'UTC';
SELECT test.same('days_are_utc_days_whatever_the_time_zone',
                 (SELECT string_agg(concat(c.relname, ' ', pg_get_expr(c.relpartbound, c.oid)), E'\n' ORDER BY c.relname)
                  FROM pg_class c WHERE c.relname IN ('trades_20260731', 'trades_20260801', 'trades_20260802', 'trades_20260803')),
                 $$trades_20260731 FOR VALUES FROM ('2026-07-31 00:00:00+00') TO ('2026-08-01 00:00:00+00')
trades_20260801 FOR VALUES FROM ('2026-08-01 00:00:00+00') TO ('2026-08-02 00:00:00+00')
trades_20260802 FOR VALUES FROM ('2026-08-02 00:00:00+00') TO ('2026-08-03 00:00:00+00')
trades_20260803 FOR VALUES FROM ('2026-08-03 00:00:00+00') TO ('2026-08-04 00:00:00+00')$$);
RESET timezone;
SELECT test.same('a_day_before_the_first_is_expired', blotter_internal.make_day('2014-12-31'), 'expired');
UPDATE blotter_internal.retention SET days_back = 35, days_ahead = 1;
SELECT test.same('days_are_made_within_bounds',
                 (SELECT string_agg(blotter_internal.make_day(blotter_internal.today() + n), ' ' ORDER BY n) FROM unnest(ARRAY[-36, -35, 1, 2]) AS n), 'too_old ready ready too_new');
SELECT test.same('a_day_that_is_there_is_not_too_old', blotter_internal.make_day('2026-07-31'), 'ready');
SELECT set_config('blotter.days_back', '40', false);
SELECT test.same('a_session_may_reach_further_back', blotter_internal.make_day(blotter_internal.today() - 40), 'ready');
RESET blotter.days_back;
UPDATE blotter_internal.retention SET days_back = 100000, days_ahead = 100000;
SELECT test.drop_days(ARRAY[blotter_internal.today() - 35, blotter_internal.today() - 40]);
SELECT test.same('days_are_made_ahead', blotter_internal.make_days(2)::text, '3');
CREATE TABLE blotter_internal.trades_20260810 ();
CREATE FUNCTION test.day_in_the_way() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN blotter_internal.make_day('2026-08-10');
EXCEPTION WHEN duplicate_table THEN
    RETURN SQLERRM;
END $$;
SELECT test.same('a_table_in_the_way_is_named', test.day_in_the_way(), 'table blotter_internal.trades_20260810 is in the way: child table is missing column "producer_id"');
SELECT test.same('and_seen', (SELECT state FROM blotter_internal.partitions WHERE partition = 'trades_20260810'), 'detached');
DROP TABLE blotter_internal.trades_20260810;
CREATE VIEW blotter_internal.trades_20260810 AS SELECT 1 AS one;
SELECT test.ok('so_is_a_view', test.day_in_the_way() LIKE 'table blotter_internal.trades_20260810 is in the way: %');
DROP VIEW blotter_internal.trades_20260810;

-- At any moment it is another day in one of these zones than in UTC.
CREATE TEMPORARY TABLE todays (day date);
SET timezone = 'Pacific/Kiritimati';
INSERT INTO todays SELECT blotter_internal.today();
SET timezone = 'Etc/GMT+12';
INSERT INTO todays SELECT blotter_internal.today();
RESET timezone;
SELECT test.same('today_is_the_same_in_every_time_zone', (SELECT count(DISTINCT day)::text FROM todays), '1');

-- A day that somebody has detached.
INSERT INTO blotter.trades (producer_id, seq, recorded_at, exchange, symbol, price, quantity) VALUES (8, 1, '2026-08-03Z', 'okx', 'B', 1, 1);
ALTER TABLE blotter.trades DETACH PARTITION blotter_internal.trades_20260803;
SELECT test.same('a_detached_day_is_seen', (SELECT string_agg(concat_ws(' ', "table", state), ', ' ORDER BY "table") FROM blotter_internal.partitions WHERE day = '2026-08-03' AND "table" IN ('order_events', 'trades')),
                 'order_events kept, trades detached');
SELECT test.same('a_day_that_is_needed_is_attached_again', blotter_internal.make_day('2026-08-03'), 'ready');
SELECT test.same('with_what_it_holds', (SELECT count(*)::text FROM blotter.trades), '1');
DELETE FROM blotter.trades;

-- Its first and last microsecond, wherever the session thinks it is.
CREATE FUNCTION test.day_borders() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    zone text;
    wrong text;
BEGIN
    FOREACH zone IN ARRAY ARRAY['UTC', 'Pacific/Kiritimati', 'Pacific/Midway', 'America/St_Johns', 'Asia/Kathmandu', 'Europe/London', 'America/Sao_Paulo'] LOOP
        PERFORM set_config('TimeZone', zone, true);
        FOR n IN 0..1 LOOP
            -- the days on which clocks change in London, and the end of a year
            PERFORM blotter_internal.make_day(d) FROM unnest(ARRAY[date '2027-03-28', '2027-10-31', '2027-12-31']) AS d;
            INSERT INTO blotter.trades (producer_id, seq, recorded_at, exchange, symbol, price, quantity)
            SELECT 8, n, t::timestamptz, zone, 'B', 1, 1
            FROM unnest(ARRAY['2027-03-28 00:00:00Z', '2027-03-28 23:59:59.999999Z', '2027-10-31 00:00:00Z', '2027-10-31 23:59:59.999999Z',
                              '2027-12-31 00:00:00Z', '2027-12-31 23:59:59.999999Z']) AS t;
            SELECT concat_ws(' ', zone, t.tableoid::regclass, t.recorded_at) INTO wrong FROM blotter.trades t
            WHERE t.tableoid::regclass::text <> 'blotter_internal.trades_' || to_char(t.recorded_at AT TIME ZONE 'UTC', 'YYYYMMDD');
            IF wrong IS NOT NULL THEN
                RETURN wrong;
            END IF;
            DELETE FROM blotter.trades;
        END LOOP;
        PERFORM test.drop_days(ARRAY[date '2027-03-28', '2027-10-31', '2027-12-31']);
    END LOOP;
    RETURN 'right';
END $$;
SELECT test.same('a_day_has_the_same_borders_in_every_time_zone', test.day_borders(), 'right');

SELECT blotter_internal.begin_session(), blotter_internal.begin_session();
CREATE FUNCTION pg_temp.stage() RETURNS void LANGUAGE sql AS $$
    INSERT INTO staged_order_events (producer_id, seq, recorded_at, exchange, order_id)
    SELECT 1, n, '2026-07-31 12:00Z', 'okx', 'X' FROM unnest(ARRAY[1, 2, 3, 3, 2]) AS n;
    INSERT INTO staged_trades (producer_id, seq, recorded_at, exchange, symbol, price, quantity)
    VALUES (1, 4, '2026-07-31 12:00Z', 'okx', 'BTC', 1, 1), (-9, 4, '2026-07-31 12:00Z', 'okx', 'BTC', 1, 1);
    INSERT INTO staged_sessions (producer_id, seq, recorded_at, exchange, event) VALUES (1, 5, '2026-07-31 12:00Z', 'okx', 'void');
    INSERT INTO staged_rejects (stream, entry_id, exchange, producer_id, seq, reason, raw, drainer)
    VALUES ('blotter:okx', '1-1', 'okx', 1, 6, 'bad', '\xff00', 'd'), ('blotter:okx', '2-1', 'okx', 1, 6, 'bad', '\xff00', 'd'),
           ('blotter:okx', '2-1', 'okx', 1, 6, 'bad', '\xff01', 'd'), ('blotter:evil', '2-1', 'evil', 1, 6, 'bad', '\xff00', 'd'),
           ('blotter:okx', '3-1', 'okx', NULL, NULL, 'bad', '', 'd'), ('blotter:okx', '3-1', 'okx', NULL, NULL, 'bad', '', 'd'), ('blotter:okx', '4-1', 'okx', NULL, NULL, 'bad', '', 'd');
$$;
SELECT pg_temp.stage();
SELECT test.same('staged_records_are_stored_once', (SELECT l::text FROM blotter_internal.load_staged('d') AS l), '(6,5)');
SELECT test.same('staging_is_empty_then', concat((SELECT count(*) FROM staged_order_events), (SELECT count(*) FROM staged_trades),
                                                 (SELECT count(*) FROM staged_sessions), (SELECT count(*) FROM staged_rejects)), '0000');
SELECT pg_temp.stage();
SELECT test.same('and_again_not_at_all', (SELECT l::text FROM blotter_internal.load_staged('e') AS l), '(0,0)');
SELECT test.same('progress_counts_what_was_new', (SELECT string_agg(concat_ws(' ', producer_id, exchange, drainer, stored, rejected, voided, expired, last_seq), ', ' ORDER BY exchange) FROM blotter_internal.progress), '1 evil d 0 1 0 0 6, 1 okx d 5 2 1 0 6');
SELECT test.same('expired_records_are_counted_once', concat(blotter_internal.add_expired('d', '{2,2,2,-3}', '{x,x,x,x}', NULL, '{1,2,2,5}'), blotter_internal.add_expired('d', '{2,2}', '{x,x}', NULL, '{2,3}')), '21');
SELECT test.same('in_progress_too', (SELECT concat_ws(' ', expired, last_seq) FROM blotter_internal.progress WHERE producer_id = 2), '3 3');

-- A record that comes again is compared with what is stored. Its own words for the error: a drainer rejects the rows that the detail names.
CREATE FUNCTION pg_temp.load_refused() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    PERFORM blotter_internal.load_staged('d');
    RETURN 'loaded';
EXCEPTION WHEN SQLSTATE 'BL001' THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN concat_ws(': ', SQLERRM, detail);
END $$;
CREATE FUNCTION pg_temp.load_again(changes text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    outcome text;
BEGIN
    INSERT INTO staged_order_events (producer_id, seq, recorded_at, exchange, order_id, price, extra, update_time)
    VALUES (5, 1, '2026-07-31 12:00Z', 'okx', 'X', 1.10, '{"a": 1}', NULL), (5, 2, '2026-07-31 12:00Z', 'okx', 'X', NULL, NULL, NULL);
    EXECUTE changes;
    outcome := pg_temp.load_refused();
    DELETE FROM staged_order_events;
    DELETE FROM staged_trades;
    RETURN outcome;
END $$;
SELECT test.same('what_is_new_is_loaded', pg_temp.load_again(''), 'loaded');
SELECT test.same('what_comes_again_as_it_was_is_loaded', pg_temp.load_again(''), 'loaded');
SELECT test.same('fields_that_only_one_has_and_extra_do_not_count',
                 pg_temp.load_again($$UPDATE staged_order_events SET update_time = recorded_at, price = CASE seq WHEN 2 THEN 5 END, extra = '{}'$$), 'loaded');
SELECT test.same('zeros_at_the_end_of_a_number_do_not_count', pg_temp.load_again('UPDATE staged_order_events SET price = 1.1 WHERE seq = 1'), 'loaded');
SELECT test.same('another_value_is_an_identity_used_twice', pg_temp.load_again('INSERT INTO staged_order_events (producer_id, seq, recorded_at, exchange, price) VALUES (5, 1, ''2026-07-31 12:00Z'', ''okx'', 2)'),
                 'identity used twice: order_events 3');
SELECT test.same('so_is_another_exchange', pg_temp.load_again('INSERT INTO staged_order_events (producer_id, seq, recorded_at, exchange) VALUES (5, 2, ''2026-07-31 12:00Z'', ''evil'')'),
                 'identity used twice: order_events 3');
SELECT test.same('and_another_kind', pg_temp.load_again('INSERT INTO staged_trades (producer_id, seq, recorded_at, exchange, symbol, price, quantity) VALUES (5, 2, ''2026-07-31 12:00Z'', ''okx'', ''B'', 1, 1), (5, 3, ''2026-07-31 12:00Z'', ''okx'', ''B'', 1, 1)'),
                 'identity used twice: trades 1');
SELECT test.same('what_was_refused_is_not_stored', (SELECT count(*)::text FROM blotter.trades WHERE producer_id = 5), '0');
CREATE FUNCTION test.drop_cheap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.price = 7 THEN RETURN NULL; END IF; NEW.symbol := upper(NEW.symbol); RETURN NEW; END';
CREATE TRIGGER drop_cheap BEFORE INSERT ON blotter.order_events FOR EACH ROW EXECUTE FUNCTION test.drop_cheap();
SELECT test.same('what_a_trigger_drops_is_named', pg_temp.load_again('INSERT INTO staged_order_events (producer_id, seq, recorded_at, exchange, price, symbol) VALUES (5, 4, ''2026-07-31 12:00Z'', ''okx'', 6, ''b''), (5, 5, ''2026-07-31 12:00Z'', ''okx'', 7, ''b'')'),
                 'dropped by a trigger on blotter.order_events: order_events 4');
SELECT test.same('what_a_trigger_changes_is_nobody_s_fault', pg_temp.load_again('INSERT INTO staged_order_events (producer_id, seq, recorded_at, exchange, price, symbol) VALUES (5, 4, ''2026-07-31 12:00Z'', ''okx'', 6, ''b'')')
                     || pg_temp.load_again('INSERT INTO staged_order_events (producer_id, seq, recorded_at, exchange, price, symbol) VALUES (5, 4, ''2026-07-31 12:00Z'', ''okx'', 6, ''b'')'), 'loadedloaded');
DROP TRIGGER drop_cheap ON blotter.order_events;
DELETE FROM blotter.order_events WHERE producer_id = 5;
DELETE FROM blotter_internal.progress WHERE producer_id = 5;

SELECT test.same('stored_at_is_set', (SELECT count(*)::text FROM blotter.order_events WHERE stored_at > now() - interval '1 hour'), '3');

-- A reject does not count beside the row of the same record, of whatever kind, nor once its day is gone.
INSERT INTO blotter.rejects (stream, entry_id, exchange, producer_id, seq, recorded_at, reason, raw, raw_length, raw_sha256, replayed_at)
SELECT 'blotter:okx', n || '-1', 'okx', 4, n, '2026-07-31 12:00Z', 'bad', '', 0, sha256(''), CASE WHEN n = 5 THEN now() END FROM generate_series(1, 6) AS n;
INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange) VALUES (4, 1, '2026-07-31 12:00Z', 'okx');
INSERT INTO blotter.trades (producer_id, seq, recorded_at, exchange, symbol, price, quantity) VALUES (4, 2, '2026-07-31 12:00Z', 'okx', 'B', 1, 1);
INSERT INTO blotter_internal.sessions (producer_id, seq, recorded_at, exchange, event) VALUES (4, 3, '2026-07-31 12:00Z', 'okx', 'void');
SELECT blotter_internal.add_expired('d', '{4}', '{okx}', '{NULL}', '{4}');
SELECT test.same('only_a_reject_that_is_nowhere_else_is_one', (SELECT string_agg(seq::text, ',') FROM blotter_internal.unstored_rejects WHERE producer_id = 4), '6');
-- A day is one of UTC, and has 24 hours, also where clocks change in it.
SET timezone = 'America/New_York';
SELECT blotter_internal.make_day('2026-03-08');
INSERT INTO blotter.rejects (stream, entry_id, exchange, producer_id, seq, recorded_at, reason, raw, raw_length, raw_sha256)
VALUES ('blotter:okx', '9-1', 'okx', 67, 1, '2026-03-08 23:30Z', 'bad', '', 0, sha256(''));
SELECT test.same('a_reject_of_the_hour_that_clocks_skip_is_found', (SELECT count(*)::text FROM blotter_internal.unstored_rejects WHERE producer_id = 67), '1');
DELETE FROM blotter.rejects WHERE producer_id = 67;
SELECT test.drop_days(ARRAY[date '2026-03-08']);
RESET timezone;
-- Nor do days that there are not cost anything each: one that may write to a stream can name thousands.
INSERT INTO blotter.rejects (stream, entry_id, exchange, producer_id, seq, recorded_at, reason, raw, raw_length, raw_sha256)
SELECT 'blotter:evil', n || '-2', 'evil', 66, n, timestamptz '2020-01-01 12:00Z' + n * interval '1 day', 'too old', '', 0, sha256('') FROM generate_series(1, 1000) AS n;
INSERT INTO blotter_internal.sessions (producer_id, seq, recorded_at, exchange, event) VALUES (66, 1, '2020-01-02 12:00Z', 'evil', 'opened');
CREATE EXTENSION pg_stat_statements SCHEMA test;
SELECT test.pg_stat_statements_reset();
SET pg_stat_statements.track = 'all';
SELECT test.same('rejects_of_days_that_are_not_there', (SELECT count(*)::text FROM blotter_internal.unstored_rejects WHERE producer_id = 66), '999');
SET pg_stat_statements.track = 'none';
SELECT test.same('they_are_found_at_once', (SELECT max(s.calls) < 100 FROM test.pg_stat_statements s WHERE s.query ~ 'blotter.rejects')::text, 'true');
SELECT test.same('and_in_few_statements', (SELECT count(*) < 100 FROM test.pg_stat_statements s WHERE s.query ~ 'blotter.rejects')::text, 'true');
DROP EXTENSION pg_stat_statements;
DELETE FROM blotter.rejects WHERE producer_id = 66;
DELETE FROM blotter_internal.sessions WHERE producer_id = 66;
SELECT test.same('ranges_are_written_as_people_do_and_end_with_dots_where_there_are_more',
                 concat_ws(' ', blotter_internal.range_list('{[1,2),[3,6)}', 2), blotter_internal.range_list('{[1,2),[3,6),[8,9)}', 2)), '1,3-5 1,3-5,...');

-- A failing merge harms nobody: this key is too long for an index.
SELECT test.clear();
BEGIN;
INSERT INTO staged_orders (exchange, account, symbol, order_id, status, first_recorded_at, first_seq, first_producer_id, recorded_at, seq, producer_id, late)
SELECT 'binance', a, a, o, 'open', '2026-07-31 12:00Z', n, 1, '2026-07-31 12:00Z', n, 1, false
FROM (SELECT 1 AS n, string_agg(md5(i::text), '') AS a, string_agg(md5('x' || i), '') AS o FROM generate_series(1, 60) AS i UNION ALL SELECT 2, 'a', 'fine') AS s;
SELECT test.same('an_order_that_does_not_go_does_not_stop_the_others', blotter_internal.merge_orders()::text, '1');
COMMIT;
SELECT test.same('it_is_in_order_errors', (SELECT concat_ws(' ', count(*), min(sqlstate)) FROM blotter_internal.order_errors), '1 54000');
SELECT test.same('the_others_are_kept', (SELECT string_agg(order_key, ',') FROM blotter.orders), 'fine');

-- Batch after batch, in transactions of their own: what they leave behind is given back now and then.
CREATE PROCEDURE test.many_batches() LANGUAGE plpgsql AS $$
BEGIN
    FOR batch IN 1..60 LOOP
        INSERT INTO staged_orders (exchange, order_id, client_order_id, reason, first_recorded_at, first_seq, first_producer_id, recorded_at, seq, producer_id, late)
        SELECT 'okx', 'many' || n, CASE WHEN batch % 20 = 0 AND n = 1 THEN 'm' END, repeat('why ', 80), r.at, batch, 1, r.at, batch, 1, n = 2
        FROM generate_series(1, 200) AS n, to_timestamp(1785456000 + batch) AS r (at);
        PERFORM blotter_internal.merge_orders();
        COMMIT;
    END LOOP;
END
$$;
CALL test.many_batches();
SELECT test.same('many_batches_are_merged', (SELECT concat_ws(' ', count(*), min(seq), max(seq)) FROM blotter.orders WHERE order_key LIKE 'many%'), '200 60 60');
SELECT test.ok('temporary_tables_are_left_empty_and_small', coalesce(bool_and(pg_relation_size(c.oid) <= 2097152), false)
                   AND (SELECT count(*) = 0 FROM staged_orders) AND (SELECT count(*) = 0 FROM merge_rest) AND (SELECT count(*) = 0 FROM rebuild_orders)
                   AND (SELECT count(*) = 0 FROM rebuild_ids) AND (SELECT count(*) = 0 FROM rebuild_events),
               string_agg(c.relname || ' ' || pg_relation_size(c.oid), ', '))
FROM pg_class c WHERE c.relnamespace = pg_my_temp_schema() AND c.relkind = 'r';

SELECT test.same('every_' || k.kind || '_has_a_comment', string_agg(n.name, ', '), NULL)
FROM (VALUES ('table'), ('column'), ('function'), ('index')) AS k (kind)
LEFT JOIN (
    SELECT 'table' AS kind, c.relname::text AS name FROM pg_class c
    WHERE c.relnamespace IN ('blotter'::regnamespace, 'blotter_internal'::regnamespace) AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition AND obj_description(c.oid, 'pg_class') IS NULL
    UNION ALL
    SELECT 'column', c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace IN ('blotter'::regnamespace, 'blotter_internal'::regnamespace) AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped AND col_description(c.oid, a.attnum) IS NULL
    UNION ALL
    SELECT 'function', p.proname FROM pg_proc p WHERE p.pronamespace IN ('blotter'::regnamespace, 'blotter_internal'::regnamespace) AND obj_description(p.oid, 'pg_proc') IS NULL
    UNION ALL
    SELECT 'index', c.relname FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
    WHERE c.relnamespace IN ('blotter'::regnamespace, 'blotter_internal'::regnamespace) AND NOT i.indisunique AND NOT c.relispartition AND obj_description(c.oid, 'pg_class') IS NULL
) AS n USING (kind)
GROUP BY k.kind;

-- Tables, views and functions of schema blotter are for traders to read, and the comment of each has an example that works.
CREATE VIEW test.shown AS
SELECT c.relname::text AS name, obj_description(c.oid, 'pg_class') AS comment FROM pg_class c WHERE c.relnamespace = 'blotter'::regnamespace AND c.relkind IN ('r', 'p', 'v')
UNION ALL
SELECT p.proname || '()', obj_description(p.oid, 'pg_proc') FROM pg_proc p WHERE p.pronamespace = 'blotter'::regnamespace;
SELECT test.same('schema_blotter_shows_what_a_trader_reads', (SELECT string_agg(name, ' ' ORDER BY name COLLATE "C") FROM test.shown),
                 'audit balances candles() cash equity() fifo() fills gaps instruments latency() open_orders order_events order_history() orders orders_at() pnl() position_base positions '
                 || 'positions_at() reconciliation rejects timeline() trades venue_positions');
CREATE PROCEDURE test.run_examples() LANGUAGE plpgsql AS $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT s.name, (regexp_match(s.comment, 'Example[^:]*: ((SELECT|INSERT) .*);$'))[1] AS example FROM test.shown s LOOP
        BEGIN
            IF position(rtrim(one.name, '()') IN one.example) > 0 THEN
                EXECUTE one.example;
            ELSE
                PERFORM test.ok(one.name || '_has_an_example_in_its_comment', false);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            PERFORM test.ok('the_example_of_' || one.name || '_works', false, SQLERRM);
        END;
    END LOOP;
    PERFORM test.ok('examples_in_comments_were_run', true);
END
$$;
CALL test.run_examples();
DELETE FROM blotter_internal.book_queue q WHERE q.kind = 'b';

-- The roles suffice for their work, and for no more.
DISCARD TEMPORARY;
SET ROLE blotter_drainer;
SELECT blotter_internal.begin_session();
BEGIN;
INSERT INTO staged_order_events (producer_id, seq, recorded_at, exchange, order_id, client_order_id) VALUES (1, 9, '2026-07-31 12:00Z', 'okx', 'R', 'r'), (1, 10, '2026-07-31 12:00Z', 'okx', NULL, 'r');
INSERT INTO staged_orders (exchange, order_id, client_order_id, first_recorded_at, first_seq, first_producer_id, recorded_at, seq, producer_id, late)
VALUES ('okx', 'R', 'r', '2026-07-31 12:00Z', 9, 1, '2026-07-31 12:00Z', 9, 1, true), ('okx', NULL, 'r', '2026-07-31 12:00Z', 10, 1, '2026-07-31 12:00Z', 10, 1, false);
CREATE TEMPORARY TABLE did AS SELECT blotter_internal.make_day('2026-08-04') || blotter_internal.load_staged('d')::text || blotter_internal.merge_orders() || blotter_internal.rebuild_orders() AS did;
COMMIT;
CREATE FUNCTION pg_temp.may(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'yes';
EXCEPTION WHEN insufficient_privilege THEN
    RETURN 'no';
END $$;
CREATE TEMPORARY TABLE may AS SELECT pg_temp.may('DELETE FROM blotter.order_events') || pg_temp.may('UPDATE blotter.trades SET price = 1')
    || pg_temp.may('SELECT blotter_internal.aggregate_days(''2026-07-31'')') || pg_temp.may('SELECT FROM blotter.audit') AS may;
RESET ROLE;
SELECT test.same('a_drainer_can_do_its_work', (SELECT did FROM did), 'ready(2,0)21');
SELECT test.same('a_drainer_cannot_change_the_record', (SELECT may FROM may), 'nononoyes');
SET ROLE blotter_reader;
CREATE TEMPORARY TABLE reads AS SELECT pg_temp.may('SELECT FROM blotter.positions, blotter.audit, blotter.open_orders, blotter.candles(''B'', ''1 hour'', now(), now())')
    || pg_temp.may('INSERT INTO blotter_internal.venues VALUES (''x'', ''symbol'')') || pg_temp.may('SELECT blotter_internal.make_day(''2026-08-05'')') || pg_temp.may('SELECT blotter_internal.fence(1)') AS may;
RESET ROLE;
SELECT test.same('a_reader_reads', (SELECT may FROM reads), 'yesnonono');
CREATE TEMPORARY TABLE granted AS
SELECT a.grantee::regrole::text AS role, a.privilege_type AS may, c.relname::text AS name
FROM pg_class c, aclexplode(c.relacl) AS a
WHERE c.relnamespace IN ('blotter'::regnamespace, 'blotter_internal'::regnamespace) AND a.grantee <> 0 AND a.grantee <> c.relowner
UNION ALL
SELECT a.grantee::regrole::text, a.privilege_type, c.relname || '(' || string_agg(t.attname, ',' ORDER BY t.attnum) || ')'
FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) AS a
WHERE c.relnamespace IN ('blotter'::regnamespace, 'blotter_internal'::regnamespace) AND a.grantee <> c.relowner
GROUP BY 1, 2, c.relname;
SELECT test.same('a_drainer_may_write_this_and_no_more',
                 (SELECT string_agg(concat_ws(' ', may, names), E'\n' ORDER BY may)
                  FROM (SELECT may, string_agg(name, ' ' ORDER BY name COLLATE "C") AS names FROM granted
                        WHERE role = 'blotter_drainer' AND may <> 'SELECT' GROUP BY may) AS g),
                 E'DELETE book_queue client_only_ids fill order_client_ids order_errors orders position_checkpoint position_hour\n'
                 'INSERT balances book_errors book_queue cash client_only_ids contract fill funding gone_seqs(producer_id,exchange,lane) history incidents(stream,what,from_id,to_id,from_n,to_n) instruments '
                 'kept_order_events loaded order_client_ids order_errors order_events orders pnl_day position position_checkpoint position_hour progress rejects sessions trades venue_positions\n'
                 'UPDATE client_only_ids contract fill funding gone_seqs(expired) loaded(n,last_id,updated_at) orders pnl_day position position_checkpoint position_hour progress(stored,rejected,voided,expired,last_seq,updated_at) '
                 'rejects(reason,sqlstate,replayed_at,replayed_by,discarded_at,discarded_by)');
SELECT test.same('nobody_else_may_write', (SELECT string_agg(concat_ws(' ', role, may, name), ', ') FROM granted WHERE role <> 'blotter_drainer' AND may <> 'SELECT'), NULL);
SELECT test.same('a_reader_may_read_everything',
                 (SELECT string_agg(c.relname, ',') FROM pg_class c
                  WHERE c.relnamespace IN ('blotter'::regnamespace, 'blotter_internal'::regnamespace) AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
                    AND NOT has_table_privilege('blotter_reader', c.oid, 'SELECT')), NULL);
-- Only the list of rights, which is everybody's.
SELECT test.same('the_web_has_no_table',
                 (SELECT string_agg(c.oid::regclass::text, ' ' ORDER BY c.relname) FROM pg_class c
                  WHERE c.relnamespace IN ('blotter'::regnamespace, 'blotter_internal'::regnamespace) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
                    AND (has_table_privilege('blotter_web', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
                         OR has_any_column_privilege('blotter_web', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'))),
                 'blotter_internal.rights');
CREATE TEMPORARY TABLE relations AS
SELECT c.oid::regclass::text AS name FROM pg_class c
WHERE c.relnamespace IN ('blotter'::regnamespace, 'blotter_internal'::regnamespace) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relname <> 'rights';
GRANT SELECT ON relations TO PUBLIC;
CREATE FUNCTION pg_temp.readable() RETURNS TABLE (name text) LANGUAGE plpgsql AS $$
DECLARE
    one text;
BEGIN
    FOR one IN SELECT r.name FROM relations r LOOP
        BEGIN
            EXECUTE 'SELECT FROM ' || one || ' LIMIT 1';
            name := one;
            RETURN NEXT;
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;
        END;
    END LOOP;
END
$$;
SET ROLE blotter_web;
CREATE TEMPORARY TABLE web_reads AS SELECT r.name FROM pg_temp.readable() r;
CREATE TEMPORARY TABLE web_asks AS SELECT json_typeof(blotter_internal.web_overview()::json) AS answer, blotter_internal.books_lag() IS NOT NULL AS books;
RESET ROLE;
SELECT test.ok('there_are_tables_to_try', (SELECT count(*) > 30 FROM relations));
SELECT test.same('the_web_reads_none_of_them', (SELECT string_agg(w.name, ' ') FROM web_reads w), NULL);
SELECT test.same('the_web_gets_answers', (SELECT concat_ws(' ', w.answer, w.books) FROM web_asks w), 'object t');
SELECT test.same('the_web_may_use_this_schema', (SELECT string_agg(n.nspname, ' ') FROM pg_namespace n WHERE n.nspname ~ '^blotter' AND has_schema_privilege('blotter_web', n.oid, 'USAGE, CREATE')),
                 'blotter_internal');
SELECT test.same('the_web_may_ask_this',
                 (SELECT string_agg(regexp_replace(p.proname, '^web_', ''), ' ' ORDER BY p.proname) FROM pg_proc p
                  WHERE p.pronamespace = 'blotter_internal'::regnamespace AND p.prosecdef AND has_function_privilege('blotter_web', p.oid, 'EXECUTE')),
                 'books_lag load_status schema_version audit candles curve equity fills latency live order orders overview pipeline pnl positions reconciliation reject rejects symbols');
SELECT test.same('what_acts_as_the_owner_has_a_search_path',
                 (SELECT string_agg(p.proname, ' ') FROM pg_proc p
                  WHERE p.pronamespace IN ('blotter'::regnamespace, 'blotter_internal'::regnamespace) AND p.prosecdef
                    AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false)), NULL);
SELECT test.same('the_web_is_slow_at_nobody_s_cost', (SELECT array_to_string(r.rolconfig, ' ') FROM pg_roles r WHERE r.rolname = 'blotter_web'),
                 'statement_timeout=5s default_transaction_read_only=on');
SELECT test.same('the_list_of_rights_is_what_is_granted', concat(blotter_internal.missing_rights('blotter_drainer', 'blotter_drainer'),
                     blotter_internal.missing_rights('blotter_reader', 'blotter_reader'), blotter_internal.missing_rights('blotter_web', 'blotter_web')), '');
SELECT test.ok('what_is_missing_is_named', blotter_internal.missing_rights('blotter_reader', 'blotter_drainer') LIKE '%UPDATE (expired) on blotter_internal.gone_seqs%');
SELECT test.same('what_acts_as_the_owner_is_not_for_everybody',
                 (SELECT string_agg(p.proname, ' ') FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
                  WHERE p.pronamespace IN ('blotter'::regnamespace, 'blotter_internal'::regnamespace) AND a.grantee = 0 AND (p.prosecdef OR p.proname = 'make_days')), NULL);
SELECT test.same('a_drainer_may_call_this', (SELECT string_agg(p.proname, ' ' ORDER BY p.proname) FROM pg_proc p, aclexplode(p.proacl) AS a
                                             WHERE a.grantee = 'blotter_drainer'::regrole AND p.provolatile = 'v'), 'fence make_day make_days summarise_day');

SELECT test.clear();
DELETE FROM blotter.rejects;
DELETE FROM blotter_internal.progress;
DELETE FROM blotter_internal.gone_seqs;
