"""What the routes are made of: the library, the agent's turns, and who is asking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from keepsay.errors import InvalidInput
from keepsay.library.client import Keepsay
from keepsay.library.scope import UserScope
from keepsay.server.auth import Identity, header_text
from keepsay.server.turns import Turns

__all__ = ["Asking", "AskingOf", "Caller", "Parts", "idempotency_key", "replay_mark", "request_id_of"]


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
    """The ``Idempotency-Key`` header."""
    return header_text(request.headers, "Idempotency-Key")


def request_id_of(request: Request, said: str | None) -> str | None:
    """The key of a turn: ``request_id`` of the body, or the ``Idempotency-Key`` header."""
    header = idempotency_key(request)
    if said is not None and header is not None and said != header:
        raise InvalidInput("request_id and the Idempotency-Key header differ; give one of them.", field="request_id")
    return said if said is not None else header


def replay_mark(replayed: bool) -> dict[str, str]:
    """The header by which a client sees that this was done before."""
    return {"Idempotent-Replayed": "true"} if replayed else {}
