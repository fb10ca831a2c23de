"""The cut that Postgres makes: a port of ``window_bounds`` and ``window_rows``, statement by statement."""

from __future__ import annotations

from dataclasses import replace

from keepsay.model.conversation import RolePolicy
from keepsay.model.messages import Message, OrderState
from keepsay.model.window import WindowRows


def cut(rows: WindowRows, state: OrderState, max_messages: int | None, max_tokens: int | None) -> WindowRows:
    """What of ``rows``, which are all, is read for these limits. ``state`` is the conversation's."""
    low, asked, from_start = window_bounds(rows, state, max_messages, max_tokens)
    messages = tuple(m for m in rows.messages if m.seq >= low or m.seq == asked)
    return replace(rows, messages=messages, from_start=from_start)


def window_bounds(
    rows: WindowRows, state: OrderState, max_messages: int | None, max_tokens: int | None
) -> tuple[int, int | None, bool]:
    low, asked, from_start = rows.head + 1, None, True
    count = tokens = 0
    newest = True
    step_used = step_read = question_read = extra = False
    later_role, later_run = 4, None
    after = rows.head + 1
    turn_counts: bool | None = True
    for m in reversed(rows.messages):
        usable = m.status not in (1, 3)
        if later_role < 2 and _ends_turn(m, later_run, rows.policy):
            if not from_start:
                break
            newest = count == 0
            turn_counts = True if newest else None
            step_read = step_used = question_read = False
            low = after
        elif later_role in (0, 1, 4) or m.role < 2 or (m.role == 3 and m.state != 5 and later_role == 2):
            if from_start and (newest or question_read):
                low = after
            step_read = step_read or (later_role in (2, 3) and step_used)
            step_used = False
        core = newest and (
            count == 0
            or (m.role < 2 and not question_read)
            or (not step_read and (m.role in (2, 3) or (m.role == 4 and later_role in (2, 3))))
        )
        if usable and m.role != 4:
            turn_counts = (m.state == 3) if turn_counts is None else turn_counts
        if usable and turn_counts and from_start:
            count += 1
            tokens += m.tokens
            extra = extra or not core
            if extra and (_over(count, max_messages) or _over(tokens, max_tokens)):
                from_start = False
        if not from_start:
            if not newest or question_read or _sees_nothing(state, rows.policy):
                break
            if m.role < 2:
                asked = m.seq if usable or asked is None else asked
                if usable:
                    break
            elif core:
                low = m.seq
        question_read = question_read or (usable and m.role < 2)
        step_used = step_used or (usable and m.role != 4)
        if m.role != 4:
            later_role, later_run = m.role, m.run_id
        after = m.seq
    if from_start:
        low = (0 if rows.summary is None else rows.summary.to_seq) + 1
    return low, asked, from_start


def _ends_turn(m: Message, later_run: object, policy: RolePolicy) -> bool:
    return m.role in (2, 3) or (m.role == 1 and (policy == 0 or m.run_id != later_run))


def _sees_nothing(state: OrderState, policy: RolePolicy) -> bool:
    return state == 0 or (state == 1 and policy != 2)


def _over(sum_: int, limit: int | None) -> bool:
    return limit is not None and sum_ > limit
