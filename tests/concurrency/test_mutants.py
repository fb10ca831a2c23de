"""Every check of ``test_races`` and ``test_runs`` can fail: faults planted in the database make them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from keepsay.model.allowance import Allowance
from keepsay.testing.postgres import Database

from . import allowances, checks, mutants
from .agents import simulate
from .ground import OpenStore
from .mutants import Mutant, plant

Check = Callable[[OpenStore, Database, int], Awaitable[object]]


def name_of(check: object) -> str:
    return getattr(check, "__name__", "").strip("_").replace("_", " ")


on_the_newest = pytest.mark.parametrize("postgres", ["newest_postgres"], indirect=True, ids=["newest"])


async def _one_user_message(open_store: OpenStore, _database: Database, _seed: int) -> None:
    await checks.check_one_user_message_is_accepted(open_store, rounds=20)


async def _one_winner(open_store: OpenStore, _database: Database, _seed: int) -> None:
    await checks.check_expected_seq_has_one_winner(open_store, rounds=40)


async def _equal_calls(open_store: OpenStore, _database: Database, _seed: int) -> None:
    await checks.check_equal_calls_apply_once(open_store, rounds=40, expect_head=False)


async def _equal_calls_on_a_head(open_store: OpenStore, _database: Database, _seed: int) -> None:
    await checks.check_equal_calls_apply_once(open_store, rounds=40, expect_head=True)


async def _equal_begins(open_store: OpenStore, _database: Database, _seed: int) -> None:
    await checks.check_equal_begins_make_one_run(open_store, rounds=10)


async def _one_run(open_store: OpenStore, _database: Database, _seed: int) -> None:
    await checks.check_one_run_at_a_time(open_store, rounds=10)


async def _interrupts(open_store: OpenStore, _database: Database, _seed: int) -> None:
    await checks.check_interrupts_leave_one_holder(open_store, rounds=5)


async def _agents(open_store: OpenStore, database: Database, seed: int) -> None:
    await simulate(open_store, database, seed, runs=250, conversations=12)


async def _allowance(open_store: OpenStore, _database: Database, _seed: int) -> None:
    quota = Allowance(per_day=allowances.LIMIT)
    await allowances.check_an_allowance_is_never_exceeded(open_store, quota, rounds=10)


async def _allowance_of_processes(open_store: OpenStore, database: Database, _seed: int) -> None:
    await allowances.check_processes_share_an_allowance(open_store, database, rounds=10)


async def _erasing_meanwhile(open_store: OpenStore, _database: Database, _seed: int) -> None:
    await allowances.check_erasing_meanwhile_hinders_nobody(open_store, rounds=40)


TIMES = 60

KILLS: tuple[tuple[Mutant, Check, str], ...] = (
    (mutants.NO_FENCE, _interrupts, "could write"),
    (mutants.NO_FENCE, _agents, "wrote after fence|superseded run could finish"),
    (mutants.KEY_BEFORE_LOCK, _equal_calls, "failed"),
    (mutants.KEY_BEFORE_LOCK, _equal_calls_on_a_head, "SeqMismatch"),
    (mutants.NO_LOCK, _one_user_message, "accepted"),
    (mutants.NO_LOCK, _one_winner, "won|InvalidInput"),
    (mutants.NO_LOCK, _equal_calls, "failed|different answers"),
    (mutants.NO_LOCK, _equal_begins, "round"),
    (mutants.NO_LOCK, _one_run, "begun"),
    (mutants.ORDER_NOT_CHECKED, _one_user_message, "20 of 20 accepted"),
    (mutants.CALLS_NOT_CLOSED, _agents, "a provider refuses the log"),
    (mutants.ALLOWANCE_NOT_LOCKED, _allowance, "begun of 20"),
    (mutants.ALLOWANCE_NOT_LOCKED, _allowance_of_processes, "round 0"),
    (mutants.USER_NOT_LOCKED_FIRST, _erasing_meanwhile, "Another transaction was in the way"),
)
"""Mutant, the check that kills it, and what the check then says."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mutant", "check", "said"),
    KILLS,
    ids=[f"{mutant.name}, {name_of(check)}" for mutant, check, _ in KILLS],
)
@on_the_newest
async def test_a_planted_fault_is_found(
    open_store: OpenStore, database: Database, seed: int, mutant: Mutant, check: Check, said: str
) -> None:
    await plant(database, mutant)
    with pytest.raises(AssertionError, match=said):
        await _check_often(check, open_store, database, seed)


async def _check_often(check: Check, open_store: OpenStore, database: Database, seed: int) -> None:
    """A race is a matter of chance, also with a fault planted: it has to be found within some tries."""
    for again in range(TIMES):
        await check(open_store, database, seed + again)


@pytest.mark.parametrize("check", sorted({check for _, check, _ in KILLS}, key=name_of), ids=name_of)
@on_the_newest
async def test_without_a_planted_fault_the_same_checks_pass(
    open_store: OpenStore, database: Database, seed: int, check: Check
) -> None:
    await check(open_store, database, seed)


def test_every_mutant_is_killed_by_a_check() -> None:
    assert {mutant.name for mutant, _, _ in KILLS} == {mutant.name for mutant in mutants.MUTANTS}
