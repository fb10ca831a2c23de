"""A message as JSON, on its way in: what clients of the HTTP API and the command line write."""

from __future__ import annotations

from typing import Literal

from keepsay.errors import InvalidInput
from keepsay.library.messages import AnyMessage
from keepsay.model.json_text import JsonObject, JsonValue
from keepsay.model.messages import CHAT, NewMessage

__all__ = ["message_from_json"]

_FIELDS = ("payload", "format", "metadata", "status", "usage", "client_id")


def message_from_json(value: JsonValue, *, field: str = "message") -> AnyMessage:
    """The message that an object describes, in one of two ways:

    a chat message: ``role``, ``content`` and whatever else its API gave it, kept verbatim. Two fields are keepsay's:
    ``metadata``, and on a tool's message ``tool_name``, which is kept as the ``name`` that the chat format has for it;

    any payload, kept verbatim: ``{payload, format?, metadata?, status?, usage?, client_id?}`` and nothing else.

    Raises ``InvalidInput`` naming the field. Whether the message itself is sound is checked when it is appended.
    """
    if not isinstance(value, dict):
        raise InvalidInput(f"{field} is an object.", field=field)
    return _wrapped(value) if "payload" in value else _chat(value)


def _chat(value: JsonObject) -> NewMessage:
    payload = dict(value)
    metadata = _object(payload.pop("metadata", None), "metadata") or {}
    if payload.get("role") == "tool" and "tool_name" in payload:
        if "name" in payload:
            raise InvalidInput("tool_name and name are two words for one: give one of them.", field="tool_name")
        name = payload.pop("tool_name")
        if not isinstance(name, str | None):
            raise InvalidInput("tool_name is a text.", field="tool_name")
        payload |= {} if name is None else {"name": name}
    return NewMessage(payload, metadata=metadata)


def _wrapped(value: JsonObject) -> NewMessage:
    for name in value:
        if name not in _FIELDS:
            raise InvalidInput(f"Beside a payload there may be {', '.join(_FIELDS[1:])}.", field=name[:80])
    payload = _object(value["payload"], "payload")
    if payload is None:
        raise InvalidInput("payload is an object.", field="payload")
    return NewMessage(
        payload,
        format=_text(value, "format") or CHAT,
        metadata=_object(value.get("metadata"), "metadata") or {},
        status=_status(value.get("status")),
        usage=_object(value.get("usage"), "usage"),
        client_id=_text(value, "client_id"),
    )


def _object(value: JsonValue, name: str) -> JsonObject | None:
    if value is None or isinstance(value, dict):
        return value
    raise InvalidInput(f"{name} is an object.", field=name)


def _text(value: JsonObject, name: str) -> str | None:
    text = value.get(name)
    if text is None or (isinstance(text, str) and text):
        return text
    raise InvalidInput(f"{name} is a text, not an empty one.", field=name)


def _status(value: JsonValue) -> Literal["complete", "incomplete"]:
    if value is None or value == "complete":
        return "complete"
    if value == "incomplete":
        return "incomplete"
    raise InvalidInput("status is 'complete' or 'incomplete'.", field="status")
