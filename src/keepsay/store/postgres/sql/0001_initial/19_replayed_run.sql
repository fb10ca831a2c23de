-- A run that has ended, with its messages.
CREATE FUNCTION __schema__.replayed_run(c __schema__.conversations, r __schema__.runs) RETURNS SETOF __schema__.message_row
LANGUAGE plpgsql AS $$
BEGIN
    RETURN NEXT row(
        json_build_object(
            'facts', json_build_object(
                'run', __schema__.shown_run(r), 'replayed', true, 'held', false, 'took_over', false
            ),
            'role_policy', c.role_policy, 'head', r.last_seq, 'system_seq', 0, 'from_start', false, 'summary', NULL
        ),
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    )::__schema__.message_row;
    RETURN QUERY
    SELECT NULL::json, m.seq, m.role, m.status, m.state, m.tokens, m.format, m.payload, m.created_at,
        m.run_id, m.client_id, m.metadata, m.usage, m.seq <@ c.hidden
    FROM __schema__.messages m
    WHERE m.conversation_id = c.conversation_id
      AND m.user_key = c.user_key
      AND m.seq BETWEEN r.first_seq AND r.last_seq
      AND m.run_id = r.run_id
    ORDER BY m.seq;
END
$$;
