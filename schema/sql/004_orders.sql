-- 004: orders, the latest state of every order.
--
-- The state is a function of the set of the order's events, whatever order they came in. Sorted by (recorded_at, seq, producer_id):
--   a field           is the last value that is not null;
--   status            is the first terminal one, if there is any: a REST answer `open` recorded after the websocket's `filled` is the
--                     commonest race of live trading;
--   filled_quantity   is the largest.
-- Folding is associative over spans of time: a batch is folded by the drainer, its result merged into the row if it is newer, and
-- otherwise the row is folded again from order_events.
--
-- An event that carries a client id and no order id, at time t, belongs to
--   (a) the order of the latest earlier event with both ids, if that is the only order of this client id still alive at t: no
--       terminal status before t, neither in its own events nor in those that belong to it by this client id;
--   (b) otherwise the order named by the first later event with both ids;
--   (c) otherwise a provisional row, which goes when (a) or (b) comes to hold.
-- Client ids are no identifiers: '' and '0' never bind, nor one that more than common_client_id() orders have carried.
--
-- Who waits for whom: a transaction with client-only events takes its exchange for itself, others share it (advisory locks, to the
-- end of the transaction); then rows are locked in the order of their keys; and only a later statement, whose snapshot sees what the
-- wait was for, reads events. The merge itself is 005.

CREATE TABLE blotter.venues (
    exchange text PRIMARY KEY,
    order_id_scope text NOT NULL CHECK (order_id_scope IN ('exchange', 'symbol'))
);
COMMENT ON TABLE blotter.venues IS 'Venues with an order numbering of their own; others: one numbering for all symbols. Yours to edit: restart the drainers, then SELECT blotter.rebuild_orders().';
COMMENT ON COLUMN blotter.venues.exchange IS 'as in the stream''s name';
COMMENT ON COLUMN blotter.venues.order_id_scope IS 'within what an order_id is unique: exchange, or symbol';
INSERT INTO blotter.venues (exchange, order_id_scope)
SELECT unnest(ARRAY['binance', 'binance-spot', 'binance-margin', 'binance-futures', 'binance-usdm', 'binance-coinm', 'binance-options', 'binance-us',
                    'binancespot', 'binanceusdm', 'binancecoinm', 'binanceus', 'binance_us', 'binance_usdm', 'binance_coinm',
                    'tokocrypto', 'aster', 'asterdex']), 'symbol';

CREATE TABLE blotter.terminal_statuses (
    status text PRIMARY KEY CHECK (status = lower(status))
);
COMMENT ON TABLE blotter.terminal_statuses IS 'Statuses that an order does not leave, in lower case. Yours to edit: restart the drainers, then SELECT blotter.rebuild_orders().';
COMMENT ON COLUMN blotter.terminal_statuses.status IS 'compared with lower(status)';
-- As real messages spell them; a status that says `cancel` without saying that it is done (pending_cancel, cancel_sent) is not one.
INSERT INTO blotter.terminal_statuses (status)
SELECT unnest(ARRAY[
    'filled', 'fully_filled', 'fullyfilled', 'fully filled', 'full_fill', 'fully matched', 'fullymatched', 'orderfilled', 'order_filled',
    'closed', 'done', 'executed', 'complete', 'completed', 'finished', 'settled', 'trade_settled',
    'canceled', 'cancelled', 'ordercanceled', 'ordercancelled', 'order_canceled', 'order_cancelled', 'user_canceled', 'user_cancelled',
    'partially_canceled', 'partially_cancelled', 'partiallycanceled', 'partiallycancelled', 'partially cancelled', 'partially canceled',
    'partial_canceled', 'partial_cancelled', 'partial-canceled', 'partiallyfilledcanceled', 'partially_filled_canceled',
    'partially_filled_cancelled', 'canceled_by_user', 'mmp_canceled', 'margincanceled', 'selftradecanceled', 'reduceonlycanceled',
    'siblingfilledcanceled', 'liquidatedcanceled', 'delistedcanceled', 'opencanceled', 'scheduledcancel', 'deleted', 'deactivated', 'killed',
    'rejected', 'orderrejected', 'order_rejected', 'ioccancelrejected', 'badalopxrejected', 'failed', 'order_failed', 'invalid',
    'expired', 'expired_in_match', 'orderexpired', 'order_expired', 'voided'])
ON CONFLICT DO NOTHING;

CREATE TABLE blotter.orders (
    exchange text NOT NULL,
    account text NOT NULL DEFAULT '',
    scope text NOT NULL DEFAULT '',
    order_key text NOT NULL,
    provisional boolean NOT NULL DEFAULT false,
    exchange_time timestamptz,
    strategy text,
    symbol text,
    market_type text,
    order_id text,
    client_order_id text,
    orig_client_order_id text,
    trade_id text,
    event text,
    side text,
    position_side text,
    type text,
    time_in_force text,
    status text,
    price numeric,
    trigger_price numeric,
    quantity numeric,
    filled_quantity numeric,
    remaining_quantity numeric,
    average_price numeric,
    last_price numeric,
    last_quantity numeric,
    cost numeric,
    fee numeric,
    fee_currency text,
    liquidity text,
    realized_pnl numeric,
    post_only boolean,
    reduce_only boolean,
    reason text,
    extra jsonb,
    terminal boolean NOT NULL DEFAULT false,
    first_recorded_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    seq bigint NOT NULL,
    producer_id bigint NOT NULL,
    PRIMARY KEY (order_key, exchange, account, scope, provisional)
) WITH (fillfactor = 50);
COMMENT ON TABLE blotter.orders IS 'The latest state of every order: what its events say together.';
COMMENT ON COLUMN blotter.orders.exchange IS 'the stream''s exchange';
COMMENT ON COLUMN blotter.orders.account IS 'whose account; empty: not given';
COMMENT ON COLUMN blotter.orders.scope IS 'the symbol, on venues that number orders per symbol (blotter.venues); otherwise empty';
COMMENT ON COLUMN blotter.orders.order_key IS 'the order_id; while provisional, the client_order_id';
COMMENT ON COLUMN blotter.orders.provisional IS 'known by its client id alone so far';
COMMENT ON COLUMN blotter.orders.exchange_time IS 'the venue''s own time (60, timestamp)';
COMMENT ON COLUMN blotter.orders.strategy IS 'which strategy';
COMMENT ON COLUMN blotter.orders.symbol IS 'as the strategy names it (55, symbol)';
COMMENT ON COLUMN blotter.orders.market_type IS 'spot, margin, swap, future, option';
COMMENT ON COLUMN blotter.orders.order_id IS 'the venue''s id of the order (37, id)';
COMMENT ON COLUMN blotter.orders.client_order_id IS 'our id of the order (11, clientOrderId)';
COMMENT ON COLUMN blotter.orders.orig_client_order_id IS 'our id of the order that this one replaces (41)';
COMMENT ON COLUMN blotter.orders.trade_id IS 'the execution, where the event is a fill (1003)';
COMMENT ON COLUMN blotter.orders.event IS 'what happened: new, fill, cancel, replace, reject, expire, trigger (150)';
COMMENT ON COLUMN blotter.orders.side IS 'buy, sell (54, side)';
COMMENT ON COLUMN blotter.orders.position_side IS 'long, short, both';
COMMENT ON COLUMN blotter.orders.type IS 'limit, market, stop ... (40, type)';
COMMENT ON COLUMN blotter.orders.time_in_force IS 'GTC, IOC, FOK ... (59, timeInForce)';
COMMENT ON COLUMN blotter.orders.status IS 'pending_new, open, partially_filled, filled, canceled ... (39, status)';
COMMENT ON COLUMN blotter.orders.price IS 'limit price (44, price)';
COMMENT ON COLUMN blotter.orders.trigger_price IS 'stop or trigger price (99, triggerPrice)';
COMMENT ON COLUMN blotter.orders.quantity IS 'ordered quantity (38, amount)';
COMMENT ON COLUMN blotter.orders.filled_quantity IS 'cumulative filled quantity (14, filled)';
COMMENT ON COLUMN blotter.orders.remaining_quantity IS 'quantity still open (151, remaining)';
COMMENT ON COLUMN blotter.orders.average_price IS 'average price of what is filled (6, average)';
COMMENT ON COLUMN blotter.orders.last_price IS 'price of this fill (31)';
COMMENT ON COLUMN blotter.orders.last_quantity IS 'quantity of this fill (32)';
COMMENT ON COLUMN blotter.orders.cost IS 'cumulative quote amount (cost)';
COMMENT ON COLUMN blotter.orders.fee IS '+ paid, - rebate (137, fee)';
COMMENT ON COLUMN blotter.orders.fee_currency IS 'currency of the fee (138)';
COMMENT ON COLUMN blotter.orders.liquidity IS 'maker, taker (851, takerOrMaker)';
COMMENT ON COLUMN blotter.orders.realized_pnl IS 'realised profit and loss, derivatives';
COMMENT ON COLUMN blotter.orders.post_only IS 'the order may only add liquidity';
COMMENT ON COLUMN blotter.orders.reduce_only IS 'the order may only reduce a position';
COMMENT ON COLUMN blotter.orders.reason IS 'why rejected or cancelled (58)';
COMMENT ON COLUMN blotter.orders.extra IS 'everything else, a JSON object';
COMMENT ON COLUMN blotter.orders.terminal IS 'a status in blotter.terminal_statuses was reached; it stays';
COMMENT ON COLUMN blotter.orders.first_recorded_at IS 'recorded_at of its oldest event';
COMMENT ON COLUMN blotter.orders.recorded_at IS 'recorded_at of its newest event';
COMMENT ON COLUMN blotter.orders.seq IS 'seq of its newest event';
COMMENT ON COLUMN blotter.orders.producer_id IS 'producer_id of its newest event';

-- Two indexes, and no column of them changes before the end of an order, so that updates stay within their page (HOT) where that has room:
-- an order has several events, and its neighbours in the page have theirs at about the same time, hence the fillfactor.
CREATE INDEX orders_client_order_id ON blotter.orders (client_order_id);
COMMENT ON INDEX blotter.orders_client_order_id IS 'the orders of a client id';
CREATE INDEX orders_open ON blotter.orders (exchange, symbol) WHERE NOT terminal;
COMMENT ON INDEX blotter.orders_open IS 'open orders';

-- The next two are small: most client ids never come without their order id.
CREATE TABLE blotter.client_only_ids (
    client_order_id text NOT NULL,
    exchange text NOT NULL,
    account text NOT NULL,
    scope text NOT NULL,
    settled_order text,
    common boolean NOT NULL DEFAULT false,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (client_order_id, exchange, account, scope)
) WITH (fillfactor = 80);
COMMENT ON TABLE blotter.client_only_ids IS 'Client ids that came without an order id at some time: an event that binds them may change which order those events belong to.';
COMMENT ON COLUMN blotter.client_only_ids.client_order_id IS 'the client id';
COMMENT ON COLUMN blotter.client_only_ids.exchange IS 'as in orders';
COMMENT ON COLUMN blotter.client_only_ids.account IS 'as in orders';
COMMENT ON COLUMN blotter.client_only_ids.scope IS 'as in orders';
COMMENT ON COLUMN blotter.client_only_ids.settled_order IS 'the only order that ever carried it, if all its client-only events belong to that; nothing newer of that order can change this';
COMMENT ON COLUMN blotter.client_only_ids.common IS 'carried by so many orders that it identifies none';
COMMENT ON COLUMN blotter.client_only_ids.first_at IS 'recorded_at of its oldest client-only event';
COMMENT ON COLUMN blotter.client_only_ids.last_at IS 'recorded_at of its newest client-only event';

CREATE TABLE blotter.order_client_ids (
    client_order_id text NOT NULL,
    exchange text NOT NULL,
    account text NOT NULL,
    scope text NOT NULL,
    order_key text NOT NULL,
    PRIMARY KEY (client_order_id, exchange, account, scope, order_key)
);
CREATE INDEX order_client_ids_order ON blotter.order_client_ids (order_key, exchange);
COMMENT ON INDEX blotter.order_client_ids_order IS 'the client ids of an order';
COMMENT ON TABLE blotter.order_client_ids IS 'Client ids of orders, where orders.client_order_id does not say it all: of orders that had several, and of client-only ids that are not settled.';
COMMENT ON COLUMN blotter.order_client_ids.client_order_id IS 'the client id';
COMMENT ON COLUMN blotter.order_client_ids.exchange IS 'as in orders';
COMMENT ON COLUMN blotter.order_client_ids.account IS 'as in orders';
COMMENT ON COLUMN blotter.order_client_ids.scope IS 'as in orders';
COMMENT ON COLUMN blotter.order_client_ids.order_key IS 'an order that carried it';

CREATE TABLE blotter.order_errors (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    exchange text,
    account text,
    scope text,
    order_key text,
    sqlstate text NOT NULL,
    error text NOT NULL
);
COMMENT ON TABLE blotter.order_errors IS 'Orders whose state could not be kept. Their events are stored; SELECT blotter.rebuild_orders() once the cause is gone.';
COMMENT ON COLUMN blotter.order_errors.id IS 'number of the error';
COMMENT ON COLUMN blotter.order_errors.at IS 'when the transaction that met it began';
COMMENT ON COLUMN blotter.order_errors.exchange IS 'as in orders';
COMMENT ON COLUMN blotter.order_errors.account IS 'as in orders';
COMMENT ON COLUMN blotter.order_errors.scope IS 'as in orders';
COMMENT ON COLUMN blotter.order_errors.order_key IS 'as in orders';
COMMENT ON COLUMN blotter.order_errors.sqlstate IS 'PostgreSQL''s error code';
COMMENT ON COLUMN blotter.order_errors.error IS 'its message';

-- Not partitioned: there are few.
CREATE TABLE blotter.kept_order_events (LIKE blotter.order_events INCLUDING ALL EXCLUDING INDEXES, PRIMARY KEY (recorded_at, producer_id, seq));
CREATE INDEX kept_order_events_order_id ON blotter.kept_order_events (order_id);
COMMENT ON INDEX blotter.kept_order_events_order_id IS 'the history of an order';
CREATE INDEX kept_order_events_client_only ON blotter.kept_order_events (client_order_id) WHERE coalesce(order_id, '') = '';
COMMENT ON INDEX blotter.kept_order_events_client_only IS 'the events that came by client id alone';
COMMENT ON TABLE blotter.kept_order_events IS 'Events of dropped days whose orders were not over by then: what orders is folded from, together with order_events. Not part of the record: fills and audit do not read it.';

CREATE FUNCTION blotter.common_client_id() RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS 'SELECT 20';
COMMENT ON FUNCTION blotter.common_client_id() IS 'A client id that more orders than this have carried (`web`) identifies none.';

CREATE FUNCTION blotter.is_terminal(status text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    AS 'SELECT EXISTS (SELECT FROM blotter.terminal_statuses t WHERE t.status = lower(is_terminal.status))';
COMMENT ON FUNCTION blotter.is_terminal(text) IS 'Does an order with this status stay in it? Null: no.';

CREATE FUNCTION blotter.earlier(a anyelement, b anyelement) RETURNS anyelement
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    AS 'BEGIN RETURN a; END';
COMMENT ON FUNCTION blotter.earlier(anyelement, anyelement) IS 'The step of the aggregate first_value_of.';
CREATE FUNCTION blotter.later(a anyelement, b anyelement) RETURNS anyelement
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    AS 'BEGIN RETURN b; END';
COMMENT ON FUNCTION blotter.later(anyelement, anyelement) IS 'The step of the aggregate last_value_of.';
CREATE AGGREGATE blotter.first_value_of(anyelement) (sfunc = blotter.earlier, stype = anyelement);
COMMENT ON AGGREGATE blotter.first_value_of(anyelement) IS 'The first value that is not null, of rows that come sorted.';
CREATE AGGREGATE blotter.last_value_of(anyelement) (sfunc = blotter.later, stype = anyelement);
COMMENT ON AGGREGATE blotter.last_value_of(anyelement) IS 'The last value that is not null, of rows that come sorted.';

-- A user may add columns to order_events and to orders; kept_order_events has the record's own.
CREATE FUNCTION blotter.event_fields() RETURNS text[]
    LANGUAGE sql STABLE
    AS $$SELECT blotter.columns_of('blotter.kept_order_events')$$;
COMMENT ON FUNCTION blotter.event_fields() IS 'The columns of an order event that are its record''s.';

CREATE FUNCTION blotter.order_fields() RETURNS text[]
    LANGUAGE sql STABLE
    AS $$
    SELECT array_agg(name)
    FROM unnest(blotter.event_fields()) AS name
    WHERE name <> ALL (ARRAY['exchange', 'account', 'order_id', 'status', 'filled_quantity', 'recorded_at', 'seq', 'producer_id'])
$$;
COMMENT ON FUNCTION blotter.order_fields() IS 'The columns of orders that are simply the last value given.';

CREATE FUNCTION blotter.is_final(o blotter.orders) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
    SELECT o.first_recorded_at < (SELECT r.first_day::timestamp AT TIME ZONE 'UTC' FROM blotter.retention r)
       AND NOT EXISTS (SELECT FROM blotter.kept_order_events k
                       WHERE k.order_id = o.order_key AND k.exchange = o.exchange AND coalesce(k.account, '') = o.account)
       AND NOT EXISTS (SELECT FROM blotter.kept_order_events k
                       WHERE k.client_order_id = o.client_order_id AND coalesce(k.order_id, '') = '' AND k.exchange = o.exchange
                         AND coalesce(k.account, '') = o.account)
$$;
COMMENT ON FUNCTION blotter.is_final(blotter.orders) IS 'Was the order over when its first day was dropped, so that its row cannot be made again from events?';
