"""``/api/conversations/{id}/window`` and ``/status``: what the model would see, and where the conversation stands."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from keepsay.errors import InvalidInput
from keepsay.model import limits
from keepsay.model.messages import CHAT, OPENAI_RESPONSES
from keepsay.model.window import Window, WindowFormat
from keepsay.server.bodies import JsonResponse
from keepsay.server.fields import Field, Fields, Shape
from keepsay.server.openapi import asks, gives
from keepsay.server.parts import Caller
from keepsay.server.routing import UserRoute

__all__ = ["router"]

router = APIRouter(prefix="/conversations/{conversation_id}", tags=["conversations"], route_class=UserRoute)

_WINDOW = Shape(
    "How much the model gets, and how.",
    {
        "max_messages": Field(
            "How many messages at most, the system prompt aside.",
            ("integer",),
            more={
                "minimum": 1,
                "maximum": limits.WINDOW_MAX_MESSAGES,
                "default": limits.WINDOW_DEFAULT_MESSAGES,
            },
        ),
        "max_tokens": Field(
            "How many tokens, estimated, at most.",
            ("integer",),
            more={"minimum": 1, "maximum": limits.WINDOW_MAX_TOKENS},
        ),
        "format": Field(
            "For Chat Completions, or for Responses.", more={"enum": [CHAT, OPENAI_RESPONSES], "default": CHAT}
        ),
        "explain": Field("Say for every message why it is in or out.", ("boolean",), more={"default": False}),
    },
)


@router.get(
    "/window",
    operation_id="getWindow",
    summary="What the model would see",
    responses=gives("Window", problems=(404, 422)),
    openapi_extra=asks(query=_WINDOW),
)
async def get_window(conversation_id: str, request: Request, user: Caller) -> Response:
    """The system prompt, the newest summary, then the newest whole turns that fit. What is stored stays as it is."""
    fields = _WINDOW.read_query(request)
    shown_in = _format(fields)
    window = await user.window(conversation_id, _window(fields))
    return JsonResponse(window.to_dict(shown_in, explain=fields.flag("explain")))


def _window(fields: Fields) -> Window:
    count = fields.whole("max_messages")
    return Window(
        max_messages=limits.WINDOW_DEFAULT_MESSAGES if count is None else count, max_tokens=fields.whole("max_tokens")
    )


def _format(fields: Fields) -> WindowFormat:
    match fields.text("format"):
        case None | "chat":
            return CHAT
        case "openai.responses":
            return OPENAI_RESPONSES
        case _:
            raise InvalidInput(f"format is {CHAT!r} or {OPENAI_RESPONSES!r}.", field="format")


@router.get(
    "/status",
    operation_id="getStatus",
    summary="Where a conversation stands",
    responses=gives("Standing", problems=(404, 422)),
)
async def get_status(conversation_id: str, request: Request, user: Caller) -> Response:
    """Who may speak now, what was said last, and whether an answer is under way. Reads no history."""
    Shape("Nothing.", {}).read_query(request)
    return JsonResponse((await user.status(conversation_id)).to_dict())
