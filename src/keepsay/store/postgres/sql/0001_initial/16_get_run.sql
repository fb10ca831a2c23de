-- A run of the conversation, or a refusal.
CREATE FUNCTION __schema__.get_run(c __schema__.conversations, p_run_id bigint) RETURNS __schema__.runs
LANGUAGE plpgsql AS $$
DECLARE
    r __schema__.runs := __schema__.find_run(c, p_run_id);
BEGIN
    IF r.run_id IS NULL THEN
        PERFORM __schema__.refuse('KS001', '{"kind": "run"}');
    END IF;
    RETURN r;
END
$$;
