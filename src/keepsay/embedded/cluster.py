"""The data folder: made whole or not at all, and never touched by binaries of another major version."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from keepsay.embedded.account import Account, run
from keepsay.embedded.binaries import Binaries
from keepsay.embedded.folder import Folder
from keepsay.errors import ConfigurationError, Unavailable

__all__ = ["check_version", "make_cluster", "not_working", "remove_unfinished"]

_STAGING = "data.unfinished-"
_NOTE_CHARS = 2_000
# macOS has no C.UTF-8, but a character type of this name that every locale shares.
_LOCALE = ("--locale=C", "--lc-ctype=UTF-8") if sys.platform == "darwin" else ("--locale=C.UTF-8",)


def check_version(folder: Folder, binaries: Binaries) -> None:
    """Raise ConfigurationError when the data is of another major version than the binaries."""
    try:
        found = (folder.data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        raise ConfigurationError(f"{folder.data} is not a Postgres data folder; move it away.") from None
    if found != str(binaries.major):
        raise ConfigurationError(
            f"The data in {folder.data} is of Postgres {found}, but {binaries.path} is Postgres {binaries.major}. "
            f"Nothing was touched. To go on with it, set KEEPSAY_POSTGRES_BIN to the bin folder of a Postgres {found}. "
            f"To upgrade, dump it with that one (pg_dumpall), choose a new KEEPSAY_HOME, and load the dump there."
        )


def remove_unfinished(folder: Folder) -> None:
    """Remove what crashed first starts left. The caller holds the folder's lock.

    An initdb that outlived its killed application may still be writing there; a later start removes the rest.
    """
    for leftover in folder.root.glob(_STAGING + "*"):
        shutil.rmtree(leftover, ignore_errors=True)


def make_cluster(folder: Folder, binaries: Binaries, account: Account | None, *, durable: bool) -> None:
    """Make ``data``, with the role and the database ``keepsay`` in it, whole or not at all.

    It is made beside its place and then renamed: a crash on the way leaves only what :func:`remove_unfinished` removes.
    The caller holds the folder's lock.
    """
    folder.make_password(account)
    staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=folder.root))
    try:
        if account:
            os.chown(staging, account.uid, account.gid)
        _initdb(staging, folder.password, binaries, account, durable=durable)
        _create_database(staging, binaries, account)
        staging.rename(folder.data)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    _sync(folder.root)


def _initdb(data: Path, password: Path, binaries: Binaries, account: Account | None, *, durable: bool) -> None:
    """Trust on the socket, a password on TCP.

    Only root and the server's own account get through the socket's folder (0700) to the socket (0700), and both can
    read the data files anyway: peer would add nothing but a list of account names. On TCP any local user may knock.
    """
    options = ["--username=keepsay", "--encoding=UTF8", *_LOCALE, "--auth-local=trust", "--auth-host=scram-sha-256"]
    options += ["--no-instructions"] if durable else ["--no-instructions", "--no-sync"]
    code, output = run([binaries.path / "initdb", *options, "--pwfile", password, "--pgdata", data], account)
    if code != 0:
        raise not_working("The embedded Postgres could not be made: initdb failed.", output)


def _create_database(data: Path, binaries: Binaries, account: Account | None) -> None:
    """In single-user mode, so that the data folder has its database before it gets its name."""
    command = (binaries.path / "postgres", "--single", "-D", data, "-c", "exit_on_error=on", "template1")
    code, output = run(command, account, stdin=b"CREATE DATABASE keepsay;\n")
    if code != 0:
        raise not_working("The embedded Postgres could not be made: its database could not be created.", output)


def not_working(message: str, said: str) -> Unavailable:
    """The error, with what Postgres said as a note: for the person at the terminal, not for clients of a server."""
    error = Unavailable(message, outcome="not_applied")
    error.add_note(said.strip()[-_NOTE_CHARS:])
    return error


def _sync(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
