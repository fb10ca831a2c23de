"""Behind a pooler that does not know prepared statements: one round trip, no foreign answers, nothing left waiting."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypedDict

import pytest

from keepsay.store.postgres.connection import open_pool
from keepsay.store.postgres.dsn import Dsn
from keepsay.testing.pgbouncer import PgBouncer
from keepsay.testing.wire import CountingProxy

ECHO = "SELECT n, said FROM trial.echo_v1($1)"
CALLS = 2400


class Outcomes(TypedDict):
    right: int
    wrong: int
    errors: dict[str, int]


@pytest.fixture
def pooler(server: Dsn) -> Iterator[PgBouncer]:
    with PgBouncer(server, pool_size=2) as pooler:
        yield pooler


async def two_processes(pooler: PgBouncer, driver: str) -> list[Outcomes]:
    """Eight concurrent clients in each of two processes, all on two server connections."""
    program = str(Path(__file__).with_name("pooler_client.py"))
    url = f"postgresql://{pooler.dsn.user}@{pooler.dsn.host}:{pooler.dsn.port}/{pooler.dsn.database}?sslmode=disable"
    running = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, program, url, client, driver, str(CALLS)), stdout=asyncio.subprocess.PIPE
        )
        for client in ("ann", "bob")
    ]
    printed = await asyncio.gather(*(process.communicate() for process in running))
    return [json.loads(out) for out, _ in printed]


async def test_two_processes_on_shared_server_connections_get_their_own_answers_only(pooler: PgBouncer) -> None:
    outcomes = await two_processes(pooler, "ours")
    assert outcomes == [{"right": CALLS, "wrong": 0, "errors": {}}] * 2


async def test_asyncpg_as_it_comes_gets_foreign_answers_or_errors_so_the_test_can_fail(pooler: PgBouncer) -> None:
    outcomes = await two_processes(pooler, "as it comes")
    assert sum(each["wrong"] + sum(each["errors"].values()) for each in outcomes) > 0


async def test_a_call_through_the_pooler_is_one_round_trip(pooler: PgBouncer) -> None:
    async with CountingProxy(pooler.dsn) as wire:
        pool = await open_pool(wire.dsn)
        trips = []
        for n in range(4):
            wire.round_trips = 0
            async with pool.acquire() as connection:
                assert [tuple(row) for row in await connection.call(ECHO, n, timeout=10)] == [(n, f"said {n}")]
            trips.append(wire.round_trips)
        await pool.close()
        assert trips == [2, 1, 1, 1]


@pytest.mark.parametrize(
    ("sql", "args"),
    [(ECHO, ("unfit",)), ("SELEKT", ()), ("SELECT mood FROM trial.mood_v1()", ()), (ECHO, (1,))],
)
async def test_an_idle_client_holds_no_server_connection_whatever_its_last_call_met(
    server: Dsn, sql: str, args: tuple[object, ...]
) -> None:
    with PgBouncer(server, pool_size=1) as pooler:
        first, second = [await open_pool(pooler.dsn, max_size=1) for _ in range(2)]
        try:
            async with first.acquire() as idle:
                await asyncio.gather(idle.call(sql, *args, timeout=10), return_exceptions=True)
                async with second.acquire() as connection:
                    assert await connection.call(ECHO, 2, timeout=2)
        finally:
            await first.close()
            await second.close()


async def test_calls_cut_short_give_their_server_connection_back(server: Dsn) -> None:
    with PgBouncer(server, pool_size=1) as pooler:
        pool = await open_pool(pooler.dsn, max_size=4)

        async def call(n: int) -> list[tuple[object, ...]]:
            async with pool.acquire() as connection:
                return [tuple(row) for row in await connection.call(ECHO, n, timeout=10)]

        for delay in (0.0, 0.001, 0.003, 0.01, 0.02) * 6:
            tasks = [asyncio.create_task(call(n)) for n in range(8)]
            await asyncio.sleep(delay)
            for task in tasks[::2]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for n, result in enumerate(results):
                assert result == [(n, f"said {n}")] or isinstance(result, asyncio.CancelledError)
        await pool.close()


async def test_idle_server_connections_that_end_behind_the_pooler_cost_no_error(
    pooler: PgBouncer, run: Callable[[str], Awaitable[None]]
) -> None:
    kill = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'keepsay' AND pid <> pg_backend_pid()"""
    pool = await open_pool(pooler.dsn, max_size=2)
    for n in range(5):
        async with pool.acquire() as connection:
            assert await connection.call(ECHO, n, timeout=10)
        await run(kill)
        await asyncio.sleep(0.1)
    await pool.close()


async def test_a_missing_pgbouncer_is_an_error_and_not_a_skip(server: Dsn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(FileNotFoundError, match="apt-get install pgbouncer"), PgBouncer(server):
        pass


async def test_a_pgbouncer_that_cannot_start_says_why(server: Dsn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keepsay.testing.pgbouncer._CONFIGURATION", "[pgbouncer]\nlogfile = {log}\npool_mode = none\n")
    with pytest.raises(RuntimeError, match="pool_mode"), PgBouncer(server):
        pass
