"""The way in: ``Keepsay``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypedDict, get_args

from keepsay.errors import ConfigurationError, InvalidCursor, InvalidInput
from keepsay.library.scope import UserScope, check_page
from keepsay.model import limits
from keepsay.model.ids import UserId, checked_user_id
from keepsay.store.postgres.dsn import Dsn, parse_dsn
from keepsay.store.postgres.pool import AutoMigrate
from keepsay.store.postgres.sqltext import DEFAULT_SCHEMA
from keepsay.store.postgres.store import PostgresStore
from keepsay.store.protocol import Store


class Options(TypedDict, total=False):
    """The keyword arguments of ``Keepsay``."""

    schema: str | None
    auto_migrate: AutoMigrate | None
    migration_url: str | None
    pool_size: int
    home: str | os.PathLike[str] | None
    store: Store | None


class Keepsay:
    """Conversations on a Postgres database.

    ``database_url``: by default the environment's ``DATABASE_URL``; without one keepsay runs a real Postgres of its own
    (extra ``embedded``), which keeps its data under ``KEEPSAY_HOME``. Making the object does nothing yet: it connects
    when it is first used, on the event loop that uses it. Close it, or use it as an async context manager.

    ``schema`` (``KEEPSAY_SCHEMA``): the database schema to live in. ``auto_migrate`` (``KEEPSAY_AUTO_MIGRATE``): which
    databases are set up on first connect: ``never``, ``empty`` ones (default), or ``always`` older ones too. Its own
    database keepsay always brings up to date, unless ``never``.
    ``migration_url`` (``DATABASE_URL_UNPOOLED``): the direct URL where the other names a pooler. ``pool_size``
    (``KEEPSAY_POOL_SIZE``): the most connections, 10 unless told. ``home``: see ``KEEPSAY_HOME``. ``store``: another
    store instead, such as ``MemoryStore``.
    """

    def __init__(
        self,
        database_url: str | None = None,
        *,
        schema: str | None = None,
        auto_migrate: AutoMigrate | None = None,
        migration_url: str | None = None,
        pool_size: int | None = None,
        home: str | os.PathLike[str] | None = None,
        store: Store | None = None,
    ) -> None:
        self._embedded: _Embedded | None = None
        if store is None:
            url = database_url or os.environ.get("DATABASE_URL") or None
            direct = migration_url or os.environ.get("DATABASE_URL_UNPOOLED") or None
            self._embedded = _Embedded(home) if url is None else None
            store = PostgresStore(
                self._embedded or parse_dsn(url or ""),
                schema=schema or os.environ.get("KEEPSAY_SCHEMA") or DEFAULT_SCHEMA,
                auto_migrate=_auto_migrate(
                    auto_migrate or os.environ.get("KEEPSAY_AUTO_MIGRATE") or "empty", embedded=url is None
                ),
                max_size=_pool_size() if pool_size is None else pool_size,
                migration_dsn=parse_dsn(direct) if direct is not None and url is not None else None,
            )
        self._store = store

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def store(self) -> Store:
        """The store underneath; its verbs are no public promise."""
        return self._store

    def user(self, user_id: str) -> UserScope:
        """The scope of one user: an opaque text of 1 to 255 bytes that your application authenticated.

        Raises ``InvalidInput`` for what cannot be one: control characters, ``/``, ``.``, ``..``, not in NFC.
        """
        return UserScope(self._store, checked_user_id(user_id))

    def admin(self) -> Admin:
        """What operators may do across users. Never hand it to a request of a user."""
        return Admin(self._store)

    async def close(self) -> None:
        """Close the connections and, if nobody else uses it, stop the embedded Postgres."""
        await self._store.close()
        if self._embedded is not None:
            await self._embedded.stop()


@dataclass(frozen=True, slots=True)
class UserPage:
    """Part of the users; pass ``next_cursor`` on for the next part. It is ``None`` on the last."""

    items: tuple[UserId, ...]
    next_cursor: str | None

    @property
    def has_more(self) -> bool:
        return self.next_cursor is not None


def _user_at(cursor: str) -> UserId:
    try:
        return checked_user_id(cursor)
    except InvalidInput:
        raise InvalidCursor from None


def _pool_size() -> int:
    text = os.environ.get("KEEPSAY_POOL_SIZE") or "10"
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 10_000):
        raise ConfigurationError(f"KEEPSAY_POOL_SIZE is a whole number from 1 on, not {text!r}.")
    return int(text)


class Admin:
    """Operators' view: who there is. What users said is behind ``Keepsay.user`` alone."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def users(self) -> AsyncIterator[UserId]:
        """The ids of all users."""
        after: UserId | None = None
        while found := await self._store.users(after=after, limit=limits.PAGE_MAX):
            for user_id in found:
                yield user_id
            after = found[-1]

    async def list_users(self, *, limit: int = limits.PAGE_DEFAULT, cursor: str | None = None) -> UserPage:
        """Ids of users in the order of their bytes, page by page. Raises ``InvalidCursor``, ``InvalidInput``."""
        check_page(limit)
        found = await self._store.users(after=None if cursor is None else _user_at(cursor), limit=limit + 1)
        return UserPage(tuple(found[:limit]), found[limit - 1] if len(found) > limit else None)


def of_embedded(choice: AutoMigrate) -> AutoMigrate:
    """What a choice comes to for the embedded database: nobody but keepsay would bring an older one up to date."""
    return "never" if choice == "never" else "always"


class _Server(Protocol):
    def start(self) -> str: ...
    def stop(self) -> None: ...


class _Embedded:
    """Starts the embedded Postgres when its address is first asked for."""

    def __init__(self, home: str | os.PathLike[str] | None) -> None:
        self._home = None if home is None else Path(home)
        self._server: _Server | None = None

    async def __call__(self) -> Dsn:
        if self._server is None:
            from keepsay.embedded import EmbeddedPostgres

            self._server = EmbeddedPostgres(self._home)
        return parse_dsn(await asyncio.to_thread(self._server.start))

    async def stop(self) -> None:
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)


def _auto_migrate(text: str, *, embedded: bool) -> AutoMigrate:
    for choice in get_args(AutoMigrate):
        if text == choice:
            found: AutoMigrate = choice
            return of_embedded(found) if embedded else found
    raise ConfigurationError(f"KEEPSAY_AUTO_MIGRATE is one of {', '.join(get_args(AutoMigrate))}, not {text!r}.")
