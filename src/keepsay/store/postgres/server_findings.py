"""What `keepsay doctor` makes of a server: pure judgements, one function for each finding."""

from __future__ import annotations

from dataclasses import dataclass

from keepsay.model.json_text import JsonValue
from keepsay.store.postgres.findings import Finding

MIN_VERSION = 150000
SLOW_CONNECT_MS = 5_000
SLOW_TRIP_MS = 50
SKEW_SECONDS = 2.0
BUSY_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Server:
    """What a server says of itself. ``backend`` is the server's own number of the connection, ``announced`` the one
    that the client was told at login: whatever stands in between and answers logins itself tells another.
    """

    version: str
    version_number: int
    is_neon: bool
    role: str
    database: str
    backend: int
    announced: int
    in_recovery: bool
    read_only: bool
    synchronous_commit: str
    fsync: bool
    full_page_writes: bool
    max_connections: int
    reserved_connections: int
    used_connections: int


def judge_version(server: Server) -> Finding:
    facts: dict[str, JsonValue] = {"version": server.version, "neon": server.is_neon}
    found = f"Postgres {server.version}{' on Neon' if server.is_neon else ''}"
    if server.version_number < MIN_VERSION:
        return Finding("server", "problem", f"{found} is too old", "Upgrade it to Postgres 15 or newer.", facts)
    return Finding("server", "ok", found, facts=facts)


def judge_pooler(server: Server, *, named_pooler: bool) -> Finding:
    between = server.announced != server.backend
    facts: dict[str, JsonValue] = {"named_as_pooled": named_pooler, "answers_logins_itself": between}
    if named_pooler:
        found = "the host is Neon's pooler, which suits keepsay; migrations go to the direct host by themselves"
    elif between and server.is_neon:
        found = "Neon's proxy stands in between; no pooler is named, which suits keepsay as well"
    elif between:
        found = "it looks like a pooler or proxy stands in between (PgBouncer, say), which suits keepsay in any mode"
    else:
        found = "none: the connection is the server's own"
    return Finding("pooler", "ok", found, facts=facts)


def judge_writable(server: Server) -> Finding:
    facts = {"in_recovery": server.in_recovery, "transaction_read_only": server.read_only}
    if server.in_recovery:
        mend = "Name the primary in DATABASE_URL; a replica takes no writes."
        return Finding("writes", "problem", "this is a replica in recovery", mend, facts)
    if server.read_only:
        mend = f"Turn default_transaction_read_only off for role {server.role} and database {server.database}."
        return Finding("writes", "problem", "transactions are read-only", mend, facts)
    return Finding("writes", "ok", "the server takes writes", facts=facts)


def judge_durability(server: Server) -> Finding:
    facts: dict[str, JsonValue] = {
        "synchronous_commit": server.synchronous_commit,
        "fsync": server.fsync,
        "full_page_writes": server.full_page_writes,
    }
    found = (
        f"synchronous_commit={server.synchronous_commit}, fsync={_on_off(server.fsync)}, "
        f"full_page_writes={_on_off(server.full_page_writes)}"
    )
    # Neon keeps the log on several machines of its own; the files of its Postgres are a cache, and fsync is off there.
    wrong = [name for name in ("fsync", "full_page_writes") if not facts[name] and not server.is_neon]
    mends = [f"Turn {' and '.join(wrong)} on in the server's configuration."] if wrong else []
    if server.synchronous_commit == "off":
        mends.append(f"ALTER ROLE {server.role} SET synchronous_commit = on;")
    if mends:
        return Finding(
            "durability", "problem", f"{found}: a crash can lose what was acknowledged", " ".join(mends), facts
        )
    neon = " (Neon's storage does what fsync does elsewhere)" if server.is_neon and not server.fsync else ""
    return Finding("durability", "ok", found + neon, facts=facts)


def _on_off(value: bool) -> str:
    return "on" if value else "off"


def judge_connections(server: Server) -> Finding:
    room = max(server.max_connections - server.reserved_connections, 1)
    facts: dict[str, JsonValue] = {"used": server.used_connections, "limit": room}
    found = f"{server.used_connections} of {room} in use"
    if server.used_connections >= BUSY_SHARE * room:
        mend = "Lower the pools of the applications, raise max_connections, or put a pooler in front."
        return Finding("connections", "warning", found, mend, facts)
    return Finding("connections", "ok", found, facts=facts)


def judge_speed(connect_ms: float, trip_ms: float) -> Finding:
    facts: dict[str, JsonValue] = {"connect_ms": round(connect_ms, 1), "round_trip_ms": round(trip_ms, 2)}
    found = f"connected in {connect_ms:.0f} ms, a round trip takes {trip_ms:.1f} ms"
    if trip_ms > SLOW_TRIP_MS:
        mend = "Run the application in the database's region: every operation is one round trip."
        return Finding("connection", "warning", found, mend, facts)
    if connect_ms > SLOW_CONNECT_MS:
        mend = "If the database was suspended, that is its wake-up; else look at the network and at name resolution."
        return Finding("connection", "warning", found, mend, facts)
    return Finding("connection", "ok", found, facts=facts)


def judge_clock(skew: float, uncertainty: float) -> Finding:
    """``skew``: seconds that the server's clock is ahead of this machine's, plus or minus ``uncertainty``."""
    facts: dict[str, JsonValue] = {"skew_seconds": round(skew, 3), "uncertainty_seconds": round(uncertainty, 3)}
    if abs(skew) - uncertainty <= SKEW_SECONDS:
        return Finding("clock", "ok", f"agrees with the server's to {abs(skew) + uncertainty:.3f} s", facts=facts)
    found = f"this machine is {abs(skew):.1f} s {'behind' if skew > 0 else 'ahead of'} the server"
    mend = "Synchronise both clocks (NTP): keepsay goes by the server's, logs and tokens by this machine's."
    return Finding("clock", "warning", found, mend, facts)
