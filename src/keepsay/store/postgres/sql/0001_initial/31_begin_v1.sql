-- Begin a run: take the conversation, append the user's messages, return what the window is built of.
-- The run that has this key already is replayed, or gets a new attempt; keepsay.store.protocol.Store.begin says when.
CREATE FUNCTION __schema__.begin_v1(
    p_user_key uuid, p_conversation_id uuid, p_run_id bigint, p_fingerprint bigint, p_owner bigint, p_key text,
    p_lease double precision, p_interrupt boolean, p_expected_seq integer, p_max_messages integer, p_max_tokens integer,
    p_allowed integer[], p_last_roles smallint[], p_attempted_roles smallint[], p_answers text[], p_requires_closed boolean,
    p_opens jsonb, p_system_at integer, p_roles smallint[], p_statuses smallint[], p_states smallint[], p_tokens integer[],
    p_formats text[], p_payloads text[], p_client_ids text[], p_metadatas text[], p_usages text[]
) RETURNS SETOF __schema__.message_row
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    c __schema__.conversations;
    r __schema__.runs;
    p __schema__.append_plan := row(
        p_allowed, p_last_roles, p_attempted_roles, p_answers, p_requires_closed, p_opens, p_system_at, p_roles, p_statuses,
        p_states, p_tokens, p_formats, p_payloads, p_client_ids, p_metadatas, p_usages
    );
    v_before integer;
    v_took_over boolean;
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    c := __schema__.lock_conversation(p_user_key, p_conversation_id);
    r := __schema__.find_run(c, p_run_id);
    IF r.fingerprint <> p_fingerprint THEN
        PERFORM __schema__.refuse('KS002');
    END IF;
    IF r.status IN (1, 3) THEN
        RETURN QUERY SELECT * FROM __schema__.replayed_run(c, r);
        RETURN;
    ELSIF c.active_run = p_run_id AND c.run_owner = p_owner THEN -- the caller's own retry: nobody took over meanwhile
        c.lease_until := clock_timestamp() + make_interval(secs => p_lease);
        UPDATE __schema__.conversations
        SET lease_until = c.lease_until
        WHERE conversation_id = c.conversation_id
          AND user_key = c.user_key;
        r := __schema__.active_run(c);
    END IF;
    IF r.status = 0 THEN
        RETURN QUERY SELECT * FROM __schema__.window_rows(
            c,
            json_build_object(
                'run', __schema__.shown_run(r), 'replayed', true, 'held', c.run_owner = p_owner, 'took_over', false
            ),
            p_max_messages, p_max_tokens
        );
        RETURN;
    END IF;

    v_before := c.head;
    v_took_over := c.active_run IS NOT NULL;
    IF v_took_over THEN
        IF c.lease_until <= clock_timestamp() THEN
            c := __schema__.close_run(c, 4::smallint);
        ELSIF p_interrupt THEN
            c := __schema__.close_run(c, 3::smallint);
        ELSE
            PERFORM __schema__.refuse_busy(c);
        END IF;
    END IF;
    c.fence := c.fence + 1;
    c.active_run := p_run_id;
    c.run_owner := p_owner;
    c.run_fingerprint := p_fingerprint;
    c.run_key := p_key;
    c.lease_until := clock_timestamp() + make_interval(secs => p_lease);
    IF r.run_id IS NULL THEN
        IF p_expected_seq <> v_before THEN
            PERFORM __schema__.refuse('KS005', jsonb_build_object('expected', p_expected_seq, 'head', v_before));
        END IF;
        c.run_created_at := greatest(clock_timestamp(), c.updated_at + interval '1 microsecond');
        c.run_first_seq := c.head + 1;
        c.run_attempt := 1;
        c := __schema__.put_messages(c, p, p_run_id, NULL, NULL);
    ELSE
        -- A failed or expired run again, on the messages that it appended then, unless these are gone or the
        -- conversation went on.
        IF r.last_seq <> v_before OR r.last_seq <@ c.hidden OR EXISTS (
            SELECT
            FROM __schema__.messages m
            WHERE m.conversation_id = c.conversation_id
              AND m.user_key = c.user_key
              AND m.seq BETWEEN r.first_seq AND r.last_seq
              AND m.run_id = p_run_id
              AND m.role = 1
              AND m.status = 3
        ) THEN
            PERFORM __schema__.refuse('KS004', jsonb_build_object('run_id', p_run_id));
        END IF;
        c.run_created_at := r.created_at;
        c.run_first_seq := r.first_seq;
        c.run_attempt := r.attempt + 1;
    END IF;
    c := __schema__.save_conversation(c);
    RETURN QUERY SELECT * FROM __schema__.window_rows(
        c,
        json_build_object(
            'run', __schema__.shown_run(__schema__.active_run(c)), 'replayed', false, 'held', true, 'took_over', v_took_over
        ),
        p_max_messages, p_max_tokens
    );
END
$$;
