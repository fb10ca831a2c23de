"""``/api/conversations/{id}/runs``: run the agent, and see what became of it."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from keepsay.errors import InvalidInput, KeepsayError
from keepsay.library.incoming import message_from_json
from keepsay.library.messages import AnyMessage
from keepsay.library.messages import user as user_message
from keepsay.library.scope import UserScope
from keepsay.model import limits
from keepsay.model.conversation import RunRecord
from keepsay.model.json_text import JsonValue
from keepsay.server.bodies import JsonResponse, read_json, read_nothing
from keepsay.server.fields import Fields
from keepsay.server.openapi import IDEMPOTENCY_KEY, accepts, asks, gives
from keepsay.server.parts import AskingOf, Caller, location, replay_mark, request_id_of, window_of
from keepsay.server.routing import UserRoute
from keepsay.server.shapes import NOTHING, RUN
from keepsay.server.turns import Asked, BegunTurn
from keepsay.store.protocol import OnBusy

__all__ = ["router"]

router = APIRouter(prefix="/conversations/{conversation_id}/runs", tags=["runs"], route_class=UserRoute)

_PROBLEMS = (400, 404, 409, 422, 429, 502)


@router.post(
    "",
    operation_id="runAgent",
    summary="Run the agent on a conversation",
    responses=gives("AnsweredRun", problems=_PROBLEMS) | accepts("BegunRun"),
    openapi_extra=asks("RunRequest", parameters=[IDEMPOTENCY_KEY]),
)
async def run(conversation_id: str, request: Request, user: Caller, asking: AskingOf) -> Response:
    """Stores what is said, runs the agent, stores its answer: 200 when that is done, or 202 with `background`.

    A run goes on though the client leaves. The same `request_id` again gives the first answer; with `background` it
    tells how the run is now. A run that failed or expired is tried again.
    """
    fields = RUN.read(await read_json(request))
    asked = Asked(
        messages=_messages(fields),
        request_id=request_id_of(request, fields.text("request_id")),
        window=window_of(fields),
        on_busy=cast("OnBusy", fields.text("on_busy") or "reject"),  # checked there
        expected_seq=fields.whole("expected_seq"),
    )
    if fields.flag("background"):
        return _begun(request, await asking.turns.begin(user, conversation_id, asked))
    turn = await asking.turns.take(user, conversation_id, asked)
    return JsonResponse(
        {
            "run": turn.run.to_dict(),
            "messages": await _stored_by(user, turn.run),
            "response": turn.response,
            "tool_calls": turn.tool_calls,
            "replayed": turn.replayed,
        },
        headers=replay_mark(turn.replayed),
    )


def _messages(fields: Fields) -> tuple[AnyMessage, ...]:
    one, several = fields.value("message"), fields.sequence("messages")
    if one is not None and several is not None:
        raise InvalidInput("message and messages exclude each other; give one of them.", field="messages")
    if isinstance(one, str):
        if not one.strip():
            raise InvalidInput("message is blank.", field="message")
        return (user_message(one),)
    if one is not None:
        return (message_from_json(one),)
    if several == []:
        raise InvalidInput("messages is empty; leave it out to have answered what stands there.", field="messages")
    return tuple(message_from_json(message, field="messages") for message in several or ())


def _begun(request: Request, turn: BegunTurn) -> Response:
    headers = {"Location": location(request, turn.run.id)} | replay_mark(turn.replayed)
    return JsonResponse({"run": turn.run.to_dict(), "replayed": turn.replayed}, 202, headers)


async def _stored_by(user: UserScope, run: RunRecord) -> list[JsonValue]:
    """Everything that the run stored, what it was asked too: the same for its replay."""
    found: list[JsonValue] = []
    after, has_more = run.first_seq - 1, True
    try:
        while has_more:
            page = await user.messages(run.conversation_id, after=after, before=run.last_seq + 1, limit=limits.PAGE_MAX)
            found += [message.to_dict() for message in page.items if message.run_id == run.id]
            after, has_more = page.items[-1].seq if page.items else after, page.has_more
    except KeepsayError as error:
        error.outcome = "unknown"  # all is stored; only it cannot be shown
        raise
    return found


@router.get(
    "/{run_id}",
    operation_id="getRun",
    summary="See what became of a run",
    responses=gives("Run", problems=(404, 422)),
)
async def get_run(conversation_id: str, run_id: str, request: Request, user: Caller) -> Response:
    """Once it is over, its messages are those with its `run_id` from `first_seq` to `last_seq`.

    A run whose server died is `expired` when its lease has run out; the same `request_id` then tries again.
    """
    NOTHING.read_query(request)
    return JsonResponse((await user.get_run(conversation_id, run_id)).to_dict())


@router.post(
    "/{run_id}/cancel",
    operation_id="cancelRun",
    summary="Cancel a run",
    responses=gives("Run", problems=(404, 422)),
    openapi_extra=asks("Nothing", required=False),
)
async def cancel_run(conversation_id: str, run_id: str, request: Request, user: Caller, asking: AskingOf) -> Response:
    """The run writes nothing more; its open tool calls are answered by stand-ins. One that is over stays as it is."""
    NOTHING.read_query(request)
    await read_nothing(request)
    return JsonResponse((await asking.turns.cancel(user, conversation_id, run_id)).to_dict())
