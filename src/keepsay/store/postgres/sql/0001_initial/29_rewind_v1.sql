-- Hide what came after a seq from windows and order.
CREATE FUNCTION __schema__.rewind_v1(
    p_user_key uuid, p_conversation_id uuid, p_at_seq integer, p_expected_version integer
) RETURNS TABLE (conversation json)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    c __schema__.conversations;
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    c := __schema__.lock_version(p_user_key, p_conversation_id, p_expected_version);
    IF c.lease_until > clock_timestamp() THEN
        PERFORM __schema__.refuse_busy(c);
    ELSIF c.active_run IS NOT NULL THEN
        c := __schema__.close_run(c, 4::smallint);
    END IF;
    c.state := __schema__.state_at(c, p_at_seq);
    c.message_count := c.message_count - (
        SELECT count(*)
        FROM __schema__.messages m
        WHERE m.conversation_id = c.conversation_id
          AND m.user_key = c.user_key
          AND m.seq > p_at_seq
          AND m.status <> 3
          AND NOT m.seq <@ c.hidden
    );
    c.hidden := c.hidden + int4multirange(int4range(p_at_seq + 1, c.head + 1));
    c.open_calls := '{}';
    IF c.system_seq > p_at_seq THEN
        c.system_seq := 0;
        c.system_prompt := NULL;
        UPDATE __schema__.conversations
        SET system_prompt = NULL
        WHERE conversation_id = c.conversation_id
          AND user_key = c.user_key;
    END IF;
    c := __schema__.forget_summaries(c, p_at_seq);
    c.updated_at := greatest(clock_timestamp(), c.updated_at + interval '1 microsecond');
    conversation := __schema__.shown_conversation(__schema__.save_conversation(c));
    RETURN NEXT;
END
$$;
