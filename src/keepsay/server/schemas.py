"""What the answers hold, for OpenAPI. A test holds them against what the server really answers."""

from __future__ import annotations

from typing import Final, get_args

from keepsay.model.json_text import JsonObject, JsonValue
from keepsay.model.standing import PREVIEW_CHARS
from keepsay.model.window import Reason
from keepsay.server.message_schemas import new_messages
from keepsay.server.shapes import BODIES, NEW_MESSAGES, NOTHING

__all__ = ["components"]

_CONVERSATION_ID: Final = "0198c1f4-7d6e-7a51-9b0e-3f2f6c1d8a44"
_MESSAGE_ID: Final = "0198c1f4-7d6e-8a51-9b0e-3f2f6c1d8a46"
_RUN_ID: Final = "f4b1c6d2-9d0b-8c3e-a5f7-2b8e6d4c1a90"
_TIME: Final = "2026-01-05T09:30:00.000001+00:00"

_TEXT: JsonObject = {"type": "string"}
_TEXT_OR_NULL: JsonObject = {"type": ["string", "null"]}
_WHOLE: JsonObject = {"type": "integer"}
_FLAG: JsonObject = {"type": "boolean"}
_OBJECT: JsonObject = {"type": "object"}
_UUID: JsonObject = {"type": "string", "format": "uuid"}
_MOMENT: JsonObject = {"type": "string", "format": "date-time"}
_CALLS: JsonObject = {"type": "array", "items": _OBJECT, "description": "In the shape of OpenAI Chat Completions."}
_ANYTHING: JsonObject = {}

_SUMMARY: JsonObject = {
    "type": "object",
    "description": "What stands for the messages up to `to_seq`.",
    "properties": {"to_seq": _WHOLE, "text": _TEXT, "tokens": _WHOLE},
    "required": ["to_seq", "text", "tokens"],
}
_EXPLANATION: JsonObject = {
    "type": "object",
    "description": "Why the messages `first_seq` to `last_seq` are in the window, or are not.",
    "properties": {
        "first_seq": _WHOLE,
        "last_seq": _WHOLE,
        "included": _FLAG,
        "reason": {"type": "string", "enum": [*get_args(Reason)]},
    },
    "required": ["first_seq", "last_seq", "included", "reason"],
}


def _ref(name: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{name}"}


def _list_of(name: str) -> JsonObject:
    return {"type": "array", "items": _ref(name)}


def _object(about: str, properties: JsonObject, example: JsonObject, *, optional: tuple[str, ...] = ()) -> JsonObject:
    required: list[JsonValue] = [name for name in properties if name not in optional]
    return {
        "type": "object",
        "description": about,
        "properties": properties,
        "required": required,
        "examples": [example],
    }


_CONVERSATION_EXAMPLE: JsonObject = {
    "id": _CONVERSATION_ID,
    "user_id": "u_42",
    "title": "Trip",
    "system_prompt": "Be brief.",
    "status": "active",
    "role_policy": "strict",
    "external_key": None,
    "metadata": {},
    "head": 2,
    "message_count": 2,
    "version": 1,
    "created_at": _TIME,
    "updated_at": _TIME,
}
_MESSAGE_EXAMPLE: JsonObject = {
    "id": _MESSAGE_ID,
    "seq": 2,
    "role": "user",
    "content": "Where is Lisbon?",
    "metadata": {},
    "status": "complete",
    "format": "chat",
    "created_at": _TIME,
}
_CHATTED_EXAMPLE: JsonObject = {
    "conversation_id": _CONVERSATION_ID,
    "response": "You said: Where is Lisbon?\nThis is where our conversation begins.",
    "tool_calls": [],
    "run_id": _RUN_ID,
}
_CHATTED: JsonObject = {"conversation_id": _UUID, "response": _TEXT, "tool_calls": _CALLS, "run_id": _UUID}
_RUN_EXAMPLE: JsonObject = {
    "id": _RUN_ID,
    "conversation_id": _CONVERSATION_ID,
    "status": "completed",
    "attempt": 1,
    "key": "9e2d",
    "error": None,
    "first_seq": 2,
    "last_seq": 3,
    "created_at": _TIME,
    "ended_at": _TIME,
}
_PAGE: JsonObject = {"next_cursor": _TEXT_OR_NULL, "has_more": _FLAG}
_PAGE_END: JsonObject = {"next_cursor": None, "has_more": False}

_ANSWERS: JsonObject = {
    "Conversation": _object(
        "A conversation, without its messages.",
        {
            "id": _UUID,
            "user_id": _TEXT,
            "title": _TEXT_OR_NULL,
            "system_prompt": _TEXT_OR_NULL,
            "status": {"type": "string", "enum": ["active", "archived"]},
            "role_policy": {"type": "string", "enum": ["strict", "lenient", "open"]},
            "external_key": _TEXT_OR_NULL,
            "metadata": _OBJECT,
            "head": _WHOLE | {"description": "The last seq given out."},
            "message_count": _WHOLE,
            "version": _WHOLE | {"description": "Counts every change; also the ETag."},
            "created_at": _MOMENT,
            "updated_at": _MOMENT,
        },
        _CONVERSATION_EXAMPLE,
    ),
    "Message": _object(
        "A stored message. What its payload holds beyond these fields stands in `payload`, verbatim.",
        {
            "id": _UUID,
            "seq": _WHOLE,
            "role": {"type": "string", "enum": ["system", "user", "assistant", "tool", "other"]},
            "content": _ANYTHING,
            "tool_calls": _CALLS,
            "tool_call_id": _TEXT,
            "tool_name": _TEXT,
            "metadata": _OBJECT,
            "status": {"type": "string", "enum": ["complete", "incomplete", "synthetic", "deleted"]},
            "format": _TEXT,
            "client_id": _TEXT,
            "usage": _OBJECT,
            "run_id": _UUID,
            "hidden": _FLAG | {"description": "Rewound: in the log, not in windows."},
            "created_at": _MOMENT,
            "payload": _OBJECT,
        },
        _MESSAGE_EXAMPLE,
        optional=("tool_calls", "tool_call_id", "tool_name", "client_id", "usage", "run_id", "hidden", "payload"),
    ),
    "ConversationPage": _object(
        "Part of a list.",
        {"items": _list_of("Conversation"), **_PAGE},
        {"items": [_CONVERSATION_EXAMPLE], **_PAGE_END},
    ),
    "MessagePage": _object(
        "Part of a conversation's messages.",
        {"items": _list_of("Message"), **_PAGE},
        {"items": [_MESSAGE_EXAMPLE], **_PAGE_END},
    ),
    "Appended": _object(
        "What was appended.",
        {"messages": _list_of("Message"), "head": _WHOLE, "replayed": _FLAG},
        {"messages": [_MESSAGE_EXAMPLE], "head": 2, "replayed": False},
    ),
    "Chatted": _object("The agent's answer.", _CHATTED, _CHATTED_EXAMPLE),
    "Continued": _object(
        "The agent's answer, and the message that holds it.",
        _CHATTED | {"message": _ref("Message"), "replayed": _FLAG},
        _CHATTED_EXAMPLE | {"message": _MESSAGE_EXAMPLE | {"role": "assistant", "seq": 3}, "replayed": False},
    ),
    "Session": _object(
        "The session and the newest of its history, oldest first.",
        {
            "session_id": _UUID,
            "created": _FLAG,
            "context_history": {"type": "array", "items": _OBJECT},
            "head": _WHOLE,
            "truncated": _FLAG | {"description": "Whether older messages were left out."},
        },
        {
            "session_id": _CONVERSATION_ID,
            "created": True,
            "context_history": [{"role": "user", "content": "Where is Lisbon?"}],
            "head": 1,
            "truncated": False,
        },
    ),
    "Window": _object(
        "What the model would see.",
        {
            "messages": {"type": "array", "items": _OBJECT, "description": "In the format asked for."},
            "format": {"type": "string", "enum": ["chat", "openai.responses"]},
            "tokens": _WHOLE | {"description": "Estimated."},
            "head": _WHOLE,
            "truncated": _FLAG | {"description": "Whether anything older was left out for the limits' sake."},
            "fits": _FLAG | {"description": "False if the newest turn alone is over the limits."},
            "summary": {"anyOf": [_SUMMARY, {"type": "null"}]},
            "explain": {"type": "array", "items": _EXPLANATION},
        },
        {
            "messages": [{"role": "user", "content": "Where is Lisbon?"}],
            "format": "chat",
            "tokens": 8,
            "head": 1,
            "truncated": False,
            "fits": True,
            "summary": None,
            "explain": [{"first_seq": 1, "last_seq": 1, "included": True, "reason": "included"}],
        },
        optional=("explain",),
    ),
    "Standing": _object(
        "Where a conversation stands.",
        {
            "conversation_id": _UUID,
            "title": _TEXT_OR_NULL,
            "head": _WHOLE,
            "message_count": _WHOLE,
            "last_role": {"type": ["string", "null"], "enum": ["system", "user", "assistant", "tool", None]},
            "last_message_preview": {
                "type": ["string", "null"],
                "maxLength": PREVIEW_CHARS,
                "description": "The beginning of the last message's words, on one line.",
            },
            "can_add_user": _FLAG | {"description": "Whether a user's message would be accepted now."},
            "can_add_assistant": _FLAG | {"description": "Whether an assistant's words would be accepted now."},
            "has_pending_request": _FLAG | {"description": "Whether an answer is being made."},
            "active_run": {"type": ["string", "null"], "format": "uuid", "description": "The run that makes it."},
            "updated_at": _MOMENT,
        },
        {
            "conversation_id": _CONVERSATION_ID,
            "title": "Trip",
            "head": 2,
            "message_count": 2,
            "last_role": "user",
            "last_message_preview": "Where is Lisbon?",
            "can_add_user": False,
            "can_add_assistant": True,
            "has_pending_request": False,
            "active_run": None,
            "updated_at": _TIME,
        },
    ),
    "Erased": _object(
        "The receipt of an erasure: rows deleted, table by table.",
        {
            "user_id": _TEXT,
            "erased_at": _MOMENT,
            "erased": {"type": "object", "additionalProperties": _WHOLE},
        },
        {
            "user_id": "u_42",
            "erased_at": _TIME,
            "erased": {"conversations": 1, "messages": 2, "runs": 1, "summaries": 0, "users": 1},
        },
    ),
    "UserPage": _object(
        "Part of the users.",
        {
            "items": {
                "type": "array",
                "items": {"type": "object", "properties": {"user_id": _TEXT}, "required": ["user_id"]},
            },
            **_PAGE,
        },
        {"items": [{"user_id": "u_42"}], **_PAGE_END},
    ),
    "Run": _object(
        "One execution of the agent on a conversation.",
        {
            "id": _UUID,
            "conversation_id": _UUID,
            "status": {"type": "string", "enum": ["running", "completed", "failed", "cancelled", "expired"]},
            "attempt": _WHOLE | {"description": "1, or more for a retry with the key of a run that failed or expired."},
            "key": _TEXT_OR_NULL | {"description": "The `request_id`; one is made up where none was given."},
            "error": _TEXT_OR_NULL
            | {"description": "A code: `agent_failed`, `interrupted` (the server was stopped), ...; no details."},
            "first_seq": _WHOLE | {"description": "Where its messages begin: with what it was asked, if it was."},
            "last_seq": _WHOLE | {"description": "Where they end; while it is running, the head."},
            "created_at": _MOMENT,
            "ended_at": {"type": ["string", "null"], "format": "date-time"},
        },
        _RUN_EXAMPLE,
    ),
    "BegunRun": _object(
        "A run that has begun; or, `replayed`, one that had, as it is now.",
        {"run": _ref("Run"), "replayed": _FLAG},
        {"run": _RUN_EXAMPLE | {"status": "running", "last_seq": 2, "ended_at": None}, "replayed": False},
    ),
    "AnsweredRun": _object(
        "A run that is over, the messages that it stored, and the agent's answer among them.",
        {
            "run": _ref("Run"),
            "messages": _list_of("Message"),
            "response": _TEXT,
            "tool_calls": _CALLS,
            "replayed": _FLAG,
        },
        {
            "run": _RUN_EXAMPLE,
            "messages": [
                _MESSAGE_EXAMPLE,
                _MESSAGE_EXAMPLE | {"role": "assistant", "seq": 3, "content": "In Portugal."},
            ],
            "response": "In Portugal.",
            "tool_calls": [],
            "replayed": False,
        },
    ),
    "Health": _object("All is well.", {"status": {"const": "ok"}}, {"status": "ok"}),
    "Problem": _object(
        "Why a request was refused (RFC 9457), with more facts according to its `code`.",
        {
            "type": {"type": "string", "format": "uri"},
            "title": _TEXT,
            "status": _WHOLE,
            "detail": _TEXT,
            "code": _TEXT,
            "outcome": {
                "enum": ["not_applied", "unknown"],
                "description": "What became of a write: nothing was stored, or it may have been: retry with the key.",
            },
            "field": _TEXT,
            "run_id": _UUID,
            "head": _WHOLE,
        },
        {
            "type": "urn:keepsay:problem:role_ordering_violation",
            "title": "The message may not stand here",
            "status": 400,
            "detail": "Two user messages may not follow each other; user and assistant alternate.",
            "code": "role_ordering_violation",
            "last_role": "user",
            "attempted_role": "user",
            "outcome": "not_applied",
        },
        optional=("outcome", "field", "run_id", "head"),
    ),
}


def components() -> JsonObject:
    """Every schema by its name."""
    asked: JsonObject = {name: shape.schema() for name, shape in BODIES.items()}
    asked["Nothing"] = NOTHING.schema()
    asked["NewMessage"] = {
        "description": "A chat message, kept verbatim with whatever else its API gave it; or a payload in any format.",
        "anyOf": new_messages({}),
        "examples": [{"role": "user", "content": "Where is Lisbon?"}],
    }
    asked["NewMessages"] = {
        "description": "One message, with `expected_seq` beside its fields if wanted; or several.",
        "anyOf": [
            *new_messages({"expected_seq": NEW_MESSAGES.fields["expected_seq"].schema()}),
            NEW_MESSAGES.schema(),
        ],
        "examples": [NEW_MESSAGES.example],
    }
    return asked | _ANSWERS
