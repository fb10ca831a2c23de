"""The app: parts, routes, errors. Making it connects to nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, compile_path

import keepsay as package
from keepsay.errors import InvalidInput, KeepsayError
from keepsay.library.client import Keepsay
from keepsay.server.agents import Agent, load_agent
from keepsay.server.auth import Authenticator, Identity, authenticator
from keepsay.server.document import DescribedApp
from keepsay.server.middleware import Gate, RequestIds
from keepsay.server.mount import mounted
from keepsay.server.observe import Observation, Requests, observed
from keepsay.server.problems import problem_response
from keepsay.server.readiness import Readiness
from keepsay.server.refusals import MethodNotAllowed, NoSuchPage
from keepsay.server.routes import probes
from keepsay.server.routes.metrics import metrics_router
from keepsay.server.settings import Settings, load_env_file
from keepsay.server.turns import Turns

__all__ = ["assemble", "create_app", "from_environment"]

_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")

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
    auth = authenticator(settings)
    readiness = Readiness(keepsay)
    seen = Observation()
    turns = Turns(agent, observation=seen, allowance=settings.allowance, stop_seconds=settings.shutdown_seconds)
    app = DescribedApp(
        auth=settings.auth,
        title="keepsay",
        version=package.__version__,
        description=_ABOUT,
        lifespan=_lifespan(keepsay if closes_keepsay else None, readiness, auth, agent),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # FastAPI's own spans hold paths and queries, its logs what errors say; ours take their place.
        telemetry={"tracing": False, "logs": False},
    )
    app.state.keepsay_readiness = readiness
    app.state.keepsay_turns = turns
    app.include_router(probes.router)
    if settings.metrics:
        app.include_router(metrics_router(seen.metrics, settings.metrics_token))
    watched = Keepsay(store=observed(keepsay.store, seen))
    app.include_router(mounted(watched, _identify(auth), turns, operators=settings.operators), prefix="/api")
    _map_errors(app)
    app.add_middleware(Gate, auth=auth)
    app.add_middleware(RequestIds)
    app.add_middleware(Requests, observation=seen)  # the last one added is the outermost
    return app


def from_environment() -> FastAPI:
    """For ``uvicorn --factory keepsay.server.app:from_environment``: settings from the environment and ``.env``."""
    load_env_file()
    return create_app()


def _identify(auth: Authenticator) -> Callable[[Request], Awaitable[Identity]]:
    """The way to know users, as a dependency."""

    async def identify(request: Request) -> Identity:
        return await auth.identify(request)

    return identify


def _lifespan(
    owned: Keepsay | None, readiness: Readiness, auth: Authenticator, agent: Agent
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Closes what the app opened, when it ends, after the turns under way."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await readiness.aclose()
        await auth.aclose()
        if owned is not None:
            await owned.close()
        if callable(close := getattr(agent, "aclose", None)):
            await close()

    return lifespan


def _map_errors(app: FastAPI) -> None:
    async def starlettes(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problem_response(_translated(request, error), request.method)

    async def fastapis(request: Request, error: Exception) -> Response:
        return problem_response(InvalidInput("A parameter of the path is not valid."), request.method)

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
    routes = request.app.routes
    taken = (
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    )
    documented = _documented(request)
    return tuple(method for method in taken if documented is None or method == "HEAD" or method in documented)


def _documented(request: Request) -> set[str] | None:
    """The methods of the first template that the path fits: ``active`` fits that of ids too, and is none."""
    for template, methods in request.app.openapi()["paths"].items():
        if compile_path(template)[0].match(request.scope["path"]):
            return {method.upper() for method in methods}
    return None
