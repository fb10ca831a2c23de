-- Create a conversation that starts as a copy of what is visible up to a seq (null: all), numbered anew from 1.
CREATE FUNCTION __schema__.fork_v1(
    p_user_key uuid, p_user_id text, p_conversation_id uuid, p_at_seq integer, p_new_id uuid, p_fingerprint bigint,
    p_title text, p_external_key text, p_metadata json
) RETURNS TABLE (conversation json, created boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    source __schema__.conversations;
    c __schema__.conversations;
    v_at integer;
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    source := __schema__.lock_conversation(p_user_key, p_conversation_id);
    SELECT coalesce(p_at_seq, max(m.seq), 0) INTO v_at
    FROM __schema__.messages m
    WHERE m.conversation_id = source.conversation_id
      AND m.user_key = source.user_key
      AND m.status <> 3
      AND NOT m.seq <@ source.hidden;
    -- Later than all that is copied, whatever the clock does: what is appended to the copy comes after it.
    c := __schema__.insert_conversation(
        p_user_key, p_user_id, p_new_id, p_fingerprint, source.role_policy, coalesce(p_title, source.title),
        CASE WHEN v_at >= source.system_seq THEN source.system_prompt END, p_external_key,
        coalesce(p_metadata, source.metadata), greatest(clock_timestamp(), source.updated_at)
    );
    created := c.conversation_id = p_new_id;
    IF created AND c.version = 0 THEN
        c.state := __schema__.state_at(source, v_at);
        conversation := __schema__.shown_conversation(
            __schema__.save_conversation(__schema__.copy_messages(source, c, v_at))
        );
    ELSE
        conversation := __schema__.shown_conversation(c);
    END IF;
    RETURN NEXT;
END
$$;
