"""The agent's work as operators see it: a span as GenAI's conventions have it, the window's size, how runs end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from keepsay import Keepsay

from ..client import Client, connect


def _within() -> None:
    """What an agent's own library would do."""
    with trace.get_tracer("library").start_as_current_span("chat"):
        pass


async def asynchronous(messages: list[Any]) -> str:
    _within()
    return "Hi"


def in_a_thread(messages: list[Any]) -> str:
    _within()
    return "Hi"


async def streaming(messages: list[Any]) -> AsyncIterator[str]:
    _within()
    yield "Hi"


async def _chat(client: Client) -> Any:
    answer = await client.post(f"/api/{client.user}/chat", {"message": "Hello"})
    return answer.json


def _one(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    [span] = [span for span in spans.get_finished_spans() if span.name == name]
    return span


@pytest.mark.parametrize("agent", [asynchronous, in_a_thread, streaming])
async def test_an_agents_work_is_a_span_and_its_librarys_spans_are_below(
    keepsay: Keepsay, spans: InMemorySpanExporter, agent: Callable[..., object]
) -> None:
    answer = await _chat(connect(keepsay, agent))
    span = _one(spans, f"invoke_agent {agent.__name__}")
    assert span.attributes == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": agent.__name__,
        "gen_ai.conversation.id": answer["conversation_id"],
    }
    child, request = _one(spans, "chat"), _one(spans, "POST /api/{user_id}/chat")
    assert child.parent is not None
    assert child.parent.span_id == span.context.span_id
    assert span.parent is not None
    assert span.parent.span_id == request.context.span_id


async def test_a_failing_agents_span_tells_the_type_alone(keepsay: Keepsay, spans: InMemorySpanExporter) -> None:
    async def failing(messages: list[Any]) -> str:
        raise ConnectionError("canary-44")

    client = connect(keepsay, failing)
    assert (await _chat(client))["code"] == "agent_failed"
    span = _one(spans, "invoke_agent failing")
    assert (span.attributes or {})["error.type"] == "ConnectionError"
    assert (span.status.is_ok, span.status.description, span.events) == (False, None, ())
    assert "canary" not in "".join(span.to_json() for span in spans.get_finished_spans())
    assert b'keepsay_runs_total{status="failed"} 1.0' in (await client.get("/metrics")).content


async def test_windows_runs_and_turns_under_way_are_counted(keepsay: Keepsay) -> None:
    page: list[bytes] = []

    async def looking(messages: list[Any]) -> str:
        page.append((await client.get("/metrics")).content)
        return "Hi"

    client = connect(keepsay, looking)
    await _chat(client)
    await asyncio.sleep(0)
    page.append((await client.get("/metrics")).content)
    assert [b"keepsay_turns_under_way 1.0" in each for each in page] == [True, False]
    assert b"keepsay_window_messages_sum 1.0" in page[-1]
    assert b"keepsay_window_tokens_count 1.0" in page[-1]
    assert b'keepsay_runs_total{status="completed"} 1.0' in page[-1]
