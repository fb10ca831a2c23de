"""Wherever the server or the library passes the user on, passing another one is noticed.

``tests/postgres/test_user_filters.py`` does the same with the places where SQL compares the user's key.
"""

from __future__ import annotations

import importlib

import pytest

from keepsay import Keepsay, KeepsayError
from keepsay.server import Settings, create_app
from keepsay.server.settings import AuthName
from keepsay.store.memory import MemoryStore

from .deeds import DEEDS
from .matrix import ASKERS, cells, check_cell, check_owner
from .mutants import Mutant, mutants, planted
from .probes import Operation, operations
from .verbs import check_verbs
from .world import SETTINGS, World, answer, furnish_owner

OPERATIONS = operations(create_app(Keepsay(store=MemoryStore()), settings=Settings(operators=True)))

EQUIVALENT = {
    "library.client 2: checked_user_id(cursor)": "where an operator's list of users goes on: nobody to act for",
    "server.readiness 1: self._keepsay.user('keepsay-readiness')": "reads a list to see the database, and drops it",
    "server.turns 3: user": "a run's id is made of the conversation's and the key: the same for any user",
}
"""Places that name no user in whose name anything is done, and why."""


def _auth_of(mutant: Mutant) -> AuthName:
    """The way to know users that the mutant takes part in."""
    last = mutant.module.rpartition(".")[2]
    return "service" if last == "service" else "jwt" if last in ("jwt", "claims") else "dev"


def _nearest_first(mutant: Mutant) -> list[Operation]:
    return sorted(OPERATIONS, key=lambda operation: operation.module != mutant.module)


async def _play(mutant: Mutant, *, plant: bool = True) -> None:
    """Raises what is noticed first."""
    store = MemoryStore()
    sound = Keepsay(store=store)
    owner = await furnish_owner(sound)
    with planted(mutant, owner.user if plant else None):
        copy: Keepsay = importlib.import_module("keepsay.library.client").Keepsay(store=store)
        if mutant.module.startswith("keepsay.library"):
            await check_verbs(copy, sound, owner)
        auth = _auth_of(mutant)
        app = importlib.import_module("keepsay.server").create_app(copy, agent=answer, settings=SETTINGS[auth])
        await _check(World(auth, app, sound, owner), mutant)


async def _check(world: World, mutant: Mutant) -> None:
    for deed in DEEDS:
        await deed(world)
    for operation in _nearest_first(mutant):
        await check_owner(world, operation)
        for asker in ASKERS:
            for cell in cells(world, operation, asker):
                await check_cell(world, cell)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
async def test_another_user_in_this_place_is_noticed(mutant: Mutant) -> None:
    if mutant.name in EQUIVALENT:
        await _play(mutant)
    else:
        with pytest.raises((AssertionError, KeepsayError)):  # a leak, or a refusal of what is one's own
            await _play(mutant)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["keepsay.library.scope", "keepsay.server.auth.service", "keepsay.server.auth.jwt"])
async def test_a_copy_without_a_mutant_passes(module: str) -> None:
    await _play(next(mutant for mutant in mutants() if mutant.module == module), plant=False)


def test_every_place_that_is_said_to_be_equivalent_is_there() -> None:
    assert EQUIVALENT.keys() <= {mutant.name for mutant in mutants()}
    assert len(mutants()) > 80
