"""A throw-away Postgres for the driver's own tests: one per test run, on a socket and on 127.0.0.1, with no durability.

A test module that wants it says ``pytest_plugins = ["conftest_server"]``.
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from keepsay.store.postgres.dsn import Dsn
from keepsay.testing.pgbouncer import unprivileged_account
from keepsay.testing.wire import free_port

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


@pytest.fixture(scope="session")
def running_server() -> Iterator[Dsn]:
    """The server, by its socket."""
    program = shutil.which("pg_config")
    assert program is not None, "these tests start a Postgres: install one, with pg_config"
    binaries = Path(subprocess.check_output([program, "--bindir"], text=True).strip())
    account, port = unprivileged_account(), free_port()
    folder = Path(tempfile.mkdtemp(prefix="keepsay-server-"))
    if account is not None:
        shutil.chown(folder, account)
    data = folder / "data"
    subprocess.run(
        [binaries / "initdb", "--pgdata", data, "--auth=trust", "--username=tester", "--encoding=UTF8", "--no-sync"],
        user=account,
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "fsync": "off", "port": port}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, *options], user=account, cwd=folder, stdout=log, stderr=log
        )
    try:
        _wait_until_ready(binaries / "pg_isready", folder, port)
        yield Dsn(host=str(folder), port=port, user="tester", database="postgres", tls="off")
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)


def _wait_until_ready(pg_isready: Path, folder: Path, port: int) -> None:
    for _ in range(500):
        asked = subprocess.run([pg_isready, "--quiet", "--host", folder, "--port", str(port)], check=False)
        if asked.returncode == 0:
            return
        time.sleep(0.02)
    raise AssertionError(f"Postgres did not start: {(folder / 'log').read_text()}")


@pytest.fixture
def run(running_server: Dsn) -> Callable[[str], Awaitable[None]]:
    """Run a script on a connection of its own, as a migration does."""

    async def run(script: str) -> None:
        connection = await asyncpg.connect(**running_server.connect_arguments())
        try:
            await connection.execute(script)
        finally:
            await connection.close()

    return run


@pytest.fixture
async def server(running_server: Dsn, run: Callable[[str], Awaitable[None]]) -> Dsn:
    """The server by TCP, with the functions of ``SCHEMA`` as if nobody had touched them."""
    await run(SCHEMA)
    return dataclasses.replace(running_server, host="127.0.0.1")
