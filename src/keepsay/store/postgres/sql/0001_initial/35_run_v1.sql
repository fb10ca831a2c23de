-- One run.
CREATE FUNCTION __schema__.run_v1(p_user_key uuid, p_conversation_id uuid, p_run_id bigint) RETURNS TABLE (run json)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    c __schema__.conversations;
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    c := __schema__.find_conversation(p_user_key, p_conversation_id);
    run := __schema__.shown_run(__schema__.get_run(c, p_run_id));
    RETURN NEXT;
END
$$;
