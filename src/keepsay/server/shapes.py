"""What the bodies of requests may hold. Each is closed; the limits shown are checked by the library."""

from __future__ import annotations

from keepsay.model import limits
from keepsay.model.json_text import JsonObject
from keepsay.server.fields import Field, Shape
from keepsay.session import DEFAULT_MAX_MESSAGES

__all__ = ["BODIES", "CHAT", "CONTINUE", "NEW_CONVERSATION", "NEW_MESSAGES", "SESSION"]

_MESSAGE_REF: JsonObject = {"$ref": "#/components/schemas/NewMessage"}
_MESSAGES: JsonObject = {"items": _MESSAGE_REF, "maxItems": limits.MESSAGES_PER_CALL}
_REQUEST_ID = Field(
    "Makes the request safe to retry: the same id again gives the first answer.",
    more={"minLength": 1, "maxLength": limits.KEY_CHARS},
)
_SAID = Field("What the user says; not blank.", required=True, more={"minLength": 1})
_WINDOW_MESSAGES: JsonObject = {"minimum": 1, "maximum": limits.WINDOW_MAX_MESSAGES}

NEW_CONVERSATION = Shape(
    "A new conversation.",
    {
        "title": Field("A title for people.", more={"maxLength": limits.TITLE_CHARS}),
        "system_prompt": Field(
            "Becomes the first message, role `system`.", more={"maxLength": limits.SYSTEM_PROMPT_CHARS}
        ),
        "metadata": Field("Your own facts: at most 16 KiB and 4 levels.", ("object",)),
        "external_key": Field(
            "Your own id for it, unique among the user's: if one has it, that one is returned and nothing applied.",
            more={"minLength": 1, "maxLength": limits.KEY_CHARS},
        ),
        "role_policy": Field(
            "Who may speak when.", more={"enum": ["strict", "lenient", "open", None], "default": "strict"}
        ),
        "messages": Field("Its first messages.", ("array",), more=_MESSAGES),
    },
    {"title": "Trip", "system_prompt": "Be brief.", "messages": [{"role": "user", "content": "Where is Lisbon?"}]},
)

NEW_MESSAGES = Shape(
    "Several messages, appended all or none.",
    {
        "messages": Field("One to a hundred.", ("array",), required=True, more=_MESSAGES | {"minItems": 1}),
        "expected_seq": Field(
            "The head that you have seen; if it is another by now, nothing is appended.",
            ("integer",),
            more={"minimum": 0, "maximum": limits.SEQ_MAX},
        ),
    },
    {
        "messages": [
            {"role": "user", "content": "Where is Lisbon?"},
            {"role": "assistant", "content": "In Portugal, where the Tagus meets the sea."},
        ],
        "expected_seq": 1,
    },
)

CONTINUE = Shape(
    "The user's next message.",
    {
        "message": _SAID,
        "request_id": _REQUEST_ID,
        "max_messages": Field(
            "How many messages the agent sees at most.",
            ("integer",),
            more=_WINDOW_MESSAGES | {"default": limits.WINDOW_DEFAULT_MESSAGES},
        ),
        "max_tokens": Field(
            "How many tokens, estimated, the agent sees at most.",
            ("integer",),
            more={"minimum": 1, "maximum": limits.WINDOW_MAX_TOKENS},
        ),
    },
    {"message": "And Porto?", "request_id": "7c1e"},
)

CHAT = Shape(
    "The user's message.",
    {
        "message": _SAID,
        "conversation_id": Field("The conversation to go on with; without it a new one is made."),
        "request_id": _REQUEST_ID,
    },
    {"message": "Where is Lisbon?", "request_id": "5a0b"},
)

SESSION = Shape(
    "A session to create or to go on with.",
    {
        "user_id": Field("Whose session.", required=True),
        "session_id": Field("The session to go on with; without it a new one is made.", more={"format": "uuid"}),
        "context": Field(
            "What to add: a text that the user said, a message, or a list of messages.",
            ("string", "object", "array"),
        ),
        "max_messages": Field(
            "How much of the history to return.",
            ("integer",),
            more=_WINDOW_MESSAGES | {"default": DEFAULT_MAX_MESSAGES},
        ),
    },
    {"user_id": "u_42", "context": "Where is Lisbon?"},
)

BODIES = {"NewConversation": NEW_CONVERSATION, "Continue": CONTINUE, "Chat": CHAT, "SessionRequest": SESSION}
