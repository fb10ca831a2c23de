"""What the seeds' patterns break, each as a check of something small that a seed and keepsay can both do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, Protocol

import asyncpg

from keepsay.testing.postgres import Database

AT_ONCE = 20
"""Concurrent callers, each on a warm connection of its own: a cold pool hides the races."""

ROUNDS = 40
"""How often they race. Where two cores are busy with other things a single round may stay tame."""


@asynccontextmanager
async def connected(database: Database) -> AsyncIterator[Any]:
    """A connection of the superuser that neither seed nor keepsay knows of."""
    connection = await asyncpg.connect(**database.dsn.connect_arguments())
    try:
        yield connection
    finally:
        await connection.close()


async def at_once(calls: list[Awaitable[Any]]) -> list[Any]:
    """Set the calls off together; what each returned, or the exception that it raised."""
    return await asyncio.gather(*calls, return_exceptions=True)


def failures(outcomes: list[Any]) -> list[BaseException]:
    return [outcome for outcome in outcomes if isinstance(outcome, BaseException)]


class History(Protocol):
    """One conversation's log."""

    database: Database

    async def append(self, *texts: str) -> None: ...
    async def append_on(self, connection: Any, text: str) -> None:
        """Append within the transaction that is open on ``connection``."""

    async def append_with_a_bad_one(self, before: str, after: str) -> None:
        """Append three messages of which the database refuses the middle one."""

    async def read(self) -> list[str]: ...
    async def newest(self, limit: int) -> list[str]: ...
    async def poll(self, after: int) -> tuple[list[str], int]:
        """The messages since the cursor ``after``, and the cursor after them."""


async def check_a_batch_keeps_its_order(history: History) -> None:
    for _ in range(5):
        before = await history.read()
        await history.append(*"012345")
        after = await history.read()
        assert after == [*before, *"012345"], f"it was read as {after}"


async def _check_reads_only_grow(history: History, pause: Literal["before the insert", "before the commit"]) -> None:
    """A transaction that pauses while another appends: whoever read meanwhile misses nothing afterwards."""
    async with connected(history.database) as slow:
        async with slow.transaction():
            await slow.execute("SELECT now()")
            if pause == "before the commit":
                await history.append_on(slow, "slow")
            fast = asyncio.create_task(history.append("fast"))
            await asyncio.wait([fast], timeout=0.3)
            seen, cursor = await history.poll(0)
            if pause == "before the insert":
                await history.append_on(slow, "slow")
        await fast
    rest, _ = await history.poll(cursor)
    assert sorted(seen + rest) == ["fast", "slow"], f"a poller saw {seen}, then {rest}"
    assert await history.read() == seen + rest, f"a reader saw {seen}, then {await history.read()}"


async def check_reads_only_grow_past_a_late_insert(history: History) -> None:
    await _check_reads_only_grow(history, "before the insert")


async def check_reads_only_grow_past_a_late_commit(history: History) -> None:
    await _check_reads_only_grow(history, "before the commit")


async def check_appends_at_once_are_all_kept(history: History) -> None:
    failed = failures(await at_once([history.append(str(n)) for n in range(AT_ONCE)]))
    assert not failed, f"{len(failed)} of {AT_ONCE} failed: {failed[0]!r}"
    assert sorted(await history.read()) == sorted(str(n) for n in range(AT_ONCE))


async def check_an_append_reads_no_history(history: History) -> None:
    """An append reads as many rows of a long conversation as of a short one."""
    read = []
    for more in (10, 490):
        for at in range(0, more, 50):
            await history.append(*(str(n) for n in range(at, min(at + 50, more))))
        async with connected(history.database) as connection, connection.transaction():
            await history.append_on(connection, "one more")
            read.append(await connection.fetchval(_ROWS_READ))
    assert read[1] <= read[0] + 20, f"an append read {read[0]} rows of a short and {read[1]} of a long conversation"


_ROWS_READ = "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables"


async def check_a_limit_takes_the_newest(history: History) -> None:
    for at in range(0, 120, 40):
        await history.append(*(str(n) for n in range(at, at + 40)))
    found = await history.newest(50)
    assert found == [str(n) for n in range(70, 120)], f"of 0 to 119 it took {found[0]} to {found[-1]}"


async def check_a_batch_is_all_or_nothing(history: History) -> None:
    try:
        await history.append_with_a_bad_one("first", "third")
    except Exception:  # each store has an error of its own for it; what counts is what it left behind
        left = await history.read()
        assert left == [], f"the refused batch left {left}"
        return
    raise AssertionError("the bad message was taken")


async def check_any_text_comes_back(history: History) -> None:
    texts = ["nul \0 here", "a lone \ud800 surrogate", "😀", ""]
    for text in texts:
        failed = failures(await at_once([history.append(text)]))
        assert not failed, f"{text!r} cannot be kept: {failed[0]!r}"
    assert await history.read() == texts


class Turnstile(Protocol):
    """Lets one through."""

    async def reset(self) -> None: ...
    async def enter(self, number: int) -> bool:
        """Whether this caller was let in; the refusal of the store is ``False``, any other error is raised."""


async def check_one_gets_through(turnstile: Turnstile) -> None:
    for number in range(ROUNDS):
        await turnstile.reset()
        outcomes = await at_once([turnstile.enter(n) for n in range(AT_ONCE)])
        assert not failures(outcomes), f"round {number}: {failures(outcomes)[0]!r}"
        assert sum(outcomes) == 1, f"round {number}: {sum(outcomes)} of {AT_ONCE} got through"


class Register(Protocol):
    """Finds a conversation by a key, or makes it."""

    async def find_or_make(self, key: str) -> object: ...


async def check_one_conversation_per_key(register: Register) -> None:
    for round_ in range(ROUNDS):
        outcomes = await at_once([register.find_or_make(f"key {round_}") for _ in range(AT_ONCE)])
        failed = failures(outcomes)
        assert not failed, f"round {round_}: {len(failed)} of {AT_ONCE} failed: {failed[0]!r}"
        assert None not in outcomes, f"round {round_}: {outcomes.count(None)} got nothing"
        assert len(set(outcomes)) == 1, f"round {round_}: {len(set(outcomes))} conversations"


class Thinker(Protocol):
    """A server with five connections."""

    async def answer(self, model: Callable[[], Awaitable[None]]) -> None:
        """One turn: load the history, ask the model, store the answer."""

    async def look(self) -> None:
        """Any other request."""


async def check_others_are_served_while_models_think(thinker: Thinker) -> None:
    done = asyncio.Event()
    thinking = asyncio.Semaphore(0)

    async def model() -> None:
        thinking.release()
        await done.wait()

    turns = [asyncio.create_task(thinker.answer(model)) for _ in range(5)]
    try:
        for _ in turns:
            await asyncio.wait_for(thinking.acquire(), 5)
        try:
            await asyncio.wait_for(thinker.look(), 1)
        except TimeoutError:
            raise AssertionError("the sixth request waits until a model has answered") from None
    finally:
        done.set()
        await asyncio.gather(*turns)


class Door(Protocol):
    """Conversations of several users."""

    async def make(self, user: str) -> str:
        """A conversation's id."""

    async def write(self, user: str, conversation: str, text: str) -> None: ...
    async def texts(self, user: str, conversation: str) -> list[str]: ...
    async def enter(self, user: str, conversation: str) -> object:
        """Open the conversation with this id."""

    def absent(self) -> str:
        """An id that nobody has."""


async def check_strangers_cannot_write(door: Door) -> None:
    conversation = await door.make("ada")
    await at_once([door.write("eve", conversation, "I was here")])
    found = await door.texts("ada", conversation)
    assert found == [], f"a stranger wrote {found}"


async def check_foreign_looks_like_absent(door: Door) -> None:
    conversation = await door.make("ada")
    foreign, absent = await at_once([door.enter("eve", conversation), door.enter("eve", door.absent())])
    assert repr(foreign) == repr(absent), f"foreign: {foreign!r}; absent: {absent!r}"


async def check_not_found_is_no_network_error(door: Door) -> None:
    """``except OSError``, as around a connection, must not swallow it: ``PermissionError`` is one."""
    [error] = await at_once([door.texts("eve", await door.make("ada"))])
    assert isinstance(error, Exception)
    assert not isinstance(error, OSError), f"{error!r} is an OSError"


class Starter(Protocol):
    """Something that connects, and sets its tables up, when it is first used."""

    database: Database

    def fresh(self) -> Starter:
        """Another one, as another process would make it."""

    async def reach(self) -> None:
        """Connect, if it can do that apart from setting up its tables."""

    async def use(self) -> None: ...
    async def close(self) -> None: ...
    async def forget_tables(self) -> None:
        """Make the database as good as empty."""


async def check_first_calls_share_a_pool(starter: Starter) -> None:
    failed = failures(await at_once([starter.use() for _ in range(8)]))
    async with connected(starter.database) as connection:
        backends = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert not failed, f"{len(failed)} of 8 failed: {failed[0]!r}"
    assert backends <= 10, f"{backends} connections for a pool of 10"


async def check_first_calls_find_the_tables(starter: Starter) -> None:
    await starter.forget_tables()
    failed = failures(await at_once([starter.use() for _ in range(6)]))
    assert not failed, f"{len(failed)} of 6 failed: {failed[0]!r}"


async def check_processes_may_set_up_at_once(starter: Starter) -> None:
    for number in range(6):
        await starter.forget_tables()
        others = [starter.fresh() for _ in range(10)]
        await asyncio.gather(*(other.reach() for other in others))
        failed = failures(await at_once([other.use() for other in others]))
        await asyncio.gather(*(other.close() for other in others))
        assert not failed, f"round {number}: {len(failed)} of {len(others)} failed: {failed[0]!r}"


async def check_it_outlives_its_event_loop(starter: Starter) -> None:
    """Used on one event loop and then on another, as a script or a synchronous test does with ``asyncio.run``."""

    def on_two_loops() -> None:
        with asyncio.Runner() as first, asyncio.Runner() as second:
            try:
                first.run(starter.use())
                second.run(starter.use())
            finally:
                second.run(starter.close())
                first.run(asyncio.sleep(0.05))  # lets its connections close

    [error] = await at_once([asyncio.to_thread(on_two_loops)])
    assert error is None, f"on the second event loop: {error!r}"


async def check_idle_connections_may_be_ended(starter: Starter) -> None:
    """A suspended Neon ends all connections; the requests after that must not notice."""
    await starter.use()
    async with connected(starter.database) as connection:
        ended = await connection.fetchval(_END_ALL)
        assert ended, "there was nothing to end"
    await asyncio.sleep(0.5)  # for as long as it takes to notice
    failed = failures(await at_once([starter.use() for _ in range(10)]))
    assert not failed, f"{len(failed)} of 10 failed: {failed[0]!r}"


_END_ALL = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


class Connector(Protocol):
    """Connects to a URL as Neon's console prints it."""

    database: Database

    async def connect(self, url: str) -> None: ...


async def check_neons_url_is_taken(connector: Connector) -> None:
    dsn = connector.database.dsn
    place = f"host={dsn.host}&port={dsn.port}&user={dsn.user}&dbname={dsn.database}"
    failed = failures(
        await at_once([connector.connect(f"postgresql:///?{place}&sslmode=disable&channel_binding=prefer")])
    )
    assert not failed, repr(failed)


class Shelf(Protocol):
    """Conversations that can be listed, changed and deleted."""

    async def make(self) -> str:
        """A conversation with a message."""

    async def set_status(self, conversation: str, status: Any) -> None: ...
    async def listed(self) -> list[str]: ...
    async def erase(self, conversation: str) -> None: ...
    async def rows(self) -> int:
        """How many rows there are of it in all tables."""


async def check_no_status_hides_a_conversation_for_good(shelf: Shelf) -> None:
    conversation = await shelf.make()
    await at_once([shelf.set_status(conversation, None)])
    found = await shelf.listed()
    assert found == [conversation], f"listed are {found}"


async def check_a_hard_deletion_erases_all(shelf: Shelf) -> None:
    conversation = await shelf.make()
    failed = failures(await at_once([shelf.erase(conversation)]))
    assert not failed, repr(failed)
    assert await shelf.rows() == 0
