-- Refuse because a run holds the conversation, and say for how long.
CREATE FUNCTION __schema__.refuse_busy(c __schema__.conversations) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM __schema__.refuse('KS003', jsonb_build_object(
        'run_id', c.active_run,
        'retry_after', greatest(0, extract(epoch FROM c.lease_until - clock_timestamp()))
    ));
END
$$;
