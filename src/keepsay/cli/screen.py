"""What goes to the terminal: answers to stdout, everything else to stderr, nothing that could drive the terminal."""

from __future__ import annotations

import logging
import os
import sys
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, TextIO

__all__ = ["note", "note_what_is_logged", "paint", "printable", "say", "shown_time", "table"]

Colour = Literal["red", "green", "yellow", "cyan", "bold", "dim"]

_CODES: dict[Colour, str] = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}


def say(text: str = "") -> None:
    """A line of the answer."""
    print(text, file=sys.stdout)


def note(text: str, *, end: str = "\n") -> None:
    """A line beside the answer: progress, hints, errors."""
    print(text, file=sys.stderr, end=end, flush=True)


class _Notes(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        note(printable(record.getMessage()))


def note_what_is_logged() -> None:
    """Show what the library logs as lines beside the answer."""
    logger = logging.getLogger("keepsay")
    logger.addHandler(_Notes())
    logger.propagate = False


def paint(text: str, colour: Colour, stream: TextIO | None = None) -> str:
    """``text`` in a colour if ``stream`` (stdout) is a terminal that shows one and NO_COLOR is not set."""
    stream = sys.stdout if stream is None else stream
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


def printable(text: str, *, keep: str = "") -> str:
    """``text`` with whatever a terminal would obey, hide or reorder by written like ``\\x1b``, but for ``keep``."""
    if text.isprintable():  # the usual case
        return text
    return "".join(c if c in keep or not _obeyed(c) else _escaped(c) for c in text)


def _obeyed(character: str) -> bool:
    # Format characters include the joiners of emoji and scripts, which are harmless; bidirectional controls are not.
    category = unicodedata.category(character)
    if category == "Cf":
        return unicodedata.bidirectional(character) in _REORDER or character in "\u200e\u200f\u061c\ufeff"
    return category in {"Cc", "Cs", "Zl", "Zp"}


_REORDER = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def shown_time(moment: datetime) -> str:
    """To the second, in UTC: the same on every machine."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as they need to be. What may hold wide characters goes last."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    say(paint(_line(titles, widths), "bold"))
    for row in rows:
        say(_line(row, widths))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
