"""What is absent and what is another user's cannot be told apart by how long the answer takes.

Asked of the app itself, in this process, on a real Postgres: a network, a proxy and an HTTP client would take the same
time for both and only hide a difference. Samples alternate in random order and all count.
"""

from __future__ import annotations

import logging
import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

import pytest
from fastapi import FastAPI

from keepsay import Keepsay, NotFound
from keepsay.library.ids import new_conversation_id
from keepsay.model.conversation import Conversation
from keepsay.model.ids import ConversationId
from keepsay.server import Settings, create_app
from keepsay.store.postgres.store import PostgresStore
from keepsay.store.protocol import Owner
from keepsay.testing.postgres import Database

from ..client import new_user
from .asking import Request, send

MOST = 0.05
"""How much the medians may differ, as part of the median."""
SAMPLES, FEWER = 5_000, 1_000
ROUNDS = 5
THEIRS = 200

_HELLO = {"role": "user", "content": "Hello"}


@dataclass(frozen=True)
class Ask:
    """A question about a conversation, which stands for ``{id}``."""

    method: str
    path: str
    body: dict[str, str] | None = None


CONVERSATION = Ask("GET", "/api/conversations/{id}")
ASKS = {
    "read the messages": Ask("GET", "/api/conversations/{id}/messages"),
    "append": Ask("POST", "/api/conversations/{id}/messages", _HELLO),
    "change": Ask("PATCH", "/api/conversations/{id}", {"title": "mine"}),
    "delete": Ask("DELETE", "/api/conversations/{id}"),
    "chat": Ask("POST", "/api/{user}/chat", {"message": "Hello", "conversation_id": "{id}"}),
}


@dataclass(frozen=True)
class Ground:
    """A user, and conversations of others among which it asks."""

    keepsay: Keepsay
    user: str
    theirs: list[UUID]

    def request(self, asked: Ask, conversation: UUID) -> Request:
        names = {"id": str(conversation), "user": self.user}
        body = {name: value.format(**names) for name, value in asked.body.items()} if asked.body else None
        return Request(asked.method, asked.path.format(**names), body, {"X-Keepsay-User": self.user})


@pytest.fixture(autouse=True)
def without_access_log(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of lines that pytest would keep, and that take time."""
    caplog.set_level(logging.WARNING, "keepsay.access")


@pytest.fixture(scope="module")
async def ground(keepsay: Keepsay) -> Ground:
    user = new_user()
    await keepsay.user(user).create(messages=["Hello"])
    others = [keepsay.user(new_user()) for _ in range(20)]
    return Ground(keepsay, user, [(await others[n % 20].create(messages=["Hello"])).id for n in range(THEIRS)])


async def difference(ground: Ground, keepsay: Keepsay, asked: Ask, samples: int, *, rounds: int = ROUNDS) -> float:
    """How far the medians lie apart in the best of some rounds; it ends with the first that is good."""
    app = create_app(keepsay, settings=Settings())
    found = []
    for number in range(rounds):
        found.append(await _round(app, ground, asked, samples, random.Random(number)))
        if found[-1] <= MOST:
            break
    return min(found)


async def _round(app: FastAPI, ground: Ground, asked: Ask, samples: int, rng: random.Random) -> float:
    took: dict[str, list[float]] = {"absent": [], "theirs": []}
    for _ in range(samples):
        ids = {"absent": new_conversation_id(), "theirs": rng.choice(ground.theirs)}
        for which in rng.sample(list(took), 2):
            request = ground.request(asked, ids[which])
            began = time.perf_counter()
            reply = await send(app, request)
            took[which].append(time.perf_counter() - began)
            assert reply.status == 404
    absent, theirs = (statistics.median(spent) for spent in took.values())
    return abs(theirs - absent) / absent


@pytest.mark.slow
async def test_reading_what_is_absent_takes_as_long_as_what_is_anothers(ground: Ground) -> None:
    assert await difference(ground, ground.keepsay, CONVERSATION, SAMPLES) <= MOST


@pytest.mark.slow
@pytest.mark.parametrize("asked", ASKS.values(), ids=ASKS)
async def test_so_does_every_other_verb(ground: Ground, asked: Ask) -> None:
    assert await difference(ground, ground.keepsay, asked, FEWER) <= MOST


async def _one_more_round_trip(store: PostgresStore, _spent: float) -> None:
    await store.row_security()


async def _a_fifth_longer(_store: PostgresStore, spent: float) -> None:
    """Of the statement's time, whatever the machine is doing beside: about a tenth of the answer's."""
    until = time.perf_counter() + spent / 5
    while time.perf_counter() < until:
        pass


Betrayal = Callable[[PostgresStore, float], Awaitable[None]]


class BetrayingStore(PostgresStore):
    """Does more before it says that another's conversation is not there."""

    def __init__(self, database: Database, theirs: list[UUID], betrayal: Betrayal) -> None:
        super().__init__(database.dsn)
        self._theirs = frozenset(theirs)
        self._betrayal = betrayal

    async def get(self, owner: Owner, conversation_id: ConversationId) -> Conversation:
        began = time.perf_counter()
        try:
            return await super().get(owner, conversation_id)
        except NotFound:
            if conversation_id in self._theirs:
                await self._betrayal(self, time.perf_counter() - began)
            raise


@pytest.fixture(params=[_one_more_round_trip, _a_fifth_longer], ids=["one more round trip", "a fifth longer"])
async def betraying(
    request: pytest.FixtureRequest, server_database: Database, ground: Ground
) -> AsyncIterator[Keepsay]:
    async with Keepsay(store=BetrayingStore(server_database, ground.theirs, request.param)) as keepsay:
        yield keepsay


@pytest.mark.slow
async def test_a_little_more_work_for_what_is_anothers_would_be_seen(ground: Ground, betraying: Keepsay) -> None:
    assert await difference(ground, betraying, CONVERSATION, FEWER, rounds=2) > MOST
