"""Where the races are run: warm pools on a database of one's own, and the means to set off calls at once.

A cold pool hides races, because its connections are opened one after the other (research: 1 of 20 accepted instead of
20). So every store given out here has all its connections open and has used each verb on each of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from keepsay.store.postgres.store import PostgresStore
from keepsay.store.protocol import Store
from keepsay.testing.build import hold_of
from keepsay.testing.postgres import Database
from keepsay.testing.talk import start_talk

T = TypeVar("T")

OpenStore = Callable[[int], AbstractAsyncContextManager[Store]]
"""Opens a store with so many connections, all of them warm."""


async def at_once(*calls: Awaitable[T]) -> list[T | BaseException]:
    """Set the calls off together; what each returned or raised."""
    return await asyncio.gather(*calls, return_exceptions=True)


def stores_of(database: Database) -> OpenStore:
    """What opens warm stores on this database."""

    @asynccontextmanager
    async def open_store(connections: int) -> AsyncIterator[Store]:
        store = PostgresStore(database.dsn, max_size=connections)
        try:
            await _warm(store, connections)
            found = await count_backends(database)
            assert found == connections, f"{found} of {connections} connections are open: the race would be tame"
            yield store
        finally:
            await store.close()

    return open_store


async def _warm(store: Store, connections: int) -> None:
    """Use every verb of the races on every connection, each on a conversation of its own."""
    talks = await asyncio.gather(*(start_talk(store) for _ in range(connections)))
    await asyncio.gather(*(talk.append("user: warm", "assistant: warm") for talk in talks))
    begun = await asyncio.gather(*(talk.begin("user: warm") for talk in talks))
    pairs = list(zip(talks, begun, strict=True))
    await asyncio.gather(*(talk.finish(hold_of(one), "assistant: warm") for talk, one in pairs))
    await asyncio.gather(*(talk.log() for talk in talks))


@asynccontextmanager
async def looking_in(database: Database) -> AsyncIterator[Any]:
    """A connection of the superuser, which no code under test knows of."""
    connection = await asyncpg.connect(**database.dsn.connect_arguments())
    try:
        yield connection
    finally:
        await connection.close()


async def count_backends(database: Database) -> int:
    """How many connections there are to the database, without the one that counts."""
    async with looking_in(database) as connection:
        found: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return found
