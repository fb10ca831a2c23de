"""What makes a route keepsay's, in whichever app it is mounted: its scope, its limits, its problems.

A route of another class than these cannot be told who may use it; ``tests/server/test_isolation.py`` fails on one.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from fastapi.routing import APIRoute
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from keepsay.errors import KeepsayError
from keepsay.model import limits
from keepsay.server.middleware import BodyLimit, add_always
from keepsay.server.problems import problem_response

__all__ = ["KeepsayRoute", "OperatorRoute", "PublicRoute", "RouteScope", "UserRoute"]

RouteScope = Literal["public", "user", "operator"]


class KeepsayRoute(APIRoute):
    """Bounds the body, answers keepsay's errors as problems, and says in OpenAPI who may use it."""

    scope: ClassVar[RouteScope]

    # FastAPI's own signature takes anything here.
    def __init__(self, *args: Any, openapi_extra: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, openapi_extra={"x-keepsay-scope": self.scope} | (openapi_extra or {}), **kwargs)
        self._bounded = BodyLimit(super().handle, limits.BODY_BYTES)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer. An error after the answer has begun goes on up, so that the connection is cut."""
        started = False

        async def send_marked(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                add_always(MutableHeaders(scope=message))
            await send(message)

        try:
            await self._bounded(scope, receive, send_marked)
        except KeepsayError as error:
            if started:
                raise
            await problem_response(error, scope["method"])(scope, receive, send_marked)


class PublicRoute(KeepsayRoute):
    """For everybody: it shows nothing that anybody owns."""

    scope = "public"


class UserRoute(KeepsayRoute):
    """For a user, on what is theirs."""

    scope = "user"


class OperatorRoute(KeepsayRoute):
    """For operators alone; to others there is no such page."""

    scope = "operator"
