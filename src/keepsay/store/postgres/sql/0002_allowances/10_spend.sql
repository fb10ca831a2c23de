-- What is left after one more run begins at this moment, or a refusal: keepsay.model.allowance.spend, to the microsecond.
-- Without `per_minute` the bucket is left alone, without `per_day` the day's runs are counted but not limited.
CREATE FUNCTION __schema__.spend(
    a __schema__.allowances, p_per_minute integer, p_burst integer, p_per_day integer, p_now timestamptz
) RETURNS __schema__.allowances
LANGUAGE plpgsql AS $$
DECLARE
    v_run constant bigint := 60000000;
    v_full bigint := p_burst * v_run;
    v_today date := greatest(a.day, (p_now AT TIME ZONE 'UTC')::date);
    v_elapsed bigint;
BEGIN
    IF a.day <> v_today THEN
        a.day := v_today;
        a.runs := 0;
    END IF;
    IF a.runs >= p_per_day THEN
        PERFORM __schema__.refuse('KS012', jsonb_build_object(
            'limit', p_per_day,
            'retry_after', extract(epoch FROM (v_today + 1)::timestamp AT TIME ZONE 'UTC' - p_now)
        ));
    END IF;
    a.runs := a.runs + 1;
    IF p_per_minute IS NULL THEN
        RETURN a;
    END IF;
    -- A clock that went back mints nothing: time counts again once it has passed the last refill.
    v_elapsed := greatest(0, extract(epoch FROM p_now - a.refilled_at) * 1000000);
    a.refilled_at := greatest(a.refilled_at, p_now);
    -- Cut to what fills the bucket: years of it would not fit into a bigint.
    a.level := least(v_full, a.level + least(v_elapsed, v_full / p_per_minute + 1) * p_per_minute);
    IF a.level < v_run THEN
        PERFORM __schema__.refuse('KS011', jsonb_build_object(
            'limit', p_per_minute,
            'retry_after', ceil((v_run - a.level)::numeric / p_per_minute) / 1000000
                + extract(epoch FROM a.refilled_at - p_now)
        ));
    END IF;
    a.level := a.level - v_run;
    RETURN a;
END
$$;
