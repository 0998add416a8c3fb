-- books_fold: what changes of fills make of positions, hours and days; see books.sql.

CREATE FUNCTION blotter_internal.find_booking_positions() RETURNS void
    LANGUAGE plpgsql
    SET enable_hashjoin = off SET enable_mergejoin = off
    AS $$
BEGIN
    INSERT INTO pg_temp.booking_positions
    SELECT p.*
    FROM (SELECT DISTINCT c.position_id FROM pg_temp.booking_changes c OFFSET 0) AS k
    CROSS JOIN LATERAL (SELECT * FROM blotter_internal.position o WHERE o.id = k.position_id
                        OFFSET 0) AS p;
END
$$;
COMMENT ON FUNCTION blotter_internal.find_booking_positions() IS
    'Fills booking_positions with the positions of booking_changes.';

-- Sums up fees and counts by position and hour, which do not depend on the order of fills.
CREATE FUNCTION blotter_internal.sum_changes() RETURNS void
    LANGUAGE plpgsql
    SET enable_nestloop = off SET enable_mergejoin = off
    AS $$
BEGIN
    INSERT INTO pg_temp.booking_sums
    SELECT g.position_id, g.hour, sum(g.fills), sum(g.unpriced), sum(g.sideless), min(g.currency),
           CASE WHEN min(g.currency) = max(g.currency) THEN sum(g.fee) END,
           CASE WHEN min(g.currency) <> max(g.currency)
                THEN jsonb_object_agg(g.currency, g.fee) FILTER (WHERE g.currency IS NOT NULL) END,
           sum(g.value), jsonb_object_agg(g.currency, g.fee) FILTER (WHERE g.unvalued)
    FROM (SELECT e.position_id, blotter_internal.hour_of(e.at) AS hour, e.currency,
                 sum(e.sign * e.amount) AS fee,
                 sum(e.sign * blotter_internal.fee_value(
                         p.inverse, p.base, p.quote, p.currency, e.currency, e.amount,
                         coalesce(e.price, abs(e.cost) / nullif(e.quantity, 0)))) AS value,
                 bool_or(NOT blotter_internal.is_valued(p.inverse, p.base, p.quote, p.currency,
                                                        e.currency)) AS unvalued,
                 sum(e.sign) FILTER (WHERE e.first) AS fills,
                 sum(e.sign) FILTER (WHERE e.first AND e.side IS NULL AND NOT e.rolled) AS sideless,
                 sum(e.sign) FILTER (
                     WHERE e.first AND e.side IS NOT NULL AND NOT e.rolled
                       AND (p.unvalued OR e.price IS NULL OR p.inverse AND e.price = 0)
                       AND blotter_internal.fill_value(
                               p.inverse, p.unvalued, p.by_cost, p.multiplier,
                               abs(blotter_internal.fill_dq(p.takes_fees, p.base, e.side,
                                                            e.quantity, e.fee, e.fee_currency,
                                                            e.fees)),
                               e.price, e.quantity, e.cost) IS NULL) AS unpriced
          FROM (SELECT c.*, true AS first,
                       CASE WHEN c.fee IS NOT NULL THEN coalesce(c.fee_currency, '') END AS currency,
                       coalesce(c.fee, 0) AS amount
                FROM pg_temp.booking_changes c WHERE c.fees IS NULL
                UNION ALL
                SELECT c.*, j.n = 1, j.key COLLATE "C", j.value::numeric
                FROM pg_temp.booking_changes c
                CROSS JOIN LATERAL jsonb_each_text(c.fees) WITH ORDINALITY AS j (key, value, n)
                WHERE c.fees IS NOT NULL) AS e
          JOIN pg_temp.booking_positions p ON p.id = e.position_id
          GROUP BY e.position_id, hour, e.currency) AS g
    GROUP BY g.position_id, g.hour;
END
$$;
COMMENT ON FUNCTION blotter_internal.sum_changes() IS 'Fills booking_sums from booking_changes.';

-- From where each position is computed on: from its state as it is if all its new fills come after
-- it; else from the last checkpoint before the first change, if that is in the same hour, or the
-- end of the last hour before it.
CREATE FUNCTION blotter_internal.find_starts() RETURNS void
    LANGUAGE plpgsql
    SET enable_nestloop = off SET enable_mergejoin = off
    AS $$
BEGIN
    INSERT INTO pg_temp.booking_starts
    SELECT k.id, k.late, s.since, s.checkpoint_at,
           CASE WHEN k.late OR k.fills = 0 THEN 0 ELSE (k.fills - 1) % 64 + 1 END,
           CASE WHEN k.late THEN coalesce(s.quantity, 0) ELSE k.quantity END,
           CASE WHEN k.late THEN coalesce(s.open_cost, 0) ELSE k.open_cost END,
           CASE WHEN k.late THEN coalesce(s.realized_pnl, 0) ELSE k.realized_pnl END,
           CASE WHEN k.late THEN coalesce(l.at, k.rolled_at) ELSE k.last_fill_at END,
           CASE WHEN k.late THEN coalesce(l.trade_id, k.rolled_trade_id) ELSE k.last_trade_id END,
           CASE WHEN k.late THEN coalesce(l.side, k.rolled_side) ELSE k.last_side END,
           CASE WHEN k.late THEN s.last_price ELSE k.last_price END
    FROM (SELECT p.id, min(c.at) FILTER (WHERE c.moves) AS first_at,
                 bool_or(c.moves AND (c.sign < 0 OR c.at < p.last_fill_at
                                      OR c.at = p.last_fill_at
                                         AND (length(c.trade_id), c.trade_id, coalesce(c.side, '') COLLATE "C")
                                          <= (length(p.last_trade_id), p.last_trade_id, p.last_side)))
                 IS TRUE AS late,
                 min(p.fills) AS fills, min(p.quantity) AS quantity, min(p.open_cost) AS open_cost,
                 min(p.realized_pnl) AS realized_pnl, min(p.last_fill_at) AS last_fill_at,
                 min(p.last_trade_id) AS last_trade_id, min(p.last_side) AS last_side,
                 min(p.last_price) AS last_price, min(p.rolled_before) AS rolled_before,
                 min(p.rolled_at) AS rolled_at, min(p.rolled_trade_id) AS rolled_trade_id,
                 min(p.rolled_side) AS rolled_side
          FROM pg_temp.booking_changes c
          JOIN pg_temp.booking_positions p ON p.id = c.position_id
          GROUP BY p.id OFFSET 0) AS k
    LEFT JOIN LATERAL (SELECT * FROM blotter_internal.position_checkpoint b
                       WHERE k.late AND b.position_id = k.id AND b.at < k.first_at
                         AND b.at >= blotter_internal.hour_of(k.first_at)
                       ORDER BY b.at DESC LIMIT 1) AS m ON true
    LEFT JOIN LATERAL (SELECT * FROM blotter_internal.position_hour b
                       WHERE k.late AND m.at IS NULL AND b.position_id = k.id
                         AND b.hour < blotter_internal.hour_of(k.first_at)
                       ORDER BY b.hour DESC LIMIT 1) AS h ON true
    CROSS JOIN LATERAL (
        SELECT m.at AS checkpoint_at,
               CASE WHEN NOT k.late THEN k.first_at
                    WHEN m.at IS NOT NULL THEN m.at + interval '1 microsecond'
                    ELSE blotter_internal.hour_of(k.first_at) END AS since,
               coalesce(m.quantity, h.quantity) AS quantity,
               coalesce(m.open_cost, h.open_cost) AS open_cost,
               coalesce(m.realized_pnl, h.realized_pnl) AS realized_pnl,
               CASE WHEN m.at IS NOT NULL THEN m.last_price ELSE h.last_price END AS last_price
        OFFSET 0) AS s
    LEFT JOIN LATERAL (SELECT f.at, f.trade_id, coalesce(f.side, '') AS side
                       FROM blotter_internal.fill f
                       WHERE k.late AND f.position_id = k.id
                         AND f.at = (SELECT b.at FROM blotter_internal.fill b
                                     WHERE b.position_id = k.id AND b.at < s.since
                                       AND b.at >= coalesce(k.rolled_before, '-infinity')
                                     ORDER BY b.at DESC LIMIT 1)
                       ORDER BY length(f.trade_id) DESC, f.trade_id DESC, f.side DESC
                       LIMIT 1) AS l ON true;
END
$$;
COMMENT ON FUNCTION blotter_internal.find_starts() IS 'Fills booking_starts from booking_changes.';

CREATE FUNCTION blotter_internal.next_state(q numeric, c numeric, r numeric, dq numeric, v numeric, turned boolean) RETURNS numeric[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    part numeric;
    gain numeric;
BEGIN
    IF q = 0 OR sign(q) = sign(dq) THEN
        RETURN ARRAY[q + dq, c + v, r];
    ELSIF abs(dq) < abs(q) THEN
        part := blotter_internal.divide(c * abs(dq), abs(q));
        gain := sign(q) * (v - part);
        c := c - part;
    ELSIF dq = -q THEN
        gain := sign(q) * (v - c);
        c := 0;
    ELSE
        part := blotter_internal.divide(v * abs(q), abs(dq));
        gain := sign(q) * (part - c);
        c := v - part;
    END IF;
    RETURN ARRAY[q + dq, c, CASE WHEN turned THEN r - gain ELSE r + gain END];
END
$$;
COMMENT ON FUNCTION blotter_internal.next_state(numeric, numeric, numeric, numeric, numeric, boolean) IS
    'Quantity, open cost and realised PnL after one more fill; turned: an inverse contract.';

CREATE FUNCTION blotter_internal.drop_late_checkpoints() RETURNS void
    LANGUAGE plpgsql
    SET enable_hashjoin = off SET enable_mergejoin = off
    AS $$
BEGIN
    DELETE FROM blotter_internal.position_checkpoint c
    USING pg_temp.booking_starts l
    WHERE l.late AND c.position_id = l.position_id AND c.at >= l.since;
END
$$;
COMMENT ON FUNCTION blotter_internal.drop_late_checkpoints() IS
    'Drops the checkpoints that late fills are computed past.';

-- The fills in their order, position by position, from booking_starts on. One whose n is -1 is a
-- checkpoint: its hour gets a row even if no fill comes after it. A row of booking_hours for each
-- hour.
CREATE FUNCTION blotter_internal.fold_changes() RETURNS void
    LANGUAGE plpgsql
    SET enable_nestloop = off SET enable_mergejoin = off
    AS $$
DECLARE
    f record;
    id int;
    hour timestamptz;
    counted bigint;
    q numeric;
    c numeric;
    r numeric;
    realized_before numeric;
    price numeric;
    state numeric[];
    last_at timestamptz;
    last_trade_id text;
    last_side text;
    -- A row of booking_hours each, and of position_checkpoint: inserting them one by one takes
    -- longer than all the rest.
    ids int[] := '{}';
    hours timestamptz[] := '{}';
    qs numeric[] := '{}';
    cs numeric[] := '{}';
    rs numeric[] := '{}';
    gains numeric[] := '{}';
    prices numeric[] := '{}';
    ats timestamptz[] := '{}';
    trade_ids text[] := '{}';
    sides text[] := '{}';
    checkpoint_ids int[] := '{}';
    checkpoint_ats timestamptz[] := '{}';
    checkpoint_qs numeric[] := '{}';
    checkpoint_cs numeric[] := '{}';
    checkpoint_rs numeric[] := '{}';
    checkpoint_prices numeric[] := '{}';
BEGIN
    FOR f IN
        SELECT x.position_id, x.at, x.trade_id, coalesce(x.side, '') AS side, x.price,
               blotter_internal.hour_of(x.at) AS hour, d.dq,
               coalesce(blotter_internal.fill_value(p.inverse, p.unvalued, p.by_cost, p.multiplier,
                                                    abs(d.dq), x.price, x.quantity, x.cost), 0)
                   AS value,
               p.inverse, s.counted, s.q, s.c, s.r, s.last_price, s.last_fill_at
        FROM (SELECT k.position_id, k.at, k.trade_id, k.side, k.order_id, k.n, k.price, k.quantity,
                     k.cost, k.fee, k.fee_currency, k.fees, k.rolled, false AS late
              FROM pg_temp.booking_changes k WHERE k.sign > 0 AND k.moves
              UNION ALL
              SELECT k.position_id, k.at, k.trade_id, k.side, k.order_id, k.n, k.price, k.quantity,
                     k.cost, k.fee, k.fee_currency, k.fees, k.rolled, true
              FROM pg_temp.booking_starts l
              CROSS JOIN LATERAL (SELECT * FROM blotter_internal.fill b
                                  WHERE b.position_id = l.position_id AND b.at >= l.since OFFSET 0) AS k
              WHERE l.late
              UNION ALL
              SELECT l.position_id, l.checkpoint_at, l.last_trade_id, l.last_side, NULL, -1, NULL, 0,
                     NULL, NULL, NULL, NULL, true, true
              FROM pg_temp.booking_starts l WHERE l.checkpoint_at IS NOT NULL) AS x
        JOIN pg_temp.booking_starts s ON s.position_id = x.position_id AND s.late = x.late
        JOIN pg_temp.booking_positions p ON p.id = x.position_id
        CROSS JOIN LATERAL (
            SELECT CASE WHEN NOT x.rolled
                        THEN blotter_internal.fill_dq(p.takes_fees, p.base, x.side, x.quantity, x.fee,
                                                      x.fee_currency, x.fees) END AS dq
            OFFSET 0) AS d
        ORDER BY x.position_id, x.at, length(x.trade_id), x.trade_id, x.side, x.order_id, x.n
    LOOP
        IF f.position_id IS DISTINCT FROM id OR f.hour IS DISTINCT FROM hour THEN
            IF id IS NOT NULL THEN
                ids := ids || id;
                hours := hours || hour;
                qs := qs || q;
                cs := cs || c;
                rs := rs || r;
                gains := gains || r - realized_before;
                prices := array_append(prices, price);
                ats := ats || last_at;
                trade_ids := trade_ids || last_trade_id;
                sides := sides || last_side;
            END IF;
            IF f.position_id IS DISTINCT FROM id THEN
                id := f.position_id;
                counted := f.counted;
                q := f.q;
                c := f.c;
                r := f.r;
                price := f.last_price;
                last_at := f.last_fill_at;
            END IF;
            hour := f.hour;
            realized_before := r;
        END IF;
        IF counted >= 64 AND f.at > last_at THEN
            checkpoint_ids := checkpoint_ids || id;
            checkpoint_ats := checkpoint_ats || last_at;
            checkpoint_qs := checkpoint_qs || q;
            checkpoint_cs := checkpoint_cs || c;
            checkpoint_rs := checkpoint_rs || r;
            checkpoint_prices := array_append(checkpoint_prices, price);
            counted := 0;
        END IF;
        counted := counted + 1;
        price := coalesce(f.price, price);
        last_at := f.at;
        last_trade_id := f.trade_id;
        last_side := f.side;
        IF f.dq <> 0 THEN
            IF q = 0 OR sign(q) = sign(f.dq) THEN
                q := q + f.dq;
                c := c + f.value;
            ELSE
                state := blotter_internal.next_state(q, c, r, f.dq, f.value, f.inverse);
                q := state[1];
                c := state[2];
                r := state[3];
            END IF;
        END IF;
    END LOOP;
    IF id IS NOT NULL THEN
        INSERT INTO pg_temp.booking_hours
        SELECT * FROM unnest(ids || id, hours || hour, qs || q, cs || c, rs || r,
                             gains || r - realized_before, array_append(prices, price),
                             ats || last_at, trade_ids || last_trade_id, sides || last_side);
    END IF;
    IF cardinality(checkpoint_ids) > 0 THEN
        INSERT INTO blotter_internal.position_checkpoint
        SELECT * FROM unnest(checkpoint_ids, checkpoint_ats, checkpoint_qs, checkpoint_cs,
                             checkpoint_rs, checkpoint_prices);
    END IF;
END
$$;
COMMENT ON FUNCTION blotter_internal.fold_changes() IS
    'Adds the fills to the states of booking_starts; fills booking_hours and writes checkpoints.';

CREATE FUNCTION blotter_internal.write_days() RETURNS void
    LANGUAGE plpgsql
    SET enable_nestloop = off SET enable_mergejoin = off
    AS $$
BEGIN
    INSERT INTO blotter_internal.pnl_day AS d (exchange, account, strategy, currency, day, realized, fee_value, fills)
    SELECT x.exchange, x.account, x.strategy, x.currency, x.day, sum(x.realized), sum(x.fee_value), sum(x.fills)
    FROM (SELECT p.exchange, p.account, p.strategy, p.currency, blotter_internal.day_of(y.hour) AS day, y.realized, y.fee_value, y.fills
          FROM (SELECT h.position_id, h.hour, h.realized, 0 AS fee_value, 0 AS fills FROM pg_temp.booking_hours h
                UNION ALL
                SELECT s.position_id, s.hour, 0, s.fee_value, s.fills FROM pg_temp.booking_sums s
                UNION ALL
                -- what the hours that are computed again had realised
                SELECT l.position_id, o.hour, -(o.realized_pnl - coalesce(lag(o.realized_pnl) OVER (PARTITION BY l.position_id ORDER BY o.hour), l.r)), 0, 0
                FROM pg_temp.booking_starts l
                CROSS JOIN LATERAL (SELECT * FROM blotter_internal.position_hour b WHERE b.position_id = l.position_id
                                      AND b.hour >= blotter_internal.hour_of(l.since) OFFSET 0) AS o
                WHERE l.late) AS y
          JOIN pg_temp.booking_positions p ON p.id = y.position_id
          UNION ALL
          SELECT p.exchange, p.account, p.strategy, e.key COLLATE "C", blotter_internal.day_of(s.hour), 0, e.value::numeric, 0
          FROM pg_temp.booking_sums s
          CROSS JOIN LATERAL jsonb_each_text(s.unvalued_fees) AS e
          JOIN pg_temp.booking_positions p ON p.id = s.position_id) AS x
    GROUP BY x.exchange, x.account, x.strategy, x.currency, x.day
    HAVING sum(x.realized) <> 0 OR sum(x.fee_value) <> 0 OR sum(x.fills) <> 0
    ORDER BY x.strategy, x.exchange, x.account, x.currency, x.day
    ON CONFLICT (strategy, exchange, account, currency, day) DO UPDATE SET
        realized = d.realized + excluded.realized, fee_value = d.fee_value + excluded.fee_value, fills = d.fills + excluded.fills;
END
$$;
COMMENT ON FUNCTION blotter_internal.write_days() IS 'Adds what changed to pnl_day; before write_hours, as it needs the hours as they were.';

-- Hours that have lost their last fill.
CREATE FUNCTION blotter_internal.drop_late_hours() RETURNS void
    LANGUAGE plpgsql
    SET enable_hashjoin = off SET enable_mergejoin = off
    AS $$
BEGIN
    DELETE FROM blotter_internal.position_hour h
    USING pg_temp.booking_starts l
    WHERE l.late AND h.position_id = l.position_id
      AND h.hour >= blotter_internal.hour_of(l.since)
      AND (h.position_id, h.hour) NOT IN (SELECT n.position_id, n.hour FROM pg_temp.booking_hours n);
END
$$;
COMMENT ON FUNCTION blotter_internal.drop_late_hours() IS
    'Drops hours that have no fills any more.';

CREATE FUNCTION blotter_internal.write_hours() RETURNS void
    LANGUAGE plpgsql
    SET enable_nestloop = off SET enable_mergejoin = off
    AS $$
BEGIN
    INSERT INTO blotter_internal.position_hour AS h (position_id, hour, quantity, open_cost, realized_pnl, last_price, fee_currency, fee, other_fees, fee_value, fills)
    SELECT n.position_id, n.hour, n.q, n.c, n.r, n.last_price, s.fee_currency, coalesce(s.fee, 0), s.more_fees, coalesce(s.fee_value, 0), coalesce(s.fills, 0)
    FROM (SELECT b.position_id, b.hour, b.q, b.c, b.r, b.last_price FROM pg_temp.booking_hours b
          UNION ALL
          -- hours of which nothing but sums changes
          SELECT o.position_id, o.hour, o.quantity, o.open_cost, o.realized_pnl, o.last_price
          FROM pg_temp.booking_sums b
          CROSS JOIN LATERAL (SELECT * FROM blotter_internal.position_hour k
                              WHERE k.position_id = b.position_id AND k.hour = b.hour OFFSET 0) AS o
          WHERE (b.position_id, b.hour) NOT IN (SELECT k.position_id, k.hour
                                                FROM pg_temp.booking_hours k)) AS n
    LEFT JOIN pg_temp.booking_sums s ON s.position_id = n.position_id AND s.hour = n.hour
    ORDER BY n.position_id, n.hour
    ON CONFLICT (position_id, hour) DO UPDATE SET
        quantity = excluded.quantity, open_cost = excluded.open_cost, realized_pnl = excluded.realized_pnl, last_price = excluded.last_price,
        fee_value = h.fee_value + excluded.fee_value, fills = h.fills + excluded.fills, fee_currency = coalesce(h.fee_currency, excluded.fee_currency),
        fee = CASE WHEN coalesce(h.fee_currency, excluded.fee_currency) = excluded.fee_currency AND excluded.other_fees IS NULL THEN h.fee + excluded.fee ELSE h.fee END,
        other_fees = CASE WHEN excluded.fee_currency IS NULL
                            OR coalesce(h.fee_currency, excluded.fee_currency) = excluded.fee_currency AND excluded.other_fees IS NULL THEN h.other_fees
                          ELSE blotter_internal.add_amounts(h.other_fees, coalesce(excluded.other_fees, jsonb_build_object(excluded.fee_currency, excluded.fee))) END;
END
$$;
COMMENT ON FUNCTION blotter_internal.write_hours() IS 'Writes the hours of booking_hours.';

CREATE FUNCTION blotter_internal.find_ends() RETURNS void
    LANGUAGE plpgsql
    SET enable_nestloop = off SET enable_mergejoin = off
    AS $$
BEGIN
    INSERT INTO pg_temp.booking_ends
    SELECT l.position_id, l.late, l.since, coalesce(e.q, l.q), coalesce(e.c, l.c),
           coalesce(e.r, l.r), coalesce(e.last_price, l.last_price),
           coalesce(e.last_at, l.last_fill_at), coalesce(e.last_trade_id, l.last_trade_id),
           coalesce(e.last_side, l.last_side), coalesce(s.fills, 0), coalesce(s.unpriced, 0),
           coalesce(s.sideless, 0), coalesce(s.fee_value, 0), s.fee_currency, s.fee
    FROM pg_temp.booking_starts l
    LEFT JOIN (SELECT DISTINCT ON (h.position_id) h.*
               FROM pg_temp.booking_hours h
               ORDER BY h.position_id, h.hour DESC) AS e ON e.position_id = l.position_id
    LEFT JOIN (SELECT h.position_id, sum(h.fills) AS fills, sum(h.unpriced) AS unpriced,
                      sum(h.sideless) AS sideless, sum(h.fee_value) AS fee_value,
                      min(h.fee_currency) AS fee_currency,
                      CASE WHEN min(h.fee_currency) = max(h.fee_currency) AND count(h.more_fees) = 0
                           THEN sum(h.fee) END AS fee
               FROM pg_temp.booking_sums h
               GROUP BY h.position_id) AS s ON s.position_id = l.position_id;
END
$$;
COMMENT ON FUNCTION blotter_internal.find_ends() IS
    'Fills booking_ends from booking_hours and booking_sums.';

CREATE FUNCTION blotter_internal.write_positions() RETURNS void
    LANGUAGE plpgsql
    SET enable_hashjoin = off SET enable_mergejoin = off
    AS $$
BEGIN
    UPDATE blotter_internal.position p SET
        quantity = n.quantity, open_cost = n.open_cost, realized_pnl = n.realized_pnl,
        last_price = n.last_price, fills = p.fills + n.fills, unpriced = p.unpriced + n.unpriced,
        sideless = p.sideless + n.sideless, fee_value = p.fee_value + n.fee_value,
        fee_currency = coalesce(p.fee_currency, n.fee_currency),
        fee = CASE WHEN coalesce(p.fee_currency, n.fee_currency) = n.fee_currency
                    AND n.fee IS NOT NULL THEN p.fee + n.fee ELSE p.fee END,
        other_fees = CASE WHEN n.fee_currency IS NULL
                            OR coalesce(p.fee_currency, n.fee_currency) = n.fee_currency
                               AND n.fee IS NOT NULL THEN p.other_fees
                          ELSE blotter_internal.add_hourly_fees(p.id, p.other_fees) END,
        first_fill_at = CASE WHEN n.late AND p.rolled_before IS NULL
                             THEN (SELECT min(f.at) FROM blotter_internal.fill f
                                   WHERE f.position_id = p.id)
                             ELSE coalesce(p.first_fill_at, n.since) END,
        last_fill_at = n.last_fill_at, last_trade_id = n.last_trade_id, last_side = n.last_side
    FROM pg_temp.booking_ends n WHERE p.id = n.position_id;
END
$$;
COMMENT ON FUNCTION blotter_internal.write_positions() IS 'Writes booking_ends into positions.';

CREATE FUNCTION blotter_internal.add_hourly_fees(p_id int, fees jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    AS $$
DECLARE
    one record;
    total jsonb := fees;
BEGIN
    FOR one IN SELECT s.fee_currency, s.fee, s.more_fees FROM pg_temp.booking_sums s WHERE s.position_id = p_id AND s.fee_currency IS NOT NULL LOOP
        total := blotter_internal.add_amounts(total, coalesce(one.more_fees, jsonb_build_object(one.fee_currency, one.fee)));
    END LOOP;
    RETURN total;
END
$$;
COMMENT ON FUNCTION blotter_internal.add_hourly_fees(int, jsonb) IS 'Adds the fees of a position in booking_sums, where they are in several currencies.';

-- The newest hour of a position changes with each booking: what it comes to stands in the position.
CREATE FUNCTION blotter_internal.find_totals() RETURNS void
    LANGUAGE plpgsql
    SET enable_nestloop = off SET enable_mergejoin = off
    AS $$
BEGIN
    INSERT INTO pg_temp.booking_totals
    SELECT r.id, o.hour, coalesce(a.total_fills, 0) + sum(o.fills) OVER up_to,
           coalesce(a.total_fee, 0)
           + sum(CASE WHEN o.fee_currency = r.fee_currency THEN o.fee ELSE 0 END) OVER up_to,
           CASE WHEN a.total_other_fees IS NOT NULL OR bool_or(o.others) OVER up_to
                THEN blotter_internal.add_amounts(
                         a.total_other_fees,
                         blotter_internal.sum_of_amounts(
                             CASE WHEN o.fee_currency <> r.fee_currency
                                  THEN blotter_internal.fees_of(o.fee_currency, o.fee, o.other_fees)
                                  ELSE o.other_fees END) FILTER (WHERE o.others) OVER up_to) END
    FROM (SELECT p.id, p.fee_currency, blotter_internal.hour_of(p.last_fill_at) AS newest,
                 least(c.first, blotter_internal.hour_of(b.last_fill_at)) AS first
          FROM (SELECT k.position_id, min(k.hour) AS first
                FROM (SELECT s.position_id, s.hour FROM pg_temp.booking_sums s
                      UNION ALL
                      SELECT n.position_id, n.hour FROM pg_temp.booking_hours n) AS k
                GROUP BY k.position_id OFFSET 0) AS c
          JOIN pg_temp.booking_positions b ON b.id = c.position_id
          CROSS JOIN LATERAL (SELECT * FROM blotter_internal.position q
                              WHERE q.id = c.position_id OFFSET 0) AS p OFFSET 0) AS r
    LEFT JOIN LATERAL (SELECT * FROM blotter_internal.position_hour q
                       WHERE q.position_id = r.id AND q.hour < r.first
                       ORDER BY q.hour DESC LIMIT 1) AS a ON true
    CROSS JOIN LATERAL (SELECT q.*, q.other_fees IS NOT NULL
                                    OR q.fee_currency <> r.fee_currency AS others
                        FROM blotter_internal.position_hour q
                        WHERE q.position_id = r.id AND q.hour >= r.first
                          AND q.hour < r.newest OFFSET 0) AS o
    WHERE r.first < r.newest
    WINDOW up_to AS (PARTITION BY r.id ORDER BY o.hour);
END
$$;
COMMENT ON FUNCTION blotter_internal.find_totals() IS
    'Fills booking_totals with what the hours that are over come to, from the first that changed on.';

CREATE FUNCTION blotter_internal.write_totals() RETURNS void
    LANGUAGE plpgsql
    SET enable_hashjoin = off SET enable_mergejoin = off
    AS $$
BEGIN
    UPDATE blotter_internal.position_hour h SET
        total_fills = t.fills, total_fee = t.fee, total_other_fees = t.other_fees
    FROM pg_temp.booking_totals t
    WHERE h.position_id = t.position_id AND h.hour = t.hour;
END
$$;
COMMENT ON FUNCTION blotter_internal.write_totals() IS 'Writes booking_totals into the hours.';

CREATE FUNCTION blotter_internal.apply_changes() RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    any_late boolean;
    hours_end boolean;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_temp.booking_changes) THEN
        RETURN;
    END IF;
    PERFORM blotter_internal.find_booking_positions();
    PERFORM blotter_internal.refuse_rolled_changes();
    PERFORM blotter_internal.sum_changes();
    PERFORM blotter_internal.find_starts();
    -- Unless all that changes is within the newest hour, hours that are over come to something else.
    SELECT l.any, l.any OR c.first <> c.last
                  OR EXISTS (SELECT FROM pg_temp.booking_positions p
                             WHERE blotter_internal.hour_of(p.last_fill_at) <> c.first)
    INTO any_late, hours_end
    FROM (SELECT EXISTS (SELECT FROM pg_temp.booking_starts s WHERE s.late) AS any) AS l,
         (SELECT min(h.hour) AS first, max(h.hour) AS last FROM pg_temp.booking_sums h) AS c;
    IF any_late THEN
        PERFORM blotter_internal.drop_late_checkpoints();
    END IF;
    PERFORM blotter_internal.fold_changes();
    PERFORM blotter_internal.write_days();
    IF any_late THEN
        PERFORM blotter_internal.drop_late_hours();
    END IF;
    PERFORM blotter_internal.write_hours();
    PERFORM blotter_internal.find_ends();
    PERFORM blotter_internal.write_positions();
    IF hours_end THEN
        DELETE FROM pg_temp.booking_totals;
        PERFORM blotter_internal.find_totals();
        PERFORM blotter_internal.write_totals();
    END IF;
END
$$;
COMMENT ON FUNCTION blotter_internal.apply_changes() IS 'Brings positions, hours and days up to date with booking_changes.';

-- --- the booking ------------------------------------------------------------------------------------------------------------

CREATE FUNCTION blotter_internal.book_rows(tids tid[]) RETURNS int
    LANGUAGE plpgsql
    AS $$
DECLARE
    instruments boolean;
    cash boolean;
    news boolean;
    crowded int;
BEGIN
    PERFORM blotter_internal.empty_booking(greatest(cardinality(tids), 1024));
    INSERT INTO pg_temp.booking_copies
    SELECT q.kind, q.exchange, x.trade_id, q.producer_id, q.seq, q.order_keys, x.ranks, x.rolled,
           q.recorded_at, q.exchange_time, x.account, x.strategy, x.symbol, x.market_type,
           x.position_side, x.side, x.order_id, x.client_order_id, q.price, x.quantity, q.cost,
           q.fee, x.fee_currency, x.fees, x.liquidity, q.ctid
    FROM blotter_internal.book_queue q
    CROSS JOIN LATERAL blotter_internal.copy_of(q) AS x
    WHERE q.ctid = ANY (tids);
    SELECT bool_or(c.kind = 'i'), bool_or(c.kind = 'c'), bool_or(c.kind = 'h')
    INTO instruments, cash, news FROM pg_temp.booking_copies c;
    IF instruments THEN
        PERFORM blotter_internal.book_instruments();
    END IF;
    IF cash THEN
        PERFORM blotter_internal.book_cash();
    END IF;
    IF news THEN
        PERFORM blotter_internal.book_order_news();
    END IF;
    crowded := blotter_internal.book_fills();
    PERFORM blotter_internal.apply_changes();
    RETURN crowded;
END
$$;
COMMENT ON FUNCTION blotter_internal.book_rows(tid[]) IS
    'Books rows of the queue; they stay in it. Returns how many could not be booked.';

CREATE FUNCTION blotter_internal.is_rows_fault(sqlstate text, context text) RETURNS boolean
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT coalesce((SELECT a.action NOT IN ('RETRY', 'PERSON') FROM blotter_internal.sqlstate_actions a
                         WHERE starts_with(is_rows_fault.sqlstate, a.prefix) ORDER BY length(a.prefix) DESC LIMIT 1), true)
            OR context ~ '^[^\n]* RAISE(\n|$)';
    END;
COMMENT ON FUNCTION blotter_internal.is_rows_fault(text, text) IS
    'Does an error come from what is booked, rather than from the moment or the installation? What a trigger raises does.';

CREATE FUNCTION blotter_internal.book_or_set_aside(tids tid[]) RETURNS int
    LANGUAGE plpgsql
    AS $$
DECLARE
    n int := cardinality(tids);
    context text;
BEGIN
    BEGIN
        RETURN blotter_internal.book_rows(tids);
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
        IF NOT blotter_internal.is_rows_fault(SQLSTATE, context) THEN
            RAISE;
        ELSIF n = 1 THEN
            -- One order of many whose fills cannot learn from it keeps none of the others from it.
            INSERT INTO blotter_internal.book_queue (kind, exchange, order_keys)
            SELECT q.kind, q.exchange, ARRAY[k]
            FROM blotter_internal.book_queue q CROSS JOIN LATERAL unnest(q.order_keys) AS k
            WHERE q.ctid = tids[1] AND cardinality(q.order_keys) > 1;
            IF FOUND THEN
                RETURN 0;
            END IF;
            INSERT INTO blotter_internal.book_errors (sqlstate, error, "row")
            SELECT SQLSTATE, SQLERRM, jsonb_strip_nulls(to_jsonb(q)) FROM blotter_internal.book_queue q WHERE q.ctid = tids[1];
            RETURN 1;
        END IF;
    END;
    RETURN blotter_internal.book_or_set_aside(tids[1:n / 2]) + blotter_internal.book_or_set_aside(tids[n / 2 + 1:n]);
END
$$;
COMMENT ON FUNCTION blotter_internal.book_or_set_aside(tid[]) IS
    'Books rows of the queue; those that cannot be booked are found by halves and noted in book_errors. Returns how many those are.';

-- The caller may say from which block of the queue to look: what is before it was booked and is not vacuumed yet. But PostgreSQL fills old blocks
-- again: where fewer records are found than the caller knows to be queued, all of it is looked at.
CREATE FUNCTION blotter_internal.book(exchanges text[], max_rows int DEFAULT 4000, from_block bigint DEFAULT 0, others boolean DEFAULT false,
                                      wanted bigint DEFAULT 0,
                                      OUT booked int, OUT set_aside int, OUT last_block bigint, OUT records bigint, OUT looked boolean)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET jit = off SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    tids tid[];
    mine text[] := exchanges;
    one text;
BEGIN
    PERFORM blotter_internal.begin_booking();
    FOR one IN SELECT DISTINCT e COLLATE "C" FROM unnest(exchanges) AS e ORDER BY 1 LOOP
        PERFORM pg_advisory_xact_lock(blotter_internal.lock_class(), hashtext(one || ' books'));
    END LOOP;
    IF others THEN
        mine := mine || ARRAY(SELECT x.exchange
                              FROM (SELECT DISTINCT q.exchange FROM blotter_internal.book_queue q WHERE q.exchange <> ALL (exchanges) OFFSET 0) AS x
                              WHERE pg_try_advisory_xact_lock(blotter_internal.lock_class(), hashtext(x.exchange || ' books')));
    END IF;
    last_block := from_block;
    LOOP
        looked := last_block = 0;
        SELECT coalesce(array_agg(r.ctid), '{}'), count(*), count(*) FILTER (WHERE r.kind <> 'h' AND r.exchange = ANY (exchanges))
        INTO tids, booked, records
        FROM (SELECT q.ctid, q.kind, q.exchange FROM blotter_internal.book_queue q
              WHERE q.ctid >= format('(%s,0)', last_block)::tid AND q.exchange = ANY (mine) LIMIT max_rows) AS r;
        EXIT WHEN looked OR booked >= max_rows OR records >= wanted;
        last_block := 0;
    END LOOP;
    set_aside := 0;
    IF booked > 0 THEN
        set_aside := blotter_internal.book_or_set_aside(tids);
        DELETE FROM blotter_internal.book_queue q WHERE q.ctid = ANY (tids);
        last_block := split_part(ltrim(tids[booked]::text, '('), ',', 1)::bigint;
    END IF;
END
$$;
COMMENT ON FUNCTION blotter_internal.book(text[], int, bigint, boolean, bigint) IS
    'Books what is queued of these exchanges, at most so many rows, as one transaction; others: and of those that nobody else books just now; wanted: so many records of these exchanges are known to wait. Returns how many rows left the queue, how many of them could not be booked, the last block read, how many were records of these exchanges, and whether all of the queue was looked at. Any number of sessions may call it.';

CREATE FUNCTION blotter_internal.book_everything() RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    exchanges text[] := ARRAY(SELECT DISTINCT q.exchange FROM blotter_internal.book_queue q);
    n bigint := 0;
    one record;
BEGIN
    LOOP
        SELECT * INTO one FROM blotter_internal.book(exchanges);
        n := n + one.booked;
        EXIT WHEN one.booked = 0;
    END LOOP;
    RETURN n;
END
$$;
COMMENT ON FUNCTION blotter_internal.book_everything() IS 'Books all that is queued. Returns how many rows that were.';

-- ON COMMIT DELETE ROWS would make the indexes of all their TOAST tables anew at each COMMIT. TRUNCATE makes three files a table, which takes as
-- long as booking a thousand fills: so only once dead rows are megabytes, and of the tables that have a row a position only when those are. What is
-- rarely filled is emptied where it is filled.
CREATE FUNCTION blotter_internal.empty_booking(rows bigint DEFAULT 0) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF blotter_internal.is_bloated('pg_temp.booking_fills', rows)
       OR blotter_internal.is_bloated('pg_temp.booking_changes', rows) THEN
        TRUNCATE pg_temp.booking_copies, pg_temp.booking_fills, pg_temp.booking_rest,
                 pg_temp.booking_updates, pg_temp.booking_changes;
    ELSE
        DELETE FROM pg_temp.booking_copies;
        DELETE FROM pg_temp.booking_fills;
        DELETE FROM pg_temp.booking_changes;
    END IF;
    IF blotter_internal.is_bloated('pg_temp.booking_hours', rows) THEN
        TRUNCATE pg_temp.booking_keys, pg_temp.booking_positions, pg_temp.booking_starts,
                 pg_temp.booking_hours, pg_temp.booking_sums, pg_temp.booking_totals,
                 pg_temp.booking_ends;
    ELSE
        DELETE FROM pg_temp.booking_keys;
        DELETE FROM pg_temp.booking_positions;
        DELETE FROM pg_temp.booking_starts;
        DELETE FROM pg_temp.booking_hours;
        DELETE FROM pg_temp.booking_sums;
        DELETE FROM pg_temp.booking_ends;
    END IF;
END
$$;
COMMENT ON FUNCTION blotter_internal.empty_booking(bigint) IS 'Empties the temporary tables of a booking; so many rows are booked next.';

CREATE FUNCTION blotter_internal.rebook_errors() RETURNS bigint
    LANGUAGE sql
    BEGIN ATOMIC
        WITH gone AS (DELETE FROM blotter_internal.book_errors RETURNING "row"),
        again AS (INSERT INTO blotter_internal.book_queue SELECT r.* FROM gone CROSS JOIN LATERAL jsonb_populate_record(NULL::blotter_internal.book_queue, gone."row") AS r RETURNING 1)
        SELECT count(*) FROM again;
    END;
COMMENT ON FUNCTION blotter_internal.rebook_errors() IS 'Puts what could not be booked into the queue again, once the cause is gone.';

CREATE FUNCTION blotter_internal.books_lag() RETURNS interval
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT coalesce(clock_timestamp() - min(q.queued_at), '0') FROM blotter_internal.book_queue q WHERE q.kind <> 'h';
    END;
COMMENT ON FUNCTION blotter_internal.books_lag() IS 'How long the oldest record has waited to be booked; 0: none waits.';

-- Fills are what they are; this computes positions, hours and days from them again.
CREATE FUNCTION blotter_internal.rebuild_positions() RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET jit = off SET enable_seqscan = off
    AS $$
DECLARE
    one blotter_internal.position;
    f blotter_internal.funding;
    n bigint := 0;
BEGIN
    PERFORM blotter_internal.begin_booking();
    PERFORM pg_advisory_xact_lock(blotter_internal.lock_class(), hashtext(e.exchange || ' books'))
    FROM (SELECT DISTINCT p.exchange FROM blotter_internal.position p ORDER BY 1) AS e;
    PERFORM blotter_internal.empty_booking();
    DELETE FROM blotter_internal.pnl_day;
    UPDATE blotter_internal.position SET funding = NULL;
    FOR one IN SELECT * FROM blotter_internal.position p ORDER BY p.id LOOP
        PERFORM blotter_internal.add_hours_to_days(one, '-infinity', 1);
        PERFORM blotter_internal.forget_position(one);
        n := n + 1;
        IF n % 100 = 0 THEN
            PERFORM blotter_internal.apply_changes();
            PERFORM blotter_internal.empty_booking();
        END IF;
    END LOOP;
    PERFORM blotter_internal.apply_changes();
    FOR f IN SELECT * FROM blotter_internal.funding a WHERE a.counts LOOP
        PERFORM blotter_internal.add_funding(f, f.amount);
    END LOOP;
    RETURN n;
END
$$;
COMMENT ON FUNCTION blotter_internal.rebuild_positions() IS
    'Computes positions, hours and days from the fills again. The numbers are the same, digit for digit; it is for a doubt, or after a row was changed by hand. Of a position whose old fills are rolled it starts from the hours before. Returns the number of positions.';

-- --- what queues rows beside the drainer ------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION blotter_internal.queue_position_base() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    r blotter.position_base := coalesce(NEW, OLD);
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO blotter_internal.book_queue (kind, recorded_at, exchange_time, exchange, account, strategy, market_type, symbol, position_side, trade_id, side,
                                                 quantity, price, cost, fees)
        VALUES ('b', r.at, r.at, r.exchange, r.account, r.strategy, r.market_type, r.symbol, r.position_side, '#base:' || r.id,
                CASE WHEN r.quantity < 0 THEN 'sell' ELSE 'buy' END, r.quantity, r.price, r.cost, r.fees);
    ELSE
        RAISE EXCEPTION 'a row of position_base is booked and cannot be changed' USING HINT = 'Insert one with the difference.';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION blotter_internal.queue_position_base() IS 'Trigger on position_base: a row goes into the books as a fill.';
CREATE OR REPLACE TRIGGER queue_position_base AFTER INSERT OR UPDATE OR DELETE ON blotter.position_base
    FOR EACH ROW EXECUTE FUNCTION blotter_internal.queue_position_base();

-- A fill may be booked before the order that says whose it is. So the booker hears of each order that is new, and of what lends being learnt.
CREATE OR REPLACE FUNCTION blotter_internal.queue_new_orders() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    INSERT INTO blotter_internal.book_queue (kind, exchange, order_keys)
    SELECT 'h', o.exchange,
           array_agg('o' || o.order_key) FILTER (WHERE NOT o.provisional) || array_agg('c' || o.client_order_id) FILTER (WHERE o.client_order_id <> '')
    FROM new_orders o
    GROUP BY o.exchange
    HAVING bool_or(NOT o.provisional OR o.client_order_id <> '');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION blotter_internal.queue_new_orders() IS 'Trigger on orders: the booker hears of new ones.';
CREATE OR REPLACE TRIGGER queue_new_orders AFTER INSERT ON blotter.orders
    REFERENCING NEW TABLE AS new_orders FOR EACH STATEMENT EXECUTE FUNCTION blotter_internal.queue_new_orders();

CREATE OR REPLACE FUNCTION blotter_internal.queue_order_news() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    INSERT INTO blotter_internal.book_queue (kind, exchange, order_keys)
    VALUES ('h', NEW.exchange, ARRAY['o' || NEW.order_key, 'c' || NEW.client_order_id]);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION blotter_internal.queue_order_news() IS 'Trigger on orders: the booker hears of what one learnt that it lends to its fills.';
CREATE OR REPLACE TRIGGER queue_order_news AFTER UPDATE ON blotter.orders FOR EACH ROW
    WHEN ((OLD.strategy, OLD.symbol, OLD.side, OLD.position_side, OLD.market_type, OLD.client_order_id)
          IS DISTINCT FROM (NEW.strategy, NEW.symbol, NEW.side, NEW.position_side, NEW.market_type, NEW.client_order_id))
    EXECUTE FUNCTION blotter_internal.queue_order_news();
