"""Every route says who may use it, and holds to it before it reads a body or asks the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, cast

import pytest
from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.responses import JSONResponse
from starlette.routing import Mount, Route

from keepsay import Keepsay
from keepsay.server import Settings, conversation_router, create_app, echo
from keepsay.server.routing import KeepsayRoute, PublicRoute
from keepsay.server.settings import AuthName
from keepsay.store.memory import MemoryStore
from keepsay.store.protocol import Store

from .asking import send
from .probes import Operation, operations
from .routes import declared_routes, unscoped
from .world import SETTINGS, absent

PUBLIC = {"/", "/docs", "/healthz", "/metrics", "/readyz"}
"""What is for everybody. A path that is added here shows nothing that anybody owns."""


def _apps() -> dict[str, FastAPI]:
    keepsay, foreign = Keepsay(store=MemoryStore()), FastAPI(docs_url=None, redoc_url=None)
    foreign.include_router(conversation_router(keepsay, lambda: "ada", agent=echo), prefix="/deep/down")
    return {"keepsay's own": create_app(keepsay, settings=Settings(operators=True)), "another's": foreign}


APPS = _apps()
each_app = pytest.mark.parametrize("app", APPS.values(), ids=APPS)


@each_app
def test_every_route_says_who_may_use_it(app: FastAPI) -> None:
    assert unscoped(app) == []
    assert len(declared_routes(app)) > 20


@each_app
def test_what_is_for_everybody_is_listed(app: FastAPI) -> None:
    found = {route.path for route in declared_routes(app) if route.scope == "public"}
    assert found == (PUBLIC if app is APPS["keepsay's own"] else set())


def test_operators_are_let_in_only_when_the_settings_say_so() -> None:
    without = create_app(Keepsay(store=MemoryStore()), settings=Settings())
    assert {route.path for route in declared_routes(without) if route.scope == "operator"} == set()
    assert {route.path for route in declared_routes(APPS["keepsay's own"]) if route.scope == "operator"} == {
        "/api/admin/users"
    }


async def _answer() -> dict[str, str]:
    return {}


def _plain(app: FastAPI) -> None:
    app.get("/leak")(_answer)


def _hidden(app: FastAPI) -> None:
    app.get("/leak", include_in_schema=False)(_answer)


def _included(app: FastAPI) -> None:
    inner, outer = APIRouter(), APIRouter()
    inner.get("/leak")(_answer)
    outer.include_router(inner)
    app.include_router(outer)


def _of_no_scope(app: FastAPI) -> None:
    router = APIRouter(route_class=KeepsayRoute)
    KeepsayRoute.scope = "user"
    try:
        router.get("/leak")(_answer)
    finally:
        del KeepsayRoute.scope
    app.include_router(router)


def _starlettes(app: FastAPI) -> None:
    app.router.routes.append(Route("/leak", lambda request: JSONResponse({})))


def _mounted(app: FastAPI) -> None:
    app.router.routes.append(Mount("/inner", routes=[Route("/leak", lambda request: JSONResponse({}))]))


def _of_an_opaque_mount(app: FastAPI) -> None:
    async def opaque(scope: object, receive: object, send: object) -> None:
        """Answers whatever it likes."""

    app.mount("/leak", opaque)


def _websocket(app: FastAPI) -> None:
    app.websocket("/leak")(_answer)


def _like_the_document(app: FastAPI) -> None:
    app.get("/openapi.json", operation_id="leak")(_answer)


@pytest.mark.parametrize(
    "add",
    [_plain, _hidden, _included, _of_no_scope, _starlettes, _mounted, _of_an_opaque_mount, _websocket,
     _like_the_document],
)  # fmt: skip
def test_a_route_of_which_nobody_said_it_would_be_seen(add: Callable[[FastAPI], None]) -> None:
    app = create_app(Keepsay(store=MemoryStore()), settings=Settings())
    add(app)
    [path] = unscoped(app)
    assert path in ("/leak", "/inner/leak", "/openapi.json")


def test_a_new_route_for_everybody_would_be_seen() -> None:
    app = create_app(Keepsay(store=MemoryStore()), settings=Settings())
    router = APIRouter(route_class=PublicRoute)
    router.get("/leak")(_answer)
    app.include_router(router)
    assert {route.path for route in declared_routes(app) if route.scope == "public"} == PUBLIC | {"/leak"}


class Untouchable:
    """A store that nobody may ask for anything."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"the store was asked to {name}")


@pytest.mark.parametrize("auth", ["service", "jwt"])
@pytest.mark.parametrize("operation", operations(APPS["keepsay's own"]), ids=lambda operation: operation.name)
async def test_the_anonymous_are_refused_before_anything_is_read(auth: AuthName, operation: Operation) -> None:
    app = create_app(Keepsay(store=cast(Store, Untouchable())), settings=SETTINGS[auth])
    ids = {place: absent()[place.kind] for place in operation.places}
    for headers in ({}, {"X-Keepsay-User": "ada"}, {"Authorization": "Bearer x"}, {"X-Keepsay-Operator": "true"}):
        reply = await send(app, operation.request(ids, headers), unread=True)
        assert reply.status == 401
        assert (b"www-authenticate", b"Bearer") in reply.headers


async def test_the_foreign_apps_own_refusal_comes_first_as_well() -> None:
    async def nobody() -> NoReturn:
        raise HTTPException(401)

    app = FastAPI()
    router = conversation_router(Keepsay(store=cast(Store, Untouchable())), nobody, agent=echo)
    app.include_router(router, prefix="/api")
    for operation in operations(APPS["keepsay's own"]):
        if operation.scope == "user":
            ids = {place: absent()[place.kind] for place in operation.places}
            assert (await send(app, operation.request(ids, {}), unread=True)).status == 401
