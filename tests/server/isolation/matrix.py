"""One question about somebody else's things, and what may be learnt from its answer: nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .asking import Reply, send
from .probes import NAMES_A_THING, Choice, Operation, Place
from .world import Asker, World, absent

__all__ = ["ASKERS", "Cell", "cells", "check_anonymous", "check_cell", "check_owner"]

ASKERS: tuple[Asker, ...] = ("other", "operator")

FOR_OPERATORS = frozenset({"eraseUser", "exportUser", "listUsers"})
"""What operators may do with whatever user they name."""

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00")


@dataclass(frozen=True)
class Cell:
    """Who asks what, with whose ids in its places."""

    operation: Operation
    asker: Asker
    choice: Choice

    @property
    def name(self) -> str:
        chosen = ", ".join(f"{place.name} in the {place.where} {whose}" for place, whose in self.choice.items())
        return f"{self.asker}: {self.operation.name} with {chosen or 'nothing'}"

    @property
    def reaches_for(self) -> list[Place]:
        """The places where another's id stands."""
        return [place for place, whose in self.choice.items() if whose == "theirs"]

    @property
    def must_be_absent(self) -> bool:
        """Whether the one thing that is another's must look as if it were not there."""
        return len(self.reaches_for) == 1 and self.reaches_for[0].kind in NAMES_A_THING and self.reaches_for[0].required


def cells(world: World, operation: Operation, asker: Asker) -> Iterator[Cell]:
    """Every way to reach for what is another's; operators do not when they may."""
    asked = operation.with_user_header() if world.auth == "jwt" else operation
    for choice in asked.choices():
        cell = Cell(asked, asker, choice)
        if cell.reaches_for and not (asker == "operator" and operation.name in FOR_OPERATORS):
            yield cell


async def check_cell(world: World, cell: Cell) -> None:
    """Another's, an absent and a deleted thing give the same answer, and none that holds what is the owner's.

    Raises ``AssertionError``.
    """
    nobodys = absent(world.owner)
    theirs, missing, deleted = [
        await _ask(world, cell, ids) for ids in (world.owner.ids, nobodys, None if _deletes(cell) else nobodys)
    ]
    assert not theirs.leaks, f"{cell.name}: {theirs.leaks}"
    for other in (missing, deleted):
        assert theirs.as_seen == other.as_seen, cell.name
    if cell.must_be_absent:
        assert theirs.reply.status == 404, cell.name


def _deletes(cell: Cell) -> bool:
    return all(place.kind in ("conversation", "message", "run") for place in cell.reaches_for)


@dataclass(frozen=True)
class _Asked:
    """An answer, with what was said to get it."""

    reply: Reply
    sent: frozenset[str]
    leaks: list[str]

    @property
    def as_seen(self) -> object:
        """All of it if it is a refusal of what is not there; else all but new ids, times, and what the asker said."""
        if self.reply.status == 404:
            return self.reply
        headers = [(name, _masked(value.decode(), self.sent)) for name, value in self.reply.headers]
        return self.reply.status, headers, [_masked(line, self.sent) for line in _values(self.reply.content)]


async def _ask(world: World, cell: Cell, theirs: Mapping[Any, str] | None) -> _Asked:
    """Ask as somebody who has things of their own, with these ids in the places of others'; ``None``: own, deleted."""
    mine = await world.somebody()
    reached = mine.deleted if theirs is None else theirs
    ids = {place: (mine.ids if whose == "mine" else reached)[place.kind] for place, whose in cell.choice.items()}
    request = cell.operation.request(ids, world.headers(cell.asker, mine.user))
    reply = await send(world.app, request)
    if reply.status >= 400 or request.method in ("GET", "HEAD"):
        world.keep(mine)
    sent = frozenset(ids.values()) | {value.strip('"') for value in ids.values()} | mine.secrets
    return _Asked(reply, sent, _leaks(world, sent, reply))


def _leaks(world: World, sent: frozenset[str], reply: Reply) -> list[str]:
    """What is the owner's in an answer to somebody else who has not said it."""
    return sorted(secret for secret in world.owner.secrets - sent if secret in reply.text)


def _values(content: bytes) -> list[str]:
    """Every line of an answer, as JSON with one value a line."""
    lines = [json.loads(line) for line in content.splitlines()]
    return [line for value in lines for line in json.dumps(value, indent=0).splitlines()]


def _masked(text: str, sent: frozenset[str]) -> str:
    for said in sent:
        text = re.sub(rf"(?<![\w.]){re.escape(said)}(?![\w.])", "...", text)
    return _TIME.sub("a time", _UUID.sub("an id", text))


async def check_owner(world: World, operation: Operation) -> None:
    """With one's own ids it works: what the matrix refuses, it refuses for whose they are."""
    for choice in operation.choices():
        if all(whose == "mine" for whose in choice.values()):
            mine = await world.somebody()
            ids = {place: mine.ids[place.kind] for place in choice}
            asker: Asker = "operator" if operation.scope == "operator" else "owner"
            reply = await send(world.app, operation.request(ids, world.headers(asker, mine.user)))
            assert _is_good(operation, reply), f"{operation.name} with {sorted(p.name for p in choice)}: {reply.text}"
            assert operation.scope == "operator" or not _leaks(world, frozenset(), reply), operation.name
            if operation.method in ("GET", "HEAD"):
                world.keep(mine)


def _is_good(operation: Operation, reply: Reply) -> bool:
    refused = operation.probe.refused
    return 200 <= reply.status < 300 if refused is None else reply.status == refused


async def check_anonymous(world: World, operation: Operation) -> None:
    """Whatever anybody unknown asks for, the answer is the same."""
    for choice in operation.choices():
        replies = []
        for things in (world.owner.ids, absent(world.owner)):
            ids = {place: things[place.kind] for place in choice}
            replies.append(await send(world.app, operation.request(ids, world.headers("anonymous", ""))))
        assert replies[0] == replies[1]
        assert replies[0].status == 401
