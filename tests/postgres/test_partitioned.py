"""The schema can be spread over machines by user: hash-partitioned by ``user_key``, it passes the same suite."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from pytest_postgresql.executors import NoopExecutor

from keepsay.store.postgres.migrate import migration_sql
from keepsay.store.postgres.store import PostgresStore
from keepsay.testing.contract import ExpireLease, StoreContract
from keepsay.testing.postgres import Database

from .conftest import unmigrated
from .sessions import ask, execute
from .walls import TABLES

PARTITIONS = 4
_TABLE = re.compile(rf"^CREATE TABLE keepsay\.({'|'.join(TABLES)}) \(\n(.*?)\n\);$", re.MULTILINE | re.DOTALL)
_STORAGE = re.compile(r"^ALTER TABLE keepsay\.\w+ SET \(.*?\);$", re.MULTILINE)  # refused by partitioned tables


def partitioned_sql() -> str:
    """The migrations, with every table but their own partitioned by the user's key."""
    sql, tables = _TABLE.subn(_partitioned, migration_sql("keepsay"))
    assert tables == len(TABLES)
    return _STORAGE.sub("", sql)


def _partitioned(table: re.Match[str]) -> str:
    name, columns = table.groups()
    partitions = (
        f"CREATE TABLE keepsay.{name}_{n} PARTITION OF keepsay.{name} "
        f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {n});"
        for n in range(PARTITIONS)
    )
    return "\n".join([f"CREATE TABLE keepsay.{name} (\n{columns}\n) PARTITION BY HASH (user_key);", *partitions])


class Partitioned:
    """A partitioned database on each server, made once, with its store."""

    def __init__(self) -> None:
        self._closing = AsyncExitStack()
        self._made: dict[int, tuple[Database, PostgresStore]] = {}

    async def on(self, postgres: NoopExecutor) -> tuple[Database, PostgresStore]:
        port = int(postgres.port)
        if port not in self._made:
            dsn = self._closing.enter_context(unmigrated(postgres))
            await execute(dsn, partitioned_sql())
            store = PostgresStore(dsn, auto_migrate="never")
            self._closing.push_async_callback(store.close)
            self._made[port] = Database(dsn), store
        return self._made[port]

    async def close(self) -> None:
        await self._closing.aclose()


@pytest.fixture(scope="module")
async def partitioned() -> AsyncIterator[Partitioned]:
    partitioned = Partitioned()
    yield partitioned
    await partitioned.close()


async def test_every_table_is_partitioned_by_the_users_key(partitioned: Partitioned, postgres: NoopExecutor) -> None:
    database, store = await partitioned.on(postgres)
    found = await ask(
        database.dsn,
        """
        SELECT c.relname, a.attname, count(*)
        FROM pg_partitioned_table p
        JOIN pg_class c ON c.oid = p.partrelid
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
        JOIN pg_inherits i ON i.inhparent = c.oid
        WHERE c.relnamespace = 'keepsay'::regnamespace AND p.partnatts = 1 AND p.partstrat = 'h'
        GROUP BY c.relname, a.attname
        """,
    )
    assert sorted(found) == [(table, "user_key", PARTITIONS) for table in sorted(TABLES)]
    assert await store.row_security()


class TestPartitionedStore(StoreContract):
    @pytest.fixture
    async def store(self, partitioned: Partitioned, postgres: NoopExecutor) -> PostgresStore:
        return (await partitioned.on(postgres))[1]

    @pytest.fixture
    async def expire_lease(self, partitioned: Partitioned, postgres: NoopExecutor) -> ExpireLease:
        return (await partitioned.on(postgres))[0].expire_lease
