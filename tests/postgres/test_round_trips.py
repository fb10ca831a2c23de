"""One network round trip for every verb, two for a turn; counted on the wire, directly and behind a pooler."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypedDict

import pytest
from pytest_postgresql.executors import NoopExecutor

from keepsay import Keepsay, assistant
from keepsay.errors import NotFound, RateLimited
from keepsay.model.allowance import Allowance
from keepsay.model.json_text import JsonValue
from keepsay.model.window import Window
from keepsay.store.postgres.dsn import Dsn
from keepsay.store.postgres.store import PostgresStore
from keepsay.store.protocol import Changes, Store
from keepsay.testing.build import ABSENT, hold_of, new_conversation, owner, plan_of, run_id
from keepsay.testing.pgbouncer import PgBouncer
from keepsay.testing.postgres import Database, new_database
from keepsay.testing.talk import Talk, start_talk
from keepsay.testing.wire import CountingProxy

Verb = Callable[[Talk], Awaitable[object]]

OPERATIONS = 20_000
PROCESSES = 2

VERBS: dict[str, Verb] = {
    "create": lambda talk: talk.store.create(talk.owner, new_conversation(title="Trip"), plan_of("user: hi")),
    "get": lambda talk: talk.get(),
    "load": lambda talk: talk.store.load(talk.owner, talk.id, Window()),
    "status": lambda talk: talk.store.status(talk.owner, talk.id),
    "list": lambda talk: talk.store.list(talk.owner, status=None, limit=9, after=None, skip=0),
    "update": lambda talk: talk.store.update(talk.owner, talk.id, Changes(title="Trip"), expected_version=None),
    "delete": lambda talk: talk.store.delete(talk.owner, talk.id, hard=True, expected_version=None),
    "append": lambda talk: talk.append("user: more"),
    "page": lambda talk: talk.store.page(talk.owner, talk.id, after=0, before=None, limit=9, newest=True),
    "delete_message": lambda talk: talk.delete_message(1),
    "rewind": lambda talk: talk.rewind(1),
    "fork": lambda talk: talk.fork(),
    "begin": lambda talk: talk.begin("user: more"),
    "begin within": lambda talk: talk.begin("user: more", allowance=Allowance(per_minute=9, per_day=9)),
    "summarise": lambda talk: talk.summarise(2),
    "export": lambda talk: talk.store.export(talk.owner, after=None, limit=9),
    "erase": lambda talk: talk.store.erase(talk.owner),
    "users": lambda talk: talk.store.users(after=None, limit=9),
    "row_security": lambda talk: _postgres(talk).row_security(),
}


def _postgres(talk: Talk) -> PostgresStore:
    assert isinstance(talk.store, PostgresStore)
    return talk.store


async def _prepared(name: str, talk: Talk) -> Callable[[], Awaitable[object]]:
    """The verb with all that must stand before it done."""
    if name in VERBS:
        return lambda: VERBS[name](talk)
    begun = await talk.begin("user: more")
    hold = hold_of(begun)
    return {
        "append in a run": lambda: talk.append("assistant: step", hold=hold),
        "begin again": lambda: talk.begin("user: more", run_id=begun.run.id),
        "take over": lambda: talk.begin("user: and more", on_busy="interrupt"),
        "heartbeat": lambda: talk.store.heartbeat(talk.owner, talk.id, hold),
        "finish": lambda: talk.finish(hold, "assistant: done"),
        "cancel": lambda: talk.cancel(begun.run.id),
        "run": lambda: talk.run(begun.run.id),
    }[name]


ALL = [*VERBS, "append in a run", "begin again", "take over", "heartbeat", "finish", "cancel", "run"]


def test_every_verb_is_counted() -> None:
    verbs = {name for name in vars(Store) if not name.startswith("_")} - {"close"}
    assert verbs <= set(ALL)


@pytest.fixture(params=["direct", "pgbouncer"])
async def wire(request: pytest.FixtureRequest, newest_database: Database) -> AsyncIterator[CountingProxy]:
    """A wire to the database, or to a PgBouncer that two server connections stand behind."""
    if request.param == "direct":
        async with CountingProxy(newest_database.dsn) as wire:
            yield wire
    else:
        with PgBouncer(newest_database.dsn, pool_size=2) as pooler:
            async with CountingProxy(pooler.dsn) as wire:
                yield wire


@pytest.fixture
async def store(wire: CountingProxy) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(wire.dsn, max_size=1)
    yield store
    await store.close()


async def _trips(wire: CountingProxy, act: Callable[[], Awaitable[object]]) -> int:
    before = wire.round_trips
    await act()
    return wire.round_trips - before


async def test_every_verb_is_one_round_trip_once_its_text_is_known(wire: CountingProxy, store: PostgresStore) -> None:
    trips: dict[str, list[int]] = {}
    for name in ALL:
        for _ in range(3):
            talk = await start_talk(store, "user: hi", "assistant: hello")
            act = await _prepared(name, talk)
            trips.setdefault(name, []).append(await _trips(wire, act))
    assert {name: counted[1:] for name, counted in trips.items()} == {name: [1, 1] for name in ALL}
    assert all(counted[0] <= 2 for counted in trips.values()), "the first use of a text asks for its types as well"
    assert wire.connections == 1


async def test_a_refused_call_is_one_round_trip_too(wire: CountingProxy, store: PostgresStore) -> None:
    user = owner()

    async def refused() -> None:
        with pytest.raises(NotFound):
            await store.run(user, ABSENT, run_id())

    await refused()
    assert [await _trips(wire, refused) for _ in range(3)] == [1, 1, 1]


async def test_a_run_that_is_over_the_limit_is_one_round_trip_too(wire: CountingProxy, store: PostgresStore) -> None:
    talk, once = await start_talk(store), Allowance(per_minute=1)
    await talk.begin("user: hi", allowance=once)

    async def refused() -> None:
        with pytest.raises(RateLimited):
            await talk.begin("user: more", on_busy="interrupt", allowance=once)

    assert [await _trips(wire, refused) for _ in range(3)] == [1, 1, 1]


async def test_a_turn_is_two_round_trips_and_one_more_for_each_append(
    wire: CountingProxy, store: PostgresStore
) -> None:
    user = Keepsay(store=store).user("ann")
    conversation = await user.create(system_prompt="Be brief.")

    async def turn(appends: int) -> None:
        async with user.run(conversation.id, "Where is Lisbon?") as run:
            for _ in range(appends):
                call: JsonValue = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
                await run.append(
                    {"role": "assistant", "content": None, "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": "c1", "content": "found"},
                )
            await run.finish(assistant("In Portugal."))

    await turn(1)
    for appends in (0, 1, 3):
        assert await _trips(wire, lambda appends=appends: turn(appends)) == 2 + appends  # type: ignore[misc]


class Outcomes(TypedDict):
    right: int
    wrong: list[str]
    errors: dict[str, int]


async def talk_through(pooler: Dsn, driver: str, operations: int) -> list[Outcomes]:
    """Eight concurrent users in each of two processes, all on the pooler's few server connections."""
    program = str(Path(__file__).with_name("pooler_talks.py"))
    url = f"postgresql://{pooler.user}@{pooler.host}:{pooler.port}/{pooler.database}?sslmode=disable"
    running = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, program, url, name, driver, str(operations // PROCESSES)), stdout=asyncio.subprocess.PIPE
        )
        for name in ("ann", "bob")
    ]
    printed = await asyncio.gather(*(process.communicate() for process in running))
    return [json.loads(out) for out, _ in printed]


@pytest.mark.slow
async def test_sixteen_users_on_three_server_connections_get_their_own_and_right_answers_only(
    newest_postgres: NoopExecutor,
) -> None:
    with new_database(newest_postgres) as database, PgBouncer(database.dsn, pool_size=3) as pooler:
        outcomes = await talk_through(pooler.dsn, "ours", OPERATIONS)
    assert [(each["wrong"], each["errors"]) for each in outcomes] == [([], {})] * PROCESSES
    assert sum(each["right"] for each in outcomes) == OPERATIONS


async def test_the_same_calls_by_asyncpg_as_it_comes_go_wrong_so_the_test_can_fail(newest_database: Database) -> None:
    with PgBouncer(newest_database.dsn, pool_size=3) as pooler:
        outcomes = await talk_through(pooler.dsn, "as it comes", 480)
    assert sum(len(each["wrong"]) + sum(each["errors"].values()) for each in outcomes) > 0
