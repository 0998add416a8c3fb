-- books_copies: the copies of an execution, and the fills that they are copies of.
--
-- The same execution arrives as an order event, as an own trade, from the venue's history, from two processes, and again on reconnect. All that
-- have one trade id on one exchange are a group. Copies that contradict each other (symbol, account, market_type, side or order_id
-- known in both, and different) are of different fills; what is not known contradicts nothing, nor do market types ("swap", "future") of
-- one symbol in ccxt's spelling, BASE/QUOTE, which says all of the market itself. Of a fill's copies each field is taken
-- from the highest rank that has it: order event 0, own trade 1, venue's history 2, bust or correction 3; among equals the least value.
-- So neither the order in which copies arrive nor how often they do makes a difference. But to tell fills apart costs the square of their
-- number, so one trade id has 200 of them at most: what comes beyond that is in book_errors.
--
-- ranks of a fill_copy holds two bits a field, differs one:
--   0 exchange_time, 1 account, 2 strategy, 3 symbol, 4 market_type, 5 position_side, 6 side, 7 order_id, 8 client_order_id,
--   9 price, 10 quantity, 11 cost, 12 fee, 13 fee_currency, 14 fees, 15 liquidity
-- Above them ranks has a bit each for whom it was heard from: 32 the strategies' feed, 33 the venue's history.

CREATE FUNCTION blotter_internal.side_of(side text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
    SELECT CASE WHEN lower(side COLLATE "C") IN ('buy', 'b', 'bid', 'buyer', '1', '3') THEN 'buy' WHEN lower(side COLLATE "C") IN ('sell', 's', 'a', 'ask', 'offer', 'seller', '2', '4', '5', '6') THEN 'sell' END;
    END;
COMMENT ON FUNCTION blotter_internal.side_of(text) IS 'buy or sell, from the spellings that venues use, FIX''s 54 among them; null: neither.';

-- The drainer copies such rows itself where it knows that the records are new (drainer/book_rows.c).
CREATE FUNCTION blotter_internal.queue_statement(prefix text, tables text[]) RETURNS text
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
        SELECT coalesce('INSERT INTO blotter_internal.book_queue (kind, producer_id, seq, recorded_at, exchange, exchange_time, account, strategy, symbol, '
                        || 'market_type, order_id, client_order_id, trade_id, event, side, position_side, price, quantity, cost, fee, fee_currency, fees, '
                        || 'liquidity, origin) '
                        || string_agg(format('SELECT %s, producer_id, seq, recorded_at, exchange, %s FROM %s', k.kind, k.fields, prefix || k."table" || k.condition),
                                      ' UNION ALL '),
                        'SELECT NULL')
        FROM (VALUES
            ('order_events', '''o''::"char"',
             'exchange_time, account, strategy, symbol, market_type, order_id, client_order_id, trade_id, event, side, position_side, last_price, '
             || 'last_quantity, NULL::numeric, fee, fee_currency, fees, liquidity, origin',
             ' WHERE last_quantity <> 0 OR trade_id NOT IN ('''', ''0'', ''-1'')'),
            ('trades', '''t''::"char"',
             'exchange_time, account, strategy, symbol, market_type, order_id, client_order_id, trade_id, NULL, side, position_side, price, quantity, cost, fee, '
             || 'fee_currency, fees, liquidity, origin',
             ' WHERE trade_id NOT IN ('''', ''0'', ''-1'') AND (order_id <> '''' OR client_order_id <> '''' OR account <> '''' OR strategy <> '''' OR origin <> '''')'),
            ('cash', '''c''::"char"', 'NULL::timestamptz, ' || repeat('NULL, ', 10) || 'NULL::numeric, NULL::numeric, NULL::numeric, NULL::numeric, NULL, NULL::jsonb, NULL, NULL', ''),
            ('instruments', '''i''::"char"', 'NULL::timestamptz, ' || repeat('NULL, ', 10) || 'NULL::numeric, NULL::numeric, NULL::numeric, NULL::numeric, NULL, NULL::jsonb, NULL, NULL', ''))
            AS k ("table", kind, fields, condition)
        WHERE k."table" = ANY (tables);
    END;
COMMENT ON FUNCTION blotter_internal.queue_statement(text, text[]) IS
    'The statement that queues what the rows of these tables of records, with that before their names, say to the books.';

CREATE FUNCTION blotter_internal.copy_ranks(rank int) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT rank * 1431655765::bigint | CASE rank WHEN 2 THEN 8589934592 ELSE 4294967296 END;
    END;
COMMENT ON FUNCTION blotter_internal.copy_ranks(int) IS 'The ranks of a copy as it came: every field has the same; and whom it was heard from.';

CREATE FUNCTION blotter_internal.rank_beats(field int, a_ranks bigint, a anyelement, b_ranks bigint, b anyelement) RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT CASE WHEN b IS NOT NULL
                 AND (a IS NULL OR (b_ranks >> 2 * field) & 3 > (a_ranks >> 2 * field) & 3
                      OR (b_ranks >> 2 * field) & 3 = (a_ranks >> 2 * field) & 3 AND b < a) THEN 1 << field ELSE 0 END
$$;
COMMENT ON FUNCTION blotter_internal.rank_beats(int, bigint, anyelement, bigint, anyelement) IS
    'The bit of a field if b is to be taken rather than a: a value rather than none, then the higher rank, then the lesser value.';

CREATE FUNCTION blotter_internal.differing(field int, a anyelement, b anyelement) RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$SELECT CASE WHEN a <> b THEN 1 << field ELSE 0 END$$;
COMMENT ON FUNCTION blotter_internal.differing(int, anyelement, anyelement) IS 'The bit of a field if both copies have it, and not the same.';

CREATE FUNCTION blotter_internal.merge_copies(a blotter_internal.fill_copy, b blotter_internal.fill_copy) RETURNS blotter_internal.fill_copy
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    m blotter_internal.fill_copy := a;
    taken int;
    mask bigint := 0;
BEGIN
    taken := blotter_internal.rank_beats(0, a.ranks, a.exchange_time, b.ranks, b.exchange_time)
           | blotter_internal.rank_beats(1, a.ranks, a.account, b.ranks, b.account)
           | blotter_internal.rank_beats(2, a.ranks, a.strategy, b.ranks, b.strategy)
           | blotter_internal.rank_beats(3, a.ranks, a.symbol, b.ranks, b.symbol)
           | blotter_internal.rank_beats(4, a.ranks, a.market_type, b.ranks, b.market_type)
           | blotter_internal.rank_beats(5, a.ranks, a.position_side, b.ranks, b.position_side)
           | blotter_internal.rank_beats(6, a.ranks, a.side, b.ranks, b.side)
           | blotter_internal.rank_beats(7, a.ranks, a.order_id, b.ranks, b.order_id)
           | blotter_internal.rank_beats(8, a.ranks, a.client_order_id, b.ranks, b.client_order_id)
           | blotter_internal.rank_beats(9, a.ranks, a.price, b.ranks, b.price)
           | blotter_internal.rank_beats(10, a.ranks, a.quantity, b.ranks, b.quantity)
           | blotter_internal.rank_beats(11, a.ranks, a.cost, b.ranks, b.cost)
           | blotter_internal.rank_beats(12, a.ranks, a.fee, b.ranks, b.fee)
           | blotter_internal.rank_beats(13, a.ranks, a.fee_currency, b.ranks, b.fee_currency)
           | blotter_internal.rank_beats(14, a.ranks, a.fees, b.ranks, b.fees)
           | blotter_internal.rank_beats(15, a.ranks, a.liquidity, b.ranks, b.liquidity);
    m.differs := a.differs | b.differs
               | blotter_internal.differing(0, a.exchange_time, b.exchange_time) | blotter_internal.differing(2, a.strategy, b.strategy)
               | blotter_internal.differing(4, a.market_type, b.market_type)
               | blotter_internal.differing(5, a.position_side, b.position_side) | blotter_internal.differing(9, a.price, b.price)
               | blotter_internal.differing(10, a.quantity, b.quantity) | blotter_internal.differing(11, a.cost, b.cost)
               | blotter_internal.differing(12, a.fee, b.fee) | blotter_internal.differing(13, a.fee_currency, b.fee_currency)
               | blotter_internal.differing(14, a.fees, b.fees) | blotter_internal.differing(15, a.liquidity, b.liquidity);
    m.recorded_at := least(a.recorded_at, b.recorded_at);
    m.rolled := a.rolled OR b.rolled;
    IF taken <> 0 THEN
        FOR field IN 0..15 LOOP
            IF taken & (1 << field) <> 0 THEN
                mask := mask | (3::bigint << 2 * field);
            END IF;
        END LOOP;
        m.ranks := (a.ranks & ~mask) | (b.ranks & mask);
        IF taken & 1 <> 0 THEN m.exchange_time := b.exchange_time; END IF;
        IF taken & 2 <> 0 THEN m.account := b.account; END IF;
        IF taken & 4 <> 0 THEN m.strategy := b.strategy; END IF;
        IF taken & 8 <> 0 THEN m.symbol := b.symbol; END IF;
        IF taken & 16 <> 0 THEN m.market_type := b.market_type; END IF;
        IF taken & 32 <> 0 THEN m.position_side := b.position_side; END IF;
        IF taken & 64 <> 0 THEN m.side := b.side; END IF;
        IF taken & 128 <> 0 THEN m.order_id := b.order_id; END IF;
        IF taken & 256 <> 0 THEN m.client_order_id := b.client_order_id; END IF;
        IF taken & 512 <> 0 THEN m.price := b.price; END IF;
        IF taken & 1024 <> 0 THEN m.quantity := b.quantity; END IF;
        IF taken & 2048 <> 0 THEN m.cost := b.cost; END IF;
        IF taken & 4096 <> 0 THEN m.fee := b.fee; END IF;
        IF taken & 8192 <> 0 THEN m.fee_currency := b.fee_currency; END IF;
        IF taken & 16384 <> 0 THEN m.fees := b.fees; END IF;
        IF taken & 32768 <> 0 THEN m.liquidity := b.liquidity; END IF;
    END IF;
    IF m.fees IS NOT NULL AND m.fee IS NOT NULL AND (m.ranks >> 24) & 3 > (m.ranks >> 28) & 3 THEN
        m.fees := NULL; -- a better copy knows of one fee
    END IF;
    m.ranks := m.ranks | ((a.ranks | b.ranks) & 12884901888);
    RETURN m;
END
$$;
COMMENT ON FUNCTION blotter_internal.merge_copies(blotter_internal.fill_copy, blotter_internal.fill_copy) IS
    'Joins two copies of a fill into one; the result is the same whichever comes first, and however often.';

CREATE FUNCTION blotter_internal.copies_conflict(a blotter_internal.fill_copy, b blotter_internal.fill_copy) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT coalesce((a).order_id <> (b).order_id, false) OR coalesce((a).side <> (b).side, false)
            OR coalesce((a).symbol <> (b).symbol, false) OR coalesce((a).account <> (b).account, false)
            OR coalesce((a).market_type <> (b).market_type AND ((a).symbol = (b).symbol AND strpos((a).symbol, '/') > 0) IS NOT TRUE, false);
    END;
COMMENT ON FUNCTION blotter_internal.copies_conflict(blotter_internal.fill_copy, blotter_internal.fill_copy) IS
    'Can they not be of the same fill? What one of them does not know does not conflict.';

CREATE FUNCTION blotter_internal.same_identity(a blotter_internal.fill_copy, b blotter_internal.fill_copy) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT (a).order_id IS NOT DISTINCT FROM (b).order_id AND (a).side IS NOT DISTINCT FROM (b).side
           AND (a).symbol IS NOT DISTINCT FROM (b).symbol AND (a).account IS NOT DISTINCT FROM (b).account
           AND (a).market_type IS NOT DISTINCT FROM (b).market_type;
    END;
COMMENT ON FUNCTION blotter_internal.same_identity(blotter_internal.fill_copy, blotter_internal.fill_copy) IS
    'Do they know the same of who traded what? Such copies are of the same fill, whatever else comes, and are kept as one.';

CREATE FUNCTION blotter_internal.is_crowd(copies blotter_internal.fill_copy[]) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT count(DISTINCT ROW(c.order_id, c.side, c.symbol, c.account, c.market_type)) > 200 FROM unnest(copies) AS c;
    END;
COMMENT ON FUNCTION blotter_internal.is_crowd(blotter_internal.fill_copy[]) IS
    'Do more copies of a trade id say different things of who traded what than can be told apart in time?';

CREATE FUNCTION blotter_internal.add_copies(kept blotter_internal.fill_copy[], more blotter_internal.fill_copy[])
    RETURNS blotter_internal.fill_copy[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    result blotter_internal.fill_copy[] := kept;
    one blotter_internal.fill_copy;
    found boolean;
BEGIN
    FOREACH one IN ARRAY more LOOP
        found := false;
        FOR i IN 1..cardinality(result) LOOP
            IF blotter_internal.same_identity(result[i], one) THEN
                result[i] := blotter_internal.merge_copies(result[i], one);
                found := true;
                EXIT;
            END IF;
        END LOOP;
        IF NOT found THEN
            result := result || one;
        END IF;
    END LOOP;
    RETURN result;
END
$$;
COMMENT ON FUNCTION blotter_internal.add_copies(blotter_internal.fill_copy[], blotter_internal.fill_copy[]) IS
    'Copies of a group with more of them: one for each identity.';

-- First the copies that know their order, and of these those that know most; each joins the one fill that it fits, or begins one of its
-- own. A copy that fits two fills lends nothing to either.
CREATE FUNCTION blotter_internal.fills_of_copies(copies blotter_internal.fill_copy[]) RETURNS blotter_internal.fill_copy[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    fills blotter_internal.fill_copy[] := '{}';
    one blotter_internal.fill_copy;
    fits int;
    places int;
BEGIN
    FOR one IN
        SELECT c.* FROM unnest(copies) AS c
        ORDER BY c.order_id IS NULL, num_nonnulls(c.side, c.symbol, c.account, c.market_type) DESC,
                 c.order_id, c.side, c.symbol, c.account, c.market_type
    LOOP
        places := 0;
        FOR i IN 1..cardinality(fills) LOOP
            IF NOT blotter_internal.copies_conflict(fills[i], one) THEN
                places := places + 1;
                fits := i;
            END IF;
        END LOOP;
        IF places = 0 THEN
            fills := fills || one;
        ELSIF places = 1 THEN
            fills[fits] := blotter_internal.merge_copies(fills[fits], one);
        END IF;
    END LOOP;
    RETURN fills;
END
$$;
COMMENT ON FUNCTION blotter_internal.fills_of_copies(blotter_internal.fill_copy[]) IS
    'The fills of a trade id: what the copies that fit each other say together.';
