"""The requirements' rows about HTTP, each shown by a test that names it.

``tests/store/test_requirements.py`` shows the rows about the library. Not repeated here is what others show already:

A1      test_session.py: the whole row
A5      test_problems.py: the table of errors, an unreachable database through every route; test_messages.py: role order
B2, B4  test_conversations.py: skip and limit, deletion; isolation/: every operation, with everybody's ids
B4      test_mount.py: the routes in an application of one's own
B6, C3  test_serving.py: two servers turn by turn, stops and kills
C2      test_chat.py: tool calls, exactly once, the agent's failures; auth/: tokens
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from keepsay import Keepsay
from keepsay.store.postgres.store import PostgresStore
from keepsay.testing.postgres import Database

from .client import UNSAID, Answer, Client, connect

ABSENT = "018f0000-0000-7000-8000-000000000000"
HELLO = {"role": "user", "content": "Hello"}
PROBLEM = {"type", "title", "status", "detail", "code"}


async def test_row_a5_every_error_says_what_is_wrong_and_where(ada: Client) -> None:
    conversation = await ada.create(messages=[HELLO])
    path = f"/api/conversations/{conversation}"
    told: list[tuple[Answer, int, str, dict[str, Any]]] = [
        (await ada.get(f"/api/conversations/{ABSENT}"), 404, "not_found", {}),
        (await ada.get("/api/conversations/no-uuid"), 404, "not_found", {}),
        (
            await ada.post(f"{path}/messages", HELLO),
            400,
            "role_ordering_violation",
            {"error": "role_ordering_violation", "last_role": "user", "attempted_role": "user"},
        ),
        (await ada.post(f"{path}/messages", {"role": "nobody"}), 422, "invalid_input", {"field": "role"}),
        (await ada.post(f"{path}/messages", raw=b"{"), 400, "malformed_json", {}),
        (await ada.post(f"{path}/fork", {"at_seq": "x"}), 422, "invalid_input", {"field": "at_seq"}),
        (
            await ada.post(f"{path}/messages", {"messages": [HELLO], "expected_seq": 9}),
            409,
            "expected_seq_mismatch",
            {"expected": 9, "head": 1},
        ),
    ]
    for answer, status, code, facts in told:
        assert (answer.status, answer.code) == (status, code)
        assert set(answer.json) >= PROBLEM
        assert {name: answer.json[name] for name in facts} == facts
        assert answer.headers["x-request-id"]
    assert await ada.log(conversation) == [("user", "Hello")]


async def test_row_a5_a_blocked_database_is_unavailable_and_says_what_became_of_the_write(
    ada: Client, server_database: Database
) -> None:
    """Somebody else's transaction holds the conversation: the wait ends, and afterwards all goes on."""
    conversation = await ada.create()
    path = f"/api/conversations/{conversation}/messages"
    async with _blocked(server_database, conversation):
        writing = asyncio.create_task(ada.post(path, HELLO, headers={"Idempotency-Key": "k"}))
        assert (await ada.get(f"/api/conversations/{conversation}/status")).status == 200, "reading goes on"
        refused = await asyncio.wait_for(writing, timeout=10)
    assert (refused.status, refused.code) == (503, "database_unavailable")
    assert refused.json["outcome"] == "not_applied"
    assert int(refused.headers["retry-after"]) >= 1
    assert await ada.log(conversation) == []
    again = await ada.post(path, HELLO, headers={"Idempotency-Key": "k"})
    assert (again.status, again.json["replayed"], again.json["head"]) == (201, False, 1)


@asynccontextmanager
async def _blocked(database: Database, conversation: str) -> AsyncIterator[None]:
    connection = await asyncpg.connect(**database.dsn.connect_arguments())
    try:
        async with connection.transaction():
            lock = "SELECT FROM keepsay.conversations WHERE conversation_id = $1 FOR UPDATE"
            assert await connection.fetch(lock, UUID(conversation)) != []
            yield
    finally:
        await connection.close()


async def test_row_b2_the_whole_life_of_a_conversation_is_its_owners_alone(keepsay: Keepsay, ada: Client) -> None:
    """And row B4: the endpoints that the documents name; 404 and not 403 for another user's."""
    eve = connect(keepsay)
    made = await ada.post("/api/conversations", {"title": "Trip", "system_prompt": "Be brief."})
    path = made.headers["location"]
    life: list[tuple[str, str, object, int]] = [
        ("GET", path, UNSAID, 200),
        ("PATCH", path, {"title": "Tour"}, 200),
        ("POST", f"{path}/messages", HELLO, 201),
        ("GET", f"{path}/messages?limit=2", UNSAID, 200),
        ("GET", f"{path}/window", UNSAID, 200),
        ("GET", f"{path}/status", UNSAID, 200),
        ("POST", f"{path}/rewind", {"at_seq": 1}, 200),
        ("POST", f"{path}/continue", {"message": "Where is Lisbon?"}, 200),
        ("POST", f"{path}/fork", {}, 201),
        ("DELETE", path, UNSAID, 204),
        ("GET", path, UNSAID, 404),
    ]
    for method, url, body, status in life:
        foreign = await eve.send(method, url, body)
        assert (foreign.status, foreign.code) == (404, "not_found")
        assert (await ada.send(method, url, body)).status == status, (method, url)
    for client, count in ((ada, 1), (eve, 0)):  # the fork is left
        assert len((await client.get("/api/conversations?skip=0&limit=10")).json["items"]) == count


@pytest.fixture
async def restarted(server_database: Database) -> AsyncIterator[Keepsay]:
    """Another process, as good as: nothing in common but the database."""
    async with Keepsay(store=PostgresStore(server_database.dsn)) as opened:
        yield opened


def _as(client: Client, keepsay: Keepsay, agent: Any = None) -> Client:
    """The same user's client of another instance."""
    return Client(connect(keepsay, agent).app, client.user)


async def test_row_b5_a_conversation_is_resumed_by_another_instance(ada: Client, restarted: Keepsay) -> None:
    conversation = await ada.create(system_prompt="Be brief.")
    path = f"/api/conversations/{conversation}"
    await ada.post(f"{path}/continue", {"message": "Where is Lisbon?"})
    seen: list[Any] = []

    def agent(messages: list[Any]) -> str:
        seen.extend(messages)
        return "By the sea too."

    again = _as(ada, restarted, agent)
    assert (await again.get(f"{path}/window")).content == (await ada.get(f"{path}/window")).content
    assert (await again.get(f"{path}/status")).content == (await ada.get(f"{path}/status")).content
    answer = await again.post(f"{path}/continue", {"message": "And Porto?"})
    assert (answer.status, answer.json["response"]) == (200, "By the sea too.")
    assert [message["role"] for message in seen] == ["system", "user", "assistant", "user"]
    assert [role for role, _ in await ada.log(conversation)] == ["system", "user", "assistant", "user", "assistant"]


async def test_row_b5_a_pending_request_is_seen_by_every_instance(keepsay: Keepsay, restarted: Keepsay) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(messages: list[Any]) -> str:
        asked.set()
        await answer.wait()
        return "here"

    ada = connect(keepsay, slow)
    conversation = await ada.create()
    path = f"/api/conversations/{conversation}"
    asking = asyncio.create_task(ada.post(f"{path}/continue", {"message": "Where?", "request_id": "r"}))
    await asked.wait()
    other = _as(ada, restarted)
    pending = (await other.get(f"{path}/status")).json
    assert (pending["has_pending_request"], pending["last_message_preview"]) == (True, "Where?")
    busy = await other.post(f"{path}/continue", {"message": "Hello?"})
    assert (busy.status, busy.code, busy.json["run_id"]) == (409, "conversation_busy", pending["active_run"])
    answer.set()
    assert (await asking).status == 200
    done = (await other.get(f"{path}/status")).json
    assert (done["has_pending_request"], done["can_add_user"], done["last_role"]) == (False, True, "assistant")


async def test_row_b5_the_active_list_leads_with_the_newest_activity(ada: Client, restarted: Keepsay) -> None:
    """On any device: another instance shows what was said last elsewhere."""
    first, second, archived = [await ada.create(title=title) for title in ("one", "two", "three")]
    await ada.send("PATCH", f"/api/conversations/{archived}", {"status": "archived"})
    await ada.post(f"/api/conversations/{first}/continue", {"message": "Hello"})
    shown = (await _as(ada, restarted).get("/api/conversations/active")).json
    assert [item["id"] for item in shown["items"]] == [first, second]


async def test_row_c2_a_chat_answers_in_the_documents_shape(ada: Client) -> None:
    first = await ada.post(f"/api/{ada.user}/chat", {"message": "Where is Lisbon?"})
    assert first.status == 200
    assert set(first.json) == {"conversation_id", "response", "tool_calls", "run_id"}
    conversation = first.json["conversation_id"]
    assert (str(UUID(conversation)), first.json["tool_calls"]) == (conversation, [])
    assert "Where is Lisbon?" in first.json["response"]
    second = await ada.post(f"/api/{ada.user}/chat", {"message": "And Porto?", "conversation_id": conversation})
    assert second.json["conversation_id"] == conversation
    assert await ada.log(conversation) == [
        ("user", "Where is Lisbon?"),
        ("assistant", first.json["response"]),
        ("user", "And Porto?"),
        ("assistant", second.json["response"]),
    ]
