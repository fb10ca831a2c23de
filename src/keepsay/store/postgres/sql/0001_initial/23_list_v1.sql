-- A user's conversations, newest activity first, those after the position. Reads the newest days only.
CREATE FUNCTION __schema__.list_v1(
    p_user_key uuid, p_status smallint, p_after_time timestamptz, p_after_id uuid, p_limit integer, p_skip integer
) RETURNS TABLE (conversation json)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    RETURN QUERY
    SELECT __schema__.shown_conversation(c)
    FROM __schema__.conversations c
    WHERE c.user_key = p_user_key
      AND c.deleted_at IS NULL
      AND (p_status IS NULL OR c.status = p_status)
      AND (p_after_time IS NULL OR (
          c.active_day <= (p_after_time AT TIME ZONE 'UTC')::date
          AND (c.updated_at, c.conversation_id) < (p_after_time, p_after_id)
      ))
    ORDER BY c.active_day DESC, c.updated_at DESC, c.conversation_id DESC
    LIMIT p_limit OFFSET p_skip;
END
$$;
