"""The server as a program: rows B6 and C3 (any instance answers, a restart loses nothing), B5 (resume)."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest

from keepsay import ConfigurationError, Keepsay
from keepsay.model.ids import ConversationId, checked_user_id
from keepsay.server import Settings, serve
from keepsay.store.postgres.dsn import Dsn
from keepsay.store.protocol import Owner
from keepsay.testing.postgres import Database
from keepsay.testing.wire import free_port

from .client import new_user

PROGRAM = "from keepsay.server import serve; serve()"
AGENTS = """
import asyncio, os, time

async def slow(messages):
    open(os.environ["ASKED"], "a").write("x")
    await asyncio.sleep(float(os.environ.get("THINK", "0")))
    return f"answer to {len(messages)}"

def stuck(messages):
    open(os.environ["ASKED"], "a").write("x")
    time.sleep(float(os.environ.get("THINK", "0")))
    return "late"
"""

Start = Callable[..., "Server"]


class Server:
    """A server in a process of its own, listening on 127.0.0.1."""

    def __init__(self, folder: Path, dsn: Dsn, **settings: str) -> None:
        self.asked = folder / "asked"
        (folder / "some_agents.py").write_text(AGENTS)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        database = f"postgresql://{dsn.user}@/{dsn.database}?host={quote(str(dsn.host))}&port={dsn.port}"
        own = {"DATABASE_URL": database, "KEEPSAY_PORT": str(self.port), "ASKED": str(self.asked)}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("KEEPSAY_")}
        self.program = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROGRAM],
            cwd=folder,
            env=inherited | own | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.banner = self._until_it_listens()

    def _until_it_listens(self) -> str:
        assert self.program.stdout is not None
        said = ""
        while "X-Keepsay-User" not in said:
            line = self.program.stdout.readline()
            assert line, f"the server ended: {said}"
            said += line
        return said

    async def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as http:
            return await http.post(path, json=body)

    async def until_asked(self, times: int = 1) -> None:
        async with asyncio.timeout(20):
            while not self.asked.exists() or len(self.asked.read_text()) < times:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def end(self, signal_number: int = signal.SIGTERM) -> int:
        """Send the signal and wait for the end."""
        self.program.send_signal(signal_number)
        return await asyncio.to_thread(self.program.wait, 30)


@pytest.fixture
def start(tmp_path: Path, server_database: Database) -> Iterator[Start]:
    started: list[Server] = []

    def start_one(**settings: str) -> Server:
        started.append(Server(tmp_path, server_database.dsn, **settings))
        return started[-1]

    yield start_one
    for server in started:
        if server.program.poll() is None:
            server.program.kill()
        server.program.wait()
        assert server.program.stdout is not None
        server.program.stdout.close()


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


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_huge_body_is_refused_and_the_client_learns_why(start: Start, chunked: bool) -> None:
    server = start()
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(20 * 16):
            sent += 65_536
            yield b" " * 65_536

    def send() -> httpx.Response:
        headers = {"Content-Type": "application/json"} | ({} if chunked else {"Content-Length": str(20 << 20)})
        with httpx.Client(base_url=server.url) as http:
            return http.post("/api/conversations", content=body(), headers=headers)

    before = _memory(server.program.pid)
    answer = await asyncio.to_thread(send)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert _memory(server.program.pid) - before < 2 * 4 * 1024 * 1024


def _memory(pid: int) -> int:
    """Resident bytes."""
    if not Path("/proc").exists():
        return 0
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


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
