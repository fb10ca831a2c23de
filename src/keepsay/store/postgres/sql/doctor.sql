-- What `keepsay doctor` asks, in one transaction. It reads catalogs alone, so it works before any migration and for a
-- role that may do nothing: no statement here may fail for want of a privilege.

-- name: server
SELECT
    current_setting('server_version')::text AS version,
    current_setting('server_version_num')::int4 AS version_number,
    current_setting('neon.timeline_id', true) IS NOT NULL AS is_neon,
    quote_ident(current_user)::text AS role,
    quote_ident(current_database())::text AS database,
    pg_backend_pid()::int4 AS backend,
    pg_is_in_recovery()::bool AS in_recovery,
    current_setting('transaction_read_only')::bool AS read_only,
    current_setting('synchronous_commit')::text AS synchronous_commit,
    current_setting('fsync')::bool AS fsync,
    current_setting('full_page_writes')::bool AS full_page_writes,
    current_setting('max_connections')::int4 AS max_connections,
    (current_setting('superuser_reserved_connections')::int4
        + coalesce(current_setting('reserved_connections', true)::int4, 0))::int4 AS reserved_connections,
    (SELECT coalesce(sum(d.numbackends), 0) FROM pg_stat_database d)::int4 AS used_connections;

-- name: ping
SELECT 1;

-- name: clock
SELECT clock_timestamp()::timestamptz AS now;

-- name: access
SELECT
    quote_ident(current_user)::text AS role,
    coalesce(has_schema_privilege(n.oid, 'USAGE'), false)::bool AS schema_usage,
    coalesce(has_schema_privilege('public', n.oid, 'USAGE'), false)::bool AS public_usage,
    (c.oid IS NOT NULL)::bool AS ledger_exists,
    coalesce(has_table_privilege(c.oid, 'SELECT'), false)::bool AS ledger_select
FROM (SELECT '__schema__'::text AS wanted) w
LEFT JOIN pg_namespace n ON n.nspname = w.wanted
LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'migrations' AND c.relkind IN ('r', 'p');

-- name: doors
SELECT
    quote_ident(r.rolname)::text AS owner,
    (r.rolsuper OR r.rolbypassrls)::bool AS bypasses,
    count(*)::int4 AS functions,
    (count(*) FILTER (WHERE NOT has_function_privilege(p.oid, 'EXECUTE')))::int4 AS closed,
    (count(*) FILTER (WHERE has_function_privilege('public', p.oid, 'EXECUTE')))::int4 AS open_to_all
FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
JOIN pg_roles r ON r.oid = p.proowner
WHERE n.nspname = '__schema__' AND p.prosecdef
GROUP BY r.rolname, r.rolsuper, r.rolbypassrls
ORDER BY r.rolname;

-- name: tables
SELECT
    c.relname::text AS table_name,
    quote_ident(pg_get_userbyid(c.relowner))::text AS owner,
    (c.relrowsecurity AND c.relforcerowsecurity)::bool AS forced,
    EXISTS (SELECT FROM pg_policy o WHERE o.polrelid = c.oid)::bool AS has_policy
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = '__schema__' AND c.relkind IN ('r', 'p') AND c.relname <> 'migrations'
ORDER BY c.relname;
