-- Whether row-level security binds these functions, on every table.
CREATE FUNCTION __schema__.health_v2() RETURNS TABLE (row_security boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
BEGIN
    row_security := row_security_active('__schema__.users')
        AND row_security_active('__schema__.conversations')
        AND row_security_active('__schema__.messages')
        AND row_security_active('__schema__.runs')
        AND row_security_active('__schema__.summaries')
        AND row_security_active('__schema__.allowances');
    RETURN NEXT;
END
$$;
