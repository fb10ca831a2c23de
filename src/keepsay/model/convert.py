"""Messages in the shapes that models take: OpenAI Chat Completions and OpenAI Responses.

A payload goes out verbatim in its own format, is translated between the two, and passes through untouched when its
format is another. For Chat Completions the items of one step of the assistant become one message, and what has no shape
there (reasoning, hosted tools' items) is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from keepsay.model.json_text import JsonObject, JsonValue
from keepsay.model.messages import CHAT, OPENAI_RESPONSES, Message, Role

if TYPE_CHECKING:
    from keepsay.model.conversation import Summary

_SUMMARY_HEADING = "Summary of the conversation so far:"


def summary_text(summary: Summary) -> str:
    """The summary as the model reads it."""
    return f"{_SUMMARY_HEADING}\n{summary.text}"


def with_summary(system_prompt: JsonValue, summary: Summary | None) -> JsonValue:
    """The system message's content with the summary in it: one system message, as every provider takes it."""
    if summary is None:
        return system_prompt
    text = summary_text(summary)
    if isinstance(system_prompt, list):
        return [*system_prompt, {"type": "text", "text": text}]
    return f"{system_prompt}\n\n{text}" if system_prompt else text


def to_chat(messages: Iterable[Message]) -> list[JsonObject]:
    """The messages for Chat Completions."""
    shaped = _Chat()
    for message in messages:
        shaped.add(message)
    return shaped.messages


class _Chat:
    """Chat messages in the making.

    Results must stand right after the message with their calls. So while one of its calls waits for a result, what the
    assistant adds goes into that message.
    """

    def __init__(self) -> None:
        self.messages: list[JsonObject] = []
        self._step: int | None = None
        """Where the message stands that the assistant's next item goes into."""
        self._has_items = False
        """Whether it has items, be it such as have no shape here."""
        self._waiting: set[JsonValue] = set()

    def add(self, message: Message) -> None:
        is_item = message.format == OPENAI_RESPONSES
        shaped = _item_to_chat(message.payload) if is_item else message.payload
        if shaped is None:
            self._has_items |= message.role is Role.ASSISTANT
            return
        if message.role is Role.ASSISTANT:
            self._add_to_step(shaped, is_item=is_item)
            return
        self.messages.append(shaped)
        if message.role is Role.OTHER:
            return
        if message.role is Role.TOOL:
            self._waiting.discard(shaped.get("tool_call_id"))
        else:
            self._waiting.clear()
        if not self._waiting:
            self._step = None

    def _add_to_step(self, shaped: JsonObject, *, is_item: bool) -> None:
        if self._step is not None and (is_item or self._has_items):
            self.messages[self._step] = _join(self.messages[self._step], shaped)
            self._has_items = True
        else:
            self._step = len(self.messages)
            self.messages.append(shaped)
            self._has_items = is_item
        self._waiting |= {call["id"] for call in _objects(shaped.get("tool_calls"))}


def _item_to_chat(item: JsonObject) -> JsonObject | None:
    match item.get("type"), item:
        case ((None | "message"), {"role": "system" | "developer" | "user" | "assistant", "content": content}):
            return {"role": item["role"], "content": _content_to_chat(content)}
        case "function_call", {"call_id": call_id}:
            function: JsonObject = {"name": item.get("name"), "arguments": item.get("arguments", "{}")}
            return _calling({"id": call_id, "type": "function", "function": function})
        case "custom_tool_call", {"call_id": call_id}:
            custom: JsonObject = {"name": item.get("name"), "input": item.get("input", "")}
            return _calling({"id": call_id, "type": "custom", "custom": custom})
        case (("function_call_output" | "custom_tool_call_output"), {"call_id": call_id}):
            return {"role": "tool", "tool_call_id": call_id, "content": _content_to_chat(item.get("output"))}
    return None


def _calling(call: JsonObject) -> JsonObject:
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _join(earlier: JsonObject, later: JsonObject) -> JsonObject:
    """One assistant message of two."""
    joined = earlier | later | {"content": _add(earlier.get("content"), later.get("content"))}
    calls: list[JsonValue] = [*_objects(earlier.get("tool_calls")), *_objects(later.get("tool_calls"))]
    return joined | {"tool_calls": calls} if calls else joined


def _add(earlier: JsonValue, later: JsonValue) -> JsonValue:
    if earlier is None or later is None:
        return later if earlier is None else earlier
    if isinstance(earlier, str) and isinstance(later, str):
        return f"{earlier}\n\n{later}"
    return [*_parts(earlier), *_parts(later)]


def _parts(content: JsonValue) -> list[JsonValue]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _objects(value: JsonValue) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _content_to_chat(content: JsonValue) -> JsonValue:
    return [_part_to_chat(part) for part in content] if isinstance(content, list) else content


def _part_to_chat(part: JsonValue) -> JsonValue:
    if not isinstance(part, dict):
        return part
    kind = part.get("type")
    if kind in ("input_text", "output_text"):
        return {"type": "text", "text": part.get("text")}
    if kind == "input_image" and "image_url" in part:
        return {"type": "image_url", "image_url": {"url": part["image_url"]} | _only(part, "detail")}
    if kind == "input_file" and "file_url" not in part:
        return {"type": "file", "file": _only(part, "file_id", "file_data", "filename")}
    return part


def _only(whole: JsonObject, *names: str) -> JsonObject:
    return {name: whole[name] for name in names if whole.get(name) is not None}


def to_responses(messages: Iterable[Message]) -> list[JsonObject]:
    """The messages as input items of the Responses API."""
    custom: set[JsonValue] = set()
    items: list[JsonObject] = []
    for message in messages:
        added = list(_chat_to_items(message.payload, custom)) if message.format == CHAT else [message.payload]
        custom |= {item.get("call_id") for item in added if item.get("type") == "custom_tool_call"}
        items += added
    return items


def _chat_to_items(payload: JsonObject, custom: set[JsonValue]) -> Iterator[JsonObject]:
    """The items of a chat message. ``custom`` are the calls so far whose results have a type of their own."""
    if payload["role"] == "tool":
        call_id = payload["tool_call_id"]
        kind = "custom_tool_call_output" if call_id in custom else "function_call_output"
        yield {"type": kind, "call_id": call_id, "output": _content_to_items(payload.get("content"), "input_text")}
        return
    calls, said = _objects(payload.get("tool_calls")), _said(payload)
    if said or not calls:
        text = "output_text" if payload["role"] == "assistant" else "input_text"
        yield {"role": payload["role"], "content": _content_to_items(said, text)}
    yield from map(_call_to_item, calls)


def _said(payload: JsonObject) -> JsonValue:
    if payload.get("content") or not payload.get("refusal"):
        return payload.get("content") or ""
    return [{"type": "refusal", "refusal": payload["refusal"]}]


def _call_to_item(call: JsonObject) -> JsonObject:
    custom, function = call.get("custom"), call.get("function")
    if isinstance(custom, dict):
        return {"type": "custom_tool_call", "call_id": call["id"]} | _only(custom, "name", "input")
    named = _only(function, "name", "arguments") if isinstance(function, dict) else {}
    return {"type": "function_call", "call_id": call["id"]} | named


def _content_to_items(content: JsonValue, text: str) -> JsonValue:
    return [_part_to_item(part, text) for part in content] if isinstance(content, list) else content


def _part_to_item(part: JsonValue, text: str) -> JsonValue:
    if not isinstance(part, dict):
        return part
    kind, image, file = part.get("type"), part.get("image_url"), part.get("file")
    if kind == "text":
        return {"type": text, "text": part.get("text")}
    if kind == "image_url" and isinstance(image, dict):
        return {"type": "input_image", "image_url": image.get("url"), "detail": image.get("detail", "auto")}
    if kind == "file" and isinstance(file, dict):
        return {"type": "input_file"} | _only(file, "file_id", "file_data", "filename")
    return part
