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
-- wait was for, reads and writes them.

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
) WITH (fillfactor = 80);
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

-- Two indexes, and no column of them changes in the life of an order, so that updates stay within their page (HOT).
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

CREATE FUNCTION blotter.order_fields() RETURNS text[]
    LANGUAGE sql STABLE
    AS $$
    SELECT blotter.columns_of('blotter.orders', ARRAY['exchange', 'account', 'scope', 'order_key', 'provisional', 'order_id', 'status', 'filled_quantity',
                                                      'terminal', 'first_recorded_at', 'recorded_at', 'seq', 'producer_id'])
$$;
COMMENT ON FUNCTION blotter.order_fields() IS 'The columns of orders that are simply the last value given.';

-- Called by begin_session.
CREATE FUNCTION blotter.begin_merge() RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF to_regclass('pg_temp.staged_keys') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TEMPORARY VIEW staged_keys AS
    SELECT s.ctid AS tid, s.*, coalesce(s.account, '') AS key_account,
           CASE WHEN v.order_id_scope = 'symbol' THEN coalesce(s.symbol, '') ELSE '' END AS scope,
           coalesce(nullif(s.order_id, ''), s.client_order_id) AS order_key,
           coalesce(s.order_id, '') = '' AS provisional,
           t.status IS NOT NULL AS terminal
    FROM pg_temp.staged_orders s
    LEFT JOIN blotter.venues v ON v.exchange = s.exchange
    LEFT JOIN blotter.terminal_statuses t ON t.status = lower(s.status)
    WHERE coalesce(s.order_id, '') <> '' OR s.client_order_id NOT IN ('', '0');

    -- What a merge has still to do after the new orders went in.
    CREATE TEMPORARY TABLE merge_rest (tid tid, exchange text, account text, scope text, order_key text, provisional boolean,
                                       rebuild boolean, from_at timestamptz, to_at timestamptz) ON COMMIT DELETE ROWS;
    -- What is folded again: orders, client ids, and the events of both. Not ON COMMIT: see begin_staging; who fills them empties them.
    CREATE TEMPORARY TABLE rebuild_orders (exchange text, account text, scope text, order_key text, from_at timestamptz, to_at timestamptz,
                                           read boolean DEFAULT false);
    CREATE TEMPORARY TABLE rebuild_ids (client_order_id text, exchange text, account text, scope text, from_at timestamptz, to_at timestamptz,
                                        common boolean, alone boolean, settled_order text, read boolean DEFAULT false);
    EXECUTE format('CREATE TEMPORARY TABLE rebuild_events AS
                    SELECT %s, account AS key_account, order_id AS scope, order_id AS order_key, true AS client_only, true AS terminal
                    FROM blotter.order_events WITH NO DATA',
                   blotter.column_list(blotter.columns_of('blotter.order_events', ARRAY['stored_at'])));
END
$$;
COMMENT ON FUNCTION blotter.begin_merge() IS 'Makes the temporary tables of merge_orders.';

CREATE FUNCTION blotter.merge_orders() RETURNS int
    LANGUAGE plpgsql
    AS $$
DECLARE
    one record;
    merged int := 0;
    context text;
BEGIN
    BEGIN
        RETURN blotter.merge_staged();
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
        IF blotter.passes(SQLSTATE, context) THEN
            RAISE;
        END IF;
    END;
    -- Something in it does not go. The rest does, one by one.
    FOR one IN SELECT * FROM pg_temp.staged_keys ORDER BY order_key, exchange, key_account, scope, provisional LOOP
        BEGIN
            merged := merged + blotter.merge_staged(one.tid);
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
            IF blotter.passes(SQLSTATE, context) THEN
                RAISE;
            END IF;
            INSERT INTO blotter.order_errors (exchange, account, scope, order_key, sqlstate, error)
            VALUES (one.exchange, one.key_account, one.scope, one.order_key, SQLSTATE, SQLERRM);
        END;
    END LOOP;
    RETURN merged;
END
$$;
COMMENT ON FUNCTION blotter.merge_orders() IS
    'Brings orders up to date with staged_orders; at the end of a loading transaction. Fails only for what passes (a deadlock, a timeout, no room); what else goes wrong is in order_errors. Returns the number of orders.';

CREATE FUNCTION blotter.passes(sqlstate text, context text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $$SELECT (left(sqlstate, 2) IN ('53', '57') OR sqlstate IN ('25006', '40001', '40P01', '55P03')) AND context !~ '^[^\n]* RAISE(\n|$)'$$;
COMMENT ON FUNCTION blotter.passes(text, text) IS 'Is it an error of the moment, after which the same may succeed? Not what a trigger chose to raise: context begins with where.';

CREATE FUNCTION blotter.merge_staged(one tid DEFAULT NULL) RETURNS int
    LANGUAGE plpgsql
    AS $$
DECLARE
    exchanges record;
    -- Would this row's event change where client-only events belong? $1 stands for the row.
    unsettled text := $q$
        (EXISTS (SELECT FROM blotter.client_only_ids c
                 WHERE (c.client_order_id, c.exchange, c.account, c.scope) = (s.client_order_id, s.exchange, s.key_account, s.scope)
                   AND NOT c.common AND c.settled_order IS DISTINCT FROM s.order_key)
         OR EXISTS (SELECT FROM blotter.order_client_ids p
                    JOIN blotter.client_only_ids c USING (client_order_id, exchange, account, scope)
                    WHERE (p.order_key, p.exchange, p.account, p.scope) = (s.order_key, s.exchange, s.key_account, s.scope)
                      AND NOT c.common AND c.settled_order IS NULL))
    $q$;
    fields text[] := blotter.order_fields();
    merged int := 0;
BEGIN
    DELETE FROM pg_temp.merge_rest;
    DELETE FROM pg_temp.rebuild_orders;
    FOR exchanges IN
        SELECT s.exchange, bool_or(s.provisional) AS client_only, count(*) AS n
        FROM pg_temp.staged_keys s WHERE one IS NULL OR s.tid = one
        GROUP BY s.exchange ORDER BY s.exchange
    LOOP
        merged := merged + exchanges.n;
        IF exchanges.client_only THEN
            PERFORM pg_advisory_xact_lock(blotter.lock_class(), hashtext(exchanges.exchange || ' merge'));
        ELSE
            PERFORM pg_advisory_xact_lock_shared(blotter.lock_class(), hashtext(exchanges.exchange || ' merge'));
        END IF;
    END LOOP;
    IF NOT EXISTS (SELECT FROM blotter.client_only_ids) THEN
        unsettled := 'false';
    END IF;

    -- Orders never seen: their row is what was staged. What remains is for the statements after the locks.
    EXECUTE format($q$
        WITH s AS MATERIALIZED (
            SELECT s.*, count(*) OVER (PARTITION BY order_key, exchange, key_account, scope, provisional) > 1 AS twice
            FROM pg_temp.staged_keys s
            WHERE $1 IS NULL OR s.tid = $1
        ), made AS (
            INSERT INTO blotter.orders AS o (exchange, account, scope, order_key, provisional, order_id, status, filled_quantity, %1$s,
                                             terminal, first_recorded_at, recorded_at, seq, producer_id)
            SELECT exchange, key_account, scope, order_key, false, order_id, status, filled_quantity, %1$s,
                   terminal, first_recorded_at, recorded_at, seq, producer_id
            FROM s WHERE NOT provisional
            ORDER BY order_key, exchange, key_account, scope
            ON CONFLICT DO NOTHING
            RETURNING o.order_key, o.exchange, o.account, o.scope
        )
        INSERT INTO pg_temp.merge_rest (tid, exchange, account, scope, order_key, provisional, rebuild, from_at, to_at)
        SELECT r.tid, r.exchange, r.key_account, r.scope, r.order_key, r.provisional, r.rebuild, r.first_recorded_at, r.recorded_at
        FROM (SELECT s.*, s.late OR s.twice OR s.provisional OR %2$s AS rebuild FROM s) r
        LEFT JOIN made ON (made.order_key, made.exchange, made.account, made.scope) = (r.order_key, r.exchange, r.key_account, r.scope)
        WHERE r.rebuild OR made.order_key IS NULL
    $q$, blotter.column_list(fields), unsettled) USING one;
    IF NOT EXISTS (SELECT FROM pg_temp.merge_rest) THEN
        RETURN merged;
    END IF;

    FOR exchanges IN SELECT DISTINCT r.exchange FROM pg_temp.merge_rest r WHERE r.rebuild ORDER BY r.exchange LOOP
        PERFORM pg_advisory_xact_lock(blotter.lock_class(), hashtext(exchanges.exchange || ' rebuild'));
    END LOOP;
    EXECUTE $q$
        SELECT count(*)
        FROM (SELECT * FROM pg_temp.merge_rest ORDER BY order_key, exchange, account, scope, provisional) AS r,
             -- LATERAL and FOR UPDATE within: one look into the index a row
             LATERAL (SELECT FROM blotter.orders o
                      WHERE (o.order_key, o.exchange, o.account, o.scope, o.provisional)
                          = (r.order_key, r.exchange, r.account, r.scope, r.provisional)
                      FOR UPDATE) AS locked
    $q$;

    EXECUTE format($q$
        WITH done AS (
            UPDATE blotter.orders o
            SET %1$s,
                status = CASE WHEN o.terminal THEN o.status ELSE coalesce(s.status, o.status) END,
                terminal = o.terminal OR s.terminal,
                filled_quantity = greatest(s.filled_quantity, o.filled_quantity),
                recorded_at = greatest(s.recorded_at, o.recorded_at),
                seq = CASE WHEN s.recorded_at < o.recorded_at THEN o.seq ELSE s.seq END,
                producer_id = CASE WHEN s.recorded_at < o.recorded_at THEN o.producer_id ELSE s.producer_id END
            FROM pg_temp.merge_rest r JOIN pg_temp.staged_keys s ON s.tid = r.tid
            WHERE (o.order_key, o.exchange, o.account, o.scope, o.provisional) = (r.order_key, r.exchange, r.account, r.scope, false)
              -- of an order whose events are gone the row is all there is: it goes forward with whatever comes
              AND ((s.first_recorded_at, s.first_seq, s.first_producer_id) > (o.recorded_at, o.seq, o.producer_id)
                   AND (s.client_order_id = o.client_order_id) IS NOT FALSE
                   AND NOT %2$s
                   AND NOT r.rebuild
                   OR blotter.is_final(o))
            RETURNING r.tid
        )
        INSERT INTO pg_temp.rebuild_orders (exchange, account, scope, order_key, from_at, to_at)
        SELECT r.exchange, r.account, r.scope, r.order_key, min(r.from_at), max(r.to_at)
        FROM pg_temp.merge_rest r
        WHERE NOT r.provisional AND r.tid NOT IN (SELECT tid FROM done)
        GROUP BY r.exchange, r.account, r.scope, r.order_key
    $q$, blotter.column_list(fields, '%1$I = coalesce(s.%1$I, o.%1$I)'), unsettled);

    INSERT INTO blotter.client_only_ids AS c (client_order_id, exchange, account, scope, first_at, last_at)
    SELECT r.order_key, r.exchange, r.account, r.scope, min(r.from_at), max(r.to_at)
    FROM pg_temp.merge_rest r WHERE r.provisional
    GROUP BY r.order_key, r.exchange, r.account, r.scope
    ORDER BY r.order_key, r.exchange, r.account, r.scope
    ON CONFLICT (client_order_id, exchange, account, scope) DO UPDATE SET
        first_at = least(c.first_at, excluded.first_at), last_at = greatest(c.last_at, excluded.last_at);

    IF EXISTS (SELECT FROM pg_temp.rebuild_orders) OR EXISTS (SELECT FROM pg_temp.merge_rest r WHERE r.provisional) THEN
        PERFORM blotter.rebuild_touched();
    END IF;
    RETURN merged;
END
$$;
COMMENT ON FUNCTION blotter.merge_staged(tid) IS 'merge_orders at once, or of one staged row; fails if anything does.';

-- Reads the events of the orders in rebuild_orders and of the client ids in merge_rest, and of whatever hangs together with
-- them through client ids, and folds them. The time bounds are constants of the statement: other days are not even planned for.
CREATE FUNCTION blotter.rebuild_touched() RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    source text;
    low timestamptz;
    high timestamptz;
    names text[] := blotter.columns_of('blotter.order_events', ARRAY['stored_at']);
    read_events text := format($q$
        INSERT INTO pg_temp.rebuild_events (%1$s, key_account, scope, order_key, client_only, terminal)
        SELECT %2$s, k.account, k.scope, %%1$s, t.status IS NOT NULL
        FROM pg_temp.%%2$I k
        JOIN blotter.%%3$I e ON %%4$s AND e.exchange = k.exchange AND coalesce(e.account, '') = k.account
                            AND e.recorded_at BETWEEN k.from_at AND k.to_at AND e.recorded_at BETWEEN %%5$L AND %%6$L
        LEFT JOIN blotter.venues v ON v.exchange = e.exchange
        LEFT JOIN blotter.terminal_statuses t ON t.status = lower(e.status)
        WHERE NOT k.read AND CASE WHEN v.order_id_scope = 'symbol' THEN coalesce(e.symbol, '') ELSE '' END = k.scope
    $q$, blotter.column_list(names), blotter.column_list(names, 'e.%I'));
BEGIN
    DELETE FROM pg_temp.rebuild_ids;
    DELETE FROM pg_temp.rebuild_events;
    EXECUTE $q$
        INSERT INTO pg_temp.rebuild_ids (client_order_id, exchange, account, scope, from_at, to_at, common)
        SELECT c.client_order_id, c.exchange, c.account, c.scope, c.first_at, c.last_at, c.common
        FROM (SELECT DISTINCT r.order_key, r.exchange, r.account, r.scope FROM pg_temp.merge_rest r WHERE r.provisional) AS r
        JOIN blotter.client_only_ids c ON (c.client_order_id, c.exchange, c.account, c.scope) = (r.order_key, r.exchange, r.account, r.scope)
    $q$;
    LOOP
        -- Orders: lock, see how far their events reach, read them.
        IF EXISTS (SELECT FROM pg_temp.rebuild_orders k WHERE NOT k.read) THEN
            EXECUTE $q$
                WITH reach AS (
                    SELECT k.order_key, k.exchange, k.account, k.scope, locked.*
                    FROM (SELECT * FROM pg_temp.rebuild_orders WHERE NOT read ORDER BY order_key, exchange, account, scope) AS k,
                         LATERAL (SELECT o.first_recorded_at, o.recorded_at FROM blotter.orders o
                                  WHERE (o.order_key, o.exchange, o.account, o.scope, o.provisional)
                                      = (k.order_key, k.exchange, k.account, k.scope, false)
                                  FOR UPDATE) AS locked
                )
                UPDATE pg_temp.rebuild_orders k
                SET from_at = least(k.from_at, r.first_recorded_at), to_at = greatest(k.to_at, r.recorded_at)
                FROM reach r
                WHERE (r.order_key, r.exchange, r.account, r.scope) = (k.order_key, k.exchange, k.account, k.scope)
            $q$;
            SELECT min(k.from_at), max(k.to_at) INTO low, high FROM pg_temp.rebuild_orders k WHERE NOT k.read;
            FOREACH source IN ARRAY ARRAY['order_events', 'kept_order_events'] LOOP
                EXECUTE format(read_events, 'k.order_key, false', 'rebuild_orders', source, 'e.order_id = k.order_key', low, high);
            END LOOP;
            UPDATE pg_temp.rebuild_orders k SET read = true WHERE NOT k.read;

            -- The client ids among them that came alone at some time.
            EXECUTE $q$
                INSERT INTO pg_temp.rebuild_ids (client_order_id, exchange, account, scope, from_at, to_at, common)
                SELECT c.client_order_id, c.exchange, c.account, c.scope, c.first_at, c.last_at, c.common
                FROM (SELECT e.client_order_id, e.exchange, e.key_account AS account, e.scope FROM pg_temp.rebuild_events e
                      EXCEPT SELECT i.client_order_id, i.exchange, i.account, i.scope FROM pg_temp.rebuild_ids i) AS e
                JOIN blotter.client_only_ids c USING (client_order_id, exchange, account, scope)
                WHERE NOT c.common
            $q$;
        END IF;
        EXIT WHEN NOT EXISTS (SELECT FROM pg_temp.rebuild_ids i WHERE NOT i.read);

        SELECT min(i.from_at), max(i.to_at) INTO low, high FROM pg_temp.rebuild_ids i WHERE NOT i.read;
        FOREACH source IN ARRAY ARRAY['order_events', 'kept_order_events'] LOOP
            EXECUTE format(read_events, 'NULL, true', 'rebuild_ids', source,
                           'e.client_order_id = k.client_order_id AND coalesce(e.order_id, '''') = ''''', low, high);
        END LOOP;

        -- The orders that carried them.
        EXECUTE $q$
            WITH bound AS MATERIALIZED (
                SELECT i.client_order_id, i.exchange, i.account, i.scope, o.order_key
                FROM pg_temp.rebuild_ids i, LATERAL (
                    SELECT o.order_key FROM blotter.orders o
                    WHERE (o.client_order_id, o.exchange, o.account, o.scope) = (i.client_order_id, i.exchange, i.account, i.scope)
                      AND NOT o.provisional AND NOT blotter.is_final(o)
                    UNION
                    SELECT p.order_key FROM blotter.order_client_ids p
                    WHERE (p.client_order_id, p.exchange, p.account, p.scope) = (i.client_order_id, i.exchange, i.account, i.scope)
                ) AS o
                WHERE NOT i.read AND NOT i.common
            ), many AS (
                UPDATE pg_temp.rebuild_ids i SET common = true
                FROM (SELECT client_order_id, exchange, account, scope FROM bound
                      GROUP BY 1, 2, 3, 4 HAVING count(*) > blotter.common_client_id()) AS m
                WHERE (m.client_order_id, m.exchange, m.account, m.scope) = (i.client_order_id, i.exchange, i.account, i.scope)
            )
            INSERT INTO pg_temp.rebuild_orders (exchange, account, scope, order_key)
            SELECT b.exchange, b.account, b.scope, b.order_key FROM bound b
            EXCEPT SELECT k.exchange, k.account, k.scope, k.order_key FROM pg_temp.rebuild_orders k
        $q$;
        UPDATE pg_temp.rebuild_ids i SET read = true WHERE NOT i.read;
        EXIT WHEN NOT EXISTS (SELECT FROM pg_temp.rebuild_orders k WHERE NOT k.read);
    END LOOP;
    PERFORM blotter.fold_events();
    TRUNCATE pg_temp.rebuild_orders, pg_temp.rebuild_ids, pg_temp.rebuild_events;
END
$$;
COMMENT ON FUNCTION blotter.rebuild_touched() IS 'Folds again the orders that a merge could not bring forward. Part of merge_orders.';

-- Which order does each client-only event belong to? In the file's opening: (a), (b), (c). Joins of temporary tables by four columns
-- look to the planner like joins of a row; a nested loop over thousands is what it would choose.
CREATE FUNCTION blotter.assign_events() RETURNS void
    LANGUAGE plpgsql
    SET enable_nestloop = off
    AS $$
DECLARE
    e record;
    target text;
BEGIN
    -- Client ids that one order carried. Any client-only event before the last event with both ids belongs to it, by (a) or (b); after
    -- that one, all until a terminal status has been seen.
    EXECUTE $q$
        WITH sorted AS (
            SELECT r.ctid AS tid, r.client_order_id, r.exchange, r.key_account, r.scope, r.order_key, r.client_only, r.terminal,
                   row_number() OVER (ORDER BY r.recorded_at, r.seq, r.producer_id) AS n
            FROM pg_temp.rebuild_events r
        ), ended AS (
            SELECT s.*, min(s.n) FILTER (WHERE s.terminal AND NOT s.client_only) OVER (PARTITION BY s.order_key, s.exchange, s.key_account, s.scope) AS over_n
            FROM sorted s
        ), carried AS (
            SELECT s.*, min(s.order_key) OVER by_client AS one, max(s.order_key) OVER by_client AS other,
                   max(s.n) FILTER (WHERE NOT s.client_only) OVER by_client AS last_n,
                   least(min(s.over_n) OVER by_client, min(s.n) FILTER (WHERE s.client_only AND s.terminal) OVER by_client) AS first_over_n
            FROM ended s
            WINDOW by_client AS (PARTITION BY s.client_order_id, s.exchange, s.key_account, s.scope)
        )
        UPDATE pg_temp.rebuild_events r SET order_key = c.one
        FROM carried c
        WHERE r.ctid = c.tid AND c.client_only AND c.one = c.other
          AND c.n <= greatest(c.last_n, coalesce(c.first_over_n, c.n))
          AND (c.client_order_id, c.exchange, c.key_account, c.scope) NOT IN
              (SELECT i.client_order_id, i.exchange, i.account, i.scope FROM pg_temp.rebuild_ids i WHERE i.common)
    $q$;

    -- Client ids that several orders carried: event by event.
    FOR e IN EXECUTE $q$
        SELECT r.*
        FROM (SELECT r.ctid AS tid, r.client_order_id, r.exchange, r.key_account, r.scope, r.recorded_at, r.seq, r.producer_id, r.client_only,
                     min(r.order_key) OVER by_client <> max(r.order_key) OVER by_client AS several
              FROM pg_temp.rebuild_events r
              WINDOW by_client AS (PARTITION BY r.client_order_id, r.exchange, r.key_account, r.scope)) AS r
        WHERE r.client_only AND r.several
          AND (r.client_order_id, r.exchange, r.key_account, r.scope) NOT IN
              (SELECT i.client_order_id, i.exchange, i.account, i.scope FROM pg_temp.rebuild_ids i WHERE i.common)
        ORDER BY r.recorded_at, r.seq, r.producer_id
    $q$
    LOOP
        -- (a) the orders bound before: exactly one is alive, and it is the latest.
        SELECT CASE WHEN count(*) FILTER (WHERE b.alive) = 1 THEN min(b.order_key) FILTER (WHERE b.alive AND b.latest) END
        INTO target
        FROM (
            SELECT b.order_key, row_number() OVER (ORDER BY b.last_at DESC) = 1 AS latest,
                   NOT EXISTS (
                       SELECT FROM pg_temp.rebuild_events t
                       WHERE t.terminal AND (t.order_key, t.exchange, t.key_account, t.scope) = (b.order_key, e.exchange, e.key_account, e.scope)
                         AND (NOT t.client_only OR t.client_order_id = e.client_order_id)
                         AND (t.recorded_at, t.seq, t.producer_id) < (e.recorded_at, e.seq, e.producer_id)) AS alive
            FROM (SELECT r.order_key, max(ARRAY[extract(epoch FROM r.recorded_at), r.seq, r.producer_id]) AS last_at
                  FROM pg_temp.rebuild_events r
                  WHERE NOT r.client_only
                    AND (r.client_order_id, r.exchange, r.key_account, r.scope) = (e.client_order_id, e.exchange, e.key_account, e.scope)
                    AND (r.recorded_at, r.seq, r.producer_id) < (e.recorded_at, e.seq, e.producer_id)
                  GROUP BY r.order_key) AS b
        ) AS b;
        IF target IS NULL THEN
            -- (b)
            SELECT r.order_key INTO target
            FROM pg_temp.rebuild_events r
            WHERE NOT r.client_only
              AND (r.client_order_id, r.exchange, r.key_account, r.scope) = (e.client_order_id, e.exchange, e.key_account, e.scope)
              AND (r.recorded_at, r.seq, r.producer_id) > (e.recorded_at, e.seq, e.producer_id)
            ORDER BY r.recorded_at, r.seq, r.producer_id
            LIMIT 1;
        END IF;
        UPDATE pg_temp.rebuild_events r SET order_key = target WHERE r.ctid = e.tid;
    END LOOP;

    EXECUTE $q$
        UPDATE pg_temp.rebuild_ids i
        SET alone = s.alone, settled_order = CASE WHEN s.one = s.other AND NOT s.alone AND NOT i.common THEN s.one END
        FROM (SELECT r.client_order_id, r.exchange, r.key_account, r.scope, min(r.order_key) AS one, max(r.order_key) AS other,
                     bool_or(r.order_key IS NULL) AS alone
              FROM pg_temp.rebuild_events r GROUP BY 1, 2, 3, 4) AS s
        WHERE (s.client_order_id, s.exchange, s.key_account, s.scope) = (i.client_order_id, i.exchange, i.account, i.scope)
    $q$;
END
$$;
COMMENT ON FUNCTION blotter.assign_events() IS 'Decides which order the client-only events of rebuild_events belong to. Part of merge_orders and rebuild_orders.';

CREATE FUNCTION blotter.fold_events() RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    fields text[] := blotter.order_fields();
BEGIN
    IF EXISTS (SELECT FROM pg_temp.rebuild_ids) THEN
        PERFORM blotter.assign_events();
    END IF;

    -- A sorted subquery keeps its order within a group, as long as the groups are made from it by sorting.
    EXECUTE format($q$
        INSERT INTO blotter.orders AS o (order_key, exchange, account, scope, provisional, order_id, status, terminal, filled_quantity, %1$s,
                                         first_recorded_at, recorded_at, seq, producer_id)
        SELECT target, exchange, key_account, scope, provisional, CASE WHEN NOT provisional THEN target END,
               coalesce(blotter.first_value_of(status) FILTER (WHERE terminal), blotter.last_value_of(status)), bool_or(terminal),
               max(filled_quantity), %2$s,
               min(recorded_at), max(recorded_at), blotter.last_value_of(seq), blotter.last_value_of(producer_id)
        FROM (SELECT r.*, coalesce(r.order_key, r.client_order_id) AS target, r.order_key IS NULL AS provisional
              FROM pg_temp.rebuild_events r
              ORDER BY target, exchange, key_account, scope, provisional, recorded_at, seq, producer_id) AS r
        GROUP BY target, exchange, key_account, scope, provisional
        ORDER BY target, exchange, key_account, scope, provisional
        ON CONFLICT (order_key, exchange, account, scope, provisional) DO UPDATE SET
            status = excluded.status, terminal = excluded.terminal, filled_quantity = excluded.filled_quantity, %3$s,
            first_recorded_at = excluded.first_recorded_at, recorded_at = excluded.recorded_at, seq = excluded.seq, producer_id = excluded.producer_id
    $q$, blotter.column_list(fields), blotter.column_list(fields, 'blotter.last_value_of(%I)'), blotter.column_list(fields, '%1$I = excluded.%1$I'));

    EXECUTE $q$
        DELETE FROM blotter.orders o USING pg_temp.rebuild_ids i
        WHERE (o.order_key, o.exchange, o.account, o.scope, o.provisional) = (i.client_order_id, i.exchange, i.account, i.scope, true)
          AND NOT i.alone
    $q$;
    EXECUTE $q$
        UPDATE blotter.client_only_ids c SET settled_order = i.settled_order, common = i.common
        FROM pg_temp.rebuild_ids i
        WHERE (c.client_order_id, c.exchange, c.account, c.scope) = (i.client_order_id, i.exchange, i.account, i.scope)
          AND (c.settled_order, c.common) IS DISTINCT FROM (i.settled_order, i.common)
    $q$;
    EXECUTE $q$
        INSERT INTO blotter.order_client_ids (client_order_id, exchange, account, scope, order_key)
        SELECT DISTINCT r.client_order_id, r.exchange, r.key_account, r.scope, r.order_key
        FROM (SELECT r.*, min(r.client_order_id) OVER one_order <> max(r.client_order_id) OVER one_order AS several
              FROM pg_temp.rebuild_events r
              WHERE NOT r.client_only
              WINDOW one_order AS (PARTITION BY r.order_key, r.exchange, r.key_account, r.scope)) AS r
        LEFT JOIN blotter.client_only_ids c
            ON (c.client_order_id, c.exchange, c.account, c.scope) = (r.client_order_id, r.exchange, r.key_account, r.scope)
        WHERE r.client_order_id NOT IN ('', '0')
          AND (r.several OR (c.client_order_id IS NOT NULL AND c.settled_order IS NULL AND NOT c.common))
        ORDER BY 1, 2, 3, 4, 5
        ON CONFLICT DO NOTHING
    $q$;
END
$$;
COMMENT ON FUNCTION blotter.fold_events() IS 'Decides where client-only events belong, and folds rebuild_events into orders. Part of merge_orders and rebuild_orders.';

CREATE FUNCTION blotter.rebuild_orders() RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
    source text;
    names text[] := blotter.columns_of('blotter.order_events', ARRAY['stored_at']);
BEGIN
    PERFORM blotter.begin_session(false);
    -- Waits for the merges that are under way, and holds off new ones; readers go on.
    LOCK TABLE blotter.orders IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM pg_temp.rebuild_ids;
    DELETE FROM pg_temp.rebuild_events;
    DELETE FROM blotter.order_errors;
    DELETE FROM blotter.order_client_ids;
    DELETE FROM blotter.client_only_ids;
    -- What was over before the first day kept has no events any more: its row is all there is.
    DELETE FROM blotter.orders o WHERE NOT blotter.is_final(o);
    FOREACH source IN ARRAY ARRAY['order_events', 'kept_order_events'] LOOP
        EXECUTE format($q$
            INSERT INTO pg_temp.rebuild_events (%1$s, key_account, scope, order_key, client_only, terminal)
            SELECT %2$s, e.key_account, e.scope, nullif(e.order_id, ''), coalesce(e.order_id, '') = '', t.status IS NOT NULL
            FROM (SELECT e.*, coalesce(e.account, '') AS key_account,
                         CASE WHEN v.order_id_scope = 'symbol' THEN coalesce(e.symbol, '') ELSE '' END AS scope
                  FROM blotter.%3$I e LEFT JOIN blotter.venues v USING (exchange)) AS e
            LEFT JOIN blotter.terminal_statuses t ON t.status = lower(e.status)
            WHERE (coalesce(e.order_id, '') <> '' OR e.client_order_id NOT IN ('', '0'))
              AND NOT EXISTS (SELECT FROM blotter.orders o WHERE (o.order_key, o.exchange, o.account, o.scope, o.provisional)
                                                              = (e.order_id, e.exchange, e.key_account, e.scope, false))
        $q$, blotter.column_list(names), blotter.column_list(names, 'e.%I'), source);
    END LOOP;
    INSERT INTO blotter.client_only_ids (client_order_id, exchange, account, scope, first_at, last_at)
    SELECT e.client_order_id, e.exchange, e.key_account, e.scope, min(e.recorded_at), max(e.recorded_at)
    FROM pg_temp.rebuild_events e WHERE e.client_only GROUP BY 1, 2, 3, 4;
    INSERT INTO pg_temp.rebuild_ids (client_order_id, exchange, account, scope, common)
    SELECT c.client_order_id, c.exchange, c.account, c.scope, count(DISTINCT e.order_key) > blotter.common_client_id()
    FROM blotter.client_only_ids c
    LEFT JOIN pg_temp.rebuild_events e ON NOT e.client_only
        AND (e.client_order_id, e.exchange, e.key_account, e.scope) = (c.client_order_id, c.exchange, c.account, c.scope)
    GROUP BY 1, 2, 3, 4;
    PERFORM blotter.fold_events();
    TRUNCATE pg_temp.rebuild_ids, pg_temp.rebuild_events;
    RETURN (SELECT count(*) FROM blotter.orders);
END
$$;
COMMENT ON FUNCTION blotter.rebuild_orders() IS 'Makes all of orders again from the events. After editing venues or terminal_statuses, after loading without orders, or after order_errors. Returns the number of orders.';

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
