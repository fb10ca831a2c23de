"""The end of a server: what is under way may finish, and what may not is given up for others to take."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

import httpx
import pytest

from keepsay import Keepsay
from keepsay.testing.postgres import Database
from keepsay.testing.wire import CountingProxy

from .client import Client, connect, new_user
from .program import Server, Start

GRACE = 10.0
"""Seconds that an end may take beyond its own bounds, on a machine that is busy."""


async def _begin(server: Server, user: str, *, background: bool = True) -> tuple[str, dict[str, Any]]:
    """The path of the runs of a new conversation, and the run of it that has begun."""
    async with httpx.AsyncClient(base_url=server.url, headers={"X-Keepsay-User": user}, timeout=30) as http:
        made = await http.post("/api/conversations", json={})
        path = f"/api/conversations/{made.json()['id']}/runs"
        begun = await http.post(path, json={"message": "Hello", "background": background, "request_id": "r"})
    assert begun.status_code == 202
    return path, begun.json()["run"]


async def test_a_stop_lets_background_runs_finish(start: Start, keepsay: Keepsay) -> None:
    server = start(KEEPSAY_AGENT="some_agents:slow", THINK="1")
    user = new_user()
    _, run = await _begin(server, user)
    assert await server.end() == 0
    over = await keepsay.user(user).get_run(run["conversation_id"], run["id"])
    assert (over.status.text, over.attempt) == ("completed", 1)


@pytest.mark.parametrize("agent", ["slow", "stuck"])
async def test_a_stop_cuts_what_takes_too_long_and_another_server_takes_the_retry_at_once(
    start: Start, keepsay: Keepsay, agent: str
) -> None:
    """The lease is given up: nobody waits for its end. A thread that is stuck does not keep the program."""
    server = start(KEEPSAY_AGENT=f"some_agents:{agent}", THINK="60", KEEPSAY_SHUTDOWN_SECONDS="1")
    user = new_user()
    path, run = await _begin(server, user)
    await server.until_asked()
    began = time.monotonic()
    assert await server.end() == 0
    assert 1 <= time.monotonic() - began < 1 + GRACE
    cut = await keepsay.user(user).get_run(run["conversation_id"], run["id"])
    assert (cut.status.text, cut.error) == ("failed", "interrupted")
    other = Client(connect(keepsay).app, user)
    answer = await other.post(path, {"message": "Hello", "request_id": "r"})
    assert (answer.status, answer.json["run"]["id"], answer.json["run"]["attempt"]) == (200, run["id"], 2)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_stops_at_once_and_gives_up_the_leases(
    start: Start, keepsay: Keepsay, second: signal.Signals
) -> None:
    server = start(KEEPSAY_AGENT="some_agents:slow", THINK="60", KEEPSAY_SHUTDOWN_SECONDS="60")
    user = new_user()
    _, run = await _begin(server, user)
    asking = asyncio.create_task(server.post(f"/api/{user}/chat", {"message": "Hello"}))
    await server.until_asked(2)
    server.program.send_signal(signal.SIGTERM)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.shield(asking), 0.5)
    assert server.program.poll() is None, "the first signal waits"
    began = time.monotonic()
    assert await server.end(second) == 0
    assert time.monotonic() - began < GRACE
    told = await asking
    assert (told.status_code, told.json()["code"], told.json()["outcome"]) == (503, "server_stopping", "unknown")
    cut = await keepsay.user(user).get_run(run["conversation_id"], run["id"])
    assert (cut.status.text, cut.error) == ("failed", "interrupted")


async def test_a_stop_does_not_wait_for_a_database_that_is_gone(start: Start, server_database: Database) -> None:
    async with CountingProxy(server_database.dsn) as wire:
        url = f"postgresql://{wire.dsn.user}@127.0.0.1:{wire.dsn.port}/{wire.dsn.database}?sslmode=disable"
        settings = {"THINK": "60", "KEEPSAY_SHUTDOWN_SECONDS": "0", "DATABASE_URL": url}
        server = start(KEEPSAY_AGENT="some_agents:slow", **settings)
        await _begin(server, new_user())
        wire.silent = True
        began = time.monotonic()
        assert await server.end() == 0
        assert time.monotonic() - began < GRACE


async def test_the_end_of_an_app_cuts_its_turns_and_its_next_life_takes_new_ones(keepsay: Keepsay) -> None:
    asked = asyncio.Event()

    async def agent(messages: list[Any]) -> str:
        seconds = 0 if asked.is_set() else 60
        asked.set()
        await asyncio.sleep(seconds)
        return "done"

    ada = connect(keepsay, agent, shutdown_seconds=0)
    path = f"/api/conversations/{await ada.create()}/runs"
    async with ada.app.router.lifespan_context(ada.app):
        begun = await ada.post(path, {"message": "Hello", "background": True, "request_id": "r"})
        await asked.wait()
    cut = (await ada.get(begun.headers["location"])).json
    assert (cut["status"], cut["error"]) == ("failed", "interrupted")
    late = await ada.post(path, {"message": "Bye"})
    assert (late.status, late.code, late.json["outcome"]) == (503, "server_stopping", "not_applied")
    assert (await ada.get(path.replace("/runs", ""))).json["head"] == 1
    async with ada.app.router.lifespan_context(ada.app):
        assert (await ada.post(path, {"message": "Bye"})).json["response"] == "done"
