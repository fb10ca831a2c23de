"""Takes the two walls between users down in a database: the filter in every statement, and row-level security."""

from __future__ import annotations

import re

from keepsay.store.postgres.dsn import Dsn

from .sessions import ask, execute

TABLES = ("users", "conversations", "messages", "runs", "summaries")
_FUNCTIONS = """
    SELECT p.proname, pg_get_functiondef(p.oid) FROM pg_proc p WHERE p.pronamespace = 'keepsay'::regnamespace
"""
_FILTER = re.compile(r"\b(?:\w+\.)?user_key = \w+(?:\.\w+)?")
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
    await execute(dsn, "".join(f"ALTER TABLE keepsay.{table} DISABLE ROW LEVEL SECURITY;" for table in TABLES))
