"""The program: its commands, and what holds for all of them."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from keepsay.cli import doctor, leaving, migrate, reading, serve, session
from keepsay.cli.exits import EXIT_CODES
from keepsay.cli.screen import note, printable, say

__all__ = ["app"]

# Plain help: rich would reflow the tables, and costs as much time to import as everything else here.
app = typer.Typer(
    name="keepsay",
    epilog=f"`keepsay COMMAND --help` tells more. Every option can be given by the environment.\n\n{EXIT_CODES}",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(serve.serve)
app.command()(session.session)
app.command()(migrate.migrate)
app.command()(doctor.doctor)
app.command()(reading.ls)
app.command()(reading.show)
app.command()(leaving.export)
app.command()(leaving.erase)


class _Notes(logging.Handler):
    """What the library logs, as lines beside the answer."""

    def emit(self, record: logging.LogRecord) -> None:
        note(printable(record.getMessage()))


def _show_version(wanted: bool) -> None:
    if wanted:
        from keepsay import __version__

        say(f"keepsay {__version__}")
        raise typer.Exit


@app.callback()
def keepsay(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Conversations that last: keeps what was said between users and chatbots, on your Postgres.

    Without DATABASE_URL keepsay runs a Postgres of its own. Start with `keepsay serve`.
    """
    logger = logging.getLogger("keepsay")
    if not logger.handlers:
        logger.addHandler(_Notes())
        logger.propagate = False
