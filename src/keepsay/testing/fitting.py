"""Lines that mostly may stand where a conversation stands: what makes random histories go deep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from keepsay.model.conversation import Conversation
from keepsay.model.formats import read_facts
from keepsay.model.messages import OPENAI_RESPONSES, Message, MessageStatus, NewMessage, OrderState

__all__ = ["fitting_lines", "open_calls", "spiced"]

Lines = tuple[str, ...]

_ASKS: tuple[Lines, ...] = (("user: a",), ("unknown: x", "user: a"), ("user: a", "assistant: b"))
_ANSWERS: tuple[Lines, ...] = (
    ("assistant: b",),
    ("assistant: b",),
    ("assistant: b", "user: a"),
    ("calls: c1",),
    ("calls: c1 c22 c333",),
    ("calls: c1 c22", "result: c22", "result: c1", "assistant: b"),
    ("call item: c4",),
    ("call item: c4", "call item: c5"),
    ("reasoning: r", "answer item: b"),
    ("reasoning: r",),
    ("unknown: x",),
)
_STARTS: tuple[Lines, ...] = (("system: s",), ("system: s", "user: a"), *_ASKS)
_ANYTHING: tuple[Lines, ...] = (
    ("system: s",),
    ("user: a", "user: a"),
    ("assistant: b", "assistant: b"),
    ("result: c1",),
    ("result item: c4",),
    ("calls: c1", "user: a"),
    ("unknown: x", "assistant: b"),
    *_ASKS,
    *_ANSWERS,
    tuple(f"call item: d{n}" for n in range(100)),
)
_FITTING: dict[OrderState, tuple[Lines, ...]] = {
    OrderState.EMPTY: _STARTS,
    OrderState.SYSTEM: _ASKS,
    OrderState.USER: _ANSWERS,
    OrderState.STEP: _ANSWERS,
    OrderState.TOOL: _ANSWERS,
    OrderState.ASSISTANT: (*_ASKS, *_ASKS, ("reasoning: r",), ("call item: c6",)),
    OrderState.INTERRUPTED: (*_ASKS, *_ANSWERS),
}


def fitting_lines(conversation: Conversation | None, log: Sequence[Message], which: int, *, fits: bool) -> Lines:
    """A batch: with ``fits`` one that the strict policy lets stand there, else any."""
    if conversation is None or not fits:
        return _ANYTHING[which % len(_ANYTHING)]
    candidates = _FITTING.get(conversation.state) or _results(open_calls(log)) or _ANYTHING
    return candidates[which % len(candidates)]


def open_calls(log: Sequence[Message]) -> dict[str, str]:
    """The calls of the visible log that have no result, with their format."""
    found: dict[str, str] = {}
    for message in log:
        if message.hidden or message.status is MessageStatus.DELETED:
            continue
        facts = read_facts(message.payload, message.format)
        for name in facts.answers:
            found.pop(name, None)
        found |= {call.call_id: message.format for call in facts.opens}
    return found


def _results(calls: dict[str, str]) -> tuple[Lines, ...]:
    kinds = {OPENAI_RESPONSES: "result item"}
    lines = tuple(f"{kinds.get(called_in, 'result')}: {name}" for name, called_in in calls.items())
    return (lines[:1], lines[-1:], lines, (*lines, "assistant: b"), (*lines[:1], "unknown: x")) if lines else ()


def spiced(message: NewMessage, salt: int) -> NewMessage:
    """The message with what a few have: an estimate of one's own, a client's id, a cut, metadata, usage."""
    return replace(
        message,
        tokens=(None, 1, 5, 20, 40)[salt % 5],
        client_id=f"item-{salt}" if salt % 17 == 3 else None,
        status="incomplete" if salt % 11 == 0 else "complete",
        metadata={"n": salt} if salt % 13 == 0 else {},
        usage={"total": salt} if salt % 17 == 0 else None,
    )
