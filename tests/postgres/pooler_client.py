"""One client process of ``test_pgbouncer``: many concurrent questions whose answers name who asked.

Run as ``pooler_client.py URL CLIENT DRIVER CALLS``; writes ``{"wrong": n, "errors": {name: n}, "right": n}``.
"""

from __future__ import annotations

import asyncio
import collections
import json
import sys
from typing import Any

import asyncpg

from keepsay.store.postgres.connection import open_pool
from keepsay.store.postgres.dsn import parse_dsn

TASKS = 8


def texts(client: str) -> list[str]:
    """Five texts of this client's own, so that a statement of the other process would give itself away."""
    return [f"SELECT owner, n, '{client}{k}' AS text FROM trial.whose_v1('{client}', $1)" for k in range(5)]


async def ours(pool: Any, sql: str, n: int) -> Any:
    async with pool.acquire() as connection:
        return await connection.call(sql, n, timeout=20)


async def as_it_comes(pool: Any, sql: str, n: int) -> Any:
    async with pool.acquire() as connection:
        return await connection.fetch(sql, n, timeout=20)


async def main(url: str, client: str, driver: str, calls: int) -> None:
    dsn = parse_dsn(url)
    ask, pool = (
        (ours, await open_pool(dsn, max_size=TASKS))
        if driver == "ours"
        else (as_it_comes, await asyncpg.create_pool(**dsn.connect_arguments(), min_size=0, max_size=TASKS))
    )
    outcomes: collections.Counter[str] = collections.Counter()

    async def task(number: int) -> None:
        for turn in range(calls // TASKS):
            n = turn * TASKS + number
            sql = texts(client)[n % 5]
            try:
                rows = [tuple(row) for row in await ask(pool, sql, n)]
            except Exception as error:
                outcomes[type(error).__name__] += 1
            else:
                outcomes["right" if rows == [(client, n, f"{client}{n % 5}")] else "wrong"] += 1

    await asyncio.gather(*(task(number) for number in range(TASKS)))
    pool.terminate()
    right, wrong = outcomes.pop("right", 0), outcomes.pop("wrong", 0)
    json.dump({"right": right, "wrong": wrong, "errors": outcomes}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
