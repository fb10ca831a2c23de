-- What users have left of their allowance of runs; a user who never began a run within one has no row. `level` is what was
-- in the bucket at `refilled_at`, in parts of which a run takes 60,000,000: `per_minute` of them come back every microsecond,
-- so all arithmetic is of whole numbers (keepsay.model.allowance). `runs` is how many began on `day`, a day of UTC.
-- The row goes with the user's, so that erase_v1 removes it too.
CREATE TABLE __schema__.allowances (
    user_key uuid NOT NULL,
    refilled_at timestamptz NOT NULL,
    level bigint NOT NULL,
    day date NOT NULL,
    runs integer NOT NULL,
    PRIMARY KEY (user_key),
    FOREIGN KEY (user_key) REFERENCES __schema__.users (user_key) ON DELETE CASCADE
);
