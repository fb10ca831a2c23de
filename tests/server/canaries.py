"""Canaries: texts that stand where users' words, names, tokens and passwords stand, and must be seen nowhere else."""

from __future__ import annotations

import logging
from itertools import count

__all__ = ["MARK", "PLANTED", "Canaries", "Net"]

MARK = "k33psay-canary"
"""In every canary, so that one that gets about is known for what it is wherever it is found."""

PLANTED = "keepsay.planted"
"""The logger of leaks that are made on purpose, to see whether a search finds them."""


class Canaries:
    """Makes canaries, each different, and looks for them."""

    def __init__(self) -> None:
        self._numbers = count()
        self._planted: dict[str, str] = {}

    def __call__(self, where: str) -> str:
        """A new one, to be put ``where``."""
        return self.plant(where, f"{MARK}-{next(self._numbers):04d}-{where}")

    def plant(self, where: str, secret: str) -> str:
        """Take a secret for a canary that cannot hold the mark, such as a token."""
        self._planted[secret] = where
        return secret

    def found_in(self, text: str) -> list[str]:
        """Where those that are in the text were put."""
        found = [where for secret, where in self._planted.items() if secret in text]
        return found if found or MARK not in text else ["cut off"]


class Net(logging.Handler):
    """Keeps what holds a canary of everything that loggers say, as a plain formatter prints it."""

    def __init__(self, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.seen = 0
        self.caught: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s %(fields)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == PLANTED or logging.getLogger(record.name).isEnabledFor(logging.DEBUG):
            return  # at debug what errors say is logged, as the documentation has it
        self.seen += 1
        record.fields = {name: value for name, value in vars(record).items() if name not in ("args", "msg")}
        if MARK in (line := self.format(record)):
            self.caught.append(line)
