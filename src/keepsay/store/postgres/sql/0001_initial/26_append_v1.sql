-- Append a batch. Order of checks: owner, key, fence, expected, order, limits.
-- The key is looked up after the lock, in a newer snapshot: looked up before, concurrent retries conflict falsely.
CREATE FUNCTION __schema__.append_v1(
    p_user_key uuid, p_conversation_id uuid, p_key uuid, p_fingerprint bigint, p_run_id bigint, p_fence integer,
    p_lease double precision, p_expected_seq integer,
    p_allowed integer[], p_last_roles smallint[], p_attempted_roles smallint[], p_answers text[], p_requires_closed boolean,
    p_opens jsonb, p_system_at integer, p_roles smallint[], p_statuses smallint[], p_states smallint[], p_tokens integer[],
    p_formats text[], p_payloads text[], p_client_ids text[], p_metadatas text[], p_usages text[]
) RETURNS TABLE (first_seq integer, head integer, created_at timestamptz, replayed boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    c __schema__.conversations;
    p __schema__.append_plan := row(
        p_allowed, p_last_roles, p_attempted_roles, p_answers, p_requires_closed, p_opens, p_system_at, p_roles, p_statuses,
        p_states, p_tokens, p_formats, p_payloads, p_client_ids, p_metadatas, p_usages
    );
    v_before integer;
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    c := __schema__.lock_conversation(p_user_key, p_conversation_id);
    SELECT m.seq, m.seq + cardinality(p_roles) - 1, m.created_at, m.fingerprint = p_fingerprint
    INTO first_seq, head, created_at, replayed
    FROM __schema__.messages m
    WHERE m.conversation_id = p_conversation_id
      AND m.key = p_key
      AND m.user_key = p_user_key;
    IF FOUND THEN
        IF NOT replayed THEN
            PERFORM __schema__.refuse('KS002');
        END IF;
        RETURN NEXT;
        RETURN;
    END IF;
    v_before := c.head;
    c := __schema__.hold_for_append(c, p_run_id, p_fence, p_lease);
    IF p_expected_seq <> v_before THEN
        PERFORM __schema__.refuse('KS005', jsonb_build_object('expected', p_expected_seq, 'head', v_before));
    END IF;
    first_seq := c.head + 1;
    c := __schema__.save_conversation(__schema__.put_messages(c, p, p_run_id, p_key, p_fingerprint));
    head := c.head;
    created_at := c.updated_at - (head - first_seq) * interval '1 microsecond';
    replayed := false;
    RETURN NEXT;
END
$$;
