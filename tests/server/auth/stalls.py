"""How long the event loop is kept from others: measured so that a busy machine cannot be mistaken for our code."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

LIMIT = 0.005


class Timed:
    """Runs a coroutine, and notes the processor time of its longest step between two awaits.

    Processor time of this thread alone, so that another process on this core does not count.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self.longest = 0.0

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._coroutine.__await__()
        while True:
            began = time.thread_time()
            try:
                waited = next(steps)
            except StopIteration as ended:
                return ended.value
            finally:
                self.longest = max(self.longest, time.thread_time() - began)
            yield waited


async def longest_stall(work: Callable[[], Awaitable[object]], attempts: int = 5) -> float:
    """By how much a sleep of 1 ms was late at worst while ``work`` ran: the best of some attempts.

    Noise only ever adds: what our code does every time shows in the best attempt too.
    """
    return min([await _stall(work) for _ in range(attempts)])


async def _stall(work: Callable[[], Awaitable[object]]) -> float:
    late = [0.0]
    watching = asyncio.create_task(_watch(late))
    gc.collect()
    gc.disable()  # the collector walks through what thousands of other tests have left
    try:
        await asyncio.sleep(0.01)
        late.clear()
        await work()
        await asyncio.sleep(0.01)
    finally:
        gc.enable()
        watching.cancel()
    return max(late)


async def _watch(late: list[float]) -> None:
    while True:
        began, used = time.perf_counter(), time.thread_time()
        await asyncio.sleep(0.001)
        # Late, and not because this thread had to wait for a processor: then it would have used none.
        late.append(min(time.perf_counter() - began - 0.001, time.thread_time() - used))
