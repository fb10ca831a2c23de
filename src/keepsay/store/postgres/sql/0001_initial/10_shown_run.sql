-- A run as clients see it.
CREATE FUNCTION __schema__.shown_run(r __schema__.runs) RETURNS json
LANGUAGE sql AS $$
    SELECT json_build_object(
        'run_id', r.run_id,
        'conversation_id', r.conversation_id,
        'status', r.status,
        'attempt', r.attempt,
        'fence', r.fence,
        'first_seq', r.first_seq,
        'last_seq', r.last_seq,
        'created_at', r.created_at,
        'ended_at', r.ended_at,
        'key', nullif(r.key, ''),
        'error', nullif(r.error, '')
    )
$$;
