"""A user's scope: what it checks before anything reaches a store, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

from keepsay import (
    InvalidCursor,
    InvalidInput,
    Keepsay,
    KeyReused,
    NewMessage,
    NotFound,
    RoleOrderError,
    TooLarge,
    UserScope,
    VersionMismatch,
    Window,
    assistant,
    system,
    tool,
)
from keepsay import (
    user as said,
)
from keepsay.model import limits
from keepsay.model.json_text import write_json


async def test_the_system_prompt_is_the_first_message(user: UserScope) -> None:
    conversation = await user.create(system_prompt="Be brief.", title="Trip")
    [message] = (await user.messages(conversation.id)).items
    assert (message.seq, message.role.text, message.content) == (1, "system", "Be brief.")
    assert conversation.system_prompt == "Be brief."
    with pytest.raises(RoleOrderError):
        await user.append(conversation.id, system("Be long."))


async def test_creating_with_an_external_key_finds_what_is_there(user: UserScope) -> None:
    first = await user.create_or_get(external_key="telegram:1", title="first")
    again = await user.create_or_get(external_key="telegram:1", title="second")
    assert (first.created, again.created) == (True, False)
    assert again.conversation == first.conversation


async def test_creating_with_a_key_can_be_retried(user: UserScope) -> None:
    first = await user.create(key="k", title="Trip")
    assert await user.create(key="k", title="Trip") == first
    with pytest.raises(KeyReused):
        await user.create(key="k", title="Another")


async def test_only_none_creates_on_load(user: UserScope) -> None:
    made = await user.load_or_create(None)
    assert (await user.load_or_create(made.conversation.id)).conversation == made.conversation
    for absent in ("", "0", str(uuid4())):
        with pytest.raises(NotFound):
            await user.load_or_create(absent)


async def test_messages_may_be_texts_payloads_and_new_messages(user: UserScope) -> None:
    conversation = await user.create(role_policy="lenient")
    appended = await user.append(
        conversation.id,
        "one",
        {"role": "assistant", "content": "two"},
        said([{"type": "text", "text": "three"}]),
        NewMessage({"type": "message", "role": "assistant", "content": "four"}, format="openai.responses"),
        NewMessage({"any": "thing"}, format="anthropic"),
    )
    assert [message.role.text for message in appended.messages] == ["user", "assistant", "user", "assistant", "other"]
    assert (await user.messages(conversation.id)).items == appended.messages


async def test_a_page_walk_sees_each_message_once(user: UserScope) -> None:
    conversation = await user.create(role_policy="lenient", messages=[f"{n}" for n in range(25)])
    seen: list[int] = []
    while True:
        page = await user.messages(conversation.id, after=seen[-1] if seen else 0, limit=10)
        seen += [message.seq for message in page.items]
        if not page.has_more:
            break
    assert seen == list(range(1, 26))
    newest = await user.messages(conversation.id, newest_first=True, before=25, limit=2)
    assert [message.seq for message in newest.items] == [24, 23]


async def test_the_list_is_paged_by_cursor_newest_first(user: UserScope) -> None:
    ids = [(await user.create(title=str(n))).id for n in range(5)]
    await user.append(ids[0], "hi")
    first = await user.list(limit=2)
    second = await user.list(limit=2, cursor=first.next_cursor)
    third = await user.list(limit=2, cursor=second.next_cursor)
    found = [c.id for page in (first, second, third) for c in page.items]
    assert found == [ids[0], *reversed(ids[1:])]
    assert (first.has_more, third.has_more) == (True, False)
    assert [c.id for c in (await user.list(skip=3)).items] == found[3:]


async def test_changes_are_conditional_on_the_version(user: UserScope) -> None:
    conversation = await user.create()
    renamed = await user.update(conversation.id, title="Trip", expected_version=conversation.version)
    assert (renamed.title, renamed.version) == ("Trip", conversation.version + 1)
    with pytest.raises(VersionMismatch) as mismatch:
        await user.update(conversation.id, status="archived", expected_version=conversation.version)
    assert (mismatch.value.expected, mismatch.value.version) == (conversation.version, renamed.version)
    assert (await user.list(status="archived")).items == ()


async def test_editing_is_rewinding_and_going_on(user: UserScope) -> None:
    conversation = await user.create(messages=["one", assistant("two"), "three", assistant("four")])
    await user.rewind(conversation.id, 2)
    await user.append(conversation.id, "three, better said")
    window = await user.window(conversation.id)
    assert [m["content"] for m in window.to_openai_chat()] == ["one", "two", "three, better said"]
    assert [m.hidden for m in (await user.messages(conversation.id)).items] == [False, False, True, True, False]


async def test_a_fork_goes_its_own_way(user: UserScope) -> None:
    conversation = await user.create(title="Trip", messages=["one", assistant("two"), "three", assistant("four")])
    fork = await user.fork(conversation.id, 2)
    await user.append(fork.id, "another three")
    assert (fork.head, fork.title) == (2, "Trip")
    assert [m.content for m in (await user.messages(fork.id)).items] == ["one", "two", "another three"]
    assert (await user.get(conversation.id)).head == 4


async def test_a_summary_stands_for_what_it_tells_of(user: UserScope) -> None:
    conversation = await user.create(
        system_prompt="Be brief.", messages=["one", assistant("two"), "three", assistant("4")]
    )
    await user.summarise(conversation.id, 3, "They counted to two.")
    window = await user.window(conversation.id)
    assert window.to_openai_chat()[0]["content"] == (
        "Be brief.\n\nSummary of the conversation so far:\nThey counted to two."
    )
    assert [m.seq for m in window.messages] == [4, 5]
    assert (await user.messages(conversation.id)).head == 5


async def test_a_deleted_message_is_blank_and_found_by_its_id(user: UserScope) -> None:
    conversation = await user.create(messages=["one"])
    [message] = (await user.messages(conversation.id)).items
    assert (await user.delete_message(conversation.id, message.id)).message_count == 0
    [blank] = (await user.messages(conversation.id)).items
    assert (blank.seq, blank.status.text, blank.payload) == (1, "deleted", {})
    with pytest.raises(NotFound):
        await user.delete_message(conversation.id, message.id)


async def test_export_tells_all_and_erase_leaves_nothing(keepsay: Keepsay, user: UserScope) -> None:
    conversation = await user.create(
        messages=[f"{n}" for n in range(3)], role_policy="lenient", metadata={"b": 1, "a": 2}
    )
    lines = [line async for line in user.export()]
    assert [line["type"] for line in lines] == ["conversation", "message", "message", "message", "end"]
    assert lines[-1] == {"type": "end", "conversations": 1, "messages": 3}
    assert lines[1]["payload"] == {"role": "user", "content": "0"}
    assert (await user.erase()).messages == 3
    assert [line async for line in user.export()] == [{"type": "end", "conversations": 0, "messages": 0}]
    assert [user_id async for user_id in keepsay.admin().users()] == []
    with pytest.raises(NotFound):
        await user.get(conversation.id)


@pytest.mark.parametrize(
    ("field", "fits", "over"),
    [
        ("title", "t" * limits.TITLE_CHARS, "t" * (limits.TITLE_CHARS + 1)),
        ("external_key", "k" * limits.KEY_CHARS, "k" * (limits.KEY_CHARS + 1)),
        ("key", "k" * limits.KEY_CHARS, "k" * (limits.KEY_CHARS + 1)),
        ("metadata", {"a": {"b": {"c": {}}}}, {"a": {"b": {"c": {"d": {}}}}}),
        ("metadata", {"a": "x" * (limits.METADATA_BYTES - 8)}, {"a": "x" * (limits.METADATA_BYTES - 7)}),
        ("messages", ["m"] * limits.MESSAGES_PER_CALL, ["m"] * (limits.MESSAGES_PER_CALL + 1)),
        ("system_prompt", "s" * limits.SYSTEM_PROMPT_CHARS, "s" * (limits.SYSTEM_PROMPT_CHARS + 1)),
    ],
)
async def test_each_limit_is_exact_and_named(user: UserScope, field: str, fits: object, over: object) -> None:
    await user.create(role_policy="lenient", **{field: fits})  # type: ignore[arg-type]
    with pytest.raises(TooLarge) as refused:
        await user.create(role_policy="lenient", **{field: over})  # type: ignore[arg-type]
    assert refused.value.field == field


async def test_a_message_has_at_most_one_mebibyte(user: UserScope) -> None:
    conversation = await user.create(role_policy="lenient")
    room = limits.MESSAGE_BYTES - len(write_json({"role": "user", "content": ""}))
    await user.append(conversation.id, "x" * room)
    with pytest.raises(TooLarge):
        await user.append(conversation.id, "x" * (room + 1))


@pytest.mark.parametrize("text", ["a\0b", "half \ud83d"])
@pytest.mark.parametrize("field", ["title", "external_key", "key", "system_prompt"])
async def test_texts_that_cannot_be_stored_are_refused(user: UserScope, field: str, text: str) -> None:
    with pytest.raises(InvalidInput):
        await user.create(**{field: text})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "call",
    [
        lambda u, c: u.append(c),
        lambda u, c: u.append(c, 5),
        lambda u, c: u.append(c, {"role": "robot", "content": "hi"}),
        lambda u, c: u.append(c, {"role": "user"}),
        lambda u, c: u.append(c, {"role": "user", "content": float("nan")}),
        lambda u, c: u.append(c, {"role": "user", "content": "hi", "n": 2**63}),
        lambda u, c: u.append(c, tool("", "x")),
        lambda u, c: u.append(c, NewMessage({"role": "user", "content": "x"}, status="incomplete")),
        lambda u, c: u.append(c, NewMessage({"role": "user", "content": "x"}, tokens=-1)),
        lambda u, c: u.append(c, "hi", expected_seq=-1),
        lambda u, c: u.append(c, "hi", key=""),
        lambda u, c: u.messages(c, limit=0),
        lambda u, c: u.messages(c, limit=201),
        lambda u, c: u.messages(c, after=-1),
        lambda u, c: u.list(skip=-1),
        lambda u, c: u.list(status="deleted"),
        lambda u, c: u.update(c, status=None),
        lambda u, c: u.create(role_policy="loose"),
        lambda u, c: u.rewind(c, -1),
        lambda u, c: u.summarise(c, 1, "a\0"),
    ],
)
async def test_bad_input_is_refused_and_nothing_is_stored(
    user: UserScope, conversation: UUID, call: Callable[[UserScope, UUID], object]
) -> None:
    with pytest.raises(InvalidInput):
        await call(user, conversation)  # type: ignore[misc]
    assert (await user.get(conversation)).head == 0


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "/w" * 17, "😀", "a" * 10_000])
async def test_a_cursor_that_was_not_given_out_is_refused(user: UserScope, cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        await user.list(cursor=cursor)


@pytest.mark.parametrize("value", [0, 1_001, True, "5", 1.5])
def test_a_windows_limits_are_checked_when_it_is_made(value: object) -> None:
    with pytest.raises(InvalidInput):
        Window(max_messages=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("user_id", ["", ".", "..", "a/b", "a\nb", "e\u0301", "\ud800", "x" * 256, "é" * 128])
def test_a_user_id_that_could_be_mistaken_is_refused(keepsay: Keepsay, user_id: str) -> None:
    with pytest.raises(InvalidInput):
        keepsay.user(user_id)


async def test_users_do_not_see_each_other(keepsay: Keepsay, conversation: UUID) -> None:
    with pytest.raises(NotFound) as foreign:
        await keepsay.user("eve").get(conversation)
    with pytest.raises(NotFound) as absent:
        await keepsay.user("eve").get(uuid4())
    assert str(foreign.value) == str(absent.value)


async def test_an_update_of_nothing_leaves_the_conversation_as_it_is(user: UserScope) -> None:
    conversation = await user.create(title="Trip")
    assert await user.update(conversation.id) == conversation
    assert await user.update(conversation.id, expected_version=conversation.version) == conversation
    with pytest.raises(VersionMismatch) as refused:
        await user.update(conversation.id, expected_version=9)
    assert (refused.value.expected, refused.value.version) == (9, conversation.version)


async def test_a_fork_says_whether_it_was_made(user: UserScope) -> None:
    conversation = await user.create(messages=["one"])
    made = await user.fork_or_get(conversation.id, external_key="k")
    found = await user.fork_or_get(conversation.id, external_key="k", title="other")
    assert (made.created, found.created) == (True, False)
    assert found.conversation == made.conversation == await user.fork(conversation.id, external_key="k")


async def test_a_status_tells_where_a_conversation_stands(user: UserScope) -> None:
    conversation = await user.create(title="Trip", messages=["Where is Lisbon?"])
    standing = await user.status(str(conversation.id))
    assert standing.to_dict() == {
        "conversation_id": str(conversation.id),
        "title": "Trip",
        "head": 1,
        "message_count": 1,
        "last_role": "user",
        "last_message_preview": "Where is Lisbon?",
        "can_add_user": False,
        "can_add_assistant": True,
        "has_pending_request": False,
        "active_run": None,
        "updated_at": conversation.updated_at.isoformat(),
    }


async def test_users_are_listed_page_by_page(keepsay: Keepsay) -> None:
    admin = keepsay.admin()
    for name in ("a", "b", "c"):
        await keepsay.user(name).create()
    first = await admin.list_users(limit=2)
    assert (first.items, first.next_cursor, first.has_more) == (("a", "b"), "b", True)
    rest = await admin.list_users(limit=2, cursor=first.next_cursor)
    assert (rest.items, rest.next_cursor, rest.has_more) == (("c",), None, False)
    with pytest.raises(InvalidCursor):
        await admin.list_users(cursor="a/b")
    with pytest.raises(InvalidInput):
        await admin.list_users(limit=0)
