"""Where randomness and the clock come in."""

from __future__ import annotations

import hashlib
import secrets
import sys
from uuid import UUID

from keepsay.model.ids import ConversationId, Key, checked_key

if sys.version_info >= (3, 14):
    from uuid import uuid7
else:
    from uuid_utils.compat import uuid7


def new_conversation_id() -> ConversationId:
    """A UUIDv7: conversations that are made together are stored together."""
    return ConversationId(_uuid7())


def new_key() -> Key:
    """A key for a write that the caller gave none, so that a retry of it is safe."""
    return Key(str(_uuid7()))


def key_for(operation: str, key: str) -> Key:
    """The key of one step of a larger operation that has ``key``: the same key for another operation is another.

    Raises ``InvalidInput`` and ``TooLarge`` for what is no key.
    """
    digest = hashlib.sha256(f"{operation}\0{checked_key(key)}".encode()).hexdigest()
    return Key(f"{operation}:{digest}")


def new_owner_token() -> int:
    """A random number that tells one call of ``begin`` from another with the same key."""
    return secrets.randbits(63)


def _uuid7() -> UUID:
    made: UUID = uuid7()
    return made
