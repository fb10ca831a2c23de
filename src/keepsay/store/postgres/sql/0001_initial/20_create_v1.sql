-- Create a conversation with its first messages; keepsay.store.protocol.Store.create is the contract.
CREATE FUNCTION __schema__.create_v1(
    p_user_key uuid, p_user_id text, p_conversation_id uuid, p_fingerprint bigint, p_role_policy smallint, p_title text,
    p_system_prompt text, p_external_key text, p_metadata json,
    p_allowed integer[], p_last_roles smallint[], p_attempted_roles smallint[], p_answers text[], p_requires_closed boolean,
    p_opens jsonb, p_system_at integer, p_roles smallint[], p_statuses smallint[], p_states smallint[], p_tokens integer[],
    p_formats text[], p_payloads text[], p_client_ids text[], p_metadatas text[], p_usages text[]
) RETURNS TABLE (conversation json, created boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    c __schema__.conversations;
    p __schema__.append_plan := row(
        p_allowed, p_last_roles, p_attempted_roles, p_answers, p_requires_closed, p_opens, p_system_at, p_roles, p_statuses,
        p_states, p_tokens, p_formats, p_payloads, p_client_ids, p_metadatas, p_usages
    );
    v_now timestamptz := clock_timestamp();
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    c := __schema__.insert_conversation(
        p_user_key, p_user_id, p_conversation_id, p_fingerprint, p_role_policy, p_title, p_system_prompt, p_external_key,
        p_metadata, v_now
    );
    created := c.conversation_id = p_conversation_id;
    IF created AND c.version = 0 THEN
        c := __schema__.save_conversation(__schema__.put_messages(c, p, NULL, NULL, NULL));
    END IF;
    conversation := __schema__.shown_conversation(c);
    RETURN NEXT;
END
$$;
