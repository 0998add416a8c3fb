-- Books: fills and positions.

CREATE FUNCTION blotter_internal.side_of(side text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
    SELECT CASE WHEN lower(side COLLATE "C") IN ('buy', 'b', 'bid', 'buyer') THEN 'buy' WHEN lower(side COLLATE "C") IN ('sell', 's', 'a', 'ask', 'offer', 'seller') THEN 'sell' END;
    END;
COMMENT ON FUNCTION blotter_internal.side_of(text) IS 'buy or sell, from the spellings that venues use; null: neither.';

-- The same execution arrives as an order event, as an own trade, from two processes, and again on reconnect. All copies are stored;
-- here they are, side by side; but for those of days that are aggregated and not dropped yet.
CREATE VIEW blotter_internal.fill_copies AS
SELECT 'trade' AS source, t.exchange, coalesce(t.account, '') AS account, t.symbol, t.trade_id,
       t.trade_id NOT IN ('', '0', '-1') IS TRUE AS has_id,
       t.position_side, t.strategy, t.order_id, t.client_order_id, t.side, t.price, t.quantity, coalesce(t.cost, t.price * t.quantity) AS cost,
       t.fee, t.fee_currency, t.liquidity, t.realized_pnl, t.exchange_time, t.recorded_at, t.producer_id, t.seq
FROM blotter.trades t
WHERE coalesce(nullif(t.order_id, ''), nullif(t.client_order_id, ''), nullif(t.account, ''), nullif(t.strategy, '')) IS NOT NULL
  AND t.recorded_at >= (SELECT blotter_internal.day_begins(r.first_day) FROM blotter_internal.retention r)
UNION ALL
-- cost of an order event is cumulative, so it is none of a fill's
SELECT 'order', e.exchange, coalesce(e.account, ''), coalesce(e.symbol, ''), e.trade_id,
       e.trade_id NOT IN ('', '0', '-1') IS TRUE,
       e.position_side, e.strategy, e.order_id, e.client_order_id, e.side, e.last_price, e.last_quantity, e.last_price * e.last_quantity,
       e.fee, e.fee_currency, e.liquidity, e.realized_pnl, e.exchange_time, e.recorded_at, e.producer_id, e.seq
FROM blotter.order_events e
WHERE e.last_quantity <> 0
  AND e.recorded_at >= (SELECT blotter_internal.day_begins(r.first_day) FROM blotter_internal.retention r);
COMMENT ON VIEW blotter_internal.fill_copies IS 'Every record of an own execution, copies included: own trades (they name an order, an account or a strategy), and order events with last_quantity.';
COMMENT ON COLUMN blotter_internal.fill_copies.source IS 'trade or order: which table';
COMMENT ON COLUMN blotter_internal.fill_copies.has_id IS 'trade_id is one: not null, empty, 0 or -1';

CREATE VIEW blotter.fills AS
SELECT f.source, f.exchange, f.account, f.symbol, f.trade_id,
       CASE WHEN lower(f.position_side COLLATE "C") IN ('long', 'short') THEN lower(f.position_side COLLATE "C") ELSE '' END AS position_side,
       f.strategy, f.order_id, f.client_order_id, blotter_internal.side_of(f.side) AS side, f.price, f.quantity, f.cost, f.fee, f.fee_currency,
       f.liquidity, f.realized_pnl, f.exchange_time, f.recorded_at, f.producer_id, f.seq
FROM (
    (SELECT DISTINCT ON (c.exchange, c.account, c.symbol, c.trade_id) c.*
     FROM blotter_internal.fill_copies c
     WHERE c.has_id
       AND NOT EXISTS (SELECT FROM blotter_internal.folded_fills d
                       WHERE (d.trade_id, d.exchange, d.account, d.symbol) = (c.trade_id, c.exchange, c.account, c.symbol))
     ORDER BY c.exchange, c.account, c.symbol, c.trade_id, c.source DESC, c.recorded_at, c.seq, c.producer_id)
    UNION ALL
    SELECT c.* FROM blotter_internal.fill_copies c WHERE NOT c.has_id AND c.source = 'order'
) AS f;
COMMENT ON VIEW blotter.fills IS 'Own executions, once each: one per (exchange, account, symbol, trade_id), the trade before the order event, then the earliest. Without a trade id copies cannot be told from executions: then every order event with last_quantity counts, and no trade does. Fills counted in position_base are not here.';
COMMENT ON COLUMN blotter.fills.source IS 'where it was taken from: trade (trades) or order (order_events)';
COMMENT ON COLUMN blotter.fills.account IS 'whose account; empty: not given';
COMMENT ON COLUMN blotter.fills.symbol IS 'as the strategy names it; empty: not given';
COMMENT ON COLUMN blotter.fills.position_side IS 'long, short, or empty: both, net or not given';
COMMENT ON COLUMN blotter.fills.side IS 'buy or sell; null: not given';
COMMENT ON COLUMN blotter.fills.quantity IS 'of this fill; base currency or contracts';
COMMENT ON COLUMN blotter.fills.cost IS 'of this fill; quote currency: as given with the trade, or price times quantity';

CREATE FUNCTION blotter_internal.add_fees(fees jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
    SELECT coalesce(jsonb_object_agg(currency, amount), '{}')
    FROM (SELECT f.key AS currency, sum(f.value::numeric) AS amount
          FROM jsonb_array_elements(fees) AS a, jsonb_each_text(a) AS f GROUP BY f.key) AS s;
    END;
COMMENT ON FUNCTION blotter_internal.add_fees(jsonb) IS 'Adds up an array of {currency: amount}.';

CREATE VIEW blotter.positions AS
SELECT p.exchange, p.account, p.symbol, p.position_side,
       sum(p.bought_quantity) - sum(p.sold_quantity) AS quantity,
       sum(p.bought_quantity) AS bought_quantity, sum(p.bought_cost) AS bought_cost,
       sum(p.bought_cost) / nullif(sum(p.bought_quantity), 0) AS bought_average_price,
       sum(p.sold_quantity) AS sold_quantity, sum(p.sold_cost) AS sold_cost,
       sum(p.sold_cost) / nullif(sum(p.sold_quantity), 0) AS sold_average_price,
       sum(p.sideless_quantity) AS sideless_quantity, sum(p.unpriced_quantity) AS unpriced_quantity,
       sum(p.realized_pnl) AS realized_pnl, blotter_internal.add_fees(jsonb_agg(p.fees)) AS fees, sum(p.fills)::bigint AS fills
FROM (
    SELECT b.exchange, b.account, b.symbol, b.position_side, b.fills, b.bought_quantity, b.bought_cost, b.sold_quantity, b.sold_cost,
           b.sideless_quantity, b.unpriced_quantity, b.realized_pnl, b.fees
    FROM blotter_internal.position_base b
    UNION ALL
    SELECT f.exchange, f.account, f.symbol, f.position_side, count(*),
           coalesce(sum(f.quantity) FILTER (WHERE f.side = 'buy'), 0), coalesce(sum(f.cost) FILTER (WHERE f.side = 'buy'), 0),
           coalesce(sum(f.quantity) FILTER (WHERE f.side = 'sell'), 0), coalesce(sum(f.cost) FILTER (WHERE f.side = 'sell'), 0),
           coalesce(sum(f.quantity) FILTER (WHERE f.side IS NULL), 0), coalesce(sum(f.quantity) FILTER (WHERE f.cost IS NULL), 0),
           sum(f.realized_pnl),
           CASE WHEN sum(f.fee) IS NULL THEN '{}' ELSE jsonb_build_object(coalesce(f.fee_currency, ''), sum(f.fee)) END
    FROM blotter.fills f
    GROUP BY f.exchange, f.account, f.symbol, f.position_side, coalesce(f.fee_currency, '')
) AS p
GROUP BY p.exchange, p.account, p.symbol, p.position_side;
COMMENT ON VIEW blotter.positions IS 'Fills summed, on top of position_base. A spot position moves by its fees too where they are paid in the base currency: see fees.';
COMMENT ON COLUMN blotter.positions.exchange IS 'the exchange';
COMMENT ON COLUMN blotter.positions.account IS 'whose account; empty: not given';
COMMENT ON COLUMN blotter.positions.symbol IS 'as the strategy names it; empty: not given';
COMMENT ON COLUMN blotter.positions.position_side IS 'long, short, or empty: both, net or not given';
COMMENT ON COLUMN blotter.positions.quantity IS 'bought less sold; base currency or contracts';
COMMENT ON COLUMN blotter.positions.bought_quantity IS 'sum of what was bought';
COMMENT ON COLUMN blotter.positions.bought_cost IS 'what it cost; quote currency';
COMMENT ON COLUMN blotter.positions.bought_average_price IS 'bought_cost / bought_quantity';
COMMENT ON COLUMN blotter.positions.sold_quantity IS 'sum of what was sold';
COMMENT ON COLUMN blotter.positions.sold_cost IS 'what it brought; quote currency';
COMMENT ON COLUMN blotter.positions.sold_average_price IS 'sold_cost / sold_quantity';
COMMENT ON COLUMN blotter.positions.sideless_quantity IS 'quantity of fills that do not say whether bought or sold: not 0 means that quantity is not to be trusted';
COMMENT ON COLUMN blotter.positions.unpriced_quantity IS 'quantity of fills without a price: not 0 means that costs are not to be trusted';
COMMENT ON COLUMN blotter.positions.realized_pnl IS 'sum of realized_pnl as the venue gave it; null: never given';
COMMENT ON COLUMN blotter.positions.fees IS 'fees paid (rebates negative) by currency; empty key: currency not given';
COMMENT ON COLUMN blotter.positions.fills IS 'number of fills';

SELECT blotter_internal.inherit_comments('blotter.fills', 'blotter.trades'),
       blotter_internal.inherit_comments('blotter_internal.fill_copies', 'blotter.fills');

CREATE FUNCTION blotter_internal.aggregate_positions(high timestamptz) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    -- Positions. Which copy of a fill counts is decided as in blotter.fills; a trade that is the copy to count is looked for in the
    -- first two days kept as well. What is counted here is then hidden there, so that no later copy counts again.
    CREATE TEMPORARY TABLE aggregated ON COMMIT DROP AS
    SELECT f.* FROM (
        (SELECT DISTINCT ON (c.exchange, c.account, c.symbol, c.trade_id) c.*
         FROM blotter_internal.fill_copies c
         WHERE c.has_id AND c.recorded_at < high + interval '2 days'
           AND NOT EXISTS (SELECT FROM blotter_internal.folded_fills d
                           WHERE (d.trade_id, d.exchange, d.account, d.symbol) = (c.trade_id, c.exchange, c.account, c.symbol))
         ORDER BY c.exchange, c.account, c.symbol, c.trade_id, c.source DESC, c.recorded_at, c.seq, c.producer_id)
        UNION ALL
        SELECT c.* FROM blotter_internal.fill_copies c WHERE NOT c.has_id AND c.source = 'order' AND c.recorded_at < high
    ) AS f
    WHERE f.recorded_at < high;
    INSERT INTO blotter_internal.position_base AS b (exchange, account, symbol, position_side, fills, bought_quantity, bought_cost, sold_quantity, sold_cost,
                                            sideless_quantity, unpriced_quantity, realized_pnl, fees)
    SELECT p.exchange, p.account, p.symbol, p.position_side, sum(p.fills), sum(p.bought_quantity), sum(p.bought_cost), sum(p.sold_quantity),
           sum(p.sold_cost), sum(p.sideless_quantity), sum(p.unpriced_quantity), sum(p.realized_pnl), blotter_internal.add_fees(jsonb_agg(p.fees))
    FROM (
        SELECT f.exchange, f.account, f.symbol, CASE WHEN lower(f.position_side COLLATE "C") IN ('long', 'short') THEN lower(f.position_side COLLATE "C") ELSE '' END AS position_side,
               1 AS fills,
               CASE blotter_internal.side_of(f.side) WHEN 'buy' THEN f.quantity ELSE 0 END AS bought_quantity,
               CASE blotter_internal.side_of(f.side) WHEN 'buy' THEN coalesce(f.cost, 0) ELSE 0 END AS bought_cost,
               CASE blotter_internal.side_of(f.side) WHEN 'sell' THEN f.quantity ELSE 0 END AS sold_quantity,
               CASE blotter_internal.side_of(f.side) WHEN 'sell' THEN coalesce(f.cost, 0) ELSE 0 END AS sold_cost,
               CASE WHEN blotter_internal.side_of(f.side) IS NULL THEN f.quantity ELSE 0 END AS sideless_quantity,
               CASE WHEN f.cost IS NULL THEN f.quantity ELSE 0 END AS unpriced_quantity,
               f.realized_pnl, CASE WHEN f.fee IS NULL THEN '{}' ELSE jsonb_build_object(coalesce(f.fee_currency, ''), f.fee) END AS fees
        FROM pg_temp.aggregated f
    ) AS p
    GROUP BY p.exchange, p.account, p.symbol, p.position_side
    ON CONFLICT (exchange, account, symbol, position_side) DO UPDATE SET
        fills = b.fills + excluded.fills,
        bought_quantity = b.bought_quantity + excluded.bought_quantity, bought_cost = b.bought_cost + excluded.bought_cost,
        sold_quantity = b.sold_quantity + excluded.sold_quantity, sold_cost = b.sold_cost + excluded.sold_cost,
        sideless_quantity = b.sideless_quantity + excluded.sideless_quantity,
        unpriced_quantity = b.unpriced_quantity + excluded.unpriced_quantity,
        realized_pnl = CASE WHEN b.realized_pnl IS NULL THEN excluded.realized_pnl ELSE b.realized_pnl + coalesce(excluded.realized_pnl, 0) END,
        fees = blotter_internal.add_fees(jsonb_build_array(b.fees, excluded.fees));
    INSERT INTO blotter_internal.folded_fills (trade_id, exchange, account, symbol)
    SELECT f.trade_id, f.exchange, f.account, f.symbol FROM pg_temp.aggregated f WHERE f.has_id;
    DROP TABLE pg_temp.aggregated;
END
$$;
COMMENT ON FUNCTION blotter_internal.aggregate_positions(timestamptz) IS 'Adds the fills before a time to position_base. Part of aggregate_days.';
