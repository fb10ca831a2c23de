"""Messages in the shapes that models take: OpenAI Chat Completions and OpenAI Responses.

A payload goes out verbatim in its own format, is translated between the two, and passes through untouched when its
format is another. What Chat Completions has no shape for (reasoning, hosted tools' items) is left out there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from keepsay.model.json_text import JsonObject, JsonValue
from keepsay.model.messages import CHAT, OPENAI_RESPONSES, Message

if TYPE_CHECKING:
    from keepsay.model.conversation import Summary

_SUMMARY_HEADING = "Summary of the conversation so far:"


def with_summary(system_prompt: JsonValue, summary: Summary | None) -> JsonValue:
    """The system message's content with the summary in it: one system message, as every provider takes it."""
    if summary is None:
        return system_prompt
    text = f"{_SUMMARY_HEADING}\n{summary.text}"
    if isinstance(system_prompt, list):
        return [*system_prompt, {"type": "text", "text": text}]
    return f"{system_prompt}\n\n{text}" if system_prompt else text


def to_chat(messages: Iterable[Message]) -> list[JsonObject]:
    """The messages for Chat Completions; adjacent assistant items of one answer become one message."""
    shaped: list[JsonObject] = []
    joins = False
    for message in messages:
        if message.format != OPENAI_RESPONSES:
            shaped.append(message.payload)
            joins = False
            continue
        item = _item_to_chat(message.payload)
        if item is None:
            continue
        if joins and item["role"] == "assistant":
            shaped[-1] = _join(shaped[-1], item)
        else:
            shaped.append(item)
        joins = item["role"] == "assistant"
    return shaped


def _item_to_chat(item: JsonObject) -> JsonObject | None:
    kind = item.get("type", "message")
    if kind == "message":
        return {"role": item["role"], "content": _content_to_chat(item["content"])}
    if kind == "function_call":
        function: JsonObject = {"name": item.get("name"), "arguments": item.get("arguments", "{}")}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": item["call_id"], "type": "function", "function": function}],
        }
    if kind == "function_call_output":
        return {"role": "tool", "tool_call_id": item["call_id"], "content": _content_to_chat(item.get("output"))}
    return None


def _join(earlier: JsonObject, later: JsonObject) -> JsonObject:
    """One assistant message of two adjacent items."""
    joined: JsonObject = {"role": "assistant", "content": _add(earlier.get("content"), later.get("content"))}
    calls = [*_list(earlier.get("tool_calls")), *_list(later.get("tool_calls"))]
    return joined | {"tool_calls": calls} if calls else joined


def _add(earlier: JsonValue, later: JsonValue) -> JsonValue:
    if earlier is None or later is None:
        return later if earlier is None else earlier
    if isinstance(earlier, str) and isinstance(later, str):
        return f"{earlier}\n\n{later}"
    return [*_parts(earlier), *_parts(later)]


def _parts(content: JsonValue) -> list[JsonValue]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _content_to_chat(content: JsonValue) -> JsonValue:
    if not isinstance(content, list):
        return content
    return [_part_to_chat(part) for part in content]


def _part_to_chat(part: JsonValue) -> JsonValue:
    if not isinstance(part, dict):
        return part
    if part.get("type") in ("input_text", "output_text", "text"):
        return {"type": "text", "text": part.get("text")}
    if part.get("type") == "refusal":
        return {"type": "refusal", "refusal": part.get("refusal")}
    if part.get("type") == "input_image" and "image_url" in part:
        image: JsonObject = {"url": part["image_url"]}
        return {"type": "image_url", "image_url": image | ({"detail": part["detail"]} if part.get("detail") else {})}
    return part


def to_responses(messages: Iterable[Message]) -> list[JsonObject]:
    """The messages as input items of the Responses API."""
    return [
        item
        for message in messages
        for item in (_chat_to_items(message.payload) if message.format == CHAT else (message.payload,))
    ]


def _chat_to_items(payload: JsonObject) -> Iterator[JsonObject]:
    if payload["role"] == "tool":
        output = _content_to_items(payload.get("content"), "input_text")
        yield {"type": "function_call_output", "call_id": payload["tool_call_id"], "output": output}
        return
    text = "output_text" if payload["role"] == "assistant" else "input_text"
    if payload.get("content"):
        yield {"role": payload["role"], "content": _content_to_items(payload["content"], text)}
    for call in _list(payload.get("tool_calls")):
        if isinstance(call, dict) and isinstance(function := call.get("function"), dict):
            yield {"type": "function_call", "call_id": call["id"], **function}


def _content_to_items(content: JsonValue, text: str) -> JsonValue:
    if not isinstance(content, list):
        return content
    return [_part_to_item(part, text) for part in content]


def _part_to_item(part: JsonValue, text: str) -> JsonValue:
    if not isinstance(part, dict):
        return part
    if part.get("type") == "text":
        return {"type": text, "text": part.get("text")}
    if part.get("type") == "image_url" and isinstance(image := part.get("image_url"), dict):
        return {"type": "input_image", "image_url": image.get("url"), "detail": image.get("detail", "auto")}
    return part
