"""Row C4: 20,000 broken requests, and no 5xx, no answer that the document does not know, no gap in what is stored."""

from __future__ import annotations

import os
import random
import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from keepsay import Keepsay
from keepsay.model.ids import ConversationId, message_id
from keepsay.store.postgres.sqltext import DEFAULT_SCHEMA
from keepsay.testing.postgres import Database

from .client import Answer, Client, connect
from .nastiness import Nastiness, Request

SEEDS = [int(text) for text in os.environ.get("FUZZ_SEEDS", "1 2 3 4").split()]
CASES = int(os.environ.get("FUZZ_CASES", "5000"))
PATHS = ["x", "%00", "018f", "..", "a b", "é", "\ud800", "x" * 2_000, "active", "018f0000-0000-7000-8000-000000000000"]


@dataclass
class Fuzzed:
    """One app, one user, and what has come of it."""

    client: Client
    document: Any
    conversations: list[str]
    named: str = str(UUID(int=0))
    """The conversation that was named last."""
    runs: deque[str] = field(default_factory=lambda: deque(maxlen=9))
    """What answers have told of."""
    statuses: Counter[int] = field(default_factory=Counter)
    reached: set[tuple[str, str]] = field(default_factory=set)

    def name(self, kind: str, rng: random.Random) -> str:
        """What stands in a path for ``{kind}``: mostly something that is there."""
        if rng.random() < 0.15:
            return rng.choice(PATHS)
        if kind == "user_id":
            return self.client.user or ""
        if kind == "message_id":
            return str(message_id(ConversationId(UUID(self.named)), rng.randrange(1, 5)))
        if kind == "run_id" and self.runs:
            return rng.choice(self.runs)
        self.named = rng.choice(self.conversations)
        return self.named

    async def send(self, request: Request) -> Answer:
        answer = await _ask(self.client.app, request, self.client.user or "")
        self.statuses[answer.status] += 1
        if answer.status < 300:
            self.reached.add(request.operation)
            self.runs.extend(re.findall(r'"run_id":"([^"]{36})"', answer.content.decode()))
        return answer

    def check(self, request: Request, answer: Answer) -> None:
        """No 5xx, a status that the document knows, a body as it says."""
        assert answer.status < 500
        assert answer.headers["x-request-id"]
        if answer.status >= 400:
            assert answer.code
        method, path = request.operation
        known = self.document["paths"][path][method.lower()]["responses"]
        astray = answer.status in (404, 405) and answer.json["code"] in ("no_such_page", "method_not_allowed")
        assert str(answer.status) in known or astray, f"{answer.status} is not documented, {sorted(known)} are"


async def _ask(app: FastAPI, request: Request, user: str) -> Answer:
    """Send it straight into the app: a client for each request would take ten times as long."""
    sent: list[dict[str, Any]] = []
    chunks = [{"type": "http.request", "body": request.body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        return chunks.pop() if chunks else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    raw = request.path.encode("utf-8", "replace")
    own = [(b"host", b"localhost"), (b"x-keepsay-operator", b"true"), (b"x-keepsay-user", user.encode())]
    headers = dict([*own, *request.headers])
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": request.method, "scheme": "http",
        "path": raw.decode(), "raw_path": quote(raw).encode(), "query_string": request.query, "root_path": "",
        "headers": list(headers.items()), "client": ("127.0.0.1", 1), "server": ("localhost", 80),
    }  # fmt: skip
    await app(scope, receive, send)
    start, *rest = sent
    return Answer(
        start["status"], httpx.Headers(start["headers"]), b"".join(message.get("body", b"") for message in rest)
    )


async def _start(keepsay: Keepsay) -> Fuzzed:
    client = connect(keepsay, lambda messages: "ok", operators=True)
    document = (await client.get("/openapi.json")).json
    return Fuzzed(
        client, document, [await client.create(role_policy=policy) for policy in ("strict", "lenient", "open")]
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
async def test_no_input_gives_a_5xx_or_an_answer_out_of_the_document(
    keepsay: Keepsay, server_database: Database, seed: int
) -> None:
    fuzzed = await _start(keepsay)
    nastiness = Nastiness(fuzzed.document, seed, fuzzed.name)
    for case in range(CASES):
        request = nastiness.request()
        answer = await fuzzed.send(request)
        try:
            fuzzed.check(request, answer)
        except Exception as error:
            replay = f"FUZZ_SEEDS={seed} FUZZ_CASES={case + 1} python -m pytest {Path(__file__).name} -x"
            raise AssertionError(f"{error}\n{request}\n{answer}\nReplay: {replay}") from error
        if request.method == "DELETE" and answer.status < 300:
            fuzzed.conversations[:] = [*fuzzed.conversations[1:], await fuzzed.client.create(role_policy="lenient")]
    assert await _gaps(server_database) == []
    if CASES >= 5_000:
        assert fuzzed.statuses.keys() >= {200, 201, 204, 400, 404, 409, 413, 415, 422}, fuzzed.statuses
        assert fuzzed.reached == set(_operations(fuzzed.document)), "the fuzzer gets past the refusals everywhere"


def _operations(document: Any) -> Iterator[tuple[str, str]]:
    for path, methods in document["paths"].items():
        for method in methods:
            yield method.upper(), path


async def _gaps(database: Database) -> list[object]:
    """The conversations whose seqs are not 1, 2, ... up to the head."""
    connection = await asyncpg.connect(**database.dsn.connect_arguments())
    try:
        return list(
            await connection.fetch(
                f"""SELECT c.conversation_id, c.head, count(m.seq), min(m.seq), max(m.seq)
            FROM {DEFAULT_SCHEMA}.conversations c
            LEFT JOIN {DEFAULT_SCHEMA}.messages m USING (user_key, conversation_id)
            GROUP BY c.user_key, c.conversation_id, c.head
            HAVING count(m.seq) <> c.head OR coalesce(max(m.seq), 0) <> c.head OR coalesce(min(m.seq), 1) <> 1"""
            )
        )
    finally:
        await connection.close()
