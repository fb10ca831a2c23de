"""keepsay without ``await``, for scripts, notebooks and Celery: the same calls, on an event loop of its own.

    from keepsay import assistant
    from keepsay.blocking import Keepsay

    with Keepsay() as ks:
        user = ks.user("u_42")
        conversation = user.create(title="Trip")
        with user.run(conversation.id, "Where is Lisbon?") as run:
            run.finish(assistant(model(run.window.to_openai_chat())))

A portal, not a second implementation: each method waits for the library's own and has its signature. Safe from several
threads. After a fork (Celery's prefork pool) make the object in the child.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import Concatenate, Generic, ParamSpec, Self, TypeVar, Unpack

from keepsay.library import client, scope
from keepsay.library import run as runs
from keepsay.model.conversation import RunStatus
from keepsay.model.ids import ConversationId, RunId, UserId
from keepsay.model.messages import Message
from keepsay.model.window import ModelWindow

__all__ = ["Admin", "Keepsay", "Run", "RunContext", "UserScope"]

P = ParamSpec("P")
T = TypeVar("T")
Inner = TypeVar("Inner")


class _Portal:
    """An event loop in a thread of its own, started when it is first needed."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def wait(self, awaitable: Awaitable[T]) -> T:
        async def carry_out() -> T:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(carry_out(), self._running_loop()).result()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="keepsay", daemon=True)
                self._thread.start()
            return self._loop

    def stop(self) -> None:
        with self._starting:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()


class _Facade(Generic[Inner]):
    """Wraps one of the library's objects."""

    def __init__(self, portal: _Portal, inner: Inner) -> None:
        self._portal = portal
        self._inner = inner


def _waiting(
    method: Callable[Concatenate[Inner, P], Awaitable[T]],
) -> Callable[Concatenate[_Facade[Inner], P], T]:
    """The library's method, waited for."""

    def call(self: _Facade[Inner], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._portal.wait(method(self._inner, *args, **kwargs))

    call.__doc__ = method.__doc__
    call.__name__ = method.__name__
    return call


def _iterating(
    method: Callable[[Inner], AsyncIterator[T]],
) -> Callable[[_Facade[Inner]], Iterator[T]]:
    """The library's async iterator, item by item."""

    def iterate(self: _Facade[Inner]) -> Iterator[T]:
        items = method(self._inner)
        while True:
            try:
                yield self._portal.wait(anext(items))
            except StopAsyncIteration:
                return

    iterate.__doc__ = method.__doc__
    iterate.__name__ = method.__name__
    return iterate


class Run(_Facade[runs.Run]):
    """A run under way; see ``keepsay.Run``."""

    append = _waiting(runs.Run.append)
    heartbeat = _waiting(runs.Run.heartbeat)
    finish = _waiting(runs.Run.finish)
    fail = _waiting(runs.Run.fail)
    cancel = _waiting(runs.Run.cancel)

    @property
    def id(self) -> RunId:
        return self._inner.id

    @property
    def conversation_id(self) -> ConversationId:
        return self._inner.conversation_id

    @property
    def window(self) -> ModelWindow:
        return self._inner.window

    @property
    def messages(self) -> tuple[Message, ...]:
        return self._inner.messages

    @property
    def answer(self) -> Message | None:
        return self._inner.answer

    @property
    def replayed(self) -> bool:
        return self._inner.replayed

    @property
    def attempt(self) -> int:
        return self._inner.attempt

    @property
    def status(self) -> RunStatus:
        return self._inner.status


class RunContext(_Facade[runs.RunContext]):
    """``with`` this to run. The lease is renewed meanwhile; a lost run shows at the next call, as ``RunSuperseded``."""

    def __enter__(self) -> Run:
        return Run(self._portal, self._portal.wait(self._inner.__aenter__()))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._portal.wait(self._inner.__aexit__(kind, error, trace))


def _opening(
    method: Callable[Concatenate[Inner, P], runs.RunContext],
) -> Callable[Concatenate[_Facade[Inner], P], RunContext]:
    """The library's run, to be entered with ``with``."""

    def call(self: _Facade[Inner], /, *args: P.args, **kwargs: P.kwargs) -> RunContext:
        return RunContext(self._portal, method(self._inner, *args, **kwargs))

    call.__doc__ = method.__doc__
    return call


class UserScope(_Facade[scope.UserScope]):
    """The conversations of one user; see ``keepsay.UserScope``."""

    create = _waiting(scope.UserScope.create)
    create_or_get = _waiting(scope.UserScope.create_or_get)
    get = _waiting(scope.UserScope.get)
    load = _waiting(scope.UserScope.load)
    load_or_create = _waiting(scope.UserScope.load_or_create)
    window = _waiting(scope.UserScope.window)
    status = _waiting(scope.UserScope.status)
    list = _waiting(scope.UserScope.list)
    update = _waiting(scope.UserScope.update)
    delete = _waiting(scope.UserScope.delete)
    append = _waiting(scope.UserScope.append)
    messages = _waiting(scope.UserScope.messages)
    delete_message = _waiting(scope.UserScope.delete_message)
    rewind = _waiting(scope.UserScope.rewind)
    fork = _waiting(scope.UserScope.fork)
    fork_or_get = _waiting(scope.UserScope.fork_or_get)
    get_run = _waiting(scope.UserScope.get_run)
    cancel_run = _waiting(scope.UserScope.cancel_run)
    summarise = _waiting(scope.UserScope.summarise)
    erase = _waiting(scope.UserScope.erase)
    export = _iterating(scope.UserScope.export)

    @property
    def user_id(self) -> UserId:
        return self._inner.user_id

    run = _opening(scope.UserScope.run)


class Admin(_Facade[client.Admin]):
    """Operators' view; see ``keepsay.Admin``."""

    users = _iterating(client.Admin.users)
    list_users = _waiting(client.Admin.list_users)


class Keepsay(_Facade[client.Keepsay]):
    """The way in; takes what ``keepsay.Keepsay`` takes. Close it, or use it as a context manager."""

    def __init__(self, database_url: str | None = None, **options: Unpack[client.Options]) -> None:
        super().__init__(_Portal(), client.Keepsay(database_url, **options))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def user(self, user_id: str) -> UserScope:
        """The scope of one user; see ``keepsay.Keepsay.user``."""
        return UserScope(self._portal, self._inner.user(user_id))

    def admin(self) -> Admin:
        """What operators may do across users."""
        return Admin(self._portal, self._inner.admin())

    def close(self) -> None:
        """Close the connections and stop the loop."""
        self._portal.wait(self._inner.close())
        self._portal.stop()
