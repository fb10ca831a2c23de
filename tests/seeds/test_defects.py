"""None of the seeds' sixty defects is here: a table of what keeps them out, and controls that show the checks bite."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pytest_postgresql.executors import NoopExecutor

from keepsay.testing.postgres import Database, new_database

from . import checks, ours, patterns, web
from .table import DEFECTS, Defect

Check = Callable[[Any], Awaitable[None]]
Make = Callable[[Database], Any]


@dataclass(frozen=True, slots=True)
class Control:
    """A check that the seed's pattern fails and keepsay passes."""

    defect: int
    check: Check
    pattern: Make
    ours: Make
    said: str
    """What the check says of the pattern."""

    @property
    def name(self) -> str:
        return f"D{self.defect} {getattr(self.pattern, '__name__', '')}"


CONTROLS = (
    Control(1, checks.check_a_batch_keeps_its_order, patterns.CreatedAt, ours.OurHistory, "it was read as"),
    Control(
        2,
        checks.check_reads_only_grow_past_a_late_insert,
        patterns.CreatedAt,
        ours.OurHistory,
        r"a poller saw \['fast'\], then \['fast'\]",
    ),
    Control(
        3,
        checks.check_reads_only_grow_past_a_late_commit,
        patterns.Serial,
        ours.OurHistory,
        r"a poller saw \['fast'\], then \[\]",
    ),
    Control(4, checks.check_one_gets_through, patterns.CheckThenInsert, ours.OurRoles, "got through"),
    Control(5, checks.check_one_gets_through, patterns.TriggerGuard, ours.OurRoles, "got through"),
    Control(6, checks.check_appends_at_once_are_all_kept, patterns.MaxPlusOne, ours.OurHistory, "UniqueViolationError"),
    Control(7, checks.check_one_conversation_per_key, patterns.SelectThenInsert, ours.OurKeys, "UniqueViolationError"),
    Control(7, checks.check_one_conversation_per_key, patterns.InsertOrSelect, ours.OurKeys, "got nothing"),
    Control(8, checks.check_one_gets_through, patterns.StartRequest, ours.OurRuns, "got through"),
    Control(
        10, checks.check_an_append_reads_no_history, patterns.ReadAllToAppend, ours.OurHistory, "of a long conversation"
    ),
    Control(11, checks.check_a_limit_takes_the_newest, patterns.Serial, ours.OurHistory, "it took 0 to 49"),
    Control(19, checks.check_a_batch_is_all_or_nothing, patterns.Serial, ours.OurHistory, r"left \['first'\]"),
    Control(
        26,
        checks.check_others_are_served_while_models_think,
        patterns.TransactionAcrossTheModel,
        ours.OurTurns,
        "the sixth request waits",
    ),
    Control(27, checks.check_strangers_cannot_write, patterns.NoOwnerOnWrite, ours.OurDoor, "a stranger wrote"),
    Control(28, checks.check_foreign_looks_like_absent, patterns.NoOwnerOnWrite, ours.OurDoor, "UniqueViolationError"),
    Control(35, checks.check_not_found_is_no_network_error, patterns.NoOwnerOnWrite, ours.OurDoor, "is an OSError"),
    Control(35, web.check_the_absent_is_a_404, web.PermissionErrors, web.OurSite, "answers 500"),
    Control(37, checks.check_first_calls_share_a_pool, patterns.RacyPool, ours.OurStart, "80 connections"),
    Control(
        38, checks.check_first_calls_find_the_tables, patterns.PoolBeforeTables, ours.OurStart, "UndefinedTableError"
    ),
    Control(
        39,
        checks.check_processes_may_set_up_at_once,
        patterns.CreateIfNotExists,
        ours.OurStart,
        "UniqueViolationError|DuplicateTableError|DuplicateObjectError",
    ),
    Control(
        41, checks.check_it_outlives_its_event_loop, patterns.RacyPool, ours.OurStart, "InterfaceError|different loop"
    ),
    Control(42, checks.check_neons_url_is_taken, patterns.DriverTakesTheUrl, ours.OurUrl, "channel_binding"),
    Control(
        45,
        checks.check_idle_connections_may_be_ended,
        patterns.ConnectionForLife,
        ours.OurStart,
        "connection is closed",
    ),
    Control(47, checks.check_any_text_comes_back, patterns.Serial, ours.OurHistory, "CharacterNotInRepertoireError"),
    Control(
        49,
        checks.check_no_status_hides_a_conversation_for_good,
        patterns.NullableStatus,
        ours.OurShelf,
        r"listed are \[\]",
    ),
    Control(
        54, checks.check_a_hard_deletion_erases_all, patterns.NullableStatus, ours.OurShelf, "ForeignKeyViolationError"
    ),
    Control(55, web.check_a_session_reaches_the_route, web.DependsOnAContextManager, web.OurSite, "answers 500"),
    Control(56, web.check_active_is_a_list, web.ActiveAfterId, web.OurSite, "answers 404"),
)

every_control = pytest.mark.parametrize("control", CONTROLS, ids=[control.name for control in CONTROLS])


@pytest.fixture
def database(newest_postgres: NoopExecutor) -> Iterator[Database]:
    with new_database(newest_postgres) as made:
        yield made


async def _hold(make: Make, database: Database, check: Check) -> None:
    """Hold one thing to a check; it is closed whatever comes."""
    made = make(database)
    try:
        await made.open()
        await check(made)
    finally:
        await made.close()


@every_control
async def test_the_seeds_pattern_fails_so_the_check_can(control: Control, database: Database) -> None:
    with pytest.raises(AssertionError, match=control.said):
        await _hold(control.pattern, database, control.check)


@every_control
async def test_keepsay_passes(control: Control, database: Database) -> None:
    await _hold(control.ours, database, control.check)


def test_the_table_has_all_sixty() -> None:
    assert [defect.number for defect in DEFECTS] == list(range(1, 61))


@pytest.mark.parametrize("defect", DEFECTS, ids=[f"D{defect.number}" for defect in DEFECTS])
def test_a_defect_has_a_test_or_a_reason_and_if_it_was_measured_a_control_or_a_reason(defect: Defect) -> None:
    assert defect.tests or defect.why
    assert defect.control == any(control.defect == defect.number for control in CONTROLS)
    assert defect.control or defect.why or not defect.measured


@pytest.mark.slow
def test_every_test_that_the_table_names_exists() -> None:
    named = {test for defect in DEFECTS for test in defect.tests}
    files = sorted({test.partition("::")[0] for test in named})
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:randomly", *files]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    found = {re.sub(r"\[.*", "", line) for line in done.stdout.splitlines()}
    assert not named - found, f"there is no such test: {sorted(named - found)}\n{done.stdout[-2000:]}"
