-- End the run that holds the locked conversation: answer its open calls with their stand-ins, free the conversation.
CREATE FUNCTION __schema__.close_run(c __schema__.conversations, p_status smallint, p_error text)
RETURNS __schema__.conversations
LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := greatest(clock_timestamp(), c.updated_at + interval '1 microsecond');
    v_count integer;
BEGIN
    IF c.open_calls <> '{}' THEN
        INSERT INTO __schema__.messages (
            conversation_id, user_key, seq, tokens, created_at, role, status, state, batch, run_id, format, payload
        )
        SELECT
            c.conversation_id, c.user_key, c.head + n, 10, v_now + (n - 1) * interval '1 microsecond', 3, 2,
            CASE WHEN n = count(*) OVER () THEN 6 ELSE 5 END, 0, c.active_run,
            nullif(call.value ->> 'format', 'chat'), (call.value ->> 'payload')::json
        FROM jsonb_each(c.open_calls) WITH ORDINALITY AS call (id, value, n);
        GET DIAGNOSTICS v_count = ROW_COUNT;
        c.open_calls := '{}';
        c.head := c.head + v_count;
        c.message_count := c.message_count + v_count;
        c.updated_at := v_now + (v_count - 1) * interval '1 microsecond';
    END IF;
    c.state := __schema__.state_after_run(c.state);
    UPDATE __schema__.runs
    SET status = p_status, error = p_error, ended_at = v_now, last_seq = c.head
    WHERE conversation_id = c.conversation_id
      AND run_id = c.active_run
      AND user_key = c.user_key;
    c.active_run := NULL;
    c.run_owner := NULL;
    c.lease_until := NULL;
    RETURN c;
END
$$;
