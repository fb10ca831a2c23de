-- Blank a message and the summaries that tell of it. Of the last visible one, the order goes back to where it was before.
CREATE FUNCTION __schema__.delete_message_v1(p_user_key uuid, p_conversation_id uuid, p_seq integer)
RETURNS TABLE (conversation json)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    c __schema__.conversations;
    v_last integer;
    v_state smallint;
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    c := __schema__.lock_conversation(p_user_key, p_conversation_id);
    SELECT max(m.seq) INTO v_last
    FROM __schema__.messages m
    WHERE m.conversation_id = p_conversation_id
      AND m.user_key = p_user_key
      AND m.status <> 3
      AND NOT m.seq <@ c.hidden;
    IF p_seq = v_last AND c.lease_until > clock_timestamp() THEN
        PERFORM __schema__.refuse_busy(c);
    END IF;
    UPDATE __schema__.messages m
    SET status = 3, tokens = 0, payload = '{}', metadata = NULL, usage = NULL
    WHERE m.conversation_id = p_conversation_id
      AND m.user_key = p_user_key
      AND m.seq = p_seq
      AND m.status <> 3;
    IF NOT FOUND THEN
        PERFORM __schema__.refuse('KS001', '{"kind": "message"}');
    END IF;
    IF p_seq = v_last THEN
        SELECT m.state INTO v_state
        FROM __schema__.messages m
        WHERE m.conversation_id = p_conversation_id
          AND m.user_key = p_user_key
          AND m.status <> 3
          AND NOT m.seq <@ c.hidden
        ORDER BY m.seq DESC
        LIMIT 1;
        c.state := __schema__.state_after_run(coalesce(v_state, 0::smallint));
        c.open_calls := '{}';
    END IF;
    c := __schema__.forget_summaries(c, p_seq - 1);
    c.message_count := c.message_count - CASE WHEN p_seq <@ c.hidden THEN 0 ELSE 1 END;
    IF p_seq = c.system_seq THEN
        c.system_seq := 0;
        UPDATE __schema__.conversations
        SET system_prompt = NULL
        WHERE conversation_id = c.conversation_id
          AND user_key = c.user_key;
        c.system_prompt := NULL;
    END IF;
    c.updated_at := greatest(clock_timestamp(), c.updated_at + interval '1 microsecond');
    conversation := __schema__.shown_conversation(__schema__.save_conversation(c));
    RETURN NEXT;
END
$$;
