"""Copies of the library and the server in which one place that passes the user on passes another one.

A place is an expression whose value is a user in some form: ``self._owner``, ``asking.user()``, the ``user`` of a
route, ... In a mutant its value is replaced by that of ``VICTIM``; the store underneath is the tests' own.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import keepsay

__all__ = ["Mutant", "mutants", "planted"]

SOURCE = Path(keepsay.__file__).parent
_COPIED = ("keepsay.library", "keepsay.session", "keepsay.server")
_SCOPES = ("server/routes/", "server/turns.py", "session.py", "server/parts.py")
"""Where a variable named ``user`` is a user's scope."""
_GIVES_A_USER = frozenset({"acting", "identify", "user", "subject"})
_BUILDS_ON_A_USER = frozenset({"_identity", "_user_id", "checked_user_id", "subject_of"})


@dataclass(frozen=True)
class Mutant:
    """The place: the n-th in its module, and how it reads there."""

    module: str
    number: int
    line: int
    text: str

    @property
    def name(self) -> str:
        return f"{self.module.removeprefix('keepsay.')} {self.number}: {self.text}"


def _files() -> Iterator[tuple[str, Path]]:
    for path in sorted([*SOURCE.glob("library/*.py"), SOURCE / "session.py", *SOURCE.glob("server/**/*.py")]):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def mutants() -> list[Mutant]:
    """Every place in the library and the server that passes a user on."""
    return [
        Mutant(module, number, place.lineno, ast.unparse(place))
        for module, path in _files()
        for number, place in enumerate(_places(ast.parse(path.read_text()), path), 1)
    ]


def _places(tree: ast.AST, path: Path) -> list[ast.expr]:
    relative = path.relative_to(SOURCE).as_posix()
    has_scopes = any(relative.startswith(prefix) for prefix in _SCOPES)
    awaited = {id(node.value): node for node in ast.walk(tree) if isinstance(node, ast.Await)}
    found = [node for node in ast.walk(tree) if isinstance(node, ast.expr) and _is_user(node, has_scopes)]
    places = [awaited.get(id(node), node) for node in found]
    return sorted(places, key=lambda node: (node.lineno, node.col_offset, node.end_col_offset))


def _is_user(node: ast.expr, has_scopes: bool) -> bool:
    match node:
        case ast.Attribute(attr="_owner" | "is_operator", ctx=ast.Load()):
            return True
        case ast.Call(func=ast.Attribute(attr=name)) if name in _GIVES_A_USER:
            return True
        case ast.Call(func=ast.Name(id=name)) if name in _BUILDS_ON_A_USER:
            return True
        case ast.Call(func=ast.Name(id="header_text"), args=[_, ast.Name(id="USER_HEADER")]):
            return True
        case ast.Name(id="user", ctx=ast.Load()):
            return has_scopes
        case ast.Compare(left=ast.Attribute(attr="user_id"), ops=[ast.NotEq()]):
            return True
        case _:
            return False


class _Replace(ast.NodeTransformer):
    """``place`` becomes ``__another__(place)``."""

    def __init__(self, place: ast.expr) -> None:
        self._place = place

    def visit(self, node: ast.AST) -> ast.AST:
        if node is not self._place:
            return self.generic_visit(node)
        call = ast.Call(ast.Name("__another__", ast.Load()), [self._place], [])
        return ast.fix_missing_locations(ast.copy_location(call, self._place))


class _Loader(SourceFileLoader):
    def __init__(self, mutant: Mutant, path: Path, victim: str | None) -> None:
        super().__init__(mutant.module, str(path))
        self._mutant = mutant
        self._victim = victim

    def get_code(self, fullname: str) -> Any:
        path = Path(self.path)
        tree = ast.parse(path.read_text())
        if self._victim is None:
            return compile(tree, self.path, "exec")
        place = _places(tree, path)[self._mutant.number - 1]
        _Replace(place).visit(tree)
        return compile(ast.fix_missing_locations(tree), self.path, "exec")

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__another__"] = lambda value: _another(value, self._victim)
        super().exec_module(module)


def _another(value: Any, victim: str | None) -> object:
    """The victim, in the form that ``value`` has."""
    match type(value).__name__:
        case "Owner":
            return type(value).of(victim)
        case "UserScope":
            return type(value)(value._store, victim)
        case "Identity":
            return type(value)(victim, value.otherwise, value.is_operator)
        case "str" | "NoneType":
            return victim
        case "bool":  # whether this is an operator, or the path names somebody else
            return not value
        case other:
            raise TypeError(f"{other} is no form of a user")


class _Finder:
    """Finds the mutant's module before everybody else does."""

    def __init__(self, mutant: Mutant, victim: str | None) -> None:
        self._mutant = mutant
        self._victim = victim

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        if name != self._mutant.module:
            return None
        path = dict(_files())[name]
        loader = _Loader(self._mutant, path, self._victim)
        is_package = path.name == "__init__.py"
        return importlib.util.spec_from_file_location(
            name, path, loader=loader, submodule_search_locations=[str(path.parent)] if is_package else None
        )


@contextmanager
def planted(mutant: Mutant, victim: str | None) -> Iterator[None]:
    """What is imported meanwhile is a copy with the mutant in it; without a victim, a copy."""
    own = {name: module for name, module in sys.modules.items() if name.startswith(_COPIED)}
    finder: Any = _Finder(mutant, victim)
    for name in own:
        del sys.modules[name]
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.startswith(_COPIED)]:
            del sys.modules[name]
        sys.modules.update(own)
        for name in ("library", "session", "server"):
            setattr(keepsay, name, own[f"keepsay.{name}"])
