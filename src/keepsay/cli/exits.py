"""How a command ends: the one table of exit codes, and what an error becomes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer

from keepsay.cli.screen import note, paint, printable, say
from keepsay.errors import (
    ConfigurationError,
    Conflict,
    CorruptData,
    InvalidInput,
    KeepsayError,
    NotFound,
    RateLimited,
    RoleOrderError,
    SchemaMismatch,
    Unavailable,
)
from keepsay.model.json_text import JsonObject, JsonValue, write_json

__all__ = ["EXIT_CODES", "ExitCode", "ending", "exit_code", "facts", "run"]


class ExitCode(IntEnum):
    OK = 0
    NO = 1
    USAGE = 2
    UNAVAILABLE = 3
    CONFLICT = 4
    UNUSABLE = 5
    BUG = 70
    INTERRUPTED = 130


_MEANINGS = {
    ExitCode.OK: "done; or: nothing pending, nothing to mend",
    ExitCode.NO: "the answer is no: not found, migrations pending, the doctor found a problem",
    ExitCode.USAGE: "the command line, its input or a setting is wrong",
    ExitCode.UNAVAILABLE: "the database cannot be reached or refused to work: try again",
    ExitCode.CONFLICT: "the conversation is not in the state that this needs: busy, other head, role order",
    ExitCode.UNUSABLE: "the schema or a row does not fit this release",
    ExitCode.BUG: "a bug in keepsay: please report it",
    ExitCode.INTERRUPTED: "interrupted from the keyboard",
}

EXIT_CODES = "Exit codes:\n\n\b\n" + "\n".join(f"{code:>5}  {meaning}" for code, meaning in _MEANINGS.items())

_BY_ERROR: tuple[tuple[type[KeepsayError], ExitCode], ...] = (
    (NotFound, ExitCode.NO),
    (InvalidInput, ExitCode.USAGE),
    (ConfigurationError, ExitCode.USAGE),
    (Unavailable, ExitCode.UNAVAILABLE),
    (RateLimited, ExitCode.UNAVAILABLE),
    (RoleOrderError, ExitCode.CONFLICT),
    (Conflict, ExitCode.CONFLICT),
    (SchemaMismatch, ExitCode.UNUSABLE),
    (CorruptData, ExitCode.UNUSABLE),
)


def run(work: Coroutine[object, object, ExitCode | None], *, json: bool = False) -> None:
    """Do a command's work and end it with its exit code; see ``ending``."""
    with ending(json=json):
        code = asyncio.run(work)
    if code:
        raise typer.Exit(code)


@contextmanager
def ending(*, json: bool = False) -> Iterator[None]:
    """End the command when one of keepsay's errors comes: a line on stderr, its exit code, and never a traceback.

    With ``json`` the error is an object on stdout as well.
    """
    try:
        yield
    except KeepsayError as error:
        if json:
            say(write_json({"error": facts(error)}))
        note(f"{paint('error:', 'red', sys.stderr)} {printable(_advice(error))}")
        for more in getattr(error, "__notes__", ()):
            note(printable(more, keep="\n"))
        raise typer.Exit(exit_code(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def exit_code(error: KeepsayError) -> ExitCode:
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), ExitCode.BUG)


def facts(error: KeepsayError) -> JsonObject:
    """The error as JSON: code, message, outcome of the write, and its own fields."""
    fields: dict[str, JsonValue] = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(error).items()
        if not name.startswith("_")
    }
    return {"code": error.code, "message": error.message, "outcome": error.outcome} | fields


def _advice(error: KeepsayError) -> str:
    if not isinstance(error, Unavailable):
        return error.message
    if error.outcome == "unknown":
        return f"{error.message} The write may have been stored or not: look before you try again."
    return f"{error.message} `keepsay doctor` looks for the reason."
