"""One client process of ``test_round_trips``: users at once, each with a conversation that only it knows.

Run as ``pooler_talks.py URL NAME DRIVER OPERATIONS``; writes ``{"right": n, "wrong": [texts], "errors": {name: n}}``.
DRIVER is ``ours``, or ``as it comes``: the same SELECTs sent by asyncpg as it comes.
"""

from __future__ import annotations

import asyncio
import collections
import json
import random
import sys
from typing import Any
from unittest import mock

import asyncpg

from keepsay.errors import KeepsayError
from keepsay.model.window import Window, choose_window
from keepsay.store.postgres import pool
from keepsay.store.postgres.connection import open_pool
from keepsay.store.postgres.dsn import Dsn, parse_dsn
from keepsay.store.postgres.store import PostgresStore
from keepsay.testing.build import words_of
from keepsay.testing.talk import Talk, start_talk

USERS = 8
PAGE = 5
WINDOW = Window(max_messages=6)


class AsItComes(asyncpg.Connection):  # type: ignore[misc, no-any-unimported]  # asyncpg ships no types
    async def call(self, sql: str, *args: object, timeout: float | None) -> Any:
        return await self.fetch(sql, *args, timeout=timeout)


async def open_as_it_comes(dsn: Dsn, *, max_size: int, **_: object) -> Any:
    return await asyncpg.create_pool(
        **dsn.connect_arguments(), connection_class=AsItComes, min_size=0, max_size=max_size
    )


class User:
    """Appends to a conversation and reads it, and knows what it must read."""

    def __init__(self, talk: Talk, name: str, chance: random.Random) -> None:
        self._talk, self._name, self._chance = talk, name, chance
        self._lines: list[str] = []

    async def once(self) -> bool:
        """One operation; whether its answer was right."""
        kind = self._chance.choice([self._append, self._page, self._load])
        return await kind()

    async def _append(self) -> bool:
        role = ("user", "assistant")[len(self._lines) % 2]
        line = f"{role}: {self._name} {len(self._lines)}"
        appended = await self._talk.append(line)
        self._lines.append(line)
        return (appended.first_seq, appended.head, appended.replayed) == (len(self._lines), len(self._lines), False)

    async def _page(self) -> bool:
        after = self._chance.randint(0, len(self._lines))
        page = await self._talk.store.page(
            self._talk.owner, self._talk.id, after=after, before=None, limit=PAGE, newest=False
        )
        found = [words_of(message) for message in page.messages]
        expected = self._lines[after : after + PAGE]
        return (found, page.head, page.has_more) == (expected, len(self._lines), after + PAGE < len(self._lines))

    async def _load(self) -> bool:
        loaded = await self._talk.store.load(self._talk.owner, self._talk.id, WINDOW)
        found = [words_of(message) for message in choose_window(loaded.rows, WINDOW).messages]
        asked = len(self._lines) % 2  # an open question takes a place of its own
        expected = self._lines[-(6 - asked) :]
        return loaded.conversation.id == self._talk.id and found == expected


async def live(store: PostgresStore, name: str, operations: int, outcomes: collections.Counter[str]) -> None:
    user: User | None = None
    for at in range(operations):
        try:
            if user is None:
                user = User(await start_talk(store), name, random.Random(name))
                right = True
            else:
                right = await user.once()
        except (KeepsayError, ValueError, LookupError, TypeError) as error:
            outcomes[f"error {type(error).__name__}"] += 1
        else:
            outcomes["right" if right else f"wrong {name} at {at}"] += 1


async def main(url: str, process: str, driver: str, operations: int) -> None:
    store = PostgresStore(parse_dsn(url), max_size=USERS)
    outcomes: collections.Counter[str] = collections.Counter()
    opener = open_as_it_comes if driver == "as it comes" else open_pool
    with mock.patch.object(pool, "open_pool", opener):
        await asyncio.gather(*(live(store, f"{process}{n}", operations // USERS, outcomes) for n in range(USERS)))
    await store.close()
    errors = {kind.removeprefix("error "): n for kind, n in outcomes.items() if kind.startswith("error ")}
    wrong = [kind for kind in outcomes if kind.startswith("wrong ")]
    json.dump({"right": outcomes["right"], "wrong": wrong, "errors": errors}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
