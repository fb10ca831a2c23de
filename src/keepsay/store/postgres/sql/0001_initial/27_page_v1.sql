-- Part of a log. The head is taken first and bounds the rows: each statement here has a snapshot of its own.
CREATE FUNCTION __schema__.page_v1(
    p_user_key uuid, p_conversation_id uuid, p_after integer, p_before integer, p_limit integer, p_newest boolean
) RETURNS SETOF __schema__.message_row
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    c __schema__.conversations;
    v_end integer;
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    c := __schema__.find_conversation(p_user_key, p_conversation_id);
    v_end := least(p_before, c.head + 1);
    RETURN NEXT row(
        json_build_object('head', c.head), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    )::__schema__.message_row;
    IF p_newest THEN
        RETURN QUERY
        SELECT NULL::json, m.seq, m.role, m.status, m.state, m.tokens, m.format, m.payload, m.created_at,
            m.run_id, m.client_id, m.metadata, m.usage, m.seq <@ c.hidden
        FROM __schema__.messages m
        WHERE m.conversation_id = p_conversation_id
          AND m.user_key = p_user_key
          AND m.seq > p_after
          AND m.seq < v_end
        ORDER BY m.seq DESC
        LIMIT p_limit;
    ELSE
        RETURN QUERY
        SELECT NULL::json, m.seq, m.role, m.status, m.state, m.tokens, m.format, m.payload, m.created_at,
            m.run_id, m.client_id, m.metadata, m.usage, m.seq <@ c.hidden
        FROM __schema__.messages m
        WHERE m.conversation_id = p_conversation_id
          AND m.user_key = p_user_key
          AND m.seq > p_after
          AND m.seq < v_end
        ORDER BY m.seq
        LIMIT p_limit;
    END IF;
END
$$;
