"""Every limit, at it and one over it; bodies of every broken kind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from keepsay.model import limits

from .client import Client

HELLO = {"role": "user", "content": "Hello"}


def _nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value


def _content(size: int) -> dict[str, str]:
    """A user's message whose JSON has so many bytes."""
    empty = len(json.dumps({"role": "user", "content": ""}, separators=(",", ":")))
    return {"role": "user", "content": "x" * (size - empty)}


def _metadata(size: int) -> dict[str, str]:
    return {"x": "y" * (size - len('{"x":""}'))}


@pytest.mark.parametrize(
    ("at", "over", "field"),
    [
        ({"title": "é" * 255}, {"title": "é" * 256}, "title"),
        ({"system_prompt": "x" * 100_000}, {"system_prompt": "x" * 100_001}, "system_prompt"),
        ({"external_key": "k" * 255}, {"external_key": "k" * 256}, "external_key"),
        ({"metadata": _metadata(16_384)}, {"metadata": _metadata(16_385)}, "metadata"),
        ({"metadata": {"x": _nested(3)}}, {"metadata": {"x": _nested(4)}}, "metadata"),
        ({"messages": [_content(1024 * 1024)]}, {"messages": [_content(1024 * 1024 + 1)]}, "payload"),
        (
            {"messages": [HELLO] * 100, "role_policy": "lenient"},
            {"messages": [HELLO] * 101, "role_policy": "lenient"},
            "messages",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_values_at_their_limit_are_kept_and_over_it_refused(
    ada: Client, at: dict[str, Any], over: dict[str, Any], field: str
) -> None:
    kept = await ada.post("/api/conversations", at)
    assert kept.status == 201, kept.content
    refused = await ada.post("/api/conversations", over)
    assert (refused.status, refused.code, refused.json["field"]) == (422, "too_large", field)
    assert refused.json["size"] == refused.json["limit"] + 1


@pytest.mark.parametrize("field", ["title", "system_prompt", "external_key", "metadata"])
@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "\udc00\ud800"])
async def test_nul_and_lone_surrogates_are_for_messages_alone(ada: Client, field: str, text: str) -> None:
    answer = await ada.post("/api/conversations", {field: {"k": text} if field == "metadata" else text})
    assert (answer.status, answer.code, answer.json["field"]) == (422, "invalid_input", field)


@pytest.mark.parametrize(
    "body",
    [{"title": 5}, {"title": []}, {"metadata": "x"}, {"metadata": [1]}, {"role_policy": "loose"}, {"role_policy": 1},
     {"external_key": ""}, {"messages": {}}, {"messages": [5]}, {"user_id": "x"}, {"Title": "x"}],
)  # fmt: skip
async def test_values_of_another_type_and_unknown_fields_are_refused(ada: Client, body: dict[str, object]) -> None:
    answer = await ada.post("/api/conversations", body)
    assert (answer.status, answer.code, answer.json["field"]) == (422, "invalid_input", next(iter(body)))
    assert (await ada.get("/api/conversations")).json["items"] == []


async def test_keys_have_1_to_255_characters(ada: Client) -> None:
    for key, status in (("k" * 255, 201), ("k" * 256, 422)):
        answer = await ada.post("/api/conversations", {}, headers={"Idempotency-Key": key})
        assert answer.status == status


async def test_the_body_may_have_4_mib(ada: Client) -> None:
    conversation = await ada.create()
    path = f"/api/conversations/{conversation}/messages"
    body = json.dumps(HELLO).encode()
    at = await ada.post(path, raw=body + b" " * (limits.BODY_BYTES - len(body)))
    assert at.status == 201
    over = await ada.post(path, raw=body + b" " * (limits.BODY_BYTES - len(body) + 1))
    assert (over.status, over.code, over.json["limit"]) == (413, "body_too_large", limits.BODY_BYTES)
    assert over.json["outcome"] == "not_applied"


@pytest.mark.parametrize("over", [0, 1])
async def test_a_body_without_a_length_is_counted(ada: Client, over: int) -> None:
    body = json.dumps({"title": "x"}).encode()
    body += b" " * (limits.BODY_BYTES - len(body) + over)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    async with httpx.AsyncClient(transport=httpx.ASGITransport(ada.app), base_url="http://localhost") as http:
        answer = await http.post(
            "/api/conversations", content=chunks(), headers={"Content-Type": "application/json", "X-Keepsay-User": "x"}
        )
    assert answer.status_code == (413 if over else 201)


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b"{'a': 1}", 400, "malformed_json"),
        (b'{"a": 1,}', 400, "malformed_json"),
        (b'{"title": "\x01"}', 400, "malformed_json"),
        (b'\xef\xbb\xbf{"title": "x"}', 400, "malformed_json"),
        (b'{"title": "\xff"}', 400, "malformed_json"),
        ('{"title": "x"}'.encode("utf-16"), 400, "malformed_json"),
        (b'{"title": NaN}', 422, "invalid_input"),
        (b'{"title": -Infinity}', 422, "invalid_input"),
        (b'{"title": 1e999}', 422, "invalid_input"),
        (b'{"title": 9223372036854775808}', 422, "invalid_input"),
        (b'{"title": -9223372036854775809}', 422, "invalid_input"),
        (b'{"title": ' + b"9" * 5000 + b"}", 422, "invalid_input"),
        (b'{"title": "a", "title": "b"}', 422, "invalid_input"),
        (b'{"messages": [{"role": "user", "role": "system", "content": "x"}]}', 422, "invalid_input"),
        (b"[" * 65 + b"]" * 65, 422, "too_large"),
        (b"[" * 100_000, 422, "too_large"),
        (b'{"a":' * 100_000, 422, "too_large"),
        (b"null", 422, "invalid_input"),
        (b"[]", 422, "invalid_input"),
        (b'"text"', 422, "invalid_input"),
    ],
)
@pytest.mark.parametrize("path", ["/api/conversations", "/api/{user}/chat", "/api/session"])
async def test_broken_bodies_get_a_clear_answer(ada: Client, path: str, raw: bytes, status: int, code: str) -> None:
    answer = await ada.post(path.format(user=ada.user), raw=raw)
    assert (answer.status, answer.code) == (status, code)


async def test_integers_of_64_bits_and_64_levels_are_kept(ada: Client) -> None:
    conversation = await ada.create(role_policy="open")
    payload = {"low": -(2**63), "high": 2**63 - 1, "deep": _nested(60)}
    answer = await ada.say(conversation, {"payload": payload, "format": "mine"})
    assert answer.status == 201
    assert answer.json["messages"][0]["payload"] == payload
