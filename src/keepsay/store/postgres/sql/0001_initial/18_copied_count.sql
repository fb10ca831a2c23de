-- How many messages up to a seq a fork copies: all but the rewound ones. The number that this seq gets there.
CREATE FUNCTION __schema__.copied_count(c __schema__.conversations, p_seq integer) RETURNS integer
LANGUAGE sql STABLE AS $$
    SELECT count(*)::integer
    FROM __schema__.messages m
    WHERE m.conversation_id = c.conversation_id
      AND m.user_key = c.user_key
      AND m.seq <= p_seq
      AND NOT m.seq <@ c.hidden
$$;
