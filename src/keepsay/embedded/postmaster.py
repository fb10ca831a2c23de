"""The server's first process (Postgres calls it the postmaster): is that pid ours, and how it is ended.

Nothing is signalled before its owner and its command line say that it is the postgres of this very data folder.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from keepsay.embedded.patience import Patience
from keepsay.errors import ConfigurationError, Unavailable

__all__ = ["clear_stale_pid_files", "end", "running_pid"]

_FAST_STOP_WITHIN = 60.0
_UNREADABLE_AFTER = 5.0


def running_pid(data: Path) -> int | None:
    """The pid of the postgres that runs this data folder, or None. It may be too young or too hurt to listen."""
    pid = _remembered_pid(data / "postmaster.pid")
    return pid if pid is not None and _is_postgres_of(pid, data) else None


def _remembered_pid(file: Path) -> int | None:
    try:
        return int(file.read_text(errors="replace").partition("\n")[0])
    except (FileNotFoundError, ValueError):
        return None


def _is_postgres_of(pid: int, data: Path) -> bool:
    found = _owner_and_command(pid)
    if found is None:
        return False
    owner, command = found
    program, _, rest = command.partition(" -D ")
    # The "-c" tells ours from one that a person started by pg_ctl on this folder; that one we leave alone.
    return owner == data.stat().st_uid and program.endswith("/postgres") and rest.startswith(f"{data} -c ")


def _owner_and_command(pid: int) -> tuple[int, str] | None:
    """None for no process and for a zombie. The command line, and not the working folder, of a process: in a container
    root may not read the latter of other accounts' processes.
    """
    entry = Path("/proc", str(pid))
    try:
        if not Path("/proc/self/cmdline").exists():
            return _owner_and_command_by_ps(pid)
        command = (entry / "cmdline").read_bytes()
        return (entry.stat().st_uid, os.fsdecode(command.replace(b"\0", b" "))) if command else None
    except (FileNotFoundError, ProcessLookupError):
        return None


def _owner_and_command_by_ps(pid: int) -> tuple[int, str] | None:
    """Where there is no /proc (macOS)."""
    command = ["/bin/ps", "-ww", "-o", "uid=,stat=,args=", "-p", str(pid)]
    line = subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout  # noqa: S603 - fixed program, a number
    owner, state, arguments = [*os.fsdecode(line).strip().split(None, 2), "", "", ""][:3]
    return (int(owner), f"{arguments} ") if arguments and not state.startswith("Z") else None


def clear_stale_pid_files(data: Path, socket: Path) -> None:
    """Remove the pid files that would keep Postgres from starting: the pid is now a zombie or somebody else's.

    There is one with the data and one beside the socket, and Postgres obeys both. The caller holds the folder's lock,
    nobody answers on the socket, and :func:`running_pid` is None. A pid file whose process is gone stays: Postgres
    removes it itself, after making sure that no orphan of the old server is left. Raises ConfigurationError when the
    pid is a Postgres on this data that keepsay did not start.
    """
    for file in (data / "postmaster.pid", socket.with_name(f"{socket.name}.lock")):
        pid = _remembered_pid(file)
        if not _blocks(pid, file):
            continue
        if pid is not None and _is_foreign_postgres_of(pid, data):
            raise ConfigurationError(
                f"A Postgres that was not started by keepsay runs on {data} (pid {pid}); stop it first."
            )
        file.unlink(missing_ok=True)


def _blocks(pid: int | None, file: Path) -> bool:
    """Whether Postgres would refuse to start because of this file."""
    try:
        if pid is None:
            return time.time() - file.stat().st_mtime > _UNREADABLE_AFTER  # else it is perhaps just being written
        os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    except PermissionError:
        pass  # it lives, as another account
    return True


def _is_foreign_postgres_of(pid: int, data: Path) -> bool:
    """As far as /proc shows it: every Postgres works in its data folder."""
    entry = Path("/proc", str(pid))
    try:
        return (entry / "comm").read_text() == "postgres\n" and (entry / "cwd").samefile(data)
    except OSError:
        return False


def end(data: Path) -> None:
    """Stop the server of this data folder, if there is one: in order, and after a minute at once (it recovers then).

    Raises Unavailable if it does not go.
    """
    for number, within in ((signal.SIGINT, _FAST_STOP_WITHIN), (signal.SIGQUIT, 10.0)):
        pid = running_pid(data)
        if pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        if _is_gone(pid, data, Patience(within)):
            return
    raise Unavailable(f"Postgres does not stop (pid {pid}).", outcome="not_applied")


def _is_gone(pid: int, data: Path, patience: Patience) -> bool:
    while _is_postgres_of(pid, data):
        try:
            patience.pause("waiting for the server to stop")
        except Unavailable:
            return False
    return True
