"""Faults planted in the installed SQL functions of a database copy: each a documented change of the function's text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keepsay.testing.postgres import Database

from .ground import looking_in

__all__ = ["MUTANTS", "Mutant", "plant"]

_LOCK = "    c := keepsay.lock_conversation(p_user_key, p_conversation_id);\n"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change to one function: ``old`` stands in its text exactly once and becomes ``new``."""

    name: str
    function: str
    old: str
    new: str


NO_FENCE = Mutant(
    "no fence",
    "hold_for_append",
    "IF c.active_run IS DISTINCT FROM p_run_id OR c.fence <> p_fence THEN",
    "IF false THEN",
)
KEY_BEFORE_LOCK = Mutant(
    "key looked up before the lock",
    "append_v1",
    "    IF FOUND THEN\n        IF NOT replayed THEN",
    "    c := keepsay.lock_conversation(p_user_key, p_conversation_id);\n"
    "    IF first_seq IS NOT NULL THEN\n        IF NOT replayed THEN",
)
NO_LOCK = Mutant("no lock", "lock_conversation", "    FOR UPDATE;", "    ;")
ORDER_NOT_CHECKED = Mutant(
    "order not checked",
    "put_messages",
    "IF p.allowed[c.role_policy + 1] & (1 << c.state) = 0 THEN",
    "IF false THEN",
)
CALLS_NOT_CLOSED = Mutant(
    "calls not closed",
    "close_run",
    "    IF c.open_calls <> '{}' THEN",
    "    c.open_calls := '{}';\n    IF false THEN",
)
ALLOWANCE_NOT_LOCKED = Mutant("allowance read and written without a lock", "charge", "    FOR UPDATE;", "    ;")
USER_NOT_LOCKED_FIRST = Mutant(
    "user locked after the conversation",
    "begin_within_v1",
    "IF NOT EXISTS (SELECT FROM keepsay.allowances a WHERE a.user_key = p_user_key) THEN",
    "IF false THEN",
)
MUTANTS = (
    NO_FENCE,
    KEY_BEFORE_LOCK,
    NO_LOCK,
    ORDER_NOT_CHECKED,
    CALLS_NOT_CLOSED,
    ALLOWANCE_NOT_LOCKED,
    USER_NOT_LOCKED_FIRST,
)


async def plant(database: Database, mutant: Mutant) -> None:
    """Replace the function by its mutant; its owner and who may call it stay."""
    async with looking_in(database) as connection:
        text = await _definition(connection, mutant.function)
        if mutant is KEY_BEFORE_LOCK:  # the lock moves down to where the mutant takes it
            assert text.count(_LOCK) == 1
            text = text.replace(_LOCK, "")
        assert text.count(mutant.old) == 1, f"{mutant.function} no longer holds the text of the mutant {mutant.name!r}"
        await connection.execute(text.replace(mutant.old, mutant.new))


async def _definition(connection: Any, function: str) -> str:
    text: str = await connection.fetchval(
        "SELECT pg_get_functiondef(p.oid) FROM pg_proc p "
        "WHERE p.pronamespace = 'keepsay'::regnamespace AND p.proname = $1",
        function,
    )
    return text
