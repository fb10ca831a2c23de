-- Let a text stand for the messages up to a seq in windows.
CREATE FUNCTION __schema__.summarise_v1(
    p_user_key uuid, p_conversation_id uuid, p_to_seq integer, p_text text, p_tokens integer
) RETURNS TABLE (to_seq integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    c __schema__.conversations;
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    c := __schema__.lock_conversation(p_user_key, p_conversation_id);
    IF p_to_seq = 0 THEN
        PERFORM __schema__.refuse('KS001', '{"kind": "message"}');
    END IF;
    PERFORM __schema__.state_at(c, p_to_seq);
    INSERT INTO __schema__.summaries AS s (conversation_id, user_key, to_seq, tokens, created_at, text)
    VALUES (c.conversation_id, c.user_key, p_to_seq, p_tokens, clock_timestamp(), p_text)
    ON CONFLICT (conversation_id, to_seq, user_key)
    DO UPDATE SET tokens = excluded.tokens, created_at = excluded.created_at, text = excluded.text;
    c.summary_seq := greatest(c.summary_seq, p_to_seq);
    PERFORM __schema__.save_conversation(c);
    to_seq := p_to_seq;
    RETURN NEXT;
END
$$;
