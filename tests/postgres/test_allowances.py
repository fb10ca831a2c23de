"""Allowances in SQL: the arithmetic is the model's, the row is cheap to rewrite and goes with its user."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_postgresql.executors import NoopExecutor
from tests.model.allowances import BEGIN, allowances, attempt, gaps

from keepsay.errors import KeepsayError, QuotaExceeded
from keepsay.model.allowance import UNSPENT, Allowance, Balance
from keepsay.store.postgres.refusals import refusal_from
from keepsay.store.postgres.store import PostgresStore
from keepsay.testing.build import hold_of
from keepsay.testing.postgres import Database, new_database
from keepsay.testing.talk import start_talk

from .sessions import ask, execute, session

SPEND = """
    SELECT refilled_at, level, day, runs
    FROM keepsay.spend(row(gen_random_uuid(), $1, $2, $3, $4)::keepsay.allowances, $5, $6, $7, $8)
"""
ONE_A_DAY = Allowance(per_day=1)


@pytest.fixture(scope="module", params=["newest_postgres", "system_postgres"])
async def connection(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    server: NoopExecutor = request.getfixturevalue(request.param)
    with new_database(server) as database:
        async with session(database.dsn) as connection:
            yield connection


async def attempt_in_sql(
    connection: Any, allowance: Allowance, balance: Balance, now: datetime
) -> tuple[Balance, KeepsayError | None]:
    numbers = allowance.per_minute, allowance.bucket, allowance.per_day
    stored = balance.refilled_at, balance.level, balance.day, balance.runs
    try:
        return Balance(*await connection.fetchrow(SPEND, *stored, *numbers, now)), None
    except asyncpg.PostgresError as error:
        return balance, refusal_from(error.sqlstate or "", json.loads(error.detail or ""))


def told(outcome: tuple[Balance, KeepsayError | None]) -> tuple[object, ...]:
    balance, error = outcome
    return balance, type(error), None if error is None else vars(error)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(allowances(), allowances(), st.lists(gaps(forwards=False), min_size=1, max_size=15))
async def test_the_arithmetic_in_sql_is_the_models_to_the_microsecond(
    connection: Any, one: Allowance, other: Allowance, given_gaps: list[timedelta]
) -> None:
    balance = UNSPENT
    for at, now in enumerate(accumulate(given_gaps, lambda now, gap: now + gap, initial=BEGIN)):
        allowance = (one, other)[at % 5 == 4]  # the numbers change now and then
        ours = attempt(allowance, balance, now)
        assert told(ours) == told(await attempt_in_sql(connection, allowance, balance, now))
        balance = ours[0]


async def test_a_new_users_row_is_what_the_model_starts_with(newest_database: Database) -> None:
    store = PostgresStore(newest_database.dsn)
    talk = await start_talk(store)
    await talk.begin("user: hi", allowance=ONE_A_DAY)
    await store.close()
    [row] = await ask(newest_database.dsn, "SELECT refilled_at, level, day, runs FROM keepsay.allowances")
    assert row[:2] == (UNSPENT.refilled_at, UNSPENT.level)
    assert row[3] == 1


async def test_the_next_day_begins_anew(database: Database) -> None:
    store = PostgresStore(database.dsn)
    talk = await start_talk(store)
    await talk.finish(hold_of(await talk.begin("user: hi", allowance=ONE_A_DAY)), "assistant: hello")
    with pytest.raises(QuotaExceeded):
        await talk.begin("user: more", allowance=ONE_A_DAY)
    await execute(database.dsn, "UPDATE keepsay.allowances SET day = day - 1")
    await talk.begin("user: more", allowance=ONE_A_DAY)
    await store.close()


async def test_an_erasure_by_the_functions_own_role_takes_the_row_along(database: Database) -> None:
    """The cascade runs as the table's owner, whom FORCE does not bind while it keeps the key."""
    store = PostgresStore(database.dsn)
    talks = [await start_talk(store) for _ in range(2)]
    for talk in talks:
        await talk.begin("user: hi", allowance=ONE_A_DAY)
    await store.erase(talks[0].owner)
    assert await ask(database.dsn, "SELECT user_key FROM keepsay.allowances") == [(talks[1].owner.key,)]
    await store.close()


async def test_without_an_allowance_no_row_is_written(newest_database: Database) -> None:
    store = PostgresStore(newest_database.dsn)
    talk = await start_talk(store)
    await talk.finish(await talk.hold("user: hi"), "assistant: hello")
    await store.close()
    assert await ask(newest_database.dsn, "SELECT count(*) FROM keepsay.allowances") == [(0,)]


async def test_rewriting_a_users_row_leaves_the_index_alone(newest_database: Database) -> None:
    store, generous = PostgresStore(newest_database.dsn), Allowance(per_minute=1_000)
    talk = await start_talk(store)
    for n in range(200):
        await talk.finish(hold_of(await talk.begin(f"user: {n}", allowance=generous)), f"assistant: {n}")
    await store.close()
    async with session(newest_database.dsn) as connection:
        await connection.execute("SELECT pg_stat_force_next_flush()")
    counted = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'allowances'"
    assert await ask(newest_database.dsn, counted) == [(200, 200)]
    size = "SELECT pg_relation_size('keepsay.allowances'), pg_relation_size('keepsay.allowances_pkey')"
    assert await ask(newest_database.dsn, size) == [(8_192, 16_384)]
