"""What a request may hold, declared once: read strictly, and shown in OpenAPI."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from starlette.requests import Request

from keepsay.errors import InvalidInput
from keepsay.model import limits
from keepsay.model.json_text import JsonObject, JsonValue

__all__ = ["Field", "Fields", "Shape"]

Kind = Literal["string", "integer", "boolean", "object", "array"]
Null = Literal["left out", "a value", "refused"]

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_BOOLEANS = {"true": True, "false": False}
_SHOWN_NAME = 80


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a request: what it is for, the types that it takes, and more of its JSON Schema (for OpenAPI alone).

    ``null``: the same as leaving it out; or where it makes a difference, a value of its own; or no value at all.
    """

    about: str
    kinds: tuple[Kind, ...] = ("string",)
    required: bool = False
    more: JsonObject = field(default_factory=dict)
    null: Null = "left out"

    def schema(self, *, nullable: bool = True) -> JsonObject:
        kinds: list[JsonValue] = [*self.kinds]
        if nullable and not self.required and self.null != "refused":
            kinds.append("null")
        return {"type": kinds if len(kinds) > 1 else kinds[0], "description": self.about, **self.more}


class Fields:
    """The fields of one request, of the types that its shape gives them; ``None`` for those left out."""

    def __init__(self, given: Mapping[str, JsonValue]) -> None:
        self._given = given

    def has(self, name: str) -> bool:
        """Whether it was given; a ``null`` that is the same as leaving it out was not."""
        return name in self._given

    def text(self, name: str) -> str | None:
        value = self._given.get(name)
        assert value is None or isinstance(value, str)
        return value

    def required_text(self, name: str) -> str:
        value = self.text(name)
        assert value is not None
        return value

    def whole(self, name: str) -> int | None:
        value = self._given.get(name)
        assert value is None or isinstance(value, int)
        return value

    def required_whole(self, name: str) -> int:
        value = self.whole(name)
        assert value is not None
        return value

    def flag(self, name: str) -> bool:
        return self._given.get(name) is True

    def mapping(self, name: str) -> JsonObject | None:
        value = self._given.get(name)
        assert value is None or isinstance(value, dict)
        return value

    def sequence(self, name: str) -> list[JsonValue] | None:
        value = self._given.get(name)
        assert value is None or isinstance(value, list)
        return value

    def value(self, name: str) -> JsonValue:
        return self._given.get(name)


@dataclass(frozen=True, slots=True)
class Shape:
    """A closed set of fields. What is not declared is refused by name, so that no misspelt field is ignored."""

    about: str
    fields: Mapping[str, Field]
    example: JsonObject = field(default_factory=dict)

    def read(self, body: JsonValue) -> Fields:
        """The fields of a body. Raises ``InvalidInput`` naming the field."""
        if not isinstance(body, dict):
            raise InvalidInput("The body is an object.")
        self._refuse_others(body)
        body = {name: _exact(self.fields[name], value) for name, value in body.items()}
        for name, declared in self.fields.items():
            _check(name, declared, body.get(name), given=name in body)
        return Fields(
            {name: value for name, value in body.items() if value is not None or self.fields[name].null == "a value"}
        )

    def read_query(self, request: Request) -> Fields:
        """The fields of a query. Raises ``InvalidInput`` naming the field."""
        given = request.query_params.multi_items()
        self._refuse_others(name for name, _ in given)
        values: dict[str, JsonValue] = {}
        for name, text in given:
            if name in values:
                raise InvalidInput(f"{name} is given twice.", field=name)
            values[name] = _from_query(name, self.fields[name], text)
        return Fields(values)

    def _refuse_others(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.fields:
                shown = name if len(name) <= _SHOWN_NAME else f"{name[:_SHOWN_NAME]}..."
                allowed = ", ".join(self.fields) or "none"
                raise InvalidInput(f"There is no field {shown!r} here; there are: {allowed}.", field=shown)

    def schema(self) -> JsonObject:
        """The shape as JSON Schema."""
        shown: JsonObject = {
            "type": "object",
            "description": self.about,
            "properties": {name: declared.schema() for name, declared in self.fields.items()},
            "additionalProperties": False,
        }
        if required := [name for name, declared in self.fields.items() if declared.required]:
            shown["required"] = [*required]
        if self.example:
            shown["examples"] = [self.example]
        return shown

    def parameters(self) -> list[JsonValue]:
        """The shape as the query parameters of an OpenAPI operation."""
        return [
            {"name": name, "in": "query", "required": declared.required, "schema": _in_query(declared)}
            for name, declared in self.fields.items()
        ]


_KINDS: dict[Kind, tuple[type, str]] = {
    "string": (str, "a text"),
    "integer": (int, "a whole number"),
    "boolean": (bool, "true or false"),
    "object": (dict, "an object"),
    "array": (list, "a list"),
}


def _exact(declared: Field, value: JsonValue) -> JsonValue:
    """To JSON Schema, and to many a client, 2.0 is an integer too."""
    return int(value) if "integer" in declared.kinds and isinstance(value, float) and value.is_integer() else value


def _check(name: str, declared: Field, value: JsonValue, *, given: bool) -> None:
    if value is None:
        if declared.required:
            raise InvalidInput(f"{name} is missing.", field=name)
        if not given or declared.null != "refused":
            return
    wanted = [_KINDS[kind] for kind in declared.kinds]
    if not any(type(value) is kind for kind, _ in wanted):  # a boolean is no integer
        raise InvalidInput(f"{name} is {' or '.join(words for _, words in wanted)}.", field=name)


def _in_query(declared: Field) -> JsonObject:
    schema = declared.schema(nullable=False)
    return schema if declared.kinds != ("string",) or "enum" in schema else {"maxLength": limits.KEY_CHARS} | schema


def _from_query(name: str, declared: Field, text: str) -> JsonValue:
    [kind] = declared.kinds
    if kind == "integer":
        if not _INTEGER.fullmatch(text):
            raise InvalidInput(f"{name} is a whole number.", field=name)
        return int(text)
    if kind == "boolean":
        if text not in _BOOLEANS:
            raise InvalidInput(f"{name} is true or false.", field=name)
        return _BOOLEANS[text]
    if len(text) > limits.KEY_CHARS:
        raise InvalidInput(f"{name} is longer than {limits.KEY_CHARS} characters.", field=name)
    return text
