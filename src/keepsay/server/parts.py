"""What the routes are made of: the library, the agent's turns, the way to know users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from keepsay.errors import InvalidInput
from keepsay.library.client import Keepsay
from keepsay.library.scope import UserScope
from keepsay.server.auth import Authenticator, header_text
from keepsay.server.readiness import Readiness
from keepsay.server.turns import Turns

__all__ = ["Caller", "Parts", "PartsOf", "idempotency_key", "replay_mark", "request_id_of"]


@dataclass(frozen=True, slots=True)
class Parts:
    """One app's parts. It keeps no conversation: any instance answers any request."""

    keepsay: Keepsay
    auth: Authenticator
    turns: Turns
    readiness: Readiness

    def user(self, request: Request, named: str | None = None) -> UserScope:
        """The scope of who is asking; see ``Authenticator.user_id``."""
        return self.keepsay.user(self.auth.user_id(request, named))


async def _parts(request: Request) -> Parts:
    parts = request.app.state.keepsay_parts
    assert isinstance(parts, Parts)
    return parts


PartsOf = Annotated[Parts, Depends(_parts)]


async def _caller(request: Request, parts: PartsOf) -> UserScope:
    return parts.user(request)


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
