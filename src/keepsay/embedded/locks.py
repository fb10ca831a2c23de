"""Two flocks per folder. The kernel drops a flock when its holder dies, whatever the way, so neither can go stale."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keepsay.embedded.patience import Patience
from keepsay.errors import ConfigurationError

__all__ = ["Use", "alone_in"]


@contextmanager
def alone_in(lock: Path, patience: Patience) -> Iterator[None]:
    """Hold the folder while starting or stopping its server. Raises Unavailable when patience ends."""
    import fcntl  # absent on Windows, where importing this package must still work

    file = _open(lock)
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                patience.pause("waiting for another program that is starting or stopping the server")
            except OSError as error:
                raise ConfigurationError(f"{lock} cannot be locked ({error.strerror}); choose a local disk.") from error
        yield
    finally:
        os.close(file)


class Use:
    """One user of the server, counted by the kernel. Changes only under the lock of :func:`alone_in`."""

    def __init__(self, users: Path) -> None:
        import fcntl

        self._file = _open(users)
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def is_only_one(self) -> bool:
        """Whether nobody else uses the server."""
        import fcntl

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            only = False
        else:
            only = True
        # A failed upgrade may have dropped the shared lock (flock(2)); nobody can come between, we hold the other lock.
        fcntl.flock(self._file, fcntl.LOCK_SH)
        return only

    def end(self) -> None:
        """Be counted no longer. In a forked child: the parent still is."""
        os.close(self._file)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
