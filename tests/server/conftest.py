"""One database and one library for all tests of the server; each test is a user of its own."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pytest_postgresql.executors import NoopExecutor

from keepsay import Keepsay
from keepsay.store.postgres.store import PostgresStore
from keepsay.testing.postgres import Database, new_database

from .canaries import Net
from .client import Client, connect
from .program import Server, Start


@pytest.fixture(scope="session", autouse=True)
def net() -> Iterator[Net]:
    """Nothing that keepsay logs in the whole run names a user of these tests, or holds what their requests carry."""
    net, logger = Net(logging.INFO), logging.getLogger("keepsay")
    logger.addHandler(net)
    yield net
    logger.removeHandler(net)
    assert net.caught == []


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture, net: Net) -> None:
    """Each request's line too; the handler may have been taken off by a test that configures logging."""
    caplog.set_level(logging.INFO)
    if net not in logging.getLogger("keepsay").handlers:
        logging.getLogger("keepsay").addHandler(net)


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


@pytest.fixture
def start(tmp_path: Path, server_database: Database) -> Iterator[Start]:
    """Start servers as programs on the database of the tests; those that still run are killed in the end."""
    started: list[Server] = []

    def start_one(**settings: str) -> Server:
        started.append(Server(tmp_path, server_database.dsn, **settings))
        return started[-1]

    yield start_one
    for server in started:
        server.kill()
