"""What a token has to say before it is believed: pure rules over its header and claims.

They are stricter than a JWT library's defaults, which accept an empty ``sub``, one with NUL characters or of a
megabyte, an ``exp`` of 10^18, a token for other audiences too, and one without ``exp`` (RFC 8725: why each matters).
"""

from __future__ import annotations

from dataclasses import dataclass

from keepsay.errors import InvalidInput
from keepsay.model.ids import checked_user_id
from keepsay.model.json_text import JsonObject, JsonValue
from keepsay.server.auth.tokens import TokenRefused

__all__ = ["LEEWAY_SECONDS", "LIFETIME_SECONDS", "Rules", "check_header", "key_id_of", "scopes_of", "subject_of"]

LEEWAY_SECONDS = 30
"""How far the issuer's clock and ours may differ."""

LIFETIME_SECONDS = 24 * 3600
"""The longest that a token may be valid for: a stolen one is of no use the day after."""

KEY_ID_CHARS = 255

_ACCESS_TYPES = frozenset({"jwt", "at+jwt"})
# crit and b64 change what is signed, zip and cty what it means (RFC 7515 4.1.10 and 4.1.11, RFC 7797).
_REFUSED_PARAMETERS = ("crit", "b64", "zip", "cty")
_SCOPE_CLAIMS = ("scope", "scp", "scopes")


@dataclass(frozen=True, slots=True)
class Rules:
    """Whose tokens count: exactly this issuer's, for exactly this audience, signed in one of these ways.

    ``type``: the media type that ``typ`` has to name, such as ``at+jwt`` (RFC 9068); by default ``typ`` may be left out
    or be ``JWT`` or ``at+jwt``, so that a logout or DPoP token is never taken for an access token.
    """

    issuer: str
    audience: str
    algorithms: frozenset[str]
    type: str | None = None


def check_header(header: JsonObject, rules: Rules) -> str:
    """The algorithm that the header names. Raises ``TokenRefused``.

    A key that the token brings along or points at (``jwk``, ``jku``, ``x5c``, ``x5u``) is never looked at.
    """
    if any(name in header for name in _REFUSED_PARAMETERS):
        raise TokenRefused("header")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in rules.algorithms:
        raise TokenRefused("alg")
    if not _is_of_type(header, rules.type):
        raise TokenRefused("typ")
    return algorithm


def _is_of_type(header: JsonObject, wanted: str | None) -> bool:
    if wanted is None and "typ" not in header:
        return True
    said = header.get("typ")
    if not isinstance(said, str):
        return False
    return _short(said) in (_ACCESS_TYPES if wanted is None else {_short(wanted)})


def _short(media_type: str) -> str:
    """Media types are case-insensitive, and ``application/`` may be left out (RFC 7515, 4.1.9)."""
    return media_type.lower().removeprefix("application/")


def key_id_of(header: JsonObject) -> str | None:
    """The ``kid``, a text of at most 255 characters, if there is one. Raises ``TokenRefused``."""
    key_id = header.get("kid")
    if "kid" in header and not (isinstance(key_id, str) and len(key_id) <= KEY_ID_CHARS):
        raise TokenRefused("kid")
    return key_id if isinstance(key_id, str) else None


def subject_of(claims: JsonObject, rules: Rules, now: float) -> str:
    """The user whom the claims of a verified token name, at ``now`` in seconds since 1970. Raises ``TokenRefused``.

    ``sub`` is a user id as it stands: it is not normalised, for two subjects must never become one user.
    """
    if claims.get("iss") != rules.issuer:
        raise TokenRefused("iss")
    # A token for others too could have come from any of them: a list may name this audience alone.
    if claims.get("aud") not in (rules.audience, [rules.audience]):
        raise TokenRefused("aud")
    _check_times(claims, now)
    try:
        return checked_user_id(claims.get("sub"))
    except InvalidInput:
        raise TokenRefused("sub") from None


def _check_times(claims: JsonObject, now: float) -> None:
    expires, issued = _second(claims, "exp"), _second(claims, "iat")
    if expires <= now - LEEWAY_SECONDS:
        raise TokenRefused("exp")
    if issued > now + LEEWAY_SECONDS:
        raise TokenRefused("iat")
    if not 0 < expires - issued <= LIFETIME_SECONDS:
        raise TokenRefused("lifetime")
    if "nbf" in claims and _second(claims, "nbf") > now + LEEWAY_SECONDS:
        raise TokenRefused("nbf")


def _second(claims: JsonObject, name: str) -> float:
    """A NumericDate (RFC 7519, section 2). ``True`` is no number; NaN and what passes 64 bits was no JSON."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefused(name)
    return value


def scopes_of(claims: JsonObject) -> frozenset[str]:
    """What the token allows: ``scope`` as RFC 8693 has it, or ``scp`` or ``scopes`` as issuers have it."""
    return frozenset(scope for name in _SCOPE_CLAIMS for scope in _listed(claims.get(name)))


def _listed(value: JsonValue) -> list[str]:
    if isinstance(value, str):
        return value.split(" ")
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
