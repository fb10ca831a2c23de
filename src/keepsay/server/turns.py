"""A turn: store what the user said, let the agent think, store its answer. No connection is held while it thinks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4

from keepsay.errors import InvalidInput, KeepsayError, RoleOrderError, RunSuperseded, Unavailable
from keepsay.library.messages import AnyMessage
from keepsay.library.run import Run
from keepsay.library.scope import UserScope
from keepsay.model.json_text import JsonObject, JsonValue
from keepsay.model.messages import Message, NewMessage, Role
from keepsay.model.window import Window
from keepsay.server.agents import Agent, AgentContext, ask
from keepsay.server.refusals import AgentFailed

__all__ = ["Turn", "Turns"]

logger = logging.getLogger("keepsay.server")

FAIL_SECONDS = 2.0
"""How long a turn that is cut off, by the server's end, may take to say so to the database."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn that was answered: now, or before by the same request (``replayed``)."""

    conversation_id: UUID
    run_id: UUID
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


class Turns:
    """Takes turns with one agent, and knows which are under way."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._under_way: set[asyncio.Task[object]] = set()

    async def take(
        self,
        user: UserScope,
        conversation_id: UUID | str,
        *messages: AnyMessage,
        request_id: str | None,
        window: Window,
    ) -> Turn:
        """Answer the messages; without any, what stands there. The same ``request_id`` again gives the first answer.

        Raises ``AgentFailed``, and as ``UserScope.run`` does. Once the user's messages are stored, no error says
        ``not_applied``.
        """
        key = str(uuid4()) if request_id is None else request_id
        with self._counted():
            async with user.run(conversation_id, *messages, key=key, window=window) as run:
                if not run.replayed:
                    await self._answer(run, user, key if messages else request_id)
        return Turn(run.conversation_id, run.id, run.messages, run.replayed)

    async def settle(self, seconds: float) -> None:
        """Wait for the turns under way, at most so long."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=seconds)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            yield
        finally:
            self._under_way.discard(task)

    async def _answer(self, run: Run, user: UserScope, request_id: str | None) -> None:
        context = AgentContext(user.user_id, run.conversation_id, run.id, run.attempt)
        failure = AgentFailed(run_id=str(run.id), conversation_id=str(run.conversation_id), request_id=request_id)
        try:
            await _store(run, await self._ask(run, context, failure), failure)
        except asyncio.CancelledError:
            # The server stops, or the conversation was lost. Failed, not cancelled: the same request may try again.
            with contextlib.suppress(RunSuperseded, Unavailable, TimeoutError):
                await asyncio.wait_for(run.fail("interrupted"), FAIL_SECONDS)
            raise

    async def _ask(self, run: Run, context: AgentContext, failure: AgentFailed) -> list[NewMessage]:
        try:
            return await ask(self._agent, run.window.to_openai_chat(), context)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise failure from error  # the agent's own doing
        except Exception as error:
            logger.exception("the agent failed in run %s", run.id)
            raise failure from error


async def _store(run: Run, reply: list[NewMessage], failure: AgentFailed) -> None:
    try:
        await run.finish(*reply)
    except (InvalidInput, RoleOrderError) as error:
        logger.exception("what the agent returned in run %s cannot be kept", run.id)
        raise failure from error
    except KeepsayError as error:
        error.outcome = "unknown"  # the answer may not be stored, but the user's message is
        raise
