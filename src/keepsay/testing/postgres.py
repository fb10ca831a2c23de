"""Throw-away Postgres for tests: a real server, a migrated template, and a new database in hundredths of a second.

    # conftest.py
    pytest_plugins = ["keepsay.testing.postgres"]

    # test_mine.py
    from keepsay.testing.postgres import new_database

    async def test_it(newest_postgres):
        with new_database(newest_postgres) as database:
            store = PostgresStore(database.dsn)

``newest_postgres`` is the wheel's (or that of ``KEEPSAY_POSTGRES_BIN``), ``system_postgres`` the one that ``pg_config``
knows, or Debian's; tests that ask for it fail where there is none. Both start on first use, once per test run, without
durability, also as root, and end with the run. They are pytest-postgresql's ``postgresql_noproc``: its ``postgresql``
client fixtures work on them too.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from pytest_postgresql.executors import NoopExecutor
from pytest_postgresql.factories import postgresql_noproc
from pytest_postgresql.janitor import DatabaseJanitor

from keepsay.embedded import EmbeddedPostgres, bindir
from keepsay.model.ids import ConversationId
from keepsay.store.postgres.dsn import Dsn, parse_dsn
from keepsay.store.postgres.migrate import migrate
from keepsay.store.postgres.sqltext import DEFAULT_SCHEMA
from keepsay.store.protocol import Owner

__all__ = [
    "Database",
    "new_database",
    "newest_postgres",
    "newest_postgres_server",
    "system_bindir",
    "system_postgres",
    "system_postgres_server",
]

_CONNECTIONS = "200"


@dataclass(frozen=True, slots=True)
class _Server:
    """What ``postgresql_noproc`` asks of the fixture that it depends on."""

    host: str
    port: int
    user: str
    password: str | None = None
    options: str = ""
    maintenance_dbname: str = "postgres"
    template_dbname: str | None = None


def _wheel() -> Path:
    return bindir()


def system_bindir() -> Path:
    """The machine's own server: where ``pg_config`` says, or where Debian puts it."""
    program = shutil.which("pg_config")
    named = [Path(subprocess.check_output([program, "--bindir"], text=True).strip())] if program else []
    for folder in (*named, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)):
        if (folder / "initdb").exists():
            return folder
    pytest.fail("There is no Postgres server on this machine; install one, such as Debian's postgresql-15.")


def _server_fixture(name: str, find: Callable[[], Path]) -> Any:  # a fixture, as pytest's own decorator types it
    @pytest.fixture(scope="session", name=name)
    def server() -> Iterator[_Server]:
        binaries = find()
        home = Path(tempfile.mkdtemp(prefix="keepsay-postgres-")).resolve()
        home.chmod(0o755)  # run as root, the server's account must be able to enter
        embedded = EmbeddedPostgres(home, durable=False, settings={"max_connections": _CONNECTIONS})
        try:
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("KEEPSAY_POSTGRES_BIN", str(binaries))
                dsn = parse_dsn(embedded.start())
            assert dsn.host is not None
            assert dsn.user is not None
            yield _Server(dsn.host, dsn.port, dsn.user)
        finally:
            embedded.stop()
            shutil.rmtree(home)

    return server


def _migrate_template(*, host: str, port: int | str, user: str, dbname: str, **_: object) -> None:
    """Fill the template database: what ``postgresql_noproc`` loads."""
    dsn = Dsn(host=host, port=int(port), user=user, database=dbname, tls="off")
    with ThreadPoolExecutor(1) as apart:  # from the event loop that the tests may be running
        apart.submit(lambda: asyncio.run(_migrate(dsn))).result()


async def _migrate(dsn: Dsn) -> None:
    await migrate(dsn, DEFAULT_SCHEMA)


newest_postgres_server = _server_fixture("newest_postgres_server", _wheel)
system_postgres_server = _server_fixture("system_postgres_server", system_bindir)
newest_postgres = postgresql_noproc(
    depends_on="newest_postgres_server", dbname="keepsay_tests", load=[_migrate_template]
)
system_postgres = postgresql_noproc(
    depends_on="system_postgres_server", dbname="keepsay_tests", load=[_migrate_template]
)


@dataclass(frozen=True, slots=True)
class Database:
    """A database of its own, migrated and empty."""

    dsn: Dsn

    async def expire_lease(self, owner: Owner, conversation_id: ConversationId) -> None:
        """As if the lease of the run that holds the conversation had just run out."""
        connection = await asyncpg.connect(**self.dsn.connect_arguments())
        try:
            await expire_lease(connection, owner, conversation_id)
        finally:
            await connection.close()


async def expire_lease(connection: Any, owner: Owner, conversation_id: ConversationId) -> None:
    """The same on an open connection of the superuser."""
    await connection.execute(
        f"UPDATE {DEFAULT_SCHEMA}.conversations SET lease_until = clock_timestamp() "
        "WHERE conversation_id = $1 AND user_key = $2 AND lease_until IS NOT NULL",
        conversation_id,
        owner.key,
    )


@contextmanager
def new_database(postgres: NoopExecutor) -> Iterator[Database]:
    """A copy of the migrated template, dropped in the end whoever is still connected."""
    name = f"keepsay_{uuid4().hex}"
    with DatabaseJanitor(
        user=postgres.user,
        host=postgres.host,
        port=postgres.port,
        dbname=name,
        template_dbname=postgres.template_dbname,
    ):
        yield Database(Dsn(host=postgres.host, port=int(postgres.port), user=postgres.user, database=name, tls="off"))
