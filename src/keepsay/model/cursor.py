"""Cursors of the list of conversations: opaque to clients, strict when they come back."""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from keepsay.errors import InvalidCursor

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAYOUT = struct.Struct(">Bq16s")
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Position:
    """The last conversation of a page: where the next one goes on."""

    updated_at: datetime
    conversation_id: UUID


def encode_cursor(position: Position) -> str:
    """The text of a position, safe in a URL."""
    microseconds = (position.updated_at - _EPOCH) // timedelta(microseconds=1)
    packed = _LAYOUT.pack(_VERSION, microseconds, position.conversation_id.bytes)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode_cursor(text: object) -> Position:
    """The position of a cursor; ``InvalidCursor`` for anything that ``encode_cursor`` did not make."""
    if not isinstance(text, str):
        raise InvalidCursor
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        version, microseconds, conversation = _LAYOUT.unpack(packed)
        position = Position(_EPOCH + timedelta(microseconds=microseconds), UUID(bytes=conversation))
    except (binascii.Error, struct.error, OverflowError, ValueError):
        raise InvalidCursor from None
    if version != _VERSION or encode_cursor(position) != text:
        raise InvalidCursor
    return position
