"""What the tests do to servers and programs from outside: start, ask, kill, look."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

APPLICATION = Path(__file__).with_name("application.py")


@dataclass
class Application:
    """A running application.py."""

    program: subprocess.Popen[str]
    said: dict[str, str] = field(default_factory=dict)

    def wait(self) -> Application:
        """Until it has a server, or an error."""
        assert self.program.stdout is not None
        line = self.program.stdout.readline()
        self.said = json.loads(line) if line else {"message": "it died"}
        return self

    @property
    def dsn(self) -> str:
        assert "dsn" in self.said, self.said
        return self.said["dsn"]

    def leave(self) -> None:
        self.program.communicate(timeout=30)
        assert self.program.returncode == 0

    def kill(self) -> None:
        self.program.kill()
        self.program.communicate(timeout=30)


@dataclass(frozen=True)
class Place:
    """A home, the Postgres to run there and the account of the programs that use it."""

    home: Path
    binaries: Path
    account: str | None  # None: the one that runs the tests

    def prepared(self) -> Place:
        """With an empty home, which the account owns."""
        self.home.mkdir(mode=0o755)
        if self.account:
            shutil.chown(self.home, self.account)
        return self

    @property
    def data(self) -> Path:
        return self.home / "postgres" / "data"

    def begin(self, **arguments: object) -> Application:
        """Start a program there, and do not wait for it."""
        command = [
            sys.executable,
            str(APPLICATION),
            self.account or "-",
            json.dumps({"home": str(self.home), **arguments}),
        ]
        environment = os.environ | {"KEEPSAY_POSTGRES_BIN": str(self.binaries)}
        pipe = subprocess.PIPE
        return Application(
            subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment, start_new_session=True)
        )

    @contextmanager
    def application(self, **arguments: object) -> Iterator[Application]:
        """A program that has its server, and leaves at the end unless it is gone by then."""
        application = self.begin(**arguments).wait()
        try:
            yield application
        finally:
            if application.program.poll() is None:
                application.leave()
            else:
                application.program.communicate()  # closes the pipes

    def postmaster(self, data: Path | None = None) -> int | None:
        """The live server's pid, found without the code under test."""
        for entry in Path("/proc").glob("[0-9]*"):
            parts = command_line(int(entry.name)).split("\0")
            if parts[0].endswith("/postgres") and parts[1:3] == ["-D", str(data or self.data)]:
                return int(entry.name)
        return None

    def kill_server(self) -> int:
        pid = self.postmaster()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(lambda: self.postmaster() is None)
        return pid


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


async def value(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def settings(dsn: str) -> Mapping[str, str]:
    connection = await asyncpg.connect(dsn)
    try:
        return {row["name"]: row["setting"] for row in await connection.fetch("SELECT name, setting FROM pg_settings")}
    finally:
        await connection.close()
