"""Whom a status lets speak is whom an append then lets speak: after every step of random histories.

On copies of the memory store, so that both speakers can be tried at every step; that Postgres answers alike is the
state machine's and the contract suite's part.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import Awaitable, Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from keepsay.errors import ConversationBusy, KeepsayError, RoleOrderError
from keepsay.model.conversation import RolePolicy
from keepsay.model.messages import OrderState
from keepsay.store.memory import MemoryStore
from keepsay.store.protocol import RunHold
from keepsay.testing.build import hold_of
from keepsay.testing.talk import Talk, start_talk

BATCHES = st.sampled_from(
    [
        ("user: a",),
        ("assistant: b",),
        ("user: a", "assistant: b"),
        ("calls: c1",),
        ("calls: c1 c2",),
        ("result: c1",),
        ("result: c2", "unknown: x"),
        ("call item: c3",),
        ("call item: c3", "answer item: b"),
        ("result item: c3",),
        ("reasoning: r",),
        ("unknown: x",),
        ("system: s",),
    ]
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "append", "begin", "in the run", "finish", "lapse", "delete", "rewind"]),
        BATCHES,
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=12,
)


class Story:
    """A conversation, and the run that holds it if any."""

    def __init__(self, store: MemoryStore, talk: Talk) -> None:
        self.store = store
        self.talk = talk
        self.hold: RunHold | None = None

    async def step(self, verb: str, lines: tuple[str, ...], back: int) -> None:
        """What cannot be done is left undone."""
        steps: dict[str, Callable[[], Awaitable[object]]] = {
            "append": lambda: self.talk.append(*lines),
            "begin": lambda: self._begin(lines),
            "in the run": lambda: self.talk.append(*lines, hold=self.hold),
            "finish": lambda: self._finish(lines),
            "lapse": self._lapse,
            "delete": lambda: self._cut(self.talk.delete_message, back),
            "rewind": lambda: self._cut(self.talk.rewind, back),
        }
        with contextlib.suppress(KeepsayError):
            await steps[verb]()

    async def _begin(self, lines: tuple[str, ...]) -> None:
        self.hold = hold_of(await self.talk.begin(*lines))

    async def _finish(self, lines: tuple[str, ...]) -> None:
        if self.hold is not None:
            await self.talk.finish(self.hold, *lines)

    async def _lapse(self) -> None:
        self.store.expire_lease(self.talk.owner, self.talk.id)

    async def _cut(self, cut: Callable[[int], Awaitable[object]], back: int) -> None:
        await cut((await self.talk.get()).head - back)

    async def told(self) -> tuple[bool, bool]:
        standing = await self.store.status(self.talk.owner, self.talk.id)
        return standing.can_add_user, standing.can_add_assistant

    async def is_let(self, speaker: str) -> bool:
        copied = replace(self.talk, store=copy.deepcopy(self.store))
        try:
            await copied.append(f"{speaker}: more")
        except (RoleOrderError, ConversationBusy):
            return False
        return True


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(RolePolicy)), STEPS)
def test_whoever_may_speak_is_whom_an_append_lets_speak(
    policy: RolePolicy, steps: list[tuple[str, tuple[str, ...], int]]
) -> None:
    async def history() -> None:
        store = MemoryStore()
        story = Story(store, await start_talk(store, policy=policy))
        for step in steps:
            await story.step(*step)
            assert await story.told() == (await story.is_let("user"), await story.is_let("assistant")), step

    asyncio.run(history())


def test_the_histories_reach_every_state_of_the_order() -> None:
    """The control: else the law above might hold for want of cases."""
    reached: set[OrderState] = set()
    told: set[tuple[bool, bool]] = set()

    async def history(steps: list[tuple[str, tuple[str, ...], int]]) -> None:
        store = MemoryStore()
        story = Story(store, await start_talk(store))
        for step in steps:
            await story.step(*step)
            reached.add((await story.talk.get()).state)
            told.add(await story.told())

    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(STEPS)
    def look(steps: list[tuple[str, tuple[str, ...], int]]) -> None:
        asyncio.run(history(steps))

    look()
    assert reached == set(OrderState)
    assert told == {(True, False), (False, True), (True, True), (False, False)}
