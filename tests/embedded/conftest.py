"""Places to run servers: real binaries, real accounts, folders that go away."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keepsay.embedded import bindir
from keepsay.testing.postgres import system_bindir

from .running import Place

IS_ROOT = os.geteuid() == 0


def wheel() -> Path:
    return bindir()


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEEPSAY_POSTGRES_BIN", raising=False)
    monkeypatch.delenv("KEEPSAY_HOME", raising=False)


def _open_folder() -> Path:
    # pytest's own folders are closed to the server's account when we are root. Processes die in the same way on a disk
    # in memory, only faster.
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2 << 30
    path = Path(tempfile.mkdtemp(prefix="keepsay-test-", dir=memory if roomy else "/tmp")).resolve()
    path.chmod(0o755)
    return path


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A new folder that every account can enter."""
    path = _open_folder()
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def initialized() -> Iterator[Callable[[Path, str | None], Path]]:
    """Homes with a database in them, made once: copying one takes a tenth of the time of initdb."""
    folder = _open_folder()
    homes: dict[tuple[Path, str | None], Path] = {}

    def home_for(binaries: Path, account: str | None) -> Path:
        if (binaries, account) not in homes:
            home = homes[binaries, account] = folder / str(len(homes))
            with Place(home, binaries, account).prepared().application():
                pass
        return homes[binaries, account]

    yield home_for
    shutil.rmtree(folder)


def _stop_leftovers(place: Place) -> None:
    """Only after a failure is there anything to stop."""
    while (pid := place.postmaster()) is not None:
        os.kill(pid, signal.SIGQUIT)
        time.sleep(0.1)


@pytest.fixture(params=[None, "nobody"] if IS_ROOT else [None], ids=["root", "ordinary"] if IS_ROOT else ["ordinary"])
def account(request: pytest.FixtureRequest) -> object:
    """Who uses the server: root (when we are) and an ordinary user."""
    return request.param


@pytest.fixture(params=["wheel", "system"])
def each_postgres(request: pytest.FixtureRequest) -> Path:
    return wheel() if request.param == "wheel" else system_bindir()


@pytest.fixture
def fresh_place(open_folder: Path, each_postgres: Path, account: str | None) -> Iterator[Place]:
    """Every Postgres, as root and as an ordinary user, before the first start."""
    place = Place(open_folder / "home", each_postgres, account).prepared()
    yield place
    _stop_leftovers(place)


@pytest.fixture
def any_place(fresh_place: Place, initialized: Callable[[Path, str | None], Path], account: str | None) -> Place:
    """The same, after the first start."""
    subprocess.run(["cp", "-a", f"{initialized(fresh_place.binaries, account)}/.", fresh_place.home], check=True)
    return fresh_place


@pytest.fixture
def place(open_folder: Path, initialized: Callable[[Path, str | None], Path]) -> Iterator[Place]:
    """The wheel's Postgres, used by the account that runs the tests, after the first start."""
    place = Place(open_folder / "home", wheel(), None).prepared()
    subprocess.run(["cp", "-a", f"{initialized(wheel(), None)}/.", place.home], check=True)
    yield place
    _stop_leftovers(place)
