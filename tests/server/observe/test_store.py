"""The store as it is observed: each verb counted, timed and in a span, and otherwise as it was."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from keepsay import Keepsay, MemoryStore, NotFound, RunSuperseded, SeqMismatch, Unavailable
from keepsay.server.observe import Observation, observed
from keepsay.store.postgres.dsn import parse_dsn
from keepsay.store.postgres.store import PostgresStore
from keepsay.store.protocol import Store
from keepsay.testing.wire import free_port

ABSENT = "018f0000-0000-7000-8000-000000000000"


class Watched:
    """A library on a store that is observed, and what was counted."""

    def __init__(self, store: Store) -> None:
        self.observation = Observation()
        self.store = observed(store, self.observation)
        self.user = Keepsay(store=self.store).user("ada")

    def count(self, name: str, **labels: str) -> float | None:
        return self.observation.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def watched(spans: InMemorySpanExporter) -> Watched:
    return Watched(MemoryStore())


def _named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


async def test_operations_are_counted_by_how_they_end_and_timed(watched: Watched) -> None:
    conversation = await watched.user.create()
    await watched.user.get(conversation.id)
    with pytest.raises(NotFound):
        await watched.user.get(ABSENT)
    count = watched.count
    assert count("keepsay_operations_total", operation="create", outcome="ok") == 1
    assert count("keepsay_operations_total", operation="get", outcome="ok") == 1
    assert count("keepsay_operations_total", operation="get", outcome="not_found") == 1
    assert count("keepsay_operation_seconds_count", operation="get") == 2


async def test_conflicts_and_replays_are_counted(watched: Watched) -> None:
    conversation = await watched.user.create()
    for _ in range(2):
        await watched.user.append(conversation.id, "Hello", key="k")
    with pytest.raises(SeqMismatch):
        await watched.user.append(conversation.id, "Hello", expected_seq=9)
    assert watched.count("keepsay_replays_total", operation="append") == 1
    assert watched.count("keepsay_conflicts_total", code="expected_seq_mismatch") == 1


async def test_runs_and_takeovers_are_counted(watched: Watched) -> None:
    conversation = await watched.user.create()
    async with watched.user.run(conversation.id, "Hello") as run:
        await run.finish({"role": "assistant", "content": "Hi"})
    with pytest.raises(ZeroDivisionError):
        async with watched.user.run(conversation.id, "And now?"):
            raise ZeroDivisionError
    assert watched.count("keepsay_runs_total", status="completed") == 1
    assert watched.count("keepsay_runs_total", status="failed") == 1
    assert watched.count("keepsay_takeovers_total") == 0
    lost = await watched.user.create()
    with pytest.raises(RunSuperseded):
        async with watched.user.run(lost.id, "Hello"), watched.user.run(lost.id, on_busy="interrupt") as run:
            await run.finish({"role": "assistant", "content": "Hi"})
    assert watched.count("keepsay_takeovers_total") == 1


async def test_each_operation_is_a_span_with_the_conversation_and_without_the_user(
    watched: Watched, spans: InMemorySpanExporter
) -> None:
    conversation = await watched.user.create(title="Trip")
    await watched.user.append(conversation.id, "Hello")
    with pytest.raises(NotFound):
        await watched.user.get(ABSENT)
    [created], [appended], [refused] = (_named(spans, f"keepsay.{verb}") for verb in ("create", "append", "get"))
    for span in (created, appended):
        assert span.kind is SpanKind.CLIENT
        assert span.attributes == {
            "db.operation.name": span.name.removeprefix("keepsay."),
            "gen_ai.conversation.id": str(conversation.id),
        }
    assert (refused.attributes or {})["keepsay.outcome"] == "not_found"
    assert refused.status.is_unset, "an answer, not a fault"
    assert not refused.events


async def test_a_fault_is_logged_in_one_line_by_what_it_came_from(
    spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    dsn = parse_dsn(f"postgresql://ada:canary-3c1e@127.0.0.1:{free_port()}/x")
    watched = Watched(PostgresStore(dsn))
    with pytest.raises(Unavailable):
        await watched.user.list()
    [record] = caplog.records
    assert record.getMessage() == "list failed: database_unavailable from ConnectionRefusedError"
    [span] = _named(spans, "keepsay.list")
    assert span.attributes is not None
    assert span.attributes["db.system.name"] == "postgresql"
    assert span.attributes["error.type"] == "database_unavailable"
    assert not span.status.is_ok
    assert span.status.description is None
    assert not span.events
    assert watched.count("keepsay_operations_total", operation="list", outcome="database_unavailable") == 1


async def test_waiting_for_a_connection_is_counted_with_postgres_alone(watched: Watched, keepsay: Keepsay) -> None:
    await watched.user.list()
    assert watched.count("keepsay_pool_wait_seconds_count") == 0
    on_postgres = Watched(keepsay.store)
    for _ in range(3):
        await on_postgres.user.list()
    assert on_postgres.count("keepsay_pool_wait_seconds_count") == 3


async def test_bugs_of_a_store_are_told_from_errors(spans: InMemorySpanExporter) -> None:
    class Broken(MemoryStore):
        async def list(self, *args: Any, **kwargs: Any) -> Any:
            raise TypeError("canary-9d20")

    watched = Watched(Broken())
    with pytest.raises(TypeError):
        await watched.user.list()
    assert watched.count("keepsay_operations_total", operation="list", outcome="bug") == 1
    [span] = spans.get_finished_spans()
    assert (span.attributes or {})["error.type"] == "TypeError"
    assert "canary" not in span.to_json()


async def test_what_is_no_verb_is_the_stores_own(watched: Watched, keepsay: Keepsay) -> None:
    on_postgres: Any = observed(keepsay.store, watched.observation)
    assert on_postgres.row_security == keepsay.store.row_security  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        _ = on_postgres.nonsense
