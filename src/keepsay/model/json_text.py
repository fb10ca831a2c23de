"""Lossless JSON: what goes in comes back deep-equal, keys in order, NUL characters and lone surrogates included.

The standard library's codec is the only one found that does this (orjson and msgspec refuse lone surrogates, orjson
turns 2^64 into a float). Texts are ASCII with everything else escaped, which any Postgres encoding stores unchanged.
Of equal keys in one object the last wins, as in RFC 8259's common practice. Two halves of a surrogate pair that meet in
a Python text come back as the character that they make: JSON has one spelling for both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import NoReturn, TypeAlias, Union

from keepsay.errors import InvalidInput, TooLarge
from keepsay.model import limits

JsonValue: TypeAlias = Union[bool, int, float, str, "list[JsonValue]", "dict[str, JsonValue]", None]
JsonObject: TypeAlias = dict[str, JsonValue]


class MalformedJson(InvalidInput):
    """The text is not JSON at all."""

    code = "malformed_json"


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidInput(f"{name} is not a JSON number.")


def _unique(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise InvalidInput("A JSON object holds the same key twice.")
    return found


def parse_json(text: str | bytes, *, unique_keys: bool = False) -> JsonValue:
    """Parse JSON that came from outside and check it as ``check_json`` does.

    Raises ``MalformedJson`` for what is not JSON in UTF-8, ``InvalidInput`` for NaN, infinities, integers outside 64
    bits, nesting deeper than 64, more than 100,000 values and, with ``unique_keys``, equal keys in one object.
    """
    text = text if isinstance(text, str) else _decoded(text)
    _check_count(text)
    try:
        value: JsonValue = json.loads(
            text,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique if unique_keys else None,
        )
    except RecursionError:
        raise TooLarge("The JSON", size=limits.JSON_DEPTH + 1, limit=limits.JSON_DEPTH, unit="or more levels") from None
    except json.JSONDecodeError as error:
        raise MalformedJson(f"The text is not JSON: {error.msg} at character {error.pos}.") from None
    except ValueError:  # an integer of more than 4,300 digits
        raise InvalidInput("An integer lies outside 64 bits.") from None
    check_json(value)
    return value


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise MalformedJson("The text is not UTF-8.") from None


def _check_count(text: str) -> None:
    """Count before parsing: 4 MiB of ``[],[],...`` would take seconds and a hundred megabytes.

    Every value but the first stands after a comma or a bracket, so there are at most as many and at least half.
    """
    if _marks(text) <= limits.JSON_VALUES:  # commas within texts are counted too: it may be fewer
        return
    plain = text.replace("\\\\", "").replace('\\"', "")
    if plain.count('"') // 2 <= 2 * limits.JSON_VALUES:  # that many are texts and names
        found = _marks("".join(plain.split('"')[::2]))
        if found <= limits.JSON_VALUES:
            return
    size = limits.JSON_VALUES + 1
    raise TooLarge("The JSON", size=size, limit=limits.JSON_VALUES, unit="or more commas and brackets")


def _marks(text: str) -> int:
    return text.count(",") + text.count("[") + text.count("{")


def read_json(text: str) -> JsonValue:
    """Parse JSON that keepsay itself wrote: trusted, so not checked again."""
    value: JsonValue = json.loads(text)
    return value


def write_json(value: object) -> str:
    """The JSON text of a checked value: compact, ASCII, keys in the order of the dict."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def check_json(value: object, *, field: str | None = None, depth: int = limits.JSON_DEPTH) -> None:
    """Raise ``InvalidInput`` unless ``value`` is JSON in Python's own types, at most ``depth`` levels deep."""
    level: list[object] = [value]
    for _ in range(depth + 1):
        deeper: list[object] = []
        for item in level:
            _check_scalar_or_collect(item, deeper, field)
        if not deeper:
            return
        level = deeper
    raise TooLarge("The JSON", size=depth + 1, limit=depth, unit="or more levels", field=field)


def _check_scalar_or_collect(item: object, deeper: list[object], field: str | None) -> None:
    if item is None or type(item) is str or type(item) is bool:
        return
    if type(item) is dict:
        if not all(type(key) is str for key in item):
            raise InvalidInput("Keys of JSON objects are strings.", field=field)
        deeper.append(None)  # an empty object is a level too
        deeper.extend(item.values())
    elif type(item) is list:
        deeper.append(None)
        deeper.extend(item)
    elif type(item) is int:
        if not limits.INT64_MIN <= item <= limits.INT64_MAX:
            raise InvalidInput("An integer lies outside 64 bits.", field=field)
    elif type(item) is float:
        if not math.isfinite(item):
            raise InvalidInput("NaN and infinities are not JSON.", field=field)
    else:
        raise InvalidInput(f"{type(item).__name__} is not a JSON type.", field=field)


def storable_text(text: object, *, field: str, limit: int) -> str:
    """``text`` if it can stand in a text column: a str of at most ``limit`` characters, no NUL, no lone surrogate."""
    if not isinstance(text, str):
        raise InvalidInput(f"{field} is text.", field=field)
    if len(text) > limit:
        raise TooLarge(field, size=len(text), limit=limit, unit="characters", field=field)
    if "\0" in text or not _encodable(text):
        raise InvalidInput(f"{field} holds a NUL character or half a surrogate pair.", field=field)
    return text


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def checked_metadata(metadata: Mapping[str, JsonValue] | None, *, field: str = "metadata") -> JsonObject:
    """A checked copy: an object of at most 16 KiB and 4 levels, without NUL and lone surrogates."""
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise InvalidInput(f"{field} is an object.", field=field)
    value: JsonObject = dict(metadata)
    check_json(value, field=field, depth=limits.METADATA_DEPTH)
    size = len(write_json(value))
    if size > limits.METADATA_BYTES:
        raise TooLarge(field, size=size, limit=limits.METADATA_BYTES, unit="bytes", field=field)
    for text in _texts(value):
        storable_text(text, field=field, limit=limits.METADATA_BYTES)
    return value


def _texts(value: JsonValue) -> Iterator[str]:
    """Every text in a value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from _texts(item)
