"""Agents: what answers the user. The server keeps the conversation; an agent gets the messages and returns a reply.

An agent is any callable that takes the messages of OpenAI Chat Completions, oldest first. It may be

- a function, called in a thread (40 at once, further calls wait), so that it may block; or an ``async`` one;
- a generator or async generator of texts, which are joined.

With a second parameter named ``context`` it is also told which user, conversation and run it answers
(``AgentContext``).

It returns a text, an assistant's message (a dict, or an object of the ``openai`` package), or a list of messages: the
assistant's tool calls, their results and the answer, which are stored all or none. What it raises fails the run: the
user's message stays, and a retry with the same request id tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import anyio.to_thread

from keepsay.errors import ConfigurationError, InvalidInput
from keepsay.library.messages import assistant
from keepsay.model.formats import payload_text
from keepsay.model.ids import ConversationId, RunId, UserId
from keepsay.model.json_text import JsonObject
from keepsay.model.messages import NewMessage
from keepsay.server.settings import Settings

__all__ = ["Agent", "AgentContext", "ask", "echo", "load_agent"]

Agent: TypeAlias = Callable[..., object]
"""See the module's description: ``agent(messages)`` or ``agent(messages, context)``."""

_REMEMBERED = 60


@dataclass(frozen=True, slots=True)
class AgentContext:
    """Whom an agent answers. ``attempt`` is 1, or more when the same request is tried again."""

    user_id: UserId
    conversation_id: ConversationId
    run_id: RunId
    attempt: int


def echo(messages: list[JsonObject]) -> str:
    """Say back what the user said and what came before it. Needs no network; equal messages get equal answers."""
    said = [payload_text(message.get("content")) for message in messages if message.get("role") == "user"]
    if not said:
        return "You have not said anything yet."
    before = sum(message.get("role") != "system" for message in messages) - 1
    if before < 1:
        return f"You said: {said[-1]}\nThis is where our conversation begins."
    first = said[0] if len(said[0]) <= _REMEMBERED else f"{said[0][:_REMEMBERED]}..."
    count = "1 message" if before == 1 else f"{before} messages"
    return f"You said: {said[-1]}\nI remember {count} before it. The first thing you told me: {first}"


def load_agent(name: str, settings: Settings) -> Agent:
    """The agent of this name: ``echo``, ``openai`` or ``module:callable``. Raises ``ConfigurationError``."""
    if name == "echo":
        return echo
    if name == "openai":
        from keepsay.server.openai_agent import OpenAIAgent

        return OpenAIAgent.of(settings)
    module, found, path = name.partition(":")
    if not (found and module and path):
        raise ConfigurationError(f"The agent is 'echo', 'openai' or 'module:callable', not {name!r}.")
    return _imported(module, path)


def _imported(module: str, path: str) -> Agent:
    here = str(Path.cwd())
    if here not in sys.path:  # as `python -m` has it: the agent usually lies beside where the server is started
        sys.path.insert(0, here)
    try:
        found: object = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"The agent {module}:{path} cannot be imported: {error}.") from error
    if not callable(found):
        raise ConfigurationError(f"The agent {module}:{path} is not callable.")
    return found


async def ask(agent: Agent, messages: list[JsonObject], context: AgentContext) -> list[NewMessage]:
    """The agent's reply, as messages to store. Raises what the agent raises, ``TypeError`` or ``InvalidInput``."""
    call = partial(agent, messages, context=context) if _takes_context(agent) else partial(agent, messages)
    if _is_async(agent):
        reply = call()
    else:
        reply = await _in_thread(partial(_call_here, call))
    if inspect.isawaitable(reply):
        reply = await reply
    if isinstance(reply, AsyncIterator):
        reply = "".join([_delta(part) async for part in reply])
    return _to_messages(reply)


async def _in_thread(call: Callable[[], object]) -> object:
    """The call's result. If the caller is cancelled the thread is left to itself: nothing can stop it, but it is a
    daemon, so that an agent that is stuck does not keep the program from ending.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[object] = loop.create_future()

    def note(set_outcome: Callable[[Any], None], outcome: object) -> None:
        if not result.done():
            set_outcome(outcome)

    def work() -> None:
        with contextlib.suppress(RuntimeError):  # of call_soon_threadsafe: the loop has ended meanwhile
            try:
                returned = call()
            except BaseException as error:
                loop.call_soon_threadsafe(note, result.set_exception, _storable(error))
            else:
                loop.call_soon_threadsafe(note, result.set_result, returned)

    async with anyio.to_thread.current_default_thread_limiter():
        threading.Thread(target=copy_context().run, args=(work,), name="keepsay agent", daemon=True).start()
        return await result


def _storable(error: BaseException) -> BaseException:
    """What a future takes. ``SystemExit``, say, would end the server, not the agent."""
    is_sound = isinstance(error, Exception) and not isinstance(error, StopIteration)
    return error if is_sound else RuntimeError(f"the agent raised {type(error).__name__}")


def _call_here(call: Callable[[], object]) -> object:
    """Call, and join what a generator yields, both in this thread."""
    reply = call()
    return "".join(map(_delta, reply)) if isinstance(reply, Iterator) else reply


def _delta(part: object) -> str:
    if not isinstance(part, str):
        raise TypeError(f"An agent that streams yields texts, not {type(part).__name__}.")
    return part


def _takes_context(agent: Agent) -> bool:
    try:
        return "context" in inspect.signature(agent).parameters
    except ValueError:  # a builtin without a signature
        return False


def _is_async(agent: Agent) -> bool:
    while isinstance(agent, partial):
        agent = agent.func
    called = agent if inspect.isroutine(agent) else type(agent).__call__
    return inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called)


def _to_messages(reply: object) -> list[NewMessage]:
    """What an agent may return, as messages of the assistant and of tools: nobody else's words."""
    if isinstance(reply, str):
        return [assistant(reply)]
    parts = reply if isinstance(reply, list | tuple) else [reply]
    if not parts:
        raise TypeError("The agent returned an empty list.")
    return [NewMessage(_payload(part)) for part in parts]


def _payload(part: object) -> JsonObject:
    if isinstance(part, str):
        return {"role": "assistant", "content": part}
    dump = getattr(part, "model_dump", None)  # a message object of the openai package
    given = dump(mode="json", exclude_none=True) if callable(dump) else part
    if not isinstance(given, Mapping):
        raise TypeError(f"An agent returns a text, a message or a list of messages, not {type(part).__name__}.")
    payload = dict(given)
    if payload.get("role") not in ("assistant", "tool"):
        raise InvalidInput("An agent's messages have the role 'assistant' or 'tool'.", field="role")
    return payload
