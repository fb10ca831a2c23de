"""A session in one call: JSON in, JSON out. The same job behind ``keepsay session`` and ``POST /api/session``."""

from __future__ import annotations

from uuid import UUID

from keepsay.errors import InvalidInput, KeepsayError
from keepsay.library.client import Keepsay
from keepsay.library.ids import key_for
from keepsay.library.incoming import message_from_json
from keepsay.library.messages import AnyMessage
from keepsay.library.scope import UserScope
from keepsay.model.json_text import JsonObject, JsonValue
from keepsay.model.window import Window

__all__ = ["DEFAULT_MAX_MESSAGES", "session"]

DEFAULT_MAX_MESSAGES = 50

_FIELDS = ("user_id", "session_id", "context", "max_messages")


async def session(keepsay: Keepsay, request: JsonObject, *, key: str | None = None) -> JsonObject:
    """Create a session or go on with one, add what is said, and return the history that a model should see.

    ``request``: ``{user_id, session_id?, context?, max_messages?}``; ``null`` counts as left out. Without a
    ``session_id`` a session is created (role policy ``lenient``). ``context`` is what to add: a text that the user
    said, one message ``{role, content, ...}``, or a list of messages. ``key``: the same request with the same key again
    adds nothing and gives the same session.

    Returns ``{session_id, context_history, created, head, truncated}``. ``context_history`` holds the newest
    ``max_messages`` (50) messages, oldest first, as ``{role, content, ...}``, the system message before them; a tool
    call is never apart from its results. ``truncated``: older ones were left out. The storage keeps everything.

    Raises ``InvalidInput`` naming the field, ``NotFound`` for an unknown or another user's session, ``RoleOrderError``.
    """
    _refuse_others(request)
    user = keepsay.user(_user_id(request))
    wanted = _session_id(request)
    messages = _messages(request)
    window = _window(request)
    session_id: UUID
    if wanted is None:
        session_id = (await user.create(role_policy="lenient", messages=messages, key=_key(key))).id
    else:
        session_id = wanted
        if messages:
            await user.append(session_id, *messages, key=_key(key))
    history = await _history(user, session_id, window, wrote=wanted is None or bool(messages))
    return {"session_id": str(session_id), "created": wanted is None, **history}


def _key(key: str | None) -> str | None:
    return None if key is None else key_for("session", key)


async def _history(user: UserScope, session_id: UUID, window: Window, *, wrote: bool) -> JsonObject:
    try:
        seen = await user.window(session_id, window)
    except KeepsayError as error:
        if wrote:
            error.outcome = "unknown"  # reading failed; what was written before it stays
        raise
    return {"context_history": [*seen.to_openai_chat()], "head": seen.head, "truncated": seen.truncated}


def _refuse_others(request: JsonObject) -> None:
    if not isinstance(request, dict):
        raise InvalidInput("The request is an object.")
    for name in request:
        if name not in _FIELDS:
            raise InvalidInput(
                f"There is no field {name[:80]!r} here; there are: {', '.join(_FIELDS)}.", field=name[:80]
            )


def _user_id(request: JsonObject) -> str:
    user_id = request.get("user_id")
    if not isinstance(user_id, str):
        raise InvalidInput("user_id is a text, and must be given.", field="user_id")
    return user_id


def _session_id(request: JsonObject) -> UUID | None:
    """The id if one is given: a UUID in its usual spelling, for anything else cannot be one that was given out."""
    session_id = request.get("session_id")
    if session_id is None:
        return None
    try:
        found = UUID(session_id) if isinstance(session_id, str) else None
    except ValueError:
        found = None
    if found is None or str(found) != session_id:
        raise InvalidInput(
            "session_id is a UUID as keepsay gave it out; leave it out for a new one.", field="session_id"
        )
    return found


def _messages(request: JsonObject) -> list[AnyMessage]:
    context = request.get("context")
    if context is None:
        return []
    messages = [_message(part) for part in (context if isinstance(context, list) else [context])]
    if not messages:
        raise InvalidInput("context holds no message; leave it out to read alone.", field="context")
    return messages


def _message(value: JsonValue) -> AnyMessage:
    if isinstance(value, dict):
        return message_from_json(value, field="context")
    if isinstance(value, str) and value.strip():
        return value
    raise InvalidInput("context is a text, a message {role, content} or a list of them, not blank.", field="context")


def _window(request: JsonObject) -> Window:
    limit = request.get("max_messages")
    if limit is not None and type(limit) is not int:
        raise InvalidInput("max_messages is a whole number.", field="max_messages")
    return Window(max_messages=DEFAULT_MAX_MESSAGES if limit is None else limit)
