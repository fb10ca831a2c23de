"""Conversations, their runs and summaries, as the stores return them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from keepsay.model.ids import ConversationId, RunId, UserId
from keepsay.model.json_text import JsonObject
from keepsay.model.messages import OrderState


class ConversationStatus(IntEnum):
    """Whether a conversation is in daily use; archived ones are listed apart and work all the same."""

    ACTIVE = 0
    ARCHIVED = 1

    @property
    def text(self) -> str:
        return self.name.lower()


class RolePolicy(IntEnum):
    """How strictly the order of roles is kept; see ``keepsay.model.order``."""

    STRICT = 0
    LENIENT = 1
    OPEN = 2

    @property
    def text(self) -> str:
        return self.name.lower()


class RunStatus(IntEnum):
    """A run is running until it ends; only a new attempt with the same key makes a failed or expired one run again."""

    RUNNING = 0
    COMPLETED = 1
    FAILED = 2
    CANCELLED = 3
    EXPIRED = 4  # its lease ran out, and somebody else went on

    @property
    def text(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Conversation:
    """One user's ordered history, without its messages."""

    id: ConversationId
    user_id: UserId
    role_policy: RolePolicy
    status: ConversationStatus
    head: int
    """The last seq given out; 0 while there is none."""
    message_count: int
    """Messages that are neither deleted nor rewound."""
    version: int
    """Counts every change; what ``If-Match`` compares."""
    state: OrderState
    created_at: datetime
    updated_at: datetime
    title: str | None = None
    system_prompt: str | None = None
    external_key: str | None = None
    metadata: JsonObject = field(default_factory=dict)
    active_run: RunId | None = None
    """The run that holds the conversation, if its lease has not run out."""

    def to_dict(self) -> JsonObject:
        """The conversation as the HTTP API shows it."""
        return {
            "id": str(self.id),
            "user_id": self.user_id,
            "title": self.title,
            "system_prompt": self.system_prompt,
            "status": self.status.text,
            "role_policy": self.role_policy.text,
            "external_key": self.external_key,
            "metadata": self.metadata,
            "head": self.head,
            "message_count": self.message_count,
            "version": self.version,
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is stored of a run. ``first_seq``..``last_seq`` are the messages from its start to its end."""

    id: RunId
    conversation_id: ConversationId
    status: RunStatus
    attempt: int
    fence: int
    first_seq: int
    last_seq: int
    created_at: datetime
    ended_at: datetime | None = None
    key: str | None = None
    error: str | None = None

    def to_dict(self) -> JsonObject:
        """The run as the HTTP API shows it."""
        return {
            "id": str(self.id),
            "conversation_id": str(self.conversation_id),
            "status": self.status.text,
            "attempt": self.attempt,
            "key": self.key,
            "error": self.error,
            "first_seq": self.first_seq,
            "last_seq": self.last_seq,
            "created_at": self.created_at.isoformat(),
            "ended_at": None if self.ended_at is None else self.ended_at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Summary:
    """A text that stands for the messages up to ``to_seq`` in windows. The messages stay."""

    to_seq: int
    text: str
    tokens: int

    def to_dict(self) -> JsonObject:
        """The summary as the HTTP API shows it."""
        return {"to_seq": self.to_seq, "text": self.text, "tokens": self.tokens}
