"""What a schema consists of, as the server tells it: for comparing two ways of making one."""

from __future__ import annotations

from typing import Any

from keepsay.store.postgres.dsn import Dsn

from .sessions import session

_QUERIES = {
    "schema": """
        SELECT nspowner::regrole::text, array(SELECT acl::text FROM unnest(nspacl) acl ORDER BY 1)
        FROM pg_namespace WHERE oid = $1::regnamespace
    """,
    "relations": """
        SELECT relname, relkind::text, relowner::regrole::text, relrowsecurity, relforcerowsecurity, reloptions,
            array(SELECT acl::text FROM unnest(relacl) acl ORDER BY 1)
        FROM pg_class WHERE relnamespace = $1::regnamespace
    """,
    "columns": """
        SELECT c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
            a.attcollation::regcollation::text, a.attstorage::text, pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = $1::regnamespace AND a.attnum > 0
    """,
    "indexes": """
        SELECT c.relname, pg_get_indexdef(i.indexrelid), i.indisvalid
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = $1::regnamespace
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, convalidated, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = $1::regnamespace
    """,
    "policies": """
        SELECT polrelid::regclass::text, polname, polcmd::text, polpermissive, pg_get_expr(polqual, polrelid),
            pg_get_expr(polwithcheck, polrelid), polroles::regrole[]::text[]
        FROM pg_policy WHERE polrelid::regclass::text LIKE $1 || '.%'
    """,
    "functions": """
        SELECT oid::regprocedure::text, pg_get_functiondef(oid), proowner::regrole::text,
            array(SELECT acl::text FROM unnest(proacl) acl ORDER BY 1)
        FROM pg_proc WHERE pronamespace = $1::regnamespace
    """,
    "triggers": """
        SELECT tgrelid::regclass::text, pg_get_triggerdef(oid)
        FROM pg_trigger WHERE NOT tgisinternal AND tgrelid::regclass::text LIKE $1 || '.%'
    """,
}


async def read_catalog(dsn: Dsn, schema: str = "keepsay") -> dict[str, list[tuple[Any, ...]]]:
    """Relations, columns, indexes, constraints, policies, functions and triggers of a schema, owners and rights."""
    async with session(dsn) as connection:
        return {
            kind: sorted((tuple(row) for row in await connection.fetch(query, schema)), key=repr)
            for kind, query in _QUERIES.items()
        }


async def read_ledger(dsn: Dsn, schema: str = "keepsay") -> list[tuple[Any, ...]]:
    """Which migrations were applied."""
    async with session(dsn) as connection:
        rows = await connection.fetch(f"SELECT version, name, checksum FROM {schema}.migrations ORDER BY version")
        return [tuple(row) for row in rows]
