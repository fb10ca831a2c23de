"""Appending: seqs without a gap, batches that stay together, times that increase."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from keepsay.errors import InvalidInput, NotFound, RoleOrderError, SeqMismatch
from keepsay.model.conversation import RolePolicy
from keepsay.model.messages import NewMessage
from keepsay.store.protocol import Store
from keepsay.testing.build import append, conversation_id, owner
from keepsay.testing.talk import start_talk


def _said(words: str, client_id: str) -> NewMessage:
    return NewMessage({"role": "user", "content": words}, client_id=client_id)


class AppendContract:
    async def test_an_append_says_where_it_came_to_stand(self, store: Store) -> None:
        talk = await start_talk(store, "user: hi")
        appended = await talk.append("assistant: hello", "user: how are you?")
        assert (appended.first_seq, appended.head, appended.replayed) == (2, 3, False)
        log = await talk.log()
        assert [m.seq for m in log] == [1, 2, 3]
        assert log[1].created_at == appended.created_at
        made = await talk.get()
        assert (made.head, made.message_count, made.version) == (3, 3, 2)
        assert made.updated_at == log[-1].created_at

    async def test_times_increase_with_the_seq(self, store: Store) -> None:
        talk = await start_talk(store, policy=RolePolicy.LENIENT)
        for words in ("a", "b", "c"):
            await talk.append(*[f"user: {words}{n}" for n in range(5)])
        times = [m.created_at for m in await talk.log()]
        assert times == sorted(set(times))
        assert times[4] - times[0] == timedelta(microseconds=4)

    async def test_a_refused_batch_leaves_nothing_behind(self, store: Store) -> None:
        talk = await start_talk(store, "user: hi")
        with pytest.raises(RoleOrderError):
            await talk.append("assistant: hello", "assistant: hello again")
        made = await talk.get()
        assert (made.head, made.version) == (1, 1)

    async def test_concurrent_batches_stay_together_without_gaps(self, store: Store) -> None:
        talk = await start_talk(store, policy=RolePolicy.LENIENT)
        batches = [[f"user: {batch}.{n}" for n in range(3)] for batch in range(8)]
        results = await asyncio.gather(*(talk.append(*batch) for batch in batches))
        assert sorted(r.first_seq for r in results) == [1 + 3 * n for n in range(8)]
        words = await talk.words()
        assert sorted(words[at : at + 3] for at in range(0, 24, 3)) == sorted(batches)

    async def test_the_expected_head_is_checked(self, store: Store) -> None:
        talk = await start_talk(store, "user: hi")
        with pytest.raises(SeqMismatch) as refused:
            await talk.append("assistant: hello", expected_seq=0)
        assert (refused.value.expected, refused.value.head) == (0, 1)
        assert (await talk.append("assistant: hello", expected_seq=1)).head == 2

    async def test_of_concurrent_appends_to_one_head_one_is_applied(self, store: Store) -> None:
        talk = await start_talk(store, policy=RolePolicy.LENIENT)
        attempts = [talk.append(f"user: {n}", expected_seq=0) for n in range(5)]
        results = await asyncio.gather(*attempts, return_exceptions=True)
        assert sum(isinstance(result, SeqMismatch) for result in results) == 4
        assert (await talk.get()).head == 1

    async def test_a_client_id_is_taken_once(self, store: Store) -> None:
        talk = await start_talk(store, _said("hi", "one"), policy=RolePolicy.LENIENT)
        with pytest.raises(InvalidInput) as refused:
            await talk.append(_said("fine", "two"), _said("again", "one"))
        assert refused.value.field == "client_id"
        with pytest.raises(InvalidInput):
            await talk.append(_said("twice", "three"), _said("in a batch", "three"))
        await talk.append(_said("fine", "two"))
        await talk.delete_message(1)
        with pytest.raises(InvalidInput):
            await talk.append(_said("deleted ones stay taken", "one"))
        other = await start_talk(store, _said("another conversation", "one"), owner=talk.owner)
        assert (await other.get()).head == 1

    async def test_appending_to_an_absent_conversation_finds_nothing(self, store: Store) -> None:
        with pytest.raises(NotFound) as refused:
            await store.append(owner(), conversation_id(), append("user: hi", expected_seq=5))
        assert refused.value.kind == "conversation"
