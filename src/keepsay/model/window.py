"""What the model sees: the system prompt, the newest summary, then the newest whole turns that fit.

``keepsay.model.turns`` says what turns and steps are. A window is built on reading; what is stored is never rewritten.
Laws, each held by a property test:

- a tool call is never apart from its result: a result without its call is left out, a call without its result gets
  a stand-in that says it was interrupted;
- deleted and incomplete messages are left out, and so are turns without an answer, but for the newest turn, which is
  what is to be answered. Under the strict policy a turn whose question was deleted is left out too: roles alternate;
- what is in follows the log's order and keeps within the limits. Should the newest turn alone break them, its oldest
  messages go first, whole steps at a time; its last user message and last step always stay (``fits`` is then false).
  Of several user messages at the start of an older turn the oldest may be left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from keepsay.errors import InvalidInput
from keepsay.model import limits
from keepsay.model.conversation import RolePolicy, Summary
from keepsay.model.convert import summary_text, to_chat, to_responses, with_summary
from keepsay.model.formats import count_tokens
from keepsay.model.json_text import JsonObject, JsonValue
from keepsay.model.messages import CHAT, Message, MessageStatus, OrderState, Role
from keepsay.model.tokens import TokenCounter, estimate_tokens
from keepsay.model.turns import is_question, is_step, pair_calls, split_turns, split_units

Reason = Literal[
    "included",
    "system_prompt",
    "replaced_system_prompt",
    "summarised",
    "older_than_the_limit",
    "unanswered_turn",
    "unasked_turn",
    "incomplete",
    "deleted",
    "rewound",
    "result_without_call",
]

WindowFormat = Literal["chat", "openai.responses"]
"""The formats in which a window can be sent to a model."""


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

    ``messages`` are the newest in the log's order, without the rewound ones and the system message. ``from_start`` says
    that none older was left behind; else they begin with a question or, inside the newest turn, with a step, before
    which the last question of that turn then stands.
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

    def to_dict(self) -> JsonObject:
        """The explanation as the HTTP API shows it."""
        return {
            "first_seq": self.first_seq,
            "last_seq": self.last_seq,
            "included": self.included,
            "reason": self.reason,
        }


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
        """The window as the ``messages`` of OpenAI Chat Completions.

        At most one is a system message, and that the first; only an open log may have others of its own further on.
        """
        return self._system_message() + to_chat(self.messages)

    def to_openai_responses(self) -> list[JsonObject]:
        """The window as the ``input`` of OpenAI Responses."""
        return self._system_message() + to_responses(self.messages)

    def to_dict(self, format: WindowFormat = CHAT, *, explain: bool = False) -> JsonObject:  # noqa: A002
        """The window as the HTTP API and the command line show it: the messages in this format, and the facts."""
        messages = self.to_openai_chat() if format == CHAT else self.to_openai_responses()
        shown: JsonObject = {
            "messages": [*messages],
            "format": format,
            "tokens": self.tokens,
            "head": self.head,
            "truncated": self.truncated,
            "fits": self.fits,
            "summary": None if self.summary is None else self.summary.to_dict(),
        }
        if explain:
            shown["explain"] = [each.to_dict() for each in self.explain]
        return shown

    def _system_message(self) -> list[JsonObject]:
        system = with_summary(self.system_prompt, self.summary)
        return [] if system is None else [{"role": "system", "content": system}]


_UNUSABLE = (MessageStatus.INCOMPLETE, MessageStatus.DELETED)


def choose_window(rows: WindowRows, window: Window) -> ModelWindow:
    """Build the window of what a store read."""
    return _Chooser(rows, window).choose()


class _Unit(NamedTuple):
    """What is taken or left whole, its calls and results made to pair. Strays among the results are still in it."""

    messages: tuple[Message, ...]
    costs: tuple[int, ...]
    tokens: int


class _Chooser:
    """Takes units from the newest on, and counts what it takes.

    Strays and turns whose question is gone are left out in the end, but they count: the database, which decides by the
    same counting how far back to read, cannot tell them.
    """

    def __init__(self, rows: WindowRows, window: Window) -> None:
        self.rows = rows
        self.window = window
        self.reasons: dict[int, Reason] = {}
        """Why messages are left out, where neither their status nor the limits are the reason."""
        self.taken: list[_Unit] = []
        """Newest first."""
        self.count = 0
        self.tokens = 0

    def choose(self) -> ModelWindow:
        system_prompt, system_tokens = self._system_prompt()
        self.tokens = before = system_tokens + self._summary_tokens()
        full = not self._take_turns(split_turns(self.rows.messages, self.rows.policy))
        costs = [pair for unit in reversed(self.taken) for pair in zip(unit.messages, unit.costs, strict=True)]
        kept = [(message, cost) for message, cost in costs if message.seq not in self.reasons]
        self.count, self.tokens = len(kept), before + sum(cost for _, cost in kept)
        return ModelWindow(
            messages=tuple(message for message, _ in kept),
            system_prompt=system_prompt,
            summary=self.rows.summary,
            tokens=self.tokens,
            head=self.rows.head,
            truncated=full or not self.rows.from_start,
            fits=self._has_room(0, 0),
            explain=tuple(self._explain({message.seq for message, _ in kept})),
        )

    def _system_prompt(self) -> tuple[JsonValue, int]:
        if self.window.system_prompt is not None:
            override: JsonObject = {"content": self.window.system_prompt}
            return self.window.system_prompt, count_tokens(override, self.window.counter or estimate_tokens)
        if self.rows.system is None:
            return None, 0
        return self.rows.system.content, self._cost(self.rows.system)

    def _summary_tokens(self) -> int:
        summary, counter = self.rows.summary, self.window.counter
        if summary is None:
            return 0
        return summary.tokens if counter is None else counter(summary_text(summary))

    def _cost(self, message: Message) -> int:
        return message.tokens if self.window.counter is None else count_tokens(message.payload, self.window.counter)

    def _has_room(self, count: int, tokens: int) -> bool:
        limit, budget = self.window.max_messages, self.window.max_tokens
        return (limit is None or self.count + count <= limit) and (budget is None or self.tokens + tokens <= budget)

    def _take_turns(self, turns: Sequence[tuple[Message, ...]]) -> bool:
        """Take turns from the newest on; whether all that could be in are in."""
        for turn in reversed(turns):
            units = self._units(turn)
            newest = not self.taken
            if not newest and not _is_answered(turn):
                self._leave_out(units, "unanswered_turn")
                continue
            taken = self._take_units(units, _newest_core(units) if newest else _older_core(units), at_any_cost=newest)
            if self.rows.policy is RolePolicy.STRICT and _lost_its_question(turn):
                self._leave_out(units, "unasked_turn")
            if taken < len(units):
                return False
        return True

    def _units(self, turn: Sequence[Message]) -> list[_Unit]:
        """What of a turn can be in a window."""
        units: list[_Unit] = []
        for unit in split_units(turn):
            paired, strays = pair_calls([message for message in unit if _is_usable(message)])
            self.reasons |= {message.seq: "result_without_call" for message in strays}
            if paired:
                costs = tuple(map(self._cost, paired))
                units.append(_Unit(tuple(paired), costs, sum(costs)))
        return units

    def _take_units(self, units: Sequence[_Unit], core: set[int], *, at_any_cost: bool) -> int:
        """Take the core, if there is room for it, and what fits of the rest; how many were taken."""
        cores = [units[at] for at in core]
        if not at_any_cost and not self._has_room(_messages_in(cores), sum(unit.tokens for unit in cores)):
            return 0
        for unit in cores:
            self._count(unit)
        chosen = set(core)
        for at in reversed(range(len(units))):
            if at in core:
                continue
            if not self._has_room(len(units[at].messages), units[at].tokens):
                break
            self._count(units[at])
            chosen.add(at)
        self.taken += [units[at] for at in sorted(chosen, reverse=True)]
        return len(chosen)

    def _count(self, unit: _Unit) -> None:
        self.count += len(unit.messages)
        self.tokens += unit.tokens

    def _leave_out(self, units: Sequence[_Unit], reason: Reason) -> None:
        for unit in units:
            for message in unit.messages:
                self.reasons.setdefault(message.seq, reason)

    def _explain(self, kept: set[int]) -> Iterator[Explanation]:
        system = () if self.rows.system is None else (self.rows.system,)
        at = 1
        for message in sorted((*system, *self.rows.messages), key=lambda message: message.seq):
            if at < message.seq:
                yield from self._explain_gap(at, message.seq - 1)
            reason = self._reason(message, kept)
            yield Explanation(message.seq, message.seq, reason in ("included", "system_prompt"), reason)
            at = message.seq + 1
        yield from self._explain_gap(at, self.rows.head)

    def _explain_gap(self, first: int, last: int) -> Iterator[Explanation]:
        """Why ``first``..``last``, which were not read, are left out."""
        summarised = 0 if self.rows.summary is None else min(self.rows.summary.to_seq, last)
        if first <= summarised:
            yield Explanation(first, summarised, False, "summarised")
            first = summarised + 1
        if first <= last:
            yield Explanation(first, last, False, "older_than_the_limit" if first < self._read_from() else "rewound")

    def _read_from(self) -> int:
        """From which seq on everything was read that is not rewound."""
        messages = self.rows.messages
        if self.rows.from_start or not messages:
            return 0
        cut_inside = is_question(messages[0]) and len(split_turns(messages, self.rows.policy)) == 1
        return messages[1].seq if cut_inside and len(messages) > 1 else messages[0].seq

    def _reason(self, message: Message, kept: set[int]) -> Reason:
        if message is self.rows.system:
            return "system_prompt" if self.window.system_prompt is None else "replaced_system_prompt"
        if message.status is MessageStatus.DELETED:
            return "deleted"
        if message.status is MessageStatus.INCOMPLETE:
            return "incomplete"
        return "included" if message.seq in kept else self.reasons.get(message.seq, "older_than_the_limit")


def _messages_in(units: Sequence[_Unit]) -> int:
    return sum(len(unit.messages) for unit in units)


def _newest_core(units: Sequence[_Unit]) -> set[int]:
    """What stays of the newest turn whatever the limits: what was asked last, and the last step."""
    asked = [at for at, unit in enumerate(units) if is_question(unit.messages[0])]
    steps = [at for at, unit in enumerate(units) if is_step(unit.messages)]
    return {*asked[-1:], *steps[-1:]} or set(range(len(units))[-1:])


def _older_core(units: Sequence[_Unit]) -> set[int]:
    """What an older turn is not to be had without: everything from its last question on."""
    asked = [at for at, unit in enumerate(units) if is_question(unit.messages[0])]
    return set(range(asked[-1] if asked else 0, len(units)))


def _is_usable(message: Message) -> bool:
    return message.status not in _UNUSABLE


def _is_answered(turn: Sequence[Message]) -> bool:
    said = [message for message in turn if _is_usable(message) and message.role is not Role.OTHER]
    return bool(said) and said[-1].state is OrderState.ASSISTANT


def _lost_its_question(turn: Sequence[Message]) -> bool:
    usable = [message for message in turn if _is_usable(message)]
    return any(map(is_question, turn)) and not any(map(is_question, usable)) and is_step(usable)
