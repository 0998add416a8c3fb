-- 001: what is stored as it arrives: order events, trades, sessions, rejects; and what is known of each producer.
--
-- The columns of the first three are those of schema/fields.h, in its order, then stored_at. Their primary key is the record's
-- identity: producer_id and seq name it, recorded_at is part of it because a partitioned table asks for that, and is resent unchanged.
--
-- stored_at is now(), not clock_timestamp(): a volatile default takes COPY its multi-insert. A transaction is begun when its
-- batch is complete, so the difference is that of one COPY.

CREATE SCHEMA IF NOT EXISTS blotter;
COMMENT ON SCHEMA blotter IS 'Every order and trade of a trading system, recorded by Blotter.';

CREATE TABLE IF NOT EXISTS blotter.migrations (
    version int PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE blotter.migrations IS 'The schema changes that have been applied, by `blotter migrate`.';
COMMENT ON COLUMN blotter.migrations.version IS 'the number that the migration''s file name begins with';
COMMENT ON COLUMN blotter.migrations.name IS 'the migration''s file name';
COMMENT ON COLUMN blotter.migrations.applied_at IS 'when it was applied';

CREATE FUNCTION blotter.schema_version() RETURNS int
    LANGUAGE sql STABLE
    AS 'SELECT max(version) FROM blotter.migrations';
COMMENT ON FUNCTION blotter.schema_version() IS 'The newest migration applied. A program runs on its own version and newer.';

CREATE TABLE blotter.order_events (
    producer_id bigint NOT NULL,
    seq bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    exchange text NOT NULL,
    exchange_time timestamptz,
    account text,
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
    stored_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (recorded_at, producer_id, seq)
) PARTITION BY RANGE (recorded_at);
COMMENT ON TABLE blotter.order_events IS 'One row for every state change of your orders, as recorded; one partition per UTC day of recorded_at.';
COMMENT ON COLUMN blotter.order_events.producer_id IS 'who wrote the record: drawn anew at every open; negative: derived from the entry';
COMMENT ON COLUMN blotter.order_events.seq IS 'the record''s dense number within its producer, from 1';
COMMENT ON COLUMN blotter.order_events.recorded_at IS 'when submit was called; never goes back within a producer';
COMMENT ON COLUMN blotter.order_events.exchange IS 'the stream''s exchange, [a-z0-9._-]{1,32}';
COMMENT ON COLUMN blotter.order_events.exchange_time IS 'the venue''s own time (60, timestamp)';
COMMENT ON COLUMN blotter.order_events.account IS 'whose account (1)';
COMMENT ON COLUMN blotter.order_events.strategy IS 'which strategy';
COMMENT ON COLUMN blotter.order_events.symbol IS 'as the strategy names it (55, symbol)';
COMMENT ON COLUMN blotter.order_events.market_type IS 'spot, margin, swap, future, option';
COMMENT ON COLUMN blotter.order_events.order_id IS 'the venue''s id of the order (37, id)';
COMMENT ON COLUMN blotter.order_events.client_order_id IS 'our id of the order (11, clientOrderId)';
COMMENT ON COLUMN blotter.order_events.orig_client_order_id IS 'our id of the order that this one replaces (41)';
COMMENT ON COLUMN blotter.order_events.trade_id IS 'the execution, where the event is a fill (1003)';
COMMENT ON COLUMN blotter.order_events.event IS 'what happened: new, fill, cancel, replace, reject, expire, trigger (150)';
COMMENT ON COLUMN blotter.order_events.side IS 'buy, sell (54, side)';
COMMENT ON COLUMN blotter.order_events.position_side IS 'long, short, both';
COMMENT ON COLUMN blotter.order_events.type IS 'limit, market, stop ... (40, type)';
COMMENT ON COLUMN blotter.order_events.time_in_force IS 'GTC, IOC, FOK ... (59, timeInForce)';
COMMENT ON COLUMN blotter.order_events.status IS 'pending_new, open, partially_filled, filled, canceled ... (39, status)';
COMMENT ON COLUMN blotter.order_events.price IS 'limit price (44, price)';
COMMENT ON COLUMN blotter.order_events.trigger_price IS 'stop or trigger price (99, triggerPrice)';
COMMENT ON COLUMN blotter.order_events.quantity IS 'ordered quantity (38, amount)';
COMMENT ON COLUMN blotter.order_events.filled_quantity IS 'cumulative filled quantity (14, filled)';
COMMENT ON COLUMN blotter.order_events.remaining_quantity IS 'quantity still open (151, remaining)';
COMMENT ON COLUMN blotter.order_events.average_price IS 'average price of what is filled (6, average)';
COMMENT ON COLUMN blotter.order_events.last_price IS 'price of this fill (31)';
COMMENT ON COLUMN blotter.order_events.last_quantity IS 'quantity of this fill (32)';
COMMENT ON COLUMN blotter.order_events.cost IS 'cumulative quote amount (cost)';
COMMENT ON COLUMN blotter.order_events.fee IS '+ paid, - rebate (137, fee)';
COMMENT ON COLUMN blotter.order_events.fee_currency IS 'currency of the fee (138)';
COMMENT ON COLUMN blotter.order_events.liquidity IS 'maker, taker (851, takerOrMaker)';
COMMENT ON COLUMN blotter.order_events.realized_pnl IS 'realised profit and loss, derivatives';
COMMENT ON COLUMN blotter.order_events.post_only IS 'the order may only add liquidity';
COMMENT ON COLUMN blotter.order_events.reduce_only IS 'the order may only reduce a position';
COMMENT ON COLUMN blotter.order_events.reason IS 'why rejected or cancelled (58)';
COMMENT ON COLUMN blotter.order_events.extra IS 'everything else, a JSON object';
COMMENT ON COLUMN blotter.order_events.stored_at IS 'when the transaction that stored the row began';

CREATE TABLE blotter.trades (
    producer_id bigint NOT NULL,
    seq bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    exchange text NOT NULL,
    exchange_time timestamptz,
    account text,
    strategy text,
    symbol text NOT NULL,
    market_type text,
    order_id text,
    client_order_id text,
    trade_id text,
    side text,
    position_side text,
    price numeric NOT NULL,
    quantity numeric NOT NULL,
    cost numeric,
    fee numeric,
    fee_currency text,
    liquidity text,
    realized_pnl numeric,
    extra jsonb,
    stored_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (recorded_at, producer_id, seq)
) PARTITION BY RANGE (recorded_at);
COMMENT ON TABLE blotter.trades IS 'One row for every execution, your own or public, as recorded; one partition per UTC day of recorded_at.';
COMMENT ON COLUMN blotter.trades.producer_id IS 'who wrote the record: drawn anew at every open; negative: derived from the entry';
COMMENT ON COLUMN blotter.trades.seq IS 'the record''s dense number within its producer, from 1';
COMMENT ON COLUMN blotter.trades.recorded_at IS 'when submit was called; never goes back within a producer';
COMMENT ON COLUMN blotter.trades.exchange IS 'the stream''s exchange, [a-z0-9._-]{1,32}';
COMMENT ON COLUMN blotter.trades.exchange_time IS 'the venue''s own time (60, timestamp)';
COMMENT ON COLUMN blotter.trades.account IS 'whose account (1); given for your own fills';
COMMENT ON COLUMN blotter.trades.strategy IS 'which strategy';
COMMENT ON COLUMN blotter.trades.symbol IS 'as the strategy names it (55, symbol)';
COMMENT ON COLUMN blotter.trades.market_type IS 'spot, margin, swap, future, option';
COMMENT ON COLUMN blotter.trades.order_id IS 'your order that traded (37, order)';
COMMENT ON COLUMN blotter.trades.client_order_id IS 'our id of that order (11)';
COMMENT ON COLUMN blotter.trades.trade_id IS 'the execution (1003, id)';
COMMENT ON COLUMN blotter.trades.side IS 'buy, sell: yours, or the taker''s (54, side)';
COMMENT ON COLUMN blotter.trades.position_side IS 'long, short, both';
COMMENT ON COLUMN blotter.trades.price IS 'price (31, price)';
COMMENT ON COLUMN blotter.trades.quantity IS 'quantity (32, amount)';
COMMENT ON COLUMN blotter.trades.cost IS 'quote amount (cost)';
COMMENT ON COLUMN blotter.trades.fee IS '+ paid, - rebate (137, fee)';
COMMENT ON COLUMN blotter.trades.fee_currency IS 'currency of the fee (138)';
COMMENT ON COLUMN blotter.trades.liquidity IS 'maker, taker (851, takerOrMaker)';
COMMENT ON COLUMN blotter.trades.realized_pnl IS 'realised profit and loss, derivatives';
COMMENT ON COLUMN blotter.trades.extra IS 'everything else, a JSON object';
COMMENT ON COLUMN blotter.trades.stored_at IS 'when the transaction that stored the row began';

CREATE TABLE blotter.sessions (
    producer_id bigint NOT NULL,
    seq bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    exchange text NOT NULL,
    event text NOT NULL,
    lane text,
    follows bigint,
    confirmed_seq bigint,
    last_seq bigint,
    journal text,
    host text,
    pid bigint,
    version text,
    extra jsonb,
    stored_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (recorded_at, producer_id, seq)
);
COMMENT ON TABLE blotter.sessions IS 'What each producer said of itself: opened, heartbeat, closed, void. Numbered in the same dense sequence as its orders and trades.';
COMMENT ON COLUMN blotter.sessions.producer_id IS 'who wrote the record: drawn anew at every open; negative: derived from the entry';
COMMENT ON COLUMN blotter.sessions.seq IS 'the record''s dense number within its producer, from 1';
COMMENT ON COLUMN blotter.sessions.recorded_at IS 'when submit was called; never goes back within a producer';
COMMENT ON COLUMN blotter.sessions.exchange IS 'the stream''s exchange, [a-z0-9._-]{1,32}';
COMMENT ON COLUMN blotter.sessions.event IS 'opened, heartbeat (every 10 s), closed, void';
COMMENT ON COLUMN blotter.sessions.lane IS 'the stream''s lane, if any';
COMMENT ON COLUMN blotter.sessions.follows IS 'opened: the producer_id that used this journal before';
COMMENT ON COLUMN blotter.sessions.confirmed_seq IS 'every seq up to this one is known to be committed; opened: of the one it follows';
COMMENT ON COLUMN blotter.sessions.last_seq IS 'the last seq claimed when this was written; closed: the last of all; opened: of the one it follows';
COMMENT ON COLUMN blotter.sessions.journal IS 'path of the journal';
COMMENT ON COLUMN blotter.sessions.host IS 'host name';
COMMENT ON COLUMN blotter.sessions.pid IS 'process id';
COMMENT ON COLUMN blotter.sessions.version IS 'version of the library';
COMMENT ON COLUMN blotter.sessions.extra IS 'everything else, a JSON object';
COMMENT ON COLUMN blotter.sessions.stored_at IS 'when the transaction that stored the row began';

-- Each further btree costs the load 40 %, so there is one: the history of an order. The partial one is next to empty: events known
-- by client id alone.
CREATE INDEX order_events_order_id ON blotter.order_events (order_id);
CREATE INDEX order_events_client_only ON blotter.order_events (client_order_id) WHERE coalesce(order_id, '') = '';
COMMENT ON INDEX blotter.order_events_order_id IS 'the history of an order';
COMMENT ON INDEX blotter.order_events_client_only IS 'the events that came by client id alone; next to empty';

-- A day's trades lie in the order of time, so that a few kilobytes of BRIN find the hour, also in days that only a replay of
-- history wrote to. By symbol there is none: it would cost more than reading the hour.
CREATE INDEX trades_exchange_time ON blotter.trades USING brin (exchange_time);
COMMENT ON INDEX blotter.trades_exchange_time IS 'the trades of a span of exchange time';

CREATE INDEX sessions_producer ON blotter.sessions (producer_id, seq);
COMMENT ON INDEX blotter.sessions_producer IS 'what one producer said';

CREATE TABLE blotter.rejects (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    identity text NOT NULL UNIQUE,
    rejected_at timestamptz NOT NULL DEFAULT now(),
    stream text NOT NULL,
    entry_id text NOT NULL,
    exchange text,
    kind bytea,
    producer_id bigint,
    seq bigint,
    recorded_at timestamptz,
    delivery_count int,
    reason text NOT NULL,
    sqlstate text,
    raw bytea NOT NULL,
    drainer text,
    replayed_at timestamptz,
    replayed_by text,
    discarded_at timestamptz,
    discarded_by text
);
CREATE INDEX rejects_producer ON blotter.rejects (producer_id, seq) WHERE producer_id IS NOT NULL;
COMMENT ON INDEX blotter.rejects_producer IS 'the rejected records of a producer, for the audit';
COMMENT ON TABLE blotter.rejects IS 'Records that could not be stored, with their bytes and the reason; `blotter rejects` lists, replays and discards them.';
COMMENT ON COLUMN blotter.rejects.id IS 'number of the reject';
COMMENT ON COLUMN blotter.rejects.identity IS 'what makes a resent reject the same: p:<producer_id>:<seq>, or s:<stream>:<entry_id>:<md5 of raw>';
COMMENT ON COLUMN blotter.rejects.rejected_at IS 'when the transaction that rejected it began';
COMMENT ON COLUMN blotter.rejects.stream IS 'the Redis stream it came from';
COMMENT ON COLUMN blotter.rejects.entry_id IS 'its entry id there';
COMMENT ON COLUMN blotter.rejects.exchange IS 'the stream''s exchange';
COMMENT ON COLUMN blotter.rejects.kind IS 'the entry''s field name: order, trade, session or whatever was there, hence bytes';
COMMENT ON COLUMN blotter.rejects.producer_id IS 'who wrote it, where that could be read';
COMMENT ON COLUMN blotter.rejects.seq IS 'its number within its producer, where that could be read';
COMMENT ON COLUMN blotter.rejects.recorded_at IS 'when submit was called, where that could be read';
COMMENT ON COLUMN blotter.rejects.delivery_count IS 'how often Redis had delivered it';
COMMENT ON COLUMN blotter.rejects.reason IS 'why it was rejected, in words; after a replay that failed, why that did';
COMMENT ON COLUMN blotter.rejects.sqlstate IS 'PostgreSQL''s error code, if it was PostgreSQL that refused it';
COMMENT ON COLUMN blotter.rejects.raw IS 'the entry''s value, byte for byte';
COMMENT ON COLUMN blotter.rejects.drainer IS 'the instance that rejected it';
COMMENT ON COLUMN blotter.rejects.replayed_at IS 'when it was replayed, and is stored since; null: not';
COMMENT ON COLUMN blotter.rejects.replayed_by IS 'who replayed it';
COMMENT ON COLUMN blotter.rejects.discarded_at IS 'when a person decided that it is not needed; null: not';
COMMENT ON COLUMN blotter.rejects.discarded_by IS 'who';

CREATE TABLE blotter.progress (
    producer_id bigint NOT NULL,
    drainer text NOT NULL,
    stored bigint NOT NULL DEFAULT 0,
    rejected bigint NOT NULL DEFAULT 0,
    voided bigint NOT NULL DEFAULT 0,
    expired bigint NOT NULL DEFAULT 0,
    last_seq bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (producer_id, drainer)
) WITH (fillfactor = 50);
COMMENT ON TABLE blotter.progress IS 'How many records of each producer each drainer has settled, written in the transaction that settled them. One row per drainer: they do not wait for each other.';
COMMENT ON COLUMN blotter.progress.producer_id IS 'whose records; positive: foreign clients number nothing, so nothing of theirs could be missing';
COMMENT ON COLUMN blotter.progress.drainer IS 'the instance''s name';
COMMENT ON COLUMN blotter.progress.stored IS 'rows stored: orders, trades, sessions';
COMMENT ON COLUMN blotter.progress.rejected IS 'records rejected';
COMMENT ON COLUMN blotter.progress.voided IS 'session records `void` among those stored: a number claimed, but never a record';
COMMENT ON COLUMN blotter.progress.expired IS 'records that came after their day had been dropped';
COMMENT ON COLUMN blotter.progress.last_seq IS 'the highest seq among all these';
COMMENT ON COLUMN blotter.progress.updated_at IS 'when the transaction that last changed the row began';

-- One row a producer: ranges, not rows, so that it stays small for ever.
CREATE TABLE blotter.gone_seqs (
    producer_id bigint PRIMARY KEY,
    dropped int8multirange NOT NULL DEFAULT '{}',
    expired int8multirange NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE blotter.gone_seqs IS 'Records that are settled but have no row any more, so that the audit stays exact after days were dropped.';
COMMENT ON COLUMN blotter.gone_seqs.producer_id IS 'whose records';
COMMENT ON COLUMN blotter.gone_seqs.dropped IS 'seqs that were stored, and dropped with their day';
COMMENT ON COLUMN blotter.gone_seqs.expired IS 'seqs that came after their day had been dropped, and were not stored';

-- For fresh batches, which the drainer copies straight into the tables. PL/pgSQL, as it keeps its plan for the session.
CREATE FUNCTION blotter.add_progress(drainer text, producer_ids bigint[], stored bigint[], rejected bigint[], expired bigint[],
                                     last_seq bigint[], voided bigint[] DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO blotter.progress AS p (producer_id, drainer, stored, rejected, voided, expired, last_seq)
    SELECT n.producer_id, add_progress.drainer, sum(coalesce(n.stored, 0)), sum(coalesce(n.rejected, 0)),
           sum(coalesce(n.voided, 0)), sum(coalesce(n.expired, 0)), max(coalesce(n.last_seq, 0))
    FROM unnest(producer_ids, add_progress.stored, add_progress.rejected, add_progress.voided, add_progress.expired,
                add_progress.last_seq) AS n (producer_id, stored, rejected, voided, expired, last_seq)
    WHERE n.producer_id > 0
    GROUP BY n.producer_id
    ORDER BY n.producer_id
    ON CONFLICT (producer_id, drainer) DO UPDATE SET
        stored = p.stored + excluded.stored,
        rejected = p.rejected + excluded.rejected,
        voided = p.voided + excluded.voided,
        expired = p.expired + excluded.expired,
        last_seq = greatest(p.last_seq, excluded.last_seq),
        updated_at = now();
END
$$;
COMMENT ON FUNCTION blotter.add_progress(text, bigint[], bigint[], bigint[], bigint[], bigint[], bigint[]) IS
    'Adds to progress what a transaction has settled, one array element per producer. Negative producer_ids are left out.';

CREATE FUNCTION blotter.add_expired(drainer text, producer_ids bigint[], seqs bigint[]) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
    one record;
    before int8multirange;
    fresh bigint;
    total bigint := 0;
BEGIN
    FOR one IN
        SELECT e.producer_id, range_agg(int8range(e.seq, e.seq, '[]')) AS seqs
        FROM unnest(producer_ids, add_expired.seqs) AS e (producer_id, seq)
        WHERE e.producer_id > 0
        GROUP BY e.producer_id
        ORDER BY e.producer_id
    LOOP
        INSERT INTO blotter.gone_seqs (producer_id) VALUES (one.producer_id) ON CONFLICT DO NOTHING;
        SELECT g.dropped + g.expired INTO before FROM blotter.gone_seqs g WHERE g.producer_id = one.producer_id FOR UPDATE;
        UPDATE blotter.gone_seqs g SET expired = g.expired + one.seqs WHERE g.producer_id = one.producer_id;
        SELECT coalesce(sum(upper(r) - lower(r)), 0) INTO fresh FROM unnest(one.seqs - before) AS r;
        PERFORM blotter.add_progress(drainer, ARRAY[one.producer_id], ARRAY[0::bigint], ARRAY[0::bigint], ARRAY[fresh],
                                     ARRAY[(upper(one.seqs) - 1)::bigint]);
        total := total + fresh;
    END LOOP;
    RETURN total;
END
$$;
COMMENT ON FUNCTION blotter.add_expired(text, bigint[], bigint[]) IS
    'Settles records whose day has been dropped: notes which, and adds those not noted before to progress. One array element per record. Returns how many were new.';
