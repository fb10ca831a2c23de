"""A run: one execution of an agent on a conversation, from its begin to its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType

from keepsay.errors import ConversationBusy, KeepsayError, RunSuperseded, Unavailable
from keepsay.library.ids import new_key
from keepsay.library.messages import AnyMessage, fingerprint_of, plan_messages
from keepsay.model.conversation import RunRecord, RunStatus
from keepsay.model.ids import ConversationId, RunId, append_id_for, checked_key
from keepsay.model.messages import Message, MessageStatus, OrderState, Role
from keepsay.model.order import AppendPlan
from keepsay.model.window import ModelWindow, Window, choose_window
from keepsay.store.protocol import Append, Appended, Begin, Begun, Ending, Finish, Owner, RunHold, Store

FINISH_SECONDS = 5.0
"""How long leaving a run that was cancelled may take to say so to the database."""


@dataclass(frozen=True, slots=True)
class Appending:
    """What an append did. ``replayed``: it was done before, with the same key; this is the first result again."""

    messages: tuple[Message, ...]
    head: int
    replayed: bool


class Run:
    """A run under way; ``UserScope.run`` makes one. ``window`` is what the model gets to see.

    With ``replayed`` the run with this key has completed before: ``messages`` holds what it stored, and ``append`` and
    ``finish`` write nothing. Check it before asking the model again.
    """

    def __init__(self, store: Store, owner: Owner, begin: Begin, begun: Begun, window: Window) -> None:
        self._store = store
        self._owner = owner
        self._record = begun.run
        self._hold = RunHold(begun.run.id, begun.run.fence, begin.lease)
        self.replayed = begun.replayed and not begun.held
        self.took_over = begun.took_over
        self.window: ModelWindow = choose_window(begun.rows, window)
        self.messages: tuple[Message, ...] = begun.rows.messages if self.replayed else ()

    @property
    def record(self) -> RunRecord:
        """The run as it is stored: as it began, or once it is over as it ended."""
        return self._record

    @property
    def id(self) -> RunId:
        return self._record.id

    @property
    def conversation_id(self) -> ConversationId:
        return self._record.conversation_id

    @property
    def attempt(self) -> int:
        """1, or more for a retry with the key of a run that failed or expired."""
        return self._record.attempt

    @property
    def status(self) -> RunStatus:
        return self._record.status

    @property
    def is_over(self) -> bool:
        return self._record.status is not RunStatus.RUNNING

    @property
    def answer(self) -> Message | None:
        """The last message of the assistant that this run stored."""
        said = [message for message in self.messages if message.role is Role.ASSISTANT]
        return said[-1] if said else None

    async def append(self, *messages: AnyMessage, key: str | None = None) -> Appending:
        """Store messages of the run, all or none, and renew its lease.

        Raises ``RunSuperseded`` when the run was cancelled or taken over, ``RoleOrderError``, ``InvalidInput``.
        """
        plan = plan_messages(messages)
        if self.replayed:
            return self._replay()
        checked = new_key() if key is None else checked_key(key)
        appended = await self._store.append(
            self._owner,
            self.conversation_id,
            Append(
                plan=plan,
                key=append_id_for(self.conversation_id, checked),
                fingerprint=fingerprint_of("append", plan),
                hold=self._hold,
            ),
        )
        return self._keep(appending(self.conversation_id, plan, appended, self.id))

    async def heartbeat(self) -> None:
        """Renew the lease. Done for you every third of it; call it from code that blocks the event loop for long."""
        await self._store.heartbeat(self._owner, self.conversation_id, self._hold)

    async def finish(self, *messages: AnyMessage) -> Appending:
        """Store the last messages and complete the run, in one round trip. Raises as ``append`` does."""
        return await self._end(RunStatus.COMPLETED, messages)

    async def fail(self, error: str, *messages: AnyMessage) -> Appending:
        """End the run as failed. ``error`` is shown to users: a short code, no secrets. Raises as ``append`` does."""
        return await self._end(RunStatus.FAILED, messages, error)

    async def cancel(self, *messages: AnyMessage) -> Appending:
        """End the run as cancelled. Raises as ``append`` does."""
        return await self._end(RunStatus.CANCELLED, messages)

    async def _end(self, status: Ending, messages: tuple[AnyMessage, ...], error: str | None = None) -> Appending:
        plan = plan_messages(messages)
        if self.replayed:
            return self._replay()
        finish = Finish(self._hold, status, plan, None if error is None else error[:500].replace("\0", ""))
        finished = await self._store.finish(self._owner, self.conversation_id, finish)
        self._record = finished.run
        if finished.appended is None:
            return Appending((), finished.run.last_seq, False)
        return self._keep(appending(self.conversation_id, plan, finished.appended, self.id))

    def _keep(self, appending: Appending) -> Appending:
        self.messages += appending.messages
        return appending

    def _replay(self) -> Appending:
        return Appending(self.messages, self._record.last_seq, True)


class RunContext:
    """``async with`` this to run: begins, renews the lease, ends. See ``UserScope.run``."""

    def __init__(
        self, store: Store, owner: Owner, conversation_id: ConversationId, begin: Begin, window: Window
    ) -> None:
        self._store = store
        self._owner = owner
        self._conversation_id = conversation_id
        self._begin = begin
        self._window = window
        self._run: Run | None = None
        self._body: asyncio.Task[object] | None = None
        self._beat: asyncio.Task[None] | None = None
        self._superseded: RunSuperseded | None = None

    async def __aenter__(self) -> Run:
        begun = await self._store.begin(self._owner, self._conversation_id, self._begin)
        if begun.replayed and not begun.held:
            _refuse_unfinished(begun.run)
        self._run = Run(self._store, self._owner, self._begin, begun, self._window)
        if begun.held:
            self._body = asyncio.current_task()
            self._beat = asyncio.create_task(self._keep_lease(self._run), name=f"keepsay lease of {begun.run.id}")
        return self._run

    async def _keep_lease(self, run: Run) -> None:
        """Renew the lease until the run is over; when the conversation was lost, stop the body at once."""
        while True:
            await asyncio.sleep(self._begin.lease / 3)
            if run.is_over:
                return
            try:
                await run.heartbeat()
            except RunSuperseded as error:
                self._stop_body(run, error)
                return
            except Unavailable:
                continue  # the fence guards the data; a lease that lapses only lets others take over

    def _stop_body(self, run: Run, error: RunSuperseded) -> None:
        if not run.is_over and self._body is not None:
            self._superseded = error
            self._body.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        run = self._run
        assert run is not None
        if self._beat is not None:
            self._beat.cancel()
        if isinstance(error, asyncio.CancelledError) and self._superseded is not None:
            assert self._body is not None
            self._body.uncancel()
            raise self._superseded from error
        if run.is_over or run.replayed:
            return
        if error is None:
            await run.finish()
        elif isinstance(error, asyncio.CancelledError):
            await _bounded(run.cancel())
        elif not isinstance(error, RunSuperseded):
            await _bounded(run.fail(_code_of(error)))


def _code_of(error: BaseException) -> str:
    """A word for what happened. Never what the error says, which is not for users."""
    return error.code if isinstance(error, KeepsayError) else type(error).__name__


async def _bounded(ending: Coroutine[object, object, Appending]) -> None:
    """Let the run's end reach the database although the body failed; what hinders it must not hide why it failed."""
    task = asyncio.create_task(ending)
    with contextlib.suppress(RunSuperseded, Unavailable, TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), FINISH_SECONDS)


def _refuse_unfinished(run: RunRecord) -> None:
    """A replay of a run that did not complete has no result to give."""
    if run.status is RunStatus.RUNNING:
        raise ConversationBusy(run_id=str(run.id), retry_after=1.0)
    if run.status is not RunStatus.COMPLETED:
        raise RunSuperseded(run_id=str(run.id))


def appending(
    conversation_id: ConversationId, plan: AppendPlan, appended: Appended, run_id: RunId | None = None
) -> Appending:
    """The stored messages of a plan, as they came to stand."""
    messages = tuple(_stored(conversation_id, plan, appended, run_id))
    return Appending(messages, appended.head, appended.replayed)


def _stored(
    conversation_id: ConversationId, plan: AppendPlan, appended: Appended, run_id: RunId | None
) -> Iterator[Message]:
    for at, planned in enumerate(plan.messages):
        yield Message(
            conversation_id=conversation_id,
            seq=appended.first_seq + at,
            role=planned.role,
            status=MessageStatus.INCOMPLETE if planned.incomplete else MessageStatus.COMPLETE,
            state=planned.state if planned.state is not None else OrderState.EMPTY,
            tokens=planned.tokens,
            format=planned.format,
            raw=planned.payload,
            created_at=appended.created_at + at * timedelta(microseconds=1),
            run_id=run_id,
            client_id=planned.client_id,
            raw_metadata=planned.metadata,
            raw_usage=planned.usage,
        )
