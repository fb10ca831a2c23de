"""Keys: the same again gives the first result, other content under the same key is refused."""

from __future__ import annotations

import asyncio

import pytest

from keepsay.errors import KeyReused, SeqMismatch
from keepsay.model.conversation import RolePolicy
from keepsay.store.protocol import Store
from keepsay.testing.build import key
from keepsay.testing.talk import start_talk


class KeyContract:
    async def test_the_same_append_again_is_replayed(self, store: Store) -> None:
        talk, once = await start_talk(store), key()
        first = await talk.append("user: hi", "assistant: hello", key=once)
        await talk.append("user: more")
        again = await talk.append("user: hi", "assistant: hello", key=once)
        assert again.replayed
        assert (again.first_seq, again.head, again.created_at) == (first.first_seq, first.head, first.created_at)
        made = await talk.get()
        assert made.head == 3

    async def test_other_content_under_the_same_key_is_refused(self, store: Store) -> None:
        talk, once = await start_talk(store, policy=RolePolicy.LENIENT), key()
        await talk.append("user: hi", key=once, fingerprint=1)
        with pytest.raises(KeyReused) as refused:
            await talk.append("user: bye", key=once, fingerprint=2)
        assert refused.value.outcome == "not_applied"
        assert await talk.words() == ["user: hi"]

    async def test_a_key_is_looked_at_before_everything_else(self, store: Store) -> None:
        talk, once = await start_talk(store), key()
        await talk.append("user: hi", key=once, expected_seq=0)
        assert (await talk.append("user: hi", key=once, expected_seq=0)).replayed
        with pytest.raises(KeyReused):
            await talk.append("user: hi", key=once, fingerprint=2, expected_seq=0)
        with pytest.raises(SeqMismatch):
            await talk.append("user: hi", expected_seq=0)

    async def test_a_key_outlives_the_deletion_and_rewinding_of_its_message(self, store: Store) -> None:
        talk, once, other = await start_talk(store), key(), key()
        await talk.append("user: hi", key=once)
        await talk.append("assistant: hello", key=other)
        await talk.delete_message(1)
        await talk.rewind(0)
        assert (await talk.append("user: hi", key=once)).replayed
        assert (await talk.append("assistant: hello", key=other)).first_seq == 2
        assert (await talk.get()).head == 2

    async def test_keys_of_conversations_are_apart(self, store: Store) -> None:
        once = key()
        one = await start_talk(store)
        two = await start_talk(store, owner=one.owner)
        assert not (await one.append("user: hi", key=once, fingerprint=1)).replayed
        assert not (await two.append("user: ho", key=once, fingerprint=2)).replayed

    async def test_concurrent_retries_apply_once(self, store: Store) -> None:
        talk, once = await start_talk(store, policy=RolePolicy.LENIENT), key()
        results = await asyncio.gather(*(talk.append("user: hi", key=once) for _ in range(8)))
        assert sorted(result.replayed for result in results) == [False] + [True] * 7
        assert {(result.first_seq, result.head, result.created_at) for result in results} == {
            (1, 1, results[0].created_at)
        }
        assert await talk.words() == ["user: hi"]

    async def test_a_retry_is_told_of_its_run_even_when_that_is_over(self, store: Store) -> None:
        talk, once = await start_talk(store), key()
        hold = await talk.hold("user: hi")
        first = await talk.append("assistant: hello", key=once, hold=hold)
        await talk.finish(hold)
        again = await talk.append("assistant: hello", key=once, hold=hold)
        assert again.replayed
        assert (again.first_seq, again.head) == (first.first_seq, first.head)
