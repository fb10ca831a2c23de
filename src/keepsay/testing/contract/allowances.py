"""Allowances: how many runs a user may begin, what counts, and that a refusal leaves no trace."""

from __future__ import annotations

import asyncio

import pytest

from keepsay.errors import (
    ConversationBusy,
    KeyReused,
    NotFound,
    QuotaExceeded,
    RateLimited,
    RoleOrderError,
    SeqMismatch,
)
from keepsay.model.allowance import Allowance
from keepsay.model.conversation import RolePolicy, RunStatus
from keepsay.store.protocol import Begun, Store
from keepsay.testing.build import ABSENT, begin, hold_of
from keepsay.testing.talk import Talk, start_talk

DAY = 86_400.0
SLOW = Allowance(per_minute=1, burst=3)  # no test takes so long that one comes back
THREE_A_DAY = Allowance(per_day=3)
EACH = pytest.mark.parametrize(
    ("allowance", "kind"), [(SLOW, RateLimited), (THREE_A_DAY, QuotaExceeded)], ids=["rate", "quota"]
)


async def _use_up(talk: Talk, allowance: Allowance, runs: int) -> None:
    for n in range(runs):
        await talk.finish(hold_of(await talk.begin(f"user: {n}", allowance=allowance)), f"assistant: {n}")


class AllowanceContract:
    @EACH
    async def test_so_many_runs_begin_and_no_more(
        self, store: Store, allowance: Allowance, kind: type[RateLimited]
    ) -> None:
        talk = await start_talk(store)
        await _use_up(talk, allowance, 3)
        with pytest.raises(RateLimited) as refused:
            await talk.begin("user: more", allowance=allowance)
        assert type(refused.value) is kind
        assert refused.value.outcome == "not_applied"
        assert refused.value.limit == (1 if kind is RateLimited else 3)
        assert 0 < refused.value.retry_after <= (60 if kind is RateLimited else DAY)

    @EACH
    async def test_a_refused_run_leaves_no_trace(
        self, store: Store, allowance: Allowance, kind: type[RateLimited]
    ) -> None:
        talk = await start_talk(store, policy=RolePolicy.LENIENT)
        await _use_up(talk, allowance, 2)
        held = await talk.begin("user: hi", allowance=allowance)
        before = await talk.get(), await talk.log()
        for _ in range(2):
            refused = begin("user: more", on_busy="interrupt", allowance=allowance)
            with pytest.raises(kind):
                await store.begin(talk.owner, talk.id, refused)
            with pytest.raises(NotFound):
                await talk.run(refused.run_id)
        assert (await talk.get(), await talk.log()) == before
        await talk.finish(hold_of(held), "assistant: not interrupted")
        await store.begin(talk.owner, talk.id, begin("user: without an allowance"))

    async def test_all_conversations_of_a_user_share_it(self, store: Store) -> None:
        first = await start_talk(store)
        talks = [first, *[await start_talk(store, owner=first.owner) for _ in range(3)]]
        for talk in talks[:3]:
            await talk.begin("user: hi", allowance=SLOW)
        with pytest.raises(RateLimited):
            await talks[3].begin("user: hi", allowance=SLOW)

    async def test_both_limits_hold_and_the_longer_wait_is_told(self, store: Store) -> None:
        talk = await start_talk(store)
        await _use_up(talk, Allowance(per_minute=1, burst=2, per_day=2), 2)
        with pytest.raises(QuotaExceeded):
            await talk.begin("user: more", allowance=Allowance(per_minute=1, burst=2, per_day=2))
        with pytest.raises(RateLimited) as refused:
            await talk.begin("user: more", allowance=Allowance(per_minute=1, burst=2, per_day=3))
        assert type(refused.value) is RateLimited

    async def test_a_replay_is_not_charged(self, store: Store) -> None:
        talk, once = await start_talk(store), Allowance(per_minute=1, per_day=1)
        first = await talk.begin("user: hi", owner_token=7, allowance=once)
        mine = await talk.begin("user: hi", owner_token=7, run_id=first.run.id, allowance=once)
        assert (mine.replayed, mine.held) == (True, True)
        other = await talk.begin("user: hi", run_id=first.run.id, allowance=once)
        assert (other.replayed, other.held) == (True, False)
        await talk.finish(hold_of(first), "assistant: hello")
        done = await talk.begin("user: hi", run_id=first.run.id, allowance=once)
        assert (done.replayed, [m.seq for m in done.rows.messages]) == (True, [1, 2])

    async def test_a_new_attempt_is_charged(self, store: Store) -> None:
        talk, twice = await start_talk(store), Allowance(per_minute=1, burst=2)
        first = await talk.begin("user: hi", allowance=twice)
        await talk.finish(hold_of(first), status=RunStatus.FAILED, error="no model")
        again = await talk.begin("user: hi", run_id=first.run.id, allowance=twice)
        assert again.run.attempt == 2
        failed = await talk.finish(hold_of(again), status=RunStatus.FAILED, error="no model")
        with pytest.raises(RateLimited):
            await talk.begin("user: hi", run_id=first.run.id, allowance=twice)
        assert await talk.run(first.run.id) == failed.run
        assert (await talk.begin("user: hi", run_id=first.run.id)).run.attempt == 3

    async def test_what_is_refused_for_another_reason_is_not_charged(self, store: Store) -> None:
        talk, once = await start_talk(store), Allowance(per_minute=1, per_day=1)
        with pytest.raises(NotFound):
            await store.begin(talk.owner, ABSENT, begin("user: hi", allowance=once))
        with pytest.raises(RoleOrderError):
            await talk.begin("system: too late", "system: and twice", allowance=once)
        with pytest.raises(SeqMismatch):
            await talk.begin("user: hi", expected_seq=7, allowance=once)
        held = await talk.begin("user: hi")
        with pytest.raises(ConversationBusy):
            await talk.begin("user: more", allowance=once)
        with pytest.raises(KeyReused):
            await talk.begin("user: other", run_id=held.run.id, fingerprint=2, allowance=once)
        await talk.finish(hold_of(held), "assistant: hello")
        await talk.begin("user: now", allowance=once)

    async def test_what_is_refused_for_another_reason_is_told_before_the_allowance(self, store: Store) -> None:
        talk, once = await start_talk(store), Allowance(per_day=1)
        await talk.begin("user: hi", allowance=once)
        with pytest.raises(ConversationBusy):
            await talk.begin("user: more", allowance=once)
        with pytest.raises(NotFound):
            await store.begin(talk.owner, ABSENT, begin("user: hi", allowance=once))

    async def test_runs_without_an_allowance_are_neither_limited_nor_counted(self, store: Store) -> None:
        talk = await start_talk(store)
        for n in range(5):
            await talk.finish(await talk.hold(f"user: {n}"), f"assistant: {n}")
        await _use_up(talk, SLOW, 3)
        await talk.hold("user: more")

    async def test_the_numbers_may_change_and_what_was_spent_stays(self, store: Store) -> None:
        talk = await start_talk(store)
        await _use_up(talk, Allowance(per_minute=1, burst=5), 2)
        await _use_up(talk, Allowance(per_day=3), 1)  # the day's runs count whatever they were limited by
        with pytest.raises(QuotaExceeded):
            await talk.begin("user: more", allowance=Allowance(per_day=3))
        await _use_up(talk, Allowance(per_minute=1, burst=2), 2)  # of the three that are left
        with pytest.raises(RateLimited):
            await talk.begin("user: more", allowance=Allowance(per_minute=1, burst=9))

    async def test_a_run_comes_back_after_the_time_that_was_told(self, store: Store) -> None:
        talk, quick = await start_talk(store), Allowance(per_minute=60, burst=1)
        await _use_up(talk, quick, 1)
        with pytest.raises(RateLimited) as refused:
            await talk.begin("user: more", allowance=quick)
        assert 0 < refused.value.retry_after <= 1
        await asyncio.sleep(refused.value.retry_after + 0.005)  # this clock and the store's differ by a little
        await talk.begin("user: more", allowance=quick)

    @EACH
    async def test_runs_at_once_get_no_more_than_there_is(
        self, store: Store, allowance: Allowance, kind: type[RateLimited]
    ) -> None:
        first = await start_talk(store)
        talks = [first, *[await start_talk(store, owner=first.owner) for _ in range(7)]]
        outcomes = await asyncio.gather(
            *(talk.begin("user: hi", allowance=allowance) for talk in talks), return_exceptions=True
        )
        begun = [outcome for outcome in outcomes if isinstance(outcome, Begun)]
        assert [type(outcome) for outcome in outcomes if not isinstance(outcome, Begun)] == [kind] * 5
        assert len(begun) == 3
        assert sum([(await talk.get()).head for talk in talks]) == 3
