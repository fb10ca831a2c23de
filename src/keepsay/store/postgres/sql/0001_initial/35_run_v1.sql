-- One run.
CREATE FUNCTION __schema__.run_v1(p_user_key uuid, p_conversation_id uuid, p_run_id bigint) RETURNS TABLE (run json)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    c __schema__.conversations;
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    SELECT * INTO c
    FROM __schema__.conversations
    WHERE conversation_id = p_conversation_id
      AND user_key = p_user_key
      AND deleted_at IS NULL;
    IF NOT FOUND THEN
        PERFORM __schema__.refuse('KS001', '{"kind": "conversation"}');
    END IF;
    run := __schema__.shown_run(__schema__.get_run(c, p_run_id));
    RETURN NEXT;
END
$$;
