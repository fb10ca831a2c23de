-- From which seq on a window's messages must be read: at least everything that keepsay.model.window can choose, by the
-- turns and units of keepsay.model.turns. Walks back from the newest message until more than the limits is counted, but
-- always through the newest turn's last step and on to its last question. Turns without an answer count for nothing.
-- `low` is the first seq to read; `asked` the newest turn's last question where it stands before that (a deleted one if
-- no other is left); `from_start` says that nothing older that can be in is left behind.
CREATE FUNCTION __schema__.window_bounds(
    c __schema__.conversations, p_max_messages integer, p_max_tokens integer,
    OUT low integer, OUT asked integer, OUT from_start boolean
)
LANGUAGE plpgsql AS $$
DECLARE
    -- A cursor is planned for its first rows; a loop over the query itself for all, so it may read and sort the whole log.
    walk CURSOR FOR
        SELECT seq, role, status, state, tokens, run_id
        FROM __schema__.messages
        WHERE conversation_id = c.conversation_id
          AND user_key = c.user_key
          AND seq > c.summary_seq
          AND seq <= c.head
          AND seq <> c.system_seq
          AND NOT seq <@ c.hidden
        ORDER BY seq DESC;
    v_usable boolean;
    v_count integer := 0;
    v_tokens bigint := 0;
    v_newest boolean := true; -- in the newest turn of which anything can be in
    v_counts boolean := true; -- whether this turn's messages count; NULL until its last one is seen
    v_step_used boolean := false; -- anything of this step can be in
    v_step_read boolean := false; -- this turn's last step is read whole
    v_question_read boolean := false; -- this turn's last question is read
    v_core boolean; -- m is of that step or question of the newest turn, which stay whatever the limits
    v_extra boolean := false; -- anything else was counted
    v_later_role smallint := 4; -- of the message after m, of those that the order sees
    v_later_run bigint;
    v_after integer := c.head + 1; -- the seq read before m
BEGIN
    low := c.head + 1;
    from_start := true;
    FOR m IN walk LOOP
        v_usable := m.status NOT IN (1, 3);
        IF v_later_role < 2 AND (
            m.role IN (2, 3) OR m.role = 1 AND (c.role_policy = 0 OR m.run_id IS DISTINCT FROM v_later_run)
        ) THEN -- m is the last of an older turn
            EXIT WHEN NOT from_start;
            v_newest := v_count = 0;
            v_counts := CASE WHEN v_newest THEN true END;
            v_step_read := false;
            v_question_read := false;
            v_step_used := false;
            low := v_after;
        ELSIF v_later_role IN (0, 1, 4) OR m.role < 2 OR (m.role = 3 AND m.state <> 5 AND v_later_role = 2) THEN
            -- m is the last of an older unit
            IF from_start AND (v_newest OR v_question_read) THEN
                low := v_after;
            END IF;
            v_step_read := v_step_read OR (v_later_role IN (2, 3) AND v_step_used);
            v_step_used := false;
        END IF;
        v_core := v_newest AND (
            v_count = 0
            OR (m.role < 2 AND NOT v_question_read)
            OR (NOT v_step_read AND (m.role IN (2, 3) OR m.role = 4 AND v_later_role IN (2, 3)))
        );
        IF v_usable AND m.role <> 4 THEN
            v_counts := coalesce(v_counts, m.state = 3);
        END IF;
        IF v_usable AND v_counts AND from_start THEN
            v_count := v_count + 1;
            v_tokens := v_tokens + m.tokens;
            v_extra := v_extra OR NOT v_core;
            IF v_extra AND (v_count > p_max_messages OR v_tokens > p_max_tokens) THEN
                from_start := false;
            END IF;
        END IF;
        IF NOT from_start THEN
            EXIT WHEN NOT v_newest OR v_question_read OR c.state = 0 OR (c.state = 1 AND c.role_policy <> 2);
            IF m.role < 2 THEN
                asked := CASE WHEN v_usable THEN m.seq ELSE coalesce(asked, m.seq) END;
                EXIT WHEN v_usable;
            ELSIF v_core THEN
                low := m.seq;
            END IF;
        END IF;
        v_question_read := v_question_read OR (v_usable AND m.role < 2);
        v_step_used := v_step_used OR (v_usable AND m.role <> 4);
        IF m.role <> 4 THEN
            v_later_role := m.role;
            v_later_run := m.run_id;
        END IF;
        v_after := m.seq;
    END LOOP;
    IF from_start THEN
        low := c.summary_seq + 1;
    END IF;
END
$$;
