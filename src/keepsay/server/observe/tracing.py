"""OpenTelemetry spans, by its API alone: they go nowhere until the process sets up an SDK.

Attributes are those of the semantic conventions for HTTP, databases and GenAI that hold no content: no path, no query,
no user, no message. Errors are told by their type: an SDK's ``record_exception`` would export what they say.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from starlette.datastructures import Headers
from starlette.types import Scope

import keepsay as package
from keepsay.server.observe.errors import type_name

__all__ = ["Tracing"]

_ERROR = Status(StatusCode.ERROR)
_NO_SPAN = nullcontext(trace.INVALID_SPAN)
_SET_UP_BY_NOBODY = (trace.ProxyTracerProvider, trace.NoOpTracerProvider)


class Tracing:
    """Makes the spans of one app, with the process's tracer provider."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("keepsay", package.__version__)

    def request(self, method: str, scope: Scope) -> AbstractContextManager[Span]:
        """The span of a request; its sender's span, if there is one, is the parent."""
        if not _is_set_up():
            return _NO_SPAN
        parent = propagate.extract(Headers(scope=scope))
        return self._span(method, SpanKind.SERVER, {"http.request.method": method}, parent)

    def operation(self, verb: str, conversation_id: str | None, system: str | None) -> AbstractContextManager[Span]:
        """The span of a verb of the store. ``system`` is the database, by its name in the conventions."""
        attributes = {"db.system.name": system, "db.operation.name": verb, "gen_ai.conversation.id": conversation_id}
        return self._span(f"keepsay.{verb}", SpanKind.CLIENT, attributes)

    def agent(self, name: str, conversation_id: str) -> AbstractContextManager[Span]:
        """The span of an agent's work."""
        attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": name,
            "gen_ai.conversation.id": conversation_id,
        }
        return self._span(f"invoke_agent {name}", SpanKind.INTERNAL, attributes)

    def _span(
        self, name: str, kind: SpanKind, attributes: Mapping[str, str | None], parent: Context | None = None
    ) -> AbstractContextManager[Span]:
        if not _is_set_up():
            return _NO_SPAN
        return self._tracer.start_as_current_span(
            name,
            parent,
            kind,
            {name: value for name, value in attributes.items() if value is not None},
            record_exception=False,
            set_status_on_exception=False,
        )

    @staticmethod
    def fail(span: Span, error: BaseException | str) -> None:
        """Mark the span as failed, by the error's type or by a word for it."""
        span.set_attribute("error.type", error if isinstance(error, str) else type_name(error))
        span.set_status(_ERROR)


def _is_set_up() -> bool:
    """Whether spans go anywhere. Making them for nothing would take 20 microseconds of each request."""
    return not isinstance(trace.get_tracer_provider(), _SET_UP_BY_NOBODY)
