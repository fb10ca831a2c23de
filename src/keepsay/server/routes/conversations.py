"""``/api/conversations``: create, list, read, change, delete."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from keepsay.library.incoming import message_from_json
from keepsay.library.scope import ConversationPage, Policy, Status
from keepsay.model import limits
from keepsay.model.conversation import Conversation
from keepsay.model.json_text import JsonObject
from keepsay.server.bodies import JsonResponse, read_json
from keepsay.server.conditions import etag, expected_version, is_known
from keepsay.server.fields import Field, Fields, Shape
from keepsay.server.openapi import IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH, NOT_MODIFIED, asks, gives
from keepsay.server.parts import Caller, idempotency_key, location
from keepsay.server.refusals import MethodNotAllowed
from keepsay.server.routing import UserRoute
from keepsay.server.shapes import CONVERSATION_CHANGES, NEW_CONVERSATION
from keepsay.store.protocol import UNSET, Unset

__all__ = ["router"]

ACTIVE = 10

router = APIRouter(prefix="/conversations", tags=["conversations"], route_class=UserRoute)

_LIST = Shape(
    "The conversations of a user.",
    {
        "status": Field("Those with this status alone.", more={"enum": ["active", "archived"]}),
        "limit": Field(
            "How many at most.",
            ("integer",),
            more={"minimum": 1, "maximum": limits.PAGE_MAX, "default": limits.PAGE_DEFAULT},
        ),
        "cursor": Field("The `next_cursor` of the page before."),
        "skip": Field("How many to leave out first.", ("integer",), more={"minimum": 0, "maximum": limits.SKIP_MAX}),
    },
)
_DELETE = Shape(
    "How to delete.",
    {"hard": Field("Erase the rows for good.", ("boolean",), more={"default": False})},
)


@router.post(
    "",
    operation_id="createConversation",
    summary="Create a conversation",
    status_code=201,
    responses=gives(
        "Conversation",
        created=True,
        existing="One with this `external_key` is there; nothing was applied.",
        problems=(400, 404, 422),
        headers=("Location", "ETag"),
    ),
    openapi_extra=asks("NewConversation", parameters=[IDEMPOTENCY_KEY]),
)
async def create(request: Request, user: Caller) -> Response:
    """With its first messages if any, all or nothing. The same `Idempotency-Key` again gives the first result."""
    fields = NEW_CONVERSATION.read(await read_json(request))
    created = await user.create_or_get(
        title=fields.text("title"),
        system_prompt=fields.text("system_prompt"),
        metadata=fields.mapping("metadata"),
        external_key=fields.text("external_key"),
        role_policy=cast("Policy", fields.text("role_policy") or "strict"),  # checked there
        messages=[message_from_json(message, field="messages") for message in fields.sequence("messages") or []],
        key=idempotency_key(request),
    )
    shown = created.conversation
    headers = {"Location": location(request, shown.id), "ETag": etag(shown)}
    return JsonResponse(shown.to_dict(), 201 if created.created else 200, headers)


@router.get(
    "",
    operation_id="listConversations",
    summary="List conversations, newest activity first",
    responses=gives("ConversationPage", problems=(400, 422)),
    openapi_extra=asks(query=_LIST),
)
async def list_conversations(request: Request, user: Caller) -> Response:
    """Give `next_cursor` back as `cursor` for the next page: nothing is skipped, as it may be with `skip`."""
    fields = _LIST.read_query(request)
    limit, skip = fields.whole("limit"), fields.whole("skip")
    page = await user.list(
        status=cast("Status | None", fields.text("status")),  # checked there
        limit=limits.PAGE_DEFAULT if limit is None else limit,
        cursor=fields.text("cursor"),
        skip=0 if skip is None else skip,
    )
    return _page(page)


@router.get(
    "/active",
    operation_id="listActiveConversations",
    summary="The 10 conversations with the newest activity",
    responses=gives("ConversationPage", problems=(422,)),
)
async def list_active(request: Request, user: Caller) -> Response:
    """For the list at a chat's side. Archived ones are left out; `next_cursor` goes on with `status=active`."""
    Shape("Nothing.", {}).read_query(request)
    return _page(await user.list(status="active", limit=ACTIVE))


@router.delete("/active", include_in_schema=False)
@router.patch("/active", include_in_schema=False)
async def refuse_active() -> Response:
    """`active` is no conversation that could be changed."""
    raise MethodNotAllowed(("GET",))


@router.get(
    "/{conversation_id}",
    operation_id="getConversation",
    summary="Read a conversation",
    responses=gives("Conversation", problems=(404,), headers=("ETag",)) | NOT_MODIFIED,
    openapi_extra=asks(parameters=[IF_NONE_MATCH]),
)
@router.head("/{conversation_id}", include_in_schema=False)
async def get(conversation_id: str, request: Request, user: Caller) -> Response:
    """Without its messages. The `ETag` is its version, for `If-Match`, and for `If-None-Match` to ask for news."""
    found = await user.get(conversation_id)
    if is_known(request, found):
        return Response(status_code=304, headers={"ETag": etag(found)})
    return _one(found)


@router.patch(
    "/{conversation_id}",
    operation_id="updateConversation",
    summary="Change a conversation's title, status or metadata",
    responses=gives("Conversation", problems=(404, 412, 422), headers=("ETag",)),
    openapi_extra=asks("ConversationChanges", parameters=[IF_MATCH]),
)
async def update(conversation_id: str, request: Request, user: Caller) -> Response:
    """Fields left out stay as they are, so `{}` changes nothing. `metadata` is replaced as a whole."""
    fields = CONVERSATION_CHANGES.read(await read_json(request))
    changed = await user.update(
        conversation_id,
        title=fields.text("title") if fields.has("title") else UNSET,
        status=cast("Status", fields.required_text("status")) if fields.has("status") else UNSET,  # checked there
        metadata=_metadata(fields),
        expected_version=expected_version(request),
    )
    return _one(changed)


def _metadata(fields: Fields) -> JsonObject | Unset:
    metadata = fields.mapping("metadata")
    return UNSET if metadata is None else metadata


@router.delete(
    "/{conversation_id}",
    operation_id="deleteConversation",
    summary="Delete a conversation",
    status_code=204,
    responses=gives(None, problems=(404, 412, 422)),
    openapi_extra=asks(query=_DELETE, parameters=[IF_MATCH]),
)
async def delete(conversation_id: str, request: Request, user: Caller) -> Response:
    """It cannot be found any more; with `hard` its rows are erased."""
    fields = _DELETE.read_query(request)
    await user.delete(conversation_id, hard=fields.flag("hard"), expected_version=expected_version(request))
    return Response(status_code=204)


def _one(conversation: Conversation) -> JsonResponse:
    return JsonResponse(conversation.to_dict(), headers={"ETag": etag(conversation)})


def _page(page: ConversationPage) -> JsonResponse:
    return JsonResponse(
        {
            "items": [conversation.to_dict() for conversation in page.items],
            "next_cursor": page.next_cursor,
            "has_more": page.has_more,
        }
    )
