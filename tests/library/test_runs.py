"""A run from the caller's side: begins, renews its lease, ends well or badly, replays."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from keepsay import (
    Allowance,
    ConversationBusy,
    InvalidInput,
    Keepsay,
    KeyReused,
    MemoryStore,
    MessageStatus,
    QuotaExceeded,
    RateLimited,
    Role,
    RunStatus,
    RunSuperseded,
    UserScope,
    assistant,
    tool,
)
from keepsay.model.json_text import JsonObject

CALL: JsonObject = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}


async def test_leaving_the_block_completes_the_run(user: UserScope, conversation: UUID) -> None:
    async with user.run(conversation, "hi") as run:
        await run.append(assistant("hello"))
    assert run.status is RunStatus.COMPLETED
    assert (await user.get_run(conversation, run.id)).status is RunStatus.COMPLETED


async def test_an_exception_fails_the_run_and_keeps_the_users_message(user: UserScope, conversation: UUID) -> None:
    with pytest.raises(ZeroDivisionError):
        async with user.run(conversation, "hi") as run:
            raise ZeroDivisionError
    record = await user.get_run(conversation, run.id)
    assert (record.status, record.error) == (RunStatus.FAILED, "ZeroDivisionError")
    assert [message.content for message in (await user.messages(conversation)).items] == ["hi"]


async def test_an_error_of_keepsays_own_fails_the_run_by_its_code(user: UserScope, conversation: UUID) -> None:
    with pytest.raises(InvalidInput):
        async with user.run(conversation, "hi") as run:
            raise InvalidInput("a secret")
    assert (await user.get_run(conversation, run.id)).error == "invalid_input"


async def test_the_record_tells_how_the_run_ended(user: UserScope, conversation: UUID) -> None:
    async with user.run(conversation, "hi") as run:
        assert (run.record.status, run.record.first_seq, run.record.last_seq) == (RunStatus.RUNNING, 1, 1)
        assert run.record == await user.get_run(conversation, run.id)
        await run.finish(assistant("hello"))
    assert run.record == await user.get_run(conversation, run.id)
    assert (run.record.status, run.record.last_seq) == (RunStatus.COMPLETED, 2)


async def test_cancellation_cancels_the_run_and_closes_its_calls(user: UserScope, conversation: UUID) -> None:
    began = asyncio.Event()

    async def body() -> None:
        async with user.run(conversation, "hi", key="k") as run:
            await run.append(assistant({"role": "assistant", "content": None, "tool_calls": [CALL]}))
            began.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(body())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await user.get_run(conversation, user.run_id(conversation, "k"))).status is RunStatus.CANCELLED
    last = (await user.messages(conversation, newest_first=True)).items[0]
    assert (last.role, last.status, last.tool_call_id) == (Role.TOOL, MessageStatus.SYNTHETIC, "call_1")


async def test_a_completed_run_is_replayed_and_writes_nothing(user: UserScope, conversation: UUID) -> None:
    async with user.run(conversation, "hi", key="k") as run:
        await run.finish(assistant("hello"))
    async with user.run(conversation, "hi", key="k") as again:
        assert again.replayed
        assert (await again.append(assistant("something else"))).replayed
        assert (await again.finish(assistant("or this"))).replayed
    assert again.answer is not None
    assert again.answer.content == "hello"
    assert (await user.get(conversation)).head == 2


async def test_a_failed_run_is_tried_again_on_the_same_message(user: UserScope, conversation: UUID) -> None:
    with pytest.raises(RuntimeError):
        async with user.run(conversation, "hi", key="k"):
            raise RuntimeError
    async with user.run(conversation, "hi", key="k") as again:
        assert (again.attempt, again.replayed) == (2, False)
        assert again.window.to_openai_chat() == [{"role": "user", "content": "hi"}]
        await again.finish(assistant("hello"))
    assert [m.content for m in (await user.messages(conversation)).items] == ["hi", "hello"]


async def test_the_same_key_with_another_message_is_refused(user: UserScope, conversation: UUID) -> None:
    async with user.run(conversation, "hi", key="k") as run:
        await run.finish(assistant("hello"))
    with pytest.raises(KeyReused):
        async with user.run(conversation, "ho", key="k"):
            pass


async def test_a_second_run_is_told_who_is_busy(user: UserScope, conversation: UUID) -> None:
    async with user.run(conversation, "hi", key="k") as run:
        for key in ("k", "other"):
            with pytest.raises(ConversationBusy) as busy:
                async with user.run(conversation, "hi", key=key):
                    pass
            assert busy.value.run_id == str(run.id)
            assert busy.value.retry_after > 0
        await run.finish(assistant("hello"))


async def test_an_interrupted_run_is_stopped_at_its_next_heartbeat(user: UserScope, conversation: UUID) -> None:
    async def slow() -> None:
        async with user.run(conversation, "hi", lease=0.3):
            await asyncio.sleep(60)

    first = asyncio.create_task(slow())
    await asyncio.sleep(0.05)
    async with user.run(conversation, "never mind", on_busy="interrupt") as second:
        assert second.took_over
        with pytest.raises(RunSuperseded):
            await asyncio.wait_for(first, 5)
        await second.finish(assistant("fine"))


async def test_the_lease_is_renewed_while_the_model_thinks(user: UserScope, conversation: UUID) -> None:
    async with user.run(conversation, "hi", lease=0.15) as run:
        await asyncio.sleep(0.5)
        assert (await user.get_run(conversation, run.id)).status is RunStatus.RUNNING
        await run.finish(assistant("hello"))


async def test_cancel_from_elsewhere_stops_the_body(user: UserScope, conversation: UUID) -> None:
    async def body() -> None:
        async with user.run(conversation, "hi", lease=0.15) as run:
            assert (await user.cancel_run(conversation, run.id)).status is RunStatus.CANCELLED
            await asyncio.sleep(60)

    with pytest.raises(RunSuperseded):
        await body()
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_a_tool_turn_takes_one_append_more(user: UserScope, conversation: UUID) -> None:
    async with user.run(conversation, "hi") as run:
        await run.append(
            assistant({"role": "assistant", "content": None, "tool_calls": [CALL]}),
            tool("call_1", "42", name="look_up"),
        )
        await run.finish(assistant("it is 42"))
    roles = [message.role.text for message in run.messages]
    assert roles == ["assistant", "tool", "assistant"]


async def test_a_run_without_messages_answers_what_stands_there(user: UserScope, conversation: UUID) -> None:
    await user.append(conversation, "hi")
    async with user.run(conversation) as run:
        assert [m["content"] for m in run.window.to_openai_chat()] == ["hi"]
        await run.finish(assistant("hello"))


@pytest.mark.parametrize("lease", [0.0, 0.01, 3_601.0])
async def test_a_lease_outside_its_limits_is_refused(user: UserScope, conversation: UUID, lease: float) -> None:
    with pytest.raises(InvalidInput, match="lease"):
        user.run(conversation, "hi", lease=lease)


async def test_a_run_over_the_limit_is_refused_on_entering_and_begins_when_it_was_told_to() -> None:
    now = datetime(2026, 3, 1, 23, 50, tzinfo=UTC)
    user = Keepsay(store=MemoryStore(clock=lambda: now)).user("ada")
    conversation, allowance = (await user.create()).id, Allowance(per_minute=2, burst=2, per_day=3)

    async def turn(key: str) -> bool:
        async with user.run(conversation, "hi", key=key, allowance=allowance) as run:
            if not run.replayed:
                await run.append(assistant("hello"))
            return run.replayed

    assert [await turn("1"), await turn("2"), await turn("2")] == [False, False, True]
    with pytest.raises(RateLimited) as limited:
        await turn("3")
    assert (limited.value.limit, limited.value.retry_after) == (2, 30.0)
    assert (await user.get(conversation)).head == 4
    now += timedelta(seconds=limited.value.retry_after)
    assert not await turn("3")
    now += timedelta(minutes=5)
    with pytest.raises(QuotaExceeded) as exceeded:
        await turn("4")
    assert (exceeded.value.limit, exceeded.value.retry_after) == (3, 4 * 60 + 30)
    now += timedelta(seconds=exceeded.value.retry_after)
    assert not await turn("4")
