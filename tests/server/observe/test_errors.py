"""Errors as operators see them: enough to find the bug, and nothing of what they say."""

from __future__ import annotations

import json

import pytest

from keepsay import ConversationBusy
from keepsay.server.observe.errors import cause_of, show_error

SECRET = "canary-7f3a"


def _fails(secret: str) -> None:
    raise ValueError(secret)


def _caught() -> Exception:
    try:
        try:
            _fails(SECRET)
        except ValueError as error:
            raise KeyError(SECRET) from error
    except KeyError as error:
        error.add_note(SECRET)
        return error
    raise AssertionError


def test_types_causes_and_places_are_shown() -> None:
    lines = show_error(_caught()).split("\n")
    assert [line for line in lines if not line.startswith("  at ")] == ["ValueError", "KeyError"], "the cause first"
    assert lines[2].startswith(f"  at {__file__}:")
    assert lines[2].endswith(" in _fails")


def test_what_errors_say_is_shown_only_when_asked_for() -> None:
    assert SECRET not in show_error(_caught())
    assert SECRET not in cause_of(_caught())
    assert f"ValueError: {SECRET}" in show_error(_caught(), messages=True)


def test_keepsays_own_errors_are_shown_by_their_code_and_others_by_their_full_name() -> None:
    busy = ConversationBusy(run_id="r", retry_after=1)
    busy.__cause__ = json.JSONDecodeError(SECRET, SECRET, 0)
    assert cause_of(busy) == "conversation_busy from json.decoder.JSONDecodeError"


def test_members_of_groups_are_shown() -> None:
    group = ExceptionGroup(SECRET, [_caught(), TypeError(SECRET)])
    shown = show_error(group)
    assert SECRET not in shown
    assert {"ExceptionGroup", "member: KeyError", "ValueError", "member: TypeError"} <= set(shown.split("\n"))


def test_a_hidden_context_stays_hidden() -> None:
    error = KeyError()
    error.__context__, error.__suppress_context__ = ValueError(), True
    assert cause_of(error) == "KeyError"


def test_circles_and_deep_stacks_come_to_an_end() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert cause_of(first) == "ValueError from KeyError"

    def sink(depth: int) -> None:
        return sink(depth + 1) if depth < 200 else _fails(SECRET)

    with pytest.raises(ValueError, match=SECRET) as caught:
        sink(0)
    assert len(show_error(caught.value).split("\n")) == 31
    assert " in _fails" in show_error(caught.value), "the place where it was raised is kept"
