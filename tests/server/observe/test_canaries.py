"""What users say, who they are, tokens and the DSN get out in answers to their owner alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import asyncpg
import httpx
import jwt
import pytest
from opentelemetry import trace
from pydantic import SecretStr

from keepsay import Keepsay
from keepsay.server import Agent, Settings, create_app
from keepsay.server.settings import JwtSettings
from keepsay.store.postgres.connection import OneTripConnection
from keepsay.store.postgres.dsn import parse_dsn
from keepsay.store.postgres.store import PostgresStore
from keepsay.testing.postgres import Database
from keepsay.testing.wire import free_port

from ..canaries import MARK, PLANTED, Canaries, Net
from ..client import Answer, Client
from .planting import Planter
from .watching import Outlets, watched


@pytest.fixture
def canary() -> Canaries:
    return Canaries()


@pytest.fixture
def outlets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Outlets]:
    with watched(monkeypatch) as found:
        yield found


def _leaks(canary: Canaries, outlets: Outlets, answers: list[Answer]) -> dict[str, list[str]]:
    """Where canaries were found, and which."""
    texts = outlets.texts() | {"answers that refuse": "\n".join(map(_refusal, answers))}
    return {name: found for name, text in texts.items() if (found := canary.found_in(text))}


def _refusal(answer: Answer) -> str:
    """What an answer that refuses tells, but for what the caller is to retry with, which it told us."""
    if answer.status < 400:
        return ""
    problem = dict(answer.json)
    if problem["code"] == "agent_failed":
        problem.pop("request_id", None)
    return f"{problem} {answer.headers}"


async def _page(client: Client, headers: dict[str, str]) -> str:
    return (await client.get("/metrics", headers=headers)).content.decode()


def _signed_in(auth: str, canary: Canaries) -> tuple[dict[str, Any], dict[str, str], str]:
    """Settings, the headers of somebody who is let in, and who that is."""
    user = canary("user")
    if auth == "service":
        key = canary("service-key-of-at-least-32-characters")
        return {"service_keys": (SecretStr(key),)}, {"Authorization": f"Bearer {key}", "X-Keepsay-User": user}, user
    if auth == "jwt":
        secret, now = canary("jwt-secret-of-at-least-32-characters-and-more"), int(time.time())
        claims = {"iss": "https://issuer", "aud": "us", "sub": user, "iat": now, "exp": now + 600}
        token = canary.plant("token", jwt.encode(claims, secret, "HS256"))
        believed = JwtSettings("https://issuer", "us", key=SecretStr(secret), algorithms=("HS256",))
        return {"jwt": believed}, {"Authorization": f"Bearer {token}"}, user
    return {}, {"X-Keepsay-User": user}, user


@pytest.mark.parametrize("auth", ["dev", "service", "jwt"])
async def test_nothing_gets_out_of_requests(keepsay: Keepsay, canary: Canaries, outlets: Outlets, auth: Any) -> None:
    settings, headers, user = _signed_in(auth, canary)
    token = SecretStr(canary("metrics-token"))
    app = create_app(keepsay, settings=Settings(auth=auth, operators=True, metrics_token=token, **settings))
    client = Client(app, None)
    assert (await client.get("/api/conversations")).status == (200 if auth == "dev" else 401)
    planter = Planter(client, canary, user, headers)
    await planter.ask_everything()
    statuses = {answer.status for answer in planter.answers}
    assert statuses >= {200, 201, 400, 401, 404, 405, 409, 413, 415, 422}
    page = await _page(client, {"Authorization": f"Bearer {token.get_secret_value()}"})
    assert "keepsay_http_requests_total" in page
    assert canary.found_in(page) == []
    assert _leaks(canary, outlets, planter.answers) == {}


def _raise(error: BaseException) -> Any:
    raise error


def _failing_agents(canary: Canaries) -> dict[str, Agent]:
    secret = canary("agents-error")

    def chained(messages: Any) -> Any:
        try:
            _raise(KeyError(secret))
        except KeyError as error:
            error.add_note(secret)
            raise RuntimeError(f"could not say {messages[-1]['content']}") from error

    async def grouped(messages: Any) -> Any:
        raise ExceptionGroup(secret, [ValueError(secret), OSError(1, secret, secret)])

    async def streaming(messages: Any) -> Any:
        yield canary("reply")
        raise ConnectionError(secret)

    async def unusable(messages: Any) -> Any:
        return {"role": canary("role-of-a-reply"), "content": canary("reply")}

    async def untyped(messages: Any) -> Any:
        return [canary("reply"), {secret}]

    async def unstorable(messages: Any) -> Any:
        return {"role": "tool", "content": canary("reply"), "tool_call_id": canary("call-of-a-reply")}

    return {f.__name__: f for f in (chained, grouped, streaming, unusable, untyped, unstorable)}


async def test_nothing_gets_out_of_agents_that_fail(keepsay: Keepsay, canary: Canaries, outlets: Outlets) -> None:
    answers = []
    for agent in _failing_agents(canary).values():
        client = Client(create_app(keepsay, agent=agent, settings=Settings()), canary("user"))
        body = {"message": canary("message"), "request_id": canary("request-id")}
        answers.append(await client.post(f"/api/{client.user}/chat", body))
        assert (answers[-1].status, answers[-1].code) == (502, "agent_failed"), agent
        assert canary.found_in(await _page(client, {})) == []
    assert _leaks(canary, outlets, answers) == {}
    log = outlets.texts()["plain log"]
    assert "RuntimeError\n  at " in log, "whoever wrote the agent finds the place"
    assert "member: ValueError" in log


async def test_nothing_gets_out_of_the_agent_openai(keepsay: Keepsay, canary: Canaries, outlets: Outlets) -> None:
    pytest.importorskip("openai")
    settings = Settings(
        agent="openai",
        agent_base_url=f"http://{canary('upstream-user')}:{canary('upstream-password')}@127.0.0.1:{free_port()}/v1",
        agent_api_key=SecretStr(canary("api-key")),
        agent_model="m",
        agent_system_prompt=canary("system-prompt"),
    )
    client = Client(create_app(keepsay, settings=settings), canary("user"))
    answer = await client.post(f"/api/{client.user}/chat", {"message": canary("message")})
    assert answer.code == "agent_failed"
    assert _leaks(canary, outlets, [answer]) == {}
    assert canary.found_in(repr(settings)) == ["upstream-user", "upstream-password", "system-prompt"], "no secrets"


async def _ask_database(store: PostgresStore, canary: Canaries) -> list[Answer]:
    """A chat, a read and the look of a probe, all on this store."""
    async with Keepsay(store=store) as keepsay:
        client = Client(create_app(keepsay, settings=Settings()), canary("user"))
        answers = [
            await client.post(f"/api/{client.user}/chat", {"message": canary("message")}),
            await client.post("/api/conversations", {"title": canary("title")}),
            await client.get("/api/conversations"),
            await client.get("/readyz"),
        ]
        assert canary.found_in(await _page(client, {})) == []
    return answers


async def test_nothing_gets_out_of_a_database_that_cannot_be_reached(
    server_database: Database, canary: Canaries, outlets: Outlets
) -> None:
    closed = f"postgresql://{canary('dsn-user')}:{canary('dsn-password')}@127.0.0.1:{free_port()}/{canary('dsn-name')}"
    absent = replace(server_database.dsn, database=canary("database"))
    refused = replace(server_database.dsn, user=canary("role"), password=canary("password"))
    answers = []
    for dsn in (parse_dsn(closed), absent, refused):
        answers += await _ask_database(PostgresStore(dsn), canary)
    assert {answer.status for answer in answers} == {503}
    assert _leaks(canary, outlets, answers) == {}
    assert "database_unavailable from ConnectionRefusedError" in outlets.texts()["text log"]


def _server_error(kind: type[Exception], secret: str) -> Exception:
    error: Any = kind(f"duplicate key value ({secret})")
    error.detail = error.hint = error.query = error.where = f"Key (x)=({secret}) already exists."
    assert isinstance(error, Exception)
    return error


_FAULTS: dict[str, Callable[[str], BaseException]] = {
    "data": lambda secret: _server_error(asyncpg.UniqueViolationError, secret),
    "rows": lambda secret: _server_error(asyncpg.NotNullViolationError, secret),
    "internal": lambda secret: _server_error(asyncpg.InternalServerError, secret),
    "schema": lambda secret: _server_error(asyncpg.UndefinedFunctionError, secret),
    "argument": lambda secret: asyncpg.DataError(f"invalid input for query argument $1: {secret}"),
    "lost": lambda secret: asyncpg.ConnectionDoesNotExistError(secret),
    "socket": lambda secret: OSError(104, secret),
    "bug": lambda secret: TypeError(secret),
}


@pytest.mark.parametrize("fault", _FAULTS)
async def test_nothing_gets_out_of_a_database_that_fails(
    server_database: Database, canary: Canaries, outlets: Outlets, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    async def fails(*_args: object, **_options: object) -> None:
        raise _FAULTS[fault](canary("row"))

    monkeypatch.setattr(OneTripConnection, "call", fails)
    answers = await _ask_database(PostgresStore(server_database.dsn), canary)
    assert all(answer.status >= 400 for answer in answers)
    assert _leaks(canary, outlets, answers) == {}


async def test_nothing_gets_out_of_bugs(keepsay: Keepsay, canary: Canaries, outlets: Outlets) -> None:
    client = Client(create_app(keepsay, settings=Settings()), canary("user"))

    @client.app.get("/buggy/{text}")
    async def buggy(text: str) -> None:
        raise RuntimeError(f"{text} {canary('bug')}")

    answer = await client.get(f"/buggy/{canary('path')}")
    assert (answer.status, answer.code) == (500, "internal_error")
    assert _leaks(canary, outlets, [answer]) == {}
    assert "RuntimeError\n  at " in outlets.texts()["plain log"]


# Controls: each leak that could be made is found by the same search.


def test_a_leak_into_a_log_is_found(canary: Canaries, outlets: Outlets) -> None:
    logger = logging.getLogger(PLANTED)
    logger.info("said %s", canary("argument"))
    assert set(_leaks(canary, outlets, [])) == {"plain log", "text log", "JSON log"}


def test_what_an_error_says_is_found_where_nothing_hides_it(canary: Canaries, outlets: Outlets) -> None:
    try:
        _raise(ValueError(canary("error")))
    except ValueError:
        logging.getLogger(PLANTED).exception("failed")
    assert _leaks(canary, outlets, []) == {"plain log": ["error"]}, "our own formatters hide it even so"


def test_a_leak_into_a_field_is_found(canary: Canaries, outlets: Outlets) -> None:
    logging.getLogger(PLANTED).info("x", extra={"route": canary("field"), "whatever": canary("other")})
    assert _leaks(canary, outlets, []) == {
        "plain log": ["field", "other"],
        "text log": ["field"],
        "JSON log": ["field"],
    }


def test_a_leak_into_a_span_is_found(canary: Canaries, outlets: Outlets) -> None:
    with (
        pytest.raises(ValueError, match=MARK),
        trace.get_tracer("planted").start_as_current_span("x", attributes={"text": canary("attribute")}),
    ):
        raise ValueError(canary("event"))
    assert _leaks(canary, outlets, []) == {"spans": ["attribute", "event"]}


async def test_a_leak_by_the_framework_is_found(keepsay: Keepsay, canary: Canaries, outlets: Outlets) -> None:
    """FastAPI's own OpenTelemetry, which is on unless it is switched off."""
    client = Client(create_app(keepsay, settings=Settings()), canary("user"))
    client.app._native_telemetry.config |= {"tracing": True, "logs": True}  # as FastAPI comes

    @client.app.get("/buggy")
    async def buggy() -> None:
        raise RuntimeError(canary("bug"))

    await client.get(f"/api/{canary('path')}/chat?q={canary('query')}")
    await client.get("/buggy")
    assert _leaks(canary, outlets, []).keys() == {"spans"}


def test_a_leak_into_an_answer_is_found(canary: Canaries, outlets: Outlets) -> None:
    body = f'{{"code": "x", "detail": "{canary("detail")}"}}'.encode()
    assert _leaks(canary, outlets, [Answer(422, httpx.Headers(), body)]) == {"answers that refuse": ["detail"]}


def test_the_net_of_the_whole_run_finds_a_leak() -> None:
    net, logger = Net(), logging.getLogger("test_of_the_net")
    logger.addHandler(net)
    try:
        logger.warning("harmless")
        logger.warning("said %s", MARK)
        logger.warning("field", extra={"text": MARK})
        try:
            _raise(ValueError(MARK))
        except ValueError:
            logger.exception("failed")
    finally:
        logger.removeHandler(net)
    assert (net.seen, len(net.caught)) == (4, 3)
