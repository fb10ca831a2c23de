"""One round trip for each call, a connection that stays good after errors, and descriptions that heal."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import inspect
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from asyncpg.protocol.protocol import BaseProtocol, ConnectionSettings, PreparedStatementState

from keepsay.store.postgres.connection import OneTripConnection, open_pool
from keepsay.store.postgres.dsn import Dsn
from keepsay.testing.wire import CountingProxy

Script = Callable[[str], Awaitable[None]]

ECHO = "SELECT n, said FROM trial.echo_v1($1)"
WAIT = "SELECT waited FROM trial.wait_v1($1)"
REFUSE = "SELECT never FROM trial.refuse_v1($1, $2)"


@contextlib.asynccontextmanager
async def pool_on(dsn: Dsn, max_size: int = 1) -> AsyncIterator[asyncpg.Pool]:  # type: ignore[no-any-unimported]
    pool = await open_pool(dsn, max_size=max_size)
    try:
        yield pool
    finally:
        await pool.close()


async def call(pool: Any, sql: str, *args: object, timeout: float | None = 10.0) -> list[tuple[Any, ...]]:
    async with pool.acquire() as connection:
        return [tuple(row) for row in await connection.call(sql, *args, timeout=timeout)]


async def backend(pool: Any) -> tuple[Any, ...]:
    (row,) = await call(pool, "SELECT pid FROM pg_backend_pid() AS pid")
    return row


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (
            BaseProtocol,
            "prepare",
            ["self", "stmt_name", "query", "timeout", "state", "ignore_custom_codec", "record_class"],
        ),
        (BaseProtocol, "bind_execute", ["self", "state", "args", "portal_name", "limit", "return_extra", "timeout"]),
        (BaseProtocol, "close_portal", ["self", "portal_name", "timeout"]),
        (PreparedStatementState, "_init_types", ["self"]),
        (PreparedStatementState, "_init_codecs", ["self"]),
        (PreparedStatementState, "mark_unprepared", ["self"]),
        (ConnectionSettings, "register_data_types", ["self", "types"]),
    ],
)
def test_the_internals_of_asyncpg_that_we_use_are_as_they_were(owner: type, name: str, parameters: list[str]) -> None:
    changed = f"asyncpg {asyncpg.__version__} changed {owner.__name__}.{name}, which store/postgres/connection.py uses"
    assert hasattr(owner, name), changed
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters, changed


async def test_the_attributes_of_asyncpg_that_we_use_are_there(server: Dsn) -> None:
    async with pool_on(server) as pool, pool.acquire() as proxy:
        changed = f"asyncpg {asyncpg.__version__} changed what store/postgres/connection.py uses: "
        assert isinstance(proxy._con, OneTripConnection), changed + "connection_class"
        before = proxy._protocol.queries_count
        await proxy.call(ECHO, 1, timeout=10)
        assert proxy._protocol.queries_count == before + 1, changed + "queries_count"


async def test_a_call_is_one_round_trip_after_the_first_of_its_text(server: Dsn) -> None:
    async with CountingProxy(server) as wire, pool_on(wire.dsn) as pool:
        trips = []
        for n in range(5):
            wire.round_trips = 0
            assert await call(pool, ECHO, n) == [(n, f"said {n}")]
            trips.append(wire.round_trips)
        assert trips == [2, 1, 1, 1, 1]
        assert wire.connections == 1


async def test_asyncpg_as_it_comes_takes_more_so_the_count_can_fail(server: Dsn) -> None:
    async with CountingProxy(server) as wire:
        for cache_size, expected in ((100, 2), (0, 3)):
            arguments = wire.dsn.connect_arguments()
            async with asyncpg.create_pool(**arguments, min_size=0, statement_cache_size=cache_size) as pool:
                for n in range(3):
                    wire.round_trips = 0
                    async with pool.acquire() as connection:
                        await connection.fetch(ECHO, n)
            assert wire.round_trips == expected


async def test_a_refused_or_malformed_statement_leaves_the_connection_good(server: Dsn) -> None:
    async with CountingProxy(server) as wire, pool_on(wire.dsn) as pool:
        pid = await backend(pool)
        for _ in range(2):
            with pytest.raises(asyncpg.PostgresError, match="refused"):
                await call(pool, REFUSE, "KS001", "{}")
        with pytest.raises(asyncpg.PostgresSyntaxError):
            await call(pool, "SELEKT 1")
        with pytest.raises(asyncpg.UndefinedFunctionError):
            await call(pool, "SELECT n FROM trial.absent_v1($1)", 1)
        wire.round_trips = 0
        assert await backend(pool) == pid
        with pytest.raises(asyncpg.PostgresError, match="refused"):
            await call(pool, REFUSE, "KS001", "{}")
        assert wire.round_trips == 2, "a refusal keeps what is known of its text"


@pytest.mark.parametrize("args", [("text",), (), (1, 2), (2**40,)])
async def test_arguments_that_do_not_fit_are_refused_without_leaving_the_server_waiting(
    server: Dsn, args: tuple[object, ...]
) -> None:
    async with pool_on(server) as pool:
        pid = await backend(pool)
        for _ in range(2):
            with pytest.raises((asyncpg.InterfaceError, asyncpg.DataError)):
                await call(pool, ECHO, *args)
            async with pool_on(server) as other:
                states = "SELECT state FROM pg_stat_activity WHERE pid = $1"
                assert await call(other, states, pid[0]) == [("idle",)]
        assert await call(pool, ECHO, 1) == [(1, "said 1")]
        assert await backend(pool) == pid


async def test_arrays_of_built_in_types_need_no_questions_and_other_types_are_refused(server: Dsn) -> None:
    lists = "SELECT a, d FROM trial.lists_v1($1, $2, $3, $4, $5)"
    async with CountingProxy(server) as wire, pool_on(wire.dsn) as pool:
        await backend(pool)
        for expected in (2, 1):
            wire.round_trips = 0
            assert await call(pool, lists, [1], [2], [uuid.uuid4()], ["{}"], ["x"]) == [([1], ["{}"])]
            assert wire.round_trips == expected
        with pytest.raises(asyncpg.UnsupportedClientFeatureError, match="built in"):
            await call(pool, "SELECT mood FROM trial.mood_v1()")
        assert await call(pool, "SELECT mood::text FROM trial.mood_v1()") == [("fine",)]
        assert wire.connections == 1


REPLACEMENTS = [
    ("n bigint, said text", "SELECT 5::bigint, 'new'", (5, "new")),
    ("n smallint, said text", "SELECT 5::smallint, 'new'", (5, "new")),
    ("said text, n int", "SELECT 'turned', 5", (5, "turned")),
    ("said text, n int, more int", "SELECT 'longer', 5, 6", (5, "longer")),
    ("n text, said text", "SELECT '5555', 'new'", (5555, "new")),
    ("n int, said int", "SELECT 5, 7", (5, "7")),
]


def replaced(declared: str, body: str) -> str:
    return f"""
        DROP FUNCTION trial.echo_v1;
        CREATE FUNCTION trial.echo_v1(x int) RETURNS TABLE ({declared}) LANGUAGE sql AS $$ {body} $$;"""


@pytest.mark.parametrize(("declared", "body", "expected"), REPLACEMENTS)
async def test_a_text_with_casts_reads_a_replaced_function_right_at_once(
    server: Dsn, run: Script, declared: str, body: str, expected: tuple[object, ...]
) -> None:
    pinned = "SELECT n::int, said::text FROM trial.echo_v1($1::int)"
    async with pool_on(server) as pool:
        assert await call(pool, pinned, 5) == [(5, "said 5")]
        await run(replaced(declared, body))
        assert await call(pool, pinned, 5) == [expected]


@pytest.mark.parametrize(("declared", "body", "expected"), REPLACEMENTS[:4])
async def test_a_text_without_casts_is_an_error_at_most_once_where_the_width_changed(
    server: Dsn, run: Script, declared: str, body: str, expected: tuple[object, ...]
) -> None:
    async with CountingProxy(server) as wire, pool_on(wire.dsn) as pool:
        assert await call(pool, ECHO, 5) == [(5, "said 5")]
        await run(replaced(declared, body))
        with contextlib.suppress(AssertionError, BufferError):  # what asyncpg's decoders raise
            rows = await call(pool, ECHO, 5)
            assert rows == [expected] or pytest.fail(f"wrong rows: {rows}")
        assert await call(pool, ECHO, 5) == [expected]
        assert wire.connections == 1


async def test_a_function_that_lost_a_column_or_changed_its_parameters_heals_too(server: Dsn, run: Script) -> None:
    drop = "DROP FUNCTION trial.echo_v1;"
    without = "CREATE FUNCTION trial.echo_v1(n int) RETURNS TABLE (n int) LANGUAGE sql AS $$ SELECT $1 $$;"
    by_text = """CREATE FUNCTION trial.echo_v1(x text) RETURNS TABLE (n int, said text)
        LANGUAGE sql AS $$ SELECT 1, $1 $$;"""
    async with pool_on(server) as pool:
        assert await call(pool, ECHO, 5) == [(5, "said 5")]
        await run(drop + without)
        with pytest.raises(asyncpg.UndefinedColumnError):
            await call(pool, ECHO, 5)
        await run(drop + by_text)
        assert await call(pool, ECHO, "five") == [(1, "five")]


async def test_a_timeout_ends_the_call_in_time_and_the_pool_goes_on(server: Dsn) -> None:
    async with pool_on(server) as pool:
        pid = await backend(pool)
        started = asyncio.get_running_loop().time()
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await call(pool, WAIT, 5.0, timeout=0.2)
        assert asyncio.get_running_loop().time() - started < 2
        assert await call(pool, ECHO, 1) == [(1, "said 1")]
        assert await backend(pool) != pid, "a connection of unknown state was used again"


async def test_nothing_is_sent_without_time_or_on_a_closed_connection(server: Dsn) -> None:
    async with CountingProxy(server) as wire:
        connection = await asyncpg.connect(**wire.dsn.connect_arguments(), connection_class=OneTripConnection)
        with pytest.raises(TimeoutError):
            await connection.call(ECHO, 1, timeout=0)
        assert wire.round_trips == 0
        assert await connection.call(ECHO, 1, timeout=10)
        connection.terminate()
        with pytest.raises(asyncpg.InterfaceError, match="closed"):
            await connection.call(ECHO, 1, timeout=10)
        assert wire.round_trips == 2


async def test_a_timeout_is_kept_when_the_server_has_gone_silent(server: Dsn) -> None:
    async with CountingProxy(server) as wire, pool_on(wire.dsn) as pool:
        await backend(pool)
        wire.silent = True
        started = asyncio.get_running_loop().time()
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await call(pool, ECHO, 1, timeout=0.3)
            assert asyncio.get_running_loop().time() - started < 1
            wire.silent = False
            assert await call(pool, ECHO, 1) == [(1, "said 1")]
            wire.silent, started = True, asyncio.get_running_loop().time()


async def test_cancelled_calls_never_answer_for_each_other(server: Dsn) -> None:
    async def one(pool: Any, n: int) -> None:
        assert await call(pool, ECHO, n) == [(n, f"said {n}")]

    chance = random.Random(7)
    async with pool_on(server, max_size=4) as pool:
        for start in range(0, 600, 20):
            tasks = [asyncio.create_task(one(pool, n)) for n in range(start, start + 20)]
            await asyncio.sleep(chance.random() * 0.01)
            for task in chance.sample(tasks, 10):
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                assert result is None or isinstance(result, asyncio.CancelledError), result
        assert pool.get_size() <= 4
        assert await asyncio.gather(*(one(pool, n) for n in range(50))) == [None] * 50


async def test_idle_connections_that_the_server_ended_cost_no_error(server: Dsn, run: Script) -> None:
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'keepsay-killed'"
    victims = dataclasses.replace(server, application_name="keepsay-killed")
    async with pool_on(victims, max_size=6) as pool:
        for _ in range(3):
            await asyncio.gather(*(call(pool, WAIT, 0.05) for _ in range(6)))
            assert pool.get_idle_size() == 6
            await run(kill)
            await asyncio.sleep(0.1)
            assert await asyncio.gather(*(call(pool, ECHO, n) for n in range(6)))


async def test_a_backend_that_dies_under_a_call_is_one_error_and_then_none(server: Dsn, run: Script) -> None:
    async with pool_on(server) as pool:
        (pid,) = await backend(pool)
        under_way = asyncio.create_task(call(pool, WAIT, 5.0))
        await asyncio.sleep(0.1)
        await run(f"SELECT pg_terminate_backend({pid})")
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await under_way
        assert await call(pool, ECHO, 1) == [(1, "said 1")]


async def test_the_pool_opens_nothing_by_itself_and_keeps_nothing_in_the_session(server: Dsn) -> None:
    async with CountingProxy(server) as wire, pool_on(wire.dsn) as pool:
        await asyncio.sleep(0.05)
        assert wire.connections == 0
        assert await call(pool, "SELECT name FROM pg_prepared_statements") == []
        (row,) = await call(pool, "SELECT current_setting('application_name')")
        assert row == ("keepsay",)
