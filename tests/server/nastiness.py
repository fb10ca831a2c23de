"""Bodies, paths, queries and headers, broken in a thousand ways: out of the OpenAPI document, and by hand."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

TEXTS = [
    "", " ", "x", "0", "null", "\0", "a\0b", "\ud800", "\udc00\ud800", "x" * 256, "x" * 1_000, "é" * 255, "e\u0301",
    "\u202e\u2066x", "\ufeff", "\uffff", "\U0010ffff", "😀" * 64, "' OR 1=1; DROP TABLE users; --", "%s%n{0}{}",
    "${jndi:ldap://x}", "{{7*7}}", "<script>alert(1)</script>", "../../etc/passwd", "\r\nX-Evil: 1", "__proto__",
    "constructor", "00000000-0000-0000-0000-000000000000", "018F0000-0000-7000-8000-000000000000", "active", "strict",
    "chat", "openai.responses", "2026-01-05T00:00:00Z", "AQ==", "Infinity",
]  # fmt: skip
NUMBERS: list[Any] = [
    0,
    -1,
    1,
    1.5,
    -0.0,
    1e308,
    5e-324,
    2**31 - 1,
    2**31,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    2**63,
    2**64,
    True,
]
MESSAGES: list[Any] = [
    {"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}, {"role": "system", "content": []},
    {"role": "tool", "tool_call_id": 1}, {"role": "tool", "content": "x", "tool_call_id": "\0", "tool_name": 5},
    {"role": "assistant", "tool_calls": [{"id": "\ud800"}]}, {"role": "assistant", "tool_calls": [[]]},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": None}, {"id": "c"}]},
    {"payload": {"type": "function_call", "call_id": "\0"}, "format": "openai.responses"},
    {"payload": {"type": "message", "role": "user", "content": {}}, "format": "openai.responses"},
    {"payload": {"type": []}, "format": "openai.responses", "status": "incomplete"}, {"payload": None},
    {"payload": {}, "format": "\ud800"}, {"payload": {"a": "\0\ud800"}, "format": "mine", "client_id": "\0"},
    {"payload": {}, "usage": {"a": "\0"}},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}], "__proto__": {"admin": True}},
]  # fmt: skip
TREES: list[Any] = [
    None, [], {}, [[]], [{}], {"": ""}, [None], [1] * 101, {"a": {"b": {"c": {"d": {"e": 1}}}}},
    {"__proto__": {"x": 1}}, {str(at): at for at in range(1_000)}, {"\0": 1}, {"\ud800": 1}, {"a": "\0"},
    {"$ref": "#"}, {"x": "y" * 17_000},
]  # fmt: skip
RAW: list[bytes] = [
    b"", b" ", b"null", b"[]", b'""', b"{", b"}", b"nul", b"tru", b"NaN", b"-Infinity", b"1e400", b"-1e400", b"0x10",
    b"01", b"+1", b".5", b"1.", b"'a'", b"{'a': 1}", b'{"a": 1,}', b"[1,]", b"{a: 1}", b"/* x */ {}", b"{} // x",
    b'{"title": "\x01"}', b'{"title": "\xff"}', b'{"title": "\xed\xa0\x80"}', b'{"title": "\xc0\x80"}',
    b'{"title": "\\u12"}', b'{"title": "\\x41"}', b'{"title": NaN}', b'{"title": 1e400}',
    b'{"metadata": {"a": 1e400}}', b'{"title": "a", "title": "b"}', b'\xef\xbb\xbf{"title": "x"}', b"\xff\xfe{\0}\0",
    b"\x1f\x8b\x08\0\0", '{"title": "x"}'.encode("utf-16"), '{"title": "x"}'.encode("utf-32"),
    b'{"title": ' + b"9" * 5_000 + b"}", b"[" * 64 + b"]" * 64, b"[" * 65 + b"]" * 65, b"[" * 100_000,
    b'{"a":' * 100_000, b'{"metadata": ' + b'{"a":' * 64 + b"1" + b"}" * 65, b"{" * 3 + b"}" * 3,
    b'{"messages": [' + b",".join([b'{"role":"user","content":"x"}'] * 101) + b"]}", b"{}{}", b"\0", b"{}\0",
    b'{"\\ud800": 1}', b"{" + b",".join(b'"%d":0' % at for at in range(5_000)) + b"}", b'"' + b"x" * 100_000,
    b'{"message": "' + b"x" * 1_100_000 + b'"}',
]  # fmt: skip
KINDS = [
    "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx",
    "application/JSON", "application/json; charset=utf-16", "application/json;", ";", "application/json, text/plain",
    "*/*", "application/problem+json",
]  # fmt: skip
HEADERS: list[tuple[bytes, list[bytes]]] = [
    (b"idempotency-key", [b"", b"k", b"k" * 255, b"k" * 256, b"\xff", "é".encode(), b"\x00", b"a, b"]),
    (b"if-match", [b"", b"*", b'"1"', b'"0"', b'"999999999"', b'"9999999999"', b'W/"1"', b'"1", "2"', b"\xff", b"1"]),
    (b"if-none-match", [b"", b"*", b'"1"', b'W/"1"', b"\xff", b'"' * 100]),
    (b"x-keepsay-user", [b"", b"eve", b"x" * 256, b"\xff", b"a/b", b"..", "e\u0301".encode(), b"\x00"]),
    (b"x-request-id", [b"", b"x" * 129, b"<script>", b"\xff"]), (b"content-type", [kind.encode() for kind in KINDS]),
    (b"content-encoding", [b"gzip", b"br", b"deflate, gzip", b"identity", b""]),
    (b"content-length", [b"-1", b"x", b"9" * 20, b"4194305", b"\xb2"]),
    (b"accept", [b"", b"text/html", b"*/*;q=0", b"text/event-stream", b"\xff"]), (b"range", [b"bytes=0-0"]),
    (b"expect", [b"100-continue"]), (b"last-event-id", [b"", b"0", b"-1", b"9" * 30, b"\xff"]),
    (b"authorization", [b"", b"Bearer x", b"Basic \xff", b"Bearer " + b"x" * 9_000]),
]  # fmt: skip


_IDS = frozenset({"conversation_id", "session_id", "user_id"})


@dataclass(frozen=True)
class Request:
    """A request to be sent, and the operation of the document that it is meant for."""

    operation: tuple[str, str]
    method: str
    path: str
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Nastiness:
    """Makes requests by chance, the same ones from the same seed. ``names``: what stands for the ids in paths."""

    def __init__(self, document: Any, seed: int, names: Callable[[str, random.Random], str]) -> None:
        self._rng = random.Random(seed)
        self._names = names
        self._schemas = document["components"]["schemas"]
        self._operations = [
            ((method.upper(), path), operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ]
        self._takes_body = [found for found in self._operations if "requestBody" in found[1]]

    def request(self) -> Request:
        """The next one. Most have a body that was good once."""
        rng = self._rng
        (method, path), operation = rng.choice(self._takes_body if rng.random() < 0.75 else self._operations)
        body = self._body(operation) if "requestBody" in operation or rng.random() < 0.05 else b""
        headers = {b"content-type": b"application/json"} if body or "requestBody" in operation else {}
        declared = [parameter["name"].lower().encode() for parameter in operation.get("parameters", ())]
        fitting = [found for found in HEADERS if found[0] in declared]
        while rng.random() < 0.2:
            name, values = rng.choice(rng.choice([HEADERS, fitting or HEADERS]))
            headers[name] = rng.choice(values)
        return Request((method, path), method, self._path(path), self._query(operation), tuple(headers.items()), body)

    def _path(self, template: str) -> str:
        parts = [self._names(part[1:-1], self._rng) if part.startswith("{") else part for part in template.split("/")]
        return "/".join(parts)

    def _query(self, operation: Mapping[str, Any]) -> bytes:
        named = [parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"]
        pairs = []
        while self._rng.random() < (0.6 if named else 0.05):
            value = self._rng.choice([*map(str, NUMBERS), *TEXTS, "asc", "desc", "true", "1" * 40])
            pairs.append(f"{quote(self._rng.choice([*named, *named, 'x', '']))}={_quoted(value)}")
        return "&".join(pairs).encode()

    def _body(self, operation: Mapping[str, Any]) -> bytes:
        rng = self._rng
        if rng.random() < 0.1 or "requestBody" not in operation:
            return rng.choice(RAW)
        [content] = operation["requestBody"]["content"].values()
        raw = json.dumps(self._broken(self._good(content["schema"]))).encode()
        return self._torn(raw) if rng.random() < 0.25 else raw

    def _good(self, schema: Any) -> Any:
        """Something that the schema allows, roughly."""
        rng = self._rng
        if "$ref" in schema:
            return self._good(self._schemas[schema["$ref"].rpartition("/")[2]])
        if "examples" in schema and rng.random() < 0.6:
            return self._named(json.loads(json.dumps(rng.choice(schema["examples"]))))
        if "anyOf" in schema and "properties" not in schema:
            return self._good(rng.choice(schema["anyOf"]))
        if "enum" in schema:
            return rng.choice(schema["enum"])
        if "const" in schema:
            return schema["const"]
        return self._of_type(schema)

    def _named(self, value: Any) -> Any:
        """The same with ids of what is there."""
        for name in _IDS.intersection(value) if isinstance(value, dict) else ():
            value[name] = self._names(name, self._rng)
        return value

    def _of_type(self, schema: Any) -> Any:
        rng = self._rng
        kind = rng.choice(schema["type"]) if isinstance(schema.get("type"), list) else schema.get("type")
        if kind == "object":
            required = schema.get("required", ())
            properties = schema.get("properties", {}).items()
            given = {name: self._good(part) for name, part in properties if name in required or rng.random() < 0.4}
            return self._named(given)
        if kind == "array":
            return [self._good(schema.get("items", {})) for _ in range(rng.choice((0, 1, 1, 2)))]
        if kind == "integer":
            return rng.choice([schema.get("minimum", 0), schema.get("maximum", 9), 1, 2])
        return {"string": "x", "boolean": True, "null": None}.get(kind)

    def _broken(self, value: Any) -> Any:
        """The same with one thing, or two, in the place of another."""
        rng = self._rng
        if rng.random() < 0.03:
            return self._nasty()
        for _ in range(rng.choice((0, 1, 1, 1, 2))):
            if isinstance(value, dict):
                name = rng.choice([*value, rng.choice([*self._fields(), *TEXTS])])
                inside = value.get(name)
                value[name] = self._broken(inside) if inside and rng.random() < 0.4 else self._nasty()
            elif isinstance(value, list) and value:
                at = rng.randrange(len(value))
                value[at] = self._broken(value[at])
        return value

    def _fields(self) -> list[str]:
        return [name for schema in self._schemas.values() for name in schema.get("properties", ())]

    def _nasty(self) -> Any:
        rng = self._rng
        kind: list[Any] = rng.choice([TEXTS, NUMBERS, MESSAGES, TREES])
        found = copy.deepcopy(rng.choice(kind))  # it may be broken in its turn
        return rng.choice([found, found, [found], {"a": found}])

    def _torn(self, raw: bytes) -> bytes:
        rng = self._rng
        at = rng.randrange(len(raw) + 1)
        byte = bytes([rng.randrange(256)])
        return rng.choice(
            [raw[:at], raw[:at] + byte + raw[at:], raw[:at] + raw[at + 1 :], raw * 2, raw.swapcase(), byte + raw]
        )


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"))
