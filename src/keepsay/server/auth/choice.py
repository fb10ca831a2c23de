"""From settings to the way to know users: what is missing or contradictory is named before anything listens."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from keepsay.errors import ConfigurationError
from keepsay.server.auth.claims import Rules
from keepsay.server.auth.dev import DevAuth
from keepsay.server.auth.identity import Authenticator
from keepsay.server.auth.issuer import JwksEndpoint
from keepsay.server.auth.jwks import Jwks
from keepsay.server.auth.jwt import JwtAuth, KeySource, StaticKey
from keepsay.server.auth.keys import are_symmetric, checked_algorithms, from_pem, from_secret
from keepsay.server.auth.service import ServiceAuth
from keepsay.server.settings import JwtSettings, Settings

__all__ = ["authenticator"]


def authenticator(settings: Settings) -> Authenticator:
    """The way to know users that ``settings.auth`` names.

    Raises ``ConfigurationError`` naming the variable that is missing, weak or contradicts another. Reads the file that
    ``KEEPSAY_JWT_KEY`` names; connects to nothing.
    """
    if settings.auth == "jwt":
        return _jwt(settings)
    if settings.auth == "service":
        return _service(settings)
    return DevAuth(settings.allowed_hosts, operators=settings.operators)


def _jwt(settings: Settings) -> JwtAuth:
    rules = Rules(
        issuer=_wanted("KEEPSAY_JWT_ISSUER", settings.jwt.issuer),
        audience=_wanted("KEEPSAY_JWT_AUDIENCE", settings.jwt.audience),
        algorithms=checked_algorithms(settings.jwt.algorithms),
        type=settings.jwt.type,
    )
    scope = settings.operator_scope if settings.operators else None
    return JwtAuth(rules, _keys(settings.jwt, rules.algorithms), operator_scope=scope)


def _wanted(name: str, value: str | None) -> str:
    if not value:
        raise ConfigurationError(f"Auth 'jwt' needs {name}.")
    return value


def _keys(jwt: JwtSettings, algorithms: frozenset[str]) -> KeySource:
    if (jwt.jwks_url is None) == (jwt.key is None):
        raise ConfigurationError("Auth 'jwt' needs either KEEPSAY_JWKS_URL or KEEPSAY_JWT_KEY.")
    if jwt.key is not None:
        text = _key_text(jwt.key)
        return StaticKey((from_secret if are_symmetric(algorithms) else from_pem)(text, algorithms))
    assert jwt.jwks_url is not None
    if are_symmetric(algorithms):
        raise ConfigurationError("KEEPSAY_JWKS_URL gives public keys; for HS* set KEEPSAY_JWT_KEY.")
    return Jwks(JwksEndpoint(jwt.jwks_url), algorithms)


def _key_text(key: SecretStr) -> str:
    """The key itself: as it stands, its line ends perhaps written as ``\\n``, or from the file that it names.

    What begins like an absolute path is one, or the path of a file that is missing would be taken for a secret.
    """
    text = key.get_secret_value()
    if text.startswith("-----BEGIN"):
        return text.replace("\\n", "\n")
    if not text.startswith("/"):
        return text
    try:
        return Path(text).read_text().strip()
    except (OSError, ValueError):
        raise ConfigurationError("KEEPSAY_JWT_KEY names a file that cannot be read.") from None


def _service(settings: Settings) -> ServiceAuth:
    if settings.operator_keys and not settings.operators:
        raise ConfigurationError("KEEPSAY_OPERATOR_KEYS makes operators, which KEEPSAY_OPERATORS=on has to allow.")
    if not settings.service_keys:
        raise ConfigurationError("Auth 'service' needs KEEPSAY_SERVICE_KEYS.")
    return ServiceAuth(_texts(settings.service_keys), _texts(settings.operator_keys))


def _texts(secrets: tuple[SecretStr, ...]) -> list[str]:
    return [secret.get_secret_value() for secret in secrets]
