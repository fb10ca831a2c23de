-- A conversation as clients see it.
CREATE FUNCTION __schema__.shown_conversation(c __schema__.conversations) RETURNS json
LANGUAGE sql AS $$
    SELECT json_build_object(
        'conversation_id', c.conversation_id,
        'role_policy', c.role_policy,
        'status', c.status,
        'head', c.head,
        'message_count', c.message_count,
        'version', c.version,
        'state', c.state,
        'created_at', c.created_at,
        'updated_at', c.updated_at,
        'title', c.title,
        'system_prompt', c.system_prompt,
        'external_key', c.external_key,
        'metadata', c.metadata,
        'active_run', CASE WHEN c.lease_until > clock_timestamp() THEN c.active_run END
    )
$$;
