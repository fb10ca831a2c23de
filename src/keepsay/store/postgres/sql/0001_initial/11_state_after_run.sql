-- keepsay.model.order.state_after_rewind and state_after_run: without an answer, both sides may speak.
CREATE FUNCTION __schema__.state_after_run(p_state smallint) RETURNS smallint
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_state IN (0, 1, 3) THEN p_state ELSE 7::smallint END
$$;
