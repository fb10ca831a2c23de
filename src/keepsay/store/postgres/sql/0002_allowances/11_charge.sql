-- Take one run off a user's allowance under the lock of its row, or refuse, which undoes the whole call. The last lock that a
-- call takes. The caller has locked a conversation of the user, so neither the user nor this row is erased meanwhile.
CREATE FUNCTION __schema__.charge(p_user_key uuid, p_per_minute integer, p_burst integer, p_per_day integer) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    a __schema__.allowances;
BEGIN
    -- Refilled last so long ago that it is full. Waits for a like insert in flight.
    INSERT INTO __schema__.allowances (user_key, refilled_at, level, day, runs)
    VALUES (p_user_key, 'epoch', 0, 'epoch', 0)
    ON CONFLICT DO NOTHING;
    SELECT * INTO STRICT a
    FROM __schema__.allowances
    WHERE user_key = p_user_key
    FOR UPDATE;
    a := __schema__.spend(a, p_per_minute, p_burst, p_per_day, clock_timestamp()); -- the time is that after the lock
    UPDATE __schema__.allowances
    SET refilled_at = a.refilled_at, level = a.level, day = a.day, runs = a.runs
    WHERE user_key = p_user_key;
END
$$;
