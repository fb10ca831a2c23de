"""``keepsay migrate``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from keepsay.cli.exits import ExitCode, run
from keepsay.cli.place import Place, on_database
from keepsay.cli.screen import note, paint, printable, say
from keepsay.errors import InvalidInput
from keepsay.model.json_text import JsonObject, write_json

if TYPE_CHECKING:
    from keepsay.store.postgres.sqltext import Migration

__all__ = ["migrate"]


@on_database(auto_migrate=False)
def migrate(
    place: Place,
    *,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit with 1 if anything is pending.")] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Change nothing; print the SQL of what is pending.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="With --sql: print everything and ask no database.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Bring the database's schema up to this release.

    Steps are numbered and only go forward. All of it happens in one transaction under a lock, so any number of these
    may run at once, and an application may go on meanwhile. The role that runs it becomes the owner of the tables; it
    needs CREATE on the database, and CREATEROLE for the second wall of user isolation (`keepsay doctor` says more).

    --sql prints one transaction, to be reviewed or run by a migration tool of your own. Without a DATABASE_URL it
    prints everything, from the empty database on, as with --all.
    """
    run(_migrate(place, check=check, sql=sql, everything=all_, json=json), json=json)


async def _migrate(place: Place, *, check: bool, sql: bool, everything: bool, json: bool) -> ExitCode | None:
    if (check and sql) or (everything and not sql) or (json and sql):
        raise InvalidInput("--check and --sql exclude each other; --all goes with --sql, --json does not.")
    if check:
        return await _check(place, json=json)
    if sql:
        return await _print_sql(place, everything=everything or place.is_embedded)
    return await _apply(place, json=json)


async def _check(place: Place, *, json: bool) -> ExitCode:
    pending = await _pending(place)
    if json:
        say(write_json(_answer(place, pending=pending)))
    else:
        for step in pending:
            say(f"{paint('pending', 'yellow')}  {step.name}")
        if not pending:
            say(f"Schema {place.schema} is current.")
    return ExitCode.NO if pending else ExitCode.OK


async def _pending(place: Place) -> Sequence[Migration]:
    from keepsay.store.postgres.doctor import look_at_schema

    async with place.address(for_migrations=True) as dsn:
        return (await look_at_schema(dsn, place.schema)).pending


async def _print_sql(place: Place, *, everything: bool) -> ExitCode:
    from keepsay.store.postgres.migrate import migration_sql

    pending = None if everything else await _pending(place)
    if pending == ():
        say(f"-- Nothing is pending in schema {place.schema}.")
    else:
        say(migration_sql(place.schema, pending))
    return ExitCode.OK


async def _apply(place: Place, *, json: bool) -> ExitCode:
    from keepsay.store.postgres.migrate import migrate as apply_pending
    from keepsay.store.postgres.sqltext import load_grants

    logging.getLogger("keepsay.migrate").setLevel(logging.INFO)  # each step, as it begins
    async with place.address(for_migrations=True) as dsn:
        note(f"migrating {printable(dsn.redacted())}")
        applied = await apply_pending(dsn, place.schema)
    if json:
        say(write_json(_answer(place, applied=applied)))
        return ExitCode.OK
    for step in applied:
        say(f"{paint('applied', 'green')}  {step.name}")
    say(f"Schema {place.schema} is current.\n")
    say("Should the application log in as another role (here: app), let it in, as the role that migrates:\n")
    say(load_grants(place.schema).rstrip())
    return ExitCode.OK


def _answer(place: Place, **steps: Sequence[Migration]) -> JsonObject:
    named: JsonObject = {what: [step.name for step in found] for what, found in steps.items()}
    return {"schema": place.schema, **named, "current": not steps.get("pending")}
