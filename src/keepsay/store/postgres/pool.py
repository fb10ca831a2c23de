"""The pool: opened on first use, once, for the running event loop; the schema is looked at before anybody gets it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Literal

import asyncpg

from keepsay.errors import ConfigurationError, SchemaMismatch
from keepsay.store.postgres.connection import open_pool
from keepsay.store.postgres.dsn import Dsn
from keepsay.store.postgres.migrate import check_usable, migrate, read_schema_state

__all__ = ["POOL_WAIT", "AutoMigrate", "LazyPool"]

logger = logging.getLogger("keepsay.store")

AutoMigrate = Literal["never", "empty", "always"]
"""Which databases may be migrated on first connect: none, those without the schema, or older ones as well."""

POOL_WAIT: ContextVar[float | None] = ContextVar("keepsay_pool_wait", default=None)
"""How long, in seconds, this task's latest call waited for its connection, for whoever observes the store."""

CLOSE_SECONDS = 2.0


class LazyPool:
    """Hands out the pool. A pool belongs to the event loop that opened it; on another loop another one is opened."""

    def __init__(
        self,
        dsn: Callable[[], Awaitable[Dsn]],
        *,
        schema: str,
        auto_migrate: AutoMigrate,
        max_size: int,
        connect_timeout: float,
        migration_dsn: Dsn | None,
    ) -> None:
        self._dsn = dsn
        self._schema = schema
        self._auto_migrate = auto_migrate
        self._max_size = max_size
        self._connect_timeout = connect_timeout
        self._migration_dsn = migration_dsn
        self._pool: asyncpg.Pool | None = None  # type: ignore[no-any-unimported]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening = asyncio.Lock()

    async def get(self) -> asyncpg.Pool:  # type: ignore[no-any-unimported]
        """The pool of the running loop. Callers that come while it is being opened wait for the one opening."""
        if self._pool is not None and self._loop is asyncio.get_running_loop():
            return self._pool
        self._leave_other_loop()
        async with self._opening:
            if self._pool is None:
                self._pool = await self._open()
        return self._pool

    def _leave_other_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._cut()
            self._loop, self._opening = loop, asyncio.Lock()

    def _cut(self) -> None:
        """Drop the pool at once. Of a loop that has ended nothing can be asked: its sockets go with the objects."""
        pool, self._pool = self._pool, None
        if pool is not None and self._loop is not None and not self._loop.is_closed():
            pool.terminate()

    async def _open(self) -> asyncpg.Pool:  # type: ignore[no-any-unimported]
        dsn = await self._dsn()
        pool = await open_pool(dsn, max_size=self._max_size, connect_timeout=self._connect_timeout)
        try:
            await self._prepare_schema(pool, dsn)
        except BaseException:
            pool.terminate()
            raise
        return pool

    async def _prepare_schema(self, pool: asyncpg.Pool, dsn: Dsn) -> None:  # type: ignore[no-any-unimported]
        async with pool.acquire() as connection:
            state = await read_schema_state(connection, self._schema)
        may_migrate = self._auto_migrate == "always" or (self._auto_migrate == "empty" and not state.applied)
        if state.pending and may_migrate:
            done = await migrate(self._migration_dsn or dsn, self._schema, only_empty=self._auto_migrate == "empty")
            if done:
                logger.warning("set up schema %s: %s", self._schema, ", ".join(step.name for step in done))
            async with pool.acquire() as connection:
                state = await read_schema_state(connection, self._schema)
        try:
            check_usable(state, self._schema)
        except SchemaMismatch:
            if state.applied:
                raise
            raise ConfigurationError(f"The database has no schema {self._schema}: run `keepsay migrate`.") from None

    async def close(self) -> None:
        """Close the pool; connections in use are given a moment, then cut."""
        if self._pool is not None and self._loop is asyncio.get_running_loop():
            try:
                await asyncio.wait_for(self._pool.close(), CLOSE_SECONDS)
                self._pool = None
            except TimeoutError:
                logger.warning("connections were still in use after %s s; they are cut", CLOSE_SECONDS)
        self._cut()
