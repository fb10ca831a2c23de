"""Runs the real command line, with nothing of the caller's environment that it would listen to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict, cast
from urllib.parse import quote

from keepsay.model.json_text import JsonObject
from keepsay.store.postgres.dsn import Dsn

NOWHERE = "postgresql://somebody:s3cret@127.0.0.1:1/nothing"
"""A database that cannot be reached, with a password that must not be seen."""


@dataclass(frozen=True)
class Ran:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> JsonObject:
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


def environment(**given: str) -> Mapping[str, str]:
    """Ours without keepsay's variables, and with those given."""
    listened = ("KEEPSAY_", "DATABASE_URL", "NO_COLOR")
    return {name: value for name, value in os.environ.items() if not name.startswith(listened)} | given


def keepsay(*words: str, stdin: str | bytes = b"", **env: str) -> Ran:
    """``keepsay WORDS``, with further environment variables."""
    done = subprocess.run(
        [sys.executable, "-m", "keepsay.cli", *words],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        env=environment(**env),
        timeout=120,
        check=False,
    )
    ran = Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in ran.err, ran.err
    return ran


def url_of(dsn: Dsn) -> str:
    """The DSN as a person would write it."""
    return f"postgresql://{dsn.user}@/{dsn.database}?host={quote(dsn.host or '', safe='')}&port={dsn.port}"


class Found(TypedDict):
    """A finding of the doctor."""

    name: str
    level: str
    found: str
    mend: str | None
    facts: dict[str, object]


def doctor(*words: str, **env: str) -> tuple[Ran, dict[str, Found]]:
    """What ``keepsay doctor`` finds, by name."""
    ran = keepsay("doctor", "--json", *words, **env)
    findings = cast("list[Found]", ran.json["findings"])
    return ran, {each["name"]: each for each in findings}
