"""Creating, changing and deleting conversations."""

from __future__ import annotations

import pytest

from keepsay.errors import KeyReused, NotFound, RoleOrderError, VersionMismatch
from keepsay.model.conversation import ConversationStatus, RolePolicy
from keepsay.model.messages import OrderState
from keepsay.store.protocol import Changes, Store
from keepsay.testing.build import conversation_id, key, new_conversation, owner, plan_of
from keepsay.testing.talk import start_talk


class CreateContract:
    async def test_a_new_conversation_has_the_given_fields(self, store: Store) -> None:
        user, external = owner(), str(key())
        new = new_conversation(
            RolePolicy.LENIENT,
            title="Trip",
            system_prompt="Be brief.",
            external_key=external,
            metadata={"b": 1, "a": {"z": [1.5, None]}},
        )
        created = await store.create(user, new, plan_of("system: Be brief.", "user: hi"))
        made = created.conversation
        assert created.created
        assert (made.id, made.user_id, made.role_policy) == (new.id, user.user_id, RolePolicy.LENIENT)
        assert (made.title, made.system_prompt, made.external_key) == ("Trip", "Be brief.", external)
        assert made.metadata == {"b": 1, "a": {"z": [1.5, None]}}
        assert list(made.metadata) == ["b", "a"]
        assert (made.head, made.message_count, made.version, made.state) == (2, 2, 1, OrderState.USER)
        assert (made.status, made.active_run) == (ConversationStatus.ACTIVE, None)
        assert made.created_at.tzinfo is not None
        assert await store.get(user, new.id) == made

    async def test_a_conversation_may_be_created_empty(self, store: Store) -> None:
        talk = await start_talk(store)
        made = await talk.get()
        assert (made.head, made.message_count, made.version, made.state) == (0, 0, 1, OrderState.EMPTY)
        assert (made.title, made.system_prompt, made.external_key, made.metadata) == (None, None, None, {})
        assert made.created_at == made.updated_at

    async def test_creating_the_same_again_gives_the_first_result(self, store: Store) -> None:
        user, new = owner(), new_conversation(title="one")
        first = await store.create(user, new, plan_of("user: hi"))
        again = await store.create(user, new, plan_of("user: hi"))
        assert again.created
        assert again.conversation == first.conversation

    async def test_creating_another_with_the_same_id_is_refused(self, store: Store) -> None:
        user, new = owner(), new_conversation(fingerprint=1)
        await store.create(user, new, plan_of())
        with pytest.raises(KeyReused):
            await store.create(user, new_conversation(id=new.id, fingerprint=-1), plan_of())

    async def test_creating_again_what_was_deleted_finds_nothing(self, store: Store) -> None:
        user, new = owner(), new_conversation()
        await store.create(user, new, plan_of())
        await store.delete(user, new.id, hard=False, expected_version=None)
        with pytest.raises(NotFound) as refused:
            await store.create(user, new, plan_of())
        assert refused.value.kind == "conversation"

    async def test_creating_with_a_taken_external_key_returns_its_conversation(self, store: Store) -> None:
        user, external = owner(), str(key())
        first = await store.create(user, new_conversation(external_key=external, title="first"), plan_of("user: hi"))
        second = await store.create(user, new_conversation(external_key=external, title="second"), plan_of("user: no"))
        assert not second.created
        assert second.conversation == first.conversation
        assert len(await store.export(user, after=None, limit=10)) == 1

    async def test_an_external_key_is_free_again_after_deletion(self, store: Store) -> None:
        user, external = owner(), str(key())
        first = await store.create(user, new_conversation(external_key=external), plan_of())
        await store.delete(user, first.conversation.id, hard=False, expected_version=None)
        second = await store.create(user, new_conversation(external_key=external), plan_of())
        assert second.created

    async def test_a_refused_creation_leaves_nothing_behind(self, store: Store) -> None:
        user, new = owner(), new_conversation()
        with pytest.raises(RoleOrderError):
            await store.create(user, new, plan_of("user: one", "user: two"))
        with pytest.raises(NotFound):
            await store.get(user, new.id)
        assert (await store.erase(user)).users == 0

    async def test_an_absent_conversation_is_not_found(self, store: Store) -> None:
        with pytest.raises(NotFound) as refused:
            await store.get(owner(), conversation_id())
        assert (refused.value.kind, refused.value.outcome) == ("conversation", "not_applied")

    async def test_an_update_changes_the_given_fields_alone(self, store: Store) -> None:
        talk = await start_talk(store, "user: hi", title="old", metadata={"a": 1})
        before = await talk.get()
        after = await store.update(talk.owner, talk.id, Changes(title="new"), expected_version=None)
        assert (after.title, after.metadata, after.status) == ("new", {"a": 1}, ConversationStatus.ACTIVE)
        assert after.version == before.version + 1
        assert after.updated_at > before.updated_at
        assert await talk.get() == after

    async def test_an_update_may_clear_archive_and_replace(self, store: Store) -> None:
        talk = await start_talk(store, title="old", metadata={"a": 1})
        changes = Changes(title=None, status=ConversationStatus.ARCHIVED, metadata={"b": 2})
        after = await store.update(talk.owner, talk.id, changes, expected_version=1)
        assert (after.title, after.status, after.metadata) == (None, ConversationStatus.ARCHIVED, {"b": 2})
        await talk.append("user: archived ones work all the same")

    async def test_an_update_of_another_version_is_refused(self, store: Store) -> None:
        talk = await start_talk(store)
        with pytest.raises(VersionMismatch) as refused:
            await store.update(talk.owner, talk.id, Changes(title="new"), expected_version=7)
        assert (refused.value.expected, refused.value.version) == (7, 1)
        assert (await talk.get()).title is None

    @pytest.mark.parametrize("hard", [False, True])
    async def test_a_deleted_conversation_cannot_be_found(self, store: Store, hard: bool) -> None:
        talk = await start_talk(store, "user: hi")
        await store.delete(talk.owner, talk.id, hard=hard, expected_version=1)
        with pytest.raises(NotFound):
            await talk.get()
        with pytest.raises(NotFound):
            await store.delete(talk.owner, talk.id, hard=True, expected_version=None)
        assert list(await store.export(talk.owner, after=None, limit=10)) == []

    async def test_a_hard_deletion_erases_all_rows(self, store: Store) -> None:
        talk = await start_talk(store)
        await talk.finish(await talk.hold("user: hi"), "assistant: hello")
        await talk.summarise(2)
        await store.delete(talk.owner, talk.id, hard=True, expected_version=None)
        erased = await store.erase(talk.owner)
        assert (erased.conversations, erased.messages, erased.runs, erased.summaries, erased.users) == (0, 0, 0, 0, 1)

    async def test_a_deletion_of_another_version_is_refused(self, store: Store) -> None:
        talk = await start_talk(store)
        with pytest.raises(VersionMismatch) as refused:
            await store.delete(talk.owner, talk.id, hard=False, expected_version=2)
        assert (refused.value.expected, refused.value.version) == (2, 1)
        await talk.get()
