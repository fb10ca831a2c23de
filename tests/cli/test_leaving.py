"""``keepsay export`` and ``keepsay erase``."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from keepsay import Keepsay, assistant

from .program import environment, keepsay


@pytest.fixture
async def said(ks: Keepsay) -> None:
    await ks.user("ann").create(title="One", messages=["hello \0\ud83d", assistant("hi")])
    await ks.user("ann").create(title="Two")
    await ks.user("bob").create()


@pytest.mark.usefixtures("said")
def test_export_is_json_lines_of_everything(url: str) -> None:
    ran = keepsay("export", "--user", "ann", DATABASE_URL=url)
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [line["type"] for line in lines] == ["conversation", "message", "message", "conversation", "end"]
    assert lines[1]["payload"] == {"role": "user", "content": "hello \0\ud83d"}
    assert lines[-1] == {"type": "end", "conversations": 2, "messages": 2}
    assert ran.err == "2 conversations, 2 messages\n"


@pytest.mark.usefixtures("said")
def test_an_exported_file_is_for_its_owner_alone_and_whole(url: str, tmp_path: Path) -> None:
    file = tmp_path / "ann.jsonl"
    file.write_text("older")
    ran = keepsay("export", "--user", "ann", "--output", str(file), DATABASE_URL=url)
    assert (ran.code, ran.out) == (0, "")
    assert len(file.read_text().splitlines()) == 5
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_an_export_that_fails_leaves_the_older_file(tmp_path: Path) -> None:
    file = tmp_path / "ann.jsonl"
    file.write_text("older")
    assert keepsay("export", "--user", "a/b", "-o", str(file), DATABASE_URL="postgresql://127.0.0.1:1/x").code == 2
    assert keepsay("export", "--user", "ann", "-o", str(file), DATABASE_URL="postgresql://127.0.0.1:1/x").code == 3
    assert file.read_text() == "older"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.usefixtures("said")
def test_a_file_that_cannot_be_written_is_a_wrong_setting(url: str, tmp_path: Path) -> None:
    ran = keepsay("export", "--user", "ann", "-o", str(tmp_path / "no" / "such"), DATABASE_URL=url)
    assert ran.code == 2
    assert "No such file or directory" in ran.err


@pytest.mark.usefixtures("said")
def test_erase_gives_a_receipt_and_takes_one_user_alone(url: str) -> None:
    receipt = keepsay("erase", "--user", "ann", "--yes", "--json", DATABASE_URL=url).json
    assert receipt == {
        "user_id": "ann",
        "erased": {"conversations": 2, "messages": 2, "runs": 0, "summaries": 0, "users": 1},
    }
    assert keepsay("ls", DATABASE_URL=url).out == "bob\n"
    assert "       1  users" in keepsay("erase", "--user", "bob", "-y", DATABASE_URL=url).out


@pytest.mark.usefixtures("said")
def test_erase_without_anybody_to_ask_does_nothing(url: str) -> None:
    ran = keepsay("erase", "--user", "ann", DATABASE_URL=url)
    assert (ran.code, ran.err) == (2, "error: There is nobody to ask: add --yes to erase.\n")
    assert keepsay("erase", "--yes", DATABASE_URL=url, KEEPSAY_USER="ann").code == 2  # named on the spot or not at all
    assert keepsay("ls", DATABASE_URL=url).out == "ann\nbob\n"


@pytest.mark.usefixtures("said")
@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 1, "ann\nbob\n"), (b"y\n", 0, "bob\n")])
def test_erase_asks_a_person(url: str, answer: bytes, code: int, left: str) -> None:
    person, terminal = pty.openpty()
    try:
        os.write(person, answer)
        ran = subprocess.run(
            [sys.executable, "-m", "keepsay.cli", "erase", "--user", "ann"],
            stdin=terminal,
            capture_output=True,
            env=environment(DATABASE_URL=url),
            check=False,
        )
    finally:
        os.close(person)
        os.close(terminal)
    assert ran.returncode == code
    assert b"Erase everything of user ann, for good?" in ran.stderr
    assert keepsay("ls", DATABASE_URL=url).out == left
