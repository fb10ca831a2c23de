"""``jwt``: users are whom an issuer's signed tokens name (RFC 7519, with the practices of RFC 8725 and RFC 9068)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

import jwt
from starlette.requests import HTTPConnection

from keepsay.model.json_text import JsonObject
from keepsay.server.auth.bearer import NOT_PROVED, bearer
from keepsay.server.auth.claims import Rules, check_header, key_id_of, scopes_of, subject_of
from keepsay.server.auth.identity import Identity
from keepsay.server.auth.keys import VerificationKey
from keepsay.server.auth.tokens import Token, TokenRefused, parse_object, parse_token
from keepsay.server.refusals import Unauthenticated

__all__ = ["JwtAuth", "KeySource", "StaticKey"]

logger = logging.getLogger("keepsay.server.auth")


class KeySource(Protocol):
    """Where the issuer's keys come from: never the token."""

    async def find(self, key_id: str | None) -> VerificationKey | None:
        """The key that a token's ``kid`` names, or ``None``. Raises ``IssuerUnavailable``."""

    async def aclose(self) -> None:
        """Give back what it holds."""


class StaticKey:
    """One key, whatever a token's ``kid`` says."""

    def __init__(self, key: VerificationKey) -> None:
        self._key = key

    async def find(self, key_id: str | None) -> VerificationKey | None:
        """The key."""
        return self._key

    async def aclose(self) -> None:
        """Nothing is held."""


class JwtAuth:
    """Everybody is whom their token's ``sub`` names. Nothing else in a request says who is asking.

    ``operator_scope``: the scope that makes its bearer an operator; ``None`` makes nobody one. ``now``: the time in
    seconds since 1970.
    """

    def __init__(
        self, rules: Rules, keys: KeySource, *, operator_scope: str | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._rules = rules
        self._keys = keys
        self._operator_scope = operator_scope
        self._now = now
        # PyJWT verifies signatures; the claims are judged in claims.py, which is stricter.
        self._signatures = jwt.PyJWS(sorted(rules.algorithms), {"enforce_minimum_key_length": True})

    def admit(self, connection: HTTPConnection) -> None:
        """Everybody may ask; ``identify`` says who they are."""

    async def identify(self, connection: HTTPConnection) -> Identity:
        """Whom the bearer token names. Raises ``Unauthenticated``, one text for every reason; ``IssuerUnavailable``.

        The reason is logged at debug level, as a word; the token and its claims never are.
        """
        try:
            claims = await self._verified(bearer(connection.headers))
            subject = subject_of(claims, self._rules, self._now())
        except TokenRefused as refused:
            logger.debug("a token was refused for its %s", refused.reason)
            raise Unauthenticated(NOT_PROVED) from None
        return Identity(subject, is_operator=self._operator_scope in scopes_of(claims))

    async def aclose(self) -> None:
        """Stop loading keys."""
        await self._keys.aclose()

    async def _verified(self, credential: str | None) -> JsonObject:
        if credential is None:
            raise TokenRefused("absence")
        token = parse_token(credential)
        algorithm = check_header(token.header, self._rules)
        key = await self._keys.find(key_id_of(token.header))
        if key is None:
            raise TokenRefused("kid")
        if algorithm not in key.algorithms:
            raise TokenRefused("alg")
        return parse_object(self._payload(token, algorithm, key))

    def _payload(self, token: Token, algorithm: str, key: VerificationKey) -> bytes:
        try:
            payload: bytes = self._signatures.decode(token.text, key.material, algorithms=[algorithm])
        except jwt.PyJWTError:
            raise TokenRefused("signature") from None
        return payload
