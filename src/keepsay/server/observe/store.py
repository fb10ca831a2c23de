"""The store as it is observed: the same port, each verb timed, counted and in a span of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import cast
from uuid import UUID

from opentelemetry.trace import Span

from keepsay.errors import ConfigurationError, Conflict, CorruptData, KeepsayError, SchemaMismatch, Unavailable
from keepsay.server.observe.errors import cause_of
from keepsay.server.observe.logs import careful_logger
from keepsay.server.observe.observation import Observation
from keepsay.store.postgres.pool import POOL_WAIT
from keepsay.store.postgres.store import PostgresStore
from keepsay.store.protocol import Begun, Finished, NewConversation, Store

__all__ = ["observed"]

logger = careful_logger("keepsay.store")

_VERBS = frozenset(name for name in vars(Store) if not name.startswith("_")) - {"close"}
_FAULTS = (ConfigurationError, CorruptData, SchemaMismatch, Unavailable)
"""What is nobody's request's fault; every other error of keepsay is an answer."""

Verb = Callable[..., Awaitable[object]]


def observed(store: Store, observation: Observation) -> Store:
    """``store``, observed. It stays its owner's: nobody closes it by this."""
    return cast(Store, _Observed(store, observation))


class _Observed:
    """Delegates. What is not a verb of the port is passed through as it is."""

    def __init__(self, store: Store, observation: Observation) -> None:
        self._store = store
        self._observation = observation
        self._system = "postgresql" if isinstance(store, PostgresStore) else None

    def __getattr__(self, name: str) -> object:
        found = getattr(self._store, name)
        if name in _VERBS:
            found = self._watched(name, found)
            setattr(self, name, found)  # found at once from now on
        return found

    def _watched(self, name: str, verb: Verb) -> Verb:
        async def watched(*args: object, **options: object) -> object:
            watch = _Watch(self._observation, name)
            with self._observation.tracing.operation(name, _conversation(args), self._system) as span:
                try:
                    result = await verb(*args, **options)
                except BaseException as error:
                    watch.fail(error, span)
                    raise
                finally:
                    watch.stop()
            watch.note_result(result)
            return result

        return watched


class _Watch:
    """One call of a verb."""

    def __init__(self, observation: Observation, name: str) -> None:
        self._observation = observation
        self._metrics = observation.metrics
        self._name = name
        self._outcome = "ok"
        POOL_WAIT.set(None)
        self._began = perf_counter()

    def fail(self, error: BaseException, span: Span) -> None:
        self._outcome = _outcome(error)
        span.set_attribute("keepsay.outcome", self._outcome)
        if isinstance(error, Conflict):
            self._metrics.note_conflict(error.code)
        if isinstance(error, _FAULTS):
            # One line: what it came from says more than where it was raised, and there may be many.
            logger.warning("%s failed: %s", self._name, cause_of(error), extra={"operation": self._name})
        if isinstance(error, _FAULTS) or self._outcome == "bug":
            self._observation.tracing.fail(span, error)

    def stop(self) -> None:
        self._metrics.note_operation(self._name, self._outcome, perf_counter() - self._began)
        if (waited := POOL_WAIT.get()) is not None:
            self._metrics.note_pool_wait(waited)

    def note_result(self, result: object) -> None:
        if getattr(result, "replayed", False):
            self._metrics.note_replay(self._name)
        if isinstance(result, Begun) and result.took_over:
            self._metrics.note_takeover()
        if isinstance(result, Finished):
            self._metrics.note_run(result.run.status.text)


def _outcome(error: BaseException) -> str:
    if isinstance(error, KeepsayError):
        return error.code
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "bug"


def _conversation(args: tuple[object, ...]) -> str | None:
    """Verbs about a conversation take it after the owner: its id, or what it is to be made of."""
    subject = args[1] if len(args) > 1 else None
    if isinstance(subject, NewConversation):
        subject = subject.id
    return str(subject) if isinstance(subject, UUID) else None
