"""Messages: what is handed in, what is derived from it once, and what is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from functools import cached_property
from typing import Final, Literal

from keepsay.model.ids import ConversationId, MessageId, RunId, message_id
from keepsay.model.json_text import JsonObject, JsonValue, read_json

CHAT: Final = "chat"
OPENAI_RESPONSES: Final = "openai.responses"


class Role(IntEnum):
    """Who speaks. The numbers are what the database holds."""

    SYSTEM = 0
    USER = 1
    ASSISTANT = 2
    TOOL = 3
    OTHER = 4  # an entry of an unknown type: kept and returned, ignored by the order

    @property
    def text(self) -> str:
        return self.name.lower()


class MessageStatus(IntEnum):
    """What became of a message."""

    COMPLETE = 0
    INCOMPLETE = 1  # the agent was cut off; never part of a window
    SYNTHETIC = 2  # written by keepsay: the result of a tool call that was interrupted
    DELETED = 3  # blanked; its seq stays

    @property
    def text(self) -> str:
        return self.name.lower()


class OrderState(IntEnum):
    """Where a conversation stands in its role order. Kept on the conversation and, as after it, on every message."""

    EMPTY = 0
    SYSTEM = 1  # only a system message so far
    USER = 2  # the user spoke last
    ASSISTANT = 3  # answered
    STEP = 4  # the assistant's step is not its answer yet: reasoning, say
    CALLING = 5  # tool calls are open
    TOOL = 6  # every tool call is answered, the assistant's turn
    INTERRUPTED = 7  # a run ended without an answer: the user or the assistant may go on


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be appended. Build one with ``user``, ``assistant``, ``system`` or ``tool``, or from any payload.

    ``payload`` is kept verbatim in its ``format``: ``chat`` (OpenAI Chat Completions), ``openai.responses`` (items),
    or any other name, whose payloads pass through untouched. ``tokens`` overrides the estimate. ``client_id`` is the
    client's own id of the item, unique within the conversation.
    """

    payload: Mapping[str, JsonValue]
    format: str = CHAT
    status: Literal["complete", "incomplete"] = "complete"
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    usage: Mapping[str, JsonValue] | None = None
    client_id: str | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A tool call that waits for its result, with the result that is stored should its run end first."""

    call_id: str
    interrupted: str
    """The payload, as JSON text, of the stand-in result."""
    format: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules need to know of one payload."""

    role: Role
    state: OrderState | None
    """The order's state after it; ``None`` leaves the state as it is."""
    opens: tuple[OpenCall, ...] = ()
    answers: tuple[str, ...] = ()
    tokens: int = 0


@dataclass(frozen=True)
class Message:
    """A stored message, immutable. ``payload`` comes back as it went in; blank (``{}``) once deleted."""

    conversation_id: ConversationId
    seq: int
    role: Role
    status: MessageStatus
    state: OrderState
    tokens: int
    format: str
    raw: str = field(repr=False)
    """The payload as JSON text."""
    created_at: datetime
    run_id: RunId | None = None
    client_id: str | None = None
    raw_metadata: str | None = field(default=None, repr=False)
    raw_usage: str | None = field(default=None, repr=False)
    hidden: bool = False
    """Rewound: in the log, but not part of windows and order."""

    @property
    def id(self) -> MessageId:
        return message_id(self.conversation_id, self.seq)

    @cached_property
    def payload(self) -> JsonObject:
        return _object(self.raw)

    @cached_property
    def metadata(self) -> JsonObject:
        return {} if self.raw_metadata is None else _object(self.raw_metadata)

    @cached_property
    def usage(self) -> JsonObject | None:
        return None if self.raw_usage is None else _object(self.raw_usage)

    @property
    def content(self) -> JsonValue:
        """The payload's content; a tool result's ``output`` in the Responses format."""
        return self.payload.get("content", self.payload.get("output"))

    @property
    def tool_calls(self) -> list[JsonValue] | None:
        """The assistant's tool calls in the chat format's shape, or ``None``."""
        if self.role is not Role.ASSISTANT:
            return None
        if self.payload.get("type") == "function_call":
            function = {"name": self.payload.get("name"), "arguments": self.payload.get("arguments")}
            return [{"id": self.payload.get("call_id"), "type": "function", "function": function}]
        calls = self.payload.get("tool_calls")
        return calls if isinstance(calls, list) and all(isinstance(call, dict) for call in calls) else None

    @property
    def tool_call_id(self) -> str | None:
        if self.role is not Role.TOOL:
            return None
        call_id = self.payload.get("tool_call_id", self.payload.get("call_id"))
        return call_id if isinstance(call_id, str) else None

    @property
    def tool_name(self) -> str | None:
        name = self.payload.get("name") if self.role is Role.TOOL else None
        return name if isinstance(name, str) else None

    def to_dict(self) -> JsonObject:
        """The message as the HTTP API shows it; fields that do not apply are absent."""
        shown: JsonObject = {
            "id": str(self.id),
            "seq": self.seq,
            "role": self.role.text,
            "content": self.content,
            "tool_calls": self.tool_calls,
            "tool_call_id": self.tool_call_id,
            "tool_name": self.tool_name,
            "metadata": self.metadata,
            "status": self.status.text,
            "format": self.format,
            "client_id": self.client_id,
            "usage": self.usage,
            "run_id": None if self.run_id is None else str(self.run_id),
            "hidden": self.hidden or None,
            "created_at": self.created_at.isoformat(),
        }
        if not self._is_plain:
            shown["payload"] = self.payload
        return {name: value for name, value in shown.items() if value is not None or name == "content"}

    @property
    def _is_plain(self) -> bool:
        """Whether the other fields of ``to_dict`` tell all that the payload does."""
        told: JsonObject = {
            "role": self.role.text,
            "content": self.content,
            "tool_calls": self.tool_calls,
            "tool_call_id": self.tool_call_id,
            "name": self.tool_name,
        }
        return self.format == CHAT and all(name in told and told[name] == value for name, value in self.payload.items())


def _object(text: str) -> JsonObject:
    value = read_json(text)
    assert isinstance(value, dict)
    return value
