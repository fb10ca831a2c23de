"""Isolation: what is another user's answers as what is absent does, to every verb."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from keepsay.errors import NotFound, QuotaExceeded
from keepsay.model.allowance import Allowance
from keepsay.model.ids import ConversationId
from keepsay.model.window import Window
from keepsay.store.protocol import Changes, Owner, RunHold, Store
from keepsay.testing.build import ABSENT, append, begin, conversation_id, finish, key, new_conversation, owner, plan_of
from keepsay.testing.talk import Talk, start_talk

Attempt = Callable[[Store, Owner, ConversationId, RunHold], Awaitable[object]]

ONE_A_DAY = Allowance(per_day=1)
VERBS: dict[str, Attempt] = {
    "get": lambda store, user, at, _: store.get(user, at),
    "load": lambda store, user, at, _: store.load(user, at, Window()),
    "status": lambda store, user, at, _: store.status(user, at),
    "update": lambda store, user, at, _: store.update(user, at, Changes(title="mine"), expected_version=99),
    "delete": lambda store, user, at, _: store.delete(user, at, hard=False, expected_version=99),
    "delete hard": lambda store, user, at, _: store.delete(user, at, hard=True, expected_version=None),
    "append": lambda store, user, at, _: store.append(user, at, append("user: hi", expected_seq=99)),
    "append in a run": lambda store, user, at, hold: store.append(user, at, append("assistant: hi", hold=hold)),
    "page": lambda store, user, at, _: store.page(user, at, after=0, before=None, limit=9, newest=False),
    "delete_message": lambda store, user, at, _: store.delete_message(user, at, 1),
    "rewind": lambda store, user, at, _: store.rewind(user, at, 0, expected_version=99),
    "fork": lambda store, user, at, _: store.fork(user, at, new_conversation(), None),
    "begin": lambda store, user, at, _: store.begin(user, at, begin("user: hi", on_busy="interrupt")),
    "begin within": lambda store, user, at, _: store.begin(
        user, at, begin("user: hi", on_busy="interrupt", allowance=ONE_A_DAY)
    ),
    "begin again": lambda store, user, at, hold: store.begin(user, at, begin("user: hi", run_id=hold.run_id)),
    "heartbeat": lambda store, user, at, hold: store.heartbeat(user, at, hold),
    "finish": lambda store, user, at, hold: store.finish(user, at, finish(hold, "assistant: hi")),
    "cancel": lambda store, user, at, hold: store.cancel(user, at, hold.run_id),
    "run": lambda store, user, at, hold: store.run(user, at, hold.run_id),
    "summarise": lambda store, user, at, _: store.summarise(user, at, to_seq=1, text="", tokens=0),
}


async def _state_of(talk: Talk) -> object:
    return await talk.get(), await talk.log()


class IsolationContract:
    @pytest.mark.parametrize("verb", VERBS)
    async def test_another_users_conversation_answers_as_an_absent_one(self, store: Store, verb: str) -> None:
        theirs = await start_talk(store, "user: secret", "assistant: yes")
        hold = await theirs.hold("user: more")
        before = await _state_of(theirs)
        mine = await start_talk(store, "user: hi")
        told = [await _refusal(VERBS[verb](store, mine.owner, at, hold)) for at in (theirs.id, ABSENT)]
        assert told[0] == told[1]
        assert await _state_of(theirs) == before

    @pytest.mark.parametrize("verb", VERBS)
    async def test_a_deleted_conversation_answers_as_an_absent_one(self, store: Store, verb: str) -> None:
        talk = await start_talk(store)
        hold = await talk.hold("user: hi")
        await store.delete(talk.owner, talk.id, hard=False, expected_version=None)
        told = [await _refusal(VERBS[verb](store, talk.owner, at, hold)) for at in (talk.id, ABSENT)]
        assert told[0] == told[1]

    async def test_users_see_only_their_own_in_lists(self, store: Store) -> None:
        mine, theirs = await start_talk(store), await start_talk(store)
        listed = await store.list(mine.owner, status=None, limit=9, after=None, skip=0)
        exported = await store.export(mine.owner, after=None, limit=9)
        assert [c.id for c in listed] == [c.id for c in exported] == [mine.id]
        assert [c.id for c in await store.export(theirs.owner, after=None, limit=9)] == [theirs.id]

    async def test_users_may_have_the_same_ids_and_keys(self, store: Store) -> None:
        new, once = new_conversation(external_key=str(key())), key()
        talks = []
        for user in (owner(), owner()):
            created = await store.create(user, new, plan_of())
            assert created.created
            talks.append(Talk(store, user, new.id))
        for number, talk in enumerate(talks):
            appended = await talk.append(f"user: {number}", key=once, fingerprint=number)
            assert (appended.first_seq, appended.replayed) == (1, False)
        for number, talk in enumerate(talks):
            assert await talk.words() == [f"user: {number}"]
        other = await store.create(talks[0].owner, replace(new, id=conversation_id()), plan_of())
        assert not other.created

    async def test_users_have_allowances_of_their_own(self, store: Store) -> None:
        for _ in range(2):
            talk = await start_talk(store)
            await talk.begin("user: hi", allowance=ONE_A_DAY)
            with pytest.raises(QuotaExceeded):
                await talk.begin("user: more", on_busy="interrupt", allowance=ONE_A_DAY)

    async def test_users_at_once_keep_apart(self, store: Store) -> None:
        talks = await asyncio.gather(*(start_talk(store, f"user: {n}") for n in range(6)))
        await asyncio.gather(*(talk.append(f"assistant: {n}") for n, talk in enumerate(talks)))
        for number, talk in enumerate(talks):
            assert await talk.words() == [f"user: {number}", f"assistant: {number}"]


async def _refusal(attempt: Awaitable[object]) -> tuple[object, ...]:
    with pytest.raises(NotFound) as refused:
        await attempt
    return type(refused.value), str(refused.value), vars(refused.value)
