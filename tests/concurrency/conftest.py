"""A database of its own for each test, and the seed that a failure names."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator

import pytest
from pytest_postgresql.executors import NoopExecutor

from keepsay.testing.postgres import Database, new_database

from .ground import OpenStore, stores_of

SEED = "KEEPSAY_SEED"


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """What all random choices of the test come from; given by ``KEEPSAY_SEED``, else a new one for each run.

    pytest shows it when the test fails. Which call meets which is the machine's choice: the same seed gives the same
    actors and faults, and most failures come again within a few runs.
    """
    chosen = int(os.environ.get(SEED) or random.SystemRandom().randrange(2**32))
    sys.stdout.write(f"seed {chosen}; again: {SEED}={chosen} python -m pytest '{request.node.nodeid}'\n")
    return chosen


@pytest.fixture
def postgres(request: pytest.FixtureRequest) -> NoopExecutor:
    """The server that a test was parametrised with."""
    server: NoopExecutor = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def database(postgres: NoopExecutor, seed: int) -> Iterator[Database]:
    with new_database(postgres) as made:
        yield made


@pytest.fixture
def open_store(database: Database) -> OpenStore:
    return stores_of(database)
