"""``keepsay export`` and ``keepsay erase``: what a user may ask for."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TextIO

import typer

from keepsay.cli.exits import ExitCode, run
from keepsay.cli.place import Place, on_database
from keepsay.cli.screen import note, printable, say
from keepsay.errors import ConfigurationError, InvalidInput
from keepsay.model.json_text import write_json

__all__ = ["erase", "export"]

_PROGRESS_EVERY = 1_000


@on_database()
def export(
    place: Place,
    *,
    user: Annotated[str, typer.Option(envvar="KEEPSAY_USER", metavar="ID", help="Whose data.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to; readable by you alone. Without it: stdout."),
    ] = None,
) -> None:
    """Write everything that is kept of a user as JSON Lines.

    Each conversation is one line of type "conversation", followed by its messages, of type "message", with their
    payloads verbatim; the last line is of type "end". A FILE is replaced when the export is complete, and only then.
    """
    run(_export(place, user, output))


async def _export(place: Place, user: str, output: Path | None) -> ExitCode:
    written: Counter[str] = Counter()
    async with place.open() as ks:
        lines = ks.user(user).export()
        with _opened(output) as file:
            async for line in lines:
                print(write_json(line), file=file)
                written[str(line["type"])] += 1
                if written.total() % _PROGRESS_EVERY == 0:
                    note(f"\r{_counted(written)}", end="")
    lead = "\r" if written.total() >= _PROGRESS_EVERY else ""
    note(f"{lead}{_counted(written)}{'' if output is None else f' in {printable(str(output))}'}")
    return ExitCode.OK


def _counted(written: Counter[str]) -> str:
    return f"{written['conversation']} conversations, {written['message']} messages"


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """stdout, or a file that takes its place when everything is in it. Raises ``ConfigurationError``."""
    if output is None:
        yield sys.stdout
        return
    unfinished = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(output)
    except OSError as error:
        raise ConfigurationError(f"Cannot write {output}: {error.strerror}.") from error
    finally:
        unfinished.unlink(missing_ok=True)


@on_database()
def erase(
    place: Place,
    *,
    user: Annotated[str, typer.Option(metavar="ID", help="Whose data.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the receipt as JSON.")] = False,
) -> None:
    """Delete everything that is kept of a user.

    Every row in every table, for good; prints how many there were. Run `keepsay export` first if anything is to be
    kept. Backups of the database are yours to deal with.
    """
    if not yes and not sys.stdin.isatty():
        run(_refuse(), json=json)
    if not yes and not typer.confirm(f"Erase everything of user {printable(user)}, for good?", err=True):
        note("Nothing was erased.")
        raise typer.Exit(ExitCode.NO)
    run(_erase(place, user, json), json=json)


async def _refuse() -> ExitCode:
    raise InvalidInput("There is nobody to ask: add --yes to erase.", field="yes")


async def _erase(place: Place, user: str, json: bool) -> ExitCode:
    async with place.open() as ks:
        erased = dataclasses.asdict(await ks.user(user).erase())
    if json:
        say(write_json({"user_id": user, "erased": erased}))
        return ExitCode.OK
    say(f"Erased user {printable(user)}:")
    for table, count in erased.items():
        say(f"  {count:>8}  {table}")
    return ExitCode.OK
