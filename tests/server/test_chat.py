"""Turns with the agent: rows C1 (load or create), C2 (chat), C3 (nothing kept in the server), B4 (continue)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keepsay import Keepsay
from keepsay.server import AgentContext

from .client import Client, connect

Messages = list[dict[str, Any]]


class Scripted:
    """An agent that does what the test says, and counts how often it was asked."""

    def __init__(self, *replies: object) -> None:
        self.replies = list(replies)
        self.asked: list[Messages] = []
        self.contexts: list[AgentContext] = []

    async def __call__(self, messages: Messages, context: AgentContext) -> object:
        self.asked.append(messages)
        self.contexts.append(context)
        await asyncio.sleep(0.02)
        reply = self.replies.pop(0) if self.replies else f"answer {len(self.asked)}"
        if isinstance(reply, BaseException):
            raise reply
        return reply


async def test_chat_makes_a_conversation_and_goes_on_with_it(ada: Client) -> None:
    """Rows C1 and C2."""
    first = await ada.post(f"/api/{ada.user}/chat", {"message": "My name is Ada."})
    assert first.status == 200
    assert set(first.json) == {"conversation_id", "response", "tool_calls", "run_id"}
    assert first.json["response"] == "You said: My name is Ada.\nThis is where our conversation begins."
    conversation = first.json["conversation_id"]
    second = await ada.post(f"/api/{ada.user}/chat", {"message": "Who am I?", "conversation_id": conversation})
    assert second.json["conversation_id"] == conversation
    assert second.json["response"] == (
        "You said: Who am I?\nI remember 2 messages before it. The first thing you told me: My name is Ada."
    )
    log = await ada.log(conversation)
    assert [role for role, _ in log] == ["user", "assistant"] * 2
    assert [content for role, content in log if role == "assistant"] == [
        first.json["response"],
        second.json["response"],
    ]


async def test_the_agent_sees_the_system_prompt_and_the_history(keepsay: Keepsay) -> None:
    """Row C2: load, store the user's message, run the agent."""
    agent = Scripted()
    ada = connect(keepsay, agent)
    conversation = await ada.create(system_prompt="Be brief.")
    await ada.post(f"/api/conversations/{conversation}/continue", {"message": "One"})
    await ada.post(f"/api/conversations/{conversation}/continue", {"message": "Two", "max_messages": 1})
    assert agent.asked[0] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "One"}]
    assert agent.asked[1] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Two"}]
    assert {str(context.conversation_id) for context in agent.contexts} == {conversation}
    assert {context.user_id for context in agent.contexts} == {ada.user}


async def test_continue_answers_with_the_stored_message(ada: Client) -> None:
    """Row B4."""
    conversation = await ada.create()
    answer = await ada.post(f"/api/conversations/{conversation}/continue", {"message": "Hello", "max_tokens": 1000})
    assert answer.status == 200
    assert set(answer.json) == {"response", "conversation_id", "run_id", "message", "tool_calls", "replayed"}
    items = (await ada.get(f"/api/conversations/{conversation}/messages")).json["items"]
    assert answer.json["message"] == items[-1]
    assert answer.json["message"]["content"] == answer.json["response"]
    assert {item["run_id"] for item in items} == {answer.json["run_id"]}


async def test_tool_calls_are_answered_and_stored(keepsay: Keepsay) -> None:
    """Row C2: tool calls in the answer; row E1: kept with their results."""
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    reply = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
        {"role": "assistant", "content": "It is 2."},
    ]
    ada = connect(keepsay, Scripted(reply))
    body = {"message": "1 + 1?", "request_id": "r"}
    answer = await ada.post(f"/api/{ada.user}/chat", body)
    assert (answer.json["response"], answer.json["tool_calls"]) == ("It is 2.", [call])
    log = await ada.log(answer.json["conversation_id"])
    assert log == [("user", "1 + 1?"), ("assistant", None), ("tool", "2"), ("assistant", "It is 2.")]
    again = await ada.post(f"/api/{ada.user}/chat", body)
    assert (again.content, again.headers["idempotent-replayed"]) == (answer.content, "true")


async def test_the_first_turn_is_exactly_once(keepsay: Keepsay) -> None:
    """Row C2: one conversation, one message, one answer, whichever server gets the retry (row C3)."""
    agent = Scripted()
    ada = connect(keepsay, agent)
    other_server = Client(connect(keepsay, agent).app, ada.user)
    body = {"message": "Hello", "request_id": "r" * 255}
    first = await ada.post(f"/api/{ada.user}/chat", body)
    second = await other_server.post(f"/api/{ada.user}/chat", body)
    assert first.status == 200
    assert second.content == first.content
    assert len(agent.asked) == 1
    assert len((await ada.get("/api/conversations")).json["items"]) == 1
    assert len(await ada.log(first.json["conversation_id"])) == 2
    changed = await ada.post(f"/api/{ada.user}/chat", body | {"message": "Bye"})
    assert (changed.status, changed.code) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("first_turn", [True, False])
async def test_of_concurrent_equal_requests_one_runs(keepsay: Keepsay, first_turn: bool) -> None:
    """Row C2, row A4: the others are told to come back, and then get the same answer."""
    agent = Scripted()
    ada = connect(keepsay, agent)
    body = {"message": "Hello", "request_id": "r"}
    if not first_turn:
        body["conversation_id"] = await ada.create()
    answers = await asyncio.gather(*(ada.post(f"/api/{ada.user}/chat", body) for _ in range(10)))
    assert len(agent.asked) == 1
    assert {answer.status for answer in answers} <= {200, 409}
    for answer in answers:
        if answer.status == 409:
            assert answer.code == "conversation_busy"
            assert int(answer.headers["retry-after"]) >= 1
    again = await ada.post(f"/api/{ada.user}/chat", body)
    assert {again.content} == {answer.content for answer in answers if answer.status == 200}
    assert len((await ada.get("/api/conversations")).json["items"]) == 1
    assert len(await ada.log(again.json["conversation_id"])) == 2


async def test_a_second_request_meanwhile_is_told_that_the_conversation_is_busy(keepsay: Keepsay) -> None:
    thinking, go_on = asyncio.Event(), asyncio.Event()

    async def agent(messages: Messages) -> str:
        thinking.set()
        await go_on.wait()
        return "done"

    ada = connect(keepsay, agent)
    path = f"/api/conversations/{await ada.create()}/continue"
    first = asyncio.create_task(ada.post(path, {"message": "One", "request_id": "1"}))
    await thinking.wait()
    second = await ada.post(path, {"message": "Two", "request_id": "2"})
    appended = await ada.post(path.replace("continue", "messages"), {"role": "user", "content": "Three"})
    go_on.set()
    done = await first
    for busy in (second, appended):
        assert (busy.status, busy.code) == (409, "conversation_busy")
        assert (busy.json["run_id"], busy.json["outcome"]) == (done.json["run_id"], "not_applied")


@pytest.mark.parametrize("first_turn", [True, False])
async def test_a_failing_agent_is_retried_on_the_same_message(keepsay: Keepsay, first_turn: bool) -> None:
    """Row C2: 502 with the run's id; the retry does not double the user's message."""
    agent = Scripted(RuntimeError("secret"), RuntimeError("secret"))
    ada = connect(keepsay, agent)
    body = {"message": "Hello", "request_id": "r"}
    if not first_turn:
        body["conversation_id"] = await ada.create()
    failures = [await ada.post(f"/api/{ada.user}/chat", body) for _ in range(2)]
    for failure in failures:
        assert (failure.status, failure.code) == (502, "agent_failed")
        assert b"secret" not in failure.content
        assert (failure.json["request_id"], failure.json["outcome"]) == ("r", "unknown")
    answer = await ada.post(f"/api/{ada.user}/chat", body)
    assert (answer.status, answer.json["response"]) == (200, "answer 3")
    assert {failure.json["run_id"] for failure in failures} == {answer.json["run_id"]}
    assert [context.attempt for context in agent.contexts] == [1, 2, 3]
    assert await ada.log(answer.json["conversation_id"]) == [("user", "Hello"), ("assistant", "answer 3")]


async def test_after_a_failure_the_conversation_goes_on(keepsay: Keepsay) -> None:
    """No conversation is ever stuck; what got no answer is kept, and left out of the window."""
    agent = Scripted(RuntimeError())
    ada = connect(keepsay, agent)
    failure = await ada.post(f"/api/{ada.user}/chat", {"message": "One"})
    conversation = failure.json["conversation_id"]
    assert "request_id" not in failure.json
    answer = await ada.post(f"/api/{ada.user}/chat", {"message": "Two", "conversation_id": conversation})
    assert answer.status == 200
    assert await ada.log(conversation) == [("user", "One"), ("user", "Two"), ("assistant", "answer 2")]
    assert agent.asked[1] == [{"role": "user", "content": "Two"}]


async def test_a_failure_without_a_request_id_hands_one_out(keepsay: Keepsay) -> None:
    ada = connect(keepsay, Scripted(RuntimeError()))
    path = f"/api/conversations/{await ada.create()}/continue"
    failure = await ada.post(path, {"message": "One"})
    answer = await ada.post(path, {"message": "One", "request_id": failure.json["request_id"]})
    assert (answer.status, answer.json["run_id"]) == (200, failure.json["run_id"])


@pytest.mark.parametrize(
    "reply",
    [
        None,
        5,
        [],
        {"role": "user", "content": "I am you"},
        {"role": "system", "content": "Obey"},
        {"content": "no role"},
        {"role": "assistant", "content": object()},
        {"role": "assistant", "content": float("nan")},
        [{"role": "tool", "tool_call_id": "c", "content": "answers nothing"}],
        [{"role": "assistant", "content": "x"}] * 101,
        "x" * 1024 * 1024,
        asyncio.CancelledError(),
        {"role": "assistant"},
    ],
    ids=repr,
)
async def test_what_an_agent_may_not_return_fails_the_run(keepsay: Keepsay, reply: object) -> None:
    ada = connect(keepsay, Scripted(reply))
    path = f"/api/conversations/{await ada.create()}/continue"
    failure = await ada.post(path, {"message": "Hello", "request_id": "r"})
    assert (failure.status, failure.code) == (502, "agent_failed")
    answer = await ada.post(path, {"message": "Hello", "request_id": "r"})
    assert (answer.status, answer.json["run_id"]) == (200, failure.json["run_id"])


async def test_no_connection_is_held_while_the_agent_thinks(keepsay: Keepsay) -> None:
    """Row C3; ten turns think at once, and one connection would be enough for each of their steps."""
    together = asyncio.Barrier(30)

    async def agent(messages: Messages) -> str:
        async with asyncio.timeout(20):
            await together.wait()  # more turns than the pool has connections
        return "done"

    ada = connect(keepsay, agent)
    answers = await asyncio.gather(
        *(ada.post(f"/api/{ada.user}/chat", {"message": str(n)}) for n in range(30))
    )  # fmt: skip
    assert {answer.status for answer in answers} == {200}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "message"),
        ({"message": None}, "message"),
        ({"message": ""}, "message"),
        ({"message": " \n\t "}, "message"),
        ({"message": ["Hello"]}, "message"),
        ({"message": "Hello", "conversation_id": 0}, "conversation_id"),
        ({"message": "Hello", "conversation_id": False}, "conversation_id"),
        ({"message": "Hello", "request_id": ""}, "key"),
        ({"message": "Hello", "request_id": 7}, "request_id"),
        ({"message": "Hello", "request_id": "\0"}, "key"),
        ({"message": "Hello", "request_id": "r" * 256}, "key"),
        ({"message": "Hello", "model": "x"}, "model"),
    ],
)
async def test_a_bad_chat_is_refused_by_name_and_leaves_nothing(ada: Client, body: object, field: str) -> None:
    """Row C2: a blank message is refused; an empty id is no id that may be left out."""
    answer = await ada.post(f"/api/{ada.user}/chat", body)
    assert (answer.status, answer.code in ("invalid_input", "too_large")) == (422, True)
    assert answer.json["field"] == field
    assert (await ada.get("/api/conversations")).json["items"] == []


@pytest.mark.parametrize("conversation", ["", "x", "0", "018f0000-0000-7000-8000-000000000000"])
async def test_an_unknown_conversation_is_never_made_instead(ada: Client, conversation: str) -> None:
    """Row C1: 404 when the id is not this user's."""
    answer = await ada.post(f"/api/{ada.user}/chat", {"message": "Hello", "conversation_id": conversation})
    assert (answer.status, answer.code) == (404, "not_found")
    assert (await ada.get("/api/conversations")).json["items"] == []


async def test_the_header_is_as_good_as_the_request_id(ada: Client) -> None:
    body = {"message": "Hello"}
    first = await ada.post(f"/api/{ada.user}/chat", body | {"request_id": "r"})
    second = await ada.post(f"/api/{ada.user}/chat", body, headers={"Idempotency-Key": "r"})
    assert second.content == first.content
    both = await ada.post(f"/api/{ada.user}/chat", body | {"request_id": "r"}, headers={"Idempotency-Key": "s"})
    assert (both.status, both.json["field"]) == (422, "request_id")


@pytest.mark.parametrize(
    "limits", [{"max_messages": 0}, {"max_messages": 1001}, {"max_tokens": 0}, {"max_tokens": "1"}]
)
async def test_a_bad_window_is_refused_before_anything_is_stored(ada: Client, limits: dict[str, object]) -> None:
    conversation = await ada.create()
    answer = await ada.post(f"/api/conversations/{conversation}/continue", {"message": "Hello", **limits})
    assert (answer.status, answer.code, answer.json["field"]) == (422, "invalid_input", next(iter(limits)))
    assert await ada.log(conversation) == []
