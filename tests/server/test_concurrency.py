"""Many chats on few connections, and two servers on one database: what waits for what, and what a kill loses."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import asyncpg
import httpx
import pytest
from pytest_postgresql.executors import NoopExecutor

from keepsay import Keepsay, Message
from keepsay.model.ids import ConversationId, checked_user_id, parse_conversation_id
from keepsay.store.postgres.store import PostgresStore
from keepsay.store.protocol import Owner
from keepsay.testing.postgres import Database, new_database

from .client import Client, connect, new_user
from .program import Server, Start

CHATS = 100
POOL = 5
THINK = 2.0
PATIENCE = 6
"""How many times the agent's own time all chats together may take. One after the other on the pool they take 20."""

Agent = Callable[[list[dict[str, Any]]], Awaitable[str]]


@pytest.fixture
def database(newest_postgres: NoopExecutor) -> Iterator[Database]:
    """One of its own, so that its connections can be counted."""
    with new_database(newest_postgres) as made:
        yield made


@pytest.fixture
async def store(database: Database) -> AsyncIterator[PostgresStore]:
    opened = PostgresStore(database.dsn, max_size=POOL)
    yield opened
    await opened.close()


async def _answered_in_time(client: Client) -> int:
    """Of a hundred chats at once, how many are answered in ``PATIENCE`` times the agent's own time."""
    asking = [asyncio.create_task(client.post(f"/api/{client.user}/chat", {"message": str(n)})) for n in range(CHATS)]
    done, late = await asyncio.wait(asking, timeout=PATIENCE * THINK)
    for each in late:
        each.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    await client.app.state.keepsay_turns.cut()
    assert all(each.result().status == 200 for each in done)
    return len(done)


@asynccontextmanager
async def _watched(database: Database) -> AsyncIterator[Callable[[], Awaitable[list[str]]]]:
    """Gives the states of all connections to the database but this one, and fails if there ever were too many."""
    connection = await asyncpg.connect(**database.dsn.connect_arguments())
    lock, most = asyncio.Lock(), 0

    async def states() -> list[str]:
        async with lock:
            rows = await connection.fetch(
                "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        return [row["state"] for row in rows]

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, len(await states()))
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    try:
        yield states
        assert 1 <= most <= POOL
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await connection.close()


@pytest.mark.slow
async def test_a_hundred_chats_think_at_once_on_five_connections(database: Database, store: PostgresStore) -> None:
    thinking, everybody = 0, asyncio.Event()

    async def agent(_messages: list[dict[str, Any]]) -> str:
        nonlocal thinking
        thinking += 1
        if thinking == CHATS:
            everybody.set()
        await everybody.wait()
        await asyncio.sleep(THINK)
        return "done"

    ada = connect(Keepsay(store=store), agent)
    async with _watched(database) as states:
        answering = asyncio.create_task(_answered_in_time(ada))
        await everybody.wait()
        assert set(await states()) == {"idle"}, "a connection is held while agents think"
        began = time.monotonic()
        assert (await Client(ada.app, new_user()).get("/api/conversations")).status == 200
        assert time.monotonic() - began < THINK / 4
        assert await answering == CHATS


@pytest.mark.slow
async def test_chats_that_hold_a_connection_meanwhile_wait_for_each_other(store: PostgresStore) -> None:
    """The control: the same check on an agent that does what keepsay does not."""

    async def agent(_messages: list[dict[str, Any]]) -> str:
        pool = await store._pool.get()
        async with pool.acquire():
            await asyncio.sleep(THINK)
        return "done"

    answered = await _answered_in_time(connect(Keepsay(store=store), agent))
    assert answered <= POOL * PATIENCE, "they do not wait: the test above shows nothing"


class Talker:
    """One user who talks in one conversation, and asks again, anywhere, until answered."""

    def __init__(self, http: httpx.AsyncClient, servers: list[Server], conversation: str, user: str) -> None:
        self._http = http
        self._servers = servers
        self.conversation = conversation
        self._headers = {"X-Keepsay-User": user}
        self.told: dict[str, tuple[str, str]] = {}
        """What was acknowledged: of every request the answer and its run."""
        self.retries = 0

    async def say(self, words: str, servers: list[Server] | None = None) -> None:
        body = {"message": words, "request_id": words}
        while words not in self.told:
            server = random.choice(self._servers if servers is None else servers)
            url = f"{server.url}/api/conversations/{self.conversation}/continue"
            try:
                answer = await self._http.post(url, json=body, headers=self._headers)
            except httpx.TransportError:  # killed
                answer = None
            if answer is not None and answer.status_code == 200:
                self.told[words] = (answer.json()["response"], answer.json()["run_id"])
                return
            assert answer is None or answer.status_code in (409, 503), answer.text
            self.retries += 1
            await asyncio.sleep(0.05)


def _judge(log: tuple[Message, ...], talkers: list[Talker]) -> None:
    """Every acknowledged turn stands in the log once, question before answer, and nothing else does."""
    told = {words: answer for talker in talkers for words, answer in talker.told.items()}
    assert [message.seq for message in log] == list(range(1, 2 * len(told) + 1))
    questions, answers = log[::2], log[1::2]
    assert sorted(str(message.content) for message in questions) == sorted(told), "each question once"
    for question, answer in zip(questions, answers, strict=True):
        assert (question.role.text, answer.role.text) == ("user", "assistant")
        assert (answer.content, str(answer.run_id)) == told[str(question.content)]
        assert question.run_id == answer.run_id
    assert all(before.created_at < after.created_at for before, after in pairwise(log))


async def _log(keepsay: Keepsay, user: str, conversation: str) -> tuple[Message, ...]:
    found: tuple[Message, ...] = ()
    while True:
        page = await keepsay.user(user).messages(conversation, after=len(found), limit=200)
        found += page.items
        if not page.has_more:
            return found


@pytest.mark.slow
async def test_two_servers_interleave_the_turns_of_one_conversation(start: Start, keepsay: Keepsay) -> None:
    """Two clients talk at once, each to a server of its own, and both servers tell the same in the end."""
    servers = [start(KEEPSAY_AGENT="some_agents:repeat", THINK="0.02", KEEPSAY_LOG_LEVEL="warning") for _ in range(2)]
    user = new_user()
    conversation = str((await keepsay.user(user).create()).id)
    async with httpx.AsyncClient(timeout=30) as http:
        talkers = [Talker(http, [server], conversation, user) for server in servers]

        async def talk(at: int) -> None:
            for turn in range(20):
                await talkers[at].say(f"{at}/{turn}")
                await asyncio.sleep(random.uniform(0, 0.15))  # whoever was refused gets a chance

        await asyncio.gather(talk(0), talk(1))
        path, headers = f"/api/conversations/{conversation}/messages?limit=200", {"X-Keepsay-User": user}
        first, second = [(await http.get(server.url + path, headers=headers)).content for server in servers]
    log = await _log(keepsay, user, conversation)
    _judge(log, talkers)
    assert first == second
    order = [str(message.content).split("/") for message in log[::2]]
    for at in range(2):
        assert [int(turn) for talker, turn in order if talker == str(at)] == list(range(20)), "a client's own order"
    changes = sum(before[0] != after[0] for before, after in pairwise(order))
    assert changes >= 5, f"they took turns only {changes} times: the race is tame"


TALKERS = 8
TURNS = 30
KILLS = 6


@pytest.mark.slow
async def test_kills_lose_nothing_that_was_acknowledged(
    start: Start, server_database: Database, keepsay: Keepsay
) -> None:
    """240 turns while either server is killed with -9, again and again: each is answered exactly once."""

    def start_one() -> Server:
        return start(KEEPSAY_AGENT="some_agents:repeat", THINK="0.1", KEEPSAY_LOG_LEVEL="warning")

    servers = [start_one() for _ in range(2)]
    user = new_user()
    made = [str((await keepsay.user(user).create()).id) for _ in range(TALKERS)]
    async with httpx.AsyncClient(timeout=30) as http:
        talkers = [Talker(http, servers, conversation, user) for conversation in made]

        async def talk(talker: Talker) -> None:
            for turn in range(TURNS):
                await talker.say(str(turn))

        async def kill() -> None:
            for at in range(KILLS):
                await _until_told(talkers, (at + 1) * TALKERS * TURNS // (KILLS + 1))
                await asyncio.to_thread(servers[at % 2].kill)
                for conversation in made:
                    await _expire(server_database, user, parse_conversation_id(conversation))
                servers[at % 2] = await asyncio.to_thread(start_one)

        await asyncio.gather(kill(), *map(talk, talkers))
    assert sum(talker.retries for talker in talkers) >= KILLS, "the kills met nobody: the test shows nothing"
    for talker in talkers:
        assert len(talker.told) == TURNS
        _judge(await _log(keepsay, user, talker.conversation), [talker])
    attempts = [
        (await keepsay.user(user).get_run(talker.conversation, run_id)).attempt
        for talker in talkers
        for _, run_id in talker.told.values()
    ]
    assert max(attempts) > 1, "no run was under way when its server was killed"


async def _until_told(talkers: list[Talker], count: int) -> None:
    while sum(len(talker.told) for talker in talkers) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def _expire(database: Database, user: str, conversation: ConversationId) -> None:
    """As if the lease had run out, which is when others may take over what a killed server held."""
    await database.expire_lease(Owner.of(checked_user_id(user)), conversation)
