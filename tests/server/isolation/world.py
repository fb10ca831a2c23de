"""Users with something to hide, and everybody who may ask for it, for each way to know users."""

from __future__ import annotations

import random
import string
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID, uuid4

import jwt
from fastapi import FastAPI
from pydantic import SecretStr

from keepsay import Keepsay, UserScope, assistant
from keepsay.library.ids import key_for, new_conversation_id
from keepsay.model.allowance import Allowance
from keepsay.model.cursor import Position, decode_cursor, encode_cursor
from keepsay.model.ids import ConversationId, message_id, run_id_of
from keepsay.model.json_text import JsonObject
from keepsay.model.messages import NewMessage
from keepsay.server import Settings, create_app
from keepsay.server.agents import AgentContext
from keepsay.server.settings import AuthName, JwtSettings

from .probes import Kind

__all__ = [
    "ALLOWANCE",
    "AUTHS",
    "SETTINGS",
    "Asker",
    "Things",
    "World",
    "absent",
    "answer",
    "furnish",
    "furnish_owner",
    "make_world",
]

AUTHS: tuple[AuthName, ...] = ("dev", "service", "jwt")

Asker = Literal["owner", "other", "operator", "anonymous"]

_SERVICE_KEY, _OPERATOR_KEY, _JWT_SECRET = "s" * 40, "o" * 40, "j" * 40
_ISSUER, _AUDIENCE = "https://issuer.example/", "https://keepsay.example/"
ALLOWANCE = Allowance(per_day=3)
SETTINGS = {
    "dev": Settings(operators=True, allowance=ALLOWANCE),
    "service": Settings(
        auth="service",
        service_keys=(SecretStr(_SERVICE_KEY),),
        operators=True,
        allowance=ALLOWANCE,
        operator_keys=(SecretStr(_OPERATOR_KEY),),
    ),
    "jwt": Settings(
        auth="jwt",
        operators=True,
        allowance=ALLOWANCE,
        jwt=JwtSettings(issuer=_ISSUER, audience=_AUDIENCE, key=SecretStr(_JWT_SECRET), algorithms=("HS256",)),
    ),
}


@dataclass(frozen=True)
class Things:
    """What a user has: one id of each kind, and every text by which it would be known in somebody else's answer."""

    user: str
    ids: Mapping[Kind, str]
    deleted: Mapping[Kind, str]
    """Ids of what the user had and has deleted."""
    words: tuple[str, ...]

    @property
    def secrets(self) -> frozenset[str]:
        named = {value for kind, value in self.ids.items() if kind not in ("version", "log cursor")}
        return frozenset({self.user, *self.words, *named})


@dataclass(frozen=True)
class World:
    """An app, and the owner of what others must not see."""

    auth: AuthName
    app: FastAPI
    keepsay: Keepsay
    owner: Things
    _spare: list[Things] = field(default_factory=list)

    async def somebody(self) -> Things:
        """A user who has one of everything, as it was made."""
        return self._spare.pop() if self._spare else await furnish(self.keepsay)

    def keep(self, things: Things) -> None:
        """Nothing of theirs has changed: the next may be them."""
        self._spare.append(things)

    def headers(self, asker: Asker, user: str) -> dict[str, str]:
        """Who asks, as this way to know users has it."""
        if asker == "anonymous":
            return {}
        is_operator = asker == "operator"
        if self.auth == "jwt":
            return {"Authorization": f"Bearer {_token(user, is_operator=is_operator)}"}
        if self.auth == "service":
            key = _OPERATOR_KEY if is_operator else _SERVICE_KEY
            return {"Authorization": f"Bearer {key}", "X-Keepsay-User": user}
        return {"X-Keepsay-User": user} | ({"X-Keepsay-Operator": "true"} if is_operator else {})

    async def all_of_the_owners(self) -> list[object]:
        """Everything that the owner has, to see that nobody has touched it."""
        user = self.keepsay.user(self.owner.user)
        listed = await user.list()
        windows = [(await user.window(found.id)).to_openai_chat() for found in listed.items]
        return [*listed.items, *windows, *[line async for line in user.export() if line.get("type") != "end"]]


def answer(messages: list[JsonObject], context: AgentContext) -> str:
    """An agent that says to whom it was told it speaks."""
    return f"I see you, {context.user_id}"


async def make_world(keepsay: Keepsay, auth: AuthName) -> World:
    app = create_app(keepsay, agent=answer, settings=SETTINGS[auth])
    return World(auth, app, keepsay, await furnish_owner(keepsay))


def _token(user: str, *, is_operator: bool) -> str:
    now = int(time.time())
    claims = {"iss": _ISSUER, "aud": _AUDIENCE, "sub": user, "iat": now - 10, "exp": now + 600}
    return jwt.encode(claims | ({"scope": "keepsay:operator"} if is_operator else {}), _JWT_SECRET, "HS256")


def _word(what: str) -> str:
    """A text that stands nowhere else. Letters alone, so that all are estimated at the same number of tokens."""
    return f"{what}-{''.join(random.choices(string.ascii_lowercase, k=24))}"


async def furnish(keepsay: Keepsay) -> Things:
    """A new user who has one of everything."""
    name, key, client, external = (_word(what) for what in ("user", "key", "client", "external"))
    title, prompt, said, note, error = words = tuple(
        _word(what) for what in ("title", "prompt", "said", "note", "error")
    )
    user = keepsay.user(name)
    deleted = await _deleted(user)
    conversation = await user.create(
        title=title, system_prompt=prompt, metadata={"note": note}, external_key=external, key=key
    )
    said_with_id = NewMessage({"role": "user", "content": said}, client_id=client)
    await user.append(conversation.id, said_with_id, {"role": "assistant", "content": said}, key=key)
    run = await _failed_run(user, conversation.id, said, key, error)
    shown = await user.get(conversation.id)
    ids: dict[Kind, str] = {
        "user": name,
        "conversation": str(conversation.id),
        "message": str(message_id(conversation.id, 2)),
        "run": str(run),
        "key": key,
        "client id": client,
        "external key": external,
        "version": f'"{shown.version}"',
        "cursor": encode_cursor(Position(shown.updated_at, shown.id)),
        "log cursor": str(shown.head),
    }
    return Things(name, ids, deleted, words)


async def furnish_owner(keepsay: Keepsay) -> Things:
    """The same, with the key used wherever keys are, and another version than everybody else's."""
    things = await furnish(keepsay)
    user = keepsay.user(things.user)
    for purpose in ("chat", "session"):
        await user.create(title=things.words[0], messages=[things.words[2]], key=key_for(purpose, things.ids["key"]))
    changed = await user.update(things.ids["conversation"], status="active")
    return replace(things, ids={**things.ids, "version": f'"{changed.version}"'})


async def _failed_run(user: UserScope, conversation: ConversationId, said: str, key: str, error: str) -> UUID:
    async with user.run(conversation, said, key=key) as run:
        await run.fail(error)
    return run.id


async def _deleted(user: UserScope) -> dict[Kind, str]:
    conversation = await user.create(messages=["gone"])
    async with user.run(conversation.id) as run:
        await run.finish(assistant("gone"))
    await user.delete(conversation.id)
    return {
        "conversation": str(conversation.id),
        "message": str(message_id(conversation.id, 1)),
        "run": str(run.id),
    }


def absent(like: Things | None = None) -> dict[Kind, str]:
    """Ids of what nobody has, and a place in lists where theirs would stand."""
    conversation = new_conversation_id()
    moment = datetime.now(UTC) if like is None else decode_cursor(like.ids["cursor"]).updated_at
    version = 5 if like is None else int(like.ids["version"].strip('"'))
    return {
        "user": _word("user"),
        "conversation": str(conversation),
        "message": str(message_id(conversation, 2)),
        "run": str(run_id_of(uuid4().int % 2**62)),
        "key": _word("key"),
        "client id": _word("client"),
        "external key": _word("external"),
        "version": f'"{version + 2}"',
        "cursor": encode_cursor(Position(moment, conversation)),
        "log cursor": "998",
    }
