"""From nothing, from a running server or from the ruins of one: to a server that takes queries."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from keepsay.embedded.account import Account, server_account, spawn
from keepsay.embedded.binaries import Binaries, find_binaries, runnable_by
from keepsay.embedded.cluster import check_version, make_cluster, not_working, remove_unfinished
from keepsay.embedded.folder import Folder
from keepsay.embedded.patience import Patience
from keepsay.embedded.postmaster import clear_stale_pid_files, end, running_pid
from keepsay.embedded.sockets import Answer, ask, find_socket, make_socket_folder
from keepsay.errors import ConfigurationError

__all__ = ["Asked", "ensure_running"]

logger = logging.getLogger("keepsay.embedded")

_LISTENS_WITHIN = 10.0
_LARGEST_LOG = 1 << 20
_LOCK_FILE_EXISTS = " F0001 "  # the SQLSTATE, which the log lines carry (log_line_prefix)

_SMALL = {
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",  # also bounds recovery: about 100 MB of WAL are replayed per second
    "min_wal_size": "32MB",
    # Shared memory as files in the data folder: a killed server leaves none behind in /dev/shm (64 MB in a container),
    # and systemd does not remove them when an ordinary user logs out.
    "dynamic_shared_memory_type": "mmap",
    "jit": "off",
    "log_checkpoints": "off",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the caller asks of the server. Programs that share one must ask for the same."""

    durable: bool = True
    tcp_port: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        """Names the socket, too."""
        return self.tcp_port or 5432


def ensure_running(folder: Folder, asked: Asked, patience: Patience, is_only_user: Callable[[], bool]) -> None:
    """Return when the server takes queries; start it if it does not run. The caller holds the folder's lock.

    Raises ConfigurationError for what the user must mend, Unavailable when the server does not come up.
    """
    _settle_differences(folder, asked, is_only_user)
    child: _Child | None = None
    while (answer := ask(find_socket(folder, asked.port))) is not Answer.READY:
        if answer is Answer.NONE and (child is None or child.has_ended()):
            if running_pid(folder.data) is None:
                child = _launch(folder, asked)
            elif patience.spent > _LISTENS_WITHIN:
                end(folder.data)  # its socket was deleted: nobody can ever connect to it again
        patience.pause("waiting for the server to take queries (after a crash it recovers first)")


def _settle_differences(folder: Folder, asked: Asked, is_only_user: Callable[[], bool]) -> None:
    """A server left running with other settings is stopped if nobody uses it; else it stays, and the caller is told."""
    try:
        found = json.loads(folder.asked.read_text())
    except (FileNotFoundError, ValueError):
        return  # never started, or the machine died while this was being written: then nothing runs
    if found == asdict(asked) or ask(find_socket(folder, found["tcp_port"] or 5432)) is Answer.NONE:
        return
    if not is_only_user():
        raise ConfigurationError(f"Another program runs the server in {folder.root} with other settings: {found}.")
    end(folder.data)


class _Child:
    """A postgres that we started. A thread reaps it whenever it ends: while its pid is a zombie no other can start."""

    def __init__(self, program: subprocess.Popen[bytes], folder: Folder, log_began: int) -> None:
        self._program = program
        self._folder = folder
        self._log_began = log_began
        self._ended = threading.Event()
        threading.Thread(target=self._reap, name="keepsay-embedded-reaper", daemon=True).start()

    def _reap(self) -> None:
        self._program.wait()
        self._ended.set()

    def has_ended(self) -> bool:
        """Whether it ended because orphans of a crashed server are busy. Raises Unavailable for another reason."""
        if not self._ended.is_set():
            return False
        with self._folder.log.open(errors="replace") as log:
            log.seek(self._log_began)
            said = log.read()
        if _LOCK_FILE_EXISTS not in said:
            logger.error("the embedded Postgres did not start; its log is %s", self._folder.log)
            raise not_working("The embedded Postgres did not start.", said)
        return True


def _launch(folder: Folder, asked: Asked) -> _Child:
    """Make what is missing and start postgres; it does not listen yet."""
    account, binaries = _prepare(folder, asked)
    socket = make_socket_folder(folder, account, asked.port)
    clear_stale_pid_files(folder.data, socket)
    folder.asked.write_text(json.dumps(asdict(asked)))
    settings = _settings(asked, binaries.major) | {"unix_socket_directories": f'"{socket.parent}"'}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    log = _open_log(folder)
    try:
        log_began = os.fstat(log).st_size
        program = spawn(
            (binaries.path / "postgres", "-D", folder.data, *options), account, stdin=subprocess.DEVNULL, output=log
        )
        return _Child(program, folder, log_began)
    finally:
        os.close(log)


def _prepare(folder: Folder, asked: Asked) -> tuple[Account | None, Binaries]:
    """What postgres needs before it can start: an account, binaries that it can run, and data of their version."""
    account = server_account(folder.data)
    folder.check_reachable(account)
    binaries = runnable_by(account, find_binaries(), folder.binaries)
    remove_unfinished(folder)
    if not folder.data.exists():
        make_cluster(folder, binaries, account, durable=asked.durable)
    check_version(folder, binaries)
    return account, binaries


def _open_log(folder: Folder) -> int:
    """For appending; begun anew when it has grown large."""
    log = os.open(folder.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    if os.fstat(log).st_size > _LARGEST_LOG:
        os.ftruncate(log, 0)
    return log


def _settings(asked: Asked, major: int) -> dict[str, str]:
    """Passed on the command line, where no file in the data folder overrides them.

    The caller's come over the tuning, but not over what makes the server durable and private.
    """
    careful = "on" if asked.durable else "off"
    fixed = dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), careful) | {
        "listen_addresses": "127.0.0.1" if asked.tcp_port else "",
        "port": str(asked.port),
        "unix_socket_permissions": "0700",
        "logging_collector": "off",
        "log_line_prefix": "%m [%p] %e ",
    }
    three_fewer_processes = {"io_method": "sync"} if major >= 18 else {}
    return _SMALL | three_fewer_processes | dict(asked.settings) | fixed
