-- 008: letting days go. What a day means for positions, orders and the audit stays.

CREATE FUNCTION blotter.fold_days(before date) RETURNS SETOF blotter.partitions
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    old date;
    low timestamptz;
    high timestamptz := before::timestamp AT TIME ZONE 'UTC';
    part record;
    names text := blotter.column_list(blotter.event_fields());
BEGIN
    IF before > blotter.today() THEN
        RAISE EXCEPTION 'cannot fold %: it is not over', before - 1 USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'fold_days has to see what it waited for' USING HINT = 'Call it under READ COMMITTED.';
    END IF;
    PERFORM pg_advisory_xact_lock(blotter.lock_class(), 0);
    SELECT r.first_day INTO old FROM blotter.retention r FOR UPDATE;
    low := old::timestamp AT TIME ZONE 'UTC';
    IF before > old THEN
        PERFORM blotter.make_day(p.day) FROM blotter.partitions p WHERE p.day < before AND p.state = 'detached';
        -- Waits for the open COPYs that have written there; those that would come later find that they cannot.
        FOR part IN SELECT p.* FROM blotter.partitions p WHERE p.day < before AND p.day >= old AND p.state = 'kept' ORDER BY p.day, p."table" LOOP
            EXECUTE format('CREATE OR REPLACE TRIGGER refuse_row BEFORE INSERT ON blotter.%I FOR EACH ROW EXECUTE FUNCTION blotter.refuse_row()', part.partition);
        END LOOP;

        -- Positions. Which copy of a fill counts is decided as in blotter.fills; a trade that is the copy to count is looked for in the
        -- first two days kept as well. What is counted here is then hidden there, so that no later copy counts again.
        CREATE TEMPORARY TABLE folding ON COMMIT DROP AS
        SELECT f.* FROM (
            (SELECT DISTINCT ON (c.exchange, c.account, c.symbol, c.trade_id) c.*
             FROM blotter.fill_copies c
             WHERE c.has_id AND c.recorded_at < high + interval '2 days'
               AND NOT EXISTS (SELECT FROM blotter.folded_fills d
                               WHERE (d.trade_id, d.exchange, d.account, d.symbol) = (c.trade_id, c.exchange, c.account, c.symbol))
             ORDER BY c.exchange, c.account, c.symbol, c.trade_id, c.source DESC, c.recorded_at, c.seq, c.producer_id)
            UNION ALL
            SELECT c.* FROM blotter.fill_copies c WHERE NOT c.has_id AND c.source = 'order' AND c.recorded_at < high
        ) AS f
        WHERE f.recorded_at < high;
        INSERT INTO blotter.position_base AS b (exchange, account, symbol, position_side, fills, bought_quantity, bought_cost, sold_quantity, sold_cost,
                                                sideless_quantity, unpriced_quantity, realized_pnl, fees)
        SELECT p.exchange, p.account, p.symbol, p.position_side, sum(p.fills), sum(p.bought_quantity), sum(p.bought_cost), sum(p.sold_quantity),
               sum(p.sold_cost), sum(p.sideless_quantity), sum(p.unpriced_quantity), sum(p.realized_pnl), blotter.add_fees(jsonb_agg(p.fees))
        FROM (
            SELECT f.exchange, f.account, f.symbol, CASE WHEN lower(f.position_side) IN ('long', 'short') THEN lower(f.position_side) ELSE '' END AS position_side,
                   1 AS fills,
                   CASE blotter.side_of(f.side) WHEN 'buy' THEN f.quantity ELSE 0 END AS bought_quantity,
                   CASE blotter.side_of(f.side) WHEN 'buy' THEN coalesce(f.cost, 0) ELSE 0 END AS bought_cost,
                   CASE blotter.side_of(f.side) WHEN 'sell' THEN f.quantity ELSE 0 END AS sold_quantity,
                   CASE blotter.side_of(f.side) WHEN 'sell' THEN coalesce(f.cost, 0) ELSE 0 END AS sold_cost,
                   CASE WHEN blotter.side_of(f.side) IS NULL THEN f.quantity ELSE 0 END AS sideless_quantity,
                   CASE WHEN f.cost IS NULL THEN f.quantity ELSE 0 END AS unpriced_quantity,
                   f.realized_pnl, CASE WHEN f.fee IS NULL THEN '{}' ELSE jsonb_build_object(coalesce(f.fee_currency, ''), f.fee) END AS fees
            FROM pg_temp.folding f
        ) AS p
        GROUP BY p.exchange, p.account, p.symbol, p.position_side
        ON CONFLICT (exchange, account, symbol, position_side) DO UPDATE SET
            fills = b.fills + excluded.fills,
            bought_quantity = b.bought_quantity + excluded.bought_quantity, bought_cost = b.bought_cost + excluded.bought_cost,
            sold_quantity = b.sold_quantity + excluded.sold_quantity, sold_cost = b.sold_cost + excluded.sold_cost,
            sideless_quantity = b.sideless_quantity + excluded.sideless_quantity,
            unpriced_quantity = b.unpriced_quantity + excluded.unpriced_quantity,
            realized_pnl = CASE WHEN b.realized_pnl IS NULL THEN excluded.realized_pnl ELSE b.realized_pnl + coalesce(excluded.realized_pnl, 0) END,
            fees = blotter.add_fees(jsonb_build_array(b.fees, excluded.fees));
        INSERT INTO blotter.folded_fills (trade_id, exchange, account, symbol)
        SELECT f.trade_id, f.exchange, f.account, f.symbol FROM pg_temp.folding f WHERE f.has_id;
        DROP TABLE pg_temp.folding;

        -- Audit: which seqs go. Heartbeats go too, but the last of each producer; their seqs with them, so that the ranges have no holes.
        INSERT INTO blotter.gone_seqs AS g (producer_id, dropped)
        SELECT s.producer_id, s.seqs FROM blotter.seqs_between(low, high) s
        ORDER BY s.producer_id
        ON CONFLICT (producer_id) DO UPDATE SET dropped = g.dropped + excluded.dropped;
        DELETE FROM blotter.sessions s
        WHERE s.event = 'heartbeat' AND s.recorded_at < high
          AND EXISTS (SELECT FROM blotter.sessions l
                      WHERE l.producer_id = s.producer_id AND l.seq > s.seq AND l.event IN ('heartbeat', 'closed'));

        -- Orders that may still change need their events; the others need their row only.
        DELETE FROM blotter.kept_order_events k USING blotter.orders o
        WHERE (o.order_key, o.exchange, o.account) = (coalesce(nullif(k.order_id, ''), k.client_order_id), k.exchange, coalesce(k.account, ''))
          AND o.terminal AND o.recorded_at < high;
        EXECUTE format($q$
            INSERT INTO blotter.kept_order_events (%1$s)
            SELECT %2$s FROM blotter.order_events e
            WHERE e.recorded_at < $1
              AND EXISTS (SELECT FROM blotter.orders o
                          WHERE o.exchange = e.exchange AND o.account = coalesce(e.account, '')
                            AND (o.order_key = e.order_id AND NOT o.provisional OR coalesce(e.order_id, '') = '' AND o.client_order_id = e.client_order_id)
                            AND (NOT o.terminal OR o.recorded_at >= $1))
            ON CONFLICT DO NOTHING
        $q$, names, replace('e.' || names, ', ', ', e.')) USING high;

        UPDATE blotter.retention r SET first_day = before;
    END IF;
    RETURN QUERY SELECT p.* FROM blotter.partitions p WHERE p.state IN ('detach', 'finalize', 'drop') ORDER BY p.day, p."table";
END
$$;
COMMENT ON FUNCTION blotter.fold_days(date) IS
    'First step of dropping the days before that one (UTC), as one transaction: folds them into position_base, gone_seqs and kept_order_events, raises retention.first_day, and refuses further rows. Returns the partitions whose next step is due: see blotter.partitions.state.';
