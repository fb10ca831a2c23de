"""Plain sessions with a database, beside the store under test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from keepsay.store.postgres.dsn import Dsn


@asynccontextmanager
async def session(dsn: Dsn) -> AsyncIterator[Any]:  # asyncpg ships no types
    connection = await asyncpg.connect(**dsn.connect_arguments())
    try:
        yield connection
    finally:
        await connection.close()


async def execute(dsn: Dsn, script: str) -> None:
    """Run a script of any number of statements."""
    async with session(dsn) as connection:
        await connection.execute(script)


async def ask(dsn: Dsn, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """The rows of one query."""
    async with session(dsn) as connection:
        return [tuple(row) for row in await connection.fetch(query, *parameters)]
