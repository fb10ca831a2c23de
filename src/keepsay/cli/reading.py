"""``keepsay ls`` and ``keepsay show``."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from keepsay.cli.exits import ExitCode, run
from keepsay.cli.place import Place, on_database
from keepsay.cli.screen import note, printable, say, shown_time, table
from keepsay.model import limits
from keepsay.model.json_text import JsonObject, write_json

__all__ = ["ls", "show"]


class Status(StrEnum):
    ACTIVE = "active"
    ARCHIVED = "archived"


Limit = Annotated[int, typer.Option(metavar="N", min=1, max=limits.PAGE_MAX, help="How many, at most.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@on_database()
def ls(
    place: Place,
    *,
    user: Annotated[
        str | None,
        typer.Option(envvar="KEEPSAY_USER", metavar="ID", help="Whose conversations. Without it: list users."),
    ] = None,
    status: Annotated[Status | None, typer.Option(help="Only those with this status.")] = None,
    limit: Limit = limits.PAGE_DEFAULT,
    cursor: Annotated[str | None, typer.Option(metavar="TEXT", help="Where the last page ended; it says so.")] = None,
    json: Json = False,
) -> None:
    """List a user's conversations, or all users.

    Newest activity first. Without --user: the ids of users, for operators.
    """
    work = _users(place, limit, cursor, json) if user is None else _list(place, user, status, limit, cursor, json)
    run(work, json=json)


async def _users(place: Place, limit: int, cursor: str | None, json: bool) -> ExitCode:
    async with place.open() as ks:
        page = await ks.admin().list_users(limit=limit, cursor=cursor)
    if json:
        _say_page([{"user_id": user} for user in page.items], page.next_cursor)
    else:
        for each in page.items:
            say(printable(each))
        _note_page("users", len(page.items), page.next_cursor)
    return ExitCode.OK


async def _list(place: Place, user: str, status: Status | None, limit: int, cursor: str | None, json: bool) -> ExitCode:
    async with place.open() as ks:
        page = await ks.user(user).list(status=None if status is None else status.value, limit=limit, cursor=cursor)
    if json:
        _say_page([conversation.to_dict() for conversation in page.items], page.next_cursor)
        return ExitCode.OK
    rows = [
        (str(each.id), each.status.text, str(each.head), shown_time(each.updated_at), printable(each.title or "-"))
        for each in page.items
    ]
    if rows:
        table(("ID", "STATUS", "HEAD", "LAST ACTIVITY", "TITLE"), rows)
    _note_page("conversations", len(rows), page.next_cursor)
    return ExitCode.OK


def _say_page(items: Sequence[JsonObject], next_cursor: str | None) -> None:
    say(write_json({"items": list(items), "next_cursor": next_cursor, "has_more": next_cursor is not None}))


def _note_page(what: str, count: int, next_cursor: str | None) -> None:
    if next_cursor is not None:
        note(f"There are more: --cursor {printable(next_cursor)}")
    elif count == 0:
        note(f"There are no {what}.")


@on_database()
def show(
    place: Place,
    conversation: Annotated[str, typer.Argument(metavar="CONVERSATION", help="Its id.")],
    *,
    user: Annotated[str, typer.Option(envvar="KEEPSAY_USER", metavar="ID", help="Whose it is.")],
    after: Annotated[
        int, typer.Option(metavar="SEQ", min=0, max=limits.SEQ_MAX, help="Begin behind this message.")
    ] = 0,
    limit: Limit = limits.PAGE_DEFAULT,
    window: Annotated[
        bool, typer.Option("--window", help="What the model would see instead, and why the rest is left out.")
    ] = False,
    max_messages: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="With --window: the most messages.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(metavar="N", min=1, help="With --window: the most tokens.")] = None,
    json: Json = False,
) -> None:
    """Show a conversation and its messages.

    Control characters are written as \\x1b, so that what a user or a model said cannot drive your terminal.
    """
    if window:
        work = _show_window(place, user, conversation, max_messages, max_tokens, json)
    elif max_messages or max_tokens:
        raise typer.BadParameter("--max-messages and --max-tokens go with --window.")
    else:
        work = _show(place, user, conversation, after, limit, json)
    run(work, json=json)


async def _show(place: Place, user: str, conversation_id: str, after: int, limit: int, json: bool) -> ExitCode:
    from keepsay.cli.transcript import say_facts, say_message

    async with place.open() as ks:
        scope = ks.user(user)
        conversation = await scope.get(conversation_id)
        page = await scope.messages(conversation_id, after=after, limit=limit)
    if json:
        messages: JsonObject = {"items": [message.to_dict() for message in page.items], "has_more": page.has_more}
        say(write_json({"conversation": conversation.to_dict(), "messages": messages}))
        return ExitCode.OK
    say_facts(conversation)
    for message in page.items:
        say_message(message)
    if page.has_more:
        note(f"There are more: --after {page.items[-1].seq}")
    return ExitCode.OK


async def _show_window(
    place: Place, user: str, conversation_id: str, max_messages: int | None, max_tokens: int | None, json: bool
) -> ExitCode:
    from keepsay.cli.transcript import say_facts, say_window
    from keepsay.model.window import Window

    wanted = Window(max_messages or limits.WINDOW_DEFAULT_MESSAGES, max_tokens)
    async with place.open() as ks:
        loaded = await ks.user(user).load(conversation_id, wanted)
    if json:
        window = loaded.window.to_dict(explain=True)
        say(write_json({"conversation": loaded.conversation.to_dict(), "window": window}))
        return ExitCode.OK
    say_facts(loaded.conversation)
    say_window(loaded.window)
    return ExitCode.OK
