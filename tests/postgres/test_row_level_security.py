"""Two walls stand between users: every statement names the user, and row-level security. Either is enough alone."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import asyncpg
import pytest
from pytest_postgresql.executors import NoopExecutor

from keepsay.errors import KeepsayError
from keepsay.model.allowance import Allowance
from keepsay.store.postgres.doctor import diagnose
from keepsay.store.postgres.dsn import Dsn
from keepsay.store.postgres.findings import Finding
from keepsay.store.postgres.migrate import migrate
from keepsay.store.postgres.sqltext import load_grants
from keepsay.store.postgres.store import PostgresStore
from keepsay.testing.build import hold_of, owner
from keepsay.testing.contract import EraseContract, IsolationContract
from keepsay.testing.contract.isolation import VERBS
from keepsay.testing.postgres import Database, new_database
from keepsay.testing.talk import start_talk

from .sessions import ask, execute, session
from .walls import TABLES, disable_policies, remove_filters

Login = Callable[[Dsn, str], Awaitable[Dsn]]

APP = "keepsay_test_app"
COUNT_ALL = "SELECT " + ", ".join(f"(SELECT count(*) FROM keepsay.{table})" for table in TABLES)
OPEN_TO_ALL = """
    SELECT p.proname FROM pg_proc p
    WHERE p.pronamespace = $1::regnamespace AND has_function_privilege('public', p.oid, 'EXECUTE')
"""
BECOME = "SELECT set_config('keepsay.user_key', $1, false)"


async def let_in(dsn: Dsn) -> Dsn:
    """The database as an application's role sees it: one that may log in and call the functions, and nothing else."""
    if not await ask(dsn, "SELECT FROM pg_roles WHERE rolname = $1", APP):
        await execute(dsn, f"CREATE ROLE {APP} LOGIN")
    await execute(dsn, load_grants("keepsay", APP))
    return dataclasses.replace(dsn, user=APP)


class Places:
    """Databases without some of their walls, each made once and opened as an application and as a superuser."""

    def __init__(self) -> None:
        self._closing = AsyncExitStack()
        self._made: dict[tuple[int, frozenset[str], str], PostgresStore] = {}

    async def open(self, postgres: NoopExecutor, without: frozenset[str], role: str) -> PostgresStore:
        place = int(postgres.port), without, role
        if place not in self._made:
            dsn = self._closing.enter_context(new_database(postgres)).dsn
            if "filters" in without:
                await remove_filters(dsn)
            if "policies" in without:
                await disable_policies(dsn)
            store = PostgresStore(await let_in(dsn) if role == "app" else dsn, auto_migrate="never")
            self._closing.push_async_callback(store.close)
            self._made[place] = store
        return self._made[place]

    async def close(self) -> None:
        await self._closing.aclose()


@pytest.fixture(scope="module")
async def places() -> AsyncIterator[Places]:
    places = Places()
    yield places
    await places.close()


@pytest.fixture(params=["app", "superuser"])
def role(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Walled(IsolationContract, EraseContract):
    """The contract's isolation and erasure on a database without the walls that a subclass names."""

    without: frozenset[str] = frozenset()

    @pytest.fixture
    async def store(self, places: Places, newest_postgres: NoopExecutor) -> PostgresStore:
        return await places.open(newest_postgres, self.without, "app")

    async def test_the_store_knows_whether_the_policies_bind(self, store: PostgresStore) -> None:
        assert await store.row_security() == ("policies" not in self.without)


class TestBothWalls(Walled):
    pass


class TestPoliciesAlone(Walled):
    without = frozenset({"filters"})

    @pytest.fixture
    async def store(self, places: Places, postgres: NoopExecutor, role: str) -> PostgresStore:
        return await places.open(postgres, self.without, role)


class TestFiltersAlone(Walled):
    without = frozenset({"policies"})


@pytest.fixture
async def unwalled_store(places: Places, newest_postgres: NoopExecutor, role: str) -> PostgresStore:
    return await places.open(newest_postgres, frozenset({"filters", "policies"}), role)


async def test_the_mutation_takes_the_filter_out_of_every_function_that_reads_a_table(database: Database) -> None:
    reading, changed = await remove_filters(database.dsn)
    assert len(reading) > 20
    assert reading - changed == {"users_v1"}, "operators read the ids of all users; everything else names the user"
    assert (await remove_filters(database.dsn))[1] == set(), "nothing is left to take out"


@pytest.mark.parametrize("verb", VERBS)
async def test_without_both_walls_each_verb_leaks_so_the_check_can_fail(
    unwalled_store: PostgresStore, verb: str
) -> None:
    check = IsolationContract().test_another_users_conversation_answers_as_an_absent_one
    with pytest.raises((AssertionError, pytest.fail.Exception, KeepsayError)):
        await check(unwalled_store, verb)


async def test_without_both_walls_users_share_an_allowance_so_the_check_can_fail(unwalled_store: PostgresStore) -> None:
    with pytest.raises((AssertionError, KeepsayError)):
        await IsolationContract().test_users_have_allowances_of_their_own(unwalled_store)


async def test_without_both_walls_lists_leak_so_the_check_can_fail(unwalled_store: PostgresStore) -> None:
    with pytest.raises(AssertionError):
        await IsolationContract().test_users_see_only_their_own_in_lists(unwalled_store)


async def test_an_application_cannot_read_the_tables(database: Database) -> None:
    async with session(await let_in(database.dsn)) as app:
        for table in TABLES:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.fetch(f"SELECT FROM keepsay.{table}")


async def test_a_role_that_may_read_the_tables_sees_no_row_but_those_of_the_user_it_names(database: Database) -> None:
    app = await let_in(database.dsn)
    await execute(database.dsn, f"GRANT SELECT ON ALL TABLES IN SCHEMA keepsay TO {APP}")
    store = PostgresStore(app)
    ann, bob = owner(), owner()
    for user in (ann, bob):
        talk = await start_talk(store, "user: hi", owner=user)
        await talk.finish(hold_of(await talk.begin(allowance=Allowance(per_day=1))), "assistant: hello")
        await talk.summarise(2)
    await store.close()
    async with session(app) as reader:
        assert tuple(await reader.fetchrow(COUNT_ALL)) == (0,) * len(TABLES)
        await reader.fetch(BECOME, "")
        assert tuple(await reader.fetchrow(COUNT_ALL)) == (0,) * len(TABLES)
        await reader.fetch(BECOME, str(ann.key))
        assert tuple(await reader.fetchrow(COUNT_ALL)) == (1, 1, 2, 1, 1, 1)
        assert [row[0] for row in await reader.fetch("SELECT user_id FROM keepsay.users")] == [ann.user_id]
    async with session(database.dsn) as superuser:
        assert tuple(await superuser.fetchrow(COUNT_ALL)) == (2, 2, 4, 2, 2, 2)


async def test_a_call_leaves_no_user_behind_on_its_connection(database: Database) -> None:
    app = await let_in(database.dsn)
    await execute(database.dsn, f"GRANT SELECT ON ALL TABLES IN SCHEMA keepsay TO {APP}")
    store = PostgresStore(app, max_size=1)
    talk = await start_talk(store, "user: hi")
    await talk.append("assistant: hello")
    pool = await store._pool.get()
    async with pool.acquire() as connection:
        [row] = await connection.call(COUNT_ALL, timeout=10)
    await store.close()
    assert tuple(row) == (0,) * len(TABLES)


async def test_the_store_says_that_policies_do_not_bind_when_a_superuser_owns_the_functions(
    database: Database,
) -> None:
    store = PostgresStore(database.dsn)
    assert await store.row_security()
    await execute(database.dsn, "ALTER FUNCTION keepsay.health_v2() OWNER TO CURRENT_USER")
    assert not await store.row_security()
    await store.close()


async def isolation(dsn: Dsn, schema: str = "keepsay") -> Finding:
    [found] = [finding for finding in await diagnose(dsn, schema) if finding.name == "row-level security"]
    return found


async def check_isolation(store: PostgresStore) -> None:
    contract = IsolationContract()
    for verb in VERBS:
        await contract.test_another_users_conversation_answers_as_an_absent_one(store, verb)
    await contract.test_users_see_only_their_own_in_lists(store)


async def test_where_no_role_can_be_made_migrate_warns_and_the_tables_owner_is_bound_itself(
    empty_database: Dsn, login_as: Login, caplog: pytest.LogCaptureFixture
) -> None:
    migrator = await login_as(empty_database, "NOCREATEROLE")
    await execute(empty_database, f"GRANT CREATE ON DATABASE {empty_database.database} TO {migrator.user}")
    with caplog.at_level(logging.WARNING, "keepsay.migrate"):
        await migrate(migrator, "plain")
    assert "may not make the role plain_functions" in caplog.text
    store = PostgresStore(migrator, schema="plain", auto_migrate="never")
    await check_isolation(store)
    assert await store.row_security()
    await store.close()
    found = await isolation(migrator, "plain")
    assert found.level == "warning"
    assert found.facts == {"binds": True, "function_owners": [migrator.user], "tables_without_policy": []}
    assert await ask(migrator, "SELECT count(*) FROM plain.messages") == [(0,)], "FORCE binds the owner"
    assert await ask(empty_database, "SELECT count(*) > 0 FROM plain.messages") == [(True,)]
    assert await ask(empty_database, OPEN_TO_ALL, "plain") == []


async def test_a_migrating_role_that_is_no_superuser_builds_both_walls(
    empty_database: Dsn, login_as: Login, caplog: pytest.LogCaptureFixture
) -> None:
    migrator = await login_as(empty_database, "CREATEROLE")
    await execute(empty_database, f"GRANT CREATE ON DATABASE {empty_database.database} TO {migrator.user}")
    for _ in range(2):
        await migrate(migrator, "hosted")
    assert not caplog.records
    store = PostgresStore(migrator, schema="hosted", auto_migrate="never")
    await check_isolation(store)
    assert await store.row_security()
    await store.close()
    found = await isolation(migrator, "hosted")
    assert (found.level, found.facts["function_owners"]) == ("ok", ["hosted_functions"])
    await execute(empty_database, "DROP OWNED BY hosted_functions; DROP ROLE hosted_functions")


async def test_the_doctor_says_when_a_wall_was_taken_down(database: Database) -> None:
    assert (await isolation(database.dsn)).level == "ok"
    await disable_policies(database.dsn)
    found = await isolation(database.dsn)
    assert (found.level, found.facts["tables_without_policy"]) == ("problem", sorted(TABLES))
