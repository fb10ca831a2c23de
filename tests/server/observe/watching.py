"""Everything that leaves an app beside its answers: logs in three formats, spans, OpenTelemetry's logs and metrics."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from keepsay.server.observe.logs import JsonLines, TextLines

_PLAIN = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s %(extra)s")
"""As somebody else's application might have it: errors with all that they say, and every field."""


class _WithExtra(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.extra = {name: value for name, value in vars(record).items() if name not in ("args", "msg", "extra")}
        return True


@dataclass(frozen=True)
class Outlets:
    """What was let out."""

    logs: dict[str, io.StringIO]
    spans: InMemorySpanExporter
    otel_logs: InMemoryLogRecordExporter
    otel_metrics: InMemoryMetricReader

    def texts(self) -> dict[str, str]:
        """All of it, by where it got out."""
        found = {name: stream.getvalue() for name, stream in self.logs.items()}
        found["spans"] = "\n".join(span.to_json() for span in self.spans.get_finished_spans())
        found["OpenTelemetry's logs"] = "\n".join(str(one.log_record) for one in self.otel_logs.get_finished_logs())
        read = self.otel_metrics.get_metrics_data()
        found["OpenTelemetry's metrics"] = "" if read is None else read.to_json()
        return found


@contextmanager
def watched(patch: pytest.MonkeyPatch) -> Iterator[Outlets]:
    """A process that watches at ``info`` and has set up OpenTelemetry before the app is made."""
    outlets = Outlets(
        {"plain log": io.StringIO(), "text log": io.StringIO(), "JSON log": io.StringIO()},
        InMemorySpanExporter(),
        InMemoryLogRecordExporter(),  # type: ignore[no-untyped-call]
        InMemoryMetricReader(),
    )
    tracing, logs = TracerProvider(shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(SimpleSpanProcessor(outlets.spans))
    logs.add_log_record_processor(SimpleLogRecordProcessor(outlets.otel_logs))
    patch.setattr(trace, "_TRACER_PROVIDER", tracing)  # the API lets a process set each once
    patch.setattr(_logs._internal, "_LOGGER_PROVIDER", logs)
    patch.setattr(metrics._internal, "_METER_PROVIDER", MeterProvider([outlets.otel_metrics], shutdown_on_exit=False))
    with _logging_to(outlets.logs):
        yield outlets


@contextmanager
def _logging_to(streams: dict[str, io.StringIO]) -> Iterator[None]:
    root, handlers = logging.getLogger(), []
    for stream, formatter in zip(streams.values(), (_PLAIN, TextLines(), JsonLines()), strict=True):
        handlers.append(logging.StreamHandler(stream))
        handlers[-1].setFormatter(formatter)
        handlers[-1].addFilter(_WithExtra())
        handlers[-1].addFilter(lambda record: not record.name.startswith(("httpx", "httpcore", "openai", "asyncio")))
        root.addHandler(handlers[-1])
    before = root.level
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.setLevel(before)
        for handler in handlers:
            root.removeHandler(handler)
