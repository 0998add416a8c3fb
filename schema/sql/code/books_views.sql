-- books_views: what people ask of the books: fills, positions, PnL, equity.
--
-- Where others mean something else by the same word:
--   NautilusTrader averages the prices of an inverse position arithmetically; average_price here is the one at which its cost is right
--   (harmonic). Its realized_pnl is net of commissions; here it is gross, and pnl shows fees beside it.
--   freqtrade's open_rate includes neither fees nor what was closed; its profit is net of fees. A trade of its own ends at flat.
--   ccxt shows what the venue says (venue_positions): its entryPrice is the venue's and may include fees or restart at funding.

CREATE VIEW blotter.fills AS
SELECT p.exchange, p.account, p.strategy, p.market_type, p.symbol, p.position_side, f.trade_id, f.order_id, f.client_order_id, f.at, f.side,
       f.price, f.quantity, blotter_internal.shown(blotter_internal.fill_value(p.inverse, p.unvalued, p.by_cost, p.multiplier, f.quantity, f.price, f.quantity, f.cost)) AS cost,
       f.fee, f.fee_currency, f.fees, f.liquidity, p.currency,
       CASE WHEN f.differs <> 0
            THEN array_remove(ARRAY[CASE WHEN f.differs & 1 <> 0 THEN 'exchange_time' END, CASE WHEN f.differs & 4 <> 0 THEN 'strategy' END,
                                    CASE WHEN f.differs & 16 <> 0 THEN 'market_type' END, CASE WHEN f.differs & 32 <> 0 THEN 'position_side' END, CASE WHEN f.differs & 512 <> 0 THEN 'price' END,
                                    CASE WHEN f.differs & 1024 <> 0 THEN 'quantity' END, CASE WHEN f.differs & 2048 <> 0 THEN 'cost' END,
                                    CASE WHEN f.differs & 4096 <> 0 THEN 'fee' END, CASE WHEN f.differs & 8192 <> 0 THEN 'fee_currency' END,
                                    CASE WHEN f.differs & 16384 <> 0 THEN 'fees' END, CASE WHEN f.differs & 32768 <> 0 THEN 'liquidity' END], NULL)
            ELSE '{}' END AS differs
FROM blotter_internal.fill f
JOIN blotter_internal.position p ON p.id = f.position_id
WHERE NOT f.rolled;
COMMENT ON VIEW blotter.fills IS 'Your executions, once each, whatever copies came of them (order event, own trade, venue''s history, resends): each field from the best copy that has it, and what none has from the order. A self-trade is two. A trade is yours if it names an order, account or strategy, or has origin venue; without a trade_id it is no fill: nothing would tell it from a copy. To take one out, record an order event bust with its trade_id; to change one, an event correct with the new values: once, as of several the lesser value of each field counts, and a bust stays. Those that `blotter partitions roll` rolled are not in it any more. Example: SELECT * FROM blotter.fills WHERE exchange = ''okx'' AND symbol = ''BTC/USDT:USDT'' ORDER BY at DESC LIMIT 100;';
COMMENT ON COLUMN blotter.fills.exchange IS 'the stream''s exchange';
COMMENT ON COLUMN blotter.fills.price IS 'price';
COMMENT ON COLUMN blotter.fills.fee_currency IS 'currency of fee; null: not given';
COMMENT ON COLUMN blotter.fills.liquidity IS 'maker, taker';
COMMENT ON COLUMN blotter.fills.account IS 'whose account; empty: not given';
COMMENT ON COLUMN blotter.fills.strategy IS 'which strategy; empty: neither the fill nor its order says';
COMMENT ON COLUMN blotter.fills.market_type IS 'spot, margin, swap, future, option; empty: not given';
COMMENT ON COLUMN blotter.fills.symbol IS 'as the strategy names it; empty: not given';
COMMENT ON COLUMN blotter.fills.position_side IS 'long, short; empty: both, net or not given';
COMMENT ON COLUMN blotter.fills.trade_id IS 'the venue''s id; where it gave none, # and the identity of the order event';
COMMENT ON COLUMN blotter.fills.order_id IS 'your order that traded';
COMMENT ON COLUMN blotter.fills.client_order_id IS 'our id of that order, where no copy gave the venue''s';
COMMENT ON COLUMN blotter.fills.at IS 'the exchange''s time; where no copy has it, when the first was recorded';
COMMENT ON COLUMN blotter.fills.side IS 'buy or sell; null: neither the fill nor its order says';
COMMENT ON COLUMN blotter.fills.quantity IS 'of this fill: base currency or contracts; 0: it was busted';
COMMENT ON COLUMN blotter.fills.cost IS 'what it is worth in currency; null: without a price, or the contract is not known';
COMMENT ON COLUMN blotter.fills.fee IS '+ paid, - rebate; of the first currency if there are several';
COMMENT ON COLUMN blotter.fills.fees IS 'currency to amount, where there are several';
COMMENT ON COLUMN blotter.fills.currency IS 'of cost: the quote currency; of inverse contracts the base';
COMMENT ON COLUMN blotter.fills.differs IS 'fields in which the copies differ; the best copy''s value is shown';

CREATE FUNCTION blotter_internal.average_price(inverse boolean, multiplier numeric, is_known boolean, quantity numeric, open_cost numeric) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT CASE WHEN quantity = 0 OR inverse AND open_cost = 0 OR NOT is_known THEN NULL
                WHEN inverse THEN blotter_internal.shown(abs(quantity) * multiplier / open_cost)
                ELSE blotter_internal.shown(round(open_cost, 40) / (abs(quantity) * multiplier)) END
$$;
COMMENT ON FUNCTION blotter_internal.average_price(boolean, numeric, boolean, numeric, numeric) IS 'The price at which what is open cost what it cost.';

-- Nearly all positions pay in one currency.
CREATE FUNCTION blotter_internal.fees_of(fee_currency text, fee numeric, other_fees jsonb) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
    SELECT CASE WHEN other_fees IS NOT NULL
                THEN blotter_internal.add_amounts(other_fees, CASE WHEN fee_currency IS NOT NULL THEN jsonb_build_object(fee_currency, fee) END)
                WHEN fee_currency IS NULL OR fee = 0 THEN '{}' ELSE jsonb_build_object(fee_currency, trim_scale(fee)) END
$$;
COMMENT ON FUNCTION blotter_internal.fees_of(text, numeric, jsonb) IS 'Fees as a map of currency to amount.';

CREATE VIEW blotter.positions AS
SELECT p.exchange, p.account, p.strategy, p.market_type, p.symbol, p.position_side, blotter_internal.shown(p.quantity) AS quantity,
       blotter_internal.average_price(p.inverse, p.multiplier, p.unpriced = 0 AND NOT p.unvalued, p.quantity, p.open_cost) AS average_price,
       CASE WHEN p.unpriced = 0 AND NOT p.unvalued THEN blotter_internal.shown(p.realized_pnl) END AS realized_pnl, p.currency,
       blotter_internal.fees_of(p.fee_currency, p.fee, p.other_fees) AS fees,
       coalesce(p.funding, '{}') AS funding, p.fills, p.first_fill_at, p.last_fill_at,
       CASE WHEN p.unpriced = 0 AND NOT p.unvalued THEN blotter_internal.shown(p.open_cost) END AS open_cost,
       p.multiplier, p.inverse, p.unpriced, p.sideless, p.unvalued, p.assumed,
       p.position_side = 'long' AND p.quantity < 0 OR p.position_side = 'short' AND p.quantity > 0 AS over_closed
FROM blotter_internal.position p
WHERE p.fills <> 0 OR p.funding <> '{}';
COMMENT ON VIEW blotter.positions IS 'The sum of your fills, by exchange, account, strategy, market type, symbol and position side; those of an account together: sum over strategy. Long and short of hedge mode are two rows. Example, at the start of a strategy: SELECT symbol, position_side, quantity, average_price FROM blotter.positions WHERE exchange = ''okx'' AND account = ''main'' AND strategy = ''mm'' AND quantity <> 0;';
COMMENT ON COLUMN blotter.positions.first_fill_at IS 'time of its first fill';
COMMENT ON COLUMN blotter.positions.last_fill_at IS 'time of its newest fill';
COMMENT ON COLUMN blotter.positions.quantity IS '+ long, - short; base currency or contracts. In spot and margin a fee in the base currency has lowered it';
COMMENT ON COLUMN blotter.positions.average_price IS 'of what is open; begins anew at flat and when the position turns. Of inverse contracts the harmonic mean, where NautilusTrader takes the arithmetic one. Null: flat, or a price is not known';
COMMENT ON COLUMN blotter.positions.realized_pnl IS 'by average cost, before fees and funding, in currency; null until every price is known. NautilusTrader''s and freqtrade''s are after fees: subtract fees';
COMMENT ON COLUMN blotter.positions.currency IS 'of realized_pnl: the settle currency; empty: the symbol does not say and no instrument is recorded';
COMMENT ON COLUMN blotter.positions.fees IS 'paid by currency, rebates negative';
COMMENT ON COLUMN blotter.positions.funding IS 'received by currency, paid negative';
COMMENT ON COLUMN blotter.positions.fills IS 'number of fills';
COMMENT ON COLUMN blotter.positions.open_cost IS 'what the open quantity cost';
COMMENT ON COLUMN blotter.positions.multiplier IS 'units of base (of inverse contracts: of quote) in one of quantity';
COMMENT ON COLUMN blotter.positions.inverse IS 'it is worth quantity / price, in the base currency. An option that is settled in that is not: its price is in it';
COMMENT ON COLUMN blotter.positions.unpriced IS 'fills without a price: until it comes PnL is null';
COMMENT ON COLUMN blotter.positions.sideless IS 'fills of which neither they nor their order say whether they bought or sold: not 0 means that quantity is not to be trusted';
COMMENT ON COLUMN blotter.positions.over_closed IS 'of hedge mode: more of this side was closed than its fills had opened, so that fills are missing (or position_base); nothing is moved to the other side';
COMMENT ON COLUMN blotter.positions.unvalued IS 'a quanto contract whose multiplier is not known: PnL is null';
COMMENT ON COLUMN blotter.positions.assumed IS 'no instrument is recorded that says what a contract is: taken for 1 unit; where the symbol names what it is settled in (BASE/QUOTE:SETTLE), a fill is worth its cost if it has one (not of options that are settled in their base)';

SELECT blotter_internal.inherit_comments('blotter.positions', 'blotter.fills'),
       blotter_internal.inherit_comments('blotter_internal.position', 'blotter.positions'),
       blotter_internal.inherit_comments('blotter_internal.fill', 'blotter.fills'),
       blotter_internal.inherit_comments('blotter_internal.book_queue', 'blotter.trades'),
       blotter_internal.inherit_comments('blotter_internal.contract', 'blotter.instruments'),
       blotter_internal.inherit_comments('blotter_internal.funding', 'blotter.cash');

-- --- at a time --------------------------------------------------------------------------------------------------------------

-- From the last checkpoint before, if that is in the same hour, else from the end of the last hour before, and the fills after it.
CREATE FUNCTION blotter_internal.state_at(p blotter_internal.position, t timestamptz,
        OUT quantity numeric, OUT open_cost numeric, OUT realized_pnl numeric, OUT last_price numeric)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    f record;
    state numeric[];
    since timestamptz;
BEGIN
    SELECT s.* INTO since, quantity, open_cost, realized_pnl, last_price
    FROM ((SELECT c.at + interval '1 microsecond' AS since, c.quantity, c.open_cost, c.realized_pnl, c.last_price FROM blotter_internal.position_checkpoint c
           WHERE c.position_id = p.id AND c.at >= blotter_internal.hour_of(t) AND c.at < t ORDER BY c.at DESC LIMIT 1)
          UNION ALL
          (SELECT blotter_internal.hour_of(t), h.quantity, h.open_cost, h.realized_pnl, h.last_price FROM blotter_internal.position_hour h
           WHERE h.position_id = p.id AND h.hour < blotter_internal.hour_of(t) ORDER BY h.hour DESC LIMIT 1)) AS s
    ORDER BY s.since DESC LIMIT 1;
    state := ARRAY[coalesce(quantity, 0), coalesce(open_cost, 0), coalesce(realized_pnl, 0)];
    FOR f IN
        SELECT x.price, d.dq, coalesce(blotter_internal.fill_value(p.inverse, p.unvalued, p.by_cost, p.multiplier, abs(d.dq), x.price, x.quantity, x.cost), 0) AS value
        FROM blotter_internal.fill x
        CROSS JOIN LATERAL (SELECT blotter_internal.fill_dq(p.takes_fees, p.base, x.side, x.quantity, x.fee, x.fee_currency, x.fees) AS dq OFFSET 0) AS d
        WHERE x.position_id = p.id AND x.at >= coalesce(since, blotter_internal.hour_of(t)) AND x.at < t AND NOT x.rolled
        ORDER BY x.at, length(x.trade_id), x.trade_id, x.side, x.order_id, x.n
    LOOP
        last_price := coalesce(f.price, last_price);
        IF f.dq <> 0 THEN
            state := blotter_internal.next_state(state[1], state[2], state[3], f.dq, f.value, p.inverse);
        END IF;
    END LOOP;
    quantity := state[1];
    open_cost := state[2];
    realized_pnl := state[3];
END
$$;
COMMENT ON FUNCTION blotter_internal.state_at(blotter_internal.position, timestamptz) IS 'A position as its fills before a time make it.';

CREATE FUNCTION blotter_internal.fees_of_hour(p blotter_internal.position, t timestamptz) RETURNS jsonb
    LANGUAGE sql STABLE
    AS $$
    SELECT blotter_internal.sum_of_amounts(CASE WHEN f.fees IS NOT NULL THEN f.fees
                                                WHEN f.fee IS NOT NULL THEN jsonb_build_object(coalesce(f.fee_currency, ''), f.fee) END)
    FROM blotter_internal.fill f
    WHERE f.position_id = p.id AND f.at >= blotter_internal.hour_of(t) AND f.at < t
$$;
COMMENT ON FUNCTION blotter_internal.fees_of_hour(blotter_internal.position, timestamptz) IS 'Fees by currency of the fills since the hour of a time began, up to the time.';

CREATE FUNCTION blotter_internal.lacks_price(p blotter_internal.position, t timestamptz) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
    SELECT EXISTS (SELECT FROM blotter_internal.fill f
                   WHERE f.position_id = p.id AND f.at < t AND f.side IS NOT NULL AND (f.price IS NULL OR p.inverse AND f.price = 0)
                     AND blotter_internal.fill_value(p.inverse, p.unvalued, p.by_cost, p.multiplier,
                                                     abs(blotter_internal.fill_dq(p.takes_fees, p.base, f.side, f.quantity, f.fee, f.fee_currency, f.fees)),
                                                     f.price, f.quantity, f.cost) IS NULL)
$$;
COMMENT ON FUNCTION blotter_internal.lacks_price(blotter_internal.position, timestamptz) IS 'Has a fill of a position before a time a value that is not known?';

-- From the end of the last hour before, which says what the position came to by then, and the fills since: however long ago the time is.
CREATE FUNCTION blotter.positions_at(t timestamptz)
    RETURNS TABLE (exchange text, account text, strategy text, market_type text, symbol text, position_side text, quantity numeric, average_price numeric,
                   realized_pnl numeric, currency text, fees jsonb, funding jsonb, fills bigint, open_cost numeric)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_mergejoin = off SET jit = off
    AS $$
BEGIN
    PERFORM blotter_internal.refuse_rolled_time(t);
    RETURN QUERY
        SELECT p.exchange, p.account, p.strategy, p.market_type, p.symbol, p.position_side, blotter_internal.shown(s.quantity),
               blotter_internal.average_price(p.inverse, p.multiplier, k.known, s.quantity, s.open_cost),
               CASE WHEN k.known THEN blotter_internal.shown(s.realized_pnl) END, p.currency,
               CASE WHEN g.several OR g.fee_currency <> p.fee_currency
                    THEN blotter_internal.add_amounts(blotter_internal.fees_of(p.fee_currency, s.fee, s.other_fees), blotter_internal.fees_of_hour(p, t))
                    ELSE blotter_internal.fees_of(p.fee_currency, s.fee + coalesce(g.fee, 0), s.other_fees) END,
               CASE WHEN p.funding IS NULL OR p.funding = '{}' AND NOT EXISTS (SELECT FROM blotter_internal.funding u WHERE u.position_id = p.id) THEN '{}'
                    ELSE (SELECT blotter_internal.add_amounts('{}', jsonb_object_agg(a.currency, a.amount))
                          FROM (SELECT u.currency, sum(u.amount) AS amount FROM blotter_internal.funding u
                                WHERE u.position_id = p.id AND u.at < t AND u.counts GROUP BY u.currency) AS a) END,
               s.fills + coalesce(g.fills, 0), CASE WHEN k.known THEN blotter_internal.shown(s.open_cost) END
        FROM blotter_internal.position p
        LEFT JOIN (SELECT f.position_id, count(*) AS fills, min(f.currency) AS fee_currency, sum(f.fee) AS fee,
                          bool_or(f.fees IS NOT NULL) OR min(f.currency) <> max(f.currency) AS several
                   FROM (SELECT o.*, CASE WHEN o.fee IS NOT NULL THEN coalesce(o.fee_currency, '') END AS currency FROM blotter_internal.fill o
                         WHERE o.at >= blotter_internal.hour_of(t) AND o.at < t) AS f
                   GROUP BY f.position_id) AS g ON g.position_id = p.id AND p.last_fill_at >= t
        CROSS JOIN LATERAL (SELECT p.quantity, p.open_cost, p.realized_pnl, p.fills, p.fee, p.other_fees WHERE p.last_fill_at < t OR p.last_fill_at IS NULL
                            UNION ALL
                            SELECT coalesce(a.quantity, h.quantity, 0), coalesce(a.open_cost, h.open_cost, 0), coalesce(a.realized_pnl, h.realized_pnl, 0),
                                   coalesce(h.total_fills, 0), coalesce(h.total_fee, 0), h.total_other_fees
                            FROM (SELECT WHERE p.last_fill_at >= t) AS later
                            LEFT JOIN LATERAL (SELECT * FROM blotter_internal.position_hour o WHERE o.position_id = p.id AND o.hour < blotter_internal.hour_of(t)
                                               ORDER BY o.hour DESC LIMIT 1) AS h ON true
                            LEFT JOIN LATERAL (SELECT * FROM blotter_internal.state_at(p, t) WHERE g.position_id IS NOT NULL) AS a ON true) AS s
        CROSS JOIN LATERAL (SELECT NOT p.unvalued AND (p.unpriced = 0 OR NOT blotter_internal.lacks_price(p, t)) AS known OFFSET 0) AS k
        WHERE p.first_fill_at < t
           OR EXISTS (SELECT FROM blotter_internal.funding u WHERE u.position_id = p.id AND u.at < t AND u.counts);
END
$$;
COMMENT ON FUNCTION blotter.positions_at(timestamptz) IS 'The positions as the fills before a time make them, with what is known of those fills today. Within an hour whose fills are rolled it raises an error: ask for a full hour (UTC). Example: SELECT * FROM blotter.positions_at(''2026-11-29 08:00Z'') WHERE quantity <> 0;';

-- --- PnL --------------------------------------------------------------------------------------------------------------------

-- Hour by hour; a first or last hour of which only a part is asked for is computed from its fills.
CREATE FUNCTION blotter_internal.pnl_pieces(p blotter_internal.position, low timestamptz, high timestamptz)
    RETURNS TABLE (at timestamptz, realized numeric, currency text, fees numeric, fills bigint)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    first timestamptz := CASE WHEN blotter_internal.hour_of(low) = low THEN low ELSE blotter_internal.hour_of(low) + interval '1 hour' END;
    last timestamptz := blotter_internal.hour_of(high);
    before numeric;
    one record;
BEGIN
    FOR one IN
        SELECT low AS low, least(first, high) AS high WHERE low < first
        UNION ALL
        SELECT last, high WHERE last >= first AND last < high
    LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM blotter_internal.fill f WHERE f.position_id = p.id AND f.at >= one.low AND f.at < one.high);
        at := one.low;
        SELECT e.realized_pnl - b.realized_pnl INTO realized FROM blotter_internal.state_at(p, one.high) AS e, blotter_internal.state_at(p, one.low) AS b;
        currency := p.currency;
        SELECT count(*) INTO fills FROM blotter_internal.fill f WHERE f.position_id = p.id AND f.at >= one.low AND f.at < one.high;
        fees := 0;
        RETURN NEXT;
        realized := 0;
        fills := 0;
        FOR currency, fees IN
            SELECT CASE WHEN blotter_internal.is_valued(p.inverse, p.base, p.quote, p.currency, e.currency) THEN p.currency ELSE e.currency END,
                   CASE WHEN blotter_internal.is_valued(p.inverse, p.base, p.quote, p.currency, e.currency)
                        THEN blotter_internal.fee_value(p.inverse, p.base, p.quote, p.currency, e.currency, e.amount, coalesce(f.price, abs(f.cost) / nullif(f.quantity, 0))) ELSE e.amount END
            FROM blotter_internal.fill f
            CROSS JOIN LATERAL (SELECT coalesce(f.fee_currency, '') AS currency, f.fee AS amount WHERE f.fees IS NULL AND f.fee IS NOT NULL
                                UNION ALL SELECT j.key, j.value::numeric FROM jsonb_each_text(f.fees) AS j) AS e
            WHERE f.position_id = p.id AND f.at >= one.low AND f.at < one.high
        LOOP
            RETURN NEXT;
        END LOOP;
    END LOOP;
    IF first < last THEN
        SELECT h.realized_pnl INTO before FROM blotter_internal.position_hour h WHERE h.position_id = p.id AND h.hour < first ORDER BY h.hour DESC LIMIT 1;
        RETURN QUERY
            SELECT h.hour, h.realized_pnl - coalesce(lag(h.realized_pnl) OVER (ORDER BY h.hour), before, 0), p.currency, h.fee_value, h.fills
            FROM blotter_internal.position_hour h WHERE h.position_id = p.id AND h.hour >= first AND h.hour < last
            UNION ALL
            SELECT h.hour, 0, e.currency, e.amount, 0::bigint
            FROM blotter_internal.position_hour h
            CROSS JOIN LATERAL (SELECT h.fee_currency AS currency, h.fee AS amount WHERE h.fee_currency IS NOT NULL
                                UNION ALL SELECT j.key, j.value::numeric FROM jsonb_each_text(h.other_fees) AS j) AS e
            WHERE h.position_id = p.id AND h.hour >= first AND h.hour < last AND NOT blotter_internal.is_valued(p.inverse, p.base, p.quote, p.currency, e.currency) AND e.amount <> 0;
    END IF;
END
$$;
COMMENT ON FUNCTION blotter_internal.pnl_pieces(blotter_internal.position, timestamptz, timestamptz) IS
    'The profit that a position realised and the fees it paid from a time (inclusive) to another (exclusive), in pieces of at most an hour.';

CREATE FUNCTION blotter_internal.mark_price(p_exchange text, p_symbol text, t timestamptz) RETURNS numeric
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT v.mark_price FROM blotter.venue_positions v
        WHERE v.exchange = p_exchange COLLATE "default" AND v.symbol = p_symbol COLLATE "default" AND v.mark_price IS NOT NULL AND v.recorded_at < t AND v.recorded_at >= t - interval '1 day'
        ORDER BY v.recorded_at DESC LIMIT 1;
    END;
COMMENT ON FUNCTION blotter_internal.mark_price(text, text, timestamptz) IS 'The venue''s latest mark price of a symbol in the day before a time.';

CREATE FUNCTION blotter_internal.unrealized(p blotter_internal.position, t timestamptz) RETURNS numeric
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    s record;
    mark numeric;
    value numeric;
BEGIN
    IF p.last_fill_at < t THEN
        SELECT p.quantity, p.open_cost, p.last_price INTO s;
    ELSE
        SELECT a.quantity, a.open_cost, a.last_price INTO s FROM blotter_internal.state_at(p, t) AS a;
    END IF;
    IF s.quantity = 0 THEN
        RETURN 0;
    END IF;
    mark := coalesce(blotter_internal.mark_price(p.exchange, p.symbol, t), s.last_price);
    IF mark IS NULL OR p.unpriced > 0 OR p.unvalued OR p.by_cost OR p.inverse AND mark = 0 THEN
        RETURN NULL;
    END IF;
    value := CASE WHEN p.inverse THEN blotter_internal.divide(abs(s.quantity) * p.multiplier, mark) ELSE abs(s.quantity) * p.multiplier * mark END;
    RETURN sign(s.quantity) * (value - s.open_cost) * CASE WHEN p.inverse THEN -1 ELSE 1 END;
END
$$;
COMMENT ON FUNCTION blotter_internal.unrealized(blotter_internal.position, timestamptz) IS 'The open positions at a time, at the venue''s mark price, else at the price of the last fill.';

CREATE FUNCTION blotter_internal.unpriced_days(low timestamptz, high timestamptz)
    RETURNS TABLE (strategy text, exchange text, account text, currency text, day timestamptz)
    LANGUAGE sql STABLE
    AS $$
    SELECT DISTINCT p.strategy, p.exchange, p.account, p.currency, blotter_internal.day_of(h.hour)
    FROM blotter_internal.position p
    JOIN blotter_internal.position_hour h ON h.position_id = p.id AND h.hour >= low AND h.hour < high
    WHERE p.unpriced > 0
$$;
COMMENT ON FUNCTION blotter_internal.unpriced_days(timestamptz, timestamptz) IS
    'The days whose PnL is not known yet: a position traded then of which a fill has no price.';

CREATE FUNCTION blotter_internal.pnl_rows(low timestamptz, high timestamptz, keys text[])
    RETURNS TABLE (at timestamptz, exchange text, account text, strategy text, market_type text, symbol text, currency text, fills bigint,
                   realized numeric, unrealized numeric, fees numeric, funding numeric, known boolean)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_mergejoin = off
    SET jit = off
    AS $$
DECLARE
    has_marks boolean := EXISTS (SELECT FROM blotter.venue_positions v
                                 WHERE v.mark_price IS NOT NULL AND v.recorded_at < high AND v.recorded_at >= high - interval '1 day');
    by_day boolean := blotter_internal.day_of(low) = low AND (blotter_internal.day_of(high) = high OR high >= now()) AND NOT keys && ARRAY['hour', 'symbol', 'market_type'];
BEGIN
    PERFORM blotter_internal.refuse_rolled_time(t) FROM unnest(ARRAY[low, high]) AS t;
    IF by_day THEN
        RETURN QUERY
            SELECT d.day, d.exchange, d.account, d.strategy, NULL::text, NULL::text, d.currency, d.fills, d.realized, NULL::numeric, d.fee_value, d.funding,
                   u.day IS NULL
            FROM blotter_internal.pnl_day d
            LEFT JOIN blotter_internal.unpriced_days(low, high) AS u
                   ON (u.strategy, u.exchange, u.account, u.currency, u.day) = (d.strategy, d.exchange, d.account, d.currency, d.day)
            WHERE d.day >= low AND d.day < high;
    ELSE
        RETURN QUERY
            SELECT x.at, p.exchange, p.account, p.strategy, p.market_type, p.symbol, x.currency, x.fills, x.realized, NULL::numeric, x.fees, 0::numeric,
                   p.unpriced = 0 OR x.currency <> p.currency
            FROM blotter_internal.position p
            CROSS JOIN LATERAL blotter_internal.pnl_pieces(p, low, high) AS x
            WHERE p.last_fill_at >= low AND p.first_fill_at < high
            UNION ALL
            SELECT f.at, p.exchange, p.account, p.strategy, p.market_type, p.symbol, f.currency, 0::bigint, 0::numeric, NULL::numeric, 0::numeric, f.amount, true
            FROM blotter_internal.position p
            CROSS JOIN LATERAL (SELECT * FROM blotter_internal.funding u WHERE u.position_id = p.id AND u.at >= low AND u.at < high AND u.counts OFFSET 0) AS f
            WHERE p.funding IS NOT NULL;
    END IF;
    IF NOT keys && ARRAY['hour', 'day'] THEN
        RETURN QUERY
            SELECT NULL::timestamptz, p.exchange, p.account, p.strategy, p.market_type, p.symbol, p.currency, 0::bigint, 0::numeric,
                   CASE WHEN p.unpriced > 0 OR p.unvalued OR p.by_cost OR p.inverse AND m.price = 0 THEN NULL
                        ELSE sign(p.quantity) * CASE WHEN p.inverse THEN -1 ELSE 1 END
                             * (blotter_internal.fill_value(p.inverse, false, false, p.multiplier, abs(p.quantity), m.price, abs(p.quantity), NULL) - p.open_cost) END,
                   0::numeric, 0::numeric, true
            FROM blotter_internal.position p
            CROSS JOIN LATERAL (SELECT coalesce(CASE WHEN has_marks THEN blotter_internal.mark_price(p.exchange, p.symbol, high) END, p.last_price) AS price OFFSET 0) AS m
            WHERE p.last_fill_at < high AND p.quantity <> 0
            UNION ALL
            SELECT NULL::timestamptz, p.exchange, p.account, p.strategy, p.market_type, p.symbol, p.currency, 0::bigint, 0::numeric,
                   blotter_internal.unrealized(p, high), 0::numeric, 0::numeric, true
            FROM blotter_internal.position p
            WHERE p.first_fill_at < high AND p.last_fill_at >= high;
    END IF;
END
$$;
COMMENT ON FUNCTION blotter_internal.pnl_rows(timestamptz, timestamptz, text[]) IS
    'The parts that pnl adds up: whole days from pnl_day, otherwise hours and, where a part of an hour is asked for, fills.';

CREATE FUNCTION blotter.pnl("from" timestamptz, "to" timestamptz DEFAULT now(), by text DEFAULT 'strategy')
    RETURNS TABLE (start timestamptz, exchange text, account text, strategy text, market_type text, symbol text, currency text, fills bigint,
                   realized_pnl numeric, unrealized_pnl numeric, fees numeric, funding numeric, net_pnl numeric)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    keys text[] := regexp_split_to_array(lower(btrim(by)), '\s*,\s*');
BEGIN
    IF NOT keys <@ ARRAY['hour', 'day', 'exchange', 'account', 'strategy', 'market_type', 'symbol', ''] THEN
        RAISE EXCEPTION 'pnl cannot be shown by "%"', by USING ERRCODE = 'invalid_parameter_value',
            HINT = 'A list of hour, day, exchange, account, strategy, market_type, symbol.';
    END IF;
    RETURN QUERY
        SELECT g.*, g.realized - g.fees + g.funding
        FROM (SELECT CASE WHEN 'hour' = ANY (keys) THEN blotter_internal.hour_of(r.at) WHEN 'day' = ANY (keys) THEN blotter_internal.day_of(r.at) END AS start,
                     CASE WHEN 'exchange' = ANY (keys) THEN r.exchange END AS exchange, CASE WHEN 'account' = ANY (keys) THEN r.account END AS account,
                     CASE WHEN 'strategy' = ANY (keys) THEN r.strategy END AS strategy, CASE WHEN 'market_type' = ANY (keys) THEN r.market_type END AS market_type,
                     CASE WHEN 'symbol' = ANY (keys) THEN r.symbol END AS symbol, r.currency, sum(r.fills)::bigint AS fills,
                     CASE WHEN bool_and(r.known) THEN blotter_internal.shown(sum(r.realized)) END AS realized,
                     CASE WHEN keys && ARRAY['hour', 'day'] OR bool_or(r.at IS NULL AND r.unrealized IS NULL) THEN NULL
                          ELSE blotter_internal.shown(coalesce(sum(r.unrealized), 0)) END AS unrealized, blotter_internal.shown(sum(r.fees)) AS fees, blotter_internal.shown(sum(r.funding)) AS funding
              FROM blotter_internal.pnl_rows("from", "to", keys) AS r
              GROUP BY 1, 2, 3, 4, 5, 6, 7) AS g
        WHERE g.fills <> 0 OR g.realized <> 0 OR g.realized IS NULL OR g.unrealized <> 0 OR g.fees <> 0 OR g.funding <> 0
           OR g.unrealized IS NULL AND NOT keys && ARRAY['hour', 'day']
        ORDER BY 1, 2, 3, 4, 5, 6, 7;
END
$$;
COMMENT ON FUNCTION blotter.pnl(timestamptz, timestamptz, text) IS 'Profit and loss of the fills and funding from a time (inclusive) to another (exclusive), by any list of hour, day, exchange, account, strategy, market_type, symbol; a row for each currency: a fee in BNB is a row of BNB. realized_pnl is before fees and funding, null while a price is missing; fees in base or quote are valued at the price of their fill, and not in it while that is missing. net_pnl = realized_pnl - fees + funding. unrealized_pnl (not by hour or day) is of what is open at the end, at the venue''s mark price of the last day, else at the last fill''s price; null: of a part of it no price or contract is known. A time within an hour whose fills are rolled raises an error: ask for full hours (UTC). Example, today by strategy: SELECT * FROM blotter.pnl(date_trunc(''day'', now(), ''UTC''));';

CREATE FUNCTION blotter.equity(of_strategy text DEFAULT NULL, "from" timestamptz DEFAULT '-infinity', "to" timestamptz DEFAULT 'infinity', step text DEFAULT 'day')
    RETURNS TABLE (at timestamptz, strategy text, currency text, realized_pnl numeric, fees numeric, funding numeric, equity numeric)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    last_hour timestamptz := CASE WHEN isfinite("to") THEN blotter_internal.hour_of("to") ELSE "to" END;
    high timestamptz := CASE WHEN last_hour < "to" THEN last_hour + interval '1 hour' ELSE "to" END;
BEGIN
    IF step NOT IN ('day', 'hour') THEN
        RAISE EXCEPTION 'equity goes by day or hour, not by "%"', step USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN QUERY
        WITH steps AS (
            SELECT d.day AS at, d.strategy, d.currency, sum(d.realized) AS realized, sum(d.fee_value) AS fees, sum(d.funding) AS funding, bool_or(u.day IS NOT NULL) AS unknown
            FROM blotter_internal.pnl_day d
            LEFT JOIN blotter_internal.unpriced_days('-infinity', 'infinity') AS u
                   ON (u.strategy, u.exchange, u.account, u.currency, u.day) = (d.strategy, d.exchange, d.account, d.currency, d.day)
            WHERE (of_strategy IS NULL OR d.strategy = of_strategy) AND d.day < CASE WHEN step = 'day' THEN "to" ELSE blotter_internal.day_of("from") END
            GROUP BY 1, 2, 3
            UNION ALL
            SELECT blotter_internal.hour_of(x.at), p.strategy, x.currency, sum(x.realized), sum(x.fees), 0, bool_or(p.unpriced > 0 AND x.currency = p.currency)
            FROM blotter_internal.position p
            CROSS JOIN LATERAL blotter_internal.pnl_pieces(p, blotter_internal.day_of("from"), high) AS x
            WHERE step = 'hour' AND (of_strategy IS NULL OR p.strategy = of_strategy) AND p.last_fill_at >= blotter_internal.day_of("from")
            GROUP BY 1, 2, 3
            UNION ALL
            SELECT blotter_internal.hour_of(f.at), p.strategy, f.currency, 0, 0, sum(f.amount), false
            FROM blotter_internal.position p
            JOIN blotter_internal.funding f ON f.position_id = p.id AND f.counts AND f.at >= blotter_internal.day_of("from") AND f.at < high
            WHERE step = 'hour' AND (of_strategy IS NULL OR p.strategy = of_strategy)
            GROUP BY 1, 2, 3)
        SELECT c.at, c.strategy, c.currency, CASE WHEN NOT c.unknown THEN blotter_internal.shown(c.realized) END, blotter_internal.shown(c.fees), blotter_internal.shown(c.funding),
               CASE WHEN NOT c.unknown THEN blotter_internal.shown(c.realized) - blotter_internal.shown(c.fees) + blotter_internal.shown(c.funding) END
        FROM (SELECT s.at, s.strategy, s.currency, sum(sum(s.realized)) OVER w AS realized, sum(sum(s.fees)) OVER w AS fees, sum(sum(s.funding)) OVER w AS funding,
                     bool_or(bool_or(s.unknown)) OVER w AS unknown
              FROM steps s GROUP BY s.at, s.strategy, s.currency HAVING (sum(s.realized), sum(s.fees), sum(s.funding)) <> (0, 0, 0) OR bool_or(s.unknown)
              WINDOW w AS (PARTITION BY s.strategy, s.currency ORDER BY s.at)) AS c
        WHERE c.at >= "from" ORDER BY 2, 3, 1;
END
$$;
COMMENT ON FUNCTION blotter.equity(text, timestamptz, timestamptz, text) IS 'The profit of a strategy (null: of each) since its first fill, up to the end of each day (or hour, with step => ''hour'' and a "from") on which something changed: realised, fees, funding, and equity = realised - fees + funding, by currency; at is the beginning of that day or hour, and lies from a time (inclusive) to another (exclusive). realized_pnl and equity are null once a position has traded of which a fill has no price yet. What is open is not in it: add unrealized_pnl of pnl. Example: SELECT at, equity FROM blotter.equity(''mm'') WHERE currency = ''USDT'';';
