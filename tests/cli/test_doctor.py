"""``keepsay doctor`` against every kind of database: what it found, and that what it says mends it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.postgres.older import make_older

from keepsay.embedded import EmbeddedPostgres
from keepsay.store.postgres.dsn import Dsn, parse_dsn
from keepsay.store.postgres.sqltext import load_migrations
from keepsay.testing.pgbouncer import PgBouncer

from .conftest import Script
from .program import NOWHERE, Found, doctor, keepsay, url_of

NEWEST = load_migrations("keepsay")[-1].version
LoginAs = Callable[[Dsn, str], Awaitable[Dsn]]


def test_on_the_embedded_postgres_all_is_well_once_it_is_migrated(open_folder: Path) -> None:
    home = {"KEEPSAY_HOME": str(open_folder / "home")}
    before = keepsay("doctor", **home)
    assert before.code == 0
    assert "warning  migrations" in before.out
    assert keepsay("doctor", "--strict", **home).code == 1
    assert keepsay("migrate", **home).code == 0
    after = keepsay("doctor", "--strict", **home)
    assert (after.code, after.out.splitlines()[-1]) == (0, "All is well.")
    assert "embedded" in after.out
    assert "row-level security  binds on 6 tables, functions owned by keepsay_functions" in after.out
    assert "synchronous_commit=on, fsync=on, full_page_writes=on" in after.out


async def test_an_older_embedded_database_is_no_problem_as_the_first_use_mends_it(open_folder: Path) -> None:
    home = open_folder / "home"
    server = EmbeddedPostgres(home)
    await make_older(parse_dsn(await asyncio.to_thread(server.start)), 1)
    await asyncio.to_thread(server.stop)
    for auto_migrate, level in (("empty", "warning"), ("never", "problem")):
        _, found = doctor(KEEPSAY_HOME=str(home), KEEPSAY_AUTO_MIGRATE=auto_migrate)
        assert (found["migrations"]["level"], found["migrations"]["facts"]["applied"]) == (level, [1])


def test_a_server_that_may_lose_writes_is_a_problem(url: str) -> None:
    ran, found = doctor(DATABASE_URL=url)
    assert ran.code == 1
    assert [name for name, each in found.items() if each["level"] != "ok"] == ["durability"]
    mend = found["durability"]["mend"]
    assert mend is not None
    assert "fsync and full_page_writes" in mend
    assert "SET synchronous_commit = on" in mend


async def test_synchronous_commit_is_mended_by_what_the_doctor_says(database: Dsn, script: Script) -> None:
    url = url_of(database)
    await script(database, f"ALTER DATABASE {database.database} SET synchronous_commit = on")
    mend = doctor(DATABASE_URL=url)[1]["durability"]["mend"]
    assert mend is not None
    assert "synchronous_commit" not in mend


def test_what_it_tells_of_a_plain_server(url: str) -> None:
    _, found = doctor(DATABASE_URL=url)
    assert list(found) == [
        *("software", "database", "connection", "server", "pooler", "writes", "durability", "connections", "clock"),
        *("migrations", "privileges", "row-level security"),
    ]
    assert found["pooler"]["facts"] == {"named_as_pooled": False, "answers_logins_itself": False}
    assert str(found["server"]["facts"]["version"]).startswith("18")
    assert found["migrations"]["facts"] == {"schema": "keepsay", "applied": [*range(1, NEWEST + 1)], "pending": []}


def test_a_pooler_in_between_is_noticed_and_everything_works_through_it(database: Dsn) -> None:
    with PgBouncer(database, pool_size=1) as pooler:
        url = f"postgresql://{pooler.dsn.user}@127.0.0.1:{pooler.dsn.port}/{database.database}"
        _, found = doctor(DATABASE_URL=url)
        assert "looks like a pooler" in found["pooler"]["found"]
        assert found["row-level security"]["level"] == found["migrations"]["level"] == "ok"
        assert keepsay("migrate", "--check", DATABASE_URL=url).code == 0
        assert keepsay("migrate", DATABASE_URL=url).code == 0
        assert keepsay("session", stdin='{"user_id": "ann", "context": "hi"}', DATABASE_URL=url).code == 0


def test_an_unreachable_database_is_exit_code_3_and_shows_no_password() -> None:
    ran, found = doctor(DATABASE_URL=NOWHERE)
    assert ran.code == 3
    assert found["connection"]["level"] == "problem"
    text = keepsay("doctor", DATABASE_URL=NOWHERE)
    assert text.code == 3
    assert "Connect call failed" in text.out
    assert "s3cret" not in ran.out + ran.err + text.out + text.err


@pytest.mark.parametrize(("auto_migrate", "level"), [("empty", "warning"), ("always", "warning"), ("never", "problem")])
def test_an_empty_database_is_a_problem_only_if_nothing_will_set_it_up(
    empty_database: Dsn, auto_migrate: str, level: str
) -> None:
    _, found = doctor(DATABASE_URL=url_of(empty_database), KEEPSAY_AUTO_MIGRATE=auto_migrate)
    assert found["migrations"]["level"] == level


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            f"INSERT INTO keepsay.migrations VALUES ({NEWEST + 1}, 'next', ''), ({NEWEST + 2}, 'after', '')",
            f"this release knows {NEWEST}",
        ),
        ("UPDATE keepsay.migrations SET checksum = 'other'", "with other content"),
    ],
)
async def test_a_schema_of_another_build_is_a_problem(database: Dsn, script: Script, change: str, says: str) -> None:
    await script(database, change)
    ran, found = doctor(DATABASE_URL=url_of(database))
    assert (ran.code, found["migrations"]["level"]) == (1, "problem")
    assert says in found["migrations"]["found"]


async def test_a_role_without_privileges_is_let_in_by_what_the_doctor_says(
    database: Dsn, script: Script, login_as: LoginAs
) -> None:
    app = await login_as(database, "")
    ran, found = doctor(DATABASE_URL=url_of(app))
    assert (ran.code, found["privileges"]["level"]) == (1, "problem")
    await script(database, _sql_of(found["privileges"]))
    _, found = doctor(DATABASE_URL=url_of(app))
    assert found["privileges"]["level"] == found["row-level security"]["level"] == "ok"


async def test_where_no_role_can_be_made_the_doctor_warns_and_says_what_mends_it(
    each_empty_database: Dsn, script: Script, login_as: LoginAs
) -> None:
    migrator = await login_as(each_empty_database, "")
    await script(each_empty_database, f"GRANT CREATE ON DATABASE {each_empty_database.database} TO {migrator.user}")
    there = {"DATABASE_URL": url_of(migrator), "KEEPSAY_SCHEMA": f"s_{each_empty_database.database}"[:40]}
    migrated = keepsay("migrate", **there)
    assert (migrated.code, "isolation rests" in migrated.err) == (0, True)
    _, found = doctor(**there)
    assert found["row-level security"]["level"] == "warning"
    await script(each_empty_database, _sql_of(found["row-level security"]))
    assert keepsay("migrate", **there).code == 0
    _, found = doctor(**there)
    assert found["row-level security"]["level"] == "ok"
    schema = there["KEEPSAY_SCHEMA"]
    await script(each_empty_database, f"DROP SCHEMA {schema} CASCADE; DROP OWNED BY {schema}_functions")
    await script(each_empty_database, f"DROP ROLE {schema}_functions")


def _sql_of(finding: Found) -> str:
    lines = (finding["mend"] or "").splitlines()
    return "\n".join(line.removeprefix("As a superuser: ") for line in lines if line.endswith(";"))


@pytest.mark.parametrize(
    ("change", "level", "says"),
    [
        ("ALTER TABLE keepsay.messages NO FORCE ROW LEVEL SECURITY", "problem", "not in force on messages"),
        ("DROP POLICY own_rows ON keepsay.runs", "problem", "not in force on runs"),
        ("ALTER FUNCTION keepsay.health_v2 OWNER TO CURRENT_USER", "warning", "who goes round it"),
        (
            "GRANT USAGE ON SCHEMA keepsay TO PUBLIC; GRANT EXECUTE ON FUNCTION keepsay.health_v2 TO PUBLIC",
            "problem",
            "every role may call",
        ),
    ],
)
async def test_a_second_wall_that_was_taken_down_is_noticed(
    database: Dsn, script: Script, change: str, level: str, says: str
) -> None:
    await script(database, change)
    ran, found = doctor(DATABASE_URL=url_of(database))
    assert ran.code == 1
    assert found["row-level security"]["level"] == level
    assert says in found["row-level security"]["found"]


async def test_a_function_that_is_gone_is_a_problem_of_the_schema(database: Dsn, script: Script) -> None:
    await script(database, "DROP FUNCTION keepsay.health_v2")
    ran, found = doctor(DATABASE_URL=url_of(database))
    assert (ran.code, found["schema"]["level"]) == (1, "problem")


async def test_a_read_only_database_is_a_problem(database: Dsn, script: Script) -> None:
    await script(database, f"ALTER DATABASE {database.database} SET default_transaction_read_only = on")
    ran, found = doctor(DATABASE_URL=url_of(database))
    assert (ran.code, found["writes"]["level"]) == (1, "problem")


def test_a_url_that_is_none_is_a_wrong_setting() -> None:
    ran = keepsay("doctor", DATABASE_URL="mysql://root:s3cret@db")
    assert ran.code == 2
    assert ran.err == "error: The database URL must begin with postgresql:// or postgres://.\n"
