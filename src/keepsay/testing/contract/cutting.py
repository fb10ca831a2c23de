"""Cutting: messages deleted, conversations rewound and forked. The order goes back with what the cut leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keepsay.errors import ConversationBusy, KeyReused, NotFound, RoleOrderError, UnansweredCalls, VersionMismatch
from keepsay.model.conversation import RolePolicy
from keepsay.model.messages import MessageStatus, NewMessage, OrderState
from keepsay.store.protocol import Store
from keepsay.testing.build import conversation_id, key, new_conversation, owner, plan_of
from keepsay.testing.talk import start_talk

_TALK = ("system: Be brief.", "user: 1", "assistant: 2", "user: 3", "assistant: 4")
_CALLING = ("user: 1", "calls: c1 c2", "result: c1", "result: c2", "assistant: 2")


class CutContract:
    async def test_a_deleted_message_is_blank_and_keeps_its_seq(self, store: Store) -> None:
        said = NewMessage({"role": "user", "content": "secret"}, metadata={"a": 1}, usage={"b": 2}, client_id="c")
        talk = await start_talk(store, said, "assistant: 2")
        before = await talk.get()
        made = await talk.delete_message(1)
        first = (await talk.log())[0]
        assert (first.status, first.raw, first.metadata, first.usage) == (MessageStatus.DELETED, "{}", {}, None)
        assert (first.seq, first.tokens, first.client_id, first.state) == (1, 0, "c", OrderState.USER)
        assert (made.head, made.message_count, made.version) == (2, 1, before.version + 1)
        assert made.updated_at > before.updated_at
        assert made.state is OrderState.ASSISTANT

    @pytest.mark.parametrize("seq", [-1, 0, 1, 3])
    async def test_a_message_that_is_not_there_or_deleted_is_not_found(self, store: Store, seq: int) -> None:
        talk = await start_talk(store, "user: 1", "assistant: 2")
        await talk.delete_message(1)
        with pytest.raises(NotFound) as refused:
            await talk.delete_message(seq)
        assert refused.value.kind == "message"

    async def test_with_the_last_message_the_order_goes_back(self, store: Store) -> None:
        talk = await start_talk(store, "user: 1", "assistant: 2", "user: 3")
        assert (await talk.delete_message(3)).state is OrderState.ASSISTANT
        assert (await talk.delete_message(2)).state is OrderState.INTERRUPTED
        assert (await talk.delete_message(1)).state is OrderState.EMPTY
        await talk.append("system: From the start.", "user: 1")
        assert (await talk.window()).system_prompt == "From the start."

    async def test_deleting_open_calls_closes_them(self, store: Store) -> None:
        talk = await start_talk(store, "user: 1", "calls: c1")
        await talk.delete_message(2)
        await talk.append("assistant: 2")

    async def test_the_last_message_stays_while_a_run_is_under_way(self, store: Store) -> None:
        talk = await start_talk(store, "user: 1", "assistant: 2")
        hold = await talk.hold("user: 3")
        with pytest.raises(ConversationBusy) as refused:
            await talk.delete_message(3)
        assert refused.value.run_id == str(hold.run_id)
        assert refused.value.retry_after > 0
        await talk.delete_message(2)

    async def test_a_rewind_hides_what_came_after(self, store: Store) -> None:
        talk = await start_talk(store, *_TALK)
        made = await talk.rewind(3, expected_version=1)
        assert (made.head, made.message_count, made.version, made.state) == (5, 3, 2, OrderState.ASSISTANT)
        assert [m.hidden for m in await talk.log()] == [False, False, False, True, True]
        assert await talk.seen() == ["user: 1", "assistant: 2"]
        assert (await talk.append("user: other")).first_seq == 6
        assert await talk.seen() == ["user: 1", "assistant: 2", "user: other"]

    async def test_after_a_rewind_to_a_question_both_sides_may_speak(self, store: Store) -> None:
        talk = await start_talk(store, *_TALK)
        assert (await talk.rewind(4)).state is OrderState.INTERRUPTED
        await talk.append("assistant: again")
        await talk.rewind(4)
        await talk.append("user: in other words")

    async def test_a_rewind_to_the_start_hides_everything(self, store: Store) -> None:
        talk = await start_talk(store, *_TALK, system_prompt="Be brief.")
        made = await talk.rewind(0)
        assert (made.message_count, made.state, made.system_prompt) == (0, OrderState.EMPTY, None)
        await talk.append("system: Be long.", "user: 1")
        window = await talk.window()
        assert (window.system_prompt, len(window.messages)) == ("Be long.", 1)

    async def test_a_rewind_counts_what_was_visible(self, store: Store) -> None:
        talk = await start_talk(store, *_TALK)
        await talk.delete_message(4)
        assert (await talk.rewind(2)).message_count == 2
        await talk.append("assistant: 6", "user: 7")
        assert (await talk.rewind(6)).message_count == 3
        assert await talk.words() == ["system: Be brief.", "user: 1", "assistant: 6"]

    @pytest.mark.parametrize("seq", [-1, 2, 4, 6])
    async def test_a_rewind_needs_a_message_that_is_visible(self, store: Store, seq: int) -> None:
        talk = await start_talk(store, *_TALK)
        await talk.rewind(3)
        await talk.delete_message(2)
        with pytest.raises(NotFound) as refused:
            await talk.rewind(seq)
        assert refused.value.kind == "message"

    async def test_a_rewind_of_another_version_is_refused(self, store: Store) -> None:
        talk = await start_talk(store, *_TALK)
        with pytest.raises(VersionMismatch) as refused:
            await talk.rewind(3, expected_version=2)
        assert (refused.value.expected, refused.value.version) == (2, 1)

    @pytest.mark.parametrize("seq", [2, 3])
    async def test_no_cut_parts_calls_from_their_results(self, store: Store, seq: int) -> None:
        talk = await start_talk(store, *_CALLING)
        for attempt in (talk.rewind(seq), talk.fork(seq), talk.summarise(seq)):
            with pytest.raises(UnansweredCalls) as refused:
                await attempt
            assert (refused.value.open_calls, refused.value.last_role) == ((), None)
        await talk.rewind(4)

    async def test_a_rewind_forgets_open_calls(self, store: Store) -> None:
        talk = await start_talk(store, "user: 1", "calls: c1")
        await talk.rewind(1)
        await talk.append("assistant: 2")

    async def test_a_fork_copies_what_is_not_rewound_and_numbers_it_anew(self, store: Store) -> None:
        talk = await start_talk(store, *_TALK, title="one", system_prompt="Be brief.", metadata={"a": 1})
        await talk.rewind(3)
        await talk.append("user: 6", "assistant: 7")
        await talk.delete_message(2)
        fork = await talk.fork()
        assert await fork.words() == ["system: Be brief.", "deleted", "assistant: 2", "user: 6", "assistant: 7"]
        made, source = await fork.get(), await talk.get()
        assert (made.head, made.message_count, made.version, made.state) == (5, 4, 1, OrderState.ASSISTANT)
        assert (made.title, made.system_prompt, made.metadata) == ("one", "Be brief.", {"a": 1})
        assert (made.external_key, made.role_policy) == (None, source.role_policy)
        assert made.updated_at == made.created_at >= source.updated_at
        window = await fork.window()
        assert window.system_prompt == "Be brief."

    async def test_a_copied_message_keeps_all_but_its_place_and_run(self, store: Store) -> None:
        talk = await start_talk(store)
        await talk.finish(await talk.hold("user: 1"), NewMessage({"role": "assistant", "content": "2"}, client_id="x"))
        fork = await talk.fork()
        for copied, original in zip(await fork.log(), await talk.log(), strict=True):
            assert copied == replace(original, conversation_id=fork.id, run_id=None)
        assert (await fork.append("user: 3")).first_seq == 3
        assert (await talk.get()).head == 2

    async def test_a_fork_keeps_the_place_of_a_deleted_message(self, store: Store) -> None:
        talk = await start_talk(store, *_TALK)
        await talk.delete_message(3)
        fork = await talk.fork()
        assert await fork.words() == await talk.words()
        made = await fork.get()
        assert (made.head, made.message_count) == (5, 4)

    async def test_a_fork_may_stop_at_a_seq(self, store: Store) -> None:
        talk = await start_talk(store, *_TALK, system_prompt="Be brief.")
        fork = await talk.fork(4, title="other")
        assert await fork.words() == list(_TALK[:4])
        made = await fork.get()
        assert (made.title, made.state) == ("other", OrderState.INTERRUPTED)
        empty = await (await talk.fork(0)).get()
        assert (empty.head, empty.state, empty.system_prompt) == (0, OrderState.EMPTY, None)

    async def test_a_fork_keeps_the_policy_and_times_increase_after_it(self, store: Store) -> None:
        talk = await start_talk(store, *[f"user: {n}" for n in range(50)], policy=RolePolicy.LENIENT)
        fork = await talk.fork()
        await fork.append("user: more")
        times = [m.created_at for m in await fork.log()]
        assert times == sorted(set(times))

    @pytest.mark.parametrize("seq", [-1, 6])
    async def test_a_fork_needs_a_message_that_is_there(self, store: Store, seq: int) -> None:
        talk = await start_talk(store, *_TALK)
        with pytest.raises(NotFound) as refused:
            await talk.fork(seq)
        assert refused.value.kind == "message"

    async def test_forking_the_same_again_gives_the_first_result(self, store: Store) -> None:
        talk, new = await start_talk(store, *_TALK), new_conversation(fingerprint=3)
        first = await store.fork(talk.owner, talk.id, new, 5)
        await talk.rewind(1)
        again = await store.fork(talk.owner, talk.id, new, 5)
        assert (again.created, again.conversation) == (True, first.conversation)
        with pytest.raises(KeyReused):
            await store.fork(talk.owner, talk.id, replace(new, fingerprint=4), 1)

    async def test_a_fork_with_a_taken_external_key_returns_its_conversation(self, store: Store) -> None:
        talk, external = await start_talk(store, "user: 1"), str(key())
        taken = await store.create(talk.owner, new_conversation(external_key=external), plan_of())
        forked = await store.fork(talk.owner, talk.id, new_conversation(external_key=external), None)
        assert (forked.created, forked.conversation) == (False, taken.conversation)

    async def test_cutting_an_absent_conversation_finds_nothing(self, store: Store) -> None:
        user, absent = owner(), conversation_id()
        for attempt in (
            store.rewind(user, absent, 0, expected_version=9),
            store.delete_message(user, absent, 1),
            store.fork(user, absent, new_conversation(), 9),
        ):
            with pytest.raises(NotFound) as refused:
                await attempt
            assert refused.value.kind == "conversation"

    async def test_a_fork_of_unfinished_calls_is_refused(self, store: Store) -> None:
        talk = await start_talk(store, "user: 1", "calls: c1")
        with pytest.raises(UnansweredCalls):
            await talk.fork()
        assert len(await store.export(talk.owner, after=None, limit=9)) == 1

    async def test_a_refusal_after_a_cut_names_what_is_visible(self, store: Store) -> None:
        talk = await start_talk(store, *_TALK)
        await talk.rewind(3)
        with pytest.raises(RoleOrderError) as refused:
            await talk.append("assistant: 6")
        assert (refused.value.last_role, refused.value.attempted_role) == ("assistant", "assistant")
