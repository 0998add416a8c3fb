-- Merging events into orders, at the end of every loading transaction; and making orders again.
--
-- The short way: upsert_staged(), one statement, inserts the orders of a batch, and brings forward those that it has news of. That is
-- all, for nearly every batch. The long way is for the rest: note_rest() finds what the short way could not settle (an event older
-- than its row, a client id without order id), rebuild_touched() reads the events of those orders and makes them again.
--
-- A lone record's transaction shall take no longer than its own COPY and COMMIT. So what it runs is static SQL, which a session plans
-- once; write_merge() writes the statements that list columns, from the catalog. And no temporary table says ON COMMIT: a transaction
-- that has touched one of them empties all that do, used or not, which takes longer than its COMMIT. The function that fills a temporary table also empties it.

-- Called by begin_session.
CREATE FUNCTION blotter_internal.begin_merge() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF to_regclass('pg_temp.staged_keys') IS NOT NULL THEN
        RETURN;
    END IF;
    -- IN: looked up in a hash table that is made once, however many rows there are; a join would be planned for a few.
    CREATE TEMPORARY VIEW staged_keys AS
    SELECT s.ctid AS tid, s.*, coalesce(s.account, '') AS key_account,
           CASE WHEN s.exchange IN (SELECT v.exchange FROM blotter_internal.venues v WHERE v.order_id_scope = 'symbol') THEN coalesce(s.symbol, '') ELSE '' END AS scope,
           CASE WHEN s.order_id NOT IN ('', '0') THEN s.order_id ELSE s.client_order_id END AS order_key,
           coalesce(s.order_id, '') IN ('', '0') AS provisional, coalesce(s.ended, false) AS terminal
    FROM pg_temp.staged_orders s
    WHERE s.order_id NOT IN ('', '0') OR s.client_order_id NOT IN ('', '0');

    -- The rows that the upsert does not settle.
    CREATE TEMPORARY TABLE merge_rest (tid tid, exchange text, account text, scope text, order_key text, provisional boolean,
                                       from_at timestamptz, to_at timestamptz);
    -- The orders that are computed again from their events, their client ids, and the events of both.
    CREATE TEMPORARY TABLE rebuild_orders (exchange text, account text, scope text, order_key text, from_at timestamptz, to_at timestamptz,
                                           read boolean DEFAULT false);
    CREATE TEMPORARY TABLE rebuild_ids (client_order_id text, exchange text, account text, scope text, from_at timestamptz, to_at timestamptz,
                                        common boolean, alone boolean, settled_order text, read boolean DEFAULT false);
    EXECUTE format('CREATE TEMPORARY TABLE rebuild_events AS
                    SELECT %s, account AS key_account, order_id AS scope, order_id AS order_key, true AS client_only, true AS terminal, true AS has_status
                    FROM blotter.order_events WITH NO DATA',
                   blotter_internal.column_list(blotter_internal.columns_of('blotter.order_events', ARRAY['stored_at'])));
END
$$;
COMMENT ON FUNCTION blotter_internal.begin_merge() IS 'Makes the temporary tables of merge_orders.';

CREATE FUNCTION blotter_internal.merge_orders() RETURNS int
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    merged int;
    context text;
BEGIN
    BEGIN
        merged := blotter_internal.merge_staged();
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
        IF blotter_internal.passes(SQLSTATE, context) THEN
            RAISE;
        END IF;
        merged := blotter_internal.merge_one_by_one();
    END;
    IF blotter_internal.is_bloated('pg_temp.staged_orders', merged) THEN
        TRUNCATE pg_temp.staged_orders;
    ELSE
        DELETE FROM pg_temp.staged_orders;
    END IF;
    RETURN merged;
END
$$;
COMMENT ON FUNCTION blotter_internal.merge_orders() IS
    'Brings orders up to date with staged_orders, and empties it; at the end of a loading transaction. Fails only for what passes (a deadlock, a timeout, no room); what else goes wrong is in order_errors. Returns the number of orders.';

CREATE FUNCTION blotter_internal.merge_one_by_one() RETURNS int
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    one record;
    merged int := 0;
    context text;
BEGIN
    FOR one IN SELECT * FROM pg_temp.staged_keys ORDER BY order_key, exchange, key_account, scope, provisional LOOP
        BEGIN
            merged := merged + blotter_internal.merge_staged(one.tid);
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
            IF blotter_internal.passes(SQLSTATE, context) THEN
                RAISE;
            END IF;
            INSERT INTO blotter_internal.order_errors (exchange, account, scope, order_key, sqlstate, error)
            VALUES (one.exchange, one.key_account, one.scope, one.order_key, SQLSTATE, SQLERRM);
        END;
    END LOOP;
    RETURN merged;
END
$$;
COMMENT ON FUNCTION blotter_internal.merge_one_by_one() IS 'As merge_orders, where something in staged_orders does not go: the rest does, and that is in order_errors.';

CREATE FUNCTION blotter_internal.passes(sqlstate text, context text) RETURNS boolean
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT coalesce((SELECT a.action = 'RETRY' FROM blotter_internal.sqlstate_actions a WHERE starts_with(passes.sqlstate, a.prefix)
                     ORDER BY length(a.prefix) DESC LIMIT 1), false)
       AND context !~ '^[^\n]* RAISE(\n|$)';
    END;
COMMENT ON FUNCTION blotter_internal.passes(text, text) IS 'Tells whether an error may pass by itself. Errors that a trigger chose to raise do not count: context begins with where.';

CREATE FUNCTION blotter_internal.merge_staged(one tid DEFAULT NULL) RETURNS int
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    exchange text;
    exchanges text[];
    client_only text[];
    merged int;
    doubtful boolean;
BEGIN
    SELECT array_agg(DISTINCT s.exchange COLLATE "C"), array_agg(DISTINCT s.exchange COLLATE "C") FILTER (WHERE s.provisional), count(*),
           bool_or(s.provisional OR s.late)
    INTO exchanges, client_only, merged, doubtful
    FROM pg_temp.staged_keys s WHERE one IS NULL OR s.tid = one;
    IF exchanges IS NULL THEN
        RETURN 0;
    END IF;
    FOREACH exchange IN ARRAY exchanges LOOP
        IF exchange = ANY (client_only) THEN
            PERFORM pg_advisory_xact_lock(blotter_internal.lock_class(), hashtext(exchange || ' merge'));
        ELSE
            PERFORM pg_advisory_xact_lock_shared(blotter_internal.lock_class(), hashtext(exchange || ' merge'));
        END IF;
    END LOOP;
    doubtful := doubtful OR EXISTS (SELECT FROM blotter_internal.client_only_ids);

    -- A transaction that will compute orders again takes their lock before it locks a row.
    IF doubtful THEN
        PERFORM blotter_internal.note_rest(one, false);
        FOR exchange IN SELECT DISTINCT r.exchange FROM pg_temp.merge_rest r ORDER BY r.exchange LOOP
            PERFORM pg_advisory_xact_lock(blotter_internal.lock_class(), hashtext(exchange || ' rebuild'));
        END LOOP;
    END IF;
    IF blotter_internal.upsert_staged(one) < merged OR doubtful THEN
        PERFORM blotter_internal.note_rest(one, true);
        IF EXISTS (SELECT FROM pg_temp.merge_rest) THEN
            PERFORM blotter_internal.merge_rest();
        END IF;
    END IF;
    RETURN merged;
END
$$;
COMMENT ON FUNCTION blotter_internal.merge_staged(tid) IS 'merge_orders at once, or of one staged row; fails if anything does.';

-- Notes which orders are to be computed again from their events: before the upsert those that are known to be. It is called once more after
-- the upsert, when rows are locked and a new snapshot sees what others have committed: then also those whose event has not become the newest.
-- Its plan is kept, as planning takes ten times as long as it does: every transaction calls it where client ids came alone at some time.
CREATE FUNCTION blotter_internal.note_rest(one tid, upserted boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan
    AS $$
BEGIN
    INSERT INTO pg_temp.merge_rest (tid, exchange, account, scope, order_key, provisional, from_at, to_at)
    SELECT s.tid, s.exchange, s.key_account, s.scope, s.order_key, s.provisional, s.first_recorded_at, s.recorded_at
    FROM pg_temp.staged_keys s
    WHERE (one IS NULL OR s.tid = one)
      AND s.tid NOT IN (SELECT r.tid FROM pg_temp.merge_rest r)
      AND (s.provisional OR s.late
           -- it would change where client-only events belong
           OR EXISTS (SELECT FROM blotter_internal.client_only_ids c
                      WHERE (c.client_order_id, c.exchange, c.account, c.scope) = (s.client_order_id, s.exchange, s.key_account, s.scope)
                        AND NOT c.common AND c.settled_order IS DISTINCT FROM s.order_key)
           OR EXISTS (SELECT FROM blotter_internal.order_client_ids p
                      JOIN blotter_internal.client_only_ids c USING (client_order_id, exchange, account, scope)
                      WHERE (p.order_key, p.exchange, p.account, p.scope) = (s.order_key, s.exchange, s.key_account, s.scope)
                        AND NOT c.common AND c.settled_order IS NULL)
           OR upserted AND NOT EXISTS (SELECT FROM blotter.orders o
                                       WHERE (o.order_key, o.exchange, o.account, o.scope, o.provisional) = (s.order_key, s.exchange, s.key_account, s.scope, false)
                                         AND (o.recorded_at, o.seq, o.producer_id) = (s.recorded_at, s.seq, s.producer_id)));
END
$$;
COMMENT ON FUNCTION blotter_internal.note_rest(tid, boolean) IS 'Puts into merge_rest what upserting staged_orders does not settle. Part of merge_orders.';

CREATE FUNCTION blotter_internal.merge_rest() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    INSERT INTO blotter_internal.client_only_ids AS c (client_order_id, exchange, account, scope, first_at, last_at)
    SELECT r.order_key, r.exchange, r.account, r.scope, min(r.from_at), max(r.to_at)
    FROM pg_temp.merge_rest r WHERE r.provisional
    GROUP BY r.order_key, r.exchange, r.account, r.scope
    ORDER BY r.order_key, r.exchange, r.account, r.scope
    ON CONFLICT (client_order_id, exchange, account, scope) DO UPDATE SET
        first_at = least(c.first_at, excluded.first_at), last_at = greatest(c.last_at, excluded.last_at);
    INSERT INTO pg_temp.rebuild_orders (exchange, account, scope, order_key, from_at, to_at)
    SELECT r.exchange, r.account, r.scope, r.order_key, min(r.from_at), max(r.to_at)
    FROM pg_temp.merge_rest r
    WHERE NOT r.provisional
    GROUP BY r.exchange, r.account, r.scope, r.order_key;

    PERFORM blotter_internal.keep_final();
    PERFORM blotter_internal.rebuild_touched();
    PERFORM blotter_internal.empty_temporary('merge_rest');
END
$$;
COMMENT ON FUNCTION blotter_internal.merge_rest() IS 'Settles what is in merge_rest. Part of merge_orders.';

-- A migration that adds a column to orders calls it again.
CREATE FUNCTION blotter_internal.write_merge() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $write$
DECLARE
    fields text[] := blotter_internal.following_fields() || blotter_internal.order_fields();
BEGIN
    EXECUTE format($function$
        CREATE OR REPLACE FUNCTION blotter_internal.upsert_staged(one tid) RETURNS int
            LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
            AS $$
        DECLARE
            upserted int;
        BEGIN
            INSERT INTO blotter.orders AS o (exchange, account, scope, order_key, provisional, order_id, status, terminal,
                                             first_filled_quantity, first_recorded_at, recorded_at, seq, producer_id, %1$s)
            SELECT s.exchange, s.key_account, s.scope, s.order_key, false, s.order_id, s.status, s.terminal,
                   s.first_filled_quantity, s.first_recorded_at, s.recorded_at, s.seq, s.producer_id, %2$s
            FROM pg_temp.staged_keys s
            WHERE (one IS NULL OR s.tid = one) AND NOT s.provisional
            -- symbol: scope, which would be looked up once more, where it says anything
            ORDER BY s.order_key COLLATE "C", s.exchange COLLATE "C", s.key_account COLLATE "C", s.symbol COLLATE "C"
            ON CONFLICT (order_key, exchange, account, scope, provisional) DO UPDATE SET
                status = CASE WHEN o.terminal AND lower(o.status COLLATE "C") IN (SELECT t.status FROM blotter_internal.terminal_statuses t) THEN o.status
                              ELSE coalesce(excluded.status, o.status) END,
                terminal = o.terminal OR excluded.terminal,
                first_filled_quantity = coalesce(o.first_filled_quantity, excluded.first_filled_quantity),
                recorded_at = excluded.recorded_at, seq = excluded.seq, producer_id = excluded.producer_id, %3$s
            WHERE excluded.first_recorded_at > o.recorded_at AND (excluded.client_order_id = o.client_order_id) IS NOT FALSE
              AND (excluded.first_filled_quantity >= o.filled_quantity) IS NOT FALSE
              AND o.first_recorded_at >= (SELECT blotter_internal.day_begins(r.first_day) FROM blotter_internal.retention r);
            GET DIAGNOSTICS upserted = ROW_COUNT;
            RETURN upserted;
        END
        $$
    $function$, blotter_internal.column_list(fields), blotter_internal.column_list(fields, 's.%I'), blotter_internal.column_list(fields, '%1$I = coalesce(excluded.%1$I, o.%1$I)'));

    EXECUTE format($function$
        CREATE OR REPLACE FUNCTION blotter_internal.keep_final() RETURNS void
            LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
            SET enable_seqscan = off SET jit = off
            AS $$
        BEGIN
            INSERT INTO blotter_internal.kept_order_events (exchange, account, order_id, client_order_id, symbol, recorded_at, seq, producer_id,
                                                            status, filled_quantity, remaining_quantity)
            SELECT o.exchange, o.account, o.order_id, CASE WHEN o.provisional THEN o.order_key END, o.symbol, o.first_recorded_at, -o.seq, o.producer_id,
                   CASE WHEN blotter_internal.is_terminal(o.status) THEN o.status END, o.first_filled_quantity, CASE WHEN o.terminal AND NOT blotter_internal.is_terminal(o.status) THEN 0 END
            FROM (SELECT r.order_key, r.exchange, r.account, r.scope, r.provisional FROM pg_temp.merge_rest r
                  UNION SELECT i.client_order_id, i.exchange, i.account, i.scope, true FROM pg_temp.rebuild_ids i WHERE NOT i.read) AS r
            JOIN blotter.orders o ON (o.order_key, o.exchange, o.account, o.scope, o.provisional) = (r.order_key, r.exchange, r.account, r.scope, r.provisional)
            WHERE blotter_internal.is_final(o.recorded_at, o.exchange, o.account, o.scope, o.order_key, o.provisional)
            ON CONFLICT DO NOTHING;
            IF FOUND THEN
                INSERT INTO blotter_internal.kept_order_events (exchange, account, order_id, recorded_at, seq, producer_id, status, %s)
                SELECT o.exchange, o.account, o.order_id, o.recorded_at, o.seq, o.producer_id, o.status, %s
                FROM (SELECT r.order_key, r.exchange, r.account, r.scope, r.provisional FROM pg_temp.merge_rest r
                      UNION SELECT i.client_order_id, i.exchange, i.account, i.scope, true FROM pg_temp.rebuild_ids i WHERE NOT i.read) AS r
                JOIN blotter.orders o ON (o.order_key, o.exchange, o.account, o.scope, o.provisional) = (r.order_key, r.exchange, r.account, r.scope, r.provisional)
                JOIN blotter_internal.kept_order_events k ON (k.recorded_at, k.producer_id, k.seq) = (o.first_recorded_at, o.producer_id, -o.seq)
                ON CONFLICT DO NOTHING;
            END IF;
        END
        $$
    $function$, blotter_internal.column_list(fields), blotter_internal.column_list(fields, 'o.%I'));
END
$write$;
COMMENT ON FUNCTION blotter_internal.write_merge() IS 'Writes upsert_staged and keep_final for the columns that orders has.';
SELECT blotter_internal.write_merge();
COMMENT ON FUNCTION blotter_internal.upsert_staged(tid) IS
    'Inserts the orders of staged_orders, and brings forward those whose row is older. In the order of the key: two who do so at once wait for each other. Returns the number of rows written. Part of merge_orders.';
COMMENT ON FUNCTION blotter_internal.keep_final() IS
    'Makes two events, its first and its newest, of an order whose events were dropped with their day, so that later events are merged with them. Part of merge_orders.';

-- Reads the events of the orders in rebuild_orders and of the client ids in merge_rest, and of whatever hangs together with
-- them through client ids, and merges them. The time bounds are constants of the statement: other days are not even planned for.
CREATE FUNCTION blotter_internal.rebuild_touched() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    source text;
    low timestamptz;
    high timestamptz;
    names text[] := blotter_internal.event_fields();
    read_events text := format($q$
        INSERT INTO pg_temp.rebuild_events (%1$s, key_account, scope, order_key, client_only, terminal, has_status)
        SELECT %2$s, k.account, k.scope, %%1$s, t.status IS NOT NULL OR e.status IS NULL AND (e.remaining_quantity = 0) IS TRUE, t.status IS NOT NULL
        FROM pg_temp.%%2$I k
        JOIN %%3$s e ON %%4$s AND e.exchange = k.exchange AND coalesce(e.account, '') = k.account
                            AND e.recorded_at BETWEEN k.from_at AND k.to_at AND e.recorded_at BETWEEN %%5$L AND %%6$L
        LEFT JOIN blotter_internal.venues v ON v.exchange = e.exchange
        LEFT JOIN blotter_internal.terminal_statuses t ON t.status = lower(e.status COLLATE "C")
        WHERE NOT k.read AND CASE WHEN v.order_id_scope = 'symbol' THEN coalesce(e.symbol, '') ELSE '' END = k.scope
    $q$, blotter_internal.column_list(names), blotter_internal.column_list(names, 'e.%I'));
BEGIN
    EXECUTE $q$
        INSERT INTO pg_temp.rebuild_ids (client_order_id, exchange, account, scope, from_at, to_at, common)
        SELECT c.client_order_id, c.exchange, c.account, c.scope, c.first_at, c.last_at, c.common
        FROM (SELECT DISTINCT r.order_key, r.exchange, r.account, r.scope FROM pg_temp.merge_rest r WHERE r.provisional) AS r
        JOIN blotter_internal.client_only_ids c ON (c.client_order_id, c.exchange, c.account, c.scope) = (r.order_key, r.exchange, r.account, r.scope)
    $q$;
    LOOP
        -- Orders: lock, see how far their events reach, read them.
        IF EXISTS (SELECT FROM pg_temp.rebuild_orders k WHERE NOT k.read) THEN
            EXECUTE $q$
                WITH reach AS (
                    SELECT k.order_key, k.exchange, k.account, k.scope, locked.*
                    FROM (SELECT * FROM pg_temp.rebuild_orders WHERE NOT read ORDER BY order_key, exchange, account, scope) AS k,
                         LATERAL (SELECT o.first_recorded_at, o.recorded_at FROM blotter.orders o
                                  WHERE (o.order_key, o.exchange, o.account, o.scope, o.provisional)
                                      = (k.order_key, k.exchange, k.account, k.scope, false)
                                  FOR UPDATE) AS locked
                )
                UPDATE pg_temp.rebuild_orders k
                SET from_at = least(k.from_at, r.first_recorded_at), to_at = greatest(k.to_at, r.recorded_at)
                FROM reach r
                WHERE (r.order_key, r.exchange, r.account, r.scope) = (k.order_key, k.exchange, k.account, k.scope)
            $q$;
            SELECT min(k.from_at), max(k.to_at) INTO low, high FROM pg_temp.rebuild_orders k WHERE NOT k.read;
            FOREACH source IN ARRAY ARRAY['blotter.order_events', 'blotter_internal.kept_order_events'] LOOP
                EXECUTE format(read_events, 'k.order_key, false', 'rebuild_orders', source, 'e.order_id = k.order_key', low, high);
            END LOOP;
            UPDATE pg_temp.rebuild_orders k SET read = true WHERE NOT k.read;

            -- The client ids among them that came alone at some time.
            EXECUTE $q$
                INSERT INTO pg_temp.rebuild_ids (client_order_id, exchange, account, scope, from_at, to_at, common)
                SELECT c.client_order_id, c.exchange, c.account, c.scope, c.first_at, c.last_at, c.common
                FROM (SELECT e.client_order_id, e.exchange, e.key_account AS account, e.scope FROM pg_temp.rebuild_events e
                      EXCEPT SELECT i.client_order_id, i.exchange, i.account, i.scope FROM pg_temp.rebuild_ids i) AS e
                JOIN blotter_internal.client_only_ids c USING (client_order_id, exchange, account, scope)
                WHERE NOT c.common
            $q$;
        END IF;
        EXIT WHEN NOT EXISTS (SELECT FROM pg_temp.rebuild_ids i WHERE NOT i.read);

        PERFORM blotter_internal.keep_final();
        SELECT min(i.from_at), max(i.to_at) INTO low, high FROM pg_temp.rebuild_ids i WHERE NOT i.read;
        FOREACH source IN ARRAY ARRAY['blotter.order_events', 'blotter_internal.kept_order_events'] LOOP
            EXECUTE format(read_events, 'NULL, true', 'rebuild_ids', source,
                           'e.client_order_id = k.client_order_id AND coalesce(e.order_id, '''') IN ('''', ''0'')', low, high);
        END LOOP;

        -- The orders that carried them.
        EXECUTE $q$
            WITH bound AS MATERIALIZED (
                SELECT i.client_order_id, i.exchange, i.account, i.scope, o.order_key
                FROM pg_temp.rebuild_ids i, LATERAL (
                    SELECT o.order_key FROM blotter.orders o
                    WHERE (o.client_order_id, o.exchange, o.account, o.scope) = (i.client_order_id, i.exchange, i.account, i.scope)
                      AND NOT o.provisional AND NOT blotter_internal.is_final(o.recorded_at, o.exchange, o.account, o.scope, o.order_key, o.provisional)
                    UNION
                    SELECT p.order_key FROM blotter_internal.order_client_ids p
                    WHERE (p.client_order_id, p.exchange, p.account, p.scope) = (i.client_order_id, i.exchange, i.account, i.scope)
                ) AS o
                WHERE NOT i.read AND NOT i.common
            ), many AS (
                UPDATE pg_temp.rebuild_ids i SET common = true
                FROM (SELECT client_order_id, exchange, account, scope FROM bound
                      GROUP BY 1, 2, 3, 4 HAVING count(*) > blotter_internal.common_client_id()) AS m
                WHERE (m.client_order_id, m.exchange, m.account, m.scope) = (i.client_order_id, i.exchange, i.account, i.scope)
            )
            INSERT INTO pg_temp.rebuild_orders (exchange, account, scope, order_key)
            SELECT b.exchange, b.account, b.scope, b.order_key FROM bound b
            EXCEPT SELECT k.exchange, k.account, k.scope, k.order_key FROM pg_temp.rebuild_orders k
        $q$;
        UPDATE pg_temp.rebuild_ids i SET read = true WHERE NOT i.read;
        EXIT WHEN NOT EXISTS (SELECT FROM pg_temp.rebuild_orders k WHERE NOT k.read);
    END LOOP;
    PERFORM blotter_internal.write_orders();
    PERFORM blotter_internal.empty_temporary('rebuild_orders', 'rebuild_ids', 'rebuild_events');
END
$$;
COMMENT ON FUNCTION blotter_internal.rebuild_touched() IS 'Makes the orders again that a merge could not bring forward. Part of merge_orders.';

-- Finds the order of each client-only event: (a), (b), (c) of orders.sql, for a client id that several orders carried: event by event.
-- The arrays have an element for each event of the client id, and for each with a terminal status of its orders, in their order: the
-- order that it names, if any; whether it carries the client id; whether its status is terminal, of an order's other client ids the first such.
CREATE FUNCTION blotter_internal.orders_of_client_id(keys text[], binds boolean[], terminal boolean[]) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    bound text[] := '{}'; -- the orders that have carried it, the latest at the end
    ended text[] := '{}';
    alive text[];
    later text;
    nexts text[] := array_fill(NULL::text, ARRAY[cardinality(keys)]); -- the order that carries it next
    given text[] := '{}';
    target text;
BEGIN
    FOR n IN REVERSE cardinality(keys) .. 1 LOOP
        nexts[n] := later;
        IF keys[n] IS NOT NULL AND binds[n] THEN
            later := keys[n];
        END IF;
    END LOOP;
    FOR n IN 1 .. cardinality(keys) LOOP
        IF keys[n] IS NOT NULL THEN
            target := keys[n];
            IF binds[n] THEN
                bound := array_remove(bound, target) || target;
            END IF;
        ELSE
            alive := ARRAY(SELECT b FROM unnest(bound) AS b WHERE b <> ALL (ended));
            IF cardinality(alive) = 1 AND alive[1] = bound[cardinality(bound)] THEN
                target := alive[1];
            ELSE
                target := nexts[n];
            END IF;
        END IF;
        given := given || target;
        IF terminal[n] AND target IS NOT NULL AND target <> ALL (ended) THEN
            ended := ended || target;
        END IF;
    END LOOP;
    RETURN given;
END
$$;
COMMENT ON FUNCTION blotter_internal.orders_of_client_id(text[], boolean[], boolean[]) IS
    'The order of each event of a client id that several orders have carried, by the rules at the top of orders.sql; null: of none.';

-- A client id that one order carried needs no walk: any client-only event before the last event with both ids belongs to it, by (a) or (b);
-- after that one, all until a terminal status has been seen.
CREATE FUNCTION blotter_internal.assigned_query(events text, common text) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN format($q$
        WITH sorted AS MATERIALIZED (
            SELECT r.*, row_number() OVER (ORDER BY r.recorded_at, r.seq, r.producer_id) AS n FROM (%1$s) AS r
        ), ended AS (
            SELECT s.*, min(s.n) FILTER (WHERE s.terminal AND NOT s.client_only) OVER (PARTITION BY s.order_key, s.exchange, s.key_account, s.scope) AS over_n
            FROM sorted s
        ), carried AS MATERIALIZED (
            SELECT s.*, min(s.order_key) OVER by_client AS one, max(s.order_key) OVER by_client AS other,
                   max(s.n) FILTER (WHERE NOT s.client_only) OVER by_client AS last_n,
                   least(min(s.over_n) OVER by_client, min(s.n) FILTER (WHERE s.client_only AND s.terminal) OVER by_client) AS first_over_n,
                   bool_or(s.client_only) OVER by_client AND (s.client_order_id, s.exchange, s.key_account, s.scope) NOT IN (%2$s) AS names
            FROM ended s
            WINDOW by_client AS (PARTITION BY s.client_order_id, s.exchange, s.key_account, s.scope)
        ), several AS (
            SELECT c.client_order_id, c.exchange, c.key_account, c.scope, c.n, c.order_key, true AS binds, c.terminal FROM carried c WHERE c.names AND c.one <> c.other
            UNION ALL
            SELECT DISTINCT ON (c.client_order_id, t.n) c.client_order_id, t.exchange, t.key_account, t.scope, t.n, t.order_key, false, true
            FROM carried c
            JOIN ended t ON (t.order_key, t.exchange, t.key_account, t.scope) = (c.order_key, c.exchange, c.key_account, c.scope)
                            AND t.n = t.over_n AND t.client_order_id IS DISTINCT FROM c.client_order_id
            WHERE c.names AND c.one <> c.other AND NOT c.client_only
        ), walked AS (
            SELECT w.n, w.order_key
            FROM (SELECT array_agg(s.n ORDER BY s.n) AS ns, blotter_internal.orders_of_client_id(array_agg(s.order_key ORDER BY s.n), array_agg(s.binds ORDER BY s.n),
                                                                                             array_agg(s.terminal ORDER BY s.n)) AS keys
                  FROM several s GROUP BY s.client_order_id, s.exchange, s.key_account, s.scope) AS g,
                 unnest(g.ns, g.keys) AS w (n, order_key)
        )
        SELECT c.*, CASE WHEN NOT c.client_only OR NOT c.names THEN c.order_key WHEN c.one <> c.other THEN w.order_key
                         WHEN c.n <= greatest(c.last_n, coalesce(c.first_over_n, c.n)) THEN c.one END AS assigned
        FROM carried c LEFT JOIN walked w ON c.client_only AND w.n = c.n
    $q$, events, common);
COMMENT ON FUNCTION blotter_internal.assigned_query(text, text) IS
    'The query that says which order (assigned) each event of another query belongs to, which has what rebuild_events has; common: the client ids that name none.';

-- Joins of temporary tables by four columns look to the planner like joins of a row; a nested loop over thousands is what it would choose.
CREATE FUNCTION blotter_internal.assign_events() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off SET jit = off
    AS $$
BEGIN
    EXECUTE format($q$
        UPDATE pg_temp.rebuild_events r SET order_key = a.assigned FROM (%s) AS a WHERE r.ctid = a.tid AND a.client_only AND a.assigned IS NOT NULL
    $q$, blotter_internal.assigned_query('SELECT r.ctid AS tid, r.client_order_id, r.exchange, r.key_account, r.scope, r.order_key, r.client_only, r.terminal, r.recorded_at, r.seq, r.producer_id FROM pg_temp.rebuild_events r',
                                         'SELECT i.client_order_id, i.exchange, i.account, i.scope FROM pg_temp.rebuild_ids i WHERE i.common'));
    EXECUTE $q$
        UPDATE pg_temp.rebuild_ids i
        SET alone = s.alone, settled_order = CASE WHEN s.one = s.other AND NOT s.alone AND NOT i.common THEN s.one END
        FROM (SELECT r.client_order_id, r.exchange, r.key_account, r.scope, min(r.order_key) AS one, max(r.order_key) AS other,
                     bool_or(r.order_key IS NULL) AS alone
              FROM pg_temp.rebuild_events r GROUP BY 1, 2, 3, 4) AS s
        WHERE (s.client_order_id, s.exchange, s.key_account, s.scope) = (i.client_order_id, i.exchange, i.account, i.scope)
    $q$;
END
$$;
COMMENT ON FUNCTION blotter_internal.assign_events() IS 'Decides which order the client-only events of rebuild_events belong to. Part of merge_orders and rebuild_orders.';

CREATE FUNCTION blotter_internal.state_columns() RETURNS text[]
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT ARRAY['order_key', 'exchange', 'account', 'scope', 'provisional', 'order_id', 'terminal', 'status', 'first_filled_quantity', 'first_recorded_at',
                 'recorded_at', 'seq', 'producer_id']
           || blotter_internal.following_fields() || blotter_internal.order_fields();
    END;
COMMENT ON FUNCTION blotter_internal.state_columns() IS 'The columns of orders, in the order in which state_query gives them.';

-- A sorted subquery keeps its order within a group, as long as the groups are made from it by sorting.
CREATE FUNCTION blotter_internal.state_query(events text) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN format($q$
        SELECT target AS order_key, exchange, key_account AS account, scope, provisional, CASE WHEN NOT provisional THEN target END AS order_id,
               coalesce(bool_or(terminal), false) AS terminal,
               coalesce(blotter_internal.first_value_of(status) FILTER (WHERE has_status), blotter_internal.last_value_of(status)) AS status,
               blotter_internal.first_value_of(filled_quantity) AS first_filled_quantity, min(recorded_at) AS first_recorded_at,
               max(recorded_at) AS recorded_at, blotter_internal.last_value_of(seq) AS seq, blotter_internal.last_value_of(producer_id) AS producer_id,
               %s, %s
        FROM (SELECT r.*, (r.filled_quantity < max(r.filled_quantity) OVER (one_order ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) IS TRUE AS out_of_date
              FROM (SELECT r.*, coalesce(r.order_key, r.client_order_id) AS target, r.order_key IS NULL AS provisional FROM %s AS r) AS r
              WINDOW one_order AS (PARTITION BY target, exchange, key_account, scope, provisional ORDER BY recorded_at, seq, producer_id)
              ORDER BY target, exchange, key_account, scope, provisional, recorded_at, seq, producer_id) AS r
        GROUP BY target, exchange, key_account, scope, provisional
        ORDER BY target, exchange, key_account, scope, provisional
    $q$, blotter_internal.column_list(blotter_internal.following_fields(), 'blotter_internal.last_value_of(%1$I) FILTER (WHERE NOT out_of_date) AS %1$I'),
         blotter_internal.column_list(blotter_internal.order_fields(), 'blotter_internal.last_value_of(%1$I) AS %1$I'), events);
END
$$;
COMMENT ON FUNCTION blotter_internal.state_query(text) IS 'The query that makes the state of each order from events in the shape of rebuild_events, by the rules at the top of orders.sql.';

CREATE FUNCTION blotter_internal.write_orders() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    names text[] := blotter_internal.state_columns();
BEGIN
    IF EXISTS (SELECT FROM pg_temp.rebuild_ids) THEN
        PERFORM blotter_internal.assign_events();
    END IF;

    EXECUTE format($q$
        INSERT INTO blotter.orders AS o (%1$s)
        %2$s
        ON CONFLICT (order_key, exchange, account, scope, provisional) DO UPDATE SET %3$s
    $q$, blotter_internal.column_list(names), blotter_internal.state_query('pg_temp.rebuild_events'), blotter_internal.column_list(names, '%1$I = excluded.%1$I'));

    EXECUTE $q$
        DELETE FROM blotter.orders o USING pg_temp.rebuild_ids i
        WHERE (o.order_key, o.exchange, o.account, o.scope, o.provisional) = (i.client_order_id, i.exchange, i.account, i.scope, true)
          AND NOT i.alone
    $q$;
    EXECUTE $q$
        UPDATE blotter_internal.client_only_ids c SET settled_order = i.settled_order, common = i.common
        FROM pg_temp.rebuild_ids i
        WHERE (c.client_order_id, c.exchange, c.account, c.scope) = (i.client_order_id, i.exchange, i.account, i.scope)
          AND (c.settled_order, c.common) IS DISTINCT FROM (i.settled_order, i.common)
    $q$;
    EXECUTE $q$
        INSERT INTO blotter_internal.order_client_ids (client_order_id, exchange, account, scope, order_key)
        SELECT DISTINCT r.client_order_id, r.exchange, r.key_account, r.scope, r.order_key
        FROM (SELECT r.*, min(r.client_order_id) OVER one_order <> max(r.client_order_id) OVER one_order AS several
              FROM pg_temp.rebuild_events r
              WHERE NOT r.client_only
              WINDOW one_order AS (PARTITION BY r.order_key, r.exchange, r.key_account, r.scope)) AS r
        LEFT JOIN blotter_internal.client_only_ids c
            ON (c.client_order_id, c.exchange, c.account, c.scope) = (r.client_order_id, r.exchange, r.key_account, r.scope)
        WHERE r.client_order_id NOT IN ('', '0')
          AND (r.several OR (c.client_order_id IS NOT NULL AND c.settled_order IS NULL AND NOT c.common))
        ORDER BY 1, 2, 3, 4, 5
        ON CONFLICT DO NOTHING
    $q$;
END
$$;
COMMENT ON FUNCTION blotter_internal.write_orders() IS 'Decides where client-only events belong, and merges rebuild_events into orders. Part of merge_orders and rebuild_orders.';

CREATE FUNCTION blotter_internal.rebuild_orders() RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    source text;
    names text[] := blotter_internal.event_fields();
BEGIN
    PERFORM blotter_internal.begin_session(false);
    -- Waits for the merges that are under way, and holds off new ones; readers go on.
    LOCK TABLE blotter.orders IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM pg_temp.rebuild_ids;
    DELETE FROM pg_temp.rebuild_events;
    DELETE FROM blotter_internal.order_errors;
    DELETE FROM blotter_internal.order_client_ids;
    DELETE FROM blotter_internal.client_only_ids;
    -- An order that had ended before the first kept day has no events any more: its row is all there is.
    DELETE FROM blotter.orders o WHERE NOT blotter_internal.is_final(o.recorded_at, o.exchange, o.account, o.scope, o.order_key, o.provisional);
    FOREACH source IN ARRAY ARRAY['blotter.order_events', 'blotter_internal.kept_order_events'] LOOP
        EXECUTE format($q$
            INSERT INTO pg_temp.rebuild_events (%1$s, key_account, scope, order_key, client_only, terminal, has_status)
            SELECT %2$s, e.key_account, e.scope, CASE WHEN e.order_id NOT IN ('', '0') THEN e.order_id END, coalesce(e.order_id, '') IN ('', '0'),
                   t.status IS NOT NULL OR e.status IS NULL AND (e.remaining_quantity = 0) IS TRUE, t.status IS NOT NULL
            FROM (SELECT e.*, coalesce(e.account, '') AS key_account,
                         CASE WHEN v.order_id_scope = 'symbol' THEN coalesce(e.symbol, '') ELSE '' END AS scope
                  FROM %3$s e LEFT JOIN blotter_internal.venues v USING (exchange)) AS e
            LEFT JOIN blotter_internal.terminal_statuses t ON t.status = lower(e.status COLLATE "C")
            WHERE (e.order_id NOT IN ('', '0') OR e.client_order_id NOT IN ('', '0'))
              AND NOT EXISTS (SELECT FROM blotter.orders o WHERE (o.order_key, o.exchange, o.account, o.scope, o.provisional)
                                                              = (e.order_id, e.exchange, e.key_account, e.scope, false))
        $q$, blotter_internal.column_list(names), blotter_internal.column_list(names, 'e.%I'), source);
    END LOOP;
    INSERT INTO blotter_internal.client_only_ids (client_order_id, exchange, account, scope, first_at, last_at)
    SELECT e.client_order_id, e.exchange, e.key_account, e.scope, min(e.recorded_at), max(e.recorded_at)
    FROM (SELECT e.client_order_id, e.exchange, e.key_account, e.scope, e.recorded_at FROM pg_temp.rebuild_events e WHERE e.client_only
          UNION ALL -- the rows that are all there is
          SELECT o.order_key, o.exchange, o.account, o.scope, x.at FROM blotter.orders o CROSS JOIN LATERAL (VALUES (o.first_recorded_at), (o.recorded_at)) AS x (at)
          WHERE o.provisional) AS e
    GROUP BY 1, 2, 3, 4;
    INSERT INTO pg_temp.rebuild_ids (client_order_id, exchange, account, scope, common)
    SELECT c.client_order_id, c.exchange, c.account, c.scope, count(DISTINCT e.order_key) > blotter_internal.common_client_id()
    FROM blotter_internal.client_only_ids c
    LEFT JOIN pg_temp.rebuild_events e ON NOT e.client_only
        AND (e.client_order_id, e.exchange, e.key_account, e.scope) = (c.client_order_id, c.exchange, c.account, c.scope)
    GROUP BY 1, 2, 3, 4;
    PERFORM blotter_internal.write_orders();
    PERFORM blotter_internal.empty_temporary('rebuild_ids', 'rebuild_events');
    RETURN (SELECT count(*) FROM blotter.orders);
END
$$;
COMMENT ON FUNCTION blotter_internal.rebuild_orders() IS 'Makes all of orders again from the events. After editing venues or terminal_statuses, after loading without orders, or after order_errors. Returns the number of orders.';

