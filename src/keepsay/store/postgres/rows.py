"""Rows of the SQL functions as keepsay's values. A row that breaks an invariant is a loud ``CorruptData``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from keepsay.errors import CorruptData
from keepsay.model.conversation import Conversation, ConversationStatus, RolePolicy, RunRecord, RunStatus, Summary
from keepsay.model.ids import ConversationId, RunId, UserId, run_id_of
from keepsay.model.json_text import read_json
from keepsay.model.messages import CHAT, Message, MessageStatus, OrderState, Role
from keepsay.model.standing import Standing
from keepsay.model.window import WindowRows

# What the driver and JSON hand over is untyped; it becomes typed values here, and nowhere else.
Row = Any
Header = dict[str, Any]

_ROLES = tuple(Role)
_STATUSES = tuple(MessageStatus)
_STATES = tuple(OrderState)


def to_header(row: Row) -> Header:
    """The facts that stand before the messages."""
    header = read_json(row["header"])
    if not isinstance(header, dict):
        raise CorruptData("A function's header is not an object.")
    return header


def to_conversation(value: str | Header, user_id: UserId) -> Conversation:
    """A conversation of what ``shown_conversation`` made."""
    shown: Header = read_json(value) if isinstance(value, str) else value  # type: ignore[assignment]
    return Conversation(
        id=ConversationId(UUID(shown["conversation_id"])),
        user_id=user_id,
        role_policy=RolePolicy(shown["role_policy"]),
        status=ConversationStatus(shown["status"]),
        head=shown["head"],
        message_count=shown["message_count"],
        version=shown["version"],
        state=OrderState(shown["state"]),
        created_at=_time(shown["created_at"]),
        updated_at=_time(shown["updated_at"]),
        title=shown["title"],
        system_prompt=shown["system_prompt"],
        external_key=shown["external_key"],
        metadata=shown["metadata"] or {},
        active_run=_run_id(shown["active_run"]),
    )


def to_run(value: str | Header) -> RunRecord:
    """A run of what ``shown_run`` made."""
    shown: Header = read_json(value) if isinstance(value, str) else value  # type: ignore[assignment]
    return RunRecord(
        id=run_id_of(shown["run_id"]),
        conversation_id=ConversationId(UUID(shown["conversation_id"])),
        status=RunStatus(shown["status"]),
        attempt=shown["attempt"],
        fence=shown["fence"],
        first_seq=shown["first_seq"],
        last_seq=shown["last_seq"],
        created_at=_time(shown["created_at"]),
        ended_at=None if shown["ended_at"] is None else _time(shown["ended_at"]),
        key=shown["key"],
        error=shown["error"],
    )


def to_message(row: Row, conversation_id: ConversationId) -> Message:
    """A message of a ``message_row``."""
    return Message(
        conversation_id=conversation_id,
        seq=row["seq"],
        role=_ROLES[row["role"]],
        status=_STATUSES[row["status"]],
        state=_STATES[row["state"]],
        tokens=row["tokens"],
        format=row["format"] or CHAT,
        raw=row["payload"],
        created_at=row["created_at"],
        run_id=_run_id(row["run_id"]),
        client_id=row["client_id"],
        raw_metadata=row["metadata"],
        raw_usage=row["usage"],
        hidden=row["hidden"],
    )


def to_window_rows(header: Header, rows: Sequence[Row], conversation_id: ConversationId) -> WindowRows:
    """What ``window_rows`` sent after its header."""
    messages = sorted((to_message(row, conversation_id) for row in rows), key=lambda message: message.seq)
    system_seq = header["system_seq"]
    system = next((message for message in messages if message.seq == system_seq), None)
    summary = header["summary"]
    return WindowRows(
        policy=RolePolicy(header["role_policy"]),
        head=header["head"],
        messages=tuple(message for message in messages if message.seq != system_seq),
        from_start=header["from_start"],
        system=system,
        summary=None if summary is None else Summary(summary["to_seq"], summary["text"], summary["tokens"]),
    )


def to_standing(header: Header, rows: Sequence[Row], conversation_id: ConversationId, user_id: UserId) -> Standing:
    """What ``status_v1`` sent: its header, and the last message if there is one."""
    last = [to_message(row, conversation_id) for row in rows]
    return Standing(
        to_conversation(header["conversation"], user_id), OrderState(header["state"]), last[0] if last else None
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _run_id(number: int | None) -> RunId | None:
    return None if number is None else run_id_of(number)
