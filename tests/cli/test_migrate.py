"""``keepsay migrate``: before and after, by other means, and for another role."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from keepsay.store.postgres.dsn import Dsn
from keepsay.store.postgres.sqltext import load_migrations

from .conftest import Script
from .program import NOWHERE, doctor, keepsay, url_of

NAMES = [step.name for step in load_migrations("keepsay")]
LoginAs = Callable[[Dsn, str], Awaitable[Dsn]]


def test_check_exits_with_1_before_and_0_after(each_empty_database: Dsn) -> None:
    url = url_of(each_empty_database)
    before = keepsay("migrate", "--check", DATABASE_URL=url)
    assert (before.code, before.out) == (1, "".join(f"pending  {name}\n" for name in NAMES))
    done = keepsay("migrate", DATABASE_URL=url)
    assert done.code == 0
    for name in NAMES:
        assert f"applied  {name}\n" in done.out
        assert f"applying migration {name} " in done.err
    after = keepsay("migrate", "--check", DATABASE_URL=url)
    assert (after.code, after.out) == (0, "Schema keepsay is current.\n")
    assert "applied" not in keepsay("migrate", DATABASE_URL=url).out


def test_json_tells_the_same(empty_database: Dsn) -> None:
    url = url_of(empty_database)
    assert keepsay("migrate", "--check", "--json", "--database-url", url).json == {
        "schema": "keepsay",
        "pending": NAMES,
        "current": False,
    }
    assert keepsay("migrate", "--json", "--database-url", url).json == {
        "schema": "keepsay",
        "applied": NAMES,
        "current": True,
    }


def test_the_schema_may_have_another_name(empty_database: Dsn) -> None:
    there = {"DATABASE_URL": url_of(empty_database), "KEEPSAY_SCHEMA": "talk"}
    assert keepsay("migrate", **there).code == 0
    assert keepsay("migrate", "--check", **there).code == 0
    assert keepsay("migrate", "--check", "--schema", "keepsay", **there).code == 1


async def test_the_printed_sql_does_the_same_when_run_by_other_means(empty_database: Dsn, script: Script) -> None:
    url = url_of(empty_database)
    printed = keepsay("migrate", "--sql", DATABASE_URL=url)
    assert printed.code == 0
    assert keepsay("migrate", "--check", DATABASE_URL=url).code == 1  # printing changes nothing
    await script(empty_database, printed.out)
    assert keepsay("migrate", "--check", DATABASE_URL=url).code == 0
    assert keepsay("migrate", "--sql", DATABASE_URL=url).out == "-- Nothing is pending in schema keepsay.\n"


def test_all_the_sql_is_printed_without_asking_a_database(url: str) -> None:
    everything = keepsay("migrate", "--sql", "--all", DATABASE_URL=NOWHERE)
    assert everything.code == 0
    assert everything.out.startswith("BEGIN;")
    assert keepsay("migrate", "--sql", "--all", DATABASE_URL=url).out == everything.out
    assert keepsay("migrate", "--sql", KEEPSAY_HOME="/nonexistent").out == everything.out  # no database is named


@pytest.mark.parametrize("words", [["--check"], ["--sql"], []])
def test_an_unreachable_database_is_exit_code_3(words: list[str]) -> None:
    ran = keepsay("migrate", *words, DATABASE_URL=NOWHERE)
    assert (ran.code, ran.out) == (3, "")
    assert "cannot be reached" in ran.err
    assert "s3cret" not in ran.err


@pytest.mark.parametrize("words", [["--check", "--sql"], ["--all"], ["--sql", "--json"], ["--no-such"]])
def test_contradictory_options_are_exit_code_2(words: list[str]) -> None:
    assert keepsay("migrate", *words, DATABASE_URL=NOWHERE).code == 2


async def test_the_printed_grants_let_another_role_work_and_no_more(
    empty_database: Dsn, script: Script, login_as: LoginAs
) -> None:
    app = await login_as(empty_database, "")
    printed = keepsay("migrate", DATABASE_URL=url_of(empty_database)).out
    grants = "\n".join(line for line in printed.splitlines() if line.startswith("GRANT"))
    request = '{"user_id": "ann", "context": "hello"}'
    assert keepsay("session", stdin=request, DATABASE_URL=url_of(app)).code == 3
    for left_out in grants.splitlines():  # every one of them is needed
        await script(empty_database, grants.replace(left_out, "").replace(" app;", f" {app.user};"))
        assert keepsay("session", stdin=request, DATABASE_URL=url_of(app)).code == 3
        await script(empty_database, f"DROP OWNED BY {app.user}")
    await script(empty_database, grants.replace(" app;", f" {app.user};"))
    assert keepsay("session", stdin=request, DATABASE_URL=url_of(app)).json["head"] == 1
    assert keepsay("migrate", "--check", DATABASE_URL=url_of(app)).code == 0
    for forbidden in (
        "SELECT * FROM keepsay.messages",
        "DELETE FROM keepsay.users",
        "UPDATE keepsay.migrations SET version = 2",
        "CREATE TABLE keepsay.mine ()",
        "SET ROLE keepsay_functions",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await script(app, forbidden)


async def test_a_role_that_may_make_roles_gets_the_second_wall(
    each_empty_database: Dsn, script: Script, login_as: LoginAs
) -> None:
    """As on Neon, where nobody is superuser. From Postgres 16 on it is no full member of the roles that it makes."""
    # The role of the functions may be there from another test: a schema of its own has one of its own.
    schema = f"s_{each_empty_database.database}"[:40]
    migrator = await login_as(each_empty_database, "CREATEROLE BYPASSRLS")
    await script(each_empty_database, f"GRANT CREATE ON DATABASE {each_empty_database.database} TO {migrator.user}")
    there = {"DATABASE_URL": url_of(migrator), "KEEPSAY_SCHEMA": schema}
    migrated = keepsay("migrate", **there)
    assert (migrated.code, "isolation rests" in migrated.err) == (0, False)
    _, found = doctor(**there)
    assert found["row-level security"]["level"] == "ok"
    await script(each_empty_database, f"DROP SCHEMA {schema} CASCADE; DROP OWNED BY {schema}_functions")
    await script(each_empty_database, f"DROP ROLE {schema}_functions")
