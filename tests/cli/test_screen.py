"""What reaches the terminal is text and nothing else."""

from __future__ import annotations

import io
import unicodedata
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepsay.cli.screen import paint, printable, shown_time, table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_that_drives_a_terminal_gets_through(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert not any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in shown)
    assert not any(unicodedata.bidirectional(character) in {"LRO", "RLO", "RLI", "PDF"} for character in shown)


@pytest.mark.parametrize("text", ["Lisboa é bela", "日本語", "👩\u200d👩\u200d👧", "\u05e9\u05dc\u05d5\u05dd"])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_what_is_escaped_can_be_told() -> None:
    assert printable("\x1b[2J\u202e\ud83d\x00\t") == r"\x1b[2J\u202e\ud83d\x00\t"
    assert printable("a\tb\n", keep="\t") == "a\tb\\n"


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert paint("ok", "green", Terminal()) == "\x1b[32mok\x1b[0m"
    assert paint("ok", "green", io.StringIO()) == "ok"
    monkeypatch.setenv("TERM", "dumb")
    assert paint("ok", "green", Terminal()) == "ok"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("ok", "green", Terminal()) == "ok"


def test_times_are_in_utc() -> None:
    assert shown_time(datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))) == "2026-01-02 01:04:05Z"
    assert shown_time(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02 03:04:05Z"


def test_columns_are_as_wide_as_they_need_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    table(("A", "LONG"), [("aaa", "b"), ("a", "")])
    assert capsys.readouterr().out == "A    LONG\naaa  b\na\n"
