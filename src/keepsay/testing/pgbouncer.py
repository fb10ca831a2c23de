"""PgBouncer in transaction mode, started in front of a server: the strictest of the usual poolers to work behind.

    with PgBouncer(dsn, pool_size=2) as pooler:
        pool = await open_pool(pooler.dsn)

Debian 12's PgBouncer 1.18 does not know prepared statements, so clients that name them read each other's answers there.
With a small pool every leaked session state and every server connection that is not given back shows at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from keepsay.store.postgres.dsn import Dsn
from keepsay.testing.wire import free_port

__all__ = ["PgBouncer", "unprivileged_account"]

_START_SECONDS = 10.0
_CONFIGURATION = """\
[databases]
* = {server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 1000
logfile = {log}
"""


class PgBouncer:
    """PgBouncer on a free port of 127.0.0.1, with its own temporary folder. Use it with ``with``; it starts at once.

    ``server`` must be reachable without TLS. ``pool_size`` is the number of server connections that all clients share.
    Raises ``FileNotFoundError`` when PgBouncer is not installed: a test that needs it should fail, not be skipped.
    """

    def __init__(self, server: Dsn, *, pool_size: int = 2) -> None:
        self._server = server
        self._pool_size = pool_size
        self._port = free_port()

    @property
    def dsn(self) -> Dsn:
        """Where clients connect, as the same user and to the same database."""
        return dataclasses.replace(self._server, host="127.0.0.1", port=self._port, tls="off")

    def __enter__(self) -> Self:
        program = _program()
        account = unprivileged_account()
        self._folder = Path(tempfile.mkdtemp(prefix="keepsay-pgbouncer-"))
        configuration = self._folder / "pgbouncer.ini"
        configuration.touch(mode=0o600)
        configuration.write_text(self._configuration())
        if account is not None:
            for path in (self._folder, configuration):
                shutil.chown(path, account)
        self._running = subprocess.Popen([program, "--quiet", configuration], user=account, cwd=self._folder)
        try:
            self._wait_until_it_listens()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._running.terminate()
        try:
            self._running.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.wait()
        shutil.rmtree(self._folder)

    def log(self) -> str:
        """What PgBouncer has said so far."""
        return (self._folder / "log").read_text()

    def _configuration(self) -> str:
        fields = {
            "host": self._server.host or "localhost",
            "port": str(self._server.port),
            "user": self._server.user or pwd.getpwuid(os.geteuid()).pw_name,
            "password": self._server.password,
        }
        quoted = (f"{name}='{text.replace(chr(39), chr(39) * 2)}'" for name, text in fields.items() if text is not None)
        return _CONFIGURATION.format(
            server=" ".join(quoted), port=self._port, pool_size=self._pool_size, log=self._folder / "log"
        )

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._running.poll() is None:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self._port)):
                return
            time.sleep(0.02)
        raise RuntimeError(f"PgBouncer did not start: {self.log()}")


def _program() -> str:
    # Debian keeps it out of the path of ordinary users.
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise FileNotFoundError("pgbouncer is not installed; on Debian: apt-get install pgbouncer")
    return program


def unprivileged_account() -> str | None:
    """The account to run servers as when we are root, which PgBouncer and Postgres refuse; ``None`` when we are not."""
    if os.geteuid() != 0:
        return None
    accounts = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in accounts else "nobody"
