"""What the model would see, and where a conversation stands: row B5."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keepsay import Keepsay

from .client import Client, connect

ROLES = ("user", "assistant")


def _talk(turns: int) -> list[dict[str, str]]:
    return [{"role": role, "content": f"{role[0]}{turn}"} for turn in range(turns) for role in ROLES]


async def _path(client: Client, **fields: object) -> str:
    return f"/api/conversations/{await client.create(**fields)}"


async def test_the_window_is_what_the_model_would_see(ada: Client) -> None:
    path = await _path(ada, system_prompt="Be brief.", messages=_talk(3))
    window = (await ada.get(f"{path}/window")).json
    assert window["messages"] == [{"role": "system", "content": "Be brief."}, *_talk(3)]
    assert {name: window[name] for name in ("format", "head", "truncated", "fits", "summary")} == {
        "format": "chat", "head": 7, "truncated": False, "fits": True, "summary": None,
    }  # fmt: skip
    assert window["tokens"] > 0
    assert "explain" not in window


async def test_the_window_is_cut_and_says_why(ada: Client) -> None:
    path = await _path(ada, messages=_talk(3))
    window = (await ada.get(f"{path}/window?max_messages=2&explain=true")).json
    assert window["messages"] == _talk(3)[4:]
    assert window["truncated"] is True
    assert window["explain"] == [
        {"first_seq": 1, "last_seq": 4, "included": False, "reason": "older_than_the_limit"},
        {"first_seq": 5, "last_seq": 5, "included": True, "reason": "included"},
        {"first_seq": 6, "last_seq": 6, "included": True, "reason": "included"},
    ]
    tiny = (await ada.get(f"{path}/window?max_tokens=1&explain=false")).json
    assert (tiny["fits"], "explain" in tiny) == (False, False)
    assert len((await ada.get(f"{path}/messages")).json["items"]) == 6, "what is stored stays as it is"


async def test_the_window_comes_in_the_format_asked_for(ada: Client) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    path = await _path(
        ada,
        messages=[
            {"role": "user", "content": "Where?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "here"},
        ],
    )
    shown = (await ada.get(f"{path}/window?format=openai.responses")).json
    assert shown["format"] == "openai.responses"
    assert [item.get("type", "message") for item in shown["messages"]] == [
        "message", "function_call", "function_call_output",
    ]  # fmt: skip
    chat = (await ada.get(f"{path}/window?format=chat")).json
    assert [item["role"] for item in chat["messages"]] == ["user", "assistant", "tool"]


async def test_the_window_holds_the_newest_summary(keepsay: Keepsay, ada: Client) -> None:
    conversation = await ada.create(messages=_talk(3))
    assert ada.user is not None
    await keepsay.user(ada.user).summarise(conversation, 4, "They greeted twice.")
    window = (await ada.get(f"/api/conversations/{conversation}/window")).json
    assert window["summary"] == {"to_seq": 4, "text": "They greeted twice.", "tokens": window["summary"]["tokens"]}
    assert [item["role"] for item in window["messages"]] == ["system", "user", "assistant"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("max_messages=0", "max_messages"),
        ("max_messages=1001", "max_messages"),
        ("max_tokens=x", "max_tokens"),
        ("format=anthropic", "format"),
        ("format=", "format"),
        ("explain=yes", "explain"),
        ("explain=true&explain=true", "explain"),
        ("limit=3", "limit"),
    ],
)
async def test_a_bad_window_is_refused_by_name(ada: Client, query: str, field: str) -> None:
    refused = await ada.get(f"{await _path(ada)}/window?{query}")
    assert (refused.status, refused.code, refused.json["field"]) == (422, "invalid_input", field)


STANDING = {
    "conversation_id", "title", "head", "message_count", "last_role", "last_message_preview", "can_add_user",
    "can_add_assistant", "has_pending_request", "active_run", "updated_at",
}  # fmt: skip


async def test_the_status_tells_whose_turn_it_is(ada: Client) -> None:
    path = await _path(ada, title="Trip")
    empty = (await ada.get(f"{path}/status")).json
    assert set(empty) == STANDING
    assert (empty["title"], empty["head"], empty["last_role"], empty["last_message_preview"]) == ("Trip", 0, None, None)
    assert (empty["can_add_user"], empty["can_add_assistant"]) == (True, False)
    await ada.post(f"{path}/messages", {"role": "user", "content": "Where is\nLisbon? " + "x" * 200})
    asked = (await ada.get(f"{path}/status")).json
    assert (asked["head"], asked["message_count"], asked["last_role"]) == (1, 1, "user")
    assert asked["last_message_preview"] == "Where is Lisbon? " + "x" * 82 + "…"
    assert (asked["can_add_user"], asked["can_add_assistant"]) == (False, True)
    assert path.endswith(asked["conversation_id"])
    assert (await ada.get(f"{path}/status?x=1")).json["field"] == "x"


async def test_a_request_under_way_is_pending(keepsay: Keepsay) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(messages: list[Any]) -> str:
        asked.set()
        await answer.wait()
        return "here"

    ada = connect(keepsay, slow)
    path = await _path(ada)
    asking = asyncio.create_task(ada.post(f"{path}/continue", {"message": "Where?"}))
    await asked.wait()
    pending = (await ada.get(f"{path}/status")).json
    assert (pending["has_pending_request"], pending["can_add_user"], pending["can_add_assistant"]) == (
        True, False, False,
    )  # fmt: skip
    answer.set()
    assert pending["active_run"] == (await asking).json["run_id"]
    done = (await ada.get(f"{path}/status")).json
    assert (done["has_pending_request"], done["active_run"], done["last_message_preview"]) == (False, None, "here")


@pytest.mark.parametrize("policy", ["strict", "lenient", "open"])
async def test_whoever_may_speak_is_whom_the_server_lets_speak(ada: Client, policy: str) -> None:
    """``tests/store/test_standings.py`` holds the law over random histories; this is that it reaches HTTP."""
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    stories: list[list[dict[str, Any]]] = [
        [],
        _talk(1)[:1],
        _talk(1),
        [*_talk(1)[:1], {"role": "assistant", "content": None, "tool_calls": [call]}],
    ]
    for story in stories:
        for role in ROLES:
            path = await _path(ada, role_policy=policy, messages=story)
            told = (await ada.get(f"{path}/status")).json[f"can_add_{role}"]
            said = await ada.post(f"{path}/messages", {"role": role, "content": "x"})
            assert said.status == (201 if told else 400)
