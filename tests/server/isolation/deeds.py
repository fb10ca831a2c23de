"""What takes more than one question to see: whose conversations it was done to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from .asking import Reply, Request, send
from .world import ALLOWANCE, Asker, Things, World

__all__ = ["DEEDS"]


async def _ask(
    world: World, who: Things, method: str, path: str, body: object = None, *, asker: Asker = "owner"
) -> Reply:
    return await send(world.app, Request(method, path, body, world.headers(asker, who.user)))


def _runs(who: Things) -> str:
    return f"/api/conversations/{who.ids['conversation']}/runs"


async def running_in_the_background(world: World) -> None:
    mine = await world.somebody()
    begun = await _ask(world, mine, "POST", _runs(mine), {"message": "Hello", "background": True})
    assert begun.status == 202
    run: Any = json.loads(begun.content)["run"]
    while run["status"] == "running":
        await asyncio.sleep(0.01)
        run = json.loads((await _ask(world, mine, "GET", f"{_runs(mine)}/{run['id']}")).content)
    assert run["status"] == "completed"


async def asking_again_while_the_run_is_under_way(world: World) -> None:
    mine = await world.somebody()
    body = {"message": "Hello", "background": True, "request_id": "once"}
    async with world.keepsay.user(mine.user).run(mine.ids["conversation"], "Hello", key="once") as run:
        again = await _ask(world, mine, "POST", _runs(mine), body)
        assert again.status == 202
        assert json.loads(again.content)["run"]["id"] == str(run.id)


async def erasing_oneself(world: World) -> None:
    mine, before = await world.somebody(), await world.all_of_the_owners()
    assert (await _ask(world, mine, "DELETE", f"/api/users/{mine.user}")).status == 200
    assert (await world.keepsay.user(mine.user).list()).items == ()
    assert await world.all_of_the_owners() == before


async def exporting_and_erasing_as_an_operator(world: World) -> None:
    """Operators may whom they name, others themselves alone."""
    victim, me = await world.somebody(), await world.somebody()
    for method, path in (("GET", f"/api/users/{victim.user}/export"), ("DELETE", f"/api/users/{victim.user}")):
        assert (await _ask(world, me, method, path, asker="other")).status == 404
        done = await _ask(world, me, method, path, asker="operator")
        assert done.status == 200
        assert victim.user in done.text
        assert me.user not in done.text
    assert (await world.keepsay.user(victim.user).list()).items == ()
    assert len((await world.keepsay.user(me.user).list()).items) == 1


async def being_refused_by_the_allowance(world: World) -> None:
    """The conversation that was made for the chat goes with it."""
    mine, allowed = await world.somebody(), ALLOWANCE.per_day or 0
    statuses = [
        (await _ask(world, mine, "POST", f"/api/{mine.user}/chat", {"message": "Hello"})).status
        for _ in range(allowed + 1)
    ]
    assert statuses == [200] * allowed + [429]
    assert len((await world.keepsay.user(mine.user).list()).items) == 1 + allowed


DEEDS: tuple[Callable[[World], Awaitable[None]], ...] = (
    running_in_the_background,
    asking_again_while_the_run_is_under_way,
    erasing_oneself,
    exporting_and_erasing_as_an_operator,
    being_refused_by_the_allowance,
)
