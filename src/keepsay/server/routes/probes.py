"""What load balancers and people look at first: ``/healthz``, ``/readyz``, ``/docs``."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from keepsay.server.bodies import JsonResponse
from keepsay.server.openapi import gives
from keepsay.server.readiness import Readiness
from keepsay.server.routing import PublicRoute

__all__ = ["router"]

router = APIRouter(tags=["server"], route_class=PublicRoute)

_DOCS = files("keepsay.server").joinpath("docs.html").read_text("utf-8")


def _digests(tag: str) -> str:
    """The hashes of the page's inline elements, so that its policy lets in nothing else."""
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", _DOCS, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in found)


_DOCS_POLICY = (
    f"default-src 'none'; connect-src 'self'; img-src data:; "
    f"script-src {_digests('script')}; style-src {_digests('style')}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@router.get("/healthz", operation_id="healthz", summary="Whether the server runs", responses=gives("Health"))
@router.head("/healthz", include_in_schema=False)
async def healthz() -> Response:
    """Never asks the database: a database that sleeps is no reason to restart servers."""
    return JsonResponse({"status": "ok"})


@router.get(
    "/readyz",
    operation_id="readyz",
    summary="Whether the database answers",
    responses=gives("Health", problems=(503,)),
)
@router.head("/readyz", include_in_schema=False)
async def readyz(request: Request) -> Response:
    """Asks it once in three seconds, whoever asks how often."""
    readiness = request.app.state.keepsay_readiness
    assert isinstance(readiness, Readiness)
    await readiness.check()
    return JsonResponse({"status": "ok"})


@router.get("/", include_in_schema=False)
async def root() -> Response:
    """To the documentation."""
    return RedirectResponse("/docs")


@router.get("/docs", include_in_schema=False)
async def docs() -> Response:
    """The documentation of this server. It loads nothing from elsewhere, so it works without a network."""
    return HTMLResponse(_DOCS, headers={"Content-Security-Policy": _DOCS_POLICY})
