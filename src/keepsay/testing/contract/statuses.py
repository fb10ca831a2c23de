"""Where a conversation stands: what it shows, and that whom it lets speak is whom an append then lets speak."""

from __future__ import annotations

import contextlib
from typing import Literal

import pytest

from keepsay.errors import ConversationBusy, RoleOrderError
from keepsay.model.conversation import RolePolicy
from keepsay.model.messages import Role
from keepsay.store.protocol import Store
from keepsay.testing.build import words_of
from keepsay.testing.contract.takeovers import ExpireLease
from keepsay.testing.talk import Talk, start_talk

Speaker = Literal["user", "assistant"]

STORIES: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "a system prompt": ("system: Be brief.",),
    "a question": ("user: hi",),
    "an answer": ("user: hi", "assistant: hello"),
    "an open call": ("user: hi", "calls: c1"),
    "one of two results": ("user: hi", "calls: c1 c2", "result: c1"),
    "an answered call": ("user: hi", "calls: c1", "result: c1"),
    "an open call item": ("user: hi", "call item: c1", "call item: c2"),
    "reasoning": ("user: hi", "reasoning: hm"),
    "an entry of an unknown type": ("user: hi", "unknown: x"),
    "nothing but an unknown type": ("unknown: x",),
}
EVENTS = ("as it is", "run", "calling run", "lapsed run", "lapsed calling run", "cancelled run", "deleted", "rewound")


class StatusContract:
    @pytest.mark.parametrize("policy", list(RolePolicy))
    @pytest.mark.parametrize("story", STORIES)
    @pytest.mark.parametrize("event", EVENTS)
    async def test_whoever_may_speak_is_whom_an_append_lets_speak(
        self, store: Store, expire_lease: ExpireLease, policy: RolePolicy, story: str, event: str
    ) -> None:
        for speaker in ("user", "assistant"):
            talk = await start_talk(store, *STORIES[story], policy=policy)
            await _happens(talk, event, expire_lease)
            standing = await store.status(talk.owner, talk.id)
            told = {"user": standing.can_add_user, "assistant": standing.can_add_assistant}[speaker]
            assert told is await _may_append(talk, speaker), f"the {speaker} may speak: {told}"

    async def test_a_standing_shows_the_conversation_and_the_last_message(self, store: Store) -> None:
        talk = await start_talk(store, "user: hi", "assistant: hello", title="Trip")
        standing = await store.status(talk.owner, talk.id)
        assert standing.conversation == await talk.get()
        assert standing.last == (await talk.log())[-1]
        assert (standing.last_role, standing.has_pending_request) == (Role.ASSISTANT, False)

    async def test_an_empty_conversation_has_no_last_message(self, store: Store) -> None:
        talk = await start_talk(store)
        standing = await store.status(talk.owner, talk.id)
        assert (standing.last, standing.last_role, standing.last_message_preview) == (None, None, None)

    async def test_the_last_message_is_one_that_can_be_seen(self, store: Store) -> None:
        talk = await start_talk(store, *(f"user: {n}" for n in range(4)), "unknown: x", policy=RolePolicy.OPEN)
        assert await _last_words(talk) == "user: 3"
        await talk.delete_message(4)
        assert await _last_words(talk) == "user: 2"
        await talk.summarise(3)
        assert await _last_words(talk) == "user: 2"
        await talk.rewind(1)
        assert await _last_words(talk) == "user: 0"

    async def test_a_run_is_pending_until_it_ends_or_its_lease_does(
        self, store: Store, expire_lease: ExpireLease
    ) -> None:
        talk = await start_talk(store)
        hold = await talk.hold("user: hi")
        assert (await store.status(talk.owner, talk.id)).active_run == hold.run_id
        await expire_lease(talk.owner, talk.id)
        standing = await store.status(talk.owner, talk.id)
        assert (standing.active_run, standing.can_add_user, standing.can_add_assistant) == (None, True, True)
        hold = await talk.hold()
        assert (await store.status(talk.owner, talk.id)).has_pending_request
        await talk.finish(hold, "assistant: hello")
        assert not (await store.status(talk.owner, talk.id)).has_pending_request

    async def test_a_look_changes_nothing(self, store: Store, expire_lease: ExpireLease) -> None:
        talk = await start_talk(store)
        await talk.hold("user: hi")
        await expire_lease(talk.owner, talk.id)
        before = await talk.get(), await talk.log()
        await store.status(talk.owner, talk.id)
        assert (await talk.get(), await talk.log()) == before


async def _happens(talk: Talk, event: str, expire_lease: ExpireLease) -> None:
    head = (await talk.get()).head
    if event.endswith("run"):
        await _begin(talk, calls="calling" in event)
        if event.startswith("lapsed"):
            await expire_lease(talk.owner, talk.id)
        if event.startswith("cancelled") and (run := (await talk.get()).active_run):
            await talk.cancel(run)
    elif head and event == "deleted":
        await talk.delete_message(head)
    elif head and event == "rewound":
        await talk.rewind(1)


async def _begin(talk: Talk, *, calls: bool) -> None:
    """Begin a run: on a question if one may stand there, else on what stands there, else not at all."""
    for lines in (("user: more",), ()):
        with contextlib.suppress(RoleOrderError):
            hold = await talk.hold(*lines)
            if calls:
                await talk.append("calls: c9", hold=hold)
            return


async def _may_append(talk: Talk, speaker: Speaker) -> bool:
    try:
        await talk.append(f"{speaker}: more")
    except (RoleOrderError, ConversationBusy):
        return False
    return True


async def _last_words(talk: Talk) -> str:
    last = (await talk.store.status(talk.owner, talk.id)).last
    assert last is not None
    return words_of(last)
