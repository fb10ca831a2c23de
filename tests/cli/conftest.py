"""Databases for the command line: migrated, empty, and the roles that log in to them."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from pytest_postgresql.executors import NoopExecutor
from pytest_postgresql.janitor import DatabaseJanitor

from keepsay import Keepsay
from keepsay.store.postgres.dsn import Dsn
from keepsay.store.postgres.store import PostgresStore
from keepsay.testing.postgres import new_database

from .program import url_of

Script = Callable[[Dsn, str], Awaitable[None]]


@pytest.fixture
def database(newest_postgres: NoopExecutor) -> Iterator[Dsn]:
    """A migrated database without users."""
    with new_database(newest_postgres) as made:
        yield made.dsn


@contextlib.contextmanager
def unmigrated(postgres: NoopExecutor) -> Iterator[Dsn]:
    name = f"keepsay_{uuid4().hex}"
    with DatabaseJanitor(user=postgres.user, host=postgres.host, port=postgres.port, dbname=name):
        yield Dsn(host=postgres.host, port=int(postgres.port), user=postgres.user, database=name, tls="off")


@pytest.fixture
def empty_database(newest_postgres: NoopExecutor) -> Iterator[Dsn]:
    """A database in which nobody has migrated."""
    with unmigrated(newest_postgres) as dsn:
        yield dsn


@pytest.fixture(params=["newest", "system"])
def each_empty_database(request: pytest.FixtureRequest) -> Iterator[Dsn]:
    """The same on the newest Postgres and on the machine's own."""
    with unmigrated(request.getfixturevalue(f"{request.param}_postgres")) as dsn:
        yield dsn


@pytest.fixture
def url(database: Dsn) -> str:
    return url_of(database)


@pytest.fixture
def empty_url(empty_database: Dsn) -> str:
    return url_of(empty_database)


@pytest.fixture
async def ks(database: Dsn) -> AsyncIterator[Keepsay]:
    """The library on ``database``, to put something there."""
    async with Keepsay(store=PostgresStore(database, auto_migrate="never")) as ks:
        yield ks


@pytest.fixture
def script() -> Script:
    """Run SQL as whoever the DSN logs in as."""

    async def run(dsn: Dsn, sql: str) -> None:
        connection = await asyncpg.connect(**dsn.connect_arguments())
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    return run


@pytest.fixture
async def login_as(script: Script) -> AsyncIterator[Callable[[Dsn, str], Awaitable[Dsn]]]:
    """Make a role with such attributes and return the DSN for it. All roles and what they own go in the end."""
    made: list[tuple[Dsn, str]] = []

    async def login_as(dsn: Dsn, attributes: str) -> Dsn:
        role = f"role_{uuid4().hex}"
        await script(dsn, f"CREATE ROLE {role} LOGIN {attributes}")
        made.append((dsn, role))
        return dataclasses.replace(dsn, user=role)

    yield login_as
    for dsn, role in reversed(made):
        await script(dsn, f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that the embedded server's account can enter when we are root; pytest's own are closed."""
    path = Path(tempfile.mkdtemp(prefix="keepsay-cli-")).resolve()
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)
