"""Erasing and exporting a user: of oneself, and by operators of anybody."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from keepsay import Keepsay, MemoryStore
from keepsay.errors import Unavailable
from keepsay.model.json_text import JsonObject
from keepsay.server import Settings, create_app
from keepsay.store.protocol import Page
from keepsay.testing.wire import free_port

from .client import Answer, Client, connect, new_user

HELLO = {"role": "user", "content": "Hello \0\ud83d"}
OPERATOR = {"X-Keepsay-Operator": "true"}


def _lines(answer: Answer) -> list[Any]:
    return [json.loads(line) for line in answer.content.splitlines()]


async def _erase(client: Client, user: str | None, **kwargs: Any) -> Answer:
    return await client.send("DELETE", f"/api/users/{user}", **kwargs)


async def test_a_user_is_erased_with_a_receipt(ada: Client) -> None:
    conversation = await ada.create(messages=[HELLO])
    await ada.post(f"/api/conversations/{conversation}/continue", {"message": "more"}, headers={"If-Match": ""})
    await ada.create()
    receipt = await _erase(ada, ada.user)
    assert receipt.status == 200
    assert (receipt.json["user_id"], receipt.json["erased"]["conversations"]) == (ada.user, 2)
    assert (receipt.json["erased"]["messages"], receipt.json["erased"]["users"]) == (1, 1)
    assert datetime.now(UTC) - datetime.fromisoformat(receipt.json["erased_at"]) < timedelta(minutes=1)
    assert (await ada.get(f"/api/conversations/{conversation}")).status == 404
    assert (await ada.get("/api/conversations")).json["items"] == []
    again = await _erase(ada, ada.user)
    assert (again.status, set(again.json["erased"].values())) == (200, {0})


async def test_an_export_is_everything_line_by_line(ada: Client) -> None:
    first = await ada.create(title="One", messages=[HELLO], metadata={"b": 1, "a": 2})
    second = await ada.create(title="Two")
    export = await ada.get(f"/api/users/{ada.user}/export")
    assert (export.status, export.headers["content-type"]) == (200, "application/x-ndjson")
    assert export.content.endswith(b"\n")
    lines = _lines(export)
    assert [line["type"] for line in lines] == ["conversation", "message", "conversation", "end"]
    assert [lines[0]["id"], lines[2]["id"]] == [first, second]
    assert (lines[0]["title"], list(lines[0]["metadata"])) == ("One", ["b", "a"])
    assert (lines[1]["conversation_id"], lines[1]["payload"]) == (first, HELLO)
    assert lines[3] == {"type": "end", "conversations": 2, "messages": 1}


async def test_an_export_holds_what_deletions_and_rewinds_left(ada: Client) -> None:
    gone, kept = await ada.create(messages=[HELLO]), await ada.create(messages=[HELLO], role_policy="lenient")
    await ada.send("DELETE", f"/api/conversations/{gone}")
    await ada.say(kept, {"role": "user", "content": "more"})
    await ada.post(f"/api/conversations/{kept}/rewind", {"at_seq": 1})
    lines = _lines(await ada.get(f"/api/users/{ada.user}/export"))
    assert [line.get("hidden") for line in lines if line["type"] == "message"] == [None, True]
    assert lines[-1] == {"type": "end", "conversations": 1, "messages": 2}


async def test_an_export_of_nothing_is_whole_too(ada: Client) -> None:
    export = await ada.get(f"/api/users/{ada.user}/export")
    assert _lines(export) == [{"type": "end", "conversations": 0, "messages": 0}]


async def test_who_there_is_cannot_be_found_out(keepsay: Keepsay, ada: Client) -> None:
    """Somebody who is there, who is not, and who cannot be: one answer, byte for byte, and nothing is done."""
    other = connect(keepsay)
    kept = await other.create(messages=[HELLO])
    users = (other.user, new_user(), "..", "a%00b", "x" * 300)
    for method, path in (("DELETE", "/api/users/{}"), ("GET", "/api/users/{}/export")):
        answers = [await ada.send(method, path.format(user.replace("..", "%2E%2E%20"))) for user in users if user]
        assert {(answer.status, answer.content) for answer in answers} == {(404, answers[0].content)}
        assert answers[0].code == "not_found"
    assert (await other.get(f"/api/conversations/{kept}")).status == 200


async def test_an_operator_erases_and_exports_anybody(keepsay: Keepsay, ada: Client) -> None:
    await ada.create(messages=[HELLO])
    operator = connect(keepsay, operators=True)
    not_one = await _erase(operator, ada.user)
    assert (not_one.status, not_one.code) == (404, "not_found")
    export = await operator.get(f"/api/users/{ada.user}/export", headers=OPERATOR)
    assert _lines(export)[-1] == {"type": "end", "conversations": 1, "messages": 1}
    receipt = await _erase(operator, ada.user, headers=OPERATOR)
    assert (receipt.status, receipt.json["user_id"], receipt.json["erased"]["users"]) == (200, ada.user, 1)
    nobody = await _erase(operator, new_user(), headers=OPERATOR)
    assert (nobody.status, set(nobody.json["erased"].values())) == (200, {0})
    assert (await _erase(operator, "a%00b", headers=OPERATOR)).json["field"] == "user_id"


async def test_where_operators_are_off_nobody_is_one(keepsay: Keepsay, ada: Client) -> None:
    await ada.create()
    assert (await _erase(connect(keepsay), ada.user, headers=OPERATOR)).status == 404
    assert len((await ada.get("/api/conversations")).json["items"]) == 1


class HalfStore(MemoryStore):
    """The database goes away in the middle of an export, if not from the start."""

    def __init__(self, pages: int) -> None:
        super().__init__()
        self.pages = pages

    async def page(self, *args: Any, **kwargs: Any) -> Page:
        self.pages -= 1
        if self.pages < 0:
            raise Unavailable("gone", outcome="not_applied", retry_after=7)
        return await super().page(*args, **kwargs)


async def _filled(store: MemoryStore) -> FastAPI:
    keepsay = Keepsay(store=store)
    for _ in range(3):
        await keepsay.user("ada").create(messages=["x" * 500_000])
    return create_app(keepsay, settings=Settings())


async def test_an_export_that_cannot_begin_is_a_problem() -> None:
    answer = await Client(await _filled(HalfStore(0)), "ada").get("/api/users/ada/export")
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "database_unavailable", "7")


async def test_an_export_that_fails_in_the_middle_is_cut_off() -> None:
    received = bytearray()
    async with _served(await _filled(HalfStore(2))) as url, httpx.AsyncClient(base_url=url) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await _receive(http, "/api/users/ada/export", received)
    assert received.startswith(b'{"type":"conversation"')
    assert b'"type":"end"' not in received


async def _receive(http: httpx.AsyncClient, path: str, received: bytearray) -> None:
    async with http.stream("GET", path) as answer:
        assert answer.status_code == 200
        async for part in answer.aiter_bytes():
            received += part


async def test_an_export_is_never_held_in_memory() -> None:
    """The first part goes out before the last is read; a client that goes away ends the reading."""
    read: list[int] = []

    class Store(MemoryStore):
        async def page(self, *args: Any, **kwargs: Any) -> Page:
            read.append(1)
            await asyncio.sleep(0)
            return await super().page(*args, **kwargs)

    app = await _filled(Store())
    parts: list[int] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            parts.append(len(read))

    async def receive() -> JsonObject:
        await asyncio.sleep(10)
        return {"type": "http.disconnect"}

    scope = {
        "type": "http", "method": "GET", "path": "/api/users/ada/export", "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }  # fmt: skip
    await app(scope, receive, send)
    assert parts[0] == 1, "a conversation's log was read, the others were not"
    assert parts[-1] == 3


@asynccontextmanager
async def _served(app: FastAPI) -> AsyncIterator[str]:
    """The app behind a real server: what a client sees of a connection that is cut."""
    with socket.create_server(("127.0.0.1", free_port())) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        await serving
