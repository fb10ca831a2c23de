"""Who may speak when, checked under the lock against what stands there; and the facts that a refusal carries."""

from __future__ import annotations

import pytest

from keepsay.errors import InvalidInput, RoleOrderError, UnansweredCalls
from keepsay.model.conversation import RolePolicy
from keepsay.model.messages import OrderState
from keepsay.store.protocol import Store
from keepsay.testing.talk import start_talk

_KEEPS_ORDER = [RolePolicy.STRICT, RolePolicy.LENIENT]
_EVERY_POLICY = list(RolePolicy)


class OrderContract:
    @pytest.mark.parametrize(
        ("before", "then", "last_role"),
        [
            ((), "assistant: 1", None),
            (("user: 1",), "user: 2", "user"),
            (("user: 1", "assistant: 2"), "assistant: 3", "assistant"),
            (("user: 1",), "system: 2", "user"),
            (("system: 1",), "system: 2", "system"),
            (("user: 1",), "result: c1", "user"),
        ],
    )
    async def test_a_strict_conversation_refuses_what_is_out_of_turn(
        self, store: Store, before: tuple[str, ...], then: str, last_role: str | None
    ) -> None:
        talk = await start_talk(store, *before)
        with pytest.raises(RoleOrderError) as refused:
            await talk.append(then)
        attempted = "tool" if then.startswith("result") else then.partition(":")[0]
        assert (refused.value.last_role, refused.value.attempted_role) == (last_role, attempted)
        assert not isinstance(refused.value, UnansweredCalls)
        assert (await talk.get()).head == len(before)

    async def test_a_refusal_within_a_batch_names_the_two_that_met(self, store: Store) -> None:
        talk = await start_talk(store, "user: 1")
        with pytest.raises(RoleOrderError) as refused:
            await talk.append("assistant: 2", "user: 3", "user: 4")
        assert (refused.value.last_role, refused.value.attempted_role) == ("user", "user")

    async def test_a_lenient_conversation_lets_sides_speak_in_a_row(self, store: Store) -> None:
        talk = await start_talk(store, "user: 1", "user: 2", policy=RolePolicy.LENIENT)
        await talk.append("assistant: 3")
        await talk.append("assistant: 4")
        with pytest.raises(RoleOrderError):
            await talk.append("system: 5")
        assert (await talk.get()).state is OrderState.ASSISTANT

    async def test_an_open_conversation_takes_anything(self, store: Store) -> None:
        lines = ["assistant: 1", "result: c1", "system: 2", "calls: c2", "user: 3", "system: 4"]
        talk = await start_talk(store, policy=RolePolicy.OPEN)
        for line in lines:
            await talk.append(line)
        assert await talk.words() == lines

    @pytest.mark.parametrize("policy", _KEEPS_ORDER)
    async def test_calls_are_answered_in_any_order_before_anything_else(self, store: Store, policy: RolePolicy) -> None:
        talk = await start_talk(store, "user: 1", "calls: bb a", policy=policy)
        assert (await talk.get()).state is OrderState.CALLING
        with pytest.raises(UnansweredCalls) as refused:
            await talk.append("user: 2")
        assert refused.value.open_calls == ("a", "bb")
        assert (refused.value.last_role, refused.value.attempted_role) == ("assistant", "user")
        await talk.append("result: bb")
        assert (await talk.get()).state is OrderState.CALLING
        with pytest.raises(UnansweredCalls) as refused:
            await talk.append("assistant: 3")
        assert (refused.value.open_calls, refused.value.last_role) == (("a",), "tool")
        await talk.append("result: a")
        assert (await talk.get()).state is OrderState.TOOL
        await talk.append("assistant: 3")

    @pytest.mark.parametrize("policy", _KEEPS_ORDER)
    async def test_a_result_of_no_open_call_is_refused(self, store: Store, policy: RolePolicy) -> None:
        talk = await start_talk(store, "user: 1", "calls: c1", policy=policy)
        with pytest.raises(UnansweredCalls) as refused:
            await talk.append("result: c2")
        assert refused.value.open_calls == ("c1",)
        assert (refused.value.last_role, refused.value.attempted_role) == ("assistant", "tool")

    @pytest.mark.parametrize("policy", _KEEPS_ORDER)
    async def test_a_batch_must_answer_all_before_it_goes_on(self, store: Store, policy: RolePolicy) -> None:
        talk = await start_talk(store, "user: 1", "calls: c1 c2", policy=policy)
        with pytest.raises(UnansweredCalls) as refused:
            await talk.append("result: c1", "assistant: 2")
        assert refused.value.open_calls == ("c1", "c2")
        await talk.append("result: c2", "result: c1", "assistant: 2")
        assert (await talk.get()).state is OrderState.ASSISTANT

    async def test_open_calls_are_listed_as_jsonb_orders_keys(self, store: Store) -> None:
        talk = await start_talk(store, "user: 1", "calls: zz b aaa B")
        with pytest.raises(UnansweredCalls) as refused:
            await talk.append("user: 2")
        assert refused.value.open_calls == ("B", "b", "zz", "aaa")

    async def test_at_most_128_calls_are_open(self, store: Store) -> None:
        talk = await start_talk(store, "user: 1")
        await talk.append(*[f"call item: c{n}" for n in range(100)])
        with pytest.raises(InvalidInput) as refused:
            await talk.append(*[f"call item: d{n}" for n in range(29)])
        assert refused.value.field == "tool_calls"
        await talk.append(*[f"call item: d{n}" for n in range(28)])

    async def test_a_call_that_is_open_cannot_be_opened_again(self, store: Store) -> None:
        talk = await start_talk(store)
        await talk.append("user: hi", "call item: c1")
        with pytest.raises(InvalidInput, match="open already"):
            await talk.append("call item: c2", "call item: c1")
        await talk.append("result item: c1", "call item: c1")
        assert (await talk.get()).head == 4

    async def test_items_of_one_answer_may_follow_each_other(self, store: Store) -> None:
        talk = await start_talk(store, "user: 1")
        await talk.append("reasoning: hm")
        assert (await talk.get()).state is OrderState.STEP
        await talk.append("answer item: 2", "reasoning: hm", "call item: c1")
        await talk.append("call item: c2")
        await talk.append("result item: c1", "result item: c2", "answer item: 3")
        assert (await talk.get()).state is OrderState.ASSISTANT

    @pytest.mark.parametrize("policy", _EVERY_POLICY)
    async def test_unknown_entries_leave_the_order_as_it_is(self, store: Store, policy: RolePolicy) -> None:
        talk = await start_talk(store, "unknown: 0", policy=policy)
        assert (await talk.get()).state is OrderState.EMPTY
        await talk.append("unknown: 1", "user: 2", "unknown: 3")
        await talk.append("unknown: 4")
        assert (await talk.get()).state is OrderState.USER
        assert [m.state.name.lower() for m in await talk.log()] == ["empty", "empty", "user", "user", "user"]

    async def test_an_unknown_entry_among_results_does_not_close_the_calls(self, store: Store) -> None:
        talk = await start_talk(store, "user: 1", "calls: c1 c2 c3")
        await talk.append("result: c1", "unknown: 1")
        await talk.append("result: c2", "unknown: 2", "result: c3", "unknown: 3")
        states = [m.state.name.lower() for m in await talk.log()]
        assert states == ["user", "calling", "calling", "calling", "calling", "calling", "tool", "tool"]

    async def test_a_refusal_looks_past_unknown_and_deleted_entries(self, store: Store) -> None:
        talk = await start_talk(store, "user: 1", "unknown: 2")
        with pytest.raises(RoleOrderError) as refused:
            await talk.append("user: 3")
        assert refused.value.last_role == "user"

    async def test_the_system_message_is_the_first_to_be_said(self, store: Store) -> None:
        talk = await start_talk(store)
        await talk.append("system: Be brief.")
        await talk.append("user: 1")
        window = await talk.window()
        assert window.system_prompt == "Be brief."
        assert await talk.seen() == ["user: 1"]
