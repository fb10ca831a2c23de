"""docs/http.md is true: every command in it is run, its answer is the one shown, and no endpoint is left out.

``KEEPSAY_WRITE_DOCS=1 python -m pytest tests/docs`` writes the answers into the page.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pytest_postgresql.executors import NoopExecutor

from keepsay import Keepsay
from keepsay.server import Settings, create_app, problems
from keepsay.server.observe.metrics import Metrics
from keepsay.testing.postgres import new_database

from .serving import serving

PAGE = Path(__file__).parent.parent.parent / "docs" / "http.md"
BLOCK = re.compile(r"```(sh|json|text)\n(.*?)```", re.DOTALL)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)")
CURSOR = re.compile(r"[\w-]{20,}")
PLACE = "localhost:8080"
LEAST = 20
WIDTH = 130


@dataclass(frozen=True)
class Example:
    """Commands, and what the page says that they print."""

    commands: str
    kind: str
    shown: str


def _examples() -> Iterator[Example]:
    blocks = BLOCK.findall(PAGE.read_text())
    for at, (kind, text) in enumerate(blocks):
        if kind == "sh":
            after = blocks[at + 1] if at + 1 < len(blocks) and blocks[at + 1][0] != "sh" else ("", "")
            yield Example(text, *after)


@pytest.fixture(scope="module")
def url(newest_postgres: NoopExecutor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with new_database(newest_postgres) as database, serving(database, KEEPSAY_OPERATORS="on") as served:
        yield served


def test_every_command_prints_what_the_page_shows(url: str) -> None:
    """In the page's order, for later ones build on earlier ones."""
    examples = list(_examples())
    assert len(examples) >= LEAST
    for example in examples:
        printed = _run(example.commands.replace(PLACE, url))
        if "KEEPSAY_WRITE_DOCS" in os.environ:
            _write(example, printed)
        elif example.kind == "json":
            assert _masked(_values(printed)) == _masked(_values(example.shown)), example.commands
        elif example.kind == "text":
            _check_lines(printed, example)


def _write(example: Example, printed: str) -> None:
    if example.kind == "json":
        block = "```sh\n{}```\n```json\n{}```"
        shown = "".join(_pretty(value) + "\n" for value in _values(printed))
        page = PAGE.read_text().replace(
            block.format(example.commands, example.shown), block.format(example.commands, shown)
        )
        PAGE.write_text(page)


def _pretty(value: Any, indent: str = "") -> str:
    """On one line what has room on it, one part on each line what has not."""
    line = json.dumps(value)
    if len(indent) + len(line) <= WIDTH or not isinstance(value, dict | list) or not value:
        return line
    inner = indent + "  "
    if isinstance(value, dict):
        parts = [f"{inner}{json.dumps(name)}: {_pretty(part, inner)}" for name, part in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + _pretty(part, inner) for part in value) + f"\n{indent}]"


def _run(commands: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), commands
    return done.stdout


def _values(text: str) -> list[Any]:
    """The JSON values that stand one after the other."""
    found, at, decoder = [], 0, json.JSONDecoder()
    while rest := text[at:].lstrip():
        at = len(text) - len(rest)
        value, end = decoder.raw_decode(text, at)
        found.append(value)
        at = end
    return found


def _masked(value: Any) -> Any:
    """Without what differs from day to day: times, and the cursors that hold one."""
    if isinstance(value, dict):
        return {
            name: CURSOR.sub("CURSOR", str(part)) if name == "next_cursor" else _masked(part)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [_masked(part) for part in value]
    return TIME.sub("TIME", value) if isinstance(value, str) else value


def _check_lines(printed: str, example: Example) -> None:
    """The lines that the page shows are printed, in that order; it need not show all."""
    lines = iter([TIME.sub("TIME", line).strip() for line in printed.splitlines()])
    for line in filter(None, map(str.strip, example.shown.splitlines())):
        assert TIME.sub("TIME", line) in lines, f"{line!r} is not printed by: {example.commands}\n{printed}"


def test_every_endpoint_has_a_command(keepsay_nowhere: Keepsay) -> None:
    document = create_app(keepsay_nowhere, settings=Settings(operators=True)).openapi()
    operations = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    asked = [_asked(command) for example in _examples() for command in _commands(example.commands)]
    assert len(operations) >= LEAST
    for method, template in operations:
        pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", template))
        assert any(method == done and pattern.fullmatch(path) for done, path in asked), f"{method} {template}"


@pytest.fixture
def keepsay_nowhere() -> Keepsay:
    """Connects when it is first used, which it is not."""
    return Keepsay("postgresql://nobody@127.0.0.1:1/nothing")


def _commands(text: str) -> list[list[str]]:
    joined = text.replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in joined.splitlines() if line.startswith("curl ")]


def _asked(words: list[str]) -> tuple[str, str]:
    """The method and the path that a curl command asks for."""
    [place] = [word for word in words if PLACE in word]
    path = place.partition(PLACE)[2].partition("?")[0] or "/"
    if "-X" in words:
        return words[words.index("-X") + 1], path
    return "POST" if "-d" in words else "GET", path


def test_every_error_has_its_row() -> None:
    """The codes of the one table from errors to HTTP, with their statuses."""
    rows = re.findall(r"^\| (\d{3}) \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE)
    shown = {(int(status), code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    abstract = {"conflict", "keepsay_error", "corrupt_data"}  # never raised as such; bugs and damage
    real = {(kind.status, error.code) for error, kind in problems._TABLE.items() if error.code not in abstract}
    assert shown == real


def test_the_application_of_the_page_answers() -> None:
    [example] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example, str(PAGE), "exec"), names)
    assert "/assistant/conversations" in names["app"].openapi()["paths"]
    assert "/assistant/{user_id}/chat" in names["app"].openapi()["paths"]


def test_every_metric_is_named() -> None:
    page = PAGE.read_text()
    families = [family.name for family in Metrics().registry.collect() if family.name.startswith("keepsay_")]
    assert len(families) > 10
    for family in families:
        assert f"`{family}" in page, family
