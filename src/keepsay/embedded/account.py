"""Whom Postgres runs as. It refuses to run as root, so root lends it another account and keeps everything else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keepsay.errors import ConfigurationError

if TYPE_CHECKING:
    import pwd

__all__ = ["Account", "run", "server_account", "spawn"]

# The server inherits nothing else: the application's environment often holds secrets, and the account that runs the
# server could read them there. PG* variables would change what initdb and postgres do.
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_LONGEST_TOOL_RUN = 300.0


@dataclass(frozen=True, slots=True)
class Account:
    """An existing account that owns the data and runs the server in place of root."""

    name: str
    uid: int
    gid: int


def server_account(data: Path) -> Account | None:
    """The account to run the server as, or None to run it as the caller.

    Data that is already there keeps its owner, so that installing a system Postgres later (which adds the account
    ``postgres``) does not lock an older folder out. New data goes to ``postgres`` if there is one, else to ``nobody``.
    """
    if os.geteuid() != 0:
        return None
    import pwd  # absent on Windows, where importing this package must still work

    if data.exists():
        owner = data.stat().st_uid
        if owner == 0:
            raise ConfigurationError(
                f"{data} belongs to root, and Postgres refuses to run as root; chown it or move it away."
            )
        try:
            return _to_account(pwd.getpwuid(owner))
        except KeyError:
            raise ConfigurationError(f"{data} belongs to the account {owner}, which does not exist here.") from None
    for name in ("postgres", "nobody"):
        try:
            return _to_account(pwd.getpwnam(name))
        except KeyError:
            continue
    raise ConfigurationError("Postgres refuses to run as root, and there is neither an account postgres nor nobody.")


def _to_account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def spawn(
    command: Sequence[str | Path], account: Account | None, *, stdin: int, output: int
) -> subprocess.Popen[bytes]:
    """Start a program as the account, in a session of its own: Ctrl-C in the application's terminal must not reach
    Postgres, because the application still needs it to shut down in order. Raises ConfigurationError if it cannot.
    """
    try:
        return subprocess.Popen(  # noqa: S603 - our own programs, and no shell
            [str(part) for part in command],
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",  # the account may not be allowed into the caller's folder
            env={"LC_ALL": "C", "TZ": "UTC"} | {name: os.environ[name] for name in _INHERITED if name in os.environ},
            umask=0o077,
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except OSError as error:
        whom = f" as {account.name}" if account else ""
        raise ConfigurationError(f"Cannot run {command[0]}{whom}: {error.strerror}.") from error


def run(command: Sequence[str | Path], account: Account | None = None, *, stdin: bytes = b"") -> tuple[int, str]:
    """Run a program to its end; its exit code and all that it printed. Interrupted, it leaves no program behind."""
    with spawn(command, account, stdin=subprocess.PIPE, output=subprocess.PIPE) as program:
        try:
            output, _ = program.communicate(stdin, timeout=_LONGEST_TOOL_RUN)
        except BaseException:
            program.kill()
            raise
    return program.returncode, output.decode(errors="replace")
