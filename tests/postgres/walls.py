"""Takes the two walls between users down in a database: the filter in every statement, and row-level security."""

from __future__ import annotations

import re
from dataclasses import dataclass

from keepsay.store.postgres.dsn import Dsn

from .sessions import ask, execute

TABLES = ("users", "conversations", "messages", "runs", "summaries", "allowances")
_FUNCTIONS = """
    SELECT p.proname, pg_get_functiondef(p.oid) FROM pg_proc p WHERE p.pronamespace = 'keepsay'::regnamespace
"""
_FILTER = re.compile(r"\b(?:\w+\.)?user_key = \w+(?:\.\w+)?")
_COMPARED = re.compile(r"\buser_key\s*(?:[=<>]|IN\b|IS\b|BETWEEN\b)|(?<!:)[=<>]\s*(?:\w+\.)?user_key\b")
_READS = re.compile(rf"\b(?:FROM|UPDATE)\s+keepsay\.(?:{'|'.join(TABLES)})\b")


async def remove_filters(dsn: Dsn) -> tuple[set[str], set[str]]:
    """Put ``true`` for each comparison of a user's key, in every installed function.

    Returns the functions that read a table, and those that were changed.
    """
    sources = dict(await ask(dsn, _FUNCTIONS))
    mutants = {name: _FILTER.sub("true", source) for name, source in sources.items()}
    changed = {name for name, source in sources.items() if mutants[name] != source}
    for name in changed:
        await execute(dsn, mutants[name])
    return {name for name, source in sources.items() if _READS.search(source)}, changed


async def disable_policies(dsn: Dsn) -> None:
    secured = "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'keepsay'::regnamespace AND relrowsecurity"
    for (table,) in await ask(dsn, secured):
        await execute(dsn, f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")


@dataclass(frozen=True, slots=True)
class Filter:
    """One comparison of a user's key in an installed function, counted from 1 in each."""

    function: str
    number: int
    original: str
    """The whole function, as it is."""
    without: str
    """The same with ``true`` in the comparison's place."""

    @property
    def name(self) -> str:
        return f"{self.function} {self.number}"


async def filters(dsn: Dsn) -> list[Filter]:
    """Every comparison in every function."""
    return [
        Filter(function, number, source, source[: found.start()] + "true" + source[found.end() :])
        for function, source in sorted(await ask(dsn, _FUNCTIONS))
        for number, found in enumerate(_FILTER.finditer(source), 1)
    ]


async def compared_otherwise(dsn: Dsn) -> list[str]:
    """Functions that compare a user's key in a way that ``filters`` does not see."""
    return [
        function
        for function, source in await ask(dsn, _FUNCTIONS)
        if len(_COMPARED.findall(source)) != len(_FILTER.findall(source))
    ]
