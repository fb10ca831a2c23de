"""Logs: JSON lines, or text for people. Which fields there are is listed here, and no other gets in.

A record never holds an error's message unless its logger is at ``debug``: an agent's or driver's message may hold what
a user said, a token or the DSN. Formatters keep to that for every logger of the process; ``careful_logger`` does so
before any formatter sees the record, so that it also holds in an application that has its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from opentelemetry import trace
from pythonjsonlogger.json import JsonFormatter

from keepsay.server.observe.errors import show_error
from keepsay.server.settings import LogFormat

__all__ = [
    "PROBLEM_CODE",
    "REQUEST_ID",
    "JsonLines",
    "TextLines",
    "careful_logger",
    "logging_config",
    "note_unheard",
]

REQUEST_ID: ContextVar[str | None] = ContextVar("keepsay_request_id", default=None)
"""The id of the request that is being answered, for every record that is logged meanwhile."""
PROBLEM_CODE: ContextVar[str | None] = ContextVar("keepsay_problem_code", default=None)
"""The code of the problem that the request is answered with."""

FIELDS = ("method", "route", "status", "code", "duration_ms", "operation", "conversation_id", "run_id")
"""What keepsay's own records may hold beside the message: templates, names, numbers and random ids."""

_CONTEXT = ("request_id", "trace_id", "span_id")
_ENCODER = json.JSONEncoder(default=str)


def careful_logger(name: str) -> logging.Logger:
    """The logger of this name; what it is given as ``exc_info`` becomes types and frames, whoever prints it."""
    logger = logging.getLogger(name)
    logger.addFilter(_without_messages)
    return logger


def _without_messages(record: logging.LogRecord) -> bool:
    if record.exc_info and record.exc_info[1] is not None:
        debug = logging.getLogger(record.name).isEnabledFor(logging.DEBUG)
        record.exc_text = show_error(record.exc_info[1], messages=debug)  # every formatter prints this as it is
        record.exc_info = None
    return True


def note_unheard(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The event loop's handler of errors that nobody awaited; asyncio's own logs the values that callbacks hold."""
    error = context.get("exception")
    said = "an error that nobody awaited" if error is not None else context["message"]
    careful_logger("keepsay.server").error("%s", said, exc_info=error)


def logging_config(level: str, log_format: LogFormat) -> dict[str, Any]:
    """For ``logging.config.dictConfig``: everything to stderr through one handler.

    keepsay and uvicorn log from ``level`` on, others from ``warning``: libraries for models log what users said at
    ``debug``. uvicorn's access log is off, for it prints paths and queries.
    """
    if log_format == "auto":
        log_format = "text" if sys.stderr.isatty() else "json"
    formatter = {"()": JsonLines if log_format == "json" else TextLines, "messages": level == "debug"}
    ours = {"level": level.upper(), "handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": formatter},
        "filters": {"context": {"()": lambda: _with_context}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines", "filters": ["context"]}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            "keepsay": ours,
            "uvicorn": ours,
            "uvicorn.error": ours,
            "uvicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False},
        },
    }


def _with_context(record: logging.LogRecord) -> bool:
    if getattr(record, "request_id", None) is None:
        record.request_id = REQUEST_ID.get()
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        record.trace_id, record.span_id = trace.format_trace_id(span.trace_id), trace.format_span_id(span.span_id)
    return True


class JsonLines(JsonFormatter):
    """One JSON object per line: ``time``, ``level``, ``logger``, ``message``, ``exception`` and the listed fields."""

    def __init__(self, *, messages: bool = False) -> None:
        super().__init__(json_serializer=_to_json)
        self._messages = messages

    # The package's own signatures are untyped.
    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data |= {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.message.strip(),
            **_fields(record),
        }
        if (error := _error(record, self._messages)) is not None:
            log_data["exception"] = error

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the standard library's name
        """Not asked for: ``exception`` is the one place."""
        return ""


def _to_json(data: object, **_: object) -> str:
    return _ENCODER.encode(data)


class TextLines(logging.Formatter):
    """One line per record, then the error's lines, indented. No value can begin a line or move a terminal's cursor."""

    def __init__(self, *, messages: bool = False) -> None:
        super().__init__()
        self._messages = messages

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={_escaped(str(value))}" for name, value in _fields(record).items())
        message = _escaped(record.getMessage().strip())
        error = _error(record, self._messages)
        lines = [] if error is None else [f"    {_escaped(line)}" for line in error.split("\n")]
        return "\n".join([f"{_time(record)} {record.levelname:<8} {record.name}: {message}{fields}", *lines])


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """The listed fields that the record has. Other libraries' fields may have the same names, and hold anything."""
    names = FIELDS + _CONTEXT if record.name.partition(".")[0] == "keepsay" else _CONTEXT
    return {name: value for name in names if (value := getattr(record, name, None)) is not None}


def _error(record: logging.LogRecord, messages: bool) -> str | None:
    """The record's error. ``exc_text`` beside ``exc_info`` is another formatter's, message and all."""
    if record.exc_info and record.exc_info[1] is not None:
        return show_error(record.exc_info[1], messages=messages)
    return record.exc_text or None


def _escaped(text: str) -> str:
    """Whatever would begin a line, or drive or reorder a terminal, written like ``\\x1b``."""
    if text.isprintable():  # the usual case
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
