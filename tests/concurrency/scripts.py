"""What each agent of the simulation does, and which fault befalls it: drawn from the seed before anything runs."""

from __future__ import annotations

import random
from dataclasses import dataclass

from keepsay.model.json_text import JsonValue
from keepsay.model.messages import NewMessage
from keepsay.store.protocol import OnBusy

__all__ = ["CRASHES", "INTERRUPTS", "PAUSES", "Script", "draw_script", "moves_of", "question"]

CRASHES = 0.20
PAUSES = 0.20
INTERRUPTS = 0.15
FAILURES = 0.06
REPEATS = 0.08
"""The share of moves that are sent again, as by a client that missed the answer."""

Move = tuple[NewMessage, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """One run to be: the calls of each step, and what goes wrong at which move."""

    number: int
    conversation: int
    wish: float
    """0..1: whether to take a new question, one left unfinished, or one that was answered."""
    steps: tuple[int, ...]
    """Of each step the number of parallel calls."""
    results_together: bool
    on_busy: OnBusy
    lease: float
    window: int
    fails: bool
    crash_at: int | None
    vanishes_after: float | None
    """Seconds into the call of the crash after which its sender is gone; ``None``: it never sent it."""
    pause_at: int | None
    pause: float
    repeats: frozenset[int]


def draw_script(seed: int, number: int, conversations: int) -> Script:
    draw = random.Random(f"{seed}/{number}")
    steps = tuple(draw.randint(1, 3) for _ in range(draw.choice([0, 1, 1, 2, 3])))
    fault, lease = draw.random(), draw.uniform(0.05, 0.1)
    last = 2 * len(steps) + 1
    return Script(
        number=number,
        conversation=draw.randrange(conversations),
        wish=draw.random(),
        steps=steps,
        results_together=draw.random() < 0.5,
        on_busy="interrupt" if draw.random() < INTERRUPTS else "reject",
        lease=lease,
        window=draw.randint(4, 40),
        fails=draw.random() < FAILURES,
        crash_at=draw.randint(0, last) if fault < CRASHES else None,
        vanishes_after=draw.uniform(0, 0.008) if draw.random() < 0.4 else None,
        pause_at=draw.randint(1, last) if CRASHES <= fault < CRASHES + PAUSES else None,
        pause=lease * draw.uniform(1.1, 2.5),
        repeats=frozenset(at for at in range(last + 1) if draw.random() < REPEATS),
    )


def question(tag: str) -> NewMessage:
    return NewMessage({"role": "user", "content": tag})


def moves_of(script: Script) -> list[Move]:
    """What the agent says after the question, write by write; every text is one that nobody else says.

    Call ids come again in every step: only the log's order tells which call a result answers.
    """
    moves: list[Move] = []
    for step, calls in enumerate(script.steps):
        tag = f"r{script.number}.s{step}"
        moves.append((_calls(tag, calls),))
        results = tuple(_result(tag, call) for call in reversed(range(calls)))
        moves += [results] if script.results_together else [(result,) for result in results]
    return [*moves, (NewMessage({"role": "assistant", "content": f"r{script.number}.answer"}),)]


def _calls(tag: str, count: int) -> NewMessage:
    calls: list[JsonValue] = [
        {"id": f"call_{n}", "type": "function", "function": {"name": "look", "arguments": "{}"}} for n in range(count)
    ]
    return NewMessage({"role": "assistant", "content": f"{tag}.calls", "tool_calls": calls})


def _result(tag: str, call: int) -> NewMessage:
    return NewMessage({"role": "tool", "tool_call_id": f"call_{call}", "content": f"{tag}.result{call}"})
