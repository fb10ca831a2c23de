"""The store in memory: obvious, slow, correct. For tests, and the yardstick of every other store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from keepsay.errors import KeyReused, NotFound, VersionMismatch
from keepsay.model.allowance import UNSPENT, Balance, spend
from keepsay.model.conversation import Conversation, ConversationStatus, RunRecord, RunStatus, Summary
from keepsay.model.cursor import Position
from keepsay.model.ids import ConversationId, RunId, UserId, UserKey
from keepsay.model.json_text import write_json
from keepsay.model.messages import MessageStatus, OrderState
from keepsay.model.order import AppendPlan, state_after_rewind, state_after_run
from keepsay.model.standing import Standing
from keepsay.model.window import Window
from keepsay.store.memory_rows import ConversationRow
from keepsay.store.memory_runs import attempt_again, finished_before, forked, replay, start
from keepsay.store.protocol import (
    Append,
    Appended,
    Begin,
    Begun,
    Changes,
    Created,
    Erased,
    Finish,
    Finished,
    Loaded,
    NewConversation,
    Owner,
    Page,
    RunHold,
    Unset,
)

__all__ = ["MemoryStore"]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class MemoryStore:
    """Conversations in this object, gone with it. ``keepsay.store.protocol.Store`` is the contract.

    No verb awaits anything, so each is atomic on one event loop. ``clock`` gives the time, with its zone.
    """

    def __init__(self, clock: Callable[[], datetime] = _utc_now) -> None:
        self._clock = clock
        self._users: dict[UserKey, UserId] = {}
        self._rows: dict[tuple[UserKey, ConversationId], ConversationRow] = {}
        self._balances: dict[UserKey, Balance] = {}

    def expire_lease(self, owner: Owner, conversation_id: ConversationId) -> None:
        """For tests: as if the lease of the run that holds the conversation had just run out."""
        row = self._find(owner, conversation_id)
        if row.lease_until is not None:
            row.lease_until = self._clock()

    def _find(self, owner: Owner, conversation_id: ConversationId) -> ConversationRow:
        row = self._rows.get((owner.key, conversation_id))
        if row is None or row.deleted:
            raise NotFound
        return row

    @contextmanager
    def _locked(
        self, owner: Owner, conversation_id: ConversationId, expected_version: int | None = None
    ) -> Iterator[ConversationRow]:
        """A copy of the conversation to work on, kept if all goes well: all or nothing, as a transaction."""
        row = self._find(owner, conversation_id).copy()
        if expected_version is not None and expected_version != row.version:
            raise VersionMismatch(expected=expected_version, version=row.version)
        yield row
        self._rows[owner.key, conversation_id] = row

    def _of(self, owner: Owner) -> Iterator[ConversationRow]:
        return (row for (key, _), row in self._rows.items() if key == owner.key and not row.deleted)

    def _existing(self, owner: Owner, new: NewConversation) -> ConversationRow | None:
        """What stands in the place of a new conversation: by its id, which is a retry, or by its external key."""
        row = self._rows.get((owner.key, new.id))
        if row is not None:
            if row.deleted:
                raise NotFound
            if row.fingerprint != new.fingerprint:
                raise KeyReused
            return row
        if new.external_key is None:
            return None
        return next((row for row in self._of(owner) if row.external_key == new.external_key), None)

    def _add(self, row: ConversationRow) -> None:
        self._users[row.owner.key] = row.owner.user_id
        self._rows[row.owner.key, row.id] = row

    async def create(self, owner: Owner, new: NewConversation, plan: AppendPlan) -> Created:
        now = self._clock()
        row = self._existing(owner, new)
        if row is None:
            row = ConversationRow(
                id=new.id,
                owner=owner,
                fingerprint=new.fingerprint,
                role_policy=new.role_policy,
                created_at=now,
                updated_at=now,
                title=new.title,
                system_prompt=new.system_prompt,
                external_key=new.external_key,
                metadata=write_json(new.metadata or {}),
            )
            row.put(plan, now)
            self._add(row)
        return Created(row.shown(now), created=row.id == new.id)

    async def get(self, owner: Owner, conversation_id: ConversationId) -> Conversation:
        return self._find(owner, conversation_id).shown(self._clock())

    async def load(self, owner: Owner, conversation_id: ConversationId, window: Window) -> Loaded:
        row = self._find(owner, conversation_id)
        return Loaded(row.shown(self._clock()), row.window_rows())

    async def status(self, owner: Owner, conversation_id: ConversationId) -> Standing:
        row, now = self._find(owner, conversation_id), self._clock()
        lapsed = row.active_run is not None and not row.is_held(now)
        return Standing(row.shown(now), state_after_run(row.state) if lapsed else row.state, row.last_seen)

    async def list(
        self, owner: Owner, *, status: ConversationStatus | None, limit: int, after: Position | None, skip: int
    ) -> Sequence[Conversation]:
        listed = [
            row
            for row in self._of(owner)
            if (status is None or row.status is status)
            and (after is None or (row.updated_at, row.id) < (after.updated_at, after.conversation_id))
        ]
        listed.sort(key=lambda row: (row.updated_at, row.id), reverse=True)
        return [row.shown(self._clock()) for row in listed[skip : skip + limit]]

    async def update(
        self, owner: Owner, conversation_id: ConversationId, changes: Changes, *, expected_version: int | None
    ) -> Conversation:
        now = self._clock()
        with self._locked(owner, conversation_id, expected_version) as row:
            if not isinstance(changes.title, Unset):
                row.title = changes.title
            if not isinstance(changes.status, Unset):
                row.status = changes.status
            if not isinstance(changes.metadata, Unset):
                row.metadata = write_json(changes.metadata)
            return _changed(row, now)

    async def delete(
        self, owner: Owner, conversation_id: ConversationId, *, hard: bool, expected_version: int | None
    ) -> None:
        with self._locked(owner, conversation_id, expected_version) as row:
            row.deleted = True
        if hard:
            del self._rows[owner.key, conversation_id]

    async def append(self, owner: Owner, conversation_id: ConversationId, append: Append) -> Appended:
        now = self._clock()
        with self._locked(owner, conversation_id) as row:
            batch = row.batches.get(append.key)
            if batch is not None:
                if batch.fingerprint != append.fingerprint:
                    raise KeyReused
                return Appended(batch.first_seq, batch.head, batch.created_at, replayed=True)
            before = row.head
            row.hold(append.hold, now)
            row.require_head(append.expected_seq, before)
            run_id = None if append.hold is None else append.hold.run_id
            first = row.head + 1
            row.put(append.plan, now, run_id=run_id, key=append.key, fingerprint=append.fingerprint)
            row.version += 1
            return _appended(row, first)

    async def page(
        self, owner: Owner, conversation_id: ConversationId, *, after: int, before: int | None, limit: int, newest: bool
    ) -> Page:
        row = self._find(owner, conversation_id)
        found = [m for m in row.messages if m.seq > after and (before is None or m.seq < before)]
        if newest:
            found.reverse()
        return Page(tuple(found[:limit]), head=row.head, has_more=len(found) > limit)

    async def delete_message(self, owner: Owner, conversation_id: ConversationId, seq: int) -> Conversation:
        now = self._clock()
        with self._locked(owner, conversation_id) as row:
            was_last = bool(row.visible) and row.visible[-1].seq == seq
            if was_last:
                row.refuse_if_held(now)
            if not 1 <= seq <= row.head or row.messages[seq - 1].status is MessageStatus.DELETED:
                raise NotFound("message")
            row.messages[seq - 1] = replace(
                row.messages[seq - 1],
                status=MessageStatus.DELETED,
                tokens=0,
                raw="{}",
                raw_metadata=None,
                raw_usage=None,
            )
            if was_last:
                row.state = state_after_rewind(row.visible[-1].state if row.visible else OrderState.EMPTY)
                row.open_calls = {}
            row.forget_summaries(seq - 1)
            if row.system_seq == seq:
                row.system_seq, row.system_prompt = 0, None
            return _changed(row, now)

    async def rewind(
        self, owner: Owner, conversation_id: ConversationId, at_seq: int, *, expected_version: int | None
    ) -> Conversation:
        now = self._clock()
        with self._locked(owner, conversation_id, expected_version) as row:
            row.refuse_if_held(now)
            if row.active_run is not None:
                row.close_run(RunStatus.EXPIRED, now)
            row.state = row.state_at(at_seq)
            row.messages = [replace(m, hidden=m.hidden or m.seq > at_seq) for m in row.messages]
            row.open_calls = {}
            if row.system_seq > at_seq:
                row.system_seq, row.system_prompt = 0, None
            row.forget_summaries(at_seq)
            return _changed(row, now)

    async def fork(
        self, owner: Owner, conversation_id: ConversationId, new: NewConversation, at_seq: int | None
    ) -> Created:
        now = self._clock()
        source = self._find(owner, conversation_id)
        row = self._existing(owner, new)
        if row is None:
            at = max((m.seq for m in source.visible), default=0) if at_seq is None else at_seq
            row = forked(source, new, at, now)
            self._add(row)
        return Created(row.shown(now), created=row.id == new.id)

    async def begin(self, owner: Owner, conversation_id: ConversationId, begin: Begin) -> Begun:
        now = self._clock()
        with self._locked(owner, conversation_id) as row:
            earlier = row.runs.get(begin.run_id)
            if earlier is not None and earlier.fingerprint != begin.fingerprint:
                raise KeyReused
            begun_before = replay(row, begin, now)
            if begun_before is not None:
                return begun_before
            before, took_over = row.head, row.active_run is not None
            if took_over:
                if begin.on_busy == "reject":
                    row.refuse_if_held(now)
                row.close_run(RunStatus.CANCELLED if row.is_held(now) else RunStatus.EXPIRED, now)
            row.fence += 1
            row.active_run, row.run_owner = begin.run_id, begin.owner_token
            row.lease_until = now + timedelta(seconds=begin.lease)
            if earlier is None:
                row.require_head(begin.expected_seq, before)
                start(row, begin, now)
            else:
                attempt_again(row, begin.run_id)
            row.version += 1
            run = row.shown_run(begin.run_id, now)
            if begin.allowance is not None:
                self._balances[owner.key] = spend(begin.allowance, self._balances.get(owner.key, UNSPENT), now)
            return Begun(run, replayed=False, held=True, took_over=took_over, rows=row.window_rows())

    async def heartbeat(self, owner: Owner, conversation_id: ConversationId, hold: RunHold) -> datetime:
        with self._locked(owner, conversation_id) as row:
            row.hold(hold, self._clock())
            assert row.lease_until is not None
            return row.lease_until

    async def finish(self, owner: Owner, conversation_id: ConversationId, finish: Finish) -> Finished:
        now, hold = self._clock(), finish.hold
        with self._locked(owner, conversation_id) as row:
            record = row.find_run(hold.run_id).record
            if (record.fence, record.status) == (hold.fence, finish.status):
                return finished_before(row, record, finish)
            row.hold(hold, now)
            first = row.head + 1
            row.put(finish.plan, now, run_id=hold.run_id)
            row.close_run(finish.status, now, finish.error)
            row.version += 1
            appended = _appended(row, first) if finish.plan.messages else None
            if appended is not None:
                row.finishes[hold.run_id, hold.fence] = first, appended.created_at
            return Finished(row.find_run(hold.run_id).record, appended)

    async def cancel(self, owner: Owner, conversation_id: ConversationId, run_id: RunId) -> RunRecord:
        now = self._clock()
        with self._locked(owner, conversation_id) as row:
            if row.active_run == run_id:
                row.close_run(RunStatus.CANCELLED if row.is_held(now) else RunStatus.EXPIRED, now)
                row.version += 1
            return row.shown_run(run_id, now)

    async def run(self, owner: Owner, conversation_id: ConversationId, run_id: RunId) -> RunRecord:
        return self._find(owner, conversation_id).shown_run(run_id, self._clock())

    async def summarise(
        self, owner: Owner, conversation_id: ConversationId, *, to_seq: int, text: str, tokens: int
    ) -> Summary:
        with self._locked(owner, conversation_id) as row:
            if to_seq == 0:
                raise NotFound("message")
            row.state_at(to_seq)
            row.summaries[to_seq] = Summary(to_seq, text, tokens)
            row.version += 1
            return row.summaries[to_seq]

    async def export(self, owner: Owner, *, after: ConversationId | None, limit: int) -> Sequence[Conversation]:
        rows = sorted((row for row in self._of(owner) if after is None or row.id > after), key=lambda row: row.id)
        return [row.shown(self._clock()) for row in rows[:limit]]

    async def erase(self, owner: Owner) -> Erased:
        self._balances.pop(owner.key, None)
        rows = [self._rows.pop(place) for place in tuple(self._rows) if place[0] == owner.key]
        return Erased(
            conversations=len(rows),
            messages=sum(len(row.messages) for row in rows),
            runs=sum(row.ended_runs for row in rows),
            summaries=sum(len(row.summaries) for row in rows),
            users=0 if self._users.pop(owner.key, None) is None else 1,
        )

    async def users(self, *, after: UserId | None, limit: int) -> Sequence[UserId]:
        ids = sorted(self._users.values(), key=str.encode)
        return [user_id for user_id in ids if after is None or user_id.encode() > after.encode()][:limit]

    async def close(self) -> None:
        """Nothing to give back."""


def _changed(row: ConversationRow, now: datetime) -> Conversation:
    row.updated_at = row.later(now)
    row.version += 1
    return row.shown(now)


def _appended(row: ConversationRow, first_seq: int) -> Appended:
    created_at = row.messages[first_seq - 1].created_at
    return Appended(first_seq, row.head, created_at, replayed=False)
