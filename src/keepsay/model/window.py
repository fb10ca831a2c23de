"""What the model sees: the system prompt, the newest summary, then the newest whole turns that fit.

A *turn* is one or more user messages with everything up to the next ones. A window is built on reading; what is stored
is never rewritten. Laws, each held by a property test:

- a tool call is never apart from its result: a result without its call is left out, a call without its result gets
  the stand-in result ``{"status": "interrupted"}``;
- turns without an answer and incomplete messages are left out, but for the newest turn, which is what is to be answered;
- what is in follows the log's order and keeps within the limits. Should the newest turn alone break them, its oldest
  messages go first, whole steps at a time; its last user message and last step always stay (``fits`` is then false).
  Of several user messages at the start of an older turn the oldest may be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from keepsay.errors import InvalidInput
from keepsay.model import limits
from keepsay.model.conversation import RolePolicy, Summary
from keepsay.model.convert import to_chat, to_responses, with_summary
from keepsay.model.formats import count_tokens, read_facts
from keepsay.model.json_text import JsonObject, JsonValue, write_json
from keepsay.model.messages import CHAT, Message, MessageStatus, OpenCall, OrderState, Role
from keepsay.model.tokens import TokenCounter

Reason = Literal[
    "included",
    "system_prompt",
    "replaced_system_prompt",
    "summarised",
    "older_than_the_limit",
    "unanswered_turn",
    "incomplete",
    "deleted",
    "rewound",
    "result_without_call",
]


@dataclass(frozen=True, slots=True)
class Window:
    """How much of a conversation the model gets.

    ``max_messages`` counts messages without the system prompt, ``max_tokens`` everything. ``system_prompt`` takes the
    place of the conversation's own. ``counter`` counts the tokens of a text for your model; without it they are
    estimated (within 10% on prose, code and JSON).
    """

    max_messages: int | None = limits.WINDOW_DEFAULT_MESSAGES
    max_tokens: int | None = None
    system_prompt: str | None = None
    counter: TokenCounter | None = None

    def __post_init__(self) -> None:
        _check_limit("max_messages", self.max_messages, limits.WINDOW_MAX_MESSAGES)
        _check_limit("max_tokens", self.max_tokens, limits.WINDOW_MAX_TOKENS)


def _check_limit(name: str, value: object, highest: int) -> None:
    if value is not None and not (type(value) is int and 1 <= value <= highest):
        raise InvalidInput(f"{name} is a whole number from 1 to {highest}.", field=name)


@dataclass(frozen=True, slots=True)
class WindowRows:
    """What a store reads for a window: at least every message that can be in it.

    ``messages`` are the newest in the log's order, without the rewound ones and the system message; ``from_start``
    says that none older was left behind.
    """

    policy: RolePolicy
    head: int
    messages: tuple[Message, ...]
    from_start: bool
    system: Message | None = None
    summary: Summary | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the messages ``first_seq``..``last_seq`` are in the window, or are not."""

    first_seq: int
    last_seq: int
    included: bool
    reason: Reason


@dataclass(frozen=True, slots=True)
class ModelWindow:
    """The window that was built: what the model sees."""

    messages: tuple[Message, ...]
    system_prompt: JsonValue
    """The system message's content: a text, or a list of parts."""
    summary: Summary | None
    tokens: int
    head: int
    """The last seq at the moment of reading."""
    truncated: bool
    """Whether anything older that could be in is left out for the limits' sake."""
    fits: bool
    explain: tuple[Explanation, ...] = field(repr=False)

    def to_openai_chat(self) -> list[JsonObject]:
        """The window as the ``messages`` of OpenAI Chat Completions, with at most one system message."""
        system = with_summary(self.system_prompt, self.summary)
        start: list[JsonObject] = [] if system is None else [{"role": "system", "content": system}]
        return start + to_chat(self.messages)

    def to_openai_responses(self) -> list[JsonObject]:
        """The window as the ``input`` of OpenAI Responses."""
        system = with_summary(self.system_prompt, self.summary)
        start: list[JsonObject] = [] if system is None else [{"role": "system", "content": system}]
        return start + to_responses(self.messages)


def choose_window(rows: WindowRows, window: Window) -> ModelWindow:
    """Build the window of what a store read."""
    return _Chooser(rows, window).choose()


class _Chooser:
    def __init__(self, rows: WindowRows, window: Window) -> None:
        self.rows = rows
        self.window = window
        self.reasons: dict[int, Reason] = {}
        self.chosen: list[tuple[Message, ...]] = []
        self.tokens = 0
        self.count = 0

    def choose(self) -> ModelWindow:
        system = self._system()
        if self.rows.summary is not None:
            self.tokens += self._summary_tokens(self.rows.summary)
        full = not self._choose_turns(split_turns(self.rows.messages, self.rows.policy))
        messages = tuple(message for turn in reversed(self.chosen) for message in turn)
        return ModelWindow(
            messages=messages,
            system_prompt=system,
            summary=self.rows.summary,
            tokens=self.tokens,
            head=self.rows.head,
            truncated=full or not self.rows.from_start,
            fits=self._within(0, 0),
            explain=tuple(self._explain()),
        )

    def _system(self) -> JsonValue:
        if self.window.system_prompt is not None:
            self.tokens += count_tokens({"content": self.window.system_prompt}, *self._counter())
            return self.window.system_prompt
        if self.rows.system is None:
            return None
        self.tokens += self._cost(self.rows.system)
        return self.rows.system.content

    def _summary_tokens(self, summary: Summary) -> int:
        return summary.tokens if self.window.counter is None else self.window.counter(summary.text)

    def _counter(self) -> tuple[TokenCounter, ...]:
        return () if self.window.counter is None else (self.window.counter,)

    def _cost(self, message: Message) -> int:
        return message.tokens if self.window.counter is None else count_tokens(message.payload, self.window.counter)

    def _within(self, count: int, tokens: int) -> bool:
        limit, budget = self.window.max_messages, self.window.max_tokens
        return (limit is None or self.count + count <= limit) and (budget is None or self.tokens + tokens <= budget)

    def _choose_turns(self, turns: Sequence[tuple[Message, ...]]) -> bool:
        """Take turns from the newest on; whether all that could be in are in."""
        for at in reversed(range(len(turns))):
            newest = at == len(turns) - 1
            turn = self._usable(turns[at], whole=at > 0 or self.rows.from_start)
            if not turn:
                continue
            usable = len(turn)
            if newest:
                turn = self._trim(turn)
            elif turn[-1].state is not OrderState.ASSISTANT:
                self._set(turn, "unanswered_turn")
                continue
            else:
                turn = self._fitting(turn)
            self._take(turn)
            if len(turn) < usable:
                for older in turns[: at + 1]:
                    self._set([message for message in older if message not in turn], "older_than_the_limit")
                return False
        return True

    def _fitting(self, turn: tuple[Message, ...]) -> tuple[Message, ...]:
        """The turn if it fits; else without as many of the user messages at its start as must go; else nothing."""
        asked, _ = _steps(turn)
        for start in range(max(len(asked), 1)):
            if self._within(len(turn) - start, sum(map(self._cost, turn[start:]))):
                return turn[start:]
        return ()

    def _usable(self, turn: tuple[Message, ...], *, whole: bool) -> tuple[Message, ...]:
        """The turn without what never is in a window, its calls and results made to pair."""
        usable = tuple(message for message in turn if self._is_usable(message))
        if not whole and (not usable or usable[0].role not in (Role.USER, Role.SYSTEM)):
            self._set(usable, "older_than_the_limit")
            return ()
        regular = len(usable) == len(turn) and usable[-1].state is OrderState.ASSISTANT
        if regular and self.rows.policy is not RolePolicy.OPEN:
            return usable
        return tuple(self._paired(usable))

    def _is_usable(self, message: Message) -> bool:
        if message.status is MessageStatus.INCOMPLETE:
            self._set((message,), "incomplete")
        elif message.status is MessageStatus.DELETED:
            self._set((message,), "deleted")
        else:
            return True
        return False

    def _paired(self, turn: Sequence[Message]) -> Iterator[Message]:
        waiting: dict[str, tuple[OpenCall, Message]] = {}
        for message in turn:
            facts = read_facts(message.payload, message.format)
            if facts.answers:
                if not all(waiting.pop(call_id, None) for call_id in facts.answers):
                    self._set((message,), "result_without_call")
                    continue
            elif not facts.opens or message.format == CHAT:
                yield from _interrupted(waiting)
            waiting |= {call.call_id: (call, message) for call in facts.opens}
            yield message
        yield from _interrupted(waiting)

    def _trim(self, turn: tuple[Message, ...]) -> tuple[Message, ...]:
        """The newest turn cut down to its last user message and last step, with what fits of the rest, newest first."""
        asked, steps = _steps(turn)
        kept = [*asked[-1:], *(message for step in steps[-1:] for message in step)]
        at = len(asked[-1:])
        rest = [*((message,) for message in asked[:-1]), *steps[:-1]]
        for unit in reversed(rest):
            if not self._within(len(kept) + len(unit), sum(map(self._cost, kept)) + sum(map(self._cost, unit))):
                break
            place = at if unit[0].role in (Role.ASSISTANT, Role.TOOL) else 0
            kept[place:place] = unit
        return tuple(kept)

    def _take(self, turn: tuple[Message, ...]) -> None:
        self.chosen.append(turn)
        self.count += len(turn)
        self.tokens += sum(map(self._cost, turn))

    def _set(self, messages: Sequence[Message], reason: Reason) -> None:
        for message in messages:
            self.reasons.setdefault(message.seq, reason)

    def _explain(self) -> Iterator[Explanation]:
        system, summary = self.rows.system, self.rows.summary
        first = self.rows.messages[0].seq if self.rows.messages else self.rows.head + 1
        if system is not None:
            mine = self.window.system_prompt is None
            yield Explanation(system.seq, system.seq, mine, "system_prompt" if mine else "replaced_system_prompt")
        start = 1 if system is None else system.seq + 1
        if summary is not None and summary.to_seq >= start:
            yield Explanation(start, summary.to_seq, False, "summarised")
            start = summary.to_seq + 1
        if first > start:
            yield Explanation(start, first - 1, False, "rewound" if self.rows.from_start else "older_than_the_limit")
        expected = first
        for message in self.rows.messages:
            if message.seq > expected:
                yield Explanation(expected, message.seq - 1, False, "rewound")
            reason = self.reasons.get(message.seq, "included")
            yield Explanation(message.seq, message.seq, reason == "included", reason)
            expected = message.seq + 1
        if expected <= self.rows.head and self.rows.messages:
            yield Explanation(expected, self.rows.head, False, "rewound")


def split_turns(messages: Sequence[Message], policy: RolePolicy) -> list[tuple[Message, ...]]:
    """Cut a log into turns. Under the strict policy, and between runs, each user message starts one."""
    turns: list[list[Message]] = []
    before: Message | None = None
    for message in messages:
        if message.status is MessageStatus.DELETED or message.role is Role.OTHER:
            starts = not turns
        else:
            starts = not turns or _starts_turn(before, message, policy)
            before = message
        if starts:
            turns.append([])
        turns[-1].append(message)
    return [tuple(turn) for turn in turns]


def _starts_turn(before: Message | None, message: Message, policy: RolePolicy) -> bool:
    if message.role not in (Role.USER, Role.SYSTEM) or before is None:
        return False
    if before.role is Role.USER:
        return policy is RolePolicy.STRICT or before.run_id != message.run_id
    return before.role is not Role.SYSTEM


def _steps(turn: Sequence[Message]) -> tuple[tuple[Message, ...], list[tuple[Message, ...]]]:
    """What was asked, and the assistant's steps: each its messages and the results of their calls."""
    asked = 0
    while asked < len(turn) and turn[asked].role not in (Role.ASSISTANT, Role.TOOL):
        asked += 1
    steps: list[list[Message]] = []
    before: Message | None = None
    for message in turn[asked:]:
        if before is None or (message.role is Role.ASSISTANT and before.role is not Role.ASSISTANT):
            steps.append([])
        steps[-1].append(message)
        before = before if message.role is Role.OTHER else message
    return tuple(turn[:asked]), [tuple(step) for step in steps]


def _interrupted(waiting: dict[str, tuple[OpenCall, Message]]) -> Iterator[Message]:
    """Stand-in results for the calls that wait, which then wait no more."""
    for call, message in waiting.values():
        yield Message(
            conversation_id=message.conversation_id,
            seq=message.seq,
            role=Role.TOOL,
            status=MessageStatus.SYNTHETIC,
            state=OrderState.TOOL,
            tokens=_SYNTHETIC_TOKENS,
            format=call.format,
            raw=call.interrupted,
            created_at=message.created_at,
            run_id=message.run_id,
        )
    waiting.clear()


_SYNTHETIC_TOKENS = 10
