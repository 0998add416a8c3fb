-- Copies what version 1 stored, which `blotter migrate` has renamed to schema blotter_version_1, and drops that. The tables are new, so they are
-- those of 010_tables.sql exactly; while both are there the database takes twice the room. Whatever of a user's own is in the way stops it, and
-- then nothing has changed.
--
-- A drainer of version 1 that still runs loses its session, and finds none of its functions in the next one: it stops by itself. Its session is ended
-- first, since its temporary views use our tables; before they are dropped, as it may have come back; and at the end.

CREATE FUNCTION pg_temp.end_drainers() RETURNS void LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_stat_clear_snapshot();
    IF EXISTS (SELECT FROM pg_stat_activity a
               WHERE a.datname = current_database() AND a.application_name SIMILAR TO 'blotter (drain|rejects)%' AND a.pid <> pg_backend_pid()
                 AND NOT pg_terminate_backend(a.pid, 10000)) THEN
        RAISE EXCEPTION 'a drainer of version 1 does not end' USING HINT = 'Stop it, then run `blotter migrate` again.';
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'drainers of version 1 are connected, and this user may not end their sessions'
        USING ERRCODE = 'insufficient_privilege', HINT = 'Stop them, then run `blotter migrate` again.';
END
$$;

CREATE FUNCTION pg_temp.copy_table(source text, target regclass, extra_names text DEFAULT '', extra_values text DEFAULT '', joined text DEFAULT '')
    RETURNS void LANGUAGE plpgsql
    AS $$
DECLARE
    names text;
    unknown text;
BEGIN
    -- Columns of both tables; what this transaction fills in by itself is taken from version 1 as well.
    SELECT string_agg(format('%I', o.attname), ', ' ORDER BY o.attnum) FILTER (WHERE n.attname IS NOT NULL),
           string_agg(o.attname, ', ') FILTER (WHERE n.attname IS NULL)
    INTO names, unknown
    FROM pg_attribute o
    LEFT JOIN pg_attribute n ON n.attrelid = target AND n.attname = o.attname AND NOT n.attisdropped
    WHERE o.attrelid = ('blotter_version_1.' || source)::regclass AND o.attnum > 0 AND NOT o.attisdropped
      AND (source, o.attname::text) NOT IN (('rejects', 'identity'));
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION 'table blotter.% has columns that are not Blotter''s: %', source, unknown
            USING HINT = 'Keep them in a table of your own, drop them, and run `blotter migrate` again.';
    END IF;
    EXECUTE format('INSERT INTO %s (%s%s) OVERRIDING SYSTEM VALUE SELECT %s%s FROM blotter_version_1.%I o %s', target, names, extra_names,
                   regexp_replace(names, '([a-z_"]+)', 'o.\1', 'g'), extra_values, source, joined);
END
$$;

CREATE FUNCTION pg_temp.copy_all() RETURNS void LANGUAGE plpgsql
    AS $$
DECLARE
    -- Rows of version 1 have no transaction that `blotter follow` could name, and say no lane: their producer's sessions do.
    lane text := 'LEFT JOIN (SELECT s.producer_id, max(s.lane) AS lane FROM blotter_version_1.sessions s GROUP BY s.producer_id) AS l USING (producer_id)';
    one text;
    parted record;
BEGIN
    -- Waits for loads that are under way, and holds off others.
    LOCK TABLE blotter_version_1.order_events, blotter_version_1.trades, blotter_version_1.sessions, blotter_version_1.rejects,
               blotter_version_1.progress, blotter_version_1.gone_seqs, blotter_version_1.orders IN ACCESS EXCLUSIVE MODE;
    FOR parted IN
        SELECT i.inhparent::regclass AS parent, regexp_replace(c.relname, '_[0-9]{8}$', '') AS name,
               to_date(substring(c.relname FROM '_([0-9]{8})$'), 'YYYYMMDD') AS day
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent IN ('blotter_version_1.order_events'::regclass, 'blotter_version_1.trades'::regclass)
        ORDER BY c.relname
    LOOP
        PERFORM blotter_internal.make_partition(parted.name, parted.day);
    END LOOP;
    -- No day has a summary yet that the copies could change.
    FOREACH one IN ARRAY ARRAY['blotter.order_events', 'blotter.trades', 'blotter_internal.sessions'] LOOP
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER note_copy', one);
    END LOOP;
    PERFORM pg_temp.copy_table('order_events', 'blotter.order_events', ', lane, stored_by', ', l.lane, ''0''', lane),
            pg_temp.copy_table('trades', 'blotter.trades', ', lane, stored_by', ', l.lane, ''0''', lane),
            pg_temp.copy_table('kept_order_events', 'blotter_internal.kept_order_events', ', lane, stored_by', ', l.lane, ''0''', lane),
            pg_temp.copy_table('sessions', 'blotter_internal.sessions', ', stored_by', ', ''0'''),
            pg_temp.copy_table('rejects', 'blotter.rejects', ', lane, raw_length, raw_sha256, stored_at, stored_by',
                               ', substring(o.stream FROM ''^blotter:[^:]*:(.*)$''), octet_length(o.raw), sha256(o.raw), o.rejected_at, ''0'''),
            pg_temp.copy_table('progress', 'blotter_internal.progress', ', exchange, lane', ', coalesce(k.exchange, ''''), coalesce(k.lane, '''')',
                               'LEFT JOIN pg_temp.streams k USING (producer_id)'),
            pg_temp.copy_table('gone_seqs', 'blotter_internal.gone_seqs', ', exchange, lane', ', coalesce(k.exchange, ''''), coalesce(k.lane, '''')',
                               'LEFT JOIN pg_temp.streams k USING (producer_id)');
    FOREACH one IN ARRAY ARRAY['blotter.order_events', 'blotter.trades', 'blotter_internal.sessions'] LOOP
        EXECUTE format('ALTER TABLE %s ENABLE TRIGGER note_copy', one);
    END LOOP;
    FOREACH one IN ARRAY ARRAY['orders', 'client_only_ids', 'order_client_ids', 'order_errors', 'migrations'] LOOP
        PERFORM pg_temp.copy_table(one, CASE one WHEN 'orders' THEN 'blotter.' ELSE 'blotter_internal.' END || one);
    END LOOP;
    -- Days that were about to be dropped take no more rows here either.
    FOR parted IN SELECT i.inhrelid::regclass AS part FROM pg_trigger t JOIN pg_inherits i ON i.inhrelid = t.tgrelid
                  WHERE t.tgfoid = 'blotter_version_1.refuse_row()'::regprocedure LOOP
        EXECUTE format('CREATE TRIGGER refuse_row BEFORE INSERT ON blotter_internal.%I FOR EACH ROW EXECUTE FUNCTION blotter_internal.refuse_row()',
                       split_part(parted.part::text, '.', 2));
    END LOOP;
    UPDATE blotter_internal.retention n SET first_day = o.first_day FROM blotter_version_1.retention o;
    -- A user may have added to these, or taken away; FIX's codes are new.
    FOREACH one IN ARRAY ARRAY['venues', 'terminal_statuses'] LOOP
        EXECUTE format('DELETE FROM blotter_internal.%I %s', one, CASE one WHEN 'terminal_statuses' THEN 'WHERE length(status) > 1' END);
        PERFORM pg_temp.copy_table(one, 'blotter_internal.' || one);
    END LOOP;
    PERFORM setval(pg_get_serial_sequence('blotter.rejects', 'id'), (SELECT max(id) FROM blotter.rejects)),
            setval(pg_get_serial_sequence('blotter_internal.order_errors', 'id'), (SELECT max(id) FROM blotter_internal.order_errors));
END
$$;

-- Books: version 1 had sums of the fills of dropped days, which become two fills, and the ids of what they count; the rest it computed each
-- time, so what is stored is queued to be booked. What was summed without a side moves no position.
CREATE FUNCTION pg_temp.queue_books() RETURNS void LANGUAGE plpgsql
    AS $$
DECLARE
    first_day timestamptz := (SELECT r.first_day::timestamp AT TIME ZONE 'UTC' FROM blotter_version_1.retention r);
BEGIN
    INSERT INTO blotter.position_base (exchange, account, symbol, position_side, at, quantity, cost, fees, note)
    SELECT s.exchange, s.account, s.symbol, s.position_side, first_day - interval '1 second', s.quantity, s.cost, s.fees, 'fills of days that version 1 dropped'
    FROM (SELECT b.exchange, b.account, b.symbol, b.position_side, b.bought_quantity AS quantity, b.bought_cost AS cost, b.fees, 1 AS turn
          FROM blotter_version_1.position_base b WHERE b.bought_quantity <> 0
          UNION ALL
          SELECT b.exchange, b.account, b.symbol, b.position_side, -b.sold_quantity, b.sold_cost, CASE WHEN b.bought_quantity = 0 THEN b.fees END, 2
          FROM blotter_version_1.position_base b WHERE b.sold_quantity <> 0) AS s
    ORDER BY s.turn;
    INSERT INTO blotter_internal.book_queue (kind, recorded_at, exchange_time, exchange, account, symbol, position_side, trade_id, side, quantity, cost, fees)
    SELECT 'b', b.at, b.at, b.exchange, b.account, b.symbol, b.position_side, '#base:' || b.id, CASE WHEN b.quantity < 0 THEN 'sell' ELSE 'buy' END, b.quantity, b.cost,
           nullif(b.fees, '{}')
    FROM blotter.position_base b;
    INSERT INTO blotter_internal.book_queue (kind, recorded_at, exchange, account, symbol, trade_id)
    SELECT 'r', first_day - interval '1 second', f.exchange, f.account, f.symbol, f.trade_id FROM blotter_version_1.folded_fills f;
    INSERT INTO blotter_internal.book_queue (kind, producer_id, seq, recorded_at, exchange, exchange_time, account, strategy, symbol, market_type, order_id,
                                             client_order_id, trade_id, event, side, position_side, price, quantity, fee, fee_currency, liquidity)
    SELECT 'o', e.producer_id, e.seq, e.recorded_at, e.exchange, e.exchange_time, e.account, e.strategy, e.symbol, e.market_type, e.order_id,
           e.client_order_id, e.trade_id, e.event, e.side, e.position_side, e.last_price, e.last_quantity, e.fee, e.fee_currency, e.liquidity
    FROM blotter_version_1.order_events e WHERE e.last_quantity <> 0 AND e.recorded_at >= first_day;
    INSERT INTO blotter_internal.book_queue (kind, producer_id, seq, recorded_at, exchange, exchange_time, account, strategy, symbol, market_type, order_id,
                                             client_order_id, trade_id, side, position_side, price, quantity, cost, fee, fee_currency, liquidity)
    SELECT 't', t.producer_id, t.seq, t.recorded_at, t.exchange, t.exchange_time, t.account, t.strategy, t.symbol, t.market_type, t.order_id,
           t.client_order_id, t.trade_id, t.side, t.position_side, t.price, t.quantity, t.cost, t.fee, t.fee_currency, t.liquidity
    FROM blotter_version_1.trades t
    WHERE t.trade_id NOT IN ('', '0', '-1') AND (t.order_id <> '' OR t.client_order_id <> '' OR t.account <> '' OR t.strategy <> '') AND t.recorded_at >= first_day;
END
$$;

-- The stream that a producer wrote to: version 1 did not note it beside its numbers.
CREATE TEMPORARY TABLE streams ON COMMIT DROP AS
SELECT r.producer_id, min(r.exchange) AS exchange, coalesce(max(r.lane), '') AS lane
FROM (SELECT s.producer_id, s.exchange, s.lane FROM blotter_version_1.sessions s
      UNION SELECT s.follows, s.exchange, s.lane FROM blotter_version_1.sessions s WHERE s.follows IS NOT NULL
      UNION SELECT e.producer_id, e.exchange, NULL FROM blotter_version_1.order_events e
      UNION SELECT t.producer_id, t.exchange, NULL FROM blotter_version_1.trades t
      UNION SELECT j.producer_id, j.exchange, substring(j.stream FROM '^blotter:[^:]*:(.*)$') FROM blotter_version_1.rejects j) AS r
WHERE r.producer_id > 0
GROUP BY r.producer_id;
SELECT pg_temp.end_drainers();
SELECT pg_temp.copy_all();
SELECT blotter_internal.rebuild_orders(); -- the rules are not quite the same
SELECT pg_temp.queue_books();
SELECT pg_temp.end_drainers();

-- Version 1 itself: what is left in its schema then is a user's, and stops the last statement.
DO $$
DECLARE
    object text;
BEGIN
    FOR object IN
        SELECT o.object
        FROM (SELECT 1 AS turn, c.oid, 'VIEW ' || c.oid::regclass AS object FROM pg_class c
              WHERE c.relnamespace = 'blotter_version_1'::regnamespace AND c.relkind = 'v'
                AND c.relname IN ('fill_copies', 'fills', 'positions', 'open_orders', 'latency', 'heard', 'audited_seqs', 'audit', 'gaps', 'unstored_rejects',
                                  'audit_quick', 'partitions')
              UNION ALL
              SELECT 0, p.oid, 'ROUTINE ' || p.oid::regprocedure FROM pg_proc p
              WHERE p.pronamespace = 'blotter_version_1'::regnamespace AND p.proname IN ('fold_days', 'is_final')
              UNION ALL
              SELECT 4, c.oid, 'TABLE ' || c.oid::regclass FROM pg_class c
              WHERE c.relnamespace = 'blotter_version_1'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
                AND c.relname IN ('migrations', 'order_events', 'trades', 'sessions', 'rejects', 'progress', 'gone_seqs', 'retention', 'venues',
                                  'terminal_statuses', 'orders', 'client_only_ids', 'order_client_ids', 'order_errors', 'kept_order_events',
                                  'position_base', 'folded_fills')
              UNION ALL
              SELECT 5, p.oid, 'ROUTINE ' || p.oid::regprocedure FROM pg_proc p
              WHERE p.pronamespace = 'blotter_version_1'::regnamespace AND p.proname NOT IN ('fold_days', 'is_final')) AS o
        ORDER BY o.turn, o.oid DESC
    LOOP
        EXECUTE 'DROP ' || object;
    END LOOP;
    DROP SCHEMA blotter_version_1;
END
$$;

SELECT pg_temp.end_drainers();
