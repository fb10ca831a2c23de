"""No input gives a 5xx: thousands of bodies, paths, queries and headers, broken in a thousand ways."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from keepsay import Keepsay

from .client import Client, connect

CASES = 3_000
WEIRD: list[Any] = [
    None, True, False, 0, -1, 1, 1.5, 1e308, 2**31, 2**63 - 1, -(2**63), "", " ", "x", "\0", "\ud800", "x" * 300, "1",
    [], {}, [[]], [{}], {"": ""}, {"role": "user", "content": "x"}, {"role": "tool", "tool_call_id": 1},
    {"role": "assistant", "tool_calls": [{"id": "\ud800"}]}, {"role": "assistant", "tool_calls": [[]]},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": None}]},
    {"payload": {"type": "function_call", "call_id": "\0"}, "format": "openai.responses"},
    {"payload": {"type": "message", "role": "user", "content": {}}, "format": "openai.responses"},
    {"payload": {}, "format": "\ud800"}, {"payload": {}, "client_id": "\0"}, {"payload": {}, "usage": {"a": "\0"}},
    [1] * 101, {"a": {"b": {"c": {"d": {"e": 1}}}}},
]  # fmt: skip
FIELDS = [
    "title", "system_prompt", "metadata", "external_key", "role_policy", "messages", "message", "conversation_id",
    "request_id",
    "max_messages", "max_tokens", "user_id", "session_id", "context", "expected_seq", "role", "content", "tool_calls",
    "tool_call_id", "tool_name", "payload", "format", "status", "client_id", "usage", "\0", "\ud800", "",
]  # fmt: skip
QUERY = ["after", "before", "cursor", "limit", "order", "status", "skip", "hard", "x", ""]
GOOD: dict[str, dict[str, Any]] = {
    "/api/conversations": {"title": "t", "messages": [{"role": "user", "content": "x"}]},
    "/api/conversations/{id}/messages": {"messages": [{"role": "user", "content": "x"}], "expected_seq": 0},
    "/api/conversations/{id}/continue": {"message": "x", "request_id": "r", "max_messages": 3},
    "/api/{user}/chat": {"message": "x", "conversation_id": None, "request_id": "r"},
    "/api/session": {"user_id": "{user}", "context": "x"},
}


def _broken(rng: random.Random, good: dict[str, Any]) -> bytes:
    """A good body, with something done to it."""
    body = json.loads(json.dumps(good))
    for _ in range(rng.choice((1, 1, 2))):
        body[rng.choice([*good, rng.choice(FIELDS)])] = rng.choice(WEIRD)
    raw = json.dumps(rng.choice([body, body, body, body, rng.choice(WEIRD), [body]])).encode()
    if rng.random() < 0.3:
        at = rng.randrange(len(raw) + 1)
        raw = rng.choice(
            [
                raw[:at],
                raw[:at] + bytes([rng.randrange(256)]) + raw[at:],
                raw[:at] + raw[at + 1 :],
                raw * 2,
                raw.swapcase(),
            ]
        )
    return raw


def _queries(rng: random.Random) -> Iterator[str]:
    for name in rng.sample(QUERY, rng.randrange(1, 4)):
        value = rng.choice(
            ["", "0", "1", "-1", "x", "1" * 40, "\0", "é", "true", "asc", "desc", "archived", "Ag==", "AAAA"]
        )
        yield f"{quote(name)}={quote(value)}"


def _headers(rng: random.Random) -> dict[str, str]:
    weird = ["", "k", "k" * 256, "\x80é", '"1"', "*", "0", "\t", "application/json; charset=x", "text/plain"]
    names = ["Idempotency-Key", "If-Match", "X-Request-ID", "Content-Type", "X-Keepsay-User", "Accept", "Range"]
    return {rng.choice(names): rng.choice(weird)} if rng.random() < 0.2 else {}


async def _one(rng: random.Random, ada: Client, conversation: str) -> tuple[int, object]:
    names = {"id": rng.choice([conversation, conversation, "x", "%00", "018f"]), "user": ada.user or ""}
    if rng.random() < 0.75:
        path, good = rng.choice(list(GOOD.items()))
        raw = _broken(rng, {name: ada.user if value == "{user}" else value for name, value in good.items()})
        request: tuple[Any, ...] = ("POST", path.format(**names), raw)
    else:
        path = rng.choice(["/api/conversations", "/api/conversations/{id}", "/api/conversations/{id}/messages"])
        method = rng.choice(["GET", "GET", "DELETE", "PATCH", "HEAD", "OPTIONS"])
        if names["id"] == conversation and method == "DELETE":
            names["id"] = "x"
        request = (method, path.format(**names) + "?" + "&".join(_queries(rng)), None)
    method, url, raw = request
    answer = await ada.send(method, url, raw=raw, headers=_headers(rng))
    if answer.status >= 400 and method != "HEAD":
        assert answer.code, request
    assert answer.headers["x-request-id"]
    return answer.status, request


@pytest.mark.parametrize("seed", range(2))
async def test_no_input_gives_a_5xx(keepsay: Keepsay, seed: int) -> None:
    rng = random.Random(seed)
    ada = connect(keepsay, lambda messages: "ok")
    conversation = await ada.create(role_policy="lenient")
    statuses = set()
    for _ in range(CASES // 2):
        status, request = await _one(rng, ada, conversation)
        assert status < 500, request
        statuses.add(status)
    assert {200, 201, 400, 404, 405, 415, 422} <= statuses, "the fuzzer reaches the good and the bad"
