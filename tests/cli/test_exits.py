"""What holds for every command: exit codes, help, versions, speed of starting."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import keepsay as package
from keepsay.cli.app import app
from keepsay.cli.exits import ExitCode, exit_code, facts
from keepsay.errors import ConversationBusy, KeepsayError, UnansweredCalls

from .program import NOWHERE, environment, keepsay

COMMANDS = ("serve", "session", "migrate", "doctor", "ls", "show", "export", "erase")


def errors(kind: type[KeepsayError] = KeepsayError) -> Iterator[type[KeepsayError]]:
    for each in kind.__subclasses__():
        if each.__module__ == "keepsay.errors":
            yield each
        yield from errors(each)


@pytest.mark.parametrize("kind", list(errors()))
def test_every_error_has_an_exit_code(kind: type[KeepsayError]) -> None:
    assert exit_code(kind.__new__(kind)) is not ExitCode.BUG


def test_an_error_as_json_has_its_facts() -> None:
    assert facts(ConversationBusy(run_id="r", retry_after=2.5)) == {
        "code": "conversation_busy",
        "message": "Run r is under way in this conversation; wait for it, or begin with on_busy='interrupt'.",
        "outcome": "not_applied",
        "run_id": "r",
        "retry_after": 2.5,
    }
    error = UnansweredCalls("no", open_calls=("a", "b"), last_role="assistant", attempted_role="user")
    assert facts(error)["open_calls"] == ["a", "b"]


def test_help_names_every_command_and_exit_code() -> None:
    ran = keepsay("--help")
    assert ran.code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in ran.out
    for code in ExitCode:
        assert f"\n{code:>7}  " in ran.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_names_the_environment_variable_of_every_option(command: str) -> None:
    ran = CliRunner().invoke(app, [command, "--help"])
    assert ran.exit_code == 0
    options = ran.stdout[ran.stdout.index("\nOptions:") :].split("\n  -")[1:]
    for option in options[:-1]:  # the last is --help
        assert "[env var:" in " ".join(option.split())


def test_version_is_the_packages() -> None:
    assert keepsay("--version").out == f"keepsay {package.__version__}\n"


@pytest.mark.parametrize("words", [(), ("no-such-command",), ("ls", "--limit", "0"), ("show",), ("ls", "--no-such")])
def test_a_wrong_command_line_is_exit_code_2(words: tuple[str, ...]) -> None:
    ran = CliRunner().invoke(app, words)
    assert (ran.exit_code, ran.stdout) == (2, "")


def test_every_option_may_come_from_the_environment_or_a_file(tmp_path: Path) -> None:
    assert keepsay("ls", KEEPSAY_LS_LIMIT="0", DATABASE_URL=NOWHERE).code == 2
    file = tmp_path / "settings"
    file.write_text(f"# ours\nexport DATABASE_URL='{NOWHERE}'\nKEEPSAY_LS_JSON=1\n")
    ran = keepsay("--env-file", str(file), "ls")
    assert (ran.code, ran.json["error"]) == (3, ran.json["error"])
    assert keepsay("ls", KEEPSAY_ENV_FILE=str(file), DATABASE_URL="mysql://x").code == 2  # what is set stays
    file.write_text("nonsense")
    assert keepsay("--env-file", str(file), "ls").code == 2


@pytest.mark.parametrize(
    "command", ["ls", "export --user ann", "erase --user ann --yes", "show 0 --user ann", "session"]
)
def test_an_unreachable_database_is_one_line_and_exit_code_3(command: str) -> None:
    ran = keepsay(*command.split(), stdin='{"user_id": "ann"}', DATABASE_URL=NOWHERE)
    if command.startswith("show"):  # 0 is no id, so nothing is asked
        assert (ran.code, ran.err) == (1, "error: No such conversation.\n")
    else:
        assert ran.code == 3
        assert ran.err == "error: The database cannot be reached. `keepsay doctor` looks for the reason.\n"


def test_a_database_that_must_not_be_set_up_says_what_to_run(empty_url: str) -> None:
    ran = keepsay("ls", "--auto-migrate", "never", DATABASE_URL=empty_url)
    assert (ran.code, ran.err) == (2, "error: The database has no schema keepsay: run `keepsay migrate`.\n")


def test_starting_loads_neither_rich_nor_a_web_server() -> None:
    heavy = ("rich", "fastapi", "starlette", "uvicorn", "pydantic", "openai", "keepsay.server", "keepsay.embedded")
    code = f"import sys, keepsay.cli.app; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.check_output([sys.executable, "-c", code], text=True, env=environment())
    assert found == "[]\n"


def test_a_bug_shows_its_traceback_and_has_an_exit_code_of_its_own() -> None:
    code = (
        "import sys, keepsay.cli.doctor as d, keepsay.cli.__main__ as m; sys.argv = ['keepsay', 'doctor']\n"
        "def broken(*a, **k): raise RuntimeError('oh')\n"
        "d._doctor = broken; m.main()"
    )
    ran = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, env=environment(), check=False)
    assert ran.returncode == 70
    assert "RuntimeError: oh" in ran.stderr
    assert "please report it" in ran.stderr


def test_without_typer_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['typer'] = None; import keepsay.cli.__main__ as m; m.main()"
    ran = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, env=environment(), check=False)
    assert (ran.returncode, ran.stderr) == (1, "The command line needs an extra: pip install 'keepsay[cli]'\n")


def test_a_reader_that_goes_away_is_no_error(url: str) -> None:
    words = [sys.executable, "-m", "keepsay.cli", "migrate", "--sql", "--all"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
