"""A connection on which every call is one network round trip, behind any pooler, and never answers with foreign rows.

How asyncpg comes, and what is different here (measured in docs/adr/0003):

- Named statements are shared by all clients of a server connection behind PgBouncer, and their names are predictable:
  one client executes another's statement. Here every statement is unnamed and its text travels with every call:
  ``Parse, Bind, Execute, Sync`` leave as one flight, so nothing on the server is expected from an earlier one.
- Encoding arguments needs the parameter types, decoding rows the column types. They are asked for once per connection
  and text (``Describe``, one more round trip) and kept. They belong to the text, not to a server connection: texts have
  the form ``SELECT head::bigint, ... FROM schema.fn_v1($1::uuid, ...)`` with built-in types, whose OIDs are the same
  everywhere. The casts cost nothing and keep the types true even if the function is replaced; without them a value of
  another type and the same width would be misread, and only a change of width or of the number of columns is an error.
- The pool's reset (``RESET ALL`` and so on) is a round trip after every call. Calls leave no session state: no reset.
- Unknown types are looked up with queries of their own. Here they are refused.

asyncpg internals in use; ``tests/postgres/test_connection.py`` fails by name when one of them changes:

- ``Connection._protocol`` with ``prepare``, ``bind_execute``, ``close_portal`` and ``queries_count``
- of the statement that ``prepare`` returns: ``_init_types``, ``_init_codecs``, ``mark_unprepared`` (it makes
  ``bind_execute`` send the text again)
- ``ConnectionSettings.register_data_types``, for arrays of built-in types
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncpg

from keepsay.store.postgres.dsn import Dsn

__all__ = ["OneTripConnection", "open_pool"]

IDLE_SECONDS = 240.0
"""Shorter than the five minutes after which Neon suspends: the pool closes its idle connections, not the server."""

COMMAND_SECONDS = 30.0
"""The limit of a call that is given none."""

_ARRAYS = {
    1000: ("_bool", 16),
    1001: ("_bytea", 17),
    1005: ("_int2", 21),
    1007: ("_int4", 23),
    1016: ("_int8", 20),
    1022: ("_float8", 701),
    1185: ("_timestamptz", 1184),
    2951: ("_uuid", 2950),
    3807: ("_jsonb", 3802),
}
"""Array types by OID, as (name, element OID). asyncpg knows ``text[]`` by itself and asks the server for the rest."""

_SAY_NOTHING_OF_TYPES = frozenset({"KS", "23", "25", "40", "53", "55", "57", "P0"})
"""SQLSTATE classes (our refusals, conflicts, resources) that do not cast doubt on a kept description."""


class OneTripConnection(asyncpg.Connection):  # type: ignore[misc, no-any-unimported]  # asyncpg ships no types
    """A pooled connection with one verb, ``call``. No session state, so a pooler may serve it from anywhere."""

    __slots__ = ("_described",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Never evicted: the texts are the few dozen of sql/*.sql.
        self._described: dict[str, Any] = {}

    def get_reset_query(self) -> str:
        """Nothing to reset, so releasing to the pool costs no round trip."""
        return ""

    async def call(self, sql: str, *args: object, timeout: float | None) -> list[asyncpg.Record]:  # type: ignore[no-any-unimported]
        """Run one statement in its own transaction and return its rows, in one round trip (two at a text's first use).

        ``timeout`` is in seconds; ``None`` is 30. A call that is cut short by its timeout or by cancellation closes the
        connection instead of waiting for a cleanup; whether the statement took effect is then unknown. After any error
        of the server the connection is good. An error that may come from a changed function also drops what is known
        about the text, so that the next call asks the server again. Nothing is sent on a closed connection
        (``InterfaceError``) or when no time is left (``TimeoutError``).
        """
        if self.is_closed():
            raise asyncpg.InterfaceError("connection is closed")
        if timeout is not None and timeout <= 0:
            raise TimeoutError("no time was left for the call; it was not sent")
        try:
            statement = self._described.get(sql)
            if statement is None:
                return await self._first_call(sql, args, timeout)
            return await self._execute_unnamed(statement, args, timeout)
        except (TimeoutError, asyncio.CancelledError):
            self.terminate()
            raise
        except Exception as error:
            if (getattr(error, "sqlstate", None) or "")[:2] not in _SAY_NOTHING_OF_TYPES:
                self._described.pop(sql, None)
            raise

    async def _first_call(self, sql: str, args: tuple[object, ...], timeout: float | None) -> list[Any]:
        """Describe, then call. ``Describe`` goes out without ``Sync``: until one comes, a pooler's server waits."""
        protocol, started = self._protocol, time.monotonic()
        statement = await protocol.prepare("", sql, timeout, record_class=asyncpg.Record)
        left = None if timeout is None else max(0.001, timeout - (time.monotonic() - started))
        executed = protocol.queries_count
        try:
            self._know_types(statement)
            self._described[sql] = statement
            return await self._execute_unnamed(statement, args, left)
        except Exception:
            # The arguments do not fit, so nothing followed the Describe. Closing a portal that is not there is a Sync.
            if protocol.queries_count == executed and not self.is_closed():
                await protocol.close_portal("", left)
            raise

    async def _execute_unnamed(self, statement: Any, args: tuple[object, ...], timeout: float | None) -> list[Any]:
        rows: list[Any] = await self._protocol.bind_execute(
            state=statement, args=args, portal_name="", limit=0, return_extra=False, timeout=timeout
        )
        return rows

    def _know_types(self, statement: Any) -> None:
        """Settle the statement's codecs without asking the server, and make asyncpg send its text with every Bind."""
        missing = statement._init_types()
        if not missing <= _ARRAYS.keys():
            raise asyncpg.UnsupportedClientFeatureError(
                f"types {sorted(missing - _ARRAYS.keys())} are not built in; cast them in the statement"
            )
        self.get_settings().register_data_types([_array_type(oid) for oid in missing])
        statement._init_codecs()
        statement.mark_unprepared()


def _array_type(oid: int) -> dict[str, object]:
    """What asyncpg's own query would return for an array type."""
    name, element = _ARRAYS[oid]
    return {
        "oid": oid,
        "ns": "pg_catalog",
        "name": name,
        "kind": b"b",
        "basetype": None,
        "elemtype": element,
        "elemdelim": ",",
        "range_subtype": None,
        "attrtypoids": None,
    }


async def open_pool(dsn: Dsn, *, max_size: int = 10, connect_timeout: float = 15.0) -> asyncpg.Pool:  # type: ignore[no-any-unimported]
    """Open a pool of ``OneTripConnection``. It connects on demand, keeps nothing open when idle, and lets Neon sleep.

    ``connect_timeout`` bounds one connection attempt, in seconds: a suspended Neon compute may need a few of them.
    """
    return await asyncpg.create_pool(
        **dsn.connect_arguments(),
        connection_class=OneTripConnection,
        min_size=0,
        max_size=max_size,
        max_inactive_connection_lifetime=IDLE_SECONDS,
        statement_cache_size=0,
        timeout=connect_timeout,
        command_timeout=COMMAND_SECONDS,
    )
