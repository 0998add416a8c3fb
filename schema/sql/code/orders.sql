-- Orders, the latest state of every order.
--
-- The state is a function of the set of the order's events, whatever order they came in. Sorted by (recorded_at, seq, producer_id):
--   a field           is the last value that is not null;
--   status            is the first terminal one, if there is any: a REST answer `open` recorded after the websocket's `filled` is the
--                     commonest race of live trading;
--   filled_quantity   is the largest; it, remaining_quantity, average_price and cost are not taken from an event that says less was filled
--                     than one before it;
--   terminal          is true with a terminal status, or with an event that has no status and nothing remaining.
-- These rules stand in three places: drainer/order_changes.c for the events of a batch; upsert_staged() for a batch after a row; state_query()
-- for stored events. tests/unit/drainer/test_order_changes.c and tests/integration/schema/sql_orders.sql hold them together.
-- Merging is associative over spans of time: the result of a batch is merged into the row if it is newer and says no less was filled, and
-- otherwise the row is made again from order_events.
--
-- An order that another one replaces (orig_client_order_id) is not open: see open_orders. Its row stays as its own events say.
--
-- An event that carries a client id and no order id, at time t, belongs to
--   (a) the order of the latest earlier event with both ids, if that is the only order of this client id still alive at t: no
--       terminal status before t, neither in its own events nor in those that belong to it by this client id;
--   (b) otherwise the order named by the first later event with both ids;
--   (c) otherwise a provisional row, which goes when (a) or (b) comes to hold.
-- An order id of '0' is none. Client ids are no identifiers: '' and '0' never bind, nor one that more than common_client_id() orders have carried.
--
-- Who waits for whom: a transaction with client-only events takes its exchange for itself, others share it (advisory locks, to the
-- end of the transaction); then rows are locked in the order of their keys; and only a later statement, whose snapshot sees what the
-- wait was for, reads events. The merge itself is merge.sql.

CREATE FUNCTION blotter_internal.common_client_id() RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
    SELECT 20;
    END;
COMMENT ON FUNCTION blotter_internal.common_client_id() IS 'A client id that more orders than this have carried (`web`) identifies none.';

CREATE FUNCTION blotter_internal.is_terminal(status text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
    SELECT EXISTS (SELECT FROM blotter_internal.terminal_statuses t WHERE t.status = lower(is_terminal.status COLLATE "C"));
    END;
COMMENT ON FUNCTION blotter_internal.is_terminal(text) IS 'Does an order with this status stay in it? Null: no.';

CREATE FUNCTION blotter_internal.earlier(a anyelement, b anyelement) RETURNS anyelement
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    AS 'BEGIN RETURN a; END';
COMMENT ON FUNCTION blotter_internal.earlier(anyelement, anyelement) IS 'The step of the aggregate first_value_of.';
CREATE FUNCTION blotter_internal.later(a anyelement, b anyelement) RETURNS anyelement
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    AS 'BEGIN RETURN b; END';
COMMENT ON FUNCTION blotter_internal.later(anyelement, anyelement) IS 'The step of the aggregate last_value_of.';
CREATE AGGREGATE blotter_internal.first_value_of(anyelement) (sfunc = blotter_internal.earlier, stype = anyelement);
COMMENT ON AGGREGATE blotter_internal.first_value_of(anyelement) IS 'The first value that is not null, of rows that come sorted.';
CREATE AGGREGATE blotter_internal.last_value_of(anyelement) (sfunc = blotter_internal.later, stype = anyelement);
COMMENT ON AGGREGATE blotter_internal.last_value_of(anyelement) IS 'The last value that is not null, of rows that come sorted.';

-- A user may add columns to order_events and to orders; kept_order_events has the record's own.
CREATE FUNCTION blotter_internal.event_fields() RETURNS text[]
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT blotter_internal.columns_of('blotter_internal.kept_order_events');
    END;
COMMENT ON FUNCTION blotter_internal.event_fields() IS 'The columns of an order event that are its record''s.';

CREATE FUNCTION blotter_internal.following_fields() RETURNS text[]
    LANGUAGE sql IMMUTABLE
    RETURN ARRAY['filled_quantity', 'remaining_quantity', 'average_price', 'cost'];
COMMENT ON FUNCTION blotter_internal.following_fields() IS 'The columns of orders that describe the fill up to filled_quantity.';

CREATE FUNCTION blotter_internal.order_fields() RETURNS text[]
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT array_agg(name)
    FROM unnest(blotter_internal.event_fields()) AS name
    WHERE name <> ALL (ARRAY['exchange', 'lane', 'account', 'order_id', 'status', 'recorded_at', 'seq', 'producer_id'] || blotter_internal.following_fields());
    END;
COMMENT ON FUNCTION blotter_internal.order_fields() IS 'The columns of orders that are simply the last value given.';

-- Not of a row: from PostgreSQL 17 on a user could then not add a column with a default to orders.
CREATE FUNCTION blotter_internal.is_final(recorded_at timestamptz, exchange text, account text, scope text, order_key text, provisional boolean) RETURNS boolean
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT is_final.recorded_at < (SELECT blotter_internal.day_begins(r.first_day) FROM blotter_internal.retention r)
       AND (is_final.provisional OR NOT EXISTS (
            SELECT FROM blotter_internal.kept_order_events k
            WHERE k.order_id = is_final.order_key AND k.exchange = is_final.exchange AND coalesce(k.account, '') = is_final.account
              AND coalesce((SELECT k.symbol FROM blotter_internal.venues v WHERE v.exchange = k.exchange AND v.order_id_scope = 'symbol'), '') = is_final.scope))
       AND (NOT is_final.provisional OR NOT EXISTS (
            SELECT FROM blotter_internal.kept_order_events k
            WHERE k.client_order_id = is_final.order_key AND coalesce(k.order_id, '') IN ('', '0') AND k.exchange = is_final.exchange
              AND coalesce(k.account, '') = is_final.account
              AND coalesce((SELECT k.symbol FROM blotter_internal.venues v WHERE v.exchange = k.exchange AND v.order_id_scope = 'symbol'), '') = is_final.scope));
    END;
COMMENT ON FUNCTION blotter_internal.is_final(timestamptz, text, text, text, text, boolean) IS 'Was the order over when the day of its newest event was dropped, so that its row cannot be made again from events?';
