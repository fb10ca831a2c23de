"""Ids: what they are, how they are checked, and those that are derived instead of stored.

user id       one opaque text, chosen by the application
user key      the first 128 bits of the user id's SHA-256: the isolation key in every table but ``users``
conversation  a UUIDv7, made by the library, so that creating can be retried
run           62 bits of a hash of conversation and key, so that the key needs no index of its own; shown as a UUID
              whose first half says "run"
message       the conversation's UUID with version 8 and its last 32 bits combined with the seq: no column either
"""

from __future__ import annotations

import hashlib
import unicodedata
from typing import NewType
from uuid import UUID

from keepsay.errors import InvalidInput, NotFound, TooLarge
from keepsay.model import limits
from keepsay.model.json_text import storable_text

UserId = NewType("UserId", str)
UserKey = NewType("UserKey", UUID)
ConversationId = NewType("ConversationId", UUID)
RunId = NewType("RunId", UUID)
MessageId = NewType("MessageId", UUID)
Key = NewType("Key", str)

_VERSION_MASK = 0xF << 76
_VERSION_8 = 8 << 76
_VARIANT_MASK = 0xC << 60
_VARIANT = 8 << 60
_SEQ_MAX = 2**31 - 1
_RUN_HALF = int.from_bytes(b"run\0\0\0\x80\0") << 64
_RUN_BITS = (1 << 62) - 1


def checked_user_id(text: object) -> UserId:
    """``text`` as a user id: 1..255 bytes of UTF-8 in NFC, no control characters, no ``/``, not ``.`` or ``..``."""
    user_id = storable_text(text, field="user_id", limit=limits.USER_ID_BYTES)
    size = len(user_id.encode())
    if size > limits.USER_ID_BYTES:
        raise TooLarge("user_id", size=size, limit=limits.USER_ID_BYTES, unit="bytes", field="user_id")
    if not user_id or user_id in {".", ".."} or "/" in user_id:
        raise InvalidInput("user_id is not empty, '.' or '..', and holds no '/'.", field="user_id")
    if any(unicodedata.category(character) == "Cc" for character in user_id):
        raise InvalidInput("user_id holds a control character.", field="user_id")
    if not unicodedata.is_normalized("NFC", user_id):
        raise InvalidInput("user_id is not in Unicode normal form C; normalise it where it is made.", field="user_id")
    return UserId(user_id)


def user_key(user_id: UserId) -> UserKey:
    """The isolation key of a user."""
    return UserKey(UUID(bytes=hashlib.sha256(user_id.encode()).digest()[:16]))


def parse_conversation_id(value: object) -> ConversationId:
    """A conversation id from its text; what is no UUID cannot exist, and answers as any absent conversation does."""
    return ConversationId(_uuid(value, "conversation"))


def parse_run_id(value: object) -> RunId:
    """A run id from its text; see ``parse_conversation_id``."""
    return RunId(_uuid(value, "run"))


def parse_message_id(value: object) -> MessageId:
    """A message id from its text; see ``parse_conversation_id``."""
    return MessageId(_uuid(value, "message"))


def _uuid(value: object, kind: str) -> UUID:
    if isinstance(value, UUID):
        return value
    try:
        found = UUID(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or str(found) != value:  # one spelling only: ids are compared as texts by clients
        raise NotFound(kind)
    return found


def checked_key(text: object, *, field: str = "key") -> Key:
    """``text`` as an idempotency or external key: 1..255 characters that can be stored."""
    key = storable_text(text, field=field, limit=limits.KEY_CHARS)
    if not key:
        raise InvalidInput(f"{field} is not empty.", field=field)
    return Key(key)


def _hashed(purpose: bytes, scope: UUID, key: str) -> UUID:
    digest = hashlib.sha256(purpose + b"\0" + scope.bytes + key.encode()).digest()
    bits = int.from_bytes(digest[:16], "big")
    return UUID(int=bits & ~_VERSION_MASK & ~_VARIANT_MASK | _VERSION_8 | _VARIANT)


def run_id_for(conversation_id: ConversationId, key: Key) -> RunId:
    """The run that this key stands for in this conversation."""
    return run_id_of(_hashed(b"run", conversation_id, key).int & _RUN_BITS)


def run_id_of(number: int) -> RunId:
    """The id of the run that is stored as this number of 62 bits."""
    return RunId(UUID(int=_RUN_HALF | _VARIANT | number))


def run_number(run_id: UUID) -> int:
    """The number that stands for a run id in the database; ``NotFound`` for what is no run's id."""
    number = run_id.int & _RUN_BITS
    if run_id.int != _RUN_HALF | _VARIANT | number:
        raise NotFound("run")
    return number


def append_id_for(conversation_id: ConversationId, key: Key) -> UUID:
    """What is stored in place of an append's key: its hash, of fixed width."""
    return _hashed(b"append", conversation_id, key)


def conversation_id_for(owner: UserKey, key: Key) -> ConversationId:
    """The conversation that this key creates, so that creating with a key can be retried from any process."""
    return ConversationId(_hashed(b"create", owner, key))


def message_id(conversation_id: ConversationId, seq: int) -> MessageId:
    """The id of the message at ``seq``."""
    bits = conversation_id.int & ~_VERSION_MASK | _VERSION_8
    return MessageId(UUID(int=bits ^ seq))


def seq_of(conversation_id: ConversationId, message: UUID) -> int:
    """The seq of a message id in this conversation; ``NotFound`` when it is none of its ids."""
    difference = message.int ^ (conversation_id.int & ~_VERSION_MASK | _VERSION_8)
    if not 0 < difference <= _SEQ_MAX:
        raise NotFound("message")
    return difference
