"""Stores to test. Each serves all tests of the run, which make users of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from pytest_postgresql.executors import NoopExecutor

from keepsay.store.postgres.store import PostgresStore
from keepsay.testing.postgres import Database, new_database


@pytest.fixture(scope="session")
def newest_database(newest_postgres: NoopExecutor) -> Iterator[Database]:
    with new_database(newest_postgres) as database:
        yield database


@pytest.fixture(scope="session")
def system_database(system_postgres: NoopExecutor) -> Iterator[Database]:
    with new_database(system_postgres) as database:
        yield database


@pytest.fixture(scope="session")
async def newest_store(newest_database: Database) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(newest_database.dsn)
    yield store
    await store.close()


@pytest.fixture(scope="session")
async def system_store(system_database: Database) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(system_database.dsn)
    yield store
    await store.close()
