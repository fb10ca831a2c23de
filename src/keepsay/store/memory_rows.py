"""One conversation as the memory store keeps it, and what verbs do to it: what the SQL functions do, said in Python.

Nothing is kept that can be counted: head, message count and newest summary are read off the rows each time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from keepsay.errors import ConversationBusy, InvalidInput, NotFound, RunSuperseded, SeqMismatch
from keepsay.model import limits
from keepsay.model.conversation import Conversation, ConversationStatus, RolePolicy, RunRecord, RunStatus, Summary
from keepsay.model.ids import ConversationId, Key, RunId
from keepsay.model.json_text import read_json
from keepsay.model.messages import Message, MessageStatus, OpenCall, OrderState, Role
from keepsay.model.order import (
    AppendPlan,
    PlannedMessage,
    calls_refusal,
    cut_refusal,
    order_refusal,
    state_after_rewind,
    state_after_run,
    waits_for_runs,
)
from keepsay.model.window import WindowRows
from keepsay.store.protocol import Owner, RunHold

MICROSECOND = timedelta(microseconds=1)
STAND_IN_TOKENS = 10


@dataclass(frozen=True, slots=True)
class Batch:
    """A keyed append, for its retries."""

    first_seq: int
    head: int
    created_at: datetime
    fingerprint: int | None


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as it is stored: not yet shown as expired, its last seq not yet followed."""

    record: RunRecord
    fingerprint: int


@dataclass(slots=True)
class ConversationRow:
    """A conversation with all that hangs on it. A verb works on a copy, which takes the row's place if it succeeds."""

    id: ConversationId
    owner: Owner
    fingerprint: int
    role_policy: RolePolicy
    created_at: datetime
    updated_at: datetime
    title: str | None = None
    system_prompt: str | None = None
    external_key: Key | None = None
    metadata: str = "{}"
    status: ConversationStatus = ConversationStatus.ACTIVE
    state: OrderState = OrderState.EMPTY
    system_seq: int = 0
    version: int = 1
    fence: int = 0
    active_run: RunId | None = None
    run_owner: int | None = None
    lease_until: datetime | None = None
    deleted: bool = False
    open_calls: dict[str, OpenCall] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    batches: dict[UUID, Batch] = field(default_factory=dict)
    runs: dict[RunId, RunRow] = field(default_factory=dict)
    finishes: dict[tuple[RunId, int], tuple[int, datetime]] = field(default_factory=dict)
    """By run and fence: where the last messages of a run came to stand, and when."""
    summaries: dict[int, Summary] = field(default_factory=dict)

    def copy(self) -> ConversationRow:
        return replace(
            self,
            open_calls=dict(self.open_calls),
            messages=list(self.messages),
            batches=dict(self.batches),
            runs=dict(self.runs),
            finishes=dict(self.finishes),
            summaries=dict(self.summaries),
        )

    @property
    def head(self) -> int:
        return len(self.messages)

    @property
    def visible(self) -> list[Message]:
        """The messages that are neither deleted nor rewound."""
        return [m for m in self.messages if m.status is not MessageStatus.DELETED and not m.hidden]

    @property
    def newest_summary(self) -> Summary | None:
        return self.summaries[max(self.summaries)] if self.summaries else None

    @property
    def ended_runs(self) -> int:
        """Runs that ended at least once: one under way is a fact of the conversation, not yet of its own."""
        records = (run.record for run in self.runs.values())
        return sum(record.attempt > 1 or record.status is not RunStatus.RUNNING for record in records)

    def later(self, now: datetime) -> datetime:
        """Now, but after everything that the conversation has seen."""
        return max(now, self.updated_at + MICROSECOND)

    def is_held(self, now: datetime) -> bool:
        """Whether a run holds the conversation and its lease has not run out."""
        return self.lease_until is not None and self.lease_until > now

    def shown(self, now: datetime) -> Conversation:
        metadata = read_json(self.metadata)
        assert isinstance(metadata, dict)
        return Conversation(
            id=self.id,
            user_id=self.owner.user_id,
            role_policy=self.role_policy,
            status=self.status,
            head=self.head,
            message_count=len(self.visible),
            version=self.version,
            state=self.state,
            created_at=self.created_at,
            updated_at=self.updated_at,
            title=self.title,
            system_prompt=self.system_prompt,
            external_key=self.external_key,
            metadata=metadata,
            active_run=self.active_run if self.is_held(now) else None,
        )

    def find_run(self, run_id: RunId) -> RunRow:
        if run_id not in self.runs:
            raise NotFound("run")
        return self.runs[run_id]

    def shown_run(self, run_id: RunId, now: datetime) -> RunRecord:
        record = self.find_run(run_id).record
        if record.status is not RunStatus.RUNNING:
            return record
        status = RunStatus.RUNNING if self.is_held(now) else RunStatus.EXPIRED
        return replace(record, status=status, last_seq=self.head)

    def window_rows(self) -> WindowRows:
        """Everything that can be in a window."""
        summary = self.newest_summary
        start = 0 if summary is None else summary.to_seq
        system = self.messages[self.system_seq - 1] if self.system_seq else None
        eligible = (m for m in self.messages if m.seq > start and m is not system and not m.hidden)
        return WindowRows(self.role_policy, self.head, tuple(eligible), True, system, summary)

    # The checks, in the order of the port; nothing below is undone here: a verb that fails throws its copy away.

    def refuse_if_held(self, now: datetime) -> None:
        if self.is_held(now):
            assert self.lease_until is not None
            raise ConversationBusy(run_id=str(self.active_run), retry_after=(self.lease_until - now).total_seconds())

    def require_head(self, expected: int | None, head: int) -> None:
        if expected is not None and expected != head:
            raise SeqMismatch(expected=expected, head=head)

    def hold(self, held: RunHold | None, now: datetime) -> None:
        """Let a run that still holds the conversation write on; let others write where the policy allows it."""
        if held is not None:
            if self.active_run != held.run_id or self.fence != held.fence:
                raise RunSuperseded(run_id=str(held.run_id))
            self.lease_until = now + timedelta(seconds=held.lease)
        elif self.active_run is not None:
            if waits_for_runs(self.role_policy):
                self.refuse_if_held(now)
            if not self.is_held(now):
                self.close_run(RunStatus.EXPIRED, now)

    def put(
        self,
        plan: AppendPlan,
        now: datetime,
        *,
        run_id: RunId | None = None,
        key: UUID | None = None,
        fingerprint: int | None = None,
    ) -> None:
        """Check the plan and append its messages, a microsecond apart. Counts the version no further."""
        still_open = self._calls_after(plan)
        self._refuse_taken_client_ids(plan)
        if not plan.messages:
            return
        first, moment = self.head + 1, self.later(now)
        if plan.system_at is not None and not self.system_seq:
            self.system_seq = first + plan.system_at
        states = self._states_after(plan, bool(still_open))
        self.messages += [
            self._stored(planned, state, first + at, moment + at * MICROSECOND, run_id)
            for at, (planned, state) in enumerate(zip(plan.messages, states, strict=True))
        ]
        if key is not None:
            self.batches[key] = Batch(first, self.head, moment, fingerprint)
        self.state = states[-1]
        # Under the open policy calls are only followed during a run, whose end closes them.
        follows = self.role_policy is not RolePolicy.OPEN or self.active_run is not None
        self.open_calls = still_open if follows else {}
        self.updated_at = self.messages[-1].created_at

    def _calls_after(self, plan: AppendPlan) -> dict[str, OpenCall]:
        """The calls that are open after the plan. Raises where it may not stand here."""
        allowed = plan.allowed[self.role_policy]
        if not allowed & (1 << self.state):
            if self.open_calls and allowed:
                raise self._unanswered(plan, unknown=False)
            policy = self.role_policy
            last = self._last_role() if allowed else plan.last_roles[policy]
            raise order_refusal(last, plan.attempted_roles[policy])
        minds_calls = self.role_policy is not RolePolicy.OPEN
        if minds_calls and not set(plan.answers) <= self.open_calls.keys():
            raise self._unanswered(plan, unknown=True)
        still_open = {name: call for name, call in self.open_calls.items() if name not in plan.answers}
        if minds_calls and plan.requires_closed and still_open:
            raise self._unanswered(plan, unknown=False)
        opened = {call.call_id: call for call in plan.opens}
        if minds_calls and not opened.keys().isdisjoint(still_open):
            raise InvalidInput("A tool call with this id is open already.", field="tool_calls")
        still_open |= opened
        if plan.opens and len(still_open) > limits.OPEN_CALLS:
            raise InvalidInput(f"At most {limits.OPEN_CALLS} tool calls may be open.", field="tool_calls")
        return still_open

    @property
    def last_seen(self) -> Message | None:
        """The newest visible message of those that the order sees."""
        return next((m for m in reversed(self.visible) if m.role is not Role.OTHER), None)

    def _last_role(self) -> Role | None:
        return None if self.last_seen is None else self.last_seen.role

    def _unanswered(self, plan: AppendPlan, *, unknown: bool) -> Exception:
        attempted = plan.attempted_roles[self.role_policy]
        return calls_refusal(_in_order(self.open_calls), self._last_role(), attempted, unknown=unknown)

    def _refuse_taken_client_ids(self, plan: AppendPlan) -> None:
        taken = {m.client_id for m in self.messages}
        for planned in plan.messages:
            if planned.client_id is not None and planned.client_id in taken:
                raise InvalidInput("A client id of these messages is taken in the conversation.", field="client_id")
            taken.add(planned.client_id)

    def _states_after(self, plan: AppendPlan, calls_open: bool) -> list[OrderState]:
        """The state after each message; at the end of the batch the results count as all in only if no call is open."""
        states = [self.state if planned.state is None else planned.state for planned in plan.messages]
        for at in reversed(range(len(states))):
            if not calls_open or plan.messages[at].state is not OrderState.TOOL:
                break
            states[at] = OrderState.CALLING
        return states

    def _stored(
        self, planned: PlannedMessage, state: OrderState, seq: int, created_at: datetime, run_id: RunId | None
    ) -> Message:
        return Message(
            conversation_id=self.id,
            seq=seq,
            role=planned.role,
            status=MessageStatus.INCOMPLETE if planned.incomplete else MessageStatus.COMPLETE,
            state=state,
            tokens=planned.tokens,
            format=planned.format,
            raw=planned.payload,
            created_at=created_at,
            run_id=run_id,
            client_id=planned.client_id,
            raw_metadata=planned.metadata,
            raw_usage=planned.usage,
        )

    def close_run(self, status: RunStatus, now: datetime, error: str | None = None) -> None:
        """End the run that holds the conversation, and answer the calls that are still open with their stand-ins."""
        assert self.active_run is not None
        ended_at = self.later(now)
        for at, name in enumerate(_in_order(self.open_calls)):
            self._put_stand_in(self.open_calls[name], ended_at + at * MICROSECOND, last=at == len(self.open_calls) - 1)
        self.open_calls = {}
        self.state = state_after_run(self.state)
        run = self.runs[self.active_run]
        record = replace(run.record, status=status, error=error, ended_at=ended_at, last_seq=self.head)
        self.runs[self.active_run] = replace(run, record=record)
        self.active_run = self.run_owner = self.lease_until = None

    def _put_stand_in(self, call: OpenCall, created_at: datetime, *, last: bool) -> None:
        self.messages.append(
            Message(
                conversation_id=self.id,
                seq=self.head + 1,
                role=Role.TOOL,
                status=MessageStatus.SYNTHETIC,
                state=OrderState.TOOL if last else OrderState.CALLING,
                tokens=STAND_IN_TOKENS,
                format=call.format,
                raw=call.interrupted,
                created_at=created_at,
                run_id=self.active_run,
            )
        )
        self.updated_at = created_at

    def state_at(self, seq: int) -> OrderState:
        """The order state once the visible message at ``seq`` is the last again; 0 stands for before the first."""
        if seq == 0:
            return OrderState.EMPTY
        found = next((m for m in self.visible if m.seq == seq), None)
        if found is None:
            raise NotFound("message")
        if found.state is OrderState.CALLING:
            raise cut_refusal(seq)
        return state_after_rewind(found.state)

    def forget_summaries(self, after: int) -> None:
        self.summaries = {seq: summary for seq, summary in self.summaries.items() if seq <= after}


def _in_order(calls: Iterable[str]) -> list[str]:
    """Call ids as jsonb orders its keys: shorter ones first, then by their bytes."""
    return sorted(calls, key=lambda call_id: (len(call_id), call_id))
