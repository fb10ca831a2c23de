"""An issuer on a real socket: it answers the bytes that it is told, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class HttpIssuer:
    """``answer`` writes what it likes; ``requests`` are the heads that came."""

    answer: Answer
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    conversations: set[asyncio.Task[object]] = field(default_factory=set)
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/jwks.json"

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.conversations.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            await self.answer(writer)
        writer.close()


def saying(body: bytes, status: str = "200 OK", *headers: str) -> Answer:
    """An ordinary answer."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()

    return answer


def raw(*pieces: bytes, pause: float = 0.0) -> Answer:
    """These bytes, with a pause after each piece, then the end."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return answer


async def silent(writer: asyncio.StreamWriter) -> None:
    """Hangs until the test is over."""
    await asyncio.Event().wait()


@asynccontextmanager
async def http_issuer(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[HttpIssuer]:
    """Listens on 127.0.0.1, below the ports that the system gives out."""
    issuer = HttpIssuer(answer, scheme="https" if tls else "http")
    server = None
    while server is None:
        with contextlib.suppress(OSError):
            issuer.port = random.randrange(20_000, 32_000)
            server = await asyncio.start_server(issuer.converse, "127.0.0.1", issuer.port, ssl=tls)
    try:
        yield issuer
    finally:
        server.close()
        for conversation in issuer.conversations:
            conversation.cancel()
        await asyncio.gather(*issuer.conversations)
