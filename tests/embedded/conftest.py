"""Places to run servers: real binaries, real accounts, folders that go away."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from keepsay.embedded import bindir

from .running import Place, until

IS_ROOT = os.geteuid() == 0


def wheel() -> Path:
    return bindir()


def system() -> Path:
    """The Postgres that pg_config knows, when it has a server of an age that keepsay takes."""
    if shutil.which("pg_config") is None:
        pytest.skip("there is no pg_config")
    found = Path(subprocess.check_output(["pg_config", "--bindir"], text=True).strip())
    if not (found / "initdb").exists():
        pytest.skip(f"there is no server in {found}")
    return found


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEEPSAY_POSTGRES_BIN", raising=False)
    monkeypatch.delenv("KEEPSAY_HOME", raising=False)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A new folder that every account can enter (pytest's own are closed to the server's account when we are root)."""
    path = Path(tempfile.mkdtemp(prefix="keepsay-test-", dir="/tmp")).resolve()
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def _place(home: Path, binaries: Path, account: str | None) -> Iterator[Place]:
    if account:
        home.mkdir()
        shutil.chown(home, account)
    place = Place(home, binaries, account)
    yield place
    while (pid := place.postmaster()) is not None:  # only after a failure: every test stops what it started
        os.kill(pid, signal.SIGQUIT)
        until(lambda gone=pid: place.postmaster() != gone)  # type: ignore[misc]


@pytest.fixture
def place(open_folder: Path) -> Iterator[Place]:
    """The wheel's Postgres, used by the account that runs the tests."""
    yield from _place(open_folder / "home", wheel(), None)


@pytest.fixture(params=["wheel", "system"])
def each_postgres(request: pytest.FixtureRequest) -> Path:
    return wheel() if request.param == "wheel" else system()


@pytest.fixture(params=[None, "nobody"] if IS_ROOT else [None], ids=["root", "ordinary"] if IS_ROOT else ["ordinary"])
def any_place(open_folder: Path, each_postgres: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    """Every Postgres, as root (when we are) and as an ordinary user."""
    yield from _place(open_folder / "home", each_postgres, request.param)
