"""The seeds' own patterns on plain asyncpg, as small as they show the defect: what the checks must refuse.

Written anew from the description of each defect (research/seeds.md, section 3); none of it is the seeds' code. A seed
store keeps its tables in the schema ``public`` of a test database, beside keepsay's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import asyncpg

from keepsay.testing.postgres import Database

from .checks import AT_ONCE, Starter


class SeedStore:
    """A warm pool of plain asyncpg, and tables."""

    TABLES = ""
    SIZE = AT_ONCE

    def __init__(self, database: Database) -> None:
        self.database = database
        self.pool: Any = None

    async def open(self) -> None:
        arguments = self.database.dsn.connect_arguments()
        self.pool = await asyncpg.create_pool(**arguments, min_size=self.SIZE, max_size=self.SIZE)
        await self.pool.execute(self.TABLES)

    async def close(self) -> None:
        if self.pool is not None:
            await self.pool.close()


class _Messages(SeedStore):
    """A log in a table with the columns ``id`` and ``text``, ordered by ``ORDER``."""

    ORDER = "id"
    INSERT = "INSERT INTO seed_messages (text) VALUES ($1)"

    async def append(self, *texts: str) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            for text in texts:
                await self.append_on(connection, text)

    async def append_on(self, connection: Any, text: str) -> None:
        await connection.execute(self.INSERT, text)

    async def append_with_a_bad_one(self, before: str, after: str) -> None:
        await self.append(before, "bad", after)

    async def read(self) -> list[str]:
        return [row["text"] for row in await self.pool.fetch(f"SELECT text FROM seed_messages ORDER BY {self.ORDER}")]

    async def newest(self, limit: int) -> list[str]:
        return (await self.read())[-limit:]

    async def poll(self, after: int) -> tuple[list[str], int]:
        seen = (await self.read())[after:]
        return seen, after + len(seen)


class CreatedAt(_Messages):
    """D1, D2 (001, 002, 004): ordered by ``created_at``, which is when the transaction began; uuids break ties."""

    TABLES = (
        "CREATE TABLE seed_messages (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), "
        "created_at timestamptz NOT NULL DEFAULT now(), text text)"
    )
    ORDER = "created_at, id"


class Serial(_Messages):
    """D3, D11, D19, D47 (003, 004): BIGSERIAL order, polled by id; ``LIMIT`` without turning round; commits apiece."""

    TABLES = "CREATE TABLE seed_messages (id bigserial PRIMARY KEY, text text CHECK (text <> 'bad'))"

    async def append(self, *texts: str) -> None:
        for text in texts:  # a commit for each
            await self.pool.execute(self.INSERT, text)

    async def newest(self, limit: int) -> list[str]:
        rows = await self.pool.fetch("SELECT text FROM seed_messages ORDER BY id LIMIT $1", limit)
        return [row["text"] for row in rows]

    async def poll(self, after: int) -> tuple[list[str], int]:
        rows = await self.pool.fetch("SELECT id, text FROM seed_messages WHERE id > $1 ORDER BY id", after)
        return [row["text"] for row in rows], rows[-1]["id"] if rows else after


class MaxPlusOne(_Messages):
    """D6: the next number is the highest plus one, with a unique index against the worst."""

    TABLES = "CREATE TABLE seed_messages (id integer PRIMARY KEY, text text)"
    INSERT = "INSERT INTO seed_messages SELECT coalesce(max(id), 0) + 1, $1 FROM seed_messages"


class ReadAllToAppend(_Messages):
    """D10 (001): the role order is checked on the whole history, at every append."""

    TABLES = "CREATE TABLE seed_messages (id bigserial PRIMARY KEY, text text)"

    async def append_on(self, connection: Any, text: str) -> None:
        await connection.fetch("SELECT text FROM seed_messages ORDER BY id")
        await super().append_on(connection, text)


class CheckThenInsert(SeedStore):
    """D4 (001): read the last role, decide, insert."""

    TABLES = "CREATE TABLE seed_roles (id bigserial PRIMARY KEY, role text NOT NULL)"

    async def reset(self) -> None:
        await self.pool.execute("TRUNCATE seed_roles")

    async def enter(self, number: int) -> bool:
        async with self.pool.acquire() as connection:
            if await connection.fetchval("SELECT role FROM seed_roles ORDER BY id DESC LIMIT 1") == "user":
                return False
            await connection.execute("INSERT INTO seed_roles (role) VALUES ('user')")
            return True


class TriggerGuard(CheckThenInsert):
    """D5 (001's safety net): a trigger reads the last role before each insert."""

    TABLES = (
        CheckThenInsert.TABLES
        + """;
        CREATE FUNCTION seed_guard() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF (SELECT role FROM seed_roles ORDER BY id DESC LIMIT 1) = NEW.role THEN
                RAISE EXCEPTION 'two in a row';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER seed_guard BEFORE INSERT ON seed_roles FOR EACH ROW EXECUTE FUNCTION seed_guard()"""
    )

    async def enter(self, number: int) -> bool:
        try:
            await self.pool.execute("INSERT INTO seed_roles (role) VALUES ('user')")
        except asyncpg.RaiseError:
            return False
        return True


class StartRequest(SeedStore):
    """D8 (001): is a request pending? If not, note ours."""

    TABLES = "CREATE TABLE seed_requests (pending text); INSERT INTO seed_requests VALUES (NULL)"

    async def reset(self) -> None:
        await self.pool.execute("UPDATE seed_requests SET pending = NULL")

    async def enter(self, number: int) -> bool:
        async with self.pool.acquire() as connection:
            if await connection.fetchval("SELECT pending FROM seed_requests") is not None:
                return False
            await connection.execute("UPDATE seed_requests SET pending = $1", str(number))
            return True


class SelectThenInsert(SeedStore):
    """D7 (004): look, and insert if there is none."""

    TABLES = "CREATE TABLE seed_keys (key text PRIMARY KEY, id uuid NOT NULL)"

    async def find_or_make(self, key: str) -> object:
        async with self.pool.acquire() as connection:
            found = await connection.fetchval("SELECT id FROM seed_keys WHERE key = $1", key)
            if found is None:
                found = await connection.fetchval("INSERT INTO seed_keys VALUES ($1, $2) RETURNING id", key, uuid4())
            return found


class InsertOrSelect(SelectThenInsert):
    """D7, the usual cure: DO NOTHING, else SELECT, in one statement; the row that was in the way is not seen."""

    async def find_or_make(self, key: str) -> object:
        return await self.pool.fetchval(
            "WITH made AS (INSERT INTO seed_keys VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING id) "
            "SELECT id FROM made UNION ALL SELECT id FROM seed_keys WHERE key = $1 LIMIT 1",
            key,
            uuid4(),
        )


class TransactionAcrossTheModel(SeedStore):
    """D26 (001's sibling): one transaction from loading to storing, the model's answer in between."""

    TABLES = "CREATE TABLE seed_turns (text text)"
    SIZE = 5

    async def answer(self, model: Callable[[], Awaitable[None]]) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.fetch("SELECT text FROM seed_turns")
            await model()
            await connection.execute("INSERT INTO seed_turns VALUES ('answer')")

    async def look(self) -> None:
        await self.pool.fetch("SELECT text FROM seed_turns")


class NoOwnerOnWrite(SeedStore):
    """D27, D28, D35 (004): no owner on writes; unknown ids are made as given; PermissionError."""

    TABLES = (
        "CREATE TABLE seed_conversations (id text PRIMARY KEY, user_id text NOT NULL); "
        "CREATE TABLE seed_texts (id bigserial PRIMARY KEY, conversation_id text NOT NULL, text text)"
    )

    async def make(self, user: str) -> str:
        conversation = str(uuid4())
        await self.pool.execute("INSERT INTO seed_conversations VALUES ($1, $2)", conversation, user)
        return conversation

    async def write(self, user: str, conversation: str, text: str) -> None:
        await self.pool.execute("INSERT INTO seed_texts (conversation_id, text) VALUES ($1, $2)", conversation, text)

    async def texts(self, user: str, conversation: str) -> list[str]:
        rows = await self.pool.fetch("SELECT text FROM seed_texts WHERE conversation_id = $1", conversation)
        owner = await self.pool.fetchval("SELECT user_id FROM seed_conversations WHERE id = $1", conversation)
        if owner != user:
            raise PermissionError("Conversation not found")
        return [row["text"] for row in rows]

    async def enter(self, user: str, conversation: str) -> object:
        found = await self.pool.fetchval(
            "SELECT 1 FROM seed_conversations WHERE id = $1 AND user_id = $2", conversation, user
        )
        if found is None:
            await self.pool.execute("INSERT INTO seed_conversations VALUES ($1, $2)", conversation, user)
        return None

    def absent(self) -> str:
        return str(uuid4())


class RacyPool:
    """D37, D41 (003): the pool is made by whoever finds none, and kept for life, whatever event loop comes."""

    TABLES = "CREATE TABLE IF NOT EXISTS seed_first (id bigserial PRIMARY KEY, at timestamptz DEFAULT now())"

    def __init__(self, database: Database) -> None:
        self.database = database
        self.pools: list[Any] = []
        self.pool: Any = None

    def fresh(self) -> Starter:
        return type(self)(self.database)

    async def open(self) -> None:
        """Nothing: it connects when it is first used."""

    async def connect(self) -> None:
        if self.pool is None:
            pool = await asyncpg.create_pool(**self.database.dsn.connect_arguments(), min_size=10, max_size=10)
            self.pools.append(pool)
            await pool.execute("SELECT 1")
            self.pool = pool

    async def reach(self) -> None:
        """It is part of the first use."""

    async def use(self) -> None:
        await self.connect()
        await self.pool.fetchval("SELECT 1")

    async def forget_tables(self) -> None:
        connection = await asyncpg.connect(**self.database.dsn.connect_arguments())
        await connection.execute("DROP TABLE IF EXISTS seed_first")
        await connection.close()

    async def close(self) -> None:
        for pool in self.pools:
            pool.terminate()
        self.pools, self.pool = [], None


class PoolBeforeTables(RacyPool):
    """D38 (003): the pool, made once under a lock, is there for all before its tables are."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.opening = asyncio.Lock()

    async def connect(self) -> None:
        async with self.opening:
            if self.pool is not None:
                return
            self.pool = await asyncpg.create_pool(**self.database.dsn.connect_arguments(), min_size=6, max_size=6)
            self.pools.append(self.pool)
        await self.pool.execute(self.TABLES)

    async def use(self) -> None:
        await self.connect()
        await self.pool.fetch("SELECT id FROM seed_first")


class CreateIfNotExists(RacyPool):
    """D39 (003): every process creates the tables, ``IF NOT EXISTS``, when it first connects."""

    async def reach(self) -> None:
        self.pool = await asyncpg.create_pool(**self.database.dsn.connect_arguments(), min_size=1, max_size=1)
        self.pools.append(self.pool)

    async def use(self) -> None:
        await self.pool.execute(self.TABLES)


class ConnectionForLife(RacyPool):
    """D45: one connection, opened at the start and trusted ever after."""

    async def connect(self) -> None:
        if self.pool is None:
            self.pool = await asyncpg.connect(**self.database.dsn.connect_arguments())
            self.pools.append(self.pool)

    async def use(self) -> None:
        await self.connect()
        await self.pool.fetchval("SELECT 1")


class DriverTakesTheUrl(SeedStore):
    """D42: the URL goes to the driver as it is."""

    TABLES = "SELECT 1"
    SIZE = 1

    async def connect(self, url: str) -> None:
        connection = await asyncpg.connect(url)
        await connection.close()


class NullableStatus(SeedStore):
    """D49, D54 (001): a status that may be NULL, for which its CHECK is no bar; a parent without cascade."""

    TABLES = (
        "CREATE TABLE seed_shelf (id text PRIMARY KEY, status text DEFAULT 'active' "
        "CHECK (status IN ('active', 'archived', 'deleted'))); "
        "CREATE TABLE seed_pages (conversation_id text NOT NULL REFERENCES seed_shelf (id), text text)"
    )

    async def make(self) -> str:
        conversation = str(uuid4())
        await self.pool.execute("INSERT INTO seed_shelf VALUES ($1)", conversation)
        await self.pool.execute("INSERT INTO seed_pages VALUES ($1, 'hi')", conversation)
        return conversation

    async def set_status(self, conversation: str, status: Any) -> None:
        await self.pool.execute("UPDATE seed_shelf SET status = $2 WHERE id = $1", conversation, status)

    async def listed(self) -> list[str]:
        return [row["id"] for row in await self.pool.fetch("SELECT id FROM seed_shelf WHERE status <> 'deleted'")]

    async def erase(self, conversation: str) -> None:
        await self.pool.execute("DELETE FROM seed_shelf WHERE id = $1", conversation)

    async def rows(self) -> int:
        found: int = await self.pool.fetchval(
            "SELECT (SELECT count(*) FROM seed_shelf) + (SELECT count(*) FROM seed_pages)"
        )
        return found
