"""Tokens as an issuer makes them, and as attackers do: byte for byte."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.requests import HTTPConnection

from keepsay.errors import KeepsayError
from keepsay.server.auth import Authenticator, Identity
from keepsay.server.problems import problem_response
from keepsay.server.refusals import Unauthenticated

ISSUER = "https://issuer.example/"
AUDIENCE = "https://keepsay.example/"
KID = "2026-01"

Json = dict[str, Any]


@cache
def rsa_key(bits: int = 2048, _which: int = 0) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(curve: type[ec.EllipticCurve] = ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve())


@cache
def edwards_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def pem(key: Any) -> str:
    text: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


def jwk(key: Any, kid: str | None = KID, **more: object) -> Json:
    """The public half as issuers publish it."""
    readers = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256", ed25519.Ed25519PrivateKey: "EdDSA"}
    name = next(name for kind, name in readers.items() if isinstance(key, kind))
    found: Json = jwt.get_algorithm_by_name(name).to_jwk(key.public_key(), as_dict=True)
    found.pop("key_ops", None)
    return found | ({} if kid is None else {"kid": kid}) | more


def encoded(part: bytes | Json) -> bytes:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def signed(header: bytes | Json, payload: bytes | Json, key: Any, alg: str = "RS256") -> str:
    """A token of exactly these parts."""
    text = encoded(header) + b"." + encoded(payload)
    return (text + b"." + encoded(jwt.get_algorithm_by_name(alg).sign(text, key))).decode()


def claims(**changed: object) -> Json:
    """Good claims, some of them changed; ``None`` leaves one out."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": now - 10, "exp": now + 600}
    return {name: value for name, value in (good | changed).items() if value is not None}


@dataclass(frozen=True)
class Maker:
    """Makes tokens of one key. What is not changed is good."""

    key: Any = field(default_factory=rsa_key)
    alg: str = "RS256"
    kid: str | None = KID

    def header(self, **changed: object) -> Json:
        good = {"alg": self.alg, "typ": "JWT", "kid": self.kid}
        return {name: value for name, value in (good | changed).items() if value is not None}

    def token(self, header: Json | bytes | None = None, payload: Json | bytes | None = None) -> str:
        header = self.header() if header is None else header
        return signed(header, claims() if payload is None else payload, self.key, self.alg)

    def claiming(self, **changed: object) -> str:
        """A token with good claims but for these."""
        return self.token(payload=claims(**changed))

    def headed(self, **changed: object) -> str:
        """A token with a good header but for these."""
        return self.token(header=self.header(**changed))


def asking(*headers: tuple[str, str | bytes]) -> HTTPConnection:
    """A request with these headers."""
    raw = [
        (name.lower().encode(), value if isinstance(value, bytes) else value.encode("latin-1"))
        for name, value in headers
    ]
    return HTTPConnection({"type": "http", "method": "POST", "path": "/", "headers": raw})


def bearing(token: str) -> HTTPConnection:
    return asking(("Authorization", f"Bearer {token}"))


async def refusal(auth: Authenticator, connection: HTTPConnection) -> bytes:
    """The body of the 401. Anything else fails the test."""
    try:
        found: Identity = await auth.identify(connection)
    except Unauthenticated as error:
        return _body_of_401(error)
    raise AssertionError(f"let in as {found}")


def _body_of_401(error: KeepsayError) -> bytes:
    answer = problem_response(error, "POST")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    return bytes(answer.body)
