"""Every verb of the library, as its user and as somebody else: those that no route asks for, too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from keepsay import Keepsay, assistant
from keepsay.library.scope import UserScope

from .world import Things, furnish

__all__ = ["VERBS", "check_verbs"]

Verb = Callable[[UserScope, str, str], Awaitable[object]]


async def _append_in_a_run(user: UserScope, conversation: str) -> None:
    async with user.run(conversation, "Hello") as run:
        await run.append(assistant("Hi"))
        await run.heartbeat()
        await run.finish()


VERBS: dict[str, Verb] = {
    "get": lambda user, at, run: user.get(at),
    "load": lambda user, at, run: user.load(at),
    "load_or_create": lambda user, at, run: user.load_or_create(at),
    "window": lambda user, at, run: user.window(at),
    "status": lambda user, at, run: user.status(at),
    "messages": lambda user, at, run: user.messages(at),
    "update": lambda user, at, run: user.update(at, title="Mine"),
    "update nothing": lambda user, at, run: user.update(at),
    "append": lambda user, at, run: user.append(at, "Hello"),
    "summarise": lambda user, at, run: user.summarise(at, 2, "They met."),
    "fork": lambda user, at, run: user.fork(at),
    "fork_or_get": lambda user, at, run: user.fork_or_get(at),
    "rewind": lambda user, at, run: user.rewind(at, 2),
    "run": lambda user, at, run: _append_in_a_run(user, at),
    "get_run": lambda user, at, run: user.get_run(at, run),
    "cancel_run": lambda user, at, run: user.cancel_run(at, run),
    "delete_message": lambda user, at, run: user.delete_message(at, 2),
    "delete": lambda user, at, run: user.delete(at),
}


async def check_verbs(keepsay: Keepsay, sound: Keepsay, owner: Things) -> None:
    """With one's own it works, and what is there afterwards says so; ``sound`` furnishes. Raises what went wrong."""
    for verb in VERBS.values():
        mine = await furnish(sound)
        await verb(keepsay.user(mine.user), mine.ids["conversation"], mine.ids["run"])
    mine = await furnish(sound)
    user = keepsay.user(mine.user)
    assert user.user_id == mine.user
    made = await user.create(title="Mine", key="once")
    assert made == await sound.user(mine.user).create(title="Mine", key="once"), "keys are the user's"
    assert [found.user_id for found in (await user.list()).items] == [mine.user] * 2
    exported = [line async for line in user.export()]
    assert mine.words[2] in str(exported)
    assert owner.user not in str(exported)
    await user.erase()
    assert (await sound.user(mine.user).list()).items == ()
