"""How many tokens a text will make, without a tokenizer.

``estimate_tokens`` counts character classes and short patterns of classes, and weighs them. The weights are fitted to
o200k_base by non-negative least squares on about 500 texts. Measured on the hold-out samples in
``tests/model/data/tokens``, which took no part in the fitting (error of the estimate, in percent):

=============  ======  =======================    =============  ======  =======================
class          mean    lowest and highest         class          mean    lowest and highest
=============  ======  =======================    =============  ======  =======================
@TABLE@
=============  ======  =======================    =============  ======  =======================

The upper block is promised to within 10% for text of a kilobyte or more; the rest is not promised, but kept from
falling far below the truth. Known to be further off: names and rare words in any language, Hungarian and Polish (up to
25% under), literary or archaic Chinese (15% under), Vietnamese (25% over), rules such as ``=====`` (over). A short
text can be off by a token or two. Speed on one core: @SPEED@.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

__all__ = ["TokenCounter", "estimate_tokens"]

TokenCounter = Callable[[str], int]
"""Counts the tokens of a text: ``estimate_tokens``, or a tokenizer that the application brings."""


class _View(NamedTuple):
    """A coarser look at the classes, and the weight in hundredths of a token of each pattern found in it."""

    table: bytes | None
    weights: dict[bytes, int]

    def weigh(self, classes: bytes) -> int:
        seen = classes.translate(self.table)
        return sum(weight * seen.count(pattern) for pattern, weight in self.weights.items())


def estimate_tokens(text: str) -> int:
    """The number of tokens that a modern tokenizer (o200k) makes of the text, estimated; 0 for the empty text.

    Accepts every ``str``, lone surrogates and NUL included, in linear time. Appending to a text never lowers the
    estimate, for every weight is positive and no appended character undoes a pattern counted before it.
    """
    encoded = text.encode("utf-8", "surrogatepass")
    classes = b"n" + encoded.translate(_CLASS_OF_BYTE, _CONTINUATION)
    hundredths = sum(view.weigh(classes) for view in _VIEWS) + 98 * _digit_groups(classes)
    if not text.isascii():
        hundredths += sum(view.weigh(classes) for view in _VIEWS_BEYOND_ASCII)
        hundredths += _BYTES_BEYOND_ASCII.weigh(encoded) + _CYRILLIC_CAPITALS.weigh(encoded)
    if b"h" in classes:
        hundredths += 51 * sum(map(text.count, _LONERS)) + 237 * sum(map(text.count, _TRADITIONAL))
    return -(-hundredths // 100)


def _digit_groups(classes: bytes) -> int:
    """Tokenizers cut a run of digits into threes; the one or two left over make a token of their own."""
    grouped = classes.replace(b"ddd", b"D")
    return grouped.count(b"D") + grouped.count(b"d") - grouped.count(b"dd")


# One class per character, read off its first UTF-8 byte; the continuation bytes are dropped.
_CONTINUATION = bytes(range(0x80, 0xC0))
_CLASS_OF_ASCII = {
    "v": "aeiouy",
    "c": "bcdfghjklmnpqrstvwxz",
    "U": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "d": "0123456789",
    "p": "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    "n": "\n\r",
    "t": "\t\v\f",
    " ": " ",
}
_CLASS_FROM_LEAD = (
    (0x00, "0"),  # control characters, where the table above has nothing
    (0xC2, "q"),  # Latin-1 signs
    (0xC3, "e"),  # Latin letters with accents
    (0xCC, "o"),  # other scripts, here and below
    (0xCE, "g"),  # Greek
    (0xD0, "y"),  # Cyrillic
    (0xD2, "o"),
    (0xD6, "w"),  # Hebrew
    (0xD8, "A"),  # Arabic
    (0xDC, "o"),
    (0xE0, "I"),  # the Indic scripts and Thai
    (0xE1, "o"),
    (0xE2, "s"),  # typographic signs and symbols
    (0xE3, "k"),  # kana and CJK punctuation
    (0xE4, "h"),  # Han
    (0xEA, "H"),  # Hangul, and surrogates
    (0xEE, "f"),  # full-width and compatibility forms
    (0xF0, "m"),  # emoji and the other planes
)


def _class_of_byte() -> bytes:
    table = bytearray(256)
    for start, name in _CLASS_FROM_LEAD:
        table[start:] = name.encode() * (256 - start)
    for name, characters in _CLASS_OF_ASCII.items():
        for character in characters:
            table[ord(character)] = ord(name)
    return bytes(table)


def _merge(**names: str) -> bytes:
    """A table that renames classes: ``merged="classes"``; every class not named becomes a dot."""
    table = bytearray(b"." * 256)
    for merged, classes in names.items():
        for name in classes:
            table[ord(name)] = ord(merged.replace("blank", " "))
    return bytes(table)


def _cyrillic_capital_bytes() -> bytes:
    """The capitals А to Я are the byte D0 and one of 90 to AF."""
    table = bytearray(b"." * 256)
    table[0xD0] = ord("D")
    table[0x90:0xB0] = b"u" * 0x20
    return bytes(table)


_CLASS_OF_BYTE = _class_of_byte()

_VIEWS = (
    _View(None, {b"cccc": 98, b"nt": 128, b"0": 108}),
    # What stands beside what: a = letter, d = digit, p = punctuation, n = line break.
    _View(
        _merge(a="vcUe", d="d", p="p", n="n", blank=" t"),
        {b" d": 138, b" p": 85, b"ap": 101, b"dp": 86, b".p": 118, b"np": 46, b"ad": 49, b"da": 37},
    ),
    # Words, by what stands before them and by length.
    _View(
        _merge(a="vcUe", blank=" "),
        {b" a": 81, b" aaaaa": 41, b".a": 25, b".aaaaaaaa": 75, b"a" * 12: 100},
    ),
    # Capitals inside and at the head of words: camel case, base64, German nouns.
    _View(
        _merge(l="vce", U="U", blank=" "),
        {b"UUl": 448, b"lUl": 30, b"UUUUUUUU": 342, b" Ullllllll": 164},
    ),
    # Line breaks, and runs of blanks.
    _View(_merge(n="n", blank=" t"), {b".n": 116, b"nn": 23, b".  ": 169, b" " * 64: 70}),
    _View(_merge(p="p"), {b".pp": 21, b"pp": 37}),
)

_VIEWS_BEYOND_ASCII = (
    _View(
        None,
        {
            b"q": 42,
            b"o": 70,
            b"g": 43,
            b"w": 43,
            b"A": 10,
            b"I": 38,
            b"s": 173,
            b"h": 20,
            b"H": 77,
            b"f": 40,
            b"m": 186,
            b"hk": 56,
            b"kh": 56,
        },
    ),
    _View(_merge(e="e"), {b".e": 117}),
    _View(_merge(y="y"), {b".y": 121, b"yyyyyyyy": 100}),
    _View(_merge(A="A"), {b".A": 110}),
    _View(_merge(h="h"), {b"hhh": 161}),
    _View(_merge(k="k"), {b".k": 36, b"kk": 140}),
)

_BYTES_BEYOND_ASCII = _View(None, {b"\xe3\x80": 13, "\u200d".encode(): 150})
_CYRILLIC_CAPITALS = _View(_cyrillic_capital_bytes(), {b"Du": 70})

# Frequent Han characters that seldom share a token with their neighbours, and frequent traditional forms, which have
# few tokens of two characters.
_LONERS = "的了在他她你您到和也都着很说会来还把被看对就没让吗吧呢啊那又去里想走"
_TRADITIONAL = "個這會來為後說國時對們還沒過動當樣經開無給實點話於麼讓裡該與學頭從"
