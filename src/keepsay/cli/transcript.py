"""Conversations as a person reads them in a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from keepsay.cli.screen import Colour, paint, printable, say, shown_time
from keepsay.model.conversation import Conversation
from keepsay.model.json_text import JsonObject, JsonValue, write_json
from keepsay.model.messages import Message, MessageStatus, Role
from keepsay.model.window import Explanation, ModelWindow

__all__ = ["say_facts", "say_message", "say_window"]

_COLOURS: dict[Role, Colour] = {
    Role.SYSTEM: "dim",
    Role.USER: "cyan",
    Role.ASSISTANT: "green",
    Role.TOOL: "yellow",
    Role.OTHER: "dim",
}


def say_facts(conversation: Conversation) -> None:
    """The conversation without its messages; what is not set is left out."""
    say(paint(printable(conversation.title or "(no title)"), "bold"))
    facts = {
        "id": str(conversation.id),
        "user": conversation.user_id,
        "status": f"{conversation.status.text}, {conversation.role_policy.text} role order",
        "messages": f"{conversation.message_count} (head {conversation.head}, version {conversation.version})",
        "created": shown_time(conversation.created_at),
        "last activity": shown_time(conversation.updated_at),
        "external key": conversation.external_key,
        "run under way": conversation.active_run and str(conversation.active_run),
        "metadata": write_json(conversation.metadata) if conversation.metadata else None,
    }
    for name, fact in facts.items():
        if fact:
            say(f"  {name:<14} {printable(fact)}")
    say()


def say_message(message: Message) -> None:
    """A line of who and when, then what was said, indented."""
    marks = [*([] if message.status is MessageStatus.COMPLETE else [message.status.text])]
    marks += ["rewound"] if message.hidden else []
    marks += [f"answers {message.tool_call_id}"] if message.tool_call_id else []
    say(
        f"{paint(f'#{message.seq} {message.role.text}', _COLOURS[message.role])}"
        f"  {paint(shown_time(message.created_at), 'dim')}{''.join(f'  [{printable(mark)}]' for mark in marks)}"
    )
    for part in _parts(message):
        for line in part.split("\n"):
            say(f"    {printable(line.removesuffix(chr(13)), keep=chr(9))}".rstrip())
    say()


def _parts(message: Message) -> Iterator[str]:
    if message.status is MessageStatus.DELETED:
        yield "(deleted)"
        return
    yield from _content(message.content)
    yield from _calls(message.tool_calls)
    if message.content is None and not message.tool_calls:  # a format that this knows nothing of
        yield write_json(message.payload)


def _content(content: JsonValue) -> Iterator[str]:
    if isinstance(content, list):
        for part in content:
            yield from _content(part)
    elif isinstance(content, dict):
        text = content.get("text", content.get("refusal"))
        yield text if isinstance(text, str) else f"[{content.get('type', 'part')}]"
    elif content is not None:
        yield content if isinstance(content, str) else write_json(content)


def _calls(calls: JsonValue) -> Iterator[str]:
    for call in calls if isinstance(calls, list) else []:
        if isinstance(call, dict):
            function = call.get("function")
            named: JsonObject = function if isinstance(function, dict) else call
            yield f"-> {named.get('name')}({named.get('arguments', '')})  {call.get('id')}"


def say_window(window: ModelWindow) -> None:
    """What the model would see, then for every message why it is in or out."""
    limits = [*(["older messages are left out"] if window.truncated else [])]
    limits += [] if window.fits else ["the newest turn alone is over the limits"]
    count = "1 message" if len(window.messages) == 1 else f"{len(window.messages)} messages"
    say(f"The model would see {count}, about {window.tokens} tokens; {_joined(limits)}.\n")
    for line in map(_explained, window.explain):
        say(line)
    say()
    if window.system_prompt is not None:
        say(paint("system prompt", "dim"))
        _say_indented("\n".join(_content(window.system_prompt)))
    if window.summary is not None:
        say(paint(f"summary of #1-#{window.summary.to_seq}", "dim"))
        _say_indented(window.summary.text)
    for message in window.messages:
        say_message(message)


def _joined(limits: list[str]) -> str:
    return ", ".join(limits) or "nothing is left out for the limits' sake"


def _say_indented(text: str) -> None:
    for line in text.split("\n"):
        say(f"    {printable(line, keep=chr(9))}".rstrip())
    say()


def _explained(each: Explanation) -> str:
    seqs = f"#{each.first_seq}" if each.first_seq == each.last_seq else f"#{each.first_seq}-#{each.last_seq}"
    verdict = paint("in ", "green") if each.included else paint("out", "yellow")
    return f"  {verdict}  {seqs:<12} {each.reason.replace('_', ' ')}"
