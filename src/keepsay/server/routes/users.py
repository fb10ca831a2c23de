"""``/api/users/{user_id}``: what a user may ask for: everything that is kept of them, and that it be erased."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from keepsay.library.scope import UserScope
from keepsay.model.json_text import JsonObject, write_json
from keepsay.server.bodies import JsonResponse
from keepsay.server.openapi import gives, refuses
from keepsay.server.parts import AskingOf
from keepsay.server.routing import UserRoute

__all__ = ["JSON_LINES", "router"]

JSON_LINES = "application/x-ndjson"
_CHUNK_BYTES = 64 * 1024

router = APIRouter(prefix="/users/{user_id}", tags=["users"], route_class=UserRoute)

# FastAPI's own type for it.
_EXPORTED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Everything, one JSON object a line. Only with a last line of type `end` is it whole.",
        "content": {
            JSON_LINES: {
                "schema": {"type": "string"},
                "example": '{"type":"end","conversations":0,"messages":0}\n',
            }
        },
    }
}


@router.delete(
    "",
    operation_id="eraseUser",
    summary="Erase everything that is kept of a user",
    responses=gives("Erased", problems=(404, 422)),
)
async def erase(user_id: str, asking: AskingOf) -> Response:
    """Every row in every table, for good, and a receipt. Of yourself; operators of anybody. Again: zeros."""
    user = asking.subject(user_id)
    erased = await user.erase()
    shown: JsonObject = {
        "user_id": user.user_id,
        "erased_at": datetime.now(UTC).isoformat(),
        "erased": dict(asdict(erased)),
    }
    return JsonResponse(shown)


@router.get(
    "/export",
    operation_id="exportUser",
    summary="Export everything that is kept of a user",
    responses=_EXPORTED | refuses(404, 422),
)
async def export(user_id: str, asking: AskingOf) -> Response:
    """Each conversation is a line of type `conversation`, followed by its messages, payloads verbatim."""
    chunks = _chunks(asking.subject(user_id))
    first = await anext(chunks)  # what hinders it from the start is still answered as a problem
    return StreamingResponse(_rest(first, chunks), media_type=JSON_LINES)


async def _rest(first: bytes, chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with contextlib.aclosing(chunks):
        yield first
        async for chunk in chunks:
            yield chunk


async def _chunks(user: UserScope) -> AsyncGenerator[bytes]:
    """The lines, some at a time: never all of them in memory."""
    waiting = bytearray()
    async for line in user.export():
        waiting += write_json(line).encode() + b"\n"
        if len(waiting) >= _CHUNK_BYTES:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)
