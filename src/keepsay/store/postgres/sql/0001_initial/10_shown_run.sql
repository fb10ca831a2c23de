-- A run as clients see it: expired once its lease has run out, even if nobody took over.
CREATE FUNCTION __schema__.shown_run(r __schema__.runs, c __schema__.conversations) RETURNS json
LANGUAGE sql AS $$
    SELECT json_build_object(
        'run_id', r.run_id,
        'conversation_id', r.conversation_id,
        'status', CASE WHEN r.status = 0 AND c.lease_until <= clock_timestamp() THEN 4 ELSE r.status END,
        'attempt', r.attempt,
        'fence', r.fence,
        'first_seq', r.first_seq,
        'last_seq', CASE WHEN r.status = 0 THEN c.head ELSE r.last_seq END,
        'created_at', r.created_at,
        'ended_at', r.ended_at,
        'key', r.key,
        'error', r.error
    )
$$;
