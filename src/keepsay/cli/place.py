"""Which database a command works on: the options that every one of them takes, by environment too."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from keepsay.library.client import Keepsay
    from keepsay.store.postgres.dsn import Dsn

__all__ = ["AutoMigrate", "Place", "on_database"]


class AutoMigrate(StrEnum):
    """Which databases may be set up on first connect."""

    NEVER = "never"
    EMPTY = "empty"
    ALWAYS = "always"


DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        envvar="DATABASE_URL",
        metavar="URL",
        help="postgresql://... Without it: the embedded Postgres. The environment hides the password from `ps`.",
    ),
]
MigrationUrl = Annotated[
    str | None,
    typer.Option(
        envvar="DATABASE_URL_UNPOOLED",
        metavar="URL",
        help="The direct URL for migrations, where the other names a pooler (Neon's is known).",
    ),
]
SchemaName = Annotated[
    str, typer.Option(envvar="KEEPSAY_SCHEMA", metavar="NAME", help="The database schema that keepsay lives in.")
]
Home = Annotated[
    Path | None,
    typer.Option(envvar="KEEPSAY_HOME", metavar="FOLDER", help="Where the embedded Postgres keeps its data."),
]
MayMigrate = Annotated[
    AutoMigrate,
    typer.Option(
        envvar="KEEPSAY_AUTO_MIGRATE",
        help="Which databases to set up on first connect: none, empty ones, older ones too.",
    ),
]


@dataclass(frozen=True, slots=True)
class Place:
    """A database, or the embedded one, and the schema in it."""

    database_url: str | None
    migration_url: str | None
    schema: str
    home: Path | None
    auto_migrate: AutoMigrate = AutoMigrate.EMPTY

    @property
    def is_embedded(self) -> bool:
        return not self.database_url

    @property
    def may_migrate(self) -> AutoMigrate:
        """What ``auto_migrate`` comes to here."""
        from keepsay.library.client import of_embedded

        return AutoMigrate(of_embedded(self.auto_migrate.value)) if self.is_embedded else self.auto_migrate

    def open(self, *, pool_size: int = 2) -> Keepsay:
        """The library on this database; it connects when it is used. Raises ``ConfigurationError``."""
        from keepsay.library.client import Keepsay

        return Keepsay(
            self.database_url,
            schema=self.schema,
            auto_migrate=self.auto_migrate.value,
            migration_url=self.migration_url,
            pool_size=pool_size,
            home=self.home,
        )

    def environment(self, *, pool_size: int) -> dict[str, str]:
        """The variables by which ``Keepsay()`` finds this database."""
        found = {
            "DATABASE_URL": self.database_url,
            "DATABASE_URL_UNPOOLED": self.migration_url,
            "KEEPSAY_SCHEMA": self.schema,
            "KEEPSAY_HOME": self.home,
            "KEEPSAY_AUTO_MIGRATE": self.auto_migrate.value,
            "KEEPSAY_POOL_SIZE": pool_size,
        }
        return {name: str(value) for name, value in found.items() if value is not None}

    @asynccontextmanager
    async def address(self, *, for_migrations: bool = False) -> AsyncIterator[Dsn]:
        """Where the database is; the embedded one runs meanwhile. Raises ``ConfigurationError``, ``Unavailable``."""
        from keepsay.store.postgres.dsn import parse_dsn

        url = (for_migrations and self.migration_url) or self.database_url
        if self.database_url and url:
            yield parse_dsn(url)
            return
        from keepsay.embedded import EmbeddedPostgres

        server = EmbeddedPostgres(self.home)
        try:
            yield parse_dsn(await asyncio.to_thread(server.start))
        finally:
            await asyncio.to_thread(server.stop)


def on_database(*, auto_migrate: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command that takes a ``Place`` first into one that takes the options which name it, last."""
    extra = {"database_url": DatabaseUrl, "migration_url": MigrationUrl, "schema": SchemaName, "home": Home}
    defaults: dict[str, object] = {"schema": "keepsay", "auto_migrate": AutoMigrate.EMPTY}
    if auto_migrate:
        extra["auto_migrate"] = MayMigrate
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults.get(name), annotation=annotation)
        for name, annotation in extra.items()
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_options(**given: Any) -> None:
            place = Place(**{name: given.pop(name) for name in extra})
            command(place, **given)

        signature = inspect.signature(command, eval_str=True)
        _place, *own = signature.parameters.values()
        with_options.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
        return with_options

    return decorate
