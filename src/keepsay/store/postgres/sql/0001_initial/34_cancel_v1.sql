-- End a run as cancelled, if it is under way, and return it as it is now.
CREATE FUNCTION __schema__.cancel_v1(p_user_key uuid, p_conversation_id uuid, p_run_id bigint) RETURNS TABLE (run json)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    c __schema__.conversations;
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    c := __schema__.lock_conversation(p_user_key, p_conversation_id);
    IF c.active_run = p_run_id THEN
        c := __schema__.save_conversation(__schema__.close_run(
            c, CASE WHEN c.lease_until > clock_timestamp() THEN 3 ELSE 4 END::smallint
        ));
    END IF;
    run := __schema__.shown_run(__schema__.get_run(c, p_run_id));
    RETURN NEXT;
END
$$;
