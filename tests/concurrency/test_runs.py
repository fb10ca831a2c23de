"""Thousands of agents that crash, pause, interrupt and retry leave logs that every promise about runs holds for."""

from __future__ import annotations

import sys

import pytest

from keepsay.testing.postgres import Database

from .agents import counted, simulate
from .ground import OpenStore

COUNTED = (
    "runs",
    "completed",
    "failed",
    "crashes",
    "pauses",
    "takeovers",
    "new attempts",
    "fenced writes",
    "replays",
    "busy",
    "went on without the retry",
    "begins sent again",
    "appends sent again",
    "finishes sent again",
    "said from outside",
    "ended as cancelled",
    "ended as expired",
    "ended as failed",
    "looks",
)
"""What must have happened at least once, or the simulation was too tame to show anything."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("postgres", "runs"),
    [("newest_postgres", 2_000), ("system_postgres", 1_000)],
    indirect=["postgres"],
    ids=["newest", "system"],
)
async def test_agents_that_crash_pause_and_interrupt_break_no_promise(
    open_store: OpenStore, database: Database, seed: int, runs: int
) -> None:
    journal = await simulate(open_store, database, seed, runs=runs)
    sys.stdout.write(counted(journal, COUNTED) + "\n")
    missing = [name for name in COUNTED if not journal.counts[name]]
    assert not missing, f"never happened: {missing}"
    assert journal.counts["runs"] >= runs
