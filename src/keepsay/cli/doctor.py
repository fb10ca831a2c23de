"""``keepsay doctor``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from keepsay.cli.exits import ExitCode, run
from keepsay.cli.place import Place, on_database
from keepsay.cli.screen import Colour, paint, printable, say
from keepsay.model.json_text import write_json

if TYPE_CHECKING:
    from keepsay.store.postgres.findings import Finding

__all__ = ["doctor"]

_COLOURS: dict[str, Colour] = {"ok": "green", "warning": "yellow", "problem": "red"}


@on_database()
def doctor(
    place: Place,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is wrong with the database and what mends it.

    Looks at it as keepsay uses it and changes nothing: versions; how far away the server is; a pooler in between;
    whether it takes writes and whether an acknowledged write is safe; connections to spare; clocks; migrations; the
    role's privileges; whether row-level security binds.

    \b
    Exits with
      0  nothing to mend, or warnings only
      1  at least one problem (with --strict: or warning)
      3  the database cannot be reached
    """
    run(_doctor(place, strict=strict, json=json), json=json)


async def _doctor(place: Place, *, strict: bool, json: bool) -> ExitCode:
    from keepsay.store.postgres.doctor import diagnose

    async with place.address() as dsn:
        findings = await diagnose(dsn, place.schema, auto_migrate=place.may_migrate.value)
    code = _verdict(findings, strict=strict)
    if json:
        say(write_json({"healthy": code is ExitCode.OK, "findings": [finding.to_dict() for finding in findings]}))
    else:
        _print(findings, place)
    return code


def _verdict(findings: Sequence[Finding], *, strict: bool) -> ExitCode:
    if any(finding.name == "connection" and finding.level == "problem" for finding in findings):
        return ExitCode.UNAVAILABLE
    bad = {"problem", "warning"} if strict else {"problem"}
    return ExitCode.NO if any(finding.level in bad for finding in findings) else ExitCode.OK


def _print(findings: Sequence[Finding], place: Place) -> None:
    if place.is_embedded:
        say("The embedded Postgres, as there is no DATABASE_URL.")
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        level = paint(finding.level.ljust(7), _COLOURS[finding.level])
        say(f"{level}  {finding.name.ljust(width)}  {printable(finding.found)}")
        for line in (finding.mend or "").splitlines():
            say(f"{' ' * (width + 11)}{paint('->', 'bold')} {printable(line)}")
    counts = Counter(finding.level for finding in findings)
    if counts["problem"] or counts["warning"]:
        say(f"\nProblems: {counts['problem']}, warnings: {counts['warning']}.")
    else:
        say("\nAll is well.")
