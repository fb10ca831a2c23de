"""Keys to verify tokens with: from PEM, from a shared secret, from an issuer's JSON Web Keys (RFC 7517, RFC 7518).

A key knows the algorithms that it may verify, and a token's header never widens them: that is what ends the confusion
of a public key with a shared secret (RFC 8725, section 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from keepsay.errors import ConfigurationError
from keepsay.model.json_text import JsonObject
from keepsay.server.auth.claims import KEY_ID_CHARS

__all__ = ["KeySet", "VerificationKey", "checked_algorithms", "from_jwk", "from_pem", "from_secret"]

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey

_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_EDWARDS = frozenset({"EdDSA"})
_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}  # as long as the hash: RFC 7518, section 3.2
_FAMILIES = (_RSA, frozenset(_CURVES.values()), _EDWARDS, frozenset(_SECRET_BYTES))
# By the key's type, an algorithm by which PyJWT finds the reader of such keys.
_READERS = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}

_RSA_BITS = range(2048, 8192 + 1)
"""Shorter ones are within reach of attackers; the time to verify with longer ones would be felt by others."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key and the algorithms that it may verify."""

    material: PublicKey | bytes = field(repr=False)
    algorithms: frozenset[str]


@dataclass(frozen=True, slots=True)
class KeySet:
    """An issuer's keys by ``kid``; ``None`` is the key that has none."""

    keys: Mapping[str | None, VerificationKey]

    def find(self, key_id: str | None) -> VerificationKey | None:
        """The key of this id. A token that names none is verified with the only key, if there is only one."""
        if key_id is None and len(self.keys) == 1:
            return next(iter(self.keys.values()))
        return self.keys.get(key_id)


def checked_algorithms(names: tuple[str, ...]) -> frozenset[str]:
    """The names, all of one family: RS* and PS*, ES*, EdDSA, or HS*. Raises ``ConfigurationError``."""
    found = frozenset(names)
    if not found or not any(found <= family for family in _FAMILIES):
        raise ConfigurationError(
            "KEEPSAY_JWT_ALGORITHMS names algorithms of one family: RS256 RS384 RS512 PS256 PS384 PS512,"
            f" or ES256 ES384 ES512, or EdDSA, or HS256 HS384 HS512; not {' '.join(names) or 'none'}."
        )
    return found


def are_symmetric(algorithms: frozenset[str]) -> bool:
    """Whether they take a secret that both sides share."""
    return algorithms <= _SECRET_BYTES.keys()


def from_pem(text: str, algorithms: frozenset[str]) -> VerificationKey:
    """A public key in PEM. Raises ``ConfigurationError``, which does not hold the text."""
    try:
        material = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError(
            "KEEPSAY_JWT_KEY is a public key in PEM (-----BEGIN PUBLIC KEY-----), or the absolute path of its file."
        ) from None
    key = _key(material, algorithms)
    if key is None:
        raise ConfigurationError(
            f"KEEPSAY_JWT_KEY does not fit {' '.join(sorted(algorithms))}; RSA keys have 2,048 to 8,192 bits."
        )
    return key


def from_secret(text: str, algorithms: frozenset[str]) -> VerificationKey:
    """A secret for HS*, as long as the longest hash in use. Raises ``ConfigurationError``, without the secret."""
    wanted = max(_SECRET_BYTES[name] for name in algorithms)
    secret = text.encode()
    if len(secret) < wanted:
        raise ConfigurationError(
            f"KEEPSAY_JWT_KEY has at least {wanted} bytes for {' '.join(sorted(algorithms))}; it has {len(secret)}."
        )
    try:
        jwt.get_algorithm_by_name("HS256").prepare_key(secret)
    except jwt.InvalidKeyError:
        raise ConfigurationError("KEEPSAY_JWT_KEY is a secret for HS*, and not somebody's public key.") from None
    return VerificationKey(secret, algorithms)


def from_jwk(jwk: JsonObject, algorithms: frozenset[str]) -> VerificationKey | None:
    """The key of a JSON Web Key; ``None`` unless it is a public one, to verify with one of these algorithms.

    Shared secrets are left out, for no issuer may publish one; so are private keys, which are public by now
    (and take long to build).
    """
    said = jwk.get("alg")
    reader = _READERS.get(str(jwk.get("kty")))
    if reader is None or "d" in jwk or not _is_to_verify(jwk) or not _has_sane_id(jwk):
        return None
    try:
        material = jwt.PyJWK(jwk, reader).key
    except (jwt.PyJWTError, UnsupportedAlgorithm):
        return None
    return _key(material, algorithms if said is None else algorithms & {str(said)})


def _is_to_verify(jwk: JsonObject) -> bool:
    operations = jwk.get("key_ops", ["verify"])
    return jwk.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def _has_sane_id(jwk: JsonObject) -> bool:
    key_id = jwk.get("kid", "")
    return isinstance(key_id, str) and len(key_id) <= KEY_ID_CHARS


def _key(material: object, algorithms: frozenset[str]) -> VerificationKey | None:
    if not isinstance(material, PublicKey):
        return None
    fitting = algorithms & _algorithms_of(material)
    return VerificationKey(material, fitting) if fitting else None


def _algorithms_of(key: PublicKey) -> frozenset[str]:
    if isinstance(key, rsa.RSAPublicKey):
        return _RSA if key.key_size in _RSA_BITS else frozenset()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return frozenset({_CURVES[key.curve.name]} if key.curve.name in _CURVES else ())
    return _EDWARDS
