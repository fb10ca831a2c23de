-- Run a failed or expired run again, on the messages that it appended then; refused if the conversation went on.
CREATE FUNCTION __schema__.attempt_again(c __schema__.conversations, p_run_id uuid) RETURNS __schema__.runs
LANGUAGE plpgsql AS $$
DECLARE
    r __schema__.runs;
BEGIN
    UPDATE __schema__.runs
    SET status = 0, fence = c.fence, attempt = attempt + 1, ended_at = NULL, error = NULL
    WHERE conversation_id = c.conversation_id
      AND run_id = p_run_id
      AND user_key = c.user_key
      AND last_seq = c.head
      AND NOT last_seq <@ c.hidden
    RETURNING * INTO r;
    IF NOT FOUND THEN
        PERFORM __schema__.refuse('KS004', jsonb_build_object('run_id', p_run_id));
    END IF;
    RETURN r;
END
$$;
