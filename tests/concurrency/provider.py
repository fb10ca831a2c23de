"""What the providers refuse, written down apart from keepsay: OpenAI's rule for tool calls, and alternation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from keepsay.model.json_text import JsonObject

__all__ = ["refuses", "refuses_roles"]


def refuses(messages: Sequence[JsonObject], *, unfinished: bool = False) -> str | None:
    """Why OpenAI would answer 400: an assistant's tool calls must be followed by their results, each once, and by
    nothing else before; a tool message must answer one of them. ``unfinished``: the last calls may still be open.
    """
    waiting: set[str] = set()
    for at, message in enumerate(messages):
        if message["role"] == "tool":
            call_id = str(message["tool_call_id"])
            if call_id not in waiting:
                return f"messages[{at}]: a result of {call_id}, which was not called just before"
            waiting.remove(call_id)
            continue
        if waiting:
            return f"messages[{at}]: {sorted(waiting)} were not answered before this {message['role']} message"
        waiting = _calls(message)
    return f"{sorted(waiting)} were not answered at the end" if waiting and not unfinished else None


def _calls(message: JsonObject) -> set[str]:
    calls = message.get("tool_calls")
    return {str(call["id"]) for call in calls if isinstance(call, dict)} if isinstance(calls, list) else set()


def refuses_roles(messages: Sequence[JsonObject]) -> str | None:
    """Why a provider that wants user and assistant to alternate would refuse."""
    roles = [str(message["role"]) for message in messages if message["role"] != "system"]
    if roles[:1] != ["user"]:
        return f"it starts with {roles[:1]}"
    twice = [at for at, (before, after) in enumerate(pairwise(roles)) if before == after == "user"]
    return f"two user messages at {twice}: {roles}" if twice else None
