"""The middleware that observes requests: a span, a line in the log, and the counts. Pure ASGI, for streams."""

from __future__ import annotations

import logging
from time import perf_counter
from uuid import UUID

from opentelemetry.trace import Span
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keepsay.server.observe.logs import PROBLEM_CODE, careful_logger
from keepsay.server.observe.observation import Observation

__all__ = ["REQUEST_ID_KEY", "Requests", "route_of"]

access = logging.getLogger("keepsay.access")
logger = careful_logger("keepsay.server")

REQUEST_ID_KEY = "keepsay.request_id"
"""Where the request's id stands in its scope, once it has one."""

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
OTHER_METHOD = "_OTHER"
NO_ROUTE = "(none)"
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})


class Requests:
    """Observes every request to its end, streams too. It goes outside of what gives requests their ids."""

    def __init__(self, app: ASGIApp, observation: Observation) -> None:
        self._app = app
        self._observation = observation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._observe(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _observe(self, scope: Scope, receive: Receive, send: Send) -> None:
        status: int | None = None

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = perf_counter()
        code = PROBLEM_CODE.set(None)
        method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
        with self._observation.tracing.request(method, scope) as span:
            try:
                await self._app(scope, receive, send_noted)
            finally:
                self._note(scope, method, status, perf_counter() - began, span)
                PROBLEM_CODE.reset(code)

    def _note(self, scope: Scope, method: str, status: int | None, seconds: float, span: Span) -> None:
        route = route_of(scope)
        shown = "(none)" if status is None else str(status)
        self._observation.metrics.note_request(method, route or NO_ROUTE, shown, seconds)
        self._end(span, method, route, status)
        level = logging.DEBUG if route in _PROBES and status == 200 else logging.INFO
        if access.isEnabledFor(level):
            fields = {
                "method": method,
                "route": route or NO_ROUTE,
                "status": status,
                "code": PROBLEM_CODE.get(),
                "duration_ms": round(seconds * 1000, 1),
                "conversation_id": _conversation(scope),
                "request_id": scope.get(REQUEST_ID_KEY),
            }
            said = ("%s %s %s", (method, route or NO_ROUTE, shown))
            # Not by the level's method, which walks the stack for where it was called: a third of the line's cost.
            access.handle(access.makeRecord(access.name, level, __file__, 0, *said, None, extra=fields))

    def _end(self, span: Span, method: str, route: str | None, status: int | None) -> None:
        if not span.is_recording():
            return
        if route is not None:
            span.update_name(f"{method} {route}")
            span.set_attribute("http.route", route)
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        if status is None or status >= 500:
            self._observation.tracing.fail(span, "no_answer" if status is None else str(status))

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Keep what an error says out of the message that servers log when an app cannot start or end."""

        async def send_curtly(message: Message) -> None:
            await send({"type": message["type"]} if message["type"].endswith(".failed") else message)

        try:
            await self._app(scope, receive, send_curtly)
        except Exception:
            logger.exception("the app failed to start or to end")
            raise


def route_of(scope: Scope) -> str | None:
    """The template of the route that a request came to, with every prefix; ``None`` if it came to none.

    FastAPI from 0.165 on keeps included routers as they are: ``scope["route"]`` is the route without their prefixes,
    and what it is here stands in its own part of the scope.
    """
    here = scope.get("fastapi", {}).get("effective_route_context")
    route = scope.get("route") if here is None else here
    path = getattr(getattr(route, "starlette_route", None), "path_format", None) or getattr(route, "path_format", None)
    return path if isinstance(path, str) else None


def _conversation(scope: Scope) -> str | None:
    """The conversation's id of the path, if it is one: no other text gets into the log."""
    try:
        return str(UUID(scope.get("path_params", {})["conversation_id"]))
    except (KeyError, ValueError):
        return None
