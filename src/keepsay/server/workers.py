"""Several server processes that listen on one socket, and what keeps them running.

Why not uvicorn's own supervisor: it forgets a second signal, kills a worker whose interpreter is held for five seconds
(by an agent, say), leaves workers behind when it is killed itself, and its classes change between minor releases.

A worker is a new process (``keepsay.server.worker``) with the listening socket and a lifeline: one end of a pair of
sockets. It says on it that it listens, and stops when the other end is gone, with whatever held it. It is in a process
group of its own, so that Ctrl-C reaches the supervisor alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass

from keepsay.errors import ConfigurationError
from keepsay.server.observe.logs import careful_logger
from keepsay.server.observe.metrics import note_process_end

__all__ = ["Workers", "say_listening"]

logger = careful_logger("keepsay.server")

RESTART_SECONDS = 1.0
"""After how long a worker is started in the place of one that died before it listened."""
_LISTENING = b"1"


def say_listening(lifeline: socket.socket) -> None:
    """For a worker: tell the supervisor that it listens."""
    lifeline.send(_LISTENING)


@dataclass(frozen=True, slots=True)
class _Worker:
    process: asyncio.subprocess.Process
    lifeline: socket.socket

    @classmethod
    async def start(cls, listener: socket.socket) -> _Worker:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            numbers = (listener.fileno(), theirs.fileno())
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "keepsay.server.worker", *map(str, numbers)),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=numbers,
                process_group=0,
            )
        return cls(process, ours)

    async def listens(self) -> bool:
        """Wait until it listens; false if it ended before."""
        try:
            return await asyncio.get_running_loop().sock_recv(self.lifeline, 1) == _LISTENING
        except OSError:
            return False

    async def end(self) -> int:
        """Wait for its end."""
        code = await self.process.wait()
        note_process_end(self.process.pid)
        self.lifeline.close()
        return code

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)


class Workers:
    """Keeps ``count`` workers running on ``listener`` until SIGINT or SIGTERM, and calls ``announce`` once.

    They are told to stop in order, a second time with a second signal, and killed after ``patience`` seconds.
    """

    def __init__(
        self, listener: socket.socket, count: int, announce: Callable[[], None], *, patience: float = 60.0
    ) -> None:
        self._listener = listener
        self._count = count
        self._announce = announce
        self._patience = patience
        self._running: set[_Worker] = set()
        self._has_announced = False
        self._is_stopping = False

    async def run(self) -> None:
        """Return when all have ended. Raises ``ConfigurationError`` when the first ends before it listens."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        keeping = [asyncio.create_task(self._keep()) for _ in range(self._count)]
        try:
            await asyncio.gather(*keeping)
        finally:
            self._stop()
            await asyncio.gather(*keeping, return_exceptions=True)

    def _stop(self) -> None:
        if not self._is_stopping:
            asyncio.get_running_loop().call_later(self._patience, self._send, signal.SIGKILL)
        self._is_stopping = True
        self._listener.close()  # else clients would still be accepted, by nobody
        self._send(signal.SIGTERM)

    def _send(self, number: int) -> None:
        for worker in self._running:
            worker.signal(number)

    async def _keep(self) -> None:
        """Keep one worker running: when it dies, another takes its place."""
        while not self._is_stopping:
            worker = await _Worker.start(self._listener)
            self._running.add(worker)
            if self._is_stopping:
                worker.signal(signal.SIGTERM)
            listened = await worker.listens()
            self._note_listening(listened)
            code = await worker.end()
            self._running.discard(worker)
            if not self._is_stopping:
                await self._miss(code, listened=listened)

    def _note_listening(self, listened: bool) -> None:
        if listened and not self._has_announced:
            self._has_announced = True
            self._announce()

    async def _miss(self, code: int, *, listened: bool) -> None:
        if not self._has_announced:
            raise ConfigurationError("A worker ended before it listened; what it has logged says why.")
        logger.warning("a worker ended with %s; another takes its place", code)
        if not listened:
            await asyncio.sleep(RESTART_SECONDS)
