"""``/healthz`` never asks the database; ``/readyz`` asks it seldom and never waits for it long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keepsay import Keepsay, MemoryStore, Unavailable
from keepsay.server import readiness

from .client import connect


class CountingStore(MemoryStore):
    """A store that counts lists, and is slow or broken when told."""

    def __init__(self) -> None:
        super().__init__()
        self.lists = 0
        self.error: Exception | None = None
        self.seconds = 0.0

    async def list(self, *_: Any, **__: Any) -> Any:
        self.lists += 1
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return []


async def test_health_never_asks_the_database() -> None:
    store = CountingStore()
    ada = connect(Keepsay(store=store))
    for method in ("GET", "HEAD"):
        assert (await ada.send(method, "/healthz")).status == 200
    assert store.lists == 0


async def test_readiness_asks_once_for_many(monkeypatch: pytest.MonkeyPatch) -> None:
    store = CountingStore()
    ada = connect(Keepsay(store=store))
    answers = await asyncio.gather(*(ada.get("/readyz") for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert store.lists == 1
    store.error = Unavailable("gone", outcome="not_applied", retry_after=4)
    assert (await ada.get("/readyz")).status == 200, "kept for a while"
    monkeypatch.setattr(readiness, "KEEP_SECONDS", 0.0)
    answer = await ada.get("/readyz")
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "database_unavailable", "4")
    store.error = None
    assert (await ada.get("/readyz")).status == 200


async def test_a_slow_database_is_not_ready_but_goes_on_waking(monkeypatch: pytest.MonkeyPatch) -> None:
    store = CountingStore()
    store.seconds = 0.2
    monkeypatch.setattr(readiness, "WAIT_SECONDS", 0.05)
    ada = connect(Keepsay(store=store))
    assert (await ada.get("/readyz")).code == "database_unavailable"
    assert (await ada.get("/readyz")).code == "database_unavailable"
    await asyncio.sleep(0.25)
    assert (await ada.get("/readyz")).status == 200
    assert store.lists == 1


async def test_the_apps_end_stops_the_look() -> None:
    store = CountingStore()
    store.seconds = 60
    look = readiness.Readiness(Keepsay(store=store))
    asking = asyncio.create_task(look.check())
    await asyncio.sleep(0.05)
    await look.aclose()
    with pytest.raises(Unavailable):
        async with asyncio.timeout(5):
            await asking
