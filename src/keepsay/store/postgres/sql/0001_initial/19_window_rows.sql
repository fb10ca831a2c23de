-- What a window is built of: a header with the facts given and its own, the system message, the messages in order.
CREATE FUNCTION __schema__.window_rows(
    c __schema__.conversations, p_facts json, p_max_messages integer, p_max_tokens integer
) RETURNS SETOF __schema__.message_row
LANGUAGE plpgsql AS $$
DECLARE
    v_low integer;
    v_asked integer;
    v_from_start boolean;
    v_summary jsonb;
BEGIN
    IF c.summary_seq > 0 THEN
        SELECT jsonb_build_object('to_seq', s.to_seq, 'text', s.text, 'tokens', s.tokens) INTO v_summary
        FROM __schema__.summaries s
        WHERE s.conversation_id = c.conversation_id
          AND s.user_key = c.user_key
          AND s.to_seq = c.summary_seq;
        IF NOT FOUND THEN -- deleted since the row was read: read on without it
            c.summary_seq := 0;
        END IF;
    END IF;
    SELECT b.low, b.asked, b.from_start INTO v_low, v_asked, v_from_start
    FROM __schema__.window_bounds(c, p_max_messages, p_max_tokens) b;
    RETURN NEXT row(
        json_build_object(
            'facts', p_facts, 'role_policy', c.role_policy, 'head', c.head, 'system_seq', c.system_seq,
            'from_start', v_from_start, 'summary', v_summary
        ),
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    )::__schema__.message_row;
    RETURN QUERY
    SELECT NULL::json, m.seq, m.role, m.status, m.state, m.tokens, m.format, m.payload, m.created_at, m.run_id, m.client_id,
        m.metadata, m.usage, false
    FROM __schema__.messages m
    WHERE m.conversation_id = c.conversation_id
      AND m.user_key = c.user_key
      AND m.seq >= v_low
      AND m.seq <= c.head
      AND m.seq <> c.system_seq
      AND NOT m.seq <@ c.hidden
    ORDER BY m.seq;
    IF c.system_seq > 0 OR v_asked IS NOT NULL THEN
        RETURN QUERY
        SELECT NULL::json, m.seq, m.role, m.status, m.state, m.tokens, m.format, m.payload, m.created_at, m.run_id,
            m.client_id, m.metadata, m.usage, false
        FROM __schema__.messages m
        WHERE m.conversation_id = c.conversation_id
          AND m.user_key = c.user_key
          AND m.seq IN (c.system_seq, v_asked);
    END IF;
END
$$;
