"""Another instance of an application, for ``test_requirements``: a process of its own on the same database.

Run as ``talker.py TASK ARGUMENTS`` (JSON). ``turns``: say ``ready``, wait for a line, answer so many questions, waiting
while the other instance is busy. ``append``: append for ever and say each number that was acknowledged. ``die``: begin
a run, call a tool, and hang.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass

from keepsay import Keepsay, assistant
from keepsay.errors import ConversationBusy
from keepsay.library.scope import UserScope
from keepsay.model.json_text import JsonObject


@dataclass(frozen=True, slots=True)
class Arguments:
    url: str
    user: str
    conversation: str
    name: str = "talker"
    turns: int = 0
    lease: float = 30.0


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def turns(user: UserScope, given: Arguments) -> None:
    await user.get(given.conversation)
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    for turn in range(given.turns):
        done = False
        while not done:
            done = await _one_turn(user, given, turn)
    say("done")


async def _one_turn(user: UserScope, given: Arguments, turn: int) -> bool:
    try:
        async with user.run(given.conversation, f"{given.name} asks {turn}", key=f"{given.name}/{turn}") as run:
            await run.finish(assistant(f"answer to {given.name} {turn}"))
    except ConversationBusy as busy:
        await asyncio.sleep(min(busy.retry_after, 0.005))
        return False
    return True


async def append(user: UserScope, given: Arguments) -> None:
    number = 0
    while True:
        await user.append(given.conversation, f"{given.name} {number}")
        say(str(number))
        number += 1


async def die(user: UserScope, given: Arguments) -> None:
    async with user.run(given.conversation, "Where is it?", key="request", lease=given.lease) as run:
        call: JsonObject = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        await run.append({"role": "assistant", "content": None, "tool_calls": [call]})
        say("called")
        await asyncio.Event().wait()


TASKS = {"turns": turns, "append": append, "die": die}


async def main(task: str, given: Arguments) -> None:
    async with Keepsay(given.url) as keepsay:
        await TASKS[task](keepsay.user(given.user), given)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Arguments(**json.loads(sys.argv[2]))))
