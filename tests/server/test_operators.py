"""Routes for operators: off unless the settings let operators in, and unseen by everybody else."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.requests import Request

from keepsay import Keepsay
from keepsay.server import conversation_router
from keepsay.server.auth import Identity
from keepsay.server.mount import mounted
from keepsay.server.parts import Asking, Parts
from keepsay.server.refusals import Unauthenticated
from keepsay.server.routes.operators import router as operator_routes
from keepsay.server.routing import OperatorRoute

from .client import Answer, Client, connect, new_user

OPERATOR = {"X-Keepsay-Operator": "true"}
PAGE = "/api/admin/users"


def _known(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "x-request-id"}


def _same(one: Answer, other: Answer) -> bool:
    return (one.status, one.content, _known(one)) == (other.status, other.content, _known(other))


async def test_an_operator_sees_who_there_is_page_by_page(keepsay: Keepsay) -> None:
    prefix = f"\U0010ffff{new_user()}"  # after whoever else is there
    names = [f"{prefix}{n}" for n in range(5)]
    operator = connect(keepsay, operators=True)
    for name in reversed(names):
        await Client(operator.app, None).post("/api/session", {"user_id": name})
    found: list[str] = []
    cursor = f"{prefix[:-1]}"
    while True:
        answer = await Client(operator.app, None).get(f"{PAGE}?limit=2&cursor={cursor}", headers=OPERATOR)
        assert answer.status == 200
        page = answer.json
        assert set(page) == {"items", "next_cursor", "has_more"}
        assert page["has_more"] is (page["next_cursor"] is not None)
        found += [item["user_id"] for item in page["items"]]
        if not page["has_more"]:
            break
        cursor = page["next_cursor"]
    assert found == names


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("limit=0", 422, "invalid_input"),
        ("limit=201", 422, "invalid_input"),
        ("after=x", 422, "invalid_input"),
        ("cursor=a/b", 400, "invalid_cursor"),
        ("cursor=", 400, "invalid_cursor"),
        ("cursor=%00", 400, "invalid_cursor"),
    ],
)
async def test_a_bad_query_is_refused(keepsay: Keepsay, query: str, status: int, code: str) -> None:
    answer = await connect(keepsay, operators=True).get(f"{PAGE}?{query}", headers=OPERATOR)
    assert (answer.status, answer.code) == (status, code)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
async def test_to_anybody_else_there_is_no_such_page(keepsay: Keepsay, method: str) -> None:
    for on, headers in ((True, {}), (True, {"X-Keepsay-Operator": "no"}), (False, OPERATOR)):
        client = connect(keepsay, operators=on)
        for query in ("", "?limit=0", "?x=1"):
            answer = await client.send(method, PAGE + query, headers=headers)
            unknown = await client.send(method, "/api/admin/nothing" + query, headers=headers)
            assert _same(answer, unknown)
            assert answer.status == 404


async def test_an_unknown_page_is_what_it_says(keepsay: Keepsay) -> None:
    assert (await connect(keepsay, operators=True).get(PAGE)).code == "no_such_page"


async def test_anonymous_callers_are_told_as_ever(keepsay: Keepsay) -> None:
    async def nobody() -> Identity:
        raise Unauthenticated("Say who you are.")

    app = FastAPI()
    app.include_router(mounted(keepsay, nobody, None, operators=True))
    client = Client(app, None)
    for path in ("/admin/users", "/conversations"):
        answer = await client.get(path)
        assert (answer.status, answer.code) == (401, "unauthenticated")


async def test_no_route_for_operators_can_forget_to_ask(keepsay: Keepsay) -> None:
    """The class asks, not the route; including a router again, as applications do, changes nothing."""
    router = APIRouter(prefix="/admin", route_class=OperatorRoute)

    async def careless() -> dict[str, str]:
        return {"secret": "x"}

    router.get("/careless")(careless)
    router.api_route("/anything", methods=["GET", "DELETE"])(careless)
    outer = APIRouter()
    outer.include_router(router)

    async def provide(request: Request) -> None:
        is_operator = "x-operator" in request.headers
        request.state.keepsay_asking = Asking(Parts(keepsay, None), Identity("u", is_operator=is_operator))

    for included in (router, outer):
        app = FastAPI()
        app.include_router(included, dependencies=[_depends(provide)])
        client = Client(app, None)
        for method, path in (("GET", "careless"), ("GET", "anything"), ("DELETE", "anything")):
            refused = await client.send(method, f"/admin/{path}")
            assert (refused.status, refused.code) == (404, "no_such_page")
            assert (await client.send(method, f"/admin/{path}", headers={"X-Operator": "1"})).status == 200


def _depends(provide: Any) -> Any:
    from fastapi import Depends

    return Depends(provide)


async def test_another_application_mounts_no_routes_for_operators(keepsay: Keepsay) -> None:
    app = FastAPI()
    app.include_router(conversation_router(keepsay, lambda: Identity("root", is_operator=True)), prefix="/api")
    assert (await Client(app, None).get(PAGE)).status == 404
    assert all(isinstance(route, OperatorRoute) for route in operator_routes.routes)
