"""The one class that programs use."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from keepsay.embedded.folder import Folder
from keepsay.embedded.launch import Asked, ensure_running
from keepsay.embedded.locks import Use, alone_in
from keepsay.embedded.patience import Patience
from keepsay.embedded.postmaster import end
from keepsay.embedded.sockets import find_socket, forget_socket_folder
from keepsay.errors import ConfigurationError, Unavailable

__all__ = ["EmbeddedPostgres"]


class EmbeddedPostgres:
    """A Postgres server for this program, shared with every other program that names the same home.

    ``home``: where it keeps its data; by default ``KEEPSAY_HOME``, else ``/var/lib/keepsay`` for root, else the
    platform's folder for a user's data. ``durable=False`` is for tests: faster, kept apart from durable data, and lost
    when the machine crashes. ``tcp_port`` also listens on 127.0.0.1, with a password. ``settings`` are Postgres' own.
    ``timeout``: how many seconds to wait for a start, recovery after a crash included.

    Blocking; in async code call ``await asyncio.to_thread(server.start)``. Safe to call from several threads.
    """

    def __init__(
        self,
        home: Path | None = None,
        *,
        durable: bool = True,
        tcp_port: int | None = None,
        settings: Mapping[str, str] | None = None,
        timeout: float = 600.0,
    ) -> None:
        self._home = home
        self._asked = Asked(durable, tcp_port, dict(settings or {}))
        self._timeout = timeout
        self._guard = threading.Lock()
        self._folder: Folder | None = None
        self._use: Use | None = None
        self._pid = 0

    def start(self) -> str:
        """Return the DSN of a server that takes queries. Start one, or join the one that runs.

        May be called again at any time: if the server has died since, it is started anew.

        Raises ConfigurationError for what you must mend (no binaries, data of another major version, a home that the
        server cannot reach, Windows) and Unavailable when the server does not come up in time.
        """
        if os.name != "posix":
            raise ConfigurationError("The embedded Postgres needs Linux or macOS; name a database in DATABASE_URL.")
        with self._guard:
            folder = Folder.of(self._home, durable=self._asked.durable) if self._folder is None else self._folder
            folder.make()
            patience = Patience(self._timeout)
            with alone_in(folder.lock, patience):
                use = self._own_use() or Use(folder.users)
                try:
                    ensure_running(folder, self._asked, patience, use.is_only_one)
                except BaseException:
                    self._use = None
                    _leave(folder, use)
                    raise
            self._folder, self._use, self._pid = folder, use, os.getpid()
            # A program that merely forgets to stop still leaves in order.
            atexit.register(self.stop)
        return self.dsn

    def stop(self) -> None:
        """Leave; the last program to leave stops the server. In a forked child it stops nothing."""
        with self._guard:
            use, folder, self._use = self._own_use(), self._folder, None
            if use is None or folder is None:
                return
            atexit.unregister(self.stop)
            with alone_in(folder.lock, Patience(self._timeout)):
                _leave(folder, use)

    def _own_use(self) -> Use | None:
        """None in a forked child, which must count for itself: a lock that it shares with its parent hides the two from
        each other.
        """
        if self._use is not None and self._pid != os.getpid():
            self._use.end()
            self._use = None
        return self._use

    @property
    def dsn(self) -> str:
        """Through the socket, as the superuser ``keepsay``, without a password. Raises Unavailable before ``start``."""
        place = find_socket(self._started(), self._asked.port)
        if place is None:
            raise Unavailable("The folder of the server's socket is gone; start again.", outcome="not_applied")
        # The port is named because PGPORT would change the default.
        return f"postgresql://keepsay@/keepsay?host={quote(str(place.parent))}&port={self._asked.port}"

    @property
    def tcp_dsn(self) -> str:
        """Through 127.0.0.1, with the password. Raises ConfigurationError without ``tcp_port``, else as ``dsn``."""
        if self._asked.tcp_port is None:
            raise ConfigurationError("This server has no tcp_port.")
        password = self._started().password.read_text()
        return f"postgresql://keepsay:{password}@127.0.0.1:{self._asked.tcp_port}/keepsay?sslmode=disable"

    def _started(self) -> Folder:
        if self._use is None or self._folder is None:
            raise Unavailable("The embedded Postgres is not started.", outcome="not_applied")
        return self._folder

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _leave(folder: Folder, use: Use) -> None:
    """Stop the server if nobody else uses it. The caller holds the folder's lock."""
    try:
        if use.is_only_one():
            end(folder.data)
            forget_socket_folder(folder)
    finally:
        use.end()
