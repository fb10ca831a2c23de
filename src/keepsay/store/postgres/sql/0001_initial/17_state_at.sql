-- The order state after a visible message; 0 stands for before the first. Refuses inside a tool call, where cutting would
-- part calls from their results.
CREATE FUNCTION __schema__.state_at(c __schema__.conversations, p_seq integer) RETURNS smallint
LANGUAGE plpgsql AS $$
DECLARE
    v_state smallint := 0;
BEGIN
    IF p_seq <> 0 THEN
        SELECT m.state INTO v_state
        FROM __schema__.messages m
        WHERE m.conversation_id = c.conversation_id
          AND m.user_key = c.user_key
          AND m.seq = p_seq
          AND m.status <> 3
          AND NOT m.seq <@ c.hidden;
        IF NOT FOUND THEN
            PERFORM __schema__.refuse('KS001', '{"kind": "message"}');
        END IF;
    END IF;
    IF v_state = 5 THEN
        PERFORM __schema__.refuse('KS010', jsonb_build_object('seq', p_seq));
    END IF;
    RETURN __schema__.state_after_run(v_state);
END
$$;
