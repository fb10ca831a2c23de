"""``keepsay session``: load a session's state, or make one, for a server that keeps none of its own."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from keepsay.cli.exits import ExitCode, run
from keepsay.cli.place import Place, on_database
from keepsay.cli.screen import note, say
from keepsay.errors import InvalidInput, TooLarge
from keepsay.model import limits
from keepsay.model.json_text import JsonObject, parse_json, write_json

__all__ = ["session"]


@on_database()
def session(
    place: Place,
    *,
    key: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Idempotency key: the same request with it again adds nothing.")
    ] = None,
) -> None:
    """Load or make a session: JSON on stdin, JSON on stdout.

    \b
      in   {"user_id": "u_42", "session_id": "...", "context": ..., "max_messages": 20}
      out  {"session_id": "...", "context_history": [...], "created": false, "head": 4, "truncated": false}

    Without session_id a session is made. context is what to add: a text, a message, or a list of them. An error is
    printed as {"error": {"code": ..., "message": ...}} on stdout and as a line on stderr; the exit code says its kind.
    """
    run(_session(place, key), json=True)


async def _session(place: Place, key: str | None) -> ExitCode:
    from keepsay.session import session as answer

    request = _read_request()
    async with place.open() as ks:
        say(write_json(await answer(ks, request, key=key)))
    return ExitCode.OK


def _read_request() -> JsonObject:
    if sys.stdin.isatty():
        note("Type the request as JSON, then Ctrl-D.")
    text = sys.stdin.buffer.read(limits.BODY_BYTES + 1)
    if len(text) > limits.BODY_BYTES:
        raise TooLarge("The request", size=len(text), limit=limits.BODY_BYTES, unit="bytes or more")
    request = parse_json(text)
    if not isinstance(request, dict):
        raise InvalidInput("The request is a JSON object.")
    return request
