"""One database and one library for all tests of the server; each test is a user of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from pytest_postgresql.executors import NoopExecutor

from keepsay import Keepsay
from keepsay.store.postgres.store import PostgresStore
from keepsay.testing.postgres import Database, new_database

from .client import Client, connect


@pytest.fixture(scope="session")
def server_database(newest_postgres: NoopExecutor) -> Iterator[Database]:
    with new_database(newest_postgres) as database:
        yield database


@pytest.fixture(scope="session")
async def keepsay(server_database: Database) -> AsyncIterator[Keepsay]:
    async with Keepsay(store=PostgresStore(server_database.dsn)) as opened:
        yield opened


@pytest.fixture
def ada(keepsay: Keepsay) -> Client:
    """A new user, with the agent ``echo``."""
    return connect(keepsay)
