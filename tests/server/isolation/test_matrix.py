"""Rows B4, C1: every route, every place in it where an id can stand, everybody who may ask, each way to know users.

What is another's, absent or deleted looks the same, byte for byte; nothing of the owner's is in any answer to others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from keepsay import Keepsay
from keepsay.server import Settings, create_app
from keepsay.store.memory import MemoryStore

from . import probes
from .deeds import DEEDS
from .matrix import ASKERS, cells, check_anonymous, check_cell, check_owner
from .probes import Operation
from .world import Asker, World

APP = create_app(Keepsay(store=MemoryStore()), settings=Settings(operators=True))

each_operation = pytest.mark.parametrize("operation", probes.operations(APP), ids=lambda operation: operation.name)


def test_every_route_has_a_probe_and_every_name_in_a_request_a_meaning() -> None:
    assert probes.unknown(APP) == (set(), set())


@each_operation
async def test_with_ones_own_ids_it_works(world: World, operation: Operation) -> None:
    await check_owner(world, operation)


@pytest.mark.parametrize("asker", ASKERS)
@each_operation
async def test_others_cannot_tell_what_is_the_owners_from_what_is_not_there(
    world: World, operation: Operation, asker: Asker
) -> None:
    before = await world.all_of_the_owners()
    for cell in cells(world, operation, asker):
        await check_cell(world, cell)
    assert await world.all_of_the_owners() == before


@each_operation
async def test_the_anonymous_are_told_nothing(world: World, operation: Operation) -> None:
    if world.auth != "dev":  # where everybody is somebody
        await check_anonymous(world, operation)


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
async def test_what_is_done_is_done_to_ones_own(world: World, deed: Callable[[World], Awaitable[None]]) -> None:
    await deed(world)
