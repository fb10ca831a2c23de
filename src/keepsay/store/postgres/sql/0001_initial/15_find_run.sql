-- A run of the conversation.
CREATE FUNCTION __schema__.find_run(c __schema__.conversations, p_run_id uuid) RETURNS __schema__.runs
LANGUAGE plpgsql AS $$
DECLARE
    r __schema__.runs;
BEGIN
    SELECT * INTO r
    FROM __schema__.runs
    WHERE conversation_id = c.conversation_id
      AND run_id = p_run_id
      AND user_key = c.user_key;
    IF NOT FOUND THEN
        PERFORM __schema__.refuse('KS001', '{"kind": "run"}');
    END IF;
    RETURN r;
END
$$;
