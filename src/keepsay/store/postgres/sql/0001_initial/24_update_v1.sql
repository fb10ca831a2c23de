-- Change title, status or metadata; a null flag leaves the field as it is.
CREATE FUNCTION __schema__.update_v1(
    p_user_key uuid, p_conversation_id uuid, p_expected_version integer, p_set_title boolean, p_title text, p_status smallint,
    p_set_metadata boolean, p_metadata json
) RETURNS TABLE (conversation json)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    c __schema__.conversations;
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    c := __schema__.lock_version(p_user_key, p_conversation_id, p_expected_version);
    c.updated_at := greatest(clock_timestamp(), c.updated_at + interval '1 microsecond');
    c.title := CASE WHEN p_set_title THEN p_title ELSE c.title END;
    c.status := coalesce(p_status, c.status);
    c.metadata := CASE WHEN p_set_metadata THEN p_metadata ELSE c.metadata END;
    UPDATE __schema__.conversations
    SET title = c.title, status = c.status, metadata = c.metadata
    WHERE conversation_id = c.conversation_id
      AND user_key = c.user_key;
    conversation := __schema__.shown_conversation(__schema__.save_conversation(c));
    RETURN NEXT;
END
$$;
