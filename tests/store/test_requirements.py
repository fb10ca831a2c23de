"""What the user asked for, row by row, through the public library on Postgres 15 and 18.

The rows are those of the requirements that the five documents make (README, "What it does"). Rows about HTTP and the
command line are shown in tests/server and tests/cli; here stands what the library does for them.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import asyncpg
import pytest

from keepsay import (
    ConversationBusy,
    InvalidInput,
    Keepsay,
    MemoryStore,
    NewMessage,
    NotFound,
    RoleOrderError,
    UnansweredCalls,
    UserScope,
    Window,
    assistant,
    system,
    tool,
)
from keepsay.model.json_text import JsonObject
from keepsay.session import session
from keepsay.store.postgres.dsn import Dsn
from keepsay.store.postgres.store import PostgresStore
from keepsay.testing.postgres import Database

TALKER = Path(__file__).with_name("talker.py")
CALLS: JsonObject = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "sky"}'}},
        {"id": "c2", "type": "function", "function": {"name": "look", "arguments": '{"at": "sea"}'}},
    ],
}


@pytest.fixture(params=["newest_database", "system_database"], ids=["newest", "system"])
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def keepsay(database: Database) -> AsyncIterator[Keepsay]:
    async with Keepsay(store=PostgresStore(database.dsn)) as opened:
        yield opened


@pytest.fixture
def ada(keepsay: Keepsay) -> UserScope:
    return keepsay.user(f"ada-{uuid4()}")


@pytest.fixture
def eve(keepsay: Keepsay) -> UserScope:
    return keepsay.user(f"eve-{uuid4()}")


def url_of(dsn: Dsn) -> str:
    place = f"host={quote(dsn.host or '', safe='')}&port={dsn.port}&user={dsn.user}"
    return f"postgresql:///{dsn.database}?{place}&sslmode=disable"


@contextmanager
def talker(task: str, dsn: Dsn, scope: UserScope, conversation: UUID, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """Another instance, in a process of its own; killed in the end if it has not left."""
    arguments = {"url": url_of(dsn), "user": scope.user_id, "conversation": str(conversation), **more}
    command = [sys.executable, str(TALKER), task, json.dumps(arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def said_by(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


async def contents(scope: UserScope, conversation: UUID) -> list[object]:
    found: list[object] = []
    while True:
        page = await scope.messages(conversation, after=len(found), limit=200)
        found += [message.content for message in page.items]
        if not page.has_more:
            return found


async def talk_of(scope: UserScope, turns: int) -> UUID:
    """A conversation of so many turns."""
    conversation = await scope.create(system_prompt="Be brief.")
    for n in range(turns):
        await scope.append(conversation.id, f"q{n}", assistant(f"a{n}"))
    return conversation.id


async def test_row_a1_a_session_is_created_or_retrieved_from_json_to_json(keepsay: Keepsay, ada: UserScope) -> None:
    made = await session(keepsay, {"user_id": ada.user_id, "context": "Hello"})
    assert made["created"] is True
    assert [entry["content"] for entry in made["context_history"]] == ["Hello"]  # type: ignore[union-attr,index,call-overload]
    more: JsonObject = {"role": "assistant", "content": "Hi!"}
    again = await session(keepsay, {"user_id": ada.user_id, "session_id": made["session_id"], "context": [more]})
    assert (again["created"], again["session_id"], again["head"]) == (False, made["session_id"], 2)
    assert json.loads(json.dumps(again)) == again


async def test_row_a1_ids_are_validated_and_the_unknown_is_not_created(keepsay: Keepsay, ada: UserScope) -> None:
    with pytest.raises(InvalidInput):
        await session(keepsay, {"user_id": ada.user_id, "session_id": "not an id"})
    with pytest.raises(NotFound):
        await session(keepsay, {"user_id": ada.user_id, "session_id": str(uuid4())})


async def test_row_a3_messages_stand_in_the_order_of_their_appends(ada: UserScope) -> None:
    conversation = await ada.create(role_policy="lenient")
    for n in range(30):
        await ada.append(conversation.id, f"{n} a", f"{n} b")
    assert await contents(ada, conversation.id) == [f"{n} {side}" for n in range(30) for side in "ab"]


async def test_row_a3_a_window_is_cut_and_the_log_is_not(ada: UserScope) -> None:
    conversation = await talk_of(ada, 30)
    window = await ada.window(conversation, Window(max_messages=10))
    assert [message.content for message in window.messages] == [f"{side}{n}" for n in range(25, 30) for side in "qa"]
    assert window.truncated
    assert len(await contents(ada, conversation)) == 61
    assert (await ada.window(conversation, Window(max_tokens=60))).tokens <= 60


async def test_row_a4_concurrent_writers_lose_and_tear_nothing(ada: UserScope) -> None:
    conversation = await ada.create(role_policy="lenient")
    await asyncio.gather(*(ada.append(conversation.id, f"{n} a", f"{n} b") for n in range(30)))
    found = await contents(ada, conversation.id)
    assert sorted(str(text) for text in found) == sorted(f"{n} {side}" for n in range(30) for side in "ab")
    assert all(str(found[at + 1]) == str(found[at]).replace("a", "b") for at in range(0, 60, 2))


async def test_row_b1_conversations_and_messages_have_their_fields(ada: UserScope) -> None:
    conversation = await ada.create(title="Trip", system_prompt="Be brief.", messages=["Hello"])
    assert (conversation.title, conversation.system_prompt, conversation.user_id) == ("Trip", "Be brief.", ada.user_id)
    assert isinstance(conversation.id, UUID)
    assert conversation.created_at.utcoffset() == conversation.updated_at.utcoffset() == timedelta(0)
    first, second = (await ada.messages(conversation.id)).items
    assert (first.role.text, first.content, second.role.text, second.content) == (
        "system",
        "Be brief.",
        "user",
        "Hello",
    )
    assert first.id != second.id
    assert second.conversation_id == conversation.id
    assert second.created_at.utcoffset() == timedelta(0)


async def test_row_b1_users_need_no_registration(keepsay: Keepsay, ada: UserScope) -> None:
    await ada.create()
    assert ada.user_id in [user_id async for user_id in keepsay.admin().users()]


async def test_row_b2_conversations_are_created_listed_and_deleted(ada: UserScope) -> None:
    made = [(await ada.create(title=str(n))).id for n in range(5)]
    assert (await ada.get(made[0])).title == "0"
    listed = [conversation.id for conversation in (await ada.list(skip=1, limit=2)).items]
    assert listed == [made[3], made[2]]
    await ada.append(made[0], "hi")
    assert (await ada.list(limit=1)).items[0].id == made[0]
    await ada.delete(made[0])
    with pytest.raises(NotFound):
        await ada.get(made[0])


async def test_row_b2_every_verb_asks_whose_it_is(ada: UserScope, eve: UserScope) -> None:
    conversation = await talk_of(ada, 1)
    tries = (
        eve.get(conversation),
        eve.messages(conversation),
        eve.append(conversation, "I was here"),
        eve.update(conversation, title="mine"),
        eve.delete(conversation),
        eve.window(conversation),
        eve.rewind(conversation, 0),
        eve.fork(conversation),
        eve.summarise(conversation, 1, "They met."),
        eve.delete_message(conversation, 1),
    )
    refused = await asyncio.gather(*tries, return_exceptions=True)
    assert [(type(error), str(error)) for error in refused] == [(NotFound, "No such conversation.")] * len(tries)
    assert not (await eve.list()).items
    assert await contents(ada, conversation) == ["Be brief.", "q0", "a0"]


async def test_row_b3_the_roles_alternate_and_one_system_message_comes_first(ada: UserScope) -> None:
    conversation = (await ada.create()).id
    for bad in (assistant("first"), tool("c1", "found")):
        with pytest.raises(RoleOrderError):
            await ada.append(conversation, bad)
    await ada.append(conversation, system("Be brief."))
    for bad in (system("again"), assistant("too early")):
        with pytest.raises(RoleOrderError):
            await ada.append(conversation, bad)
    await ada.append(conversation, "hi")
    with pytest.raises(RoleOrderError) as refused:
        await ada.append(conversation, "hi again")
    assert (refused.value.last_role, refused.value.attempted_role) == ("user", "user")
    await ada.append(conversation, assistant("hello"))
    with pytest.raises(RoleOrderError):
        await ada.append(conversation, assistant("hello again"))
    assert await contents(ada, conversation) == ["Be brief.", "hi", "hello"]


async def test_row_b3_an_unknown_role_has_no_say_in_the_order(ada: UserScope) -> None:
    conversation = (await ada.create(messages=["hi"])).id
    await ada.append(conversation, NewMessage({"type": "trace", "role": "narrator"}, format="my.own"))
    with pytest.raises(RoleOrderError):
        await ada.append(conversation, "hi again")
    await ada.append(conversation, assistant("hello"))
    assert [message.role.text for message in (await ada.messages(conversation)).items] == ["user", "other", "assistant"]


async def test_row_b5_a_conversation_is_resumed_after_a_restart(database: Database, ada: UserScope) -> None:
    conversation = await talk_of(ada, 2)
    async with Keepsay(store=PostgresStore(database.dsn)) as restarted:
        again = restarted.user(ada.user_id)
        async with again.run(conversation, "q2") as run:
            assert [entry["content"] for entry in run.window.to_openai_chat()] == [
                *("Be brief.", "q0", "a0", "q1", "a1", "q2")
            ]
            await run.finish(assistant("a2"))
    assert (await contents(ada, conversation))[-1] == "a2"


async def test_row_b5_the_status_of_a_conversation_needs_no_history(ada: UserScope) -> None:
    """Head, count, whose turn it is and the request under way stand on the conversation itself."""
    conversation = await talk_of(ada, 2)
    idle = await ada.get(conversation)
    assert (idle.head, idle.message_count, idle.state.name, idle.active_run) == (5, 5, "ASSISTANT", None)
    async with ada.run(conversation, "q2", key="request") as run:
        pending = await ada.get(conversation)
        assert (pending.head, pending.state.name, pending.active_run) == (6, "USER", run.id)
        with pytest.raises(ConversationBusy) as busy:
            await ada.run(conversation, "q3").__aenter__()
        assert busy.value.run_id == str(run.id)
        assert 0 < busy.value.retry_after <= 30
        await run.finish(assistant("a2"))
    assert (await ada.get_run(conversation, ada.run_id(conversation, "request"))).status.text == "completed"
    assert [one.id for one in (await ada.list(limit=10)).items] == [conversation]


async def test_row_b5_a_checkpoint_stands_for_what_came_before(ada: UserScope) -> None:
    conversation = await talk_of(ada, 5)
    await ada.summarise(conversation, 7, "Three questions were answered.")
    window = await ada.window(conversation)
    assert [message.content for message in window.messages] == ["q3", "a3", "q4", "a4"]
    assert window.summary is not None
    assert window.summary.text == "Three questions were answered."
    assert [entry["role"] for entry in window.to_openai_chat()].count("system") == 1
    assert len(await contents(ada, conversation)) == 11


async def test_row_b5_a_failed_answer_is_tried_again_on_the_same_message(ada: UserScope) -> None:
    conversation = (await ada.create()).id
    with pytest.raises(RuntimeError):
        async with ada.run(conversation, "hi", key="request"):
            raise RuntimeError("no model today")
    async with ada.run(conversation, "hi", key="request") as run:
        assert run.attempt == 2
        await run.finish(assistant("hello"))
    assert await contents(ada, conversation) == ["hi", "hello"]


@pytest.mark.slow
async def test_row_b6_two_instances_take_turns_in_one_conversation(database: Database, ada: UserScope) -> None:
    conversation = (await ada.create()).id
    with (
        talker("turns", database.dsn, ada, conversation, name="one", turns=20) as one,
        talker("turns", database.dsn, ada, conversation, name="two", turns=20) as two,
    ):
        assert [await asyncio.to_thread(said_by, process) for process in (one, two)] == ["ready", "ready"]
        tell(one, "go")
        tell(two, "go")
        assert [await asyncio.to_thread(said_by, process) for process in (one, two)] == ["done", "done"]
    found = [str(content) for content in await contents(ada, conversation)]
    asked, answered = found[::2], found[1::2]
    assert answered == [f"answer to {text.replace(' asks', '')}" for text in asked]
    assert sorted(asked) == sorted(f"{name} asks {n}" for name in ("one", "two") for n in range(20))
    assert any(before.split()[0] != after.split()[0] for before, after in pairwise(asked))


async def test_row_c1_only_none_creates(ada: UserScope, eve: UserScope) -> None:
    made = await ada.load_or_create(None)
    assert (made.conversation.user_id, made.window.messages) == (ada.user_id, ())
    loaded = await ada.load_or_create(await talk_of(ada, 1))
    assert [message.content for message in loaded.window.messages] == ["q0", "a0"]
    for absent in ("", "0", str(uuid4())):
        with pytest.raises(NotFound):
            await ada.load_or_create(absent)
    with pytest.raises(NotFound):
        await eve.load_or_create(made.conversation.id)


async def test_row_c2_a_chat_stores_the_message_the_answer_and_the_tool_calls(ada: UserScope) -> None:
    conversation = (await ada.load_or_create(None)).conversation.id
    async with ada.run(conversation, "What do you see?", key="request") as run:
        assert await contents(ada, conversation) == ["What do you see?"]
        await run.append(CALLS)
        await run.append(tool("c2", "waves"), tool("c1", "stars"))
        await run.finish(assistant("Stars and waves."))
    async with ada.run(conversation, "What do you see?", key="request") as again:
        assert again.replayed
        assert again.answer is not None
        assert again.answer.content == "Stars and waves."
    stored = (await ada.messages(conversation)).items
    assert [message.role.text for message in stored] == ["user", "assistant", "tool", "tool", "assistant"]
    assert stored[1].tool_calls == CALLS["tool_calls"]


@pytest.mark.slow
async def test_row_c3_killing_an_instance_loses_nothing_that_it_acknowledged(
    database: Database, ada: UserScope
) -> None:
    conversation = (await ada.create(role_policy="lenient")).id
    with (
        talker("append", database.dsn, ada, conversation, name="killed") as killed,
        talker("append", database.dsn, ada, conversation, name="other") as other,
    ):
        told = [await asyncio.to_thread(said_by, process) for _ in range(100) for process in (killed, other)]
        killed.kill()
        assert killed.stdout is not None
        told += await asyncio.to_thread(killed.stdout.readlines)
        later = [await asyncio.to_thread(said_by, other) for _ in range(50)]
    acknowledged = len([line for line in told if line.strip()]) - 100
    found = [str(content) for content in await contents(ada, conversation)]
    kept = [text for text in found if text.startswith("killed")]
    assert kept in ([f"killed {n}" for n in range(acknowledged + more)] for more in (0, 1))
    assert later[-1] == "149"
    assert found.count("other 149") == 1


@pytest.mark.slow
@pytest.mark.parametrize("key", ["request", "another"])
async def test_row_c3_what_a_killed_instance_left_unanswered_is_answered_by_another(
    database: Database, ada: UserScope, key: str
) -> None:
    """By the client's retry on the same message, or by another request: after the lease, and with the call closed."""
    conversation = (await ada.create()).id
    with talker("die", database.dsn, ada, conversation, lease=1.0) as dies:
        assert await asyncio.to_thread(said_by, dies) == "called"
        dies.kill()
        dies.wait()
    question = "Where is it?" if key == "request" else "Never mind."
    with pytest.raises(ConversationBusy) as busy:
        await ada.run(conversation, question, key=key).__aenter__()
    assert busy.value.retry_after <= 1.0
    await asyncio.sleep(1.05)
    async with ada.run(conversation, question, key=key) as run:
        assert (run.took_over, run.attempt) == (True, 2 if key == "request" else 1)
        await run.finish(assistant("As you wish."))
    stored = (await ada.messages(conversation)).items
    more = [] if key == "request" else ["user"]
    assert [message.role.text for message in stored] == ["user", "assistant", "tool", *more, "assistant"]
    assert stored[2].status.text == "synthetic"


async def test_row_d2_it_connects_and_sets_up_on_first_use_from_database_url(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = f"d2_{uuid4().hex}"
    monkeypatch.setenv("DATABASE_URL", url_of(database.dsn))
    connection = await asyncpg.connect(**database.dsn.connect_arguments())
    try:
        async with Keepsay(schema=schema) as keepsay:
            bob = keepsay.user("bob")
            assert not await connection.fetchval("SELECT to_regnamespace($1)", schema)
            made = await asyncio.gather(*(bob.create(external_key="one", messages=["hi"]) for _ in range(5)))
            assert len({conversation.id for conversation in made}) == 1
            found = await connection.fetch(f"SELECT seq, role FROM {schema}.messages ORDER BY seq")
            assert [tuple(row) for row in found] == [(1, 1)]
    finally:
        await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        await connection.execute(f"DROP ROLE IF EXISTS {schema}_functions")
        await connection.close()


async def test_row_d2_memory_and_postgres_are_swapped_in_one_line(database: Database) -> None:
    for store in (MemoryStore(), PostgresStore(database.dsn)):
        async with Keepsay(store=store) as keepsay:
            scope = keepsay.user(f"swap-{uuid4()}")
            assert await contents(scope, await talk_of(scope, 1)) == ["Be brief.", "q0", "a0"]


async def test_row_d4_the_tests_run_on_real_postgres(database: Database, ada: UserScope) -> None:
    """Append, then get: the order is kept, and a second conversation stays empty."""
    connection = await asyncpg.connect(**database.dsn.connect_arguments())
    version: int = await connection.fetchval("SELECT current_setting('server_version_num')::int / 10000")
    name: str = await connection.fetchval("SELECT current_database()")
    await connection.close()
    assert version >= 15
    assert name.startswith("keepsay_")
    one, two = (await ada.create()).id, (await ada.create()).id
    await ada.append(one, "hi", assistant("hello"))
    assert (await contents(ada, one), await contents(ada, two)) == (["hi", "hello"], [])


async def test_row_e1_tool_messages_are_kept_with_their_calls(ada: UserScope) -> None:
    conversation = (await ada.create(messages=["Look around."])).id
    with pytest.raises(RoleOrderError):
        await ada.append(conversation, tool("c1", "stars"))
    calls = NewMessage(CALLS, metadata={"model": "m-1"}, usage={"output_tokens": 7})
    await ada.append(conversation, calls)
    with pytest.raises(UnansweredCalls) as open_calls:
        await ada.append(conversation, assistant("I see."))
    assert open_calls.value.open_calls == ("c1", "c2")
    await ada.append(conversation, tool("c1", "stars", name="look"), tool("c2", "waves", name="look"))
    _, asked, first, second = (await ada.messages(conversation)).items
    assert (asked.payload, asked.metadata, asked.usage) == (CALLS, {"model": "m-1"}, {"output_tokens": 7})
    assert [(m.role.text, m.tool_name, m.tool_call_id) for m in (first, second)] == [
        ("tool", "look", "c1"),
        ("tool", "look", "c2"),
    ]


async def test_row_e2_several_messages_are_one_and_bump_updated_at(ada: UserScope) -> None:
    conversation = (await ada.create()).id
    before = (await ada.get(conversation)).updated_at
    hi = NewMessage({"role": "user", "content": "hi"}, client_id="m1")
    with pytest.raises(InvalidInput):
        await ada.append(conversation, hi, assistant("hello"), hi)
    unchanged = await ada.get(conversation)
    assert (unchanged.head, unchanged.updated_at, await contents(ada, conversation)) == (0, before, [])
    appended = await ada.append(conversation, "hi", assistant("hello"))
    after = await ada.get(conversation)
    assert (after.head, after.updated_at) == (2, appended.messages[-1].created_at)
    assert after.updated_at > before


async def test_row_e3_the_agent_gets_the_newest_messages(ada: UserScope, eve: UserScope) -> None:
    conversation = await talk_of(ada, 60)
    page = await ada.messages(conversation, limit=50, newest_first=True)
    assert [message.seq for message in reversed(page.items)] == list(range(72, 122))
    window = await ada.window(conversation, Window(max_messages=50))
    assert [message.seq for message in window.messages] == list(range(72, 122))
    with pytest.raises(NotFound):
        await eve.messages(conversation, limit=50, newest_first=True)


async def test_row_e4_the_array_has_one_system_prompt(ada: UserScope) -> None:
    """System prompt, history, the new message; and each message as a plain object."""
    conversation = await talk_of(ada, 1)
    async with ada.run(conversation, "And now?", window=Window(system_prompt="Be verbose.")) as run:
        assert run.window.to_openai_chat() == [
            {"role": "system", "content": "Be verbose."},
            {"role": "user", "content": "q0"},
            {"role": "assistant", "content": "a0"},
            {"role": "user", "content": "And now?"},
        ]
        await run.finish(assistant("Well..."))
    shown = (await ada.messages(conversation, newest_first=True, limit=1)).items[0].to_dict()
    assert {"id", "seq", "role", "content", "created_at"} <= shown.keys()
    assert (shown["role"], shown["content"]) == ("assistant", "Well...")
    assert json.loads(json.dumps(shown)) == shown


async def test_row_e5_queries_do_not_block(database: Database, ada: UserScope) -> None:
    """While one call waits for a lock in the database, others are answered."""
    waits, goes_on = (await ada.create()).id, (await ada.create()).id
    connection = await asyncpg.connect(**database.dsn.connect_arguments())
    try:
        async with connection.transaction():
            lock = "SELECT head FROM keepsay.conversations WHERE conversation_id = $1 FOR UPDATE"
            await connection.fetch(lock, waits)
            waiting = asyncio.create_task(ada.append(waits, "hi"))
            assert (await ada.append(goes_on, "hi")).head == 1
            assert not waiting.done()
        assert (await waiting).head == 1
    finally:
        await connection.close()
