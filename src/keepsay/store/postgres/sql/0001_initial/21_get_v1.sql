-- One conversation.
CREATE FUNCTION __schema__.get_v1(p_user_key uuid, p_conversation_id uuid) RETURNS TABLE (conversation json)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    SELECT __schema__.shown_conversation(c) INTO conversation
    FROM __schema__.conversations c
    WHERE c.conversation_id = p_conversation_id
      AND c.user_key = p_user_key
      AND c.deleted_at IS NULL;
    IF NOT FOUND THEN
        PERFORM __schema__.refuse('KS001', '{"kind": "conversation"}');
    END IF;
    RETURN NEXT;
END
$$;
