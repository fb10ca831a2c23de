"""The server as a program of its own, on 127.0.0.1."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from keepsay.store.postgres.dsn import Dsn
from keepsay.testing.wire import free_port

SERVE = "from keepsay.server import serve; serve()"
AGENTS = """
import asyncio, os, time, uuid

async def slow(messages):
    open(os.environ["ASKED"], "a").write("x")
    await asyncio.sleep(float(os.environ.get("THINK", "0")))
    return f"answer to {len(messages)}"

def stuck(messages):
    open(os.environ["ASKED"], "a").write("x")
    time.sleep(float(os.environ.get("THINK", "0")))
    return "late"

async def repeat(messages):
    await asyncio.sleep(float(os.environ.get("THINK", "0")))
    return f"{messages[-1]['content']}: {uuid.uuid4()}"

async def who(messages):
    await slow(messages)
    return str(os.getpid())
"""


Start = Callable[..., "Server"]
"""Starts a server; what it is given are settings."""


class Server:
    """A running server. ``program``: what it runs, in Python; ``settings``: its ``KEEPSAY_*`` variables, and others."""

    def __init__(self, folder: Path, dsn: Dsn, *, program: str = SERVE, **settings: str) -> None:
        self.asked = folder / "asked"
        (folder / "some_agents.py").write_text(AGENTS)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        database = f"postgresql://{dsn.user}@/{dsn.database}?host={quote(str(dsn.host))}&port={dsn.port}"
        own = {"DATABASE_URL": database, "KEEPSAY_PORT": str(self.port), "ASKED": str(self.asked)}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("KEEPSAY_")}
        self._said = folder / f"said-{self.port}"  # a pipe that nobody reads would stop it
        with self._said.open("w") as said:
            self.program = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", program],
                cwd=folder,
                env=inherited | own | settings,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        self.banner = self._until_it_listens()

    @property
    def said(self) -> str:
        """What it has printed and logged."""
        return self._said.read_text()

    def _until_it_listens(self) -> str:
        while "X-Keepsay-User" not in self.said:
            assert self.program.poll() is None, f"the server ended: {self.said}"
            time.sleep(0.02)
        return self.said

    async def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as http:
            return await http.post(path, json=body)

    async def until_asked(self, times: int = 1) -> None:
        async with asyncio.timeout(20):
            while not self.asked.exists() or len(self.asked.read_text()) < times:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def end(self, signal_number: int = signal.SIGTERM) -> int:
        """Send the signal and wait for the end."""
        self.program.send_signal(signal_number)
        return await asyncio.to_thread(self.program.wait, 30)

    def kill(self) -> None:
        """End it at once, if it still runs."""
        self.program.kill()
        self.program.wait()
