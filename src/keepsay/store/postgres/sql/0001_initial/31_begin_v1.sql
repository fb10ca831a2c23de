-- Begin a run: take the conversation, append the user's messages, return what the window is built of.
-- The run that has this key already is replayed, or gets a new attempt; keepsay.store.protocol.Store.begin says when.
CREATE FUNCTION __schema__.begin_v1(
    p_user_key uuid, p_conversation_id uuid, p_run_id uuid, p_fingerprint bigint, p_owner bigint, p_key text,
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
    SELECT * INTO r
    FROM __schema__.runs
    WHERE conversation_id = p_conversation_id
      AND run_id = p_run_id
      AND user_key = p_user_key;
    IF r.fingerprint <> p_fingerprint THEN
        PERFORM __schema__.refuse('KS002');
    END IF;
    IF r.status IN (1, 3) THEN
        RETURN QUERY SELECT * FROM __schema__.replayed_run(c, r);
        RETURN;
    ELSIF r.status = 0 AND (c.run_owner = p_owner OR c.lease_until > clock_timestamp()) THEN
        RETURN QUERY SELECT * FROM __schema__.window_rows(
            c,
            json_build_object(
                'run', __schema__.shown_run(r, c), 'replayed', true, 'held', c.run_owner = p_owner, 'took_over', false
            ),
            p_max_messages, p_max_tokens
        );
        RETURN;
    END IF;

    v_before := c.head;
    v_took_over := c.active_run IS NOT NULL;
    IF v_took_over THEN
        IF c.lease_until <= clock_timestamp() THEN
            c := __schema__.close_run(c, 4::smallint, NULL);
        ELSIF p_interrupt THEN
            c := __schema__.close_run(c, 3::smallint, NULL);
        ELSE
            PERFORM __schema__.refuse_busy(c);
        END IF;
    END IF;
    c.fence := c.fence + 1;
    c.active_run := p_run_id;
    c.run_owner := p_owner;
    c.lease_until := clock_timestamp() + make_interval(secs => p_lease);
    IF r.run_id IS NULL THEN
        IF p_expected_seq <> v_before THEN
            PERFORM __schema__.refuse('KS005', jsonb_build_object('expected', p_expected_seq, 'head', v_before));
        END IF;
        INSERT INTO __schema__.runs (
            conversation_id, user_key, run_id, fingerprint, created_at, fence, first_seq, last_seq, key
        )
        VALUES (
            c.conversation_id, c.user_key, p_run_id, p_fingerprint,
            greatest(clock_timestamp(), c.updated_at + interval '1 microsecond'), c.fence, c.head + 1, c.head, p_key
        )
        RETURNING * INTO r;
        c := __schema__.put_messages(c, p, p_run_id, NULL, NULL);
    ELSE
        r := __schema__.attempt_again(c, p_run_id);
    END IF;
    c := __schema__.save_conversation(c);
    RETURN QUERY SELECT * FROM __schema__.window_rows(
        c,
        json_build_object('run', __schema__.shown_run(r, c), 'replayed', false, 'held', true, 'took_over', v_took_over),
        p_max_messages, p_max_tokens
    );
END
$$;
