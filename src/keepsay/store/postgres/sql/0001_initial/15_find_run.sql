-- A run of the conversation, under way or ended; null if there is none.
CREATE FUNCTION __schema__.find_run(c __schema__.conversations, p_run_id bigint) RETURNS __schema__.runs
LANGUAGE plpgsql AS $$
DECLARE
    r __schema__.runs;
BEGIN
    IF c.active_run = p_run_id THEN
        RETURN __schema__.active_run(c);
    END IF;
    SELECT * INTO r
    FROM __schema__.runs
    WHERE conversation_id = c.conversation_id
      AND run_id = p_run_id
      AND user_key = c.user_key;
    RETURN r;
END
$$;
