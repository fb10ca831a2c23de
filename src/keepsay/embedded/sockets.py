"""The server's socket: where it lies, and what the server says through it.

Whether a server lives is asked here and nowhere else. A pid file only remembers one: its pid may be a zombie, or belong
to another program by now (after a container restart it usually does).
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
import tempfile
from enum import Enum
from pathlib import Path
from struct import pack

from keepsay.embedded.account import Account
from keepsay.embedded.folder import Folder
from keepsay.errors import ConfigurationError

__all__ = ["Answer", "ask", "find_socket", "forget_socket_folder", "make_socket_folder"]

_LONGEST_PATH = 107 if sys.platform == "linux" else 103  # sun_path without its final NUL
_USABLE = re.compile(r"[\w/.+ -]+", re.ASCII)  # a comma separates hosts in a DSN and folders in Postgres' setting
_STARTUP = b"user\0keepsay\0database\0keepsay\0application_name\0keepsay-embedded\0\0"
_CANNOT_CONNECT_NOW = b"\0C57P03\0"  # starting, recovering or shutting down
_ANSWER_WITHIN = 5.0


class Answer(Enum):
    NONE = "nobody listens"
    NOT_YET = "it lives, but takes no queries: it starts, recovers, stops, or is too busy to answer"
    READY = "it takes queries"


def find_socket(folder: Folder, port: int) -> Path | None:
    """The socket's path, or None when there is no folder for it that only the server's account can enter."""
    path = (folder.run.readlink() if folder.run.is_symlink() else folder.run) / f".s.PGSQL.{port}"
    return path if _is_usable(path) and _is_private(path.parent, folder.data) else None


def _is_usable(path: Path) -> bool:
    return len(bytes(path)) <= _LONGEST_PATH and _USABLE.fullmatch(str(path)) is not None


def make_socket_folder(folder: Folder, account: Account | None, port: int) -> Path:
    """Make the socket's folder if need be, and return the socket's path.

    The folder is inside ours, or a short private one when our path is no good for a socket.
    """
    if (found := find_socket(folder, port)) is not None:
        return found
    path = folder.run / f".s.PGSQL.{port}"
    if folder.run.is_symlink():
        folder.run.unlink()
    elif folder.run.exists():
        if _is_usable(path):
            raise ConfigurationError(f"{folder.run} is open to other accounts than the server's; remove it.")
        shutil.rmtree(folder.run)  # the home was moved to where its path is too long
    if _is_usable(path):
        folder.run.mkdir(mode=0o700)
        _give(folder.run, account)
        return path
    # A name that nobody could have made before us, remembered by a link in our own folder. /tmp, and not TMPDIR, which
    # may be long, differ between programs, or be closed to the server's account.
    outside = Path(tempfile.mkdtemp(prefix="keepsay-", dir="/tmp"))
    _give(outside, account)
    folder.run.symlink_to(outside)
    return outside / path.name


def _give(place: Path, account: Account | None) -> None:
    if account:
        os.chown(place, account.uid, account.gid)


def forget_socket_folder(folder: Folder) -> None:
    """After the server stopped: leave nothing in /tmp."""
    if folder.run.is_symlink():
        place = folder.run.readlink()
        if _is_private(place, folder.data):
            place.rmdir()
        folder.run.unlink()


def _is_private(place: Path, data: Path) -> bool:
    """Whether only the account that owns the data can enter: otherwise an impostor could listen there."""
    try:
        facts, owner = place.lstat(), data.stat().st_uid
    except FileNotFoundError:
        return False
    return place.is_dir() and not place.is_symlink() and facts.st_uid == owner and facts.st_mode & 0o077 == 0


def ask(path: Path | None) -> Answer:
    """Say hello as a client does. Too busy to answer is alive: only a refused connection means that there is none."""
    if path is None:
        return Answer.NONE
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(_ANSWER_WITHIN)
        try:
            link.connect(str(path))
            link.sendall(pack("!ii", len(_STARTUP) + 8, 3 << 16) + _STARTUP)
            return _hear_out(link)
        except (FileNotFoundError, ConnectionRefusedError):
            return Answer.NONE
        except (TimeoutError, BlockingIOError, ConnectionResetError, BrokenPipeError):
            return Answer.NOT_YET


def _hear_out(link: socket.socket) -> Answer:
    """Read up to ReadyForQuery and take leave properly, or the server's log would fill with broken pipes."""
    heard = b""
    while not heard.endswith(b"Z\0\0\0\x05I"):
        part = link.recv(8192)
        if not part:
            # It closed: refused for now, or for a reason that a client will see too (too many connections, no such
            # database). Those are a running server's answers.
            return Answer.NOT_YET if not heard or _CANNOT_CONNECT_NOW in heard else Answer.READY
        heard += part
    link.sendall(b"X\0\0\0\x04")
    return Answer.READY
