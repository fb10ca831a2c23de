from __future__ import annotations

from dataclasses import replace
from itertools import chain
from uuid import UUID

import pytest
from hypothesis import given, settings
from tests.model.histories import lawless_rows
from tests.model.talk import Talk

from keepsay.model.conversation import RolePolicy
from keepsay.model.ids import RunId
from keepsay.model.messages import Message, MessageStatus, Role
from keepsay.model.turns import is_question, is_step, pair_calls, split_turns, split_units
from keepsay.model.window import WindowRows
from keepsay.testing.build import words_of

STRICT, LENIENT, OPEN = RolePolicy


def log(*lines: str) -> list[Message]:
    talk = Talk(OPEN)
    for line in lines:
        talk.say(line)
    return talk.messages


def turns_of(messages: list[Message], policy: RolePolicy = LENIENT) -> list[list[int]]:
    return [[message.seq for message in turn] for turn in split_turns(messages, policy)]


def units_of(*lines: str) -> list[list[str]]:
    return [[words_of(message) for message in unit] for unit in split_units(log(*lines))]


def paired(*lines: str) -> tuple[list[str], list[str]]:
    messages, strays = pair_calls(log(*lines))
    return [words_of(message) for message in messages], [words_of(message) for message in strays]


def test_a_turn_is_a_question_and_everything_up_to_the_next() -> None:
    messages = log("user: a", "calls: c1", "result: c1", "assistant: b", "user: c", "assistant: d")
    assert turns_of(messages) == [[1, 2, 3, 4], [5, 6]]
    assert turns_of([]) == []
    assert turns_of(log("assistant: a", "user: b")) == [[1], [2]]


def test_questions_in_a_row_are_one_turn_but_for_the_strict_policy_and_other_runs() -> None:
    messages = log("user: a", "user: b", "assistant: c")
    assert turns_of(messages) == [[1, 2, 3]]
    assert turns_of(messages, STRICT) == [[1], [2, 3]]
    runs = [replace(message, run_id=RunId(UUID(int=message.seq))) for message in messages]
    assert turns_of(runs) == [[1], [2, 3]]


def test_a_system_message_in_the_middle_opens_the_turn_of_what_it_stands_before() -> None:
    assert turns_of(log("user: a", "assistant: b", "system: s", "user: c"), OPEN) == [[1, 2], [3, 4]]


def test_what_the_order_ignores_goes_with_what_follows_it() -> None:
    assert turns_of(log("user: a", "assistant: b", "unknown: x", "user: c", "unknown: y")) == [[1, 2], [3, 4, 5]]
    assert units_of("unknown: w", "user: a", "unknown: x", "calls: c1", "unknown: y", "result: c1", "unknown: z") == [
        ["unknown: w"],
        ["user: a"],
        ["unknown: x", "calls: c1", "unknown: y", "result: c1"],
        ["unknown: z"],
    ]


def test_a_deleted_question_still_opens_its_turn() -> None:
    messages = log("user: a", "assistant: b", "user: c", "assistant: d")
    messages[2] = replace(messages[2], status=MessageStatus.DELETED, raw="{}")
    assert turns_of(messages) == [[1, 2], [3, 4]]


def test_units_are_questions_and_steps() -> None:
    steps = ("calls: c1 c2", "result: c1", "result: c2", "reasoning: r", "call item: c3", "result item: c3")
    assert units_of("user: a", "user: b", *steps, "assistant: c") == [
        ["user: a"],
        ["user: b"],
        ["calls: c1 c2", "result: c1", "result: c2"],
        ["reasoning: r", "call item: c3", "result item: c3"],
        ["assistant: c"],
    ]


def test_a_step_goes_on_while_calls_are_open() -> None:
    talk = Talk(STRICT)
    for line in ("user: a", "call item: c1", "call item: c2", "result item: c1", "call item: c3", "result item: c2"):
        assert talk.say(line)
    assert [len(unit) for unit in split_units(talk.messages)] == [1, 5]


@settings(max_examples=150, deadline=None)
@given(lawless_rows())
def test_no_message_is_lost_or_moved_by_cutting(rows: WindowRows) -> None:
    turns = split_turns(rows.messages, rows.policy)
    assert tuple(chain.from_iterable(turns)) == rows.messages
    for turn in turns:
        units = split_units(turn)
        assert tuple(chain.from_iterable(units)) == turn
        for unit in units:
            assert not (is_step(unit) and any(map(is_question, unit)))
            assert is_step(unit) or len(unit) == 1


@pytest.mark.parametrize(
    ("lines", "expected", "strays"),
    [
        (["calls: c1 c2", "result: c2", "result: c1"], ["calls: c1 c2", "result: c2", "result: c1"], []),
        (["calls: c1 c2", "result: c2"], ["calls: c1 c2", "result: c2", "interrupted: c1"], []),
        (["calls: c1", "assistant: b"], ["calls: c1", "interrupted: c1", "assistant: b"], []),
        (["result: c1", "assistant: b"], ["result: c1", "assistant: b"], ["result: c1"]),
        (["calls: c1", "result: c1", "result: c1"], ["calls: c1", "result: c1", "result: c1"], ["result: c1"]),
        (["calls: c1", "unknown: x", "result: c1"], ["calls: c1", "unknown: x", "result: c1"], []),
        (
            ["calls: c1", "assistant: b", "result: c1"],
            ["calls: c1", "interrupted: c1", "assistant: b", "result: c1"],
            ["result: c1"],
        ),
        (
            ["call item: c1", "call item: c2", "result item: c2"],
            ["call item: c1", "call item: c2", "result item: c2", "interrupted: c1"],
            [],
        ),
        (
            ["call item: c1", "reasoning: r", "call item: c2", "result item: c1", "result item: c2"],
            ["call item: c1", "reasoning: r", "call item: c2", "result item: c1", "result item: c2"],
            [],
        ),
        (
            ["call item: c1", "reasoning: r", "call item: c2", "result item: c2"],
            ["call item: c1", "interrupted: c1", "reasoning: r", "call item: c2", "result item: c2"],
            [],
        ),
        (["call item: c1", "answer item: b"], ["call item: c1", "interrupted: c1", "answer item: b"], []),
        (
            ["call item: c1", "call item: c1", "result item: c1"],
            ["call item: c1", "interrupted: c1", "call item: c1", "result item: c1"],
            [],
        ),
        (["calls: c1", "result item: c1"], ["calls: c1", "result item: c1"], []),
    ],
)
def test_calls_and_results_are_made_to_pair(lines: list[str], expected: list[str], strays: list[str]) -> None:
    assert paired(*lines) == (expected, strays)


def test_a_stand_in_is_a_synthetic_tool_result_in_its_calls_place() -> None:
    messages, _ = pair_calls(log("calls: c1"))
    call, stand_in = messages
    assert (stand_in.role, stand_in.status, stand_in.seq) == (Role.TOOL, MessageStatus.SYNTHETIC, call.seq)
    assert stand_in.payload == {"role": "tool", "tool_call_id": "c1", "content": '{"status":"interrupted"}'}
