"""Brings a database's schema up to this release: numbered steps, forward only, under one lock, in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from keepsay.errors import ConfigurationError, SchemaMismatch
from keepsay.store.postgres.dsn import Dsn
from keepsay.store.postgres.faults import fault_from
from keepsay.store.postgres.sqltext import Migration, load_ledger, load_migrations, load_secure

__all__ = ["SchemaState", "check_usable", "migrate", "migration_sql", "read_schema_state"]

logger = logging.getLogger("keepsay.migrate")

MIN_SERVER = 150000
LOCK_WAIT = "60s"


@dataclass(frozen=True, slots=True)
class SchemaState:
    """Which migrations a database has, and which this release would run."""

    applied: tuple[int, ...]
    pending: tuple[Migration, ...]

    @property
    def version(self) -> int:
        return max(self.applied, default=0)


async def read_schema_state(connection: asyncpg.Connection, schema: str) -> SchemaState:  # type: ignore[no-any-unimported]
    """What is applied. Raises ``ConfigurationError`` if an applied migration is not the one that this release has."""
    known = load_migrations(schema)
    exists = await connection.fetchval("SELECT to_regclass($1::text) IS NOT NULL", f"{schema}.migrations")
    rows = await connection.fetch(f"SELECT version, checksum FROM {schema}.migrations") if exists else []  # noqa: S608
    checksums = {row["version"]: row["checksum"] for row in rows}
    for migration in known:
        if checksums.get(migration.version, migration.checksum) != migration.checksum:
            raise ConfigurationError(
                f"Migration {migration.name} was applied to schema {schema} with other content; "
                "the database was made by another build. Use another schema, or start from a dump of its data."
            )
    pending = tuple(migration for migration in known if migration.version not in checksums)
    return SchemaState(tuple(sorted(checksums)), pending)


def check_usable(state: SchemaState, schema: str) -> None:
    """Raise ``SchemaMismatch`` unless this release can use the schema: its own version N, or N + 1 during a deploy."""
    wanted = load_migrations(schema)[-1].version
    if not wanted <= state.version <= wanted + 1:
        raise SchemaMismatch(found=state.version, wanted=wanted)


async def migrate(dsn: Dsn, schema: str, *, only_empty: bool = False) -> Sequence[Migration]:
    """Apply what is pending and return it. Concurrent callers wait for each other; all of it happens, or nothing.

    With ``only_empty`` nothing is done to a schema that has any migration. Neon's pooled URL is turned into its direct
    one. Raises ``ConfigurationError``, ``SchemaMismatch`` (the database is newer), ``Unavailable``.
    """
    connection: asyncpg.Connection | None = None  # type: ignore[no-any-unimported]
    try:
        connection = await asyncpg.connect(**dsn.direct().connect_arguments(), statement_cache_size=0)
        _check_server(connection)
        connection.add_log_listener(_log_notice)
        return await _migrate_locked(connection, schema, only_empty)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        fault = fault_from(error, sent=connection is not None, write=True)
        raise (fault or error) from error
    finally:
        if connection is not None:
            connection.terminate()


def _check_server(connection: asyncpg.Connection) -> None:  # type: ignore[no-any-unimported]
    version = connection.get_server_version()
    if (version.major, version.minor) < divmod(MIN_SERVER, 10000):
        raise ConfigurationError(f"Postgres {version.major} is too old: keepsay needs 15 or newer.")


def _log_notice(_connection: object, message: asyncpg.PostgresLogMessage) -> None:  # type: ignore[no-any-unimported]
    level = logging.WARNING if message.severity_en == "WARNING" else logging.DEBUG
    logger.log(level, "%s", message.message)


async def _migrate_locked(  # type: ignore[no-any-unimported]
    connection: asyncpg.Connection, schema: str, only_empty: bool
) -> Sequence[Migration]:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'")
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0))", f"keepsay.{schema}")
        state = await read_schema_state(connection, schema)
        wanted = load_migrations(schema)[-1].version
        if state.version > wanted + 1:
            raise SchemaMismatch(found=state.version, wanted=wanted)
        if only_empty and state.applied:
            return ()
        if not state.applied:
            await connection.execute(load_ledger(schema))
        for migration in state.pending:
            await _apply(connection, schema, migration)
        await connection.execute(load_secure(schema))
        return state.pending


async def _apply(connection: asyncpg.Connection, schema: str, migration: Migration) -> None:  # type: ignore[no-any-unimported]
    logger.info("applying migration %s to schema %s", migration.name, schema)
    await connection.execute(migration.sql)
    await connection.execute(
        f"INSERT INTO {schema}.migrations (version, name, checksum) VALUES ($1, $2, $3)",  # noqa: S608 - a checked name
        migration.version,
        migration.name,
        migration.checksum,
    )


def migration_sql(schema: str, pending: Sequence[Migration] | None = None) -> str:
    """The SQL of the pending migrations (all), to be run by other means in one transaction."""
    steps = load_migrations(schema) if pending is None else pending
    parts = ["BEGIN;", load_ledger(schema)]
    for step in steps:
        record = f"INSERT INTO {schema}.migrations (version, name, checksum) VALUES "  # noqa: S608
        parts += [f"-- {step.name}", step.sql, f"{record}({step.version}, '{step.name}', '{step.checksum}');"]
    return "\n\n".join([*parts, load_secure(schema), "COMMIT;", ""])
