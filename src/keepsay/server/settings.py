"""The server's settings: from the environment, and from a ``.env`` file beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self, get_args

from keepsay.errors import ConfigurationError
from keepsay.library.env_file import load_env_file

__all__ = ["AuthName", "Settings", "load_env_file"]

AuthName = Literal["dev"]


@dataclass(frozen=True)
class Settings:
    """Everything that ``create_app`` and ``serve`` can be told. The database is told to ``Keepsay``.

    ``agent``: ``echo``, ``openai`` or ``module:callable``. ``allowed_hosts``: further host names that ``dev`` auth
    answers to, for tests. ``agent_*``: for the agent ``openai``. ``shutdown_seconds``: how long the server waits for
    answers under way when it is told to stop.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    agent: str = "echo"
    auth: AuthName = "dev"
    allowed_hosts: tuple[str, ...] = ()
    agent_base_url: str = "https://api.openai.com/v1"
    agent_api_key: str | None = field(default=None, repr=False)
    agent_model: str | None = None
    agent_system_prompt: str | None = None
    shutdown_seconds: int = 30
    log_level: str = "info"

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
            allowed_hosts=tuple(filter(None, given.get("KEEPSAY_ALLOWED_HOSTS", "").replace(",", " ").split())),
            agent_base_url=given.get("KEEPSAY_AGENT_BASE_URL", cls.agent_base_url),
            agent_api_key=given.get("KEEPSAY_AGENT_API_KEY"),
            agent_model=given.get("KEEPSAY_AGENT_MODEL"),
            agent_system_prompt=given.get("KEEPSAY_AGENT_SYSTEM_PROMPT"),
            shutdown_seconds=_whole(given, "KEEPSAY_SHUTDOWN_SECONDS", cls.shutdown_seconds, 3_600),
            log_level=_level(given.get("KEEPSAY_LOG_LEVEL", cls.log_level)),
        )


def _whole(given: Mapping[str, str], name: str, default: int, highest: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= highest):
        raise ConfigurationError(f"{name} is a whole number from 0 to {highest}, not {text!r}.")
    return int(text)


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
