-- Check the plan against the locked conversation, insert its messages, and return the conversation as it is to be saved.
-- Messages of one batch are a microsecond apart, and later than anything before: their time increases with their seq.
CREATE FUNCTION __schema__.put_messages(
    c __schema__.conversations, p __schema__.append_plan, p_run_id bigint, p_key uuid, p_fingerprint bigint
) RETURNS __schema__.conversations
LANGUAGE plpgsql AS $$
DECLARE
    v_count integer := cardinality(p.roles);
    v_open jsonb;
    v_tail integer; -- after this entry of the batch only results stand: not the last ones while calls are open
    v_now timestamptz := greatest(clock_timestamp(), c.updated_at + interval '1 microsecond');
BEGIN
    IF p.allowed[c.role_policy + 1] & (1 << c.state) = 0 THEN
        PERFORM __schema__.refuse_order(
            c, p, CASE WHEN c.open_calls <> '{}' AND p.allowed[c.role_policy + 1] <> 0 THEN 'KS008' ELSE 'KS007' END, false
        );
    END IF;
    IF c.role_policy <> 2 AND EXISTS (SELECT FROM unnest(p.answers) a WHERE NOT c.open_calls ? a) THEN
        PERFORM __schema__.refuse_order(c, p, 'KS008', true);
    END IF;
    v_open := c.open_calls - p.answers;
    IF c.role_policy <> 2 AND p.requires_closed AND v_open <> '{}' THEN
        PERFORM __schema__.refuse_order(c, p, 'KS008', false);
    END IF;
    IF c.role_policy <> 2 AND p.opens <> '{}' AND v_open ?| ARRAY(SELECT jsonb_object_keys(p.opens)) THEN
        PERFORM __schema__.refuse(
            'KS009', '{"field": "tool_calls", "message": "A tool call with this id is open already."}'
        );
    END IF;
    v_open := v_open || p.opens;
    IF p.opens <> '{}' AND (SELECT count(*) FROM jsonb_object_keys(v_open)) > 128 THEN
        PERFORM __schema__.refuse('KS009', '{"field": "tool_calls", "message": "At most 128 tool calls may be open."}');
    END IF;
    IF v_count = 0 THEN
        RETURN c;
    END IF;
    SELECT coalesce(max(n), 0) INTO v_tail
    FROM unnest(p.states) WITH ORDINALITY AS s (state, n)
    WHERE state IS DISTINCT FROM 6;
    INSERT INTO __schema__.messages (
        conversation_id, user_key, seq, tokens, created_at, role, status, state,
        run_id, key, fingerprint, client_id, format, payload, metadata, usage
    )
    SELECT
        c.conversation_id, c.user_key, c.head + n, m.tokens, v_now + (n - 1) * interval '1 microsecond', m.role, m.status,
        CASE
            WHEN n > v_tail AND v_open <> '{}' THEN 5
            ELSE coalesce(m.state, c.state)
        END,
        p_run_id, CASE WHEN n = 1 THEN p_key END, CASE WHEN n = 1 THEN p_fingerprint END,
        m.client_id, m.format, m.payload::json, m.metadata::json, m.usage::json
    FROM unnest(
        p.roles, p.statuses, p.states, p.tokens, p.formats, p.payloads, p.client_ids, p.metadatas, p.usages
    ) WITH ORDINALITY AS m (role, status, state, tokens, format, payload, client_id, metadata, usage, n);

    IF p.system_at IS NOT NULL AND c.system_seq = 0 THEN
        c.system_seq := c.head + p.system_at + 1;
    END IF;
    c.state := CASE
        WHEN v_count > v_tail AND v_open <> '{}' THEN 5
        ELSE coalesce(p.states[v_count], c.state)
    END;
    -- Under the open policy calls are only followed during a run, whose end closes them; nothing else needs them.
    c.open_calls := CASE WHEN c.role_policy = 2 AND c.active_run IS NULL THEN '{}' ELSE v_open END;
    c.head := c.head + v_count;
    c.message_count := c.message_count + v_count;
    c.updated_at := v_now + (v_count - 1) * interval '1 microsecond';
    RETURN c;
END
$$;
