"""Hypothesis strategies for what keepsay is given: user ids, JSON of every kind, messages of the known formats."""

from __future__ import annotations

import unicodedata
from typing import TypeVar

from hypothesis import strategies as st

from keepsay.model import limits
from keepsay.model.json_text import JsonObject, JsonValue
from keepsay.model.messages import OPENAI_RESPONSES, NewMessage

T = TypeVar("T")
U = TypeVar("U")

__all__ = [
    "call_ids",
    "chat_messages",
    "json_objects",
    "json_values",
    "messages",
    "metadata",
    "response_items",
    "texts",
    "unknown_entries",
    "user_ids",
]


def _seldom(some: st.SearchStrategy[T], usual: U) -> st.SearchStrategy[T | U]:
    return st.one_of(*[st.just(usual)] * 5, some)


def texts(*, max_size: int = 20) -> st.SearchStrategy[str]:
    """Any text that JSON can escape: NUL and lone surrogates too."""
    awkward = st.sampled_from(
        ["", "\0", "\ud800", "\udfff\ud800", "\U0001f600", "\u2028", "\\u0000", '"', "é", "e\u0301"]
    )
    return awkward | st.text(st.characters(exclude_categories=()), max_size=max_size)


def _numbers() -> st.SearchStrategy[JsonValue]:
    whole = st.integers(limits.INT64_MIN, limits.INT64_MAX) | st.sampled_from([limits.INT64_MIN, limits.INT64_MAX, 0])
    return whole | st.floats(allow_nan=False, allow_infinity=False)


def json_values(*, max_leaves: int = 8) -> st.SearchStrategy[JsonValue]:
    """Any JSON value that keepsay takes."""
    leaves: st.SearchStrategy[JsonValue] = st.none() | st.booleans() | _numbers() | texts()
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts(max_size=5), inner, max_size=4),
        max_leaves=max_leaves,
    )


def json_objects() -> st.SearchStrategy[JsonObject]:
    """Objects whose keys stand in any order."""
    return st.dictionaries(texts(max_size=5), json_values(max_leaves=4), max_size=4)


def _storable() -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


def metadata() -> st.SearchStrategy[JsonObject]:
    """Metadata within its limits: no NUL, no lone surrogates, few levels."""
    leaves: st.SearchStrategy[JsonValue] = st.none() | st.booleans() | _numbers() | _storable()
    inner = leaves | st.lists(leaves, max_size=3) | st.dictionaries(_storable(), leaves, max_size=3)
    return st.dictionaries(_storable(), inner, max_size=4)


def user_ids() -> st.SearchStrategy[str]:
    """Any user id that keepsay takes."""
    characters = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/")
    normal = st.text(characters, min_size=1, max_size=60).map(lambda text: unicodedata.normalize("NFC", text))
    return normal.filter(lambda text: text not in {".", ".."} and "/" not in text and len(text.encode()) <= 255)


def call_ids() -> st.SearchStrategy[str]:
    """Few, so that results meet their calls; some of them awkward."""
    return st.sampled_from(["a", "b", "call_1", "call_2", "\0", "\ud83d", "é", '"'])


def _parts(kind: str) -> st.SearchStrategy[JsonValue]:
    def part(text: str) -> JsonValue:
        return {"type": kind, "text": text}

    return st.lists(st.builds(part, texts()), max_size=3).map(list)


def _with_extras(payload: JsonObject, extras: JsonObject) -> JsonObject:
    return extras | payload  # unknown fields are kept, wherever they stand


def _call(call_id: str) -> JsonValue:
    return {"id": call_id, "type": "function", "function": {"name": "look", "arguments": "{}"}}


def _chat_payloads() -> st.SearchStrategy[JsonObject]:
    content = texts() | _parts("text")
    spoken: st.SearchStrategy[JsonObject] = st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["system", "developer", "user", "assistant"]),
        content,
    )
    calls = st.lists(call_ids(), min_size=1, max_size=3, unique=True).map(lambda names: [_call(name) for name in names])
    calling: st.SearchStrategy[JsonObject] = st.builds(
        lambda content, calls: {"role": "assistant", "content": content, "tool_calls": calls},
        st.none() | texts(),
        calls,
    )
    result: st.SearchStrategy[JsonObject] = st.builds(
        lambda call_id, content: {"role": "tool", "tool_call_id": call_id, "content": content}, call_ids(), content
    )
    return spoken | calling | result


def chat_messages() -> st.SearchStrategy[NewMessage]:
    """Messages of Chat Completions, with fields that keepsay does not know."""
    return _messages(_chat_payloads(), "chat")


def _item_payloads() -> st.SearchStrategy[JsonObject]:
    spoken: st.SearchStrategy[JsonObject] = st.builds(
        lambda role, content: {"type": "message", "role": role, "content": content},
        st.sampled_from(["system", "user", "assistant"]),
        texts() | _parts("input_text"),
    )
    call: st.SearchStrategy[JsonObject] = st.builds(
        lambda kind, call_id: {"type": kind, "call_id": call_id, "name": "look", "arguments": "{}"},
        st.sampled_from(["function_call", "custom_tool_call"]),
        call_ids(),
    )
    result: st.SearchStrategy[JsonObject] = st.builds(
        lambda call_id, output: {"type": "function_call_output", "call_id": call_id, "output": output},
        call_ids(),
        texts(),
    )
    step: st.SearchStrategy[JsonObject] = st.sampled_from(["reasoning", "web_search_call", "from_the_future"]).map(
        lambda kind: {"type": kind}
    )
    return spoken | call | result | step


def response_items() -> st.SearchStrategy[NewMessage]:
    """Items of OpenAI Responses, those of unknown types too."""
    return _messages(_item_payloads(), OPENAI_RESPONSES)


def unknown_entries() -> st.SearchStrategy[NewMessage]:
    """Entries of a format that keepsay does not know."""
    return _messages(json_objects(), "vendor.v1")


def _messages(payloads: st.SearchStrategy[JsonObject], format: str) -> st.SearchStrategy[NewMessage]:  # noqa: A002
    return st.builds(
        NewMessage,
        payload=st.builds(_with_extras, payloads, _seldom(json_objects(), {})),
        format=st.just(format),
        status=st.sampled_from(["complete", "complete", "incomplete"]),
        metadata=_seldom(metadata(), {}),
        usage=_seldom(json_objects(), None),
        client_id=st.sampled_from([*[None] * 12, "item_1", "item_2", "item_3"]),
        tokens=st.sampled_from([None, 0, 1, 10, 1000]),
    )


def messages() -> st.SearchStrategy[NewMessage]:
    """Messages of every format."""
    return chat_messages() | response_items() | unknown_entries()
