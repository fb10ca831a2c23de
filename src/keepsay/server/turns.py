"""A turn: store what the user said, let the agent think, store its answer. No connection is held while it thinks.

Each turn is a task of its own: whoever asked for it may wait, leave, or come back for it; none of that ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from keepsay.errors import ConversationBusy, InvalidInput, KeepsayError, RoleOrderError, RunSuperseded, Unavailable
from keepsay.library.messages import AnyMessage
from keepsay.library.run import Run
from keepsay.library.scope import UserScope
from keepsay.model.allowance import Allowance
from keepsay.model.conversation import RunRecord, RunStatus
from keepsay.model.json_text import JsonObject, JsonValue
from keepsay.model.messages import Message, NewMessage, Role
from keepsay.model.window import Window
from keepsay.server.agents import Agent, AgentContext, ask
from keepsay.server.observe import Observation, careful_logger
from keepsay.server.refusals import AgentFailed, ServerStopping
from keepsay.store.protocol import OnBusy

__all__ = ["Asked", "BegunTurn", "Turn", "Turns"]

logger = careful_logger("keepsay.server")

FAIL_SECONDS = 2.0
"""How long a turn that is cut off, by the server's end, may take to say so to the database."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a turn is to answer, and how: see ``UserScope.run``. Without messages it answers what stands there."""

    messages: tuple[AnyMessage, ...] = ()
    request_id: str | None = None
    window: Window = field(default_factory=Window)
    on_busy: OnBusy = "reject"
    expected_seq: int | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn that was answered: now, or before by the same request (``replayed``). ``messages`` are the agent's."""

    run: RunRecord
    messages: tuple[Message, ...]
    replayed: bool

    @property
    def response(self) -> str:
        """The words of the answer; empty when the assistant ended without any."""
        answer = self.answer
        return "" if answer is None else _words(answer.payload)

    @property
    def answer(self) -> Message | None:
        return next((message for message in reversed(self.messages) if message.role is Role.ASSISTANT), None)

    @property
    def tool_calls(self) -> list[JsonValue]:
        """Every tool call that the agent made in this turn."""
        calls = (message.tool_calls for message in self.messages if message.role is Role.ASSISTANT)
        return [call for made in calls if isinstance(made, list) for call in made]


def _words(payload: JsonObject) -> str:
    content = payload.get("content")
    if isinstance(content, list):
        parts = (part.get("text") or part.get("refusal") for part in content if isinstance(part, dict))
        return "".join(part for part in parts if isinstance(part, str))
    words = content or payload.get("refusal")
    return words if isinstance(words, str) else ""


@dataclass(frozen=True, slots=True)
class BegunTurn:
    """A turn that has begun: now, or before by the same request (``replayed``); then ``run`` is as it is now."""

    run: RunRecord
    replayed: bool


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A turn under way in this process. ``begun`` is done once its run has begun."""

    task: asyncio.Task[Turn]
    begun: asyncio.Future[Run]

    def cut(self) -> None:
        """Stop the agent. Once is enough: a second time would stop the run from saying how it ended."""
        if self.begun.done() and not self.task.cancelling():
            self.task.cancel()


class Turns:
    """Takes turns with one agent, and knows which are under way.

    ``observation``: who counts them. ``allowance``: how many runs each user may begin. ``stop_seconds``: how long
    ``stop`` lets turns go on.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        observation: Observation | None = None,
        allowance: Allowance | None = None,
        stop_seconds: float = 0.0,
    ) -> None:
        self._agent = agent
        self._name = getattr(agent, "__name__", type(agent).__name__)
        self._observation = Observation() if observation is None else observation
        self._allowance = allowance
        self._stop_seconds = stop_seconds
        self._under_way: dict[asyncio.Task[Turn], _UnderWay] = {}
        self._is_cut = False

    async def take(self, user: UserScope, conversation_id: UUID | str, asked: Asked) -> Turn:
        """Answer, and wait until that is stored. Whoever stops waiting does not stop the turn.

        The same ``request_id`` again gives the first answer. Raises ``AgentFailed``, ``ServerStopping``, and as
        ``UserScope.run`` does. Once the user's messages are stored, no error says ``not_applied``.
        """
        turn = self._start(user, conversation_id, asked)
        await asyncio.wait({turn.task})
        return turn.task.result()

    async def begin(self, user: UserScope, conversation_id: UUID | str, asked: Asked) -> BegunTurn:
        """Begin to answer, and wait until the user's messages are stored and the run is under way.

        The same ``request_id`` again tells what became of the run. Raises as ``UserScope.run`` does.
        """
        turn = self._start(user, conversation_id, asked)
        either: tuple[asyncio.Future[Any], ...] = (turn.task, turn.begun)
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if turn.begun.done():
            run = turn.begun.result()
            return BegunTurn(run.record, run.replayed)
        error = turn.task.exception()
        assert error is not None  # a turn that ends well has begun
        key = asked.request_id
        if key is None or not isinstance(error, ConversationBusy | RunSuperseded):
            raise error
        if error.run_id != str(user.run_id(conversation_id, key)):
            raise error
        return BegunTurn(await user.get_run(conversation_id, error.run_id), replayed=True)

    async def cancel(self, user: UserScope, conversation_id: UUID | str, run_id: UUID | str) -> RunRecord:
        """Cancel a run wherever it is under way. Here its agent is stopped at once, elsewhere within a third of its
        lease; it writes nothing more from now on. Raises ``NotFound``.
        """
        run = await user.cancel_run(conversation_id, run_id)
        if run.status in (RunStatus.CANCELLED, RunStatus.EXPIRED):  # else it ends by itself
            self._cut_here(run.conversation_id, lambda other: other.id == run.id)
        return run

    def open(self) -> None:
        """Take turns, again if ``stop`` was called."""
        self._is_cut = False

    async def stop(self) -> None:
        """Let the turns under way go on for a while, then cut them."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=self._stop_seconds)
        await self.cut()

    async def cut(self) -> None:
        """Fail the turns under way as ``interrupted`` and give up their leases: their retries may begin at once.

        From now on turns are refused. Returns after ``FAIL_SECONDS`` though the database may not have answered.
        """
        self._is_cut = True
        for turn in self._under_way.values():
            turn.cut()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=FAIL_SECONDS)

    def _cut_here(self, conversation_id: UUID, is_lost: Callable[[Run], bool]) -> None:
        """Stop the agents of runs that have lost this conversation: they need not find out by themselves."""
        for turn in self._under_way.values():
            run = turn.begun.result() if turn.begun.done() else None
            if run is not None and run.conversation_id == conversation_id and is_lost(run):
                turn.cut()

    def _start(self, user: UserScope, conversation_id: UUID | str, asked: Asked) -> _UnderWay:
        if self._is_cut:
            raise ServerStopping(outcome="not_applied")
        begun: asyncio.Future[Run] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._take(user, conversation_id, asked, begun), name="keepsay turn")
        turn = self._under_way[task] = _UnderWay(task, begun)
        task.add_done_callback(self._settle)
        self._observation.metrics.turns.inc()
        return turn

    def _settle(self, task: asyncio.Task[Turn]) -> None:
        """Forget the turn. Nobody may be waiting for how it ended; if it has begun, the log tells."""
        turn = self._under_way.pop(task)
        self._observation.metrics.turns.dec()
        if task.cancelled() or (error := task.exception()) is None or not turn.begun.done():
            return
        run = {"run_id": str(turn.begun.result().id)}
        if not isinstance(error, KeepsayError):
            logger.error("a turn ran into a bug", exc_info=error, extra=run)
        elif not isinstance(error, AgentFailed):  # that is logged where it happens
            logger.warning("a turn was not answered: %s", error.code, extra=run)

    async def _take(
        self, user: UserScope, conversation_id: UUID | str, asked: Asked, begun: asyncio.Future[Run]
    ) -> Turn:
        key = str(uuid4()) if asked.request_id is None else asked.request_id
        context = user.run(
            conversation_id,
            *asked.messages,
            key=key,
            window=asked.window,
            on_busy=asked.on_busy,
            expected_seq=asked.expected_seq,
            allowance=self._allowance,
        )
        try:
            async with context as run:
                begun.set_result(run)
                if run.took_over:
                    self._cut_here(run.conversation_id, lambda other: other is not run and not other.replayed)
                if not run.replayed:
                    await self._answer(run, user, key if asked.messages else asked.request_id)
        except KeepsayError as error:
            if begun.done():
                error.outcome = "unknown"  # the answer may not be stored, but the user's messages are
            raise
        return Turn(run.record, _answers(run, len(asked.messages)), run.replayed)

    async def _answer(self, run: Run, user: UserScope, request_id: str | None) -> None:
        context = AgentContext(user.user_id, run.conversation_id, run.id, run.attempt)
        failure = AgentFailed(run_id=str(run.id), conversation_id=str(run.conversation_id), request_id=request_id)
        try:
            if self._is_cut:  # while the run began
                raise asyncio.CancelledError
            await _store(run, await self._ask(run, context, failure), failure)
        except asyncio.CancelledError:
            await _interrupt(run)
            raise ServerStopping from None

    async def _ask(self, run: Run, context: AgentContext, failure: AgentFailed) -> list[NewMessage]:
        try:
            with self._observation.agent(self._name, str(run.conversation_id), run.window):
                return await ask(self._agent, run.window.to_openai_chat(), context)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise failure from error  # the agent's own doing
        except Exception as error:
            logger.exception("the agent failed in run %s", run.id, extra=_ids(run))
            raise failure from error


async def _interrupt(run: Run) -> None:
    """Give up the lease. Failed, not cancelled: the same request may try again.

    Raises ``RunSuperseded`` if it is not the server's end that stopped the run: it was cancelled or taken over.
    """
    with contextlib.suppress(Unavailable, TimeoutError):
        await asyncio.wait_for(run.fail("interrupted"), FAIL_SECONDS)


def _ids(run: Run) -> dict[str, str]:
    return {"conversation_id": str(run.conversation_id), "run_id": str(run.id)}


async def _store(run: Run, reply: list[NewMessage], failure: AgentFailed) -> None:
    try:
        await run.finish(*reply)
    except (InvalidInput, RoleOrderError) as error:
        logger.exception("what the agent returned in run %s cannot be kept", run.id, extra=_ids(run))
        raise failure from error


def _answers(run: Run, asked: int) -> tuple[Message, ...]:
    """What the agent said. A replay also holds what the run began with, which stands in front."""
    return tuple(message for message in run.messages if message.seq >= run.record.first_seq + asked)
