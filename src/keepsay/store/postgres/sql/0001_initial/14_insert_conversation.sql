-- Insert a conversation, version 0, or find the one that was there: by its id (a retry) or by the external key.
CREATE FUNCTION __schema__.insert_conversation(
    p_user_key uuid, p_user_id text, p_conversation_id uuid, p_fingerprint bigint, p_role_policy smallint, p_title text,
    p_system_prompt text, p_external_key text, p_metadata json, p_now timestamptz
) RETURNS __schema__.conversations
LANGUAGE plpgsql AS $$
DECLARE
    c __schema__.conversations;
BEGIN
    INSERT INTO __schema__.users (user_key, created_at, user_id)
    VALUES (p_user_key, p_now, p_user_id)
    ON CONFLICT DO NOTHING;
    LOOP
        -- Waits for a like insert in flight; the statements after it have newer snapshots and see what that one did.
        INSERT INTO __schema__.conversations (
            conversation_id, user_key, created_at, fingerprint, role_policy, version, active_day, updated_at, title,
            system_prompt, external_key, metadata
        )
        VALUES (
            p_conversation_id, p_user_key, p_now, p_fingerprint, p_role_policy, 0, (p_now AT TIME ZONE 'UTC')::date, p_now,
            p_title, p_system_prompt, p_external_key, p_metadata
        )
        ON CONFLICT DO NOTHING
        RETURNING * INTO c;
        IF FOUND THEN
            RETURN c;
        END IF;
        SELECT * INTO c
        FROM __schema__.conversations
        WHERE conversation_id = p_conversation_id
          AND user_key = p_user_key;
        IF FOUND THEN
            IF c.deleted_at IS NOT NULL THEN
                PERFORM __schema__.refuse('KS001', '{"kind": "conversation"}');
            ELSIF c.fingerprint <> p_fingerprint THEN
                PERFORM __schema__.refuse('KS002');
            END IF;
            RETURN c;
        END IF;
        SELECT * INTO c
        FROM __schema__.conversations
        WHERE external_key = p_external_key
          AND user_key = p_user_key
          AND deleted_at IS NULL;
        IF FOUND THEN
            RETURN c;
        END IF;
        -- Deleted between the two: try again.
    END LOOP;
END
$$;
