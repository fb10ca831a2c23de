"""From what callers hand in to the plan that a store carries out: checked, derived, encoded, once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from keepsay.errors import InvalidInput, TooLarge
from keepsay.model import limits
from keepsay.model.fingerprint import fingerprint
from keepsay.model.formats import read_facts
from keepsay.model.ids import checked_key
from keepsay.model.json_text import JsonObject, JsonValue, check_json, checked_metadata, write_json
from keepsay.model.messages import Facts, NewMessage, OrderState, Role
from keepsay.model.order import AppendPlan, PlannedMessage, plan_append

AnyMessage: TypeAlias = NewMessage | Mapping[str, JsonValue] | str
"""A message as callers may write it: a ``NewMessage``, a payload in the chat format, or a text that the user said."""


def user(content: JsonValue) -> NewMessage:
    """A user's message: a text, or a list of content parts."""
    return NewMessage({"role": "user", "content": content})


def system(content: JsonValue) -> NewMessage:
    """A system message."""
    return NewMessage({"role": "system", "content": content})


def assistant(reply: JsonValue | Mapping[str, JsonValue], *, incomplete: bool = False) -> NewMessage:
    """An assistant's message: a text, a list of parts, or the message as the model's API returned it.

    ``incomplete`` marks one that was cut off: it is kept, and never part of a window.
    """
    payload = {"role": "assistant", "content": reply} if isinstance(reply, str | list) else reply
    if not isinstance(payload, Mapping):
        raise InvalidInput("The reply is a text, a list of parts or a message object.", field="content")
    return NewMessage(payload, status="incomplete" if incomplete else "complete")


def tool(tool_call_id: str, content: JsonValue, *, name: str | None = None) -> NewMessage:
    """The result of a tool call."""
    payload: JsonObject = {"role": "tool", "tool_call_id": tool_call_id, "content": content}
    return NewMessage(payload if name is None else payload | {"name": name})


def plan_messages(
    messages: Iterable[AnyMessage], *, limit: int = limits.MESSAGES_PER_CALL, answering: bool = False
) -> AppendPlan:
    """Plan the append of what a caller handed in. Raises ``InvalidInput`` and ``TooLarge`` for what cannot be kept."""
    new = [_new_message(message) for message in messages]
    if len(new) > limit:
        raise TooLarge("The batch", size=len(new), limit=limit, unit="messages", field="messages")
    return plan_append([_plan_message(message) for message in new], answering=answering)


def _new_message(message: AnyMessage) -> NewMessage:
    if isinstance(message, NewMessage):
        return message
    if isinstance(message, str):
        return user(message)
    if isinstance(message, Mapping):
        return NewMessage(message)
    raise InvalidInput("A message is a text, an object or a NewMessage.", field="messages")


def _plan_message(message: NewMessage) -> tuple[Facts, PlannedMessage]:
    if not isinstance(message.payload, Mapping):
        raise InvalidInput("A message's payload is an object.", field="payload")
    payload = dict(message.payload)
    check_json(payload, field="payload")
    text = write_json(payload)
    if len(text) > limits.MESSAGE_BYTES:
        raise TooLarge("The message", size=len(text), limit=limits.MESSAGE_BYTES, unit="bytes", field="payload")
    facts = read_facts(payload, _format(message))
    if message.status == "incomplete":
        facts = _incomplete(facts)
    metadata = checked_metadata(message.metadata)
    return facts, PlannedMessage(
        role=facts.role,
        state=facts.state,
        tokens=_tokens(message, facts),
        payload=text,
        format=message.format,
        incomplete=message.status == "incomplete",
        client_id=None if message.client_id is None else checked_key(message.client_id, field="client_id"),
        metadata=write_json(metadata) if metadata else None,
        usage=None if message.usage is None else write_json(checked_metadata(message.usage, field="usage")),
    )


def _format(message: NewMessage) -> str:
    return checked_key(message.format, field="format")


def _incomplete(facts: Facts) -> Facts:
    """What was cut off answers nothing and calls nothing: the user or the assistant may go on."""
    if facts.role is not Role.ASSISTANT:
        raise InvalidInput("Only an assistant's message can be incomplete.", field="status")
    return Facts(facts.role, OrderState.INTERRUPTED, tokens=facts.tokens)


def _tokens(message: NewMessage, facts: Facts) -> int:
    if message.tokens is None:
        return facts.tokens
    if type(message.tokens) is not int or not 0 <= message.tokens <= limits.WINDOW_MAX_TOKENS:
        raise InvalidInput(f"tokens is a whole number from 0 to {limits.WINDOW_MAX_TOKENS}.", field="tokens")
    return message.tokens


def fingerprint_of(operation: str, plan: AppendPlan, *others: str | None) -> int:
    """The fingerprint of a keyed write: its messages, as they will be stored, and the other parts of the request."""
    parts: list[str | None] = [*others]
    for message in plan.messages:
        parts += [message.payload, message.format, message.client_id, message.metadata, message.usage]
        parts.append("incomplete" if message.incomplete else None)
    return fingerprint(operation, *parts)
