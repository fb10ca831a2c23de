-- What functions take and return.

-- A row of a log. Functions that return facts beside messages send them first, in a row of their own, as `header`.
CREATE TYPE __schema__.message_row AS (
    header json,
    seq integer,
    role smallint,
    status smallint,
    state smallint,
    tokens integer,
    format text,
    payload json,
    created_at timestamptz,
    run_id bigint,
    client_id text,
    metadata json,
    usage json,
    hidden boolean
);

-- What to append and on which conditions: keepsay.model.order.AppendPlan. Lists of three are indexed by policy.
CREATE TYPE __schema__.append_plan AS (
    allowed integer[],
    last_roles smallint[],
    attempted_roles smallint[],
    answers text[],
    requires_closed boolean,
    opens jsonb,
    system_at integer,
    roles smallint[],
    statuses smallint[],
    states smallint[],
    tokens integer[],
    formats text[],
    payloads text[],
    client_ids text[],
    metadatas text[],
    usages text[]
);
