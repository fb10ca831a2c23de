"""The sixty defects of the seeds' sample code (research/seeds.md, section 3), and what keeps each of them out.

``tests``: the tests that would catch it, as pytest node ids without parameters. ``control``: its entries in
``test_defects.CONTROLS``, where the seed's own pattern fails the check that keepsay passes. ``why``: where there is no
test or no control, the reason. Measured defects (``measured``, [M] in the research) have a control or a reason.
"""

from __future__ import annotations

from dataclasses import dataclass

STORE = "tests/store/test_contract.py::TestPostgresStoreOnTheNewestPostgres::test_"
RACES = "tests/concurrency/test_races.py::test_"
RUNS = "tests/concurrency/test_runs.py::test_agents_that_crash_pause_and_interrupt_break_no_promise"
ROWS = "tests/store/test_requirements.py::test_"
SCOPE = "tests/library/test_scope.py::test_"
CLIENT = "tests/library/test_client.py::test_"
SERVER = "tests/server/"
OURS = "tests/seeds/test_defects.py::test_keepsay_passes"

NO_ORM = "keepsay has no ORM: its dependencies are asyncpg and uuid-utils, so the classes in question do not exist"
ONE_ROLE = (
    "it shows only when the tests run as root, which they need not; the servers of this very test run show the cure"
)


@dataclass(frozen=True, slots=True)
class Defect:
    number: int
    words: str
    tests: tuple[str, ...] = ()
    measured: bool = False
    control: bool = False
    why: str = ""


DEFECTS = (
    Defect(1, "created_at ties", (OURS, STORE + "times_increase_with_the_seq"), True, True),
    Defect(2, "created_at is the start of the transaction", (OURS,), True, True),
    Defect(
        3,
        "BIGSERIAL is not commit order",
        (OURS, RACES + "two_processes_of_writers_leave_no_gap_and_tear_no_batch"),
        True,
        True,
    ),
    Defect(
        4,
        "role check, then insert",
        (OURS, RACES + "of_twenty_user_messages_at_once_a_strict_conversation_takes_one"),
        True,
        True,
    ),
    Defect(5, "a trigger does not mend it", (OURS,), True, True),
    Defect(6, "MAX(seq) + 1", (OURS, STORE + "concurrent_batches_stay_together_without_gaps"), True, True),
    Defect(
        7,
        "get or create: select, then insert",
        (OURS, RACES + "twenty_calls_at_once_with_one_external_key_get_one_conversation"),
        True,
        True,
    ),
    Defect(
        8,
        "start of a request: check, then set",
        (OURS, RACES + "sixteen_begins_at_once_with_one_key_are_one_run"),
        True,
        True,
    ),
    Defect(
        9,
        "turns interleave",
        (RACES + "of_sixteen_begins_at_once_with_keys_of_their_own_one_holds", RUNS),
    ),
    Defect(10, "an append reads the whole history", (OURS,), True, True),
    Defect(11, "the limit takes the oldest", (OURS, ROWS + "row_e3_the_agent_gets_the_newest_messages"), True, True),
    Defect(
        12,
        "truncation parts calls from results, or drops the system prompt",
        (RUNS, STORE + "a_window_holds_the_newest_turns_that_fit", ROWS + "row_a3_a_window_is_cut_and_the_log_is_not"),
    ),
    Defect(13, "tool calls are not stored", (ROWS + "row_e1_tool_messages_are_kept_with_their_calls",)),
    Defect(
        14,
        "two system prompts",
        (ROWS + "row_e4_the_array_has_one_system_prompt", STORE + "the_system_prompt_can_be_replaced_for_once"),
    ),
    Defect(
        15,
        "status loads everything",
        (ROWS + "row_b5_the_status_of_a_conversation_needs_no_history",),
    ),
    Defect(
        16,
        "a checkpoint whose message is gone drops the first one",
        (
            STORE + "a_summary_ends_at_a_visible_message",
            STORE + "deleting_a_message_forgets_the_summaries_that_cover_it",
        ),
    ),
    Defect(
        17,
        "automatic summaries race",
        (STORE + "a_summary_replaces_the_one_at_its_seq", STORE + "the_newest_summary_counts"),
        why="keepsay makes no summary by itself; the caller's is stored under the lock, and one at a seq counts",
    ),
    Defect(18, "offset paging drifts", (STORE + "a_list_goes_on_after_a_position",)),
    Defect(19, "a commit for each message", (OURS, STORE + "a_refused_batch_leaves_nothing_behind"), True, True),
    Defect(20, "updated_at is not updated", (ROWS + "row_e2_several_messages_are_one_and_bump_updated_at",)),
    Defect(21, "a conversation without its system row", (STORE + "a_refused_creation_leaves_nothing_behind",)),
    Defect(
        22,
        "a turn that failed blocks the conversation for good",
        (RUNS, "tests/library/test_runs.py::test_an_exception_fails_the_run_and_keeps_the_users_message"),
    ),
    Defect(
        23,
        "no idempotency",
        (
            RACES + "eight_equal_calls_at_once_have_one_effect_and_one_answer",
            STORE + "the_same_append_again_is_replayed",
        ),
    ),
    Defect(
        24,
        "an idempotency cache that another user's request hits",
        (STORE + "users_may_have_the_same_ids_and_keys", STORE + "keys_of_conversations_are_apart"),
    ),
    Defect(25, "question and answer are stored after the model, one by one", (RUNS,)),
    Defect(26, "a transaction is open while the model thinks", (OURS,), True, True),
    Defect(27, "a write does not ask whose it is", (OURS, ROWS + "row_b2_every_verb_asks_whose_it_is"), True, True),
    Defect(28, "ids can be squatted, and tell whether they exist", (OURS,), True, True),
    Defect(
        29,
        "messages are read before the owner is checked",
        (STORE + "another_users_conversation_answers_as_an_absent_one",),
    ),
    Defect(
        30,
        "the user of the path is not that of the token",
        (SERVER + "isolation/test_matrix.py::test_others_cannot_tell_what_is_the_owners_from_what_is_not_there",),
    ),
    Defect(31, "no owner at all", (STORE + "users_see_only_their_own_in_lists", STORE + "users_at_once_keep_apart")),
    Defect(
        32,
        "deleted conversations are listed and written to",
        (STORE + "a_deleted_conversation_answers_as_an_absent_one", STORE + "a_list_may_be_of_one_status"),
    ),
    Defect(33, "0 and the empty text create", (ROWS + "row_c1_only_none_creates",)),
    Defect(34, "verbs without a user", (STORE + "another_users_conversation_answers_as_an_absent_one",)),
    Defect(35, "PermissionError is a 500", (OURS,), True, True),
    Defect(
        36,
        "errors of the driver reach clients",
        (
            SERVER + "test_problems.py::test_a_bug_is_a_500_that_tells_nothing_and_a_log_that_tells_where",
            "tests/postgres/test_faults.py::test_every_sqlstate_has_a_meaning",
        ),
    ),
    Defect(
        37, "the lazy pool is opened several times", (OURS, CLIENT + "concurrent_first_calls_open_one_pool"), True, True
    ),
    Defect(38, "the pool is there before its tables", (OURS,), True, True),
    Defect(39, "CREATE IF NOT EXISTS from several processes", (OURS,), True, True),
    Defect(
        40,
        "IF NOT EXISTS takes another table of the name",
        ("tests/cli/test_migrate.py::test_the_schema_may_have_another_name",),
        why="a schema of its own with a ledger of migrations; only those two are created IF NOT EXISTS",
    ),
    Defect(
        41,
        "a pool belongs to one event loop",
        (OURS, CLIENT + "one_object_serves_one_event_loop_after_the_other"),
        True,
        True,
    ),
    Defect(
        42,
        "the driver does not take Neon's URL",
        (OURS, "tests/postgres/test_dsn.py::test_the_url_that_neon_prints_works_as_it_is"),
        True,
        True,
    ),
    Defect(
        43,
        "what a transaction pooler forbids",
        (
            "tests/postgres/test_pgbouncer.py::test_two_processes_on_shared_server_connections_get_their_own_answers_only",
        ),
    ),
    Defect(
        44,
        "ten connections at once, idle for as long as Neon's suspend",
        ("tests/postgres/test_connection.py::test_the_pool_opens_nothing_by_itself_and_keeps_nothing_in_the_session",),
    ),
    Defect(
        45,
        "connections that a suspend has ended",
        (OURS, "tests/postgres/test_connection.py::test_a_backend_that_dies_under_a_call_is_one_error_and_then_none"),
        True,
        True,
        why="the control keeps one connection for life; with the seed's pool it is a matter of milliseconds",
    ),
    Defect(
        46,
        "no timeouts",
        ("tests/postgres/test_connection.py::test_a_timeout_is_kept_when_the_server_has_gone_silent",),
    ),
    Defect(47, "NUL and lone surrogates", (OURS, STORE + "a_payload_comes_back_as_it_went_in"), True, True),
    Defect(
        48,
        "no bound on sizes",
        (SCOPE + "a_message_has_at_most_one_mebibyte", SCOPE + "each_limit_is_exact_and_named"),
    ),
    Defect(49, "a status that is NULL hides the conversation", (OURS,), True, True),
    Defect(50, "a field named metadata", measured=True, why=NO_ORM),
    Defect(51, "arguments that a field does not have", measured=True, why=NO_ORM),
    Defect(
        52,
        "naive and aware times",
        (ROWS + "row_b1_conversations_and_messages_have_their_fields",),
        True,
        why=f"{NO_ORM}; every column is timestamptz",
    ),
    Defect(53, "attributes expire at the commit", measured=True, why=NO_ORM),
    Defect(
        54, "a hard deletion trips over its children", (OURS, STORE + "a_hard_deletion_erases_all_rows"), True, True
    ),
    Defect(55, "Depends on a context manager", (OURS,), True, True),
    Defect(
        56,
        "active is taken for an id",
        (OURS, SERVER + "test_conversations.py::test_active_is_a_list_and_not_an_id"),
        True,
        True,
    ),
    Defect(
        57,
        "blocking calls in the event loop",
        (
            SERVER + "test_agents.py::test_a_blocking_agent_does_not_block_the_server",
            ROWS + "row_e5_queries_do_not_block",
        ),
    ),
    Defect(58, "a user's first conversation needs a row elsewhere", (ROWS + "row_b1_users_need_no_registration",)),
    Defect(
        59,
        "roles are free text",
        (
            STORE + "entries_of_unknown_formats_are_kept_untouched",
            ROWS + "row_b3_an_unknown_role_has_no_say_in_the_order",
        ),
    ),
    Defect(
        60,
        "pytest-postgresql does not run as root",
        (ROWS + "row_d4_the_tests_run_on_real_postgres",),
        True,
        why=ONE_ROLE,
    ),
)
