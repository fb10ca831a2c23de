-- A user's conversations by id: a walk that misses none that is there throughout.
CREATE FUNCTION __schema__.export_v1(p_user_key uuid, p_after uuid, p_limit integer) RETURNS TABLE (conversation json)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    RETURN QUERY
    SELECT __schema__.shown_conversation(c)
    FROM __schema__.conversations c
    WHERE c.user_key = p_user_key
      AND c.deleted_at IS NULL
      AND (p_after IS NULL OR c.conversation_id > p_after)
    ORDER BY c.conversation_id
    LIMIT p_limit;
END
$$;
