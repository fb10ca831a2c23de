-- Append a run's last messages, answer its open calls and end it. The same again is told the first result.
CREATE FUNCTION __schema__.finish_v1(
    p_user_key uuid, p_conversation_id uuid, p_run_id bigint, p_fence integer, p_status smallint, p_error text,
    p_allowed integer[], p_last_roles smallint[], p_attempted_roles smallint[], p_answers text[], p_requires_closed boolean,
    p_opens jsonb, p_system_at integer, p_roles smallint[], p_statuses smallint[], p_states smallint[], p_tokens integer[],
    p_formats text[], p_payloads text[], p_client_ids text[], p_metadatas text[], p_usages text[]
) RETURNS TABLE (run json, first_seq integer, head integer, created_at timestamptz, replayed boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    c __schema__.conversations;
    r __schema__.runs;
    p __schema__.append_plan := row(
        p_allowed, p_last_roles, p_attempted_roles, p_answers, p_requires_closed, p_opens, p_system_at, p_roles, p_statuses,
        p_states, p_tokens, p_formats, p_payloads, p_client_ids, p_metadatas, p_usages
    );
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    c := __schema__.lock_conversation(p_user_key, p_conversation_id);
    r := __schema__.get_run(c, p_run_id);
    replayed := c.active_run IS DISTINCT FROM p_run_id AND r.fence = p_fence AND r.status = p_status;
    IF replayed THEN
        IF r.finish_seq = 0 AND cardinality(p_roles) > 0 THEN -- it ended likewise, but without these messages
            PERFORM __schema__.refuse('KS004', jsonb_build_object('run_id', p_run_id));
        END IF;
        SELECT m.seq, m.created_at INTO first_seq, created_at
        FROM __schema__.messages m
        WHERE m.conversation_id = p_conversation_id
          AND m.user_key = p_user_key
          AND m.seq = r.finish_seq;
    ELSE
        c := __schema__.hold_for_append(c, p_run_id, p_fence, 0);
        first_seq := c.head + 1;
        c := __schema__.put_messages(c, p, p_run_id, NULL, NULL);
        created_at := c.updated_at - (c.head - first_seq) * interval '1 microsecond';
        c := __schema__.save_conversation(__schema__.close_run(
            c, p_status, p_error, CASE WHEN cardinality(p_roles) > 0 THEN first_seq ELSE 0 END
        ));
        r := __schema__.get_run(c, p_run_id);
    END IF;
    run := __schema__.shown_run(r);
    head := r.last_seq;
    RETURN NEXT;
END
$$;
