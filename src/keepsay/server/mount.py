"""``conversation_router``: keepsay's endpoints for any FastAPI application, with its own users, prefix and database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import APIRouter, Depends
from starlette.requests import Request

from keepsay.library.client import Keepsay
from keepsay.model.allowance import Allowance
from keepsay.server.agents import Agent
from keepsay.server.auth import Identity
from keepsay.server.observe import Observation, observed
from keepsay.server.parts import Asking, Parts
from keepsay.server.routes import branching, chat, conversations, messages, reading, runs, sessions, users
from keepsay.server.routes.operators import router as operator_routes
from keepsay.server.turns import Turns

__all__ = ["conversation_router", "mounted"]

STOP_SECONDS = 3.0
"""How long turns may go on when somebody else's app ends."""

_STORED = (
    conversations.router,
    reading.router,
    branching.router,
    messages.router,
    sessions.router,
    users.router,
)
_ANSWERED = (chat.router, runs.router)


def conversation_router(
    keepsay: Keepsay,
    user: Callable[..., object],
    *,
    agent: Agent | None = None,
    allowance: Allowance | None = None,
) -> APIRouter:
    """Every endpoint for users, to be included in your own app: ``app.include_router(router, prefix="/api")``.

    ``keepsay``: whose conversations; it stays open when the app ends. ``user``: your own dependency, as ``Depends``
    takes it; it returns the id of the user who asks, whom it authenticated, and raises ``HTTPException(401)`` for
    anybody else. ``agent``: what answers; without one the routes that need one are left out. ``allowance``: how many
    runs each user may begin.

    The routes bound their bodies and answer keepsay's errors as problems (RFC 9457); other errors are your app's to
    answer. When the app ends, turns under way are waited for a moment, then cut: their retries may begin at once.
    Operations on the database and the agent's work are OpenTelemetry spans.
    """
    seen = Observation()
    turns = None
    if agent is not None:
        turns = Turns(agent, observation=seen, allowance=allowance, stop_seconds=STOP_SECONDS)
    return mounted(Keepsay(store=observed(keepsay.store, seen)), user, turns)


def mounted(
    keepsay: Keepsay, user: Callable[..., object], turns: Turns | None, *, operators: bool = False
) -> APIRouter:
    """``conversation_router`` with the turns, for an app that shares them; ``operators`` adds the routes for those."""
    parts = Parts(keepsay, turns)

    async def provide(request: Request, found: object = Depends(user)) -> None:
        request.state.keepsay_asking = Asking(parts, _identity(found))

    router = APIRouter(dependencies=[Depends(provide)], lifespan=_settling(turns))
    for part in _STORED if turns is None else _STORED + _ANSWERED:
        router.include_router(part)
    if operators:
        router.include_router(operator_routes)
    return router


def _identity(found: object) -> Identity:
    if isinstance(found, Identity):
        return found
    if isinstance(found, str):
        return Identity(found)
    raise TypeError(f"The dependency for users returns the user's id, a str, not {type(found).__name__}.")


def _settling(turns: Turns | None) -> Callable[[object], AbstractAsyncContextManager[None]]:
    """Stops the turns when the app ends."""

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        if turns is not None:
            turns.open()
        yield
        if turns is not None:
            await turns.stop()

    return lifespan
