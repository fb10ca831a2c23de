"""Errors as operators may see them: types and places. Messages may hold what a user said, a token or the DSN."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from keepsay.errors import KeepsayError

__all__ = ["cause_of", "show_error", "type_name"]

_FRAMES = 30
"""The innermost ones, which is where an error comes from."""
_LINKS = 10
"""Causes, groups' members among them: a chain that somebody builds on purpose ends here."""


def show_error(error: BaseException, *, messages: bool = False) -> str:
    """The error and its causes, the first cause first as Python has it: types and frames, no source lines.

    ``messages`` adds what the errors say. Every line but the first of each error is indented.
    """
    return "\n".join(line for link in reversed([*_links(error)][:_LINKS]) for line in _lines(*link, messages))


def cause_of(error: BaseException) -> str:
    """The types alone, in one line: what was raised, and what that came from."""
    return " from ".join(type_name(found) for _, found in [*_links(error)][:_LINKS])


def type_name(error: BaseException) -> str:
    """The full name of the error's type; of keepsay's own errors the code, of built-in ones the short name."""
    kind = type(error)
    if isinstance(error, KeepsayError):
        return error.code
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _links(error: BaseException) -> Iterator[tuple[str, BaseException]]:
    """The error, its members if it is a group, and so on along the chain; each at most once."""
    seen: set[int] = set()
    left: list[tuple[str, BaseException]] = [("", error)]
    while left:
        how, found = left.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield how, found
        if found.__cause__ is not None:
            left.append(("", found.__cause__))
        elif found.__context__ is not None and not found.__suppress_context__:
            left.append(("", found.__context__))
        if isinstance(found, BaseExceptionGroup):
            left += [("member: ", member) for member in reversed(found.exceptions)]


def _lines(how: str, error: BaseException, messages: bool) -> Iterator[str]:
    said = f": {error}" if messages else ""
    yield f"{how}{type_name(error)}{said}"
    for frame, line in list(traceback.walk_tb(error.__traceback__))[-_FRAMES:]:
        yield f"  at {frame.f_code.co_filename}:{line} in {frame.f_code.co_qualname}"
