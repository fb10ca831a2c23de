-- From which seq on a window's messages must be read: at least everything that keepsay.model.window can choose.
-- Walks back from the newest message until a limit is passed, but always through the newest step. Turns without an
-- answer, which no window holds, count for nothing. `low` is the first seq to read; `asked` the user's message of the
-- newest turn where it stands before that; `from_start` says that nothing older was left behind.
CREATE FUNCTION __schema__.window_bounds(
    c __schema__.conversations, p_max_messages integer, p_max_tokens integer,
    OUT low integer, OUT asked integer, OUT from_start boolean
)
LANGUAGE plpgsql AS $$
DECLARE
    m record;
    v_count integer := 0;
    v_tokens bigint := 0;
    v_ends_turn boolean := false;
    v_skip boolean := false;
    v_user_seen boolean := false;
    v_step_done boolean := false;
    v_later_role smallint;
    v_later_seq integer;
BEGIN
    low := c.head + 1;
    from_start := true;
    FOR m IN
        SELECT seq, role, status, state, tokens
        FROM __schema__.messages
        WHERE conversation_id = c.conversation_id
          AND user_key = c.user_key
          AND seq > c.summary_seq
          AND seq <= c.head
          AND seq <> c.system_seq
          AND NOT seq <@ c.hidden
        ORDER BY seq DESC
    LOOP
        CONTINUE WHEN m.status IN (1, 3);
        IF v_ends_turn THEN
            v_skip := m.state <> 3;
            v_ends_turn := false;
        END IF;
        IF v_later_role = 2 AND m.role = 3 THEN
            low := v_later_seq;
        END IF;
        v_step_done := v_step_done OR m.role < 2 OR (v_later_role = 2 AND m.role = 3);
        IF NOT v_skip THEN
            v_count := v_count + 1;
            v_tokens := v_tokens + m.tokens;
            IF v_step_done AND (v_count > p_max_messages OR v_tokens > p_max_tokens) THEN
                from_start := false;
                EXIT;
            END IF;
        END IF;
        IF m.role < 2 THEN
            low := m.seq;
            v_ends_turn := true;
            v_skip := false;
            v_user_seen := v_user_seen OR m.role = 1;
        END IF;
        IF m.role <> 4 THEN
            v_later_role := m.role;
            v_later_seq := m.seq;
        END IF;
    END LOOP;
    IF from_start THEN
        low := c.summary_seq + 1;
    ELSIF NOT v_user_seen THEN
        SELECT max(seq) INTO asked
        FROM __schema__.messages
        WHERE conversation_id = c.conversation_id
          AND user_key = c.user_key
          AND seq > c.summary_seq
          AND seq < low
          AND role = 1
          AND status NOT IN (1, 3)
          AND NOT seq <@ c.hidden;
    END IF;
END
$$;
