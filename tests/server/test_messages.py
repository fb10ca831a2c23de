"""Messages over HTTP: rows B3 (role order), B4, E1 (tool messages), E2 (several at once), E3 (newest)."""

from __future__ import annotations

import asyncio
from itertools import chain, pairwise
from typing import Any

import pytest

from .client import Client

HELLO = {"role": "user", "content": "Hello"}
HI = {"role": "assistant", "content": "Hi"}


async def test_one_message_or_several_are_appended(ada: Client) -> None:
    """Rows B4 and E2."""
    conversation = await ada.create()
    path = f"/api/conversations/{conversation}/messages"
    one = await ada.post(path, HELLO | {"metadata": {"from": "web"}})
    assert one.status == 201
    assert set(one.json) == {"messages", "head", "replayed"}
    [message] = one.json["messages"]
    assert set(message) == {"id", "seq", "role", "content", "metadata", "status", "format", "created_at"}
    assert (message["seq"], message["metadata"], one.json["head"], one.json["replayed"]) == (
        1,
        {"from": "web"},
        1,
        False,
    )
    several = await ada.say(conversation, HI, HELLO, HI)
    assert [message["seq"] for message in several.json["messages"]] == [2, 3, 4]
    read = (await ada.get(path)).json["items"]
    assert read == one.json["messages"] + several.json["messages"]


async def test_role_order_is_refused_as_the_documents_say(ada: Client) -> None:
    """Row B3."""
    conversation = await ada.create(messages=[HELLO])
    answer = await ada.say(conversation, HELLO)
    assert (answer.status, answer.code) == (400, "role_ordering_violation")
    problem = answer.json
    assert (problem["error"], problem["last_role"], problem["attempted_role"], problem["message"]) == (
        "role_ordering_violation",
        "user",
        "user",
        problem["detail"],
    )
    assert problem["outcome"] == "not_applied"
    first = await ada.say(await ada.create(), HI)
    assert (first.json["last_role"], first.json["attempted_role"]) == (None, "assistant")
    assert await ada.log(conversation) == [("user", "Hello")]


async def test_tool_calls_are_kept_with_their_results(ada: Client) -> None:
    """Row E1."""
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    conversation = await ada.create(messages=[HELLO, {"role": "assistant", "content": None, "tool_calls": [call]}])
    unanswered = await ada.say(conversation, HELLO)
    assert (unanswered.status, unanswered.code) == (400, "role_ordering_violation")
    assert unanswered.json["open_calls"] == ["c1"]
    result = {"role": "tool", "tool_call_id": "c1", "tool_name": "add", "content": "2"}
    [stored] = (await ada.say(conversation, result)).json["messages"]
    assert {name: stored[name] for name in result} == result
    calling = (await ada.get(f"/api/conversations/{conversation}/messages")).json["items"][1]
    assert (calling["content"], calling["tool_calls"]) == (None, [call])


async def test_the_expected_seq_must_be_the_head(ada: Client) -> None:
    conversation = await ada.create(messages=[HELLO])
    path = f"/api/conversations/{conversation}/messages"
    for body in (HI | {"expected_seq": 0}, {"messages": [HI], "expected_seq": 0}):
        answer = await ada.post(path, body)
        assert (answer.status, answer.code) == (409, "expected_seq_mismatch")
        assert (answer.json["expected"], answer.json["head"]) == (0, 1)
    answer = await ada.post(path, HI | {"expected_seq": 1})
    assert answer.status == 201
    assert "payload" not in answer.json["messages"][0], "expected_seq is not part of the message"


async def test_the_same_idempotency_key_appends_once(ada: Client) -> None:
    conversation = await ada.create()
    keyed = {"Idempotency-Key": "k-ü"}
    answers = await asyncio.gather(*(ada.say(conversation, HELLO, HI, headers=keyed) for _ in range(10)))
    assert {answer.status for answer in answers} == {201}
    assert sorted(answer.json["replayed"] for answer in answers) == [False] + [True] * 9
    assert len({str(answer.json["messages"]) for answer in answers}) == 1
    assert len(await ada.log(conversation)) == 2
    assert {answer.headers.get("idempotent-replayed") for answer in answers} == {None, "true"}
    other = await ada.say(conversation, HELLO, headers=keyed)
    assert (other.status, other.code) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_cover_the_log_without_gap_or_repetition(ada: Client, order: str) -> None:
    conversation = await ada.create(messages=[HELLO, HI] * 4)
    path = f"/api/conversations/{conversation}/messages?limit=3&order={order}"
    seqs: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await ada.get(path + cursor)).json
        assert set(page) == {"items", "next_cursor", "has_more"}
        seqs += [item["seq"] for item in page["items"]]
        cursor = None if page["next_cursor"] is None else f"&cursor={page['next_cursor']}"
        assert page["has_more"] is (cursor is not None)
    assert seqs == (list(range(1, 9)) if order == "asc" else list(range(8, 0, -1)))


async def test_after_and_before_exclude_their_seq(ada: Client) -> None:
    """Row E3: the newest messages, not the oldest, are what ``order=desc`` gives."""
    conversation = await ada.create(messages=[HELLO, HI] * 4)

    async def seqs(query: str) -> list[int]:
        page = await ada.get(f"/api/conversations/{conversation}/messages?{query}")
        return [item["seq"] for item in page.json["items"]]

    assert await seqs("after=2&before=6") == [3, 4, 5]
    assert await seqs("after=2&limit=2") == [3, 4]
    assert await seqs("order=desc&limit=2") == [8, 7]
    assert await seqs("order=desc&before=4") == [3, 2, 1]
    assert await seqs("after=8") == []


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("cursor=x", 400, "invalid_cursor"),
        ("cursor=-1", 400, "invalid_cursor"),
        ("cursor=99999999999", 400, "invalid_cursor"),
        ("cursor=%C2%B2", 400, "invalid_cursor"),
        ("cursor=1&after=1", 422, "invalid_input"),
        ("cursor=1&before=1&order=desc", 422, "invalid_input"),
        ("order=sideways", 422, "invalid_input"),
        ("limit=0", 422, "invalid_input"),
        ("limit=201", 422, "invalid_input"),
        ("limit=ten", 422, "invalid_input"),
        ("limit=1e1", 422, "invalid_input"),
        ("limit=1&limit=2", 422, "invalid_input"),
        ("after=-1", 422, "invalid_input"),
        ("after=2147483648", 422, "invalid_input"),
        ("befor=1", 422, "invalid_input"),
    ],
)
async def test_a_bad_query_is_refused_by_name(ada: Client, query: str, status: int, code: str) -> None:
    answer = await ada.get(f"/api/conversations/{await ada.create()}/messages?{query}")
    assert (answer.status, answer.code) == (status, code)
    assert answer.json["field"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"messages": [HELLO], "extra": 1}, "extra"),
        ({"messages": HELLO}, "messages"),
        ({"messages": ["Hello"]}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [HELLO], "expected_seq": "1"}, "expected_seq"),
        ({"messages": [HELLO], "expected_seq": True}, "expected_seq"),
        ({"messages": [HELLO], "expected_seq": -1}, "expected_seq"),
        (HELLO | {"expected_seq": 1.5}, "expected_seq"),
        ({"role": "user"}, "content"),
        ({"role": "user", "content": 5}, "content"),
        ({"role": "narrator", "content": "x"}, "role"),
        ({"role": ["user"], "content": "x"}, "role"),
        ({"content": "x"}, "role"),
        (HELLO | {"metadata": []}, "metadata"),
        (HELLO | {"metadata": {"x": "\0"}}, "metadata"),
        ({"role": "tool", "content": "x"}, "tool_call_id"),
        ({"role": "tool", "content": "x", "tool_call_id": "c", "name": "a", "tool_name": "b"}, "tool_name"),
        ({"role": "assistant", "tool_calls": {}}, "tool_calls"),
        ({"payload": HELLO, "other": 1}, "other"),
        ({"payload": [1]}, "payload"),
        ({"payload": HELLO, "format": ""}, "format"),
        ({"payload": HELLO, "status": "incomplete"}, "status"),
        ({"payload": HELLO, "status": "done"}, "status"),
        ({"payload": HELLO, "client_id": 1}, "client_id"),
    ],
)
async def test_a_bad_message_is_refused_by_name(ada: Client, body: Any, field: str) -> None:
    answer = await ada.post(f"/api/conversations/{await ada.create()}/messages", body)
    assert (answer.status, answer.code, answer.json["field"]) == (422, "invalid_input", field)


async def test_any_payload_is_kept_with_its_envelope(ada: Client) -> None:
    conversation = await ada.create(role_policy="open")
    item = {
        "payload": {"type": "reasoning", "summary": [], "encrypted_content": "x"},
        "format": "openai.responses",
        "metadata": {"a": 1},
        "usage": {"output_tokens": 3},
        "client_id": "rs_1",
    }
    [message] = (await ada.say(conversation, item)).json["messages"]
    assert {name: message[name] for name in item} == item
    assert message["role"] == "assistant"


async def test_seqs_have_no_gap_when_many_append(ada: Client) -> None:
    """Row A4."""
    conversation = await ada.create(role_policy="lenient")
    answers = await asyncio.gather(*(ada.say(conversation, HELLO, HELLO) for _ in range(20)))
    batches = sorted([message["seq"] for message in answer.json["messages"]] for answer in answers)
    assert list(chain.from_iterable(batches)) == list(range(1, 41))
    items = (await ada.get(f"/api/conversations/{conversation}/messages?limit=200")).json["items"]
    assert all(earlier["created_at"] < later["created_at"] for earlier, later in pairwise(items))
