-- orders_at: orders as they were at a time, made from the events recorded before it by the rules of orders.sql.
--
-- A row whose newest event came before the time is as it was. The others are made again, by the same queries as when they are merged: from
-- their own events, and from those that came by client id alone, which may have belonged to another order then, or to none. Nothing is
-- written, not even a temporary table, so that it can be asked of a standby.

CREATE FUNCTION blotter_internal.orders_around(t timestamptz, of_exchange text) RETURNS blotter_internal.order_name[]
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT ARRAY(SELECT ROW(o.exchange, o.account, o.scope, o.order_key, o.first_recorded_at, true)::blotter_internal.order_name
                 FROM blotter.orders o
                 WHERE o.first_recorded_at < t AND o.recorded_at >= t AND NOT o.provisional AND (of_exchange IS NULL OR o.exchange = of_exchange));
    END;
COMMENT ON FUNCTION blotter_internal.orders_around(timestamptz, text) IS 'The orders that had events on both sides of a time. Part of orders_at.';

CREATE FUNCTION blotter_internal.client_ids_of(orders blotter_internal.order_name[], t timestamptz, of_exchange text) RETURNS blotter_internal.order_name[]
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    WITH changed AS MATERIALIZED (SELECT k.exchange, k.account, k.scope, k.name FROM unnest(orders) AS k)
    SELECT ARRAY(
        SELECT ROW(c.exchange, c.account, c.scope, c.client_order_id, c.first_at, c.common)::blotter_internal.order_name
        FROM blotter_internal.client_only_ids c
        WHERE c.first_at < t AND (of_exchange IS NULL OR c.exchange = of_exchange)
          AND ((c.client_order_id, c.exchange, c.account, c.scope) IN (
                   SELECT o.client_order_id, o.exchange, o.account, o.scope FROM changed k
                   JOIN blotter.orders o ON (o.order_key, o.exchange, o.account, o.scope, o.provisional) = (k.name, k.exchange, k.account, k.scope, false)
                   UNION ALL
                   SELECT p.client_order_id, p.exchange, p.account, p.scope FROM changed k
                   JOIN blotter_internal.order_client_ids p ON (p.order_key, p.exchange, p.account, p.scope) = (k.name, k.exchange, k.account, k.scope))
               OR EXISTS (SELECT FROM blotter.orders o
                          WHERE (o.order_key, o.exchange, o.account, o.scope, o.provisional) = (c.client_order_id, c.exchange, c.account, c.scope, true)
                            AND o.first_recorded_at < t AND o.recorded_at >= t)));
    END;
COMMENT ON FUNCTION blotter_internal.client_ids_of(blotter_internal.order_name[], timestamptz, text) IS
    'The client ids that came alone before a time and may have named one of these orders, or an order that is known by its client id alone. Part of orders_at.';

CREATE FUNCTION blotter_internal.orders_of(ids blotter_internal.order_name[], orders blotter_internal.order_name[], t timestamptz) RETURNS blotter_internal.order_name[]
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT ARRAY(
        SELECT ROW(o.exchange, o.account, o.scope, o.order_key, o.first_recorded_at, false)::blotter_internal.order_name
        FROM (SELECT a.order_key, i.exchange, i.account, i.scope FROM unnest(ids) AS i
              JOIN blotter.orders a ON (a.client_order_id, a.exchange, a.account, a.scope) = (i.name, i.exchange, i.account, i.scope) AND NOT a.provisional
              WHERE NOT i.marked
              UNION
              SELECT p.order_key, i.exchange, i.account, i.scope FROM unnest(ids) AS i
              JOIN blotter_internal.order_client_ids p ON (p.client_order_id, p.exchange, p.account, p.scope) = (i.name, i.exchange, i.account, i.scope)
              WHERE NOT i.marked
              EXCEPT
              SELECT k.name, k.exchange, k.account, k.scope FROM unnest(orders) AS k) AS b
        JOIN blotter.orders o ON (o.order_key, o.exchange, o.account, o.scope, o.provisional) = (b.order_key, b.exchange, b.account, b.scope, false)
        WHERE o.first_recorded_at < t);
    END;
COMMENT ON FUNCTION blotter_internal.orders_of(blotter_internal.order_name[], blotter_internal.order_name[], timestamptz) IS
    'The other orders that carried these client ids, which decide whose the events by client id alone were. Part of orders_at.';

-- The events of an order id, or of a client id, are looked up by themselves, in its own days: hence OFFSET 0. low is before all of them: earlier days
-- are not even planned for. They are read once, though thousands of accounts may have that id; IS TRUE: looked up in a hash table, never joined.
CREATE FUNCTION blotter_internal.events_before_query(low timestamptz, t timestamptz) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT string_agg(format($q$
        SELECT %1$s, e.key_account, e.scope, %4$s AS order_key, %5$s AS client_only,
               s.status IS NOT NULL OR e.status IS NULL AND (e.remaining_quantity = 0) IS TRUE AS terminal, s.status IS NOT NULL AS has_status
        FROM (SELECT i.name, min(i.from_at) AS from_at FROM unnest(%2$s) AS i GROUP BY i.name) AS k
        CROSS JOIN LATERAL (SELECT %9$s, coalesce(x.account, '') AS key_account,
                                   CASE WHEN x.exchange IN (SELECT v.exchange FROM blotter_internal.venues v WHERE v.order_id_scope = 'symbol')
                                        THEN coalesce(x.symbol, '') ELSE '' END AS scope
                            FROM %3$s x
                            WHERE %6$s AND x.recorded_at >= k.from_at AND x.recorded_at >= %8$L AND x.recorded_at < %7$L OFFSET 0) AS e
        LEFT JOIN blotter_internal.terminal_statuses s ON s.status = lower(e.status COLLATE "C")
        WHERE ((k.name, e.exchange, e.key_account, e.scope) IN (SELECT i.name, i.exchange, i.account, i.scope FROM unnest(%2$s) AS i)) IS TRUE
    $q$, blotter_internal.column_list(blotter_internal.event_fields(), 'e.%I'), r.names, e.source, r.order_key, r.client_only, r.condition, t, low,
                             blotter_internal.column_list(blotter_internal.event_fields(), 'x.%I')), ' UNION ALL ')
    FROM (VALUES ('blotter.order_events'), ('blotter_internal.kept_order_events')) AS e (source)
    CROSS JOIN (VALUES ('$1', 'k.name', 'false', 'x.order_id = k.name'),
                       ('$2', 'NULL::text', 'true', 'x.client_order_id = k.name AND coalesce(x.order_id, '''') IN ('''', ''0'')')) AS r (names, order_key, client_only, condition);
    END;
COMMENT ON FUNCTION blotter_internal.events_before_query(timestamptz, timestamptz) IS
    'The query that reads the events of orders ($1) and of client ids ($2) that were recorded from low to before t, in the shape of rebuild_events. Part of orders_at.';

CREATE FUNCTION blotter_internal.orders_made_again(t timestamptz, of_exchange text) RETURNS SETOF blotter.orders
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    SET enable_bitmapscan = off -- an order's events by its id alone: no look at all that a day has recorded since its first one
    AS $$
DECLARE
    changed blotter_internal.order_name[] := blotter_internal.orders_around(t, of_exchange);
    ids blotter_internal.order_name[] := blotter_internal.client_ids_of(changed, t, of_exchange);
    low timestamptz;
BEGIN
    RETURN QUERY
        SELECT o.* FROM blotter_internal.client_only_ids c
        JOIN blotter.orders o ON (o.order_key, o.exchange, o.account, o.scope, o.provisional) = (c.client_order_id, c.exchange, c.account, c.scope, true)
        WHERE o.first_recorded_at < t AND o.recorded_at < t AND (of_exchange IS NULL OR c.exchange = of_exchange)
          AND (c.client_order_id, c.exchange, c.account, c.scope) NOT IN (SELECT i.name, i.exchange, i.account, i.scope FROM unnest(ids) AS i);
    IF changed = '{}' AND ids = '{}' THEN
        RETURN;
    END IF;
    changed := changed || blotter_internal.orders_of(ids, changed, t);
    low := (SELECT min(k.from_at) FROM unnest(changed || ids) AS k);
    RETURN QUERY EXECUTE format($q$
        SELECT %1$s FROM (%2$s) AS s
        WHERE s.provisional OR (s.order_key, s.exchange, s.account, s.scope) IN (SELECT k.name, k.exchange, k.account, k.scope FROM unnest($1) AS k WHERE k.marked)
    $q$, (SELECT string_agg(CASE WHEN a.attname = ANY (blotter_internal.state_columns()) THEN format('s.%I', a.attname)
                                 ELSE format('NULL::%s', format_type(a.atttypid, a.atttypmod)) END, ', ' ORDER BY a.attnum)
          FROM pg_attribute a WHERE a.attrelid = 'blotter.orders'::regclass AND a.attnum > 0 AND NOT a.attisdropped),
         blotter_internal.state_query(format('(SELECT %s, a.key_account, a.scope, a.assigned AS order_key, a.client_only, a.terminal, a.has_status FROM (%s) AS a)',
             blotter_internal.column_list(blotter_internal.event_fields(), 'a.%I'),
             blotter_internal.assigned_query(blotter_internal.events_before_query(low, t), 'SELECT i.name, i.exchange, i.account, i.scope FROM unnest($2) AS i WHERE i.marked'))))
    USING changed, ids;
END
$$;
COMMENT ON FUNCTION blotter_internal.orders_made_again(timestamptz, text) IS
    'The orders that had events on both sides of a time, made from those before it; and those that are known by a client id alone. Part of orders_at.';

-- Without settings and in SQL, so that the planner sees through it: a condition of the caller's finds its index, and nothing is copied.
CREATE FUNCTION blotter.orders_at(t timestamptz, of_exchange text DEFAULT NULL) RETURNS SETOF blotter.orders
    LANGUAGE sql STABLE
    AS $$
    SELECT o.* FROM blotter.orders o
    WHERE o.first_recorded_at < t AND o.recorded_at < t AND (of_exchange IS NULL OR o.exchange = of_exchange)
      AND NOT (o.provisional AND EXISTS (SELECT FROM blotter_internal.client_only_ids c
                                         WHERE (c.client_order_id, c.exchange, c.account, c.scope) = (o.order_key, o.exchange, o.account, o.scope)))
    UNION ALL
    SELECT m.* FROM blotter_internal.orders_made_again(t, of_exchange) AS m
$$;
COMMENT ON FUNCTION blotter.orders_at(timestamptz, text) IS
    'blotter.orders as the events recorded before a time make it, of one exchange if given. Times before the first day kept are not known. Example: SELECT symbol, side, price, remaining_quantity FROM blotter.orders_at(now() - interval ''1 hour'', ''okx'') WHERE NOT terminal;';

-- By order_id alone each day's index would be looked into. blotter.orders knows an order's days: others are not even planned for. Orders that began on
-- the same day are read together, and their events once: thousands of accounts may have one id, which PostgreSQL takes for one.
CREATE FUNCTION blotter.order_history(of_order text, of_exchange text DEFAULT NULL, of_account text DEFAULT NULL, of_symbol text DEFAULT NULL)
    RETURNS SETOF blotter.order_events
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    SET enable_nestloop = off
    AS $$
DECLARE
    began record;
BEGIN
    FOR began IN
        SELECT date_trunc('day', o.first_recorded_at, 'UTC') AS day, min(o.first_recorded_at) AS low, max(o.recorded_at) AS high
        FROM blotter.orders o
        WHERE o.order_key = of_order AND (of_exchange IS NULL OR o.exchange = of_exchange) AND (of_account IS NULL OR o.account = of_account)
          AND (of_symbol IS NULL OR o.scope IN ('', of_symbol))
        GROUP BY 1 ORDER BY 1
    LOOP
        RETURN QUERY EXECUTE format($q$
            WITH o AS MATERIALIZED (
                SELECT o.exchange, o.account, o.scope, o.provisional, o.first_recorded_at, o.recorded_at, i.client_order_ids
                FROM blotter.orders o
                CROSS JOIN LATERAL (SELECT array_agg(c.id) FILTER (WHERE c.id NOT IN ('', '0')) AS client_order_ids
                                    FROM (SELECT o.client_order_id AS id
                                          UNION ALL SELECT p.client_order_id FROM blotter_internal.order_client_ids p
                                          WHERE (p.order_key, p.exchange, p.account, p.scope) = (o.order_key, o.exchange, o.account, o.scope)) AS c) AS i
                WHERE o.order_key = $1 AND ($2 IS NULL OR o.exchange = $2) AND ($3 IS NULL OR o.account = $3) AND ($4 IS NULL OR o.scope IN ('', $4))
                  AND o.first_recorded_at >= $5 AND o.first_recorded_at < $5 + interval '24 hours')
            SELECT e.* FROM ((SELECT x.* FROM blotter.order_events x WHERE x.order_id = $1 AND x.recorded_at BETWEEN %1$L AND %2$L OFFSET 0)
                             UNION ALL
                             (SELECT x.* FROM blotter.order_events x
                              WHERE coalesce(x.order_id, '') IN ('', '0') AND x.client_order_id = ANY (ARRAY(SELECT DISTINCT unnest(o.client_order_ids) FROM o))
                                AND x.recorded_at BETWEEN %1$L AND %2$L OFFSET 0)) AS e
            JOIN o ON e.exchange = o.exchange AND coalesce(e.account, '') = o.account AND (o.scope = '' OR e.symbol = o.scope)
                  AND e.recorded_at BETWEEN o.first_recorded_at AND o.recorded_at AND (e.order_id = $1 OR e.client_order_id = ANY (o.client_order_ids))
            ORDER BY o.exchange, o.account, o.scope, o.provisional, e.recorded_at, e.seq, e.producer_id
        $q$, began.low, began.high) USING of_order, of_exchange, of_account, of_symbol, began.day;
    END LOOP;
END
$$;
COMMENT ON FUNCTION blotter.order_history(text, text, text, text) IS
    'The events of an order, by its order_id (of one that is known by its client id alone: by that), and those that came by its client ids meanwhile; of one exchange, account or, where a venue numbers orders per symbol, symbol, if given. It reads the days from the first to the newest event that blotter.orders has, so that it takes as long however many days are kept; after drainers ran with --no-orders ask order_events. Example: SELECT recorded_at, event, status, filled_quantity FROM blotter.order_history(''8389765'');';
