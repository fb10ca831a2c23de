"""What the bodies of requests may hold. Each is closed; the limits shown are checked by the library."""

from __future__ import annotations

from keepsay.model import limits
from keepsay.model.json_text import JsonObject, JsonValue
from keepsay.server.fields import Field, Shape
from keepsay.session import DEFAULT_MAX_MESSAGES

__all__ = [
    "BODIES",
    "CHAT",
    "CONTINUE",
    "CONVERSATION_CHANGES",
    "FORK",
    "KEY",
    "METADATA",
    "NEW_CONVERSATION",
    "NEW_MESSAGES",
    "NOTHING",
    "REWIND",
    "RUN",
    "SESSION",
    "USER_ID",
]

STORABLE: JsonObject = {"pattern": r"^[^\u0000]*$"}
"""Of texts that stand in columns. They hold no half of a surrogate pair either, which no pattern can say."""
KEY: JsonObject = STORABLE | {"minLength": 1, "maxLength": limits.KEY_CHARS}
USER_ID: JsonObject = {
    "minLength": 1,
    "maxLength": limits.USER_ID_BYTES,
    "pattern": r"^[^\u0000-\u001f\u007f-\u009f/]+$",
}
"""In Unicode normal form C, and neither `.` nor `..`; its limit is in bytes."""
METADATA: JsonObject = {"propertyNames": STORABLE, "additionalProperties": STORABLE}
"""At most 16 KiB and 4 levels, and so all the way down."""

_MESSAGE_REF: JsonObject = {"$ref": "#/components/schemas/NewMessage"}
_MESSAGES: JsonObject = {"items": _MESSAGE_REF, "maxItems": limits.MESSAGES_PER_CALL}
_SOME: JsonObject = {"minItems": 1, "maxItems": limits.MESSAGES_PER_CALL}
_TITLE: JsonObject = STORABLE | {"maxLength": limits.TITLE_CHARS}
_EXTERNAL_KEY = Field(
    "Your own id for it, unique among the user's: if one has it, that one is returned and nothing applied.", more=KEY
)
_STATUS: JsonObject = {"enum": ["active", "archived"]}
_SEQ: JsonObject = {"minimum": 0, "maximum": limits.SEQ_MAX}
_REQUEST_ID = Field(
    "Makes the request safe to retry: the same id again gives the first answer.",
    more=KEY,
)
_NOT_BLANK: JsonObject = {"pattern": r"\S"}
_SAID_ONCE: list[JsonValue] = [_NOT_BLANK | {"type": "string"}, _MESSAGE_REF]
_SAID_OFTEN: JsonObject = _SOME | {"type": "array", "items": {"anyOf": _SAID_ONCE}}
_SAID = Field("What the user says; not blank.", required=True, more=_NOT_BLANK)
_WINDOW_MESSAGES: JsonObject = {"minimum": 1, "maximum": limits.WINDOW_MAX_MESSAGES}

NEW_CONVERSATION = Shape(
    "A new conversation.",
    {
        "title": Field("A title for people.", more=_TITLE),
        "system_prompt": Field(
            "Becomes the first message, role `system`.", more=STORABLE | {"maxLength": limits.SYSTEM_PROMPT_CHARS}
        ),
        "metadata": Field("Your own facts: at most 16 KiB and 4 levels.", ("object",), more=METADATA),
        "external_key": _EXTERNAL_KEY,
        "role_policy": Field(
            "Who may speak when.", more={"enum": ["strict", "lenient", "open", None], "default": "strict"}
        ),
        "messages": Field("Its first messages.", ("array",), more=_MESSAGES),
    },
    {"title": "Trip", "system_prompt": "Be brief.", "messages": [{"role": "user", "content": "Where is Lisbon?"}]},
)

CONVERSATION_CHANGES = Shape(
    "What to change of a conversation; what is left out stays.",
    {
        "title": Field("A title for people; `null` takes it away.", more=_TITLE, null="a value"),
        "status": Field(
            "`archived` conversations are listed apart and work all the same.", more=_STATUS, null="refused"
        ),
        "metadata": Field(
            "Takes the place of all that is there; `{}` empties it.", ("object",), more=METADATA, null="refused"
        ),
    },
    {"title": "Trip to Lisbon", "status": "archived", "metadata": {"colour": "blue"}},
)

FORK = Shape(
    "A new conversation that starts as a copy.",
    {
        "at_seq": Field("The last message to copy; without it everything is.", ("integer",), more=_SEQ),
        "title": Field("A title for people; the original's without it.", more=_TITLE),
        "metadata": Field("Your own facts; the original's without it.", ("object",), more=METADATA),
        "external_key": _EXTERNAL_KEY,
    },
    {"at_seq": 2, "title": "Trip, by train"},
)

REWIND = Shape(
    "How far to go back.",
    {"at_seq": Field("The last message to stay; 0 hides all.", ("integer",), required=True, more=_SEQ)},
    {"at_seq": 2},
)

NEW_MESSAGES = Shape(
    "Several messages, appended all or none.",
    {
        "messages": Field("One to a hundred.", ("array",), required=True, more=_MESSAGES | _SOME),
        "expected_seq": Field(
            "The head that you have seen; if it is another by now, nothing is appended.",
            ("integer",),
            more=_SEQ,
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
        "user_id": Field("Whose session.", required=True, more=USER_ID),
        "session_id": Field("The session to go on with; without it a new one is made.", more={"format": "uuid"}),
        "context": Field(
            "What to add: a text that the user said, a message, or a list of messages.",
            ("string", "object", "array"),
            more={"anyOf": [{"type": "null"}, *_SAID_ONCE, _SAID_OFTEN]},
        ),
        "max_messages": Field(
            "How much of the history to return.",
            ("integer",),
            more=_WINDOW_MESSAGES | {"default": DEFAULT_MAX_MESSAGES},
        ),
    },
    {"user_id": "u_42", "context": "Where is Lisbon?"},
)

RUN = Shape(
    "What the agent is to answer; with neither `message` nor `messages`, what stands in the conversation.",
    {
        "message": Field(
            "What the user says, not blank; or a message.",
            ("string", "object"),
            more={"anyOf": [{"type": "null"}, *_SAID_ONCE]},
        ),
        "messages": Field("Several messages, stored all or none.", ("array",), more=_MESSAGES | _SOME),
        "request_id": _REQUEST_ID,
        "background": Field(
            "Answer 202 as soon as the messages are stored and the run is under way.",
            ("boolean",),
            more={"default": False},
        ),
        "on_busy": Field(
            "Whether a run that is under way is waited out by you (409), or cancelled.",
            more={"enum": ["reject", "interrupt", None], "default": "reject"},
        ),
        "expected_seq": NEW_MESSAGES.fields["expected_seq"],
        "max_messages": CONTINUE.fields["max_messages"],
        "max_tokens": CONTINUE.fields["max_tokens"],
        "system_prompt": Field(
            "Takes the place of the conversation's, for this run.",
            more=STORABLE | {"maxLength": limits.SYSTEM_PROMPT_CHARS},
        ),
    },
    {"message": "And Braga?", "request_id": "9e2d", "background": True},
)

NOTHING = Shape("There is nothing to say.", {})

BODIES = {
    "NewConversation": NEW_CONVERSATION,
    "ConversationChanges": CONVERSATION_CHANGES,
    "Fork": FORK,
    "Rewind": REWIND,
    "Continue": CONTINUE,
    "Chat": CHAT,
    "SessionRequest": SESSION,
    "RunRequest": RUN,
}
