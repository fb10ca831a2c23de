"""Forks, rewinds and deleted messages over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI

from keepsay import Keepsay
from keepsay.server import conversation_router

from .client import Client, connect, new_user

TALK = [{"role": role, "content": f"{role[0]}{turn}"} for turn in range(2) for role in ("user", "assistant")]
ALL = [("user", "u0"), ("assistant", "a0"), ("user", "u1"), ("assistant", "a1")]


async def _path(client: Client, **fields: object) -> str:
    return f"/api/conversations/{await client.create(**fields)}"


async def test_a_fork_is_a_copy_that_goes_its_own_way(ada: Client) -> None:
    path = await _path(ada, title="Trip", metadata={"a": 1}, messages=TALK)
    forked = await ada.post(f"{path}/fork", {"at_seq": 2})
    assert forked.status == 201
    assert (forked.json["title"], forked.json["metadata"], forked.json["head"]) == ("Trip", {"a": 1}, 2)
    assert forked.headers["location"] == f"/api/conversations/{forked.json['id']}"
    assert forked.headers["etag"] == f'"{forked.json["version"]}"'
    assert (await ada.get(forked.headers["location"])).json == forked.json
    await ada.say(forked.json["id"], {"role": "user", "content": "by train"})
    assert await ada.log(forked.json["id"]) == [*ALL[:2], ("user", "by train")]
    assert await ada.log(path.rpartition("/")[2]) == ALL


async def test_a_fork_may_have_its_own_title_and_metadata_and_be_whole(ada: Client) -> None:
    path = await _path(ada, title="Trip", metadata={"a": 1}, messages=TALK)
    forked = (await ada.post(f"{path}/fork", {"title": "Train", "metadata": {}, "at_seq": None})).json
    assert (forked["title"], forked["metadata"], forked["head"]) == ("Train", {}, 4)
    assert (await ada.post(f"{path}/fork", {"at_seq": 0})).json["head"] == 0


async def test_an_external_key_that_is_taken_finds_what_has_it(ada: Client) -> None:
    path = await _path(ada, messages=TALK)
    first = await ada.post(f"{path}/fork", {"external_key": "k", "at_seq": 2})
    second = await ada.post(f"{path}/fork", {"external_key": "k", "at_seq": 4})
    assert (first.status, second.status) == (201, 200)
    assert second.json == first.json
    assert second.headers["location"] == first.headers["location"]


async def test_the_same_idempotency_key_forks_once(ada: Client) -> None:
    path = await _path(ada, messages=TALK)
    keyed = {"Idempotency-Key": "k"}
    answers = await asyncio.gather(*(ada.post(f"{path}/fork", {"at_seq": 2}, headers=keyed) for _ in range(4)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    other = await ada.post(f"{path}/fork", {"at_seq": 4}, headers=keyed)
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert len((await ada.get("/api/conversations")).json["items"]) == 2


@pytest.mark.parametrize("verb", ["fork", "rewind"])
async def test_a_cut_is_where_something_stands_and_not_inside_a_tool_call(ada: Client, verb: str) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    path = await _path(
        ada,
        messages=[
            TALK[0],
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "here"},
        ],
    )
    inside = await ada.post(f"{path}/{verb}", {"at_seq": 2})
    assert (inside.status, inside.code) == (400, "role_ordering_violation")
    beyond = await ada.post(f"{path}/{verb}", {"at_seq": 4})
    assert (beyond.status, beyond.code, beyond.json["detail"]) == (404, "not_found", "No such message.")
    for wrong in (-1, "2", 1.5, 2**31):
        refused = await ada.post(f"{path}/{verb}", {"at_seq": wrong})
        assert (refused.status, refused.json["field"]) == (422, "at_seq")


async def test_a_rewind_hides_what_came_after(ada: Client) -> None:
    path = await _path(ada, messages=TALK)
    rewound = await ada.post(f"{path}/rewind", {"at_seq": 2})
    assert (rewound.status, rewound.json["head"], rewound.json["message_count"]) == (200, 4, 2)
    assert rewound.headers["etag"] == f'"{rewound.json["version"]}"'
    log = (await ada.get(f"{path}/messages")).json["items"]
    assert [item.get("hidden", False) for item in log] == [False, False, True, True]
    assert len((await ada.get(f"{path}/window")).json["messages"]) == 2
    assert (await ada.post(f"{path}/messages", {"role": "user", "content": "instead"})).status == 201
    assert (await ada.post(f"{path}/rewind", {"at_seq": 3})).status == 404, "what is hidden is no place to go back to"
    assert (await ada.post(f"{path}/rewind", {})).json["field"] == "at_seq"


async def test_a_rewind_may_be_of_a_version(ada: Client) -> None:
    path = await _path(ada, messages=TALK)
    tag = (await ada.get(path)).headers["etag"]
    done = await ada.post(f"{path}/rewind", {"at_seq": 2}, headers={"If-Match": tag})
    refused = await ada.post(f"{path}/rewind", {"at_seq": 1}, headers={"If-Match": tag})
    assert (done.status, refused.status, refused.code) == (200, 412, "version_mismatch")
    assert refused.json["version"] == done.json["version"]


async def test_no_rewind_under_a_run(keepsay: Keepsay) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(messages: list[Any]) -> str:
        asked.set()
        await answer.wait()
        return "here"

    ada = connect(keepsay, slow)
    path = await _path(ada, messages=TALK)
    asking = asyncio.create_task(ada.post(f"{path}/continue", {"message": "more"}))
    await asked.wait()
    refused = await ada.post(f"{path}/rewind", {"at_seq": 2})
    assert (refused.status, refused.code) == (409, "conversation_busy")
    assert int(refused.headers["retry-after"]) >= 1
    answer.set()
    assert refused.json["run_id"] == (await asking).json["run_id"]


async def test_a_deleted_message_is_blank_and_keeps_its_seq(ada: Client) -> None:
    path = await _path(ada, messages=TALK)
    message = (await ada.get(f"{path}/messages")).json["items"][1]["id"]
    gone = await ada.send("DELETE", f"{path}/messages/{message}")
    assert (gone.status, gone.content) == (204, b"")
    shown = (await ada.get(f"{path}/messages")).json["items"]
    assert [(item["seq"], item["status"], item["content"]) for item in shown] == [
        (1, "complete", "u0"), (2, "deleted", None), (3, "complete", "u1"), (4, "complete", "a1"),
    ]  # fmt: skip
    again = await ada.send("DELETE", f"{path}/messages/{message}")
    assert (again.status, again.code) == (404, "not_found")


async def test_a_message_that_is_not_there_is_not_found_whatever_its_name(ada: Client) -> None:
    path, other = await _path(ada, messages=TALK), await _path(ada, messages=TALK)
    foreign = (await ada.get(f"{other}/messages")).json["items"][0]["id"]
    here = (await ada.get(f"{path}/messages")).json["items"][0]["id"]
    names = (foreign, "1", "x", "%00", here.upper(), "018f0000-0000-7000-8000-000000000000")
    answers = [await ada.send("DELETE", f"{path}/messages/{name}") for name in names]
    assert {(answer.status, answer.content) for answer in answers} == {(404, answers[0].content)}
    assert answers[0].json["detail"] == "No such message."
    assert await ada.log(other.rpartition("/")[2]) == ALL


@pytest.mark.parametrize("prefix", ["", "/v2/räume/{room}", "/a b/ł"])
async def test_the_location_is_true_under_any_prefix(keepsay: Keepsay, prefix: str) -> None:
    user, app = new_user(), FastAPI()
    app.include_router(conversation_router(keepsay, lambda: user), prefix=prefix)
    outer = FastAPI()
    outer.mount("/outer", app)
    client = Client(outer, None)
    base = "/outer" + prefix.replace("{room}", "blå?".replace("?", "%3F"))
    made = await client.post(f"{base}/conversations", {"messages": TALK})
    assert made.status == 201
    found = await client.get(made.headers["location"])
    assert found.json == made.json
    forked = await client.post(made.headers["location"] + "/fork", {})
    assert (await client.get(forked.headers["location"])).json == forked.json
