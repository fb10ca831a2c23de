"""What the routes are made of: the library, the agent's turns, and who is asking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends
from starlette.requests import Request

from keepsay.errors import InvalidInput
from keepsay.library.client import Keepsay
from keepsay.library.scope import UserScope, checked_prompt
from keepsay.model import limits
from keepsay.model.ids import checked_key
from keepsay.model.window import Window
from keepsay.server.auth import Identity, header_text
from keepsay.server.fields import Fields
from keepsay.server.turns import Turns

__all__ = [
    "Asking",
    "AskingOf",
    "Caller",
    "Parts",
    "idempotency_key",
    "location",
    "replay_mark",
    "request_id_of",
    "window_of",
]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes of one mount share. It keeps no conversation: any instance answers any request."""

    keepsay: Keepsay
    turns: Turns | None


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, and the parts to answer with."""

    parts: Parts
    identity: Identity

    def user(self, named: str | None = None) -> UserScope:
        """The scope of who is asking; ``named`` is the user whom the request names. See ``Identity.acting``."""
        return self.parts.keepsay.user(self.identity.acting(named))

    def subject(self, named: str) -> UserScope:
        """The scope of the user whom the request is about: who asks, or for operators anybody. See ``acting``."""
        return self.parts.keepsay.user(named) if self.identity.is_operator else self.user(named)

    @property
    def turns(self) -> Turns:
        """Only the routes that are mounted with an agent ask for them."""
        assert self.parts.turns is not None
        return self.parts.turns


async def _asking(request: Request) -> Asking:
    asking = request.state.keepsay_asking  # set by the dependency that the mount puts before every route
    assert isinstance(asking, Asking)
    return asking


AskingOf = Annotated[Asking, Depends(_asking)]


async def _caller(asking: AskingOf) -> UserScope:
    return asking.user()


Caller = Annotated[UserScope, Depends(_caller)]
"""The conversations of whoever is asking."""


def idempotency_key(request: Request) -> str | None:
    """The ``Idempotency-Key`` header. Raises ``InvalidInput`` and ``TooLarge`` for what is no key, used or not."""
    said = header_text(request.headers, "Idempotency-Key")
    return None if said is None else checked_key(said, field="Idempotency-Key")


def request_id_of(request: Request, said: str | None) -> str | None:
    """The key of a turn: ``request_id`` of the body, or the ``Idempotency-Key`` header."""
    header = idempotency_key(request)
    if said is not None and header is not None and said != header:
        raise InvalidInput("request_id and the Idempotency-Key header differ; give one of them.", field="request_id")
    return said if said is not None else header


def location(request: Request, id: object, *, up: int = 0) -> str:  # noqa: A002
    """Where the new thing with this id stands: below the request's own path, or ``up`` steps above that.

    Wherever the routes are mounted, and whatever their prefix holds.
    """
    steps = request.scope["path"].split("/")
    return quote("/".join([*steps[: len(steps) - up], str(id)]), safe="/:@!$&'()*+,;=~")


def window_of(fields: Fields) -> Window:
    """What the agent gets to see: ``max_messages``, ``max_tokens``, ``system_prompt``. Raises ``InvalidInput``."""
    count, prompt = fields.whole("max_messages"), fields.text("system_prompt")
    return Window(
        max_messages=limits.WINDOW_DEFAULT_MESSAGES if count is None else count,
        max_tokens=fields.whole("max_tokens"),
        system_prompt=None if prompt is None else checked_prompt(prompt),
    )


def replay_mark(replayed: bool) -> dict[str, str]:
    """The header by which a client sees that this was done before."""
    return {"Idempotent-Replayed": "true"} if replayed else {}
