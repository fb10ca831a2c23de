-- How many messages up to a seq are neither deleted nor rewound.
CREATE FUNCTION __schema__.visible_count(c __schema__.conversations, p_seq integer) RETURNS integer
LANGUAGE sql STABLE AS $$
    SELECT count(*)::integer
    FROM __schema__.messages m
    WHERE m.conversation_id = c.conversation_id
      AND m.user_key = c.user_key
      AND m.seq <= p_seq
      AND m.status <> 3
      AND NOT m.seq <@ c.hidden
$$;
