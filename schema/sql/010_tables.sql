-- 010: all tables, for an empty database. Functions, views and grants are in code/; `blotter migrate` makes those again with every new
-- program, and tables once. from_version_1.sql brings the tables of version 1 here.
--
-- Schema blotter holds what a trader reads; blotter_internal everything else, the partitions included.
--
-- A table of records has the columns of schema/fields.h in its order, then stored_at and stored_by; `blotter migrate` comments them from
-- that list. Its primary key is the record's identity: producer_id and seq name it, recorded_at is part of it because a partitioned
-- table asks for that, and is resent unchanged.
--
-- stored_at is now(), not clock_timestamp(): a volatile default takes COPY its multi-insert. A transaction begins when its batch is
-- complete, so the difference is that of one COPY.

CREATE SCHEMA blotter;
COMMENT ON SCHEMA blotter IS 'Every order, trade and cash flow of a trading system, recorded by Blotter.';
CREATE SCHEMA blotter_internal;
COMMENT ON SCHEMA blotter_internal IS 'For Blotter itself: partitions, bookkeeping, and functions of its programs.';

-- --- the schema itself ---------------------------------------------------------------------------------------------------------------

CREATE TABLE blotter_internal.migrations (
    version int PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE blotter_internal.migrations IS 'The changes of tables that `blotter migrate` has applied.';
COMMENT ON COLUMN blotter_internal.migrations.version IS 'the number that the file''s name begins with';
COMMENT ON COLUMN blotter_internal.migrations.name IS 'the file''s name';
COMMENT ON COLUMN blotter_internal.migrations.applied_at IS 'when it was applied';

CREATE TABLE blotter_internal.code (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    version int NOT NULL,
    digest text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    objects text[] NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE blotter_internal.code IS 'One row: which functions and views the database has, so that a newer program replaces them.';
COMMENT ON COLUMN blotter_internal.code.one_row IS 'makes it one row';
COMMENT ON COLUMN blotter_internal.code.version IS 'the schema version of the program that made them';
COMMENT ON COLUMN blotter_internal.code.digest IS 'a hash of their SQL: another build of the same version makes them again';
COMMENT ON COLUMN blotter_internal.code.applied_at IS 'when they were made';
COMMENT ON COLUMN blotter_internal.code.objects IS 'what they are: only these are dropped for the next ones';

-- --- records -------------------------------------------------------------------------------------------------------------------------

CREATE TABLE blotter.order_events (
    producer_id bigint NOT NULL,
    seq bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    exchange text NOT NULL,
    lane text,
    exchange_time timestamptz,
    update_time timestamptz,
    last_trade_time timestamptz,
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
    stop_loss_price numeric,
    take_profit_price numeric,
    quantity numeric,
    filled_quantity numeric,
    remaining_quantity numeric,
    average_price numeric,
    last_price numeric,
    last_quantity numeric,
    cost numeric,
    fee numeric,
    fee_currency text,
    fee_rate numeric,
    fees jsonb,
    liquidity text,
    realized_pnl numeric,
    post_only boolean,
    reduce_only boolean,
    reason text,
    origin text,
    extra jsonb,
    stored_at timestamptz NOT NULL DEFAULT now(),
    stored_by xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (recorded_at, producer_id, seq)
) PARTITION BY RANGE (recorded_at);
COMMENT ON TABLE blotter.order_events IS
    'One row for every state change of your orders, as recorded. Example, the history of an order: SELECT * FROM blotter.order_events WHERE order_id = ''8389765'' ORDER BY recorded_at, seq;';

CREATE TABLE blotter.trades (
    producer_id bigint NOT NULL,
    seq bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    exchange text NOT NULL,
    lane text,
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
    fee_rate numeric,
    fees jsonb,
    liquidity text,
    realized_pnl numeric,
    origin text,
    extra jsonb,
    stored_at timestamptz NOT NULL DEFAULT now(),
    stored_by xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (recorded_at, producer_id, seq)
) PARTITION BY RANGE (recorded_at);
COMMENT ON TABLE blotter.trades IS
    'One row for every execution, your own or public, as recorded. Example, today''s of a symbol: SELECT * FROM blotter.trades WHERE symbol = ''BTC/USDT'' AND recorded_at >= date_trunc(''day'', now(), ''UTC'');';

CREATE TABLE blotter.cash (
    producer_id bigint NOT NULL,
    seq bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    exchange text NOT NULL,
    lane text,
    exchange_time timestamptz,
    update_time timestamptz,
    account text,
    strategy text,
    symbol text,
    market_type text,
    entry_id text,
    type text,
    venue_type text,
    status text,
    currency text NOT NULL,
    amount numeric NOT NULL,
    balance_after numeric,
    fee numeric,
    fee_currency text,
    rate numeric,
    reference_id text,
    counterparty text,
    from_account text,
    to_account text,
    txid text,
    address text,
    network text,
    origin text,
    extra jsonb,
    stored_at timestamptz NOT NULL DEFAULT now(),
    stored_by xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (recorded_at, producer_id, seq)
) PARTITION BY RANGE (recorded_at);
COMMENT ON TABLE blotter.cash IS
    'One row for every cash flow that is not a fill: funding, transfers, deposits, withdrawals, fees. Example, funding of a month: SELECT currency, sum(amount) FROM blotter.cash WHERE type = ''funding'' AND recorded_at >= ''2026-11-01Z'' GROUP BY currency;';

CREATE TABLE blotter.balances (
    producer_id bigint NOT NULL,
    seq bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    exchange text NOT NULL,
    lane text,
    exchange_time timestamptz,
    account text,
    market_type text,
    currency text,
    free numeric,
    used numeric,
    total numeric,
    debt numeric,
    snapshot timestamptz,
    origin text,
    extra jsonb,
    stored_at timestamptz NOT NULL DEFAULT now(),
    stored_by xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (recorded_at, producer_id, seq)
) PARTITION BY RANGE (recorded_at);
COMMENT ON TABLE blotter.balances IS
    'Balances: how much of a currency an account held at a time, a row each; rows of one call have the same snapshot. Example, today''s: SELECT * FROM blotter.balances WHERE account = ''main'' AND recorded_at >= date_trunc(''day'', now(), ''UTC'');';

CREATE TABLE blotter.venue_positions (
    producer_id bigint NOT NULL,
    seq bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    exchange text NOT NULL,
    lane text,
    exchange_time timestamptz,
    update_time timestamptz,
    snapshot timestamptz,
    account text,
    strategy text,
    symbol text,
    market_type text,
    position_id text,
    position_side text,
    quantity numeric,
    contract_size numeric,
    entry_price numeric,
    mark_price numeric,
    last_price numeric,
    liquidation_price numeric,
    unrealized_pnl numeric,
    realized_pnl numeric,
    notional numeric,
    collateral numeric,
    initial_margin numeric,
    maintenance_margin numeric,
    leverage numeric,
    stop_loss_price numeric,
    take_profit_price numeric,
    margin_mode text,
    hedged boolean,
    origin text,
    extra jsonb,
    stored_at timestamptz NOT NULL DEFAULT now(),
    stored_by xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (recorded_at, producer_id, seq)
) PARTITION BY RANGE (recorded_at);
COMMENT ON TABLE blotter.venue_positions IS
    'Positions as the venue reported them at a time. Example, the latest mark prices of today: SELECT DISTINCT ON (symbol) symbol, mark_price FROM blotter.venue_positions WHERE recorded_at >= date_trunc(''day'', now(), ''UTC'') ORDER BY symbol, recorded_at DESC;';

CREATE TABLE blotter.instruments (
    producer_id bigint NOT NULL,
    seq bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    exchange text NOT NULL,
    lane text,
    symbol text NOT NULL,
    venue_symbol text,
    market_type text,
    base text,
    quote text,
    settle text,
    option_type text,
    contract_size numeric,
    strike numeric,
    linear boolean,
    inverse boolean,
    active boolean,
    expiry timestamptz,
    created timestamptz,
    price_step numeric,
    quantity_step numeric,
    min_quantity numeric,
    max_quantity numeric,
    min_cost numeric,
    maker_fee numeric,
    taker_fee numeric,
    quantity_unit text,
    extra jsonb,
    stored_at timestamptz NOT NULL DEFAULT now(),
    stored_by xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (recorded_at, producer_id, seq)
) PARTITION BY RANGE (recorded_at);
COMMENT ON TABLE blotter.instruments IS
    'The meaning of a symbol, as recorded: contract size, steps, expiry. Example: SELECT DISTINCT ON (symbol) * FROM blotter.instruments WHERE exchange = ''okx'' ORDER BY symbol, recorded_at DESC;';

CREATE TABLE blotter_internal.sessions (
    producer_id bigint NOT NULL,
    seq bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    exchange text NOT NULL,
    lane text,
    event text NOT NULL,
    follows bigint,
    confirmed_seq bigint,
    last_seq bigint,
    journal text,
    host text,
    pid bigint,
    version text,
    extra jsonb,
    stored_at timestamptz NOT NULL DEFAULT now(),
    stored_by xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (recorded_at, producer_id, seq)
);
COMMENT ON TABLE blotter_internal.sessions IS
    'The producers'' own records: opened, heartbeat, closed, void. Numbered in the same dense sequence as its other records.';

-- Each further btree costs the load 40 %, so order_events has one: the history of an order. The partial one is next to empty: events known
-- by client id alone.
CREATE INDEX order_events_order_id ON blotter.order_events (order_id);
COMMENT ON INDEX blotter.order_events_order_id IS 'the history of an order';
CREATE INDEX order_events_client_only ON blotter.order_events (client_order_id) WHERE coalesce(order_id, '') IN ('', '0');
COMMENT ON INDEX blotter.order_events_client_only IS 'the events that came by client id alone; next to empty';

-- A day's trades lie in the order of time, so that a few kilobytes of BRIN find the hour, also in days that only a replay of
-- history wrote to. By symbol there is none: it would cost more than reading the hour.
CREATE INDEX trades_exchange_time ON blotter.trades USING brin (exchange_time);
COMMENT ON INDEX blotter.trades_exchange_time IS 'the trades of a span of exchange time';

-- `blotter follow` asks for the transactions since the last it has seen. They lie in order, so that a BRIN of a few kilobytes finds them;
-- it has no operators for xid8, hence the casts.
CREATE INDEX order_events_stored_by ON blotter.order_events USING brin ((stored_by::text::bigint)) WITH (autosummarize = on);
CREATE INDEX trades_stored_by ON blotter.trades USING brin ((stored_by::text::bigint)) WITH (autosummarize = on);
CREATE INDEX cash_stored_by ON blotter.cash USING brin ((stored_by::text::bigint)) WITH (autosummarize = on);
CREATE INDEX balances_stored_by ON blotter.balances USING brin ((stored_by::text::bigint)) WITH (autosummarize = on);
CREATE INDEX venue_positions_stored_by ON blotter.venue_positions USING brin ((stored_by::text::bigint)) WITH (autosummarize = on);
CREATE INDEX instruments_stored_by ON blotter.instruments USING brin ((stored_by::text::bigint)) WITH (autosummarize = on);
CREATE INDEX sessions_stored_by ON blotter_internal.sessions USING brin ((stored_by::text::bigint)) WITH (autosummarize = on);
COMMENT ON INDEX blotter.order_events_stored_by IS 'the rows of a span of transactions, for `blotter follow`';
COMMENT ON INDEX blotter.trades_stored_by IS 'the rows of a span of transactions, for `blotter follow`';
COMMENT ON INDEX blotter.cash_stored_by IS 'the rows of a span of transactions, for `blotter follow`';
COMMENT ON INDEX blotter.balances_stored_by IS 'the rows of a span of transactions, for `blotter follow`';
COMMENT ON INDEX blotter.venue_positions_stored_by IS 'the rows of a span of transactions, for `blotter follow`';
COMMENT ON INDEX blotter.instruments_stored_by IS 'the rows of a span of transactions, for `blotter follow`';
COMMENT ON INDEX blotter_internal.sessions_stored_by IS 'the rows of a span of transactions, for `blotter follow`';

CREATE INDEX sessions_producer ON blotter_internal.sessions (producer_id, seq);
COMMENT ON INDEX blotter_internal.sessions_producer IS 'what one producer said';

-- The identity is made here, of what the drainer gives: the same bytes of the same record are one reject, however often they come; other
-- bytes under that number, or from another stream, are another.
CREATE TABLE blotter.rejects (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rejected_at timestamptz NOT NULL DEFAULT now(),
    stream text NOT NULL,
    entry_id text NOT NULL,
    exchange text,
    lane text,
    kind bytea,
    producer_id bigint,
    seq bigint,
    recorded_at timestamptz,
    delivery_count int,
    reason text NOT NULL,
    sqlstate text,
    raw bytea NOT NULL,
    raw_length bigint NOT NULL,
    raw_sha256 bytea NOT NULL,
    drainer text,
    replayed_at timestamptz,
    replayed_by text,
    discarded_at timestamptz,
    discarded_by text,
    stored_at timestamptz NOT NULL DEFAULT now(),
    stored_by xid8 NOT NULL DEFAULT pg_current_xact_id(),
    identity text NOT NULL UNIQUE GENERATED ALWAYS AS
        (stream || ':' || coalesce(producer_id::text || ':' || seq::text, entry_id) || ':' || encode(raw_sha256, 'hex')) STORED
);
CREATE INDEX rejects_producer ON blotter.rejects (producer_id, seq) WHERE producer_id IS NOT NULL;
COMMENT ON INDEX blotter.rejects_producer IS 'the rejected records of a producer, for the audit';
CREATE INDEX rejects_open ON blotter.rejects (id) WHERE replayed_at IS NULL AND discarded_at IS NULL;
COMMENT ON INDEX blotter.rejects_open IS 'those that wait for a person';
COMMENT ON TABLE blotter.rejects IS
    'Records that could not be stored, with their bytes and the reason; `blotter rejects` lists, replays and discards them. Example, those that wait for a person: SELECT id, reason FROM blotter.rejects WHERE replayed_at IS NULL AND discarded_at IS NULL;';
COMMENT ON COLUMN blotter.rejects.id IS 'number of the reject';
COMMENT ON COLUMN blotter.rejects.rejected_at IS 'when the transaction that rejected it began';
COMMENT ON COLUMN blotter.rejects.stream IS 'the Redis stream it came from';
COMMENT ON COLUMN blotter.rejects.entry_id IS 'its entry id there';
COMMENT ON COLUMN blotter.rejects.exchange IS 'the stream''s exchange';
COMMENT ON COLUMN blotter.rejects.lane IS 'the stream''s lane, if any';
COMMENT ON COLUMN blotter.rejects.kind IS 'the entry''s field name: order, trade, session or whatever was there, hence bytes';
COMMENT ON COLUMN blotter.rejects.producer_id IS 'who wrote it, where that could be read';
COMMENT ON COLUMN blotter.rejects.seq IS 'its number within its producer, where that could be read';
COMMENT ON COLUMN blotter.rejects.recorded_at IS 'when submit was called, where that could be read';
COMMENT ON COLUMN blotter.rejects.delivery_count IS 'how often Redis had delivered it';
COMMENT ON COLUMN blotter.rejects.reason IS 'why it was rejected, in words; after a replay that failed, why that did';
COMMENT ON COLUMN blotter.rejects.sqlstate IS 'PostgreSQL''s error code, if it was PostgreSQL that refused it';
COMMENT ON COLUMN blotter.rejects.raw IS 'the entry''s value, byte for byte; of a longer one the first 64 KiB';
COMMENT ON COLUMN blotter.rejects.raw_length IS 'length of the whole value in bytes';
COMMENT ON COLUMN blotter.rejects.raw_sha256 IS 'SHA-256 of the whole value';
COMMENT ON COLUMN blotter.rejects.drainer IS 'the instance that rejected it';
COMMENT ON COLUMN blotter.rejects.replayed_at IS 'when it was replayed, and is stored since; null: not';
COMMENT ON COLUMN blotter.rejects.replayed_by IS 'who replayed it';
COMMENT ON COLUMN blotter.rejects.discarded_at IS 'when a person decided that it is not needed; null: not';
COMMENT ON COLUMN blotter.rejects.discarded_by IS 'who';
COMMENT ON COLUMN blotter.rejects.identity IS 'what makes a resent reject the same: stream, producer and seq (else the entry id), SHA-256';

-- --- days ----------------------------------------------------------------------------------------------------------------------------

CREATE TABLE blotter_internal.retention (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    first_day date NOT NULL,
    days_back int NOT NULL DEFAULT 35 CHECK (days_back >= 0),
    days_ahead int NOT NULL DEFAULT 1 CHECK (days_ahead >= 0)
);
COMMENT ON TABLE blotter_internal.retention IS 'One row: how far back records are kept, and for which days they are taken. days_back and days_ahead are yours to edit.';
COMMENT ON COLUMN blotter_internal.retention.one_row IS 'makes it one row';
COMMENT ON COLUMN blotter_internal.retention.first_day IS 'first UTC day kept; an older record is settled as expired, and not stored; raised by aggregate_days';
COMMENT ON COLUMN blotter_internal.retention.days_back IS 'a record of an older day, seen from today, is rejected unless its day is there already';
COMMENT ON COLUMN blotter_internal.retention.days_ahead IS 'so many days ahead of today are made at most';
-- No record is older: schema/limits.h.
INSERT INTO blotter_internal.retention (first_day) VALUES ('2015-01-01');

-- --- progress and proof --------------------------------------------------------------------------------------------------------------

CREATE TABLE blotter_internal.progress (
    producer_id bigint NOT NULL,
    exchange text NOT NULL,
    lane text NOT NULL,
    drainer text NOT NULL,
    stored bigint NOT NULL DEFAULT 0,
    rejected bigint NOT NULL DEFAULT 0,
    voided bigint NOT NULL DEFAULT 0,
    expired bigint NOT NULL DEFAULT 0,
    last_seq bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (producer_id, exchange, lane, drainer)
) WITH (fillfactor = 50);
COMMENT ON TABLE blotter_internal.progress IS 'How many records of each producer each drainer has settled, written in the transaction that settled them. One row per drainer: they do not wait for each other.';
COMMENT ON COLUMN blotter_internal.progress.producer_id IS 'whose records; positive: foreign clients number nothing, so nothing of theirs could be missing';
COMMENT ON COLUMN blotter_internal.progress.exchange IS 'the stream''s exchange';
COMMENT ON COLUMN blotter_internal.progress.lane IS 'the stream''s lane; empty: none';
COMMENT ON COLUMN blotter_internal.progress.drainer IS 'the instance''s name';
COMMENT ON COLUMN blotter_internal.progress.stored IS 'rows stored, of all kinds';
COMMENT ON COLUMN blotter_internal.progress.rejected IS 'records rejected';
COMMENT ON COLUMN blotter_internal.progress.voided IS 'session records `void` among those stored: a number claimed, but never a record';
COMMENT ON COLUMN blotter_internal.progress.expired IS 'records that came after their day had been dropped';
COMMENT ON COLUMN blotter_internal.progress.last_seq IS 'the highest seq among all these';
COMMENT ON COLUMN blotter_internal.progress.updated_at IS 'when the transaction that last changed the row began';

-- One row a producer: ranges, not rows, so that it stays small for ever.
CREATE TABLE blotter_internal.gone_seqs (
    producer_id bigint NOT NULL,
    exchange text NOT NULL,
    lane text NOT NULL,
    dropped int8multirange NOT NULL DEFAULT '{}',
    expired int8multirange NOT NULL DEFAULT '{}',
    PRIMARY KEY (producer_id, exchange, lane)
);
COMMENT ON TABLE blotter_internal.gone_seqs IS 'Records that are settled but have no row any more, so that the audit stays exact after days were dropped.';
COMMENT ON COLUMN blotter_internal.gone_seqs.dropped IS 'seqs that were stored, and dropped with their day';
COMMENT ON COLUMN blotter_internal.gone_seqs.expired IS 'seqs that came after their day had been dropped, and were not stored';

-- The audit keeps what it has read of a day, and need not read it again; see code/summaries.sql.
CREATE TABLE blotter_internal.day_summary (
    day date PRIMARY KEY,
    as_of pg_snapshot NOT NULL,
    files text NOT NULL
);
COMMENT ON TABLE blotter_internal.day_summary IS 'Days of which day_seqs says which records are stored. Kept by `blotter audit`; a day that changed otherwise than by a load counts no more.';
COMMENT ON COLUMN blotter_internal.day_summary.day IS 'UTC day of recorded_at';
COMMENT ON COLUMN blotter_internal.day_summary.as_of IS 'rows of the transactions that this snapshot sees are in the summary, by their stored_by';
COMMENT ON COLUMN blotter_internal.day_summary.files IS 'which tables on which server were read: another file may hold other rows';

CREATE TABLE blotter_internal.day_seqs (
    day date NOT NULL REFERENCES blotter_internal.day_summary ON DELETE CASCADE,
    producer_id bigint NOT NULL,
    exchange text NOT NULL,
    lane text NOT NULL,
    seqs int8multirange NOT NULL,
    row_count bigint NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (day, producer_id, exchange, lane)
);
COMMENT ON TABLE blotter_internal.day_seqs IS 'Which seqs of each producer have rows of a day, of all kinds together.';
COMMENT ON COLUMN blotter_internal.day_seqs.day IS 'UTC day of recorded_at';
COMMENT ON COLUMN blotter_internal.day_seqs.seqs IS 'the seqs that have a row';
COMMENT ON COLUMN blotter_internal.day_seqs.row_count IS 'how many rows those are; more than seqs: some are doubled';
COMMENT ON COLUMN blotter_internal.day_seqs.first_at IS 'the earliest recorded_at among them';
COMMENT ON COLUMN blotter_internal.day_seqs.last_at IS 'the latest recorded_at among them';

CREATE TABLE blotter_internal.day_changes (
    day date NOT NULL,
    xid xid8 NOT NULL,
    PRIMARY KEY (day, xid)
);
COMMENT ON TABLE blotter_internal.day_changes IS 'Days of which rows were deleted or changed, noted by a trigger: their summaries count no more.';
COMMENT ON COLUMN blotter_internal.day_changes.day IS 'UTC day of recorded_at of the rows';
COMMENT ON COLUMN blotter_internal.day_changes.xid IS 'the transaction that did it';

-- --- PostgreSQL's own history: what a drainer compares before it acknowledges --------------------------------------------------------

CREATE TABLE blotter_internal.history (
    n int PRIMARY KEY,
    id uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    system_identifier bigint NOT NULL,
    timeline bigint NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    accepts boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE blotter_internal.history IS 'The servers that this database has lived on, in turn: a new row for every promotion, restore or clone that drainers loaded into.';
COMMENT ON COLUMN blotter_internal.history.n IS 'number in the chain, from 1';
COMMENT ON COLUMN blotter_internal.history.id IS 'drawn at random, known to Redis';
COMMENT ON COLUMN blotter_internal.history.system_identifier IS 'of the server''s data, from pg_control_system()';
COMMENT ON COLUMN blotter_internal.history.timeline IS 'the server''s timeline';
COMMENT ON COLUMN blotter_internal.history.since IS 'when a drainer first loaded there';
COMMENT ON COLUMN blotter_internal.history.accepts IS 'a person said that streams are taken over from whatever history Redis knows';

CREATE TABLE blotter_internal.loaded (
    stream text PRIMARY KEY,
    n bigint NOT NULL DEFAULT 0,
    last_id text,
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE blotter_internal.loaded IS 'How many transactions have loaded each stream, raised in each of them: shows a server that went back in time, and that there is something new to see.';
COMMENT ON COLUMN blotter_internal.loaded.stream IS 'the Redis stream';
COMMENT ON COLUMN blotter_internal.loaded.n IS 'number of transactions';
COMMENT ON COLUMN blotter_internal.loaded.last_id IS 'highest entry id loaded';
COMMENT ON COLUMN blotter_internal.loaded.updated_at IS 'when the last of them began';

CREATE TABLE blotter_internal.incidents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    stream text NOT NULL,
    what text NOT NULL,
    from_id text,
    to_id text,
    from_n bigint,
    to_n bigint,
    closed_at timestamptz,
    closed_by text
);
COMMENT ON TABLE blotter_internal.incidents IS 'Losses that could not be healed from the stream''s kept tail; audit, check and status show them until a person closes them.';
COMMENT ON COLUMN blotter_internal.incidents.id IS 'number of the incident';
COMMENT ON COLUMN blotter_internal.incidents.at IS 'when the transaction that noticed it began';
COMMENT ON COLUMN blotter_internal.incidents.stream IS 'the Redis stream';
COMMENT ON COLUMN blotter_internal.incidents.what IS 'what happened, in words';
COMMENT ON COLUMN blotter_internal.incidents.from_id IS 'the last entry id that is known to be loaded';
COMMENT ON COLUMN blotter_internal.incidents.to_id IS 'the first entry id of the kept tail';
COMMENT ON COLUMN blotter_internal.incidents.from_n IS 'the last loading transaction that is here';
COMMENT ON COLUMN blotter_internal.incidents.to_n IS 'the last one that Redis knows of';
COMMENT ON COLUMN blotter_internal.incidents.closed_at IS 'when a person closed it; null: open';
COMMENT ON COLUMN blotter_internal.incidents.closed_by IS 'who';

-- --- orders --------------------------------------------------------------------------------------------------------------------------

CREATE TABLE blotter_internal.venues (
    exchange text PRIMARY KEY,
    order_id_scope text NOT NULL CHECK (order_id_scope IN ('exchange', 'symbol'))
);
COMMENT ON TABLE blotter_internal.venues IS 'Venues with an order numbering of their own; others: one numbering for all symbols. Yours to edit: restart the drainers, then SELECT blotter_internal.rebuild_orders().';
COMMENT ON COLUMN blotter_internal.venues.exchange IS 'as in the stream''s name';
COMMENT ON COLUMN blotter_internal.venues.order_id_scope IS 'within what an order_id is unique: exchange, or symbol';
INSERT INTO blotter_internal.venues (exchange, order_id_scope)
SELECT unnest(ARRAY['binance', 'binance-spot', 'binance-margin', 'binance-futures', 'binance-usdm', 'binance-coinm', 'binance-options', 'binance-us',
                    'binancespot', 'binanceusdm', 'binancecoinm', 'binanceus', 'binance_us', 'binance_usdm', 'binance_coinm',
                    'tokocrypto', 'aster', 'asterdex']), 'symbol';

CREATE TABLE blotter_internal.terminal_statuses (
    status text PRIMARY KEY CHECK (status = lower(status COLLATE "C"))
);
COMMENT ON TABLE blotter_internal.terminal_statuses IS 'Statuses that an order does not leave, in lower case. Yours to edit: restart the drainers, then SELECT blotter_internal.rebuild_orders().';
COMMENT ON COLUMN blotter_internal.terminal_statuses.status IS 'compared with lower(status COLLATE "C")';
-- As real messages spell them; a status that says `cancel` without saying that it is done (pending_cancel, cancel_sent) is not one.
INSERT INTO blotter_internal.terminal_statuses (status)
SELECT unnest(ARRAY[
    'filled', 'fully_filled', 'fullyfilled', 'fully filled', 'full_fill', 'fully matched', 'fullymatched', 'orderfilled', 'order_filled',
    'closed', 'done', 'executed', 'complete', 'completed', 'finished', 'settled', 'trade_settled',
    'canceled', 'cancelled', 'ordercanceled', 'ordercancelled', 'order_canceled', 'order_cancelled', 'user_canceled', 'user_cancelled',
    'partially_canceled', 'partially_cancelled', 'partiallycanceled', 'partiallycancelled', 'partially cancelled', 'partially canceled',
    'partial_canceled', 'partial_cancelled', 'partial-canceled', 'partiallyfilledcanceled', 'partially_filled_canceled',
    'partially_filled_cancelled', 'canceled_by_user', 'mmp_canceled', 'margincanceled', 'selftradecanceled', 'reduceonlycanceled',
    'siblingfilledcanceled', 'liquidatedcanceled', 'delistedcanceled', 'opencanceled', 'scheduledcancel', 'deleted', 'deactivated', 'killed',
    'rejected', 'orderrejected', 'order_rejected', 'ioccancelrejected', 'badalopxrejected', 'failed', 'order_failed', 'invalid',
    'expired', 'expired_in_match', 'orderexpired', 'order_expired', 'voided',
    '2', '4', '8', 'c']); -- FIX: filled, canceled, rejected, expired

CREATE TABLE blotter.orders (
    exchange text NOT NULL,
    account text NOT NULL DEFAULT '',
    scope text NOT NULL DEFAULT '',
    order_key text NOT NULL,
    provisional boolean NOT NULL DEFAULT false,
    exchange_time timestamptz,
    update_time timestamptz,
    last_trade_time timestamptz,
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
    stop_loss_price numeric,
    take_profit_price numeric,
    quantity numeric,
    filled_quantity numeric,
    remaining_quantity numeric,
    average_price numeric,
    last_price numeric,
    last_quantity numeric,
    cost numeric,
    fee numeric,
    fee_currency text,
    fee_rate numeric,
    fees jsonb,
    liquidity text,
    realized_pnl numeric,
    post_only boolean,
    reduce_only boolean,
    reason text,
    origin text,
    extra jsonb,
    terminal boolean NOT NULL DEFAULT false,
    first_filled_quantity numeric,
    first_recorded_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    seq bigint NOT NULL,
    producer_id bigint NOT NULL,
    PRIMARY KEY (order_key, exchange, account, scope, provisional)
) WITH (fillfactor = 50);
COMMENT ON TABLE blotter.orders IS
    'The latest state of every order: what its events say together. Example: SELECT status, filled_quantity, average_price FROM blotter.orders WHERE order_key = ''8389765'' AND exchange = ''okx'';';
COMMENT ON COLUMN blotter.orders.account IS 'whose account; empty: not given';
COMMENT ON COLUMN blotter.orders.scope IS 'the symbol, on venues that number orders per symbol (blotter_internal.venues); otherwise empty';
COMMENT ON COLUMN blotter.orders.order_key IS 'the order_id; while provisional, the client_order_id';
COMMENT ON COLUMN blotter.orders.provisional IS 'known by its client id alone so far';
COMMENT ON COLUMN blotter.orders.terminal IS 'the order has ended: a status in blotter_internal.terminal_statuses was reached, or nothing remained in an event without a status; it stays';
COMMENT ON COLUMN blotter.orders.orig_client_order_id IS 'our id of the order that this one replaces (41); of an order whose days are dropped also the client id that its amend took over';
COMMENT ON COLUMN blotter.orders.first_filled_quantity IS 'the first filled_quantity that an event gave; news of a smaller one than filled_quantity is out of date';
COMMENT ON COLUMN blotter.orders.first_recorded_at IS 'recorded_at of its oldest event';
COMMENT ON COLUMN blotter.orders.recorded_at IS 'recorded_at of its newest event';
COMMENT ON COLUMN blotter.orders.seq IS 'seq of its newest event';
COMMENT ON COLUMN blotter.orders.producer_id IS 'producer_id of its newest event';

-- Three indexes, the last of them small, and no column of them changes before the end of an order, so that updates stay within their page (HOT) where that has room:
-- an order has several events, and its neighbours in the page have theirs at about the same time, hence the fillfactor.
-- By their names all the way down: many orders may have one client id.
CREATE INDEX orders_client_order_id ON blotter.orders (client_order_id, exchange, account, scope, first_recorded_at);
COMMENT ON INDEX blotter.orders_client_order_id IS 'the orders of a client id, in their order';
-- The index includes what else the page asks of all open orders, so that 100,000 of them are counted without visiting their rows.
CREATE INDEX orders_open ON blotter.orders (exchange, symbol, first_recorded_at, strategy) INCLUDE (provisional) WHERE NOT terminal;
COMMENT ON INDEX blotter.orders_open IS 'open orders, of a symbol or of a strategy';
CREATE INDEX orders_replacing ON blotter.orders (orig_client_order_id, exchange, account, scope, first_recorded_at)
    WHERE orig_client_order_id <> '' AND NOT provisional;
COMMENT ON INDEX blotter.orders_replacing IS 'the orders that replace another one';
CREATE INDEX orders_venue ON blotter.orders (exchange, account) WHERE origin = 'venue';
COMMENT ON INDEX blotter.orders_venue IS 'the orders that a venue was asked for, for reconciliation; next to empty';

-- The next two are small: most client ids never come without their order id.
CREATE TABLE blotter_internal.client_only_ids (
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
COMMENT ON TABLE blotter_internal.client_only_ids IS 'Client ids that came without an order id at some time: an event that binds them may change which order those events belong to.';
COMMENT ON COLUMN blotter_internal.client_only_ids.settled_order IS 'the only order that ever carried it, if all its client-only events belong to that; nothing newer of that order can change this';
COMMENT ON COLUMN blotter_internal.client_only_ids.common IS 'carried by so many orders that it identifies none';
COMMENT ON COLUMN blotter_internal.client_only_ids.first_at IS 'recorded_at of its oldest client-only event';
COMMENT ON COLUMN blotter_internal.client_only_ids.last_at IS 'recorded_at of its newest client-only event';

CREATE TABLE blotter_internal.order_client_ids (
    client_order_id text NOT NULL,
    exchange text NOT NULL,
    account text NOT NULL,
    scope text NOT NULL,
    order_key text NOT NULL,
    PRIMARY KEY (client_order_id, exchange, account, scope, order_key)
);
CREATE INDEX order_client_ids_order ON blotter_internal.order_client_ids (order_key, exchange);
COMMENT ON INDEX blotter_internal.order_client_ids_order IS 'the client ids of an order';
COMMENT ON TABLE blotter_internal.order_client_ids IS 'Client ids of orders, where orders.client_order_id does not say it all: of orders that had several, and of client-only ids that are not settled.';
COMMENT ON COLUMN blotter_internal.order_client_ids.order_key IS 'an order that carried it';

CREATE TABLE blotter_internal.order_errors (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    exchange text,
    account text,
    scope text,
    order_key text,
    sqlstate text NOT NULL,
    error text NOT NULL
);
COMMENT ON TABLE blotter_internal.order_errors IS 'Orders whose state could not be kept. Their events are stored; SELECT blotter_internal.rebuild_orders() once the cause is gone.';
COMMENT ON COLUMN blotter_internal.order_errors.id IS 'number of the error';
COMMENT ON COLUMN blotter_internal.order_errors.at IS 'when the transaction that met it began';
COMMENT ON COLUMN blotter_internal.order_errors.sqlstate IS 'PostgreSQL''s error code';
COMMENT ON COLUMN blotter_internal.order_errors.error IS 'its message';

CREATE TYPE blotter_internal.order_name AS (exchange text, account text, scope text, name text, from_at timestamptz, marked boolean);
COMMENT ON TYPE blotter_internal.order_name IS 'An order, or a client id, that orders_at looks into.';
COMMENT ON COLUMN blotter_internal.order_name.name IS 'its order_key, or the client id';
COMMENT ON COLUMN blotter_internal.order_name.from_at IS 'when its first event was recorded';
COMMENT ON COLUMN blotter_internal.order_name.marked IS 'an order: it is to be made again; a client id: it names no order';

-- Not partitioned: there are few.
CREATE TABLE blotter_internal.kept_order_events (LIKE blotter.order_events INCLUDING ALL EXCLUDING INDEXES, PRIMARY KEY (recorded_at, producer_id, seq));
CREATE INDEX kept_order_events_order_id ON blotter_internal.kept_order_events (order_id);
COMMENT ON INDEX blotter_internal.kept_order_events_order_id IS 'the history of an order';
CREATE INDEX kept_order_events_client_only ON blotter_internal.kept_order_events (client_order_id) WHERE coalesce(order_id, '') IN ('', '0');
COMMENT ON INDEX blotter_internal.kept_order_events_client_only IS 'the events that came by client id alone';
COMMENT ON TABLE blotter_internal.kept_order_events IS 'Events of dropped days whose orders had not ended by then: what orders is made of, together with order_events. Not part of the record: fills and audit do not read it.';

-- --- books ---------------------------------------------------------------------------------------------------------------------------

-- Books: executions become fills, fills become positions. The functions are in code/books.sql, which also tells how.

-- A heap without an index, written in the loading commit. It is emptied milliseconds later, so it is vacuumed early and often.
CREATE TABLE blotter_internal.book_queue (
    kind "char" NOT NULL,
    producer_id bigint,
    seq bigint,
    recorded_at timestamptz,
    exchange text COLLATE "C" NOT NULL,
    exchange_time timestamptz,
    account text COLLATE "C",
    strategy text COLLATE "C",
    symbol text COLLATE "C",
    market_type text COLLATE "C",
    order_id text COLLATE "C",
    client_order_id text COLLATE "C",
    trade_id text COLLATE "C",
    event text COLLATE "C",
    side text COLLATE "C",
    position_side text COLLATE "C",
    price numeric,
    quantity numeric,
    cost numeric,
    fee numeric,
    fee_currency text COLLATE "C",
    fees jsonb,
    liquidity text COLLATE "C",
    origin text COLLATE "C",
    order_keys text[] COLLATE "C",
    queued_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE blotter_internal.book_queue IS 'Stored records that are not in the books yet. A row goes in the transaction that books it.';
COMMENT ON COLUMN blotter_internal.book_queue.kind IS 'o: order event, t: trade, b: position_base, c: cash entry, i: instrument, h: orders of which something was learnt, r: a fill that position_base counts';
COMMENT ON COLUMN blotter_internal.book_queue.producer_id IS 'identity of the record';
COMMENT ON COLUMN blotter_internal.book_queue.seq IS 'identity of the record';
COMMENT ON COLUMN blotter_internal.book_queue.recorded_at IS 'identity of the record';
COMMENT ON COLUMN blotter_internal.book_queue.event IS 'of an order event';
COMMENT ON COLUMN blotter_internal.book_queue.price IS 'of the execution: last_price of an order event';
COMMENT ON COLUMN blotter_internal.book_queue.quantity IS 'of the execution: last_quantity of an order event';
COMMENT ON COLUMN blotter_internal.book_queue.cost IS 'of a trade; an order event''s is cumulative and is not here';
COMMENT ON COLUMN blotter_internal.book_queue.order_keys IS 'of kind h: the orders, o with an order_id or c with a client_order_id';
COMMENT ON COLUMN blotter_internal.book_queue.queued_at IS 'when the transaction that stored the record began';

-- A copy of an execution as it came, or several copies with the same identity merged. ranks: two bits a field, see code/books.sql.
CREATE TYPE blotter_internal.fill_copy AS (
    ranks bigint,
    differs int,
    rolled boolean,
    recorded_at timestamptz,
    exchange_time timestamptz,
    account text COLLATE "C",
    strategy text COLLATE "C",
    symbol text COLLATE "C",
    market_type text COLLATE "C",
    position_side text COLLATE "C",
    side text COLLATE "C",
    order_id text COLLATE "C",
    client_order_id text COLLATE "C",
    price numeric,
    quantity numeric,
    cost numeric,
    fee numeric,
    fee_currency text COLLATE "C",
    fees jsonb,
    liquidity text COLLATE "C"
);
COMMENT ON TYPE blotter_internal.fill_copy IS 'One copy of an execution, or several of the same identity merged.';

CREATE TYPE blotter_internal.booking_step AS (way "char", copy blotter_internal.fill_copy);
COMMENT ON TYPE blotter_internal.booking_step IS 'What copies make of a fill, and how it is booked: + as one fill, . nothing is new, ? the copies differ in who traded what.';

CREATE TABLE blotter_internal.position (
    id int GENERATED ALWAYS AS IDENTITY UNIQUE,
    exchange text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL DEFAULT '',
    strategy text COLLATE "C" NOT NULL DEFAULT '',
    market_type text COLLATE "C" NOT NULL DEFAULT '',
    symbol text COLLATE "C" NOT NULL DEFAULT '',
    position_side text COLLATE "C" NOT NULL DEFAULT '',
    inverse boolean NOT NULL DEFAULT false,
    unvalued boolean NOT NULL DEFAULT false,
    by_cost boolean NOT NULL DEFAULT false,
    assumed boolean NOT NULL DEFAULT false,
    takes_fees boolean NOT NULL DEFAULT false,
    multiplier numeric NOT NULL DEFAULT 1,
    base text COLLATE "C" NOT NULL DEFAULT '',
    quote text COLLATE "C" NOT NULL DEFAULT '',
    currency text COLLATE "C" NOT NULL DEFAULT '',
    quantity numeric NOT NULL DEFAULT 0,
    open_cost numeric NOT NULL DEFAULT 0,
    realized_pnl numeric NOT NULL DEFAULT 0,
    fee_currency text COLLATE "C",
    fee numeric NOT NULL DEFAULT 0,
    other_fees jsonb,
    fee_value numeric NOT NULL DEFAULT 0,
    funding jsonb,
    fills bigint NOT NULL DEFAULT 0,
    unpriced bigint NOT NULL DEFAULT 0,
    sideless bigint NOT NULL DEFAULT 0,
    first_fill_at timestamptz,
    last_fill_at timestamptz,
    last_trade_id text COLLATE "C",
    last_side text COLLATE "C",
    last_price numeric,
    rolled_before timestamptz,
    rolled_at timestamptz,
    rolled_trade_id text COLLATE "C",
    rolled_side text COLLATE "C",
    PRIMARY KEY (exchange, account, strategy, market_type, symbol, position_side)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX position_symbol ON blotter_internal.position (exchange, symbol);
CREATE INDEX position_unpriced ON blotter_internal.position (id) WHERE unpriced > 0;
COMMENT ON INDEX blotter_internal.position_symbol IS 'the positions of a symbol, when its contract becomes known or changes';
COMMENT ON INDEX blotter_internal.position_unpriced IS 'positions whose PnL is not known yet; next to empty';
COMMENT ON TABLE blotter_internal.position IS 'A position: what its fills, in their order, come to. blotter.positions shows it.';
COMMENT ON COLUMN blotter_internal.position.id IS 'four bytes in each fill instead of six texts';
COMMENT ON COLUMN blotter_internal.position.base IS 'base currency; empty: unknown';
COMMENT ON COLUMN blotter_internal.position.quote IS 'quote currency; empty: unknown';
COMMENT ON COLUMN blotter_internal.position.realized_pnl IS 'since the first fill, before fees and funding; 40 decimals';
COMMENT ON COLUMN blotter_internal.position.fee IS 'fees paid in fee_currency';
COMMENT ON COLUMN blotter_internal.position.other_fees IS 'fees in other currencies';
COMMENT ON COLUMN blotter_internal.position.last_price IS 'of the newest fill that has one: what a position is valued at without a mark price';
COMMENT ON COLUMN blotter_internal.position.inverse IS 'the contract pays in its base currency';
COMMENT ON COLUMN blotter_internal.position.unvalued IS 'a quanto contract without a multiplier: quantities are right, money is unknown';
COMMENT ON COLUMN blotter_internal.position.by_cost IS 'the contract size is unknown: a fill''s value is its cost, where it has one';
COMMENT ON COLUMN blotter_internal.position.assumed IS 'no instrument says what a unit is: it is taken for 1';
COMMENT ON COLUMN blotter_internal.position.takes_fees IS 'spot and margin: a fee in the base currency lowers the quantity';
COMMENT ON COLUMN blotter_internal.position.multiplier IS 'units of the base currency (linear) or of the quote currency (inverse) in one of quantity';
COMMENT ON COLUMN blotter_internal.position.currency IS 'what its PnL is in: quote, of inverse contracts base; empty: unknown';
COMMENT ON COLUMN blotter_internal.position.open_cost IS 'what the open quantity cost; 40 decimals';
COMMENT ON COLUMN blotter_internal.position.fee_currency IS 'of fee; the other currencies are in other_fees';
COMMENT ON COLUMN blotter_internal.position.fee_value IS 'fees in base or quote, valued in the position''s currency at each fill''s price';
COMMENT ON COLUMN blotter_internal.position.funding IS 'currency to amount, + received';
COMMENT ON COLUMN blotter_internal.position.unpriced IS 'fills whose value is not known';
COMMENT ON COLUMN blotter_internal.position.sideless IS 'fills of which nobody knows whether they bought or sold';
COMMENT ON COLUMN blotter_internal.position.last_trade_id IS 'with last_fill_at and last_side the place of the newest fill in the order of fills';
COMMENT ON COLUMN blotter_internal.position.last_side IS 'see last_trade_id';
COMMENT ON COLUMN blotter_internal.position.rolled_before IS 'its fills before this full hour are rolled: what they came to is in position_hour, who they were in rolled_fill; null: it has all its fills';
COMMENT ON COLUMN blotter_internal.position.rolled_at IS 'with rolled_trade_id and rolled_side the place of the last fill that is rolled in the order of fills';
COMMENT ON COLUMN blotter_internal.position.rolled_trade_id IS 'see rolled_at';
COMMENT ON COLUMN blotter_internal.position.rolled_side IS 'see rolled_at';

-- Not partitioned and not dropped with days, so that a copy that comes late is known for one, and dropping days changes nothing.
CREATE TABLE blotter_internal.fill (
    exchange text COLLATE "C" NOT NULL,
    trade_id text COLLATE "C" NOT NULL,
    n smallint NOT NULL,
    position_id int NOT NULL,
    at timestamptz NOT NULL,
    lacks int NOT NULL,
    differs int NOT NULL,
    ranks bigint NOT NULL,
    rolled boolean NOT NULL DEFAULT false,
    side text COLLATE "C",
    order_id text COLLATE "C",
    client_order_id text COLLATE "C",
    price numeric,
    quantity numeric NOT NULL,
    cost numeric,
    fee numeric,
    fee_currency text COLLATE "C",
    fees jsonb,
    liquidity text COLLATE "C",
    copies blotter_internal.fill_copy[],
    PRIMARY KEY (exchange, trade_id, n)
) WITH (fillfactor = 90);
CREATE INDEX fill_position ON blotter_internal.fill (position_id, at);
CREATE INDEX fill_order ON blotter_internal.fill (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX fill_client_order ON blotter_internal.fill (client_order_id) WHERE client_order_id IS NOT NULL;
CREATE INDEX fill_at ON blotter_internal.fill (at);
COMMENT ON INDEX blotter_internal.fill_at IS 'the fills of a span of time, the newest fills';
COMMENT ON INDEX blotter_internal.fill_position IS 'a position''s fills in their order: late fills, positions_at, the newest fills';
COMMENT ON INDEX blotter_internal.fill_order IS 'an order''s fills, for what it lends them when more is learnt of it, and for its history';
COMMENT ON INDEX blotter_internal.fill_client_order IS 'the same for fills that name no order but a client id; next to empty';
COMMENT ON TABLE blotter_internal.fill IS 'One row an execution, whatever copies came of it. blotter.fills shows them.';
COMMENT ON COLUMN blotter_internal.fill.trade_id IS 'the venue''s id of the execution; where there is none, # with the record''s identity';
COMMENT ON COLUMN blotter_internal.fill.position_id IS 'whose fill it is';
COMMENT ON COLUMN blotter_internal.fill.n IS 'tells apart the fills of one trade id: a self-trade''s two sides, ids that a venue numbers per symbol, two accounts';
COMMENT ON COLUMN blotter_internal.fill.at IS 'the exchange''s time of the best copy that has one, else when the earliest copy was recorded';
COMMENT ON COLUMN blotter_internal.fill.lacks IS 'a bit a field that no copy has, so that it comes from the order, or is unknown';
COMMENT ON COLUMN blotter_internal.fill.differs IS 'a bit a field in which copies differ';
COMMENT ON COLUMN blotter_internal.fill.ranks IS 'two bits a field: which kind of copy it came from; then a bit each: heard from the strategies'' feed, from the venue''s history';
COMMENT ON COLUMN blotter_internal.fill.rolled IS 'counted in position_base already: known, so that a copy does not count again, and without effect';
COMMENT ON COLUMN blotter_internal.fill.client_order_id IS 'where no copy names the order';
COMMENT ON COLUMN blotter_internal.fill.cost IS 'as a trade gave it; null: price, quantity and contract tell';
COMMENT ON COLUMN blotter_internal.fill.fee IS '+ paid, - rebate';
COMMENT ON COLUMN blotter_internal.fill.copies IS 'all copies of the trade id, in its first fill, where they differ in what they say of who traded what';

-- A fill that is rolled leaves what a copy that comes later is known by. Without a unique key, as a venue may number its trades per symbol.
CREATE TABLE blotter_internal.rolled_fill (
    position_id int NOT NULL,
    lacks smallint NOT NULL,
    trade_id text COLLATE "C" NOT NULL,
    order_id text COLLATE "C",
    side text COLLATE "C"
);
CREATE INDEX rolled_fill_trade ON blotter_internal.rolled_fill (trade_id);
COMMENT ON INDEX blotter_internal.rolled_fill_trade IS 'is a copy one of a fill that is rolled?';
COMMENT ON TABLE blotter_internal.rolled_fill IS 'The identities of fills that are rolled, so that a copy of one changes nothing.';
COMMENT ON COLUMN blotter_internal.rolled_fill.position_id IS 'as in fill';
COMMENT ON COLUMN blotter_internal.rolled_fill.lacks IS 'as in fill';
COMMENT ON COLUMN blotter_internal.rolled_fill.trade_id IS 'as in fill';
COMMENT ON COLUMN blotter_internal.rolled_fill.order_id IS 'as in fill';
COMMENT ON COLUMN blotter_internal.rolled_fill.side IS 'as in fill';

CREATE TABLE blotter_internal.rolled_lot (
    position_id int NOT NULL,
    n int NOT NULL,
    at timestamptz NOT NULL,
    trade_id text COLLATE "C" NOT NULL,
    quantity numeric NOT NULL,
    cost numeric NOT NULL,
    PRIMARY KEY (position_id, n)
);
COMMENT ON TABLE blotter_internal.rolled_lot IS 'The lots that were open, first in, first out, when the fills before were rolled: where fifo starts from.';
COMMENT ON COLUMN blotter_internal.rolled_lot.position_id IS 'whose';
COMMENT ON COLUMN blotter_internal.rolled_lot.n IS 'place: the least is closed first';
COMMENT ON COLUMN blotter_internal.rolled_lot.at IS 'when it was opened';
COMMENT ON COLUMN blotter_internal.rolled_lot.trade_id IS 'by which fill';
COMMENT ON COLUMN blotter_internal.rolled_lot.quantity IS 'what is left of it: + long, - short';
COMMENT ON COLUMN blotter_internal.rolled_lot.cost IS 'what that cost';

-- The state at the end of each hour that has fills, and what the hour added.
CREATE TABLE blotter_internal.position_hour (
    position_id int NOT NULL,
    hour timestamptz NOT NULL,
    quantity numeric NOT NULL,
    open_cost numeric NOT NULL,
    realized_pnl numeric NOT NULL,
    fee_currency text COLLATE "C",
    fee numeric NOT NULL DEFAULT 0,
    other_fees jsonb,
    fee_value numeric NOT NULL DEFAULT 0,
    fills bigint NOT NULL DEFAULT 0,
    last_price numeric,
    total_fills bigint NOT NULL DEFAULT 0,
    total_fee numeric NOT NULL DEFAULT 0,
    total_other_fees jsonb,
    PRIMARY KEY (position_id, hour)
) WITH (fillfactor = 70);
COMMENT ON TABLE blotter_internal.position_hour IS 'A position at the end of an hour in which it had fills: where a late fill, positions_at and pnl start from.';
COMMENT ON COLUMN blotter_internal.position_hour.realized_pnl IS 'since the position''s first fill';
COMMENT ON COLUMN blotter_internal.position_hour.position_id IS 'whose';
COMMENT ON COLUMN blotter_internal.position_hour.hour IS 'UTC';
COMMENT ON COLUMN blotter_internal.position_hour.quantity IS 'at the end of the hour';
COMMENT ON COLUMN blotter_internal.position_hour.open_cost IS 'at the end of the hour';
COMMENT ON COLUMN blotter_internal.position_hour.fee_currency IS 'of fee';
COMMENT ON COLUMN blotter_internal.position_hour.other_fees IS 'in other currencies';
COMMENT ON COLUMN blotter_internal.position_hour.fee_value IS 'fees valued in the position''s currency';
COMMENT ON COLUMN blotter_internal.position_hour.fills IS 'number of fills';
COMMENT ON COLUMN blotter_internal.position_hour.last_price IS 'of the last fill that has one';
COMMENT ON COLUMN blotter_internal.position_hour.fee IS 'in this hour, as the columns that follow';
COMMENT ON COLUMN blotter_internal.position_hour.total_fills IS 'number of fills up to the end of the hour; of the position''s newest hour the position itself says it, as the totals that follow';
COMMENT ON COLUMN blotter_internal.position_hour.total_fee IS 'fees up to then in the position''s fee_currency';
COMMENT ON COLUMN blotter_internal.position_hour.total_other_fees IS 'fees up to then in other currencies';

-- The state within an hour, each 64 fills: a position may have a hundred thousand an hour, and fills of two lanes come a little late all the time.
CREATE TABLE blotter_internal.position_checkpoint (
    position_id int NOT NULL,
    at timestamptz NOT NULL,
    quantity numeric NOT NULL,
    open_cost numeric NOT NULL,
    realized_pnl numeric NOT NULL,
    last_price numeric,
    PRIMARY KEY (position_id, at)
);
COMMENT ON TABLE blotter_internal.position_checkpoint IS 'A position after some of its fills: a late fill starts from the last one before it, if that is in its hour.';
COMMENT ON COLUMN blotter_internal.position_checkpoint.position_id IS 'whose';
COMMENT ON COLUMN blotter_internal.position_checkpoint.at IS 'time of the last fill counted; the next one is later';
COMMENT ON COLUMN blotter_internal.position_checkpoint.quantity IS 'as in position, after that fill';
COMMENT ON COLUMN blotter_internal.position_checkpoint.open_cost IS 'as in position, after that fill';
COMMENT ON COLUMN blotter_internal.position_checkpoint.realized_pnl IS 'as in position, after that fill';
COMMENT ON COLUMN blotter_internal.position_checkpoint.last_price IS 'as in position, after that fill';

CREATE TABLE blotter_internal.pnl_day (
    exchange text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    strategy text COLLATE "C" NOT NULL,
    currency text COLLATE "C" NOT NULL,
    day timestamptz NOT NULL,
    realized numeric NOT NULL DEFAULT 0,
    fee_value numeric NOT NULL DEFAULT 0,
    funding numeric NOT NULL DEFAULT 0,
    fills bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (strategy, exchange, account, currency, day)
) WITH (fillfactor = 70);
CREATE INDEX pnl_day_day ON blotter_internal.pnl_day (day);
COMMENT ON INDEX blotter_internal.pnl_day_day IS 'all strategies of some days';
COMMENT ON TABLE blotter_internal.pnl_day IS 'The profit that each UTC day added, by strategy: pnl and equity of long spans read this.';
COMMENT ON COLUMN blotter_internal.pnl_day.exchange IS 'as in positions';
COMMENT ON COLUMN blotter_internal.pnl_day.account IS 'as in positions';
COMMENT ON COLUMN blotter_internal.pnl_day.strategy IS 'as in positions';
COMMENT ON COLUMN blotter_internal.pnl_day.day IS 'its first moment';
COMMENT ON COLUMN blotter_internal.pnl_day.realized IS 'realised PnL';
COMMENT ON COLUMN blotter_internal.pnl_day.funding IS 'received';
COMMENT ON COLUMN blotter_internal.pnl_day.fills IS 'number of fills';
COMMENT ON COLUMN blotter_internal.pnl_day.currency IS 'of the amounts: what PnL is in; or of funding, or of a fee that is neither in base nor quote of its position';
COMMENT ON COLUMN blotter_internal.pnl_day.fee_value IS 'fees in base or quote, valued in the currency of the row, and those in that currency';

-- The latest instrument record of each symbol.
CREATE TABLE blotter_internal.contract (
    exchange text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    market_type text COLLATE "C" NOT NULL,
    recorded_at timestamptz NOT NULL,
    producer_id bigint NOT NULL,
    seq bigint NOT NULL,
    base text COLLATE "C",
    quote text COLLATE "C",
    settle text COLLATE "C",
    contract_size numeric,
    quantity_unit text COLLATE "C",
    linear boolean,
    inverse boolean,
    PRIMARY KEY (exchange, symbol, market_type)
);
COMMENT ON TABLE blotter_internal.contract IS 'The meaning of a unit of a symbol, by the latest record in blotter.instruments.';

CREATE TABLE blotter_internal.funding (
    exchange text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    entry_id text COLLATE "C" NOT NULL,
    currency text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    exchange_time timestamptz NOT NULL,
    position_id int NOT NULL,
    at timestamptz NOT NULL,
    amount numeric NOT NULL,
    counts boolean NOT NULL,
    recorded_at timestamptz NOT NULL,
    producer_id bigint NOT NULL,
    seq bigint NOT NULL,
    strategy_at timestamptz NOT NULL,
    market_type_at timestamptz NOT NULL,
    PRIMARY KEY (exchange, account, entry_id, currency, symbol, exchange_time)
);
CREATE INDEX funding_position ON blotter_internal.funding (position_id, at);
COMMENT ON INDEX blotter_internal.funding_position IS 'a position''s funding in order of time';
COMMENT ON TABLE blotter_internal.funding IS 'Funding payments, each once whatever records came of it; the latest record counts, and of its strategy and market type the latest that says one.';
COMMENT ON COLUMN blotter_internal.funding.position_id IS 'whose';
COMMENT ON COLUMN blotter_internal.funding.at IS 'the exchange''s time, else when it was recorded';
COMMENT ON COLUMN blotter_internal.funding.exchange_time IS 'part of the key: hyperliquid gives all payments one id; -infinity: not given';
COMMENT ON COLUMN blotter_internal.funding.strategy_at IS 'when the record that says the strategy was recorded: what a later one does not say stays; -infinity: none says';
COMMENT ON COLUMN blotter_internal.funding.market_type_at IS 'the same for the market type';
COMMENT ON COLUMN blotter_internal.funding.counts IS 'its status is one of money that moved';

CREATE TABLE blotter_internal.book_errors (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    sqlstate text NOT NULL,
    error text NOT NULL,
    "row" jsonb NOT NULL
);
COMMENT ON TABLE blotter_internal.book_errors IS 'Records that are stored but could not be booked; SELECT blotter_internal.rebook_errors() tries them again once the cause is gone.';
COMMENT ON COLUMN blotter_internal.book_errors.at IS 'when the transaction that met it began';
COMMENT ON COLUMN blotter_internal.book_errors.id IS 'number of the error';
COMMENT ON COLUMN blotter_internal.book_errors.sqlstate IS 'PostgreSQL''s error code';
COMMENT ON COLUMN blotter_internal.book_errors.error IS 'its message';
COMMENT ON COLUMN blotter_internal.book_errors."row" IS 'the row of book_queue';

CREATE TABLE blotter.position_base (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    exchange text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL DEFAULT '',
    strategy text COLLATE "C" NOT NULL DEFAULT '',
    market_type text COLLATE "C" NOT NULL DEFAULT '',
    symbol text COLLATE "C" NOT NULL,
    position_side text COLLATE "C" NOT NULL DEFAULT '',
    at timestamptz NOT NULL,
    quantity numeric NOT NULL,
    price numeric,
    cost numeric,
    fees jsonb,
    note text
);
COMMENT ON TABLE blotter.position_base IS 'Positions from before Blotter: a row is booked as a fill of that time, quantity and price. Example: INSERT INTO blotter.position_base (exchange, account, strategy, market_type, symbol, at, quantity, price) VALUES (''okx'', ''main'', ''mm'', ''swap'', ''BTC/USDT:USDT'', ''2026-11-01Z'', -3, 67000);';
COMMENT ON COLUMN blotter.position_base.quantity IS '+ long, - short';
COMMENT ON COLUMN blotter.position_base.id IS 'number of the row';
COMMENT ON COLUMN blotter.position_base.exchange IS 'as in positions';
COMMENT ON COLUMN blotter.position_base.account IS 'as in positions';
COMMENT ON COLUMN blotter.position_base.strategy IS 'as in positions';
COMMENT ON COLUMN blotter.position_base.market_type IS 'as in positions';
COMMENT ON COLUMN blotter.position_base.symbol IS 'as in positions';
COMMENT ON COLUMN blotter.position_base.position_side IS 'long, short; empty: both or net';
COMMENT ON COLUMN blotter.position_base.at IS 'since when it is held: its place in the order of fills';
COMMENT ON COLUMN blotter.position_base.note IS 'yours';
COMMENT ON COLUMN blotter.position_base.price IS 'at which it was opened; null: see cost';
COMMENT ON COLUMN blotter.position_base.cost IS 'what it cost, in the currency of the position, where no price is given';
COMMENT ON COLUMN blotter.position_base.fees IS 'paid for it: currency to amount';

-- A position is valued at the venue's latest mark price of its symbol.
CREATE INDEX venue_positions_symbol ON blotter.venue_positions (exchange, symbol, recorded_at) WHERE mark_price IS NOT NULL;
COMMENT ON INDEX blotter.venue_positions_symbol IS 'the latest mark price of a symbol';
