"""The HTTP server: uvicorn's, with turns under way brought to an end when it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from keepsay.server.observe.logs import logging_config, note_unheard
from keepsay.server.settings import Settings
from keepsay.server.turns import FAIL_SECONDS, Turns

__all__ = ["HttpServer"]

_LOOK_SECONDS = 0.05


class HttpServer(uvicorn.Server):
    """Stops on SIGINT or SIGTERM: accepts nothing more, lets turns and requests under way go on for
    ``settings.shutdown_seconds``, then fails the turns so that other servers may take their retries at once. A second
    signal cuts the time short.

    ``announce`` is called once it listens. ``lifeline``: when its other end is closed, the server stops as well.
    """

    def __init__(
        self, app: FastAPI, settings: Settings, announce: Callable[[], None], *, lifeline: socket.socket | None = None
    ) -> None:
        config = uvicorn.Config(
            app,
            log_config=logging_config(settings.log_level, settings.log_format),
            log_level=settings.log_level,
            access_log=False,
            server_header=False,
            # Turns are cut a moment before: a client that is sent away finds the lease given up.
            timeout_graceful_shutdown=settings.shutdown_seconds + round(FAIL_SECONDS + 1),
        )
        super().__init__(config)
        turns = app.state.keepsay_turns
        assert isinstance(turns, Turns)
        self._turns = turns
        self._seconds = settings.shutdown_seconds
        self._announce = announce
        self._lifeline = lifeline

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(note_unheard)
        await super().startup(sockets)
        if self._lifeline is not None:
            loop.add_reader(self._lifeline, self._lose_lifeline, self._lifeline)
        self._announce()

    def _lose_lifeline(self, lifeline: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(lifeline)
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; or, told so for the second time, at once."""
        if self.should_exit:
            self.force_exit = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        cutting = asyncio.create_task(self._cut_turns(), name="keepsay stop")
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn has then left everything as it is
            await cutting
            await self.lifespan.shutdown()
        cutting.cancel()

    async def _cut_turns(self) -> None:
        """Cut the turns when their time is over, and requests too if it was cut short."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                while not self.force_exit:  # noqa: ASYNC110 - a signal's handler sets it, and may not wake the loop
                    await asyncio.sleep(_LOOK_SECONDS)
        await self._turns.cut()
        if self.force_exit:
            await asyncio.sleep(_LOOK_SECONDS)  # the turns' own requests are told why
            for request in self.server_state.tasks:
                request.cancel()
