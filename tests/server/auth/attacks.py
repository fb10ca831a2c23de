"""The table of hostile tokens: each is a request's ``Authorization`` headers, made anew for each test."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from .tokens import (
    AUDIENCE,
    ISSUER,
    KID,
    Maker,
    claims,
    ec_key,
    edwards_key,
    encoded,
    jwk,
    pem,
    rsa_key,
    signed,
)

Attack = Callable[[Maker], list[str]]

OTHER = rsa_key(2048, 1)
"""The attacker's own key."""

DAY = 24 * 3600


def _bearer(make: Callable[[Maker], str]) -> Attack:
    return lambda good: [f"Bearer {make(good)}"]


def _claiming(**changed: object) -> Attack:
    return _bearer(lambda good: good.claiming(**changed))


def _at(change: Callable[[int], dict[str, object]]) -> Attack:
    """Claims that hang on the time at which the token is made."""
    return _bearer(lambda good: good.claiming(**change(int(time.time()))))


def _headed(**changed: object) -> Attack:
    return _bearer(lambda good: good.headed(**changed))


def _payload(change: Callable[[bytes], bytes]) -> Attack:
    """The good claims as a text, changed, and well signed."""
    return _bearer(lambda good: good.token(payload=change(json.dumps(claims()).encode())))


def _parts(change: Callable[[list[str]], list[str]]) -> Attack:
    """The parts of a good token, changed after it was signed."""
    return _bearer(lambda good: ".".join(change(good.token().split("."))))


def _unsigned(alg: str) -> Attack:
    return _bearer(lambda good: (encoded(good.header(alg=alg)) + b"." + encoded(claims()) + b".").decode())


def _by_secret(secret: Callable[[], bytes], alg: str = "HS256") -> Attack:
    """Signed with something public as if it were a shared secret."""

    def make(good: Maker) -> str:
        text = encoded(good.header(alg=alg)) + b"." + encoded(claims())
        return (text + b"." + encoded(hmac.digest(secret(), text, hashlib.sha256))).decode()

    return _bearer(make)


def _own_key(**header: object) -> Attack:
    """Signed with the attacker's key, which the header brings along or points at."""
    return _bearer(lambda good: signed(good.header(**header), claims(), OTHER))


def _loose_bits(parts: list[str]) -> list[str]:
    """The same signature in another spelling: unused bits of the last character set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = parts[2][-1]  # 256 bytes: the last character holds 4 unused bits
    return [*parts[:2], parts[2][:-1] + alphabet[alphabet.index(last) | 1]]


def _padded(parts: list[str]) -> list[str]:
    return [*parts[:2], parts[2] + "=="]


def _standard_alphabet(good: Maker) -> str:
    """Written with ``+`` and ``/``, as a lenient decoder would take it."""
    token = good.headed(x="~~~???>>>")
    assert "-" in token.partition(".")[0] or "_" in token.partition(".")[0]
    return token.replace("-", "+").replace("_", "/")


def _encrypted(good: Maker) -> str:
    header = encoded({"alg": "RSA-OAEP", "enc": "A256GCM", "kid": KID}).decode()
    return ".".join([header, *(encoded(bytes([n]) * 16).decode() for n in range(4))])


def _psychic(good: Maker) -> str:
    """CVE-2022-21449: r = s = 0 verifies anything, in a broken verifier."""
    text = encoded(good.header(alg="ES256")) + b"." + encoded(claims())
    return (text + b"." + encoded(bytes(64))).decode()


def _swapped(good: Maker) -> str:
    """One token's signature under another's claims."""
    mine, theirs = good.claiming(sub="mallory").split("."), good.claiming(sub="ada").split(".")
    return ".".join([*theirs[:2], mine[2]])


def _twice(good: Maker) -> list[str]:
    return [f"Bearer {good.token()}", f"Bearer {good.token()}"]


ATTACKS: dict[str, Attack] = {
    # the header of the request
    "no header": lambda good: [],
    "an empty header": lambda good: [""],
    "the scheme alone": lambda good: ["Bearer"],
    "the scheme and a blank": lambda good: ["Bearer "],
    "another scheme": lambda good: [f"Basic {good.token()}"],
    "no scheme": lambda good: [good.token()],
    "two headers": _twice,
    "two tokens in one header": lambda good: [f"Bearer {good.token()}, Bearer {good.token()}"],
    "two blanks": lambda good: [f"Bearer  {good.token()}"],
    "a tab": lambda good: [f"Bearer\t{good.token()}"],
    "a blank behind": lambda good: [f"Bearer {good.token()} "],
    "a line end behind": lambda good: [f"Bearer {good.token()}\n"],
    "a blank within": lambda good: [f"Bearer {good.token().replace('.', ' .', 1)}"],
    "a NUL behind": lambda good: [f"Bearer {good.token()}\0"],
    "quotes": lambda good: [f'Bearer "{good.token()}"'],
    # the form of the token
    "nonsense": _bearer(lambda good: "nonsense"),
    "over 8 KB": _bearer(lambda good: good.claiming(x="x" * 8192)),
    "two parts": _parts(lambda parts: parts[:2]),
    "four parts": _parts(lambda parts: [*parts, parts[2]]),
    "an empty part before": _parts(lambda parts: ["", *parts]),
    "JWE": _bearer(_encrypted),
    "padded base64": _parts(_padded),
    "another spelling of the signature": _parts(_loose_bits),
    "the standard alphabet": _bearer(_standard_alphabet),
    "a character outside the alphabet": _parts(lambda parts: [parts[0] + "!", *parts[1:]]),
    "a part of impossible length": _parts(lambda parts: [*parts[:2], parts[2] + "AAA"]),
    "JSON serialization": _bearer(
        lambda good: json.dumps(dict(zip(("protected", "payload", "signature"), good.token().split("."), strict=True)))
    ),
    "a nested token": _bearer(lambda good: good.token(payload=good.token().encode())),
    "a nested token that says so": _bearer(
        lambda good: good.token(header=good.header(cty="JWT"), payload=good.token().encode())
    ),
    "a header that is no object": _bearer(lambda good: good.token(header=b'["RS256"]')),
    "a header that is not JSON": _bearer(lambda good: good.token(header=b"{alg:RS256}")),
    "a header that is not UTF-8": _bearer(lambda good: good.token(header=b'{"alg":"RS256","x":"\xff"}')),
    "a deep header": _bearer(lambda good: good.token(header=b'{"alg":"RS256","x":' + b"[" * 2500 + b"]" * 2500 + b"}")),
    "claims that are no object": _bearer(lambda good: good.token(payload=b'"ada"')),
    "claims that are not JSON": _bearer(lambda good: good.token(payload=b"ada")),
    "alg twice": _bearer(lambda good: good.token(header=b'{"alg":"none","alg":"RS256","kid":"2026-01"}')),
    "sub twice": _payload(lambda text: text.replace(b'"sub"', b'"sub": "root", "sub"', 1)),
    "exp twice": _payload(lambda text: text.replace(b'"exp"', b'"exp": 1, "exp"', 1)),
    # the algorithm and the signature
    "alg none": _unsigned("none"),
    "alg None": _unsigned("None"),
    "alg NONE": _unsigned("NONE"),
    "alg nOnE": _unsigned("nOnE"),
    "alg none over a good signature": _headed(alg="none"),
    "no alg": _headed(alg=None),
    "alg null": _bearer(lambda good: good.token(header=b'{"alg":null,"kid":"2026-01"}')),
    "alg a number": _headed(alg=256),
    "alg a list": _headed(alg=["RS256"]),
    "alg in another case": _headed(alg="rs256"),
    "alg unknown": _headed(alg="RS257"),
    "alg of the family, not allowed": _bearer(
        lambda good: signed(good.header(alg="PS256"), claims(), good.key, "PS256")
    ),
    "another family's alg": _bearer(lambda good: signed(good.header(alg="ES256"), claims(), ec_key(), "ES256")),
    "EdDSA": _bearer(lambda good: signed(good.header(alg="EdDSA"), claims(), edwards_key(), "EdDSA")),
    "psychic signature": _bearer(_psychic),
    "the public PEM as a secret": _by_secret(lambda: pem(rsa_key()).encode()),
    "the public PEM as a secret, stripped": _by_secret(lambda: pem(rsa_key()).strip().encode()),
    "the public PEM as a secret, said to be RS256": _by_secret(lambda: pem(rsa_key()).encode(), "RS256"),
    "the JWK as a secret": _by_secret(lambda: json.dumps(jwk(rsa_key())).encode()),
    "the modulus as a secret": _by_secret(lambda: jwk(rsa_key())["n"].encode()),
    "an empty secret": _by_secret(lambda: b""),
    "no signature": _parts(lambda parts: [*parts[:2], ""]),
    "half a signature": _parts(lambda parts: [*parts[:2], parts[2][:100]]),
    "a signature of zeros": _parts(lambda parts: [*parts[:2], encoded(bytes(256)).decode()]),
    "claims changed after signing": _parts(lambda parts: [parts[0], encoded(claims(sub="root")).decode(), parts[2]]),
    "another token's signature": _bearer(_swapped),
    "another key's signature": _own_key(),
    "an RSA key of 1024 bits": _bearer(lambda good: signed(good.header(kid="weak"), claims(), rsa_key(1024))),
    # keys that the token brings along
    "jwk": _own_key(jwk=jwk(OTHER)),
    "jwk under another kid": _own_key(jwk=jwk(OTHER, "mine"), kid="mine"),
    "jwk without kid": _own_key(jwk=jwk(OTHER, None), kid=None),
    "jku": _own_key(jku="http://127.0.0.1:1/jwks.json"),
    "jku under another kid": _own_key(jku="http://127.0.0.1:1/jwks.json", kid="mine"),
    "x5u": _own_key(x5u="http://127.0.0.1:1/cert.pem"),
    "x5c": _own_key(x5c=[base64.b64encode(pem(OTHER).encode()).decode()]),
    # the kid
    "kid a number": _headed(kid=1),
    "kid a list": _headed(kid=[KID]),
    "kid null": _bearer(lambda good: good.token(header=b'{"alg":"RS256","kid":null}')),
    "kid empty": _headed(kid=""),
    "kid a path": _headed(kid="../../../../dev/null"),
    "kid a path, signed with what is there": _by_secret(lambda: b"\0"),
    "kid SQL": _headed(kid="x' UNION SELECT 'secret' --"),
    "kid with NUL": _headed(kid=f"{KID}\0"),
    "kid huge": _headed(kid="k" * 4000),
    "kid unknown": _headed(kid="2025-12"),
    # other parameters of the header
    "crit unknown": _headed(crit=["x"], x=1),
    "crit empty": _headed(crit=[]),
    "crit with a known name": _headed(crit=["exp"], exp=1),
    "b64 false": _headed(b64=False, crit=["b64"]),
    "b64 false, not critical": _headed(b64=False),
    "zip": _headed(zip="DEF"),
    "typ of a logout token": _headed(typ="logout+jwt"),
    "typ of a DPoP proof": _headed(typ="dpop+jwt"),
    "typ a number": _headed(typ=1),
    # whose it is and for whom
    "no iss": _claiming(iss=None),
    "another iss": _claiming(iss="https://evil.example/"),
    "iss with something behind": _claiming(iss=f"{ISSUER}evil"),
    "iss without its slash": _claiming(iss=ISSUER.rstrip("/")),
    "iss in another case": _claiming(iss=ISSUER.upper()),
    "iss a list": _claiming(iss=[ISSUER]),
    "no aud": _claiming(aud=None),
    "another aud": _claiming(aud="https://other.example/"),
    "aud empty": _claiming(aud=""),
    "aud an empty list": _claiming(aud=[]),
    "aud for others too": _claiming(aud=[AUDIENCE, "https://other.example/"]),
    "aud an object": _claiming(aud={AUDIENCE: True}),
    "aud with something behind": _claiming(aud=f"{AUDIENCE}x"),
    # when it is valid
    "no exp": _claiming(exp=None),
    "no iat": _claiming(iat=None),
    "expired": _at(lambda now: {"exp": now - 60, "iat": now - 600}),
    "issued in the future": _at(lambda now: {"iat": now + 120}),
    "not yet valid": _at(lambda now: {"nbf": now + 120}),
    "nbf a text": _claiming(nbf="0"),
    "valid for longer than a day": _at(lambda now: {"exp": now + DAY + 60}),
    "exp 10^18": _claiming(exp=10**18),
    "exp 10^30": _claiming(exp=10**30),
    "exp 1e400": _payload(lambda text: text.replace(b'"exp": ', b'"exp": 1e400, "was": ', 1)),
    "exp of 5,000 digits": _payload(lambda text: text.replace(b'"exp": ', b'"exp": ' + b"9" * 5000 + b', "was": ', 1)),
    "exp NaN": _payload(lambda text: text.replace(b'"exp": ', b'"exp": NaN, "was": ', 1)),
    "exp Infinity": _payload(lambda text: text.replace(b'"exp": ', b'"exp": Infinity, "was": ', 1)),
    "exp a text": _at(lambda now: {"exp": str(now + 600)}),
    "exp true": _claiming(exp=True),
    "exp null": _payload(lambda text: text.replace(b'"exp": ', b'"exp": null, "was": ', 1)),
    "exp negative": _claiming(exp=-1),
    "exp before iat": _at(lambda now: {"exp": now - 20, "iat": now - 10}),
    "iat 0": _claiming(iat=0),
    "iat negative": _claiming(iat=-(10**9)),
    "iat a text": _claiming(iat="now"),
    "iat false": _claiming(iat=False),
    # who it is
    "no sub": _claiming(sub=None),
    "sub empty": _claiming(sub=""),
    "sub a number": _claiming(sub=1),
    "sub a list": _claiming(sub=["ada"]),
    "sub true": _claiming(sub=True),
    "sub with NUL": _claiming(sub="ada\0"),
    "sub with a control character": _claiming(sub="ada\x7f"),
    "sub with a line end": _claiming(sub="ada\n"),
    "sub not normalised": _claiming(sub="zoe\u0308"),
    "sub half a surrogate pair": _claiming(sub="ada\ud800"),
    "sub of 256 bytes": _claiming(sub="x" * 256),
    "sub of 256 bytes in 128 characters": _claiming(sub="\u00eb" * 128),
    "sub of a megabyte": _claiming(sub="x" * 10**6),
    "sub with a slash": _claiming(sub="tenant/ada"),
    "sub .": _claiming(sub="."),
    "sub ..": _claiming(sub=".."),
}  # fmt: skip


def _lenient(token: str, **more: Any) -> Any:
    """What a caller of PyJWT gets who names key, algorithm, issuer and audience and leaves the rest to its defaults."""
    return jwt.decode(token, rsa_key().public_key(), algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER, **more)


ACCEPTED_BY_DEFAULT = (
    "sub empty",
    "sub with NUL",
    "sub not normalised",
    "sub with a slash",
    "sub ..",
    "sub of a megabyte",
    "sub twice",
    "exp twice",
    "exp 10^18",
    "exp 10^30",
    "exp a text",
    "no exp",
    "no iat",
    "no sub",
    "aud for others too",
    "valid for longer than a day",
    "iat 0",
    "typ of a logout token",
    "alg twice",
    "kid huge",
    "over 8 KB",
    "padded base64",
    "jku and a good signature",
)


def default_verdict(attack: str) -> Any:
    """The claims that PyJWT's defaults find in an attack's token. Raises what they raise."""
    if attack == "jku and a good signature":
        return _lenient(Maker().headed(jku="http://127.0.0.1:1/jwks.json"))
    [header] = ATTACKS[attack](Maker())
    return _lenient(header.removeprefix("Bearer "))


CURVES: dict[str, type[ec.EllipticCurve]] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
