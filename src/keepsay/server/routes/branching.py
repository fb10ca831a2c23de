"""``/api/conversations/{id}/fork`` and ``/rewind``: go another way from a message on."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from keepsay.server.bodies import JsonResponse, read_json
from keepsay.server.conditions import etag, expected_version
from keepsay.server.openapi import IDEMPOTENCY_KEY, IF_MATCH, asks, gives
from keepsay.server.parts import Caller, idempotency_key, location
from keepsay.server.routing import UserRoute
from keepsay.server.shapes import FORK, REWIND

__all__ = ["router"]

router = APIRouter(prefix="/conversations/{conversation_id}", tags=["conversations"], route_class=UserRoute)


@router.post(
    "/fork",
    operation_id="forkConversation",
    summary="Start a new conversation as a copy",
    status_code=201,
    responses=gives(
        "Conversation",
        created=True,
        existing="One with this `external_key` is there; nothing was copied.",
        problems=(400, 404, 422),
        headers=("Location", "ETag"),
    ),
    openapi_extra=asks("Fork", parameters=[IDEMPOTENCY_KEY]),
)
async def fork(conversation_id: str, request: Request, user: Caller) -> Response:
    """Up to `at_seq`, numbered anew from 1; what was rewound is left out. `{}` copies all of it."""
    fields = FORK.read(await read_json(request))
    forked = await user.fork_or_get(
        conversation_id,
        fields.whole("at_seq"),
        title=fields.text("title"),
        metadata=fields.mapping("metadata"),
        external_key=fields.text("external_key"),
        key=idempotency_key(request),
    )
    shown = forked.conversation
    headers = {"Location": location(request, shown.id, up=2), "ETag": etag(shown)}
    return JsonResponse(shown.to_dict(), 201 if forked.created else 200, headers)


@router.post(
    "/rewind",
    operation_id="rewindConversation",
    summary="Hide everything after a message",
    responses=gives("Conversation", problems=(400, 404, 409, 412, 422), headers=("ETag",)),
    openapi_extra=asks("Rewind", parameters=[IF_MATCH]),
)
async def rewind(conversation_id: str, request: Request, user: Caller) -> Response:
    """To edit or to regenerate: windows and order go on from `at_seq`; the log keeps what is hidden."""
    fields = REWIND.read(await read_json(request))
    found = await user.rewind(
        conversation_id, fields.required_whole("at_seq"), expected_version=expected_version(request)
    )
    return JsonResponse(found.to_dict(), headers={"ETag": etag(found)})
