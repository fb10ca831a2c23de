-- Where a conversation stands: a header with the conversation and the order's state as the next writer finds it (who ends
-- a run whose lease has run out, as append_v1 does), then the newest visible message of those that the order sees, if any.
CREATE FUNCTION __schema__.status_v1(p_user_key uuid, p_conversation_id uuid) RETURNS SETOF __schema__.message_row
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    c __schema__.conversations;
    v_shown json;
    v_state smallint;
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    c := __schema__.find_conversation(p_user_key, p_conversation_id);
    v_shown := __schema__.shown_conversation(c);
    v_state := c.state;
    IF c.active_run IS NOT NULL AND v_shown ->> 'active_run' IS NULL THEN -- by what was shown, not by a later clock
        v_state := __schema__.state_after_run(c.state);
    END IF;
    RETURN NEXT row(
        json_build_object('conversation', v_shown, 'state', v_state),
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    )::__schema__.message_row;
    RETURN QUERY
    SELECT NULL::json, m.seq, m.role, m.status, m.state, m.tokens, m.format, m.payload, m.created_at, m.run_id, m.client_id,
        m.metadata, m.usage, false
    FROM __schema__.messages m
    WHERE m.conversation_id = p_conversation_id
      AND m.user_key = p_user_key
      AND m.seq <= c.head
      AND m.status <> 3
      AND m.role <> 4
      AND NOT m.seq <@ c.hidden
    ORDER BY m.seq DESC
    LIMIT 1;
END
$$;
