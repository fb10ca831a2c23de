"""Who may speak when: one table, three policies, and the plan that a store carries out under its lock.

strict    a system message first and at most once; then user and assistant alternate; tool calls are answered, all of
          them, before the assistant goes on. Adjacent assistant items of one Responses answer count as one step
lenient   several user or assistant messages in a row are fine; the rules for system and tool messages stay
open      anything that parses: the framework above owns the order

Python plans an append without knowing the conversation's state, and the store checks the plan against that state
under the row's lock: the rules stand here alone, and no check is made before the lock that is acted on after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

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
    RolePolicy.STRICT: _mask(_S.USER, _S.TOOL, _S.INTERRUPTED),
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
    """For each policy the bit mask of the states in which this may be appended; 0 if the batch itself is out of order."""
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
    entries = [_entry(facts, planned.format) for facts, planned in messages]
    for (facts, _), entry in zip(messages, entries, strict=True):
        calls.follow(facts, entry)
    if len(calls.opened) > limits.OPEN_CALLS:
        raise TooLarge("The batch", size=len(calls.opened), limit=limits.OPEN_CALLS, unit="open tool calls")
    checks = [_check_batch(policy, messages, entries, calls) for policy in RolePolicy]
    if not messages and answering:
        checks = [_Check(_ANSWERABLE[policy], None, Role.ASSISTANT) for policy in RolePolicy]
    return AppendPlan(
        messages=tuple(_with_states(messages, entries)),
        allowed=(checks[0].allowed, checks[1].allowed, checks[2].allowed),
        answers=tuple(calls.answered),
        requires_closed=calls.requires_closed,
        opens=tuple(calls.opened.values()),
        last_roles=(checks[0].last_role, checks[1].last_role, checks[2].last_role),
        attempted_roles=(checks[0].attempted_role, checks[1].attempted_role, checks[2].attempted_role),
        system_at=next((at for at, entry in enumerate(entries) if entry is _Entry.SYSTEM), None),
    )


def _entry(facts: Facts, format: str) -> _Entry | None:  # noqa: A002
    if facts.role is Role.OTHER:
        return None
    if facts.role is not Role.ASSISTANT:
        return _Entry(facts.role.text)
    if facts.opens:
        return _Entry.CALL_ITEM if format == OPENAI_RESPONSES else _Entry.CALLS
    return _Entry.STEP if facts.state is OrderState.STEP else _Entry.ANSWER


class _Calls:
    """Follows the tool calls through a batch, not knowing which were open before it."""

    def __init__(self) -> None:
        self.opened: dict[str, OpenCall] = {}
        self.answered: dict[str, None] = {}
        self.requires_closed = False
        self.broken_at: int | None = None
        self._position = -1

    def follow(self, facts: Facts, entry: _Entry | None) -> None:
        self._position += 1
        for call_id in facts.answers:
            self._answer(call_id)
        if entry not in (None, _Entry.TOOL, _Entry.CALL_ITEM):
            if self.opened:
                self._break()
            self.requires_closed = True
        for call in facts.opens:
            if call.call_id in self.opened:
                self._break()
            self.opened[call.call_id] = call

    def _answer(self, call_id: str) -> None:
        if self.opened.pop(call_id, None) is not None:
            return
        if call_id in self.answered or self.requires_closed:
            self._break()
        self.answered[call_id] = None

    def _break(self) -> None:
        if self.broken_at is None:
            self.broken_at = self._position


@dataclass(frozen=True, slots=True)
class _Check:
    allowed: int
    last_role: Role | None
    attempted_role: Role | None


def _check_batch(
    policy: RolePolicy,
    messages: Sequence[tuple[Facts, PlannedMessage]],
    entries: Sequence[_Entry | None],
    calls: _Calls,
) -> _Check:
    table = _TABLE[policy]
    allowed = ANY_STATE
    before: int | None = None
    for at, entry in enumerate(entries):
        if entry is None:
            continue
        facts = messages[at][0]
        broken = policy is not RolePolicy.OPEN and calls.broken_at == at
        if before is None:
            allowed = 0 if broken else table[entry]
            first_role = facts.role
        elif broken or not _may_follow(table, messages, entries, before, at):
            return _Check(0, messages[before][0].role, facts.role)
        before = at
    return _Check(allowed, None, None if before is None else first_role)


def _may_follow(
    table: dict[_Entry, int],
    messages: Sequence[tuple[Facts, PlannedMessage]],
    entries: Sequence[_Entry | None],
    before: int,
    at: int,
) -> bool:
    entry, (earlier, planned) = entries[at], messages[before]
    assert entry is not None
    assert earlier.state is not None
    one_answer = planned.format == messages[at][1].format == OPENAI_RESPONSES
    if one_answer and earlier.role is messages[at][0].role is Role.ASSISTANT and entry is not _Entry.TOOL:
        return True
    states = _mask(earlier.state)
    if entries[before] is _Entry.TOOL:  # whether all are answered is the calls' own check
        states |= _mask(OrderState.CALLING)
    return bool(table[entry] & states)


def _with_states(
    messages: Sequence[tuple[Facts, PlannedMessage]], entries: Sequence[_Entry | None]
) -> Iterable[PlannedMessage]:
    state: OrderState | None = None
    opened: set[str] = set()
    for at, (facts, planned) in enumerate(messages):
        opened |= {call.call_id for call in facts.opens}
        opened -= set(facts.answers)
        state = facts.state if facts.state is not None else state
        following = next((entry for entry in entries[at + 1 :] if entry is not None), None)
        if entries[at] is _Entry.TOOL and (opened or following is _Entry.TOOL):
            state = OrderState.CALLING
        yield replace(planned, state=state)


def state_after_rewind(state: OrderState) -> OrderState:
    """Where the order stands once the message with this state is the last one again.

    After a user's message that is answered anew, or edited, both sides may speak: no conversation gets stuck.
    """
    return state if state in (OrderState.EMPTY, OrderState.SYSTEM, OrderState.ASSISTANT) else OrderState.INTERRUPTED


state_after_run = state_after_rewind
"""Where the order stands once a run has ended and its open calls are closed: without an answer the turn is open again."""


def order_refusal(last_role: Role | None, attempted_role: Role | None) -> RoleOrderError:
    """The error for an entry that may not stand where it was put."""
    attempted = "message" if attempted_role is None else f"{attempted_role.text} message"
    if attempted_role is Role.SYSTEM:
        rule = "A system message stands only at the start, and there is at most one."
    elif last_role is None:
        rule = f"A conversation does not start with the {attempted}; start with a system or user message."
    elif attempted_role is last_role:
        rule = f"Two {attempted}s may not follow each other; user and assistant alternate."
    elif attempted_role is Role.TOOL:
        rule = "A tool message answers a call of the assistant's message before it."
    else:
        rule = f"The {attempted} may not follow the {last_role.text} message."
    return RoleOrderError(
        rule,
        last_role=None if last_role is None else last_role.text,
        attempted_role=None if attempted_role is None else attempted_role.text,
    )


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
