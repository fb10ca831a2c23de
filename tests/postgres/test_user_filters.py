"""Every place where a statement names the user is needed: without any one of them, one user meets another's data.

Row-level security is off here, so that nothing else stands between users. ``tests/server/isolation`` does the same with
the places where the server and the library pass the user on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest
from pytest_postgresql.executors import NoopExecutor

from keepsay.store.postgres.dsn import Dsn
from keepsay.store.postgres.store import PostgresStore
from keepsay.testing.postgres import new_database

from . import namesakes as scenes
from .namesakes import SCENES, Play, Told, play
from .sessions import execute
from .walls import compared_otherwise, disable_policies, filters

TIMES = 5

NOTICED: dict[str, tuple[Play, ...]] = {
    "append_v1": (scenes.appending,),
    "begin_v1": (scenes.running, scenes.trying_again),
    "begin_within_v1": (scenes.waiting_for_an_erasure, scenes.waiting_for_nobody),
    "charge": (scenes.spending, scenes.spending),
    "copied_count": (scenes.forking_with_a_system_message,),
    "copy_messages": (scenes.forking_with_a_system_message,) * 4,
    "delete_message_v1": (scenes.deleting_messages,) * 4,
    "delete_v1": (scenes.erasing_one,) * 4 + (scenes.changing,),
    "erase_v1": (scenes.waiting_for_nobody,) * 2 + (scenes.erasing_all,) * 5,
    "export_v1": (scenes.reading,),
    "find_conversation": (scenes.absent,),
    "find_run": (scenes.absent,),
    "finish_v1": (scenes.running,),
    "forget_summaries": (scenes.deleting_messages, scenes.rewinding),
    "fork_v1": (scenes.forking_with_a_system_message,),
    "heartbeat_v1": (scenes.running,),
    "insert_conversation": (scenes.creating,) * 2,
    "list_v1": (scenes.reading,),
    "lock_conversation": (scenes.absent,),
    "page_v1": (scenes.reading,) * 2,
    "refuse_order": (scenes.appending,),
    "replayed_run": (scenes.replaying,),
    "rewind_v1": (scenes.rewinding,) * 2,
    "save_conversation": (scenes.reading,),
    "state_at": (scenes.rewinding,),
    "status_v1": (scenes.reading,),
    "update_v1": (scenes.changing,),
    "window_bounds": (scenes.appending,),
    "window_rows": (scenes.reading,) * 3,
}
"""The scene that notices it when a function's first, second, ... comparison of a user's key is left out."""


class Stage:
    """A database without row-level security, and what I am told in each scene when nobody else is there."""

    def __init__(self, dsn: Dsn) -> None:
        self.dsn = dsn
        self.store = PostgresStore(dsn, auto_migrate="never")
        self._alone: dict[Play, Told] = {}

    async def rehearse(self) -> None:
        for scene in SCENES.values():
            self._alone[scene.mine] = await play(scene, self.store, self.dsn, alone=True)

    async def check(self, mine: Play) -> None:
        """Raises ``AssertionError`` when the scene shows that others are there."""
        told = await play(SCENES[mine], self.store, self.dsn)
        for number, (heard, expected) in enumerate(zip(told, self._alone[mine], strict=True)):
            assert heard == expected, f"call {number} of {mine.__name__}"


@pytest.fixture(scope="module")
async def stage(newest_postgres: NoopExecutor) -> AsyncIterator[Stage]:
    with new_database(newest_postgres) as database:
        await disable_policies(database.dsn)
        stage = Stage(database.dsn)
        await stage.rehearse()
        yield stage
        await stage.store.close()


@pytest.mark.parametrize("mine", SCENES, ids=lambda mine: mine.__name__)
async def test_with_namesakes_i_am_told_what_i_am_told_alone(stage: Stage, mine: Play) -> None:
    await stage.check(mine)


async def test_every_comparison_of_a_users_key_is_left_out_once(stage: Stage) -> None:
    found = Counter(each.function for each in await filters(stage.dsn))
    assert found == {function: len(noticed) for function, noticed in NOTICED.items()}, "add the scene that notices it"
    assert await compared_otherwise(stage.dsn) == []


async def _check_often(stage: Stage, mine: Play) -> None:
    """Without a filter Postgres takes any of three rows that fit, now and then the right one."""
    for _ in range(TIMES):
        await stage.check(mine)


@pytest.mark.parametrize(
    ("function", "number", "mine"),
    [
        pytest.param(function, number, mine, id=f"{function} {number}")
        for function, noticed in NOTICED.items()
        for number, mine in enumerate(noticed, 1)
    ],
)
async def test_a_comparison_left_out_is_noticed(stage: Stage, function: str, number: int, mine: Play) -> None:
    [mutant] = [each for each in await filters(stage.dsn) if (each.function, each.number) == (function, number)]
    await execute(stage.dsn, mutant.without)
    try:
        with pytest.raises(AssertionError):
            await _check_often(stage, mine)
    finally:
        await execute(stage.dsn, mutant.original)
