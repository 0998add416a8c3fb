-- Drops the functions and views that the last `blotter migrate` made, the newest first, so that nothing is dropped before what uses it.
-- An object of a user's own that uses one of them stops it: it would be lost. A trigger's function stays, and is replaced.
DO $$
DECLARE
    object text;
    others text;
BEGIN
    FOR object IN
        SELECT o.object
        FROM blotter_internal.code c, unnest(c.objects) WITH ORDINALITY AS o (object, n)
        WHERE NOT EXISTS (SELECT FROM pg_trigger t WHERE o.object = 'ROUTINE ' || t.tgfoid::regprocedure)
        ORDER BY o.n DESC
    LOOP
        EXECUTE 'DROP ' || regexp_replace(object, '^(VIEW|ROUTINE) ', '\1 IF EXISTS ');
    END LOOP;
EXCEPTION WHEN dependent_objects_still_exist THEN
    GET STACKED DIAGNOSTICS others = PG_EXCEPTION_DETAIL;
    RAISE EXCEPTION '% (%)', SQLERRM, replace(others, E'\n', '; ')
        USING ERRCODE = 'dependent_objects_still_exist', HINT = 'Drop what is not Blotter''s, run `blotter migrate`, and make it again.';
END
$$;
