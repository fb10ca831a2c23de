"""Waiting with an end and with signs of life."""

from __future__ import annotations

import logging
import time

from keepsay.errors import Unavailable

__all__ = ["Patience"]

_logger = logging.getLogger("keepsay.embedded")
_FIRST_WORD_AFTER = 2.0
_WORD_EVERY = 5.0


class Patience:
    """A deadline that tells the log, from two seconds on, what is taking so long."""

    def __init__(self, seconds: float) -> None:
        self._limit = seconds
        self._began = time.monotonic()
        self._next_word = _FIRST_WORD_AFTER

    @property
    def spent(self) -> float:
        return time.monotonic() - self._began

    def pause(self, doing: str) -> None:
        """Sleep 10 ms at first (a warm start takes 50 ms in all), later 100. Raises Unavailable past the deadline."""
        spent = self.spent
        if spent > self._limit:
            raise Unavailable(f"Gave up after {self._limit:.0f} s of {doing}.", outcome="not_applied", retry_after=5.0)
        if spent > self._next_word:
            self._next_word = spent + _WORD_EVERY
            _logger.warning("embedded Postgres: %s (%.0f s so far, up to %.0f s)", doing, spent, self._limit)
        time.sleep(0.01 if spent < 1 else 0.1)
