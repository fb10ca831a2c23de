"""The server's settings: from the environment, and from a ``.env`` file beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self, get_args

from pydantic import SecretStr

from keepsay.errors import ConfigurationError
from keepsay.library.env_file import load_env_file
from keepsay.model import limits
from keepsay.model.allowance import Allowance

__all__ = ["AuthName", "JwtSettings", "LogFormat", "Settings", "load_env_file"]

AuthName = Literal["dev", "jwt", "service"]
LogFormat = Literal["auto", "json", "text"]
"""``auto``: text on a terminal, JSON lines elsewhere."""

MOST_WORKERS = 256

_SEPARATORS = re.compile(r"[,\s]+")


@dataclass(frozen=True)
class JwtSettings:
    """Whose tokens auth ``jwt`` believes.

    ``key`` (a public key in PEM, the path of a file, or a secret for HS*) or ``jwks_url`` verifies them. ``type``: what
    their ``typ`` has to be, such as ``at+jwt``.
    """

    issuer: str | None = None
    audience: str | None = None
    jwks_url: str | None = None
    key: SecretStr | None = None
    algorithms: tuple[str, ...] = ("RS256",)
    type: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Self:
        """Read ``KEEPSAY_JWT_ISSUER``, ..., and ``KEEPSAY_JWKS_URL``."""
        return cls(
            issuer=given.get("KEEPSAY_JWT_ISSUER"),
            audience=given.get("KEEPSAY_JWT_AUDIENCE"),
            jwks_url=given.get("KEEPSAY_JWKS_URL"),
            key=_secret(given, "KEEPSAY_JWT_KEY"),
            algorithms=_listed(given, "KEEPSAY_JWT_ALGORITHMS") or cls.algorithms,
            type=given.get("KEEPSAY_JWT_TYPE"),
        )


@dataclass(frozen=True)
class Settings:
    """Everything that ``create_app`` and ``serve`` can be told. The database is told to ``Keepsay``.

    ``agent``: ``echo``, ``openai`` or ``module:callable``. ``allowed_hosts``: further host names that ``dev`` auth
    answers to, for tests. ``jwt``, ``service_keys``, ``operator_keys``: for those ways to know users. ``operators``:
    whether anybody may be an operator; with ``jwt`` whoever has ``operator_scope``, with ``service`` whoever has one of
    ``operator_keys``. ``agent_*``: for the agent ``openai``. ``allowance``: how many runs each user may begin.
    ``shutdown_seconds``: how long the server waits for answers under way when it is told to stop. ``workers``: in how
    many processes ``serve`` answers. ``metrics``: whether there is a page ``/metrics``, for whoever has
    ``metrics_token`` if that is set. ``log_level`` ``debug`` also logs what errors say, which may hold users' words.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    agent: str = "echo"
    auth: AuthName = "dev"
    allowed_hosts: tuple[str, ...] = ()
    jwt: JwtSettings = JwtSettings()
    service_keys: tuple[SecretStr, ...] = ()
    operators: bool = False
    operator_keys: tuple[SecretStr, ...] = ()
    operator_scope: str = "keepsay:operator"
    agent_base_url: str = "https://api.openai.com/v1"
    agent_api_key: SecretStr | None = None
    agent_model: str | None = None
    agent_system_prompt: str | None = None
    allowance: Allowance | None = None
    shutdown_seconds: int = 30
    workers: int = 1
    log_level: str = "info"
    log_format: LogFormat = "auto"
    metrics: bool = True
    metrics_token: SecretStr | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read ``KEEPSAY_HOST``, ``KEEPSAY_PORT``, ``KEEPSAY_AGENT``, ...; an empty variable counts as unset.

        Raises ``ConfigurationError`` naming the variable.
        """
        given = {name: text for name, text in (os.environ if environment is None else environment).items() if text}
        return cls(
            host=given.get("KEEPSAY_HOST", cls.host),
            port=_whole(given, "KEEPSAY_PORT", cls.port, 65_535),
            agent=given.get("KEEPSAY_AGENT", cls.agent),
            auth=_auth(given.get("KEEPSAY_AUTH", cls.auth)),
            allowed_hosts=_listed(given, "KEEPSAY_ALLOWED_HOSTS"),
            jwt=JwtSettings.of(given),
            service_keys=_secrets(given, "KEEPSAY_SERVICE_KEYS"),
            operators=_switch(given, "KEEPSAY_OPERATORS", cls.operators),
            operator_keys=_secrets(given, "KEEPSAY_OPERATOR_KEYS"),
            operator_scope=given.get("KEEPSAY_OPERATOR_SCOPE", cls.operator_scope),
            agent_base_url=given.get("KEEPSAY_AGENT_BASE_URL", cls.agent_base_url),
            agent_api_key=_secret(given, "KEEPSAY_AGENT_API_KEY"),
            agent_model=given.get("KEEPSAY_AGENT_MODEL"),
            agent_system_prompt=given.get("KEEPSAY_AGENT_SYSTEM_PROMPT"),
            allowance=_allowance(given),
            shutdown_seconds=_whole(given, "KEEPSAY_SHUTDOWN_SECONDS", cls.shutdown_seconds, 3_600),
            workers=max(1, _whole(given, "KEEPSAY_WORKERS", cls.workers, MOST_WORKERS)),
            log_level=_level(given.get("KEEPSAY_LOG_LEVEL", cls.log_level)),
            log_format=_log_format(given.get("KEEPSAY_LOG_FORMAT", cls.log_format)),
            metrics=_switch(given, "KEEPSAY_METRICS", cls.metrics),
            metrics_token=_secret(given, "KEEPSAY_METRICS_TOKEN"),
        )


def _whole(given: Mapping[str, str], name: str, default: int, highest: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= highest):
        raise ConfigurationError(f"{name} is a whole number from 0 to {highest}, not {text!r}.")
    return int(text)


def _allowance(given: Mapping[str, str]) -> Allowance | None:
    """What ``KEEPSAY_RUNS_PER_MINUTE``, ``KEEPSAY_RUNS_BURST`` and ``KEEPSAY_RUNS_PER_DAY`` allow; 0 is no limit."""
    names = ("KEEPSAY_RUNS_PER_MINUTE", "KEEPSAY_RUNS_BURST", "KEEPSAY_RUNS_PER_DAY")
    per_minute, burst, per_day = (_whole(given, name, 0, limits.ALLOWANCE_MAX) or None for name in names)
    if burst is not None and per_minute is None:
        raise ConfigurationError("KEEPSAY_RUNS_BURST goes with KEEPSAY_RUNS_PER_MINUTE.")
    return Allowance(per_minute, burst, per_day) if per_minute is not None or per_day is not None else None


def _switch(given: Mapping[str, str], name: str, default: bool) -> bool:
    text = given.get(name, "on" if default else "off")
    if text not in ("on", "off"):
        raise ConfigurationError(f"{name} is on or off, not {text!r}.")
    return text == "on"


def _listed(given: Mapping[str, str], name: str) -> tuple[str, ...]:
    """What stands between commas and blanks."""
    return tuple(filter(None, _SEPARATORS.split(given.get(name, ""))))


def _secret(given: Mapping[str, str], name: str) -> SecretStr | None:
    return SecretStr(given[name]) if name in given else None


def _secrets(given: Mapping[str, str], name: str) -> tuple[SecretStr, ...]:
    return tuple(map(SecretStr, _listed(given, name)))


def _auth(text: str) -> AuthName:
    for choice in get_args(AuthName):
        if text == choice:
            found: AuthName = choice
            return found
    raise ConfigurationError(f"KEEPSAY_AUTH is one of {', '.join(get_args(AuthName))}, not {text!r}.")


def _level(text: str) -> str:
    levels = ("critical", "error", "warning", "info", "debug")
    if text.lower() not in levels:
        raise ConfigurationError(f"KEEPSAY_LOG_LEVEL is one of {', '.join(levels)}, not {text!r}.")
    return text.lower()


def _log_format(text: str) -> LogFormat:
    for choice in get_args(LogFormat):
        if text.lower() == choice:
            found: LogFormat = choice
            return found
    raise ConfigurationError(f"KEEPSAY_LOG_FORMAT is one of {', '.join(get_args(LogFormat))}, not {text!r}.")
