from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepsay.model.tokens import TokenCounter, estimate_tokens

DATA = Path(__file__).parent / "data" / "tokens"
COUNTS: Final[dict[str, int]] = json.loads((DATA / "counts.json").read_text(encoding="utf-8"))

PROMISED = {"english", "python", "javascript", "json", "russian", "chinese"}
LEAST, MOST = 0.75, 1.5  # of the true count, for the classes that are not promised

anything = st.text(st.characters(exclude_categories=()))
"""Any str, lone surrogates and NUL included."""

lookalike = st.text(st.sampled_from("aeczABZ019 \t\n\r.,{}\"='é«яЯё字的這。かカ한اहไ😀\u200d\ud83d\0"), max_size=60)
"""Few characters of every class, so that runs and patterns of classes come up often."""


def read_sample(name: str) -> str:
    return (DATA / name).read_bytes().decode("utf-8")


def class_of(name: str) -> str:
    return name.partition("-")[0]


def test_every_sample_has_a_count_and_every_count_a_sample() -> None:
    assert {path.name for path in DATA.glob("*.txt")} == set(COUNTS)
    assert {class_of(name) for name in COUNTS} >= PROMISED


@pytest.mark.parametrize("name", [name for name in COUNTS if class_of(name) in PROMISED])
def test_promised_classes_are_within_ten_percent(name: str) -> None:
    assert estimate_tokens(read_sample(name)) == pytest.approx(COUNTS[name], rel=0.10)


@pytest.mark.parametrize("name", [name for name in COUNTS if class_of(name) not in PROMISED])
def test_other_classes_are_never_far_below_the_truth(name: str) -> None:
    assert LEAST <= estimate_tokens(read_sample(name)) / COUNTS[name] <= MOST


@pytest.mark.parametrize("wanted", sorted(PROMISED))
def test_the_errors_of_a_promised_class_even_out(wanted: str) -> None:
    names = [name for name in COUNTS if class_of(name) == wanted]
    errors = [estimate_tokens(read_sample(name)) / COUNTS[name] - 1 for name in names]
    assert abs(sum(errors) / len(errors)) < 0.06


def test_the_empty_text_has_no_tokens() -> None:
    assert estimate_tokens("") == 0


@pytest.mark.parametrize("text", ["a", "word", "7", "字", "я", "😀", "\n", "\0", "\ud800", "(", "ا", "é", "\uffff"])
def test_a_text_of_one_piece_has_one_token_or_two(text: str) -> None:
    assert 1 <= estimate_tokens(text) <= 2


def test_the_estimator_is_a_token_counter() -> None:
    counter: TokenCounter = estimate_tokens
    assert counter("Where did we stop yesterday?") in range(4, 10)


@given(anything | lookalike)
def test_any_text_gets_the_same_estimate_again_and_never_a_negative_one(text: str) -> None:
    estimate = estimate_tokens(text)
    assert estimate >= 0
    assert estimate_tokens("".join(list(text))) == estimate


@given(anything | lookalike, anything | lookalike)
def test_appending_never_lowers_the_estimate(text: str, tail: str) -> None:
    assert estimate_tokens(text + tail) >= estimate_tokens(text)


@given(lookalike)
def test_no_character_is_worth_more_than_a_handful_of_tokens(text: str) -> None:
    assert estimate_tokens(text) <= 6 * len(text)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("character", list("aZ0 \n\t=é«яЯ字的かह한ا😀\0\ud800\u200d"), ids=ascii)
def test_a_million_of_one_character_ends_soon_and_grows_in_proportion(character: str) -> None:
    short, long = estimate_tokens(character * 10_000), estimate_tokens(character * 1_000_000)
    assert long == pytest.approx(100 * short, rel=0.05)
