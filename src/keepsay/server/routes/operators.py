"""``/api/admin``: what operators may see. Left out unless the settings let operators in; see ``OperatorRoute``."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from keepsay.model import limits
from keepsay.server.bodies import JsonResponse
from keepsay.server.fields import Field, Shape
from keepsay.server.openapi import asks, gives
from keepsay.server.parts import AskingOf
from keepsay.server.routing import OperatorRoute

__all__ = ["router"]

router = APIRouter(prefix="/admin", tags=["operators"], route_class=OperatorRoute)

_USERS = Shape(
    "Part of the users.",
    {
        "limit": Field(
            "How many at most.",
            ("integer",),
            more={"minimum": 1, "maximum": limits.PAGE_MAX, "default": limits.PAGE_DEFAULT},
        ),
        "cursor": Field("The `next_cursor` of the page before."),
    },
)


@router.get(
    "/users",
    operation_id="listUsers",
    summary="List who there is",
    responses=gives("UserPage", problems=(400, 422)),
    openapi_extra=asks(query=_USERS),
)
async def list_users(request: Request, asking: AskingOf) -> Response:
    """The ids of users, in the order of their bytes, and nothing of theirs."""
    fields = _USERS.read_query(request)
    limit = fields.whole("limit")
    page = await asking.parts.keepsay.admin().list_users(
        limit=limits.PAGE_DEFAULT if limit is None else limit, cursor=fields.text("cursor")
    )
    return JsonResponse(
        {
            "items": [{"user_id": user_id} for user_id in page.items],
            "next_cursor": page.next_cursor,
            "has_more": page.has_more,
        }
    )
