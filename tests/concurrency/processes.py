"""Two processes of writers and several readers on one conversation, and what must hold of what they saw."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from keepsay.model.conversation import RolePolicy
from keepsay.model.messages import Message
from keepsay.store.protocol import Store
from keepsay.testing.postgres import Database
from keepsay.testing.talk import Talk, start_talk

from .checks import assert_gapless, read_whole_log
from .ground import OpenStore
from .writers import Arguments

PROGRAM = Path(__file__).with_name("writers.py")
PROCESSES = 2
WALKERS = 4


@dataclass(frozen=True, slots=True)
class Told:
    """A batch that a writer was told is stored."""

    writer: int
    batch: int
    first_seq: int
    size: int

    @property
    def contents(self) -> list[str]:
        return [f"{self.writer}/{self.batch}/{at}/{self.size}" for at in range(self.size)]


async def check_processes_share_a_conversation(
    open_store: OpenStore, database: Database, seed: int, *, writers: int = 32, batches: int = 50
) -> None:
    """Writers in two processes: no gap, whole batches, one order for all; walkers neither skip nor repeat."""
    async with open_store(WALKERS) as store:
        talk = await start_talk(store, policy=RolePolicy.LENIENT)
        given = [_arguments(database, talk, seed, at, writers // PROCESSES, batches) for at in range(PROCESSES)]
        children = [await _start(arguments) for arguments in given]
        stop = asyncio.Event()
        walks = [asyncio.create_task(_walk(store, talk, random.Random(f"{seed}/{n}"), stop)) for n in range(WALKERS)]
        told = [line for lines in await asyncio.gather(*map(_end, children)) for line in lines]
        stop.set()
        log = await read_whole_log(store, talk, limit=200)
        _assert_whole(log, told, writers * batches)
        for walked in await asyncio.gather(*walks):
            assert walked == log[: len(walked)], "a walker skipped, repeated or saw another order"
        assert await read_whole_log(store, talk, limit=7) == log, "two reads differ"


def _arguments(database: Database, talk: Talk, seed: int, at: int, writers: int, batches: int) -> Arguments:
    dsn = database.dsn
    assert dsn.host is not None
    assert dsn.user is not None
    assert dsn.database is not None
    return Arguments(
        host=dsn.host,
        port=dsn.port,
        user=dsn.user,
        database=dsn.database,
        owner=talk.owner.user_id,
        conversation=str(talk.id),
        first_writer=at * writers,
        writers=writers,
        batches=batches,
        seed=seed,
    )


async def _start(arguments: Arguments) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, str(PROGRAM), json.dumps(asdict(arguments)))
    child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=2**24)
    assert child.stdout is not None
    assert json.loads(await child.stdout.readline()) == "ready"
    return child


async def _end(child: asyncio.subprocess.Process) -> list[Told]:
    """Let the process start, and wait for what it has to tell."""
    out, _ = await asyncio.wait_for(child.communicate(b"go\n"), 120)
    assert child.returncode == 0, f"a process of writers ended with {child.returncode}"
    return [Told(*line) for line in json.loads(out)]


async def _walk(store: Store, talk: Talk, draw: random.Random, stop: asyncio.Event) -> list[Message]:
    """Follow the log page by page while it grows, always from the last message seen."""
    seen: list[Message] = []
    while True:
        is_last = stop.is_set()
        after = seen[-1].seq if seen else 0
        page = await store.page(talk.owner, talk.id, after=after, before=None, limit=draw.randint(1, 40), newest=False)
        seen += page.messages
        if is_last and not page.has_more:
            return seen
        await asyncio.sleep(0)


def _assert_whole(log: Sequence[Message], told: Sequence[Told], batches: int) -> None:
    assert len(told) == batches
    assert_gapless(log, sum(batch.size for batch in told))
    contents = [str(message.content) for message in log]
    for batch in told:
        stored = contents[batch.first_seq - 1 : batch.first_seq - 1 + batch.size]
        assert stored == batch.contents, f"the batch {batch} is torn: {stored}"
    assert len(set(contents)) == len(contents), "a message was stored twice"
    _assert_order_of_writers(told)


def _assert_order_of_writers(told: Sequence[Told]) -> None:
    """Each writer's batches stand in the order of its calls, and the two processes really ran at once."""
    starts: dict[int, list[int]] = defaultdict(list)
    for batch in sorted(told, key=lambda one: one.batch):
        starts[batch.writer].append(batch.first_seq)
    assert all(found == sorted(found) for found in starts.values()), "a later call stands before an earlier one"
    half = len(starts) // PROCESSES
    order = [batch.writer // half for batch in sorted(told, key=lambda one: one.first_seq)]
    turns = sum(before != after for before, after in pairwise(order))
    assert turns > len(told) / 20, f"the processes took turns only {turns} times: the race is tame"
