-- Every statement that the store sends: one function call each, so that one network round trip is one transaction.
-- The casts keep the types true whatever function is behind the name (see connection.py). Where a plan is sent, its 16
-- parts come last, in the order of the type append_plan.

-- name: create
SELECT conversation::json, created::bool
FROM __schema__.create_v1(
    $1::uuid, $2::text, $3::uuid, $4::int8, $5::int2, $6::text, $7::text, $8::text, $9::json, $10::int4[],
    $11::int2[], $12::int2[], $13::text[], $14::bool, $15::jsonb, $16::int4, $17::int2[], $18::int2[],
    $19::int2[], $20::int4[], $21::text[], $22::text[], $23::text[], $24::text[], $25::text[]
);

-- name: get
SELECT conversation::json
FROM __schema__.get_v1($1::uuid, $2::uuid);

-- name: load
SELECT
    header::json, seq::int4, role::int2, status::int2, state::int2, tokens::int4, format::text, payload::json,
    created_at::timestamptz, run_id::int8, client_id::text, metadata::json, usage::json, hidden::bool
FROM __schema__.load_v1($1::uuid, $2::uuid, $3::int4, $4::int4);

-- name: status
SELECT
    header::json, seq::int4, role::int2, status::int2, state::int2, tokens::int4, format::text, payload::json,
    created_at::timestamptz, run_id::int8, client_id::text, metadata::json, usage::json, hidden::bool
FROM __schema__.status_v1($1::uuid, $2::uuid);

-- name: list
SELECT conversation::json
FROM __schema__.list_v1($1::uuid, $2::int2, $3::timestamptz, $4::uuid, $5::int4, $6::int4);

-- name: update
SELECT conversation::json
FROM __schema__.update_v1(
    $1::uuid, $2::uuid, $3::int4, $4::bool, $5::text, $6::int2, $7::bool, $8::json
);

-- name: delete
SELECT version::int4
FROM __schema__.delete_v1($1::uuid, $2::uuid, $3::int4, $4::bool);

-- name: append
SELECT first_seq::int4, head::int4, created_at::timestamptz, replayed::bool
FROM __schema__.append_v1(
    $1::uuid, $2::uuid, $3::uuid, $4::int8, $5::int8, $6::int4, $7::float8, $8::int4, $9::int4[], $10::int2[],
    $11::int2[], $12::text[], $13::bool, $14::jsonb, $15::int4, $16::int2[], $17::int2[], $18::int2[],
    $19::int4[], $20::text[], $21::text[], $22::text[], $23::text[], $24::text[]
);

-- name: page
SELECT
    header::json, seq::int4, role::int2, status::int2, state::int2, tokens::int4, format::text, payload::json,
    created_at::timestamptz, run_id::int8, client_id::text, metadata::json, usage::json, hidden::bool
FROM __schema__.page_v1($1::uuid, $2::uuid, $3::int4, $4::int4, $5::int4, $6::bool);

-- name: delete_message
SELECT conversation::json
FROM __schema__.delete_message_v1($1::uuid, $2::uuid, $3::int4);

-- name: rewind
SELECT conversation::json
FROM __schema__.rewind_v1($1::uuid, $2::uuid, $3::int4, $4::int4);

-- name: fork
SELECT conversation::json, created::bool
FROM __schema__.fork_v1(
    $1::uuid, $2::text, $3::uuid, $4::int4, $5::uuid, $6::int8, $7::text, $8::text, $9::json
);

-- name: begin
SELECT
    header::json, seq::int4, role::int2, status::int2, state::int2, tokens::int4, format::text, payload::json,
    created_at::timestamptz, run_id::int8, client_id::text, metadata::json, usage::json, hidden::bool
FROM __schema__.begin_v1(
    $1::uuid, $2::uuid, $3::int8, $4::int8, $5::int8, $6::text, $7::float8, $8::bool, $9::int4, $10::int4,
    $11::int4, $12::int4[], $13::int2[], $14::int2[], $15::text[], $16::bool, $17::jsonb, $18::int4,
    $19::int2[], $20::int2[], $21::int2[], $22::int4[], $23::text[], $24::text[], $25::text[], $26::text[],
    $27::text[]
);

-- name: begin_within
SELECT
    header::json, seq::int4, role::int2, status::int2, state::int2, tokens::int4, format::text, payload::json,
    created_at::timestamptz, run_id::int8, client_id::text, metadata::json, usage::json, hidden::bool
FROM __schema__.begin_within_v1(
    $1::uuid, $2::uuid, $3::int8, $4::int8, $5::int8, $6::text, $7::float8, $8::bool, $9::int4, $10::int4,
    $11::int4, $12::int4, $13::int4, $14::int4, $15::int4[], $16::int2[], $17::int2[], $18::text[], $19::bool,
    $20::jsonb, $21::int4, $22::int2[], $23::int2[], $24::int2[], $25::int4[], $26::text[], $27::text[],
    $28::text[], $29::text[], $30::text[]
);

-- name: heartbeat
SELECT lease_until::timestamptz
FROM __schema__.heartbeat_v1($1::uuid, $2::uuid, $3::int8, $4::int4, $5::float8);

-- name: finish
SELECT run::json, first_seq::int4, head::int4, created_at::timestamptz, replayed::bool
FROM __schema__.finish_v1(
    $1::uuid, $2::uuid, $3::int8, $4::int4, $5::int2, $6::text, $7::int4[], $8::int2[], $9::int2[], $10::text[],
    $11::bool, $12::jsonb, $13::int4, $14::int2[], $15::int2[], $16::int2[], $17::int4[], $18::text[],
    $19::text[], $20::text[], $21::text[], $22::text[]
);

-- name: cancel
SELECT run::json
FROM __schema__.cancel_v1($1::uuid, $2::uuid, $3::int8);

-- name: run
SELECT run::json
FROM __schema__.run_v1($1::uuid, $2::uuid, $3::int8);

-- name: summarise
SELECT to_seq::int4
FROM __schema__.summarise_v1($1::uuid, $2::uuid, $3::int4, $4::text, $5::int4);

-- name: export
SELECT conversation::json
FROM __schema__.export_v1($1::uuid, $2::uuid, $3::int4);

-- name: erase
SELECT conversations::int4, messages::int4, runs::int4, summaries::int4, users::int4
FROM __schema__.erase_v1($1::uuid);

-- name: users
SELECT user_id::text
FROM __schema__.users_v1($1::text, $2::int4);

-- name: health
SELECT row_security::bool
FROM __schema__.health_v2();
