-- The checks share a list of results, and a drainer made of SQL.
CREATE SCHEMA test;
UPDATE blotter_internal.retention SET days_back = 100000, days_ahead = 100000; -- these checks are of any year
CREATE TABLE test.results (n int GENERATED ALWAYS AS IDENTITY, name text, ok boolean, detail text);

CREATE FUNCTION test.ok(name text, ok boolean, detail text DEFAULT NULL) RETURNS void
    LANGUAGE sql
    AS 'INSERT INTO test.results (name, ok, detail) VALUES (name, coalesce(ok, false), detail)';

CREATE FUNCTION test.same(name text, is_it text, should_be text) RETURNS void
    LANGUAGE sql
    AS $$SELECT test.ok(name, is_it IS NOT DISTINCT FROM should_be, format('is %s, should be %s', is_it, should_be))$$;

-- Counts the rows that the nodes of a statement's plan had before them: its work, where time is no measure.
CREATE FUNCTION test.rows_met(sql text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, TIMING off, FORMAT JSON) ' || sql INTO plan;
    RETURN (SELECT sum((n ->> 'Actual Loops')::numeric * ((n ->> 'Actual Rows')::numeric + coalesce((n ->> 'Rows Removed by Filter')::numeric, 0)
                                                          + coalesce((n ->> 'Rows Removed by Join Filter')::numeric, 0)))
            FROM jsonb_path_query(plan, 'strict $.** ? (@."Node Type" != null)') AS n);
END $$;

-- Events to choose from; `at` is the second of 2026-07-31 they were recorded in.
CREATE TABLE test.events (at int, seq bigint, producer_id bigint DEFAULT 7, exchange text DEFAULT 'okx', account text, symbol text, order_id text,
                          client_order_id text, status text, price numeric, quantity numeric, filled_quantity numeric, side text,
                          recorded_at timestamptz GENERATED ALWAYS AS (to_timestamp(1785456000 + at)) STORED,
                          remaining_quantity numeric, average_price numeric, orig_client_order_id text, event text);

-- Does a drainer's work with a batch: stores the events, summarises them per order in the order of arrival, merges.
CREATE FUNCTION test.drain(batch test.events[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO blotter.order_events (producer_id, seq, recorded_at, exchange, account, symbol, order_id, client_order_id, status, price, quantity,
                                      filled_quantity, side, remaining_quantity, average_price, orig_client_order_id, event)
    SELECT producer_id, seq, recorded_at, exchange, account, symbol, order_id, client_order_id, status, price, quantity, filled_quantity, side,
           remaining_quantity, average_price, orig_client_order_id, event
    FROM unnest(batch) ON CONFLICT DO NOTHING;
    DELETE FROM pg_temp.staged_orders;
    INSERT INTO pg_temp.staged_orders (exchange, account, symbol, order_id, client_order_id, status, price, quantity, filled_quantity, side,
                                       remaining_quantity, average_price, orig_client_order_id, ended, first_filled_quantity,
                                       first_recorded_at, first_seq, first_producer_id, recorded_at, seq, producer_id, late)
    SELECT exchange, account, blotter_internal.last_value_of(symbol), nullif(order_id, '0'), blotter_internal.last_value_of(client_order_id),
           coalesce(blotter_internal.first_value_of(status) FILTER (WHERE blotter_internal.is_terminal(status)), blotter_internal.last_value_of(status)),
           blotter_internal.last_value_of(price), blotter_internal.last_value_of(quantity), max(filled_quantity), blotter_internal.last_value_of(side),
           blotter_internal.last_value_of(remaining_quantity) FILTER (WHERE (filled_quantity < before) IS NOT TRUE),
           blotter_internal.last_value_of(average_price) FILTER (WHERE (filled_quantity < before) IS NOT TRUE),
           blotter_internal.last_value_of(orig_client_order_id),
           bool_or(blotter_internal.is_terminal(status) OR status IS NULL AND (remaining_quantity = 0) IS TRUE),
           blotter_internal.first_value_of(filled_quantity),
           min(recorded_at), blotter_internal.first_value_of(seq), blotter_internal.first_value_of(producer_id),
           max(recorded_at), blotter_internal.last_value_of(seq), blotter_internal.last_value_of(producer_id),
           bool_or(late) OR min(client_order_id) < max(client_order_id)
    FROM (SELECT b.*, row(recorded_at, seq, producer_id) <= lag(row(recorded_at, seq, producer_id)) OVER (PARTITION BY exchange, account, order_id ORDER BY n) AS late,
                 max(filled_quantity) OVER (PARTITION BY exchange, account, nullif(order_id, '0'), CASE WHEN coalesce(order_id, '') IN ('', '0') THEN client_order_id END,
                                                         CASE WHEN exchange = 'binance' THEN symbol END
                                            ORDER BY recorded_at, seq, producer_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
          FROM unnest(batch) WITH ORDINALITY AS b (at, seq, producer_id, exchange, account, symbol, order_id, client_order_id, status, price, quantity,
                                                   filled_quantity, side, recorded_at, remaining_quantity, average_price, orig_client_order_id, event, n)
          ORDER BY recorded_at, seq, producer_id) AS b
    GROUP BY exchange, account, nullif(order_id, '0'), CASE WHEN coalesce(order_id, '') IN ('', '0') THEN client_order_id END,
             CASE WHEN exchange = 'binance' THEN symbol END;
    PERFORM blotter_internal.merge_orders();
END
$$;

CREATE FUNCTION test.clear() RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    DELETE FROM blotter.order_events;
    DELETE FROM blotter.trades;
    DELETE FROM blotter_internal.sessions;
    DELETE FROM blotter.orders;
    DELETE FROM blotter_internal.client_only_ids;
    DELETE FROM blotter_internal.order_client_ids;
    DELETE FROM blotter_internal.order_errors;
    DELETE FROM blotter_internal.kept_order_events;
    DELETE FROM blotter_internal.book_queue;
    DELETE FROM blotter_internal.fill;
    DELETE FROM blotter_internal.position;
    DELETE FROM blotter_internal.position_hour;
    DELETE FROM blotter_internal.position_checkpoint;
    DELETE FROM blotter_internal.pnl_day;
    DELETE FROM test.events;
END
$$;

-- Books what is stored, as often as it likes: copies do not count again.
CREATE FUNCTION test.book() RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    EXECUTE blotter_internal.queue_statement('blotter.', '{order_events,trades}');
    PERFORM blotter_internal.book_everything();
END
$$;

-- Orders as text to compare.
CREATE FUNCTION test.state_of(orders blotter.orders[]) RETURNS text
    LANGUAGE sql
    AS $$
    SELECT string_agg(format('%s%s[%s]: %s %s c=%s p=%s q=%s f=%s%s %s', CASE WHEN provisional THEN '?' END, order_key, concat_ws('/', nullif(account, ''), nullif(scope, '')),
                             coalesce(status, '-'), CASE WHEN terminal THEN 'over' ELSE 'alive' END, client_order_id, price, quantity, filled_quantity, ' r=' || remaining_quantity || coalesce(' a=' || average_price, ''),
                             concat_ws('.', extract(epoch FROM first_recorded_at)::bigint % 86400, extract(epoch FROM recorded_at)::bigint % 86400, seq, producer_id)),
                      E'\n' ORDER BY order_key COLLATE "C", exchange, account, scope, provisional DESC)
    FROM unnest(orders)
$$;

-- All of orders, or those with a newest event of that producer.
CREATE FUNCTION test.state(producer bigint DEFAULT NULL) RETURNS text
    LANGUAGE sql
    AS $$SELECT test.state_of(ARRAY(SELECT o FROM blotter.orders o WHERE producer IS NULL OR o.producer_id = producer))$$;

-- The orders in which n things can come.
CREATE FUNCTION test.permutations(n int) RETURNS SETOF int[]
    LANGUAGE sql
    AS $$
    WITH RECURSIVE p (taken) AS (
        SELECT ARRAY[]::int[]
        UNION ALL SELECT taken || i FROM p, generate_series(1, n) AS i WHERE i <> ALL (taken)
    )
    SELECT taken FROM p WHERE cardinality(taken) = n
$$;

-- Brings the events of test.events in every order, one by one and in two batches; all must end in that state, and rebuild_orders in it too.
CREATE PROCEDURE test.in_any_order(name text, should_be text)
    LANGUAGE plpgsql
    AS $$
DECLARE
    everything test.events[] := (SELECT array_agg(e ORDER BY at, seq, producer_id) FROM test.events e);
    n int := cardinality(everything);
    way int[];
    cut bigint;
BEGIN
    FOR way, cut IN
        SELECT p.way, c.cut
        FROM (SELECT w AS way, row_number() OVER () AS nth FROM test.permutations(n) AS w) AS p, LATERAL (VALUES (0), (1 + p.nth % n)) AS c (cut)
        -- of five events a fifth of the ways is enough
        WHERE n < 5 OR p.nth % 5 = c.cut % 5
    LOOP
        PERFORM test.clear();
        IF cut = 0 THEN
            FOR i IN 1..n LOOP
                PERFORM test.drain(everything[way[i]:way[i]]);
            END LOOP;
        ELSE
            PERFORM test.drain((SELECT array_agg(everything[way[i]] ORDER BY i) FROM generate_series(1, cut) AS i));
            PERFORM test.drain((SELECT array_agg(everything[way[i]] ORDER BY i) FROM generate_series(cut + 1, n) AS i));
        END IF;
        IF test.state() IS DISTINCT FROM should_be THEN
            PERFORM test.ok(name, false, format(E'arriving as %s, first batch %s:\n%s\nshould be:\n%s', way, cut, test.state(), should_be));
            RETURN;
        END IF;
        IF EXISTS (SELECT FROM blotter_internal.order_errors) THEN
            PERFORM test.ok(name, false, 'order_errors: ' || (SELECT error FROM blotter_internal.order_errors LIMIT 1));
            RETURN;
        END IF;
        COMMIT;
    END LOOP;
    PERFORM blotter_internal.rebuild_orders();
    PERFORM test.same(name, test.state(), should_be);
    PERFORM test.clear();
END
$$;

CREATE FUNCTION test.drop_days(days date[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    part text;
BEGIN
    FOR part IN SELECT p.partition FROM blotter_internal.partitions p WHERE p.day = ANY (days) LOOP
        EXECUTE format('DROP TABLE blotter_internal.%I', part);
    END LOOP;
END
$$;
