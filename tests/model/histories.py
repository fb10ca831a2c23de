"""Hypothesis strategies for logs: talks that went by the rules, and rows that follow none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

from hypothesis import strategies as st
from tests.model.talk import ID, START, Talk

from keepsay.model.conversation import RolePolicy, Summary
from keepsay.model.ids import RunId
from keepsay.model.json_text import JsonObject, write_json
from keepsay.model.messages import CHAT, OPENAI_RESPONSES, Facts, Message, MessageStatus, NewMessage, OrderState, Role
from keepsay.model.order import PlannedMessage, plan_append
from keepsay.model.window import Window, WindowRows
from keepsay.testing.build import message

Lines = tuple[str, ...]

_CHAT: dict[OrderState, tuple[Lines, ...]] = {
    OrderState.EMPTY: (("system: s", "user: a"), ("user: a",)),
    OrderState.SYSTEM: (("user: a",),),
    OrderState.USER: (("assistant: b",), ("calls: c1",), ("calls: c1 c2",), ("calls: c1 c2", "result: c2")),
    OrderState.CALLING: (("result: c1",), ("result: c2",), ("result: c2", "result: c1", "assistant: b")),
    OrderState.TOOL: (("assistant: b",), ("calls: c1",), ("assistant: b", "user: a"), ("unknown: x",)),
    OrderState.ASSISTANT: (("user: a",), ("user: a", "assistant: b"), ("unknown: x", "user: a")),
    OrderState.INTERRUPTED: (("user: a",), ("assistant: b",), ("calls: c2",)),
}
_ITEMS: dict[OrderState, tuple[Lines, ...]] = {
    OrderState.EMPTY: (("system: s", "user: a"), ("user: a",)),
    OrderState.SYSTEM: (("user: a",),),
    OrderState.USER: (
        ("answer item: b",),
        ("reasoning: r", "call item: c1"),
        ("reasoning: r", "call item: c1", "reasoning: r", "answer item: b", "call item: c2"),
    ),
    OrderState.STEP: (("answer item: b",), ("call item: c1",), ("reasoning: r",)),
    OrderState.CALLING: (("result item: c1",), ("result item: c2",), ("call item: c2",), ("call item: c3",)),
    OrderState.TOOL: (("answer item: b",), ("call item: c1", "call item: c2"), ("reasoning: r",)),
    OrderState.ASSISTANT: (("user: a",), ("reasoning: r", "answer item: b"), ("unknown: x", "user: a")),
    OrderState.INTERRUPTED: (("user: a",), ("answer item: b",), ("call item: c2",)),
}
_ANYTHING: tuple[Lines, ...] = (
    ("user: a",),
    ("user: a", "user: a"),
    ("assistant: b",),
    ("assistant: b", "assistant: b"),
    ("system: s",),
    ("calls: c1 c2",),
    ("result: c1",),
    ("call item: c1",),
    ("result item: c1",),
    ("reasoning: r",),
    ("answer item: b",),
    ("unknown: x",),
)
_CUT_OFF = plan_append(
    [
        (
            Facts(Role.ASSISTANT, OrderState.INTERRUPTED),
            PlannedMessage(Role.ASSISTANT, None, 6, '{"role":"assistant","content":"I th"}', incomplete=True),
        )
    ]
)


def talks(policies: Sequence[RolePolicy] = tuple(RolePolicy), *, mixed: bool = True) -> st.SearchStrategy[Talk]:
    """Talks with runs, deletions, rewinding and summaries; ``mixed`` ones have answers in both formats at once."""
    moves = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 255), st.integers(1, 20)), max_size=40)
    anything = st.just(_ANYTHING) if mixed else st.none()
    return st.builds(_talk, st.sampled_from(policies), st.booleans(), anything, moves)


def _talk(
    policy: RolePolicy, items: bool, anything: tuple[Lines, ...] | None, moves: list[tuple[int, int, int]]
) -> Talk:
    talk = Talk(policy)
    fitting = _ITEMS if items else _CHAT
    anything = anything or tuple(lines for choices in fitting.values() for lines in choices)
    for move, which, tokens in moves:
        choices = fitting.get(talk.state, anything) if move < 11 else anything
        if move == 15:
            _meddle(talk, which)
        elif move == 14:
            (talk.begin_run, talk.end_run)[which % 2]()
        elif move == 13 and not items:
            talk.append(_CUT_OFF)
        else:
            talk.say(*[_costing(line, tokens) for line in choices[which % len(choices)] if _is_new(talk, line)])
    return talk


def _is_new(talk: Talk, line: str) -> bool:
    """Not a call of an id that still waits: no model does that, and no rule is about it."""
    return not (line.startswith("call") and any(name in talk.open for name in line.split()))


def _costing(line: str, tokens: int) -> NewMessage:
    new = message(line)
    return NewMessage(new.payload, new.format, tokens=tokens)


def _meddle(talk: Talk, which: int) -> None:
    change: tuple[Callable[[int], None], ...] = (talk.delete, talk.delete, talk.rewind, _summariser(talk))
    change[which % 4](len(talk.messages) - which // 4 % 8)


def _summariser(talk: Talk) -> Callable[[int], None]:
    return lambda seq: talk.summarise(seq, "They spoke.")


def windows() -> st.SearchStrategy[Window]:
    return st.builds(
        Window,
        max_messages=st.none() | st.integers(1, 12),
        max_tokens=st.none() | st.integers(1, 150),
        system_prompt=st.none() | st.sampled_from(["", "Be brief."]),
    )


_PAYLOADS: dict[tuple[Role, bool], tuple[JsonObject, ...]] = {
    (Role.SYSTEM, False): ({"role": "system", "content": "s"},),
    (Role.USER, False): ({"role": "user", "content": "u"},),
    (Role.ASSISTANT, False): (
        {"role": "assistant", "content": "a"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]},
        {"role": "assistant", "content": "a", "tool_calls": [{"id": "c1"}, {"id": "c2"}]},
    ),
    (Role.TOOL, False): (
        {"role": "tool", "tool_call_id": "c1", "content": "t"},
        {"role": "tool", "tool_call_id": "c2", "content": "t"},
    ),
    (Role.OTHER, False): ({"words": "x"},),
    (Role.SYSTEM, True): ({"role": "developer", "content": "s"},),
    (Role.USER, True): ({"type": "message", "role": "user", "content": "u"},),
    (Role.ASSISTANT, True): (
        {"type": "message", "role": "assistant", "content": "a"},
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "look", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c3", "name": "look", "input": ""},
    ),
    (Role.TOOL, True): (
        {"type": "function_call_output", "call_id": "c1", "output": "t"},
        {"type": "function_call_output", "call_id": "c2", "output": "t"},
        {"type": "custom_tool_call_output", "call_id": "c3", "output": "t"},
    ),
    (Role.OTHER, True): ({"type": "ours:card"},),
}


def lawless_rows(policies: Sequence[RolePolicy] = tuple(RolePolicy)) -> st.SearchStrategy[WindowRows]:
    """Rows in any order, of any state, status and run, with gaps: more than any store can come to hold.

    Only calls leave the state that they leave in any store.
    """
    row = st.tuples(
        st.sampled_from([*Role, Role.USER, Role.ASSISTANT]),
        st.sampled_from([*MessageStatus, *[MessageStatus.COMPLETE] * 4]),
        st.sampled_from([*OrderState, *[OrderState.ASSISTANT] * 3]),
        st.booleans(),
        st.integers(0, 255),
        st.integers(0, 40),
        st.sampled_from([1, 1, 1, 2]),
    )
    summaries = st.none() | st.builds(
        Summary, to_seq=st.just(3), text=st.just("They spoke."), tokens=st.integers(0, 20)
    )
    return st.builds(_lawless, st.sampled_from(policies), st.lists(row, max_size=30), st.booleans(), summaries)


def _lawless(
    policy: RolePolicy,
    rows: list[tuple[Role, MessageStatus, OrderState, bool, int, int, int]],
    has_system: bool,
    summary: Summary | None,
) -> WindowRows:
    messages: list[Message] = []
    seq = 0 if summary is None else summary.to_seq
    for role, status, state, items, which, tokens, step in rows:
        seq += step
        payload = _PAYLOADS[role, items][which % len(_PAYLOADS[role, items])]
        known_state = OrderState.CALLING if "tool_calls" in payload or payload.get("name") == "look" else state
        messages.append(_row(seq, role, status, known_state, items, payload, tokens))
    system = None
    if has_system and messages and messages[0].status is not MessageStatus.DELETED:
        system = _row(
            messages[0].seq, Role.SYSTEM, MessageStatus.COMPLETE, OrderState.SYSTEM, False, {"content": "s"}, 5
        )
        messages = messages[1:]
    return WindowRows(policy, seq, tuple(messages), True, system, summary)


def _row(
    seq: int, role: Role, status: MessageStatus, state: OrderState, items: bool, payload: JsonObject, tokens: int
) -> Message:
    unknown = role is Role.OTHER and not items
    return Message(
        conversation_id=ID,
        seq=seq,
        role=role,
        status=status,
        state=state,
        tokens=tokens,
        format="unheard.of" if unknown else OPENAI_RESPONSES if items else CHAT,
        raw="{}" if status is MessageStatus.DELETED else write_json(payload),
        created_at=START + timedelta(microseconds=seq),
        run_id=None if seq % 5 else RunId(UUID(int=seq)),
    )
