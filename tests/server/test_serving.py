"""The server as a program: rows B6 and C3 (any instance answers, a restart loses nothing), B5 (resume)."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx
import pytest

from keepsay import ConfigurationError, Keepsay
from keepsay.model.ids import ConversationId, checked_user_id
from keepsay.server import Settings, serve
from keepsay.store.protocol import Owner
from keepsay.testing.postgres import Database
from keepsay.testing.wire import free_port

from .client import new_user
from .program import Start
from .until import until


async def test_it_says_what_to_try_and_that_works(start: Start) -> None:
    server = start()
    assert f"curl {server.url}/api/ada/chat" in server.banner
    answer = await server.post(f"/api/{new_user()}/chat", {"message": "Hello"})
    assert answer.json()["response"].startswith("You said: Hello")
    async with httpx.AsyncClient(base_url=server.url) as http:
        assert (await http.get("/readyz")).status_code == 200
    assert await server.end() == 0


async def test_any_server_answers_any_request(start: Start) -> None:
    """Rows B6 and C3: two servers on one database, turn by turn; no sticky sessions."""
    servers = [start(KEEPSAY_AGENT="some_agents:slow") for _ in range(2)]
    user, body = new_user(), {"message": "0"}
    for turn in range(6):
        answer = await servers[turn % 2].post(f"/api/{user}/chat", body)
        assert answer.json()["response"] == f"answer to {2 * turn + 1}"
        body = {"message": str(turn + 1), "conversation_id": answer.json()["conversation_id"]}


async def test_a_stop_lets_the_answer_under_way_finish(start: Start) -> None:
    """Row C3: a deploy loses nothing."""
    server = start(KEEPSAY_AGENT="some_agents:slow", THINK="1")
    asking = asyncio.create_task(server.post(f"/api/{new_user()}/chat", {"message": "Hello"}))
    await server.until_asked()
    assert await server.end() == 0
    assert (await asking).json()["response"] == "answer to 1"


@pytest.mark.parametrize("agent", ["slow", "stuck"])
async def test_what_a_stop_cuts_off_is_answered_by_the_retry(start: Start, agent: str) -> None:
    """Row C3: the run failed rather than was cancelled, so the same request may try again, elsewhere, at once."""
    server = start(KEEPSAY_AGENT=f"some_agents:{agent}", THINK="8", KEEPSAY_SHUTDOWN_SECONDS="0")
    user, body = new_user(), {"message": "Hello", "request_id": "r"}
    asking = asyncio.create_task(server.post(f"/api/{user}/chat", body))
    await server.until_asked()
    ending = asyncio.create_task(server.end())
    cut = await asking
    assert (cut.status_code, cut.json()["code"], cut.json()["outcome"]) == (503, "server_stopping", "unknown")
    other = start(KEEPSAY_AGENT="some_agents:slow")
    answer = await other.post(f"/api/{user}/chat", body)
    assert (answer.status_code, answer.json().get("response")) == (200, "answer to 1")
    assert await ending == 0


async def test_what_a_kill_cuts_off_is_answered_once_the_lease_has_run_out(
    start: Start, server_database: Database, keepsay: Keepsay
) -> None:
    """Rows B5 and C3: kill -9 while the agent thinks."""
    server = start(KEEPSAY_AGENT="some_agents:slow", THINK="60")
    user = new_user()
    made = await server.post("/api/session", {"user_id": user, "context": {"role": "system", "content": "Be brief."}})
    conversation = made.json()["session_id"]
    body = {"message": "Hello", "request_id": "r", "conversation_id": conversation}
    asking = asyncio.create_task(server.post(f"/api/{user}/chat", body))
    await server.until_asked()
    await server.end(signal.SIGKILL)
    with pytest.raises(httpx.TransportError):
        await asking
    other = start(KEEPSAY_AGENT="some_agents:slow")
    busy = await other.post(f"/api/{user}/chat", body)
    assert (busy.status_code, busy.json()["code"]) == (409, "conversation_busy")
    assert 1 <= int(busy.headers["Retry-After"]) <= 30
    await server_database.expire_lease(Owner.of(checked_user_id(user)), ConversationId(UUID(conversation)))
    answer = await other.post(f"/api/{user}/chat", body)
    assert answer.json()["response"] == "answer to 2"
    log = (await keepsay.user(user).messages(conversation)).items
    assert [message.role.text for message in log] == ["system", "user", "assistant"]


async def test_a_client_that_goes_away_does_not_end_its_turn(start: Start, keepsay: Keepsay) -> None:
    server = start(KEEPSAY_AGENT="some_agents:slow", THINK="1")
    user = new_user()
    conversation = await keepsay.user(user).create()
    with pytest.raises(httpx.ReadTimeout):
        async with httpx.AsyncClient(base_url=server.url, timeout=0.5) as http:
            await http.post(f"/api/{user}/chat", json={"message": "Hello", "conversation_id": str(conversation.id)})

    async def is_stored() -> bool:
        return (await keepsay.user(user).get(conversation.id)).head == 2

    await until(is_stored)


def test_dev_auth_does_not_listen_to_others() -> None:
    with pytest.raises(ConfigurationError, match=r"0\.0\.0\.0"):
        serve(Settings(host="0.0.0.0"))


def test_a_taken_port_is_said_plainly() -> None:
    with _taken_port() as port, pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}"):
        serve(Settings(port=port))


@contextmanager
def _taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()
        yield listener.getsockname()[1]
