-- fills, positions, candles, audit, and all of them after a day was dropped.
SELECT test.clear();
SELECT blotter_internal.make_day('2026-07-31'), blotter_internal.make_day('2026-08-01'), blotter_internal.make_day('2026-08-02');

-- Each time with the days summarised as they were the time before.
CREATE FUNCTION test.seqs(producer bigint) RETURNS text
    LANGUAGE sql
    AS $$
    SELECT test.same('what_is_kept_of_days_is_what_every_row_says', (SELECT string_agg(a::text, ' ' ORDER BY a) FROM blotter.audit a),
                     (SELECT string_agg(a::text, ' ' ORDER BY a) FROM blotter_internal.audit_of(every_row => true) a));
    SELECT blotter_internal.summarise_day(d) FROM blotter_internal.days_to_summarise() AS d;
    SELECT concat_ws(' ', state, up_to_seq, last_seq, missing_seqs, nullif(in_flight, 0)) FROM blotter.audit WHERE producer_id = producer
$$;
CREATE FUNCTION test.positions() RETURNS text
    LANGUAGE sql
    AS $$SELECT test.book(); SELECT string_agg(concat_ws(' ', exchange, account, symbol, position_side, quantity, average_price, realized_pnl, fees, fills), E'\n'
                           ORDER BY exchange, account, symbol, position_side) FROM blotter.positions$$;

-- One fill as order event (its day goes first), as own trade, twice; and others.
INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange, account, symbol, order_id, trade_id, side, last_price, last_quantity, fee, fee_currency) VALUES
    (1, 1, '2026-07-31 23:59:59Z', 'okx', 'a', 'BTC', 'X', 't1', 'BUY', 100, 2, 0.1, 'BTC'),
    (1, 2, '2026-07-31 23:59:59Z', 'okx', 'a', 'BTC', 'X', 't2', 'b', 110, 1, 0.1, 'BTC'),
    (2, 2, '2026-08-01 00:00:02Z', 'okx', 'a', 'BTC', 'X', 't2', 'b', 110, 1, 0.1, 'BTC'),
    (1, 3, '2026-07-31 10:00:00Z', 'okx', 'a', 'BTC', 'Y', '-1', 'sell', 120, 1, NULL, NULL),
    (1, 4, '2026-07-31 10:00:00Z', 'okx', 'a', 'BTC', 'Y', NULL, 'SELL', 120, 1, -0.5, 'USDT'),
    (1, 5, '2026-08-01 10:00:00Z', 'okx', 'a', 'BTC', 'Z', NULL, NULL, NULL, 0, NULL, NULL),
    (1, 6, '2026-08-01 10:00:00Z', 'okx', 'b', 'BTC', 'Z', 't1', 'ask', 100, 7, NULL, NULL);
INSERT INTO blotter.trades (producer_id, seq, recorded_at, exchange_time, exchange, account, symbol, order_id, trade_id, side, price, quantity, fee, fee_currency) VALUES
    (1, 7, '2026-08-01 00:00:01Z', '2026-07-31 23:59:58Z', 'okx', 'a', 'BTC', 'X', 't1', 'buy', 100, 2, 0.2, 'BTC'),
    (1, 8, '2026-08-01 00:00:03Z', '2026-07-31 23:59:58Z', 'okx', 'a', 'BTC', 'X', 't1', 'buy', 100, 2, 0.2, 'BTC'),
    (1, 9, '2026-08-01 00:00:01Z', '2026-07-31 23:59:59Z', 'okx', NULL, 'BTC', NULL, 't3', 'buy', 99, 50, NULL, NULL),
    (1, 10, '2026-08-01 00:00:01Z', '2026-08-01 00:00:00Z', 'okx', 'a', 'BTC', 'X', '', 'buy', 98, 50, NULL, NULL),
    (1, 11, '2026-08-01 00:00:01Z', NULL, 'okx', NULL, 'BTC', NULL, NULL, 'buy', 97, 3, NULL, NULL),
    (1, 12, '2026-08-01 00:00:01Z', NULL, 'okx', NULL, 'BTC', NULL, NULL, 'buy', 97, 3, NULL, NULL);
SELECT test.book();
SELECT test.same('a_fill_counts_once_and_the_trade_is_preferred',
                 (SELECT string_agg(concat_ws(' ', account, trade_id, order_id, side, quantity, fee), E'\n' ORDER BY account, trade_id COLLATE "C") FROM blotter.fills),
                 E'a #1:3 Y sell 1\na #1:4 Y sell 1 -0.5\na t1 X buy 2 0.2\na t2 X buy 1 0.1\nb t1 Z sell 7');
SELECT test.same('positions_are_fills_summed', test.positions(), E'okx a BTC  1 110 40 {"BTC": 0.3, "USDT": -0.5} 4\nokx b BTC  -7 100 0 {} 1');

SELECT test.same('candles_count_a_trade_id_once_and_others_each',
                 (SELECT string_agg(concat_ws(' ', to_char(start AT TIME ZONE 'UTC', 'DD HH24:MI:SS'), open, high, low, close, volume, count), E'\n' ORDER BY start)
                  FROM blotter.candles('BTC', '1 minute', '2026-07-31 00:00Z', '2026-08-02 00:00Z')),
                 E'31 23:59:00 100 100 99 99 52 2\n01 00:00:00 98 98 97 97 56 3');
SELECT test.same('candles_of_an_exchange_end_before_to',
                 (SELECT string_agg(concat_ws(' ', open, count), ',') FROM blotter.candles('BTC', '1 day', '2026-07-31 00:00Z', '2026-08-01 00:00Z', 'okx')), '100 2');
SELECT test.same('candles_of_another_exchange_are_none',
                 (SELECT count(*)::text FROM blotter.candles('BTC', '1 day', '2026-07-31 00:00Z', '2026-08-02 00:00Z', 'kraken')), '0');
SELECT test.same('latency_is_by_exchange_and_hour',
                 (SELECT string_agg(concat_ws(' ', kind, exchange, to_char(hour AT TIME ZONE 'UTC', 'DD HH24'), records), ', ' ORDER BY kind, hour) FROM blotter.latency('2026-07-31Z', '2026-08-02Z')),
                 'order okx 31 10 2, order okx 31 23 2, order okx 01 00 1, order okx 01 10 2, trade okx 01 00 6');

-- An intent (100, to buy) is acknowledged after 20 ms and trades 30 ms later at 100.5; another (to sell at 50) after 40 ms, at 49; a third is not answered.
INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange, client_order_id, order_id, side, price, last_price, last_quantity, trade_id)
SELECT 20, n, '2026-08-01 15:00Z'::timestamptz + ms * interval '1 ms', 'lat', c, o, side, price, last_price, last_quantity, trade_id
FROM (VALUES (1, 0, 'i1', NULL, 'buy', 100, NULL, NULL, NULL), (2, 20, 'i1', 'L1', 'buy', 100, NULL, NULL, NULL), (3, 50, 'i1', 'L1', 'buy', 100, 100.5, 1, 'l1'),
             (4, 100, 'i2', '', 'sell', 50, NULL, NULL, NULL), (5, 140, NULL, 'L2', NULL, NULL, NULL, NULL, NULL), (6, 200, 'i2', 'L2', NULL, NULL, 49, 2, 'l2'),
             (7, 300, 'i3', NULL, 'buy', 1, NULL, NULL, NULL)) AS v (n, ms, c, o, side, price, last_price, last_quantity, trade_id);
SELECT blotter_internal.rebuild_orders(), test.book();
SELECT test.same('latency_of_intents_is_from_order_to_acknowledgement_to_fill_and_slippage_is_against_their_price',
                 (SELECT concat_ws(' ', hour AT TIME ZONE 'UTC', records, intents, order_to_ack_ms, ack_to_fill_ms, slippage_bps)
                  FROM blotter.latency('2026-08-01 15:00Z', '2026-08-01 16:00Z') WHERE exchange = 'lat'),
                 '2026-08-01 15:00:00 7 2 {30,39.8,40} {45,59.7,60} {125,198.5,200}');
SELECT test.same('latency_ends_before_to', (SELECT count(*)::text FROM blotter.latency('2026-08-01 14:00Z', '2026-08-01 15:00Z') WHERE exchange = 'lat'), '0');
DELETE FROM blotter.order_events WHERE exchange = 'lat';
DELETE FROM blotter.orders WHERE exchange = 'lat';
DELETE FROM blotter_internal.fill WHERE exchange = 'lat';
DELETE FROM blotter_internal.position WHERE exchange = 'lat';

-- Before a day is analyzed for the first time, too, an intent's answer is looked up by its order, and not in all that the day has recorded since.
BEGIN;
SELECT blotter_internal.make_day('2026-08-03');
INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange, client_order_id, order_id)
SELECT 20, n, '2026-08-03 15:00Z'::timestamptz + n * interval '1 ms', 'lat', 'i' || n / 2, CASE WHEN n % 2 = 1 THEN 'L' || n / 2 END FROM generate_series(2, 2001) AS n;
SELECT blotter_internal.rebuild_orders();
CREATE TEMPORARY VIEW looked_at AS
SELECT sum(pg_stat_get_xact_tuples_returned(i.indexrelid)) AS entries FROM pg_index i
WHERE i.indrelid IN ('blotter_internal.order_events_20260803'::regclass, 'blotter_internal.fill'::regclass);
CREATE TEMPORARY TABLE looked_before AS SELECT * FROM looked_at;
SELECT count(*) AS answered FROM blotter_internal.answered_intents('2026-08-03Z', '2026-08-04Z') \gset
SELECT now.entries - before.entries AS entries FROM looked_at AS now, looked_before AS before \gset
ROLLBACK;
SELECT test.same('all_intents_of_a_day_without_statistics_are_answered', :'answered', '1000');
SELECT test.ok('each_by_its_own_events', :entries < 20000, :'entries');

-- Many orders may have one client id.
BEGIN;
SELECT blotter_internal.make_day('2026-08-03');
INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange, client_order_id)
SELECT 20, n, '2026-08-03 15:00Z'::timestamptz + n % 1000 * interval '1 ms', 'lat', 'x' FROM generate_series(1, 2000) AS n;
INSERT INTO blotter.orders (exchange, order_key, order_id, client_order_id, status, first_recorded_at, recorded_at, seq, producer_id)
SELECT 'lat', 'L' || n, 'L' || n, 'x', 'open', at, at, n, 20 FROM generate_series(0, 999) AS n, LATERAL (SELECT '2026-08-03 15:00Z'::timestamptz + n * interval '1 ms' AS at) AS t;
CREATE TEMPORARY VIEW looked_at AS
SELECT sum(pg_stat_get_xact_tuples_returned(i.indexrelid)) AS entries FROM pg_index i WHERE i.indrelid = 'blotter.orders'::regclass;
CREATE TEMPORARY TABLE looked_before AS SELECT * FROM looked_at;
SELECT count(*) AS answered FROM blotter_internal.answered_intents('2026-08-03Z', '2026-08-04Z') \gset
SELECT now.entries - before.entries AS entries FROM looked_at AS now, looked_before AS before \gset
ROLLBACK;
SELECT test.same('intents_of_one_client_id_have_an_order_each', :'answered', '1000');
SELECT test.ok('and_each_looks_at_its_own', :entries < 20000, :'entries');

-- Orders of one name are not compared each with each, however many they are.
CREATE FUNCTION test.add_orders(name text, client_id text, orig text, at timestamptz, count int) RETURNS void LANGUAGE sql AS $$
    INSERT INTO blotter.orders (exchange, order_key, order_id, client_order_id, orig_client_order_id, symbol, status, first_recorded_at, recorded_at, seq, producer_id)
    SELECT 'named', name || n, name || n, client_id, orig, 'A/B', 'open', at + n * interval '1 ms', at + n * interval '1 ms', n, 21 FROM generate_series(1, count) AS n;
    ANALYZE blotter.orders
$$;
BEGIN;
SELECT test.add_orders('m', 'y', 'x', '2026-08-03 15:00Z', 3000), test.add_orders('o', 'x', 'z', '2026-08-03 16:00Z', 3000);
SELECT count(*) AS open, test.rows_met('SELECT * FROM blotter.open_orders') AS met FROM blotter.open_orders WHERE exchange = 'named' \gset
ROLLBACK;
SELECT test.same('orders_that_earlier_ones_name_are_open', :'open', '6000');
SELECT test.ok('however_many_name_one_id', :met < 1500000, :'met');
BEGIN;
SET LOCAL track_functions = 'pl';
SELECT test.add_orders('o', 'x', NULL, '2026-08-03 16:00Z', 300);
SELECT count(*) AS open FROM blotter.open_orders WHERE exchange = 'named' \gset
SELECT calls FROM pg_stat_xact_user_functions WHERE funcname = 'begins_with_amend' \gset
ROLLBACK;
SELECT test.same('orders_of_one_client_id_are_open', :'open', '300');
SELECT test.ok('however_many_have_it', :calls <= 300 * 5, :'calls');
BEGIN;
SELECT test.add_orders('o', 'x', NULL, '2026-08-03 15:00Z', 1), test.add_orders('m', 'y', 'x', '2026-08-03 16:00Z', 40);
UPDATE blotter.orders SET status = 'rejected' WHERE exchange = 'named' AND order_key IN ('m39', 'm40');
SELECT count(*) AS open FROM blotter.open_orders WHERE exchange = 'named' AND client_order_id = 'x' \gset
ROLLBACK;
SELECT test.same('an_order_is_replaced_by_the_newest_that_names_it_and_is_not_refused', :'open', '0');

-- Thousands of accounts, and an account of thousands of wallets, are not compared with every cash flow of the rest.
BEGIN;
SELECT blotter_internal.make_day((now() AT TIME ZONE 'UTC')::date);
INSERT INTO blotter.balances (producer_id, seq, recorded_at, exchange, account, market_type, currency, total, snapshot)
SELECT 22, 2 * n + s, now(), 'wallets', CASE WHEN n <= 400 THEN 'a' || n ELSE 'a' END, 'm' || n, 'X', s, now() - (3 - s) * interval '1 minute'
FROM generate_series(1, 700) AS n, generate_series(1, 2) AS s;
INSERT INTO blotter.cash (producer_id, seq, recorded_at, exchange, exchange_time, account, type, entry_id, currency, amount)
SELECT 23, n, now(), 'wallets', now() - interval '90 seconds', CASE WHEN n <= 400 THEN 'a' || n ELSE 'a' END, 'funding', n, 'X', 1 FROM generate_series(1, 700) AS n;
ANALYZE blotter.balances, blotter.cash;
SELECT count(*) FILTER (WHERE agrees) AS agreeing, count(*) FILTER (WHERE account = 'a') AS wallets FROM blotter.reconciliation WHERE exchange = 'wallets' AND kind = 'balance' \gset
SELECT test.rows_met('SELECT * FROM blotter_internal.balances_compared') AS met \gset
ROLLBACK;
SELECT test.same('balances_of_thousands_of_accounts_are_compared', :'agreeing', '400');
SELECT test.same('and_so_are_the_newest_of_thousands_of_wallets', :'wallets', '20');
SELECT test.ok('none_with_the_cash_flows_of_another', :met < 200000, :'met');

-- Nor is an order of one account compared with the events of all that have its id.
BEGIN;
SELECT blotter_internal.make_day((now() AT TIME ZONE 'UTC')::date);
INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange, account, order_id, status, filled_quantity, origin)
SELECT 24, n, now(), 'ids', 'a' || n % 1000, 'o', 'open', CASE WHEN n < 1000 AND n % 2 = 1 THEN 1 END, CASE WHEN n < 1000 THEN 'venue' END FROM generate_series(0, 1999) AS n;
INSERT INTO blotter.orders (exchange, account, order_key, order_id, status, origin, first_recorded_at, recorded_at, seq, producer_id)
SELECT 'ids', 'a' || n, 'o', 'o', 'open', 'venue', now(), now(), n, 24 FROM generate_series(0, 999) AS n;
ANALYZE blotter.order_events, blotter.orders;
SELECT count(*) FILTER (WHERE agrees) AS agreeing, count(*) FILTER (WHERE NOT agrees) AS differing FROM blotter.reconciliation WHERE exchange = 'ids' AND kind = 'open orders' \gset
SELECT test.rows_met('SELECT * FROM blotter_internal.orders_compared') AS met \gset
ROLLBACK;
SELECT test.same('orders_of_thousands_of_accounts_with_one_id_are_compared', :'agreeing' || ' ' || :'differing', '500 500');
SELECT test.ok('each_with_its_own_events', :met < 100000, :'met');

-- Nor is it made again, as of a time, from the events of all.
BEGIN;
SELECT blotter_internal.make_day('2026-08-03');
INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange, account, order_id, status)
SELECT 25, n, '2026-08-03 15:00Z'::timestamptz + n * interval '1 ms', 'ids', 'a' || n % 1000, 'o', CASE WHEN n < 1000 THEN 'open' ELSE 'filled' END FROM generate_series(0, 1999) AS n;
SELECT blotter_internal.rebuild_orders();
CREATE TEMPORARY VIEW looked_at AS
SELECT sum(pg_stat_get_xact_tuples_returned(i.indexrelid)) AS entries FROM pg_index i WHERE i.indrelid = 'blotter_internal.order_events_20260803'::regclass;
CREATE TEMPORARY TABLE looked_before AS SELECT * FROM looked_at;
SELECT count(*) AS open FROM blotter.orders_at('2026-08-03 15:00:01Z', 'ids') WHERE status = 'open' \gset
SELECT now.entries - before.entries AS entries FROM looked_at AS now, looked_before AS before \gset
CREATE TEMPORARY VIEW asked AS
SELECT sum(pg_stat_get_xact_numscans(i.indexrelid)) AS times FROM pg_index i WHERE i.indrelid = 'blotter_internal.order_events_20260803'::regclass;
CREATE TEMPORARY TABLE asked_before AS SELECT * FROM asked;
SELECT count(*) || ' ' || count(DISTINCT account) AS events FROM blotter.order_history('o', 'ids') \gset
SELECT now.times - before.times AS times FROM asked AS now, asked_before AS before \gset
ROLLBACK;
SELECT test.same('orders_of_thousands_of_accounts_with_one_id_are_as_they_were', :'open', '1000');
SELECT test.ok('each_made_of_its_own_events', :entries < 20000, :'entries');
SELECT test.same('their_histories_are_told_together', :'events', '2000 1000');
SELECT test.ok('and_looked_up_together', :times < 10, :'times');

-- Audit. Producer 1 has 1 to 12 and says nothing.
SELECT test.same('without_a_word_from_the_producer_it_is_open', test.seqs(1), 'open 12 12');
INSERT INTO blotter_internal.sessions (producer_id, seq, recorded_at, exchange, event, last_seq) VALUES (1, 13, '2026-08-01 11:00Z', 'okx', 'closed', 13);
SELECT test.same('closed_and_all_there_is_complete', test.seqs(1), 'complete 13 13');
DELETE FROM blotter.order_events WHERE (producer_id, seq) = (1, 1);
SELECT test.same('the_first_row_deleted_is_missed', test.seqs(1), 'missing 0 13 1');
DELETE FROM blotter.trades WHERE (producer_id, seq) = (1, 9);
SELECT test.same('a_row_in_the_middle_deleted_is_missed', test.seqs(1), 'missing 0 13 1,9');
DELETE FROM blotter.trades WHERE (producer_id, seq) = (1, 12);
SELECT test.same('the_last_row_deleted_is_missed', test.seqs(1), 'missing 0 13 1,9,12');
SELECT test.same('gaps_names_them', (SELECT string_agg(concat_ws(' ', from_seq, to_seq, state), ', ' ORDER BY from_seq) FROM blotter.gaps WHERE producer_id = 1),
                 '1 1 missing, 9 9 missing, 12 12 missing');
INSERT INTO blotter.rejects (stream, entry_id, exchange, producer_id, seq, reason, raw, raw_length, raw_sha256) VALUES ('blotter:okx', '1-1', 'okx', 1, 9, 'bad', '\x00', 1, sha256('\x00'));
SELECT blotter_internal.add_expired('d', '{1}', '{okx}', NULL, '{1}');
SELECT test.same('a_rejected_and_an_expired_record_are_not_missing', test.seqs(1), 'missing 11 13 12');
INSERT INTO blotter_internal.sessions (producer_id, seq, recorded_at, exchange, event) VALUES (1, 12, '2026-08-01 11:00Z', 'okx', 'void');
SELECT test.same('a_void_covers_its_seq', test.seqs(1), 'complete 13 13');

INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange, order_id)
SELECT 3, n, '2026-08-01 12:00Z', 'okx', 'P' FROM generate_series(1, 10000) AS n WHERE n NOT IN (4000, 4097, 9000);
SELECT test.same('a_gap_of_an_open_producer_may_be_on_its_way', test.seqs(3), 'open 3999 10000 3');
INSERT INTO blotter_internal.sessions (producer_id, seq, recorded_at, exchange, event, confirmed_seq, last_seq) VALUES (3, 10001, '2026-08-01 12:01Z', 'okx', 'heartbeat', 4096, 10005);
SELECT test.same('below_what_was_confirmed_it_is_missing', test.seqs(3), 'missing 3999 10001 4000 2');
SELECT test.same('gaps_tells_missing_from_in_flight', (SELECT string_agg(concat_ws(' ', from_seq, to_seq, state), ', ' ORDER BY from_seq) FROM blotter.gaps WHERE producer_id = 3),
                 '4000 4000 missing, 4097 4097 in flight, 9000 9000 in flight');
INSERT INTO blotter_internal.sessions (producer_id, seq, recorded_at, exchange, event, follows, confirmed_seq, last_seq) VALUES (4, 1, '2026-08-01 12:02Z', 'okx', 'opened', 3, 9000, 10003);
SELECT test.same('a_successor_speaks_of_the_one_before', test.seqs(3) || '; ' || test.seqs(4), 'missing 3999 10003 4000,4097,9000 2; open 1 1');
INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange, order_id)
SELECT 3, n, '2026-08-01 12:00Z', 'okx', 'P' FROM unnest(ARRAY[4000, 4097, 9000, 10002, 10003]) AS n;
SELECT test.same('killed_and_all_there_is_complete_once_its_successor_said_how_far_it_got', test.seqs(3), 'complete 10003 10003');
INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange, order_id) VALUES (-5, 1, '2026-08-01 12:00Z', 'okx', 'F');
SELECT test.same('foreign_clients_are_not_audited', (SELECT count(*)::text FROM blotter.audit WHERE producer_id < 0), '0');
INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange, order_id) VALUES (6, 1, '2026-08-01 12:00Z', 'okx', 'F'), (6, 1, '2026-08-01 12:01Z', 'okx', 'F'), (6, 3, '2026-08-01 12:01Z', 'okx', 'F');
SELECT test.same('a_seq_that_is_there_twice_is_doubled_and_hides_no_gap', test.seqs(6), 'doubled 1 3 1');

SELECT blotter_internal.add_progress('d1', '{1,3,-5}', '{okx,okx,okx}', NULL, '{10,1,1}', '{1,0,0}', '{0,0,0}', '{13,1,1}', NULL);
SELECT blotter_internal.add_progress('d1', '{1}', '{okx}', NULL, '{1}', '{0}', '{0}', '{13}', NULL);
SELECT test.same('the_quick_audit_counts', (SELECT string_agg(concat_ws(' ', producer_id, state, settled, last_seq), ', ' ORDER BY producer_id) FROM blotter_internal.audit_quick),
                 '1 complete 13 13, 3 missing 1 10003, 4 open 0');

-- When a day goes, its events are not compared with all orders of their account.
BEGIN;
SELECT blotter_internal.make_day('2026-08-03');
INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange, account, order_id, client_order_id, status)
SELECT 26, n, '2026-08-03 15:00Z'::timestamptz + n * interval '1 ms', 'going', 'a', CASE n % 2 WHEN 1 THEN 'o' || n / 2 END, 'c' || n / 2,
       CASE WHEN n < 1000 THEN 'open' ELSE 'filled' END FROM generate_series(0, 1999) AS n;
SELECT blotter_internal.rebuild_orders();
SET LOCAL enable_nestloop = off;
SELECT test.rows_met(blotter_internal.lasting_events_query('2026-08-04')) AS met \gset
SELECT blotter_internal.keep_order_events('2026-08-04');
SELECT count(*) AS kept FROM blotter_internal.kept_order_events WHERE exchange = 'going' \gset
ROLLBACK;
SELECT test.same('events_of_orders_that_have_not_ended_are_kept', :'kept', '1000');
SELECT test.ok('and_found_by_their_ids', :met < 100000, :'met');

-- A day goes.
CREATE TEMPORARY TABLE before AS SELECT test.positions() AS positions, (SELECT jsonb_agg(to_jsonb(a) - 'stored' - 'gone' - 'first_at' ORDER BY producer_id) FROM blotter.audit a) AS audit;
INSERT INTO blotter_internal.sessions (producer_id, seq, recorded_at, exchange, event) VALUES (9, 1, '2026-07-31 10:00Z', 'okx', 'opened'), (9, 2, '2026-07-31 11:00Z', 'okx', 'heartbeat'), (9, 3, '2026-08-01 11:00Z', 'okx', 'heartbeat');
SELECT blotter_internal.begin_session();
-- an order that lives on, one that was over, and one by client id alone
INSERT INTO test.events (at, seq, producer_id, order_id, client_order_id, status, price) VALUES
    (1, 1, 7, 'LIVES', 'l', 'open', 1), (2, 2, 7, 'OVER', 'o', 'filled', 2), (3, 3, 7, NULL, 'alone', 'pending_new', 3), (86402, 4, 7, 'LIVES', NULL, NULL, 5),
    (4, 9, 7, 'OVER2', 'o2', 'open', 2), (5, 10, 7, 'OVER2', NULL, 'canceled', 3);
SELECT test.drain((SELECT array_agg(e ORDER BY at) FROM test.events e));
INSERT INTO before (positions) SELECT test.state(7);

SELECT test.same('aggregate_days_says_what_is_to_detach', (SELECT string_agg(concat_ws(' ', "table", day, state), ', ') FROM blotter_internal.aggregate_days('2026-08-01') WHERE "table" IN ('order_events', 'trades')),
                 'order_events 2026-07-31 detach, trades 2026-07-31 detach');
SELECT test.same('a_day_that_is_folded_is_expired', blotter_internal.make_day('2026-07-31'), 'expired');
CREATE FUNCTION test.late() RETURNS text
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange, order_id) VALUES (1, 100, '2026-07-31 12:00Z', 'okx', 'late');
    RETURN 'stored';
EXCEPTION WHEN check_violation THEN
    RETURN 'refused';
END
$$;
SELECT test.same('and_takes_no_more_rows', test.late(), 'refused');
SELECT test.same('positions_are_the_same_when_a_day_is_folded', test.positions(), (SELECT positions FROM before WHERE audit IS NOT NULL));
ALTER TABLE blotter.order_events DETACH PARTITION blotter_internal.order_events_20260731 CONCURRENTLY;
SELECT test.same('positions_are_the_same_while_a_day_goes', test.positions(), (SELECT positions FROM before WHERE audit IS NOT NULL));
SELECT test.same('the_next_step_is_told', (SELECT string_agg(concat_ws(' ', "table", state), ', ') FROM blotter_internal.aggregate_days('2026-08-01') WHERE "table" IN ('order_events', 'trades')), 'order_events drop, trades detach');
ALTER TABLE blotter.trades DETACH PARTITION blotter_internal.trades_20260731 CONCURRENTLY;
DROP TABLE blotter_internal.order_events_20260731, blotter_internal.trades_20260731;
SELECT test.same('and_then_it_is_gone', (SELECT count(*)::text FROM blotter_internal.aggregate_days('2026-08-01') WHERE "table" IN ('order_events', 'trades')), '0');
SELECT test.same('a_late_row_of_it_finds_no_partition', test.late(), 'refused');

SELECT test.same('positions_are_the_same_after_a_day_was_dropped', test.positions(), (SELECT positions FROM before WHERE audit IS NOT NULL));
INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange, account, symbol, order_id, trade_id, side, last_price, last_quantity)
VALUES (9, 4, '2026-08-01 13:00Z', 'okx', 'a', 'BTC', 'X', 't2', 'b', 110, 1);
SELECT test.same('a_copy_of_a_dropped_fill_does_not_count_again', test.positions(), (SELECT positions FROM before WHERE audit IS NOT NULL));
SELECT test.same('the_audit_is_the_same_after_a_day_was_dropped',
                 (SELECT jsonb_agg(to_jsonb(a) - 'stored' - 'gone' - 'first_at' ORDER BY producer_id) FROM blotter.audit a WHERE producer_id < 7)::text, (SELECT audit::text FROM before WHERE audit IS NOT NULL));
SELECT test.same('a_dropped_heartbeat_is_not_missing', test.seqs(9) || ' ' || (SELECT count(*) FROM blotter_internal.sessions WHERE producer_id = 9), 'open 4 4 2');
SELECT blotter_internal.rebuild_orders();
SELECT test.same('orders_are_the_same_after_a_day_was_dropped_and_all_was_rebuilt', test.state(7), (SELECT positions FROM before WHERE audit IS NULL));
DELETE FROM test.events;
INSERT INTO test.events (at, seq, producer_id, order_id, client_order_id, status, price) VALUES
    (86401, 5, 7, 'LIVES', NULL, 'open', 4), (86410, 6, 7, 'OVER', NULL, 'open', 9), (86409, 7, 7, 'OVER', 'o', 'open', NULL), (86411, 8, 7, 'A', 'alone', 'open', NULL);
SELECT test.drain(ARRAY[e]) FROM test.events e ORDER BY seq;
SELECT test.same('events_that_come_later_find_the_dropped_ones_of_their_order', test.state(7),
                 E'A[]: open alive c=alone p=3 q= f= 3.11.8.7\nLIVES[]: open alive c=l p=5 q= f= 1.2.4.7\nOVER[]: filled over c=o p=9 q= f= 2.10.6.7\nOVER2[]: canceled over c=o2 p=3 q= f= 4.5.10.7');
-- However they arrive: the newer one first, or both at once and out of order.
SELECT test.drain(ARRAY[row(86412, 11, 7, 'okx', NULL, NULL, 'OVER', NULL, 'open', 12, NULL, 1, NULL, to_timestamp(1785456000 + 86412), NULL, NULL, NULL, NULL)::test.events]);
SELECT test.drain(ARRAY[row(86411, 12, 7, 'okx', NULL, NULL, 'OVER', NULL, 'open', 11, 7, NULL, NULL, to_timestamp(1785456000 + 86411), NULL, NULL, NULL, NULL)::test.events]);
SELECT test.drain(ARRAY[row(86412, 13, 7, 'okx', NULL, NULL, 'OVER2', NULL, 'open', 12, NULL, 1, NULL, to_timestamp(1785456000 + 86412), NULL, NULL, NULL, NULL)::test.events,
                        row(86411, 14, 7, 'okx', NULL, NULL, 'OVER2', NULL, 'open', 11, 7, NULL, NULL, to_timestamp(1785456000 + 86411), NULL, NULL, NULL, NULL)::test.events]);
SELECT test.same('an_order_that_was_over_when_its_day_was_dropped_merges_what_comes_by_time', (SELECT test.state(7)),
                 E'A[]: open alive c=alone p=3 q= f= 3.11.8.7\nLIVES[]: open alive c=l p=5 q= f= 1.2.4.7\nOVER[]: filled over c=o p=12 q=7 f=1 2.12.11.7\nOVER2[]: canceled over c=o2 p=12 q=7 f=1 4.12.13.7');
SELECT blotter_internal.rebuild_orders();
SELECT test.same('and_when_all_is_rebuilt', (SELECT test.state(7)),
                 E'A[]: open alive c=alone p=3 q= f= 3.11.8.7\nLIVES[]: open alive c=l p=5 q= f= 1.2.4.7\nOVER[]: filled over c=o p=12 q=7 f=1 2.12.11.7\nOVER2[]: canceled over c=o2 p=12 q=7 f=1 4.12.13.7');
SELECT test.same('no_order_errors', (SELECT string_agg(error, ', ') FROM blotter_internal.order_errors), NULL);

SELECT test.clear();
SELECT blotter_internal.make_day('2026-08-03');
