"""How the memory store begins runs, begins them again, and tells what became of them; and how it forks."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from keepsay.errors import RunSuperseded
from keepsay.model.conversation import RunRecord, RunStatus, Summary
from keepsay.model.ids import RunId
from keepsay.model.json_text import write_json
from keepsay.model.messages import MessageStatus, Role
from keepsay.model.window import WindowRows
from keepsay.store.memory_rows import ConversationRow, RunRow
from keepsay.store.protocol import Appended, Begin, Begun, Finish, Finished, NewConversation


def start(row: ConversationRow, begin: Begin, now: datetime) -> None:
    """Store the run that now holds the conversation, and append what it begins with."""
    record = RunRecord(
        id=begin.run_id,
        conversation_id=row.id,
        status=RunStatus.RUNNING,
        attempt=1,
        fence=row.fence,
        first_seq=row.head + 1,
        last_seq=row.head,
        created_at=row.later(now),
        key=begin.key,
    )
    row.runs[begin.run_id] = RunRow(record, begin.fingerprint)
    row.put(begin.plan, now, run_id=begin.run_id)


def attempt_again(row: ConversationRow, run_id: RunId) -> None:
    """Run a failed or expired run again, on the messages that it appended then; refused if the conversation went on."""
    run = row.runs[run_id]
    if run.record.last_seq != row.head or (row.messages and row.messages[-1].hidden) or _is_question_gone(row, run_id):
        raise RunSuperseded(run_id=str(run_id))
    record = replace(
        run.record,
        status=RunStatus.RUNNING,
        fence=row.fence,
        attempt=run.record.attempt + 1,
        ended_at=None,
        error=None,
    )
    row.runs[run_id] = replace(run, record=record)


def _is_question_gone(row: ConversationRow, run_id: RunId) -> bool:
    questions = (m for m in row.messages if m.run_id == run_id and m.role is Role.USER)
    return any(m.status is MessageStatus.DELETED for m in questions)


def replay(row: ConversationRow, begin: Begin, now: datetime) -> Begun | None:
    """What a run with this key is told that is under way or ended well; ``None`` if there is something to be done."""
    run = row.runs.get(begin.run_id)
    if run is None:
        return None
    is_mine = row.active_run == begin.run_id and row.run_owner == begin.owner_token
    if is_mine:
        row.lease_until = now + timedelta(seconds=begin.lease)
    shown = row.shown_run(begin.run_id, now)
    if run.record.status in (RunStatus.COMPLETED, RunStatus.CANCELLED):
        return Begun(shown, replayed=True, held=False, took_over=False, rows=_rows_of_run(row, run.record))
    if run.record.status is RunStatus.RUNNING and row.is_held(now):
        return Begun(shown, replayed=True, held=is_mine, took_over=False, rows=row.window_rows())
    return None


def _rows_of_run(row: ConversationRow, run: RunRecord) -> WindowRows:
    mine = tuple(m for m in row.messages if m.run_id == run.id and run.first_seq <= m.seq <= run.last_seq)
    return WindowRows(row.role_policy, run.last_seq, mine, from_start=False)


def finished_before(row: ConversationRow, run: RunRecord, finish: Finish) -> Finished:
    """The first result of a finish. Refused where the run ended likewise, but without the messages of this one."""
    if not finish.plan.messages:
        return Finished(run, None)
    found = row.finishes.get((run.id, run.fence))
    if found is None:
        raise RunSuperseded(run_id=str(run.id))
    first_seq, created_at = found
    return Finished(run, Appended(first_seq, run.last_seq, created_at, replayed=True))


def forked(source: ConversationRow, new: NewConversation, at: int, now: datetime) -> ConversationRow:
    """A conversation that starts as a copy of what is not rewound up to ``at``, numbered anew from 1."""
    copied = [m for m in source.messages if m.seq <= at and not m.hidden]
    numbers = {m.seq: n for n, m in enumerate(copied, start=1)}
    created_at = max(now, source.updated_at)  # later than all that is copied
    return ConversationRow(
        id=new.id,
        owner=source.owner,
        fingerprint=new.fingerprint,
        role_policy=source.role_policy,
        created_at=created_at,
        updated_at=created_at,
        title=source.title if new.title is None else new.title,
        system_prompt=source.system_prompt if at >= source.system_seq else None,
        external_key=new.external_key,
        metadata=source.metadata if new.metadata is None else write_json(new.metadata),
        state=source.state_at(at),
        system_seq=numbers.get(source.system_seq, 0),
        messages=[replace(m, conversation_id=new.id, seq=numbers[m.seq], run_id=None) for m in copied],
        summaries=_copied_summary(source, numbers),
    )


def _copied_summary(source: ConversationRow, numbers: dict[int, int]) -> dict[int, Summary]:
    """The newest summary of what is copied. It ends at a visible message: what hides or deletes that one forgets it."""
    newest = max((seq for seq in source.summaries if seq in numbers), default=None)
    return {} if newest is None else {numbers[newest]: replace(source.summaries[newest], to_seq=numbers[newest])}
