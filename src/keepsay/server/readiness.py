"""Whether the database answers: looked at seldom, shared by all who ask, never waited for long."""

from __future__ import annotations

import asyncio
import contextlib
import time

from keepsay.errors import KeepsayError, Unavailable
from keepsay.library.client import Keepsay

__all__ = ["Readiness"]

KEEP_SECONDS = 3.0
WAIT_SECONDS = 2.0


class Readiness:
    """One look at the database at a time, and its result kept for three seconds."""

    def __init__(self, keepsay: Keepsay) -> None:
        self._keepsay = keepsay
        self._looking: asyncio.Task[None] | None = None
        self._looked = -KEEP_SECONDS
        self._error: KeepsayError | None = None

    async def check(self) -> None:
        """Return if the database answered lately. Raises ``Unavailable``, or what else hindered it."""
        if time.monotonic() - self._looked >= KEEP_SECONDS:
            if self._looking is None:
                self._looking = asyncio.create_task(self._look(), name="keepsay readiness")
            # A first connection to a database that sleeps takes longer than a probe waits: it goes on meanwhile.
            done, _ = await asyncio.wait({self._looking}, timeout=WAIT_SECONDS)
            if not done:
                raise Unavailable("The database has not answered yet.", outcome="not_applied")
        if self._error is not None:
            raise self._error.with_traceback(None)

    async def _look(self) -> None:
        found: KeepsayError | None = Unavailable("The look at the database was cut short.", outcome="not_applied")
        try:
            await self._keepsay.user("keepsay-readiness").list(limit=1)
            found = None
        except KeepsayError as error:
            found = error
        finally:
            self._error, self._looked, self._looking = found, time.monotonic(), None

    async def aclose(self) -> None:
        """Stop looking."""
        if (looking := self._looking) is not None:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking
