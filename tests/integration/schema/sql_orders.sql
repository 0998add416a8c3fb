-- orders: the state of an order does not depend on the order of arrival.
SELECT blotter_internal.make_day('2026-07-31'), blotter_internal.begin_session();

INSERT INTO test.events (at, seq, order_id, status, price, quantity, filled_quantity) VALUES
    (1, 1, 'X', 'open', 10, 5, 0), (2, 2, 'X', 'partially_filled', 11, NULL, 2), (3, 3, 'X', 'Filled', NULL, NULL, 5), (4, 4, 'X', 'open', NULL, NULL, 1);
CALL test.in_any_order('a_late_open_does_not_undo_filled_null_erases_nothing_and_filled_quantity_does_not_fall', 'X[]: Filled over c= p=11 q=5 f=5 1.4.4.7');

INSERT INTO test.events (at, seq, order_id, status) VALUES (1, 1, 'X', 'open'), (2, 2, 'X', 'filled'), (3, 3, 'X', 'canceled');
CALL test.in_any_order('the_first_of_two_terminal_statuses_stays', 'X[]: filled over c= p= q= f= 1.3.3.7');

INSERT INTO test.events (at, seq, order_id, client_order_id, status) VALUES (1, 1, 'X', 'c', 'open'), (2, 2, NULL, 'c', 'filled'), (3, 3, NULL, 'c', 'pending_new');
CALL test.in_any_order('a_client_id_that_is_used_again_is_no_news_of_the_order_that_is_over', E'X[]: filled over c=c p= q= f= 1.2.2.7\n?c[]: pending_new alive c=c p= q= f= 3.3.3.7');

INSERT INTO test.events (at, seq, order_id, status, price) VALUES (1, 1, 'X', 'open', 10), (2, 2, 'X', NULL, 11), (3, 3, 'Y', NULL, 10), (4, 4, 'Y', NULL, 11);
CALL test.in_any_order('an_event_that_gives_no_status_leaves_it', E'X[]: open alive c= p=11 q= f= 1.2.2.7\nY[]: - alive c= p=11 q= f= 3.4.4.7');

INSERT INTO test.events (at, seq, order_id, client_order_id, status, price) VALUES
    (1, 1, NULL, 'c', 'pending_new', 10), (2, 2, 'X', 'c', 'open', NULL), (3, 3, 'X', NULL, NULL, 11), (4, 4, NULL, 'c', 'canceled', NULL);
CALL test.in_any_order('an_order_seen_first_by_client_id_and_later_by_venue_id_is_one_row', 'X[]: canceled over c=c p=11 q= f= 1.4.4.7');

INSERT INTO test.events (at, seq, order_id, client_order_id, status, price) VALUES
    (1, 1, NULL, 'c', 'pending_new', 10), (2, 2, 'X', 'c', 'filled', 1), (3, 3, NULL, 'c', 'pending_new', 20), (4, 4, 'Y', 'c', 'open', NULL), (5, 5, NULL, 'c', 'canceled', NULL);
CALL test.in_any_order('a_client_id_that_is_used_again_after_its_order_is_over_names_the_next_order', E'X[]: filled over c=c p=1 q= f= 1.2.2.7\nY[]: canceled over c=c p=20 q= f= 3.5.5.7');

INSERT INTO test.events (at, seq, order_id, client_order_id, status, price) VALUES
    (1, 1, 'X', 'c', 'open', 1), (2, 2, 'Y', 'c', 'open', 2), (3, 3, NULL, 'c', 'canceled', NULL), (4, 4, 'X', NULL, 'filled', NULL), (5, 5, NULL, 'c', 'rejected', 9);
CALL test.in_any_order('a_client_id_that_two_living_orders_carry_is_ambiguous', E'X[]: filled over c=c p=1 q= f= 1.4.4.7\nY[]: rejected over c=c p=9 q= f= 2.5.5.7\n?c[]: canceled over c=c p= q= f= 3.3.3.7');

INSERT INTO test.events (at, seq, order_id, client_order_id, status) VALUES
    (1, 1, 'X', 'c1', 'open'), (2, 2, NULL, 'c1', 'pending_replace'), (3, 3, 'X', 'c2', 'open'), (4, 4, NULL, 'c2', 'pending_cancel'), (5, 5, NULL, 'c1', NULL);
CALL test.in_any_order('an_order_is_known_by_each_of_its_client_ids', 'X[]: pending_cancel alive c=c1 p= q= f= 1.5.5.7');

INSERT INTO test.events (at, seq, order_id, client_order_id, status) VALUES
    (1, 1, 'X', '', 'open'), (2, 2, 'Y', '', 'open'), (3, 3, 'Z', '0', 'open'), (4, 4, NULL, '0', 'canceled'), (5, 5, '', '', 'canceled');
CALL test.in_any_order('empty_client_ids_merge_nothing', E'X[]: open alive c= p= q= f= 1.1.1.7\nY[]: open alive c= p= q= f= 2.2.2.7\nZ[]: open alive c=0 p= q= f= 3.3.3.7');

INSERT INTO test.events (at, seq, exchange, symbol, order_id, status, price) VALUES
    (1, 1, 'binance', 'BTC', '28', 'NEW', 1), (2, 2, 'binance', 'ETH', '28', 'NEW', 2), (3, 3, 'binance', 'SOL', '28', 'NEW', 3), (4, 4, 'binance', 'ETH', '28', 'FILLED', NULL);
CALL test.in_any_order('binance_order_28_under_three_symbols_is_three_orders', E'28[BTC]: NEW alive c= p=1 q= f= 1.1.1.7\n28[ETH]: FILLED over c= p=2 q= f= 2.4.4.7\n28[SOL]: NEW alive c= p=3 q= f= 3.3.3.7');

INSERT INTO test.events (at, seq, exchange, symbol, order_id, status, account) VALUES
    (1, 1, 'bitget', 'BTC', '5', 'open', NULL), (2, 2, 'bitget', 'BTCUSDT', '5', 'open', ''), (3, 3, 'bitget', 'BTC', '5', 'filled', 'sub');
CALL test.in_any_order('elsewhere_a_symbol_spelt_in_two_ways_is_one_order_and_another_account_another', E'5[]: open alive c= p= q= f= 1.2.2.7\n5[sub]: filled over c= p= q= f= 3.3.3.7');

INSERT INTO test.events (at, seq, producer_id, order_id, status, price) VALUES
    (1, 9, 1, 'X', 'open', 1), (1, 9, 2, 'X', 'new', 2), (1, 3, 5, 'X', 'pending', 3);
CALL test.in_any_order('events_of_one_moment_are_ordered_by_seq_then_producer', 'X[]: new alive c= p=2 q= f= 1.1.9.2');

-- The commonest race: the websocket's fill, then the older answer of REST, recorded later.
INSERT INTO test.events (at, seq, order_id, status, filled_quantity, remaining_quantity, average_price) VALUES
    (1, 1, 'X', 'open', 0, 10, NULL), (2, 2, 'X', 'filled', 10, 0, 100), (3, 3, 'X', 'open', 0, 10, 0);
CALL test.in_any_order('what_describes_the_fill_follows_the_largest', 'X[]: filled over c= p= q= f=10 r=0 a=100 1.3.3.7');
INSERT INTO test.events (at, seq, order_id, status, filled_quantity, remaining_quantity, average_price) VALUES
    (1, 1, 'X', 'open', 4, 6, 100), (2, 2, 'X', NULL, 4, NULL, 101), (3, 3, 'X', NULL, NULL, 5, NULL), (4, 4, 'X', NULL, 3, 7, 99);
CALL test.in_any_order('what_an_event_does_not_say_stays_and_the_latest_of_equals_counts', 'X[]: open alive c= p= q= f=4 r=5 a=101 1.4.4.7');
INSERT INTO test.events (at, seq, order_id, status, filled_quantity, remaining_quantity) VALUES
    (1, 1, 'X', 'open', 0, 10), (2, 2, 'X', NULL, 10, 0), (3, 3, 'X', NULL, NULL, NULL), (4, 4, 'Y', NULL, NULL, 0.000), (5, 5, 'Z', 'open', NULL, 0);
CALL test.in_any_order('without_a_status_an_order_has_ended_when_nothing_remains',
                       E'X[]: open over c= p= q= f=10 r=0 1.3.3.7\nY[]: - over c= p= q= f= r=0.000 4.4.4.7\nZ[]: open alive c= p= q= f= r=0 5.5.5.7');
INSERT INTO test.events (at, seq, order_id, status, remaining_quantity) VALUES (1, 1, 'X', NULL, 0), (2, 2, 'X', 'open', NULL), (3, 3, 'X', 'filled', NULL), (4, 4, 'X', 'open', NULL);
CALL test.in_any_order('a_terminal_status_that_comes_then_is_taken', 'X[]: filled over c= p= q= f= r=0 1.4.4.7');
INSERT INTO test.events (at, seq, order_id, status) VALUES (1, 1, 'A', '0'), (2, 2, 'A', '1'), (3, 3, 'A', '2'), (4, 4, 'B', 'C'), (5, 5, 'D', '4');
CALL test.in_any_order('fix_codes_are_known', E'A[]: 2 over c= p= q= f= 1.3.3.7\nB[]: C over c= p= q= f= 4.4.4.7\nD[]: 4 over c= p= q= f= 5.5.5.7');

INSERT INTO test.events (at, seq, order_id, client_order_id, status) VALUES (1, 1, '0', 'c', 'pending_new'), (2, 2, 'X', 'c', 'open'), (3, 3, '0', 'd', 'open'), (4, 4, '0', NULL, 'open');
CALL test.in_any_order('an_order_id_of_0_is_none', E'X[]: open alive c=c p= q= f= 1.2.2.7\n?d[]: open alive c=d p= q= f= 3.3.3.7');
INSERT INTO test.events (at, seq, order_id, client_order_id, status) VALUES (1, 1, '0', 'c', 'filled'), (2, 2, 'X', 'd', 'filled'), (3, 3, '', 'e', 'filled');
SELECT test.drain(ARRAY(SELECT e FROM test.events e));
SELECT test.same('the_page_shows_orders_that_have_ended_without_an_id',
                 (SELECT string_agg(o ->> 'order', ' ' ORDER BY o ->> 'order') FROM json_array_elements(blotter_internal.web_orders(NULL, NULL, NULL, NULL, NULL, 'ended', NULL, NULL)::json -> 'orders') AS o),
                 'X c e');
SELECT test.clear();

-- An order that is replaced is not open, whatever comes first; a refused amend replaces nothing, nor one that has no venue's id yet.
CREATE FUNCTION test.open_orders(batch test.events[]) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM test.drain(ARRAY[e]) FROM unnest(batch) AS e;
    RETURN (SELECT string_agg(o.order_key, ' ' ORDER BY o.order_key) FROM blotter.open_orders o);
END $$;
INSERT INTO test.events (at, seq, order_id, client_order_id, orig_client_order_id, status) VALUES
    (1, 1, 'O1', 'c1', NULL, 'open'), (2, 2, 'O2', 'c2', 'c1', 'open'), (3, 3, 'O3', 'c3', 'c2', 'open'),
    (4, 4, 'P1', 'p1', NULL, 'open'), (5, 5, 'P2', 'p2', 'p1', 'rejected'), (6, 6, 'Q1', 'q1', NULL, 'open'), (7, 7, NULL, 'q2', 'q1', 'pending_new'),
    (8, 8, 'R1', 'r1', '', 'open'), (9, 9, 'S1', 's', NULL, 'open'), (10, 10, 'S2', 's', 's', 'open');
SELECT test.same('an_amend_replaces_the_order_whose_client_id_it_names', test.open_orders(array_agg(e ORDER BY at)), 'O3 P1 Q1 R1 S2 q2') FROM test.events e;
CREATE TEMPORARY TABLE amended AS TABLE test.events;
SELECT test.clear();
INSERT INTO test.events (at, seq, order_id, client_order_id, orig_client_order_id, status) SELECT at, seq, order_id, client_order_id, orig_client_order_id, status FROM amended;
SELECT test.same('also_where_the_amend_comes_first', test.open_orders(array_agg(e ORDER BY at DESC)), 'O3 P1 Q1 R1 S2 q2') FROM test.events e;
SELECT blotter_internal.rebuild_orders();
SELECT test.same('and_when_all_is_rebuilt', (SELECT string_agg(o.order_key, ' ' ORDER BY o.order_key) FROM blotter.open_orders o), 'O3 P1 Q1 R1 S2 q2');
SELECT test.clear();

-- An amend that is answered with a new order id and names no other: the order of its client id is replaced, also when its day was dropped.
INSERT INTO test.events (at, seq, order_id, client_order_id, status, event) VALUES
    (1, 1, 'A1', 'a', 'open', 'new'), (2, 2, NULL, 'a', NULL, 'amend'), (3, 3, 'A2', 'a', 'open', 'AMENDED'), (4, 4, 'A2', 'a', 'open', 'fill'),
    (5, 5, 'B1', 'b', 'open', NULL), (6, 6, 'B2', 'b', 'open', NULL), (7, 7, 'B2', 'b', 'open', 'amended'), -- one id for two orders, of which one was amended
    (8, 8, 'C1', 'c', 'open', NULL), (9, 9, 'C2', 'c', 'rejected', 'replaced'), (10, 10, 'D1', 'd', 'open', NULL), (11, 11, 'D2', 'd', 'filled', '5');
SELECT test.same('an_amend_with_a_new_order_id_replaces_the_order_of_its_client_id', test.open_orders(array_agg(e ORDER BY at) FILTER (WHERE at < 11)), 'A2 B1 B2 C1 D1') FROM test.events e;
SELECT test.same('also_once_it_is_over', test.open_orders(array_agg(e)), 'A2 B1 B2 C1') FROM test.events e WHERE at = 11;
BEGIN;
SELECT blotter_internal.aggregate_days('2026-08-01');
SELECT test.drop_days('{2026-07-31}');
SELECT test.same('and_when_the_day_is_gone', (SELECT string_agg(o.order_key, ' ' ORDER BY o.order_key) FROM blotter.open_orders o), 'A2 B1 B2 C1');
SELECT blotter_internal.rebuild_orders();
SELECT string_agg(o.order_key, ' ' ORDER BY o.order_key) AS rebuilt FROM blotter.open_orders o \gset
ROLLBACK;
SELECT test.same('and_rebuilt', :'rebuilt', 'A2 B1 B2 C1');
SELECT test.clear();

-- However many events a client id has, each of which belongs to the order that comes at the end, and however often its order has ended by another one.
SET work_mem = '64kB';
CREATE FUNCTION test.written(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, TIMING off, FORMAT JSON) ' || sql INTO plan;
    RETURN plan -> 0 -> 'Plan' ->> 'Temp Written Blocks';
END $$;
SELECT test.same('a_client_id_is_walked_without_a_copy_for_each_event', test.written($$
    SELECT blotter_internal.orders_of_client_id(keys, array_fill(true, ARRAY[5001]), array_fill(false, ARRAY[5001]))
    FROM (SELECT array_fill(NULL::text, ARRAY[5000]) || 'X'::text AS keys OFFSET 0) AS k$$), '0');
RESET work_mem;
SELECT test.ok('nor_is_each_event_of_it_joined_with_each_end_of_its_order', met < 100000, met::text)
FROM test.rows_met(blotter_internal.assigned_query($$
    SELECT CASE n % 2 WHEN 0 THEN 'a' ELSE 'b' END AS client_order_id, 'okx' AS exchange, '' AS key_account, '' AS scope,
           CASE WHEN n = 2 THEN 'Y' WHEN n > 4 THEN 'X' END AS order_key, n <= 4 AND n <> 2 AS client_only, n % 2 = 1 AND n > 4 AS terminal,
           now() AS recorded_at, n AS seq, 1 AS producer_id
    FROM generate_series(1, 2000) AS n$$, 'SELECT NULL::text, NULL::text, NULL::text, NULL::text WHERE false')) AS met;

-- Chance finds what nobody thought of: few ids, so that they meet.
CREATE PROCEDURE test.by_chance(name text, histories int)
    LANGUAGE plpgsql
    AS $$
DECLARE
    everything test.events[];
    at int;
    size int;
    first text;
    known text[];
    history int;
    last int;
BEGIN
    PERFORM setseed(0.20260731);
    FOR history IN 1..histories LOOP
        PERFORM test.clear();
        INSERT INTO test.events (at, seq, order_id, client_order_id, status, price, filled_quantity, remaining_quantity, average_price)
        SELECT n, n, o, CASE WHEN o IS NULL THEN coalesce(c, 'c') ELSE c END, s, CASE WHEN random() < 0.5 THEN n END, (ARRAY[NULL, NULL, 0, 1, n])[1 + floor(random() * 5)],
               (ARRAY[NULL, NULL, n, 10 - n, CASE WHEN random() < 0.3 THEN 0 END])[1 + floor(random() * 5)], CASE WHEN random() < 0.5 THEN n END
        FROM (SELECT n, (ARRAY['X', 'X', 'Y', NULL, NULL, NULL])[1 + floor(random() * 6)] AS o,
                     (ARRAY['c', 'c', 'c', 'd', NULL, '0'])[1 + floor(random() * 6)] AS c,
                     (ARRAY['open', 'new', 'open', NULL, 'filled', 'canceled'])[1 + floor(random() * 6)] AS s
              FROM generate_series(1, 8) AS n) AS e;
        SELECT array_agg(e ORDER BY e.at) INTO everything FROM test.events e;
        first := NULL;
        FOR attempt IN 1..4 LOOP
            PERFORM test.clear();
            IF attempt > 1 THEN
                SELECT array_agg(e ORDER BY random()) INTO everything FROM unnest(everything) AS e;
            END IF;
            at := 1;
            WHILE at <= 8 LOOP
                size := 1 + floor(random() * 3);
                PERFORM test.drain(everything[at:at + size - 1]);
                at := at + size;
            END LOOP;
            first := coalesce(first, test.state());
            IF test.state() IS DISTINCT FROM first THEN
                PERFORM test.ok(name, false, format(E'history %s arriving as %s:\n%s\nbut in order:\n%s', history, (SELECT string_agg(e.at::text, ' ') FROM unnest(everything) e), test.state(), first)
                    || E'\n' || (SELECT string_agg(concat_ws(' ', e.at, coalesce(e.order_id, '-'), coalesce(e.client_order_id, '-'), coalesce(e.status, '-')), E'\n' ORDER BY e.at) FROM unnest(everything) e));
                RETURN;
            END IF;
            COMMIT;
        END LOOP;
        PERFORM blotter_internal.rebuild_orders();
        IF test.state() IS DISTINCT FROM first THEN
            PERFORM test.ok(name, false, format(E'history %s rebuilt:\n%s\nbut merged:\n%s', history, test.state(), first));
            RETURN;
        END IF;
        -- As it was at a time: as if nothing had come since.
        SELECT array_agg(test.state_of(ARRAY(SELECT o FROM blotter.orders_at(e.recorded_at) AS o)) ORDER BY e.at), array_agg(e ORDER BY e.at)
        INTO known, everything FROM unnest(everything) AS e;
        FOR last IN SELECT 1 + floor(random() * 8)::int FROM generate_series(1, 2) LOOP
            PERFORM test.clear();
            PERFORM test.drain(everything[1:last - 1]);
            IF test.state() IS DISTINCT FROM known[last] THEN
                PERFORM test.ok(name, false, format(E'history %s, orders_at(%s):\n%s\nbut then it was:\n%s', history, last, known[last], test.state())
                    || E'\n' || (SELECT string_agg(concat_ws(' ', e.at, coalesce(e.order_id, '-'), coalesce(e.client_order_id, '-'), coalesce(e.status, '-')), E'\n' ORDER BY e.at) FROM unnest(everything) e));
                RETURN;
            END IF;
        END LOOP;
        COMMIT;
    END LOOP;
    PERFORM test.ok(name, true);
    PERFORM test.clear();
END
$$;
CALL test.by_chance('histories_by_chance_end_in_the_same_state_however_they_arrive', coalesce(current_setting('test.histories', true), '15')::int);

-- A client id that says nothing: `web`.
SELECT test.drain(ARRAY[e]) FROM (SELECT n, row(n, n, 7, 'okx', NULL, NULL, CASE WHEN n % 10 <> 5 THEN 'W' || n END, 'web', 'open', n, NULL, NULL, NULL, to_timestamp(1785456000 + n), NULL, NULL, NULL, NULL)::test.events AS e
                                  FROM generate_series(1, 40) AS n ORDER BY n * 17 % 41) AS s;
CREATE TEMPORARY TABLE merged AS SELECT test.state() AS state;
SELECT test.ok('a_client_id_that_many_orders_carry_names_none',
               (SELECT count(*) FILTER (WHERE provisional) = 1 AND count(*) = 37 AND max(price) FILTER (WHERE provisional) = 35 FROM blotter.orders), test.state());
SELECT blotter_internal.rebuild_orders();
SELECT test.same('however_they_arrive', (SELECT state FROM merged), test.state());
SELECT test.clear();

-- A session plans once what every transaction runs. An order that is known by its client id alone makes all of them look twice.
CREATE EXTENSION pg_stat_statements SCHEMA test;
\connect
SELECT blotter_internal.begin_session();
SET pg_stat_statements.track = 'all';
SET pg_stat_statements.track_planning = on;
SELECT test.drain(ARRAY[e]) FROM (SELECT row(n, n, 7, 'okx', NULL, NULL, CASE WHEN n > 1 THEN 'P' || n END, 'c' || n, 'open', n, NULL, NULL, NULL, to_timestamp(1785456000 + n), NULL, NULL, NULL, NULL)::test.events AS e
                                  FROM generate_series(1, 40) AS n ORDER BY n) AS s;
SELECT count(blotter_internal.raise_loaded(ARRAY['blotter:okx'], ARRAY[n::text])) FROM generate_series(1, 40) AS n;
SELECT count(blotter_internal.add_progress('d', ARRAY[7], ARRAY['okx'], ARRAY[''], ARRAY[1], NULL, NULL, ARRAY[n], NULL)) FROM generate_series(1, 40) AS n;
SELECT test.ok('what_every_transaction_runs_is_planned_once', count(*) = 4 AND max(plans) <= 10, string_agg(format('%s calls %s plans %s', left(query, 40), calls, plans), '; '))
FROM test.pg_stat_statements WHERE query ~ '^INSERT INTO (pg_temp.merge_rest|blotter_internal.loaded|blotter_internal.progress|blotter.orders) ' AND calls >= 40;
DELETE FROM blotter_internal.progress;
SET pg_stat_statements.track = 'none';
SELECT test.clear();

-- A field that a later migration adds.
ALTER TABLE blotter.order_events ADD COLUMN test_note text;
ALTER TABLE blotter_internal.kept_order_events ADD COLUMN test_note text;
ALTER TABLE blotter.orders ADD COLUMN test_note text;
SELECT blotter_internal.write_merge();
DISCARD TEMPORARY;
SELECT blotter_internal.begin_session();
CREATE FUNCTION pg_temp.note(at int, order_id text, note text, late boolean) RETURNS text LANGUAGE sql AS $$
    INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange, order_id, test_note) VALUES (7, at, to_timestamp(1785456000 + at), 'okx', order_id, note);
    INSERT INTO staged_orders (exchange, order_id, test_note, first_recorded_at, first_seq, first_producer_id, recorded_at, seq, producer_id, late)
    SELECT 'okx', order_id, note, r.at, note.at, 7, r.at, note.at, 7, late FROM to_timestamp(1785456000 + note.at) AS r (at);
    SELECT blotter_internal.merge_orders();
    SELECT o.test_note FROM blotter.orders o WHERE o.order_id = note.order_id;
$$;
SELECT test.same('an_added_field_is_kept', concat_ws(' ', pg_temp.note(1, 'N', 'first', false), pg_temp.note(3, 'N', 'third', false), pg_temp.note(4, 'N', NULL, false),
                                                     pg_temp.note(2, 'N', 'second', false), pg_temp.note(5, 'N', 'fifth', true)), 'first third third third fifth');
SELECT test.clear();
ALTER TABLE blotter.order_events DROP COLUMN test_note;
ALTER TABLE blotter_internal.kept_order_events DROP COLUMN test_note;
ALTER TABLE blotter.orders DROP COLUMN test_note;
SELECT blotter_internal.write_merge();
DISCARD TEMPORARY;
