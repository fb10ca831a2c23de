"""``dev``: for one machine. It believes whoever asks, so it answers loopback alone, and no other web page."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from keepsay.errors import ConfigurationError
from keepsay.server.auth.identity import USER_HEADER, Identity, header_text
from keepsay.server.refusals import Forbidden
from keepsay.server.settings import AuthName

__all__ = ["DevAuth", "check_bind"]

LOCAL_USER = "local"
OPERATOR_HEADER = "X-Keepsay-Operator"
LOOPBACK_ALONE: frozenset[AuthName] = frozenset({"dev"})
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})

_AUTHORITY = re.compile(r"([a-z0-9._-]{1,255}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")


def check_bind(host: str, auth: AuthName) -> None:
    """Raise ``ConfigurationError`` if this way to know users may not listen there."""
    if auth in LOOPBACK_ALONE and not _is_loopback(host) and host != "localhost":
        raise ConfigurationError(
            f"Auth {auth!r} believes whoever asks, so it listens on 127.0.0.1, ::1 or localhost alone, not on {host!r}."
        )


class DevAuth:
    """Everybody on this machine is whoever they say: by the path, the ``X-Keepsay-User`` header, or ``local``."""

    def __init__(self, allowed_hosts: Iterable[str] = (), *, operators: bool = False) -> None:
        self._hosts = LOOPBACK_NAMES | frozenset(allowed_hosts)
        self._operators = operators

    def admit(self, connection: HTTPConnection) -> None:
        """Loopback alone: the peer, the Host (or a web page could reach us by a name of its own) and the Origin."""
        client = connection.client
        if client and not (_is_loopback(client.host) or client.host in self._hosts):
            raise Forbidden("Auth 'dev' answers this machine alone.")
        if not self._is_ours(connection.headers.getlist("host")):
            raise Forbidden("Auth 'dev' answers to the hosts localhost, 127.0.0.1 and [::1] alone.")
        if self._is_from_elsewhere(connection.headers):
            raise Forbidden("Auth 'dev' answers no web page from another host.")

    def _is_from_elsewhere(self, headers: Headers) -> bool:
        """By the Origin, which browsers leave out of links, images and scripts, and by what they say of these."""
        origins = headers.getlist("origin")
        if origins and not self._is_ours([_without_scheme(origin) for origin in origins]):
            return True
        return any(site.strip().lower() == "cross-site" for site in headers.getlist("sec-fetch-site"))

    def _is_ours(self, authorities: list[str]) -> bool:
        if len(authorities) != 1:
            return False
        found = _AUTHORITY.fullmatch(authorities[0].lower())
        return found is not None and found[1] in self._hosts

    async def identify(self, connection: HTTPConnection) -> Identity:
        """The user of the header, or whomever the request names, or ``local``."""
        is_operator = self._operators and connection.headers.get(OPERATOR_HEADER) == "true"
        return Identity(header_text(connection.headers, USER_HEADER), LOCAL_USER, is_operator)

    async def aclose(self) -> None:
        """Nothing is held."""


def _without_scheme(origin: str) -> str:
    scheme, _, authority = origin.partition("://")
    return authority if scheme.lower() in ("http", "https") else ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
