-- reconciliation: what the venues say of positions, balances, fills and orders, beside what is recorded of the strategies' own feed.
--
-- Each kind looks at the last day or at the newest rows, so that its cost does not grow with the days.

-- One call of fetch_positions is a snapshot: what is not in an account's newest one, the venue does not hold. Long and short of hedge mode
-- are taken together, and so are strategies, as the venue knows none. Spot is no position at a venue.
CREATE VIEW blotter_internal.positions_compared AS
WITH said AS (
    SELECT v.exchange, coalesce(v.account, '') AS account, v.symbol, v.quantity, v.snapshot, max(v.snapshot) OVER (PARTITION BY v.exchange, coalesce(v.account, '')) AS newest
    FROM (SELECT x.* FROM blotter.venue_positions x ORDER BY x.recorded_at DESC LIMIT 20000) AS v
    WHERE v.snapshot IS NOT NULL
), venue AS (
    SELECT s.exchange, s.account, s.symbol, sum(coalesce(s.quantity, 0)) AS quantity FROM said s WHERE s.snapshot = s.newest GROUP BY 1, 2, 3
), asked AS (
    SELECT DISTINCT s.exchange, s.account, s.newest FROM said s
), ours AS (
    SELECT p.exchange, p.account, p.symbol, max(p.market_type) AS market_type, sum(p.quantity) AS quantity, max(p.last_fill_at) AS last_fill_at,
           sum(p.sideless) AS sideless, bool_or(p.over_closed) AS over_closed, bool_or(p.market_type NOT IN ('spot', 'margin', '') OR strpos(p.symbol, ':') > 0) AS is_position
    FROM blotter.positions p JOIN asked a ON a.exchange = p.exchange AND a.account = p.account GROUP BY 1, 2, 3
), both_sides AS (
    SELECT coalesce(o.exchange, v.exchange) AS exchange, coalesce(o.account, v.account) AS account, coalesce(o.symbol, v.symbol) AS symbol,
           coalesce(o.market_type, '') AS market_type, coalesce(o.quantity, 0) AS ours, coalesce(v.quantity, 0) AS venue, o.last_fill_at, coalesce(o.sideless, 0) AS sideless,
           o.over_closed
    FROM ours o FULL JOIN venue v ON v.exchange = o.exchange AND v.account = o.account AND v.symbol = o.symbol
    WHERE v.symbol IS NOT NULL OR o.is_position AND o.quantity <> 0
)
SELECT b.exchange, b.account, 'position' AS kind, b.market_type, b.symbol, '' AS position_side, '' AS currency, b.ours, b.venue, b.ours - b.venue AS difference, a.newest AS venue_at,
       CASE WHEN b.ours = b.venue THEN true WHEN b.last_fill_at > a.newest THEN NULL ELSE false END AS agrees,
       CASE WHEN b.ours = b.venue THEN '' WHEN b.last_fill_at > a.newest THEN 'traded since the venue was asked'
            WHEN b.sideless > 0 THEN 'fills without a side'
            WHEN b.over_closed THEN 'more was closed than opened' ELSE '' END AS note
FROM both_sides b JOIN asked a ON a.exchange = b.exchange AND a.account = b.account;

-- Two snapshots of a wallet, a day apart at most, and what moved between them. The ledger tells all, if it has entries of trades; otherwise
-- spot fills are added, and what derivatives did to the currencies they settle in or pay fees in is not known: the total of many venues holds
-- what is open, at a price of their own.
CREATE VIEW blotter_internal.balances_compared AS
WITH said AS MATERIALIZED (
    SELECT b.exchange, coalesce(b.account, '') AS account, coalesce(b.market_type, '') AS market_type, b.currency, coalesce(b.total, b.free + b.used) AS total, b.snapshot
    FROM blotter.balances b WHERE b.recorded_at >= now() - interval '1 day' AND b.snapshot IS NOT NULL
), spans AS MATERIALIZED (
    -- an account has a few wallets; of one of thousands each would be compared with each of its cash flows
    SELECT w.exchange, w.account, w.market_type, w.low, w.high
    FROM (SELECT s.exchange, s.account, s.market_type, min(s.snapshot) AS low, max(s.snapshot) AS high,
                 row_number() OVER (PARTITION BY s.exchange, s.account ORDER BY max(s.snapshot) DESC, s.market_type) AS n
          FROM said s GROUP BY 1, 2, 3 HAVING min(s.snapshot) < max(s.snapshot)) AS w WHERE w.n <= 20
), held AS (
    SELECT p.exchange, p.account, p.market_type, s.currency, coalesce(sum(s.total) FILTER (WHERE s.snapshot = p.low), 0) AS before,
           coalesce(sum(s.total) FILTER (WHERE s.snapshot = p.high), 0) AS after
    FROM spans p JOIN said s ON s.exchange = p.exchange AND s.account = p.account AND s.market_type = p.market_type AND s.snapshot IN (p.low, p.high)
    WHERE s.currency IS NOT NULL GROUP BY 1, 2, 3, 4
), entries AS MATERIALIZED (
    -- a status that changes, and a history that repeats the ledger, come under one key
    SELECT DISTINCT ON (c.exchange, coalesce(c.account, ''), lower(c.type), coalesce(nullif(c.entry_id, ''), c.producer_id || ':' || c.seq), c.currency, coalesce(c.symbol, ''), c.exchange_time)
           c.exchange, coalesce(c.account, '') AS account, coalesce(c.market_type, '') AS market_type, lower(c.type) AS type, coalesce(c.exchange_time, c.recorded_at) AS at,
           c.currency, c.amount, c.fee, coalesce(c.fee_currency, c.currency) AS fee_currency, blotter_internal.money_moved(c.status) AS moved
    FROM blotter.cash c WHERE c.recorded_at >= now() - interval '2 days'
    ORDER BY c.exchange, coalesce(c.account, ''), lower(c.type), coalesce(nullif(c.entry_id, ''), c.producer_id || ':' || c.seq), c.currency, coalesce(c.symbol, ''), c.exchange_time,
             c.recorded_at DESC, c.seq DESC
), wallets AS MATERIALIZED (
    SELECT p.*, (p.exchange, p.account, p.market_type) IN (SELECT s.exchange, s.account, s.market_type
                                                           FROM spans s JOIN entries e ON e.exchange = s.exchange AND e.account = s.account AND e.at > s.low AND e.at <= s.high
                                                           WHERE e.type IN ('trade', 'commission')) AS has_trades,
           ARRAY(SELECT x.currency
                 FROM blotter_internal.position o
                 CROSS JOIN LATERAL (SELECT o.currency UNION ALL SELECT o.fee_currency UNION ALL SELECT jsonb_object_keys(o.other_fees)) AS x
                 WHERE o.exchange = p.exchange COLLATE "C" AND o.account = p.account COLLATE "C" AND NOT o.takes_fees AND (o.quantity <> 0 OR o.last_fill_at > p.low)
                   AND p.market_type NOT IN ('spot', 'margin')) AS of_derivatives -- '': not known, so any
    FROM spans p
), moves AS (
    SELECT w.exchange, w.account, w.market_type, x.currency, sum(x.amount) AS amount
    FROM wallets w
    JOIN entries e ON e.exchange = w.exchange AND e.account = w.account AND e.market_type IN ('', w.market_type) AND e.at > w.low AND e.at <= w.high AND e.moved
    CROSS JOIN LATERAL (VALUES (e.currency, e.amount), (e.fee_currency, -coalesce(e.fee, 0))) AS x (currency, amount)
    GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT w.exchange, w.account, w.market_type, x.currency, sum(x.amount)
    FROM wallets w
    JOIN blotter_internal.position p ON p.exchange = w.exchange COLLATE "C" AND p.account = w.account COLLATE "C" AND p.takes_fees AND p.last_fill_at > w.low
                                     AND (p.market_type = '' OR w.market_type IN ('', p.market_type COLLATE "default"))
    JOIN blotter_internal.fill f ON f.position_id = p.id AND f.at > w.low AND f.at <= w.high AND NOT f.rolled
    CROSS JOIN LATERAL (
        SELECT p.base AS currency, CASE f.side WHEN 'buy' THEN f.quantity ELSE -f.quantity END AS amount
        UNION ALL SELECT p.quote, CASE f.side WHEN 'buy' THEN -1 ELSE 1 END * blotter_internal.fill_value(p.inverse, p.unvalued, p.by_cost, p.multiplier, f.quantity, f.price, f.quantity, f.cost)
        UNION ALL SELECT f.fee_currency, -f.fee WHERE f.fees IS NULL AND f.fee IS NOT NULL
        UNION ALL SELECT j.key, -j.value::numeric FROM jsonb_each_text(f.fees) AS j) AS x
    WHERE NOT w.has_trades AND w.market_type IN ('', 'spot', 'margin')
    GROUP BY 1, 2, 3, 4
), ours AS (
    SELECT x.exchange, x.account, x.market_type, x.currency, sum(x.ours) AS ours, sum(x.venue) AS venue
    FROM (SELECT h.exchange, h.account, h.market_type, h.currency, h.before AS ours, h.after AS venue FROM held h
          UNION ALL SELECT m.exchange, m.account, m.market_type, m.currency COLLATE "default", m.amount, NULL FROM moves m) AS x
    GROUP BY 1, 2, 3, 4 HAVING count(x.venue) > 0
)
SELECT o.exchange, o.account, 'balance' AS kind, o.market_type, '' AS symbol, '' AS position_side, o.currency, trim_scale(o.ours) AS ours, trim_scale(o.venue) AS venue,
       trim_scale(o.ours - o.venue) AS difference, w.high AS venue_at,
       CASE WHEN o.ours = o.venue THEN true WHEN d.unknown THEN NULL ELSE false END AS agrees,
       CASE WHEN o.ours = o.venue THEN '' WHEN d.unknown THEN 'the ledger has no trades, so what derivatives paid in this currency is not known'
            WHEN w.has_trades THEN 'less than all of the ledger is recorded' ELSE 'cash flows or fills are missing' END AS note
FROM ours o JOIN wallets w ON w.exchange = o.exchange AND w.account = o.account AND w.market_type = o.market_type
CROSS JOIN LATERAL (SELECT NOT w.has_trades AND w.of_derivatives && ARRAY['', o.currency COLLATE "C"] AS unknown) AS d;

-- The venue's history of a symbol reaches from its first to its last fill that was fetched. In between both sides should have heard of each.
CREATE VIEW blotter_internal.fills_compared AS
WITH heard AS (
    SELECT p.exchange, p.account, p.market_type, p.symbol, f.at, f.ranks & 4294967296 <> 0 AS by_us, f.ranks & 8589934592 <> 0 AS by_venue,
           f.differs & 30208 <> 0 AS differs -- price, quantity, fee, fee_currency, fees
    FROM (SELECT x.* FROM blotter_internal.fill x WHERE x.at >= now() - interval '1 day' ORDER BY x.at DESC LIMIT 100000) AS f
    JOIN blotter_internal.position p ON p.id = f.position_id
    WHERE NOT f.rolled AND f.ranks >> 32 <> 0 AND f.trade_id NOT LIKE '#%'
), counted AS (
    SELECT h.exchange, h.account, h.symbol, max(h.market_type) AS market_type, l.high, count(*) FILTER (WHERE h.by_us) AS ours, count(*) FILTER (WHERE h.by_venue) AS venue,
           count(*) FILTER (WHERE NOT h.by_us) AS unheard, count(*) FILTER (WHERE NOT h.by_venue) AS unlisted, count(*) FILTER (WHERE h.differs) AS differ
    FROM heard h
    JOIN (SELECT x.exchange, x.account, x.symbol, min(x.at) AS low, max(x.at) AS high FROM heard x WHERE x.by_venue GROUP BY 1, 2, 3) AS l
      ON l.exchange = h.exchange AND l.account = h.account AND l.symbol = h.symbol AND h.at BETWEEN l.low AND l.high
    GROUP BY h.exchange, h.account, h.symbol, l.high
)
SELECT c.exchange, c.account, 'fills' AS kind, c.market_type, c.symbol, '' AS position_side, '' AS currency, c.ours::numeric AS ours, c.venue::numeric AS venue,
       (c.ours - c.venue)::numeric AS difference, c.high AS venue_at, c.unheard + c.unlisted + c.differ = 0 AS agrees,
       concat_ws(', ', CASE WHEN c.unheard > 0 THEN c.unheard || ' that only the venue told of' END, CASE WHEN c.unlisted > 0 THEN c.unlisted || ' that the venue does not list' END,
                 CASE WHEN c.differ > 0 THEN c.differ || ' with another price, quantity or fee' END) AS note
FROM counted c;

-- Orders that the venue was asked for: do they stand as the strategies' own events say?
CREATE VIEW blotter_internal.orders_compared AS
WITH asked AS MATERIALIZED (
    SELECT x.exchange, x.account, x.order_key, x.first_recorded_at AS first_at
    FROM blotter.orders x WHERE x.origin = 'venue' AND NOT x.provisional AND x.recorded_at >= now() - interval '1 day' ORDER BY x.recorded_at DESC LIMIT 10000
), states AS (
    -- an id's events are read once, though thousands of accounts may have it; IS TRUE: looked up in a hash table, never joined
    SELECT e.exchange, e.account, e.order_id AS order_key,
           bool_or(blotter_internal.is_terminal(e.status)) FILTER (WHERE e.origin IS DISTINCT FROM 'venue') AS our_end,
           bool_or(blotter_internal.is_terminal(e.status)) FILTER (WHERE e.origin = 'venue') AS venue_end,
           coalesce(max(e.filled_quantity) FILTER (WHERE e.origin IS DISTINCT FROM 'venue'), 0) AS our_filled,
           coalesce(max(e.filled_quantity) FILTER (WHERE e.origin = 'venue'), 0) AS venue_filled,
           max(e.recorded_at) FILTER (WHERE e.origin IS DISTINCT FROM 'venue') AS our_at, max(e.recorded_at) FILTER (WHERE e.origin = 'venue') AS venue_at
    FROM (SELECT a.order_key, min(a.first_at) AS first_at FROM asked a GROUP BY a.order_key) AS k
    CROSS JOIN LATERAL (SELECT x.order_id, x.exchange, coalesce(x.account, '') AS account, x.origin, x.status, x.filled_quantity, x.recorded_at
                        FROM blotter.order_events x WHERE x.order_id = k.order_key AND x.recorded_at >= k.first_at OFFSET 0) AS e
    WHERE ((e.order_id, e.exchange, e.account) IN (SELECT a.order_key, a.exchange, a.account FROM asked a)) IS TRUE
    GROUP BY 1, 2, 3 HAVING max(e.recorded_at) FILTER (WHERE e.origin = 'venue') IS NOT NULL
), judged AS (
    SELECT s.*, CASE WHEN s.our_at IS NULL THEN 'only the venue told of it' WHEN (coalesce(s.our_end, false), s.our_filled) = (coalesce(s.venue_end, false), s.venue_filled) THEN 'same'
                     WHEN s.our_at > s.venue_at THEN 'changed since' ELSE 'differs' END AS state
    FROM states s
), counted AS (
    SELECT j.exchange, j.account, count(*) FILTER (WHERE j.our_at IS NOT NULL AND j.our_end IS NOT TRUE) AS ours, count(*) FILTER (WHERE j.venue_end IS NOT TRUE) AS venue, max(j.venue_at) AS venue_at,
           count(*) FILTER (WHERE j.state = 'changed since') AS changed, count(*) FILTER (WHERE j.state = 'only the venue told of it') AS unheard, count(*) FILTER (WHERE j.state = 'differs') AS differ,
           (array_agg(j.order_key ORDER BY j.venue_at DESC) FILTER (WHERE j.state IN ('differs', 'only the venue told of it')))[1:3] AS which
    FROM judged j GROUP BY 1, 2
)
SELECT c.exchange, c.account, 'open orders' AS kind, '' AS market_type, '' AS symbol, '' AS position_side, '' AS currency, c.ours::numeric AS ours, c.venue::numeric AS venue,
       (c.ours - c.venue)::numeric AS difference, c.venue_at, CASE WHEN c.unheard + c.differ > 0 THEN false WHEN c.changed = 0 THEN true END AS agrees,
       concat_ws(', ', CASE WHEN c.unheard > 0 THEN c.unheard || ' that only the venue told of' END, CASE WHEN c.differ > 0 THEN c.differ || ' in another state' END,
                 CASE WHEN c.changed > 0 THEN c.changed || ' changed since the venue was asked' END) || coalesce(': ' || array_to_string(c.which, ', '), '') AS note
FROM counted c;

CREATE VIEW blotter.reconciliation AS
SELECT * FROM blotter_internal.positions_compared
UNION ALL SELECT * FROM blotter_internal.balances_compared
UNION ALL SELECT * FROM blotter_internal.fills_compared
UNION ALL SELECT * FROM blotter_internal.orders_compared;
COMMENT ON VIEW blotter.reconciliation IS 'What a venue said in the last day beside what is recorded: positions of its newest list (snapshot), balances of its newest list beside those of a day before and what moved since (in a currency that derivatives settle in or pay fees in by the ledger alone, if it has entries of trades: the totals of many venues hold what is open, at prices of their own), own fills of its history (origin venue), and open orders that it was asked for (origin venue). An order of yours that the venue no longer lists as open is not noticed by that: no record says that a list of orders is complete. Record what the venue says of that order (fetch_order, origin venue), and it is compared. Example, what differs: SELECT * FROM blotter.reconciliation WHERE agrees IS NOT TRUE;';
COMMENT ON COLUMN blotter.reconciliation.exchange IS 'the exchange';
COMMENT ON COLUMN blotter.reconciliation.account IS 'whose account; empty: not given';
COMMENT ON COLUMN blotter.reconciliation.kind IS 'what is compared: position, balance, fills, open orders';
COMMENT ON COLUMN blotter.reconciliation.market_type IS 'swap, future, option; of a balance the wallet; empty: not given';
COMMENT ON COLUMN blotter.reconciliation.symbol IS 'as the strategy names it; empty: balances and orders are those of the account';
COMMENT ON COLUMN blotter.reconciliation.position_side IS 'empty: long and short are taken together';
COMMENT ON COLUMN blotter.reconciliation.currency IS 'of a balance; else empty';
COMMENT ON COLUMN blotter.reconciliation.ours IS 'position: the books'' quantity, + long, - short, of all strategies; balance: the one before, and cash flows and fills since; fills: how many the strategies'' feed told of between the first and the last that the venue told of; open orders: how many are open by their own events';
COMMENT ON COLUMN blotter.reconciliation.venue IS 'the same by the venue; of a position or a balance 0: it is not in its newest list';
COMMENT ON COLUMN blotter.reconciliation.difference IS 'ours less venue''s';
COMMENT ON COLUMN blotter.reconciliation.venue_at IS 'when the venue was asked; of fills: the last that it told of';
COMMENT ON COLUMN blotter.reconciliation.agrees IS 'null: not known, see note';
COMMENT ON COLUMN blotter.reconciliation.note IS 'why it may differ; fills and orders that differ either way';
COMMENT ON VIEW blotter_internal.positions_compared IS 'The positions of blotter.reconciliation.';
COMMENT ON VIEW blotter_internal.balances_compared IS 'The balances of blotter.reconciliation.';
COMMENT ON VIEW blotter_internal.fills_compared IS 'The fills of blotter.reconciliation.';
COMMENT ON VIEW blotter_internal.orders_compared IS 'The open orders of blotter.reconciliation.';
SELECT blotter_internal.inherit_comments(('blotter_internal.' || v || '_compared')::regclass, 'blotter.reconciliation') FROM unnest('{positions,balances,fills,orders}'::text[]) AS v;
