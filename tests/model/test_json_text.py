from __future__ import annotations

import json
import math
from collections import OrderedDict
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keepsay.errors import InvalidInput, TooLarge
from keepsay.model import limits
from keepsay.model.json_text import (
    JsonValue,
    MalformedJson,
    check_json,
    checked_metadata,
    parse_json,
    read_json,
    storable_text,
    write_json,
)
from keepsay.testing import strategies


def meets_its_other_half(text: str) -> bool:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass") != text


any_text = st.text(st.characters(exclude_categories=()), max_size=30).filter(
    lambda text: not meets_its_other_half(text)
)
any_number = st.integers(limits.INT64_MIN, limits.INT64_MAX) | st.floats(allow_nan=False, allow_infinity=False)
any_value: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | any_number | any_text,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(any_text, inner, max_size=5),
    max_leaves=20,
)


def same(one: JsonValue, other: JsonValue) -> bool:
    """Deep equality that tells 1 from 1.0 from True, 0.0 from -0.0, and one order of keys from another."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@settings(max_examples=150, deadline=None)
@given(any_value)
@example(
    {"b": 1, "a": {"\0": ["\ud800", "\udfff\ud800", "\U0001f600"]}, "": [0, -0.0, 0.0, 1, 1.0, True, None, {}, []]}
)
def test_what_is_written_reads_back_deep_equal_and_keys_in_order(value: JsonValue) -> None:
    check_json(value)
    text = write_json(value)
    assert text.isascii()
    assert "\0" not in text
    assert same(read_json(text), value)
    assert same(parse_json(text), value)
    assert same(parse_json(text.encode()), value)


@settings(max_examples=100, deadline=None)
@given(any_value)
def test_parsing_takes_utf_8_as_it_comes(value: JsonValue) -> None:
    raw = json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass")
    if not _is_utf_8(raw):
        with pytest.raises(MalformedJson):
            parse_json(raw)
    else:
        assert same(parse_json(raw), value)


def _is_utf_8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_halves_of_a_surrogate_pair_that_meet_become_their_character() -> None:
    assert read_json(write_json("\ud83d\ude00")) == "\U0001f600"
    assert parse_json('"\\ud83d\\ude00"') == "\U0001f600"


def test_a_text_of_a_mebibyte_comes_back() -> None:
    text = "aé\0\ud800😀 " * (limits.MESSAGE_BYTES // 7)
    assert read_json(write_json([text])) == [text]
    assert parse_json(write_json([text])) == [text]


@pytest.mark.parametrize("number", [limits.INT64_MIN, limits.INT64_MAX, -(2**53) - 1, 2**53 + 1, 0, -1])
def test_integers_of_64_bits_come_back_exactly(number: int) -> None:
    found = parse_json(write_json({"n": number}))
    assert same(found, {"n": number})


@pytest.mark.parametrize("number", [-(2**63) - 1, 2**63, 2**64, 10**30])
def test_integers_beyond_64_bits_are_refused(number: int) -> None:
    with pytest.raises(InvalidInput, match="64 bits"):
        parse_json(f'{{"n": {number}}}')
    with pytest.raises(InvalidInput, match="64 bits"):
        check_json({"n": number})


@pytest.mark.parametrize("number", [5e-324, 1.7976931348623157e308, 0.1, -0.0, 1e22, 1e16, 100.0])
def test_floats_come_back_exactly(number: float) -> None:
    assert same(parse_json(write_json(number)), number)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "[1e400]", "-1e999", '{"a": NaN}'])
def test_numbers_that_are_not_finite_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_json(text)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_floats_that_are_not_finite_are_refused(number: float) -> None:
    with pytest.raises(InvalidInput, match="not JSON"):
        check_json([number])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json([number])


@pytest.mark.parametrize("text", ["1" * 5_000, "-" + "9" * 5_000, f'{{"n": [{"7" * 100_000}]}}'])
def test_integers_of_thousands_of_digits_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="64 bits"):
        parse_json(text)


def test_sixty_four_levels_are_taken_and_sixty_five_refused() -> None:
    assert parse_json("[" * 64 + "]" * 64) == nested(64)
    assert parse_json("[" * 63 + '{"a": 1}' + "]" * 63)
    for text in ("[" * 65 + "]" * 65, "[" * 64 + '{"a": 1}' + "]" * 64, '{"a":' * 65 + "1" + "}" * 65):
        with pytest.raises(TooLarge) as caught:
            parse_json(text)
        assert (caught.value.size, caught.value.limit) == (65, 64)


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
def test_nesting_without_end_is_refused_and_does_no_harm(opening: str) -> None:
    with pytest.raises(InvalidInput):
        parse_json(opening * 200_000)


def test_of_equal_keys_the_last_wins() -> None:
    assert parse_json('{"a": 1, "b": 2, "a": 3}') == {"a": 3, "b": 2}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b"{'a': 1}",
        b'{"a": 1,}',
        b"[1 2]",
        b'"\x00"',
        b'"a\nb"',
        b"nul",
        b"[1]x",
        b'"\\x41"',
        b"01",
        b"+1",
        b"\xff\xfe[\x00]\x00",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf[]",
    ],
)
def test_what_is_not_json_in_utf_8_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedJson) as caught:
        parse_json(raw)
    assert caught.value.code == "malformed_json"


def test_the_refusal_of_malformed_json_says_where() -> None:
    with pytest.raises(MalformedJson, match="at character 6"):
        parse_json('{"a": }')


@settings(max_examples=250, deadline=None)
@given(
    st.binary(max_size=60)
    | st.text(st.sampled_from('{}[]",:\\u0dE8+-.naTfrl e\ud800\0 5'), max_size=40).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    )
    | st.builds(lambda value, at, byte: _spoilt(value, at, byte), any_value, st.integers(0), st.binary(max_size=2))
)
def test_no_bytes_raise_anything_but_invalid_input(raw: bytes) -> None:
    try:
        value = parse_json(raw)
    except InvalidInput:
        return
    assert same(parse_json(write_json(value)), value)


def _spoilt(value: JsonValue, at: int, byte: bytes) -> bytes:
    raw = write_json(value).encode()
    return raw[: at % len(raw)] + byte + raw[at % len(raw) + 1 :]


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [b"a", (1,), {1: "a"}, {None: 1}, {"a": {2: 3}}, {1, 2}, object(), Text("a"), OrderedDict(a=1), 1j, [[b"a"]]],
)
def test_only_jsons_own_types_are_json(value: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_json(value, field="payload")
    assert caught.value.field == "payload"


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(TooLarge):
        check_json(value)


@pytest.mark.parametrize("text", ["a" * 255, "é" * 255, "\U0001f600", " ", ""])
def test_a_storable_text_comes_back_as_it_is(text: str) -> None:
    assert storable_text(text, field="title", limit=255) == text


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "a\udfffb", "\udfff\ud800", None, 1, b"a"])
def test_what_no_text_column_holds_is_refused(text: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        storable_text(text, field="title", limit=255)
    assert caught.value.field == "title"


def test_a_text_over_its_limit_is_too_large() -> None:
    with pytest.raises(TooLarge, match="title has 256 characters; the limit is 255"):
        storable_text("a" * 256, field="title", limit=255)


@settings(max_examples=100, deadline=None)
@given(strategies.metadata())
def test_metadata_within_the_limits_comes_back(metadata: dict[str, JsonValue]) -> None:
    found = checked_metadata(metadata)
    assert same(found, metadata)
    assert found is not metadata


def test_no_metadata_is_empty_metadata_and_any_mapping_will_do() -> None:
    assert checked_metadata(None) == {}
    assert checked_metadata(MappingProxyType({"a": 1})) == {"a": 1}


@pytest.mark.parametrize("metadata", [[], "a", 1, [("a", 1)]])
def test_metadata_is_an_object(metadata: Any) -> None:
    with pytest.raises(InvalidInput, match="metadata is an object"):
        checked_metadata(metadata)


def test_metadata_of_16_kib_is_taken_and_a_byte_more_refused() -> None:
    room = limits.METADATA_BYTES - len('{"a":""}')
    assert checked_metadata({"a": "x" * room})
    with pytest.raises(TooLarge) as caught:
        checked_metadata({"a": "x" * (room + 1)})
    assert (caught.value.size, caught.value.limit, caught.value.field) == (16_385, 16_384, "metadata")


def test_metadata_of_four_levels_is_taken_and_a_fifth_refused() -> None:
    assert checked_metadata({"a": {"b": [{"c": 1}]}})
    with pytest.raises(TooLarge):
        checked_metadata({"a": {"b": [{"c": []}]}})


@pytest.mark.parametrize("text", ["\0", "\ud800", "a\udfff"])
def test_metadata_refuses_nul_and_lone_surrogates_wherever_they_are(text: str) -> None:
    places: list[dict[str, JsonValue]] = [{text: 1}, {"a": text}, {"a": [text]}, {"a": {"b": {text: 1}}}]
    for metadata in places:
        with pytest.raises(InvalidInput, match="NUL"):
            checked_metadata(metadata)


@pytest.mark.parametrize("text", ["\\u0000", "\\ud800", "\\\\ud", '"\\u0000"', "\U0001f600", "\U0001f600\\u0000"])
def test_metadata_takes_texts_that_only_look_like_escapes(text: str) -> None:
    metadata: dict[str, JsonValue] = {text: text, "many": [1, 2, 3], "keys": {"a": 1, "b": 2}}
    assert same(checked_metadata(metadata), metadata)


@pytest.mark.parametrize(
    "value",
    [
        [1, 2, 3, 4, 5],
        [[], []],
        {"a": 1, "b": 2, "c": 3, "d": 4},
        [{"a": [1]}, 2],
        [',[{"\\', ',,"[', '{\\"', ""],
    ],
)
def test_values_are_counted_before_they_are_parsed(monkeypatch: pytest.MonkeyPatch, value: JsonValue) -> None:
    text = write_json(value)
    monkeypatch.setattr(limits, "JSON_VALUES", 5)
    assert parse_json(text) == value
    monkeypatch.setattr(limits, "JSON_VALUES", 3)
    with pytest.raises(TooLarge, match="4 or more commas and brackets"):
        parse_json(text)


@given(strategies.json_values())
def test_texts_and_names_are_no_values_however_they_read(value: JsonValue) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "JSON_VALUES", max(1, _values(value)))
        assert parse_json(write_json(value)) == value


def _values(value: JsonValue) -> int:
    """What stands after a comma, and what opens a list or an object: as many as there are values, or more."""
    if isinstance(value, list | dict):
        inside = value.values() if isinstance(value, dict) else value
        return 1 + max(0, len(value) - 1) + sum(map(_values, inside))
    return 0
