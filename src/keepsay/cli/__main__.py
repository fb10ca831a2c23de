"""``keepsay``, also as ``python -m keepsay.cli``."""

from __future__ import annotations

import io
import sys
import traceback

__all__ = ["main"]


def main() -> None:
    """Run the command line and end the program. A bug shows its traceback and ends with the code for bugs."""
    try:
        from keepsay.cli.app import app
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        sys.exit("The command line needs an extra: pip install 'keepsay[cli]'")
    from keepsay.cli.exits import ExitCode
    from keepsay.cli.screen import note, note_what_is_logged

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character gets its number
    note_what_is_logged()
    try:
        app(prog_name="keepsay")
    except Exception:
        traceback.print_exc()
        note("This is a bug in keepsay: please report it.")
        sys.exit(ExitCode.BUG)


if __name__ == "__main__":
    main()
