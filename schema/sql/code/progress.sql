-- Adds up what a loading transaction has settled, per producer and stream. The drainer calls it for fresh batches, which it copies straight
-- into the tables; load_staged() calls it for others.

-- One row after the other: for a lone record a statement over all of the arrays takes twice as long.
CREATE FUNCTION blotter_internal.add_progress(drainer text, producer_ids bigint[], exchanges text[], lanes text[], stored bigint[], rejected bigint[],
                                              expired bigint[], last_seq bigint[], voided bigint[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    FOR i IN 1 .. coalesce(cardinality(producer_ids), 0) LOOP
        CONTINUE WHEN (producer_ids[i] > 0) IS NOT TRUE;
        INSERT INTO blotter_internal.progress AS p (producer_id, exchange, lane, drainer, stored, rejected, voided, expired, last_seq)
        VALUES (producer_ids[i], exchanges[i], coalesce(lanes[i], ''), add_progress.drainer, coalesce(add_progress.stored[i], 0),
                coalesce(add_progress.rejected[i], 0), coalesce(add_progress.voided[i], 0), coalesce(add_progress.expired[i], 0),
                coalesce(add_progress.last_seq[i], 0))
        ON CONFLICT (producer_id, exchange, lane, drainer) DO UPDATE SET
            stored = p.stored + excluded.stored,
            rejected = p.rejected + excluded.rejected,
            voided = p.voided + excluded.voided,
            expired = p.expired + excluded.expired,
            last_seq = greatest(p.last_seq, excluded.last_seq),
            updated_at = now();
    END LOOP;
END
$$;
COMMENT ON FUNCTION blotter_internal.add_progress(text, bigint[], text[], text[], bigint[], bigint[], bigint[], bigint[], bigint[]) IS
    'Adds to progress what a transaction has settled, one array element per producer and stream; an array that is null counts nothing. Negative producer_ids are left out.';

-- A seq beyond what a producer can count to is left out: no range of it could be kept, and none of the library's has one.
CREATE FUNCTION blotter_internal.greatest_seq() RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 9007199254740992;
COMMENT ON FUNCTION blotter_internal.greatest_seq() IS 'The greatest seq of the library, 2^53. Rows with a greater one may come from elsewhere; the audit leaves them out.';

CREATE FUNCTION blotter_internal.add_expired(drainer text, producer_ids bigint[], exchanges text[], lanes text[], seqs bigint[]) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    one record;
    before int8multirange;
    fresh bigint;
    total bigint := 0;
BEGIN
    FOR one IN
        SELECT e.producer_id, e.exchange, coalesce(e.lane, '') AS lane, range_agg(int8range(e.seq, e.seq, '[]')) AS seqs
        FROM unnest(producer_ids, exchanges, lanes, add_expired.seqs) AS e (producer_id, exchange, lane, seq)
        WHERE e.producer_id > 0 AND e.seq BETWEEN 1 AND blotter_internal.greatest_seq()
        GROUP BY e.producer_id, e.exchange, coalesce(e.lane, '')
        ORDER BY e.producer_id, e.exchange COLLATE "C", coalesce(e.lane, '') COLLATE "C"
    LOOP
        INSERT INTO blotter_internal.gone_seqs (producer_id, exchange, lane) VALUES (one.producer_id, one.exchange, one.lane) ON CONFLICT DO NOTHING;
        SELECT g.dropped + g.expired INTO before FROM blotter_internal.gone_seqs g
        WHERE (g.producer_id, g.exchange, g.lane) = (one.producer_id, one.exchange, one.lane) FOR UPDATE;
        UPDATE blotter_internal.gone_seqs g SET expired = g.expired + one.seqs
        WHERE (g.producer_id, g.exchange, g.lane) = (one.producer_id, one.exchange, one.lane);
        SELECT coalesce(sum(upper(r) - lower(r)), 0) INTO fresh FROM unnest(one.seqs - before) AS r;
        PERFORM blotter_internal.add_progress(drainer, ARRAY[one.producer_id], ARRAY[one.exchange], ARRAY[one.lane], NULL, NULL, ARRAY[fresh],
                                              ARRAY[(upper(one.seqs) - 1)::bigint], NULL);
        total := total + fresh;
    END LOOP;
    RETURN total;
END
$$;
COMMENT ON FUNCTION blotter_internal.add_expired(text, bigint[], text[], text[], bigint[]) IS
    'Settles records whose day has been dropped: notes which, and adds those not noted before to progress. One array element per record. Returns how many were new.';
