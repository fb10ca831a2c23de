"""Who is asking, and whether this server may be asked from there.

``dev`` is for one machine: it believes whoever asks, so it answers loopback alone and nothing that another web page
can make a browser send.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Protocol

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from keepsay.errors import ConfigurationError, InvalidInput, NotFound
from keepsay.server.refusals import Forbidden
from keepsay.server.settings import AuthName

__all__ = ["Authenticator", "DevAuth", "check_bind", "header_text"]

LOCAL_USER = "local"
USER_HEADER = "X-Keepsay-User"
LOOPBACK_ALONE: frozenset[AuthName] = frozenset({"dev"})
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})

_AUTHORITY = re.compile(r"([a-z0-9._-]{1,255}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")


class Authenticator(Protocol):
    """One way to know users."""

    def admit(self, connection: HTTPConnection) -> None:
        """Let the request in, whatever it asks for, or raise ``Forbidden``."""

    def user_id(self, connection: HTTPConnection, named: str | None = None) -> str:
        """Who is asking. ``named`` is the user whom the request itself names: another one is ``NotFound``.

        Raises ``Unauthenticated``, ``InvalidInput``.
        """


def check_bind(host: str, auth: AuthName) -> None:
    """Raise ``ConfigurationError`` if this way to know users may not listen there."""
    if auth in LOOPBACK_ALONE and not _is_loopback(host) and host != "localhost":
        raise ConfigurationError(
            f"Auth {auth!r} believes whoever asks, so it listens on 127.0.0.1, ::1 or localhost alone, not on {host!r}."
        )


class DevAuth:
    """Everybody on this machine is whoever they say: by the path, the ``X-Keepsay-User`` header, or ``local``."""

    def __init__(self, allowed_hosts: Iterable[str] = ()) -> None:
        self._hosts = LOOPBACK_NAMES | frozenset(allowed_hosts)

    def admit(self, connection: HTTPConnection) -> None:
        """Loopback alone: the peer, the Host (or a web page could reach us by a name of its own) and the Origin."""
        client = connection.client
        if client and not (_is_loopback(client.host) or client.host in self._hosts):
            raise Forbidden("Auth 'dev' answers this machine alone.")
        if not self._is_ours(connection.headers.getlist("host")):
            raise Forbidden("Auth 'dev' answers to the hosts localhost, 127.0.0.1 and [::1] alone.")
        origins = connection.headers.getlist("origin")
        if origins and not self._is_ours([_without_scheme(origin) for origin in origins]):
            raise Forbidden("Auth 'dev' answers no web page from another host.")

    def _is_ours(self, authorities: list[str]) -> bool:
        if len(authorities) != 1:
            return False
        found = _AUTHORITY.fullmatch(authorities[0].lower())
        return found is not None and found[1] in self._hosts

    def user_id(self, connection: HTTPConnection, named: str | None = None) -> str:
        """The user of the header, else the named one, else ``local``; both given must agree."""
        said = header_text(connection.headers, USER_HEADER)
        if said is not None and named is not None and said != named:
            raise NotFound("user")
        return next((name for name in (said, named) if name is not None), LOCAL_USER)


def header_text(headers: Headers, name: str) -> str | None:
    """A header's value as UTF-8. Raises ``InvalidInput`` for other bytes, and for a header that stands twice."""
    values = headers.getlist(name)
    if not values:
        return None
    try:
        [value] = values
        return value.encode("latin-1").decode()
    except ValueError:
        raise InvalidInput(f"{name} is given once, in UTF-8.", field=name) from None


def _without_scheme(origin: str) -> str:
    scheme, _, authority = origin.partition("://")
    return authority if scheme.lower() in ("http", "https") else ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
