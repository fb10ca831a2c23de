from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings

from keepsay.model.formats import read_facts
from keepsay.model.ids import ConversationId, RunId, message_id
from keepsay.model.json_text import JsonObject, parse_json, read_json, write_json
from keepsay.model.messages import CHAT, OPENAI_RESPONSES, Message, MessageStatus, NewMessage, OrderState, Role
from keepsay.testing import strategies

ID = ConversationId(UUID("01890a5d-ac96-774b-bcce-b302099a8057"))
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
CALL: JsonObject = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def stored(payload: JsonObject, format: str = CHAT, **others: Any) -> Message:  # noqa: A002
    facts = read_facts(payload, format)
    columns: dict[str, Any] = {
        "conversation_id": ID,
        "seq": 7,
        "role": facts.role,
        "status": MessageStatus.COMPLETE,
        "state": facts.state or OrderState.EMPTY,
        "tokens": facts.tokens,
        "format": format,
        "raw": write_json(payload),
        "created_at": MOMENT,
    }
    return Message(**columns | others)


@settings(max_examples=100, deadline=None)
@given(strategies.messages())
def test_a_payload_comes_back_as_it_went_in(new: NewMessage) -> None:
    payload = dict(new.payload)
    message = stored(payload, new.format)
    assert message.payload == read_json(write_json(payload))
    assert list(message.payload) == list(payload)
    assert message.payload is message.payload


@settings(max_examples=100, deadline=None)
@given(strategies.messages())
def test_what_the_api_shows_is_json_and_tells_everything(new: NewMessage) -> None:
    payload = dict(new.payload)
    shown = stored(payload, new.format).to_dict()
    parse_json(write_json(shown))
    told: JsonObject = dict(shown)
    if "payload" not in shown:
        told = {"role": payload["role"], "content": shown["content"]}
        told |= {name: shown[name] for name in ("tool_calls", "tool_call_id") if name in shown}
        told |= {"name": shown["tool_name"]} if "tool_name" in shown else {}
        assert {name: value for name, value in payload.items() if value is not None} == {
            name: value for name, value in told.items() if value is not None
        }
    else:
        assert shown["payload"] == payload


def test_a_users_message_is_shown_with_the_fields_that_apply() -> None:
    assert stored({"role": "user", "content": "Hello"}).to_dict() == {
        "id": str(message_id(ID, 7)),
        "seq": 7,
        "role": "user",
        "content": "Hello",
        "metadata": {},
        "status": "complete",
        "format": "chat",
        "created_at": "2026-01-02T03:04:05.678901+00:00",
    }


def test_everything_that_applies_is_shown() -> None:
    run = RunId(UUID(int=5))
    shown = stored(
        {"role": "user", "content": "Hello"},
        status=MessageStatus.INCOMPLETE,
        run_id=run,
        client_id="mine",
        raw_metadata='{"a":1}',
        raw_usage='{"total_tokens":3}',
        hidden=True,
    ).to_dict()
    assert shown["metadata"] == {"a": 1}
    assert shown["usage"] == {"total_tokens": 3}
    assert (shown["status"], shown["client_id"], shown["run_id"], shown["hidden"]) == (
        "incomplete",
        "mine",
        str(run),
        True,
    )


def test_tool_calls_are_shown_and_content_even_when_there_is_none() -> None:
    shown = stored({"role": "assistant", "content": None, "tool_calls": [CALL]}).to_dict()
    assert (shown["content"], shown["tool_calls"]) == (None, [CALL])
    assert "payload" not in shown


def test_a_tool_result_is_shown_with_its_call_and_its_tool() -> None:
    shown = stored({"role": "tool", "tool_call_id": "c1", "name": "look", "content": "found"}).to_dict()
    assert (shown["role"], shown["tool_call_id"], shown["tool_name"], shown["content"]) == (
        "tool",
        "c1",
        "look",
        "found",
    )
    assert "payload" not in shown


def test_a_name_that_is_no_tools_is_shown_in_the_payload() -> None:
    payload: JsonObject = {"role": "user", "content": "Hello", "name": "Ada"}
    assert stored(payload).to_dict()["payload"] == payload


def test_a_developers_message_is_shown_as_the_systems_with_its_payload() -> None:
    payload: JsonObject = {"role": "developer", "content": "Be brief."}
    shown = stored(payload).to_dict()
    assert (shown["role"], shown["payload"]) == ("system", payload)


def test_fields_that_nobody_knows_are_shown_in_the_payload() -> None:
    payload: JsonObject = {"role": "assistant", "content": "Hi!", "annotations": [], "reasoning_content": "Hm."}
    assert stored(payload).to_dict()["payload"] == payload


def test_a_call_item_is_shown_as_a_tool_call() -> None:
    payload: JsonObject = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
    shown = stored(payload, OPENAI_RESPONSES).to_dict()
    assert (shown["role"], shown["content"], shown["tool_calls"]) == ("assistant", None, [CALL])
    assert shown["payload"] == payload


def test_an_output_item_is_shown_as_a_tool_result() -> None:
    payload: JsonObject = {"type": "function_call_output", "call_id": "c1", "output": "found"}
    shown = stored(payload, OPENAI_RESPONSES).to_dict()
    assert (shown["role"], shown["tool_call_id"], shown["content"]) == ("tool", "c1", "found")
    assert shown["payload"] == payload


def test_an_entry_of_an_unknown_format_is_shown_as_it_is() -> None:
    payload: JsonObject = {"kind": "card", "content": {"a": 1}}
    shown = stored(payload, "ours").to_dict()
    assert (shown["role"], shown["format"], shown["content"], shown["payload"]) == ("other", "ours", {"a": 1}, payload)


def test_a_deleted_message_is_shown_blank() -> None:
    shown = stored({"role": "user", "content": "Hello"}, status=MessageStatus.DELETED, raw="{}").to_dict()
    assert (shown["role"], shown["status"], shown["content"]) == ("user", "deleted", None)
    assert "payload" not in shown


def test_a_message_is_immutable_and_its_text_stays_out_of_its_repr() -> None:
    message = stored({"role": "user", "content": "a secret"}, raw_metadata='{"a":"a secret"}')
    with pytest.raises(FrozenInstanceError):
        message.seq = 8  # type: ignore[misc]
    assert "secret" not in repr(message)


def test_the_numbers_that_the_database_holds_stay() -> None:
    assert [role.text for role in Role] == ["system", "user", "assistant", "tool", "other"]
    assert [status.text for status in MessageStatus] == ["complete", "incomplete", "synthetic", "deleted"]
    assert [(state.value, state.name) for state in OrderState] == [
        (0, "EMPTY"),
        (1, "SYSTEM"),
        (2, "USER"),
        (3, "ASSISTANT"),
        (4, "STEP"),
        (5, "CALLING"),
        (6, "TOOL"),
        (7, "INTERRUPTED"),
    ]
    assert json.loads(json.dumps([*Role])) == [0, 1, 2, 3, 4]
