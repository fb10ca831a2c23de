"""Turns with the agent: ``continue`` in a conversation, and ``chat`` that makes one when needed."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from keepsay.errors import InvalidInput, KeepsayError, RateLimited
from keepsay.library.ids import key_for
from keepsay.library.messages import user as user_message
from keepsay.library.scope import UserScope
from keepsay.model.json_text import JsonObject
from keepsay.model.messages import NewMessage
from keepsay.server.bodies import JsonResponse, read_json
from keepsay.server.fields import Fields
from keepsay.server.openapi import IDEMPOTENCY_KEY, asks, gives
from keepsay.server.parts import AskingOf, Caller, replay_mark, request_id_of, window_of
from keepsay.server.routing import UserRoute
from keepsay.server.shapes import CHAT, CONTINUE
from keepsay.server.turns import Asked, Turn, Turns

__all__ = ["router"]

router = APIRouter(tags=["chat"], route_class=UserRoute)

_PROBLEMS = (400, 404, 409, 422, 429, 502)


@router.post(
    "/conversations/{conversation_id}/continue",
    operation_id="continueConversation",
    summary="Say something, and get the agent's answer",
    responses=gives("Continued", problems=_PROBLEMS),
    openapi_extra=asks("Continue", parameters=[IDEMPOTENCY_KEY]),
)
async def continue_conversation(conversation_id: str, request: Request, user: Caller, asking: AskingOf) -> Response:
    """Stores the message, runs the agent, stores its answer. The same `request_id` again gives the same answer."""
    fields = CONTINUE.read(await read_json(request))
    request_id = request_id_of(request, fields.text("request_id"))
    asked = Asked((_message(fields),), request_id, window_of(fields))
    turn = await asking.turns.take(user, conversation_id, asked)
    shown = _shown(turn) | {"message": _answer(turn), "replayed": turn.replayed}
    return JsonResponse(shown, headers=replay_mark(turn.replayed))


@router.post(
    "/{user_id}/chat",
    operation_id="chat",
    summary="Chat as a user; a conversation is made when none is named",
    responses=gives("Chatted", problems=_PROBLEMS),
    openapi_extra=asks("Chat", parameters=[IDEMPOTENCY_KEY]),
)
async def chat(user_id: str, request: Request, asking: AskingOf) -> Response:
    """As `continue`. With a `request_id` the first turn, too, makes its conversation and its answer exactly once."""
    user = asking.user(user_id)
    fields = CHAT.read(await read_json(request))
    message = _message(fields)
    request_id = request_id_of(request, fields.text("request_id"))
    conversation_id = fields.text("conversation_id")
    if conversation_id is None:
        turn = await _first_turn(asking.turns, user, message, request_id)
    else:
        turn = await asking.turns.take(user, conversation_id, Asked((message,), request_id))
    return JsonResponse(_shown(turn), headers=replay_mark(turn.replayed))


async def _first_turn(turns: Turns, user: UserScope, message: NewMessage, request_id: str | None) -> Turn:
    """Create the conversation together with the user's message: no failure leaves an empty one behind."""
    key = None if request_id is None else key_for("chat", request_id)
    created = await user.create(messages=[message], key=key)
    try:
        return await turns.take(user, created.id, Asked(request_id=request_id))
    except KeepsayError as error:
        if isinstance(error, RateLimited) and request_id is None:
            await user.delete(created.id, hard=True)  # nobody knows of it, and nobody can come back for it
        else:
            error.outcome = "unknown"  # the agent may not have answered, but the message is stored
        raise


def _message(fields: Fields) -> NewMessage:
    text = fields.required_text("message")
    if not text.strip():
        raise InvalidInput("message is blank.", field="message")
    return user_message(text)


def _shown(turn: Turn) -> JsonObject:
    return {
        "conversation_id": str(turn.run.conversation_id),
        "response": turn.response,
        "tool_calls": turn.tool_calls,
        "run_id": str(turn.run.id),
    }


def _answer(turn: Turn) -> JsonObject | None:
    return None if turn.answer is None else turn.answer.to_dict()
