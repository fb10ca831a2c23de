"""Databases as earlier releases left them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from keepsay.store.postgres import migrate as migrate_module
from keepsay.store.postgres.dsn import Dsn
from keepsay.store.postgres.migrate import migrate
from keepsay.store.postgres.sqltext import load_migrations, load_secure

_LATER_TABLES = {2: ("allowances",)}
"""The tables that a migration brought, for which ``secure.sql`` grants nothing before it."""


@contextmanager
def release_with(version: int) -> Iterator[None]:
    """As if this release knew the migrations up to ``version`` alone."""

    def load_secure_then(schema: str) -> str:
        text = load_secure(schema)
        for table in (table for at, tables in _LATER_TABLES.items() if at > version for table in tables):
            assert text.count(f",\n            {schema}.{table}\n") == 1
            text = text.replace(f",\n            {schema}.{table}\n", "\n")
        return text

    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(migrate_module, "load_migrations", lambda schema: load_migrations(schema)[:version])
        patch.setattr(migrate_module, "load_secure", load_secure_then)
        yield


async def make_older(dsn: Dsn, version: int) -> None:
    """Set an empty database up as the release with this schema did."""
    with release_with(version):
        await migrate(dsn, "keepsay")
