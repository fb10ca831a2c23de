"""Row C4: huge, slow and lying bodies cost the server next to nothing, and their senders learn why they are refused."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO

import httpx
import pytest

from keepsay.model import limits
from keepsay.testing.postgres import Database

from .program import SERVE, Server

MIB = 1024 * 1024
CHUNK = b" " * 65_536
HUGE = 100_000_000
BOUND = 16 * MIB
"""What one huge body may add to the server's memory. The limit is 4 MiB; it stands there twice while it is joined."""
JSON = {"Content-Type": "application/json"}
IMPATIENT = f"from keepsay.server import bodies; bodies.BODY_SECONDS = 1; {SERVE}"
UNBOUNDED = """
import os
import uvicorn
from fastapi import FastAPI, Request

app = FastAPI()

@app.post("/api/conversations")
async def keep(request: Request):
    return len(await request.body())

print("X-Keepsay-User", flush=True)
uvicorn.run(app, host="127.0.0.1", port=int(os.environ["KEEPSAY_PORT"]), log_level="warning")
"""

Start = Callable[..., Server]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("memory")


@pytest.fixture(scope="module")
def server(folder: Path, server_database: Database) -> Iterator[Server]:
    """A server after its first requests."""
    server = Server(folder, server_database.dsn, KEEPSAY_LOG_LEVEL="warning")
    for _ in range(3):
        assert httpx.post(f"{server.url}/api/conversations", json={"title": "x" * 200}).status_code == 201
    yield server
    server.kill()


@pytest.fixture(scope="module")
def impatient(folder: Path, server_database: Database) -> Iterator[Server]:
    """A server that waits a second for a body."""
    server = Server(folder, server_database.dsn, program=IMPATIENT, KEEPSAY_LOG_LEVEL="warning")
    yield server
    server.kill()


def _chunks() -> Iterator[bytes]:
    for _ in range(HUGE // len(CHUNK)):
        yield CHUNK


def _send(server: Server, method: str = "POST", path: str = "/api/conversations", **headers: str) -> httpx.Response:
    """Send a huge chunked body and read the answer."""
    sent = JSON | {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.request(method, server.url + path, content=_chunks(), headers=sent, timeout=60)


def _grown(server: Server, work: Callable[[], object]) -> int:
    """By how many bytes the server's memory has grown at its peak while this was done."""
    process = Path(f"/proc/{server.program.pid}")
    (process / "clear_refs").write_text("5")  # forget the peak so far
    before = _kilobytes(process, "VmRSS")
    work()
    return (_kilobytes(process, "VmHWM") - before) * 1024


def _kilobytes(process: Path, name: str) -> int:
    for line in (process / "status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise AssertionError(name)


@pytest.mark.parametrize(
    ("method", "path", "kind", "status"),
    [
        ("POST", "/api/conversations", "application/json", 413),
        ("POST", "/api/ada/chat", "application/json", 413),
        ("POST", "/api/conversations", "text/plain", 415),
        ("POST", "/nope", "application/json", 404),
        ("PUT", "/api/conversations", "application/json", 405),
        ("GET", "/api/conversations", "application/json", 200),
        ("GET", "/healthz", "application/json", 200),
        ("DELETE", "/api/conversations/x", "application/json", 404),
    ],
)
def test_a_huge_chunked_body_is_answered_and_not_kept(
    server: Server, method: str, path: str, kind: str, status: int
) -> None:
    answers: list[httpx.Response] = []
    grown = _grown(server, lambda: answers.append(_send(server, method, path, Content_Type=kind)))
    assert answers[0].status_code == status
    assert grown < BOUND


def test_ten_huge_bodies_at_once_are_not_kept(server: Server) -> None:
    def ten() -> None:
        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(lambda _: _send(server), range(10)))
        assert [answer.status_code for answer in answers] == [413] * 10

    assert _grown(server, ten) < 10 * 2 * limits.BODY_BYTES


def test_a_server_without_the_limit_would_keep_it_all(folder: Path, server_database: Database) -> None:
    """The control: the same request and the same measure."""
    unbounded = Server(folder, server_database.dsn, program=UNBOUNDED)
    try:
        _until_answered(unbounded)
        assert _grown(unbounded, lambda: _send(unbounded)) > HUGE
    finally:
        unbounded.kill()


def _until_answered(server: Server) -> None:
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", server.port)) == 0:
                return
        time.sleep(0.02)


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", f"Content-Length: {HUGE}"])
def test_curl_is_told_why(server: Server, folder: Path, framing: str) -> None:
    huge = folder / "huge"
    with huge.open("wb") as file:
        file.truncate(HUGE)
    for expect in ("Expect: 100-continue", "Expect:"):
        headers = [part for text in (framing, expect, "Content-Type: application/json") for part in ("-H", text)]
        command = ["curl", "-sS", "-X", "POST", "-T", str(huge), *headers, f"{server.url}/api/conversations"]
        assert _grown(server, partial(_assert_told, command)) < BOUND


def _assert_told(command: list[str]) -> None:
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert '"code":"body_too_large"' in said.stdout
    assert said.stderr == ""


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ("Content-Length: 4194305\r\n", b"", 413),
        ("Content-Length: 99999999999999\r\n", b"", 413),
        ("Content-Length: 9999999999999999\r\n", b"", 413),
        ("Content-Length: 2\r\nContent-Encoding: gzip\r\n", b"{}", 415),
        ("Content-Length: 2\r\nContent-Encoding: br, gzip\r\n", b"{}", 415),
        ("Content-Length: 20\r\n", b"{}", 408),
        ("Content-Length: 1\r\n", b"{}", 400),
        ("Content-Length: -1\r\n", b"{}", 400),
        ("Content-Length: x\r\n", b"{}", 400),
        ("Content-Length: 2\r\nContent-Length: 3\r\n", b"{}", 400),
        ("Transfer-Encoding: gzip\r\n", b"{}", 400),
        ("Transfer-Encoding: chunked\r\n", b"-1\r\n{}\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", b"2\r\n{}\r\n", 408),
    ],
)
def test_lies_about_the_body_are_refused(impatient: Server, headers: str, body: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=20) as wire, wire.makefile("rb") as answer:
        head = f"POST /api/conversations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\r\n"
        wire.sendall(head.encode() + body)
        assert _status(answer) == status
    assert httpx.get(f"{impatient.url}/healthz").status_code == 200


def _status(answer: IO[bytes]) -> int:
    return int(answer.readline().split()[1])


async def test_bodies_that_drip_are_given_up_and_hold_nobody_up(impatient: Server) -> None:
    async def drip() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", impatient.port)
        writer.write(
            b"POST /api/conversations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        answering = asyncio.ensure_future(reader.readline())
        while not answering.done():
            writer.write(b"1\r\n \r\n")
            await asyncio.wait([answering], timeout=0.1)
        writer.close()
        return int((await answering).split()[1])

    async with httpx.AsyncClient(base_url=impatient.url) as http:
        dripping = [asyncio.ensure_future(drip()) for _ in range(50)]
        started = time.monotonic()
        assert (await http.get("/api/conversations")).status_code == 200
        assert time.monotonic() - started < 1
        assert await asyncio.gather(*dripping) == [408] * 50
