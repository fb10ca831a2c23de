"""The OpenAPI document: what routes say of themselves, put together.

Routes say it in full, so that it is true in any app that mounts them; keepsay's own app names what repeats.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
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
        found["requestBody"] = {"required": True} | _content(body, "application/json")
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
    return {"content": {kind: {"schema": _in_full(components()[schema])}}}


class DescribedApp(FastAPI):
    """FastAPI, with keepsay's schemas in its document."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            schemas = components()
            known = {_text(_in_full(schema)): name for name, schema in schemas.items()}
            document = super().openapi()
            document["paths"] = _named(document["paths"], known)
            document["components"] = document.get("components", {}) | {"schemas": schemas}
            self.openapi_schema = document
        return self.openapi_schema


def _in_full(value: Any) -> Any:
    """A schema with what it refers to in the place of each reference."""
    if isinstance(value, dict):
        if isinstance(ref := value.get("$ref"), str):
            return _in_full(components()[ref.rpartition("/")[2]])
        return {name: _in_full(part) for name, part in value.items()}
    return [_in_full(part) for part in value] if isinstance(value, list) else value


def _named(value: Any, known: Mapping[str, str]) -> Any:
    """A part of the document with a reference in the place of each schema that has a name."""
    if isinstance(value, dict):
        if (name := known.get(_text(value))) is not None:
            return {"$ref": f"#/components/schemas/{name}"}
        return {key: _named(part, known) for key, part in value.items()}
    return [_named(part, known) for part in value] if isinstance(value, list) else value


def _text(value: Any) -> str:
    return json.dumps(_without_nulls(value), sort_keys=True)


def _without_nulls(value: Any) -> Any:
    """FastAPI leaves them out of a document."""
    if isinstance(value, dict):
        return {name: _without_nulls(part) for name, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value] if isinstance(value, list) else value
