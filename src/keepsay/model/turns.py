"""How a log falls into turns, a turn into units, and how the calls of a unit are made to pair with their results.

turn   one or more user messages with everything up to the next ones
unit   what a window takes or leaves whole: a question (one user or system message), or a step of the assistant (its
       adjacent messages and the results of their calls)

Entries that the order ignores go with the step that follows them, and else stand alone. Both cuts look at columns only,
never at payloads, and from the newest message back: ``window_bounds`` in SQL makes the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from keepsay.model.conversation import RolePolicy
from keepsay.model.formats import read_order_facts
from keepsay.model.messages import OPENAI_RESPONSES, Facts, Message, MessageStatus, OpenCall, OrderState, Role

_QUESTION = (Role.USER, Role.SYSTEM)
_STAND_IN_TOKENS = 10


def split_turns(messages: Sequence[Message], policy: RolePolicy) -> list[tuple[Message, ...]]:
    """Cut a log into turns. Under the strict policy, and between runs, each user message starts one."""
    turns: list[list[Message]] = [[]]
    later: Message | None = None
    for message in reversed(messages):
        if message.role is not Role.OTHER:
            if later is not None and _ends_turn(message, later, policy):
                turns.append([])
            later = message
        turns[-1].append(message)
    return [tuple(reversed(turn)) for turn in reversed(turns) if turn]


def _ends_turn(message: Message, later: Message, policy: RolePolicy) -> bool:
    if later.role not in _QUESTION or message.role is Role.SYSTEM:
        return False
    return message.role is not Role.USER or policy is RolePolicy.STRICT or message.run_id != later.run_id


def split_units(turn: Sequence[Message]) -> list[tuple[Message, ...]]:
    """Cut a turn into units."""
    units: list[list[Message]] = []
    later: Message | None = None
    for message in reversed(turn):
        if not _is_same_step(message, later):
            units.append([])
        units[-1].append(message)
        later = later if message.role is Role.OTHER else message
    return [tuple(reversed(unit)) for unit in reversed(units)]


def _is_same_step(message: Message, later: Message | None) -> bool:
    if later is None or later.role in _QUESTION or message.role in _QUESTION:
        return False
    ends_step = message.role is Role.TOOL and message.state is not OrderState.CALLING
    return not (ends_step and later.role is Role.ASSISTANT)


def is_question(message: Message) -> bool:
    """Whether a user, or the system in the middle of an open log, says it."""
    return message.role in _QUESTION


def is_step(unit: Sequence[Message]) -> bool:
    """Whether the unit is a step of the assistant."""
    return any(message.role in (Role.ASSISTANT, Role.TOOL) for message in unit)


def pair_calls(unit: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """The unit with stand-in results for the calls that have none, and the results in it whose call is not there."""
    pairing = _Pairing(unit)
    for at, message in enumerate(unit):
        pairing.add(at, message)
    pairing.interrupt(list(pairing.waiting))
    return pairing.paired, pairing.strays


class _Pairing:
    def __init__(self, unit: Sequence[Message]) -> None:
        self.paired: list[Message] = []
        self.strays: list[Message] = []
        self.waiting: dict[str, tuple[OpenCall, Message]] = {}
        self._called: set[str] = set()
        """The ids called since no call waited."""
        self._facts = [_read_calls(message) for message in unit]
        self._answered_at = {call_id: at for at, facts in enumerate(self._facts) for call_id in facts.answers}

    def add(self, at: int, message: Message) -> None:
        facts = self._facts[at]
        if facts.answers:
            self._answer(message, facts.answers)
        elif message.role is not Role.OTHER:
            self.interrupt([call_id for call_id in self.waiting if not self._may_wait(call_id, at, message)])
        self.paired.append(message)
        self.waiting |= {call.call_id: (call, message) for call in facts.opens}
        self._called = (self._called | {call.call_id for call in facts.opens}) if self.waiting else set()

    def _answer(self, message: Message, call_ids: Sequence[str]) -> None:
        if not all(call_id in self.waiting for call_id in call_ids):
            self.strays.append(message)
        for call_id in call_ids:
            self.waiting.pop(call_id, None)

    def _may_wait(self, call_id: str, at: int, message: Message) -> bool:
        """Whether a call may still wait after this message: while both are items of one Responses answer."""
        opens = [call.call_id for call in self._facts[at].opens]
        both_items = self.waiting[call_id][0].format == message.format == OPENAI_RESPONSES
        answered_later = self._answered_at.get(call_id, -1) > at
        return both_items and self._called.isdisjoint(opens) and (bool(opens) or answered_later)

    def interrupt(self, call_ids: Sequence[str]) -> None:
        """Put in stand-in results for these calls, which then wait no more."""
        self.paired += [_stand_in(*self.waiting.pop(call_id)) for call_id in call_ids]


def _read_calls(message: Message) -> Facts:
    """The calls and answers of a message, whose columns tell whether its payload need be looked at."""
    if message.role is Role.TOOL or message.state is OrderState.CALLING:
        return read_order_facts(message.payload, message.format)
    return Facts(message.role, message.state)


def _stand_in(call: OpenCall, message: Message) -> Message:
    return Message(
        conversation_id=message.conversation_id,
        seq=message.seq,
        role=Role.TOOL,
        status=MessageStatus.SYNTHETIC,
        state=OrderState.TOOL,
        tokens=_STAND_IN_TOKENS,
        format=call.format,
        raw=call.interrupted,
        created_at=message.created_at,
        run_id=message.run_id,
    )
