"""Erasing a user, the operators' list of users, and closing."""

from __future__ import annotations

import pytest

from keepsay.errors import NotFound, RateLimited
from keepsay.model.allowance import Allowance
from keepsay.model.ids import UserId
from keepsay.store.protocol import Erased, Store
from keepsay.testing.build import key, owner
from keepsay.testing.talk import start_talk


class EraseContract:
    async def test_an_erasure_deletes_every_row_and_counts_them(self, store: Store) -> None:
        user = owner()
        one, two = await start_talk(store, owner=user), await start_talk(store, "user: 1", owner=user)
        await one.finish(await one.hold("user: hi"), "calls: c1")
        await one.summarise(3)
        await two.delete_message(1)
        await store.delete(user, two.id, hard=False, expected_version=None)
        assert await store.erase(user) == Erased(conversations=2, messages=4, runs=1, summaries=1, users=1)
        with pytest.raises(NotFound):
            await one.get()
        assert await store.erase(user) == Erased(0, 0, 0, 0, 0)

    async def test_an_erasure_leaves_others_alone(self, store: Store) -> None:
        mine, theirs = await start_talk(store), await start_talk(store, "user: hi")
        await store.erase(mine.owner)
        assert await theirs.words() == ["user: hi"]

    async def test_an_erased_user_may_come_again(self, store: Store) -> None:
        talk = await start_talk(store)
        await store.erase(talk.owner)
        assert (await start_talk(store, "user: hi", owner=talk.owner)).owner == talk.owner
        assert len(await store.export(talk.owner, after=None, limit=9)) == 1

    async def test_what_was_spent_of_an_allowance_goes_with_the_user(self, store: Store) -> None:
        user, once = owner(), Allowance(per_minute=1, per_day=1)
        for _ in range(2):
            talk = await start_talk(store, owner=user)
            await talk.begin("user: hi", allowance=once)
            with pytest.raises(RateLimited):
                await talk.begin("user: more", on_busy="interrupt", allowance=once)
            assert await store.erase(user) == Erased(conversations=1, messages=1, runs=0, summaries=0, users=1)

    async def test_users_are_listed_in_the_order_of_their_bytes(self, store: Store) -> None:
        prefix = f"\U0010ffff{key()}"  # after whatever else is there
        names = [prefix + name for name in ("", "A", "a", "a b", "é", "\uffff", "\U0001f600")]
        for name in reversed(names):
            await start_talk(store, owner=owner(name))
        after = UserId(f"{prefix[:-1]}{chr(ord(prefix[-1]) - 1)}\U0010ffff")
        found = await store.users(after=after, limit=len(names))
        assert list(found) == names
        assert list(await store.users(after=UserId(names[2]), limit=2)) == names[3:5]

    async def test_users_without_conversations_are_not_listed(self, store: Store) -> None:
        user = owner(f"\U0010ffff{key()}")
        await store.export(user, after=None, limit=1)
        assert user.user_id not in await store.users(after=None, limit=10_000)
        await start_talk(store, owner=user)
        assert user.user_id in await store.users(after=None, limit=10_000)
        await store.erase(user)
        assert user.user_id not in await store.users(after=None, limit=10_000)
