-- The user's conversation, for reading. Absent, deleted and another user's are refused alike.
CREATE FUNCTION __schema__.find_conversation(p_user_key uuid, p_conversation_id uuid) RETURNS __schema__.conversations
LANGUAGE plpgsql AS $$
DECLARE
    c __schema__.conversations;
BEGIN
    SELECT * INTO c
    FROM __schema__.conversations
    WHERE conversation_id = p_conversation_id
      AND user_key = p_user_key
      AND deleted_at IS NULL;
    IF NOT FOUND THEN
        PERFORM __schema__.refuse('KS001', '{"kind": "conversation"}');
    END IF;
    RETURN c;
END
$$;
