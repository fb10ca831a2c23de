"""Databases, and the roles that log in to them; for the driver's own tests a server on TCP with functions to try."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from pytest_postgresql.executors import NoopExecutor
from pytest_postgresql.janitor import DatabaseJanitor

from keepsay.embedded import EmbeddedPostgres
from keepsay.store.postgres.dsn import Dsn, parse_dsn
from keepsay.testing.postgres import Database, new_database
from keepsay.testing.wire import free_port

from .sessions import execute

SCHEMA = """
DROP SCHEMA IF EXISTS trial CASCADE;
CREATE SCHEMA trial;
CREATE FUNCTION trial.echo_v1(n int) RETURNS TABLE (n int, said text)
    LANGUAGE sql AS $$ SELECT $1, 'said ' || $1 $$;
CREATE FUNCTION trial.whose_v1(client text, n int) RETURNS TABLE (owner text, n int, first_letter text)
    LANGUAGE sql AS $$ SELECT $1, $2, left($1, 1) $$;
CREATE FUNCTION trial.wait_v1(seconds float8) RETURNS TABLE (waited bool)
    LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(seconds); RETURN QUERY SELECT true; END $$;
CREATE FUNCTION trial.refuse_v1(code text, facts text) RETURNS TABLE (never int)
    LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = code, DETAIL = facts; END $$;
CREATE FUNCTION trial.lists_v1(a int[], b bigint[], c uuid[], d jsonb[], e text[]) RETURNS TABLE (a int[], d jsonb[])
    LANGUAGE sql AS $$ SELECT $1, $4 $$;
CREATE TYPE trial.mood AS ENUM ('fine');
CREATE FUNCTION trial.mood_v1() RETURNS TABLE (mood trial.mood) LANGUAGE sql AS $$ SELECT 'fine'::trial.mood $$;
"""
SERVERS = ["newest_postgres", "system_postgres"]


@pytest.fixture(params=SERVERS)
def postgres(request: pytest.FixtureRequest) -> NoopExecutor:
    """Each of the two servers."""
    server: NoopExecutor = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def database(postgres: NoopExecutor) -> Iterator[Database]:
    """A database of its own, migrated and empty, on each of the two servers."""
    with new_database(postgres) as made:
        yield made


@pytest.fixture
def newest_database(newest_postgres: NoopExecutor) -> Iterator[Database]:
    """The same on the newest server only, for what does not depend on its age."""
    with new_database(newest_postgres) as made:
        yield made


@contextmanager
def unmigrated(postgres: NoopExecutor) -> Iterator[Dsn]:
    name = f"keepsay_{uuid4().hex}"
    with DatabaseJanitor(user=postgres.user, host=postgres.host, port=postgres.port, dbname=name):
        yield Dsn(host=postgres.host, port=int(postgres.port), user=postgres.user, database=name, tls="off")


@pytest.fixture
def empty_database(postgres: NoopExecutor) -> Iterator[Dsn]:
    """A database in which nobody has migrated, on each of the two servers."""
    with unmigrated(postgres) as dsn:
        yield dsn


@pytest.fixture
def newest_empty_database(newest_postgres: NoopExecutor) -> Iterator[Dsn]:
    """The same on the newest server only."""
    with unmigrated(newest_postgres) as dsn:
        yield dsn


@pytest.fixture
async def login_as() -> AsyncIterator[Callable[[Dsn, str], Awaitable[Dsn]]]:
    """Make a role with such attributes, and return the DSN to log in with. It goes in the end, with what it owns."""
    made: list[tuple[Dsn, str]] = []

    async def login_as(dsn: Dsn, attributes: str = "") -> Dsn:
        role = f"role_{uuid4().hex}"
        await execute(dsn, f"CREATE ROLE {role} LOGIN {attributes}")
        made.append((dsn, role))
        return dataclasses.replace(dsn, user=role)

    yield login_as
    for dsn, role in reversed(made):
        await execute(dsn, f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.fixture(scope="session")
def running_server() -> Iterator[EmbeddedPostgres]:
    """A server that also listens on 127.0.0.1."""
    home = Path(tempfile.mkdtemp(prefix="keepsay-server-")).resolve()
    home.chmod(0o755)  # run as root, the server's account must be able to enter
    try:
        with EmbeddedPostgres(home, durable=False, tcp_port=free_port()) as server:
            yield server
    finally:
        shutil.rmtree(home)


@pytest.fixture
def run(running_server: EmbeddedPostgres) -> Callable[[str], Awaitable[None]]:
    """Run a script on a connection of its own, as a migration does."""
    return lambda script: execute(parse_dsn(running_server.dsn), script)


@pytest.fixture
async def server(running_server: EmbeddedPostgres, run: Callable[[str], Awaitable[None]]) -> Dsn:
    """The server by TCP, with the functions of ``SCHEMA`` as if nobody had touched them."""
    await run(SCHEMA)
    return parse_dsn(running_server.tcp_dsn)
