"""Reads the SQL files. Nothing in Python makes SQL but the two names filled in here, which are checked first."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from keepsay.errors import ConfigurationError

DEFAULT_SCHEMA = "keepsay"

_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,47}")
_MIGRATION_NAME = re.compile(r"([0-9]{4})_[a-z0-9_]+")
_CALL = re.compile(r"^-- name: ([a-z_]+)\n(.*?);$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Migration:
    """A numbered, immutable step. ``checksum`` is of the text before the schema's name is filled in."""

    version: int
    name: str
    checksum: str
    sql: str = field(repr=False)


def checked_schema(name: str) -> str:
    """``name`` if it can be a schema's: lower case, digits and underscores, at most 48 characters."""
    if not _SCHEMA_NAME.fullmatch(name) or name.startswith("pg_"):
        raise ConfigurationError(
            f"{name!r} cannot name the schema: use lower case letters, digits and '_', at most 48."
        )
    return name


def _fill(text: str, schema: str) -> str:
    return text.replace("__schema__", schema).replace("__role__", f"{schema}_functions")


def _folder() -> Traversable:
    return files("keepsay.store.postgres") / "sql"


@lru_cache
def load_calls(schema: str) -> dict[str, str]:
    """The statements of ``calls.sql`` by name."""
    return _load_named("calls.sql", schema)


@lru_cache
def load_doctor(schema: str) -> dict[str, str]:
    """The statements of ``doctor.sql`` by name."""
    return _load_named("doctor.sql", schema)


def _load_named(file: str, schema: str) -> dict[str, str]:
    text = (_folder() / file).read_text()
    return {name: _fill(statement, checked_schema(schema)) for name, statement in _CALL.findall(text)}


@lru_cache
def load_migrations(schema: str) -> tuple[Migration, ...]:
    """The migrations in order. One is a folder of files, run in the order of their names."""
    checked_schema(schema)
    folders = [folder for folder in _folder().iterdir() if _MIGRATION_NAME.fullmatch(folder.name)]
    return tuple(_load_migration(folder, schema) for folder in sorted(folders, key=lambda folder: folder.name))


def _load_migration(folder: Traversable, schema: str) -> Migration:
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    text = "\n".join((folder / name).read_text() for name in names)
    checksum = hashlib.sha256(text.encode()).hexdigest()
    return Migration(int(folder.name[:4]), folder.name, checksum, _fill(text, schema))


def load_secure(schema: str) -> str:
    """What follows every migration: who owns the functions, and who may call them."""
    return _fill((_folder() / "secure.sql").read_text(), checked_schema(schema))


def load_ledger(schema: str) -> str:
    """What precedes every migration: the schema and the table that remembers the migrations."""
    return _fill((_folder() / "ledger.sql").read_text(), checked_schema(schema))


def load_grants(schema: str, role: str = "app") -> str:
    """What lets another login role use keepsay. ``role`` is an identifier, quoted if it needs to be."""
    return _fill((_folder() / "grant.sql").read_text(), checked_schema(schema)).replace("__app__", role)
