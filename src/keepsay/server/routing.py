"""What makes a route keepsay's, in whichever app it is mounted: its scope, its limits, its problems.

A route of another class cannot be told who may use it; ``tests/server/isolation/test_scopes.py`` fails on one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from fastapi import Depends, params
from fastapi.routing import APIRoute
from starlette.datastructures import MutableHeaders
from starlette.routing import Match
from starlette.types import Message, Receive, Scope, Send

from keepsay.errors import KeepsayError
from keepsay.model import limits
from keepsay.server.middleware import BodyLimit, add_always
from keepsay.server.openapi import refuses
from keepsay.server.parts import AskingOf
from keepsay.server.problems import problem_response
from keepsay.server.refusals import NoSuchPage

__all__ = ["KeepsayRoute", "OperatorRoute", "PublicRoute", "RouteScope", "UserRoute"]

RouteScope = Literal["public", "user", "operator"]

_REFUSED_BODIES = (400, 408, 415, 422)


class KeepsayRoute(APIRoute):
    """Bounds the body, answers keepsay's errors as problems, and says in OpenAPI who may use it.

    ``refused``: the statuses of the problems that any route of the class may answer with, for OpenAPI.
    """

    scope: ClassVar[RouteScope]
    refused: ClassVar[tuple[int, ...]] = (413, 500, 503)

    # FastAPI's own signature takes anything here.
    def __init__(
        self,
        *args: Any,
        openapi_extra: dict[str, Any] | None = None,
        responses: dict[int | str, dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        extra = {"x-keepsay-scope": self.scope} | (openapi_extra or {})
        refused = self.refused + (_REFUSED_BODIES if "requestBody" in extra else ())
        answers = refuses(*refused) | (responses or {})
        answers = {status: answers[status] for status in sorted(answers, key=str)}
        super().__init__(*args, openapi_extra=extra, responses=answers, **kwargs)
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


async def _require_operator(asking: AskingOf) -> None:
    if not asking.identity.is_operator:
        raise NoSuchPage


_FOR_OPERATORS = Depends(_require_operator)


class PublicRoute(KeepsayRoute):
    """For everybody: it shows nothing that anybody owns."""

    scope = "public"


class UserRoute(KeepsayRoute):
    """For a user, on what is theirs."""

    scope = "user"
    refused = (*KeepsayRoute.refused, 422)


class OperatorRoute(KeepsayRoute):
    """For operators alone; to others there is no such page, whatever the method. Anonymous callers are told as ever."""

    scope = "operator"
    refused = (*UserRoute.refused, 404)

    def __init__(self, *args: Any, dependencies: Sequence[params.Depends] | None = None, **kwargs: Any) -> None:
        # Routers make their routes anew when they are included, with what those already have.
        others = [one for one in dependencies or () if one is not _FOR_OPERATORS]
        super().__init__(*args, dependencies=[*others, _FOR_OPERATORS], **kwargs)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        found, child = super().matches(scope)
        return (Match.NONE, {}) if found is Match.PARTIAL else (found, child)
