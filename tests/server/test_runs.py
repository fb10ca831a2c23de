"""Runs over HTTP: answered in the response, or in the background; looked at; cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from keepsay import Keepsay

from .client import Answer, Client, connect, new_user
from .until import until

ABSENT = "018f0000-0000-7000-8000-000000000000"
RUN = {"id", "conversation_id", "status", "attempt", "key", "error", "first_seq", "last_seq", "created_at", "ended_at"}
Messages = list[dict[str, Any]]


class Slow:
    """An agent that thinks until it is let go; what it does then is up to the test."""

    def __init__(self, then: Callable[[Messages], object] = lambda messages: f"answer to {len(messages)}") -> None:
        self.asked: list[Messages] = []
        self.thinking = asyncio.Event()
        self.go_on = asyncio.Event()
        self.stopped = asyncio.Event()
        self._then = then

    async def __call__(self, messages: Messages) -> object:
        self.asked.append(messages)
        self.thinking.set()
        try:
            await asyncio.wait_for(self.go_on.wait(), 20)
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        return self._then(messages)


async def _until_over(client: Client, path: str) -> Answer:
    """The run, once it is over."""

    async def is_over() -> bool:
        return bool((await client.get(path)).json["status"] != "running")

    await until(is_over)
    return await client.get(path)


async def _runs(client: Client, **fields: object) -> str:
    """The path of the runs of a new conversation."""
    return f"/api/conversations/{await client.create(**fields)}/runs"


async def test_a_run_answers_with_everything_that_it_stored(ada: Client) -> None:
    path = await _runs(ada, system_prompt="Be brief.")
    answer = await ada.post(path, {"message": "Hello", "request_id": "r"})
    assert answer.status == 200
    assert set(answer.json) == {"run", "messages", "response", "tool_calls", "replayed"}
    run = answer.json["run"]
    assert set(run) == RUN
    assert (run["status"], run["attempt"], run["key"], run["error"]) == ("completed", 1, "r", None)
    assert (run["first_seq"], run["last_seq"]) == (2, 3)
    log = (await ada.get(path.replace("runs", "messages"))).json["items"]
    assert answer.json["messages"] == log[1:]
    assert answer.json["response"] == log[2]["content"]
    assert (await ada.get(f"{path}/{run['id']}")).json == run


async def test_the_same_run_again_is_replayed_to_the_letter(keepsay: Keepsay) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    agent = Slow(lambda messages: [{"role": "assistant", "content": None, "tool_calls": [call]}])
    agent.go_on.set()
    ada = connect(keepsay, agent)
    path = await _runs(ada)
    body = {"messages": [{"role": "system", "content": "Obey."}, {"role": "user", "content": "1 + 1?"}]}
    first = await ada.post(path, body, headers={"Idempotency-Key": "r"})
    second = await ada.post(path, body, headers={"Idempotency-Key": "r"})
    assert [message["role"] for message in first.json["messages"]] == ["system", "user", "assistant", "tool"]
    assert first.json["messages"][-1]["status"] == "synthetic", "a call that the agent left open is answered"
    assert (first.json["response"], first.json["tool_calls"]) == ("", [call])
    assert second.json == first.json | {"replayed": True}
    assert second.headers["idempotent-replayed"] == "true"
    assert len(agent.asked) == 1
    changed = await ada.post(path, {"message": "2 + 2?", "request_id": "r"})
    assert (changed.status, changed.code) == (422, "idempotency_key_reused")


async def test_what_the_client_gave_is_not_the_agents(ada: Client) -> None:
    """Neither at first nor in the replay."""
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    path = await _runs(ada, messages=[{"role": "user", "content": "1 + 1?"}])
    given = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
    ]
    first, second = [await ada.post(path, {"messages": given, "request_id": "r"}) for _ in range(2)]
    assert [message["role"] for message in first.json["messages"]] == ["assistant", "tool", "assistant"]
    assert (first.json["tool_calls"], first.json["response"][:9]) == ([], "You said:")
    assert second.json == first.json | {"replayed": True}


async def test_a_run_without_messages_answers_what_stands_there(ada: Client) -> None:
    path = await _runs(ada, messages=[{"role": "user", "content": "Hello"}])
    answer = await ada.post(path, {})
    assert (answer.status, answer.json["response"][:15]) == (200, "You said: Hello")
    assert [message["role"] for message in answer.json["messages"]] == ["assistant"]
    again = await ada.post(path, {})
    assert (again.status, again.code) == (400, "role_ordering_violation")


async def test_a_run_takes_its_own_window(keepsay: Keepsay) -> None:
    agent = Slow()
    agent.go_on.set()
    ada = connect(keepsay, agent)
    path = await _runs(ada, system_prompt="Be brief.", messages=[{"role": "user", "content": "Hello"}])
    await ada.post(path, {})
    body = {"message": {"role": "user", "content": "Bye"}, "max_messages": 1, "system_prompt": "Be kind."}
    await ada.post(path, body | {"expected_seq": 3})
    assert agent.asked[1] == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Bye"}]
    late = await ada.post(path, body | {"expected_seq": 3})
    assert (late.status, late.code, late.json["head"]) == (409, "expected_seq_mismatch", 5)


async def test_a_background_run_is_answered_before_it_is_over(keepsay: Keepsay) -> None:
    agent = Slow()
    ada = connect(keepsay, agent)
    path = await _runs(ada)
    begun = await ada.post(path, {"message": "Hello", "background": True, "request_id": "r"})
    assert (begun.status, set(begun.json), begun.json["replayed"]) == (202, {"run", "replayed"}, False)
    run = begun.json["run"]
    assert (run["status"], run["ended_at"], run["first_seq"], run["last_seq"]) == ("running", None, 1, 1)
    assert begun.headers["location"] == f"{path}/{run['id']}"
    assert await ada.log(run["conversation_id"]) == [("user", "Hello")], "stored when the answer comes"
    assert (await ada.get(begun.headers["location"])).json == run
    await agent.thinking.wait()
    agent.go_on.set()
    over = (await _until_over(ada, begun.headers["location"])).json
    assert (over["status"], over["last_seq"]) == ("completed", 2)
    assert await ada.log(run["conversation_id"]) == [("user", "Hello"), ("assistant", "answer to 1")]
    assert len(agent.asked) == 1


async def test_the_same_background_run_again_tells_how_it_is(keepsay: Keepsay) -> None:
    agent = Slow()
    ada = connect(keepsay, agent)
    elsewhere = Client(connect(keepsay, agent).app, ada.user)
    path = await _runs(ada)
    body = {"message": "Hello", "background": True, "request_id": "r"}
    first = await ada.post(path, body)
    for client in (ada, elsewhere):
        again = await client.post(path, body)
        assert (again.status, again.json) == (202, {"run": first.json["run"], "replayed": True})
        assert again.headers["location"] == first.headers["location"]
        assert again.headers["idempotent-replayed"] == "true"
    agent.go_on.set()
    over = await _until_over(ada, first.headers["location"])
    for client in (ada, elsewhere):
        assert (await client.post(path, body)).json == {"run": over.json, "replayed": True}
    plain = await elsewhere.post(path, body | {"background": False})
    assert (plain.status, plain.json["response"], plain.json["replayed"]) == (200, "answer to 1", True)
    assert len(agent.asked) == 1


@pytest.mark.parametrize("background", [True, False])
async def test_another_run_meanwhile_is_told_that_the_conversation_is_busy(keepsay: Keepsay, background: bool) -> None:
    agent = Slow()
    ada = connect(keepsay, agent)
    path = await _runs(ada)
    first = await ada.post(path, {"message": "One", "background": True})
    busy = await ada.post(path, {"message": "Two", "background": background, "request_id": "2"})
    assert (busy.status, busy.code) == (409, "conversation_busy")
    assert (busy.json["run_id"], busy.json["outcome"]) == (first.json["run"]["id"], "not_applied")
    assert int(busy.headers["retry-after"]) >= 1
    agent.go_on.set()
    await _until_over(ada, first.headers["location"])


async def test_a_run_may_interrupt_another(keepsay: Keepsay) -> None:
    agent = Slow()
    ada = connect(keepsay, agent)
    path = await _runs(ada)
    first = await ada.post(path, {"message": "One", "background": True})
    second = await ada.post(path, {"message": "Two", "background": True, "on_busy": "interrupt"})
    assert second.status == 202
    await asyncio.wait_for(agent.stopped.wait(), 5)  # at once, not when it has thought
    agent.go_on.set()
    await _until_over(ada, second.headers["location"])
    assert (await ada.get(first.headers["location"])).json["status"] == "cancelled"
    log = await ada.log(second.json["run"]["conversation_id"])
    assert log == [("user", "One"), ("user", "Two"), ("assistant", "answer to 1")]


def _raise(_messages: Messages) -> object:
    raise RuntimeError("secret")


@pytest.mark.parametrize("then", [_raise, lambda _messages: None, lambda _messages: {"role": "user", "content": "I"}])
async def test_a_background_run_that_fails_says_so_and_is_tried_again(
    keepsay: Keepsay, then: Callable[[Messages], object]
) -> None:
    agent = Slow(then)
    agent.go_on.set()
    ada = connect(keepsay, agent)
    path = await _runs(ada)
    body = {"message": "Hello", "background": True, "request_id": "r"}
    begun = await ada.post(path, body)
    failed = (await _until_over(ada, begun.headers["location"])).json
    assert (failed["status"], failed["error"], failed["attempt"]) == ("failed", "agent_failed", 1)
    agent._then = lambda messages: "at last"
    again = await ada.post(path, body)
    assert (again.json["replayed"], again.json["run"]["attempt"]) == (False, 2)
    over = (await _until_over(ada, begun.headers["location"])).json
    assert (over["status"], over["error"], over["attempt"]) == ("completed", None, 2)
    assert await ada.log(failed["conversation_id"]) == [("user", "Hello"), ("assistant", "at last")]


async def test_a_failing_run_is_a_problem_with_its_id(keepsay: Keepsay) -> None:
    agent = Slow(_raise)
    agent.go_on.set()
    ada = connect(keepsay, agent)
    path = await _runs(ada)
    failed = await ada.post(path, {"message": "Hello"})
    assert (failed.status, failed.code, failed.json["outcome"]) == (502, "agent_failed", "unknown")
    assert b"secret" not in failed.content
    run = (await ada.get(f"{path}/{failed.json['run_id']}")).json
    assert (run["status"], run["error"], run["key"]) == ("failed", "agent_failed", failed.json["request_id"])


async def test_a_cancelled_run_is_stopped_at_once_and_stays_cancelled(keepsay: Keepsay) -> None:
    agent = Slow()
    ada = connect(keepsay, agent)
    path = await _runs(ada)
    body = {"message": "Hello", "background": True, "request_id": "r"}
    begun = await ada.post(path, body)
    await agent.thinking.wait()
    cancelled = await ada.post(begun.headers["location"] + "/cancel")
    assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
    await asyncio.wait_for(agent.stopped.wait(), 5)
    assert (await ada.post(begun.headers["location"] + "/cancel", {})).json == cancelled.json
    assert (await ada.get(begun.headers["location"])).json == cancelled.json
    again = await ada.post(path, body)
    assert (again.status, again.json) == (202, {"run": cancelled.json, "replayed": True})
    plain = await ada.post(path, body | {"background": False})
    assert (plain.status, plain.code) == (409, "run_superseded")
    agent.go_on.set()
    following = await ada.post(path, {"message": "Are you there?"})
    assert (following.status, following.json["response"]) == (200, "answer to 1")


async def test_whoever_waits_for_a_run_is_told_that_it_was_cancelled(keepsay: Keepsay) -> None:
    agent = Slow()
    ada = connect(keepsay, agent)
    path = await _runs(ada)
    asking = asyncio.create_task(ada.post(path, {"message": "Hello", "request_id": "r"}))
    await agent.thinking.wait()
    busy = await ada.post(path, {})
    await ada.post(f"{path}/{busy.json['run_id']}/cancel")
    told = await asking
    assert (told.status, told.code, told.json["outcome"]) == (409, "run_superseded", "unknown")
    assert told.json["run_id"] == busy.json["run_id"]


async def test_a_run_cancelled_elsewhere_writes_nothing_more(keepsay: Keepsay) -> None:
    agent = Slow()
    ada = connect(keepsay, agent)
    elsewhere = Client(connect(keepsay).app, ada.user)
    path = await _runs(ada)
    begun = await ada.post(path, {"message": "Hello", "background": True})
    await agent.thinking.wait()
    cancelled = await elsewhere.post(begun.headers["location"] + "/cancel")
    assert cancelled.json["status"] == "cancelled"
    assert not agent.stopped.is_set(), "it does not know yet"
    agent.go_on.set()
    await ada.app.state.keepsay_turns.stop()
    assert (await ada.get(begun.headers["location"])).json == cancelled.json
    assert await ada.log(cancelled.json["conversation_id"]) == [("user", "Hello")]


async def test_cancelling_what_is_over_changes_nothing(ada: Client) -> None:
    path = await _runs(ada)
    run = (await ada.post(path, {"message": "Hello"})).json["run"]
    assert (await ada.post(f"{path}/{run['id']}/cancel")).json == run


async def _chat(client: Client, body: dict[str, object]) -> Answer:
    return await client.post(f"/api/{client.user}/chat", body)


async def _run(client: Client, body: dict[str, object]) -> Answer:
    return await client.post(f"/api/conversations/{body['conversation_id']}/runs", {"message": body["message"]})


@pytest.mark.parametrize("ask", [_chat, _run])
async def test_a_client_that_leaves_does_not_end_the_run(
    keepsay: Keepsay, ask: Callable[[Client, dict[str, object]], Awaitable[Answer]]
) -> None:
    """Some servers cancel a request whose client has left; the answer is stored all the same."""
    agent = Slow()
    ada = connect(keepsay, agent)
    conversation = await ada.create()
    asking = asyncio.ensure_future(ask(ada, {"message": "Hello", "conversation_id": conversation}))
    await agent.thinking.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    agent.go_on.set()

    async def is_stored() -> bool:
        return await ada.log(conversation) == [("user", "Hello"), ("assistant", "answer to 1")]

    await until(is_stored)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"message": " "}, "message"),
        ({"message": 5}, "message"),
        ({"message": "Hello", "messages": [{"role": "user", "content": "Hello"}]}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["Hello"]}, "messages"),
        ({"message": "Hello", "on_busy": "queue"}, "on_busy"),
        ({"message": "Hello", "background": "yes"}, "background"),
        ({"message": "Hello", "expected_seq": -1}, "expected_seq"),
        ({"message": "Hello", "max_messages": 0}, "max_messages"),
        ({"message": "Hello", "system_prompt": "\0"}, "system_prompt"),
        ({"message": "Hello", "system_prompt": "x" * 100_001}, "system_prompt"),
        ({"message": "Hello", "stream": True}, "stream"),
    ],
)
async def test_a_bad_run_is_refused_by_name_and_leaves_nothing(ada: Client, body: object, field: str) -> None:
    path = await _runs(ada)
    answer = await ada.post(path, body)
    assert (answer.status, answer.code in ("invalid_input", "too_large")) == (422, True)
    assert answer.json["field"] == field
    assert (await ada.get(path.replace("/runs", ""))).json["head"] == 0


async def test_runs_of_others_look_absent(ada: Client, keepsay: Keepsay) -> None:
    path = await _runs(ada)
    run = (await ada.post(path, {"message": "Hello"})).json["run"]["id"]
    eve = connect(keepsay)
    hers = await _runs(eve)
    for attempt in ("", "/cancel"):
        method = "POST" if attempt else "GET"
        absent = await eve.send(method, f"{hers}/{ABSENT}{attempt}")
        assert (absent.status, absent.code) == (404, "not_found")
        assert (await eve.send(method, f"{hers}/{run}{attempt}")).content == absent.content
        assert (await eve.send(method, f"{hers}/nonsense{attempt}")).content == absent.content
        foreign = await eve.send(method, f"{path}/{run}{attempt}")
        unknown = await eve.send(method, f"/api/conversations/{ABSENT}/runs/{run}{attempt}")
        assert (foreign.status, foreign.content) == (404, unknown.content)
    for body in ({"message": "Hello"}, {"message": "Hello", "background": True}):
        assert (await eve.post(path, body)).status == 404


@pytest.mark.parametrize(("raw", "status"), [(b"", 200), (b"{}", 200), (b'{"why": 1}', 422), (b"x", 400)])
async def test_to_cancel_there_is_nothing_to_say(ada: Client, raw: bytes, status: int) -> None:
    path = await _runs(ada)
    run = (await ada.post(path, {"message": "Hello"})).json["run"]["id"]
    assert (await ada.post(f"{path}/{run}/cancel", raw=raw)).status == status
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await ada.post(f"{path}/{run}/cancel", raw=b"a=b", headers=form)).status == 415


async def test_users_runs_do_not_meet_by_equal_keys(keepsay: Keepsay) -> None:
    agent = Slow()
    clients = [Client(connect(keepsay, agent).app, new_user()) for _ in range(2)]
    begun = [
        await client.post(await _runs(client), {"message": "Hello", "background": True, "request_id": "r"})
        for client in clients
    ]
    assert begun[0].json["run"]["id"] != begun[1].json["run"]["id"]
    agent.go_on.set()
    for client, answer in zip(clients, begun, strict=True):
        assert (await _until_over(client, answer.headers["location"])).json["status"] == "completed"
