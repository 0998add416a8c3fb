-- books_roll: fills that are old enough give way to what they came to.
--
-- The hours keep the state of a position at their end, and what they added: positions, PnL by hour or day and equity need no fill before.
-- So the fills of a position before a full hour, position.rolled_before, go; who they were stays in rolled_fill, and which lots were open
-- in rolled_lot. From then on nothing before that hour can change. What would change it is refused, and so named in book_errors: a fill of
-- before that comes late, one that would move there, a bust or correction of one that is rolled, another contract. A mere copy of one that is
-- rolled changes nothing, nor does what its order learns later. What is asked of a time within such an hour is refused, too.
--
-- Fills that share their trade id stay where they are, as only all copies together tell them apart; so do those of a position that is not
-- known for sure: without a price, a side or a contract.

-- The end is after the last hour that has fills, so that one that comes late after it still finds its place. Where there are more than max_fills
-- it is after those, but after one hour of them at least.
CREATE FUNCTION blotter_internal.roll_end(p_id int, since timestamptz, before timestamptz, max_fills bigint) RETURNS timestamptz
    LANGUAGE sql STABLE
    AS $$
    SELECT greatest(blotter_internal.hour_of(coalesce(
                        (SELECT f.at FROM blotter_internal.fill f WHERE f.position_id = p_id AND f.at >= since AND f.at < before
                         ORDER BY f.at OFFSET max_fills LIMIT 1),
                        (SELECT f.at + interval '1 hour' FROM blotter_internal.fill f WHERE f.position_id = p_id AND f.at >= since AND f.at < before
                         ORDER BY f.at DESC LIMIT 1))),
                    blotter_internal.hour_of((SELECT f.at + interval '1 hour' FROM blotter_internal.fill f WHERE f.position_id = p_id AND f.at >= since
                                              AND f.at < before ORDER BY f.at LIMIT 1)))
$$;
COMMENT ON FUNCTION blotter_internal.roll_end(int, timestamptz, timestamptz, bigint) IS
    'The full hour up to which the fills of a position are to be rolled next; null: none are.';

CREATE FUNCTION blotter_internal.is_sure(p blotter_internal.position) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT (p).unpriced = 0 AND (p).sideless = 0 AND NOT (p).unvalued AND NOT (p).assumed;
    END;
COMMENT ON FUNCTION blotter_internal.is_sure(blotter_internal.position) IS
    'Is all known that the fills of a position are worth? Otherwise they are not rolled: it may still be learnt.';

-- The hours of its fills stay; the last of them needs no totals, as the next fill that comes writes them.
CREATE FUNCTION blotter_internal.roll_position(p blotter_internal.position, high timestamptz) RETURNS bigint
    LANGUAGE plpgsql
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off
    AS $$
DECLARE
    last blotter_internal.fill;
    lots blotter_internal.rolled_lot[];
    n bigint;
BEGIN
    SELECT array_agg(ROW(p.id, l.n, l.opened_at, l.opened_by, l.quantity, l.cost)::blotter_internal.rolled_lot ORDER BY l.n) INTO lots
    FROM blotter_internal.fifo_of(p, 'infinity', high) WITH ORDINALITY AS l (at, trade_id, quantity, opened_at, opened_by, cost, proceeds, realized, n)
    WHERE l.at IS NULL;
    DELETE FROM blotter_internal.rolled_lot l WHERE l.position_id = p.id;
    INSERT INTO blotter_internal.rolled_lot SELECT * FROM unnest(lots);
    SELECT f.* INTO last FROM blotter_internal.fill f
    WHERE f.position_id = p.id AND f.at = (SELECT b.at FROM blotter_internal.fill b WHERE b.position_id = p.id AND b.at < high ORDER BY b.at DESC LIMIT 1)
    ORDER BY length(f.trade_id) DESC, f.trade_id DESC, f.side DESC NULLS LAST LIMIT 1;
    WITH gone AS (
        DELETE FROM blotter_internal.fill f
        WHERE f.position_id = p.id AND f.at >= coalesce(p.rolled_before, '-infinity') AND f.at < high AND f.n = 0
          AND (SELECT o.n FROM blotter_internal.fill o WHERE o.exchange = f.exchange AND o.trade_id = f.trade_id AND o.n > 0 LIMIT 1) IS NULL
        RETURNING f.position_id, f.lacks, f.trade_id, f.order_id, f.side)
    INSERT INTO blotter_internal.rolled_fill SELECT * FROM gone;
    GET DIAGNOSTICS n = ROW_COUNT;
    DELETE FROM blotter_internal.position_checkpoint c WHERE c.position_id = p.id AND c.at < high;
    UPDATE blotter_internal.position o SET
        rolled_before = high, rolled_at = last.at, rolled_trade_id = last.trade_id, rolled_side = coalesce(last.side, '')
    WHERE o.id = p.id;
    RETURN n;
END
$$;
COMMENT ON FUNCTION blotter_internal.roll_position(blotter_internal.position, timestamptz) IS
    'Rolls the fills of a position before a full hour. Returns how many.';

-- A piece, with the lock that a booking of the exchange takes: who books waits for it as for another booking. Each leaves the books whole.
CREATE FUNCTION blotter_internal.roll_fills(before timestamptz, from_position int DEFAULT 0, max_fills int DEFAULT 2000,
                                            OUT next_position int, OUT rolled bigint)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
DECLARE
    p blotter_internal.position;
    of_exchange text;
    full_hour timestamptz := blotter_internal.hour_of(before);
    high timestamptz;
BEGIN
    IF before > now() - interval '2 days' THEN
        RAISE EXCEPTION 'fills of the last two days are not rolled' USING ERRCODE = 'invalid_parameter_value';
    ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'roll_fills has to see what it waited for' USING HINT = 'Call it under READ COMMITTED.';
    END IF;
    rolled := 0;
    SELECT o.exchange INTO of_exchange FROM blotter_internal.position o WHERE o.id >= from_position ORDER BY o.id LIMIT 1;
    PERFORM pg_advisory_xact_lock(blotter_internal.lock_class(), hashtext(of_exchange || ' books'));
    FOR p IN SELECT * FROM blotter_internal.position o WHERE o.id >= from_position ORDER BY o.id LOOP
        next_position := p.id;
        EXIT WHEN p.exchange <> of_exchange OR rolled >= max_fills;
        IF p.first_fill_at < full_hour AND blotter_internal.is_sure(p) THEN
            high := blotter_internal.roll_end(p.id, coalesce(p.rolled_before, '-infinity'), full_hour, max_fills - rolled);
            IF high IS NOT NULL THEN
                rolled := rolled + blotter_internal.roll_position(p, high);
                EXIT WHEN blotter_internal.roll_end(p.id, high, full_hour, 0) IS NOT NULL;
            END IF;
        END IF;
        next_position := NULL;
    END LOOP;
END
$$;
COMMENT ON FUNCTION blotter_internal.roll_fills(timestamptz, int, int) IS
    'Rolls fills before a time, position by position, about so many, as one transaction that holds the lock of an exchange''s bookings. Returns how many, and the position to go on with; null: all is done. `blotter partitions roll` calls it until then.';

CREATE FUNCTION blotter_internal.list_rolls(before timestamptz)
    RETURNS TABLE (exchange text, positions bigint, fills bigint, unsure bigint)
    LANGUAGE sql STABLE
    AS $$
    SELECT p.exchange, count(*) FILTER (WHERE s.sure), coalesce(sum(k.fills) FILTER (WHERE s.sure), 0)::bigint, count(*) FILTER (WHERE NOT s.sure)
    FROM blotter_internal.position p
    CROSS JOIN LATERAL (SELECT blotter_internal.is_sure(p) AS sure) AS s
    CROSS JOIN LATERAL (SELECT count(*) AS fills FROM blotter_internal.fill f
                        WHERE f.position_id = p.id AND f.at >= coalesce(p.rolled_before, '-infinity') AND f.at < before OFFSET 0) AS k
    WHERE k.fills > 0
    GROUP BY p.exchange ORDER BY p.exchange
$$;
COMMENT ON FUNCTION blotter_internal.list_rolls(timestamptz) IS
    'For `blotter partitions roll`: of how many positions how many fills are to be rolled; and of how many none are, as a price, a side or the contract is not known.';

-- --- what comes after -------------------------------------------------------------------------------------------------------

CREATE FUNCTION blotter_internal.drop_rolled_copies() RETURNS void
    LANGUAGE plpgsql
    SET enable_hashjoin = off SET enable_mergejoin = off
    AS $$
DECLARE
    one record;
BEGIN
    IF NOT EXISTS (SELECT FROM blotter_internal.rolled_fill) THEN
        RETURN;
    END IF;
    FOR one IN
        SELECT c.ctid, c.trade_id, c.ranks & 3 = 3 AS changes, c.exchange_time, r.rolled_before
        FROM pg_temp.booking_copies c
        CROSS JOIN LATERAL (
            SELECT p.rolled_before,
                   ROW(0, 0, true, NULL, NULL, CASE WHEN f.lacks & 2 = 0 THEN p.account END, NULL,
                       CASE WHEN f.lacks & 8 = 0 THEN p.symbol END, CASE WHEN f.lacks & 16 = 0 THEN p.market_type END, NULL,
                       CASE WHEN f.lacks & 64 = 0 THEN f.side END, f.order_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                       NULL)::blotter_internal.fill_copy AS copy
            FROM blotter_internal.rolled_fill f
            JOIN blotter_internal.position p ON p.id = f.position_id
            WHERE f.trade_id = c.trade_id AND p.exchange = c.exchange COLLATE "default"
            OFFSET 0) AS r
        WHERE c.trade_id IS NOT NULL AND c.kind <> 'n'
          AND NOT blotter_internal.copies_conflict(
                  r.copy, ROW(c.ranks, 0, c.rolled, c.recorded_at, c.exchange_time, c.account, c.strategy, c.symbol, c.market_type, c.position_side, c.side,
                              c.order_id, c.client_order_id, c.price, c.quantity, c.cost, c.fee, c.fee_currency, c.fees,
                              c.liquidity)::blotter_internal.fill_copy)
    LOOP
        IF one.changes THEN
            RAISE EXCEPTION 'trade % is rolled with the fills before %, and cannot be busted or corrected: insert the difference into blotter.position_base, with a time from then on',
                one.trade_id, one.rolled_before;
        ELSIF one.exchange_time >= one.rolled_before THEN
            RAISE EXCEPTION 'trade % is rolled with the fills before %, and here it is of %: if it is another fill, insert it into blotter.position_base',
                one.trade_id, one.rolled_before, one.exchange_time;
        END IF;
        DELETE FROM pg_temp.booking_copies c WHERE c.ctid = one.ctid;
    END LOOP;
END
$$;
COMMENT ON FUNCTION blotter_internal.drop_rolled_copies() IS
    'Takes copies of fills that are rolled out of booking_copies; refuses what would change one.';

CREATE FUNCTION blotter_internal.refuse_rolled_changes() RETURNS void
    LANGUAGE plpgsql
    SET enable_nestloop = off SET enable_mergejoin = off
    AS $$
DECLARE
    one record;
BEGIN
    SELECT c.trade_id, c.at, p.rolled_before INTO one
    FROM pg_temp.booking_changes c
    JOIN pg_temp.booking_positions p ON p.id = c.position_id
    WHERE p.rolled_before IS NOT NULL AND c.at < p.rolled_before
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'trade % is of %, and the fills of its position before % are rolled: insert what it changes into blotter.position_base, with a time from then on',
            one.trade_id, one.at, one.rolled_before;
    END IF;
END
$$;
COMMENT ON FUNCTION blotter_internal.refuse_rolled_changes() IS
    'Refuses changes of a position before the hour up to which its fills are rolled.';

CREATE FUNCTION blotter_internal.refuse_rolled_time(t timestamptz) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF blotter_internal.hour_of(t) <> t
       AND EXISTS (SELECT FROM blotter_internal.position p
                   CROSS JOIN LATERAL (SELECT FROM blotter_internal.position_hour h WHERE h.position_id = p.id AND h.hour = blotter_internal.hour_of(t)
                                       OFFSET 0) AS h
                   WHERE p.rolled_before > t) THEN
        RAISE EXCEPTION 'fills of the hour of % are rolled: what there was within it is not known any more', t
            USING HINT = 'Ask for a full hour (UTC).';
    END IF;
END
$$;
COMMENT ON FUNCTION blotter_internal.refuse_rolled_time(timestamptz) IS
    'Refuses a time within an hour of which fills are rolled.';
