"""Who may speak when: one table, three policies, and the plan that a store carries out under its lock.

strict    a system message first and at most once; then user and assistant alternate; tool calls are answered, all of
          them, before the assistant goes on. Adjacent assistant items of one Responses answer count as one step
lenient   several user or assistant messages in a row are fine; the rules for system and tool messages stay
open      anything that parses: the framework above owns the order

Python plans an append without knowing the conversation's state, and the store checks the plan against that state
under the row's lock: the rules stand here alone, and no check is made before the lock that is acted on after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import pairwise
from typing import Literal

from keepsay.errors import RoleOrderError, TooLarge, UnansweredCalls
from keepsay.model import limits
from keepsay.model.conversation import RolePolicy
from keepsay.model.messages import OPENAI_RESPONSES, Facts, OpenCall, OrderState, Role

_S = OrderState
ANY_STATE = (1 << len(OrderState)) - 1


class _Entry(Enum):
    """The kinds of entry that the order tells apart."""

    SYSTEM = "system"
    USER = "user"
    ANSWER = "answer"
    STEP = "step"
    CALLS = "calls"
    CALL_ITEM = "call item"  # one of several parallel calls, each an item of its own
    TOOL = "tool"


def _mask(*states: OrderState) -> int:
    return sum(1 << state for state in states)


# The states that an entry may follow.
_STRICT = {
    _Entry.SYSTEM: _mask(_S.EMPTY),
    _Entry.USER: _mask(_S.EMPTY, _S.SYSTEM, _S.ASSISTANT, _S.INTERRUPTED),
    _Entry.ANSWER: _mask(_S.USER, _S.STEP, _S.TOOL, _S.INTERRUPTED),
    _Entry.STEP: _mask(_S.USER, _S.STEP, _S.TOOL, _S.ASSISTANT, _S.INTERRUPTED),
    _Entry.CALLS: _mask(_S.USER, _S.STEP, _S.TOOL, _S.INTERRUPTED),
    _Entry.CALL_ITEM: _mask(_S.USER, _S.STEP, _S.TOOL, _S.CALLING, _S.ASSISTANT, _S.INTERRUPTED),
    _Entry.TOOL: _mask(_S.CALLING),
}
_CLOSED = ANY_STATE & ~_mask(_S.CALLING)
_LENIENT = {
    _Entry.SYSTEM: _mask(_S.EMPTY),
    _Entry.USER: _CLOSED,
    _Entry.ANSWER: _CLOSED,
    _Entry.STEP: _CLOSED,
    _Entry.CALLS: _CLOSED,
    _Entry.CALL_ITEM: ANY_STATE,
    _Entry.TOOL: _mask(_S.CALLING),
}
_OPEN = dict.fromkeys(_Entry, ANY_STATE)
_TABLE = {RolePolicy.STRICT: _STRICT, RolePolicy.LENIENT: _LENIENT, RolePolicy.OPEN: _OPEN}

# A run may begin without a message of its own, to answer what stands there already.
_ANSWERABLE = {
    RolePolicy.STRICT: _mask(_S.USER, _S.STEP, _S.TOOL, _S.INTERRUPTED),
    RolePolicy.LENIENT: _CLOSED & ~_mask(_S.EMPTY),
    RolePolicy.OPEN: ANY_STATE,
}


@dataclass(frozen=True, slots=True)
class PlannedMessage:
    """One row to be: the facts and the texts as they will be stored."""

    role: Role
    state: OrderState | None
    """The order state after it; ``None`` where only entries that the order ignores came before."""
    tokens: int
    payload: str = field(repr=False)
    format: str = "chat"
    incomplete: bool = False
    client_id: str | None = None
    metadata: str | None = field(default=None, repr=False)
    usage: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AppendPlan:
    """What to append and on which conditions. ``allowed`` and the roles are indexed by policy."""

    messages: tuple[PlannedMessage, ...]
    allowed: tuple[int, int, int]
    """For each policy the bit mask of the states in which this may be appended; 0 if the batch is out of order."""
    answers: tuple[str, ...]
    """Calls open before the append that it answers."""
    requires_closed: bool
    """Whether no earlier call may stay open (not asked by the open policy)."""
    opens: tuple[OpenCall, ...]
    """Calls that are open after the append."""
    last_roles: tuple[Role | None, Role | None, Role | None]
    """For each policy the role before the refused one, where that stands in the batch itself."""
    attempted_roles: tuple[Role | None, Role | None, Role | None]
    system_at: int | None
    """Offset of the first system message in the batch."""

    @property
    def next(self) -> OrderState | None:
        """The order state after it all; the store makes ``TOOL`` a ``CALLING`` while calls remain open."""
        return self.messages[-1].state if self.messages else None


def plan_append(messages: Sequence[tuple[Facts, PlannedMessage]], *, answering: bool = False) -> AppendPlan:
    """Plan the append of a batch.

    With ``answering`` an empty batch is planned as the beginning of a run that answers what stands there.
    Raises ``TooLarge`` for more than 128 calls left open at once.
    """
    calls = _Calls()
    placed = _place(messages, calls)
    if len(calls.opened) > limits.OPEN_CALLS:
        raise TooLarge("The batch", size=len(calls.opened), limit=limits.OPEN_CALLS, unit="open tool calls")
    entries = [place for place in placed if place is not None]
    checks = [_check_batch(policy, entries) for policy in RolePolicy]
    if not messages and answering:
        checks = [_Check(_ANSWERABLE[policy], None, Role.ASSISTANT) for policy in RolePolicy]
    return AppendPlan(
        messages=tuple(_with_states(messages, placed)),
        allowed=(checks[0].allowed, checks[1].allowed, checks[2].allowed),
        answers=tuple(calls.answered),
        requires_closed=calls.requires_closed,
        opens=tuple(calls.opened.values()),
        last_roles=(checks[0].last_role, checks[1].last_role, checks[2].last_role),
        attempted_roles=(checks[0].attempted_role, checks[1].attempted_role, checks[2].attempted_role),
        system_at=next((at for at, place in enumerate(placed) if place and place.entry is _Entry.SYSTEM), None),
    )


@dataclass(frozen=True, slots=True)
class _Placed:
    """An entry that the order sees, in its place in the batch."""

    entry: _Entry
    role: Role
    state: OrderState
    """The order's state after it, as far as the batch tells."""
    answer_item: bool
    """Whether it is an item of a Responses answer."""
    one_answer: bool
    """Whether the entry before it is an item of that answer too."""
    broken: bool
    """Whether the calls followed so far forbid it."""


class _Calls:
    """Follows the tool calls through a batch, not knowing which were open before it."""

    def __init__(self) -> None:
        self.opened: dict[str, OpenCall] = {}
        self.answered: dict[str, None] = {}
        self.requires_closed = False

    def follow(self, facts: Facts, entry: _Entry, *, one_answer: bool) -> bool:
        """Take the entry in; whether it may stand there."""
        fine = True
        for call_id in facts.answers:
            fine = self._answer(call_id) and fine
        if entry not in (_Entry.TOOL, _Entry.CALL_ITEM):
            fine = fine and (one_answer or not self.opened)
            self.requires_closed = True
        fine = fine and not any(call.call_id in self.opened for call in facts.opens)
        self.opened |= {call.call_id: call for call in facts.opens}
        return fine

    def _answer(self, call_id: str) -> bool:
        if self.opened.pop(call_id, None) is not None:
            return True
        fine = call_id not in self.answered and not self.requires_closed
        self.answered[call_id] = None
        return fine


def _place(messages: Sequence[tuple[Facts, PlannedMessage]], calls: _Calls) -> list[_Placed | None]:
    """Each message in its place; ``None`` for those that the order ignores."""
    placed: list[_Placed | None] = []
    before: _Placed | None = None
    for facts, planned in messages:
        if facts.state is None:
            placed.append(None)
            continue
        entry = _entry(facts, planned.format)
        answer_item = facts.role is Role.ASSISTANT and planned.format == OPENAI_RESPONSES
        one_answer = answer_item and before is not None and before.answer_item
        broken = not calls.follow(facts, entry, one_answer=one_answer)
        calling = calls.opened and (entry is _Entry.TOOL or one_answer)
        state = OrderState.CALLING if calling else facts.state
        before = _Placed(entry, facts.role, state, answer_item, one_answer, broken)
        placed.append(before)
    return placed


def _entry(facts: Facts, format: str) -> _Entry:  # noqa: A002
    if facts.role is not Role.ASSISTANT:
        return _Entry(facts.role.text)
    if facts.opens:
        return _Entry.CALL_ITEM if format == OPENAI_RESPONSES else _Entry.CALLS
    return _Entry.STEP if facts.state is OrderState.STEP else _Entry.ANSWER


@dataclass(frozen=True, slots=True)
class _Check:
    allowed: int
    last_role: Role | None
    attempted_role: Role | None


def _check_batch(policy: RolePolicy, entries: Sequence[_Placed]) -> _Check:
    if not entries:
        return _Check(ANY_STATE, None, None)
    table = _TABLE[policy]
    if policy is not RolePolicy.OPEN:
        for before, after in pairwise(entries):
            if after.broken or not _may_follow(table, before, after):
                return _Check(0, before.role, after.role)
    return _Check(table[entries[0].entry], None, entries[0].role)


def _may_follow(table: dict[_Entry, int], before: _Placed, after: _Placed) -> bool:
    states = _mask(before.state)
    if before.entry is _Entry.TOOL:  # whether all are answered is the calls' own check
        states |= _mask(OrderState.CALLING)
    return after.one_answer or bool(table[after.entry] & states)


def _with_states(
    messages: Sequence[tuple[Facts, PlannedMessage]], placed: Sequence[_Placed | None]
) -> Iterator[PlannedMessage]:
    state: OrderState | None = None
    for at, (_, planned) in enumerate(messages):
        if (place := placed[at]) is not None:
            following = next((later.entry for later in placed[at + 1 :] if later is not None), None)
            between_results = place.entry is following is _Entry.TOOL
            state = OrderState.CALLING if between_results else place.state
        yield replace(planned, state=state)


def may_follow(policy: RolePolicy, state: OrderState, role: Literal[Role.USER, Role.ASSISTANT]) -> bool:
    """Whether the words of this role may be appended where the conversation stands.

    Calls that are open need no look of their own: the state is then ``CALLING``.
    """
    entry = _Entry.USER if role is Role.USER else _Entry.ANSWER
    return bool(_TABLE[policy][entry] & _mask(state))


def waits_for_runs(policy: RolePolicy) -> bool:
    """Whether nobody else may append while a run is under way: its answer is whose turn it is."""
    return policy is RolePolicy.STRICT


def state_after_rewind(state: OrderState) -> OrderState:
    """Where the order stands once the message with this state is the last one again.

    After a user's message that is answered anew, or edited, both sides may speak: no conversation gets stuck.
    """
    return state if state in (OrderState.EMPTY, OrderState.SYSTEM, OrderState.ASSISTANT) else OrderState.INTERRUPTED


state_after_run = state_after_rewind
"""Where the order stands once a run has ended and its open calls are closed: without an answer both may speak."""


def order_refusal(last_role: Role | None, attempted_role: Role | None) -> RoleOrderError:
    """The error for an entry that may not stand where it was put."""
    return RoleOrderError(
        _broken_rule(last_role, attempted_role),
        last_role=None if last_role is None else last_role.text,
        attempted_role=None if attempted_role is None else attempted_role.text,
    )


def _broken_rule(last_role: Role | None, attempted_role: Role | None) -> str:
    attempted = "message" if attempted_role is None else f"{attempted_role.text} message"
    if attempted_role is Role.SYSTEM:
        return "A system message stands only at the start, and there is at most one."
    if last_role is None:
        return f"A conversation does not start with the {attempted}; start with a system or user message."
    if attempted_role is Role.TOOL:
        return "A tool message answers a call of the assistant's message before it."
    if attempted_role is last_role:
        return f"Two {attempted}s may not follow each other; user and assistant alternate."
    if attempted_role is Role.USER:
        return f"The user message may not follow the {last_role.text} message: the assistant's turn is not over."
    return f"The {attempted} may not follow the {last_role.text} message."


def calls_refusal(
    open_calls: Iterable[str], last_role: Role | None, attempted_role: Role | None, *, unknown: bool
) -> UnansweredCalls:
    """The error for open calls that must be answered first, or (``unknown``) for a result that names no open call."""
    names = tuple(open_calls)
    listed = ", ".join(names) or "none"
    rule = "A tool result names no open call" if unknown else "Tool calls must be answered first"
    return UnansweredCalls(
        f"{rule}; open: {listed}.",
        open_calls=names,
        last_role=None if last_role is None else last_role.text,
        attempted_role=None if attempted_role is None else attempted_role.text,
    )


def cut_refusal(seq: int) -> UnansweredCalls:
    """The error for a cut at a seq where it would part calls from their results."""
    return UnansweredCalls(
        f"Message {seq} stands inside a tool call: a cut there would part the call from its result.",
        open_calls=(),
        last_role=None,
        attempted_role=None,
    )
