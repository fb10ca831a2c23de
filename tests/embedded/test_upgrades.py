"""A database that an earlier release left is brought up to date when it is next used: nobody else would do it."""

from __future__ import annotations

import asyncio

import pytest
from tests.postgres.older import make_older
from tests.postgres.sessions import ask

from keepsay import Allowance, ConfigurationError, Keepsay, SchemaMismatch
from keepsay.store.postgres.dsn import Dsn, parse_dsn
from keepsay.store.postgres.sqltext import load_migrations

from .running import Place

NEWEST = load_migrations("keepsay")[-1].version


async def versions_in(dsn: Dsn) -> list[int]:
    return [row[0] for row in await ask(dsn, "SELECT version FROM keepsay.migrations ORDER BY version")]


def keepsay_of(place: Place, monkeypatch: pytest.MonkeyPatch, auto_migrate: str | None) -> Keepsay:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("KEEPSAY_POSTGRES_BIN", str(place.binaries))
    if auto_migrate is not None:
        monkeypatch.setenv("KEEPSAY_AUTO_MIGRATE", auto_migrate)
    return Keepsay(home=place.home)


@pytest.mark.parametrize("auto_migrate", [None, "empty", "always"])
async def test_an_older_embedded_database_is_migrated_on_first_use(
    place: Place, monkeypatch: pytest.MonkeyPatch, auto_migrate: str | None
) -> None:
    with place.application() as other:
        dsn = parse_dsn(other.dsn)
        await make_older(dsn, 1)
        async with keepsay_of(place, monkeypatch, auto_migrate) as ks:
            user = ks.user("ada")
            conversation = await user.create()
            async with user.run(conversation.id, "hi", allowance=Allowance(per_day=1)) as run:
                assert run.attempt == 1
        assert await versions_in(dsn) == [*range(1, NEWEST + 1)]


async def test_never_leaves_an_embedded_database_alone_and_says_what_to_do(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with place.application() as other:
        dsn = parse_dsn(other.dsn)
        async with keepsay_of(place, monkeypatch, "never") as ks:
            with pytest.raises(ConfigurationError, match="keepsay migrate"):
                await ks.user("ada").create()
            await make_older(dsn, 1)
            with pytest.raises(SchemaMismatch, match="keepsay migrate"):
                await ks.user("ada").create()
        assert await versions_in(dsn) == [1]


async def test_programs_that_come_at_once_migrate_it_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with place.application() as other:
        dsn = parse_dsn(other.dsn)
        await make_older(dsn, 1)
        several = [keepsay_of(place, monkeypatch, None) for _ in range(4)]
        await asyncio.gather(*(ks.user("ada").create() for ks in several))
        await asyncio.gather(*(ks.close() for ks in several))
        assert await versions_in(dsn) == [*range(1, NEWEST + 1)]
