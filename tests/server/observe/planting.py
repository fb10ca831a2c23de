"""Requests with a canary in every place that a caller can fill.

But for the names of fields: a refusal tells which one is unknown. What a field holds, it never tells.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..canaries import Canaries
from ..client import Answer, Client

ABSENT = "018f0000-0000-7000-8000-000000000000"


@dataclass
class Planter:
    """Asks an app everything as ``user``, whom ``headers`` let in, and keeps what it answers."""

    client: Client
    canary: Canaries
    user: str
    headers: dict[str, str]

    def __post_init__(self) -> None:
        self.answers: list[Answer] = []

    async def ask(self, method: str, path: str, body: object = None, **more: Any) -> Answer:
        canary = self.canary
        headers = {
            "Cookie": f"session={canary('cookie')}",
            "User-Agent": canary("user-agent"),
            "Referer": f"http://localhost/{canary('referer')}",
            "X-Forwarded-For": canary("forwarded"),
            "X-Request-ID": f"{canary('request-id')} is none",
            "Accept": f"text/{canary('accept')}",
            "traceparent": f"00-{canary('traceparent')}-01",
            "baggage": f"user={canary('baggage')}",
        }
        headers |= self.headers | more.pop("headers", {})
        raw = more.pop("raw", None if body is None else json.dumps(body).encode())
        query = "" if method == "GET" else f"?q={canary('query')}"  # of those that read one, names are told
        answer = await self.client.send(method, path + query, raw=raw, headers=headers)
        self.answers.append(answer)
        return answer

    async def ask_everything(self) -> None:
        """The routes as the document has them, then what is special about some."""
        await self._ask_every_route()
        await self._talk()
        await self._ask_wrongly()

    async def _ask_every_route(self) -> None:
        """Whatever routes there will be: canaries in the path, in the query and in each field of the body."""
        document = self.client.app.openapi()
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                for body in _bodies(document, operation, self.canary):
                    for ids in ({}, {"conversation_id": ABSENT, "run_id": ABSENT, "user_id": "nobody"}):
                        await self.ask(method.upper(), self._filled(path, ids), body)

    def _filled(self, path: str, ids: dict[str, str]) -> str:
        parts = [
            ids.get(part[1:-1], self.canary(f"path-{part[1:-1]}")) if part.startswith("{") else part
            for part in path.split("/")
        ]
        return "/".join(parts)

    async def _talk(self) -> None:
        """What succeeds, what is done again, and what conflicts with it."""
        canary = self.canary
        key = {"Idempotency-Key": canary("idempotency-key")}
        new = {
            "title": canary("title"),
            "system_prompt": canary("system-prompt"),
            "external_key": canary("external-key"),
            "metadata": {canary("metadata-name"): canary("metadata")},
        }
        made = await self.ask("POST", "/api/conversations", new, headers=key)
        assert made.status == 201, made.content
        path = f"/api/conversations/{made.json['id']}"
        said = {
            "role": "user",
            "content": canary("content"),
            "name": canary("name"),
            canary("extra-name"): canary("extra"),
        }
        for body in (said, said, said | {"content": canary("other-content")}):
            await self.ask("POST", f"{path}/messages", body, headers=key)
        await self.ask("POST", f"{path}/messages", said | {"expected_seq": 99})
        await self.ask("POST", f"{path}/messages", {"role": "tool", "content": "x", "tool_call_id": canary("call-id")})
        request = {"message": canary("message"), "request_id": canary("request-id-of-a-turn")}
        for _ in range(2):
            await self.ask("POST", f"{path}/continue", request)
        await self.ask("POST", f"/api/{self.user}/chat", request)
        await self.ask("POST", "/api/session", {"user_id": self.user, "context": canary("context")})
        await self.ask("GET", path)
        await self.ask("DELETE", path, headers={"If-Match": f'"{canary("if-match")}"'})

    async def _ask_wrongly(self) -> None:
        canary = self.canary
        await self.ask("POST", "/api/conversations", raw=b'{"title": "' + canary("malformed").encode())
        await self.ask("POST", "/api/conversations", raw=canary("huge").encode() * 200_000)
        await self.ask(
            "POST", "/api/conversations", raw=canary("text").encode(), headers={"Content-Type": canary("type")}
        )
        for field in ("limit", "cursor", "status", "skip", "order", "after"):
            await self.ask("GET", f"/api/conversations?{field}={canary(field)}")
            await self.ask("GET", f"/api/conversations/{ABSENT}/messages?{field}={canary(field)}")
        await self.ask("GET", f"/{canary('page')}")
        await self.ask(canary("method").upper().replace("_", "-"), "/healthz")
        await self.ask("GET", "/api/conversations", headers={"X-Keepsay-User": canary("user") + "\u0007"})
        await self.ask("GET", "/api/conversations", headers={"Host": canary("host")})
        await self.ask("GET", "/api/conversations", headers={"Origin": f"https://{canary('origin')}"})
        await self.ask("GET", "/api/conversations", headers={"Authorization": f"Bearer {canary('authorization')}"})
        await self.ask("GET", "/metrics", headers={"Authorization": f"Bearer {canary('authorization')}"})


def _bodies(document: Any, operation: Any, canary: Canaries) -> Iterator[object]:
    """The operation's body with canaries in all fields, then with each alone."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        yield None
        return
    names = sorted(_fields(document, content["schema"]))
    yield {name: canary(f"field-{name}") for name in names}
    for name in names:
        yield {name: canary(f"field-{name}")}
        yield {name: [{"x": canary(f"inside-{name}")}]}


def _fields(document: Any, schema: Any) -> set[str]:
    if "$ref" in schema:
        return _fields(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    choices = [part for word in ("anyOf", "oneOf", "allOf") for part in schema.get(word, ())]
    return set(schema.get("properties", {})).union(*(_fields(document, part) for part in choices))
