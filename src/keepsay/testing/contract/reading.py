"""Reading: lists of conversations, pages of a log, the walk over everything, payloads just as they went in."""

from __future__ import annotations

import json

import pytest

from keepsay.errors import NotFound
from keepsay.model.conversation import ConversationStatus, RolePolicy
from keepsay.model.cursor import Position
from keepsay.model.json_text import JsonObject
from keepsay.model.messages import MessageStatus, NewMessage, OrderState, Role
from keepsay.model.window import Window
from keepsay.store.protocol import Changes, Store
from keepsay.testing.build import conversation_id, owner
from keepsay.testing.talk import Talk, start_talk

_FIVE = ("user: 1", "assistant: 2", "user: 3", "assistant: 4", "user: 5")


class ReadContract:
    async def test_a_page_goes_forward_from_a_seq(self, store: Store) -> None:
        talk = await start_talk(store, *_FIVE)
        page = await store.page(talk.owner, talk.id, after=1, before=None, limit=2, newest=False)
        assert ([m.seq for m in page.messages], page.head, page.has_more) == ([2, 3], 5, True)
        page = await store.page(talk.owner, talk.id, after=3, before=None, limit=2, newest=False)
        assert ([m.seq for m in page.messages], page.has_more) == ([4, 5], False)

    async def test_a_page_goes_back_from_the_newest(self, store: Store) -> None:
        talk = await start_talk(store, *_FIVE)
        page = await store.page(talk.owner, talk.id, after=0, before=None, limit=2, newest=True)
        assert ([m.seq for m in page.messages], page.head, page.has_more) == ([5, 4], 5, True)
        page = await store.page(talk.owner, talk.id, after=0, before=4, limit=3, newest=True)
        assert ([m.seq for m in page.messages], page.has_more) == ([3, 2, 1], False)

    async def test_a_page_may_have_two_ends(self, store: Store) -> None:
        talk = await start_talk(store, *_FIVE)
        page = await store.page(talk.owner, talk.id, after=1, before=4, limit=10, newest=False)
        assert ([m.seq for m in page.messages], page.has_more) == ([2, 3], False)
        page = await store.page(talk.owner, talk.id, after=1, before=5, limit=2, newest=True)
        assert ([m.seq for m in page.messages], page.has_more) == ([4, 3], True)

    async def test_a_page_beyond_the_head_is_empty(self, store: Store) -> None:
        talk = await start_talk(store, "user: hi")
        page = await store.page(talk.owner, talk.id, after=1, before=None, limit=10, newest=False)
        assert (page.messages, page.head, page.has_more) == ((), 1, False)

    async def test_a_page_of_an_absent_conversation_is_not_found(self, store: Store) -> None:
        with pytest.raises(NotFound) as refused:
            await store.page(owner(), conversation_id(), after=0, before=None, limit=1, newest=False)
        assert refused.value.kind == "conversation"

    async def test_a_message_comes_back_with_all_its_fields(self, store: Store) -> None:
        talk = await start_talk(store, policy=RolePolicy.OPEN)
        new = NewMessage(
            {"role": "assistant", "content": "hi"},
            status="incomplete",
            metadata={"z": 1, "a": 2},
            usage={"input_tokens": 3},
            client_id="msg_1",
            tokens=42,
        )
        hold = await talk.hold("user: hi")
        appended = await talk.append(new, hold=hold)
        stored = (await talk.log())[-1]
        assert (stored.seq, stored.role, stored.status) == (2, Role.ASSISTANT, MessageStatus.INCOMPLETE)
        assert (stored.state, stored.tokens, stored.format) == (OrderState.ASSISTANT, 42, "chat")
        assert (stored.payload, stored.metadata, stored.usage) == (new.payload, new.metadata, new.usage)
        assert list(stored.metadata) == ["z", "a"]
        assert (stored.client_id, stored.run_id, stored.hidden) == ("msg_1", hold.run_id, False)
        assert (stored.created_at, stored.conversation_id) == (appended.created_at, talk.id)

    @pytest.mark.parametrize(
        "payload",
        [
            {"role": "user", "content": "a\u0000b \ud800 \udfff \U0001f600 \u2028"},
            {"content": "keys keep their order", "role": "user", "z": {"b": 1, "a": 2}, "\u0000": None},
            {"role": "user", "content": [], "numbers": [2**63 - 1, -(2**63), 1e308, 5e-324, -0.0, 0.1, True]},
            {"role": "user", "content": "", "": {"": [[], {}, ""]}},
        ],
    )
    async def test_a_payload_comes_back_as_it_went_in(self, store: Store, payload: JsonObject) -> None:
        talk = await start_talk(store, NewMessage(payload))
        [stored] = await talk.log()
        assert json.dumps(stored.payload) == json.dumps(payload)

    async def test_entries_of_unknown_formats_are_kept_untouched(self, store: Store) -> None:
        talk = await start_talk(store, NewMessage({"anything": [None]}, format="vendor.v9"))
        [stored] = await talk.log()
        assert (stored.payload, stored.format, stored.role) == ({"anything": [None]}, "vendor.v9", Role.OTHER)

    async def test_conversations_are_listed_by_their_last_activity(self, store: Store) -> None:
        user = owner()
        first, second, third = [await start_talk(store, owner=user) for _ in range(3)]
        await first.append("user: hi")
        assert await _listed(store, first) == [first.id, third.id, second.id]
        await store.update(user, second.id, Changes(title="new"), expected_version=None)
        assert await _listed(store, first) == [second.id, first.id, third.id]

    async def test_a_list_goes_on_after_a_position(self, store: Store) -> None:
        user = owner()
        talks = [await start_talk(store, owner=user) for _ in range(4)]
        first = await store.list(user, status=None, limit=2, after=None, skip=0)
        position = Position(first[-1].updated_at, first[-1].id)
        rest = await store.list(user, status=None, limit=10, after=position, skip=0)
        assert [c.id for c in [*first, *rest]] == [talk.id for talk in reversed(talks)]
        assert [c.id for c in await store.list(user, status=None, limit=1, after=position, skip=1)] == [talks[0].id]

    async def test_a_list_may_be_of_one_status(self, store: Store) -> None:
        user = owner()
        kept, archived = [await start_talk(store, owner=user) for _ in range(2)]
        changes = Changes(status=ConversationStatus.ARCHIVED)
        await store.update(user, archived.id, changes, expected_version=None)
        assert await _listed(store, kept, ConversationStatus.ACTIVE) == [kept.id]
        assert await _listed(store, kept, ConversationStatus.ARCHIVED) == [archived.id]

    async def test_an_export_walks_over_everything_by_id(self, store: Store) -> None:
        user = owner()
        ids = sorted([(await start_talk(store, "user: hi", owner=user)).id for _ in range(3)])
        first = await store.export(user, after=None, limit=2)
        rest = await store.export(user, after=first[-1].id, limit=2)
        assert [c.id for c in [*first, *rest]] == ids
        assert first[0] == await store.get(user, ids[0])

    async def test_a_load_shows_the_conversation_and_its_window_at_one_moment(self, store: Store) -> None:
        talk = await start_talk(store, "system: Be brief.", "user: hi")
        loaded = await store.load(talk.owner, talk.id, Window())
        assert loaded.conversation == await talk.get()
        assert loaded.rows.head == loaded.conversation.head
        assert loaded.rows.system is not None
        assert loaded.rows.system.content == "Be brief."


async def _listed(store: Store, talk: Talk, status: ConversationStatus | None = None) -> list[object]:
    return [c.id for c in await store.list(talk.owner, status=status, limit=10, after=None, skip=0)]
