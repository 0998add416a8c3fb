-- Dropping days. A day is aggregated before it is dropped: what it means for positions, orders and the audit stays.

-- Orders that may still change need their events, and so do others that carried a client id of theirs by which alone events came: whose these
-- were is decided among all of them. The other orders need their row only. Orders and client ids are looked up by the indexes, however many there are.
CREATE FUNCTION blotter_internal.lasting_orders(before timestamptz)
    RETURNS TABLE (order_key text, provisional boolean, exchange text, account text, scope text)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = on SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
    AS $$
    WITH RECURSIVE lasting AS (
        SELECT o.order_key, o.provisional, o.exchange, o.account, o.scope FROM blotter.orders o
        WHERE o.first_recorded_at < before AND (NOT o.terminal OR o.recorded_at >= before)
        UNION
        SELECT x.order_key, x.provisional, n.exchange, n.account, n.scope
        FROM lasting n
        CROSS JOIN LATERAL (
            SELECT c.client_order_id AS order_key, true AS provisional
            FROM (SELECT o.client_order_id FROM blotter.orders o
                  WHERE (o.order_key, o.exchange, o.account, o.scope, o.provisional) = (n.order_key, n.exchange, n.account, n.scope, false)
                  UNION ALL
                  SELECT p.client_order_id FROM blotter_internal.order_client_ids p
                  WHERE (p.order_key, p.exchange, p.account, p.scope) = (n.order_key, n.exchange, n.account, n.scope)) AS i
            JOIN blotter_internal.client_only_ids c ON (c.client_order_id, c.exchange, c.account, c.scope) = (i.client_order_id, n.exchange, n.account, n.scope)
            WHERE NOT n.provisional AND NOT c.common
            UNION ALL
            SELECT i.order_key, false
            FROM blotter_internal.client_only_ids c
            CROSS JOIN LATERAL (
                SELECT o.order_key FROM blotter.orders o
                WHERE (o.client_order_id, o.exchange, o.account, o.scope, o.provisional) = (c.client_order_id, c.exchange, c.account, c.scope, false)
                UNION ALL
                SELECT p.order_key FROM blotter_internal.order_client_ids p
                WHERE (p.client_order_id, p.exchange, p.account, p.scope) = (c.client_order_id, c.exchange, c.account, c.scope)) AS i
            WHERE n.provisional AND (c.client_order_id, c.exchange, c.account, c.scope) = (n.order_key, n.exchange, n.account, n.scope) AND NOT c.common
        ) AS x
    )
    SELECT * FROM lasting
    $$;
COMMENT ON FUNCTION blotter_internal.lasting_orders(timestamptz) IS
    'The orders whose events recorded before a time are kept when their days go; provisional: a client id, of which those events that came by it alone are. Part of aggregate_days.';

CREATE FUNCTION blotter_internal.lasting_events_query(before timestamptz, source text DEFAULT 'blotter.order_events') RETURNS text
    LANGUAGE sql STABLE
    RETURN format($q$
        SELECT %1$s FROM %3$s e LEFT JOIN blotter_internal.venues v ON v.exchange = e.exchange
        WHERE e.recorded_at < %2$L
          AND (CASE WHEN e.order_id NOT IN ('', '0') THEN e.order_id ELSE e.client_order_id END, coalesce(e.order_id, '') IN ('', '0'), e.exchange, coalesce(e.account, ''),
               CASE WHEN v.order_id_scope = 'symbol' THEN coalesce(e.symbol, '') ELSE '' END)
              IN (SELECT o.order_key, o.provisional, o.exchange, o.account, o.scope FROM blotter_internal.lasting_orders(%2$L) AS o)
    $q$, blotter_internal.column_list(blotter_internal.event_fields(), 'e.%I'), before, source);
COMMENT ON FUNCTION blotter_internal.lasting_events_query(timestamptz, text) IS
    'The query that reads from a table the events recorded before a time of lasting_orders. Part of aggregate_days.';

-- An order is not looked up for each event: thousands of orders that are over may share the client id.
CREATE FUNCTION blotter_internal.keep_order_events(before timestamptz) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off
    SET jit = off
    AS $$
BEGIN
    EXECUTE format('DELETE FROM blotter_internal.kept_order_events k'
                   ' WHERE NOT EXISTS (SELECT FROM (%s) AS l WHERE (l.recorded_at, l.producer_id, l.seq) = (k.recorded_at, k.producer_id, k.seq))',
                   blotter_internal.lasting_events_query(before, 'blotter_internal.kept_order_events'));
    EXECUTE format('INSERT INTO blotter_internal.kept_order_events (%s) %s ON CONFLICT DO NOTHING',
                   blotter_internal.column_list(blotter_internal.event_fields()), blotter_internal.lasting_events_query(before));
END
$$;
COMMENT ON FUNCTION blotter_internal.keep_order_events(timestamptz) IS 'Keeps the events of lasting_events_query, and no others. Part of aggregate_days.';

CREATE FUNCTION blotter_internal.aggregate_days(before date) RETURNS SETOF blotter_internal.partitions
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    old date;
    low timestamptz;
    high timestamptz := blotter_internal.day_begins(before);
    part record;
BEGIN
    IF before > blotter_internal.today() THEN
        RAISE EXCEPTION 'cannot aggregate %: it is not over', before - 1 USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'aggregate_days has to see what it waited for' USING HINT = 'Call it under READ COMMITTED.';
    END IF;
    PERFORM pg_advisory_xact_lock(blotter_internal.lock_class(), 0);
    SELECT r.first_day INTO old FROM blotter_internal.retention r FOR UPDATE;
    low := blotter_internal.day_begins(old);
    IF before > old THEN
        PERFORM blotter_internal.make_day(p.day) FROM blotter_internal.partitions p WHERE p.day < before AND p.state = 'detached';
        -- Waits for the open COPYs that have written there; those that would come later find that they cannot.
        FOR part IN SELECT p.* FROM blotter_internal.partitions p WHERE p.day < before AND p.day >= old AND p.state = 'kept' ORDER BY p.day, p."table" LOOP
            EXECUTE format('CREATE OR REPLACE TRIGGER refuse_row BEFORE INSERT ON blotter_internal.%I FOR EACH ROW EXECUTE FUNCTION blotter_internal.refuse_row()', part.partition);
        END LOOP;

        -- Fills stay when their day goes. What is queued has to be booked before: cash entries and instruments are read where they are stored.
        PERFORM blotter_internal.book_everything();

        -- Audit: which seqs go. Heartbeats go too, but the last of each producer; their seqs with them, so that the ranges have no holes.
        INSERT INTO blotter_internal.gone_seqs AS g (producer_id, exchange, lane, dropped)
        SELECT s.producer_id, s.exchange, s.lane, s.seqs FROM blotter_internal.seqs_between(low, high) s
        ORDER BY s.producer_id, s.exchange COLLATE "C", s.lane COLLATE "C"
        ON CONFLICT (producer_id, exchange, lane) DO UPDATE SET dropped = g.dropped + excluded.dropped;
        DELETE FROM blotter_internal.sessions s
        WHERE s.event = 'heartbeat' AND s.recorded_at < high
          AND EXISTS (SELECT FROM blotter_internal.sessions l
                      WHERE l.producer_id = s.producer_id AND l.exchange = s.exchange AND coalesce(l.lane, '') = coalesce(s.lane, '')
                        AND l.seq > s.seq AND l.event IN ('heartbeat', 'closed'));

        DELETE FROM blotter_internal.day_summary d WHERE d.day < before;
        DELETE FROM blotter_internal.day_changes c WHERE c.day < before;

        -- An order that began with an amend and is over keeps in its row which client id that was.
        UPDATE blotter.orders n SET orig_client_order_id = n.client_order_id
        WHERE n.first_recorded_at >= low AND n.first_recorded_at < high AND n.orig_client_order_id IS NULL AND n.client_order_id NOT IN ('', '0')
          AND NOT n.provisional AND n.terminal
          AND EXISTS (SELECT FROM blotter.orders o
                      WHERE o.client_order_id = n.client_order_id AND o.exchange = n.exchange AND o.account = n.account AND o.scope = n.scope
                        AND o.order_key <> n.order_key AND o.first_recorded_at < n.first_recorded_at)
          AND blotter_internal.begins_with_amend(n.order_key, n.exchange, n.account, n.first_recorded_at);

        PERFORM blotter_internal.keep_order_events(high);

        UPDATE blotter_internal.retention r SET first_day = before;
    END IF;
    RETURN QUERY SELECT p.* FROM blotter_internal.partitions p WHERE p.state IN ('detach', 'finalize', 'drop') ORDER BY p.day, p."table";
END
$$;
COMMENT ON FUNCTION blotter_internal.aggregate_days(date) IS
    'First step of dropping the days before that one (UTC), as one transaction: aggregates them into gone_seqs and kept_order_events, raises retention.first_day, and refuses further rows. Returns the partitions whose next step is due: see blotter_internal.partitions.state.';
