"""Runs: begin, append, finish, cancel; one at a time, fenced, and nothing left dangling."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from keepsay.errors import (
    ConversationBusy,
    KeyReused,
    NotFound,
    RoleOrderError,
    RunSuperseded,
    SeqMismatch,
    UnansweredCalls,
)
from keepsay.model.conversation import RolePolicy, RunStatus
from keepsay.model.messages import MessageStatus, OrderState
from keepsay.store.protocol import Begun, Store
from keepsay.testing.build import hold_of, run_id
from keepsay.testing.talk import start_talk

_ENDINGS = [RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED]


class RunContract:
    async def test_a_run_begins_with_the_users_messages_and_a_window(self, store: Store) -> None:
        talk = await start_talk(store, "system: Be brief.")
        begun = await talk.begin("user: hi", key="request-1")
        assert (begun.replayed, begun.held, begun.took_over) == (False, True, False)
        run = begun.run
        assert (run.status, run.attempt, run.fence, run.key, run.error) == (RunStatus.RUNNING, 1, 1, "request-1", None)
        assert (run.first_seq, run.last_seq, run.ended_at, run.conversation_id) == (2, 2, None, talk.id)
        assert [m.seq for m in begun.rows.messages] == [2]
        made = await talk.get()
        assert (made.head, made.version, made.active_run) == (2, 2, run.id)
        assert (await talk.log())[1].run_id == run.id
        assert await talk.run(run.id) == run

    async def test_a_run_may_answer_what_stands_there(self, store: Store) -> None:
        talk = await start_talk(store, "user: hi")
        begun = await talk.begin()
        assert (begun.run.first_seq, begun.run.last_seq, begun.rows.head) == (2, 1, 1)
        finished = await talk.finish(hold_of(begun), "assistant: hello")
        assert (finished.run.first_seq, finished.run.last_seq) == (2, 2)

    @pytest.mark.parametrize("lines", [(), ("user: hi", "assistant: hello")])
    async def test_a_run_needs_something_to_answer(self, store: Store, lines: tuple[str, ...]) -> None:
        talk = await start_talk(store, *lines)
        with pytest.raises(RoleOrderError) as refused:
            await talk.begin()
        assert refused.value.last_role == ("assistant" if lines else None)
        assert refused.value.attempted_role == "assistant"
        made = await talk.get()
        assert (made.active_run, made.version) == (None, 1)

    async def test_a_run_with_calls_left_open_before_it_is_refused(self, store: Store) -> None:
        talk = await start_talk(store, "user: hi", "calls: c1")
        with pytest.raises(UnansweredCalls) as refused:
            await talk.begin("user: and?")
        assert refused.value.open_calls == ("c1",)
        await talk.begin("result: c1")

    async def test_the_expected_head_of_a_run_is_checked(self, store: Store) -> None:
        talk = await start_talk(store)
        with pytest.raises(SeqMismatch) as refused:
            await talk.begin("user: hi", expected_seq=3)
        assert (refused.value.expected, refused.value.head) == (3, 0)
        assert (await talk.get()).active_run is None

    @pytest.mark.parametrize("status", _ENDINGS)
    async def test_a_run_finishes_with_its_last_messages(self, store: Store, status: RunStatus) -> None:
        talk = await start_talk(store)
        hold = await talk.hold("user: hi")
        await talk.append("calls: c1", "result: c1", hold=hold)
        finished = await talk.finish(hold, "assistant: hello", status=status, error="why")  # type: ignore[arg-type]
        run, appended = finished.run, finished.appended
        assert (run.status, run.error, run.first_seq, run.last_seq) == (status, "why", 1, 4)
        assert run.ended_at is not None
        assert appended is not None
        assert (appended.first_seq, appended.head, appended.replayed) == (4, 4, False)
        log = await talk.log()
        assert appended.created_at == log[3].created_at
        assert {m.run_id for m in log} == {hold.run_id}
        made = await talk.get()
        assert (made.active_run, made.state) == (None, OrderState.ASSISTANT)
        assert await talk.run(hold.run_id) == run

    async def test_a_run_may_finish_without_a_word(self, store: Store) -> None:
        talk = await start_talk(store)
        hold = await talk.hold("user: hi")
        finished = await talk.finish(hold, status=RunStatus.FAILED)
        assert finished.appended is None
        assert (await talk.get()).state is OrderState.INTERRUPTED
        await talk.append("user: are you there?")

    async def test_finishing_again_gives_the_first_result(self, store: Store) -> None:
        talk = await start_talk(store)
        hold = await talk.hold("user: hi")
        first = await talk.finish(hold, "calls: c1 c2")
        again = await talk.finish(hold, "calls: c1 c2")
        assert again.run == first.run
        assert first.appended is not None
        assert again.appended == replace(first.appended, replayed=True)
        assert (await talk.get()).head == 4

    async def test_finishing_otherwise_afterwards_is_refused(self, store: Store) -> None:
        talk = await start_talk(store)
        hold = await talk.hold("user: hi")
        await talk.finish(hold, "assistant: hello")
        with pytest.raises(RunSuperseded) as refused:
            await talk.finish(hold, status=RunStatus.FAILED)
        assert refused.value.run_id == str(hold.run_id)

    async def test_a_run_that_finished_without_a_word_takes_none_afterwards(self, store: Store) -> None:
        talk = await start_talk(store)
        hold = await talk.hold("user: hi")
        await talk.finish(hold)
        with pytest.raises(RunSuperseded):
            await talk.finish(hold, "assistant: hello")
        assert (await talk.finish(hold)).appended is None

    async def test_a_cancelled_run_is_not_told_that_its_last_words_were_kept(self, store: Store) -> None:
        talk = await start_talk(store)
        hold = await talk.hold("user: hi")
        await talk.cancel(hold.run_id)
        with pytest.raises(RunSuperseded):
            await talk.finish(hold, "assistant: I was", status=RunStatus.CANCELLED)
        finished = await talk.finish(hold, status=RunStatus.CANCELLED)
        assert (finished.run.status, finished.appended) == (RunStatus.CANCELLED, None)
        assert await talk.words() == ["user: hi"]

    async def test_a_finish_out_of_order_is_refused_and_the_run_goes_on(self, store: Store) -> None:
        talk = await start_talk(store)
        hold = await talk.hold("user: hi")
        with pytest.raises(RoleOrderError):
            await talk.finish(hold, "user: I am not the user")
        assert (await talk.run(hold.run_id)).status is RunStatus.RUNNING
        await talk.finish(hold, "assistant: hello")

    @pytest.mark.parametrize("policy", list(RolePolicy))
    async def test_open_calls_are_answered_when_the_run_ends(self, store: Store, policy: RolePolicy) -> None:
        talk = await start_talk(store, policy=policy)
        hold = await talk.hold("user: hi")
        await talk.append("calls: ccc b a", hold=hold)
        await talk.append("result: b", hold=hold)
        run = (await talk.finish(hold, status=RunStatus.FAILED)).run
        assert await talk.words() == ["user: hi", "calls: ccc b a", "result: b", "interrupted: a", "interrupted: ccc"]
        log = await talk.log()
        assert [m.status for m in log[3:]] == [MessageStatus.SYNTHETIC] * 2
        assert [m.state for m in log[3:]] == [OrderState.CALLING, OrderState.TOOL]
        assert [(m.run_id, m.tokens, m.payload["content"]) for m in log[3:]] == [
            (hold.run_id, 10, '{"status":"interrupted"}')
        ] * 2
        assert run.last_seq == 5
        made = await talk.get()
        assert (made.state, made.message_count) == (OrderState.INTERRUPTED, 5)
        await talk.append("user: go on")

    async def test_open_calls_of_items_are_answered_by_items(self, store: Store) -> None:
        talk = await start_talk(store)
        hold = await talk.hold("user: hi")
        await talk.finish(hold, "call item: c1", status=RunStatus.CANCELLED)
        stand_in = (await talk.log())[-1]
        assert stand_in.format == "openai.responses"
        assert stand_in.payload == {
            "type": "function_call_output",
            "call_id": "c1",
            "output": '{"status":"interrupted"}',
        }

    async def test_a_second_run_is_refused_while_one_is_under_way(self, store: Store) -> None:
        talk = await start_talk(store, policy=RolePolicy.OPEN)
        hold = await talk.hold("user: hi")
        with pytest.raises(ConversationBusy) as refused:
            await talk.begin("user: me too")
        assert refused.value.run_id == str(hold.run_id)
        assert 50 < refused.value.retry_after <= 60
        assert await talk.words() == ["user: hi"]

    async def test_of_concurrent_runs_one_begins(self, store: Store) -> None:
        talk = await start_talk(store)
        results = await asyncio.gather(*(talk.begin(f"user: {n}") for n in range(5)), return_exceptions=True)
        assert sum(isinstance(result, Begun) for result in results) == 1
        assert sum(isinstance(result, ConversationBusy) for result in results) == 4
        assert (await talk.get()).head == 1

    async def test_in_a_strict_conversation_only_the_run_appends_meanwhile(self, store: Store) -> None:
        talk = await start_talk(store)
        hold = await talk.hold("user: hi")
        with pytest.raises(ConversationBusy) as refused:
            await talk.append("assistant: from elsewhere")
        assert refused.value.run_id == str(hold.run_id)
        assert refused.value.retry_after > 0

    @pytest.mark.parametrize("policy", [RolePolicy.LENIENT, RolePolicy.OPEN])
    async def test_other_policies_let_others_append_meanwhile(self, store: Store, policy: RolePolicy) -> None:
        talk = await start_talk(store, policy=policy)
        hold = await talk.hold("user: hi")
        await talk.append("user: one more thing")
        await talk.append("assistant: hello", hold=hold)
        assert [m.run_id for m in await talk.log()] == [hold.run_id, None, hold.run_id]

    async def test_a_run_with_the_wrong_fence_writes_nothing(self, store: Store) -> None:
        talk = await start_talk(store)
        hold = await talk.hold("user: hi")
        wrong = replace(hold, fence=hold.fence + 1)
        with pytest.raises(RunSuperseded) as refused:
            await talk.append("assistant: hello", hold=wrong, expected_seq=99)
        assert refused.value.run_id == str(hold.run_id)
        with pytest.raises(RunSuperseded):
            await store.heartbeat(talk.owner, talk.id, wrong)
        with pytest.raises(RunSuperseded):
            await talk.finish(wrong, "assistant: hello")

    async def test_a_cancelled_run_writes_nothing_more(self, store: Store) -> None:
        talk = await start_talk(store)
        hold = await talk.hold("user: hi")
        await talk.append("calls: c1", hold=hold)
        run = await talk.cancel(hold.run_id)
        assert (run.status, run.last_seq) == (RunStatus.CANCELLED, 3)
        assert await talk.words() == ["user: hi", "calls: c1", "interrupted: c1"]
        with pytest.raises(RunSuperseded):
            await talk.append("assistant: hello", hold=hold)
        with pytest.raises(RunSuperseded):
            await store.heartbeat(talk.owner, talk.id, hold)
        with pytest.raises(RunSuperseded):
            await talk.finish(hold, "assistant: hello")

    async def test_cancelling_what_has_ended_changes_nothing(self, store: Store) -> None:
        talk = await start_talk(store)
        hold = await talk.hold("user: hi")
        finished = await talk.finish(hold, "assistant: hello")
        before = await talk.get()
        assert await talk.cancel(hold.run_id) == finished.run
        assert await talk.get() == before

    async def test_an_absent_run_is_not_found(self, store: Store) -> None:
        talk = await start_talk(store, "user: hi")
        hold = replace(await talk.hold(), run_id=run_id())
        for attempt in (talk.run(hold.run_id), talk.cancel(hold.run_id), talk.finish(hold)):
            with pytest.raises(NotFound) as refused:
                await attempt
            assert refused.value.kind == "run"
        with pytest.raises(RunSuperseded):
            await store.heartbeat(talk.owner, talk.id, hold)

    async def test_a_heartbeat_renews_the_lease_and_nothing_else(self, store: Store) -> None:
        talk = await start_talk(store)
        hold = await talk.hold("user: hi")
        before = await talk.get()
        until = await store.heartbeat(talk.owner, talk.id, hold)
        later = await store.heartbeat(talk.owner, talk.id, replace(hold, lease=hold.lease + 60))
        assert (later - until).total_seconds() >= 60
        assert await talk.get() == before

    async def test_an_append_renews_the_lease(self, store: Store) -> None:
        talk = await start_talk(store)
        hold = hold_of(await talk.begin("user: hi", lease=5))
        await talk.append("calls: c1", hold=replace(hold, lease=60))
        with pytest.raises(ConversationBusy) as refused:
            await talk.begin("user: me")
        assert refused.value.retry_after > 50

    async def test_the_same_key_for_another_request_is_refused(self, store: Store) -> None:
        talk = await start_talk(store)
        begun = await talk.begin("user: hi", fingerprint=1)
        with pytest.raises(KeyReused):
            await talk.begin("user: ho", fingerprint=2, run_id=begun.run.id, on_busy="interrupt")
