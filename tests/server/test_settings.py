"""Settings: from the environment and a ``.env`` file (row D2)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from keepsay import ConfigurationError, Keepsay, MemoryStore
from keepsay.server import Settings, create_app, load_env_file
from keepsay.server.app import from_environment
from keepsay.server.settings import JwtSettings


def test_the_environment_says_everything() -> None:
    settings = Settings.from_environment(
        {
            "KEEPSAY_HOST": "::1",
            "KEEPSAY_PORT": "9090",
            "KEEPSAY_AGENT": "openai",
            "KEEPSAY_AUTH": "dev",
            "KEEPSAY_ALLOWED_HOSTS": "a, b",
            "KEEPSAY_AGENT_BASE_URL": "http://127.0.0.1/v1",
            "KEEPSAY_AGENT_API_KEY": "secret",
            "KEEPSAY_AGENT_MODEL": "m",
            "KEEPSAY_AGENT_SYSTEM_PROMPT": "Be brief.",
            "KEEPSAY_SHUTDOWN_SECONDS": "5",
            "KEEPSAY_WORKERS": "3",
            "KEEPSAY_LOG_LEVEL": "DEBUG",
        }
    )
    assert settings == Settings(
        host="::1",
        port=9090,
        agent="openai",
        allowed_hosts=("a", "b"),
        agent_base_url="http://127.0.0.1/v1",
        agent_api_key=SecretStr("secret"),
        agent_model="m",
        agent_system_prompt="Be brief.",
        shutdown_seconds=5,
        workers=3,
        log_level="debug",
    )
    assert "secret" not in repr(settings)


def test_the_environment_says_who_is_known_and_how() -> None:
    settings = Settings.from_environment(
        {
            "KEEPSAY_AUTH": "jwt",
            "KEEPSAY_JWT_ISSUER": "https://issuer.example/",
            "KEEPSAY_JWT_AUDIENCE": "https://keepsay.example/",
            "KEEPSAY_JWKS_URL": "https://issuer.example/jwks",
            "KEEPSAY_JWT_KEY": "secret",
            "KEEPSAY_JWT_ALGORITHMS": "ES256, ES384",
            "KEEPSAY_JWT_TYPE": "at+jwt",
            "KEEPSAY_OPERATORS": "on",
            "KEEPSAY_OPERATOR_SCOPE": "boss",
            "KEEPSAY_SERVICE_KEYS": "secret1,secret2",
            "KEEPSAY_OPERATOR_KEYS": "secret3",
        }
    )
    assert settings == Settings(
        auth="jwt",
        jwt=JwtSettings(
            issuer="https://issuer.example/",
            audience="https://keepsay.example/",
            jwks_url="https://issuer.example/jwks",
            key=SecretStr("secret"),
            algorithms=("ES256", "ES384"),
            type="at+jwt",
        ),
        operators=True,
        operator_scope="boss",
        service_keys=(SecretStr("secret1"), SecretStr("secret2")),
        operator_keys=(SecretStr("secret3"),),
    )
    assert "secret" not in repr(settings)


def test_the_defaults_serve_echo_on_loopback() -> None:
    assert Settings.from_environment({"KEEPSAY_PORT": ""}) == Settings()
    assert (Settings().host, Settings().port, Settings().agent, Settings().auth) == ("127.0.0.1", 8080, "echo", "dev")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "x"),
        ("PORT", "²"),
        ("WORKERS", "many"),
        ("WORKERS", "1000"),
        ("AUTH", "none"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_bad_setting_is_named(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"KEEPSAY_{name}"):
        Settings.from_environment({f"KEEPSAY_{name}": text})


def test_the_env_file_fills_what_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row D2."""
    for name in ("KEEPSAY_PORT", "KEEPSAY_AGENT_MODEL", "DATABASE_URL"):
        monkeypatch.setenv(name, "x")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv("KEEPSAY_HOST", "::1")
    file = tmp_path / ".env"
    file.write_text(
        "# a comment\n\nKEEPSAY_HOST=127.0.0.1\nexport KEEPSAY_PORT=81\nKEEPSAY_AGENT_MODEL = 'a b'\n"
        'DATABASE_URL="postgresql://h/d?sslmode=require"\n'
    )
    load_env_file(file)
    assert Settings.from_environment() == Settings(host="::1", port=81, agent_model="a b")
    assert os.environ["DATABASE_URL"] == "postgresql://h/d?sslmode=require"
    load_env_file(tmp_path / "absent")
    file.write_text("nonsense\n")
    with pytest.raises(ConfigurationError, match="line 1"):
        load_env_file(file)


def test_making_an_app_connects_to_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Row D2: ``create_app`` is synchronous; the database is asked when it is needed."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    monkeypatch.chdir(tmp_path)
    create_app()
    from_environment()


async def test_the_app_closes_what_it_opened_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Keepsay] = []

    async def close(self: Keepsay) -> None:
        closed.append(self)

    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    monkeypatch.setattr(Keepsay, "close", close)
    given = Keepsay(store=MemoryStore())
    for keepsay, expected in ((given, 0), (None, 1)):
        app = create_app(keepsay)
        async with app.router.lifespan_context(app):
            pass
        assert len(closed) == expected


def test_what_operators_see_is_a_setting() -> None:
    settings = Settings.from_environment(
        {"KEEPSAY_LOG_FORMAT": "JSON", "KEEPSAY_METRICS": "off", "KEEPSAY_METRICS_TOKEN": "secret"}
    )
    assert (settings.log_format, settings.metrics) == ("json", False)
    assert settings.metrics_token is not None
    assert settings.metrics_token.get_secret_value() == "secret"
    assert "secret" not in repr(settings)
    assert (Settings().log_format, Settings().metrics, Settings().metrics_token) == ("auto", True, None)
    for name, text in (("KEEPSAY_LOG_FORMAT", "xml"), ("KEEPSAY_METRICS", "yes")):
        with pytest.raises(ConfigurationError, match=name):
            Settings.from_environment({name: text})
