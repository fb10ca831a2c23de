-- Make a conversation unfindable, or erase its rows.
CREATE FUNCTION __schema__.delete_v1(p_user_key uuid, p_conversation_id uuid, p_expected_version integer, p_hard boolean)
RETURNS TABLE (version integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    c __schema__.conversations;
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    c := __schema__.lock_version(p_user_key, p_conversation_id, p_expected_version);
    IF p_hard THEN
        DELETE FROM __schema__.messages WHERE conversation_id = c.conversation_id AND user_key = c.user_key;
        DELETE FROM __schema__.runs WHERE conversation_id = c.conversation_id AND user_key = c.user_key;
        DELETE FROM __schema__.summaries WHERE conversation_id = c.conversation_id AND user_key = c.user_key;
        DELETE FROM __schema__.conversations WHERE conversation_id = c.conversation_id AND user_key = c.user_key;
    ELSE
        UPDATE __schema__.conversations
        SET deleted_at = clock_timestamp(), version = c.version + 1
        WHERE conversation_id = c.conversation_id
          AND user_key = c.user_key;
    END IF;
    version := c.version + 1;
    RETURN NEXT;
END
$$;
