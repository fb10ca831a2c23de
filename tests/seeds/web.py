"""The seeds' web patterns, as FastAPI applications, and keepsay's server beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Protocol

import httpx
from fastapi import Depends, FastAPI

from keepsay import Keepsay
from keepsay.server import Settings, create_app
from keepsay.store.postgres.store import PostgresStore
from keepsay.testing.postgres import Database


class Site(Protocol):
    """A web application about conversations."""

    CONVERSATIONS: str

    async def get(self, path: str) -> int:
        """The status of the answer."""


async def check_the_absent_is_a_404(site: Site) -> None:
    status = await site.get(f"{site.CONVERSATIONS}/01890a5d-ac96-774b-bcce-b302099a8057")
    assert status == 404, f"it answers {status}"


async def check_active_is_a_list(site: Site) -> None:
    status = await site.get(f"{site.CONVERSATIONS}/active")
    assert status == 200, f"it answers {status}"


async def check_a_session_reaches_the_route(site: Site) -> None:
    status = await site.get(site.CONVERSATIONS)
    assert status == 200, f"it answers {status}"


async def _status_of(app: FastAPI, path: str) -> int:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return (await client.get(path)).status_code


class SeedSite:
    """Opened and closed as the seed stores are; it needs no database to go wrong."""

    CONVERSATIONS = "/conversations"

    def __init__(self, database: Database) -> None:
        self.database = database
        self.app = FastAPI()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def get(self, path: str) -> int:
        return await _status_of(self.app, path)


class PermissionErrors(SeedSite):
    """D35 (004): not found is a ``PermissionError``, which no handler knows."""

    async def open(self) -> None:
        @self.app.get("/conversations/{conversation_id}")
        async def one(conversation_id: str) -> None:
            raise PermissionError("Conversation not found")


class ActiveAfterId(SeedSite):
    """D56 (001): the route of one conversation stands before that of the active ones."""

    async def open(self) -> None:
        @self.app.get("/conversations/{conversation_id}")
        async def one(conversation_id: str) -> None:
            from fastapi import HTTPException

            raise HTTPException(404)

        @self.app.get("/conversations/active")
        async def active() -> list[str]:
            return []


@asynccontextmanager
async def _session() -> AsyncIterator[list[str]]:
    yield []


class DependsOnAContextManager(SeedSite):
    """D55 (002 with 004's helper): the dependency is the context manager and not what it gives."""

    async def open(self) -> None:
        @self.app.get("/conversations")
        async def many(session: Annotated[list[str], Depends(_session)]) -> int:
            return len(session)


class OurSite:
    """keepsay's server."""

    CONVERSATIONS = "/api/conversations"

    def __init__(self, database: Database) -> None:
        self.keepsay = Keepsay(store=PostgresStore(database.dsn))
        self.app = create_app(self.keepsay, settings=Settings())

    async def open(self) -> None: ...

    async def close(self) -> None:
        await self.keepsay.close()

    async def get(self, path: str) -> int:
        return await _status_of(self.app, path)
