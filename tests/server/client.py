"""A client that sends what it is told, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
from fastapi import FastAPI

from keepsay import Keepsay
from keepsay.server import Agent, Settings, create_app

from .canaries import MARK

UNSAID = object()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: httpx.Headers
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def code(self) -> Any:
        """The problem's code, once the problem is known to be well-formed."""
        assert self.headers["content-type"] == "application/problem+json", self.content
        problem = self.json
        assert problem["status"] == self.status
        assert problem["type"] == f"urn:keepsay:problem:{problem['code']}"
        assert problem["title"]
        assert problem["detail"]
        return problem["code"]


@dataclass(frozen=True)
class Client:
    """One user's client of an app."""

    app: FastAPI
    user: str | None
    client: tuple[str, int] = ("127.0.0.1", 123)
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(
        self,
        method: str,
        path: str,
        body: object = UNSAID,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send ``body`` as JSON, or ``raw`` as it is. An empty header is left out."""
        sent: dict[str, str] = {"Cookie": f"session={MARK}"} | dict(self.headers)
        if body is not UNSAID:
            raw = json.dumps(body).encode()
        if raw is not None:
            sent["Content-Type"] = "application/json"
        if self.user is not None:
            sent["X-Keepsay-User"] = self.user
        sent |= headers or {}
        encoded = [(name.encode(), value.encode()) for name, value in sent.items() if value]
        transport = httpx.ASGITransport(self.app, client=self.client)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            request = http.build_request(method, path, content=raw, headers=encoded)
            answer = await http.send(request)
        return Answer(answer.status_code, answer.headers, answer.content)

    async def get(self, path: str, **kwargs: Any) -> Answer:
        return await self.send("GET", path, **kwargs)

    async def post(self, path: str, body: object = UNSAID, **kwargs: Any) -> Answer:
        return await self.send("POST", path, body, **kwargs)

    async def create(self, **fields: object) -> str:
        """A new conversation's id."""
        answer = await self.post("/api/conversations", fields)
        assert answer.status == 201, answer.content
        found: str = answer.json["id"]
        return found

    async def say(self, conversation: str, *messages: object, **kwargs: Any) -> Answer:
        return await self.post(f"/api/conversations/{conversation}/messages", {"messages": messages}, **kwargs)

    async def log(self, conversation: str) -> list[tuple[str, object]]:
        """The roles and contents of a conversation."""
        answer = await self.get(f"/api/conversations/{conversation}/messages?limit=200")
        assert answer.status == 200, answer.content
        return [(message["role"], message["content"]) for message in answer.json["items"]]


def new_user() -> str:
    """A user nobody has heard of; no log may name them (``conftest.py``)."""
    return f"ada-{uuid4().hex[:12]}-{MARK}"


def connect(keepsay: Keepsay, agent: Agent | None = None, **settings: Any) -> Client:
    """A new user's client of a new app on these conversations."""
    return Client(create_app(keepsay, agent=agent, settings=Settings(**settings)), new_user())
