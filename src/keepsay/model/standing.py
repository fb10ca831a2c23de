"""Where a conversation stands: who may speak, what was said last, whether an answer is under way."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Literal

from keepsay.model.conversation import Conversation
from keepsay.model.formats import payload_text
from keepsay.model.ids import ConversationId, RunId
from keepsay.model.json_text import JsonObject
from keepsay.model.messages import Message, OrderState, Role
from keepsay.model.order import may_follow, waits_for_runs

__all__ = ["PREVIEW_CHARS", "Standing", "preview"]

PREVIEW_CHARS = 100
_JOINED_CHARS = 32  # how much one character as a person sees it may take before it is cut all the same
_JOINER = "\u200d"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a conversation stands, at one moment; somebody else may append at the next."""

    conversation: Conversation
    state: OrderState
    """The order's state as the next writer finds it: a run whose lease has run out counts as ended."""
    last: Message | None
    """The newest message that is neither deleted nor rewound, entries of unknown types aside."""

    @property
    def id(self) -> ConversationId:
        return self.conversation.id

    @property
    def can_add_user(self) -> bool:
        """Whether appending what the user says would be accepted."""
        return self._may_add(Role.USER)

    @property
    def can_add_assistant(self) -> bool:
        """Whether appending what the assistant says would be accepted."""
        return self._may_add(Role.ASSISTANT)

    def _may_add(self, role: Literal[Role.USER, Role.ASSISTANT]) -> bool:
        policy = self.conversation.role_policy
        if self.has_pending_request and waits_for_runs(policy):
            return False
        return may_follow(policy, self.state, role)

    @property
    def active_run(self) -> RunId | None:
        """The run that is under way."""
        return self.conversation.active_run

    @property
    def has_pending_request(self) -> bool:
        """Whether a run is under way: an answer is being made."""
        return self.active_run is not None

    @property
    def last_role(self) -> Role | None:
        return None if self.last is None else self.last.role

    @property
    def last_message_preview(self) -> str | None:
        """The beginning of the last message's words; ``None`` where it has none (tool calls, say)."""
        if self.last is None:
            return None
        return preview(payload_text(self.last.content or self.last.payload.get("refusal"))) or None

    def to_dict(self) -> JsonObject:
        """The standing as the HTTP API shows it."""
        return {
            "conversation_id": str(self.id),
            "title": self.conversation.title,
            "head": self.conversation.head,
            "message_count": self.conversation.message_count,
            "last_role": None if self.last_role is None else self.last_role.text,
            "last_message_preview": self.last_message_preview,
            "can_add_user": self.can_add_user,
            "can_add_assistant": self.can_add_assistant,
            "has_pending_request": self.has_pending_request,
            "active_run": None if self.active_run is None else str(self.active_run),
            "updated_at": self.conversation.updated_at.isoformat(),
        }


def preview(text: str, limit: int = PREVIEW_CHARS) -> str:
    """``text`` on one line, of at most ``limit`` characters; an ellipsis stands for what is cut off.

    No accent, emoji or flag is cut in two.
    """
    line = " ".join(text[: 8 * limit].split())  # enough for one line of a text that is mostly white space
    if len(line) <= limit and len(text) <= 8 * limit:
        return line
    at = min(limit - 1, len(line))
    for end in range(at, max(0, at - _JOINED_CHARS), -1):
        if end == len(line) or not _belongs_together(line[:end], line[end]):
            at = end
            break
    return line[:at].rstrip() + "…"


def _belongs_together(before: str, after: str) -> bool:
    """Whether a person sees the last character of ``before`` and ``after`` as one."""
    if after == _JOINER or before.endswith(_JOINER) or unicodedata.category(after).startswith("M"):
        return True
    if _is_regional(after):
        letters = len(before) - len(before.rstrip(_REGIONAL))
        return letters % 2 == 1
    return "\U0001f3fb" <= after <= "\U0001f3ff"  # the colours of skin


_REGIONAL = "".join(map(chr, range(0x1F1E6, 0x1F200)))


def _is_regional(character: str) -> bool:
    return character in _REGIONAL
