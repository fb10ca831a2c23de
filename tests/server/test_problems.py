"""Errors over HTTP: row A5 (structured JSON errors clear enough to debug with), without internals."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import keepsay.errors as errors
import keepsay.server.refusals as refusals
from keepsay import Keepsay, MemoryStore
from keepsay.model.json_text import MalformedJson
from keepsay.server import bodies
from keepsay.server.problems import problem_response

from .client import Answer, Client, connect

RUN = "0198c1f4-7d6e-7a51-9b0e-3f2f6c1d8a44"
TABLE: list[tuple[errors.KeepsayError, int, dict[str, Any], dict[str, str]]] = [
    (MalformedJson("x"), 400, {}, {}),
    (errors.InvalidInput("x", field="title"), 422, {"field": "title"}, {}),
    (errors.InvalidInput("x"), 422, {}, {}),
    (errors.InvalidCursor(), 400, {"field": "cursor"}, {}),
    (errors.TooLarge("x", size=2, limit=1, unit="bytes"), 422, {"size": 2, "limit": 1, "unit": "bytes"}, {}),
    (
        errors.RoleOrderError("x", last_role=None, attempted_role="assistant"),
        400,
        {"error": "role_ordering_violation", "message": "x", "last_role": None, "attempted_role": "assistant"},
        {},
    ),
    (
        errors.UnansweredCalls("x", open_calls=("c",), last_role="assistant", attempted_role="user"),
        400,
        {
            "error": "role_ordering_violation",
            "message": "x",
            "last_role": "assistant",
            "attempted_role": "user",
            "open_calls": ["c"],
        },
        {},
    ),
    (errors.NotFound(), 404, {}, {}),
    (errors.SeqMismatch(expected=1, head=2), 409, {"expected": 1, "head": 2}, {}),
    (errors.VersionMismatch(expected=1, version=2), 412, {"expected": 1, "version": 2}, {}),
    (errors.KeyReused(), 422, {}, {}),
    (
        errors.ConversationBusy(run_id=RUN, retry_after=2.1),
        409,
        {"run_id": RUN, "retry_after": 2.1},
        {"retry-after": "3"},
    ),
    (errors.RunSuperseded(run_id=RUN), 409, {"run_id": RUN}, {}),
    (errors.Conflict("x"), 409, {}, {}),
    (
        errors.RateLimited(limit=6, retry_after=0.25),
        429,
        {"limit": 6, "retry_after": 0.25},
        {"retry-after": "1"},
    ),
    (
        errors.QuotaExceeded(limit=9, retry_after=7200.5),
        429,
        {"limit": 9, "retry_after": 7200.5},
        {"retry-after": "7201"},
    ),
    (
        errors.Unavailable("x", outcome="unknown", retry_after=0.01),
        503,
        {"outcome": "unknown", "retry_after": 0.01},
        {"retry-after": "1"},
    ),
    (errors.SchemaMismatch(found=1, wanted=2), 503, {}, {}),
    (errors.ConfigurationError("secret"), 503, {}, {}),
    (errors.CorruptData("secret"), 500, {}, {}),
    (errors.KeepsayError("secret"), 500, {}, {}),
    (refusals.Unauthenticated("x"), 401, {}, {"www-authenticate": "Bearer"}),
    (refusals.IssuerUnavailable(retry_after=29.5), 503, {"retry_after": 29.5}, {"retry-after": "30"}),
    (refusals.Forbidden("x"), 403, {}, {}),
    (refusals.NoSuchPage(), 404, {}, {}),
    (refusals.MethodNotAllowed(("GET", "POST")), 405, {"allowed": ["GET", "POST"]}, {"allow": "GET, POST"}),
    (refusals.BodyTooSlow(30), 408, {}, {}),
    (refusals.BodyTooLarge(5), 413, {"limit": 5}, {}),
    (refusals.NotJson(), 415, {}, {}),
    (refusals.ServerStopping(), 503, {"outcome": "unknown", "retry_after": 1.0}, {"retry-after": "1"}),
    (
        refusals.AgentFailed(run_id=RUN, conversation_id=RUN, request_id=None),
        502,
        {"run_id": RUN, "conversation_id": RUN, "outcome": "unknown"},
        {},
    ),
]


@pytest.mark.parametrize(("error", "status", "facts", "headers"), TABLE, ids=lambda value: type(value).__name__)
def test_each_error_has_its_status_and_facts(
    error: errors.KeepsayError, status: int, facts: dict[str, Any], headers: dict[str, str]
) -> None:
    """Row A5."""
    response = problem_response(error, "POST")
    answer = Answer(response.status_code, response.headers, bytes(response.body))  # type: ignore[arg-type]
    assert (answer.status, answer.code) == (status, error.code)
    said = {"type", "title", "status", "detail", "code"}
    assert {name: value for name, value in answer.json.items() if name not in said} == {
        "outcome": "not_applied"
    } | facts
    assert b"secret" not in answer.content
    assert {name: answer.headers[name] for name in headers} == headers
    assert "outcome" not in Answer(0, response.headers, bytes(problem_response(error, "GET").body)).json  # type: ignore[arg-type]


def _all_errors(root: type[errors.KeepsayError]) -> Iterator[type[errors.KeepsayError]]:
    yield root
    for error in root.__subclasses__():
        yield from _all_errors(error)


def _is_in_use(error: type[errors.KeepsayError]) -> bool:
    """keepsay's own, and no leftover of another test's copy of the library."""
    module = sys.modules.get(error.__module__)
    return error.__module__.startswith("keepsay.") and getattr(module, error.__name__, None) is error


def test_no_error_is_missing_from_the_table() -> None:
    ours = {error for error in _all_errors(errors.KeepsayError) if _is_in_use(error)}
    assert ours == {type(error) for error, *_ in TABLE}


class FailingStore(MemoryStore):
    """A store whose reads fail as the test says."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def get(self, *_: object, **__: object) -> Any:
        raise self.error


async def test_a_bug_is_a_500_that_tells_nothing_and_a_log_that_tells_where(caplog: pytest.LogCaptureFixture) -> None:
    ada = connect(Keepsay(store=FailingStore(RuntimeError("postgresql://u:secret@h/d"))))
    answer = await ada.get(f"/api/conversations/{RUN}", headers={"X-Request-ID": "mine"})
    assert (answer.status, answer.code, answer.headers["x-request-id"]) == (500, "internal_error", "mine")
    assert b"secret" not in answer.content
    assert "RuntimeError\n  at " in caplog.text
    assert "secret" not in caplog.text
    assert "mine" in caplog.text


async def test_an_unavailable_database_is_a_503_with_the_outcome() -> None:
    """Row A5."""
    error = errors.Unavailable("The database cannot be reached.", outcome="not_applied", retry_after=7)
    answer = await connect(Keepsay(store=FailingStore(error))).get(f"/api/conversations/{RUN}")
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "database_unavailable", "7")


async def test_a_database_that_is_not_there_is_a_503(unused_tcp_port: int) -> None:
    """Row A5: connection errors, through every route that touches the database; nothing was stored."""
    async with Keepsay(f"postgresql://u:secret@127.0.0.1:{unused_tcp_port}/d") as keepsay:
        ada = connect(keepsay)
        for path, body in {
            "/api/conversations": {},
            f"/api/{ada.user}/chat": {"message": "x"},
            "/api/session": {"user_id": ada.user, "context": "x"},
            f"/api/conversations/{RUN}/messages": {"role": "user", "content": "x"},
        }.items():
            answer = await ada.post(path, body)
            assert (answer.status, answer.code, answer.json["outcome"]) == (503, "database_unavailable", "not_applied")
            assert int(answer.headers["retry-after"]) >= 1
            assert b"secret" not in answer.content
        assert (await ada.get("/healthz")).status == 200
        assert (await ada.get("/readyz")).code == "database_unavailable"


async def test_what_failed_after_a_write_is_never_said_not_to_be_applied() -> None:
    """Honest failure: the conversation was created, then the database went away."""

    class Store(MemoryStore):
        async def begin(self, *_: object, **__: object) -> Any:
            raise errors.Unavailable("gone", outcome="not_applied")

        async def load(self, *_: object, **__: object) -> Any:
            raise errors.Unavailable("gone", outcome="not_applied")

        async def finish(self, *_: object, **__: object) -> Any:
            raise errors.Unavailable("gone", outcome="not_applied")

    class FinishFails(Store):
        begin = MemoryStore.begin  # type: ignore[assignment]

    for store, path in ((Store(), "chat"), (FinishFails(), "chat"), (Store(), "session")):
        ada = connect(Keepsay(store=store))
        url, body = (f"/api/{ada.user}/chat", {"message": "x"})
        if path == "session":
            url, body = "/api/session", {"user_id": ada.user or "", "context": "x"}
        answer = await ada.post(url, body)
        assert (answer.status, answer.json["outcome"]) == (503, "unknown")


async def test_every_answer_has_a_request_id(ada: Client) -> None:
    for path in ("/healthz", "/nope", "/api/conversations", f"/api/conversations/{RUN}", "/docs", "/openapi.json"):
        answer = await ada.get(path)
        assert len(answer.headers["x-request-id"]) == 32
        assert answer.headers["x-request-id"].encode() not in answer.content
    refused = await ada.get("/healthz", headers={"Host": "evil.example", "X-Request-ID": "a-1.b/C=@"})
    assert refused.headers["x-request-id"] == "a-1.b/C=@"
    for insane in ("x" * 129, "a b", 'a"b', "é", "<script>"):
        answer = await ada.get("/healthz", headers={"X-Request-ID": insane})
        assert answer.headers["x-request-id"] != insane
        assert len(answer.headers["x-request-id"]) == 32


async def test_404_and_405_are_problems_too(ada: Client) -> None:
    assert (await ada.get("/nope")).code == "no_such_page"
    assert (await ada.get("/api/conversations/")).code == "no_such_page"
    for method, path, allowed in (
        ("PUT", "/api/conversations", "GET, POST"),
        ("POST", f"/api/conversations/{RUN}", "DELETE, GET, HEAD, PATCH"),
        ("GET", "/api/session", "POST"),
        ("TRACE", "/healthz", "GET, HEAD"),
    ):
        answer = await ada.send(method, path)
        assert (answer.status, answer.code, answer.headers["allow"]) == (405, "method_not_allowed", allowed)


async def test_a_body_that_drips_is_given_up(ada: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/api/conversations", "headers": headers, "query_string": b""}
    await ada.app(scope, receive, send)
    assert sent[0]["status"] == 408


async def test_a_mere_refusal_is_no_warning(ada: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "keepsay"):
        await ada.post("/api/conversations", raw=b"{")
        await ada.get(f"/api/conversations/{RUN}")
    logged = [record for record in caplog.records if record.name.startswith("keepsay")]
    assert [(record.name, record.levelno) for record in logged] == [("keepsay.access", logging.INFO)] * 2
