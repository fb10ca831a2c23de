"""A conversation that carries plans out by the book: what any store does under its lock, and no more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from keepsay.model.conversation import RolePolicy, Summary
from keepsay.model.ids import ConversationId, RunId
from keepsay.model.messages import Message, MessageStatus, NewMessage, OpenCall, OrderState, Role
from keepsay.model.order import AppendPlan, PlannedMessage, state_after_rewind, state_after_run
from keepsay.model.window import WindowRows
from keepsay.testing.build import plan_of

ID = ConversationId(UUID("01890a5d-ac96-774b-bcce-b302099a8057"))
START = datetime(2026, 1, 1, tzinfo=UTC)


class Talk:
    def __init__(self, policy: RolePolicy = RolePolicy.STRICT) -> None:
        self.policy = policy
        self.state = OrderState.EMPTY
        self.open: dict[str, OpenCall] = {}
        self.messages: list[Message] = []
        self.system_seq = 0
        self.run: RunId | None = None
        self.runs = 0
        self.summary: Summary | None = None

    def say(self, *lines: str | NewMessage) -> bool:
        return self.append(plan_of(*lines))

    def append(self, plan: AppendPlan) -> bool:
        """Whether the plan may stand here; if so it is carried out."""
        if not self.accepts(plan):
            return False
        still_open = {name: call for name, call in self.open.items() if name not in plan.answers}
        still_open |= {call.call_id: call for call in plan.opens}
        if plan.system_at is not None and not self.system_seq:
            self.system_seq = len(self.messages) + plan.system_at + 1
        states = _states(plan, self.state, calls_open=bool(still_open))
        for planned, state in zip(plan.messages, states, strict=True):
            self._store(planned, state)
        self.state = states[-1] if states else self.state
        follows_calls = self.policy is not RolePolicy.OPEN or self.run is not None
        self.open = still_open if follows_calls else {}
        return True

    def accepts(self, plan: AppendPlan) -> bool:
        if not plan.allowed[self.policy] & (1 << self.state):
            return False
        if self.policy is RolePolicy.OPEN:
            return True
        unknown = set(plan.answers) - self.open.keys()
        left = self.open.keys() - set(plan.answers)
        return not unknown and not (plan.requires_closed and left)

    def _store(self, planned: PlannedMessage, state: OrderState) -> None:
        status = MessageStatus.INCOMPLETE if planned.incomplete else MessageStatus.COMPLETE
        seq = len(self.messages) + 1
        self.messages.append(
            Message(
                conversation_id=ID,
                seq=seq,
                role=planned.role,
                status=status,
                state=state,
                tokens=planned.tokens,
                format=planned.format,
                raw=planned.payload,
                created_at=START + timedelta(microseconds=seq),
                run_id=self.run,
            )
        )

    def begin_run(self) -> None:
        self.end_run()
        self.runs += 1
        self.run = RunId(UUID(int=self.runs))

    def end_run(self) -> None:
        if self.run is not None:
            self.close_calls()
            self.state = state_after_run(self.state)
            self.run = None

    def close_calls(self) -> None:
        """Answer the calls that are open with their stand-ins."""
        calls, self.open = list(self.open.values()), {}
        for at, call in enumerate(calls, start=1):
            self.state = OrderState.TOOL if at == len(calls) else OrderState.CALLING
            self._store(PlannedMessage(Role.TOOL, self.state, 10, call.interrupted, call.format), self.state)
            self.messages[-1] = replace(self.messages[-1], status=MessageStatus.SYNTHETIC)

    @property
    def visible(self) -> list[Message]:
        return [m for m in self.messages if not m.hidden and m.status is not MessageStatus.DELETED]

    def delete(self, seq: int) -> None:
        """Blank a message, as long as no run is under way."""
        if self.run is not None or not any(m.seq == seq for m in self.visible):
            return
        is_last = self.visible[-1].seq == seq
        self.messages[seq - 1] = replace(self.messages[seq - 1], status=MessageStatus.DELETED, raw="{}", tokens=0)
        if is_last:
            self.state = state_after_run(self.visible[-1].state if self.visible else OrderState.EMPTY)
            self.open = {}
        if seq == self.system_seq:
            self.system_seq = 0
        if self.summary is not None and self.summary.to_seq >= seq:
            self.summary = None

    def rewind(self, seq: int) -> None:
        """Hide what came after ``seq``, unless that stands inside a tool call."""
        self.end_run()
        target = next((m for m in self.visible if m.seq == seq), None)
        if seq and (target is None or target.state is OrderState.CALLING):
            return
        self.state = OrderState.EMPTY if target is None else state_after_rewind(target.state)
        self.messages = [replace(m, hidden=m.hidden or m.seq > seq) for m in self.messages]
        self.open = {}
        self.system_seq = self.system_seq if self.system_seq <= seq else 0
        if self.summary is not None and self.summary.to_seq > seq:
            self.summary = None

    def summarise(self, seq: int, text: str) -> None:
        if any(m.seq == seq and m.state is not OrderState.CALLING for m in self.visible):
            self.summary = Summary(seq, text, tokens=len(text))

    def rows(self) -> WindowRows:
        """Everything that can be in a window."""
        after = 0 if self.summary is None else self.summary.to_seq
        system = self.messages[self.system_seq - 1] if self.system_seq else None
        eligible = tuple(m for m in self.messages if m.seq > after and m is not system and not m.hidden)
        return WindowRows(self.policy, len(self.messages), eligible, True, system, self.summary)


def _states(plan: AppendPlan, before: OrderState, *, calls_open: bool) -> list[OrderState]:
    """The state after each message; the results at the end leave it at CALLING while any call is open."""
    states = [before if planned.state is None else planned.state for planned in plan.messages]
    for at in reversed(range(len(states))):
        if not calls_open or plan.messages[at].state is not OrderState.TOOL:
            break
        states[at] = OrderState.CALLING
    return states
