-- End the run that holds the locked conversation: answer its open calls with their stand-ins, free the conversation.
CREATE FUNCTION __schema__.close_run(
    c __schema__.conversations, p_status smallint, p_error text DEFAULT NULL, p_finish_seq integer DEFAULT 0
) RETURNS __schema__.conversations
LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := greatest(clock_timestamp(), c.updated_at + interval '1 microsecond');
    v_count integer;
BEGIN
    IF c.open_calls <> '{}' THEN
        INSERT INTO __schema__.messages (
            conversation_id, user_key, seq, tokens, created_at, role, status, state, run_id, format, payload
        )
        SELECT
            c.conversation_id, c.user_key, c.head + n, 10, v_now + (n - 1) * interval '1 microsecond', 3, 2,
            CASE WHEN n = count(*) OVER () THEN 6 ELSE 5 END, c.active_run,
            nullif(call.value ->> 'format', 'chat'), (call.value ->> 'payload')::json
        FROM jsonb_each(c.open_calls) WITH ORDINALITY AS call (id, value, n);
        GET DIAGNOSTICS v_count = ROW_COUNT;
        c.open_calls := '{}';
        c.head := c.head + v_count;
        c.message_count := c.message_count + v_count;
        c.updated_at := v_now + (v_count - 1) * interval '1 microsecond';
    END IF;
    c.state := __schema__.state_after_run(c.state);
    INSERT INTO __schema__.runs (
        conversation_id, user_key, run_id, fingerprint, created_at, ended_at, fence, first_seq, last_seq, finish_seq, attempt,
        status, key, error
    )
    VALUES (
        c.conversation_id, c.user_key, c.active_run, c.run_fingerprint, c.run_created_at, v_now, c.fence, c.run_first_seq,
        c.head, p_finish_seq, c.run_attempt, p_status, coalesce(c.run_key, ''), coalesce(p_error, '')
    )
    ON CONFLICT (conversation_id, run_id, user_key) DO UPDATE -- a later attempt of a run that failed or expired
    SET ended_at = excluded.ended_at, fence = excluded.fence, last_seq = excluded.last_seq,
        finish_seq = excluded.finish_seq, attempt = excluded.attempt, status = excluded.status, error = excluded.error;
    c.active_run := NULL;
    c.run_owner := NULL;
    c.lease_until := NULL;
    c.run_fingerprint := NULL;
    c.run_created_at := NULL;
    c.run_first_seq := NULL;
    c.run_attempt := NULL;
    c.run_key := NULL;
    RETURN c;
END
$$;
