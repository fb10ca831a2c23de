"""What routes say of themselves in OpenAPI: in full, so that it is true in any app that mounts them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keepsay.model import limits
from keepsay.model.json_text import JsonObject
from keepsay.server.fields import Shape
from keepsay.server.schemas import components

__all__ = [
    "IDEMPOTENCY_KEY",
    "IF_MATCH",
    "IF_NONE_MATCH",
    "NOT_MODIFIED",
    "accepts",
    "asks",
    "gives",
    "in_full",
    "refuses",
]

_TITLES = {
    400: "Malformed JSON, a bad cursor, or a message that may not stand here.",
    401: "Nobody has said, or proved, who is asking.",
    403: "Not from this host, or not from this page.",
    404: "Absent, deleted, or another user's: all look the same.",
    408: "The body did not arrive in time.",
    409: "The conversation is not in the state that this needs; `head` or `run_id` say why.",
    412: "The version is another.",
    413: "The body is too large.",
    415: "The body is not declared as JSON, or it is compressed.",
    422: "A value is malformed or over its limit (`field`), or the key was used for something else.",
    429: "The user has begun too many runs of late.",
    500: "Stored data is damaged, or the server has a bug; its log says which.",
    502: "The agent failed. The message is kept: retry with the same `request_id`.",
    503: "The database is unavailable, or the server is stopping.",
}
_RETRY_AFTER: JsonObject = {
    "description": "After how many seconds it may go better.",
    "schema": {"type": "integer", "minimum": 1},
}
_PROBLEM_HEADERS: dict[int, JsonObject] = {
    401: {"WWW-Authenticate": {"description": "What proves it.", "schema": {"type": "string"}}},
    409: {"Retry-After": _RETRY_AFTER},
    429: {"Retry-After": _RETRY_AFTER},
    503: {"Retry-After": _RETRY_AFTER},
}
_HEADERS: JsonObject = {
    "ETag": {"description": "The version, for `If-Match`.", "schema": {"type": "string", "pattern": '^"[0-9]+"$'}},
    "Location": {"description": "Where it can be read.", "schema": {"type": "string", "format": "uri-reference"}},
    "Idempotent-Replayed": {"description": "This was done before, and is told again.", "schema": {"const": "true"}},
}


def _header(name: str, about: str, more: JsonObject) -> JsonObject:
    return {"name": name, "in": "header", "required": False, "description": about, "schema": {"type": "string", **more}}


IDEMPOTENCY_KEY = _header(
    "Idempotency-Key",
    "Makes the request safe to retry: the same key again gives the first result. With other content it is refused.",
    {"minLength": 1, "maxLength": limits.KEY_CHARS},
)
IF_NONE_MATCH = _header("If-None-Match", "The `ETag` that you have; if it is still that, 304.", {"examples": ['"3"']})
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "It is still what you have."}}
IF_MATCH = _header(
    "If-Match",
    "The `ETag` that the conversation must still have; `*` is any.",
    {"pattern": r'^("[0-9]{1,9}"|\*)$', "examples": ['"3"']},
)


# FastAPI's own signatures take dicts of anything here.
def asks(
    body: str | None = None,
    *,
    required: bool = True,
    query: Shape | None = None,
    parameters: Iterable[JsonObject] = (),
) -> dict[str, Any]:
    """What an operation takes, for ``openapi_extra``: the schema of its body, its query, its headers."""
    found: dict[str, Any] = {"parameters": [*(query.parameters() if query else ()), *parameters]}
    if body is not None:
        found["requestBody"] = {"required": required} | _content(body, "application/json")
    return found


def gives(
    schema: str | None,
    *,
    created: bool = False,
    existing: str | None = None,
    problems: Iterable[int] = (),
    headers: Iterable[str] = (),
) -> dict[int | str, dict[str, Any]]:
    """What an operation answers, for ``responses``; its route adds the problems that all routes of its class have."""
    found: dict[int | str, dict[str, Any]] = {}
    if schema is not None:
        shown = _content(schema, "application/json") | _with({name: _HEADERS[name] for name in headers})
        found[201 if created else 200] = {"description": "Done."} | shown
        if existing is not None:
            found[200] = {"description": existing} | shown
    return found | refuses(*problems)


def accepts(schema: str) -> dict[int | str, dict[str, Any]]:
    """What an operation that goes on after its answer gives at once, for ``responses``."""
    headers: JsonObject = {"Location": _HEADERS["Location"], "Idempotent-Replayed": _HEADERS["Idempotent-Replayed"]}
    return {202: {"description": "Under way."} | _content(schema, "application/json") | _with(headers)}


def refuses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that are answered with these statuses."""
    shown = _content("Problem", "application/problem+json")
    return {
        status: {"description": _TITLES[status]} | shown | _with(_PROBLEM_HEADERS.get(status, {}))
        for status in statuses
    }


def _with(headers: JsonObject) -> dict[str, Any]:
    return {"headers": headers} if headers else {}


def _content(schema: str, kind: str) -> dict[str, Any]:
    return {"content": {kind: {"schema": in_full(components()[schema])}}}


def in_full(value: Any) -> Any:
    """A schema with what it refers to in the place of each reference."""
    if isinstance(value, dict):
        if isinstance(ref := value.get("$ref"), str):
            return in_full(components()[ref.rpartition("/")[2]])
        return {name: in_full(part) for name, part in value.items()}
    return [in_full(part) for part in value] if isinstance(value, list) else value
