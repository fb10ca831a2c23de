-- Renew a run's lease.
CREATE FUNCTION __schema__.heartbeat_v1(
    p_user_key uuid, p_conversation_id uuid, p_run_id bigint, p_fence integer, p_lease double precision
) RETURNS TABLE (lease_until timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    c __schema__.conversations;
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    c := __schema__.lock_conversation(p_user_key, p_conversation_id);
    c := __schema__.hold_for_append(c, p_run_id, p_fence, p_lease);
    UPDATE __schema__.conversations
    SET lease_until = c.lease_until
    WHERE conversation_id = c.conversation_id
      AND user_key = c.user_key;
    lease_until := c.lease_until;
    RETURN NEXT;
END
$$;
