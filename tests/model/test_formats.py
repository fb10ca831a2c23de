from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import ResponseInputItemParam
from pydantic import TypeAdapter

from keepsay.errors import InvalidInput
from keepsay.model.formats import call_token, count_tokens, payload_text, read_facts, read_order_facts
from keepsay.model.json_text import JsonObject, JsonValue, parse_json, read_json, write_json
from keepsay.model.messages import CHAT, OPENAI_RESPONSES, Facts, OrderState, Role
from keepsay.testing import strategies

CALLS = ["function_call", "custom_tool_call", "local_shell_call", "shell_call", "apply_patch_call", "computer_call"]
STEPS = [
    "reasoning",
    "compaction",
    "file_search_call",
    "web_search_call",
    "image_generation_call",
    "code_interpreter_call",
    "mcp_list_tools",
    "mcp_call",
    "mcp_approval_request",
    "tool_search_call",
]
UNKNOWN = [
    "additional_tools",
    "configuration_update",
    "item_reference",
    "mcp_approval_response",
    "program",
    "program_output",
    "tool_search_output",
    "ours:card",
    "",
]


def chat(**payload: JsonValue) -> Facts:
    return read_facts(payload, CHAT)


def item(**payload: JsonValue) -> Facts:
    return read_facts(payload, OPENAI_RESPONSES)


def call(call_id: JsonValue = "c1", name: str = "look") -> JsonObject:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": "{}"}}


@pytest.mark.parametrize(
    ("name", "role", "state"),
    [
        ("system", Role.SYSTEM, OrderState.SYSTEM),
        ("developer", Role.SYSTEM, OrderState.SYSTEM),
        ("user", Role.USER, OrderState.USER),
        ("assistant", Role.ASSISTANT, OrderState.ASSISTANT),
    ],
)
@pytest.mark.parametrize("content", ["Hello", "", [{"type": "text", "text": "Hello"}], []])
def test_a_message_says_who_speaks_in_both_formats(
    name: str, role: Role, state: OrderState, content: JsonValue
) -> None:
    for facts in (
        chat(role=name, content=content),
        item(role=name, content=content),
        item(type="message", role=name, content=content),
        item(type=None, role=name, content=content),
    ):
        assert (facts.role, facts.state, facts.opens, facts.answers) == (role, state, (), ())


def test_tool_calls_of_a_chat_message_are_opened_in_their_order() -> None:
    facts = chat(role="assistant", content=None, tool_calls=[call("c2"), call("c1")])
    assert (facts.role, facts.state) == (Role.ASSISTANT, OrderState.CALLING)
    assert [opened.call_id for opened in facts.opens] == ["c2", "c1"]


def test_a_tool_message_answers_its_call() -> None:
    facts = chat(role="tool", tool_call_id="c1", content="found")
    assert (facts.role, facts.state, facts.answers) == (Role.TOOL, OrderState.TOOL, ("c1",))


@pytest.mark.parametrize("nothing", [{}, {"tool_calls": None}, {"tool_calls": []}])
def test_an_assistant_without_calls_has_answered(nothing: JsonObject) -> None:
    assert chat(role="assistant", content="Hi!", **nothing).state is OrderState.ASSISTANT


@pytest.mark.parametrize("said", [{"refusal": "No."}, {"audio": {"id": "a1"}}, {"tool_calls": [{"id": "c1"}]}])
def test_only_an_assistant_that_refuses_speaks_aloud_or_calls_needs_no_content(said: JsonObject) -> None:
    assert chat(role="assistant", **said).role is Role.ASSISTANT
    assert chat(role="assistant", content=None, **said).role is Role.ASSISTANT
    with pytest.raises(InvalidInput):
        chat(role="user", **said)


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "role"),
        ({"role": None}, "role"),
        ({"role": "function", "content": "a"}, "role"),
        ({"role": ["user"], "content": "a"}, "role"),
        ({"role": "user"}, "content"),
        ({"role": "user", "content": None}, "content"),
        ({"role": "user", "content": 1}, "content"),
        ({"role": "user", "content": {"type": "text"}}, "content"),
        ({"role": "assistant"}, "content"),
        ({"role": "assistant", "content": 1, "tool_calls": [{"id": "c1"}]}, "content"),
        ({"role": "assistant", "content": "a", "tool_calls": {}}, "tool_calls"),
        ({"role": "assistant", "content": "a", "tool_calls": "c1"}, "tool_calls"),
        ({"role": "assistant", "content": "a", "tool_calls": ["c1"]}, "tool_calls"),
        ({"role": "assistant", "content": "a", "tool_calls": [{}]}, "id"),
        ({"role": "assistant", "content": "a", "tool_calls": [{"id": ""}]}, "id"),
        ({"role": "assistant", "content": "a", "tool_calls": [{"id": 1}]}, "id"),
        ({"role": "assistant", "content": "a", "tool_calls": [{"id": "c" * 256}]}, "id"),
        ({"role": "assistant", "content": "a", "tool_calls": [{"id": "c1"}, {"id": "c1"}]}, "tool_calls"),
        ({"role": "tool", "content": "a"}, "tool_call_id"),
        ({"role": "tool", "content": "a", "tool_call_id": ""}, "tool_call_id"),
        ({"role": "tool", "content": "a", "tool_call_id": {}}, "tool_call_id"),
        ({"role": "tool", "tool_call_id": "c1"}, "content"),
        ({"role": "tool", "tool_call_id": "c1", "content": {"found": 1}}, "content"),
    ],
)
def test_a_malformed_chat_message_is_refused_by_its_field(payload: JsonObject, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_facts(payload, CHAT)
    assert caught.value.field == field


@pytest.mark.parametrize("kind", CALLS)
def test_an_item_that_the_client_answers_opens_a_call_and_its_output_closes_it(kind: str) -> None:
    opening, closing = item(type=kind, call_id="c1"), item(type=f"{kind}_output", call_id="c1", output="found")
    assert (opening.role, opening.state) == (Role.ASSISTANT, OrderState.CALLING)
    assert [opened.call_id for opened in opening.opens] == ["c1"]
    assert (closing.role, closing.state, closing.answers) == (Role.TOOL, OrderState.TOOL, ("c1",))


def test_the_output_of_a_local_shell_may_name_its_call_by_id() -> None:
    assert item(type="local_shell_call_output", id="c1", output="found").answers == ("c1",)
    assert item(type="local_shell_call_output", id="x", call_id="c1", output="found").answers == ("c1",)


@pytest.mark.parametrize("kind", STEPS)
def test_what_a_model_does_by_itself_is_a_step_on_the_way_to_its_answer(kind: str) -> None:
    facts = item(type=kind, id="i1")
    assert (facts.role, facts.state, facts.opens, facts.answers) == (Role.ASSISTANT, OrderState.STEP, (), ())


@pytest.mark.parametrize("kind", UNKNOWN)
def test_items_of_other_types_are_kept_and_ignored_by_the_order(kind: str) -> None:
    facts = item(type=kind, call_id=7, role="user")
    assert (facts.role, facts.state, facts.opens, facts.answers) == (Role.OTHER, None, (), ())


@pytest.mark.parametrize("role", ["critic", "discriminator", "tool", "unknown"])
def test_messages_of_roles_that_the_order_does_not_know_are_kept_too(role: str) -> None:
    assert item(type="message", role=role, content=[]).role is Role.OTHER


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "role"),
        ({"type": "message", "role": "usr", "content": "a"}, "role"),
        ({"type": "message", "role": {}, "content": "a"}, "role"),
        ({"type": "message", "role": "user"}, "content"),
        ({"type": "message", "role": "assistant", "content": None}, "content"),
        ({"type": []}, "type"),
        ({"type": {}}, "type"),
        ({"type": 1, "role": "user", "content": "a"}, "type"),
        ({"type": "function_call"}, "call_id"),
        ({"type": "function_call", "call_id": ""}, "call_id"),
        ({"type": "function_call_output", "call_id": None, "output": "a"}, "call_id"),
        ({"type": "local_shell_call_output", "output": "a"}, "id"),
    ],
)
def test_a_malformed_item_is_refused_by_its_field(payload: JsonObject, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_facts(payload, OPENAI_RESPONSES)
    assert caught.value.field == field


@settings(max_examples=100, deadline=None)
@given(strategies.json_objects(), st.sampled_from(["anthropic", "ag-ui", "Chat", "x"]))
def test_payloads_of_unknown_formats_are_opaque(payload: JsonObject, name: str) -> None:
    facts = read_facts(payload, name)
    assert (facts.role, facts.state, facts.opens, facts.answers) == (Role.OTHER, None, (), ())


KEYS = ["role", "content", "type", "tool_calls", "tool_call_id", "call_id", "id", "output", "refusal", "image_url"]
WORDS = ["user", "assistant", "tool", "message", "function_call", "text", "image_url", *KEYS]
anything: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(WORDS) | strategies.texts(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=250, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), anything, max_size=5), st.sampled_from([CHAT, OPENAI_RESPONSES, "x"]))
def test_any_object_has_facts_or_is_invalid_input(payload: JsonObject, name: str) -> None:
    before = write_json(payload)
    try:
        facts = read_facts(payload, name)
    except InvalidInput:
        return
    assert write_json(payload) == before
    assert facts.tokens > 0
    assert (facts.state is None) == (facts.role is Role.OTHER)
    assert bool(facts.answers) == (facts.role is Role.TOOL)
    assert (facts.state is OrderState.CALLING) == bool(facts.opens)


@settings(max_examples=100, deadline=None)
@given(strategies.messages())
def test_facts_hold_the_order_and_the_tokens(new: Any) -> None:
    facts = read_facts(dict(new.payload), new.format)
    order = read_order_facts(dict(new.payload), new.format)
    assert (order.role, order.state, order.opens, order.answers) == (
        facts.role,
        facts.state,
        facts.opens,
        facts.answers,
    )
    assert facts.tokens == count_tokens(dict(new.payload))


@settings(max_examples=100, deadline=None)
@given(strategies.texts(), strategies.texts())
def test_a_call_token_is_ascii_and_one_to_one(one: str, other: str) -> None:
    assert call_token(one).isascii()
    assert "\0" not in call_token(one)
    assert (call_token(one) == call_token(other)) == (parse_json(write_json(one)) == parse_json(write_json(other)))


def test_calls_and_results_with_awkward_ids_find_each_other() -> None:
    for call_id in ("\0", "\ud800", '"\\', "é", "c" * 255):
        opened = chat(role="assistant", content=None, tool_calls=[call(call_id)]).opens[0]
        stand_in = read_json(opened.interrupted)
        assert isinstance(stand_in, dict)
        assert stand_in["tool_call_id"] == call_id
        assert read_facts(stand_in, opened.format).answers == (opened.call_id,)


INPUT_ITEM: TypeAdapter[Any] = TypeAdapter(ResponseInputItemParam)


@pytest.mark.parametrize("kind", CALLS)
def test_the_stand_in_of_an_interrupted_call_is_an_answer_as_the_api_has_it(kind: str) -> None:
    opened = item(type=kind, call_id="c1").opens[0]
    stand_in = read_json(opened.interrupted)
    assert isinstance(stand_in, dict)
    assert (opened.format, stand_in["type"]) == (OPENAI_RESPONSES, f"{kind}_output")
    assert read_facts(stand_in, opened.format).answers == (opened.call_id,)
    if kind != "local_shell_call":  # whose guide and schema disagree; this is the guide's shape
        INPUT_ITEM.validate_python(stand_in, strict=True)


def test_the_stand_in_of_a_chat_call_is_a_tool_message() -> None:
    opened = chat(role="assistant", content=None, tool_calls=[call()]).opens[0]
    expected = {"role": "tool", "tool_call_id": "c1", "content": '{"status":"interrupted"}'}
    assert (opened.format, read_json(opened.interrupted)) == (CHAT, expected)


def test_the_text_of_a_payload_is_what_a_person_would_read() -> None:
    payload: JsonObject = {
        "id": "msg_1",
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "data:AAAA"}},
        ],
        "tool_calls": [call(name="look")],
    }
    assert payload_text(payload) == "What is this?\nlook\n{}"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4_000}},
        {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 4_000},
        {"type": "input_file", "file_data": "A" * 4_000},
        {"type": "input_audio", "input_audio": {"data": "A" * 4_000, "format": "wav"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 4_000}},
        {"type": "tool_result", "content": [{"type": "image", "source": {"type": "base64", "data": "A" * 4_000}}]},
    ],
)
def test_a_picture_or_file_costs_a_flat_price_wherever_it_is(part: JsonObject) -> None:
    plain = count_tokens({"role": "user", "content": []}, len)
    assert 800 <= count_tokens({"role": "user", "content": [part]}, len) - plain < 850
    assert 1_600 <= count_tokens({"role": "user", "content": [part, part]}, len) - plain < 1_700


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "A" * 4_000},
        {
            "type": "computer_call_output",
            "call_id": "c1",
            "output": {"type": "computer_screenshot", "image_url": "A" * 9},
        },
        {
            "type": "function_call_output",
            "call_id": "c1",
            "output": [{"type": "input_image", "image_url": "A" * 4_000}],
        },
    ],
)
def test_items_that_are_pictures_cost_that_price_too(payload: JsonObject) -> None:
    assert count_tokens(payload, len) == 804


def test_a_type_that_is_no_text_is_no_media() -> None:
    assert count_tokens({"role": "user", "content": [{"type": ["image"], "text": "ab"}, {"type": {}}]}, len) == 4 + 2


def test_a_counter_of_ones_own_counts_the_words() -> None:
    assert count_tokens({"role": "user", "content": "one two three"}, lambda text: len(text.split())) == 3 + 4
