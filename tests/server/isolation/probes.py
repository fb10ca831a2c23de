"""How to ask each operation, and every place in it where an id can stand, as the app's own routes tell it.

A new route needs a row in ``PROBES``, a new field one in ``KINDS`` or ``HARMLESS``; ``test_matrix.py`` fails without.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Literal

from fastapi import FastAPI

from keepsay.server.auth import USER_HEADER
from keepsay.server.auth.dev import OPERATOR_HEADER
from keepsay.server.routing import RouteScope

from .asking import Request
from .routes import DOCUMENT, Declared, declared_routes

__all__ = ["HARMLESS", "KINDS", "PROBES", "Choice", "Operation", "Place", "Probe", "operations", "unknown"]

Json = dict[str, Any]
Kind = Literal[
    "conversation", "message", "run", "user", "key", "external key", "client id", "version", "cursor", "log cursor"
]
Whose = Literal["mine", "theirs"]
Choice = Mapping["Place", Whose]
"""Whose id stands in which place; what is left out is not sent."""

KINDS: dict[str, Kind] = {
    "conversation_id": "conversation",
    "session_id": "conversation",
    "message_id": "message",
    "run_id": "run",
    "user_id": "user",
    "Idempotency-Key": "key",
    "request_id": "key",
    "external_key": "external key",
    "client_id": "client id",
    "If-Match": "version",
    "If-None-Match": "version",
    "cursor": "cursor",
}
"""What stands in a place of this name."""

HARMLESS = frozenset(
    """
    title status metadata system_prompt role_policy messages message content role tool_calls tool_call_id tool_name
    audio refusal payload format usage context expected_seq at_seq after before limit order skip hard max_messages
    max_tokens explain on_busy background
    """.split()  # noqa: SIM905
)
"""Names of places for contents, choices and counts: what stands there names nothing of anybody's."""

SAYS_WHO_ASKS = frozenset({USER_HEADER, OPERATOR_HEADER})
"""Names of places that no probe fills, since ``World.headers`` does."""

NAMES_A_THING: frozenset[Kind] = frozenset({"conversation", "message", "run", "user"})
"""Another's, or an absent one, is a 404; of the other kinds it is as good as new."""

_HELLO = {"role": "user", "content": "Hello"}


@dataclass(frozen=True)
class Probe:
    """What an operation is asked with, beside ids. ``kinds``: of places that mean something else here.

    ``refused``: the status of its one answer, where it is there to refuse.
    """

    body: Json | None = None
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    refused: int | None = None


PROBES: dict[str, Probe] = {
    "createConversation": Probe({"title": "Mine"}),
    "listConversations": Probe(),
    "listActiveConversations": Probe(),
    "PATCH /api/conversations/active": Probe(refused=405),
    "DELETE /api/conversations/active": Probe(refused=405),
    "getConversation": Probe(),
    "HEAD /api/conversations/{conversation_id}": Probe(),
    "updateConversation": Probe({"title": "Changed"}),
    "deleteConversation": Probe(),
    "getWindow": Probe(),
    "getStatus": Probe(),
    "forkConversation": Probe({}),
    "rewindConversation": Probe({"at_seq": 1}),
    "appendMessages": Probe({"payload": _HELLO}),
    "listMessages": Probe(kinds={"cursor": "log cursor"}),
    "deleteMessage": Probe(),
    "continueConversation": Probe({"message": "Hello"}),
    "chat": Probe({"message": "Hello"}),
    "runAgent": Probe({"message": "Hello"}),
    "getRun": Probe(),
    "cancelRun": Probe(),
    "session": Probe({"context": "Hello"}),
    "eraseUser": Probe(),
    "exportUser": Probe(),
    "listUsers": Probe(),
}
"""By operation id; hidden routes by method and path. Public routes need none: they get no id and know nobody."""


@dataclass(frozen=True)
class Place:
    """Where in a request an id can stand."""

    name: str
    where: Literal["path", "query", "header", "body"]
    kind: Kind
    required: bool

    @property
    def choices(self) -> tuple[Whose | None, ...]:
        """Whose can stand there. One's own key, or a version, is no more than none; its own cases are other tests'."""
        mine = ("mine",) if self.required or self.kind in NAMES_A_THING else ()
        return (*(() if self.required else (None,)), *mine, "theirs")


@dataclass(frozen=True)
class Operation:
    """One method of one route, and how to ask it."""

    name: str
    method: str
    path: str
    scope: RouteScope
    places: tuple[Place, ...]
    probe: Probe
    module: str
    """Where its endpoint is written."""

    def request(self, ids: Mapping[Place, str], headers: Mapping[str, str]) -> Request:
        """The request with these ids in their places."""
        said: dict[str, dict[str, str]] = {"path": {}, "query": {}, "header": {}, "body": {}}
        for place, value in ids.items():
            said[place.where][place.name] = value
        body = None if self.probe.body is None else self.probe.body | said["body"]
        return Request(
            self.method, self.path.format(**said["path"]), body, {**headers, **said["header"]}, said["query"]
        )

    def choices(self) -> Iterator[Choice]:
        """Every way to fill the places with one's own and another's."""
        for chosen in product(*(place.choices for place in self.places)):
            yield {place: whose for place, whose in zip(self.places, chosen, strict=True) if whose is not None}

    def with_user_header(self) -> Operation:
        """For a way to know users that goes by something else than the header, which then is just a place."""
        place = Place(USER_HEADER, "header", "user", required=False)
        return replace(self, places=(*self.places, place))


def operations(app: FastAPI) -> list[Operation]:
    """Those that are not for everybody and have a probe."""
    document = app.openapi()
    return [
        _operation(document, name, method, route, PROBES[name]) for name, method, route in _asked(app) if name in PROBES
    ]


def _operation(document: Json, name: str, method: str, route: Declared, probe: Probe) -> Operation:
    assert route.scope is not None, f"{route.path} says not who may use it"
    places = _places(document, route, method, probe)
    module = route.module
    return Operation(name, method, route.path, route.scope, places, probe, module)


def unknown(app: FastAPI) -> tuple[set[str], set[str]]:
    """The operations that have no probe (and probes that have no operation), and names that nobody has classified."""
    document = app.openapi()
    asked = list(_asked(app))
    names = {name for _, method, route in asked for name, _, _ in _named_places(document, route, method)}
    return {name for name, _, _ in asked} ^ PROBES.keys(), names - KINDS.keys() - HARMLESS - SAYS_WHO_ASKS


def _asked(app: FastAPI) -> Iterator[tuple[str, str, Declared]]:
    for route in declared_routes(app):
        if route.scope != "public" and route.path != DOCUMENT:
            for method in sorted(route.methods):
                yield route.operation_id or f"{method} {route.path}", method, route


def _places(document: Json, route: Declared, method: str, probe: Probe) -> tuple[Place, ...]:
    kinds = KINDS | dict(probe.kinds)
    return tuple(
        Place(name, where, kinds[name], required)
        for name, where, required in _named_places(document, route, method)
        if name in kinds
    )


_Where = Literal["path", "query", "header", "body"]


def _named_places(document: Json, route: Declared, method: str) -> list[tuple[str, _Where, bool]]:
    """Every name in the path, the query, the headers and the body of an operation."""
    found: dict[tuple[str, _Where], bool] = {(name, "path"): True for name in re.findall(r"{(\w+)}", route.path)}
    described = document["paths"].get(route.path, {}).get(method.lower(), {})
    for parameter in described.get("parameters", ()):
        found[parameter["name"], parameter["in"]] = parameter["required"]
    for content in described.get("requestBody", {}).get("content", {}).values():
        for name, required in _fields(document, content["schema"]).items():
            found[name, "body"] = required
    return [(name, where, required) for (name, where), required in found.items()]


def _fields(document: Json, schema: Json) -> dict[str, bool]:
    """The names of a body's fields, and whether each must be there: those of its messages as well, which it may be."""
    if "$ref" in schema:
        return _fields(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    found: dict[str, bool] = {}
    for part in schema.get("anyOf", ()):
        found |= dict.fromkeys(_fields(document, part), False)
    required = schema.get("required", ())
    return found | {name: name in required for name in schema.get("properties", {})}
