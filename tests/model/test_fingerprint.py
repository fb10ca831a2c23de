from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from keepsay.model.fingerprint import fingerprint

texts = st.text(st.characters(exclude_categories=()), max_size=8)
parts = st.lists(st.none() | texts, max_size=4)


def test_a_fingerprint_is_the_same_in_every_release() -> None:
    assert fingerprint("append") == -3564635467529926446
    assert fingerprint("append", "a", None, "", "é\ud800\0") == 1832127020943537981


@settings(max_examples=150, deadline=None)
@given(texts, parts)
def test_a_fingerprint_is_a_bigint_and_equal_for_equal_content(operation: str, content: list[str | None]) -> None:
    found = fingerprint(operation, *content)
    assert -(2**63) <= found < 2**63
    assert found == fingerprint(operation, *content)


@settings(max_examples=250, deadline=None)
@given(texts, parts, texts, parts)
def test_other_content_has_another_fingerprint(
    operation: str, content: list[str | None], other_operation: str, other_content: list[str | None]
) -> None:
    same = (operation, content) == (other_operation, other_content)
    assert (fingerprint(operation, *content) == fingerprint(other_operation, *other_content)) == same


def test_moving_the_boundary_between_parts_changes_the_fingerprint() -> None:
    ways = [
        ("append", "ab", "c"),
        ("append", "a", "bc"),
        ("append", "abc"),
        ("append", "abc", ""),
        ("append", "", "abc"),
        ("appenda", "bc"),
        ("append1:a", "bc"),
        ("append", "ab1:c"),
        ("append", "ab", "1:c"),
        ("append3:abc",),
    ]
    assert len({fingerprint(*way) for way in ways}) == len(ways)


def test_nothing_and_the_empty_text_differ() -> None:
    ways: list[tuple[str | None, ...]] = [
        (),
        (None,),
        ("",),
        (None, ""),
        ("", None),
        ("-",),
        ("0:",),
        ("\0",),
        (None, None),
    ]
    assert len({fingerprint("append", *way) for way in ways}) == len(ways)
