"""Several processes behind one port: all answer, the dead are replaced, and all end together."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from keepsay import ConfigurationError
from keepsay.server import Settings, echo, serve

from .client import new_user
from .program import Server, Start
from .until import until


async def _answering(server: Server, *, at_once: int = 8) -> set[int]:
    """The processes that answered when so many asked at once; clients whose connection a kill cuts off try again."""

    async def ask() -> int:
        for _ in range(50):
            try:
                answer = await server.post(f"/api/{new_user()}/chat", {"message": "Who are you?"})
            except httpx.TransportError:
                continue
            return int(answer.json()["response"])
        raise AssertionError("nobody answers")

    return set(await asyncio.gather(*(ask() for _ in range(at_once))))


async def _workers(server: Server, count: int) -> set[int]:
    """The workers, once so many have answered."""
    found: set[int] = set()

    async def are_all_here() -> bool:
        found.update(await _answering(server))
        return len(found) >= count

    await until(are_all_here, seconds=60)
    return found


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


async def _until_ended(pids: set[int]) -> None:
    async def have_ended() -> bool:
        return not any(map(_runs, pids))

    await until(have_ended)


@pytest.fixture
def server(start: Start) -> Server:
    return start(KEEPSAY_AGENT="some_agents:who", KEEPSAY_WORKERS="2", THINK="0.3")


async def test_every_worker_answers_and_all_end_with_the_first(server: Server) -> None:
    assert server.banner.count("listening") == 1
    workers = await _workers(server, 2)
    assert len(workers) == 2
    assert server.program.pid not in workers
    asking = asyncio.create_task(_answering(server))
    await server.until_asked(len(server.asked.read_text()) + 8)
    assert await server.end() == 0
    assert await asking <= workers, "what was under way has been answered"
    await _until_ended(workers)


async def test_a_killed_worker_is_replaced(server: Server) -> None:
    first, second = sorted(await _workers(server, 2))
    os.kill(first, signal.SIGKILL)
    await _until_ended({first})

    async def is_replaced() -> bool:
        return bool(await _answering(server) - {second})

    await until(is_replaced, seconds=60)
    assert await server.end(signal.SIGINT) == 0
    await _until_ended({second})


async def test_workers_do_not_outlive_the_first(server: Server) -> None:
    workers = await _workers(server, 2)
    server.kill()
    await _until_ended(workers)


async def test_a_second_signal_reaches_the_workers(start: Start) -> None:
    server = start(KEEPSAY_AGENT="some_agents:slow", KEEPSAY_WORKERS="2", THINK="60", KEEPSAY_SHUTDOWN_SECONDS="60")
    asking = asyncio.create_task(server.post(f"/api/{new_user()}/chat", {"message": "Hello"}))
    await server.until_asked()
    server.program.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.3)
    assert server.program.poll() is None
    assert await server.end(signal.SIGINT) == 0
    assert (await asking).json()["code"] == "server_stopping"


def test_workers_take_everything_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ({"settings": Settings(workers=2)}, {"agent": echo}):
        monkeypatch.setenv("KEEPSAY_WORKERS", "2")
        with pytest.raises(ConfigurationError, match="from the environment"):
            serve(**given)


def test_what_is_wrong_is_said_before_a_worker_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPSAY_WORKERS", "2")
    monkeypatch.setenv("DATABASE_URL", "mysql://x")
    with pytest.raises(ConfigurationError, match="postgresql://"):
        serve()
