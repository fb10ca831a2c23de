from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.histories import talks, windows
from tests.model.test_messages import stored

from keepsay.model.conversation import Summary
from keepsay.model.convert import to_chat, to_responses, with_summary
from keepsay.model.json_text import JsonObject, JsonValue
from keepsay.model.messages import CHAT, OPENAI_RESPONSES, Message
from keepsay.model.window import choose_window
from keepsay.testing import strategies
from keepsay.testing.build import message

PICTURE: JsonObject = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}
FILE: JsonObject = {"type": "file", "file": {"file_data": "AAAA", "filename": "a.pdf"}}


def said(*payloads: JsonObject) -> list[Message]:
    """Messages in the format that each payload tells by having a type, or not."""
    return [stored(payload, OPENAI_RESPONSES if "type" in payload else CHAT) for payload in payloads]


def items(*payloads: JsonObject) -> list[Message]:
    return [stored(payload, OPENAI_RESPONSES) for payload in payloads]


def lines(*texts: str) -> list[Message]:
    new = [message(text) for text in texts]
    return [stored(dict(one.payload), one.format) for one in new]


def function(call_id: str, **fields: JsonValue) -> JsonObject:
    return {"id": call_id, "type": "function", "function": {"name": "look", "arguments": "{}", **fields}}


def custom(call_id: str) -> JsonObject:
    return {"id": call_id, "type": "custom", "custom": {"name": "draw", "input": "a cat"}}


CONVERSATION: list[JsonObject] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "What is this?"}, PICTURE, FILE]},
    {"role": "assistant", "content": "Let me look.", "tool_calls": [function("c1"), custom("c2")]},
    {"role": "tool", "tool_call_id": "c2", "content": "drawn"},
    {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "found"}]},
    {"role": "assistant", "content": None, "tool_calls": [function("c3")]},
    {"role": "tool", "tool_call_id": "c3", "content": ""},
    {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
    {"role": "user", "content": ""},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
]


def test_a_conversation_goes_to_responses_and_comes_back() -> None:
    there = to_responses(said(*CONVERSATION))
    assert to_chat(items(*there)) == CONVERSATION


def test_chat_messages_become_items() -> None:
    assert to_responses(said(*CONVERSATION[1:5])) == [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
                {"type": "input_file", "file_data": "AAAA", "filename": "a.pdf"},
            ],
        },
        {"role": "assistant", "content": "Let me look."},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "draw", "input": "a cat"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "drawn"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "found"}]},
    ]


def test_a_refusal_of_the_chat_format_is_a_part_of_an_item() -> None:
    refusal: JsonObject = {"role": "assistant", "content": None, "refusal": "No."}
    assert to_responses(said(refusal)) == [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}]


def test_a_result_in_one_format_answers_a_call_in_the_other() -> None:
    called = items({"type": "custom_tool_call", "call_id": "c1", "name": "draw", "input": "a cat"})
    assert to_responses([*called, *lines("result: c1")])[1]["type"] == "custom_tool_call_output"
    assert to_chat([*lines("calls: c1"), *lines("result item: c1")])[1]["tool_call_id"] == "c1"


text_parts: st.SearchStrategy[JsonValue] = st.builds(lambda text: {"type": "text", "text": text}, strategies.texts())
media: st.SearchStrategy[JsonValue] = st.sampled_from([PICTURE, FILE])
asked: st.SearchStrategy[JsonValue] = strategies.texts() | st.lists(text_parts | media, min_size=1, max_size=3)
answered: st.SearchStrategy[JsonValue] = strategies.texts() | st.lists(text_parts, min_size=1, max_size=3)
call_lists = st.lists(st.sampled_from(["c1", "c2", "c3"]), unique=True, max_size=3)


@st.composite
def conversations(draw: st.DrawFn) -> list[JsonObject]:
    payloads: list[JsonObject] = []
    for _ in range(draw(st.integers(1, 3))):
        payloads.append({"role": draw(st.sampled_from(["user", "developer"])), "content": draw(asked)})
        calls = draw(call_lists)
        if calls:
            words: JsonValue = draw(st.none() | st.text(min_size=1, max_size=3))
            made: list[JsonValue] = [draw(st.sampled_from([function, custom]))(call_id) for call_id in calls]
            payloads.append({"role": "assistant", "content": words, "tool_calls": made})
            payloads += [{"role": "tool", "tool_call_id": call_id, "content": draw(asked)} for call_id in calls]
        payloads.append({"role": "assistant", "content": draw(answered)})
    return payloads


@settings(max_examples=100, deadline=None)
@given(conversations())
def test_every_chat_keeps_its_meaning_on_the_way_to_responses_and_back(payloads: list[JsonObject]) -> None:
    assert to_chat(items(*to_responses(said(*payloads)))) == payloads


@settings(max_examples=100, deadline=None)
@given(strategies.messages())
def test_a_payload_goes_out_verbatim_in_its_own_format(new: Any) -> None:
    one = stored(dict(new.payload), new.format)
    if new.format == CHAT:
        assert to_chat([one]) == [one.payload]
    if new.format == OPENAI_RESPONSES:
        assert to_responses([one]) == [one.payload]


@settings(max_examples=100, deadline=None)
@given(talks(), windows())
def test_no_payload_is_changed_by_any_conversion(talk: Any, window: Any) -> None:
    chosen = choose_window(talk.rows(), window)
    before = [one.raw for one in chosen.messages]
    shapes = (chosen.to_openai_chat(), chosen.to_openai_responses())
    assert (chosen.to_openai_chat(), chosen.to_openai_responses()) == shapes
    fresh = [stored_again.payload for stored_again in _read_anew(chosen.messages)]
    assert [one.payload for one in chosen.messages] == fresh
    assert [one.raw for one in chosen.messages] == before


def _read_anew(messages: tuple[Message, ...]) -> list[Message]:
    return [Message(**{name: getattr(one, name) for name in Message.__dataclass_fields__}) for one in messages]


def test_parallel_call_items_become_one_message() -> None:
    said_in_items = lines("call item: c1", "call item: c2", "result item: c2", "result item: c1", "answer item: Done.")
    assert to_chat(said_in_items) == [
        {"role": "assistant", "content": None, "tool_calls": [function("c1"), function("c2")]},
        {"role": "tool", "tool_call_id": "c2", "content": "found"},
        {"role": "tool", "tool_call_id": "c1", "content": "found"},
        {"role": "assistant", "content": "Done."},
    ]


def test_all_items_of_a_step_become_one_message() -> None:
    step = lines("reasoning: hm", "answer item: I look.", "call item: c1", "reasoning: hm", "answer item: And draw.")
    assert to_chat(step) == [{"role": "assistant", "content": "I look.\n\nAnd draw.", "tool_calls": [function("c1")]}]


def test_calls_that_overlap_become_one_message_with_all_results_after_it() -> None:
    overlapping = lines("call item: c1", "call item: c2", "result item: c1", "call item: c3", "result item: c2")
    shaped = to_chat([*overlapping, *lines("result item: c3", "call item: c1", "result item: c1")])
    calls = [[call["id"] for call in one.get("tool_calls", [])] for one in map(dict[str, Any], shaped)]
    assert calls == [["c1", "c2", "c3"], [], [], [], ["c1"], []]


def test_steps_with_a_result_between_them_stay_apart() -> None:
    roles = [
        one["role"] for one in to_chat(lines("call item: c1", "result item: c1", "call item: c2", "result item: c2"))
    ]
    assert roles == ["assistant", "tool", "assistant", "tool"]


def test_items_join_the_chat_message_of_their_step_and_leave_its_payload_alone() -> None:
    first = stored({"role": "assistant", "content": "I look.", "name": "Ada"})
    assert to_chat([first, *lines("call item: c1", "result item: c1")])[0] == {
        "role": "assistant",
        "content": "I look.",
        "name": "Ada",
        "tool_calls": [function("c1")],
    }
    assert first.payload == {"role": "assistant", "content": "I look.", "name": "Ada"}


def test_chat_messages_in_a_row_stay_as_they_are() -> None:
    assert len(to_chat(lines("assistant: a", "assistant: b", "user: c", "user: d"))) == 4


def test_text_and_parts_join_to_parts() -> None:
    parts: list[JsonValue] = [{"type": "output_text", "text": "b", "annotations": []}]
    joined = to_chat([*lines("answer item: a"), *items({"type": "message", "role": "assistant", "content": parts})])
    assert joined == [{"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "reasoning", "summary": []},
        {"type": "web_search_call", "id": "ws_1"},
        {"type": "shell_call", "call_id": "c1", "action": {}},
        {"type": "shell_call_output", "call_id": "c1", "output": []},
        {"type": "ours:card"},
        {"type": "message", "role": "critic", "content": "Meh."},
    ],
)
def test_items_without_a_shape_in_the_chat_format_are_left_out_of_it_alone(payload: JsonObject) -> None:
    assert to_chat(items(payload)) == []
    assert to_responses(items(payload)) == [payload]


def test_parts_of_unknown_types_pass_through() -> None:
    parts: list[JsonValue] = [{"type": "ours:part", "a": 1}, "text", {"type": "input_file", "file_url": "https://a"}]
    assert to_chat(items({"role": "user", "content": parts})) == [{"role": "user", "content": parts}]
    assert to_responses(said({"role": "user", "content": parts})) == [{"role": "user", "content": parts}]


@pytest.mark.parametrize("payload", [{}, {"role": "tool"}, {"type": "function_call"}, {"content": ["a"]}])
def test_payloads_of_unknown_formats_pass_through_untouched(payload: JsonObject) -> None:
    strange = stored(payload, "unheard.of")
    assert to_chat([strange]) == [payload]
    assert to_responses([strange]) == [payload]
    assert to_chat([*lines("call item: c1"), strange, *lines("call item: c2")])[1:] == [payload]


SUMMARY = Summary(4, "They spoke.", 3)
SHOWN = "Summary of the conversation so far:\nThey spoke."


@pytest.mark.parametrize(
    ("system_prompt", "content"),
    [
        (None, SHOWN),
        ("", SHOWN),
        ("Be brief.", f"Be brief.\n\n{SHOWN}"),
        (
            [{"type": "text", "text": "Be brief."}],
            [{"type": "text", "text": "Be brief."}, {"type": "text", "text": SHOWN}],
        ),
    ],
)
def test_a_summary_goes_into_the_one_system_message(system_prompt: JsonValue, content: JsonValue) -> None:
    assert with_summary(system_prompt, SUMMARY) == content
    assert with_summary(system_prompt, None) == system_prompt
