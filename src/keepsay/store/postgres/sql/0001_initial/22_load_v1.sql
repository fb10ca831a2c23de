-- A conversation and what its window is built of, which the row that was read first bounds: both are of one moment.
CREATE FUNCTION __schema__.load_v1(p_user_key uuid, p_conversation_id uuid, p_max_messages integer, p_max_tokens integer)
RETURNS SETOF __schema__.message_row
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    c __schema__.conversations;
BEGIN
    PERFORM set_config('keepsay.user_key', p_user_key::text, true);
    c := __schema__.find_conversation(p_user_key, p_conversation_id);
    RETURN QUERY SELECT * FROM __schema__.window_rows(c, __schema__.shown_conversation(c), p_max_messages, p_max_tokens);
END
$$;
