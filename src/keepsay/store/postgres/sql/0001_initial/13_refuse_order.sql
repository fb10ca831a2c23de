-- Refuse because the plan may not follow what stands there; says which roles met, and the calls that are open.
CREATE FUNCTION __schema__.refuse_order(c __schema__.conversations, p __schema__.append_plan, p_code text, p_unknown boolean)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_policy integer := c.role_policy + 1;
    v_last smallint := p.last_roles[v_policy];
BEGIN
    IF p.allowed[v_policy] <> 0 THEN
        SELECT m.role INTO v_last
        FROM __schema__.messages m
        WHERE m.conversation_id = c.conversation_id
          AND m.user_key = c.user_key
          AND m.role <> 4
          AND m.status <> 3
          AND NOT m.seq <@ c.hidden
        ORDER BY m.seq DESC
        LIMIT 1;
    END IF;
    PERFORM __schema__.refuse(p_code, jsonb_build_object(
        'last_role', v_last,
        'attempted_role', p.attempted_roles[v_policy],
        'open_calls', (SELECT coalesce(jsonb_agg(k), '[]') FROM jsonb_object_keys(c.open_calls) k),
        'unknown', p_unknown
    ));
END
$$;
