"""Conditional requests: a conversation's version as its ``ETag``, asked for in ``If-Match`` and ``If-None-Match``."""

from __future__ import annotations

import re

from starlette.requests import Request

from keepsay.errors import InvalidInput
from keepsay.model.conversation import Conversation
from keepsay.server.auth import header_text

__all__ = ["etag", "expected_version", "is_known"]

_ETAG = re.compile(r'"([0-9]{1,9})"')
_LISTED = re.compile(r'(?:W/)?("[^"]*")')


def etag(conversation: Conversation) -> str:
    """The version as an ``ETag``."""
    return f'"{conversation.version}"'


def expected_version(request: Request) -> int | None:
    """The version in ``If-Match``; none for ``*``, which any conversation that is there matches.

    Raises ``InvalidInput`` for what is no ETag that keepsay gives out.
    """
    tag = header_text(request.headers, "If-Match")
    if tag is None or tag == "*":
        return None
    found = _ETAG.fullmatch(tag)
    if found is None:
        raise InvalidInput('If-Match is one ETag of a conversation, such as "3", or *.', field="If-Match")
    return int(found[1])


def is_known(request: Request, conversation: Conversation) -> bool:
    """Whether ``If-None-Match`` says that the client has this version; what is no ETag just matches none."""
    tags = ",".join(request.headers.getlist("If-None-Match"))
    return tags.strip() == "*" or etag(conversation) in _LISTED.findall(tags)
