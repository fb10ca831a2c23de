"""The program: its commands, and what holds for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keepsay.cli import doctor, leaving, migrate, reading, serve, session
from keepsay.cli.exits import EXIT_CODES, ending
from keepsay.cli.screen import say
from keepsay.library.env_file import load_env_file

__all__ = ["app"]

_HELP: dict[str, object] = {"help_option_names": ["--help", "-h"]}
# Plain help: rich would reflow the tables, and costs as much time to import as everything else here.
app = typer.Typer(
    name="keepsay",
    epilog=f"`keepsay COMMAND --help` tells more, also which environment variable gives each option.\n\n{EXIT_CODES}",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=_HELP,
)
for command in (
    serve.serve,
    session.session,
    migrate.migrate,
    doctor.doctor,
    reading.ls,
    reading.show,
    leaving.export,
    leaving.erase,
):
    app.command(context_settings=_HELP | {"auto_envvar_prefix": f"KEEPSAY_{command.__name__.upper()}"})(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        from keepsay import __version__

        say(f"keepsay {__version__}")
        raise typer.Exit


@app.callback()
def keepsay(
    *,
    env_file: Annotated[
        Path,
        typer.Option(
            envvar="KEEPSAY_ENV_FILE",
            metavar="FILE",
            help="Environment variables that hold where none is set, if it is there.",
        ),
    ] = Path(".env"),
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Conversations that last: keeps what was said between users and chatbots, on your Postgres.

    Without DATABASE_URL keepsay runs a Postgres of its own. Start with `keepsay serve`.
    """
    with ending():
        load_env_file(env_file)  # before the command's own options are read
