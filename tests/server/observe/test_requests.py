"""Requests as operators see them: by the route's template, never by the path."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from starlette.types import Message, Receive, Scope, Send

from keepsay import Keepsay
from keepsay.server import conversation_router, echo
from keepsay.server.observe import Observation, Requests
from keepsay.server.observe.requests import route_of

from ..client import Client, connect, new_user

ABSENT = "018f0000-0000-7000-8000-000000000000"
CONVERSATION = "/api/conversations/{conversation_id}"


@pytest.fixture
def access(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "keepsay")
    return caplog


def _lines(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record for record in caplog.records if record.name == "keepsay.access"]


async def _samples(client: Client, name: str) -> dict[str, float]:
    """The metric's samples by their labels as the page has them."""
    lines = (await client.get("/metrics")).content.decode().splitlines()
    found = (line.rpartition(" ") for line in lines if line.startswith((f"{name}{{", f"{name} ")))
    return {labels.removeprefix(name): float(value) for labels, _, value in found}


async def test_a_request_is_one_line(ada: Client, access: pytest.LogCaptureFixture) -> None:
    answer = await ada.get(f"/api/conversations/{ABSENT}?canary=1", headers={"X-Request-ID": "r-1"})
    [line] = _lines(access)
    assert line.getMessage() == f"GET {CONVERSATION} 404"
    assert (line.method, line.route, line.status, line.code) == ("GET", CONVERSATION, 404, "not_found")
    assert (line.conversation_id, line.request_id) == (ABSENT, "r-1")
    assert 0 < line.duration_ms < 60_000
    assert answer.headers["x-request-id"] == "r-1"


async def test_what_came_before_is_not_in_the_next_line(ada: Client, access: pytest.LogCaptureFixture) -> None:
    await ada.get(f"/api/conversations/{ABSENT}")
    await ada.get("/api/conversations")
    assert [line.code for line in _lines(access)] == ["not_found", None]
    assert [line.conversation_id for line in _lines(access)] == [ABSENT, None]


@pytest.mark.parametrize(
    ("method", "path", "shown"),
    [
        ("GET", "/nope/canary", "GET (none) 404"),
        ("PUT", f"/api/conversations/{ABSENT}", f"PUT {CONVERSATION} 405"),
        ("BREW", "/healthz", "_OTHER /healthz 405"),
        ("GET", "/api/conversations/canary", f"GET {CONVERSATION} 404"),
        ("POST", "/api/canary/chat", "POST /api/{user_id}/chat 404"),
    ],
)
async def test_neither_paths_nor_made_up_methods_are_shown(
    ada: Client, access: pytest.LogCaptureFixture, method: str, path: str, shown: str
) -> None:
    await ada.send(method, path)
    [line] = _lines(access)
    assert line.getMessage() == shown
    assert "canary" not in str(vars(line))


async def test_probes_that_are_well_are_not_worth_a_line(ada: Client, access: pytest.LogCaptureFixture) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await ada.get(path)).status == 200
    assert _lines(access) == []


async def test_a_bug_is_counted_and_logged_without_what_it_says(
    keepsay: Keepsay, access: pytest.LogCaptureFixture
) -> None:
    client = connect(keepsay)

    @client.app.get("/buggy")
    async def buggy() -> None:
        raise RuntimeError("canary-0b11")

    answer = await client.get("/buggy", headers={"X-Request-ID": "r-2"})
    assert (answer.status, answer.code) == (500, "internal_error")
    bug, line = (record for record in access.records if record.name.startswith("keepsay"))
    assert (line.getMessage(), vars(line)["code"]) == ("GET /buggy 500", "internal_error")
    assert bug.exc_text is not None
    assert "RuntimeError" in bug.exc_text
    assert "canary" not in access.text
    assert (await _samples(client, "keepsay_http_requests_total"))['{method="GET",route="/buggy",status="500"}'] == 1


async def test_requests_are_counted_by_template(ada: Client) -> None:
    for conversation in (ABSENT, "canary-1", "canary-2"):
        await ada.get(f"/api/conversations/{conversation}")
    await ada.send("CANARY", "/canary")
    counts = await _samples(ada, "keepsay_http_requests_total")
    assert counts == {
        f'{{method="GET",route="{CONVERSATION}",status="404"}}': 3,
        '{method="_OTHER",route="(none)",status="404"}': 1,
    }
    assert len(await _samples(ada, "keepsay_http_request_seconds_count")) == 3, "the page itself is the third"


def _server_spans(spans: InMemorySpanExporter) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.kind is SpanKind.SERVER]


async def test_a_request_is_a_span_below_its_senders(spans: InMemorySpanExporter, keepsay: Keepsay) -> None:
    trace_id, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    await connect(keepsay).get(
        f"/api/conversations/{ABSENT}?q=1", headers={"traceparent": f"00-{trace_id}-{parent}-01"}
    )
    [span] = _server_spans(spans)
    assert (span.name, span.status.is_unset) == (f"GET {CONVERSATION}", True), "a 404 is no fault of the server"
    assert span.attributes == {
        "http.request.method": "GET",
        "http.route": CONVERSATION,
        "http.response.status_code": 404,
    }
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (trace_id, parent)
    [operation] = [span for span in spans.get_finished_spans() if span.name == "keepsay.get"]
    assert operation.parent is not None
    assert operation.parent.span_id == span.context.span_id


async def test_a_span_of_a_bug_has_its_status_and_nothing_that_it_says(
    spans: InMemorySpanExporter, keepsay: Keepsay
) -> None:
    client = connect(keepsay)

    @client.app.get("/buggy")
    async def buggy() -> None:
        raise RuntimeError("canary-0b11")

    await client.get("/buggy")
    [span] = _server_spans(spans)
    assert (span.attributes or {})["error.type"] == "500"
    assert not span.status.is_ok
    assert (span.status.description, span.events) == (None, ())


async def test_in_somebody_elses_application_requests_are_theirs_to_observe(
    spans: InMemorySpanExporter, keepsay: Keepsay
) -> None:
    app = FastAPI(telemetry={"tracing": False})
    user = new_user()
    app.include_router(conversation_router(keepsay, lambda: user, agent=echo), prefix="/v2")
    made = await Client(app, None).post("/v2/conversations", {})
    await Client(app, None).post(f"{made.headers['location']}/continue", {"message": "Hello"})
    names = {span.name for span in spans.get_finished_spans()}
    assert names == {"keepsay.create", "keepsay.begin", "invoke_agent echo", "keepsay.finish"}


async def test_templates_have_every_prefix(keepsay: Keepsay) -> None:
    """FastAPI keeps included routers apart: pinned here, whatever it is that it keeps where."""
    routes: list[str | None] = []

    class Tap:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self.app(scope, receive, send)
            routes.append(route_of(scope))

    app, outer = FastAPI(), APIRouter(prefix="/outer")
    outer.include_router(conversation_router(keepsay, new_user), prefix="/v2")
    app.include_router(outer)
    app.get("/articles/{number}")(new_user)
    app.add_middleware(Tap)
    for path in (f"/outer/v2/conversations/{ABSENT}", "/articles/1", "/nope"):
        await Client(app, None).get(path)
    assert routes == ["/outer/v2/conversations/{conversation_id}", "/articles/{number}", None]


async def test_why_an_app_cannot_start_is_logged_without_what_the_error_says(
    access: pytest.LogCaptureFixture,
) -> None:
    async def fails(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.failed", "message": "Traceback ... canary-77"})
        raise OSError("canary-77")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    with pytest.raises(OSError, match="canary"):
        await Requests(fails, Observation())({"type": "lifespan"}, receive, send)
    assert sent == [{"type": "lifespan.startup.failed"}]
    assert "OSError" in access.text
    assert "canary" not in access.text


async def test_a_stream_is_observed_to_its_end(access: pytest.LogCaptureFixture) -> None:
    noted: list[int] = []

    async def stream(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            noted.append(len(_lines(access)))
            await send({"type": "http.response.body", "body": b"x", "more_body": True})

    async def ignore(_message: Message) -> None:
        pass

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
    await Requests(stream, Observation())(scope, receive, ignore)
    assert (noted, len(_lines(access))) == ([0, 0, 0], 1)
