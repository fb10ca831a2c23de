"""The one table from what asyncpg and Postgres raise to keepsay's errors, and to what became of the write.

============  ============================================  ================  =========================================
what          members                                       outcome           error
============  ============================================  ================  =========================================
refused       class KS, raised by our functions             not_applied       see ``refusals``
not reached   refused, DNS, TLS; 57P03, 53300, 08001,       not_applied       Unavailable
              08004, class 28, 3D000; Neon's proxy texts
server said   25006, 23503, 53100, 53200, 40001, 40P01, 55P03,     not_applied       Unavailable
no            57014, 42501
other schema  42883, 42P01, 42703, 42704, 3F000;            not_applied       ConfigurationError
              42P06, 42P07, 42710, 42723
bad data      class 22, 54000, 54001, client-side encoding  not_applied       InvalidInput
bad rows      class 23, XX001, XX002                        not_applied       CorruptData
lost, and     class 08, 57P01, 57P02, OSError, deadline,    **unknown** for   Unavailable
all the rest  InternalClientError, whatever is not above    a write that may
                                                            have been sent
============  ============================================  ================  =========================================

A server that answers with an error has rolled the statement back: each call is one statement and one transaction.
Sources: PostgreSQL's list of error codes; Neon's proxy (its own errors are all XX000, told apart by text alone).
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import asyncpg

from keepsay.errors import ConfigurationError, CorruptData, InvalidInput, KeepsayError, Outcome, Unavailable
from keepsay.store.postgres.refusals import REFUSAL_CLASS, refusal_from

__all__ = ["fault_from", "poisons_connection"]


@dataclass(frozen=True, slots=True)
class _Fault:
    """A row of the table. Whatever is in it did not apply; ``lost`` is for what is not."""

    message: str
    kind: Literal["unavailable", "configuration", "input", "corrupt"] = "unavailable"
    retry_after: float = 1.0
    spares_connection: bool = True
    field: str | None = None


_BUSY = _Fault("Another transaction was in the way.", retry_after=0.05)
_BAD_INPUT = _Fault("The database refused a value that is malformed or over a limit.", kind="input")
_BAD_ROWS = _Fault("The database refused a row that breaks an invariant: please report it.", kind="corrupt")
_TAKEN = _Fault("client_id is taken in this conversation.", kind="input", field="client_id")
_DAMAGED = _Fault("The database reports that its files are damaged.", kind="corrupt", spares_connection=False)
_NOT_MIGRATED = _Fault("The database's schema does not fit this release: run `keepsay migrate`.", kind="configuration")
_NOT_OURS = _Fault("The schema holds what keepsay did not make: name another in KEEPSAY_SCHEMA.", kind="configuration")
_LOGIN = _Fault("The database refused the login.", retry_after=30.0, spares_connection=False)
_UNREACHABLE = _Fault("The database cannot be reached.", spares_connection=False)
_STARTING = _Fault("The database is starting up or shutting down.", spares_connection=False)
_NO_SUCH_ENDPOINT = _Fault("Neon refuses the endpoint.", retry_after=60.0, spares_connection=False)

_BY_SQLSTATE: dict[str, _Fault] = {
    "08001": _UNREACHABLE,
    "08004": _UNREACHABLE,
    "23503": _BUSY,  # the user was erased meanwhile
    "23505": _TAKEN,  # the one unique index that callers' values reach unchecked
    "25006": _Fault("The database is read-only for now.", retry_after=5.0),
    "3D000": _Fault("There is no such database.", retry_after=30.0, spares_connection=False),
    "3F000": _NOT_MIGRATED,
    "40001": _BUSY,
    "40P01": _BUSY,
    "42501": _Fault("The database role lacks a privilege: run `keepsay doctor`.", retry_after=30.0),
    "42703": _NOT_MIGRATED,
    "42704": _NOT_MIGRATED,
    "42710": _NOT_OURS,
    "42723": _NOT_OURS,
    "42883": _NOT_MIGRATED,
    "42P01": _NOT_MIGRATED,
    "42P06": _NOT_OURS,
    "42P07": _NOT_OURS,
    "53100": _Fault("The database's disk is full.", retry_after=30.0),
    "53200": _Fault("The database is out of memory."),
    "53300": _Fault("The database has no connection to spare.", spares_connection=False),
    "54000": _BAD_INPUT,
    "54001": _BAD_INPUT,
    "55P03": _BUSY,
    "57014": _Fault("The database cancelled the statement."),
    "57P03": _STARTING,
    "XX001": _DAMAGED,
    "XX002": _DAMAGED,
}
# asyncpg raises 22000 itself when it cannot encode an argument.
_BY_CLASS: dict[str, _Fault] = {"22": _BAD_INPUT, "23": _BAD_ROWS, "28": _LOGIN}

# Neon's proxy says these before a connection reaches any Postgres; more special ones first.
_BY_PROXY_TEXT: tuple[tuple[str, _Fault], ...] = (
    ("endpoint is disabled", _NO_SUCH_ENDPOINT),
    ("cannot be found", _NO_SUCH_ENDPOINT),
    ("quota", _NO_SUCH_ENDPOINT),
    ("couldn't connect to compute node", _STARTING),
    ("control plane request failed", _STARTING),
    ("failed to acquire permit", _STARTING),
    ("too many connections attempts", _STARTING),
    ("too many database connection attempts", _STARTING),
)

_BY_TYPE: tuple[tuple[type[BaseException], _Fault], ...] = (
    (asyncpg.ClientConfigurationError, _Fault("asyncpg cannot use the database URL.", kind="configuration")),
    (ConnectionRefusedError, _UNREACHABLE),
    (socket.gaierror, _UNREACHABLE),
    (ssl.SSLCertVerificationError, _Fault("The database's certificate is not trusted.", retry_after=30.0)),
)


def fault_from(error: BaseException, *, sent: bool, write: bool) -> KeepsayError | None:
    """The error to raise in place of ``error``; ``None`` for what is not a fault (cancellation, exit, interrupt).

    ``sent``: the statement may have reached the server. ``write``: it may change something. An error that is not in
    the table is ``Unavailable`` with the outcome ``unknown`` if both hold, and ``not_applied`` otherwise.
    """
    if isinstance(error, KeepsayError):
        return error
    if not isinstance(error, Exception):
        return None
    sqlstate = _sqlstate(error)
    if sqlstate.startswith(REFUSAL_CLASS):
        return refusal_from(sqlstate, _facts(error))
    fault = _lookup(error)
    if fault is None:
        outcome: Outcome = "unknown" if sent and write else "not_applied"
        what = sqlstate or type(error).__name__
        return Unavailable(f"The connection to the database was lost or failed ({what}).", outcome=outcome)
    return _error(fault, sqlstate)


def poisons_connection(error: BaseException) -> bool:
    """Whether the connection that raised ``error`` must be closed rather than used again. Cancellation does poison."""
    if isinstance(error, KeepsayError) or _sqlstate(error).startswith(REFUSAL_CLASS):
        return False
    fault = _lookup(error)
    return fault is None or not fault.spares_connection


def _lookup(error: BaseException) -> _Fault | None:
    sqlstate = _sqlstate(error)
    if sqlstate == "XX000":
        text = str(error).lower()
        return next((fault for fragment, fault in _BY_PROXY_TEXT if fragment in text), None)
    if sqlstate:
        return _BY_SQLSTATE.get(sqlstate) or _BY_CLASS.get(sqlstate[:2])
    return next((fault for kind, fault in _BY_TYPE if isinstance(error, kind)), None)


def _sqlstate(error: BaseException) -> str:
    state = error.sqlstate if isinstance(error, asyncpg.PostgresError) else None
    return state if isinstance(state, str) else ""


def _facts(error: BaseException) -> Mapping[str, object]:
    """The refusal's DETAIL; empty when it is not a JSON object, which ``refusal_from`` then reports."""
    try:
        facts = json.loads(getattr(error, "detail", None) or "{}")
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _error(fault: _Fault, sqlstate: str) -> KeepsayError:
    message = f"{fault.message} ({sqlstate})" if sqlstate else fault.message
    match fault.kind:
        case "configuration":
            return ConfigurationError(message)
        case "input":
            return InvalidInput(fault.message if fault.field else message, field=fault.field)
        case "corrupt":
            return CorruptData(message)
        case "unavailable":
            return Unavailable(message, outcome="not_applied", retry_after=fault.retry_after)
