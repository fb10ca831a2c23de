from __future__ import annotations

import base64
import struct
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepsay.errors import InvalidCursor
from keepsay.model.cursor import Position, decode_cursor, encode_cursor

SOME = Position(datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), UUID("01890a5d-ac96-774b-bcce-b302099a8057"))
URL_SAFE = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")

positions = st.builds(Position, st.datetimes(timezones=st.just(UTC)), st.uuids())
zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


def encode(version: int, microseconds: int, conversation: bytes, more: bytes = b"") -> str:
    packed = struct.pack(">Bq16s", version, microseconds, conversation) + more
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


@settings(max_examples=150, deadline=None)
@given(positions)
def test_every_position_comes_back_from_its_cursor(position: Position) -> None:
    text = encode_cursor(position)
    assert decode_cursor(text) == position
    assert set(text) <= URL_SAFE


@settings(max_examples=100, deadline=None)
@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=zones), st.uuids())  # noqa: DTZ001
def test_a_time_in_any_zone_comes_back_as_the_same_moment(moment: datetime, conversation: UUID) -> None:
    found = decode_cursor(encode_cursor(Position(moment, conversation)))
    assert (found.updated_at, found.conversation_id) == (moment, conversation)


def test_cursors_of_an_earlier_release_are_understood() -> None:
    assert encode_cursor(SOME) == "AQAGR172V081AYkKXayWd0u8zrMCCZqAVw"


@settings(max_examples=250, deadline=None)
@given(st.text(max_size=50) | st.text(st.sampled_from(sorted(URL_SAFE)), min_size=30, max_size=36))
def test_any_other_text_is_refused(text: str) -> None:
    try:
        position = decode_cursor(text)
    except InvalidCursor:
        return
    assert encode_cursor(position) == text


@settings(max_examples=100, deadline=None)
@given(positions, st.integers(0, 33), st.sampled_from(sorted(URL_SAFE)))
def test_a_cursor_with_one_character_changed_is_refused_or_another_position(
    position: Position, at: int, character: str
) -> None:
    text = encode_cursor(position)
    changed = text[:at] + character + text[at + 1 :]
    try:
        assert (decode_cursor(changed) == position) == (changed == text)
    except InvalidCursor:
        assert changed != text


good = encode_cursor(SOME)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        good + "=",
        good + "==",
        good + " ",
        " " + good,
        good + "\n",
        good + "A",
        good[:-1],
        good[:-1] + "x",  # the same bytes, with other bits in the last character
        good.replace("A", "Å", 1),
        "\ud800" * 34,
        "A" * 100_000,
        encode(0, 0, bytes(16)),
        encode(2, 0, bytes(16)),
        encode(1, 2**63 - 1, bytes(16)),
        encode(1, -(2**63), bytes(16)),
        encode(1, 0, bytes(16), b"\0"),
        encode(1, 0, bytes(16))[:-4],
    ],
)
def test_what_encode_cursor_did_not_make_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursor) as caught:
        decode_cursor(text)
    assert (caught.value.code, caught.value.field) == ("invalid_cursor", "cursor")


@pytest.mark.parametrize("value", [None, 1, good.encode(), [good], SOME])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidCursor):
        decode_cursor(value)
