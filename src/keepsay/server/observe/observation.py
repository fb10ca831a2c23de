"""The one thing that the parts of an app hold to be observed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from keepsay.model.window import ModelWindow
from keepsay.server.observe.metrics import Metrics
from keepsay.server.observe.tracing import Tracing

__all__ = ["Observation"]


@dataclass(frozen=True, slots=True)
class Observation:
    """The metrics and spans of one app, or of one mount of the routes."""

    metrics: Metrics = field(default_factory=Metrics)
    tracing: Tracing = field(default_factory=Tracing)

    @contextmanager
    def agent(self, name: str, conversation_id: str, window: ModelWindow) -> Iterator[None]:
        """For as long as an agent works on this window."""
        self.metrics.note_window(len(window.messages), window.tokens)
        with self.tracing.agent(name, conversation_id) as span:
            try:
                yield
            except Exception as error:
                self.tracing.fail(span, error)
                raise
