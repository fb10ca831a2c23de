-- Delete every row of a user. The user's row is locked first, so that no conversation is created meanwhile.
CREATE FUNCTION __schema__.erase_v1(p_user_key uuid)
RETURNS TABLE (conversations integer, messages integer, runs integer, summaries integer, users integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    v_ids uuid[];
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    PERFORM FROM __schema__.users u WHERE u.user_key = p_user_key FOR UPDATE;
    SELECT coalesce(array_agg(c.conversation_id), '{}') INTO v_ids
    FROM (
        SELECT conversation_id
        FROM __schema__.conversations
        WHERE user_key = p_user_key
        ORDER BY conversation_id
        FOR UPDATE
    ) c;
    DELETE FROM __schema__.messages m WHERE m.conversation_id = ANY (v_ids) AND m.user_key = p_user_key;
    GET DIAGNOSTICS messages = ROW_COUNT;
    DELETE FROM __schema__.runs r WHERE r.conversation_id = ANY (v_ids) AND r.user_key = p_user_key;
    GET DIAGNOSTICS runs = ROW_COUNT;
    DELETE FROM __schema__.summaries s WHERE s.conversation_id = ANY (v_ids) AND s.user_key = p_user_key;
    GET DIAGNOSTICS summaries = ROW_COUNT;
    DELETE FROM __schema__.conversations c WHERE c.user_key = p_user_key;
    GET DIAGNOSTICS conversations = ROW_COUNT;
    DELETE FROM __schema__.users u WHERE u.user_key = p_user_key;
    GET DIAGNOSTICS users = ROW_COUNT;
    RETURN NEXT;
END
$$;
