-- Begin a run within the user's allowance: as begin_v1, whose refusals come first. A replay, the caller's own retry too, is
-- not charged. Locks are taken in the order user, conversation, allowance, which erase_v1 keeps as well.
CREATE FUNCTION __schema__.begin_within_v1(
    p_user_key uuid, p_conversation_id uuid, p_run_id bigint, p_fingerprint bigint, p_owner bigint, p_key text,
    p_lease double precision, p_interrupt boolean, p_expected_seq integer, p_max_messages integer, p_max_tokens integer,
    p_per_minute integer, p_burst integer, p_per_day integer,
    p_allowed integer[], p_last_roles smallint[], p_attempted_roles smallint[], p_answers text[], p_requires_closed boolean,
    p_opens jsonb, p_system_at integer, p_roles smallint[], p_statuses smallint[], p_states smallint[], p_tokens integer[],
    p_formats text[], p_payloads text[], p_client_ids text[], p_metadatas text[], p_usages text[]
) RETURNS SETOF __schema__.message_row
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    m __schema__.message_row;
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    -- The first run inserts the allowance's row, whose foreign key locks the user's: late, with the conversation's lock
    -- held, that and an erasure would wait for each other. So it is locked before all else, that one time.
    IF NOT EXISTS (SELECT FROM __schema__.allowances a WHERE a.user_key = p_user_key) THEN
        PERFORM FROM __schema__.users u WHERE u.user_key = p_user_key FOR KEY SHARE;
    END IF;
    FOR m IN
        SELECT * FROM __schema__.begin_v1(
            p_user_key, p_conversation_id, p_run_id, p_fingerprint, p_owner, p_key, p_lease, p_interrupt, p_expected_seq,
            p_max_messages, p_max_tokens, p_allowed, p_last_roles, p_attempted_roles, p_answers, p_requires_closed,
            p_opens, p_system_at, p_roles, p_statuses, p_states, p_tokens, p_formats, p_payloads, p_client_ids,
            p_metadatas, p_usages
        )
    LOOP
        IF m.header #>> '{facts,replayed}' = 'false' THEN -- only the first row has a header
            PERFORM __schema__.charge(p_user_key, p_per_minute, p_burst, p_per_day);
        END IF;
        RETURN NEXT m;
    END LOOP;
END
$$;
