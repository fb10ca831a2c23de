-- Lock the user's conversation if it is at the expected version (null: at any).
CREATE FUNCTION __schema__.lock_version(p_user_key uuid, p_conversation_id uuid, p_expected_version integer)
RETURNS __schema__.conversations
LANGUAGE plpgsql AS $$
DECLARE
    c __schema__.conversations := __schema__.lock_conversation(p_user_key, p_conversation_id);
BEGIN
    IF p_expected_version <> c.version THEN
        PERFORM __schema__.refuse(
            'KS006', jsonb_build_object('expected', p_expected_version, 'version', c.version)
        );
    END IF;
    RETURN c;
END
$$;
