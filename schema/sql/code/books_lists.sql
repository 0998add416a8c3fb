-- books_lists: everything that happened in a span of time, and lots closed first in, first out.

CREATE FUNCTION blotter.timeline("from" timestamptz, "to" timestamptz DEFAULT now(), of_exchange text DEFAULT NULL, of_account text DEFAULT NULL,
                                 of_strategy text DEFAULT NULL, of_symbol text DEFAULT NULL, of_order text DEFAULT NULL)
    RETURNS TABLE (at timestamptz, kind text, exchange text, account text, strategy text, symbol text, order_id text, client_order_id text, trade_id text,
                   what text, side text, price numeric, quantity numeric, amount numeric, currency text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
BEGIN
    -- The bounds are written into the statement, so that other days are not even planned for.
    RETURN QUERY EXECUTE format($q$
        SELECT x.*
        FROM (SELECT e.recorded_at AS at, 'order', e.exchange, e.account, e.strategy, e.symbol, e.order_id, e.client_order_id, e.trade_id,
                     coalesce(nullif(concat_ws(' ', e.event, e.status), ''), e.reason), e.side, e.price, e.quantity, NULL::numeric, NULL::text
              FROM blotter.order_events e WHERE e.recorded_at >= %1$L AND e.recorded_at < %2$L
              UNION ALL
              SELECT f.at, 'fill', f.exchange, f.account, f.strategy, f.symbol, f.order_id, f.client_order_id, f.trade_id, f.liquidity, f.side, f.price, f.quantity,
                     f.cost, f.currency
              FROM blotter.fills f WHERE f.at >= %1$L AND f.at < %2$L
              UNION ALL
              SELECT c.recorded_at, 'cash', c.exchange, c.account, c.strategy, c.symbol, NULL, NULL, c.entry_id, concat_ws(' ', c.type, c.status), NULL, NULL, NULL,
                     c.amount, c.currency
              FROM blotter.cash c WHERE c.recorded_at >= %1$L AND c.recorded_at < %2$L)
              AS x (at, kind, exchange, account, strategy, symbol, order_id, client_order_id, trade_id, what, side, price, quantity, amount, currency)
        WHERE ($1 IS NULL OR x.exchange = $1) AND ($2 IS NULL OR x.account = $2) AND ($3 IS NULL OR x.strategy = $3) AND ($4 IS NULL OR x.symbol = $4)
          AND ($5 IS NULL OR x.order_id = $5)
        ORDER BY x.at, x.kind
    $q$, "from", "to") USING of_exchange, of_account, of_strategy, of_symbol, of_order;
END
$$;
COMMENT ON FUNCTION blotter.timeline(timestamptz, timestamptz, text, text, text, text, text) IS 'Order events and cash entries by recorded_at and fills by their time, from a time (inclusive) to another (exclusive), in one list. amount: what a fill is worth, what a cash entry brought. Fills that are rolled and events of dropped days are not in it. Example: SELECT * FROM blotter.timeline(''2026-11-29 10:00Z'', ''2026-11-29 10:05Z'', of_exchange => ''okx'');';

-- The oldest lot is closed first. A lot's part of a value is in proportion, rounded once; the last part takes the rest, so that nothing is lost.
-- The lots that are left come last, without a time of closing.
CREATE FUNCTION blotter_internal.fifo_of(p blotter_internal.position, low timestamptz, high timestamptz)
    RETURNS TABLE (at timestamptz, trade_id text, quantity numeric, opened_at timestamptz, opened_by text, cost numeric, proceeds numeric, realized numeric)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    f record;
    lots record;
    lot_at timestamptz[] := '{}';
    lot_id text[] := '{}';
    lot_q numeric[] := '{}';
    lot_c numeric[] := '{}';
    head int := 1;
    q numeric;
    v numeric;
    size numeric;
BEGIN
    IF p.rolled_at >= low THEN
        RAISE EXCEPTION 'fills of % before % are rolled: which lots they closed is not known any more', p.symbol, p.rolled_before
            USING HINT = 'Ask from that time on.';
    ELSIF p.rolled_before IS NOT NULL THEN
        SELECT coalesce(array_agg(l.at ORDER BY l.n), '{}'), coalesce(array_agg(l.trade_id ORDER BY l.n), '{}'),
               coalesce(array_agg(l.quantity ORDER BY l.n), '{}'), coalesce(array_agg(l.cost ORDER BY l.n), '{}')
        INTO lot_at, lot_id, lot_q, lot_c FROM blotter_internal.rolled_lot l WHERE l.position_id = p.id;
    END IF;
    FOR f IN
        SELECT x.at, x.trade_id, d.dq, coalesce(blotter_internal.fill_value(p.inverse, p.unvalued, p.by_cost, p.multiplier, abs(d.dq), x.price, x.quantity, x.cost), 0) AS value
        FROM blotter_internal.fill x
        CROSS JOIN LATERAL (SELECT blotter_internal.fill_dq(p.takes_fees, p.base, x.side, x.quantity, x.fee, x.fee_currency, x.fees) AS dq OFFSET 0) AS d
        WHERE x.position_id = p.id AND x.at >= coalesce(p.rolled_before, '-infinity') AND x.at < high AND NOT x.rolled AND d.dq <> 0
        ORDER BY x.at, length(x.trade_id), x.trade_id, x.side, x.order_id, x.n
    LOOP
        q := f.dq;
        v := f.value;
        WHILE q <> 0 AND head <= cardinality(lot_q) AND sign(lot_q[head]) = -sign(q) LOOP
            size := least(abs(q), abs(lot_q[head]));
            at := f.at;
            trade_id := f.trade_id;
            quantity := size * sign(lot_q[head]);
            opened_at := lot_at[head];
            opened_by := lot_id[head];
            cost := CASE WHEN size = abs(lot_q[head]) THEN lot_c[head] ELSE blotter_internal.divide(lot_c[head] * size, abs(lot_q[head])) END;
            proceeds := CASE WHEN size = abs(q) THEN v ELSE blotter_internal.divide(v * size, abs(q)) END;
            realized := sign(lot_q[head]) * (proceeds - cost) * CASE WHEN p.inverse THEN -1 ELSE 1 END;
            RETURN NEXT;
            q := q - sign(q) * size;
            v := v - proceeds;
            lot_c[head] := lot_c[head] - cost;
            lot_q[head] := lot_q[head] - quantity;
            head := head + CASE WHEN lot_q[head] = 0 THEN 1 ELSE 0 END;
        END LOOP;
        IF q <> 0 THEN
            lot_at := lot_at || f.at;
            lot_id := lot_id || f.trade_id;
            lot_q := lot_q || q;
            lot_c := lot_c || v;
        END IF;
    END LOOP;
    at := NULL;
    trade_id := NULL;
    proceeds := NULL;
    realized := NULL;
    FOR i IN head..cardinality(lot_q) LOOP
        quantity := lot_q[i];
        opened_at := lot_at[i];
        opened_by := lot_id[i];
        cost := lot_c[i];
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION blotter_internal.fifo_of(blotter_internal.position, timestamptz, timestamptz) IS
    'The lots of a position that were closed before a time, first in, first out, and those open then; low: from when on the closed ones have to be there.';

CREATE FUNCTION blotter.fifo("from" timestamptz, "to" timestamptz DEFAULT now(), of_exchange text DEFAULT NULL, of_account text DEFAULT NULL,
                             of_strategy text DEFAULT NULL, of_symbol text DEFAULT NULL)
    RETURNS TABLE (exchange text, account text, strategy text, market_type text, symbol text, position_side text, closed_at timestamptz, closed_by text,
                   opened_at timestamptz, opened_by text, quantity numeric, cost numeric, proceeds numeric, realized_pnl numeric, currency text)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT p.exchange, p.account, p.strategy, p.market_type, p.symbol, p.position_side, l.at, l.trade_id, l.opened_at, l.opened_by,
               blotter_internal.shown(l.quantity), blotter_internal.shown(l.cost), blotter_internal.shown(l.proceeds),
               CASE WHEN p.unpriced = 0 AND NOT p.unvalued THEN blotter_internal.shown(l.realized) END, p.currency
        FROM blotter_internal.position p
        CROSS JOIN LATERAL blotter_internal.fifo_of(p, "from", "to") AS l
        WHERE (of_exchange IS NULL OR p.exchange = of_exchange) AND (of_account IS NULL OR p.account = of_account)
          AND (of_strategy IS NULL OR p.strategy = of_strategy) AND (of_symbol IS NULL OR p.symbol = of_symbol)
          AND p.last_fill_at >= "from" AND l.at >= "from"
        ORDER BY l.at, p.id;
    END;
COMMENT ON FUNCTION blotter.fifo(timestamptz, timestamptz, text, text, text, text) IS 'The lots that were closed from a time (inclusive) to another (exclusive), first in, first out, for declarations that ask for it; positions and pnl go by average cost. Reads all fills of the positions asked for; where old ones are rolled it starts from the lots that were open then, and asked for lots closed before raises an error. Example: SELECT symbol, sum(realized_pnl) FROM blotter.fifo(''2026-01-01Z'', of_strategy => ''mm'') GROUP BY 1;';
