"""Summaries: a text that stands for the messages before it, for as long as it tells the truth."""

from __future__ import annotations

import pytest

from keepsay.errors import NotFound
from keepsay.model.conversation import Summary
from keepsay.store.protocol import Store
from keepsay.testing.build import conversation_id, owner
from keepsay.testing.talk import Talk, start_talk

_TALK = ("system: Be brief.", "user: 1", "assistant: 2", "user: 3", "assistant: 4", "user: 5")


async def _summary(talk: Talk) -> str | None:
    summary = (await talk.window()).summary
    return None if summary is None else summary.text


class SummaryContract:
    async def test_a_summary_stands_for_what_came_before(self, store: Store) -> None:
        talk = await start_talk(store, *_TALK)
        given = await store.summarise(talk.owner, talk.id, to_seq=3, text="They met.", tokens=5)
        assert given == Summary(3, "They met.", 5)
        window = await talk.window()
        assert window.summary == given
        assert window.system_prompt == "Be brief."
        assert await talk.seen() == ["user: 3", "assistant: 4", "user: 5"]
        assert len(await talk.log()) == 6
        assert (await talk.get()).version == 2

    async def test_the_newest_summary_counts(self, store: Store) -> None:
        talk = await start_talk(store, *_TALK)
        await talk.summarise(5, "late")
        await talk.summarise(3, "early")
        assert await _summary(talk) == "late"
        assert await talk.seen() == ["user: 5"]

    async def test_a_summary_replaces_the_one_at_its_seq(self, store: Store) -> None:
        talk = await start_talk(store, *_TALK)
        await talk.summarise(3, "one")
        await talk.summarise(3, "two", tokens=9)
        assert (await talk.window()).summary == Summary(3, "two", 9)
        assert (await store.erase(talk.owner)).summaries == 1

    @pytest.mark.parametrize("seq", [-1, 0, 3, 5, 7])
    async def test_a_summary_ends_at_a_visible_message(self, store: Store, seq: int) -> None:
        talk = await start_talk(store, *_TALK)
        await talk.rewind(4)
        await talk.delete_message(3)
        with pytest.raises(NotFound) as refused:
            await talk.summarise(seq)
        assert refused.value.kind == "message"

    async def test_a_summary_of_an_absent_conversation_is_refused(self, store: Store) -> None:
        with pytest.raises(NotFound) as refused:
            await store.summarise(owner(), conversation_id(), to_seq=1, text="", tokens=0)
        assert refused.value.kind == "conversation"

    async def test_a_rewind_forgets_the_summaries_that_tell_of_more(self, store: Store) -> None:
        talk = await start_talk(store, *_TALK)
        await talk.summarise(3, "early")
        await talk.summarise(5, "late")
        await talk.rewind(4)
        assert await _summary(talk) == "early"
        assert await talk.seen() == ["user: 3"]
        await talk.rewind(2)
        assert await _summary(talk) is None

    async def test_deleting_a_message_forgets_the_summaries_that_cover_it(self, store: Store) -> None:
        talk = await start_talk(store, *_TALK)
        await talk.summarise(3, "early")
        await talk.summarise(5, "late")
        await talk.delete_message(4)
        assert await _summary(talk) == "early"
        await talk.delete_message(3)
        assert await _summary(talk) is None

    async def test_a_fork_takes_the_newest_summary_along(self, store: Store) -> None:
        talk = await start_talk(store, *_TALK)
        await talk.delete_message(2)
        await talk.summarise(3, "early")
        await talk.summarise(5, "late")
        fork = await talk.fork()
        assert (await fork.window()).summary == Summary(5, "late", 3)
        assert await fork.seen() == ["user: 5"]
        fork = await talk.fork(4)
        assert (await fork.window()).summary == Summary(3, "early", 3)
