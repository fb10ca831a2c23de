"""Concurrent calls on real Postgres: the rounds are full on the newest server and fewer on the system's."""

from __future__ import annotations

import pytest

from keepsay.testing.postgres import Database

from . import checks
from .ground import OpenStore
from .processes import check_processes_share_a_conversation

on_both_servers = pytest.mark.parametrize(
    ("postgres", "part"),
    [("newest_postgres", 1), ("system_postgres", 10)],
    indirect=["postgres"],
    ids=["newest", "system"],
)


@on_both_servers
async def test_of_twenty_user_messages_at_once_a_strict_conversation_takes_one(
    open_store: OpenStore, part: int
) -> None:
    await checks.check_one_user_message_is_accepted(open_store, rounds=60 // part)


@pytest.mark.slow
@on_both_servers
async def test_of_sixteen_writers_that_expect_one_head_one_wins(open_store: OpenStore, part: int) -> None:
    await checks.check_expected_seq_has_one_winner(open_store, rounds=1_000 // part)


@pytest.mark.slow
@pytest.mark.parametrize("expect_head", [False, True], ids=["any head", "expected head"])
@on_both_servers
async def test_eight_equal_calls_at_once_have_one_effect_and_one_answer(
    open_store: OpenStore, part: int, expect_head: bool
) -> None:
    await checks.check_equal_calls_apply_once(open_store, rounds=1_000 // part, expect_head=expect_head)


@pytest.mark.slow
@on_both_servers
async def test_two_processes_of_writers_leave_no_gap_and_tear_no_batch(
    open_store: OpenStore, database: Database, seed: int, part: int
) -> None:
    await check_processes_share_a_conversation(open_store, database, seed, batches=50 if part == 1 else 10)


@on_both_servers
async def test_twenty_calls_at_once_with_one_external_key_get_one_conversation(
    open_store: OpenStore, part: int
) -> None:
    await checks.check_one_conversation_per_external_key(open_store, rounds=100 // part)


@on_both_servers
async def test_sixteen_begins_at_once_with_one_key_are_one_run(open_store: OpenStore, part: int) -> None:
    await checks.check_equal_begins_make_one_run(open_store, rounds=100 // part)


@on_both_servers
async def test_of_sixteen_begins_at_once_with_keys_of_their_own_one_holds(open_store: OpenStore, part: int) -> None:
    await checks.check_one_run_at_a_time(open_store, rounds=100 // part)


@on_both_servers
async def test_of_sixteen_interrupts_at_once_one_holds_in_the_end(open_store: OpenStore, part: int) -> None:
    await checks.check_interrupts_leave_one_holder(open_store, rounds=50 // part)
