"""From settings to the way to know users: what is wrong is named before anything listens, and no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from keepsay.errors import ConfigurationError
from keepsay.server.auth import DevAuth, JwtAuth, ServiceAuth, authenticator, check_bind
from keepsay.server.settings import Settings

from .tokens import AUDIENCE, ISSUER, Maker, asking, bearing, ec_key, jwk, pem, rsa_key

JWT = {"KEEPSAY_AUTH": "jwt", "KEEPSAY_JWT_ISSUER": ISSUER, "KEEPSAY_JWT_AUDIENCE": AUDIENCE}
WITH_KEY = JWT | {"KEEPSAY_JWT_KEY": pem(rsa_key())}
SECRET = "canary-" + "s" * 60
HS = JWT | {"KEEPSAY_JWT_ALGORITHMS": "HS256", "KEEPSAY_JWT_KEY": SECRET}
SERVICE = {"KEEPSAY_AUTH": "service", "KEEPSAY_SERVICE_KEYS": f"{'k' * 32}, {'n' * 32}"}


def chosen(environment: dict[str, str]) -> object:
    return authenticator(Settings.from_environment(environment))


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({}, DevAuth),
        ({"KEEPSAY_AUTH": "dev"}, DevAuth),
        (WITH_KEY, JwtAuth),
        (HS, JwtAuth),
        (JWT | {"KEEPSAY_JWKS_URL": "https://issuer.example/jwks"}, JwtAuth),
        (WITH_KEY | {"KEEPSAY_JWT_ALGORITHMS": "RS256,RS512 PS256"}, JwtAuth),
        (SERVICE, ServiceAuth),
        (SERVICE | {"KEEPSAY_OPERATORS": "on", "KEEPSAY_OPERATOR_KEYS": "o" * 32}, ServiceAuth),
    ],
)
def test_the_setting_chooses_the_way(environment: dict[str, str], kind: type) -> None:
    assert type(chosen(environment)) is kind


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"KEEPSAY_AUTH": "none"}, "KEEPSAY_AUTH"),
        ({"KEEPSAY_AUTH": "jwt"}, "KEEPSAY_JWT_ISSUER"),
        ({"KEEPSAY_AUTH": "jwt", "KEEPSAY_JWT_ISSUER": ISSUER}, "KEEPSAY_JWT_AUDIENCE"),
        (JWT, "KEEPSAY_JWKS_URL or KEEPSAY_JWT_KEY"),
        (WITH_KEY | {"KEEPSAY_JWKS_URL": "https://issuer.example/"}, "either KEEPSAY_JWKS_URL or KEEPSAY_JWT_KEY"),
        (JWT | {"KEEPSAY_JWKS_URL": "http://issuer.example/"}, "KEEPSAY_JWKS_URL"),
        (HS | {"KEEPSAY_JWT_KEY": "", "KEEPSAY_JWKS_URL": "https://issuer.example/"}, "KEEPSAY_JWKS_URL"),
        (WITH_KEY | {"KEEPSAY_JWT_ALGORITHMS": "none"}, "KEEPSAY_JWT_ALGORITHMS"),
        (WITH_KEY | {"KEEPSAY_JWT_ALGORITHMS": ","}, None),
        (WITH_KEY | {"KEEPSAY_JWT_ALGORITHMS": "RS256,HS256"}, "KEEPSAY_JWT_ALGORITHMS"),
        (WITH_KEY | {"KEEPSAY_JWT_ALGORITHMS": "RS256,ES256"}, "KEEPSAY_JWT_ALGORITHMS"),
        (WITH_KEY | {"KEEPSAY_JWT_ALGORITHMS": "ES256,EdDSA"}, "KEEPSAY_JWT_ALGORITHMS"),
        (WITH_KEY | {"KEEPSAY_JWT_ALGORITHMS": "rs256"}, "KEEPSAY_JWT_ALGORITHMS"),
        (WITH_KEY | {"KEEPSAY_JWT_ALGORITHMS": "ES256K"}, "KEEPSAY_JWT_ALGORITHMS"),
        (WITH_KEY | {"KEEPSAY_JWT_ALGORITHMS": "ES256"}, "KEEPSAY_JWT_KEY"),
        (WITH_KEY | {"KEEPSAY_JWT_KEY": pem(ec_key())}, "KEEPSAY_JWT_KEY"),
        (WITH_KEY | {"KEEPSAY_JWT_KEY": pem(rsa_key(1024))}, "KEEPSAY_JWT_KEY"),
        (WITH_KEY | {"KEEPSAY_JWT_KEY": SECRET}, "KEEPSAY_JWT_KEY"),
        (WITH_KEY | {"KEEPSAY_JWT_KEY": "/nowhere/key.pem"}, "KEEPSAY_JWT_KEY names a file"),
        (HS | {"KEEPSAY_JWT_KEY": "/run/secrets/" + "s" * 40}, "KEEPSAY_JWT_KEY names a file"),
        (HS | {"KEEPSAY_JWT_KEY": "s" * 31}, "KEEPSAY_JWT_KEY has at least 32 bytes"),
        (HS | {"KEEPSAY_JWT_ALGORITHMS": "HS256 HS512", "KEEPSAY_JWT_KEY": "s" * 63}, "at least 64 bytes"),
        (HS | {"KEEPSAY_JWT_KEY": pem(rsa_key())}, "KEEPSAY_JWT_KEY is a secret"),
        (HS | {"KEEPSAY_JWT_KEY": str(jwk(rsa_key())).replace("'", '"')}, "KEEPSAY_JWT_KEY is a secret"),
        ({"KEEPSAY_AUTH": "service"}, "KEEPSAY_SERVICE_KEYS"),
        (SERVICE | {"KEEPSAY_SERVICE_KEYS": SECRET[:31]}, "KEEPSAY_SERVICE_KEYS"),
        (SERVICE | {"KEEPSAY_OPERATOR_KEYS": "o" * 32}, "KEEPSAY_OPERATORS"),
        ({"KEEPSAY_OPERATORS": "yes"}, "KEEPSAY_OPERATORS"),
    ],
)
def test_what_is_missing_weak_or_contradictory_is_named(environment: dict[str, str], name: str | None) -> None:
    if name is None:
        assert chosen(environment), "no algorithms said: the default"
        return
    with pytest.raises(ConfigurationError, match=name) as caught:
        chosen(environment)
    assert "canary" not in str(caught.value)
    assert "BEGIN PUBLIC KEY-----\n" not in str(caught.value)


def test_a_private_key_is_not_taken_for_a_public_one() -> None:
    private = rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with pytest.raises(ConfigurationError, match="KEEPSAY_JWT_KEY is a public key"):
        chosen(JWT | {"KEEPSAY_JWT_KEY": private})


async def test_a_key_may_be_a_text_in_one_line_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(pem(rsa_key()))
    for text in (pem(rsa_key()), pem(rsa_key()).replace("\n", "\\n"), str(file)):
        auth = authenticator(Settings.from_environment(JWT | {"KEEPSAY_JWT_KEY": text}))
        assert (await auth.identify(bearing(Maker().token()))).user_id == "ada"
    file.write_text(f"{SECRET}\n")
    auth = authenticator(Settings.from_environment(HS | {"KEEPSAY_JWT_KEY": str(file)}))
    assert (await auth.identify(bearing(Maker(SECRET.encode(), "HS256").token()))).user_id == "ada"


async def test_operators_are_nobody_unless_they_are_on() -> None:
    bearing_scope = bearing(Maker().claiming(scope="keepsay:operator boss"))
    dev_header = asking(("Host", "localhost"), ("X-Keepsay-Operator", "true"))
    for environment, connection, expected in (
        (WITH_KEY, bearing_scope, False),
        (WITH_KEY | {"KEEPSAY_OPERATORS": "on"}, bearing_scope, True),
        (WITH_KEY | {"KEEPSAY_OPERATORS": "on", "KEEPSAY_OPERATOR_SCOPE": "boss"}, bearing_scope, True),
        (WITH_KEY | {"KEEPSAY_OPERATORS": "on", "KEEPSAY_OPERATOR_SCOPE": "bos"}, bearing_scope, False),
        ({}, dev_header, False),
        ({"KEEPSAY_OPERATORS": "on"}, dev_header, True),
        ({"KEEPSAY_OPERATORS": "on"}, asking(("Host", "localhost")), False),
        ({"KEEPSAY_OPERATORS": "on"}, asking(("Host", "localhost"), ("X-Keepsay-Operator", "1")), False),
    ):
        found = await authenticator(Settings.from_environment(environment)).identify(connection)
        assert found.is_operator is expected


def test_settings_never_show_a_secret() -> None:
    environment = HS | {
        "KEEPSAY_SERVICE_KEYS": f"canary-{'k' * 32}",
        "KEEPSAY_OPERATOR_KEYS": f"canary-{'o' * 32}",
        "KEEPSAY_AGENT_API_KEY": "canary",
    }
    settings = Settings.from_environment(environment)
    assert "canary" not in repr(settings) + str(settings)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "127.0.0.1"])
def test_ways_that_ask_for_proof_may_listen_anywhere(host: str) -> None:
    check_bind(host, "jwt")
    check_bind(host, "service")
