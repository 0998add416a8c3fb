-- 006: what people ask: fills, positions, open orders, candles, latency.

CREATE TABLE blotter.position_base (
    exchange text NOT NULL,
    account text NOT NULL,
    symbol text NOT NULL,
    position_side text NOT NULL,
    fills bigint NOT NULL DEFAULT 0,
    bought_quantity numeric NOT NULL DEFAULT 0,
    bought_cost numeric NOT NULL DEFAULT 0,
    sold_quantity numeric NOT NULL DEFAULT 0,
    sold_cost numeric NOT NULL DEFAULT 0,
    sideless_quantity numeric NOT NULL DEFAULT 0,
    unpriced_quantity numeric NOT NULL DEFAULT 0,
    realized_pnl numeric,
    fees jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (exchange, account, symbol, position_side)
);
COMMENT ON TABLE blotter.position_base IS 'What the fills of dropped days add to positions. Also the place for what was held before Blotter: insert it here.';
COMMENT ON COLUMN blotter.position_base.exchange IS 'as in positions';
COMMENT ON COLUMN blotter.position_base.account IS 'as in positions';
COMMENT ON COLUMN blotter.position_base.symbol IS 'as in positions';
COMMENT ON COLUMN blotter.position_base.position_side IS 'as in positions';
COMMENT ON COLUMN blotter.position_base.fills IS 'number of fills';
COMMENT ON COLUMN blotter.position_base.bought_quantity IS 'sum of quantity, bought';
COMMENT ON COLUMN blotter.position_base.bought_cost IS 'sum of cost, bought; quote currency';
COMMENT ON COLUMN blotter.position_base.sold_quantity IS 'sum of quantity, sold';
COMMENT ON COLUMN blotter.position_base.sold_cost IS 'sum of cost, sold; quote currency';
COMMENT ON COLUMN blotter.position_base.sideless_quantity IS 'sum of quantity of fills that do not say whether bought or sold';
COMMENT ON COLUMN blotter.position_base.unpriced_quantity IS 'sum of quantity of fills without a price, whose cost is missing above';
COMMENT ON COLUMN blotter.position_base.realized_pnl IS 'sum of realized_pnl';
COMMENT ON COLUMN blotter.position_base.fees IS 'fees paid, by currency; empty key: currency not given';

CREATE TABLE blotter.folded_fills (
    trade_id text NOT NULL,
    exchange text NOT NULL,
    account text NOT NULL,
    symbol text NOT NULL,
    PRIMARY KEY (trade_id, exchange, account, symbol)
);
COMMENT ON TABLE blotter.folded_fills IS 'Fills counted in position_base: another copy of one, in a day that is kept or still to come, does not count again.';
COMMENT ON COLUMN blotter.folded_fills.trade_id IS 'the execution';
COMMENT ON COLUMN blotter.folded_fills.exchange IS 'as in fills';
COMMENT ON COLUMN blotter.folded_fills.account IS 'as in fills';
COMMENT ON COLUMN blotter.folded_fills.symbol IS 'as in fills';

CREATE FUNCTION blotter.side_of(side text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$SELECT CASE WHEN lower(side) IN ('buy', 'b', 'bid', 'buyer') THEN 'buy' WHEN lower(side) IN ('sell', 's', 'a', 'ask', 'offer', 'seller') THEN 'sell' END$$;
COMMENT ON FUNCTION blotter.side_of(text) IS 'buy or sell, from the spellings that venues use; null: neither.';

-- The same execution arrives as an order event, as an own trade, from two processes, and again on reconnect. All copies are stored;
-- here they are, side by side; but for those of days that are folded and not dropped yet.
CREATE VIEW blotter.fill_copies AS
SELECT 'trade' AS source, t.exchange, coalesce(t.account, '') AS account, t.symbol, t.trade_id,
       t.trade_id NOT IN ('', '0', '-1') IS TRUE AS has_id,
       t.position_side, t.strategy, t.order_id, t.client_order_id, t.side, t.price, t.quantity, coalesce(t.cost, t.price * t.quantity) AS cost,
       t.fee, t.fee_currency, t.liquidity, t.realized_pnl, t.exchange_time, t.recorded_at, t.producer_id, t.seq
FROM blotter.trades t
WHERE coalesce(nullif(t.order_id, ''), nullif(t.client_order_id, ''), nullif(t.account, ''), nullif(t.strategy, '')) IS NOT NULL
  AND t.recorded_at >= (SELECT r.first_day::timestamp AT TIME ZONE 'UTC' FROM blotter.retention r)
UNION ALL
-- cost of an order event is cumulative, so it is none of a fill's
SELECT 'order', e.exchange, coalesce(e.account, ''), coalesce(e.symbol, ''), e.trade_id,
       e.trade_id NOT IN ('', '0', '-1') IS TRUE,
       e.position_side, e.strategy, e.order_id, e.client_order_id, e.side, e.last_price, e.last_quantity, e.last_price * e.last_quantity,
       e.fee, e.fee_currency, e.liquidity, e.realized_pnl, e.exchange_time, e.recorded_at, e.producer_id, e.seq
FROM blotter.order_events e
WHERE e.last_quantity <> 0
  AND e.recorded_at >= (SELECT r.first_day::timestamp AT TIME ZONE 'UTC' FROM blotter.retention r);
COMMENT ON VIEW blotter.fill_copies IS 'Every record of an own execution, copies included: own trades (they name an order, an account or a strategy), and order events with last_quantity.';
COMMENT ON COLUMN blotter.fill_copies.source IS 'trade or order: which table';
COMMENT ON COLUMN blotter.fill_copies.has_id IS 'trade_id is one: not null, empty, 0 or -1';

CREATE VIEW blotter.fills AS
SELECT f.source, f.exchange, f.account, f.symbol, f.trade_id,
       CASE WHEN lower(f.position_side) IN ('long', 'short') THEN lower(f.position_side) ELSE '' END AS position_side,
       f.strategy, f.order_id, f.client_order_id, blotter.side_of(f.side) AS side, f.price, f.quantity, f.cost, f.fee, f.fee_currency,
       f.liquidity, f.realized_pnl, f.exchange_time, f.recorded_at, f.producer_id, f.seq
FROM (
    (SELECT DISTINCT ON (c.exchange, c.account, c.symbol, c.trade_id) c.*
     FROM blotter.fill_copies c
     WHERE c.has_id
       AND NOT EXISTS (SELECT FROM blotter.folded_fills d
                       WHERE (d.trade_id, d.exchange, d.account, d.symbol) = (c.trade_id, c.exchange, c.account, c.symbol))
     ORDER BY c.exchange, c.account, c.symbol, c.trade_id, c.source DESC, c.recorded_at, c.seq, c.producer_id)
    UNION ALL
    SELECT c.* FROM blotter.fill_copies c WHERE NOT c.has_id AND c.source = 'order'
) AS f;
COMMENT ON VIEW blotter.fills IS 'Own executions, once each: one per (exchange, account, symbol, trade_id), the trade before the order event, then the earliest. Without a trade id copies cannot be told from executions: then every order event with last_quantity counts, and no trade does. Fills counted in position_base are not here.';
COMMENT ON COLUMN blotter.fills.source IS 'where it was taken from: trade (trades) or order (order_events)';
COMMENT ON COLUMN blotter.fills.account IS 'whose account; empty: not given';
COMMENT ON COLUMN blotter.fills.symbol IS 'as the strategy names it; empty: not given';
COMMENT ON COLUMN blotter.fills.position_side IS 'long, short, or empty: both, net or not given';
COMMENT ON COLUMN blotter.fills.side IS 'buy or sell; null: not given';
COMMENT ON COLUMN blotter.fills.quantity IS 'of this fill; base currency or contracts';
COMMENT ON COLUMN blotter.fills.cost IS 'of this fill; quote currency: as given with the trade, or price times quantity';

CREATE FUNCTION blotter.add_fees(fees jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT coalesce(jsonb_object_agg(currency, amount), '{}')
    FROM (SELECT f.key AS currency, sum(f.value::numeric) AS amount
          FROM jsonb_array_elements(fees) AS a, jsonb_each_text(a) AS f GROUP BY f.key) AS s
$$;
COMMENT ON FUNCTION blotter.add_fees(jsonb) IS 'Adds up an array of {currency: amount}.';

CREATE VIEW blotter.positions AS
SELECT p.exchange, p.account, p.symbol, p.position_side,
       sum(p.bought_quantity) - sum(p.sold_quantity) AS quantity,
       sum(p.bought_quantity) AS bought_quantity, sum(p.bought_cost) AS bought_cost,
       sum(p.bought_cost) / nullif(sum(p.bought_quantity), 0) AS bought_average_price,
       sum(p.sold_quantity) AS sold_quantity, sum(p.sold_cost) AS sold_cost,
       sum(p.sold_cost) / nullif(sum(p.sold_quantity), 0) AS sold_average_price,
       sum(p.sideless_quantity) AS sideless_quantity, sum(p.unpriced_quantity) AS unpriced_quantity,
       sum(p.realized_pnl) AS realized_pnl, blotter.add_fees(jsonb_agg(p.fees)) AS fees, sum(p.fills)::bigint AS fills
FROM (
    SELECT b.exchange, b.account, b.symbol, b.position_side, b.fills, b.bought_quantity, b.bought_cost, b.sold_quantity, b.sold_cost,
           b.sideless_quantity, b.unpriced_quantity, b.realized_pnl, b.fees
    FROM blotter.position_base b
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

CREATE VIEW blotter.open_orders AS
SELECT o.* FROM blotter.orders o WHERE NOT o.terminal;
COMMENT ON VIEW blotter.open_orders IS 'Orders that are not over: no status of theirs is in terminal_statuses. An order without a status counts as open.';

CREATE VIEW blotter.latency AS
SELECT r.kind, r.exchange, date_trunc('hour', r.recorded_at, 'UTC') AS hour, count(*) AS records,
       percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY extract(epoch FROM r.recorded_at - r.exchange_time)::float8 * 1000) AS exchange_to_recorded_ms,
       percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY extract(epoch FROM r.stored_at - r.recorded_at)::float8 * 1000) AS recorded_to_stored_ms
FROM (
    SELECT 'order' AS kind, exchange, exchange_time, recorded_at, stored_at FROM blotter.order_events
    UNION ALL
    SELECT 'trade', exchange, exchange_time, recorded_at, stored_at FROM blotter.trades
) AS r
GROUP BY r.kind, r.exchange, date_trunc('hour', r.recorded_at, 'UTC');
COMMENT ON VIEW blotter.latency IS 'How long records take from the venue to the strategy, and from there into PostgreSQL, by exchange and UTC hour.';
COMMENT ON COLUMN blotter.latency.kind IS 'order or trade';
COMMENT ON COLUMN blotter.latency.exchange IS 'the exchange';
COMMENT ON COLUMN blotter.latency.hour IS 'hour of recorded_at';
COMMENT ON COLUMN blotter.latency.records IS 'number of records';
COMMENT ON COLUMN blotter.latency.exchange_to_recorded_ms IS 'median, 99th percentile and largest, from exchange_time to recorded_at, milliseconds; two clocks: may be negative; of replayed history: its age';
COMMENT ON COLUMN blotter.latency.recorded_to_stored_ms IS 'median, 99th percentile and largest, from recorded_at to the beginning of the transaction that stored it, milliseconds';

-- By the venue's time, where it is given: history that was replayed lands where it belongs.
CREATE FUNCTION blotter.candles("symbol" text, "interval" interval, "from" timestamptz, "to" timestamptz, "exchange" text DEFAULT NULL)
    RETURNS TABLE (start timestamptz, open numeric, high numeric, low numeric, close numeric, volume numeric, count bigint)
    LANGUAGE sql STABLE
    AS $$
    SELECT t.start, (array_agg(t.price ORDER BY t.at, t.recorded_at, t.seq, t.producer_id))[1], max(t.price), min(t.price),
           (array_agg(t.price ORDER BY t.at DESC, t.recorded_at DESC, t.seq DESC, t.producer_id DESC))[1], sum(t.quantity), count(*)
    FROM (
        -- weeks begin on Monday
        SELECT date_bin(candles."interval", o.at, '1970-01-05 00:00:00+00') AS start, o.*
        FROM (
            SELECT DISTINCT ON (e.exchange, CASE WHEN e.trade_id NOT IN ('', '0', '-1') THEN e.trade_id END,
                                CASE WHEN e.trade_id NOT IN ('', '0', '-1') THEN NULL ELSE row(e.recorded_at, e.producer_id, e.seq) END)
                   coalesce(e.exchange_time, e.recorded_at) AS at, e.recorded_at, e.seq, e.producer_id, e.price, e.quantity
            FROM blotter.trades e
            WHERE e.symbol = candles."symbol"
              AND (candles."exchange" IS NULL OR e.exchange = candles."exchange")
              AND (e.exchange_time >= candles."from" AND e.exchange_time < candles."to"
                   OR e.exchange_time IS NULL AND e.recorded_at >= candles."from" AND e.recorded_at < candles."to")
            ORDER BY e.exchange, CASE WHEN e.trade_id NOT IN ('', '0', '-1') THEN e.trade_id END,
                     CASE WHEN e.trade_id NOT IN ('', '0', '-1') THEN NULL ELSE row(e.recorded_at, e.producer_id, e.seq) END,
                     e.recorded_at, e.seq, e.producer_id
        ) AS o
    ) AS t
    GROUP BY t.start
    ORDER BY t.start
$$;
COMMENT ON FUNCTION blotter.candles(text, interval, timestamptz, timestamptz, text) IS
    'Candles of a symbol from the trades recorded, public and own, by exchange_time (where absent, recorded_at), from <= time < to; exchange null: all together. A trade id counts once per exchange. Candles begin at multiples of the interval since a Monday, UTC; spans without trades have none. Volume is the sum of quantity.';

-- A view's column is commented as the one it shows, where it does not say more.
CREATE FUNCTION blotter.inherit_comments(heir regclass, source regclass) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT h.attname, col_description(source, s.attnum) AS comment
        FROM pg_attribute h JOIN pg_attribute s ON s.attrelid = source AND s.attname = h.attname AND s.attnum > 0
        WHERE h.attrelid = heir AND h.attnum > 0 AND col_description(heir, h.attnum) IS NULL AND col_description(source, s.attnum) IS NOT NULL
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', heir, one.attname, one.comment);
    END LOOP;
END
$$;
COMMENT ON FUNCTION blotter.inherit_comments(regclass, regclass) IS 'Comments the columns of a table or view that have no comment as those of the same name elsewhere.';
SELECT blotter.inherit_comments('blotter.fills', 'blotter.trades'),
       blotter.inherit_comments('blotter.fill_copies', 'blotter.fills'),
       blotter.inherit_comments('blotter.open_orders', 'blotter.orders');
