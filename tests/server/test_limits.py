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


async def test_a_body_has_100_000_commas_and_brackets_at_most(ada: Client) -> None:
    """4 MiB of ``[],[],...`` would hold the server up for seconds."""
    conversation = await ada.create(role_policy="open")
    path = f"/api/conversations/{conversation}/messages"
    around = {"payload": {"list": []}, "format": "mine"}  # two brackets, one comma, one bracket
    for count, status in ((limits.JSON_VALUES - 3, 201), (limits.JSON_VALUES - 2, 422)):
        raw = json.dumps(around).replace("[]", "[" + ",".join("0" * count) + "]").encode()
        assert (await ada.post(path, raw=raw)).status == status
    huge = b'{"metadata": {"x": [' + b"[]," * 1_300_000 + b"[]]}}"
    refused = await ada.post("/api/conversations", raw=huge)
    assert (refused.status, refused.code) == (422, "too_large")


async def test_what_a_document_cannot_tell_apart_is_taken_alike(ada: Client) -> None:
    """To JSON Schema 2.0 is an integer, and a system prompt is none of the messages."""
    hello = {"messages": [HELLO] * 100, "role_policy": "lenient"}
    conversation = await ada.create(system_prompt="Be brief.", **hello)
    path = f"/api/conversations/{conversation}/messages"
    assert (await ada.post(path, {"messages": [HELLO], "expected_seq": 101.0})).status == 201
    assert (await ada.post(path, HELLO | {"expected_seq": 102.0})).status == 201
    refused = await ada.post(path, HELLO | {"expected_seq": 102.5})
    assert (refused.status, refused.json["field"]) == (422, "expected_seq")


@pytest.mark.parametrize("length", ["-1", "x", "9" * 16, "4194305", "\u00b2", "", "+1"])
async def test_a_length_that_is_none_is_refused(ada: Client, length: str) -> None:
    answer = await ada.post("/api/conversations", {}, headers={"Content-Length": length or " "})
    assert (answer.status, answer.code) == (413, "body_too_large")


async def test_a_key_is_looked_at_even_where_nothing_is_written(ada: Client) -> None:
    session = {"user_id": ada.user, "session_id": await ada.create()}
    answer = await ada.post("/api/session", session, headers={"Idempotency-Key": "k" * 256})
    assert (answer.status, answer.json["field"]) == (422, "Idempotency-Key")


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "PUT"])
async def test_the_active_ones_are_no_conversation(ada: Client, method: str) -> None:
    answer = await ada.send(method, "/api/conversations/active")
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert "DELETE" not in answer.headers["allow"]


async def test_a_tool_has_a_name_in_words(ada: Client) -> None:
    conversation = await ada.create(role_policy="open")
    result = {"role": "tool", "content": "x", "tool_call_id": "c"}
    refused = await ada.say(conversation, result | {"tool_name": 5})
    assert (refused.status, refused.json["field"]) == (422, "tool_name")


async def test_answers_show_calls_and_names_of_their_kinds_alone(ada: Client) -> None:
    """What a payload holds in their place stands in ``payload``."""
    conversation = await ada.create(role_policy="open")
    odd = {"payload": {"tool_calls": 5, "name": [], "type": "message"}, "format": "mine"}
    user = HELLO | {"tool_calls": [5]}
    shown = (await ada.say(conversation, odd, user)).json["messages"]
    assert [message.get("tool_calls", "none") for message in shown] == ["none", "none"]
    assert [message["payload"]["tool_calls"] for message in shown] == [5, [5]]
