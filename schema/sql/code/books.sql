-- books: positions, what their fills come to, and booking: from book_queue to fills, positions, hours and days in one transaction.
--
-- The state of a position is quantity (signed), open cost and realised PnL. A fill adds dq (signed) and has a value v. In the same direction
-- or from flat, cost grows by v. Against it, the part of the cost that is closed, cost * |dq| / |quantity|, is realised against v. More
-- than closed: v is split in proportion and the rest opens at its own price. Only open cost is ever rounded, to 40 decimals, half away from
-- zero, so that realised = signed cash + signed open cost holds exactly. An inverse contract has v in its base currency, and the sign of
-- what is realised is turned; but for an option: the price of one that is settled in its base currency is in that currency.
--
-- Fills are in the order of (at, length(trade_id), trade_id, buy before sell). One that comes late, changes or moves makes its positions be
-- computed again from the last checkpoint in its hour, or the last hour before it. Fees, funding and counts do not depend on the order: they are added and subtracted.
--
-- A booking is one statement and so one transaction, and holds an advisory lock for each exchange it books. Rows that cannot be booked are
-- found by halves and set aside in book_errors.

CREATE FUNCTION blotter_internal.divide(a numeric, b numeric) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT sign(a) * sign(b) * div(2e40 * abs(a) + abs(b), 2 * abs(b)) * 1e-40;
    END;
COMMENT ON FUNCTION blotter_internal.divide(numeric, numeric) IS 'a / b, rounded once, to 40 decimals, half away from zero.';

-- A day and an hour by arithmetic: date_trunc with a zone looks the zone up.
CREATE FUNCTION blotter_internal.hour_of(at timestamptz) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT date_bin('1 hour', at, '2000-01-01 00:00:00+00');
    END;
COMMENT ON FUNCTION blotter_internal.hour_of(timestamptz) IS 'The UTC hour that a time is in.';

CREATE FUNCTION blotter_internal.day_of(at timestamptz) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT date_bin('24 hours', at, '2000-01-01 00:00:00+00');
    END;
COMMENT ON FUNCTION blotter_internal.day_of(timestamptz) IS 'The UTC day that a time is in.';

CREATE FUNCTION blotter_internal.add_amounts(a jsonb, b jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT coalesce((SELECT jsonb_object_agg(s.currency, s.amount)
                         FROM (SELECT x.key AS currency, trim_scale(sum(x.value::numeric)) AS amount
                               FROM (SELECT * FROM jsonb_each_text(coalesce(a, '{}')) UNION ALL SELECT * FROM jsonb_each_text(coalesce(b, '{}'))) AS x
                               GROUP BY x.key) AS s
                         WHERE s.amount <> 0), '{}');
    END;
COMMENT ON FUNCTION blotter_internal.add_amounts(jsonb, jsonb) IS 'The sums of two maps of currency to amount, without those that are 0.';

CREATE AGGREGATE blotter_internal.sum_of_amounts(jsonb) (sfunc = blotter_internal.add_amounts, stype = jsonb);
COMMENT ON AGGREGATE blotter_internal.sum_of_amounts(jsonb) IS 'The sum of maps of currency to amount.';

CREATE FUNCTION blotter_internal.shown(amount numeric) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT trim_scale(round(amount, 18));
    END;
COMMENT ON FUNCTION blotter_internal.shown(numeric) IS 'An amount as views show it: at most 18 decimals, no zeros at the end.';

-- --- contracts --------------------------------------------------------------------------------------------------------------

-- The latest instrument record, else what a symbol in ccxt's spelling says: BASE/QUOTE, BASE/QUOTE:SETTLE, with an expiry after it. A contract
-- whose size is not known is valued by the cost that came with the fill.
CREATE FUNCTION blotter_internal.contract_of(exchange text, symbol text, market_type text,
        OUT inverse boolean, OUT unvalued boolean, OUT by_cost boolean, OUT assumed boolean, OUT takes_fees boolean,
        OUT multiplier numeric, OUT base text, OUT quote text, OUT currency text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    known blotter_internal.contract;
    parts text[] := regexp_match(contract_of.symbol, '^([^/:]+)/([^/:]+)(?::([^:/-]+)(-.*)?)?$');
    settle text;
    quanto boolean;
    is_option boolean;
    is_contract boolean;
BEGIN
    SELECT c.* INTO known FROM blotter_internal.contract c
    WHERE c.exchange = contract_of.exchange AND c.symbol = contract_of.symbol
      AND (c.market_type = contract_of.market_type OR c.market_type = '' OR contract_of.market_type = ''
           OR c.market_type = 'spot' AND contract_of.market_type = 'margin') -- it trades the spot market's symbols
    ORDER BY c.recorded_at DESC, c.producer_id DESC, c.seq DESC LIMIT 1;
    base := coalesce(known.base, parts[1], '');
    quote := coalesce(known.quote, parts[2], '');
    settle := coalesce(known.settle, parts[3]);
    inverse := coalesce(known.inverse, settle = base AND settle <> quote AND known.linear IS NOT TRUE, false);
    quanto := coalesce(NOT known.linear AND NOT known.inverse, NOT inverse AND settle <> quote AND known.linear IS NOT TRUE, false);
    currency := CASE WHEN inverse THEN coalesce(settle, base) WHEN quanto THEN settle ELSE coalesce(settle, quote) END;
    is_option := coalesce('option' IN (contract_of.market_type, known.market_type) OR parts[4] ~ '-[CP]$', false);
    IF is_option AND inverse THEN
        inverse := false; -- its price is already in the currency that it is settled in
    END IF;
    is_contract := settle IS NOT NULL
                   OR coalesce(nullif(contract_of.market_type, ''), nullif(known.market_type, ''), 'spot') NOT IN ('spot', 'margin');
    IF known.symbol IS NOT NULL AND (known.contract_size IS NOT NULL OR known.quantity_unit IN ('base', 'quote') OR NOT is_contract) THEN
        multiplier := CASE WHEN known.quantity_unit IN ('base', 'quote') THEN 1 ELSE coalesce(known.contract_size, 1) END;
        by_cost := false;
        assumed := false;
        unvalued := quanto AND known.contract_size IS NULL;
    ELSE
        multiplier := 1;
        by_cost := settle IS NOT NULL AND NOT quanto AND NOT (is_option AND currency = base); -- that cost is made with 1/price
        assumed := is_contract OR parts IS NULL AND contract_of.market_type NOT IN ('spot', 'margin');
        unvalued := quanto;
    END IF;
    takes_fees := contract_of.market_type IN ('spot', 'margin')
               OR contract_of.market_type = '' AND coalesce(nullif(known.market_type, '') IN ('spot', 'margin'), settle IS NULL AND parts IS NOT NULL);
END
$$;
COMMENT ON FUNCTION blotter_internal.contract_of(text, text, text) IS 'The meaning of a unit of a symbol: see the columns of blotter_internal.position.';

-- --- what a fill does -------------------------------------------------------------------------------------------------------

-- A fee in the base currency is taken from what was bought, or is sold beside what was sold, at the fill's price.
CREATE FUNCTION blotter_internal.fill_dq(takes_fees boolean, base text, side text, quantity numeric, fee numeric, fee_currency text, fees jsonb) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT CASE side WHEN 'buy' THEN quantity WHEN 'sell' THEN -quantity END
         - CASE WHEN NOT takes_fees OR quantity = 0 THEN 0
                WHEN fees IS NOT NULL THEN coalesce((fees ->> base)::numeric, 0)
                WHEN fee_currency = base THEN coalesce(fee, 0) ELSE 0 END
$$;
COMMENT ON FUNCTION blotter_internal.fill_dq(boolean, text, text, numeric, numeric, text, jsonb) IS
    'The quantity that a fill adds to its position; null: it is not known whether it bought or sold.';

CREATE FUNCTION blotter_internal.fill_value(inverse boolean, unvalued boolean, by_cost boolean, multiplier numeric,
                                            size numeric, price numeric, quantity numeric, cost numeric) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT CASE WHEN size = 0 THEN 0
                WHEN unvalued THEN NULL
                WHEN price IS NULL OR by_cost AND cost IS NOT NULL OR inverse AND price = 0
                THEN CASE WHEN size = quantity THEN abs(cost) ELSE blotter_internal.divide(abs(cost) * size, quantity) END
                WHEN inverse THEN blotter_internal.divide(size * multiplier, price)
                ELSE size * price * multiplier END
$$;
COMMENT ON FUNCTION blotter_internal.fill_value(boolean, boolean, boolean, numeric, numeric, numeric, numeric, numeric) IS
    'The value of so much of a fill, in its position''s currency; null: unknown.';

-- PnL in the quote currency values a fee in base, PnL in the base currency (inverse) one in quote. Where PnL is in neither (quanto), the
-- fill's price is no rate between them. The price of an option that is settled in its base currency is in that, and says nothing of quote.
CREATE FUNCTION blotter_internal.is_valued(inverse boolean, base text, quote text, pnl_currency text, currency text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT currency <> '' AND (currency = pnl_currency OR currency = base AND pnl_currency = quote AND NOT inverse
                               OR currency = quote AND pnl_currency = base AND inverse)
$$;
COMMENT ON FUNCTION blotter_internal.is_valued(boolean, text, text, text, text) IS 'Tells whether a fee in that currency is part of fee_value.';

CREATE FUNCTION blotter_internal.fee_value(inverse boolean, base text, quote text, pnl_currency text, currency text, amount numeric, price numeric)
    RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT CASE WHEN currency = '' THEN 0
                WHEN currency = pnl_currency THEN amount
                WHEN currency = base AND pnl_currency = quote AND NOT inverse THEN amount * coalesce(price, 0)
                WHEN currency = quote AND pnl_currency = base AND inverse AND price <> 0 THEN blotter_internal.divide(amount, price)
                ELSE 0 END
$$;
COMMENT ON FUNCTION blotter_internal.fee_value(boolean, text, text, text, text, numeric, numeric) IS
    'A fee in the currency of the position''s PnL, at the fill''s price; 0: no rate is known.';

-- --- fills and their positions ----------------------------------------------------------------------------------------------

CREATE FUNCTION blotter_internal.position_of(p_exchange text, p_account text, p_strategy text, p_market_type text, p_symbol text, p_side text) RETURNS int
    LANGUAGE plpgsql
    AS $$
DECLARE
    found int;
BEGIN
    SELECT p.id INTO found FROM blotter_internal.position p
    WHERE p.exchange = p_exchange AND p.account = p_account AND p.strategy = p_strategy AND p.market_type = p_market_type
      AND p.symbol = p_symbol AND p.position_side = p_side;
    IF found IS NULL THEN
        INSERT INTO blotter_internal.position (exchange, account, strategy, market_type, symbol, position_side, inverse, unvalued, by_cost, assumed,
                                               takes_fees, multiplier, base, quote, currency)
        SELECT p_exchange, p_account, p_strategy, p_market_type, p_symbol, p_side, c.inverse, c.unvalued, c.by_cost, c.assumed,
               c.takes_fees, c.multiplier, c.base, c.quote, c.currency
        FROM blotter_internal.contract_of(p_exchange, p_symbol, p_market_type) AS c
        RETURNING id INTO found;
    END IF;
    RETURN found;
END
$$;
COMMENT ON FUNCTION blotter_internal.position_of(text, text, text, text, text, text) IS 'The id of a position, which is made if it is new.';

-- An order may have several rows: with and without account or symbol. A field is lent if all that fit and know it agree.
CREATE FUNCTION blotter_internal.order_lends(p_exchange text, p_order_id text, p_client_order_id text, p_account text, p_symbol text)
    RETURNS TABLE (account text, strategy text, symbol text, market_type text, position_side text, side text)
    LANGUAGE sql STABLE
    AS $$
    SELECT CASE WHEN min(o.account COLLATE "C") = max(o.account COLLATE "C") THEN min(o.account COLLATE "C") END,
           CASE WHEN min(o.strategy COLLATE "C") = max(o.strategy COLLATE "C") THEN min(o.strategy COLLATE "C") END,
           CASE WHEN min(o.symbol COLLATE "C") = max(o.symbol COLLATE "C") THEN min(o.symbol COLLATE "C") END,
           CASE WHEN min(o.market_type COLLATE "C") = max(o.market_type COLLATE "C") THEN min(o.market_type COLLATE "C") END,
           CASE WHEN min(o.position_side) = max(o.position_side) THEN min(o.position_side) END,
           CASE WHEN min(o.side) = max(o.side) THEN min(o.side) END
    FROM (SELECT nullif(a.account, '') AS account, nullif(a.strategy, '') AS strategy, nullif(a.symbol, '') AS symbol,
                 nullif(a.market_type, '') AS market_type, blotter_internal.side_of(a.side) AS side,
                 CASE lower(a.position_side COLLATE "C") WHEN 'long' THEN 'long' WHEN 'short' THEN 'short' END AS position_side
          FROM blotter.orders a
          WHERE p_order_id IS NOT NULL AND a.order_key = p_order_id COLLATE "default" AND a.exchange = p_exchange COLLATE "default" AND NOT a.provisional
            AND (a.account = '' OR p_account IS NULL OR a.account = p_account)
            AND (p_symbol IS NULL OR coalesce(a.symbol, '') IN ('', p_symbol))
          UNION ALL
          SELECT nullif(a.account, ''), nullif(a.strategy, ''), nullif(a.symbol, ''), nullif(a.market_type, ''), blotter_internal.side_of(a.side),
                 CASE lower(a.position_side COLLATE "C") WHEN 'long' THEN 'long' WHEN 'short' THEN 'short' END
          FROM blotter.orders a
          WHERE p_order_id IS NULL AND a.client_order_id = p_client_order_id COLLATE "default" AND a.exchange = p_exchange COLLATE "default"
            AND (a.account = '' OR p_account IS NULL OR a.account = p_account)
            AND (p_symbol IS NULL OR coalesce(a.symbol, '') IN ('', p_symbol))) AS o
$$;
COMMENT ON FUNCTION blotter_internal.order_lends(text, text, text, text, text) IS 'The account, strategy, side and so on that an order lends to a fill that lacks them.';

-- A fill whose copies agree on account, side and order is one row. Otherwise the copies are kept beside the first fill.
CREATE FUNCTION blotter_internal.copies_of(fills blotter_internal.fill[]) RETURNS blotter_internal.fill_copy[]
    LANGUAGE plpgsql STABLE
    AS $$
DECLARE
    f blotter_internal.fill := fills[1];
    p blotter_internal.position;
BEGIN
    IF f.trade_id IS NULL THEN
        RETURN '{}';
    ELSIF f.copies IS NOT NULL THEN
        RETURN f.copies;
    END IF;
    SELECT o.* INTO p FROM blotter_internal.position o WHERE o.id = f.position_id;
    RETURN ARRAY[ROW(f.ranks, f.differs, f.rolled, f.at, CASE WHEN f.lacks & 1 = 0 THEN f.at END,
                     CASE WHEN f.lacks & 2 = 0 THEN p.account END, CASE WHEN f.lacks & 4 = 0 THEN p.strategy END,
                     CASE WHEN f.lacks & 8 = 0 THEN p.symbol END, CASE WHEN f.lacks & 16 = 0 THEN p.market_type END,
                     CASE WHEN f.lacks & 32 = 0 THEN p.position_side END, CASE WHEN f.lacks & 64 = 0 THEN f.side END,
                     f.order_id, f.client_order_id, f.price, CASE WHEN f.rolled THEN NULL ELSE f.quantity END, f.cost, f.fee, f.fee_currency, f.fees,
                     f.liquidity)::blotter_internal.fill_copy];
END
$$;
COMMENT ON FUNCTION blotter_internal.copies_of(blotter_internal.fill[]) IS 'The copies of a trade id, from its fills.';

CREATE FUNCTION blotter_internal.lacks_of(c blotter_internal.fill_copy) RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT CASE WHEN (c).exchange_time IS NULL THEN 1 ELSE 0 END | CASE WHEN (c).account IS NULL THEN 2 ELSE 0 END
             | CASE WHEN (c).strategy IS NULL THEN 4 ELSE 0 END | CASE WHEN (c).symbol IS NULL THEN 8 ELSE 0 END
             | CASE WHEN (c).market_type IS NULL THEN 16 ELSE 0 END | CASE WHEN (c).position_side IS NULL THEN 32 ELSE 0 END
             | CASE WHEN (c).side IS NULL THEN 64 ELSE 0 END;
    END;
COMMENT ON FUNCTION blotter_internal.lacks_of(blotter_internal.fill_copy) IS 'The bits of what a fill has to ask its order for; 1: the exchange''s time.';

-- Most copies that come later bring a fee or a cost that changes nothing but sums. Then the position
-- need not be computed again.
CREATE FUNCTION blotter_internal.fill_moves(was blotter_internal.fill, f blotter_internal.fill)
    RETURNS boolean
    LANGUAGE plpgsql STABLE
    AS $$
DECLARE
    p blotter_internal.position;
    dq_was numeric;
    dq numeric;
BEGIN
    IF (f.position_id, f.at, f.rolled, f.side, f.price)
       IS DISTINCT FROM (was.position_id, was.at, was.rolled, was.side, was.price) THEN
        RETURN true;
    ELSIF (f.quantity, f.cost, f.fee, f.fee_currency, f.fees)
          IS NOT DISTINCT FROM (was.quantity, was.cost, was.fee, was.fee_currency, was.fees) THEN
        RETURN NULL;
    END IF;
    SELECT o.* INTO p FROM blotter_internal.position o WHERE o.id = f.position_id;
    dq_was := blotter_internal.fill_dq(p.takes_fees, p.base, was.side, was.quantity, was.fee,
                                       was.fee_currency, was.fees);
    dq := blotter_internal.fill_dq(p.takes_fees, p.base, f.side, f.quantity, f.fee,
                                   f.fee_currency, f.fees);
    RETURN dq IS DISTINCT FROM dq_was
        OR blotter_internal.fill_value(p.inverse, p.unvalued, p.by_cost, p.multiplier, abs(dq),
                                       f.price, f.quantity, f.cost)
           IS DISTINCT FROM
           blotter_internal.fill_value(p.inverse, p.unvalued, p.by_cost, p.multiplier, abs(dq_was),
                                       was.price, was.quantity, was.cost);
END
$$;
COMMENT ON FUNCTION blotter_internal.fill_moves(blotter_internal.fill, blotter_internal.fill) IS
    'Does a fill that changes so change its position''s quantity, cost or realised PnL? Null: nor its fees.';
