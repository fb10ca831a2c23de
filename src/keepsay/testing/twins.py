"""Two stores that are asked the same and must answer alike."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import datetime
from typing import TypeVar

from keepsay.errors import KeepsayError
from keepsay.model.ids import ConversationId
from keepsay.model.messages import Message
from keepsay.model.window import Window, WindowRows, choose_window
from keepsay.store.protocol import Begun, Loaded, Owner, Store

__all__ = ["Difference", "Meetings", "Side", "Twins"]

T = TypeVar("T")
ExpireLease = Callable[[Owner, ConversationId], Awaitable[None]]


class Difference(AssertionError):
    """The stores answered differently."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: a store, and a way to make a lease run out."""

    name: str
    store: Store
    expire_lease: ExpireLease


@dataclass(slots=True)
class Meetings:
    """How often each verb was asked and each error and event was met."""

    verbs: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)

    def report(self) -> str:
        """Three lines, what was met most first."""
        parts = (("verbs", self.verbs), ("errors", self.errors), ("events", self.events))
        return "\n".join(f"{name}: {', '.join(f'{k} {n}' for k, n in met.most_common())}" for name, met in parts)


class Twins:
    """Asks both sides, one after the other, on one event loop; counts what was met."""

    def __init__(self, one: Side, other: Side, runner: asyncio.Runner) -> None:
        self.one = one
        self.other = other
        self.meetings = Meetings()
        self.differed = False
        """Whether they did in this history: nothing more can be learnt from it then."""
        self._wait = runner.get_loop().run_until_complete

    def ask(
        self, verb: str, call: Callable[[Store], Awaitable[T]], *, window: Window | None = None
    ) -> T | KeepsayError:
        """The answer of the first; raises ``Difference`` unless the other's is the same. What is built of ``window``
        is compared, not what the stores read for it."""
        first, second = self._wait(self._ask_both(call))
        self.meetings.verbs[verb] += 1
        if isinstance(first, KeepsayError):
            self.meetings.errors[type(first).__name__] += 1
        shown = [comparable(answer, window) for answer in (first, second)]
        if shown[0] != shown[1]:
            self.differed = True
            raise Difference(f"{verb}:\n{self.one.name}: {shown[0]}\n{self.other.name}: {shown[1]}")
        return first

    async def _ask_both(self, call: Callable[[Store], Awaitable[T]]) -> list[T | KeepsayError]:
        return [await _answer(call, side.store) for side in (self.one, self.other)]

    def expire_lease(self, owner: Owner, conversation_id: ConversationId) -> None:
        async def both() -> None:
            for side in (self.one, self.other):
                await side.expire_lease(owner, conversation_id)

        self._wait(both())
        self.meetings.verbs["(lease expires)"] += 1

    def peek(self, call: Callable[[Store], Awaitable[T]]) -> T | KeepsayError:
        """What the first answers, to decide what to ask next; not counted and not compared."""
        return self._wait(_answer(call, self.one.store))


async def _answer(call: Callable[[Store], Awaitable[T]], store: Store) -> T | KeepsayError:
    try:
        return await call(store)
    except KeepsayError as error:
        return error


def comparable(answer: object, window: Window | None = None) -> object:
    """An answer without what may differ: the values of times, the words of errors, how much was read for a window."""
    if isinstance(answer, KeepsayError):
        facts = {name: value for name, value in vars(answer).items() if name != "message"}
        if "retry_after" in facts:
            facts["retry_after"] = facts["retry_after"] > 0
        return type(answer).__name__, facts
    if isinstance(answer, Loaded) and window is not None:
        return comparable(answer.conversation), _window(answer.rows, window)
    if isinstance(answer, Begun) and window is not None:
        told = comparable(replace(answer, rows=None))  # type: ignore[arg-type]
        ended = answer.replayed and answer.run.ended_at is not None
        return told, comparable(answer.rows) if ended else _window(answer.rows, window)
    return _timeless(answer)


def _window(rows: WindowRows, window: Window) -> object:
    chosen = choose_window(rows, window)
    return _timeless(replace(chosen, explain=()))


def _timeless(value: object) -> object:
    if isinstance(value, datetime):
        return "a time"
    if isinstance(value, tuple | list):
        return [_timeless(item) for item in value]
    if isinstance(value, Message):
        return tuple(None if name == "created_at" else getattr(value, name) for name in _MESSAGE_FIELDS)
    if is_dataclass(value) and not isinstance(value, type):
        return {part.name: _timeless(getattr(value, part.name)) for part in fields(value)}
    return value


_MESSAGE_FIELDS = tuple(part.name for part in fields(Message))
