"""One process of ``test_races``: many writers that append batches of random size to one conversation.

Run as ``writers.py ARGUMENTS`` (JSON). Says ``ready`` once its connections are open, starts when a line comes in, and
ends with one JSON line: ``[[writer, batch, first_seq, size], ...]``, what it was told of.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from dataclasses import dataclass
from typing import Any

from keepsay import Keepsay
from keepsay.library.messages import user as said
from keepsay.library.scope import UserScope
from keepsay.store.postgres.dsn import Dsn
from keepsay.store.postgres.store import PostgresStore


@dataclass(frozen=True, slots=True)
class Arguments:
    host: str
    port: int
    user: str
    database: str
    owner: str
    conversation: str
    first_writer: int
    writers: int
    batches: int
    seed: int


def _open(given: Arguments) -> Keepsay:
    dsn = Dsn(host=given.host, port=given.port, user=given.user, database=given.database, tls="off")
    return Keepsay(store=PostgresStore(dsn, max_size=given.writers))


async def _write(scope: UserScope, given: Arguments, writer: int) -> list[list[int]]:
    """The batches of one writer; now and then the same call again, as a client that missed the answer makes it."""
    draw, told = random.Random(f"{given.seed}/{writer}"), []
    for batch in range(given.batches):
        size, key = draw.randint(1, 5), f"{writer}/{batch}"
        messages = [said(f"{writer}/{batch}/{at}/{size}") for at in range(size)]
        appending = await scope.append(given.conversation, *messages, key=key)
        if draw.random() < 0.1:
            again = await scope.append(given.conversation, *messages, key=key)
            assert again.replayed
            assert again.messages == appending.messages
        told.append([writer, batch, appending.messages[0].seq, size])
    return told


async def main(given: Arguments) -> None:
    writers = range(given.first_writer, given.first_writer + given.writers)
    async with _open(given) as keepsay:
        scope = keepsay.user(given.owner)
        await asyncio.gather(*(scope.get(given.conversation) for _ in writers))
        _say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        told = await asyncio.gather(*(_write(scope, given, writer) for writer in writers))
    _say([line for lines in told for line in lines])


def _say(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Arguments(**json.loads(sys.argv[1]))))
