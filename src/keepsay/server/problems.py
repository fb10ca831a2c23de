"""The one table from keepsay's errors to HTTP: ``application/problem+json`` (RFC 9457).

A problem has ``type, title, status, detail, code``, the error's own facts, and the ``outcome`` of a write. It never
holds the request's id, so that the answers for absent, deleted and other users' things are equal byte for byte.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from starlette.responses import Response

from keepsay import errors
from keepsay.model.json_text import JsonObject, JsonValue, MalformedJson
from keepsay.server import refusals
from keepsay.server.bodies import JsonResponse
from keepsay.server.observe.logs import PROBLEM_CODE, careful_logger

__all__ = ["problem_response", "unexpected_response"]

logger = careful_logger("keepsay.server")

_HIDDEN = "The server cannot do this at the moment; its log says why."
_UNEXPECTED = "Something went wrong in the server; its log says what."


@dataclass(frozen=True, slots=True)
class _Kind:
    """A row of the table. ``facts`` are the fields of the error that go out; ``detail`` takes its message's place."""

    status: int
    title: str
    facts: tuple[str, ...] = ()
    detail: str | None = None


_TABLE: dict[type[errors.KeepsayError], _Kind] = {
    MalformedJson: _Kind(400, "The body is not JSON"),
    errors.InvalidCursor: _Kind(400, "The cursor is not valid", ("field",)),
    errors.TooLarge: _Kind(422, "A value is over its limit", ("field", "size", "limit", "unit")),
    errors.InvalidInput: _Kind(422, "A value is not valid", ("field",)),
    errors.UnansweredCalls: _Kind(400, "Tool calls are not answered", ("last_role", "attempted_role", "open_calls")),
    errors.RoleOrderError: _Kind(400, "The message may not stand here", ("last_role", "attempted_role")),
    errors.NotFound: _Kind(404, "Not found"),
    errors.SeqMismatch: _Kind(409, "Somebody else appended first", ("expected", "head")),
    errors.VersionMismatch: _Kind(412, "The version is another", ("expected", "version")),
    errors.KeyReused: _Kind(422, "The key was used for something else"),
    errors.ConversationBusy: _Kind(409, "A run holds the conversation", ("run_id", "retry_after")),
    errors.RunSuperseded: _Kind(409, "The run no longer holds the conversation", ("run_id",)),
    errors.Conflict: _Kind(409, "Conflict"),
    errors.QuotaExceeded: _Kind(429, "The day's runs are used up", ("limit", "retry_after")),
    errors.RateLimited: _Kind(429, "Too many runs", ("limit", "retry_after")),
    errors.Unavailable: _Kind(503, "The database is unavailable", ("retry_after",)),
    errors.SchemaMismatch: _Kind(503, "The server is not ready", detail=_HIDDEN),
    errors.ConfigurationError: _Kind(503, "The server is not ready", detail=_HIDDEN),
    errors.CorruptData: _Kind(500, "Stored data is damaged", detail=_UNEXPECTED),
    errors.KeepsayError: _Kind(500, "Unexpected error", detail=_UNEXPECTED),
    refusals.Unauthenticated: _Kind(401, "Not authenticated"),
    refusals.IssuerUnavailable: _Kind(503, "The issuer of tokens is unavailable", ("retry_after",)),
    refusals.Forbidden: _Kind(403, "Forbidden"),
    refusals.NoSuchPage: _Kind(404, "Not found"),
    refusals.MethodNotAllowed: _Kind(405, "Method not allowed", ("allowed",)),
    refusals.BodyTooSlow: _Kind(408, "The body is too slow"),
    refusals.BodyTooLarge: _Kind(413, "The body is too large", ("limit",)),
    refusals.NotJson: _Kind(415, "The body is not declared as JSON"),
    refusals.ServerStopping: _Kind(503, "The server is stopping", ("retry_after",)),
    refusals.AgentFailed: _Kind(502, "The agent failed", ("run_id", "conversation_id", "request_id")),
}

_TO_RETRY = (
    errors.ConversationBusy,
    errors.RateLimited,
    errors.Unavailable,
    refusals.IssuerUnavailable,
    refusals.ServerStopping,
)
_READS = frozenset({"GET", "HEAD", "OPTIONS"})


def problem_response(error: errors.KeepsayError, method: str) -> Response:
    """The answer that tells of the error. ``outcome`` is left out where nothing was to be written."""
    kind = next(_TABLE[step] for step in type(error).__mro__ if step in _TABLE)
    if kind.detail is not None:
        logger.error("%s: %s", error.code, error.message)
    body = _problem(kind, error.code, kind.detail or error.message)
    body |= {name: _shown(value) for name in kind.facts if (value := getattr(error, name)) is not None}
    if method not in _READS:
        body["outcome"] = error.outcome
    if isinstance(error, errors.RoleOrderError):
        # The fields by which the users' own documents know this error; absent roles are told as null.
        body |= {"error": error.code, "message": error.message}
        body |= {"last_role": error.last_role, "attempted_role": error.attempted_role}
    return JsonResponse(body, kind.status, _headers(error), media_type="application/problem+json")


def unexpected_response() -> Response:
    """The answer to a request that ran into a bug: what happened stands in the log alone."""
    body = _problem(_TABLE[errors.KeepsayError], "internal_error", _UNEXPECTED) | {"outcome": "unknown"}
    return JsonResponse(body, 500, media_type="application/problem+json")


def _problem(kind: _Kind, code: str, detail: str) -> JsonObject:
    PROBLEM_CODE.set(code)  # for the request's line in the log
    return {
        "type": f"urn:keepsay:problem:{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "code": code,
    }


def _shown(value: object) -> JsonValue:
    if isinstance(value, tuple):
        return [str(item) for item in value]
    assert isinstance(value, str | int | float)
    return round(value, 3) if isinstance(value, float) else value


def _headers(error: errors.KeepsayError) -> dict[str, str]:
    if isinstance(error, _TO_RETRY):
        return {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
    if isinstance(error, refusals.MethodNotAllowed):
        return {"Allow": ", ".join(error.allowed)}
    if isinstance(error, refusals.Unauthenticated):
        return {"WWW-Authenticate": "Bearer"}
    return {}
