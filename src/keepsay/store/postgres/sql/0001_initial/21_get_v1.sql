-- One conversation.
CREATE FUNCTION __schema__.get_v1(p_user_key uuid, p_conversation_id uuid) RETURNS TABLE (conversation json)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    conversation := __schema__.shown_conversation(__schema__.find_conversation(p_user_key, p_conversation_id));
    RETURN NEXT;
END
$$;
