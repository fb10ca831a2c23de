"""keepsay behind the small interfaces of the checks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from keepsay import Keepsay, assistant
from keepsay.errors import ConversationBusy, NotFound, RoleOrderError
from keepsay.library.messages import user as said
from keepsay.model.ids import ConversationId
from keepsay.model.messages import NewMessage
from keepsay.store.postgres.dsn import parse_dsn
from keepsay.store.postgres.parameters import plan_parameters
from keepsay.store.postgres.sqltext import DEFAULT_SCHEMA, load_calls
from keepsay.store.postgres.store import PostgresStore
from keepsay.store.protocol import Owner
from keepsay.testing import build
from keepsay.testing.postgres import Database

from .checks import AT_ONCE, Starter, connected


class Ours:
    """keepsay on a database, one user, a lenient conversation."""

    SIZE = AT_ONCE

    def __init__(self, database: Database) -> None:
        self.database = database
        self.keepsay = Keepsay(store=PostgresStore(database.dsn, max_size=self.SIZE))
        self.user = self.keepsay.user("ada")
        self.conversation: UUID = uuid4()

    async def open(self) -> None:
        self.conversation = (await self.user.create(role_policy="lenient")).id

    async def close(self) -> None:
        await self.keepsay.close()


class OurHistory(Ours):
    async def append(self, *texts: str) -> None:
        await self.user.append(self.conversation, *texts)

    async def append_on(self, connection: Any, text: str) -> None:
        """The very statement of the store, in the transaction of another connection."""
        given = build.append(NewMessage({"role": "user", "content": text}))
        await connection.fetch(
            load_calls(DEFAULT_SCHEMA)["append"],
            Owner.of(self.user.user_id).key,
            self.conversation,
            given.key,
            given.fingerprint,
            *(None, None, None, None),
            *plan_parameters(given.plan),
        )

    async def append_with_a_bad_one(self, before: str, after: str) -> None:
        """The second message of the batch takes the client id of the first: the table's own index refuses it."""
        first, second = (NewMessage({"role": "user", "content": text}, client_id="c") for text in (before, "bad"))
        await self.user.append(self.conversation, first, second, after)

    async def read(self) -> list[str]:
        return [text async for text in self._texts()]

    async def _texts(self) -> Any:
        after = 0
        while True:
            page = await self.user.messages(self.conversation, after=after, limit=200)
            for message in page.items:
                yield message.content
            if not page.has_more:
                return
            after = page.items[-1].seq

    async def newest(self, limit: int) -> list[str]:
        page = await self.user.messages(self.conversation, limit=limit, newest_first=True)
        return [str(message.content) for message in reversed(page.items)]

    async def poll(self, after: int) -> tuple[list[str], int]:
        page = await self.user.messages(self.conversation, after=after)
        return [str(message.content) for message in page.items], page.items[-1].seq if page.items else after


class OurRoles(Ours):
    """A strict conversation takes one of many user messages."""

    async def reset(self) -> None:
        self.conversation = (await self.user.create()).id

    async def enter(self, number: int) -> bool:
        try:
            await self.user.append(self.conversation, str(number))
        except RoleOrderError:
            return False
        return True


class OurRuns(OurRoles):
    """A conversation takes one of many runs."""

    async def enter(self, number: int) -> bool:
        given = build.begin(f"user: {number}")
        try:
            await self.keepsay.store.begin(Owner.of(self.user.user_id), ConversationId(self.conversation), given)
        except ConversationBusy:
            return False
        return True


class OurKeys(Ours):
    async def find_or_make(self, key: str) -> object:
        return (await self.user.create(external_key=key)).id


class OurTurns(Ours):
    SIZE = 5

    async def answer(self, model: Callable[[], Awaitable[None]]) -> None:
        conversation = await self.user.create()
        async with self.user.run(conversation.id, "hi") as run:
            await model()
            await run.finish(assistant("hello"))

    async def look(self) -> None:
        await self.user.get(self.conversation)


class OurDoor(Ours):
    async def make(self, user: str) -> str:
        return str((await self.keepsay.user(user).create()).id)

    async def write(self, user: str, conversation: str, text: str) -> None:
        await self.keepsay.user(user).append(conversation, text)

    async def texts(self, user: str, conversation: str) -> list[str]:
        return [str(message.content) for message in (await self.keepsay.user(user).messages(conversation)).items]

    async def enter(self, user: str, conversation: str) -> object:
        return await self.keepsay.user(user).load_or_create(conversation)

    def absent(self) -> str:
        return str(uuid4())


class OurStart(Ours):
    SIZE = 10

    async def open(self) -> None:
        """Nothing: it connects when it is first used."""

    def fresh(self) -> Starter:
        return OurStart(self.database)

    async def reach(self) -> None:
        """It cannot: the first call does both."""

    async def use(self) -> None:
        """Any call; the answer is that there is no such conversation."""
        try:
            await self.user.get(self.conversation)
        except NotFound:
            return

    async def forget_tables(self) -> None:
        async with connected(self.database) as connection:
            await connection.execute(f"DROP SCHEMA {DEFAULT_SCHEMA} CASCADE")


class OurUrl(Ours):
    async def connect(self, url: str) -> None:
        connection = await asyncpg.connect(**parse_dsn(url).connect_arguments())
        await connection.close()


class OurShelf(Ours):
    async def make(self) -> str:
        await self.user.delete(self.conversation, hard=True)
        return str((await self.user.create(messages=[said("hi")])).id)

    async def set_status(self, conversation: str, status: Any) -> None:
        await self.user.update(conversation, status=status)

    async def listed(self) -> list[str]:
        return [str(conversation.id) for conversation in (await self.user.list()).items]

    async def erase(self, conversation: str) -> None:
        await self.user.delete(conversation, hard=True)

    async def rows(self) -> int:
        async with connected(self.database) as connection:
            found: int = await connection.fetchval(
                f"SELECT (SELECT count(*) FROM {DEFAULT_SCHEMA}.conversations) "
                f"+ (SELECT count(*) FROM {DEFAULT_SCHEMA}.messages)"
            )
            return found
