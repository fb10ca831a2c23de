"""A window and a page cost what they hold, however long the conversation has become."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pytest_postgresql.executors import NoopExecutor

from keepsay import Keepsay, UserScope, assistant, user
from keepsay.model.ids import ConversationId, user_key
from keepsay.model.window import Window
from keepsay.store.postgres.dsn import Dsn
from keepsay.store.postgres.store import PostgresStore
from keepsay.testing.postgres import new_database

from .sessions import execute, session

SHORT, MIDDLE, LONG = 10, 500, 5_000
BATCH = 50
WINDOW = Window(max_messages=20)
MOST = 1.3
ROUNDS, CALLS = 12, 40
PROSE = " with words to be said, as people do when they talk about a trip to Lisbon" * 3

LOAD = "SELECT seq FROM keepsay.load_v1($1, $2, 20, NULL)"
PAGES = {
    "the newest page": (0, None, True),
    "the first page": (0, None, False),
    "a page before the end": (0, -100, True),
    "a page near the end": (-100, None, False),
}


@dataclass(frozen=True, slots=True)
class Ground:
    """A user's conversations by their length, in a table where they lie among each other."""

    dsn: Dsn
    user: UserScope
    store: PostgresStore
    talks: dict[int, ConversationId]

    @property
    def key(self) -> Any:
        return user_key(self.user.user_id)


@pytest.fixture(scope="module")
async def ground(newest_postgres: NoopExecutor) -> AsyncIterator[Ground]:
    with new_database(newest_postgres) as database:
        store = PostgresStore(database.dsn, max_size=1)
        scope = Keepsay(store=store).user("ann")
        talks = {length: (await scope.create()).id for length in (SHORT, MIDDLE, LONG)}
        for written in range(0, LONG, BATCH):
            for length, talk in talks.items():
                await _write(scope, talk, range(written, min(length, written + BATCH)))
            await _write(scope, (await scope.create()).id, range(BATCH))
        await execute(database.dsn, "VACUUM ANALYZE")
        yield Ground(database.dsn, scope, store, talks)
        await store.close()


async def _write(scope: UserScope, talk: ConversationId, numbers: range) -> None:
    if numbers:
        await scope.append(talk, *((user, assistant)[n % 2](f"{n}{PROSE}") for n in numbers))


async def _ratio(work: Callable[[ConversationId], Awaitable[object]], ground: Ground) -> float:
    """How much more the long one costs than the short one: the best of rounds in which they alternate."""
    best = float("inf")
    for _ in range(ROUNDS):
        took: dict[int, list[float]] = {SHORT: [], LONG: []}
        for _ in range(CALLS):
            for length, spent in took.items():
                began = time.perf_counter()
                await work(ground.talks[length])
                spent.append(time.perf_counter() - began)
        best = min(best, statistics.median(took[LONG]) / statistics.median(took[SHORT]))
        if best <= MOST:
            break
    return best


async def test_the_database_reads_the_window_of_5000_messages_as_fast_as_one_of_10(ground: Ground) -> None:
    async with session(ground.dsn) as connection:
        assert await _ratio(lambda talk: connection.fetch(LOAD, ground.key, talk), ground) <= MOST


async def test_the_store_loads_the_window_of_5000_messages_as_fast_as_one_of_10(ground: Ground) -> None:
    assert await _ratio(lambda talk: ground.store.load(ground.user._owner, talk, WINDOW), ground) <= MOST


async def test_a_user_gets_the_window_of_5000_messages_as_fast_as_one_of_10(ground: Ground) -> None:
    long, short = [await ground.user.window(ground.talks[length], WINDOW) for length in (LONG, SHORT)]
    assert (len(long.messages), len(short.messages)) == (20, 10)
    assert await _ratio(lambda talk: ground.user.window(talk, WINDOW), ground) <= MOST


class Reading:
    """What a statement touches, once its plans are settled: each is run more often than Postgres tries plans out."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def rows(self, sql: str, *parameters: object) -> tuple[int, int]:
        """Rows of messages read by scanning the table, and through an index."""
        for _ in range(10):
            await self._connection.fetch(sql, *parameters)
        before = await self._so_far()
        await self._connection.fetch(sql, *parameters)
        after = await self._so_far()
        return after[0] - before[0], after[1] - before[1]

    async def _so_far(self) -> tuple[int, int]:
        await self._connection.execute("SELECT pg_stat_clear_snapshot(), pg_stat_force_next_flush()")
        [row] = await self._connection.fetch(
            """
            SELECT seq_tup_read, idx_tup_fetch FROM pg_stat_user_tables
            WHERE schemaname = 'keepsay' AND relname = 'messages'
            """
        )
        return row[0], row[1]

    async def buffers(self, sql: str, *parameters: object) -> int:
        """Pages of 8 kB looked at, in the cache or on the disk."""
        for _ in range(12):
            [row] = await self._connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *parameters)
        plan = json.loads(row[0])[0]["Plan"]
        return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


@pytest.mark.parametrize("settled", ["force_custom_plan", "force_generic_plan"])
async def test_a_window_touches_no_more_rows_and_pages_of_a_longer_conversation(ground: Ground, settled: str) -> None:
    async with session(ground.dsn) as connection:
        await connection.execute(f"SET plan_cache_mode = {settled}")
        reading = Reading(connection)
        rows = {n: await reading.rows(LOAD, ground.key, ground.talks[n]) for n in (MIDDLE, LONG)}
        buffers = {n: await reading.buffers(LOAD, ground.key, ground.talks[n]) for n in (MIDDLE, LONG)}
    assert rows[LONG] == rows[MIDDLE]
    assert rows[LONG][0] == 0, "the table was scanned"
    assert rows[LONG][1] <= 100, "twenty messages, and those that the walk back reads ahead"
    assert buffers[LONG] <= buffers[MIDDLE] * 1.5, buffers


@pytest.mark.parametrize("settled", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("which", PAGES)
async def test_a_page_touches_no_more_rows_and_pages_of_a_longer_conversation(
    ground: Ground, settled: str, which: str
) -> None:
    async with session(ground.dsn) as connection:
        await connection.execute(f"SET plan_cache_mode = {settled}")
        reading, touched = Reading(connection), {}
        for length in (MIDDLE, LONG):
            after, before, newest = PAGES[which]
            page = (
                "SELECT seq FROM keepsay.page_v1($1, $2, $3, $4, 51, $5)",
                *(ground.key, ground.talks[length], after if after >= 0 else length + after),
                *(before if before is None else length + before, newest),
            )
            touched[length] = await reading.rows(*page), await reading.buffers(*page)
    scanned, fetched = touched[LONG][0]
    assert (scanned, fetched <= 2 * 51) == (0, True), touched
    assert touched[LONG][1] <= touched[MIDDLE][1] * 1.5, touched
