-- books_booking: from book_queue into the books; see books.sql.

CREATE FUNCTION blotter_internal.begin_booking() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning
    AS $$
BEGIN
    IF to_regclass('pg_temp.booking_ends') IS NOT NULL THEN
        RETURN;
    END IF;
    -- One row a row of the queue, spelled as the books spell it. Kind n: not of the queue, but a
    -- fill whose order may lend more than before.
    CREATE TEMPORARY TABLE booking_copies (
        kind "char", exchange text COLLATE "C", trade_id text COLLATE "C", producer_id bigint,
        seq bigint, order_keys text[], ranks bigint, rolled boolean, recorded_at timestamptz,
        exchange_time timestamptz, account text COLLATE "C", strategy text COLLATE "C",
        symbol text COLLATE "C", market_type text COLLATE "C", position_side text COLLATE "C",
        side text COLLATE "C", order_id text COLLATE "C", client_order_id text COLLATE "C",
        price numeric, quantity numeric, cost numeric, fee numeric, fee_currency text COLLATE "C",
        fees jsonb, liquidity text COLLATE "C", tid tid
    );
    -- Fills that are new or may change: what their copies say together, and what the order lends.
    -- was: the fill as it was, null for a new one.
    CREATE TEMPORARY TABLE booking_fills (
        exchange text COLLATE "C", trade_id text COLLATE "C", n int,
        copies blotter_internal.fill_copy[], was blotter_internal.fill,
        account text COLLATE "C", strategy text COLLATE "C", market_type text COLLATE "C",
        symbol text COLLATE "C", position_side text COLLATE "C", at timestamptz, lacks int,
        differs int, ranks bigint, rolled boolean, side text COLLATE "C", order_id text COLLATE "C",
        client_order_id text COLLATE "C", price numeric, quantity numeric, cost numeric,
        fee numeric, fee_currency text COLLATE "C", fees jsonb, liquidity text COLLATE "C"
    );
    -- Trade ids that are not so simple. Where copies differ in who traded what: the fills as they
    -- were, whether there are too many to tell (see is_crowd), the copies to keep, and the fills
    -- that these are of; null: nothing changes.
    CREATE TEMPORARY TABLE booking_rest (
        exchange text COLLATE "C", trade_id text COLLATE "C", copies blotter_internal.fill_copy[],
        again boolean, was blotter_internal.fill, way "char", copy blotter_internal.fill_copy,
        olds blotter_internal.fill[], crowd boolean, kept blotter_internal.fill_copy[],
        fills blotter_internal.fill_copy[]
    );
    -- The positions of booking_fills.
    CREATE TEMPORARY TABLE booking_keys (
        position_id int, exchange text COLLATE "C", account text COLLATE "C",
        strategy text COLLATE "C", market_type text COLLATE "C", symbol text COLLATE "C",
        position_side text COLLATE "C"
    );
    -- Fills that are there and change.
    CREATE TEMPORARY TABLE booking_updates (
        was blotter_internal.fill, f blotter_internal.fill
    );
    -- Fills that come into a position (1) or leave it (-1). moves: its quantity, cost or realised
    -- PnL may change, rather than fees and counts alone.
    CREATE TEMPORARY TABLE booking_changes (
        position_id int, at timestamptz, trade_id text COLLATE "C", side text COLLATE "C",
        sign int, moves boolean, order_id text COLLATE "C", n int, price numeric,
        quantity numeric, cost numeric, fee numeric, fee_currency text COLLATE "C", fees jsonb,
        rolled boolean
    );
    -- Positions that change, as they were, and the states from which their fills are added.
    CREATE TEMPORARY TABLE booking_positions (LIKE blotter_internal.position);
    CREATE TEMPORARY TABLE booking_starts (
        position_id int, late boolean, since timestamptz, checkpoint_at timestamptz, counted bigint,
        q numeric, c numeric, r numeric, last_fill_at timestamptz, last_trade_id text COLLATE "C",
        last_side text COLLATE "C", last_price numeric
    );
    CREATE TEMPORARY TABLE booking_hours (
        position_id int, hour timestamptz, q numeric, c numeric, r numeric, realized numeric,
        last_price numeric, last_at timestamptz, last_trade_id text COLLATE "C",
        last_side text COLLATE "C"
    );
    CREATE TEMPORARY TABLE booking_sums (
        position_id int, hour timestamptz, fills bigint, unpriced bigint, sideless bigint,
        fee_currency text COLLATE "C", fee numeric, more_fees jsonb, fee_value numeric,
        unvalued_fees jsonb
    );
    CREATE TEMPORARY TABLE booking_totals (
        position_id int, hour timestamptz, fills bigint, fee numeric, other_fees jsonb
    );
    -- The ends of the changed positions.
    CREATE TEMPORARY TABLE booking_ends (
        position_id int, late boolean, since timestamptz, quantity numeric, open_cost numeric,
        realized_pnl numeric, last_price numeric, last_fill_at timestamptz,
        last_trade_id text COLLATE "C", last_side text COLLATE "C", fills bigint, unpriced bigint,
        sideless bigint, fee_value numeric, fee_currency text COLLATE "C", fee numeric
    );
END
$$;
COMMENT ON FUNCTION blotter_internal.begin_booking() IS
    'Makes the temporary tables of a session that books.';

-- Makes a copy of a fill of a queued record. An order event is an execution if it has last_quantity. A trade is one of ours if it says whose
-- it is, or if it was fetched from the venue; without an id it cannot be told from its copies and is left out.
CREATE FUNCTION blotter_internal.copy_of(q blotter_internal.book_queue) RETURNS TABLE (
        trade_id text, ranks bigint, rolled boolean, account text, strategy text, symbol text,
        market_type text, position_side text, side text, order_id text, client_order_id text,
        quantity numeric, fee_currency text, fees jsonb, liquidity text)
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
    SELECT CASE WHEN r.rank = 0 AND k.id IS NULL AND q.kind = 'o'
                THEN '#' || q.producer_id || ':' || q.seq
                WHEN r.rank IS NOT NULL THEN k.id END COLLATE "C",
           blotter_internal.copy_ranks(r.rank), q.kind = 'r', nullif(q.account, ''),
           nullif(q.strategy, ''), nullif(q.symbol, ''), nullif(q.market_type, ''),
           CASE lower(q.position_side COLLATE "C") WHEN 'long' THEN 'long' WHEN 'short' THEN 'short' END,
           coalesce(blotter_internal.side_of(q.side), CASE WHEN q.quantity < 0 THEN 'sell' END),
           CASE WHEN q.order_id NOT IN ('', '0') THEN q.order_id END,
           CASE WHEN q.client_order_id NOT IN ('', '0') THEN q.client_order_id END,
           CASE WHEN k.busted THEN 0 ELSE abs(q.quantity) END,
           -- A currency without an amount would be lent to the amount of another copy.
           CASE WHEN q.fee IS NOT NULL OR q.fees <> '{}' THEN nullif(q.fee_currency, '') END,
           nullif(q.fees, '{}'), nullif(q.liquidity, '')
    FROM (SELECT CASE WHEN q.trade_id NOT IN ('', '0', '-1') THEN q.trade_id END AS id,
                 q.kind = 'o' AND lower(q.event COLLATE "C") IN (
                     'bust', 'busted', 'trade_bust', 'trade_cancel', 'trade cancel',
                     'trade_canceled', 'cancel_trade', 'h') AS busted,
                 q.kind = 'o' AND lower(q.event COLLATE "C") IN (
                     'correct', 'corrected', 'correction', 'trade_correct', 'trade correct',
                     'trade_correction', 'g') AS corrected
          OFFSET 0) AS k
    CROSS JOIN LATERAL (
        SELECT CASE WHEN q.kind = 't' AND k.id IS NOT NULL
                         AND (q.order_id NOT IN ('', '0') OR q.client_order_id NOT IN ('', '0')
                              OR q.account <> '' OR q.strategy <> '' OR q.origin = 'venue')
                    THEN CASE WHEN q.quantity = 0 THEN 3 WHEN q.origin = 'venue' THEN 2 ELSE 1 END
                    WHEN q.kind IN ('b', 'r') THEN 0
                    WHEN q.kind = 'o' AND (k.busted OR k.corrected)
                    THEN CASE WHEN k.id IS NOT NULL THEN 3 END
                    WHEN q.kind = 'o' AND q.quantity <> 0 THEN 0 END AS rank
        OFFSET 0) AS r
$$;
COMMENT ON FUNCTION blotter_internal.copy_of(blotter_internal.book_queue) IS
    'A row of the queue as a copy of an execution; trade_id null: it is none.';

-- --- fills ------------------------------------------------------------------------------------------------------------------

-- The plans of statements. A temporary table has no statistics, and the tables are empty when a
-- session plans first and keeps its plans. So nothing is left to the planner: book() turns off
-- reading whole tables; a function that joins temporary tables turns off all joins but those by
-- hash, and looks up the others row by row (LATERAL ... OFFSET 0); one that writes rows by their
-- key from one temporary table turns off all joins but those row by row. An index that begins with
-- exchange is kept out of a look-up by another key with COLLATE "default".

-- An order may have lent something to its fills, or could not.
CREATE FUNCTION blotter_internal.book_order_news() RETURNS void
    LANGUAGE plpgsql
    SET enable_hashjoin = off SET enable_mergejoin = off
    AS $$
BEGIN
    INSERT INTO pg_temp.booking_copies (kind, exchange, trade_id)
    SELECT DISTINCT 'n'::"char", f.exchange, f.trade_id
    FROM pg_temp.booking_copies h
    CROSS JOIN LATERAL unnest(h.order_keys) AS k
    CROSS JOIN LATERAL (
        SELECT o.exchange, o.trade_id FROM blotter_internal.fill o
        WHERE left(k, 1) = 'o' AND o.order_id = substr(k, 2) COLLATE "C"
          AND o.exchange = h.exchange COLLATE "default" AND o.lacks & 126 <> 0
        UNION ALL
        SELECT o.exchange, o.trade_id FROM blotter_internal.fill o
        WHERE left(k, 1) = 'c' AND o.client_order_id = substr(k, 2) COLLATE "C"
          AND o.exchange = h.exchange COLLATE "default" AND o.lacks & 126 <> 0
        OFFSET 0) AS f
    WHERE h.kind = 'h';
END
$$;
COMMENT ON FUNCTION blotter_internal.book_order_news() IS
    'Adds the fills of orders of which something was learnt to booking_copies.';

-- The usual case: the first copy of an execution, whose order is one row at most.
CREATE FUNCTION blotter_internal.find_new_fills() RETURNS void
    LANGUAGE plpgsql
    SET enable_nestloop = off SET enable_mergejoin = off
    AS $$
BEGIN
    INSERT INTO pg_temp.booking_fills
    SELECT c.exchange, c.trade_id, 0, NULL, NULL, coalesce(c.account, nullif(o.account, ''), ''),
           coalesce(c.strategy, nullif(o.strategy, ''), ''),
           coalesce(c.market_type, nullif(o.market_type, ''), ''),
           coalesce(c.symbol, nullif(o.symbol, ''), ''),
           coalesce(c.position_side, CASE lower(o.position_side COLLATE "C")
                                     WHEN 'long' THEN 'long' WHEN 'short' THEN 'short' END, ''),
           coalesce(c.exchange_time, c.recorded_at), c.lacks, 0, c.ranks, c.rolled,
           coalesce(c.side, blotter_internal.side_of(o.side)), c.order_id, NULL, c.price,
           coalesce(c.quantity, 0), c.cost, c.fee, c.fee_currency, c.fees, c.liquidity
    FROM (SELECT b.*, count(*) OVER (PARTITION BY b.exchange, b.trade_id) AS copies,
                 CASE WHEN b.exchange_time IS NULL THEN 1 ELSE 0 END
                 | CASE WHEN b.account IS NULL THEN 2 ELSE 0 END
                 | CASE WHEN b.strategy IS NULL THEN 4 ELSE 0 END
                 | CASE WHEN b.symbol IS NULL THEN 8 ELSE 0 END
                 | CASE WHEN b.market_type IS NULL THEN 16 ELSE 0 END
                 | CASE WHEN b.position_side IS NULL THEN 32 ELSE 0 END
                 | CASE WHEN b.side IS NULL THEN 64 ELSE 0 END AS lacks
          FROM pg_temp.booking_copies b WHERE b.trade_id IS NOT NULL OFFSET 0) AS c
    LEFT JOIN LATERAL (
        SELECT count(*) AS n, min(a.account COLLATE "C") AS account,
               min(a.strategy COLLATE "C") AS strategy, min(a.symbol COLLATE "C") AS symbol,
               min(a.market_type COLLATE "C") AS market_type, min(a.side COLLATE "C") AS side,
               min(a.position_side COLLATE "C") AS position_side
        FROM blotter.orders a
        WHERE a.order_key = c.order_id COLLATE "default"
          AND a.exchange = c.exchange COLLATE "default" AND NOT a.provisional
          AND (a.account = '' OR c.account IS NULL OR a.account = c.account)
          AND (c.symbol IS NULL OR coalesce(a.symbol, '') IN ('', c.symbol))) AS o
           ON c.lacks & 126 <> 0
    WHERE c.copies = 1 AND c.kind <> 'n' AND coalesce(o.n, 0) <= 1
      AND (c.order_id IS NOT NULL OR c.client_order_id IS NULL)
      AND (SELECT f.n FROM blotter_internal.fill f
           WHERE f.exchange = c.exchange AND f.trade_id = c.trade_id LIMIT 1) IS NULL;
END
$$;
COMMENT ON FUNCTION blotter_internal.find_new_fills() IS
    'Fills booking_fills with the executions of booking_copies that are new and simple.';

CREATE FUNCTION blotter_internal.merge_into_fill(was blotter_internal.fill,
                                                 copies blotter_internal.fill_copy[], again boolean)
    RETURNS blotter_internal.booking_step
    LANGUAGE plpgsql STABLE
    AS $$
DECLARE
    before blotter_internal.fill_copy;
    one blotter_internal.fill_copy;
    step blotter_internal.booking_step;
BEGIN
    step.way := '?';
    IF was.copies IS NOT NULL THEN
        RETURN step;
    ELSIF was.trade_id IS NOT NULL THEN
        before := (blotter_internal.copies_of(ARRAY[was]))[1];
    END IF;
    step.copy := before;
    FOREACH one IN ARRAY copies LOOP
        IF step.copy IS NULL THEN
            step.copy := one;
        ELSIF blotter_internal.same_identity(step.copy, one) THEN
            step.copy := blotter_internal.merge_copies(step.copy, one);
        ELSE
            RETURN step;
        END IF;
    END LOOP;
    step.way := CASE WHEN again OR step.copy IS DISTINCT FROM before THEN '+' ELSE '.' END;
    RETURN step;
END
$$;
COMMENT ON FUNCTION blotter_internal.merge_into_fill(blotter_internal.fill, blotter_internal.fill_copy[], boolean) IS
    'What copies make of a fill that is there or not. again: its order may lend more than before.';

-- Copies that differ in what they know of who traded what: they are of several fills, or of one
-- that can be told only with all of them together.
CREATE FUNCTION blotter_internal.find_groups() RETURNS void
    LANGUAGE plpgsql
    SET enable_hashjoin = off SET enable_mergejoin = off
    AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_temp.booking_rest r WHERE r.way = '?') THEN
        RETURN;
    END IF;
    UPDATE pg_temp.booking_rest r SET (olds, crowd, kept, fills) = (
        SELECT k.olds, k.crowd, k.kept, CASE WHEN r.again OR k.kept <> k.before
                                             THEN blotter_internal.fills_of_copies(k.kept) END
        FROM (SELECT c.*, CASE WHEN c.crowd THEN c.before
                               ELSE blotter_internal.add_copies(c.before, r.copies) END AS kept
              FROM (SELECT b.*, blotter_internal.is_crowd(b.before || r.copies) AS crowd
                    FROM (SELECT g.olds, blotter_internal.copies_of(g.olds) AS before
                          FROM (SELECT array_agg(o ORDER BY o.n) AS olds
                                FROM blotter_internal.fill o
                                WHERE o.exchange = r.exchange AND o.trade_id = r.trade_id
                                OFFSET 0) AS g OFFSET 0) AS b OFFSET 0) AS c OFFSET 0) AS k)
    WHERE r.way = '?';
    INSERT INTO blotter_internal.book_errors (sqlstate, error, "row")
    SELECT '54000',
           format('too many different executions have the trade id %s', left(q.trade_id, 100)),
           jsonb_strip_nulls(to_jsonb(q))
    FROM pg_temp.booking_rest r
    JOIN pg_temp.booking_copies c ON c.exchange = r.exchange AND c.trade_id = r.trade_id
    CROSS JOIN LATERAL (SELECT * FROM blotter_internal.book_queue b WHERE b.ctid = c.tid
                        OFFSET 0) AS q
    WHERE r.crowd AND c.kind <> 'n';
    WITH gone AS (
        DELETE FROM blotter_internal.fill o USING pg_temp.booking_rest r
        WHERE cardinality(r.fills) < cardinality(r.olds) AND o.exchange = r.exchange
          AND o.trade_id = r.trade_id AND o.n >= cardinality(r.fills)
        RETURNING o.*)
    INSERT INTO pg_temp.booking_changes
    SELECT g.position_id, g.at, g.trade_id, g.side, -1, true, g.order_id, g.n, g.price, g.quantity,
           g.cost, g.fee, g.fee_currency, g.fees, g.rolled
    FROM gone g;
END
$$;
COMMENT ON FUNCTION blotter_internal.find_groups() IS
    'Finds the fills of trade ids of booking_rest whose copies differ in who traded what, and drops those that are none any more.';

-- Several copies, or copies of a fill that is there.
CREATE FUNCTION blotter_internal.find_known_fills() RETURNS void
    LANGUAGE plpgsql
    SET enable_nestloop = off SET enable_mergejoin = off
    AS $$
BEGIN
    INSERT INTO pg_temp.booking_rest
    SELECT g.exchange, g.trade_id, g.copies, g.again, w.was
    FROM (SELECT c.exchange, c.trade_id, bool_or(c.kind = 'n') AS again,
                 coalesce(array_agg(ROW(c.ranks, 0, c.rolled, c.recorded_at, c.exchange_time,
                                        c.account, c.strategy, c.symbol, c.market_type,
                                        c.position_side, c.side, c.order_id, c.client_order_id,
                                        c.price, c.quantity, c.cost, c.fee, c.fee_currency, c.fees,
                                        c.liquidity)::blotter_internal.fill_copy)
                          FILTER (WHERE c.kind <> 'n'), '{}') AS copies
          FROM pg_temp.booking_copies c
          WHERE c.trade_id IS NOT NULL
            AND NOT EXISTS (SELECT FROM pg_temp.booking_fills e
                            WHERE e.exchange = c.exchange AND e.trade_id = c.trade_id)
          GROUP BY c.exchange, c.trade_id OFFSET 0) AS g
    LEFT JOIN LATERAL (SELECT f AS was FROM blotter_internal.fill f
                       WHERE f.exchange = g.exchange AND f.trade_id = g.trade_id AND f.n = 0
                       OFFSET 0) AS w ON true;
    UPDATE pg_temp.booking_rest r SET (way, copy) = (
        SELECT (s.step).way, (s.step).copy
        FROM (SELECT blotter_internal.merge_into_fill(r.was, r.copies, r.again) AS step OFFSET 0) AS s);
    PERFORM blotter_internal.find_groups();
    INSERT INTO pg_temp.booking_fills
    SELECT m.exchange, m.trade_id, m.n, m.kept, m.was, coalesce((m.copy).account, o.account, ''),
           coalesce((m.copy).strategy, o.strategy, ''),
           coalesce((m.copy).market_type, o.market_type, ''),
           coalesce((m.copy).symbol, o.symbol, ''),
           coalesce((m.copy).position_side, o.position_side, ''),
           coalesce((m.copy).exchange_time, (m.copy).recorded_at), m.lacks, (m.copy).differs,
           (m.copy).ranks, (m.copy).rolled, coalesce((m.copy).side, o.side), (m.copy).order_id,
           CASE WHEN (m.copy).order_id IS NULL THEN (m.copy).client_order_id END, (m.copy).price,
           coalesce((m.copy).quantity, 0), (m.copy).cost, (m.copy).fee, (m.copy).fee_currency,
           (m.copy).fees, (m.copy).liquidity
    FROM (SELECT x.*, blotter_internal.lacks_of(x.copy) AS lacks
          FROM (SELECT r.exchange, r.trade_id, 0 AS n, NULL::blotter_internal.fill_copy[] AS kept,
                       r.was, r.copy
                FROM pg_temp.booking_rest r WHERE r.way = '+'
                UNION ALL
                SELECT r.exchange, r.trade_id, u.n - 1,
                       CASE WHEN u.n = 1 AND cardinality(r.kept) > 1 THEN r.kept END,
                       r.olds[u.n], r.fills[u.n]
                FROM pg_temp.booking_rest r
                CROSS JOIN LATERAL generate_subscripts(r.fills, 1) AS u (n)
                WHERE r.way = '?') AS x OFFSET 0) AS m
    LEFT JOIN LATERAL blotter_internal.order_lends(
                  m.exchange, (m.copy).order_id, (m.copy).client_order_id, (m.copy).account,
                  (m.copy).symbol) AS o ON m.lacks & 126 <> 0;
END
$$;
COMMENT ON FUNCTION blotter_internal.find_known_fills() IS
    'Fills booking_fills with the other executions of booking_copies.';

CREATE FUNCTION blotter_internal.find_booking_keys() RETURNS void
    LANGUAGE plpgsql
    SET enable_hashjoin = off SET enable_mergejoin = off
    AS $$
BEGIN
    INSERT INTO pg_temp.booking_keys
    SELECT coalesce(p.id, blotter_internal.position_of(k.exchange, k.account, k.strategy,
                                                       k.market_type, k.symbol, k.position_side)),
           k.*
    FROM (SELECT DISTINCT e.exchange, e.account, e.strategy, e.market_type, e.symbol,
                          e.position_side
          FROM pg_temp.booking_fills e OFFSET 0) AS k
    LEFT JOIN LATERAL (SELECT q.id FROM blotter_internal.position q
                       WHERE (q.exchange, q.account, q.strategy, q.market_type, q.symbol,
                              q.position_side)
                           = (k.exchange, k.account, k.strategy, k.market_type, k.symbol,
                              k.position_side) OFFSET 0) AS p ON true;
END
$$;
COMMENT ON FUNCTION blotter_internal.find_booking_keys() IS
    'Fills booking_keys with the positions of booking_fills, and makes those that are new.';

CREATE FUNCTION blotter_internal.insert_fills() RETURNS void
    LANGUAGE plpgsql
    SET enable_nestloop = off SET enable_mergejoin = off
    AS $$
BEGIN
    WITH new AS (
        INSERT INTO blotter_internal.fill (
            exchange, trade_id, n, position_id, at, lacks, differs, ranks, rolled, side, order_id,
            client_order_id, price, quantity, cost, fee, fee_currency, fees, liquidity, copies)
        SELECT e.exchange, e.trade_id, e.n, k.position_id, e.at, e.lacks, e.differs, e.ranks,
               e.rolled, e.side, e.order_id, e.client_order_id, e.price, e.quantity, e.cost, e.fee,
               e.fee_currency, e.fees, e.liquidity, e.copies
        FROM pg_temp.booking_fills e
        JOIN pg_temp.booking_keys k USING (exchange, account, strategy, market_type, symbol,
                                           position_side)
        WHERE (e.was).trade_id IS NULL
        RETURNING position_id, at, trade_id, side, order_id, n, price, quantity, cost, fee,
                  fee_currency, fees, rolled)
    INSERT INTO pg_temp.booking_changes
    SELECT n.position_id, n.at, n.trade_id, n.side, 1, true, n.order_id, n.n, n.price, n.quantity,
           n.cost, n.fee, n.fee_currency, n.fees, n.rolled
    FROM new n;
END
$$;
COMMENT ON FUNCTION blotter_internal.insert_fills() IS
    'Stores the new fills of booking_fills, and notes them as changes.';

CREATE FUNCTION blotter_internal.note_fill_updates() RETURNS void
    LANGUAGE plpgsql
    SET enable_nestloop = off SET enable_mergejoin = off
    AS $$
BEGIN
    INSERT INTO pg_temp.booking_updates
    SELECT x.was, x.f
    FROM (SELECT e.was,
                 ROW(e.exchange, e.trade_id, e.n, k.position_id, e.at, e.lacks, e.differs, e.ranks,
                     e.rolled, e.side, e.order_id, e.client_order_id, e.price, e.quantity, e.cost,
                     e.fee, e.fee_currency, e.fees, e.liquidity, e.copies)::blotter_internal.fill
                     AS f
          FROM pg_temp.booking_fills e
          JOIN pg_temp.booking_keys k USING (exchange, account, strategy, market_type, symbol,
                                             position_side)
          WHERE (e.was).trade_id IS NOT NULL OFFSET 0) AS x
    WHERE x.f IS DISTINCT FROM x.was;
END
$$;
COMMENT ON FUNCTION blotter_internal.note_fill_updates() IS
    'Fills booking_updates with the fills of booking_fills that are there and change.';

CREATE FUNCTION blotter_internal.update_fills() RETURNS void
    LANGUAGE plpgsql
    SET enable_hashjoin = off SET enable_mergejoin = off
    AS $$
BEGIN
    UPDATE blotter_internal.fill o SET
        position_id = (u.f).position_id, at = (u.f).at, lacks = (u.f).lacks,
        differs = (u.f).differs, ranks = (u.f).ranks, rolled = (u.f).rolled, side = (u.f).side,
        order_id = (u.f).order_id, client_order_id = (u.f).client_order_id, price = (u.f).price,
        quantity = (u.f).quantity, cost = (u.f).cost, fee = (u.f).fee,
        fee_currency = (u.f).fee_currency, fees = (u.f).fees, liquidity = (u.f).liquidity,
        copies = (u.f).copies
    FROM pg_temp.booking_updates u
    WHERE o.exchange = (u.f).exchange AND o.trade_id = (u.f).trade_id AND o.n = (u.f).n;
    INSERT INTO pg_temp.booking_changes
    SELECT x.position_id, x.at, x.trade_id, x.side, y.sign, u.moves, x.order_id, x.n, x.price,
           x.quantity, x.cost, x.fee, x.fee_currency, x.fees, x.rolled
    FROM (SELECT b.was, b.f, blotter_internal.fill_moves(b.was, b.f) AS moves
          FROM pg_temp.booking_updates b OFFSET 0) AS u
    CROSS JOIN (VALUES (-1), (1)) AS y (sign)
    CROSS JOIN LATERAL (SELECT (CASE WHEN y.sign < 0 THEN u.was ELSE u.f END).*) AS x
    WHERE u.moves IS NOT NULL;
END
$$;
COMMENT ON FUNCTION blotter_internal.update_fills() IS
    'Stores the fills of booking_updates, and notes as changes those that change their position.';

CREATE FUNCTION blotter_internal.book_fills() RETURNS int
    LANGUAGE plpgsql
    AS $$
DECLARE
    found_fills bigint;
    known boolean;
    crowded int := 0;
BEGIN
    PERFORM blotter_internal.drop_rolled_copies();
    PERFORM blotter_internal.find_new_fills();
    SELECT count(*) INTO found_fills FROM pg_temp.booking_fills;
    SELECT count(*) > found_fills INTO known FROM pg_temp.booking_copies c WHERE c.trade_id IS NOT NULL;
    IF known THEN
        DELETE FROM pg_temp.booking_rest;
        DELETE FROM pg_temp.booking_updates;
        PERFORM blotter_internal.find_known_fills();
        SELECT coalesce(sum(cardinality(r.copies)), 0) INTO crowded FROM pg_temp.booking_rest r WHERE r.crowd;
    END IF;
    IF found_fills > 0 OR known AND EXISTS (SELECT FROM pg_temp.booking_fills) THEN
        PERFORM blotter_internal.find_booking_keys();
        PERFORM blotter_internal.insert_fills();
    END IF;
    IF known THEN
        PERFORM blotter_internal.note_fill_updates();
        PERFORM blotter_internal.update_fills();
    END IF;
    RETURN crowded;
END
$$;
COMMENT ON FUNCTION blotter_internal.book_fills() IS
    'Stores what booking_copies says of executions, and notes what changes. Returns how many copies are of trade ids with too many.';

-- --- instruments and cash ---------------------------------------------------------------------------------------------------

CREATE FUNCTION blotter_internal.add_hours_to_days(p blotter_internal.position, since timestamptz, sign int) RETURNS void
    LANGUAGE sql
    AS $$
    INSERT INTO blotter_internal.pnl_day AS d (exchange, account, strategy, currency, day, realized, fee_value, fills)
    SELECT p.exchange, p.account, p.strategy, x.currency, x.day, sign * sum(x.realized), sign * sum(x.fee_value), sign * sum(x.fills)
    FROM (SELECT p.currency, blotter_internal.day_of(h.hour) AS day, h.hour, h.realized_pnl - coalesce(lag(h.realized_pnl) OVER (ORDER BY h.hour), 0) AS realized,
                 h.fee_value, h.fills
          FROM blotter_internal.position_hour h WHERE h.position_id = p.id
          UNION ALL
          SELECT e.key, blotter_internal.day_of(h.hour), h.hour, 0, e.value::numeric, 0
          FROM blotter_internal.position_hour h
          CROSS JOIN LATERAL jsonb_each_text(blotter_internal.add_amounts(h.other_fees, CASE WHEN h.fee_currency IS NOT NULL THEN jsonb_build_object(h.fee_currency, h.fee) END)) AS e
          WHERE h.position_id = p.id AND NOT blotter_internal.is_valued(p.inverse, p.base, p.quote, p.currency, e.key)) AS x
    WHERE x.hour >= since
    GROUP BY x.currency, x.day
    ON CONFLICT (strategy, exchange, account, currency, day) DO UPDATE SET
        realized = d.realized + excluded.realized, fee_value = d.fee_value + excluded.fee_value, fills = d.fills + excluded.fills;
$$;
COMMENT ON FUNCTION blotter_internal.add_hours_to_days(blotter_internal.position, timestamptz, int) IS
    'Adds what the hours of a position from one on say to the days, or with -1 takes it away.';

-- Takes a position out of the books but for its row and what is rolled, and notes its fills as changes.
CREATE FUNCTION blotter_internal.forget_position(p blotter_internal.position) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    since timestamptz := coalesce(p.rolled_before, '-infinity');
    h blotter_internal.position_hour;
BEGIN
    IF p.last_fill_at < since THEN
        RETURN; -- all that it has is rolled
    END IF;
    PERFORM blotter_internal.add_hours_to_days(p, since, -1);
    DELETE FROM blotter_internal.position_hour o WHERE o.position_id = p.id AND o.hour >= since;
    DELETE FROM blotter_internal.position_checkpoint c WHERE c.position_id = p.id;
    SELECT o.* INTO h FROM blotter_internal.position_hour o WHERE o.position_id = p.id ORDER BY o.hour DESC LIMIT 1;
    UPDATE blotter_internal.position o SET quantity = coalesce(h.quantity, 0), open_cost = coalesce(h.open_cost, 0), realized_pnl = coalesce(h.realized_pnl, 0),
           fee_currency = CASE WHEN p.rolled_before IS NOT NULL THEN p.fee_currency END, fee = coalesce(h.total_fee, 0), other_fees = h.total_other_fees,
           fee_value = coalesce((SELECT sum(b.fee_value) FROM blotter_internal.position_hour b WHERE b.position_id = p.id), 0), fills = coalesce(h.total_fills, 0),
           unpriced = 0, sideless = 0, first_fill_at = CASE WHEN p.rolled_before IS NOT NULL THEN p.first_fill_at END, last_fill_at = p.rolled_at,
           last_trade_id = p.rolled_trade_id, last_side = p.rolled_side, last_price = h.last_price
    WHERE o.id = p.id;
    DELETE FROM pg_temp.booking_changes c WHERE c.position_id = p.id;
    INSERT INTO pg_temp.booking_changes (position_id, at, trade_id, side, sign, moves, order_id, n, price, quantity, cost, fee, fee_currency, fees, rolled)
    SELECT f.position_id, f.at, f.trade_id, f.side, 1, true, f.order_id, f.n, f.price, f.quantity, f.cost, f.fee, f.fee_currency, f.fees, f.rolled
    FROM blotter_internal.fill f WHERE f.position_id = p.id AND f.at >= since;
END
$$;
COMMENT ON FUNCTION blotter_internal.forget_position(blotter_internal.position) IS
    'Takes out of hours, days and the position what its fills had come to, so that they are all booked again; what is rolled stays.';

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
                IF p.rolled_before IS NOT NULL THEN
                    RAISE EXCEPTION 'fills of % before % are rolled, so that what its contract is cannot change any more: it stays as it was', p.symbol, p.rolled_before;
                END IF;
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

CREATE FUNCTION blotter_internal.money_moved(status text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN coalesce(lower(status COLLATE "C") IN ('', 'ok', 'success', 'sucess', 'completed', 'finished'), true);
COMMENT ON FUNCTION blotter_internal.money_moved(text) IS 'Tells whether the status of a cash entry is one of money that moved.';

-- Ledger and funding history repeat each other under one key, and an entry changes its status: the latest record counts. A venue's list does not
-- know strategies: whose a payment is stays as it was said before.
CREATE FUNCTION blotter_internal.book_cash() RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    one record;
    old blotter_internal.funding;
    new blotter_internal.funding;
    said record;
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
        new.counts := blotter_internal.money_moved(one.status);
        new.recorded_at := one.recorded_at;
        new.producer_id := one.producer_id;
        new.seq := one.seq;
        SELECT f.* INTO old FROM blotter_internal.funding f
        WHERE (f.exchange, f.account, f.entry_id, f.currency, f.symbol, f.exchange_time)
            = (new.exchange, new.account, new.entry_id, new.currency, new.symbol, new.exchange_time);
        IF (old.recorded_at, old.producer_id, old.seq) >= (new.recorded_at, new.producer_id, new.seq) THEN
            new := old;
        END IF;
        SELECT (array_agg(s.strategy ORDER BY s.strategy_at DESC, s.strategy COLLATE "C"))[1] AS strategy, max(s.strategy_at) AS strategy_at,
               (array_agg(s.market_type ORDER BY s.market_type_at DESC, s.market_type COLLATE "C"))[1] AS market_type, max(s.market_type_at) AS market_type_at
        INTO said
        FROM (SELECT coalesce(one.strategy, '') AS strategy, CASE WHEN one.strategy <> '' THEN one.recorded_at ELSE '-infinity' END AS strategy_at,
                     coalesce(one.market_type, '') AS market_type, CASE WHEN one.market_type <> '' THEN one.recorded_at ELSE '-infinity' END AS market_type_at
              UNION ALL
              SELECT p.strategy, old.strategy_at, p.market_type, old.market_type_at FROM blotter_internal.position p WHERE p.id = old.position_id) AS s;
        new.strategy_at := said.strategy_at;
        new.market_type_at := said.market_type_at;
        new.position_id := blotter_internal.position_of(one.exchange, new.account, said.strategy, said.market_type, new.symbol, '');
        CONTINUE WHEN new = old;
        IF old.counts THEN
            PERFORM blotter_internal.add_funding(old, -old.amount);
        END IF;
        IF new.counts THEN
            PERFORM blotter_internal.add_funding(new, new.amount);
        END IF;
        INSERT INTO blotter_internal.funding SELECT new.*
        ON CONFLICT (exchange, account, entry_id, currency, symbol, exchange_time) DO UPDATE SET
            position_id = excluded.position_id, at = excluded.at, amount = excluded.amount, counts = excluded.counts,
            recorded_at = excluded.recorded_at, producer_id = excluded.producer_id, seq = excluded.seq,
            strategy_at = excluded.strategy_at, market_type_at = excluded.market_type_at;
    END LOOP;
END
$$;
COMMENT ON FUNCTION blotter_internal.book_cash() IS 'Books the funding payments among the cash entries of booking_copies.';
