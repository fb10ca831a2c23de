"""``POST /api/session``, row A1, and the function behind it that the command line shares."""

from __future__ import annotations

import asyncio

import pytest

from keepsay import Keepsay
from keepsay.session import session

from .client import Client, new_user


async def test_a_session_is_created_and_gone_on_with(ada: Client) -> None:
    """Row A1: create when no id is given, retrieve when one is."""
    first = await ada.post("/api/session", {"user_id": ada.user, "context": "Hello"})
    assert first.status == 200
    assert set(first.json) == {"session_id", "context_history", "created", "head", "truncated"}
    assert first.json["context_history"] == [{"role": "user", "content": "Hello"}]
    assert (first.json["created"], first.json["head"], first.json["truncated"]) == (True, 1, False)
    session_id = first.json["session_id"]
    second = await ada.post(
        "/api/session",
        {"user_id": ada.user, "session_id": session_id, "context": {"role": "assistant", "content": "Hi"}},
    )
    assert second.json == {
        "session_id": session_id,
        "created": False,
        "context_history": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}],
        "head": 2,
        "truncated": False,
    }
    only_read = await ada.post("/api/session", {"user_id": ada.user, "session_id": session_id})
    assert only_read.json == second.json


async def test_context_is_a_text_a_message_or_a_list(ada: Client) -> None:
    """Row A1."""
    context = ["Hello", {"role": "user", "content": "again", "name": "ada"}, {"role": "assistant", "content": "Hi"}]
    answer = await ada.post("/api/session", {"user_id": ada.user, "context": context, "session_id": None})
    assert answer.json["context_history"] == [
        {"role": "user", "content": "Hello"},
        {"role": "user", "content": "again", "name": "ada"},
        {"role": "assistant", "content": "Hi"},
    ]


async def test_an_empty_session_may_be_made(ada: Client) -> None:
    answer = await ada.post("/api/session", {"user_id": ada.user})
    assert (answer.json["created"], answer.json["context_history"], answer.json["head"]) == (True, [], 0)


async def test_the_newest_are_returned_and_never_half_a_tool_call(ada: Client) -> None:
    """Row A3: truncation to manage the session's size, while the storage keeps everything."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turn = [
        {"role": "user", "content": "question"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "result"},
        {"role": "assistant", "content": "answer"},
    ]
    messages = [{"role": "system", "content": "Be brief."}, *turn * 15]
    made = (await ada.post("/api/session", {"user_id": ada.user, "context": messages})).json
    assert (len(made["context_history"]), made["truncated"], made["head"]) == (1 + 48, True, 61)
    asked = {"user_id": ada.user, "session_id": made["session_id"], "max_messages": 6}
    short = (await ada.post("/api/session", asked)).json
    assert short["context_history"] == [messages[0], *turn]
    everything = (await ada.post("/api/session", asked | {"max_messages": 1000})).json
    assert (everything["context_history"], everything["truncated"]) == (messages, False)


@pytest.mark.parametrize(
    "wrong", ["", "x", 7, True, [], "018F0000-0000-7000-8000-000000000000", "018f00000000700080000000000000aa"]
)
async def test_a_malformed_session_id_is_refused(ada: Client, wrong: object) -> None:
    """Row A1: the id is validated."""
    answer = await ada.post("/api/session", {"user_id": ada.user, "session_id": wrong, "context": "Hello"})
    assert (answer.status, answer.code, answer.json["field"]) == (422, "invalid_input", "session_id")


async def test_an_unknown_session_is_not_found(ada: Client) -> None:
    """Row A5."""
    asked = {"user_id": ada.user, "session_id": "018f0000-0000-7000-8000-000000000000", "context": "Hello"}
    answer = await ada.post("/api/session", asked)
    assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"user_id": None}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "a/b"}, "user_id"),
        ({"user_id": 7}, "user_id"),
        ({"context": ""}, "context"),
        ({"context": " "}, "context"),
        ({"context": 7}, "context"),
        ({"context": []}, "context"),
        ({"context": [None]}, "context"),
        ({"context": [["Hello"]]}, "context"),
        ({"context": {"role": "user"}}, "content"),
        ({"max_messages": 0}, "max_messages"),
        ({"max_messages": 1001}, "max_messages"),
        ({"max_messages": "50"}, "max_messages"),
        ({"max_messages": True}, "max_messages"),
        ({"sesion_id": None}, "sesion_id"),
    ],
)
async def test_a_bad_request_is_refused_by_name(
    ada: Client, keepsay: Keepsay, asked: dict[str, object], field: str
) -> None:
    """Row A1: inputs are validated; row A5: the error says which."""
    answer = await Client(ada.app, None).post("/api/session", {"user_id": ada.user, **asked})
    assert (answer.status, answer.code, answer.json["field"]) == (422, "invalid_input", field)


async def test_the_same_key_adds_once(ada: Client) -> None:
    asked = {"user_id": ada.user, "context": "Hello"}
    keyed = {"Idempotency-Key": "k"}
    first, second = await asyncio.gather(*(ada.post("/api/session", asked, headers=keyed) for _ in range(2)))
    assert first.json == second.json
    more = {**asked, "session_id": first.json["session_id"]}
    for _ in range(2):
        assert (await ada.post("/api/session", more, headers={"Idempotency-Key": "l"})).json["head"] == 2


async def test_the_function_is_the_same_job(keepsay: Keepsay) -> None:
    """Row A1: what ``keepsay session`` calls."""
    user = new_user()
    made = await session(keepsay, {"user_id": user, "context": "Hello"})
    assert made["context_history"] == [{"role": "user", "content": "Hello"}]
    found = await session(keepsay, {"user_id": user, "session_id": made["session_id"]})
    assert found == made | {"created": False}
