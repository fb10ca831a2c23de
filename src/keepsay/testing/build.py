"""Short ways to say what a store is given, so that a test says only what matters to it.

A message is a line of text, ``"role: words"``, or a ``NewMessage``:

    system: Be brief.     user: Hello     assistant: Hi!     chat messages
    calls: c1 c2                                             an assistant's message with two tool calls
    result: c1                                               the result of one
    call item: c1         result item: c1     reasoning:     items of the Responses format
    answer item: Hi!      unknown: x                         ... and one of a format that nobody knows
"""

from __future__ import annotations

import random
from collections.abc import Callable
from uuid import UUID, uuid4

from keepsay.model.allowance import Allowance
from keepsay.model.conversation import RolePolicy, RunStatus
from keepsay.model.formats import read_facts
from keepsay.model.ids import ConversationId, Key, RunId, UserId, run_id_of
from keepsay.model.json_text import JsonObject, JsonValue, write_json
from keepsay.model.messages import OPENAI_RESPONSES, Facts, Message, MessageStatus, NewMessage, Role
from keepsay.model.order import AppendPlan, PlannedMessage, plan_append
from keepsay.model.window import Window
from keepsay.store.protocol import Append, Begin, Begun, Ending, Finish, NewConversation, OnBusy, Owner, RunHold

__all__ = [
    "ABSENT",
    "append",
    "begin",
    "conversation_id",
    "finish",
    "hold_of",
    "key",
    "message",
    "new_conversation",
    "owner",
    "plan_of",
    "run_id",
    "words_of",
]

LEASE = 60.0
Line = str | NewMessage


def owner(user_id: str | None = None) -> Owner:
    """A user; without a name one that nobody had before."""
    return Owner.of(UserId(user_id or f"user-{uuid4()}"))


def conversation_id() -> ConversationId:
    return ConversationId(uuid4())


def run_id() -> RunId:
    return run_id_of(random.getrandbits(62))


def key() -> UUID:
    return uuid4()


ABSENT = ConversationId(UUID(int=0))
"""The id of a conversation that nobody has."""


def _chat(role: str) -> Callable[[str], NewMessage]:
    return lambda words: NewMessage({"role": role, "content": words})


def _calls(words: str) -> NewMessage:
    calls: list[JsonValue] = [
        {"id": call_id, "type": "function", "function": {"name": "look", "arguments": "{}"}}
        for call_id in words.split()
    ]
    return NewMessage({"role": "assistant", "content": None, "tool_calls": calls})


def _result(words: str) -> NewMessage:
    return NewMessage({"role": "tool", "tool_call_id": words, "content": "found"})


def _item(**payload: JsonValue) -> NewMessage:
    return NewMessage(payload, format=OPENAI_RESPONSES)


_KINDS: dict[str, Callable[[str], NewMessage]] = {
    "system": _chat("system"),
    "user": _chat("user"),
    "assistant": _chat("assistant"),
    "calls": _calls,
    "result": _result,
    "call item": lambda words: _item(type="function_call", call_id=words, name="look", arguments="{}"),
    "result item": lambda words: _item(type="function_call_output", call_id=words, output="found"),
    "answer item": lambda words: _item(type="message", role="assistant", content=words),
    "reasoning": lambda words: _item(type="reasoning", summary=[], words=words),
    "unknown": lambda words: NewMessage({"words": words}, format="unheard.of"),
}


def message(line: Line) -> NewMessage:
    """The message that a line stands for."""
    if isinstance(line, NewMessage):
        return line
    kind, _, words = line.partition(":")
    return _KINDS[kind](words.strip())


def words_of(stored: Message) -> str:
    """The line of a stored message; ``deleted`` and ``interrupted: c1`` for those that nobody appended so."""
    payload: JsonObject = stored.payload
    if stored.status is MessageStatus.DELETED:
        return "deleted"
    if stored.status is MessageStatus.SYNTHETIC:
        return f"interrupted: {stored.tool_call_id}"
    if stored.role is Role.OTHER:
        return f"unknown: {payload['words']}"
    if payload.get("type") == "reasoning":
        return f"reasoning: {payload['words']}"
    kind, words = _kind_and_words(stored)
    return f"{kind} item: {words}" if stored.format == OPENAI_RESPONSES else f"{kind}: {words}"


def _kind_and_words(stored: Message) -> tuple[str, object]:
    if stored.role is Role.TOOL:
        return "result", stored.tool_call_id
    if isinstance(stored.tool_calls, list):
        names = [str(call["id"]) for call in stored.tool_calls if isinstance(call, dict)]
        return ("call" if stored.format == OPENAI_RESPONSES else "calls"), " ".join(names)
    return ("answer" if stored.format == OPENAI_RESPONSES else stored.role.text), stored.content


def plan_of(*lines: Line, answering: bool = False) -> AppendPlan:
    """The plan of a batch, as the library makes it."""
    return plan_append([_planned(message(line)) for line in lines], answering=answering)


def _planned(new: NewMessage) -> tuple[Facts, PlannedMessage]:
    facts = read_facts(dict(new.payload), new.format)
    return facts, PlannedMessage(
        role=facts.role,
        state=facts.state,
        tokens=facts.tokens if new.tokens is None else new.tokens,
        payload=write_json(new.payload),
        format=new.format,
        incomplete=new.status == "incomplete",
        client_id=new.client_id,
        metadata=write_json(new.metadata) if new.metadata else None,
        usage=None if new.usage is None else write_json(new.usage),
    )


def new_conversation(
    role_policy: RolePolicy = RolePolicy.STRICT,
    *,
    id: ConversationId | None = None,  # noqa: A002 - the word of the field
    fingerprint: int = 1,
    title: str | None = None,
    system_prompt: str | None = None,
    external_key: str | None = None,
    metadata: JsonObject | None = None,
) -> NewConversation:
    return NewConversation(
        id=conversation_id() if id is None else id,
        fingerprint=fingerprint,
        role_policy=role_policy,
        title=title,
        system_prompt=system_prompt,
        external_key=None if external_key is None else Key(external_key),
        metadata=metadata,
    )


def append(
    *lines: Line,
    key: UUID | None = None,
    fingerprint: int = 1,
    expected_seq: int | None = None,
    hold: RunHold | None = None,
) -> Append:
    return Append(plan_of(*lines), key or uuid4(), fingerprint, expected_seq, hold)


def begin(
    *lines: Line,
    run_id: RunId | None = None,
    fingerprint: int = 1,
    owner_token: int | None = None,
    lease: float = LEASE,
    on_busy: OnBusy = "reject",
    key: str | None = None,
    expected_seq: int | None = None,
    window: Window | None = None,
    allowance: Allowance | None = None,
) -> Begin:
    return Begin(
        run_id=run_id or run_id_of(random.getrandbits(62)),
        fingerprint=fingerprint,
        owner_token=random.getrandbits(62) if owner_token is None else owner_token,
        plan=plan_of(*lines, answering=True),
        lease=lease,
        on_busy=on_busy,
        key=None if key is None else Key(key),
        expected_seq=expected_seq,
        window=window or Window(),
        allowance=allowance,
    )


def hold_of(begun: Begun, *, lease: float = LEASE) -> RunHold:
    """The right to write that a run got when it began."""
    return RunHold(begun.run.id, begun.run.fence, lease)


def finish(hold: RunHold, *lines: Line, status: Ending = RunStatus.COMPLETED, error: str | None = None) -> Finish:
    return Finish(hold, status, plan_of(*lines), error)
