"""Looks at a database the way keepsay uses it, changes nothing, and says what it found and what mends it."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median
from typing import TypeAlias

import asyncpg

from keepsay.errors import ConfigurationError, KeepsayError, Unavailable
from keepsay.store.postgres.dsn import Dsn
from keepsay.store.postgres.faults import fault_from
from keepsay.store.postgres.findings import Finding
from keepsay.store.postgres.migrate import SchemaState, read_schema_state
from keepsay.store.postgres.pool import AutoMigrate
from keepsay.store.postgres.schema_findings import (
    Access,
    Doors,
    Table,
    judge_access,
    judge_isolation,
    judge_migrations,
)
from keepsay.store.postgres.server_findings import (
    Server,
    judge_clock,
    judge_connections,
    judge_durability,
    judge_pooler,
    judge_speed,
    judge_version,
    judge_writable,
)
from keepsay.store.postgres.sqltext import DEFAULT_SCHEMA, load_doctor, load_grants, load_migrations
from keepsay.store.postgres.store import PostgresStore

__all__ = ["diagnose", "look_at_schema"]

CONNECT_SECONDS = 15.0
STATEMENT_SECONDS = 5.0
TRIPS = 5

Walls: TypeAlias = tuple[Access, list[Doors], list[Table]]


async def diagnose(dsn: Dsn, schema: str, *, auto_migrate: AutoMigrate = "empty") -> list[Finding]:
    """Every finding, in the order in which to mend them. An unreachable database is a finding, the last one.

    Reads catalogs alone and writes nothing; ends within half a minute whatever the network does. ``auto_migrate`` is
    what the application is started with: it decides whether an empty database is a matter to mend.
    """
    findings = [_software(), Finding("database", "ok", dsn.redacted(), facts={"database_url": dsn.redacted()})]
    began = time.perf_counter()
    try:
        async with _connected(dsn) as connection:
            connected = time.perf_counter()
            findings += await _server(connection, dsn, (connected - began) * 1000)
            more, walls = await _schema(connection, schema, auto_migrate)
        findings += more
        if walls is not None:  # over the application's own pool, once the connection above is free again
            findings.append(judge_isolation(*walls, binds=await _row_security(dsn, schema), schema=schema))
    except (Unavailable, ConfigurationError) as error:
        reached = any(finding.name == "server" for finding in findings)
        findings.append(_broken(error) if reached else _unreachable(error))
    return findings


async def look_at_schema(dsn: Dsn, schema: str) -> SchemaState:
    """Which migrations the database has and which are pending. Changes nothing. Raises ``Unavailable``."""
    async with _connected(dsn) as connection:
        return await read_schema_state(connection, schema)


@asynccontextmanager
async def _connected(dsn: Dsn) -> AsyncIterator[asyncpg.Connection]:  # type: ignore[no-any-unimported]
    """A plain connection in one transaction, so that a pooler keeps it on one server. Faults leave as keepsay's."""
    connection: asyncpg.Connection | None = None  # type: ignore[no-any-unimported]
    try:
        connection = await asyncpg.connect(
            **dsn.connect_arguments(),
            statement_cache_size=0,
            timeout=CONNECT_SECONDS,
            command_timeout=STATEMENT_SECONDS,
        )
        async with connection.transaction():
            yield connection
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        fault = fault_from(error, sent=connection is not None, write=False)
        assert fault is not None
        raise fault from error
    finally:
        if connection is not None:
            connection.terminate()


def _software() -> Finding:
    versions = {
        "keepsay": version("keepsay"),
        "python": ".".join(map(str, sys.version_info[:3])),
        "asyncpg": asyncpg.__version__,
    }
    found = f"keepsay {versions['keepsay']}, Python {versions['python']}, asyncpg {versions['asyncpg']}"
    return Finding("software", "ok", found, facts=versions)


def _unreachable(error: KeepsayError) -> Finding:
    mend = (
        "Check host, port, user and password of DATABASE_URL, that the server runs, and that this machine may reach it."
    )
    return Finding("connection", "problem", _with_cause(error), mend, {"code": error.code})


def _broken(error: KeepsayError) -> Finding:
    mend = "If it does not pass, something was taken out of the schema by hand: restore it from a backup."
    return Finding("schema", "problem", _with_cause(error), mend, {"code": error.code})


def _with_cause(error: KeepsayError) -> str:
    cause = error.__cause__
    return f"{error.message} [{type(cause).__name__}: {cause}]" if str(cause or "") else error.message


async def _server(connection: asyncpg.Connection, dsn: Dsn, connect_ms: float) -> list[Finding]:  # type: ignore[no-any-unimported]
    sql = load_doctor(DEFAULT_SCHEMA)
    row = await connection.fetchrow(sql["server"])
    server = Server(announced=connection.get_server_pid(), **dict(row))
    trips = [await _seconds(connection.execute(sql["ping"])) for _ in range(TRIPS)]
    return [
        judge_speed(connect_ms, median(trips) * 1000),
        judge_version(server),
        judge_pooler(server, named_pooler=dsn.is_pooled),
        judge_writable(server),
        judge_durability(server),
        judge_connections(server),
        judge_clock(*await _skew(connection, sql["clock"])),
    ]


async def _seconds(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def _skew(connection: asyncpg.Connection, clock: str) -> tuple[float, float]:  # type: ignore[no-any-unimported]
    """How far the server's clock is ahead, and how far off that may be: it was read between two looks at ours."""
    before = datetime.now(UTC)
    now: datetime = await connection.fetchval(clock)
    half = (datetime.now(UTC) - before) / 2
    return (now - before - half).total_seconds(), half.total_seconds()


async def _schema(  # type: ignore[no-any-unimported]
    connection: asyncpg.Connection, schema: str, auto_migrate: AutoMigrate
) -> tuple[list[Finding], Walls | None]:
    """What there is to say of the schema, and, if it is sound, what is needed to judge the isolation of users."""
    sql, newest = load_doctor(schema), load_migrations(schema)[-1].version
    access = Access(**dict(await connection.fetchrow(sql["access"])))
    if access.is_empty:
        state = SchemaState((), load_migrations(schema))
        return [judge_migrations(state, schema, newest=newest, auto_migrate=auto_migrate)], None
    doors = [Doors(**dict(row)) for row in await connection.fetch(sql["doors"])]
    privileges = judge_access(access, doors, load_grants(schema, access.role))
    if not access.may_read:
        return [privileges], None
    try:
        state = await read_schema_state(connection, schema)
    except ConfigurationError as error:
        foreign = Finding("migrations", "problem", error.message, "Name another schema in KEEPSAY_SCHEMA.")
        return [foreign, privileges], None
    migrations = judge_migrations(state, schema, newest=newest, auto_migrate=auto_migrate)
    tables = [Table(**dict(row)) for row in await connection.fetch(sql["tables"])]
    sound = migrations.level == privileges.level == "ok"
    return [migrations, privileges], (access, doors, tables) if sound else None


async def _row_security(dsn: Dsn, schema: str) -> bool:
    """Asked as the application asks: through its own pool, of one of the functions."""
    store = PostgresStore(dsn, schema=schema, auto_migrate="never", max_size=1)
    try:
        return await store.row_security()
    finally:
        await store.close()
