-- Copy what is not rewound up to a seq into a new conversation, and the newest summary of that part with it. Deleted
-- messages come along blank, so that windows know of the gap.
CREATE FUNCTION __schema__.copy_messages(source __schema__.conversations, c __schema__.conversations, p_at integer)
RETURNS __schema__.conversations
LANGUAGE plpgsql AS $$
DECLARE
    v_summary integer;
BEGIN
    INSERT INTO __schema__.messages (
        conversation_id, user_key, seq, tokens, created_at, role, status, state, client_id, format, payload, metadata,
        usage
    )
    SELECT
        c.conversation_id, c.user_key, row_number() OVER (ORDER BY m.seq), m.tokens, m.created_at, m.role, m.status, m.state,
        m.client_id, m.format, m.payload, m.metadata, m.usage
    FROM __schema__.messages m
    WHERE m.conversation_id = source.conversation_id
      AND m.user_key = source.user_key
      AND m.seq <= p_at
      AND NOT m.seq <@ source.hidden;
    GET DIAGNOSTICS c.head = ROW_COUNT;
    SELECT count(*) INTO c.message_count
    FROM __schema__.messages m
    WHERE m.conversation_id = c.conversation_id
      AND m.user_key = c.user_key
      AND m.status <> 3;
    IF source.system_seq BETWEEN 1 AND p_at THEN
        c.system_seq := __schema__.copied_count(source, source.system_seq);
    END IF;
    SELECT max(s.to_seq) INTO v_summary
    FROM __schema__.summaries s
    WHERE s.conversation_id = source.conversation_id
      AND s.user_key = source.user_key
      AND s.to_seq <= p_at;
    IF v_summary IS NOT NULL THEN
        c.summary_seq := __schema__.copied_count(source, v_summary);
        INSERT INTO __schema__.summaries (conversation_id, user_key, to_seq, tokens, created_at, text)
        SELECT c.conversation_id, c.user_key, c.summary_seq, s.tokens, s.created_at, s.text
        FROM __schema__.summaries s
        WHERE s.conversation_id = source.conversation_id
          AND s.user_key = source.user_key
          AND s.to_seq = v_summary;
    END IF;
    RETURN c;
END
$$;
