"""A call that is cancelled in mid-flight is cancelled, may or may not have taken effect, and breaks nothing else."""

from __future__ import annotations

import asyncio
import random

import pytest

from keepsay.model.conversation import RolePolicy
from keepsay.testing import build
from keepsay.testing.postgres import Database
from keepsay.testing.talk import Talk, start_talk

from .checks import assert_gapless, read_whole_log
from .ground import OpenStore, count_backends

CALLS = 400
CONNECTIONS = 8

on_both_servers = pytest.mark.parametrize(
    "postgres", ["newest_postgres", "system_postgres"], indirect=True, ids=["newest", "system"]
)


async def _append_and_vanish(talk: Talk, number: int, draw: random.Random) -> bool:
    """Append, be cancelled at some moment, and let a retry with the same key finish; whether it was cut short."""
    key = build.key()
    task = asyncio.create_task(talk.append(f"user: {number}", key=key))
    await asyncio.sleep(draw.uniform(0, 0.004))
    task.cancel()
    done, _ = await asyncio.wait([task])
    assert done == {task}
    if not task.cancelled():
        assert not task.result().replayed
    await talk.append(f"user: {number}", key=key)
    return task.cancelled()


@on_both_servers
async def test_cancelled_appends_are_cancelled_and_a_retry_applies_them_once(
    open_store: OpenStore, database: Database, seed: int
) -> None:
    draw, cut = random.Random(seed), 0
    async with open_store(CONNECTIONS) as store:
        talk = await start_talk(store, policy=RolePolicy.LENIENT)
        for first in range(0, CALLS, CONNECTIONS):
            calls = [_append_and_vanish(talk, number, draw) for number in range(first, first + CONNECTIONS)]
            cut += sum(await asyncio.gather(*calls))
        log = await read_whole_log(store, talk, limit=200)
        assert await count_backends(database) <= CONNECTIONS, "cancelled calls left connections behind"
    assert_gapless(log, CALLS)
    assert sorted(int(str(message.content)) for message in log) == list(range(CALLS))
    assert cut > CALLS / 10, f"only {cut} calls were cut short: the test is tame"
