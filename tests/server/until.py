"""Waiting for what comes about elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

__all__ = ["until"]


async def until(holds: Callable[[], Awaitable[bool]], *, seconds: float = 20) -> None:
    """Ask again and again, until it holds. Fails when the time is over."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
