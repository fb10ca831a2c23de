-- May this caller append now? A run must still hold the conversation, and its lease is renewed. Without a run: a run whose
-- lease has run out is ended, and one under way is respected where the policy makes answers alternate.
CREATE FUNCTION __schema__.hold_for_append(
    c __schema__.conversations, p_run_id bigint, p_fence integer, p_lease double precision
) RETURNS __schema__.conversations
LANGUAGE plpgsql AS $$
BEGIN
    IF p_run_id IS NOT NULL THEN
        IF c.active_run IS DISTINCT FROM p_run_id OR c.fence <> p_fence THEN
            PERFORM __schema__.refuse('KS004', jsonb_build_object('run_id', p_run_id));
        END IF;
        c.lease_until := clock_timestamp() + make_interval(secs => p_lease);
    ELSIF c.active_run IS NOT NULL THEN
        IF c.lease_until <= clock_timestamp() THEN
            c := __schema__.close_run(c, 4::smallint);
        ELSIF c.role_policy = 0 THEN
            PERFORM __schema__.refuse_busy(c);
        END IF;
    END IF;
    RETURN c;
END
$$;
