"""The strategies give what keepsay takes."""

from __future__ import annotations

from hypothesis import given

from keepsay.model.ids import checked_user_id
from keepsay.model.json_text import JsonObject, JsonValue, check_json, checked_metadata, parse_json, write_json
from keepsay.model.messages import NewMessage
from keepsay.testing import strategies
from keepsay.testing.build import plan_of


@given(strategies.user_ids())
def test_user_ids_are_taken(user_id: str) -> None:
    assert checked_user_id(user_id) == user_id


@given(strategies.json_values())
def test_json_values_are_taken_and_come_back(value: JsonValue) -> None:
    check_json(value)
    assert parse_json(write_json(value)) == value


@given(strategies.metadata())
def test_metadata_is_taken(metadata: JsonObject) -> None:
    assert checked_metadata(metadata) == metadata


@given(strategies.messages())
def test_messages_can_be_planned(message: NewMessage) -> None:
    assert len(plan_of(message).messages) == 1
