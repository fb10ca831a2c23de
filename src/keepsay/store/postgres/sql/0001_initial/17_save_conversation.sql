-- Write back the locked conversation: everything that appends and runs change. No index but the day's sees it.
CREATE FUNCTION __schema__.save_conversation(c __schema__.conversations) RETURNS __schema__.conversations
LANGUAGE plpgsql AS $$
BEGIN
    c.version := c.version + 1;
    c.active_day := (c.updated_at AT TIME ZONE 'UTC')::date;
    UPDATE __schema__.conversations
    SET system_seq = c.system_seq,
        summary_seq = c.summary_seq,
        state = c.state,
        head = c.head,
        message_count = c.message_count,
        version = c.version,
        fence = c.fence,
        active_day = c.active_day,
        updated_at = c.updated_at,
        lease_until = c.lease_until,
        run_owner = c.run_owner,
        active_run = c.active_run,
        run_fingerprint = c.run_fingerprint,
        run_created_at = c.run_created_at,
        run_first_seq = c.run_first_seq,
        run_attempt = c.run_attempt,
        run_key = c.run_key,
        open_calls = c.open_calls,
        hidden = c.hidden
    WHERE conversation_id = c.conversation_id
      AND user_key = c.user_key;
    RETURN c;
END
$$;
