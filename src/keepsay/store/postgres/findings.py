"""A finding of `keepsay doctor`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from keepsay.model.json_text import JsonObject, JsonValue

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: how it is, and what mends it if it is not well."""

    name: str
    level: Level
    found: str
    mend: str | None = None
    facts: Mapping[str, JsonValue] = field(default_factory=dict)

    def to_dict(self) -> JsonObject:
        return {
            "name": self.name,
            "level": self.level,
            "found": self.found,
            "mend": self.mend,
            "facts": dict(self.facts),
        }
