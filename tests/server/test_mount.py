"""Row B4: the routes in somebody else's application, with its own users, prefix, lifespan and database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Header, HTTPException

from keepsay import Keepsay
from keepsay.server import Agent, conversation_router, echo
from keepsay.server.schemas import components
from keepsay.store.postgres.store import PostgresStore
from keepsay.testing.postgres import Database

from .client import Client, new_user

PASSES = {"pass-ada": "ada", "pass-eve": "eve"}
HELLO = {"role": "user", "content": "Hello"}


async def _user_of_pass(x_pass: Annotated[str | None, Header()] = None) -> str:
    """The application's own way to know its users, and its own words for those whom it doesn't."""
    if x_pass not in PASSES:
        raise HTTPException(401, {"oops": "no pass"})
    return f"shop:{PASSES[x_pass]}"


class Shop:
    """An application that was there before keepsay."""

    def __init__(self, keepsay: Keepsay, agent: Agent | None = echo, prefix: str = "/v2/assistant") -> None:
        self.log: list[str] = []
        self.app = FastAPI(lifespan=self._lifespan, title="Shop")
        self.app.include_router(conversation_router(keepsay, _user_of_pass, agent=agent), prefix=prefix)
        self.app.get("/articles")(self._articles)

    @asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        self.log.append("opened")
        yield
        self.log.append("closed")

    async def _articles(self) -> list[str]:
        return ["tea"]

    def client(self, who: str | None) -> Client:
        return Client(self.app, None, headers={} if who is None else {"X-Pass": f"pass-{who}"})


@pytest.fixture
def shop(keepsay: Keepsay) -> Shop:
    return Shop(keepsay)


async def test_a_user_of_the_application_talks(shop: Shop) -> None:
    ada = shop.client("ada")
    made = await ada.post("/v2/assistant/conversations", {"title": "Tea"})
    assert (made.status, made.json["user_id"]) == (201, "shop:ada")
    assert made.headers["location"] == f"/v2/assistant/conversations/{made.json['id']}"
    path = made.headers["location"]
    answer = await ada.post(f"{path}/continue", {"message": "Hello"})
    assert (answer.status, answer.json["response"][:15]) == (200, "You said: Hello")
    assert [item["role"] for item in (await ada.get(f"{path}/messages")).json["items"]] == ["user", "assistant"]
    assert (await ada.post("/v2/assistant/shop:ada/chat", {"message": "Hi"})).status == 200
    assert (await ada.get("/articles")).json == ["tea"]


async def test_the_applications_own_refusal_stays_its_own(shop: Shop) -> None:
    for headers in ({}, {"X-Pass": "pass-mallory"}, {"X-Keepsay-User": "shop:ada"}, {"Authorization": "Bearer ada"}):
        answer = await shop.client(None).get("/v2/assistant/conversations", headers=headers)
        assert (answer.status, answer.json) == (401, {"detail": {"oops": "no pass"}})


async def test_users_of_the_application_are_apart(shop: Shop) -> None:
    ada, eve = shop.client("ada"), shop.client("eve")
    path = (await ada.post("/v2/assistant/conversations", {"messages": [HELLO]})).headers["location"]
    absent = "/v2/assistant/conversations/018f0000-0000-7000-8000-000000000000"
    foreign = await eve.get(path, headers={"X-Keepsay-User": "shop:ada"})
    assert (foreign.status, foreign.code) == (404, "not_found")
    assert foreign.content == (await eve.get(absent)).content
    assert (await eve.post("/v2/assistant/shop:ada/chat", {"message": "Hi"})).status == 404


async def test_keepsays_errors_are_problems_and_its_limits_hold(shop: Shop) -> None:
    ada = shop.client("ada")
    made = await ada.post("/v2/assistant/conversations", {"messages": [HELLO]})
    path = made.headers["location"] + "/messages"
    refused = await ada.post(path, HELLO)
    assert (refused.status, refused.code, refused.json["last_role"]) == (400, "role_ordering_violation", "user")
    assert refused.headers["cache-control"] == "no-store"
    assert (await ada.post(path, raw=b"{")).code == "malformed_json"
    assert (await ada.post(path, raw=b" " * (4 * 2**20 + 1))).code == "body_too_large"


async def test_errors_that_are_not_keepsays_are_the_applications(shop: Shop) -> None:
    assert (await shop.client("ada").get("/v2/assistant/nope")).json == {"detail": "Not Found"}
    wrong = await shop.client("ada").send("PUT", "/v2/assistant/conversations")
    assert (wrong.status, wrong.json) == (405, {"detail": "Method Not Allowed"})


async def test_without_an_agent_there_is_nothing_to_ask(keepsay: Keepsay) -> None:
    shop = Shop(keepsay, agent=None)
    made = await shop.client("ada").post("/v2/assistant/conversations", {})
    assert made.status == 201
    for path in (made.headers["location"] + "/continue", "/v2/assistant/shop:ada/chat"):
        assert (await shop.client("ada").post(path, {"message": "Hello"})).status == 404


async def test_two_mounts_in_one_application_keep_their_own_database(keepsay: Keepsay, other_keepsay: Keepsay) -> None:
    user = new_user()
    app = FastAPI()
    for prefix, mounted in (("/a", keepsay), ("/b", other_keepsay)):
        app.include_router(conversation_router(mounted, lambda: user, agent=echo), prefix=prefix)
    client = Client(app, None)
    made = await client.post("/a/conversations", {})
    assert (await client.get(made.headers["location"])).status == 200
    assert (await client.get(f"/b/conversations/{made.json['id']}")).status == 404


@pytest.fixture
async def other_keepsay(server_database: Database) -> AsyncIterator[Keepsay]:
    """Conversations in another schema of the same database."""
    async with Keepsay(store=PostgresStore(server_database.dsn, schema="other_shop")) as opened:
        yield opened


async def test_a_dependency_that_returns_no_text_is_told_so(keepsay: Keepsay) -> None:
    app = FastAPI()
    app.include_router(conversation_router(keepsay, lambda: {"id": 1}))
    with pytest.raises(TypeError, match="returns the user's id, a str, not dict"):
        await Client(app, None).get("/conversations")


async def test_when_the_application_ends_answers_under_way_are_stored(keepsay: Keepsay) -> None:
    asked = asyncio.Event()

    async def slow(messages: list[Any]) -> str:
        asked.set()
        await asyncio.sleep(0.3)
        return "late, but here"

    shop = Shop(keepsay, agent=slow)
    async with AsyncExitStack() as running:
        await running.enter_async_context(shop.app.router.lifespan_context(shop.app))
        ada = shop.client("ada")
        made = await ada.post("/v2/assistant/conversations", {})
        path = made.headers["location"]
        asking = asyncio.create_task(ada.post(f"{path}/continue", {"message": "Hello"}))
        await asked.wait()
    assert shop.log == ["opened", "closed"]
    assert (await asking).json["response"] == "late, but here"
    kept = await keepsay.user("shop:ada").get(made.json["id"])  # the library is the application's, and stays open
    assert kept.head == 2


async def test_the_applications_document_shows_the_routes_in_full(shop: Shop) -> None:
    document = (await shop.client("ada").get("/openapi.json")).json
    create = document["paths"]["/v2/assistant/conversations"]["post"]
    assert create["operationId"] == "createConversation"
    assert create["requestBody"]["content"]["application/json"]["schema"]["properties"]["title"]["maxLength"] == 255
    assert "#/components/schemas/Conversation" not in str(document), "no reference into nothing"
    assert not set(components()) & set(document.get("components", {}).get("schemas", {}))
