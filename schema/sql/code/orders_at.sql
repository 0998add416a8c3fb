-- orders_at: orders as they were at a time, made from the events recorded before it by the rules of orders.sql.
--
-- A row whose newest event came before the time is as it was. The others are made again, by the same functions as when they are merged: from
-- their own events, and from those that came by client id alone, which may have belonged to another order then, or to none.

-- Orders that had events on both sides of the time, their client ids, and the other orders that carried those: what decides whose the
-- events by client id alone were.
CREATE FUNCTION blotter_internal.find_changed_orders(t timestamptz, of_exchange text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    INSERT INTO pg_temp.rebuild_orders (exchange, account, scope, order_key, from_at, read)
    SELECT o.exchange, o.account, o.scope, o.order_key, o.first_recorded_at, true
    FROM blotter.orders o
    WHERE o.first_recorded_at < t AND o.recorded_at >= t AND NOT o.provisional AND (of_exchange IS NULL OR o.exchange = of_exchange);
    INSERT INTO pg_temp.rebuild_ids (client_order_id, exchange, account, scope, from_at, common, read)
    SELECT c.client_order_id, c.exchange, c.account, c.scope, c.first_at, c.common, true
    FROM blotter_internal.client_only_ids c
    WHERE c.first_at < t AND (of_exchange IS NULL OR c.exchange = of_exchange)
      AND (EXISTS (SELECT FROM pg_temp.rebuild_orders k
                   JOIN blotter.orders o ON (o.order_key, o.exchange, o.account, o.scope, o.provisional) = (k.order_key, k.exchange, k.account, k.scope, false)
                   WHERE (o.client_order_id, o.exchange, o.account, o.scope) = (c.client_order_id, c.exchange, c.account, c.scope))
           OR EXISTS (SELECT FROM pg_temp.rebuild_orders k
                      JOIN blotter_internal.order_client_ids p USING (order_key, exchange, account, scope)
                      WHERE (p.client_order_id, p.exchange, p.account, p.scope) = (c.client_order_id, c.exchange, c.account, c.scope))
           OR EXISTS (SELECT FROM blotter.orders o
                      WHERE (o.order_key, o.exchange, o.account, o.scope, o.provisional) = (c.client_order_id, c.exchange, c.account, c.scope, true)
                        AND o.first_recorded_at < t AND o.recorded_at >= t));
    INSERT INTO pg_temp.rebuild_orders (exchange, account, scope, order_key, from_at, read)
    SELECT o.exchange, o.account, o.scope, o.order_key, o.first_recorded_at, false
    FROM blotter.orders o
    WHERE NOT o.provisional AND o.first_recorded_at < t
      AND (o.order_key, o.exchange, o.account, o.scope) IN
          (SELECT b.order_key, i.exchange, i.account, i.scope
           FROM pg_temp.rebuild_ids i
           CROSS JOIN LATERAL (SELECT a.order_key FROM blotter.orders a
                               WHERE (a.client_order_id, a.exchange, a.account, a.scope) = (i.client_order_id, i.exchange, i.account, i.scope) AND NOT a.provisional
                               UNION
                               SELECT p.order_key FROM blotter_internal.order_client_ids p
                               WHERE (p.client_order_id, p.exchange, p.account, p.scope) = (i.client_order_id, i.exchange, i.account, i.scope)) AS b
           WHERE NOT i.common)
      AND (o.order_key, o.exchange, o.account, o.scope) NOT IN (SELECT k.order_key, k.exchange, k.account, k.scope FROM pg_temp.rebuild_orders k);
END
$$;
COMMENT ON FUNCTION blotter_internal.find_changed_orders(timestamptz, text) IS
    'Fills rebuild_orders with the orders that have to be made again for a time (read) and those whose events say to whom client ids belonged (not read), and rebuild_ids with their client ids. Part of orders_at.';

CREATE FUNCTION blotter_internal.read_events_before(t timestamptz) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
DECLARE
    source text;
    low timestamptz := (SELECT least((SELECT min(k.from_at) FROM pg_temp.rebuild_orders k), (SELECT min(i.from_at) FROM pg_temp.rebuild_ids i)));
    names text[] := blotter_internal.event_fields();
    read_events text := format($q$
        INSERT INTO pg_temp.rebuild_events (%1$s, key_account, scope, order_key, client_only, terminal, has_status)
        SELECT %2$s, k.account, k.scope, %%1$s, s.status IS NOT NULL OR e.status IS NULL AND (e.remaining_quantity = 0) IS TRUE, s.status IS NOT NULL
        FROM pg_temp.%%2$I k
        JOIN %%3$s e ON %%4$s AND e.exchange = k.exchange AND coalesce(e.account, '') = k.account AND e.recorded_at >= %%5$L AND e.recorded_at < %%6$L
        LEFT JOIN blotter_internal.venues v ON v.exchange = e.exchange
        LEFT JOIN blotter_internal.terminal_statuses s ON s.status = lower(e.status COLLATE "C")
        WHERE CASE WHEN v.order_id_scope = 'symbol' THEN coalesce(e.symbol, '') ELSE '' END = k.scope
    $q$, blotter_internal.column_list(names), blotter_internal.column_list(names, 'e.%I'));
BEGIN
    ANALYZE pg_temp.rebuild_orders, pg_temp.rebuild_ids;
    FOREACH source IN ARRAY ARRAY['blotter.order_events', 'blotter_internal.kept_order_events'] LOOP
        EXECUTE format(read_events, 'k.order_key, false', 'rebuild_orders', source, 'e.order_id = k.order_key', low, t);
        EXECUTE format(read_events, 'NULL, true', 'rebuild_ids', source, 'e.client_order_id = k.client_order_id AND coalesce(e.order_id, '''') IN ('''', ''0'')', low, t);
    END LOOP;
END
$$;
COMMENT ON FUNCTION blotter_internal.read_events_before(timestamptz) IS 'Reads the events of rebuild_orders and rebuild_ids that were recorded before a time into rebuild_events. Part of orders_at.';

CREATE FUNCTION blotter.orders_at(t timestamptz, of_exchange text DEFAULT NULL) RETURNS SETOF blotter.orders
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM blotter_internal.begin_session(false);
    PERFORM blotter_internal.empty_temporary('rebuild_orders', 'rebuild_ids', 'rebuild_events');
    PERFORM blotter_internal.find_changed_orders(t, of_exchange);
    RETURN QUERY
        SELECT o.* FROM blotter.orders o
        WHERE o.first_recorded_at < t AND o.recorded_at < t AND (of_exchange IS NULL OR o.exchange = of_exchange)
          AND NOT (o.provisional AND EXISTS (SELECT FROM pg_temp.rebuild_ids i
                                             WHERE (i.client_order_id, i.exchange, i.account, i.scope) = (o.order_key, o.exchange, o.account, o.scope)));
    IF NOT EXISTS (SELECT FROM pg_temp.rebuild_orders) AND NOT EXISTS (SELECT FROM pg_temp.rebuild_ids) THEN
        RETURN;
    END IF;
    PERFORM blotter_internal.read_events_before(t);
    PERFORM blotter_internal.assign_events();
    RETURN QUERY EXECUTE format($q$
        SELECT %s FROM (%s) AS s
        WHERE s.provisional OR (s.order_key, s.exchange, s.account, s.scope) IN (SELECT k.order_key, k.exchange, k.account, k.scope FROM pg_temp.rebuild_orders k WHERE k.read)
    $q$, (SELECT string_agg(CASE WHEN a.attname = ANY (blotter_internal.state_columns()) THEN format('s.%I', a.attname)
                                 ELSE format('NULL::%s', format_type(a.atttypid, a.atttypmod)) END, ', ' ORDER BY a.attnum)
          FROM pg_attribute a WHERE a.attrelid = 'blotter.orders'::regclass AND a.attnum > 0 AND NOT a.attisdropped),
         blotter_internal.state_query());
    PERFORM blotter_internal.empty_temporary('rebuild_orders', 'rebuild_ids', 'rebuild_events');
END
$$;
COMMENT ON FUNCTION blotter.orders_at(timestamptz, text) IS
    'blotter.orders as the events recorded before a time make it, of one exchange if given. Uses temporary tables, so not on a standby. Times before the first day kept are not known. Example: SELECT symbol, side, price, remaining_quantity FROM blotter.orders_at(now() - interval ''1 hour'', ''okx'') WHERE NOT terminal;';
