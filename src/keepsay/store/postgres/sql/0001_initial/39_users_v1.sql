-- For operators: the ids of users, and nothing of theirs.
CREATE FUNCTION __schema__.users_v1(p_after text, p_limit integer) RETURNS TABLE (user_id text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('keepsay.operator', 'on', true);
    RETURN QUERY
    SELECT u.user_id
    FROM __schema__.users u
    WHERE p_after IS NULL OR u.user_id > p_after COLLATE "C"
    ORDER BY u.user_id
    LIMIT p_limit;
    PERFORM set_config('keepsay.operator', '', true);
END
$$;
