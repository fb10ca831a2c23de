"""Bodies in and out, by keepsay's own lossless JSON; FastAPI's answers lone surrogates and NaN with a 500."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from keepsay.errors import InvalidInput
from keepsay.model.json_text import JsonObject, JsonValue, parse_json, write_json
from keepsay.server.refusals import BodyTooSlow, NotJson

__all__ = ["BODY_SECONDS", "JsonResponse", "read_json", "read_nothing"]

BODY_SECONDS = 30.0
"""How long a body may take to arrive: a connection is not kept by dripping."""


class JsonResponse(Response):
    """A JSON answer in ASCII, keys in the order of the dict."""

    media_type = "application/json"

    def __init__(
        self,
        content: JsonObject,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
    ) -> None:
        super().__init__(write_json(content).encode(), status, headers, media_type)


async def read_json(request: Request) -> JsonValue:
    """The request's body. Raises ``NotJson``, ``BodyTooSlow``, ``MalformedJson``, ``InvalidInput``.

    A key that stands twice in one object is refused: two readers could take it for two different requests.
    """
    if not _is_json(request):
        raise NotJson
    return parse_json(await _body(request), unique_keys=True)


async def _body(request: Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.body()
    except TimeoutError:
        raise BodyTooSlow(BODY_SECONDS) from None


async def read_nothing(request: Request) -> None:
    """The body of a request that asks for nothing: none, or ``{}``. Raises as ``read_json`` does."""
    if "content-type" not in request.headers or (_is_json(request) and not await _body(request)):
        return
    if await read_json(request) != {}:
        raise InvalidInput("There is nothing to say in the body here.")


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    return kind == "application/json" and encoding == "identity"
