"""Every route that an app answers, hidden ones and those of mounts included, and who may use it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute, Mount

from keepsay.server.routing import KeepsayRoute, RouteScope

__all__ = ["DOCUMENT", "Declared", "declared_routes", "unscoped"]

DOCUMENT = "/openapi.json"
"""The one route that FastAPI makes itself."""


@dataclass(frozen=True)
class Declared:
    """A route as an app answers it. ``scope`` is ``None`` if nothing says who may use it."""

    path: str
    methods: frozenset[str]
    route: BaseRoute

    @property
    def scope(self) -> RouteScope | None:
        return (
            self.route.scope if isinstance(self.route, KeepsayRoute) and type(self.route) is not KeepsayRoute else None
        )

    @property
    def operation_id(self) -> str | None:
        return self.route.operation_id if isinstance(self.route, APIRoute) else None

    @property
    def module(self) -> str:
        """Where its endpoint is written."""
        return str(getattr(getattr(self.route, "endpoint", None), "__module__", ""))


def declared_routes(app: FastAPI | APIRouter) -> list[Declared]:
    """All of them, in the order in which they are asked."""
    return list(_walk(app.routes, ""))


def _walk(routes: Sequence[BaseRoute], prefix: str) -> Iterator[Declared]:
    for found in iter_route_contexts(routes):
        route, path = found.original_route, prefix + (found.path or "")
        inner: Any = getattr(route, "routes", None)
        if isinstance(route, Mount) and inner:
            yield from _walk(inner, path)
        else:  # a mount of anything else answers as it likes: one route, without a scope
            yield Declared(path, frozenset(found.methods or ()), route)


def unscoped(app: FastAPI | APIRouter) -> list[str]:
    """The paths of which nobody has said who may use them. FastAPI's own document is for everybody."""
    return [
        declared.path
        for declared in declared_routes(app)
        if declared.scope is None and not (declared.path == DOCUMENT and declared.module == "fastapi.applications")
    ]
