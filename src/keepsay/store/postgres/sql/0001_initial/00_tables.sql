-- Tables. `user_key` (the first 128 bits of the SHA-256 of the user's id) is part of every key: isolation, row-level
-- security and shard key in one. It stands last in the keys of messages and runs, because the time-ordered
-- conversation id in front keeps the conversations that are active now together on few pages.
--
-- Small numbers, as keepsay.model has them:
--   role      0 system, 1 user, 2 assistant, 3 tool, 4 other
--   status    of a message 0 complete, 1 incomplete, 2 synthetic, 3 deleted; of a conversation 0 active, 1 archived;
--             of a run 0 running, 1 completed, 2 failed, 3 cancelled, 4 expired
--   state     0 empty, 1 system, 2 user, 3 assistant, 4 step, 5 calling, 6 tool, 7 interrupted
--   policy    0 strict, 1 lenient, 2 open

CREATE TABLE __schema__.users (
    user_key uuid NOT NULL,
    created_at timestamptz NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (user_key)
);

-- Columns that an append changes stand together: the write-ahead log then holds only them. A run that is under way lives
-- here, where there is room for one; it becomes a row of `runs` when it ends.
CREATE TABLE __schema__.conversations (
    conversation_id uuid NOT NULL,
    user_key uuid NOT NULL,
    created_at timestamptz NOT NULL,
    fingerprint bigint NOT NULL,
    role_policy smallint NOT NULL,
    status smallint NOT NULL DEFAULT 0,
    system_seq integer NOT NULL DEFAULT 0,
    summary_seq integer NOT NULL DEFAULT 0,
    state smallint NOT NULL DEFAULT 0,
    head integer NOT NULL DEFAULT 0,
    message_count integer NOT NULL DEFAULT 0,
    version integer NOT NULL DEFAULT 1,
    fence integer NOT NULL DEFAULT 0,
    active_day date NOT NULL,
    updated_at timestamptz NOT NULL,
    lease_until timestamptz,
    run_owner bigint,
    active_run bigint,
    run_fingerprint bigint,
    run_created_at timestamptz,
    run_first_seq integer,
    run_attempt smallint,
    run_key text COLLATE "C",
    open_calls jsonb NOT NULL DEFAULT '{}',
    hidden int4multirange NOT NULL DEFAULT '{}',
    deleted_at timestamptz,
    external_key text COLLATE "C",
    title text,
    system_prompt text,
    metadata json,
    PRIMARY KEY (conversation_id, user_key),
    FOREIGN KEY (user_key) REFERENCES __schema__.users (user_key),
    CHECK (role_policy BETWEEN 0 AND 2),
    CHECK (status BETWEEN 0 AND 1),
    CHECK (state BETWEEN 0 AND 7)
);

CREATE UNIQUE INDEX conversations_external_key ON __schema__.conversations (user_key, external_key)
    WHERE external_key IS NOT NULL AND deleted_at IS NULL;

-- The list by last activity reads the newest days first and sorts within a day: an index on updated_at itself would
-- make every append a non-HOT update.
CREATE INDEX conversations_active_day ON __schema__.conversations (user_key, active_day DESC);

-- `payload` is kept as it came, as escaped ASCII JSON; no SQL looks inside. A null format is `chat`. Of a keyed batch
-- the first row holds key and fingerprint.
CREATE TABLE __schema__.messages (
    conversation_id uuid NOT NULL,
    user_key uuid NOT NULL,
    seq integer NOT NULL,
    tokens integer NOT NULL,
    created_at timestamptz NOT NULL,
    role smallint NOT NULL,
    status smallint NOT NULL,
    state smallint NOT NULL,
    run_id bigint,
    key uuid,
    fingerprint bigint,
    client_id text COLLATE "C",
    format text COLLATE "C",
    payload json NOT NULL,
    metadata json,
    usage json,
    PRIMARY KEY (conversation_id, seq, user_key),
    FOREIGN KEY (conversation_id, user_key) REFERENCES __schema__.conversations (conversation_id, user_key),
    CHECK (role BETWEEN 0 AND 4),
    CHECK (status BETWEEN 0 AND 3),
    CHECK (state BETWEEN 0 AND 7)
);

CREATE UNIQUE INDEX messages_key ON __schema__.messages (conversation_id, key, user_key) WHERE key IS NOT NULL;
CREATE UNIQUE INDEX messages_client_id ON __schema__.messages (conversation_id, client_id, user_key)
    WHERE client_id IS NOT NULL;

-- Runs that have ended. The run's id is a hash of its key, so finding it is finding the key. `finish_seq` is where its last
-- messages begin, if the run itself ended it. Empty texts stand for none: without a null the row's header is shorter.
CREATE TABLE __schema__.runs (
    conversation_id uuid NOT NULL,
    user_key uuid NOT NULL,
    run_id bigint NOT NULL,
    fingerprint bigint NOT NULL,
    created_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    fence integer NOT NULL,
    first_seq integer NOT NULL,
    last_seq integer NOT NULL,
    finish_seq integer NOT NULL DEFAULT 0,
    attempt smallint NOT NULL,
    status smallint NOT NULL,
    key text COLLATE "C" NOT NULL,
    error text NOT NULL,
    PRIMARY KEY (conversation_id, run_id, user_key),
    FOREIGN KEY (conversation_id, user_key) REFERENCES __schema__.conversations (conversation_id, user_key),
    CHECK (status BETWEEN 1 AND 4)
);

CREATE TABLE __schema__.summaries (
    conversation_id uuid NOT NULL,
    user_key uuid NOT NULL,
    to_seq integer NOT NULL,
    tokens integer NOT NULL,
    created_at timestamptz NOT NULL,
    text text NOT NULL,
    PRIMARY KEY (conversation_id, to_seq, user_key),
    FOREIGN KEY (conversation_id, user_key) REFERENCES __schema__.conversations (conversation_id, user_key)
);
