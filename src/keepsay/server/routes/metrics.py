"""``/metrics``: for Prometheus."""

from __future__ import annotations

import hmac
from typing import Any

from fastapi import APIRouter
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

from keepsay.server.auth.bearer import NOT_PROVED, bearer
from keepsay.server.observe.metrics import Metrics
from keepsay.server.openapi import refuses
from keepsay.server.refusals import Unauthenticated
from keepsay.server.routing import PublicRoute

__all__ = ["metrics_router"]

_SHOWN: dict[int | str, dict[str, Any]] = {
    200: {"description": "Prometheus's text format.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


def metrics_router(metrics: Metrics, token: SecretStr | None) -> APIRouter:
    """The page of these metrics, for everybody or for whoever has the token."""
    router = APIRouter(tags=["server"], route_class=PublicRoute)

    @router.get("/metrics", operation_id="metrics", summary="Figures for Prometheus", responses=_SHOWN | refuses(401))
    async def page(request: Request) -> Response:
        """How many, how long, how often refused. No figure is about a user or a conversation."""
        if token is not None and not _has_token(request, token):
            raise Unauthenticated(NOT_PROVED)
        return Response(metrics.render(), media_type=metrics.content_type)

    return router


def _has_token(request: Request, token: SecretStr) -> bool:
    """Compared in a time that does not tell how far they agree."""
    return hmac.compare_digest((bearer(request.headers) or "").encode(), token.get_secret_value().encode())
