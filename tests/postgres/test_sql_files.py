"""The SQL files: every statement fits the schema, every name and function is used, no door is open to all."""

from __future__ import annotations

import ast
import collections
import re
from pathlib import Path

import pytest

import keepsay
from keepsay.store.postgres import doctor, store
from keepsay.store.postgres.sqltext import load_calls, load_doctor
from keepsay.testing.postgres import Database

from .sessions import ask, session

SOURCE = Path(keepsay.__file__).parent
SQL = SOURCE / "store" / "postgres" / "sql"
CALLS = load_calls("keepsay")

_CREATED = re.compile(r"^CREATE (?:OR REPLACE )?FUNCTION __schema__\.(\w+)", re.MULTILINE)
_CALLED = re.compile(r"__schema__\.(\w+)\s*\(")


def _functions() -> dict[str, Path]:
    """The file of each function that the migrations make."""
    found: dict[str, Path] = {}
    for path in sorted(SQL.glob("[0-9]*/*.sql")):
        names = _CREATED.findall(path.read_text())
        assert len(names) <= 1, f"{path.name} makes {names}: one function to a file"
        found |= dict.fromkeys(names, path)
    return found


FUNCTIONS = _functions()
DOORS = sorted(name for name in FUNCTIONS if re.search(r"_v\d+$", name))
NEWEST = {name.rpartition("_v")[0]: name for name in sorted(DOORS, key=lambda name: int(name.rpartition("_v")[2]))}
"""Of each door the version that this release calls; older ones are there for releases that still run."""
BEHIND = {"begin_v1": "begin_within_v1"}
"""Doors that another one opens: their functions are released and cannot be taken apart."""


def _named(path: str) -> list[str]:
    return re.findall(r"^-- name: (\w+)$", (SQL / path).read_text(), re.MULTILINE)


async def test_every_statement_of_the_store_prepares_and_takes_what_its_function_takes(database: Database) -> None:
    declared = dict(
        await ask(
            database.dsn,
            "SELECT proname, proargtypes::regtype[]::text[] FROM pg_proc WHERE pronamespace = 'keepsay'::regnamespace",
        )
    )
    async with session(database.dsn) as connection:
        for name, sql in CALLS.items():
            await connection.execute(f"PREPARE statement_{name} AS {sql}")
        query = "SELECT name, parameter_types::text[] FROM pg_prepared_statements WHERE name LIKE 'statement%'"
        prepared = {name.removeprefix("statement_"): types for name, types in await connection.fetch(query)}
    called = {name: re.findall(r"keepsay\.(\w+)\(", sql) for name, sql in CALLS.items()}
    assert prepared == {name: declared[functions[0]] for name, functions in called.items()}


async def test_every_statement_of_the_doctor_prepares(database: Database) -> None:
    async with session(database.dsn) as connection:
        for name, sql in load_doctor("keepsay").items():
            await connection.execute(f"PREPARE {name} AS {sql}")


@pytest.mark.parametrize("name", CALLS)
def test_a_statement_casts_every_parameter_and_column_and_calls_one_function_of_its_name(name: str) -> None:
    columns, _, call = CALLS[name].removeprefix("SELECT").partition("\nFROM ")
    assert re.fullmatch(r"\s*\w+::\w+(,\s+\w+::\w+)*", columns), columns
    arguments = re.fullmatch(rf"keepsay\.{name}_v\d+\((.*)\)", call, re.DOTALL)
    assert arguments is not None, f"the form is SELECT ... FROM keepsay.{name}_v1($1::type, ...)"
    given = [argument.strip() for argument in arguments[1].split(",") if argument.strip()]
    for number, argument in enumerate(given, 1):
        assert re.fullmatch(rf"\${number}::\w+(\[\])?", argument), argument


def _names_sent(path: str) -> collections.Counter[str]:
    """The statements that a module sends: ``self._read("name", ...)``, ``self._write(...)``, ``sql["name"]``."""
    sent: collections.Counter[str] = collections.Counter()
    for node in ast.walk(ast.parse(Path(path).read_text())):
        match node:
            case ast.Call(func=ast.Attribute(attr="_read" | "_write"), args=[ast.Constant(value=str(name)), *_]):
                sent[name] += 1
            case ast.Subscript(value=ast.Name(id="sql"), slice=ast.Constant(value=str(name))):
                sent[name] += 1
            case _:
                pass
    return sent


@pytest.mark.parametrize(("module", "file"), [(store.__file__, "calls.sql"), (doctor.__file__, "doctor.sql")])
def test_every_named_statement_is_sent_from_one_place(module: str, file: str) -> None:
    assert sorted(_names_sent(module).elements()) == sorted(_named(file))


def test_every_name_of_a_file_is_loaded() -> None:
    assert list(CALLS) == _named("calls.sql")
    assert list(load_doctor("keepsay")) == _named("doctor.sql")


def test_a_file_is_named_for_its_function() -> None:
    assert {name: path.name for name, path in FUNCTIONS.items() if path.stem[3:] != name} == {}
    others = {path.name for path in SQL.glob("[0-9]*/*.sql")} - {path.name for path in FUNCTIONS.values()}
    assert others == {"00_tables.sql", "01_storage.sql", "02_types.sql", "03_row_level_security.sql"}


def test_every_function_is_called() -> None:
    by_functions = {
        called for name, path in FUNCTIONS.items() for called in _CALLED.findall(_body(path)) if called != name
    }
    by_store = set(_CALLED.findall((SQL / "calls.sql").read_text()))
    assert by_store == set(NEWEST.values()), "the store calls the versioned functions, and all of them"
    assert set(FUNCTIONS) - set(DOORS) - by_functions == set(), "nothing calls these"
    assert by_functions & set(DOORS) == set(BEHIND), "a door behind a door"
    for behind, front in BEHIND.items():
        callers = [name for name, path in FUNCTIONS.items() if f"__schema__.{behind}(" in _body(path)]
        assert callers == [front]


def _body(path: Path) -> str:
    return _CREATED.sub("", path.read_text())


async def test_every_versioned_function_is_a_door_that_is_shut_but_to_its_users(database: Database) -> None:
    doors = await ask(
        database.dsn,
        """
        SELECT p.proname, p.prosecdef, p.provolatile = 'v', l.lanname, p.proconfig, r.rolname, r.rolcanlogin,
            r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb
        FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner JOIN pg_language l ON l.oid = p.prolang
        WHERE p.pronamespace = 'keepsay'::regnamespace AND p.proname ~ '_v[0-9]+$'
        ORDER BY p.proname COLLATE "C"
        """,
    )
    settings = ["search_path=pg_catalog, pg_temp", "lock_timeout=2s"]
    assert doors == [(name, True, True, "plpgsql", settings, "keepsay_functions", False, False) for name in DOORS]


async def test_no_function_is_open_to_everybody_and_only_doors_run_as_their_owner(database: Database) -> None:
    functions = await ask(
        database.dsn,
        """
        SELECT p.proname, p.prosecdef, has_function_privilege('public', p.oid, 'EXECUTE'), r.rolname
        FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner
        WHERE p.pronamespace = 'keepsay'::regnamespace
        """,
    )
    assert sorted(functions) == sorted((name, name in DOORS, False, "keepsay_functions") for name in FUNCTIONS)


async def test_the_functions_owner_owns_nothing_else_and_may_make_nothing(database: Database) -> None:
    owned = "SELECT count(*) FROM pg_class WHERE relowner = 'keepsay_functions'::regrole"
    assert await ask(database.dsn, owned) == [(0,)]
    may_create = "SELECT has_schema_privilege('keepsay_functions', 'keepsay', 'CREATE')"
    assert await ask(database.dsn, may_create) == [(False,)]
    tables = """
        SELECT relname FROM pg_class
        WHERE relnamespace = 'keepsay'::regnamespace AND relkind = 'r'
          AND has_table_privilege('keepsay_functions', oid, 'TRUNCATE, REFERENCES, TRIGGER')
    """
    assert await ask(database.dsn, tables) == []


_SQL = re.compile(
    r"(?:^|[\s;(])(?:SELECT\s|INSERT INTO\s|UPDATE\s+\S+\s+SET\s|DELETE FROM\s|SET LOCAL\s|TRUNCATE\s|GRANT\s|REVOKE\s"
    r"|(?:CREATE|ALTER|DROP) (?:TABLE|ROLE|SCHEMA|DATABASE|FUNCTION|OWNED)\s)"
)
MADE_IN_PYTHON = {
    "store/postgres/migrate.py": 4,  # the name of the schema, which is checked
    "store/postgres/dsn.py": 1,  # advice for people, as the next two are
    "store/postgres/schema_findings.py": 2,
    "store/postgres/server_findings.py": 1,
    "testing/postgres.py": 1,  # the default schema
}


def test_python_makes_no_sql_but_in_the_listed_places() -> None:
    found = {
        path.relative_to(SOURCE).as_posix(): made
        for path in SOURCE.rglob("*.py")
        if (made := sum(map(_makes_sql, ast.walk(ast.parse(path.read_text())))))
    }
    assert found == MADE_IN_PYTHON


def _makes_sql(node: ast.AST) -> bool:
    """Whether an expression puts texts together that make SQL."""
    match node:
        case ast.JoinedStr(values=parts):
            return any(isinstance(part, ast.FormattedValue) for part in parts) and _is_sql(*parts)
        case ast.BinOp(left=left, op=ast.Mod() | ast.Add(), right=right):
            return _is_sql(left, right)
        case ast.Call(func=ast.Attribute(value=text, attr="format")):
            return _is_sql(text)
        case _:
            return False


def _is_sql(*parts: ast.AST) -> bool:
    texts = (str(part.value) if isinstance(part, ast.Constant) else "_" for part in parts)
    return _SQL.search("".join(texts)) is not None
