-- fills, positions and candles once more: what a copy may lack or spell otherwise, and that nothing of it changes while days go.
SELECT test.clear();
SELECT blotter_internal.make_day(day::date) FROM generate_series('2026-06-01'::timestamp, '2026-06-04', '1 day') AS day;

-- The same on three days, so that a day is folded into nothing, and another into what is there.
INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange, account, symbol, order_id, trade_id, side, position_side, last_price, last_quantity,
                                  fee, fee_currency, realized_pnl)
SELECT 1, 100 * d + n, '2026-06-01 12:00Z'::timestamptz + d * interval '1 day', 'okx', 'a', 'ETH', 'X', CASE WHEN e.id <> '0' THEN e.id || d ELSE '0' END,
       e.side, e.position_side, e.price, e.quantity, e.fee, e.currency, e.pnl
FROM generate_series(0, 2) AS d,
     (VALUES (1, '0', 'buy', NULL, 10, 1, 0.1, 'ETH', 1), (2, '0', 'buy', 'both', 10, 1, 0.1, 'ETH', 2), (3, 's', NULL, NULL, 10, 3, 0.5, 'USDT', NULL),
             (4, 'u', 'sell', NULL, NULL, 4, NULL, NULL, NULL), (5, 'l', 'buy', 'LONG', 10, 1, NULL, NULL, NULL), (6, 'h', 'sell', 'Short', 10, 2, NULL, NULL, NULL),
             (7, 'night', 'sell', 'Short', 10, 1, 0.1, 'X', NULL)) -- its trade comes the day after
     AS e (n, id, side, position_side, price, quantity, fee, currency, pnl);
INSERT INTO blotter.trades (producer_id, seq, recorded_at, exchange, account, strategy, symbol, order_id, client_order_id, trade_id, side, price, quantity, cost, fee)
SELECT 1, 100 * d + e.n, '2026-06-01 12:00Z'::timestamptz + d * interval '1 day' + e.n * interval '1 s', 'okx', e.account, e.strategy, 'ETH', e.order_id, e.client_id,
       e.id || d, e.side, 10, e.quantity, e.cost, e.fee
FROM generate_series(0, 2) AS d,
     (VALUES (86400, 'a', NULL, NULL, NULL, 'night', 'sell', 1, NULL, 0.3), (11, 'a', NULL, NULL, NULL, 'given', 'a', 5, 77, NULL),   -- its own cost
             (12, NULL, 'grid', NULL, NULL, 'mine', 'buy', 1, NULL, NULL),
             (13, NULL, NULL, NULL, 'c1', 'ours', 'buy', 2, NULL, NULL),
             (14, '', '', '', '', 'public', 'buy', 1000, NULL, NULL),  -- nobody's
             (15, 'b', NULL, NULL, NULL, 'twice', 'buy', 1, NULL, 3),  -- the earlier one counts
             (16, 'b', NULL, NULL, NULL, 'twice', 'buy', 1, NULL, 4)) AS e (n, account, strategy, order_id, client_id, id, side, quantity, cost, fee);

-- The last heartbeat of a producer stays, whatever came after it.
INSERT INTO blotter_internal.sessions (producer_id, seq, recorded_at, exchange, event)
SELECT 2, n, '2026-06-01 12:00Z', 'okx', e FROM unnest(ARRAY['opened', 'heartbeat', 'heartbeat', 'void']) WITH ORDINALITY AS s (e, n);
-- An order that was over on the first day, and one that is over on the second.
SELECT blotter_internal.begin_session();
INSERT INTO test.events (at, seq, producer_id, order_id, status, price, quantity) VALUES
    (-5184000, 1, 3, 'OVER', 'filled', 1, 3), (-5184000, 2, 3, 'LIVES', 'open', 1, 3), (-5097600, 3, 3, 'LIVES', 'canceled', 2, 3);
SELECT test.drain(ARRAY[e]) FROM test.events e ORDER BY seq;

CREATE FUNCTION test.all_positions() RETURNS jsonb
    LANGUAGE sql
    AS 'SELECT test.book(); SELECT jsonb_agg(to_jsonb(p) ORDER BY account, strategy, symbol, position_side) FROM blotter.positions p';
SELECT test.book();
SELECT test.same('copies_that_lack_something_count_for_what_they_say',
                 (SELECT string_agg(concat_ws(' ', account, strategy, position_side, quantity, coalesce(average_price::text, '-'), coalesce(realized_pnl::text, '-'), unpriced, sideless,
                                              fees, fills), E'\n' ORDER BY account, strategy, position_side)
                  FROM blotter.positions),
                 E'   6 10 0 0 0 {} 3\n grid  3 10 0 0 0 {} 3\na   -21 - - 3 3 {"ETH": 0.6, "USDT": 1.5} 15\na  long 3 10 0 0 0 {} 3\na  short -9 10 0 0 0 {"X": 0.9} 6\nb   3 10 0 0 0 {"": 9} 3');
CREATE TEMPORARY TABLE unfolded AS SELECT test.all_positions() AS positions;
SELECT blotter_internal.aggregate_days('2026-06-02');
SELECT test.ok('no_column_of_positions_changes_when_a_day_is_folded', test.all_positions() = (SELECT positions FROM unfolded), test.all_positions()::text);
SELECT test.same('the_events_of_an_order_that_lives_are_kept', (SELECT string_agg(order_id, ',') FROM blotter_internal.kept_order_events), 'LIVES');
SELECT blotter_internal.aggregate_days('2026-06-03');
SELECT test.same('until_it_is_over', (SELECT string_agg(order_id, ',') FROM blotter_internal.kept_order_events), NULL);
SELECT test.same('the_last_heartbeat_stays', (SELECT string_agg(seq::text, ',') FROM blotter_internal.sessions WHERE producer_id = 2 AND event = 'heartbeat'), '3');
SELECT test.same('what_was_dropped_is_added_up', (SELECT string_agg(concat_ws(' ', producer_id, blotter_internal.seq_count(dropped)), ', ' ORDER BY producer_id) FROM blotter_internal.gone_seqs),
                 '1 27, 2 4, 3 3');
SELECT test.ok('nor_when_one_more_is_folded', test.all_positions() = (SELECT positions FROM unfolded), test.all_positions()::text);

-- An order whose events are gone, the newer event first: what the row had from the dropped day is older than both.
SELECT test.drain(ARRAY[row(0, 4, 3, 'okx', NULL, NULL, 'OVER', NULL, NULL, 12, NULL, NULL, NULL, '2026-06-03 12:00:02Z', NULL, NULL, NULL, NULL)::test.events]);
SELECT test.drain(ARRAY[row(0, 5, 3, 'okx', NULL, NULL, 'OVER', NULL, NULL, 11, 7, NULL, NULL, '2026-06-03 12:00:01Z', NULL, NULL, NULL, NULL)::test.events]);
SELECT test.same('what_comes_late_is_newer_than_what_was_dropped', (SELECT concat_ws(' ', status, price, quantity) FROM blotter.orders WHERE order_key = 'OVER'), 'filled 12 7');

-- Aggregated fills stay aggregated, whichever way they are asked for.
CREATE FUNCTION test.folds(before date) RETURNS text
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM blotter_internal.aggregate_days(before);
    RETURN 'folded';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLERRM;
END
$$;
SELECT test.same('a_day_that_is_not_over_is_not_folded', test.folds(blotter_internal.today() + 1), 'cannot aggregate ' || blotter_internal.today() || ': it is not over');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT test.same('days_are_not_folded_by_who_cannot_see_what_he_waited_for', test.folds('2026-06-03'), 'aggregate_days has to see what it waited for');
COMMIT;
DROP TABLE blotter_internal.order_events_20260601, blotter_internal.trades_20260601, blotter_internal.order_events_20260602, blotter_internal.trades_20260602;
DELETE FROM blotter_internal.gone_seqs;
UPDATE blotter_internal.retention SET first_day = '2015-01-01';
SELECT test.clear();

-- Candles: from the very first moment of `from` on; two trades of one moment by seq; an id counts once per exchange; weeks begin on Monday.
INSERT INTO blotter.trades (producer_id, seq, recorded_at, exchange_time, exchange, symbol, trade_id, price, quantity) VALUES
    (1, 1, '2026-06-03 10:00Z', '2026-06-03 10:00Z', 'okx', 'ETH', 'same', 10, 1),
    (1, 3, '2026-06-03 10:00Z', '2026-06-03 10:00Z', 'okx', 'ETH', 'other', 12, 1),
    (1, 2, '2026-06-03 10:00Z', '2026-06-03 10:00Z', 'kraken', 'ETH', 'same', 11, 1);
SELECT test.same('candles_begin_with_their_first_moment_and_end_with_the_last_seq',
                 (SELECT string_agg(concat_ws(' ', to_char(start AT TIME ZONE 'UTC', 'Dy DD HH24:MI'), open, high, low, close, volume, count), E'\n')
                  FROM blotter.candles('ETH', '1 week', '2026-06-03 10:00Z', '2026-06-04 00:00Z')), 'Mon 01 00:00 10 12 10 12 3 3');
SELECT test.clear();
DROP TABLE blotter_internal.order_events_20260603, blotter_internal.trades_20260603, blotter_internal.order_events_20260604, blotter_internal.trades_20260604;
SELECT blotter_internal.make_day('2026-07-31');
