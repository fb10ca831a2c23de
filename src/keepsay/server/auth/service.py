"""``service``: a backend that has authenticated its users itself proves who it is, and names the user."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from starlette.requests import HTTPConnection

from keepsay.errors import ConfigurationError
from keepsay.server.auth.bearer import CREDENTIAL_BYTES, NOT_PROVED, bearer
from keepsay.server.auth.identity import USER_HEADER, Identity, header_text
from keepsay.server.refusals import Unauthenticated

__all__ = ["ServiceAuth"]

KEY_CHARS = 32


class ServiceAuth:
    """Whoever has a key may be any user, whom ``X-Keepsay-User`` or the request names.

    ``keys``: of backends. ``operator_keys``: of operators. Each has 32 to 8,192 visible ASCII characters, and none
    stands in both. Raises ``ConfigurationError``, which never holds a key. Hashes alone are kept.
    """

    def __init__(self, keys: Iterable[str], operator_keys: Iterable[str] = ()) -> None:
        self._keys = _hashes("KEEPSAY_SERVICE_KEYS", keys)
        self._operator_keys = _hashes("KEEPSAY_OPERATOR_KEYS", operator_keys)
        if self._keys & self._operator_keys:
            raise ConfigurationError("A key stands in KEEPSAY_SERVICE_KEYS or in KEEPSAY_OPERATOR_KEYS, not in both.")

    def admit(self, connection: HTTPConnection) -> None:
        """Everybody may ask; ``identify`` says who they are."""

    async def identify(self, connection: HTTPConnection) -> Identity:
        """The user of the header, or whomever the request names. Raises ``Unauthenticated``, ``InvalidInput``."""
        offered = hashlib.sha256((bearer(connection.headers) or "").encode()).digest()
        is_operator = _is_among(offered, self._operator_keys)
        if not _is_among(offered, self._keys) and not is_operator:
            raise Unauthenticated(NOT_PROVED)
        return Identity(header_text(connection.headers, USER_HEADER), is_operator=is_operator)

    async def aclose(self) -> None:
        """Nothing is held."""


def _is_among(offered: bytes, known: frozenset[bytes]) -> bool:
    """Compares with every one, in a time that does not tell how far they agree or which one it was."""
    found = False
    for each in known:
        found |= hmac.compare_digest(offered, each)
    return found


def _hashes(name: str, keys: Iterable[str]) -> frozenset[bytes]:
    return frozenset(hashlib.sha256(_checked(name, key).encode()).digest() for key in keys)


def _checked(name: str, key: str) -> str:
    if not KEY_CHARS <= len(key) <= CREDENTIAL_BYTES or not all("!" <= character <= "~" for character in key):
        raise ConfigurationError(
            f"{name} holds keys of {KEY_CHARS} to {CREDENTIAL_BYTES:,} visible ASCII characters, separated by commas;"
            " `openssl rand -hex 32` makes one."
        )
    return key
