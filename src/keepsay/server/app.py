"""The app: parts, routes, errors. Making it connects to nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

import keepsay as package
from keepsay.errors import InvalidInput, KeepsayError
from keepsay.library.client import Keepsay
from keepsay.model import limits
from keepsay.server.agents import Agent, load_agent
from keepsay.server.auth import DevAuth
from keepsay.server.middleware import BodyLimit, Gate, RequestIds
from keepsay.server.openapi import DescribedApp
from keepsay.server.parts import Parts
from keepsay.server.problems import problem_response
from keepsay.server.readiness import Readiness
from keepsay.server.refusals import MethodNotAllowed, NoSuchPage
from keepsay.server.routes import chat, conversations, messages, probes, sessions
from keepsay.server.settings import Settings, load_env_file
from keepsay.server.turns import Turns

__all__ = ["assemble", "create_app", "from_environment"]

SETTLE_SECONDS = 3.0
"""How long turns that the server's end has cut off get to say so to the database."""

_ROUTERS = (probes.router, conversations.router, messages.router, chat.router, sessions.router)

_ABOUT = """Durable, user-isolated, resumable conversations on your own Postgres.

A 2xx answer means committed. Every refusal is a problem (RFC 9457) whose `code` programs can rely on. Writes take an
`Idempotency-Key`, chats a `request_id`: the same again gives the first result."""


def create_app(
    keepsay: Keepsay | None = None, *, agent: Agent | None = None, settings: Settings | None = None
) -> FastAPI:
    """The HTTP server as an ASGI app.

    ``keepsay``: whose conversations; by default those of ``DATABASE_URL`` or of the embedded Postgres, closed when the
    app ends. One that is given stays open. ``agent``: what answers; by default the settings' (``echo``). ``settings``:
    by default the environment's. Raises ``ConfigurationError``.
    """
    settings = Settings.from_environment() if settings is None else settings
    return assemble(Keepsay() if keepsay is None else keepsay, agent, settings, closes_keepsay=keepsay is None)


def assemble(keepsay: Keepsay, agent: Agent | None, settings: Settings, *, closes_keepsay: bool) -> FastAPI:
    """``create_app`` with everything said."""
    agent = load_agent(settings.agent, settings) if agent is None else agent
    parts = Parts(keepsay, DevAuth(settings.allowed_hosts), Turns(agent), Readiness(keepsay))
    app = DescribedApp(
        title="keepsay",
        version=package.__version__,
        description=_ABOUT,
        lifespan=_lifespan(parts, agent, closes_keepsay=closes_keepsay),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.keepsay_parts = parts
    for router in _ROUTERS:
        app.include_router(router)
    _map_errors(app)
    app.add_middleware(BodyLimit, limit=limits.BODY_BYTES)
    app.add_middleware(Gate, auth=parts.auth)
    app.add_middleware(RequestIds)  # the last one added is the outermost
    return app


def from_environment() -> FastAPI:
    """For ``uvicorn --factory keepsay.server.app:from_environment``: settings from the environment and ``.env``."""
    load_env_file()
    return create_app()


def _lifespan(
    parts: Parts, agent: Agent, *, closes_keepsay: bool
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Closes what the app opened, when it ends, after the turns under way."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await parts.turns.settle(SETTLE_SECONDS)
        await parts.readiness.aclose()
        if closes_keepsay:
            await parts.keepsay.close()
        if callable(close := getattr(agent, "aclose", None)):
            await close()

    return lifespan


def _map_errors(app: FastAPI) -> None:
    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, KeepsayError)
        return problem_response(error, request.method)

    async def starlettes(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problem_response(_translated(request, error), request.method)

    async def fastapis(request: Request, error: Exception) -> Response:
        return problem_response(InvalidInput("A parameter of the path is not valid."), request.method)

    app.add_exception_handler(KeepsayError, ours)
    app.add_exception_handler(HTTPException, starlettes)
    app.add_exception_handler(RequestValidationError, fastapis)


def _translated(request: Request, error: HTTPException) -> KeepsayError:
    if error.status_code == 404:
        return NoSuchPage()
    if error.status_code == 405:
        return MethodNotAllowed(_allowed(request))
    return InvalidInput(error.detail) if 400 <= error.status_code < 500 else KeepsayError(error.detail)


def _allowed(request: Request) -> tuple[str, ...]:
    """Every method that this path takes; Starlette names those of one route alone."""
    found: set[str] = set()
    for router in _ROUTERS:
        for route in router.routes:
            if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
                found |= route.methods or set()
    return tuple(sorted(found))
