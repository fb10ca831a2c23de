"""``/api/conversations/{id}/messages``: append, read, delete."""

from __future__ import annotations

import re

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from keepsay.errors import InvalidCursor, InvalidInput
from keepsay.library.incoming import message_from_json
from keepsay.library.messages import AnyMessage
from keepsay.model import limits
from keepsay.model.ids import parse_message_id
from keepsay.model.json_text import JsonObject, JsonValue
from keepsay.server.bodies import JsonResponse, read_json
from keepsay.server.fields import Field, Fields, Shape
from keepsay.server.openapi import IDEMPOTENCY_KEY, asks, gives
from keepsay.server.parts import Caller, idempotency_key, replay_mark
from keepsay.server.routing import UserRoute
from keepsay.server.shapes import NEW_MESSAGES

__all__ = ["router"]

_CURSOR = re.compile(r"[0-9]{1,10}")
_SEQ: JsonObject = {"minimum": 0, "maximum": limits.SEQ_MAX}

router = APIRouter(prefix="/conversations/{conversation_id}/messages", tags=["messages"], route_class=UserRoute)

_LIST = Shape(
    "Part of a conversation's messages.",
    {
        "after": Field("Those with a greater seq.", ("integer",), more=_SEQ),
        "before": Field("Those with a smaller seq.", ("integer",), more=_SEQ),
        "cursor": Field("The `next_cursor` of the page before: the seq at which it ended."),
        "limit": Field(
            "How many at most.",
            ("integer",),
            more={"minimum": 1, "maximum": limits.PAGE_MAX, "default": limits.PAGE_DEFAULT},
        ),
        "order": Field("Oldest or newest first.", more={"enum": ["asc", "desc"], "default": "asc"}),
    },
)
_BESIDE = Shape("What may stand beside a message.", {"expected_seq": NEW_MESSAGES.fields["expected_seq"]})


@router.post(
    "",
    operation_id="appendMessages",
    summary="Append one message, or several at once",
    status_code=201,
    responses=gives("Appended", created=True, problems=(400, 404, 409, 422)),
    openapi_extra=asks("NewMessages", parameters=[IDEMPOTENCY_KEY]),
)
async def append(conversation_id: str, request: Request, user: Caller) -> Response:
    """All or none, adjacent. The same `Idempotency-Key` again gives the first result, `replayed`."""
    messages, expected_seq = _read_messages(await read_json(request))
    done = await user.append(conversation_id, *messages, key=idempotency_key(request), expected_seq=expected_seq)
    shown: JsonObject = {
        "messages": [message.to_dict() for message in done.messages],
        "head": done.head,
        "replayed": done.replayed,
    }
    return JsonResponse(shown, 201, replay_mark(done.replayed))


def _read_messages(body: JsonValue) -> tuple[list[AnyMessage], int | None]:
    """The messages of ``{messages: [...], expected_seq?}``, or the one that the body is, and ``expected_seq``."""
    if isinstance(body, dict) and "messages" in body:
        fields = NEW_MESSAGES.read(body)
        given = fields.sequence("messages") or []
        return [message_from_json(message, field="messages") for message in given], fields.whole("expected_seq")
    if not isinstance(body, dict):
        raise InvalidInput("The body is a message, or an object with messages.")
    beside = _BESIDE.read({name: body.pop(name) for name in _BESIDE.fields if name in body})
    return [message_from_json(body)], beside.whole("expected_seq")


@router.get(
    "",
    operation_id="listMessages",
    summary="Read the messages",
    responses=gives("MessagePage", problems=(400, 404, 422)),
    openapi_extra=asks(query=_LIST),
)
async def list_messages(conversation_id: str, request: Request, user: Caller) -> Response:
    """The log, in the order of `seq`. A page after a seq never skips or repeats, whatever is appended meanwhile."""
    fields = _LIST.read_query(request)
    newest_first = _is_newest_first(fields)
    after, before = _between(fields, newest_first=newest_first)
    limit = fields.whole("limit")
    page = await user.messages(
        conversation_id,
        after=after,
        before=before,
        limit=limits.PAGE_DEFAULT if limit is None else limit,
        newest_first=newest_first,
    )
    shown: JsonObject = {
        "items": [message.to_dict() for message in page.items],
        "next_cursor": str(page.items[-1].seq) if page.has_more else None,
        "has_more": page.has_more,
    }
    return JsonResponse(shown)


def _is_newest_first(fields: Fields) -> bool:
    order = fields.text("order")
    if order not in (None, "asc", "desc"):
        raise InvalidInput("order is 'asc' or 'desc'.", field="order")
    return order == "desc"


def _between(fields: Fields, *, newest_first: bool) -> tuple[int, int | None]:
    """The seqs to read between, both exclusive; a cursor is the one of them that the last page ended at."""
    after, before, cursor = fields.whole("after"), fields.whole("before"), fields.text("cursor")
    if cursor is not None:
        if not _CURSOR.fullmatch(cursor) or int(cursor) > limits.SEQ_MAX:
            raise InvalidCursor
        if (before if newest_first else after) is not None:
            moved = "before" if newest_first else "after"
            raise InvalidInput(f"cursor takes the place of {moved} here; give one of them.", field="cursor")
        after, before = (after, int(cursor)) if newest_first else (int(cursor), before)
    return 0 if after is None else after, before


@router.delete(
    "/{message_id}",
    operation_id="deleteMessage",
    summary="Delete a message",
    status_code=204,
    responses=gives(None, problems=(404, 409)),
)
async def delete(conversation_id: str, message_id: str, request: Request, user: Caller) -> Response:
    """Its words are gone for good, and summaries that tell of it; its `seq` stays in the log, with nothing in it."""
    Shape("Nothing.", {}).read_query(request)
    await user.delete_message(conversation_id, parse_message_id(message_id))
    return Response(status_code=204)
