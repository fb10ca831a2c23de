"""Asks an app directly, with nothing in between that could add or hide a header, or take time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from starlette.types import ASGIApp, Message

__all__ = ["Reply", "Request", "send"]

_DIFFERENT_ANYWAY = frozenset({b"x-request-id", b"date"})


@dataclass(frozen=True)
class Request:
    """What is asked. ``None`` as a body is no body."""

    method: str
    path: str
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """What is answered; equal replies cannot be told apart by anybody."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    content: bytes

    @property
    def text(self) -> str:
        """Everything that can be read in it."""
        return b"\n".join([*(b": ".join(header) for header in self.headers), self.content]).decode()


async def send(app: ASGIApp, request: Request, *, unread: bool = False) -> Reply:
    """Ask, and wait for the whole answer; ``unread``: nobody may read the body."""
    body = b"" if request.body is None else json.dumps(request.body).encode()
    asked: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    answered: list[Message] = []

    async def receive() -> Message:
        assert not unread, "the body was read"
        return asked.pop() if asked else {"type": "http.disconnect"}

    async def keep(message: Message) -> None:
        answered.append(message)

    await app(_scope(request, body), receive, keep)
    content = b"".join(message.get("body", b"") for message in answered[1:])
    headers = sorted((name.lower(), value) for name, value in answered[0]["headers"])
    known = tuple((name, value) for name, value in headers if name not in _DIFFERENT_ANYWAY)
    return Reply(answered[0]["status"], known, content)


def _scope(request: Request, body: bytes) -> dict[str, Any]:
    said = {"Host": "localhost"} | dict(request.headers)
    if request.body is not None:
        said |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": request.method,
        "path": request.path,
        "raw_path": quote(request.path).encode(),
        "root_path": "",
        "query_string": urlencode(request.query).encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in said.items()],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
        "state": {},
    }
