"""Prometheus metrics. Labels are templates, names and codes of this program: no value of a request becomes one.

Each app has its own registry. Processes are added up, but for their own figures, if ``PROMETHEUS_MULTIPROC_DIR`` names
the same empty folder for all of them before Python starts, as prometheus_client's documentation has it.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from tempfile import TemporaryDirectory

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

import keepsay as package

__all__ = ["Metrics", "added_up", "note_process_end"]

_SHARED = "PROMETHEUS_MULTIPROC_DIR"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_MESSAGES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)
_TOKENS = (100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000)


class Metrics:
    """What one app counts, in ``registry`` or one of its own."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = to = CollectorRegistry() if registry is None else registry
        self._requests = Counter(
            "keepsay_http_requests_total", "Requests answered.", ["method", "route", "status"], registry=to
        )
        self._request_seconds = Histogram(
            "keepsay_http_request_seconds", "From the request to the answer's end.", ["method", "route"],
            buckets=_SECONDS, registry=to,
        )  # fmt: skip
        self._operations = Counter(
            "keepsay_operations_total", "Operations on the database, by their end.", ["operation", "outcome"],
            registry=to,
        )  # fmt: skip
        self._operation_seconds = Histogram(
            "keepsay_operation_seconds", "Duration of operations.", ["operation"], buckets=_SECONDS, registry=to
        )
        self._pool_wait = Histogram(
            "keepsay_pool_wait_seconds", "Waiting for a database connection.", buckets=_SECONDS, registry=to
        )
        self._conflicts = Counter("keepsay_conflicts_total", "Refused for a conflict.", ["code"], registry=to)
        self._replays = Counter("keepsay_replays_total", "Retries given the first result.", ["operation"], registry=to)
        self._takeovers = Counter("keepsay_takeovers_total", "Runs that took over another's place.", registry=to)
        self._runs = Counter("keepsay_runs_total", "Runs ended, by how.", ["status"], registry=to)
        self._window_messages = Histogram(
            "keepsay_window_messages", "Messages in windows given to agents.", buckets=_MESSAGES, registry=to
        )
        self._window_tokens = Histogram(
            "keepsay_window_tokens", "Tokens in windows given to agents.", buckets=_TOKENS, registry=to
        )
        self.turns = Gauge(
            "keepsay_turns_under_way", "Turns waiting for an answer.", registry=to, multiprocess_mode="livesum"
        )
        self._describe_program()
        # Looking labels up takes prometheus_client longer than counting; there are few combinations.
        self._requests_of = cache(self._requests.labels)
        self._request_seconds_of = cache(self._request_seconds.labels)
        self._operations_of = cache(self._operations.labels)
        self._operation_seconds_of = cache(self._operation_seconds.labels)

    def _describe_program(self) -> None:
        about = Gauge(
            "keepsay_build_info", "1, for this version.", ["version", "python"],
            registry=self.registry, multiprocess_mode="mostrecent",
        )  # fmt: skip
        about.labels(package.__version__, platform.python_version()).set(1)
        ProcessCollector(registry=self.registry)

    def note_request(self, method: str, route: str, status: str, seconds: float) -> None:
        """A request was answered. ``route`` is the template."""
        self._requests_of(method, route, status).inc()
        self._request_seconds_of(method, route).observe(seconds)

    def note_operation(self, operation: str, outcome: str, seconds: float) -> None:
        """A verb of the store has ended: ``ok``, an error's code, ``cancelled``, or ``bug``."""
        self._operations_of(operation, outcome).inc()
        self._operation_seconds_of(operation).observe(seconds)

    def note_pool_wait(self, seconds: float) -> None:
        """An operation got its connection, or gave up waiting for one."""
        self._pool_wait.observe(seconds)

    def note_conflict(self, code: str) -> None:
        """An operation was refused, for the conversation was not in the state that it needs."""
        self._conflicts.labels(code).inc()

    def note_replay(self, operation: str) -> None:
        """An operation had been done before."""
        self._replays.labels(operation).inc()

    def note_takeover(self) -> None:
        """A run began in the place of another."""
        self._takeovers.inc()

    def note_run(self, status: str) -> None:
        """A run has ended."""
        self._runs.labels(status).inc()

    def note_window(self, messages: int, tokens: int) -> None:
        """An agent was given a window."""
        self._window_messages.observe(messages)
        self._window_tokens.observe(tokens)

    def render(self) -> bytes:
        """The text format of Prometheus."""
        if _SHARED not in os.environ:
            return generate_latest(self.registry)
        all_processes = CollectorRegistry()
        MultiProcessCollector(all_processes)  # type: ignore[no-untyped-call]
        return generate_latest(all_processes)


@contextmanager
def added_up() -> Iterator[None]:
    """Add up the metrics of the processes that are started meanwhile, unless the environment has seen to it."""
    if _SHARED in os.environ:
        yield
        return
    with TemporaryDirectory(prefix="keepsay-metrics-") as folder:
        os.environ[_SHARED] = folder
        try:
            yield
        finally:
            del os.environ[_SHARED]


def note_process_end(pid: int) -> None:
    """Take what was under way in this process off the sum; what it counted stays."""
    if _SHARED in os.environ:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]
