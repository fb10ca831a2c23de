"""Windows: what a store reads for them is enough, whatever the limits."""

from __future__ import annotations

import pytest

from keepsay.errors import NotFound
from keepsay.model.conversation import RolePolicy
from keepsay.model.messages import NewMessage
from keepsay.model.window import Window
from keepsay.store.protocol import Store
from keepsay.testing.build import conversation_id, owner
from keepsay.testing.talk import start_talk

_TURNS = [f"{role}: {n}" for n in range(1, 6) for role in ("user", "assistant")]


class WindowContract:
    async def test_a_window_of_an_absent_conversation_is_not_found(self, store: Store) -> None:
        with pytest.raises(NotFound):
            await store.load(owner(), conversation_id(), Window())

    async def test_a_window_holds_the_whole_conversation_if_it_fits(self, store: Store) -> None:
        talk = await start_talk(store, "system: Be brief.", *_TURNS)
        window = await talk.window()
        assert await talk.seen() == _TURNS
        assert (window.system_prompt, window.head, window.truncated, window.fits) == ("Be brief.", 11, False, True)

    @pytest.mark.parametrize(("limit", "turns"), [(1, 1), (2, 1), (3, 1), (4, 2), (9, 4), (10, 5)])
    async def test_a_window_holds_the_newest_turns_that_fit(self, store: Store, limit: int, turns: int) -> None:
        talk = await start_talk(store, *_TURNS)
        window = Window(max_messages=limit)
        assert await talk.seen(window) == _TURNS[-2 * turns :]
        assert (await talk.window(window)).truncated == (turns < 5)

    async def test_a_window_keeps_within_its_tokens(self, store: Store) -> None:
        talk = await start_talk(store, *[_costly(role, 100) for _ in range(5) for role in ("user", "assistant")])
        assert len(await talk.seen(Window(max_tokens=400))) == 4
        assert len(await talk.seen(Window(max_tokens=399))) == 2
        assert (await talk.window(Window(max_tokens=400))).tokens == 400

    async def test_a_counter_of_ones_own_may_find_fewer_tokens(self, store: Store) -> None:
        talk = await start_talk(store, *[_costly(role, 100) for _ in range(5) for role in ("user", "assistant")])
        window = await talk.window(Window(max_tokens=500, counter=lambda _: 76))
        assert (len(window.messages), window.tokens) == (6, 480)

    async def test_the_newest_step_and_its_question_always_stay(self, store: Store) -> None:
        lines = ["user: 1", "calls: c1 c2", "result: c1", "result: c2", "calls: c3", "result: c3"]
        talk = await start_talk(store, *lines)
        assert await talk.seen(Window(max_messages=1)) == ["user: 1", "calls: c3", "result: c3"]
        assert not (await talk.window(Window(max_messages=1))).fits
        assert await talk.seen(Window(max_messages=6)) == lines

    async def test_the_question_is_found_however_long_ago_it_was(self, store: Store) -> None:
        steps = [line for n in range(10) for line in (f"calls: c{n}", f"result: c{n}")]
        talk = await start_talk(store, "user: 0", "assistant: 0", "user: 1", *steps)
        assert await talk.seen(Window(max_messages=4)) == ["user: 1", "calls: c9", "result: c9"]

    async def test_turns_without_an_answer_are_left_out_and_cost_nothing(self, store: Store) -> None:
        talk = await start_talk(store, "user: 1", "assistant: 1", "user: 2")
        for n in range(3, 8):
            await talk.rewind((await talk.get()).head)
            await talk.append(f"user: {n}")
        assert await talk.seen(Window(max_messages=3)) == ["user: 1", "assistant: 1", "user: 7"]

    async def test_incomplete_and_deleted_messages_are_left_out(self, store: Store) -> None:
        cut_off = NewMessage({"role": "assistant", "content": "I th"}, status="incomplete")
        talk = await start_talk(store, "user: 1", cut_off, "user: 2", "assistant: 2", "user: 3")
        await talk.delete_message(4)
        assert await talk.seen() == ["user: 3"]
        reasons = [(e.first_seq, e.reason) for e in (await talk.window()).explain]
        assert reasons == [
            (1, "unanswered_turn"),
            (2, "incomplete"),
            (3, "unanswered_turn"),
            (4, "deleted"),
            (5, "included"),
        ]

    async def test_rewound_messages_are_left_out(self, store: Store) -> None:
        talk = await start_talk(store, "user: 1", "assistant: 1", "user: 2", "assistant: 2")
        await talk.rewind(2)
        await talk.append("user: 3")
        assert await talk.seen() == ["user: 1", "assistant: 1", "user: 3"]

    async def test_under_the_open_policy_a_call_without_a_result_gets_a_stand_in(self, store: Store) -> None:
        talk = await start_talk(store, "user: 1", "calls: c1 c2", "result: c2", policy=RolePolicy.OPEN)
        assert await talk.seen() == ["user: 1", "calls: c1 c2", "result: c2", "interrupted: c1"]
        await talk.append("assistant: 1", "user: 2")
        assert (await talk.seen())[3:] == ["interrupted: c1", "assistant: 1", "user: 2"]

    async def test_the_system_prompt_can_be_replaced_for_once(self, store: Store) -> None:
        talk = await start_talk(store, "system: Be brief.", "user: 1")
        window = await talk.window(Window(system_prompt="Be long."))
        assert window.system_prompt == "Be long."

    async def test_a_deleted_system_message_is_in_no_window(self, store: Store) -> None:
        talk = await start_talk(store, "system: Be brief.", "user: 1", system_prompt="Be brief.")
        made = await talk.delete_message(1)
        assert made.system_prompt is None
        assert (await talk.window()).system_prompt is None
        assert await talk.seen() == ["user: 1"]

    async def test_the_window_of_a_run_is_that_of_its_beginning(self, store: Store) -> None:
        talk = await start_talk(store, "user: 1", "assistant: 1")
        begun = await talk.begin("user: 2")
        assert begun.rows == (await store.load(talk.owner, talk.id, Window())).rows


def _costly(role: str, tokens: int) -> NewMessage:
    return NewMessage({"role": role, "content": "words"}, tokens=tokens)
