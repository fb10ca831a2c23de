"""The folder on disk: what lies where, and who may touch it.

    KEEPSAY_HOME/
      postgres/            durable servers; throwaway/ for the others, so that neither can ever adopt the other's data
        data/              the server's own
        run/               its socket (a link to a short folder when this path is too long for a socket)
        lock, users        flocks: who is starting or stopping, and who is using the server
        asked.json         what the running server was started with
        password           for TCP; the socket needs none
        log
      binaries/            copies for an account that cannot read the originals

Only ``data`` and ``run`` belong to the account that runs the server. Everything that root writes lies in a folder that
this account cannot write to, so a server that was broken into cannot make root follow a planted link.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from keepsay.embedded.account import Account, run
from keepsay.errors import ConfigurationError

__all__ = ["Folder", "default_home"]


def default_home() -> Path:
    """``KEEPSAY_HOME``, else ``/var/lib/keepsay`` for root, else the platform's folder for a user's data."""
    if configured := os.environ.get("KEEPSAY_HOME"):
        return Path(configured)
    if os.geteuid() == 0:
        return Path("/var/lib/keepsay")
    try:
        from platformdirs import user_data_path
    except ImportError as error:
        raise ConfigurationError("Set KEEPSAY_HOME, or pip install 'keepsay[embedded]'.") from error
    return user_data_path("keepsay", appauthor=False)


@dataclass(frozen=True, slots=True)
class Folder:
    """The paths of one server. Nothing is touched before :meth:`make`."""

    home: Path
    root: Path

    @classmethod
    def of(cls, home: Path | None, *, durable: bool) -> Folder:
        """The folder for a home, resolved: the same data must have one name in every program that uses it."""
        resolved = (home or default_home()).expanduser().resolve()
        return cls(resolved, resolved / ("postgres" if durable else "throwaway"))

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def users(self) -> Path:
        return self.root / "users"

    @property
    def asked(self) -> Path:
        return self.root / "asked.json"

    @property
    def password(self) -> Path:
        return self.root / "password"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def binaries(self) -> Path:
        return self.home / "binaries"

    def make(self) -> None:
        """Make what is missing, change the mode of nothing that was there.

        Raises ConfigurationError if the folder is another account's, or cannot be made.
        """
        # Root's folder must let the server's account pass through to its own data, and no more.
        mode = 0o711 if os.geteuid() == 0 else 0o700
        for path in (*reversed(self.home.parents), self.home, self.root):
            try:
                if not path.is_dir():
                    path.mkdir(mode=mode)
                    path.chmod(mode)  # whatever the umask is
            except FileExistsError:
                continue  # another program was quicker
            except OSError as error:
                raise ConfigurationError(
                    f"Cannot make {path}: {error.strerror}; choose another KEEPSAY_HOME."
                ) from error
        if self.root.lstat().st_uid != os.geteuid():
            raise ConfigurationError(
                f"{self.root} belongs to another account; run as that one or choose another KEEPSAY_HOME."
            )

    def check_reachable(self, account: Account | None) -> None:
        """Raise ConfigurationError when the server's account cannot pass through to this folder."""
        if account and run(["/bin/sh", "-c", 'test -x "$1"', "sh", self.root], account)[0] != 0:
            raise ConfigurationError(
                f"The server runs as {account.name}, who cannot reach {self.root}: one of the folders above is closed "
                "to others. Choose a KEEPSAY_HOME like /var/lib/keepsay."
            )

    def make_password(self, account: Account | None) -> None:
        """Draw the password for TCP, unless there is one. initdb reads it as the server's account."""
        if self.password.exists():
            return
        unfinished = self.root / "password.new"
        unfinished.unlink(missing_ok=True)
        opened = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(opened, secrets.token_urlsafe(24).encode())
            if account:
                os.fchown(opened, account.uid, account.gid)
        finally:
            os.close(opened)
        unfinished.rename(self.password)
