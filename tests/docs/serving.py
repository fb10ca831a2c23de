"""The server as the documents start it, on a database of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cli.program import environment, url_of

from keepsay.testing.postgres import Database
from keepsay.testing.wire import free_port


@contextmanager
def serving(database: Database, *words: str, **settings: str) -> Iterator[str]:
    """``keepsay serve WORDS``; gives its host and port."""
    port = free_port()
    program = subprocess.Popen(
        [sys.executable, "-m", "keepsay.cli", "serve", "--port", str(port), *words],
        env=environment(DATABASE_URL=url_of(database.dsn), **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        _wait_until_it_listens(program)
        yield f"127.0.0.1:{port}"
    finally:
        program.terminate()
        program.communicate(timeout=60)


def _wait_until_it_listens(program: subprocess.Popen[str]) -> None:
    assert program.stdout is not None
    said = ""
    while "Try:" not in said:
        line = program.stdout.readline()
        assert line, f"the server ended: {said}"
        said += line
