"""What `keepsay doctor` makes of keepsay's schema: pure judgements, one function for each finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keepsay.model.json_text import JsonValue
from keepsay.store.postgres.findings import Finding
from keepsay.store.postgres.migrate import SchemaState
from keepsay.store.postgres.pool import AutoMigrate


@dataclass(frozen=True, slots=True)
class Access:
    """What the role that logged in may see of the schema. ``role`` is quoted if SQL wants it so."""

    role: str
    schema_usage: bool
    public_usage: bool
    ledger_exists: bool
    ledger_select: bool

    @property
    def may_read(self) -> bool:
        """Whether it can be told which migrations there are."""
        return self.schema_usage and self.ledger_select

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing of keepsay's yet."""
        return not self.ledger_exists


@dataclass(frozen=True, slots=True)
class Doors:
    """The functions that an application calls, by owner; ``closed`` ones the role may not execute."""

    owner: str
    bypasses: bool
    functions: int
    closed: int
    open_to_all: int


@dataclass(frozen=True, slots=True)
class Table:
    """One of keepsay's tables; ``forced``: row-level security holds for its owner too."""

    table_name: str
    owner: str
    forced: bool
    has_policy: bool


def judge_access(access: Access, doors: Sequence[Doors], grants: str) -> Finding:
    """Whether the role may do what an application does. ``grants`` is the SQL that lets it."""
    closed = sum(each.closed for each in doors)
    lacking = [
        *([] if access.schema_usage else ["USAGE on the schema"]),
        *([] if access.ledger_select else ["SELECT on its migrations"]),
        *([f"EXECUTE on {closed} functions"] if closed else []),
    ]
    facts: dict[str, JsonValue] = {"role": access.role, "lacking": list(lacking)}
    if lacking:
        found = f"role {access.role} lacks {', '.join(lacking)}"
        return Finding("privileges", "problem", found, f"As the role that migrates, run:\n{grants}", facts)
    return Finding("privileges", "ok", f"role {access.role} may use the schema", facts=facts)


def judge_isolation(
    access: Access, doors: Sequence[Doors], tables: Sequence[Table], *, binds: bool, schema: str
) -> Finding:
    """Whether the second wall stands: the functions' owner is subject to policies that every table has, and owns none.

    ``binds`` is what one of the functions says of itself.
    """
    bare = [table.table_name for table in tables if not (table.forced and table.has_policy)]
    owners, strong = sorted({each.owner for each in doors}), sorted({each.owner for each in doors if each.bypasses})
    facts: dict[str, JsonValue] = {
        "binds": binds,
        "function_owners": list(owners),
        "tables_without_policy": list(bare),
    }
    if access.public_usage and any(each.open_to_all for each in doors):
        mend = f"REVOKE USAGE ON SCHEMA {schema} FROM PUBLIC;"
        return Finding("row-level security", "problem", "every role may call the functions", mend, facts)
    if bare:
        mend = "Somebody changed that: ALTER TABLE ... FORCE ROW LEVEL SECURITY, or make the policy own_rows again."
        return Finding("row-level security", "problem", f"not in force on {', '.join(bare)}", mend, facts)
    apart = not {table.owner for table in tables} & set(owners)
    if binds and apart:
        found = f"binds on {len(tables)} tables, functions owned by {', '.join(owners)}"
        return Finding("row-level security", "ok", found, facts=facts)
    if binds:
        found = f"binds, but the functions belong to {', '.join(owners)}, who owns the tables and could turn it off"
    else:
        found = f"does not bind: the functions belong to {', '.join(strong or owners)}, who goes round it"
    mend = f"As a superuser: CREATE ROLE {schema}_functions NOLOGIN; GRANT {schema}_functions TO {tables[0].owner};"
    return Finding("row-level security", "warning", found, f"{mend}\nThen run `keepsay migrate`.", facts)


def judge_migrations(state: SchemaState, schema: str, *, newest: int, auto_migrate: AutoMigrate) -> Finding:
    """``newest``: the last migration of this release. What the application does by itself is a warning only."""
    pending = [step.name for step in state.pending]
    facts: dict[str, JsonValue] = {"schema": schema, "applied": list(state.applied), "pending": list(pending)}
    if state.version > newest + 1:
        found = f"schema {schema} is at {state.version}, this release knows {newest}"
        return Finding("migrations", "problem", found, "Upgrade keepsay.", facts)
    if not pending:
        return Finding("migrations", "ok", f"schema {schema} is at {state.version}, nothing pending", facts=facts)
    found = f"pending in schema {schema}: {', '.join(pending)}"
    if auto_migrate == "always" or (auto_migrate == "empty" and not state.applied):
        mend = f"Run `keepsay migrate`, or let the first connect do it (--auto-migrate is {auto_migrate})."
        return Finding("migrations", "warning", found, mend, facts)
    return Finding("migrations", "problem", found, "Run `keepsay migrate`.", facts)
