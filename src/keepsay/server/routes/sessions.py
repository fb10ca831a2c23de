"""``POST /api/session``: the same job as ``keepsay session`` on the command line."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from keepsay.server.bodies import JsonResponse, read_json
from keepsay.server.openapi import IDEMPOTENCY_KEY, asks, gives
from keepsay.server.parts import AskingOf, idempotency_key
from keepsay.server.routing import UserRoute
from keepsay.server.shapes import SESSION
from keepsay.session import session

__all__ = ["router"]

router = APIRouter(tags=["session"], route_class=UserRoute)


@router.post(
    "/session",
    operation_id="session",
    summary="Create or go on with a session, and get its history",
    responses=gives("Session", problems=(400, 404, 409, 422)),
    openapi_extra=asks("SessionRequest", parameters=[IDEMPOTENCY_KEY]),
)
async def post_session(request: Request, asking: AskingOf) -> Response:
    """`context` is added first: a text that the user said, a message, or a list of messages."""
    fields = SESSION.read(await read_json(request))
    asked = {name: fields.value(name) for name in SESSION.fields}
    user_id = asking.identity.acting(fields.required_text("user_id"))
    return JsonResponse(await session(asking.parts.keepsay, asked | {"user_id": user_id}, key=idempotency_key(request)))
