"""Migrations: once, in order, whoever else is at it; what does not fit is refused with words that help."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from keepsay.errors import ConfigurationError, KeepsayError, SchemaMismatch
from keepsay.model.allowance import Allowance
from keepsay.store.postgres import migrate as migrate_module
from keepsay.store.postgres.dsn import Dsn
from keepsay.store.postgres.migrate import SchemaState, migrate, migration_sql, read_schema_state
from keepsay.store.postgres.pool import AutoMigrate
from keepsay.store.postgres.sqltext import Migration, load_migrations
from keepsay.store.postgres.store import PostgresStore
from keepsay.testing.postgres import Database
from keepsay.testing.talk import start_talk
from keepsay.testing.wire import CountingProxy

from .catalog import read_catalog, read_ledger
from .older import make_older, release_with
from .sessions import ask, execute, session

Login = Callable[[Dsn, str], Awaitable[Dsn]]

PINS = Path(__file__).with_name("data") / "migrations.sha256"
RELEASED = load_migrations("keepsay")
NAMES = [step.name for step in RELEASED]
NEWEST = RELEASED[-1].version
LATER = Migration(NEWEST + 1, f"{NEWEST + 1:04}_later", "checksum", "CREATE TABLE keepsay.later (n integer);")


def names(steps: object) -> list[str]:
    assert isinstance(steps, tuple | list)
    return [step.name for step in steps]


async def state_of(dsn: Dsn, schema: str = "keepsay") -> SchemaState:
    async with session(dsn) as connection:
        return await read_schema_state(connection, schema)


async def connect(dsn: Dsn, auto_migrate: AutoMigrate = "empty", schema: str = "keepsay") -> None:
    """A first connect, which ends well or not."""
    store = PostgresStore(dsn, auto_migrate=auto_migrate, schema=schema)
    try:
        assert await store.users(after=None, limit=1) == []
    finally:
        await store.close()


@pytest.fixture
def later_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """This is a release with one migration more."""
    monkeypatch.setattr(migrate_module, "load_migrations", lambda _schema: (*RELEASED, LATER))


async def test_an_empty_database_is_migrated_once(empty_database: Dsn) -> None:
    assert await state_of(empty_database) == SchemaState((), RELEASED)
    assert names(await migrate(empty_database, "keepsay")) == NAMES
    state = await state_of(empty_database)
    assert (state.version, state.pending) == (NEWEST, ())
    before = await read_catalog(empty_database)
    assert names(await migrate(empty_database, "keepsay")) == []
    assert await read_catalog(empty_database) == before
    assert await read_ledger(empty_database) == [(step.version, step.name, step.checksum) for step in RELEASED]


async def test_ten_migrators_at_once_make_one_schema(empty_database: Dsn) -> None:
    done = await asyncio.gather(*(migrate(empty_database, "keepsay") for _ in range(10)))
    assert sorted(map(names, done)) == [[]] * 9 + [NAMES]
    assert [row[0] for row in await read_ledger(empty_database)] == [step.version for step in RELEASED]


async def test_ten_stores_at_once_set_up_one_schema_on_first_connect(
    empty_database: Dsn, caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.gather(*(connect(empty_database) for _ in range(10)))
    assert [record.getMessage() for record in caplog.records if "set up" in record.getMessage()] == [
        f"set up schema keepsay: {', '.join(NAMES)}"
    ]


async def test_thirty_first_calls_at_once_open_one_pool(newest_empty_database: Dsn) -> None:
    async with CountingProxy(newest_empty_database) as wire:
        store = PostgresStore(wire.dsn, max_size=4)
        await asyncio.gather(*(store.users(after=None, limit=1) for _ in range(30)))
        await store.close()
    assert wire.connections <= 4 + 1, "the pool's, and the one that migrated"


async def test_a_failed_set_up_is_not_remembered(newest_empty_database: Dsn, login_as: Login) -> None:
    role = await login_as(newest_empty_database, "")
    store = PostgresStore(role)
    for _ in range(2):
        with pytest.raises(KeepsayError):
            await store.users(after=None, limit=1)
    await execute(newest_empty_database, f"GRANT CREATE ON DATABASE {role.database} TO {role.user}")
    await asyncio.gather(*(store.users(after=None, limit=1) for _ in range(5)))
    await store.close()


async def test_a_migration_that_fails_leaves_nothing_behind(
    newest_empty_database: Dsn, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = dataclasses.replace(LATER, sql="CREATE TABLE keepsay.later (n integer); SELECT 1 / 0;")
    with monkeypatch.context() as release:
        release.setattr(migrate_module, "load_migrations", lambda _schema: (*RELEASED, broken))
        with pytest.raises(KeepsayError):
            await migrate(newest_empty_database, "keepsay")
    assert await ask(newest_empty_database, "SELECT to_regnamespace('keepsay')") == [(None,)]


async def test_never_leaves_an_empty_database_alone_and_says_what_to_do(newest_empty_database: Dsn) -> None:
    with pytest.raises(ConfigurationError, match="keepsay migrate"):
        await connect(newest_empty_database, "never")
    assert await ask(newest_empty_database, "SELECT to_regnamespace('keepsay')") == [(None,)]
    await migrate(newest_empty_database, "keepsay")
    await connect(newest_empty_database, "never")


@pytest.mark.usefixtures("later_release")
@pytest.mark.parametrize("auto_migrate", ["never", "empty"])
async def test_an_older_schema_is_refused(newest_database: Database, auto_migrate: AutoMigrate) -> None:
    with pytest.raises(SchemaMismatch) as refused:
        await connect(newest_database.dsn, auto_migrate)
    assert (refused.value.found, refused.value.wanted) == (NEWEST, LATER.version)
    assert await state_of(newest_database.dsn) == SchemaState((*range(1, NEWEST + 1),), (LATER,))


@pytest.mark.usefixtures("later_release")
async def test_always_brings_an_older_schema_up_to_date(newest_database: Database) -> None:
    await connect(newest_database.dsn, "always")
    assert (await state_of(newest_database.dsn)).pending == ()
    assert await ask(newest_database.dsn, "SELECT count(*) FROM keepsay.later") == [(0,)]


@pytest.mark.parametrize("version", range(1, NEWEST))
async def test_an_older_schema_becomes_what_a_new_one_is_and_keeps_what_was_said(
    database: Database, empty_database: Dsn, version: int
) -> None:
    await make_older(empty_database, version)
    assert await state_of(empty_database) == SchemaState((*range(1, version + 1),), RELEASED[version:])
    with release_with(version):
        older = PostgresStore(empty_database)
        talk = await start_talk(older, "user: hi")
        await older.close()
    with pytest.raises(SchemaMismatch, match="keepsay migrate") as refused:
        await talk.words()
    assert (refused.value.found, refused.value.wanted) == (version, NEWEST)
    assert names(await migrate(empty_database, "keepsay")) == NAMES[version:]
    assert await read_catalog(empty_database) == await read_catalog(database.dsn)
    begun = await talk.begin(allowance=Allowance(per_day=1))
    assert [m.content for m in begun.rows.messages] == ["hi"]
    assert await older.row_security()
    await older.close()


@pytest.mark.parametrize("auto_migrate", ["never", "empty", "always"])
async def test_only_always_migrates_a_schema_of_an_earlier_release(
    empty_database: Dsn, auto_migrate: AutoMigrate
) -> None:
    await make_older(empty_database, 1)
    if auto_migrate == "always":
        await connect(empty_database, auto_migrate)
        assert (await state_of(empty_database)).pending == ()
    else:
        with pytest.raises(SchemaMismatch, match="run `keepsay migrate`"):
            await connect(empty_database, auto_migrate)
        assert (await state_of(empty_database)).version == 1


async def test_a_release_before_this_one_goes_on_during_a_deploy(empty_database: Dsn) -> None:
    """It was started, its schema is migrated under it, and it starts anew."""
    await make_older(empty_database, NEWEST - 1)
    with release_with(NEWEST - 1):
        running, again = PostgresStore(empty_database), PostgresStore(empty_database)
        talk = await start_talk(running, "user: hi")
    await migrate(empty_database, "keepsay")
    with release_with(NEWEST - 1):
        for store in (running, again):
            assert (await store.page(talk.owner, talk.id, after=0, before=None, limit=9, newest=False)).head == 1
            await store.close()


@pytest.mark.parametrize("auto_migrate", ["never", "empty", "always"])
async def test_a_schema_of_the_next_release_is_accepted_and_a_newer_one_refused(
    newest_database: Database, auto_migrate: AutoMigrate
) -> None:
    add = "INSERT INTO keepsay.migrations (version, name, checksum) VALUES"
    await execute(newest_database.dsn, f"{add} ({NEWEST + 1}, 'next', '')")
    await connect(newest_database.dsn, auto_migrate)
    await execute(newest_database.dsn, f"{add} ({NEWEST + 2}, 'after', '')")
    with pytest.raises(SchemaMismatch) as refused:
        await connect(newest_database.dsn, auto_migrate)
    assert (refused.value.found, refused.value.wanted) == (NEWEST + 2, NEWEST)
    with pytest.raises(SchemaMismatch):
        await migrate(newest_database.dsn, "keepsay")


async def test_a_database_of_another_build_is_refused(newest_database: Database) -> None:
    await execute(newest_database.dsn, "UPDATE keepsay.migrations SET checksum = 'other' WHERE version = 1")
    told = f"{NAMES[0]} was applied to schema keepsay with other content"
    with pytest.raises(ConfigurationError, match=told):
        await connect(newest_database.dsn)
    with pytest.raises(ConfigurationError, match=told):
        await migrate(newest_database.dsn, "keepsay")


async def test_a_schema_that_was_made_beforehand_is_used_without_a_word(
    newest_empty_database: Dsn, caplog: pytest.LogCaptureFixture
) -> None:
    await execute(newest_empty_database, "CREATE SCHEMA keepsay")
    await migrate(newest_empty_database, "keepsay")
    assert caplog.records == []


async def test_another_schema_lives_beside_the_first(database: Database) -> None:
    await migrate(database.dsn, "second")
    first, second = PostgresStore(database.dsn), PostgresStore(database.dsn, schema="second")
    talks = [await start_talk(store, f"user: {n}") for n, store in enumerate((first, second))]
    for n, talk in enumerate(talks):
        assert await talk.words() == [f"user: {n}"]
        assert await talk.store.users(after=None, limit=9) == [talk.owner.user_id]
        await talk.store.close()
    await execute(
        database.dsn, "DROP SCHEMA second CASCADE; DROP OWNED BY second_functions; DROP ROLE second_functions"
    )


async def test_tables_of_the_same_names_elsewhere_are_neither_used_nor_touched(newest_empty_database: Dsn) -> None:
    await execute(newest_empty_database, "CREATE TABLE messages (n integer); CREATE TABLE migrations (n integer)")
    await connect(newest_empty_database)
    assert await ask(newest_empty_database, "SELECT count(*) FROM public.messages") == [(0,)]


@pytest.mark.parametrize("table", ["messages", "migrations"])
async def test_a_schema_of_the_same_name_that_holds_other_tables_is_refused_and_left_alone(
    newest_empty_database: Dsn, table: str
) -> None:
    await execute(newest_empty_database, f"CREATE SCHEMA keepsay; CREATE TABLE keepsay.{table} (n integer)")
    with pytest.raises(ConfigurationError):
        await connect(newest_empty_database)
    with pytest.raises(ConfigurationError):
        await migrate(newest_empty_database, "keepsay")
    left = "SELECT relname FROM pg_class WHERE relnamespace = 'keepsay'::regnamespace"
    assert await ask(newest_empty_database, left) == [(table,)]


async def test_the_sql_that_is_printed_makes_the_same_schema(empty_database: Dsn, database: Database) -> None:
    await migrate(empty_database, "keepsay")
    await execute(database.dsn, "DROP SCHEMA keepsay CASCADE")
    program = shutil.which("psql")
    assert program is not None, "this test runs psql: install a Postgres client"
    dsn = database.dsn
    where = {"PGHOST": str(dsn.host), "PGPORT": str(dsn.port), "PGUSER": str(dsn.user), "PGDATABASE": str(dsn.database)}
    done = await asyncio.to_thread(
        subprocess.run,
        [program, "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", "-"],
        input=migration_sql("keepsay"),
        env=os.environ | where,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert await read_catalog(dsn) == await read_catalog(empty_database)
    assert await read_ledger(dsn) == await read_ledger(empty_database)


async def test_migrating_says_what_it_applies(newest_empty_database: Dsn, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "keepsay.migrate"):
        await migrate(newest_empty_database, "keepsay")
    assert [record.getMessage() for record in caplog.records] == [
        f"applying migration {name} to schema keepsay" for name in NAMES
    ]


def test_a_migration_is_as_it_was_released() -> None:
    pinned = dict(line.split()[::-1] for line in PINS.read_text().splitlines())
    found = {step.name: step.checksum for step in RELEASED}
    if "KEEPSAY_PIN_MIGRATIONS" in os.environ:
        PINS.write_text("".join(f"{checksum}  {name}\n" for name, checksum in found.items()))
        pytest.skip("pinned anew")
    assert found == pinned, (
        "A migration changed. One that was released never does: write a new one. Until the first release, pin it anew "
        "with KEEPSAY_PIN_MIGRATIONS=1 python -m pytest tests/postgres/test_migrations.py -k as_it_was_released"
    )
