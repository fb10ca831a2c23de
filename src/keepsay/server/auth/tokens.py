"""Tokens as texts: the compact form of a signed JWT (RFC 7515, section 7.1), read strictly and believed by nobody yet.

One token has one spelling here: a base64url that decodes to the same bytes, a second ``sub`` behind the first, or a
blank somewhere is refused, so that no two readers can take one token for two different things.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from keepsay.errors import InvalidInput
from keepsay.model.json_text import JsonObject, parse_json

__all__ = ["Token", "TokenRefused", "parse_object", "parse_token"]

_TOKEN = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")


class TokenRefused(Exception):
    """The token proves nothing. ``reason`` is a word of ours for the log: never the token's text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Token:
    """A token that was taken apart and not yet verified. ``text`` stays out of ``repr``: whoever has it is the user."""

    text: bytes
    header: JsonObject

    def __repr__(self) -> str:
        return "Token(...)"


def parse_token(text: str) -> Token:
    """The parts of a signed token: exactly three, none empty. Raises ``TokenRefused``."""
    parts = _TOKEN.fullmatch(text)
    if parts is None:
        raise TokenRefused("form")
    header, _payload, _signature = (_decoded(part.encode()) for part in parts.groups())
    return Token(text.encode(), parse_object(header))


def _decoded(part: bytes) -> bytes:
    """The bytes of a part in its only spelling: the bits behind the last whole byte are zero (RFC 4648, 3.5)."""
    if len(part) % 4 == 1:
        raise TokenRefused("base64")
    found = base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(found).rstrip(b"=") != part:
        raise TokenRefused("base64")
    return found


def parse_object(data: bytes) -> JsonObject:
    """A JSON object in UTF-8 whose keys differ, without NaN or integers over 64 bits. Raises ``TokenRefused``."""
    try:
        found = parse_json(data, unique_keys=True)
    except InvalidInput:
        raise TokenRefused("json") from None
    if not isinstance(found, dict):
        raise TokenRefused("json")
    return found
