"""What a message may be on its way in, for OpenAPI: the rules of ``model/formats.py``, as JSON Schema can say them.

It cannot say that the calls of one message have different ids.
"""

from __future__ import annotations

from keepsay.model import limits
from keepsay.model.formats import CALL_ITEMS, OUTPUT_ITEMS, ROLES_WITHOUT_ORDER
from keepsay.model.json_text import JsonObject, JsonValue
from keepsay.model.messages import CHAT, OPENAI_RESPONSES
from keepsay.server.shapes import KEY, METADATA

__all__ = ["new_messages"]

_WORDS: JsonObject = {"type": ["string", "array"], "description": "A text, or a list of parts."}
_CALL_ID: JsonObject = {"type": "string", "minLength": 1, "maxLength": limits.KEY_CHARS}
_CALLS: JsonObject = {
    "type": ["array", "null"],
    "items": {"type": "object", "properties": {"id": _CALL_ID}, "required": ["id"]},
    "description": "In the shape of OpenAI Chat Completions; no two with the same `id`.",
}
_NO_FORMAT: JsonObject = {"enum": [CHAT, None], "default": CHAT}
_OTHER_FORMAT: JsonObject = KEY | {
    "type": "string",
    "not": {"enum": [CHAT, OPENAI_RESPONSES]},
    "description": "Any other; kept as it is.",
    "examples": ["anthropic"],
}


def new_messages(beside: JsonObject) -> list[JsonValue]:
    """The ways to write a message, with what may stand beside its fields."""
    metadata: JsonObject = METADATA | {"type": ["object", "null"], "description": "Yours; not part of the payload."}
    own: JsonObject = {"metadata": metadata}
    beside = own | beside
    return [*_chat(beside), *(_payload(format_of, payload, beside) for format_of, payload in _FORMATS)]


def _object(properties: JsonObject, *required: str) -> JsonObject:
    return {"type": "object", "properties": properties, "required": [*required]}


def _chat(beside: JsonObject) -> list[JsonValue]:
    """A message of OpenAI Chat Completions."""
    words: JsonObject = {"content": _WORDS}
    own_name: JsonObject = {"tool_name": {"type": ["string", "null"]}} if beside else {}
    says: list[JsonValue] = [
        _object(words, "content"),
        _object({"tool_calls": {"type": "array", "minItems": 1}}, "tool_calls"),
        _object({"refusal": {"type": "string", "minLength": 1}}, "refusal"),
        _object({"audio": {"type": "object", "minProperties": 1}}, "audio"),
    ]
    said: JsonObject = {"content": {"type": ["string", "array", "null"]}, "tool_calls": _CALLS}
    result: JsonObject = words | {"tool_call_id": _CALL_ID} | own_name
    return [
        _object(_role("system", "developer", "user") | words | beside, "role", "content"),
        _object(_role("assistant") | said | beside, "role") | {"anyOf": says},
        _object(_role("tool") | result | beside, "role", "content", "tool_call_id"),
    ]


def _role(*names: JsonValue) -> JsonObject:
    return {"role": {"enum": [*names]}}


def _items() -> list[JsonValue]:
    """An item of OpenAI Responses."""
    ordered = _role("system", "developer", "user", "assistant")
    known: list[JsonValue] = [*sorted(CALL_ITEMS | OUTPUT_ITEMS - {"local_shell_call_output"})]
    closed: list[JsonValue] = ["message", "local_shell_call_output", *known]
    message: JsonObject = {"type": {"enum": ["message", None]}}
    return [
        _object(message | ordered | {"content": _WORDS}, "role", "content"),
        _object(message | _role(*sorted(ROLES_WITHOUT_ORDER)), "role"),
        _object({"type": {"enum": known}, "call_id": _CALL_ID}, "type", "call_id"),
        _object({"type": {"const": "local_shell_call_output"}, "id": _CALL_ID}, "type", "id"),
        _object({"type": {"type": "string", "not": {"enum": closed}}}, "type"),
    ]


_FORMATS: list[tuple[JsonObject, JsonObject]] = [
    ({"format": _NO_FORMAT}, {"anyOf": _chat({})}),
    ({"format": {"const": OPENAI_RESPONSES}}, {"anyOf": _items()}),
    ({"format": _OTHER_FORMAT}, {"type": "object"}),
]


def _payload(format_of: JsonObject, payload: JsonObject, beside: JsonObject) -> JsonObject:
    """A payload and its format."""
    own: JsonObject = {
        "payload": payload | {"description": "Kept verbatim."},
        "status": {"enum": ["complete", "incomplete", None], "description": "`incomplete`: an assistant's, cut off."},
        "usage": METADATA | {"type": ["object", "null"], "description": "What it cost."},
        "client_id": KEY | {"type": ["string", "null"], "description": "Its sender's own id, unique here."},
    }
    required = ["payload"] if format_of["format"] == _NO_FORMAT else ["payload", "format"]
    return _object(format_of | own | beside, *required) | {"additionalProperties": False}
