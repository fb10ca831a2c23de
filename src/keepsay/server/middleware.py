"""What every request passes: an id, the gate, the body's limit. Pure ASGI, so that streams pass unhindered."""

from __future__ import annotations

import asyncio
import re
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keepsay.errors import KeepsayError
from keepsay.server.auth import Authenticator
from keepsay.server.observe.logs import REQUEST_ID, careful_logger
from keepsay.server.observe.requests import REQUEST_ID_KEY
from keepsay.server.problems import problem_response, unexpected_response
from keepsay.server.refusals import BodyTooLarge, ServerStopping

__all__ = ["BodyLimit", "Gate", "RequestIds", "add_always"]

logger = careful_logger("keepsay.server")

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_ALWAYS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_LENGTH = re.compile(r"[0-9]{1,15}")
_DRAIN_BYTES = 64 * 1024 * 1024
_DRAIN_SECONDS = 2.0


class RequestIds:
    """Puts ``X-Request-ID`` on every answer, the client's own if it is sane. A bug and a stop answer too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = Headers(scope=scope).get("x-request-id", "")
        request_id = said if _SANE_ID.fullmatch(said) else uuid4().hex
        scope[REQUEST_ID_KEY] = request_id
        logged = REQUEST_ID.set(request_id)
        started = False

        async def send_marked(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                add_always(headers)
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        except asyncio.CancelledError:
            if not started:
                await problem_response(ServerStopping(), scope["method"])(scope, receive, send_marked)
            raise
        except Exception:
            logger.exception("request %s ran into a bug", request_id)
            if started:
                raise  # the answer is cut off, which the client then sees
            await unexpected_response()(scope, receive, send_marked)
        finally:
            REQUEST_ID.reset(logged)


def add_always(headers: MutableHeaders) -> None:
    """Nothing is kept by caches, and nothing is taken for another type than it says."""
    for name, value in _ALWAYS.items():
        headers.setdefault(name, value)


class Gate:
    """Lets in what the way to know users lets in, before anything is read."""

    def __init__(self, app: ASGIApp, auth: Authenticator) -> None:
        self._app = app
        self._auth = auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            try:
                self._auth.admit(HTTPConnection(scope))
            except KeepsayError as error:
                await problem_response(error, scope.get("method", "GET"))(scope, receive, send)
                return
        await self._app(scope, receive, send)


class BodyLimit:
    """Refuses bodies over ``limit`` bytes: by their Content-Length at once, otherwise by count."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        error = BodyTooLarge(self._limit)
        headers = Headers(scope=scope)
        if any(not _LENGTH.fullmatch(said) or int(said) > self._limit for said in headers.getlist("content-length")):
            if "expect" not in headers:  # it waits to be told before it sends
                await _drain(receive)
            await problem_response(error, scope["method"])(scope, receive, send)
            return
        counted = 0

        async def receive_counted() -> Message:
            nonlocal counted
            message = await receive()
            counted += len(message.get("body", b""))
            if counted > self._limit:
                await _drain(receive)
                raise error
            return message

        await self._app(scope, receive_counted, send)


async def _drain(receive: Receive) -> None:
    """Read on for a moment: a client that is cut off while it sends may never read why."""
    drained = 0
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while drained < _DRAIN_BYTES:
                message = await receive()
                drained += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
