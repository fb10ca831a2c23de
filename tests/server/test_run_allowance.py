"""How many runs a user may begin, over HTTP: 429, when to come back, and what is not charged."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI

from keepsay import Allowance, ConfigurationError, Keepsay
from keepsay.server import Settings, conversation_router, echo

from .client import Answer, Client, connect, new_user


def _check_refused(answer: Answer, code: str, limit: int, *, outcome: str = "not_applied") -> None:
    assert (answer.status, answer.code) == (429, code)
    assert (answer.json["limit"], answer.json["outcome"]) == (limit, outcome)
    assert answer.json["retry_after"] > 0
    assert int(answer.headers["retry-after"]) >= answer.json["retry_after"]


async def test_runs_of_every_kind_are_counted_together(keepsay: Keepsay) -> None:
    ada = connect(keepsay, allowance=Allowance(per_day=4))
    path = f"/api/conversations/{await ada.create()}"
    hello: dict[str, Any] = {"message": "Hello"}
    assert (await ada.post(f"/api/{ada.user}/chat", hello)).status == 200
    assert (await ada.post(f"{path}/continue", hello)).status == 200
    assert (await ada.post(f"{path}/runs", hello)).status == 200
    assert (await ada.post(f"{path}/runs", hello | {"background": True})).status == 202
    await ada.app.state.keepsay_turns.stop()
    ada.app.state.keepsay_turns.open()
    before = (await ada.get(path)).content
    for refused in (
        await ada.post(f"/api/{ada.user}/chat", hello | {"conversation_id": path.rpartition("/")[2]}),
        await ada.post(f"{path}/continue", hello),
        await ada.post(f"{path}/runs", hello),
        await ada.post(f"{path}/runs", hello | {"background": True}),
    ):
        _check_refused(refused, "quota_exceeded", 4)
    assert (await ada.get(path)).content == before
    eve = Client(ada.app, new_user())
    assert (await eve.post(f"/api/{eve.user}/chat", hello)).status == 200, "another user's are their own"


async def test_a_refused_first_chat_leaves_no_conversation_behind(keepsay: Keepsay) -> None:
    ada = connect(keepsay, allowance=Allowance(per_minute=1))
    assert (await ada.post(f"/api/{ada.user}/chat", {"message": "One"})).status == 200
    for _ in range(2):
        _check_refused(await ada.post(f"/api/{ada.user}/chat", {"message": "Two"}), "rate_limited", 1)
    assert len((await ada.get("/api/conversations")).json["items"]) == 1


async def test_a_refused_first_chat_with_a_request_id_goes_on_where_it_was(keepsay: Keepsay) -> None:
    ada = connect(keepsay, allowance=Allowance(per_day=1))
    assert (await ada.post(f"/api/{ada.user}/chat", {"message": "One"})).status == 200
    body = {"message": "Two", "request_id": "r"}
    for _ in range(2):
        refused = await ada.post(f"/api/{ada.user}/chat", body)
        _check_refused(refused, "quota_exceeded", 1, outcome="unknown")
    elsewhere = Client(connect(keepsay).app, ada.user)
    answer = await elsewhere.post(f"/api/{ada.user}/chat", body)
    assert await ada.log(answer.json["conversation_id"]) == [("user", "Two"), ("assistant", answer.json["response"])]
    assert len((await ada.get("/api/conversations")).json["items"]) == 2


async def test_a_replay_is_not_charged_and_a_new_attempt_is(keepsay: Keepsay) -> None:
    failures = [RuntimeError()]

    async def agent(_messages: list[Any]) -> str:
        if failures:
            raise failures.pop()
        return "done"

    ada = connect(keepsay, agent, allowance=Allowance(per_day=2))
    path = f"/api/conversations/{await ada.create()}/runs"
    body = {"message": "Hello", "request_id": "r"}
    assert (await ada.post(path, body)).status == 502
    answers = [await ada.post(path, body) for _ in range(5)]
    assert [(answer.status, answer.json["replayed"]) for answer in answers] == [(200, False)] + [(200, True)] * 4
    begun = await ada.post(path, body | {"background": True})
    assert (begun.status, begun.json["run"]["attempt"], begun.json["replayed"]) == (202, 2, True)
    _check_refused(await ada.post(path, {"message": "More"}), "quota_exceeded", 2)


async def test_servers_that_share_a_database_never_allow_more_together(keepsay: Keepsay) -> None:
    allowed = 7
    clients = [connect(keepsay, allowance=Allowance(per_minute=1, burst=allowed)) for _ in range(2)]
    user = new_user()
    clients = [Client(client.app, user) for client in clients]
    answers = await asyncio.gather(*(clients[n % 2].post(f"/api/{user}/chat", {"message": str(n)}) for n in range(40)))
    assert sorted(answer.status for answer in answers) == [200] * allowed + [429] * (40 - allowed)
    assert len((await clients[0].get("/api/conversations")).json["items"]) == allowed


async def test_a_mount_has_its_own_allowance(keepsay: Keepsay) -> None:
    user = new_user()
    app = FastAPI()
    app.include_router(conversation_router(keepsay, lambda: user, agent=echo, allowance=Allowance(per_day=1)))
    client = Client(app, None)
    assert (await client.post(f"/{user}/chat", {"message": "Hello"})).status == 200
    _check_refused(await client.post(f"/{user}/chat", {"message": "Hello"}), "quota_exceeded", 1)


@pytest.mark.parametrize(
    ("given", "allowance"),
    [
        ({}, None),
        ({"PER_MINUTE": "0", "PER_DAY": ""}, None),
        ({"PER_MINUTE": "6"}, Allowance(per_minute=6)),
        ({"PER_MINUTE": "6", "BURST": "20", "PER_DAY": "100"}, Allowance(per_minute=6, burst=20, per_day=100)),
        ({"PER_DAY": "100"}, Allowance(per_day=100)),
    ],
)
def test_the_environment_says_what_is_allowed(given: dict[str, str], allowance: Allowance | None) -> None:
    environment = {f"KEEPSAY_RUNS_{name}": text for name, text in given.items()}
    assert Settings.from_environment(environment).allowance == allowance


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"KEEPSAY_RUNS_PER_MINUTE": "some"}, "KEEPSAY_RUNS_PER_MINUTE"),
        ({"KEEPSAY_RUNS_PER_DAY": "1000001"}, "KEEPSAY_RUNS_PER_DAY"),
        ({"KEEPSAY_RUNS_BURST": "5"}, "KEEPSAY_RUNS_BURST"),
    ],
)
def test_what_cannot_be_allowed_is_named(given: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Settings.from_environment(given)
