"""Conversations of three users with the same ids, keys and runs: what one does and sees, whatever the others have.

Nobody shares ids by chance; this is how a statement that forgot to name the user gives itself away. ``ME`` stands
between two namesakes, in time and in the order of the keys, so that the first row found is never mine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from uuid import UUID

import asyncpg

from keepsay.errors import KeepsayError
from keepsay.model.allowance import Allowance
from keepsay.model.conversation import ConversationStatus, RolePolicy, RunStatus
from keepsay.model.ids import ConversationId, run_id_of
from keepsay.model.window import Window
from keepsay.store.postgres.dsn import Dsn
from keepsay.store.protocol import Begun, Changes, Finished, NewConversation, Owner, RunHold, Store
from keepsay.testing import build
from keepsay.testing.build import append, begin, finish, hold_of, new_conversation, owner, plan_of
from keepsay.testing.contract.isolation import VERBS
from keepsay.testing.twins import comparable

from .sessions import execute, session

LOW, ME, HIGH = sorted((owner(f"user {number}") for number in range(3)), key=lambda user: user.key)
NAMESAKES = (LOW, HIGH)
MAIN, OTHER, COPY, OWN = (ConversationId(UUID(int=number)) for number in (1, 2, 3, 4))
DONE, LATER, BROKEN, THEIRS = (run_id_of(number) for number in (11, 12, 13, 14))
ONCE, AGAIN = UUID(int=101), UUID(int=102)
LEASE = 600.0
MANY = Allowance(per_minute=5, per_day=50)

Told = list[object]
"""What a user was told, call by call, without what differs from run to run."""


@dataclass
class User:
    """Asks a store for one user, and notes the answers."""

    store: Store
    owner: Owner
    dsn: Dsn
    told: Told = field(default_factory=list)

    async def hears(self, answer: Awaitable[object]) -> object:
        """The answer; a refusal is one too."""
        try:
            found = await answer
        except KeepsayError as error:
            found = error
        self.told.append(comparable(found))
        return found

    async def creates(self, new: NewConversation, *lines: build.Line) -> None:
        await self.hears(self.store.create(self.owner, new, plan_of(*lines)))

    async def says(self, *lines: build.Line, key: UUID | None = None, fingerprint: int = 1) -> None:
        await self.hears(self.store.append(self.owner, MAIN, append(*lines, key=key, fingerprint=fingerprint)))

    async def begins(self, *lines: build.Line, run: UUID, token: int = 7) -> Begun | None:
        given = begin(*lines, run_id=run, owner_token=token, lease=LEASE)  # type: ignore[arg-type]
        found = await self.hears(self.store.begin(self.owner, MAIN, given))
        return found if isinstance(found, Begun) else None

    async def runs(
        self, *lines: build.Line, run: UUID, answer: str = "assistant: so", status: RunStatus = RunStatus.COMPLETED
    ) -> None:
        begun = await self.begins(*lines, run=run)
        assert begun is not None
        given = finish(hold_of(begun), *([answer] if answer else []), status=status)  # type: ignore[arg-type]
        await self.hears(self.store.finish(self.owner, MAIN, given))

    async def looks(self, at: ConversationId = MAIN) -> None:
        """Read everything that can be read of a conversation."""
        await self.hears(self.store.get(self.owner, at))
        await self.hears(self.store.status(self.owner, at))
        for window in (Window(), Window(max_messages=3), Window(max_messages=1, max_tokens=20)):
            await self.hears(self.store.load(self.owner, at, window))
        for newest in (False, True):
            await self.hears(self.store.page(self.owner, at, after=0, before=None, limit=9, newest=newest))
        for run in (DONE, LATER, BROKEN, THEIRS):
            await self.hears(self.store.run(self.owner, at, run))

    async def lists(self) -> None:
        await self.hears(self.store.list(self.owner, status=None, limit=9, after=None, skip=0))
        await self.hears(self.store.export(self.owner, after=None, limit=9))


Play = Callable[[User], Awaitable[None]]


@dataclass(frozen=True)
class Scene:
    """What the namesakes do first, and what is done then while they watch."""

    mine: Play
    theirs: Play

    @property
    def name(self) -> str:
        return self.mine.__name__


async def _a_long_history(user: User) -> None:
    """The same ids, more of everything."""
    await user.creates(
        new_conversation(
            RolePolicy.LENIENT, id=MAIN, title="theirs", system_prompt="theirs", external_key="shared", fingerprint=9
        ),
        "system: theirs",
        *(f"{role}: their {role}" for role in ("user", "assistant") * 4),
    )
    await user.says("user: theirs", key=ONCE, fingerprint=9)
    await user.says("assistant: theirs", key=AGAIN, fingerprint=9)
    for run, status in ((DONE, RunStatus.COMPLETED), (LATER, RunStatus.FAILED), (BROKEN, RunStatus.FAILED)):
        await user.runs("user: their question", run=run, status=status)
    for seq in (1, 2, 3, 5, 9, 10, 11):
        await user.hears(user.store.summarise(user.owner, MAIN, to_seq=seq, text=f"theirs to {seq}", tokens=900))
    await user.hears(user.store.delete_message(user.owner, MAIN, 4))
    await user.begins("user: their run is under way", run=THEIRS)
    for other in (OTHER, COPY):
        await user.creates(new_conversation(id=other, title="theirs", fingerprint=9), "user: theirs", "assistant: so")
        await user.hears(user.store.summarise(user.owner, other, to_seq=2, text="theirs", tokens=9))
    await _spends(user)


async def _spends(user: User, number: int = 0) -> None:
    run = run_id_of(100 + number)
    given = begin("user: run", run_id=run, owner_token=1, lease=LEASE, on_busy="interrupt", allowance=MANY)
    await user.hears(user.store.begin(user.owner, OTHER, given))


async def _a_deleted_question(user: User) -> None:
    """The messages of the run that I will try again are deleted, with the same seqs."""
    await user.creates(new_conversation(RolePolicy.LENIENT, id=MAIN, fingerprint=9))
    for run in (BROKEN, LATER):
        await user.runs("user: theirs", run=run, answer="", status=RunStatus.FAILED)
    for seq in (1, 2):
        await user.hears(user.store.delete_message(user.owner, MAIN, seq))


async def absent(me: User) -> None:
    """Of what the others alone have, every verb says what it says of what is not there."""
    await me.creates(new_conversation(id=OWN, external_key="mine"))
    held = RunHold(THEIRS, 4, LEASE)
    for attempt in VERBS.values():
        for at in (MAIN, build.ABSENT):
            await me.hears(attempt(me.store, me.owner, at, held))


async def reading(me: User) -> None:
    await me.creates(new_conversation(id=MAIN, system_prompt="mine"), "system: mine", "user: hi")
    await me.says("assistant: hello")
    await me.looks()
    await me.lists()
    for seq in (3, 2):
        await me.hears(me.store.summarise(me.owner, MAIN, to_seq=seq, text=f"mine to {seq}", tokens=3))
        await me.looks()
    await me.lists()


async def creating(me: User) -> None:
    new = new_conversation(id=MAIN, title="mine", external_key="shared")
    for _ in range(2):
        await me.creates(new, "user: hi")
    await me.creates(replace(new, id=OTHER))
    await me.creates(replace(new, id=OWN))
    await me.lists()


async def appending(me: User) -> None:
    await me.creates(new_conversation(id=MAIN))
    for key in (ONCE, ONCE, AGAIN):
        await me.says("user: hi", key=key)
    await me.says("user: and again, which the order forbids")
    await me.says("assistant: hello", key=AGAIN)
    await me.says("assistant: hello again, which it forbids too")
    await me.looks()


async def running(me: User) -> None:
    await me.creates(new_conversation(id=MAIN))
    await me.hears(me.store.cancel(me.owner, MAIN, THEIRS))
    begun = await me.begins("user: hi", run=DONE)
    assert begun is not None
    hold = hold_of(begun)
    await me.begins("user: hi", run=DONE)
    await me.begins("user: hi", run=DONE, token=8)
    await me.hears(me.store.heartbeat(me.owner, MAIN, hold))
    await me.hears(me.store.append(me.owner, MAIN, append("calls: c1", hold=hold)))
    ending = finish(hold, "result: c1", "assistant: so")
    first, again = [await me.hears(me.store.finish(me.owner, MAIN, ending)) for _ in range(2)]
    assert isinstance(first, Finished)
    assert isinstance(again, Finished)
    assert first.appended is not None
    assert again.appended == replace(first.appended, replayed=True), "the very times of the first result"
    await me.begins("user: hi", run=DONE)
    await me.begins("user: more", run=LATER)
    await me.hears(me.store.cancel(me.owner, MAIN, LATER))
    await me.looks()


async def replaying(me: User) -> None:
    """The run's seqs are those of theirs, as the run is."""
    await me.creates(new_conversation(RolePolicy.LENIENT, id=MAIN), *(f"user: {n}" for n in range(11)))
    await me.runs("user: mine", run=DONE, answer="assistant: my answer")
    await me.begins("user: mine", run=DONE)
    await me.looks()


async def trying_again(me: User) -> None:
    await me.creates(new_conversation(id=MAIN))
    await me.runs("user: hi", run=BROKEN, answer="", status=RunStatus.FAILED)
    await me.runs("user: hi", run=BROKEN)
    await me.looks()


async def deleting_messages(me: User) -> None:
    await me.creates(new_conversation(id=MAIN, system_prompt="mine"), "system: mine", "user: hi")
    await me.says("assistant: hello")
    await me.hears(me.store.summarise(me.owner, MAIN, to_seq=2, text="mine", tokens=3))
    for seq in (3, 2, 1, 4):
        await me.hears(me.store.delete_message(me.owner, MAIN, seq))
        await me.looks()
    await me.says("user: hi")


async def rewinding(me: User) -> None:
    await me.creates(new_conversation(id=MAIN, system_prompt="mine"), "system: mine", "user: hi")
    await me.says("assistant: hello")
    for seq in (3, 2):
        await me.hears(me.store.summarise(me.owner, MAIN, to_seq=seq, text=f"mine to {seq}", tokens=3))
    for seq in (9, 2, 0):
        await me.hears(me.store.rewind(me.owner, MAIN, seq, expected_version=None))
        await me.looks()


async def forking(me: User) -> None:
    await me.creates(new_conversation(id=MAIN, system_prompt="mine"), "user: aside", "system: mine", "user: hi")
    await me.says("assistant: hello")
    await me.hears(me.store.summarise(me.owner, MAIN, to_seq=3, text="mine", tokens=3))
    for at in (None, 3):
        await me.hears(me.store.fork(me.owner, MAIN, new_conversation(id=COPY), at))
        await me.looks(COPY)
        await me.hears(me.store.delete(me.owner, COPY, hard=True, expected_version=None))


async def forking_with_a_system_message(me: User) -> None:
    await me.creates(new_conversation(id=MAIN, system_prompt="mine"), "system: mine", "user: hi", "assistant: hello")
    await me.hears(me.store.summarise(me.owner, MAIN, to_seq=2, text="mine", tokens=3))
    await me.hears(me.store.fork(me.owner, MAIN, new_conversation(id=COPY), None))
    await me.looks(COPY)


async def changing(me: User) -> None:
    await me.creates(new_conversation(id=MAIN), "user: hi")
    changes = Changes(title="mine", status=ConversationStatus.ARCHIVED, metadata={"whose": "mine"})
    await me.hears(me.store.update(me.owner, MAIN, changes, expected_version=None))
    await me.looks()
    await me.hears(me.store.delete(me.owner, MAIN, hard=False, expected_version=None))
    await me.looks()


async def erasing_one(me: User) -> None:
    await me.creates(new_conversation(RolePolicy.LENIENT, id=MAIN), "user: hi")
    await me.runs("user: hi", run=DONE)
    await me.hears(me.store.summarise(me.owner, MAIN, to_seq=1, text="mine", tokens=3))
    await me.hears(me.store.delete(me.owner, MAIN, hard=True, expected_version=None))
    await me.looks()


async def erasing_all(me: User) -> None:
    await erasing_one(me)
    for at in (MAIN, OTHER):
        await me.creates(new_conversation(RolePolicy.LENIENT, id=at), "user: hi")
    await me.runs("user: hi", run=DONE)
    await me.hears(me.store.summarise(me.owner, MAIN, to_seq=1, text="mine", tokens=3))
    await me.hears(me.store.erase(me.owner))
    await me.lists()


async def spending(me: User) -> None:
    await me.creates(new_conversation(RolePolicy.LENIENT, id=OTHER), "user: hi")
    for number in range(6):
        await _spends(me, number)


async def waiting_for_nobody(me: User) -> None:
    """What others have locked hinders nothing."""
    await me.creates(new_conversation(RolePolicy.LENIENT, id=OTHER), "user: hi")
    async with _all_of_theirs_locked(me.dsn):
        await _spends(me)
        await me.hears(me.store.erase(me.owner))


async def waiting_for_an_erasure(me: User) -> None:
    """A first run within an allowance waits for its user's row with no lock held, or an erasure would wait for it."""
    await me.creates(new_conversation(RolePolicy.LENIENT, id=OTHER), "user: hi")
    async with session(me.dsn) as erasure:
        locked = erasure.transaction()
        await locked.start()
        await erasure.execute("SELECT FROM keepsay.users WHERE user_key = $1 FOR UPDATE", ME.key)
        async with _meanwhile(_spends(me)):
            await _until_somebody_waits(me.dsn)
            row = "SELECT FROM keepsay.conversations WHERE user_key = $1 FOR UPDATE NOWAIT"
            try:
                me.told.append(await erasure.execute(row, ME.key))
            except asyncpg.LockNotAvailableError:
                me.told.append("the run holds the conversation that the erasure wants")
            await locked.rollback()


SCENES: dict[Play, Scene] = {
    mine: Scene(mine, theirs)
    for theirs, plays in {
        _a_long_history: (
            absent, reading, creating, appending, running, replaying, deleting_messages, rewinding, forking,
            forking_with_a_system_message, changing, erasing_one, erasing_all, spending, waiting_for_nobody,
            waiting_for_an_erasure,
        ),
        _a_deleted_question: (trying_again,),
    }.items()
    for mine in plays
}  # fmt: skip


_TABLES = """
    SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'keepsay'::regnamespace AND c.relkind = 'r' AND a.attname = 'user_key'
    ORDER BY 1
"""


@asynccontextmanager
async def _all_of_theirs_locked(dsn: Dsn) -> AsyncIterator[None]:
    async with session(dsn) as connection:
        locked = connection.transaction()
        await locked.start()
        for table in ("users", "conversations"):
            query = f"SELECT FROM keepsay.{table} WHERE user_key = ANY ($1) FOR UPDATE"
            await connection.execute(query, [user.key for user in NAMESAKES])
        yield
        await locked.rollback()


@asynccontextmanager
async def _meanwhile(work: Awaitable[None]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        group.create_task(_as_coroutine(work))
        yield


async def _as_coroutine(work: Awaitable[None]) -> None:
    await work


async def _until_somebody_waits(dsn: Dsn) -> None:
    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with session(dsn) as connection:
        while not await connection.fetch(waiting):
            pass


async def play(scene: Scene, store: Store, dsn: Dsn, *, alone: bool = False) -> Told:
    """Play a scene in an empty database. Returns what I was told, and at the end whether others' rows are untouched."""
    await _clear(dsn)
    for namesake in () if alone else NAMESAKES:
        await scene.theirs(User(store, namesake, dsn))
    before = await _rows_of_namesakes(dsn)
    me = User(store, ME, dsn)
    await scene.mine(me)
    return [*me.told, "theirs as it was" if before == await _rows_of_namesakes(dsn) else "theirs has changed"]


async def _clear(dsn: Dsn) -> None:
    tables = ("messages", "runs", "summaries", "conversations", "users")
    await execute(dsn, "".join(f"DELETE FROM keepsay.{table};" for table in tables))


async def _rows_of_namesakes(dsn: Dsn) -> list[list[str]]:
    keys = [user.key for user in NAMESAKES]
    query = "SELECT t::text FROM keepsay.{} t WHERE user_key = ANY ($1) ORDER BY 1"
    async with session(dsn) as connection:
        tables = [row[0] for row in await connection.fetch(_TABLES)]
        return [[row[0] for row in await connection.fetch(query.format(table), keys)] for table in tables]
