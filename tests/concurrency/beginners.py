"""One process of ``test_allowances``: callers that begin runs of one user, all at once, each time a line comes in.

Run as ``beginners.py ARGUMENTS`` (JSON). Says ``ready`` once its connections are open. A line is JSON, the user and the
ids of conversations; the answer is JSON, how many calls had which outcome. It ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from dataclasses import dataclass

from keepsay.errors import KeepsayError
from keepsay.model.allowance import Allowance
from keepsay.model.ids import UserId, parse_conversation_id
from keepsay.store.postgres.dsn import Dsn
from keepsay.store.postgres.store import PostgresStore
from keepsay.store.protocol import Owner
from keepsay.testing.talk import Talk


@dataclass(frozen=True, slots=True)
class Arguments:
    host: str
    port: int
    user: str
    database: str
    callers: int
    limit: int


async def _begin(talk: Talk, allowance: Allowance) -> str:
    try:
        begun = await talk.begin("user: hi", on_busy="interrupt", allowance=allowance)
    except KeepsayError as error:
        return type(error).__name__
    return type(begun).__name__


async def main(given: Arguments) -> None:
    dsn = Dsn(host=given.host, port=given.port, user=given.user, database=given.database, tls="off")
    store, allowance = PostgresStore(dsn, max_size=given.callers), Allowance(per_day=given.limit)
    await asyncio.gather(*(store.users(after=None, limit=1) for _ in range(given.callers)))
    _say("ready")
    while line := await asyncio.to_thread(sys.stdin.readline):
        user, *conversations = json.loads(line)
        talks = [Talk(store, Owner.of(UserId(user)), parse_conversation_id(each)) for each in conversations]
        calls = (_begin(talks[n % len(talks)], allowance) for n in range(given.callers))
        _say(Counter(await asyncio.gather(*calls)))
    await store.close()


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Arguments(**json.loads(sys.argv[1]))))
