"""Auth ``jwt``: the table of attacks, what is accepted, and that nothing is told (rows of OWASP API2, RFC 8725)."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from pydantic import SecretStr

from keepsay.server.auth import JwtAuth, authenticator
from keepsay.server.auth.claims import LEEWAY_SECONDS, LIFETIME_SECONDS, Rules
from keepsay.server.auth.jwks import Jwks
from keepsay.server.auth.jwt import StaticKey
from keepsay.server.auth.keys import VerificationKey, from_pem
from keepsay.server.auth.tokens import TokenRefused, parse_token
from keepsay.server.refusals import Unauthenticated
from keepsay.server.settings import JwtSettings, Settings

from .attacks import ACCEPTED_BY_DEFAULT, ATTACKS, CURVES, default_verdict
from .tokens import (
    AUDIENCE,
    ISSUER,
    Maker,
    asking,
    bearing,
    claims,
    ec_key,
    edwards_key,
    encoded,
    jwk,
    pem,
    refusal,
    rsa_key,
)

RS256 = frozenset({"RS256"})
NOW = 1_800_000_000


def rules(*algorithms: str, type: str | None = None) -> Rules:  # noqa: A002 - the setting's word
    return Rules(ISSUER, AUDIENCE, frozenset(algorithms or RS256), type)


async def _document() -> bytes:
    """The good key, and one too weak to be used."""
    return json.dumps({"keys": [jwk(rsa_key()), jwk(rsa_key(1024), "weak")]}).encode()


def by_jwks() -> JwtAuth:
    return JwtAuth(rules(), Jwks(_document, RS256))


def by_static_key(now: Callable[[], float] = time.time, *, type: str | None = None) -> JwtAuth:  # noqa: A002
    return JwtAuth(rules(type=type), StaticKey(from_pem(pem(rsa_key()), RS256)), now=now)


@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_attack_is_refused_and_learns_nothing(attack: str) -> None:
    headers = [("Authorization", text) for text in ATTACKS[attack](Maker())]
    assert await refusal(by_jwks(), asking(*headers)) == await refusal(by_jwks(), asking())


async def test_the_control_of_the_attacks_is_let_in() -> None:
    """The same maker, key and issuer, untouched: so what is refused is refused for its attack."""
    found = await by_jwks().identify(bearing(Maker().token()))
    assert (found.user_id, found.otherwise, found.is_operator) == ("ada", None, False)


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len(ATTACKS) >= 45


@pytest.mark.parametrize("attack", ACCEPTED_BY_DEFAULT)
def test_a_library_by_its_defaults_would_have_accepted_it(attack: str) -> None:
    """Control: these attacks carry a good signature, and our own rules are what stops them."""
    assert isinstance(default_verdict(attack), dict)


def test_a_library_by_its_defaults_would_have_accepted_a_weak_key() -> None:
    token = Maker(rsa_key(1024)).token()
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        assert jwt.decode(token, rsa_key(1024).public_key(), algorithms=["RS256"], audience=AUDIENCE)


STATIC_KEY_ACCEPTS = {"kid empty", "kid a path", "kid SQL", "kid with NUL", "kid unknown"}
"""With one key there is nothing to look up, so a ``kid`` of another name does not matter."""


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_static_key_is_as_strict(attack: str) -> None:
    connection = asking(*(("Authorization", text) for text in ATTACKS[attack](Maker())))
    if attack in STATIC_KEY_ACCEPTS:
        assert (await by_static_key().identify(connection)).user_id == "ada"
    else:
        await refusal(by_static_key(), connection)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_each_part_has_one_spelling(number: int) -> None:
    """Before any library is asked: ``AB`` and ``AA`` are the same byte, and one of them is refused."""
    parts = ["e30", "AA", "AA"]
    assert parse_token(".".join(parts)).header == {}
    parts[number] = "e31" if number == 0 else "AB"
    with pytest.raises(TokenRefused, match="base64"):
        parse_token(".".join(parts))


# What is accepted.


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_has_no_case(scheme: str) -> None:
    assert (await by_jwks().identify(asking(("Authorization", f"{scheme} {Maker().token()}")))).user_id == "ada"


@pytest.mark.parametrize(
    "sub",
    [
        "x",
        "x" * 255,
        "zo\u00eb",
        "tenant:ada",
        "auth0|5f7c8ec7c33c6c004bbafe82",
        "ada@example.com",
        "\U0001f600",
        "a b",
    ],
)
async def test_a_subject_is_the_user_to_the_letter(sub: str) -> None:
    assert (await by_jwks().identify(bearing(Maker().claiming(sub=sub)))).user_id == sub


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": [AUDIENCE]},
        {"nbf": 1},
        {"iat": claims()["iat"] + 0.5},
        {"jti": "1", "azp": "app", "scope": "openid", "x": {"deep": [1, None]}},
        {"cnf": {"jkt": "x"}},
    ],
)
async def test_claims_as_issuers_make_them_are_accepted(changed: dict[str, object]) -> None:
    assert (await by_jwks().identify(bearing(Maker().claiming(**changed)))).user_id == "ada"


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "at+jwt", "application/at+jwt", "application/JWT"])
async def test_types_of_access_tokens_are_accepted(typ: str | None) -> None:
    assert (await by_jwks().identify(bearing(Maker().headed(typ=typ)))).user_id == "ada"


async def test_a_configured_type_is_required() -> None:
    """RFC 9068, section 4: an id token of the same issuer and audience is no access token."""
    auth = by_static_key(type="at+jwt")
    for typ in ("at+jwt", "AT+JWT", "application/at+jwt"):
        assert (await auth.identify(bearing(Maker().headed(typ=typ)))).user_id == "ada"
    for other in (None, "JWT", "", 1):
        await refusal(auth, bearing(Maker().headed(typ=other)))


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c", "x5t"])
async def test_a_key_that_a_good_token_points_at_is_not_looked_at(name: str) -> None:
    """Issuers do send these; the key is still the configured one, and nothing is fetched (this port refuses)."""
    token = Maker().headed(**{name: "http://127.0.0.1:1/"})
    assert (await by_jwks().identify(bearing(token))).user_id == "ada"


async def test_a_token_of_8_kilobytes_is_accepted_and_one_more_byte_is_not() -> None:
    for over in (False, True):
        token = _of_length(8192 + over)
        if over:
            await refusal(by_jwks(), bearing(token))
        else:
            assert (await by_jwks().identify(bearing(token))).user_id == "ada"


def _of_length(wanted: int) -> str:
    """Base64 skips a length now and then, so both parts are tried."""
    for filling in range(5_500, 6_500):
        for more in ({}, {"y": "1"}, {"y": "12"}):
            header, payload = Maker().header(**more), claims(x="x" * filling)
            if len(encoded(header)) + len(encoded(payload)) + len(encoded(bytes(256))) + 2 == wanted:
                return Maker().token(header, payload)
    raise AssertionError("no such token")


# Time, with a clock that stands still.


@pytest.mark.parametrize(
    ("changed", "accepted"),
    [
        ({"exp": NOW - LEEWAY_SECONDS + 1}, True),
        ({"exp": NOW - LEEWAY_SECONDS}, False),
        ({"iat": NOW + LEEWAY_SECONDS}, True),
        ({"iat": NOW + LEEWAY_SECONDS + 1}, False),
        ({"nbf": NOW + LEEWAY_SECONDS}, True),
        ({"nbf": NOW + LEEWAY_SECONDS + 1}, False),
        ({"iat": NOW, "exp": NOW + LIFETIME_SECONDS}, True),
        ({"iat": NOW, "exp": NOW + LIFETIME_SECONDS + 1}, False),
        ({"iat": NOW, "exp": NOW}, False),
        ({"nbf": True}, False),
        ({"nbf": None}, True),
    ],
)
async def test_times_are_judged_to_the_second(changed: dict[str, object], accepted: bool) -> None:
    auth = by_static_key(lambda: float(NOW))
    connection = bearing(Maker().claiming(**{"iat": NOW - 100, "exp": NOW + 600, **changed}))
    if accepted:
        assert (await auth.identify(connection)).user_id == "ada"
    else:
        await refusal(auth, connection)


# Families of algorithms.


MAKERS = {
    **{f"RS{bits}": (rsa_key(), f"RS{bits}") for bits in (256, 384, 512)},
    **{f"PS{bits}": (rsa_key(), f"PS{bits}") for bits in (256, 384, 512)},
    **{name: (ec_key(curve), name) for name, curve in CURVES.items()},
    "EdDSA": (edwards_key(), "EdDSA"),
}


@pytest.mark.parametrize("name", MAKERS)
async def test_each_asymmetric_algorithm_verifies_its_own_tokens_alone(name: str) -> None:
    key, alg = MAKERS[name]
    auth = JwtAuth(rules(alg), StaticKey(from_pem(pem(key), frozenset({alg}))))
    assert (await auth.identify(bearing(Maker(key, alg).token()))).user_id == "ada"
    for other, (theirs, their_alg) in MAKERS.items():
        if other != name:
            await refusal(auth, bearing(Maker(theirs, their_alg).token()))
            await refusal(auth, bearing(Maker(theirs, their_alg).headed(alg=alg)))


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
async def test_a_shared_secret_verifies_its_own_tokens_alone(alg: str) -> None:
    settings = JwtSettings(ISSUER, AUDIENCE, key=SecretStr("s" * 64), algorithms=(alg,))
    auth = authenticator(Settings(auth="jwt", jwt=settings))
    assert (await auth.identify(bearing(Maker(b"s" * 64, alg).token()))).user_id == "ada"
    await refusal(auth, bearing(Maker(b"t" * 64, alg).token()))
    await refusal(auth, bearing(Maker(b"s" * 63, alg).token()))
    await refusal(auth, bearing(Maker(rsa_key(), "RS256").token()))


@pytest.mark.parametrize("r_and_s", [(0, 0), (0, 1), (1, 0), (2**256 - 1, 1)])
async def test_psychic_signatures_verify_nothing(r_and_s: tuple[int, int]) -> None:
    """CVE-2022-21449, against a verifier that does take ES256."""
    auth = JwtAuth(rules("ES256"), StaticKey(from_pem(pem(ec_key()), frozenset({"ES256"}))))
    good = Maker(ec_key(), "ES256").token()
    assert (await auth.identify(bearing(good))).user_id == "ada"
    forged = encoded(b"".join(number.to_bytes(32) for number in r_and_s)).decode()
    await refusal(auth, bearing(".".join([*good.split(".")[:2], forged])))


async def test_a_key_never_verifies_what_it_is_not_for() -> None:
    """Both algorithms are allowed, but the issuer said what this key is for."""

    async def document() -> bytes:
        return json.dumps({"keys": [jwk(rsa_key(), alg="PS256")]}).encode()

    both = frozenset({"RS256", "PS256"})
    auth = JwtAuth(rules(*both), Jwks(document, both))
    assert (await auth.identify(bearing(Maker(rsa_key(), "PS256").token()))).user_id == "ada"
    await refusal(auth, bearing(Maker(rsa_key(), "RS256").token()))


async def test_the_weak_keys_check_does_not_hang_on_how_the_key_came() -> None:
    """Control and second wall: even a weak key that got past our own check verifies nothing."""
    weak = VerificationKey(rsa_key(1024).public_key(), RS256)
    await refusal(JwtAuth(rules(), StaticKey(weak)), bearing(Maker(rsa_key(1024)).token()))


def test_curves_and_edwards_keys_that_no_algorithm_takes_are_not_keys() -> None:
    for key in (ec.generate_private_key(ec.SECP256K1()), ec.generate_private_key(ec.SECP224R1())):
        with pytest.raises(Exception, match="KEEPSAY_JWT_KEY does not fit"):
            from_pem(pem(key), frozenset({"ES256"}))
    assert from_pem(pem(ed448.Ed448PrivateKey.generate()), frozenset({"EdDSA"})).algorithms == {"EdDSA"}


# Operators.


SCOPE = "keepsay:operator"


@pytest.mark.parametrize(
    ("scopes", "is_operator"),
    [
        ({"scope": SCOPE}, True),
        ({"scope": f"openid {SCOPE} x"}, True),
        ({"scp": ["x", SCOPE]}, True),
        ({"scp": f"x {SCOPE}"}, True),
        ({"scopes": [SCOPE]}, True),
        ({}, False),
        ({"scope": "openid"}, False),
        ({"scope": f"{SCOPE}s"}, False),
        ({"scope": SCOPE.upper()}, False),
        ({"scope": f"x,{SCOPE}"}, False),
        ({"scope": {SCOPE: True}}, False),
        ({"scope": True}, False),
        ({"scp": [[SCOPE]]}, False),
        ({"scp": [None, 1, True]}, False),
        ({"roles": [SCOPE]}, False),
    ],
)
async def test_a_scope_makes_an_operator_where_operators_are_on(scopes: dict[str, object], is_operator: bool) -> None:
    settings = JwtSettings(ISSUER, AUDIENCE, key=SecretStr(pem(rsa_key())))
    for operators in (True, False):
        auth = authenticator(Settings(auth="jwt", jwt=settings, operators=operators))
        found = await auth.identify(bearing(Maker().claiming(**scopes)))
        assert (found.user_id, found.is_operator) == ("ada", is_operator and operators)


async def test_headers_for_other_ways_to_know_users_change_nothing() -> None:
    token = f"Bearer {Maker().token()}"
    found = await by_jwks().identify(
        asking(("Authorization", token), ("X-Keepsay-User", "root"), ("X-Keepsay-Operator", "true"))
    )
    assert (found.user_id, found.is_operator) == ("ada", False)


# What is told, and to whom.


async def test_the_log_names_the_reason_at_debug_level_and_never_the_token(caplog: pytest.LogCaptureFixture) -> None:
    token = Maker().claiming(sub="canary/4711")
    with caplog.at_level(logging.DEBUG):
        await refusal(by_jwks(), bearing(token))
    [record] = [record for record in caplog.records if record.name == "keepsay.server.auth"]
    assert record.getMessage() == "a token was refused for its sub"
    assert record.levelno == logging.DEBUG
    assert "canary" not in caplog.text
    assert token not in caplog.text


async def test_a_refusal_holds_no_token_in_its_causes() -> None:
    """What a logged traceback would show."""
    token = Maker().headed(alg="none")
    with pytest.raises(Unauthenticated) as caught:
        await by_jwks().identify(bearing(token))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert token not in repr(caught.value)
