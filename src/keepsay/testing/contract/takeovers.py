"""Runs that lose the conversation, and runs that are begun again: retries, interrupts, leases that ran out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from keepsay.errors import ConversationBusy, RunSuperseded, SeqMismatch
from keepsay.model.conversation import RolePolicy, RunStatus
from keepsay.model.ids import ConversationId
from keepsay.model.messages import OrderState
from keepsay.store.protocol import Owner, Store
from keepsay.testing.build import hold_of, words_of
from keepsay.testing.talk import start_talk

ExpireLease = Callable[[Owner, ConversationId], Awaitable[None]]
"""Makes the lease of the run that holds the conversation run out, as of now."""


class TakeoverContract:
    async def test_the_caller_that_began_is_told_that_it_holds_the_run(self, store: Store) -> None:
        talk = await start_talk(store)
        first = await talk.begin("user: hi", owner_token=7)
        again = await talk.begin("user: hi", owner_token=7, run_id=first.run.id)
        assert (again.run, again.rows) == (first.run, first.rows)
        assert (again.replayed, again.held, again.took_over) == (True, True, False)
        assert (await talk.get()).head == 1
        await talk.finish(hold_of(again), "assistant: hello")

    async def test_another_caller_with_the_key_does_not_hold_the_run(self, store: Store) -> None:
        talk = await start_talk(store)
        first = await talk.begin("user: hi")
        again = await talk.begin("user: hi", run_id=first.run.id, on_busy="interrupt")
        assert (again.run, again.replayed, again.held, again.took_over) == (first.run, True, False, False)

    @pytest.mark.parametrize("status", [RunStatus.COMPLETED, RunStatus.CANCELLED])
    async def test_a_run_that_ended_well_is_replayed_with_its_messages(self, store: Store, status: RunStatus) -> None:
        talk = await start_talk(store, "user: 0", "assistant: 0")
        first = await talk.begin("user: hi")
        finished = await talk.finish(hold_of(first), "assistant: hello", status=status)  # type: ignore[arg-type]
        await talk.append("user: more")
        again = await talk.begin("user: hi", run_id=first.run.id, expected_seq=0)
        assert (again.run, again.replayed, again.held, again.took_over) == (finished.run, True, False, False)
        assert [words_of(m) for m in again.rows.messages] == ["user: hi", "assistant: hello"]
        assert (again.rows.head, again.rows.system, again.rows.summary) == (4, None, None)
        assert not again.rows.from_start

    async def test_a_failed_run_is_begun_again_on_the_same_messages(self, store: Store) -> None:
        talk = await start_talk(store)
        first = await talk.begin("user: hi", expected_seq=0)
        await talk.finish(hold_of(first), status=RunStatus.FAILED, error="no model")
        again = await talk.begin("user: hi", run_id=first.run.id, expected_seq=0)
        assert (again.replayed, again.held, again.took_over) == (False, True, False)
        assert (again.run.status, again.run.attempt, again.run.error) == (RunStatus.RUNNING, 2, None)
        assert (again.run.fence, again.run.ended_at) == (first.run.fence + 1, None)
        assert [words_of(m) for m in again.rows.messages] == ["user: hi"]
        with pytest.raises(RunSuperseded):
            await talk.finish(hold_of(first), "assistant: too late")
        finished = await talk.finish(hold_of(again), "assistant: hello")
        assert (finished.run.first_seq, finished.run.last_seq) == (1, 2)

    @pytest.mark.parametrize("policy", [RolePolicy.STRICT, RolePolicy.OPEN])
    async def test_a_failed_run_is_not_begun_again_once_the_conversation_went_on(
        self, store: Store, policy: RolePolicy
    ) -> None:
        talk = await start_talk(store, policy=policy)
        first = await talk.begin("user: hi")
        await talk.finish(hold_of(first), status=RunStatus.FAILED)
        await talk.append("user: anybody?")
        with pytest.raises(RunSuperseded) as refused:
            await talk.begin("user: hi", run_id=first.run.id)
        assert refused.value.run_id == str(first.run.id)

    async def test_a_failed_run_is_not_begun_again_once_it_is_rewound(self, store: Store) -> None:
        talk = await start_talk(store)
        first = await talk.begin("user: hi")
        await talk.finish(hold_of(first), status=RunStatus.FAILED)
        await talk.rewind(0)
        with pytest.raises(RunSuperseded):
            await talk.begin("user: hi", run_id=first.run.id)

    async def test_an_interrupt_cancels_the_run_and_takes_the_conversation(self, store: Store) -> None:
        talk = await start_talk(store)
        first = await talk.begin("user: hi")
        await talk.append("calls: c1", hold=hold_of(first))
        second = await talk.begin("user: stop!", on_busy="interrupt")
        assert (second.took_over, second.held, second.replayed) == (True, True, False)
        assert (second.run.first_seq, second.run.fence) == (4, first.run.fence + 1)
        assert await talk.words() == ["user: hi", "calls: c1", "interrupted: c1", "user: stop!"]
        ended = await talk.run(first.run.id)
        assert (ended.status, ended.first_seq, ended.last_seq) == (RunStatus.CANCELLED, 1, 3)
        with pytest.raises(RunSuperseded):
            await talk.append("result: c1", hold=hold_of(first))

    async def test_a_refused_interrupt_interrupts_nothing(self, store: Store) -> None:
        talk = await start_talk(store)
        first = await talk.begin("user: hi")
        with pytest.raises(SeqMismatch):
            await talk.begin("user: stop!", on_busy="interrupt", expected_seq=0)
        assert (await talk.run(first.run.id)).status is RunStatus.RUNNING
        await talk.finish(hold_of(first), "assistant: hello")

    async def test_the_expected_head_is_that_before_the_takeover(self, store: Store) -> None:
        talk = await start_talk(store)
        await talk.append("calls: c1", hold=hold_of(await talk.begin("user: hi")))
        begun = await talk.begin("user: stop!", on_busy="interrupt", expected_seq=2)
        assert begun.run.first_seq == 4

    async def test_a_lease_that_runs_out_alone_refuses_nothing(self, store: Store, expire_lease: ExpireLease) -> None:
        talk = await start_talk(store)
        hold = await talk.hold("user: hi")
        await expire_lease(talk.owner, talk.id)
        assert (await talk.run(hold.run_id)).status is RunStatus.EXPIRED
        assert (await talk.get()).active_run is None
        await talk.append("calls: c1", hold=hold)
        assert (await talk.run(hold.run_id)).status is RunStatus.RUNNING
        await expire_lease(talk.owner, talk.id)
        await store.heartbeat(talk.owner, talk.id, hold)
        assert (await talk.get()).active_run == hold.run_id
        await expire_lease(talk.owner, talk.id)
        assert (await talk.finish(hold, "result: c1", "assistant: hello")).run.status is RunStatus.COMPLETED

    async def test_a_run_whose_lease_ran_out_is_taken_over(self, store: Store, expire_lease: ExpireLease) -> None:
        talk = await start_talk(store)
        first = await talk.begin("user: hi")
        await talk.append("calls: c1", hold=hold_of(first))
        await expire_lease(talk.owner, talk.id)
        second = await talk.begin("user: anybody?")
        assert second.took_over
        assert await talk.words() == ["user: hi", "calls: c1", "interrupted: c1", "user: anybody?"]
        assert (await talk.run(first.run.id)).status is RunStatus.EXPIRED
        for attempt in (
            talk.append("result: c1", hold=hold_of(first)),
            talk.finish(hold_of(first), "result: c1"),
            store.heartbeat(talk.owner, talk.id, hold_of(first)),
        ):
            with pytest.raises(RunSuperseded) as refused:
                await attempt
            assert refused.value.run_id == str(first.run.id)

    async def test_a_short_lease_runs_out_by_itself(self, store: Store) -> None:
        talk = await start_talk(store)
        first = await talk.begin("user: hi", lease=0.05)
        await asyncio.sleep(0.06)
        assert (await talk.begin("user: me")).took_over
        assert (await talk.run(first.run.id)).status is RunStatus.EXPIRED

    @pytest.mark.parametrize("policy", list(RolePolicy))
    async def test_an_append_from_elsewhere_ends_a_run_whose_lease_ran_out(
        self, store: Store, expire_lease: ExpireLease, policy: RolePolicy
    ) -> None:
        talk = await start_talk(store, policy=policy)
        hold = await talk.hold("user: hi")
        await talk.append("calls: c1", hold=hold)
        await expire_lease(talk.owner, talk.id)
        appended = await talk.append("user: anybody?", expected_seq=2)
        assert (appended.first_seq, appended.head) == (4, 4)
        assert await talk.words() == ["user: hi", "calls: c1", "interrupted: c1", "user: anybody?"]
        run = await talk.run(hold.run_id)
        assert (run.status, run.last_seq) == (RunStatus.EXPIRED, 3)
        assert run.ended_at is not None

    async def test_an_expired_run_is_begun_again_by_its_key(self, store: Store, expire_lease: ExpireLease) -> None:
        talk = await start_talk(store)
        first = await talk.begin("user: hi")
        await talk.append("calls: c1", hold=hold_of(first))
        await expire_lease(talk.owner, talk.id)
        again = await talk.begin("user: hi", run_id=first.run.id)
        assert (again.replayed, again.held, again.took_over, again.run.attempt) == (False, True, True, 2)
        assert [words_of(m) for m in again.rows.messages] == ["user: hi", "calls: c1", "interrupted: c1"]
        with pytest.raises(RunSuperseded):
            await talk.append("result: c1", hold=hold_of(first))
        await talk.finish(hold_of(again), "assistant: hello")

    async def test_the_caller_that_began_keeps_a_run_whose_lease_ran_out(
        self, store: Store, expire_lease: ExpireLease
    ) -> None:
        talk = await start_talk(store)
        first = await talk.begin("user: hi", owner_token=7)
        await expire_lease(talk.owner, talk.id)
        again = await talk.begin("user: hi", owner_token=7, run_id=first.run.id)
        assert (again.replayed, again.held, again.run.attempt) == (True, True, 1)
        assert again.run.status is RunStatus.RUNNING

    async def test_a_failed_run_is_not_tried_again_once_its_question_is_deleted(self, store: Store) -> None:
        talk = await start_talk(store)
        hold = await talk.hold("user: hi")
        await talk.finish(hold, status=RunStatus.FAILED)
        await talk.delete_message(1)
        with pytest.raises(RunSuperseded):
            await talk.begin("user: hi", run_id=hold.run_id)

    async def test_cancelling_a_run_whose_lease_ran_out_ends_it_as_expired(
        self, store: Store, expire_lease: ExpireLease
    ) -> None:
        talk = await start_talk(store)
        hold = await talk.hold("user: hi")
        await expire_lease(talk.owner, talk.id)
        assert (await talk.cancel(hold.run_id)).status is RunStatus.EXPIRED
        assert (await talk.get()).state is OrderState.INTERRUPTED

    async def test_a_rewind_ends_a_run_whose_lease_ran_out(self, store: Store, expire_lease: ExpireLease) -> None:
        talk = await start_talk(store, "user: 0", "assistant: 0")
        hold = await talk.hold("user: hi")
        with pytest.raises(ConversationBusy) as refused:
            await talk.rewind(2)
        assert refused.value.run_id == str(hold.run_id)
        await expire_lease(talk.owner, talk.id)
        await talk.rewind(2)
        assert (await talk.run(hold.run_id)).status is RunStatus.EXPIRED
        with pytest.raises(RunSuperseded):
            await talk.append("assistant: hello", hold=hold)
