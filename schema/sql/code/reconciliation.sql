-- reconciliation: what the venues say of the positions, beside what the books say.

-- One call of fetch_positions is a snapshot: what is not in an account's newest one, the venue does not hold. Long and short of hedge mode
-- are taken together, and so are strategies, as the venue knows none. Spot is no position at a venue.
CREATE VIEW blotter.reconciliation AS
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
           sum(p.sideless) AS sideless, bool_or(p.market_type NOT IN ('spot', 'margin', '') OR strpos(p.symbol, ':') > 0) AS is_position
    FROM blotter.positions p JOIN asked a ON a.exchange = p.exchange AND a.account = p.account GROUP BY 1, 2, 3
), both_sides AS (
    SELECT coalesce(o.exchange, v.exchange) AS exchange, coalesce(o.account, v.account) AS account, coalesce(o.symbol, v.symbol) AS symbol,
           coalesce(o.market_type, '') AS market_type, coalesce(o.quantity, 0) AS ours, coalesce(v.quantity, 0) AS venue, o.last_fill_at, coalesce(o.sideless, 0) AS sideless
    FROM ours o FULL JOIN venue v ON v.exchange = o.exchange AND v.account = o.account AND v.symbol = o.symbol
    WHERE v.symbol IS NOT NULL OR o.is_position AND o.quantity <> 0
)
SELECT b.exchange, b.account, 'position' AS kind, b.market_type, b.symbol, '' AS position_side, '' AS currency, b.ours, b.venue, b.ours - b.venue AS difference, a.newest AS venue_at,
       CASE WHEN b.ours = b.venue THEN true WHEN b.last_fill_at > a.newest THEN NULL ELSE false END AS agrees,
       CASE WHEN b.ours = b.venue THEN '' WHEN b.last_fill_at > a.newest THEN 'traded since the venue was asked'
            WHEN b.sideless > 0 THEN 'fills without a side' ELSE '' END AS note
FROM both_sides b JOIN asked a ON a.exchange = b.exchange AND a.account = b.account;
COMMENT ON VIEW blotter.reconciliation IS 'Each position of the books beside the venue''s newest list of them (snapshot), by exchange, account and symbol. Example, what differs: SELECT * FROM blotter.reconciliation WHERE agrees IS NOT TRUE;';
COMMENT ON COLUMN blotter.reconciliation.exchange IS 'the exchange';
COMMENT ON COLUMN blotter.reconciliation.account IS 'whose account; empty: not given';
COMMENT ON COLUMN blotter.reconciliation.kind IS 'what is compared: position';
COMMENT ON COLUMN blotter.reconciliation.market_type IS 'swap, future, option; empty: not given';
COMMENT ON COLUMN blotter.reconciliation.symbol IS 'as the strategy names it';
COMMENT ON COLUMN blotter.reconciliation.position_side IS 'empty: long and short are taken together';
COMMENT ON COLUMN blotter.reconciliation.currency IS 'empty: of positions none is compared';
COMMENT ON COLUMN blotter.reconciliation.ours IS 'the books'' quantity, + long, - short, of all strategies';
COMMENT ON COLUMN blotter.reconciliation.venue IS 'the venue''s quantity; 0: it is not in its newest list';
COMMENT ON COLUMN blotter.reconciliation.difference IS 'ours less venue''s';
COMMENT ON COLUMN blotter.reconciliation.venue_at IS 'when the venue was asked';
COMMENT ON COLUMN blotter.reconciliation.agrees IS 'null: not known, as it was traded since';
COMMENT ON COLUMN blotter.reconciliation.note IS 'why it may differ';
