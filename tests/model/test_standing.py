"""Who may speak, by the same table as appends; and the preview of the last message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepsay.model.conversation import RolePolicy
from keepsay.model.messages import OrderState, Role
from keepsay.model.order import may_follow
from keepsay.model.standing import PREVIEW_CHARS, preview
from keepsay.testing.build import plan_of


@pytest.mark.parametrize("policy", list(RolePolicy))
@pytest.mark.parametrize("state", list(OrderState))
@pytest.mark.parametrize(("role", "line"), [(Role.USER, "user: hi"), (Role.ASSISTANT, "assistant: hi")])
def test_whoever_may_speak_is_whom_a_plan_lets_speak(
    policy: RolePolicy, state: OrderState, role: Role, line: str
) -> None:
    assert role in (Role.USER, Role.ASSISTANT)
    assert may_follow(policy, state, role) is bool(plan_of(line).allowed[policy] & (1 << state))


def test_a_short_text_is_its_own_preview_on_one_line() -> None:
    assert preview("Where is\n\tLisbon? ") == "Where is Lisbon?"
    assert preview("x" * PREVIEW_CHARS) == "x" * PREVIEW_CHARS
    assert preview(" \n ") == ""


def test_a_long_text_is_cut_and_says_so() -> None:
    assert preview("x" * (PREVIEW_CHARS + 1)) == "x" * (PREVIEW_CHARS - 1) + "…"
    assert preview("a " + " " * 5_000 + "b") == "a…"


@pytest.mark.parametrize(
    "whole",
    [
        "e\u0301",  # an accent of its own
        "\U0001f44d\U0001f3fd",  # a thumb with a colour
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",  # a family of three, joined
        "\U0001f1f5\U0001f1f9",  # a flag of two letters
        "\u2764\ufe0f",  # a heart, as a picture
    ],
)
@pytest.mark.parametrize("before", range(PREVIEW_CHARS - 8, PREVIEW_CHARS))
def test_no_character_as_a_person_sees_it_is_cut_in_two(whole: str, before: int) -> None:
    shown = preview("x" * before + whole * 40)
    assert len(shown) <= PREVIEW_CHARS
    kept = shown.removesuffix("…")[before:]
    assert kept == whole * (len(kept) // len(whole))


@given(st.text(max_size=900))
def test_a_preview_is_short_and_a_beginning(text: str) -> None:
    shown = preview(text)
    assert len(shown) <= PREVIEW_CHARS
    assert " ".join(text.split()).startswith(shown.removesuffix("…"))
    assert "\n" not in shown


def test_what_no_end_of_accents_hangs_on_is_cut_all_the_same() -> None:
    assert len(preview("e" + "\u0301" * 500)) == PREVIEW_CHARS
