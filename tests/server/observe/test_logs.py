"""Lines of the log: which fields they have, and that no value can forge one or say what an error says."""

from __future__ import annotations

import ast
import io
import json
import logging
import logging.config
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keepsay.server.observe.logs import REQUEST_ID, JsonLines, TextLines, careful_logger, logging_config

SECRET = "canary-51bd"
SOURCES = sorted((Path(__file__).parents[3] / "src/keepsay").rglob("*.py"))
FORGED = "x\n2026-01-01T00:00:00.000Z ERROR keepsay: forged\r\x1b[2J\u2028\u202e\x85"


@pytest.fixture
def restored() -> Iterator[None]:
    """The process's loggers as they were before."""
    names = ("", "keepsay", "uvicorn", "uvicorn.error", "uvicorn.access")
    loggers = [logging.getLogger(name) for name in names]
    before = [(one.level, one.propagate, one.handlers[:]) for one in loggers]
    yield
    for one, (level, propagate, handlers) in zip(loggers, before, strict=True):
        one.setLevel(level)
        one.propagate, one.handlers = propagate, handlers


class Console:
    """stderr of a process that logs as ``serve`` does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, log_format: Any = "json", level: str = "info") -> None:
        self._stream = io.StringIO()
        monkeypatch.setattr("sys.stderr", self._stream)
        logging.config.dictConfig(logging_config(level, log_format))

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def console(restored: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda **options: Console(monkeypatch, **options)


def _fail(logger: logging.Logger) -> None:
    try:
        raise ValueError(SECRET)
    except ValueError:
        logger.exception("the agent failed")


def test_a_line_is_an_object_with_the_listed_fields_alone(console: Any) -> None:
    found = console()
    logging.getLogger("keepsay.x").info("said", extra={"route": "/a/{b}", "status": 200, "secret": SECRET})
    logging.getLogger("library").warning("hm", extra={"route": SECRET, "code": SECRET})
    own, other = found.lines
    assert own.pop("time").endswith("Z")
    assert own == {"level": "info", "logger": "keepsay.x", "message": "said", "route": "/a/{b}", "status": 200}
    assert other.keys() == {"time", "level", "logger", "message"}, "another library's fields may hold anything"


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_the_id_of_the_request_is_in_every_line(console: Any, log_format: str) -> None:
    found = console(log_format=log_format)
    token = REQUEST_ID.set("r-1")
    logging.getLogger("library").warning("within")
    REQUEST_ID.reset(token)
    logging.getLogger("library").warning("after")
    within, after = found.text.splitlines()
    assert "r-1" in within
    assert "request_id" not in after


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("name", ["keepsay.server", "uvicorn.error", "somebody.elses"])
def test_what_an_error_says_is_not_logged(console: Any, log_format: str, name: str) -> None:
    found = console(log_format=log_format)
    _fail(logging.getLogger(name))
    assert SECRET not in found.text
    assert "ValueError" in found.text
    assert " in _fail" in found.text, "where it was raised is"


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_at_debug_what_an_error_says_is_logged(console: Any, log_format: str) -> None:
    found = console(log_format=log_format, level="debug")
    _fail(careful_logger("keepsay.server"))
    assert f"ValueError: {SECRET}" in found.text


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_message_that_another_handler_cached_is_not_taken_over(console: Any, log_format: str) -> None:
    found = console(log_format=log_format)
    plain = logging.StreamHandler(io.StringIO())
    logging.getLogger().handlers.insert(0, plain)
    _fail(logging.getLogger("library"))
    assert SECRET in plain.stream.getvalue(), "the control: a plain formatter shows it, and keeps it in the record"
    assert SECRET not in found.text


def test_in_somebody_elses_application_a_careful_logger_keeps_it_too() -> None:
    logger, stream = careful_logger("keepsay.test_of_logs"), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    _fail(logger)
    logger.removeHandler(handler)
    assert stream.getvalue().startswith("the agent failed\nValueError\n  at ")
    assert SECRET not in stream.getvalue()


@pytest.mark.parametrize("formatter", [JsonLines(), TextLines()])
def test_no_value_forges_a_line_or_drives_a_terminal(formatter: logging.Formatter) -> None:
    record = logging.LogRecord("keepsay", logging.INFO, "f", 1, "said %s", (FORGED,), None)
    record.route = FORGED
    record.exc_text = FORGED
    lines = formatter.format(record).split("\n")
    assert all(line.isprintable() for line in lines)
    assert not [line for line in lines[1:] if not line.startswith("    ")]
    assert len(lines) == (3 if isinstance(formatter, TextLines) else 1)


def test_libraries_for_models_do_not_log_what_users_said(console: Any) -> None:
    found = console(level="debug")
    logging.getLogger("openai._base_client").debug("Request options: %s", SECRET)
    logging.getLogger("httpx").info("POST https://x/?q=%s", SECRET)
    logging.getLogger("uvicorn.access").info("GET /api/%s", SECRET)
    assert found.text == ""


def test_without_a_terminal_the_format_is_json(console: Any) -> None:
    found = console(log_format="auto")
    logging.getLogger("keepsay").info("said")
    assert found.lines[0]["message"] == "said"


def test_whoever_logs_an_error_does_so_carefully() -> None:
    """``exc_info`` of a plain logger would show what the error says in somebody else's application."""
    found = {path.name: path.read_text() for path in SOURCES if _logs_errors(ast.parse(path.read_text()))}
    assert {"middleware.py", "turns.py", "jwks.py"} <= found.keys()
    assert [name for name, text in found.items() if "careful_logger" not in text] == []


def _logs_errors(module: ast.Module) -> bool:
    calls = [node for node in ast.walk(module) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    return any(
        (call.func.attr == "exception" and ast.unparse(call.func.value).endswith("logger"))
        or any(keyword.arg == "exc_info" for keyword in call.keywords)
        for call in calls
        if isinstance(call.func, ast.Attribute)
    )
