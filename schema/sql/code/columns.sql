-- Lists of columns and tables, from the catalog: a field that is added to a table needs no new functions.

CREATE FUNCTION blotter_internal.columns_of(relation regclass, leave_out text[] DEFAULT '{}') RETURNS text[]
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT array_agg(a.attname::text ORDER BY a.attnum)
    FROM pg_attribute a
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND NOT a.atthasdef AND a.attidentity = '' AND a.attname <> ALL (leave_out);
    END;
COMMENT ON FUNCTION blotter_internal.columns_of(regclass, text[]) IS 'The columns of a table in their order, but those to leave out, and those that PostgreSQL fills in: generated, identity, or with a default.';

CREATE FUNCTION blotter_internal.column_list(names text[], format text DEFAULT '%1$I', separator text DEFAULT ', ') RETURNS text
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
    SELECT string_agg(format(column_list.format, n.name), column_list.separator ORDER BY n.at) FROM unnest(names) WITH ORDINALITY AS n (name, at);
    END;
COMMENT ON FUNCTION blotter_internal.column_list(text[], text, text) IS 'Names as a part of a statement, each through format().';

CREATE FUNCTION blotter_internal.inherit_comments(heir regclass, source regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
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
COMMENT ON FUNCTION blotter_internal.inherit_comments(regclass, regclass) IS 'Comments the columns of a table or view that have no comment as those of the same name elsewhere.';

-- record_kinds comes from schema/fields.h: `blotter migrate` makes it before these files.
DO $$
DECLARE
    kind record;
BEGIN
    FOR kind IN SELECT * FROM blotter_internal.record_kinds LOOP
        EXECUTE format('COMMENT ON COLUMN %I.%I.stored_at IS %L', kind."schema", kind."table", 'when the transaction that stored the row began');
        EXECUTE format('COMMENT ON COLUMN %I.%I.stored_by IS %L', kind."schema", kind."table", 'which transaction stored the row; 0: one of version 1');
    END LOOP;
    COMMENT ON COLUMN blotter.rejects.stored_at IS 'when the transaction that stored the row began';
    COMMENT ON COLUMN blotter.rejects.stored_by IS 'which transaction stored the row; 0: one of version 1';

    -- The columns that every record has, whatever its kind.
    EXECUTE 'CREATE VIEW blotter_internal.identities AS ' ||
        (SELECT string_agg(format('SELECT %s AS kind, producer_id, seq, recorded_at, exchange, lane, stored_by FROM %I.%I',
                                  CASE WHEN k.n = 1 THEN quote_literal(k.kind) || '::text' ELSE quote_literal(k.kind) END, k."schema", k."table"),
                           ' UNION ALL ' ORDER BY k.n)
         FROM blotter_internal.record_kinds k);
END
$$;
COMMENT ON VIEW blotter_internal.identities IS 'The identity of every record stored, of all kinds.';
COMMENT ON COLUMN blotter_internal.identities.kind IS 'order, trade, cash, balance, position, instrument, session';
SELECT blotter_internal.inherit_comments(heir, 'blotter.order_events')
FROM unnest(ARRAY['blotter.orders', 'blotter_internal.kept_order_events', 'blotter_internal.identities']::regclass[]) AS heir;
SELECT blotter_internal.inherit_comments(heir, 'blotter.orders')
FROM unnest(ARRAY['blotter_internal.client_only_ids', 'blotter_internal.order_client_ids', 'blotter_internal.order_errors',
                  'blotter_internal.order_name']::regclass[]) AS heir;
SELECT blotter_internal.inherit_comments(heir, 'blotter_internal.progress')
FROM unnest(ARRAY['blotter_internal.gone_seqs', 'blotter_internal.day_seqs']::regclass[]) AS heir;
