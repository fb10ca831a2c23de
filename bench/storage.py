"""Bytes on disk and in the write-ahead log: what a turn costs with all promises on. ``python -m bench.storage``.

1,000 conversations of 100 messages, 50 turns each: begin with the user's message (and its window), finish with the
answer. Once each conversation in one go, as a chat is had, and once all interleaved, the worst case for the indexes.
Payloads are 414 bytes of JSON on average, user ids 41 bytes, as in the comparison with other stores. Full-page images
are switched off on the throw-away server: they depend on how often it makes checkpoints, and not on what is written.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from pathlib import Path
from uuid import UUID

import asyncpg

from keepsay import Keepsay, Window, assistant
from keepsay.embedded import EmbeddedPostgres
from keepsay.library.scope import UserScope

CONVERSATIONS = 1_000
TURNS = 50
WRITERS = 16
USER_TEXT = "u" * (264 - 28)  # with its JSON around it
ANSWER_TEXT = "a" * (564 - 33)
TABLES = ("users", "conversations", "messages", "runs", "summaries")


async def _write(ks: Keepsay, conversations: int, turns: int, *, interleaved: bool) -> int:
    """Write all turns: each conversation in one go, as a chat is had, or a turn of each in turn."""
    waiting = asyncio.Queue[tuple[UserScope, UUID, int]]()
    for number in range(conversations):
        user = ks.user(f"user-{number:036d}")
        waiting.put_nowait((user, (await user.create()).id, turns))

    async def writer() -> None:
        while not waiting.empty():
            user, conversation, left = waiting.get_nowait()
            for _ in range(1 if interleaved else left):
                async with user.run(conversation, USER_TEXT, window=Window(max_messages=20)) as run:
                    await run.finish(assistant(ANSWER_TEXT))
            if interleaved and left > 1:
                waiting.put_nowait((user, conversation, left - 1))

    await asyncio.gather(*(writer() for _ in range(WRITERS)))
    return conversations * turns


async def _sizes(connection: asyncpg.Connection) -> dict[str, int]:  # type: ignore[no-any-unimported]
    return {
        table: await connection.fetchval("SELECT pg_total_relation_size($1::text::regclass)", f"keepsay.{table}")
        for table in TABLES
    }


async def measure(dsn: str, conversations: int, turns: int, *, interleaved: bool) -> dict[str, object]:
    """Write the turns and say what they cost."""
    connection = await asyncpg.connect(dsn)
    async with Keepsay(dsn) as ks:
        await ks.user("warm").create()
        before = await connection.fetchval("SELECT pg_current_wal_insert_lsn()")
        done = await _write(ks, conversations, turns, interleaved=interleaved)
        wal = await connection.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1)", before)
    payload = await connection.fetchval("SELECT sum(octet_length(payload::text)) FROM keepsay.messages")
    sizes = await _sizes(connection)
    hot = await connection.fetchrow(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'conversations'"
    )
    version = await connection.fetchval("SHOW server_version")
    await connection.close()
    return {
        "postgres": version,
        "order": "a turn of each conversation in turn"
        if interleaved
        else "one conversation after the other, 16 at a time",
        "conversations": conversations,
        "turns": done,
        "bytes_of_payload": int(payload),
        "mean_payload": round(payload / (2 * done), 1),
        "bytes_on_disk": sizes,
        "disk_per_byte_of_payload": round(sum(sizes.values()) / payload, 3),
        "wal_bytes_per_turn": round(float(wal) / done),
        "conversation_updates_hot": round(hot["n_tup_hot_upd"] / max(1, hot["n_tup_upd"]), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=CONVERSATIONS)
    parser.add_argument("--turns", type=int, default=TURNS, help="turns in each conversation")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o755)  # the server may have to run as another user, and makes a private folder of its own inside
        results = [
            _measure_on_its_own(home / order, options, interleaved=order == "interleaved")
            for order in ("in-one-go", "interleaved")
        ]
    print(json.dumps(results, indent=2))


def _measure_on_its_own(home: Path, options: argparse.Namespace, *, interleaved: bool) -> dict[str, object]:
    server = EmbeddedPostgres(home, durable=False, settings={"full_page_writes": "off"})
    try:
        return asyncio.run(measure(server.start(), options.conversations, options.turns, interleaved=interleaved))
    finally:
        server.stop()


if __name__ == "__main__":
    main()
