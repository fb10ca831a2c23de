"""What the layout promises: small files, a listed surface, examples that run."""

from __future__ import annotations

import ast
import asyncio
import re
from pathlib import Path

import pytest

import keepsay
from keepsay import errors

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
LONG_FILES: dict[str, str] = {
    "history.py": "one random step for each verb of the port, each a few lines",
    "scope.py": "the verbs of one user, each a few lines under its promise; nobody should look in two places",
}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_a_source_file_has_at_most_400_lines_or_a_written_reason(source: Path) -> None:
    assert len(source.read_text().splitlines()) <= 400 or source.name in LONG_FILES


def test_functions_are_small() -> None:
    lengths = [
        (last_line - node.body[0].lineno + 1, f"{source.name}:{node.name}")
        for source in SOURCES
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for last_line in [node.end_lineno or 0]
    ]
    assert not [found for found in lengths if found[0] > 50], "no function body over 50 lines"
    assert sum(length > 25 for length, _ in lengths) <= 0.03 * len(lengths), "few over 25"


def test_the_public_surface_is_the_list() -> None:
    assert len(set(keepsay.__all__)) == len(keepsay.__all__)
    for name in keepsay.__all__:
        assert getattr(keepsay, name) is not None
    public = {name for name in vars(keepsay) if not name.startswith("_")} - set(keepsay.__all__)
    modules = {"errors", "library", "model", "store", "blocking", "embedded", "server", "cli", "testing", "session"}
    assert public <= modules, f"imported into the package but not listed: {public - modules}"


def test_every_public_error_is_exported_and_drawn_in_the_tree() -> None:
    assert set(errors.__all__) - {"Outcome"} <= set(keepsay.__all__)
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or ""))
    assert drawn == set(errors.__all__) - {"Outcome", "KeepsayError"}


def test_every_public_thing_says_what_it_promises() -> None:
    for name in keepsay.__all__:
        thing = getattr(keepsay, name)
        assert thing.__doc__, f"{name} has no docstring"
        if name == "MemoryStore":  # its verbs' promises are the port's
            continue
        for verb, member in vars(thing).items() if isinstance(thing, type) else ():
            if callable(member) and not verb.startswith("_"):
                assert member.__doc__, f"{name}.{verb} has no docstring"


def test_importing_keepsay_does_no_work_and_needs_no_extra() -> None:
    names = {
        alias.name.partition(".")[0]
        for source in SOURCES
        if source.relative_to(ROOT / "src/keepsay").parts[0]
        in ("model", "library", "store", "errors.py", "__init__.py")
        for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert not names & {"fastapi", "typer", "openai", "pydantic", "platformdirs", "uvicorn"}


def test_the_readme_example_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    [example] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("KEEPSAY_HOME", str(_open_folder(tmp_path)))
    code = compile(example.replace("asyncio.run(main())", ""), "README.md", "exec")
    names: dict[str, object] = {}
    exec(code, names)
    _run_on_a_loop_of_its_own(names["main"])
    assert capsys.readouterr().out == "You said: Where is Lisbon?\n"


def _run_on_a_loop_of_its_own(main: object) -> None:
    assert callable(main)
    with asyncio.Runner() as runner:
        runner.run(main())


def _open_folder(folder: Path) -> Path:
    """A folder that the server's own account can reach: pytest's are closed to all but root."""
    for part in (folder, *folder.parents[:2]):
        part.chmod(0o755)
    return folder / "home"
