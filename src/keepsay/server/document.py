"""The OpenAPI document of keepsay's own app: what its routes say, and what the way to know users adds to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI

from keepsay.model.json_text import JsonObject
from keepsay.server.auth import USER_HEADER
from keepsay.server.auth.dev import OPERATOR_HEADER
from keepsay.server.openapi import in_full, refuses
from keepsay.server.schemas import components
from keepsay.server.settings import AuthName
from keepsay.server.shapes import USER_ID

__all__ = ["DescribedApp"]

_UUID: JsonObject = {"type": "string", "format": "uuid"}
_IN_PATHS: dict[str, JsonObject] = {
    "conversation_id": _UUID,
    "message_id": _UUID,
    "run_id": _UUID,
    "user_id": USER_ID | {"type": "string"},
}
_SCHEMES: dict[AuthName, JsonObject] = {
    "jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A token of the user's."},
    "service": {"type": "http", "scheme": "bearer", "description": "A key of a backend, which then names the user."},
}
_REFUSED: dict[AuthName, tuple[int, ...]] = {"dev": (403,), "jwt": (401,), "service": (401,)}
_USER: JsonObject = {
    "name": USER_HEADER,
    "in": "header",
    "required": False,
    "description": "The user for whom you ask; not needed where the path or the body names one.",
    "schema": USER_ID | {"type": "string"},
}
_OPERATOR: JsonObject = {
    "name": OPERATOR_HEADER,
    "in": "header",
    "required": False,
    "description": "Says that you are an operator; to others there is no such page.",
    "schema": {"type": "string", "enum": ["true"]},
}


class DescribedApp(FastAPI):
    """FastAPI, with keepsay's schemas in its document, and how to say who is asking."""

    def __init__(self, *, auth: AuthName, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._auth = auth

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            document = super().openapi()
            for operation in _operations(document):
                self._complete(operation)
            schemas = components()
            known = {_text(in_full(schema)): name for name, schema in schemas.items()}
            document["paths"] = _named(document["paths"], known)
            document["components"] = document.get("components", {}) | {"schemas": schemas}
            if self._auth in _SCHEMES:
                document["components"]["securitySchemes"] = {self._auth: _SCHEMES[self._auth]}
            self.openapi_schema = document
        return self.openapi_schema

    def _complete(self, operation: dict[str, Any]) -> None:
        """Say what the way to know users asks and refuses, and of what kind ids are."""
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                parameter["schema"] |= _IN_PATHS.get(parameter["name"], {})
        is_public = operation["x-keepsay-scope"] == "public"
        if self._auth == "dev" or not is_public:
            answers = {str(status): answer for status, answer in refuses(*_REFUSED[self._auth]).items()}
            operation["responses"] = dict(sorted((operation["responses"] | answers).items()))
        if is_public:
            return
        if self._auth in _SCHEMES:
            operation["security"] = [{self._auth: []}]
        operation["parameters"] = [*operation.get("parameters", ()), *self._headers(operation["x-keepsay-scope"])]

    def _headers(self, scope: str) -> Iterator[JsonObject]:
        if scope == "user" and self._auth != "jwt":
            yield _USER
        if scope == "operator" and self._auth == "dev":
            yield _OPERATOR


def _operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in document["paths"].values():
        yield from methods.values()


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
