-- Delete the summaries that tell of anything after a seq.
CREATE FUNCTION __schema__.forget_summaries(c __schema__.conversations, p_after integer) RETURNS __schema__.conversations
LANGUAGE plpgsql AS $$
BEGIN
    IF c.summary_seq > p_after THEN
        DELETE FROM __schema__.summaries s
        WHERE s.conversation_id = c.conversation_id
          AND s.user_key = c.user_key
          AND s.to_seq > p_after;
        SELECT coalesce(max(s.to_seq), 0) INTO c.summary_seq
        FROM __schema__.summaries s
        WHERE s.conversation_id = c.conversation_id
          AND s.user_key = c.user_key;
    END IF;
    RETURN c;
END
$$;
