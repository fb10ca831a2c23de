"""The OpenAPI document: what routes say of themselves, put together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI

from keepsay.model import limits
from keepsay.model.json_text import JsonObject
from keepsay.server.fields import Shape
from keepsay.server.schemas import components

__all__ = ["IDEMPOTENCY_KEY", "IF_MATCH", "DescribedApp", "asks", "gives"]

_TITLES = {
    400: "Malformed JSON, a bad cursor, or a message that may not stand here.",
    404: "Absent, deleted, or another user's: all look the same.",
    409: "The conversation is not in the state that this needs; `head` or `run_id` say why.",
    412: "The version is another.",
    422: "A value is malformed or over its limit (`field`), or the key was used for something else.",
    502: "The agent failed. The message is kept: retry with the same `request_id`.",
    503: "The database is unavailable.",
}


def _header(name: str, about: str, more: JsonObject) -> JsonObject:
    return {"name": name, "in": "header", "required": False, "description": about, "schema": {"type": "string", **more}}


IDEMPOTENCY_KEY = _header(
    "Idempotency-Key",
    "Makes the request safe to retry: the same key again gives the first result. With other content it is refused.",
    {"minLength": 1, "maxLength": limits.KEY_CHARS},
)
IF_MATCH = _header("If-Match", "The `ETag` that the conversation must still have.", {"examples": ['"3"']})


# FastAPI's own signatures take dicts of anything here.
def asks(
    body: str | None = None, *, query: Shape | None = None, parameters: Iterable[JsonObject] = ()
) -> dict[str, Any]:
    """What an operation takes, for ``openapi_extra``: the schema of its body, its query, its headers."""
    found: dict[str, Any] = {"parameters": [*(query.parameters() if query else ()), *parameters]}
    if body is not None:
        schema = {"$ref": f"#/components/schemas/{body}"}
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return found


def gives(
    schema: str | None, *, created: bool = False, existing: str | None = None, problems: Iterable[int] = ()
) -> dict[int | str, dict[str, Any]]:
    """What an operation answers, for ``responses``; every one may also answer with another problem."""
    found: dict[int | str, dict[str, Any]] = {}
    if schema is not None:
        found[201 if created else 200] = {"description": "Done."} | _content(schema, "application/json")
        if existing is not None:
            found[200] = {"description": existing} | _content(schema, "application/json")
    for status in problems:
        found[status] = {"description": _TITLES[status]} | _content("Problem", "application/problem+json")
    found["default"] = {"description": "Any other problem."} | _content("Problem", "application/problem+json")
    return found


def _content(schema: str, kind: str) -> dict[str, Any]:
    return {"content": {kind: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}


class DescribedApp(FastAPI):
    """FastAPI, with keepsay's schemas in its document."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        document["components"] = document.get("components", {}) | {"schemas": components()}
        return document
