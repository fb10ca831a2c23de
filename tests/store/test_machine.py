"""The memory store and the Postgres store give the same answers to the same random histories.

``KEEPSAY_HISTORIES`` says how many, each of 50 steps.
"""

from __future__ import annotations

import asyncio
import os
import sys

import pytest
from pytest_postgresql.executors import NoopExecutor

from keepsay.model.ids import ConversationId
from keepsay.store.memory import MemoryStore
from keepsay.store.postgres.store import PostgresStore
from keepsay.store.protocol import Owner
from keepsay.testing.machine import ERRORS, EVENTS, VERBS, run_histories
from keepsay.testing.postgres import new_database
from keepsay.testing.twins import Side, Twins

ENOUGH = 500
"""So many histories see everything; if they do not, the machine has lost a part."""
EXAMPLES = int(os.environ.get("KEEPSAY_HISTORIES", ENOUGH))


@pytest.mark.slow
def test_both_stores_tell_the_same_histories(newest_postgres: NoopExecutor, capsys: pytest.CaptureFixture[str]) -> None:
    memory = MemoryStore()

    async def expire(owner: Owner, conversation_id: ConversationId) -> None:
        memory.expire_lease(owner, conversation_id)

    with new_database(newest_postgres) as database, asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        postgres = PostgresStore(database.dsn, max_size=1)
        twins = Twins(Side("memory", memory, expire), Side("postgres", postgres, database.expire_lease), runner)
        try:
            run_histories(twins, examples=EXAMPLES)
        finally:
            runner.run(postgres.close())
    with capsys.disabled():
        sys.stdout.write(f"\n{twins.meetings.report()}\n")
    if EXAMPLES >= ENOUGH:
        assert not VERBS - twins.meetings.verbs.keys()
        assert not ERRORS - twins.meetings.errors.keys()
        assert not EVENTS - twins.meetings.events.keys()
