-- books_booking: from book_queue into the books; see books.sql.

CREATE FUNCTION blotter_internal.begin_booking() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning
    AS $$
BEGIN
    IF to_regclass('pg_temp.booking_starts') IS NOT NULL THEN
        RETURN;
    END IF;
    -- One row a row of the queue, spelled as the books spell it.
    CREATE TEMPORARY TABLE booking_copies (tid tid, kind "char", exchange text COLLATE "C", trade_id text COLLATE "C", producer_id bigint, seq bigint, recorded_at timestamptz,
                                           order_keys text[], copy blotter_internal.fill_copy);
    -- Executions that are new and have one copy, with what the order lends.
    CREATE TEMPORARY TABLE booking_new (exchange text COLLATE "C", trade_id text COLLATE "C", copy blotter_internal.fill_copy, lacks int, side text COLLATE "C",
                                        account text COLLATE "C", strategy text COLLATE "C", market_type text COLLATE "C", symbol text COLLATE "C", position_side text COLLATE "C");
    -- Fills that come into a position (1) or leave it (-1).
    CREATE TEMPORARY TABLE booking_changes (position_id int, at timestamptz, trade_id text COLLATE "C", side text COLLATE "C", sign int, order_id text COLLATE "C", n int,
                                            price numeric, quantity numeric, cost numeric, fee numeric, fee_currency text COLLATE "C", fees jsonb, rolled boolean);
    -- Positions that change, and the state from which their fills are added.
    CREATE TEMPORARY TABLE booking_starts (position_id int, late boolean, since timestamptz, q numeric, c numeric, r numeric, last_fill_at timestamptz,
                                           last_trade_id text COLLATE "C", last_side text COLLATE "C", last_price numeric);
    CREATE TEMPORARY TABLE booking_hours (position_id int, hour timestamptz, q numeric, c numeric, r numeric, realized numeric, last_price numeric, last_at timestamptz,
                                          last_trade_id text COLLATE "C", last_side text COLLATE "C");
    CREATE TEMPORARY TABLE booking_sums (position_id int, hour timestamptz, fills bigint, unpriced bigint, sideless bigint,
                                         fee_currency text COLLATE "C", fee numeric, more_fees jsonb, fee_value numeric, unvalued_fees jsonb);
END
$$;
COMMENT ON FUNCTION blotter_internal.begin_booking() IS 'Makes the temporary tables of a session that books.';

-- What of a record's words the books use. An order event is an execution if it has last_quantity. A trade is one of ours if it says whose
-- it is, or if it was fetched from the venue; without an id it cannot be told from its copies and is left out.
CREATE FUNCTION blotter_internal.copy_of(q blotter_internal.book_queue) RETURNS TABLE (trade_id text, copy blotter_internal.fill_copy)
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
    SELECT CASE WHEN r.rank = 0 AND k.id IS NULL AND q.kind = 'o' THEN '#' || q.producer_id || ':' || q.seq WHEN r.rank IS NOT NULL THEN k.id END COLLATE "C",
           CASE WHEN r.rank IS NOT NULL
                THEN ROW(blotter_internal.copy_ranks(r.rank), 0, q.kind = 'r', q.recorded_at, q.exchange_time, nullif(q.account, ''), nullif(q.strategy, ''),
                         nullif(q.symbol, ''), nullif(q.market_type, ''),
                         CASE lower(q.position_side COLLATE "C") WHEN 'long' THEN 'long' WHEN 'short' THEN 'short' END,
                         coalesce(blotter_internal.side_of(q.side), CASE WHEN q.quantity < 0 THEN 'sell' END), CASE WHEN q.order_id NOT IN ('', '0') THEN q.order_id END, CASE WHEN q.client_order_id NOT IN ('', '0') THEN q.client_order_id END,
                         q.price, CASE WHEN k.busted THEN 0 ELSE abs(q.quantity) END, q.cost, q.fee, nullif(q.fee_currency, ''), nullif(q.fees, '{}'),
                         nullif(q.liquidity, ''))::blotter_internal.fill_copy END
    FROM (SELECT CASE WHEN q.trade_id NOT IN ('', '0', '-1') THEN q.trade_id END AS id,
                 q.kind = 'o' AND lower(q.event COLLATE "C") IN ('bust', 'busted', 'trade_bust', 'trade_cancel', 'trade cancel', 'trade_canceled', 'cancel_trade', 'h') AS busted,
                 q.kind = 'o' AND lower(q.event COLLATE "C") IN ('correct', 'corrected', 'correction', 'trade_correct', 'trade correct', 'trade_correction', 'g') AS corrected
          OFFSET 0) AS k
    CROSS JOIN LATERAL (SELECT CASE WHEN q.kind = 't' AND k.id IS NOT NULL
                                         AND (q.order_id NOT IN ('', '0') OR q.client_order_id NOT IN ('', '0') OR q.account <> '' OR q.strategy <> '' OR q.origin = 'venue')
                                    THEN CASE WHEN q.quantity = 0 THEN 3 WHEN q.origin = 'venue' THEN 2 ELSE 1 END
                                    WHEN q.kind IN ('b', 'r') THEN 0
                                    WHEN q.kind = 'o' AND (k.busted OR k.corrected) THEN CASE WHEN k.id IS NOT NULL THEN 3 END
                                    WHEN q.kind = 'o' AND q.quantity <> 0 THEN 0 END AS rank
                        OFFSET 0) AS r
$$;
COMMENT ON FUNCTION blotter_internal.copy_of(blotter_internal.book_queue) IS
    'A row of the queue as a copy of an execution; trade_id null: it is none.';

-- --- fills ------------------------------------------------------------------------------------------------------------------

-- What was learnt of orders that had lent something to fills, or could not.
CREATE FUNCTION blotter_internal.book_order_news() RETURNS void
    LANGUAGE plpgsql
    -- The first plan is made while the table is empty, and kept: it would read all fills of the exchange for each key.
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    AS $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT DISTINCT f.exchange, f.trade_id
        FROM pg_temp.booking_copies h
        CROSS JOIN LATERAL unnest(h.order_keys) AS k
        CROSS JOIN LATERAL (SELECT o.exchange, o.trade_id FROM blotter_internal.fill o
                            WHERE left(k, 1) = 'o' AND o.order_id = substr(k, 2) COLLATE "C" AND o.exchange = h.exchange COLLATE "default" AND o.lacks & 126 <> 0
                            UNION ALL
                            SELECT o.exchange, o.trade_id FROM blotter_internal.fill o
                            WHERE left(k, 1) = 'c' AND o.client_order_id = substr(k, 2) COLLATE "C" AND o.exchange = h.exchange COLLATE "default" AND o.lacks & 126 <> 0
                            OFFSET 0) AS f
        WHERE h.kind = 'h'
    LOOP
        PERFORM blotter_internal.book_group(one.exchange, one.trade_id, '{}', true);
    END LOOP;
END
$$;
COMMENT ON FUNCTION blotter_internal.book_order_news() IS 'Looks again at the fills of orders of which something was learnt.';

-- The usual case, set by set: one copy, and nothing of its trade id was there before.
CREATE FUNCTION blotter_internal.book_new_fills() RETURNS void
    LANGUAGE plpgsql
    SET enable_mergejoin = off
    AS $$
BEGIN
    PERFORM blotter_internal.position_of(k.exchange, k.account, k.strategy, k.market_type, k.symbol, k.position_side)
    FROM (SELECT DISTINCT e.exchange, e.account, e.strategy, e.market_type, e.symbol, e.position_side FROM pg_temp.booking_new e OFFSET 0) AS k
    WHERE NOT EXISTS (SELECT FROM blotter_internal.position p
                      WHERE (p.exchange, p.account, p.strategy, p.market_type, p.symbol, p.position_side)
                          = (k.exchange, k.account, k.strategy, k.market_type, k.symbol, k.position_side));
    WITH new AS (
        INSERT INTO blotter_internal.fill (exchange, trade_id, n, position_id, at, lacks, differs, ranks, rolled, side, order_id, client_order_id, price, quantity,
                                           cost, fee, fee_currency, fees, liquidity)
        SELECT e.exchange, e.trade_id, 0, p.id, coalesce((e.copy).exchange_time, (e.copy).recorded_at), e.lacks, 0, (e.copy).ranks, (e.copy).rolled, e.side, (e.copy).order_id,
               CASE WHEN (e.copy).order_id IS NULL THEN (e.copy).client_order_id END, (e.copy).price, coalesce((e.copy).quantity, 0), (e.copy).cost, (e.copy).fee,
               (e.copy).fee_currency, (e.copy).fees, (e.copy).liquidity
        FROM pg_temp.booking_new e
        CROSS JOIN LATERAL (SELECT q.id FROM blotter_internal.position q
                            WHERE (q.exchange, q.account, q.strategy, q.market_type, q.symbol, q.position_side)
                                = (e.exchange, e.account, e.strategy, e.market_type, e.symbol, e.position_side) OFFSET 0) AS p
        RETURNING *)
    INSERT INTO pg_temp.booking_changes (position_id, at, trade_id, side, sign, order_id, n, price, quantity, cost, fee, fee_currency, fees, rolled)
    SELECT n.position_id, n.at, n.trade_id, n.side, 1, n.order_id, n.n, n.price, n.quantity, n.cost, n.fee, n.fee_currency, n.fees, n.rolled FROM new n;
END
$$;
COMMENT ON FUNCTION blotter_internal.book_new_fills() IS 'Stores the fills of booking_new, and notes them as changes.';

CREATE FUNCTION blotter_internal.book_fills() RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    one record;
BEGIN
    -- Alone in this booking, and new.
    INSERT INTO pg_temp.booking_new
    SELECT a.exchange, a.trade_id, a.copy, blotter_internal.lacks_of(a.copy), coalesce((a.copy).side, o.side),
           coalesce((a.copy).account, o.account, ''), coalesce((a.copy).strategy, o.strategy, ''), coalesce((a.copy).market_type, o.market_type, ''),
           coalesce((a.copy).symbol, o.symbol, ''), coalesce((a.copy).position_side, o.position_side, '')
    FROM (SELECT c.exchange, c.trade_id, c.copy, count(*) OVER (PARTITION BY c.exchange, c.trade_id) AS copies
          FROM pg_temp.booking_copies c WHERE c.trade_id IS NOT NULL) AS a
    LEFT JOIN LATERAL blotter_internal.order_lends(a.exchange, (a.copy).order_id, (a.copy).client_order_id, (a.copy).account, (a.copy).symbol) AS o
           ON blotter_internal.lacks_of(a.copy) & 126 <> 0
    WHERE a.copies = 1
      AND (SELECT f.n FROM blotter_internal.fill f WHERE f.exchange = a.exchange AND f.trade_id = a.trade_id LIMIT 1) IS NULL;
    IF FOUND THEN
        PERFORM blotter_internal.book_new_fills();
    END IF;
    FOR one IN
        SELECT c.exchange, c.trade_id, array_agg(c.copy) AS copies
        FROM pg_temp.booking_copies c
        WHERE c.trade_id IS NOT NULL
          AND NOT EXISTS (SELECT FROM pg_temp.booking_new e WHERE e.exchange = c.exchange AND e.trade_id = c.trade_id)
        GROUP BY c.exchange, c.trade_id
    LOOP
        PERFORM blotter_internal.book_group(one.exchange, one.trade_id, one.copies);
    END LOOP;
END
$$;
COMMENT ON FUNCTION blotter_internal.book_fills() IS 'Stores what booking_copies says of executions, and notes what changes.';

-- --- instruments and cash ---------------------------------------------------------------------------------------------------

-- Takes a position out of the books but for its row, and notes all its fills as changes.
CREATE FUNCTION blotter_internal.forget_position(p blotter_internal.position) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO blotter_internal.pnl_day AS d (exchange, account, strategy, currency, day, realized, fee_value, fills)
    SELECT p.exchange, p.account, p.strategy, x.currency, x.day, -sum(x.realized), -sum(x.fee_value), -sum(x.fills)
    FROM (SELECT p.currency, blotter_internal.day_of(h.hour) AS day, h.realized_pnl - coalesce(lag(h.realized_pnl) OVER (ORDER BY h.hour), 0) AS realized,
                 h.fee_value, h.fills
          FROM blotter_internal.position_hour h WHERE h.position_id = p.id
          UNION ALL
          SELECT e.key, blotter_internal.day_of(h.hour), 0, e.value::numeric, 0
          FROM blotter_internal.position_hour h
          CROSS JOIN LATERAL jsonb_each_text(blotter_internal.add_amounts(h.other_fees, CASE WHEN h.fee_currency IS NOT NULL THEN jsonb_build_object(h.fee_currency, h.fee) END)) AS e
          WHERE h.position_id = p.id AND NOT blotter_internal.is_valued(p.base, p.quote, p.currency, e.key)) AS x
    GROUP BY x.currency, x.day
    ON CONFLICT (strategy, exchange, account, currency, day) DO UPDATE SET
        realized = d.realized + excluded.realized, fee_value = d.fee_value + excluded.fee_value, fills = d.fills + excluded.fills;
    DELETE FROM blotter_internal.position_hour h WHERE h.position_id = p.id;
    UPDATE blotter_internal.position o SET quantity = 0, open_cost = 0, realized_pnl = 0, fee_currency = NULL, fee = 0, other_fees = NULL, fee_value = 0, fills = 0,
           unpriced = 0, sideless = 0, first_fill_at = NULL, last_fill_at = NULL, last_trade_id = NULL, last_side = NULL, last_price = NULL
    WHERE o.id = p.id;
    DELETE FROM pg_temp.booking_changes c WHERE c.position_id = p.id;
    INSERT INTO pg_temp.booking_changes (position_id, at, trade_id, side, sign, order_id, n, price, quantity, cost, fee, fee_currency, fees, rolled)
    SELECT f.position_id, f.at, f.trade_id, f.side, 1, f.order_id, f.n, f.price, f.quantity, f.cost, f.fee, f.fee_currency, f.fees, f.rolled
    FROM blotter_internal.fill f WHERE f.position_id = p.id;
END
$$;
COMMENT ON FUNCTION blotter_internal.forget_position(blotter_internal.position) IS
    'Takes out of hours, days and the position what its fills had come to, so that they are all booked again.';

-- A contract that changes changes every value: the positions of the symbol are computed again.
CREATE FUNCTION blotter_internal.book_instruments() RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    one record;
    p blotter_internal.position;
    c record;
BEGIN
    FOR one IN
        SELECT DISTINCT ON (i.exchange, i.symbol, coalesce(i.market_type, '')) i.*
        FROM pg_temp.booking_copies q
        JOIN LATERAL (SELECT * FROM blotter.instruments a
                      WHERE a.recorded_at = q.recorded_at AND a.producer_id = q.producer_id AND a.seq = q.seq OFFSET 0) AS i ON true
        WHERE q.kind = 'i' AND i.symbol IS NOT NULL
        ORDER BY i.exchange, i.symbol, coalesce(i.market_type, ''), i.recorded_at DESC, i.producer_id DESC, i.seq DESC
    LOOP
        INSERT INTO blotter_internal.contract AS k (exchange, symbol, market_type, recorded_at, producer_id, seq, base, quote, settle, contract_size,
                                                    quantity_unit, linear, inverse)
        VALUES (one.exchange, one.symbol, coalesce(one.market_type, ''), one.recorded_at, one.producer_id, one.seq, nullif(one.base, ''), nullif(one.quote, ''),
                nullif(one.settle, ''), nullif(one.contract_size, 0), one.quantity_unit, one.linear, one.inverse)
        ON CONFLICT (exchange, symbol, market_type) DO UPDATE SET
            recorded_at = excluded.recorded_at, producer_id = excluded.producer_id, seq = excluded.seq, base = excluded.base, quote = excluded.quote,
            settle = excluded.settle, contract_size = excluded.contract_size, quantity_unit = excluded.quantity_unit, linear = excluded.linear,
            inverse = excluded.inverse
        WHERE (excluded.recorded_at, excluded.producer_id, excluded.seq) > (k.recorded_at, k.producer_id, k.seq);
        CONTINUE WHEN NOT FOUND;
        FOR p IN SELECT o.* FROM blotter_internal.position o WHERE o.exchange = one.exchange AND o.symbol = one.symbol ORDER BY o.id LOOP
            SELECT * INTO c FROM blotter_internal.contract_of(p.exchange, p.symbol, p.market_type);
            IF (c.inverse, c.unvalued, c.by_cost, c.assumed, c.takes_fees, c.multiplier, c.base, c.quote, c.currency)
               IS DISTINCT FROM (p.inverse, p.unvalued, p.by_cost, p.assumed, p.takes_fees, p.multiplier, p.base, p.quote, p.currency) THEN
                PERFORM blotter_internal.forget_position(p);
                UPDATE blotter_internal.position o SET inverse = c.inverse, unvalued = c.unvalued, by_cost = c.by_cost, assumed = c.assumed,
                       takes_fees = c.takes_fees, multiplier = c.multiplier, base = c.base, quote = c.quote, currency = c.currency
                WHERE o.id = p.id;
            END IF;
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON FUNCTION blotter_internal.book_instruments() IS 'Books the instrument records of booking_copies.';

CREATE FUNCTION blotter_internal.add_funding(e blotter_internal.funding, amount numeric) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE blotter_internal.position p
    SET funding = blotter_internal.add_amounts(p.funding, jsonb_build_object(e.currency, add_funding.amount))
    WHERE p.id = e.position_id;
    INSERT INTO blotter_internal.pnl_day AS d (exchange, account, strategy, currency, day, funding)
    SELECT p.exchange, p.account, p.strategy, e.currency, blotter_internal.day_of(e.at), add_funding.amount
    FROM blotter_internal.position p WHERE p.id = e.position_id
    ON CONFLICT (strategy, exchange, account, currency, day) DO UPDATE SET funding = d.funding + excluded.funding;
END
$$;
COMMENT ON FUNCTION blotter_internal.add_funding(blotter_internal.funding, numeric) IS 'Adds an amount to the position and the day of a funding payment.';

-- Ledger and funding history repeat each other under one key, and an entry changes its status: the latest record counts.
CREATE FUNCTION blotter_internal.book_cash() RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    one record;
    old blotter_internal.funding;
    new blotter_internal.funding;
BEGIN
    FOR one IN
        SELECT i.*
        FROM pg_temp.booking_copies q
        JOIN LATERAL (SELECT * FROM blotter.cash a
                      WHERE a.recorded_at = q.recorded_at AND a.producer_id = q.producer_id AND a.seq = q.seq OFFSET 0) AS i ON true
        WHERE q.kind = 'c' AND lower(i.type COLLATE "C") = 'funding'
        ORDER BY i.recorded_at, i.producer_id, i.seq
    LOOP
        new.exchange := one.exchange;
        new.account := coalesce(one.account, '');
        new.entry_id := coalesce(nullif(one.entry_id, ''), CASE WHEN one.exchange_time IS NULL THEN '#' || one.producer_id || ':' || one.seq ELSE '' END);
        new.currency := one.currency;
        new.symbol := coalesce(one.symbol, '');
        new.exchange_time := coalesce(one.exchange_time, '-infinity');
        new.at := coalesce(one.exchange_time, one.recorded_at);
        new.amount := one.amount;
        new.counts := coalesce(lower(one.status COLLATE "C") IN ('', 'ok', 'success', 'sucess', 'completed', 'finished'), true);
        new.recorded_at := one.recorded_at;
        new.producer_id := one.producer_id;
        new.seq := one.seq;
        new.position_id := blotter_internal.position_of(one.exchange, new.account, coalesce(one.strategy, ''), coalesce(one.market_type, ''), new.symbol, '');
        SELECT f.* INTO old FROM blotter_internal.funding f
        WHERE (f.exchange, f.account, f.entry_id, f.currency, f.symbol, f.exchange_time)
            = (new.exchange, new.account, new.entry_id, new.currency, new.symbol, new.exchange_time);
        CONTINUE WHEN (old.recorded_at, old.producer_id, old.seq) >= (new.recorded_at, new.producer_id, new.seq);
        IF old.counts THEN
            PERFORM blotter_internal.add_funding(old, -old.amount);
        END IF;
        IF new.counts THEN
            PERFORM blotter_internal.add_funding(new, new.amount);
        END IF;
        INSERT INTO blotter_internal.funding SELECT new.*
        ON CONFLICT (exchange, account, entry_id, currency, symbol, exchange_time) DO UPDATE SET
            position_id = excluded.position_id, at = excluded.at, amount = excluded.amount, counts = excluded.counts,
            recorded_at = excluded.recorded_at, producer_id = excluded.producer_id, seq = excluded.seq;
    END LOOP;
END
$$;
COMMENT ON FUNCTION blotter_internal.book_cash() IS 'Books the funding payments among the cash entries of booking_copies.';
