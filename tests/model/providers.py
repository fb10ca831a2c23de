"""What the providers' APIs refuse, copied from their documentation: an oracle that shares nothing with keepsay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Payload = Mapping[str, Any]


class Refused(AssertionError):
    """The request would be answered with status 400."""


def check_openai_chat(messages: Sequence[Payload]) -> None:
    """OpenAI: an assistant message with tool calls must be followed by tool messages responding to each of its calls,
    and a tool message must follow such a message."""
    missing: set[str] = set()
    for message in _known(messages):
        role = message["role"]
        if role == "tool":
            if message["tool_call_id"] not in missing:
                raise Refused(f"no call before this result: {message}")
            missing.remove(message["tool_call_id"])
            continue
        if missing:
            raise Refused(f"calls without results {missing} before {message}")
        if role not in ("system", "developer", "user", "assistant"):
            raise Refused(f"no role of a message: {message}")
        calls = [call["id"] for call in message.get("tool_calls") or ()]
        missing = set(calls)
        if len(calls) > len(missing) or (calls and role != "assistant"):
            raise Refused(f"calls twice, or of a wrong role: {message}")
        if message.get("content") is None and not calls:
            raise Refused(f"neither content nor calls: {message}")
    if missing:
        raise Refused(f"calls without results at the end: {missing}")


def check_anthropic(messages: Sequence[Payload]) -> None:
    """Anthropic: each tool_use has its tool_result in the next message, first in it, and nothing else has one. Results
    belong to a user message, and messages of one role in a row are one."""
    merged: list[tuple[str, list[str], list[str]]] = []  # role, ids of tool_use, ids of tool_result
    for message in _known(messages):
        if message["role"] in ("system", "developer"):
            continue
        role = "user" if message["role"] == "tool" else message["role"]
        if not merged or merged[-1][0] != role:
            merged.append((role, [], []))
        elif message["role"] == "tool" and "text" in merged[-1][2]:
            raise Refused(f"a result after a text: {message}")
        merged[-1][1].extend(call["id"] for call in message.get("tool_calls") or ())
        merged[-1][2].append(message["tool_call_id"] if message["role"] == "tool" else "text")
    called: list[str] = []
    for _, uses, content in merged:
        answered = [part for part in content if part != "text"]
        if sorted(answered) != sorted(called):
            raise Refused(f"called {called}, answered {answered}")
        called = uses
    if called:
        raise Refused(f"unanswered at the end: {called}")


def check_alternation(messages: Sequence[Payload]) -> None:
    """Models with a strict chat template: after an optional system message user and assistant take turns, beginning
    with the user. The assistant's tool calls and their results are part of its turn."""
    allowed = {"system", "user"}
    for message in _known(messages):
        role = message["role"]
        if role not in allowed:
            raise Refused(f"a message of {role} where {sorted(allowed)} may be: {message}")
        if role == "system":
            allowed = {"user"}
        elif role == "user":
            allowed = {"assistant"}
        elif role == "tool":
            allowed = {"tool", "assistant"}
        else:
            allowed = {"tool"} if message.get("tool_calls") else {"user"}


def check_openai_responses(items: Sequence[Payload]) -> None:
    """OpenAI Responses: every call has one output after it, of its own type, and every output a call before it."""
    waiting: dict[str, str] = {}
    for item in items:
        kind = item.get("type", "message")
        if kind.endswith("_call_output"):
            if waiting.pop(item["call_id"], None) != kind:
                raise Refused(f"no call for this output: {item}")
        elif kind in ("function_call", "custom_tool_call", "shell_call", "computer_call", "apply_patch_call"):
            if item["call_id"] in waiting:
                raise Refused(f"called twice: {item}")
            waiting[item["call_id"]] = f"{kind}_output"
        elif kind == "message" and item.get("role") == "user" and waiting:
            raise Refused(f"the user speaks while calls wait: {waiting}")
    if waiting:
        raise Refused(f"no output for the calls {waiting}")


def _known(messages: Sequence[Payload]) -> list[Payload]:
    """The messages without payloads of formats that keepsay passes through, whose sense is their owner's affair."""
    return [message for message in messages if "words" not in message]
