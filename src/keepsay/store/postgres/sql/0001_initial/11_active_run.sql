-- The run that lives on the conversation's row, in the form of one that has ended: expired once its lease has run out, even
-- if nobody took over.
CREATE FUNCTION __schema__.active_run(c __schema__.conversations) RETURNS __schema__.runs
LANGUAGE plpgsql AS $$
DECLARE
    r __schema__.runs;
BEGIN
    r.conversation_id := c.conversation_id;
    r.user_key := c.user_key;
    r.run_id := c.active_run;
    r.fingerprint := c.run_fingerprint;
    r.created_at := c.run_created_at;
    r.fence := c.fence;
    r.first_seq := c.run_first_seq;
    r.last_seq := c.head;
    r.attempt := c.run_attempt;
    r.status := CASE WHEN c.lease_until > clock_timestamp() THEN 0 ELSE 4 END;
    r.key := c.run_key;
    RETURN r;
END
$$;
