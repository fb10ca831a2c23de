"""What must hold of a user's allowance when runs begin at once; as ``checks``, for any store."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from keepsay.errors import ConversationBusy, NotFound, QuotaExceeded, RateLimited
from keepsay.model.allowance import Allowance
from keepsay.store.protocol import Begun, OnBusy, Store
from keepsay.testing import build
from keepsay.testing.postgres import Database
from keepsay.testing.talk import Talk, start_talk

from .beginners import Arguments
from .ground import OpenStore, at_once

PROGRAM = Path(__file__).with_name("beginners.py")
CALLERS = 64
CONVERSATIONS = 16
LIMIT = 20


async def start_talks(store: Store, count: int = CONVERSATIONS) -> list[Talk]:
    """Conversations of one new user."""
    owner = build.owner()
    return list(await asyncio.gather(*(start_talk(store, owner=owner) for _ in range(count))))


async def check_an_allowance_is_never_exceeded(
    open_store: OpenStore, allowance: Allowance, *, rounds: int, on_busy: OnBusy = "interrupt", limit: int = LIMIT
) -> None:
    """Of many runs of one user that begin at once just as many begin as may, and the others leave no trace."""
    expected = QuotaExceeded if allowance.per_day == limit else RateLimited
    async with open_store(CALLERS) as store:
        for number in range(rounds):
            talks = await start_talks(store)
            calls = (
                talks[n % CONVERSATIONS].begin(f"user: {n}", on_busy=on_busy, allowance=allowance)
                for n in range(CALLERS)
            )
            outcomes = Counter(type(outcome) for outcome in await at_once(*calls))
            told = f"round {number}: {outcomes[Begun]} begun of {limit}; {dict(outcomes)}"
            assert outcomes[Begun] == limit, told
            busy = outcomes[ConversationBusy] if on_busy == "reject" else 0
            assert outcomes[expected] == CALLERS - limit - busy, told
            await _assert_traces(talks, limit, told)


async def _assert_traces(talks: Sequence[Talk], limit: int, told: str) -> None:
    logs = [message for log in await asyncio.gather(*(talk.log() for talk in talks)) for message in log]
    assert len(logs) == limit, f"{told}; {len(logs)} messages are stored"
    assert len({message.run_id for message in logs}) == limit, told


async def check_no_more_begin_than_come_back(open_store: OpenStore, *, seconds: float) -> None:
    """While runs come back, callers that ask all the time get no more than the burst and what came back."""
    allowance, begun = Allowance(per_minute=3_000, burst=LIMIT), 0
    async with open_store(16) as store:
        talks = await start_talks(store)
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            outcomes = await at_once(*(t.begin("user: hi", on_busy="interrupt", allowance=allowance) for t in talks))
            begun += sum(isinstance(outcome, Begun) for outcome in outcomes)
            assert all(isinstance(outcome, Begun | RateLimited) for outcome in outcomes), outcomes
        elapsed = time.monotonic() - start
    assert LIMIT < begun <= LIMIT + 50 * elapsed, f"{begun} runs began in {elapsed:.3f} s"


async def check_erasing_meanwhile_hinders_nobody(open_store: OpenStore, *, rounds: int) -> None:
    """First runs of a user who is erased at that moment begin or find nothing; nobody waits for another in a circle."""
    async with open_store(9) as store:
        for number in range(rounds):
            talks = await start_talks(store, 8)
            calls = [talk.begin("user: hi", allowance=Allowance(per_day=9)) for talk in talks]
            begun = [asyncio.ensure_future(call) for call in calls]
            await asyncio.sleep(0.0002 * (number % 10))
            erased = (await at_once(store.erase(talks[0].owner)))[0]
            outcomes = await asyncio.gather(*begun, return_exceptions=True)
            failed = [
                one for one in (erased, *outcomes) if isinstance(one, BaseException) and type(one) is not NotFound
            ]
            assert not failed, f"round {number}: {len(failed)} failed: {failed[0]!r}"


async def check_processes_share_an_allowance(open_store: OpenStore, database: Database, *, rounds: int) -> None:
    """Two processes begin runs of one user at once: together as many as may."""
    async with open_store(CONVERSATIONS) as store:
        children = [await _start(database) for _ in range(2)]
        parts = []
        try:
            for number in range(rounds):
                talks = await start_talks(store)
                said = await asyncio.gather(*(_ask(child, talks) for child in children))
                together = Counter(said[0]) + Counter(said[1])
                wanted = {"Begun": LIMIT, "QuotaExceeded": CALLERS - LIMIT}
                assert together == wanted, f"round {number}: {together}"
                parts.append(said[0].get("Begun", 0))
                await _assert_traces(talks, LIMIT, f"round {number}")
        finally:
            for child in children:
                await asyncio.wait_for(child.communicate(b""), 30)
    assert all(child.returncode == 0 for child in children)
    both = sum(0 < part < LIMIT for part in parts)
    assert both > rounds / 4, f"in only {both} of {rounds} rounds both processes got some: the race is tame"


async def _start(database: Database) -> asyncio.subprocess.Process:
    dsn = database.dsn
    assert dsn.host is not None
    assert dsn.user is not None
    assert dsn.database is not None
    arguments = Arguments(dsn.host, dsn.port, dsn.user, dsn.database, callers=CALLERS // 2, limit=LIMIT)
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, str(PROGRAM), json.dumps(asdict(arguments)))
    child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert await _answer(child) == "ready"
    return child


async def _ask(child: asyncio.subprocess.Process, talks: Sequence[Talk]) -> dict[str, int]:
    assert child.stdin is not None
    line = json.dumps([talks[0].owner.user_id, *(str(talk.id) for talk in talks)])
    child.stdin.write(f"{line}\n".encode())
    answer = await _answer(child)
    assert isinstance(answer, dict)
    return answer


async def _answer(child: asyncio.subprocess.Process) -> Any:
    assert child.stdout is not None
    return json.loads(await asyncio.wait_for(child.stdout.readline(), 60))


async def count_begun_after_looking(open_store: OpenStore) -> int:
    """How many begin where the application itself looks how many there were and then begins, as many do."""
    async with open_store(CALLERS) as store:
        talks = await start_talks(store)
        calls = (_begin_after_looking(talks[n % CONVERSATIONS]) for n in range(CALLERS))
        return sum(isinstance(outcome, Begun) for outcome in await at_once(*calls))


async def _begin_after_looking(talk: Talk) -> Begun:
    conversations = await talk.store.list(talk.owner, status=None, limit=CONVERSATIONS, after=None, skip=0)
    if sum(each.head for each in conversations) >= LIMIT:
        raise QuotaExceeded(limit=LIMIT, retry_after=1.0)
    return await talk.begin("user: hi", on_busy="interrupt")
