"""A user's allowance under races on real Postgres: exact, over conversations and processes, and in nobody's way."""

from __future__ import annotations

import pytest

from keepsay.model.allowance import Allowance
from keepsay.testing.postgres import Database

from . import allowances
from .allowances import LIMIT
from .ground import OpenStore

on_both_servers = pytest.mark.parametrize(
    ("postgres", "part"),
    [("newest_postgres", 1), ("system_postgres", 5)],
    indirect=["postgres"],
    ids=["newest", "system"],
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "allowance",
    [Allowance(per_minute=1, burst=LIMIT), Allowance(per_day=LIMIT), Allowance(1, burst=LIMIT, per_day=LIMIT + 1)],
    ids=["rate", "quota", "both"],
)
@on_both_servers
async def test_of_64_runs_at_once_in_16_conversations_as_many_begin_as_may(
    open_store: OpenStore, allowance: Allowance, part: int
) -> None:
    await allowances.check_an_allowance_is_never_exceeded(open_store, allowance, rounds=50 // part)


@on_both_servers
async def test_runs_that_find_the_conversation_busy_take_nothing_from_those_that_begin(
    open_store: OpenStore, part: int
) -> None:
    await allowances.check_an_allowance_is_never_exceeded(
        open_store, Allowance(per_minute=1, burst=10), rounds=20 // part, on_busy="reject", limit=10
    )


@on_both_servers
async def test_while_runs_come_back_no_more_begin_than_came_back(open_store: OpenStore, part: int) -> None:
    await allowances.check_no_more_begin_than_come_back(open_store, seconds=2 / part)


@pytest.mark.slow
@on_both_servers
async def test_two_processes_together_begin_as_many_as_may(
    open_store: OpenStore, database: Database, part: int
) -> None:
    await allowances.check_processes_share_an_allowance(open_store, database, rounds=30 // part)


@on_both_servers
async def test_a_user_who_is_erased_meanwhile_is_in_nobodys_way(open_store: OpenStore, part: int) -> None:
    await allowances.check_erasing_meanwhile_hinders_nobody(open_store, rounds=100 // part)


@pytest.mark.parametrize("postgres", ["newest_postgres"], indirect=True, ids=["newest"])
async def test_looking_first_and_beginning_then_lets_too_many_begin_so_the_checks_can_fail(
    open_store: OpenStore,
) -> None:
    assert await allowances.count_begun_after_looking(open_store) > LIMIT
